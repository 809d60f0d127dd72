//! Is this a container? There, disks, kernel and processes are not the machine's, and nothing may be claimed.

use proto::Reason;

use crate::{
    answers::{Round, unanswered, unparsed},
    drive::{Outcome, Step},
    question::{Answer, Question},
};

/// Where the kernel says which process namespace this is.
pub(crate) const PID_NAMESPACE: &str = "/proc/self/ns/pid";
/// Written by systemd inside a container and by some managers.
pub(crate) const SYSTEMD_CONTAINER: &str = "/run/systemd/container";
/// Written by podman.
pub(crate) const PODMAN_CONTAINER: &str = "/run/.containerenv";
/// The first process namespace has this fixed number in every kernel (include/linux/proc_ns.h).
const INITIAL_PID_NAMESPACE: &str = "pid:[4026531836]";

/// Asks what proves a container; [`verdict`] reads it once the round has nothing pending.
///
/// `/.dockerenv` is not asked for: it survives in images that became virtual machines.
pub(crate) fn ask<'a>(round: &mut Round<'a>) -> [&'a Answer; 3] {
    [round.link(PID_NAMESPACE), round.metadata(SYSTEMD_CONTAINER), round.metadata(PODMAN_CONTAINER)]
}

/// The conclusion if this is a container or if that cannot be told; `None` on a machine of its own.
pub(crate) fn verdict([namespace, systemd, podman]: [&Answer; 3]) -> Option<Step> {
    let container = || Some(Step::Done(Outcome::unavailable(Reason::Container)));
    match namespace {
        Answer::Link(target) if target == INITIAL_PID_NAMESPACE => {}
        Answer::Link(target) if target.starts_with("pid:[") && target.ends_with(']') => return container(),
        Answer::Link(_) => return Some(unparsed(Question::Link(PID_NAMESPACE.to_owned()))),
        other => return Some(unanswered(Question::Link(PID_NAMESPACE.to_owned()), other)),
    }
    for (path, answer) in [(SYSTEMD_CONTAINER, systemd), (PODMAN_CONTAINER, podman)] {
        match answer {
            Answer::Absent => {}
            Answer::Metadata(metadata) if metadata.path == path => return container(),
            other => return Some(unanswered(Question::Metadata(path.to_owned()), other)),
        }
    }
    None
}
