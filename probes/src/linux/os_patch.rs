//! `os-patch`: what is installed, what could be newer, and how old that knowledge is.

use proto::{OsPatch, Reason, facts::Control};

use crate::{
    answers::{Answers, Round, unanswered, unparsed},
    drive::{Outcome, Step},
    linux::{
        apt, container, dnf,
        os_release::{self, OsRelease},
        pacman, rpm_ostree,
        screen_lock::exists,
        zypper,
    },
    programs::Program,
    question::{Answer, FileKind, Metadata, Question},
};

pub(crate) const KERNEL_RELEASE: &str = "/proc/sys/kernel/osrelease";
pub(crate) const LISTS: &str = "/var/lib/apt/lists";
/// Touched by Ubuntu's and many Debians' apt after a refresh without any error.
pub(crate) const SUCCESS_STAMP: &str = "/var/lib/apt/periodic/update-success-stamp";
/// Rewritten by dpkg whenever a package changes.
pub(crate) const DPKG_STATUS: &str = "/var/lib/dpkg/status";
/// Exists exactly on systems whose files come as one image; its name in the listing of /run, and its path.
const IMAGE_MARK: &str = "ostree-booted";
pub(crate) const IMAGE_MARK_PATH: &str = "/run/ostree-booted";
/// One folder for each kernel whose modules are installed.
pub(crate) const KERNEL_MODULES: &str = "/usr/lib/modules";
/// Systems whose suites this probe knows; a derivative has other suites, and no claim is made for it.
const APT_SYSTEMS: [&str; 2] = ["debian", "ubuntu"];
pub(crate) const SIMULATE: [&str; 2] = ["-s", "dist-upgrade"];
pub(crate) const LIST_UPGRADABLE: [&str; 2] = ["list", "--upgradable"];

/// What a package manager told; what it cannot tell stays out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) pending_security: Option<u32>,
    pub(crate) pending_other: Option<u32>,
    pub(crate) lists_minutes: Option<u64>,
    pub(crate) installed_minutes: Option<u64>,
    pub(crate) reboot_required: Option<bool>,
}

/// The step of the probe on Linux.
pub(crate) fn step(answers: &Answers) -> Step {
    let mut round = Round::new(answers);
    let container = container::ask(&mut round);
    let release = os_release::ask(&mut round);
    let kernel = round.read(KERNEL_RELEASE);
    let run = round.list(container::RUN);
    let mark = round.metadata(IMAGE_MARK_PATH);
    if let Some(step) = round.pending() {
        return step;
    }
    if let Some(step) = container.verdict() {
        return step;
    }
    let Some(release) = os_release::parse(release) else {
        return unanswered(Question::Read(os_release::PATHS[0].to_owned()), release[0]);
    };
    let Some(kernel) = kernel.line() else {
        return unanswered(Question::Read(KERNEL_RELEASE.to_owned()), kernel);
    };
    // Either of the two tells: a listing that lost the name must not make an image look like single packages.
    let is_image = match exists(IMAGE_MARK_PATH, mark) {
        Ok(exists) => exists || run.names().is_some_and(|names| names.iter().any(|name| name == IMAGE_MARK)),
        Err(step) => return step,
    };
    let found = match release.id.as_str() {
        // Its packages are not installed one by one: what a package manager says of them is not what runs.
        _ if is_image => rpm_ostree::found(&mut round),
        id if APT_SYSTEMS.contains(&id) => apt_found(&mut round, &release, run),
        id if dnf::is_used_by(id) => dnf::found(&mut round, id),
        id if pacman::is_used_by(id) => pacman::found(&mut round, kernel),
        id if zypper::is_used_by(id) => zypper::found(&mut round, run),
        _ => return Step::Done(Outcome::unavailable(Reason::UnsupportedPlatform)),
    };
    match found {
        Ok(found) => Step::Done(Outcome::observed(Control::OsPatch(OsPatch {
            os: release.id,
            version: release.version,
            kernel: kernel.to_owned(),
            pending_security: found.pending_security,
            pending_other: found.pending_other,
            lists_minutes: found.lists_minutes,
            installed_minutes: found.installed_minutes,
            reboot_required: found.reboot_required,
        }))),
        Err(step) => step,
    }
}

/// What is pending where apt keeps the packages.
fn apt_found(round: &mut Round<'_>, release: &OsRelease, run: &Answer) -> Result<Found, Step> {
    let simulate = Question::run(Program::AptGet, &SIMULATE);
    let list = Question::run(Program::Apt, &LIST_UPGRADABLE);
    let simulation = round.ask(&simulate);
    let upgradable = round.ask(&list);
    let lists = round.list(LISTS);
    let stamp = round.metadata(SUCCESS_STAMP);
    let status = round.metadata(DPKG_STATUS);
    let security_list = release.codename.as_deref().and_then(|name| security_list(name, lists));
    let security_time = security_list.as_ref().map(|path| round.metadata(path.clone()));
    if let Some(step) = round.pending() {
        return Err(step);
    }
    let (simulation, upgradable) = match (simulation.whole_text(), upgradable.whole_text()) {
        (None, _) => return Err(unanswered(simulate, simulation)),
        (_, None) => return Err(unanswered(list, upgradable)),
        (Some(simulation), Some(upgradable)) => (simulation, upgradable),
    };
    let Some(pending) = apt::pending(simulation, upgradable) else { return Err(unparsed(simulate)) };
    Ok(Found {
        // Without a list of the security suite, nothing is known of what is missing from it.
        pending_security: security_list.is_some().then_some(pending.security),
        pending_other: Some(pending.other),
        lists_minutes: lists_minutes(security_list.as_deref(), security_time, stamp),
        installed_minutes: modified_minutes(DPKG_STATUS, FileKind::File, status),
        reboot_required: run
            .names()
            .filter(|names| !names.is_empty())
            .map(|names| names.iter().any(|name| name == "reboot-required")),
    })
}

/// The list of the release's security suite: `…_dists_bookworm-security_InRelease`.
fn security_list(codename: &str, lists: &Answer) -> Option<String> {
    let suite = format!("_dists_{codename}-security_");
    let is_release = |name: &&String| {
        name.split_once(&suite).is_some_and(|(_, rest)| matches!(rest, "InRelease" | "Release"))
    };
    lists.names()?.iter().find(is_release).map(|name| format!("{LISTS}/{name}"))
}

/// When the lists were last known to be current: apt gives a list the time its archive was published, which is
/// never later than the refresh; the stamp tells of refreshes that found nothing new. The later of the two.
fn lists_minutes(path: Option<&str>, list: Option<&Answer>, stamp: &Answer) -> Option<u64> {
    let list = modified_minutes(path?, FileKind::File, list?)?;
    Some(modified_minutes(SUCCESS_STAMP, FileKind::File, stamp).map_or(list, |stamp| stamp.max(list)))
}

/// Minute since 1970 in which a path last changed.
pub(crate) fn modified_minutes(path: &str, expected: FileKind, answer: &Answer) -> Option<u64> {
    match answer {
        Answer::Metadata(Metadata { path: of, kind, modified_seconds, .. })
            if of == path && *kind == expected =>
        {
            u64::try_from(*modified_seconds).ok().map(|seconds| seconds / 60)
        }
        _ => None,
    }
}

/// Minute in which the newest of several files changed.
pub(crate) fn newest_minutes(times: &[(&str, &Answer)]) -> Option<u64> {
    times.iter().filter_map(|(path, answer)| modified_minutes(path, FileKind::File, answer)).max()
}
