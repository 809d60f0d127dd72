//! Pending updates where dnf or yum keeps the packages, from what it last fetched: `-C` forbids the network.
//!
//! The exit code says whether there is anything, the list says what; a list that lost lines contradicts its code.

use std::collections::BTreeSet;

use proto::Reason;

use crate::{
    answers::{Round, unanswered, unparsed},
    drive::{Outcome, Step},
    linux::{
        os_patch::{Found, newest_minutes},
        rpm,
    },
    programs::Program,
    question::{Answer, Question},
};

/// All updates, and those that an advisory calls a security fix.
pub(crate) const CHECK: [&str; 3] = ["-q", "-C", "check-update"];
pub(crate) const CHECK_SECURITY: [&str; 4] = ["-q", "-C", "check-update", "--security"];
/// Whether what was installed since the start needs another one; dnf 5 and dnf 4 have the same words.
pub(crate) const NEEDS_RESTARTING: [&str; 4] = ["-q", "-C", "needs-restarting", "-r"];
const RESTART: &str = "Reboot is required to fully utilize these updates.";
const NO_RESTART: &str = "Reboot should not be necessary.";
/// Where dnf 5 and dnf 4 keep what they fetched, a folder for each repository.
pub(crate) const CACHES: [&str; 2] = ["/var/cache/libdnf5", "/var/cache/dnf"];
/// In a repository's folder: rewritten by each refresh that finds something new.
pub(crate) const REPOMD: &str = "repodata/repomd.xml";
/// Touched by dnf 4 after a refresh on its timer.
pub(crate) const LAST_MAKECACHE: &str = "/var/cache/dnf/last_makecache";
/// Systems whose repositories publish security advisories: elsewhere "no security update" says nothing.
const WITH_ADVISORIES: [&str; 6] = ["almalinux", "amzn", "fedora", "ol", "rhel", "rocky"];
/// Systems that use dnf or yum and publish no advisories.
const WITHOUT_ADVISORIES: [&str; 1] = ["centos"];
/// Exit code for "there are updates".
const SOME: u32 = 100;
/// More repositories than this are not looked at.
const REPOSITORIES_MAX: usize = 256;

/// Whether this is one of the systems known to use dnf.
pub(crate) fn is_used_by(id: &str) -> bool {
    WITH_ADVISORIES.contains(&id) || WITHOUT_ADVISORIES.contains(&id)
}

/// What is pending.
///
/// # Errors
/// The step to return instead.
pub(crate) fn found(round: &mut Round<'_>, id: &str) -> Result<Found, Step> {
    let all_question = Question::run(Program::Dnf, &CHECK);
    let security_question = Question::run(Program::Dnf, &CHECK_SECURITY);
    let all = round.ask(&all_question);
    let security = round.ask(&security_question);
    let restarting = round.ask(&Question::run(Program::Dnf, &NEEDS_RESTARTING));
    let times_of_packages = rpm::ask(round);
    let caches = CACHES.map(|folder| (folder, round.list(folder)));
    if let Some(step) = round.pending() {
        return Err(step);
    }
    let mut files: Vec<String> = caches
        .into_iter()
        .flat_map(|(folder, answer)| {
            let names = answer.names().unwrap_or_default().iter();
            names.filter(|name| is_repository(name)).map(move |name| format!("{folder}/{name}/{REPOMD}"))
        })
        .take(REPOSITORIES_MAX)
        .collect();
    files.push(LAST_MAKECACHE.to_owned());
    let times: Vec<_> = files.iter().map(|path| (path.as_str(), round.metadata(path.clone()))).collect();
    if let Some(step) = round.pending() {
        return Err(step);
    }
    let all = list(&all_question, all)?;
    let security = list(&security_question, security)?;
    if !security.is_subset(&all) {
        return Err(unparsed(security_question));
    }
    let count = |number: usize| u32::try_from(number).ok();
    Ok(Found {
        // A system that publishes no advisories has none to show, whatever is missing.
        pending_security: WITH_ADVISORIES.contains(&id).then(|| count(security.len())).flatten(),
        pending_other: count(all.len().saturating_sub(security.len())),
        lists_minutes: newest_minutes(&times),
        installed_minutes: rpm::newest_minutes(times_of_packages),
        reboot_required: needs_restart(restarting),
    })
}

/// Exit code 1 is also that of any error, so its words must say it too.
fn needs_restart(answer: &Answer) -> Option<bool> {
    let Answer::Output { status, stdout, .. } = answer else { return None };
    let says = |words: &str| {
        let text = std::str::from_utf8(stdout).ok().filter(|text| text.ends_with('\n'));
        text.is_some_and(|text| text.lines().any(|line| line == words))
    };
    match status {
        0 if says(NO_RESTART) => Some(false),
        1 if says(RESTART) => Some(true),
        _ => None,
    }
}

/// `NAME-HASH`, where the hash has 16 hexadecimal digits.
fn is_repository(name: &str) -> bool {
    name.rsplit_once('-').is_some_and(|(name, hash)| {
        !name.is_empty()
            && !name.contains(' ')
            && hash.len() == 16
            && hash.bytes().all(|b| b.is_ascii_hexdigit())
    })
}

/// The packages of one list.
fn list<'a>(question: &Question, answer: &'a Answer) -> Result<BTreeSet<&'a str>, Step> {
    let (status, stdout) = match answer {
        Answer::Output { status, stdout, .. } => (*status, stdout),
        other => return Err(unanswered(question.clone(), other)),
    };
    match status {
        0 | SOME => {}
        // No metadata was ever fetched, or the tool failed: it looked at nothing.
        1 => return Err(Step::Done(Outcome::Unavailable(Reason::Stale, Some(question.clone())))),
        _ => return Err(unparsed(question.clone())),
    }
    let text = std::str::from_utf8(stdout).ok().filter(|text| text.is_empty() || text.ends_with('\n'));
    let packages = text.and_then(parse).filter(|packages| packages.is_empty() == (status == 0));
    packages.ok_or_else(|| unparsed(question.clone()))
}

/// Lines `NAME.ARCH VERSION REPOSITORY`; a long one goes on in the next, which then begins with blanks.
fn parse(text: &str) -> Option<BTreeSet<&str>> {
    let mut packages = BTreeSet::new();
    let mut words: Vec<&str> = Vec::new();
    for line in text.lines() {
        if line.starts_with("Obsoleting ") {
            break;
        }
        if line.trim().is_empty() {
            continue;
        }
        if line.starts_with(' ') == words.is_empty() {
            return None;
        }
        words.extend(line.split_whitespace());
        match words.as_slice() {
            [package, version, _]
                if is_package(package) && version.starts_with(|c: char| c.is_ascii_alphanumeric()) =>
            {
                packages.insert(*package);
                words.clear();
            }
            [_] | [_, _] => {}
            _ => return None,
        }
    }
    words.is_empty().then_some(packages)
}

/// A name with its architecture.
fn is_package(word: &str) -> bool {
    let architectures = ["aarch64", "i386", "i486", "i586", "i686", "noarch", "ppc64le", "s390x", "x86_64"];
    word.rsplit_once('.').is_some_and(|(name, arch)| !name.is_empty() && architectures.contains(&arch))
}

#[cfg(test)]
mod tests;
