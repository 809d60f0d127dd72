//! `edr`: which endpoint security products run, from their own files, as their own service.

use std::collections::BTreeMap;

use proto::{Edr, Product, Reason, facts::Control};

use crate::{
    answers::{Answers, Round, unanswered},
    catalogue::{Catalogue, CatalogueProduct, LinuxProduct},
    drive::{Outcome, Step},
    linux::container,
    programs::Program,
    question::{Answer, FileKind, Process, Question},
};

/// Write permission of the group and of others.
const WRITABLE_BY_OTHERS: u32 = 0o022;
/// More processes of one product than this are not looked at.
const PROCESSES_MAX: usize = 32;

/// The step of the probe on Linux.
pub(crate) fn step(answers: &Answers) -> Step {
    let Some(catalogue) = Catalogue::bundled() else {
        return Step::Done(Outcome::unavailable(Reason::IoError));
    };
    let mut round = Round::new(answers);
    let container = container::ask(&mut round);
    let processes = round.ask(&Question::Processes);
    let mut installed = BTreeMap::new();
    for path in catalogue.linux().flat_map(|(_, linux)| linux.executables.iter().chain(&linux.folders)) {
        installed.insert(path.as_str(), round.metadata(path.clone()));
    }
    if let Some(step) = round.pending() {
        return step;
    }
    if let Some(step) = container.verdict() {
        return step;
    }
    let Answer::Processes(processes) = processes else { return unanswered(Question::Processes, processes) };
    if processes.is_empty() {
        // The agent itself is a process: an empty list is no list.
        return unanswered(Question::Processes, &Answer::Failed);
    }
    let products: Vec<Product> = catalogue
        .linux()
        .map(|(entry, linux)| product(&mut round, entry, linux, processes, &installed))
        .filter(|product| !is_certainly_not_there(product))
        .collect();
    round
        .pending()
        .unwrap_or(Step::Done(Outcome::observed(Control::Edr(Edr { products, products_truncated: false }))))
}

/// Nothing of it was found anywhere. The catalogue's digest says what was looked for, so it takes no row.
fn is_certainly_not_there(product: &Product) -> bool {
    product.installed == Some(false) && product.running == Some(false)
}

fn product(
    round: &mut Round<'_>,
    entry: &CatalogueProduct,
    linux: &LinuxProduct,
    processes: &[Process],
    installed: &BTreeMap<&str, &Answer>,
) -> Product {
    let claimed: Vec<(&Process, &str)> = processes
        .iter()
        .filter_map(|p| p.exe.as_deref().filter(|exe| linux.owns(exe)).map(|exe| (p, exe)))
        .take(PROCESSES_MAX)
        .collect();
    let best = claimed
        .iter()
        .filter_map(|(process, exe)| {
            // The kernel's own word: the process list drops the mark of a file that was replaced.
            let link = round.link(format!("/proc/{}/exe", process.pid));
            let trusted = trusted_path(round, exe);
            let unit = linux.unit.as_deref().and_then(|unit| unit_active(round, unit, process.pid));
            matches!(link, Answer::Link(target) if target == exe).then_some((trusted, unit))
        })
        .max_by_key(|(trusted, unit)| (*trusted == Some(true), *unit == Some(true), *trusted, *unit));
    let (running, trusted_path, unit_active) = match best {
        Some((trusted, unit)) => (Some(true), trusted, unit),
        None if !claimed.is_empty() || processes.iter().any(|p| might_be(linux, p)) => (None, None, None),
        None => (Some(false), None, Some(false)),
    };
    let installed = match is_installed(linux, installed) {
        // A folder alone may be left over; a program that runs from it is not.
        None if running == Some(true) => Some(true),
        other => other,
    };
    let version = match installed {
        Some(true) => version(round, linux),
        _ => None,
    };
    Product {
        product: entry.id.clone(),
        kind: entry.kind().into(),
        installed,
        version,
        running,
        trusted_path,
        unit_active,
    }
}

/// An executable of the product lies where it belongs; a folder left behind is not that, so where only folders
/// are known, one that is there leaves the question open.
fn is_installed(linux: &LinuxProduct, installed: &BTreeMap<&str, &Answer>) -> Option<bool> {
    let mut unknown =
        linux.folders.iter().any(|path| !matches!(installed.get(path.as_str()), Some(Answer::Absent)));
    for path in &linux.executables {
        match installed.get(path.as_str()) {
            // The vendor's package may make the plain name a link to the file with the build number.
            Some(Answer::Metadata(m))
                if m.path == *path && matches!(m.kind, FileKind::File | FileKind::Link) =>
            {
                return Some(true);
            }
            Some(Answer::Metadata(m)) if m.path == *path => {}
            Some(Answer::Absent) => {}
            _ => unknown = true,
        }
    }
    (!unknown).then_some(false)
}

/// Cannot be told apart from the product: it shows its name and hides its path.
fn might_be(linux: &LinuxProduct, process: &Process) -> bool {
    process.exe.is_none() && linux.shows(&process.name)
}

/// The file and every folder above it belong to root, and nobody else may write there.
pub(crate) fn trusted_path(round: &mut Round<'_>, executable: &str) -> Option<bool> {
    let mut trusted = Some(true);
    for (index, path) in std::iter::successors(Some(executable), |p| parent(p)).enumerate() {
        let expected = if index == 0 { FileKind::File } else { FileKind::Folder };
        let this = match round.metadata(path) {
            Answer::Metadata(m) if m.path == path => {
                Some(m.kind == expected && m.uid == 0 && m.mode & WRITABLE_BY_OTHERS == 0)
            }
            _ => None,
        };
        // One bad folder is enough; one unknown folder leaves the whole unknown.
        trusted = match (trusted, this) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (Some(true), Some(true)) => Some(true),
            _ => None,
        };
    }
    trusted
}

/// The folder above a path; `None` above `/`.
fn parent(path: &str) -> Option<&str> {
    match path.rsplit_once('/') {
        Some(("", "")) | None => None,
        Some(("", _)) => Some("/"),
        Some((folder, _)) => Some(folder),
    }
}

/// The arguments that show a unit's state.
pub(crate) fn show_unit(unit: &str) -> [&str; 6] {
    ["show", unit, "--no-pager", "--property=Id", "--property=LoadState", "--property=ActiveState"]
}

/// The unit is active and the process lies in its control group.
fn unit_active(round: &mut Round<'_>, unit: &str, pid: u32) -> Option<bool> {
    let shown = round.ask(&Question::run(Program::Systemctl, &show_unit(unit)));
    let group = round.read(format!("/proc/{pid}/cgroup"));
    let values: BTreeMap<&str, &str> =
        shown.whole_text()?.lines().map(|line| line.split_once('=')).collect::<Option<_>>()?;
    if values.get("Id") != Some(&unit) {
        return None;
    }
    let active = *values.get("LoadState")? == "loaded" && *values.get("ActiveState")? == "active";
    let group = group.whole_text().filter(|text| !text.is_empty())?;
    let slice = format!("/system.slice/{unit}");
    let owned = group.lines().any(|line| {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, path) = (parts.next(), parts.next(), parts.next());
        matches!(controllers, Some("" | "name=systemd"))
            && path
                .and_then(|p| p.strip_prefix(&slice))
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    });
    Some(active && owned)
}

/// The arguments that show a package's state and version.
pub(crate) fn show_package(package: &str) -> [&str; 3] {
    ["--show", "--showformat=${Package}=${db:Status-Status}=${Version}\\n", package]
}

/// The arguments that show an RPM package's name and version.
pub(crate) fn show_rpm(package: &str) -> [&str; 3] {
    ["-q", "--queryformat=%{NAME}=%{VERSION}-%{RELEASE}\\n", package]
}

/// The version as the system's package manager knows it; rpm is asked only where there is no dpkg.
fn version(round: &mut Round<'_>, linux: &LinuxProduct) -> Option<String> {
    let dpkg = linux
        .deb
        .as_deref()
        .map(|package| (package, round.ask(&Question::run(Program::DpkgQuery, &show_package(package)))));
    if let Some((package, answer)) = dpkg
        && *answer != Answer::Absent
    {
        let mut parts = answer.line()?.splitn(3, '=');
        return match (parts.next()?, parts.next()?, parts.next()?) {
            (name, "installed", version) if name == package && !version.is_empty() => {
                Some(version.to_owned())
            }
            _ => None,
        };
    }
    let package = linux.rpm.as_deref()?;
    let line = round.ask(&Question::run(Program::Rpm, &show_rpm(package))).line()?;
    let (name, version) = line.split_once('=')?;
    (name == package && !version.is_empty()).then(|| version.to_owned())
}
