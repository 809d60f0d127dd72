//! `password-manager` on Linux: which products are installed for everybody, by package, Flatpak or snap.

use proto::Reason;

use crate::{
    answers::{Answers, Round},
    drive::{Outcome, Step},
    linux::container,
    password_managers::{self, Catalogue, LinuxManager},
    question::{Answer, FileKind},
};

/// Where Flatpak keeps applications installed for everybody.
pub(crate) const FLATPAKS: &str = "/var/lib/flatpak/app";
/// Where snapd mounts snaps.
pub(crate) const SNAPS: &str = "/snap";

/// The paths at which a product lies where it is installed.
pub(crate) fn paths(linux: &LinuxManager) -> impl Iterator<Item = String> {
    // Both are links to the version in use, and go with the application.
    let flatpaks = linux.flatpaks.iter().map(|id| format!("{FLATPAKS}/{id}/current"));
    let snaps = linux.snaps.iter().map(|name| format!("{SNAPS}/{name}/current"));
    linux.executables.iter().cloned().chain(flatpaks).chain(snaps)
}

/// The step of the probe on Linux.
pub(crate) fn step(answers: &Answers) -> Step {
    let Some(catalogue) = Catalogue::bundled() else {
        return Step::Done(Outcome::unavailable(Reason::IoError));
    };
    let mut round = Round::new(answers);
    let container = container::ask(&mut round);
    let mut found = Vec::new();
    for (product, linux) in catalogue.on(|product| product.linux.as_ref()) {
        let places: Vec<Option<bool>> =
            paths(linux).map(|path| is_there(&path, round.metadata(path.clone()))).collect();
        found.push((product, password_managers::any(places)));
    }
    if let Some(step) = round.pending() {
        return step;
    }
    if let Some(step) = container.verdict() {
        return step;
    }
    Step::Done(password_managers::observed(&found))
}

/// A file or link of root's; what somebody else laid there is not the product.
fn is_there(path: &str, answer: &Answer) -> Option<bool> {
    match answer {
        Answer::Metadata(metadata) if metadata.path == path => {
            Some(metadata.uid == 0 && matches!(metadata.kind, FileKind::File | FileKind::Link))
        }
        Answer::Absent => Some(false),
        _ => None,
    }
}
