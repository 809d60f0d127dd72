//! Is this a container? There, disks, kernel and processes are not the machine's, and nothing may be claimed.

use proto::Reason;

use crate::{
    answers::{Round, unanswered, unparsed},
    drive::{Outcome, Step},
    question::{Answer, Question},
};

/// Where the kernel says which process namespace this is.
pub(crate) const PID_NAMESPACE: &str = "/proc/self/ns/pid";
/// Holds podman's mark, and systemd's folder.
pub(crate) const RUN: &str = "/run";
/// Holds the mark of systemd inside a container and of some managers.
pub(crate) const RUN_SYSTEMD: &str = "/run/systemd";
/// Marks of a container, in [`RUN_SYSTEMD`] and [`RUN`]. `/.dockerenv` is none: it survives in images that
/// became virtual machines.
pub(crate) const MARKS: [&str; 2] = ["/run/systemd/container", "/run/.containerenv"];
/// The first process namespace has this fixed number in every kernel (include/linux/proc_ns.h).
const INITIAL_PID_NAMESPACE: &str = "pid:[4026531836]";

/// The answers that tell a container.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Signs<'a> {
    namespace: &'a Answer,
    run: &'a Answer,
    run_systemd: &'a Answer,
    marks: [&'a Answer; 2],
}

/// Asks what tells a container; [`Signs::verdict`] reads it once the round has nothing pending.
pub(crate) fn ask<'a>(round: &mut Round<'a>) -> Signs<'a> {
    Signs {
        namespace: round.link(PID_NAMESPACE),
        run: round.list(RUN),
        run_systemd: round.list(RUN_SYSTEMD),
        marks: MARKS.map(|path| round.metadata(path)),
    }
}

impl Signs<'_> {
    /// The conclusion if this is a container or if that cannot be told; `None` on a machine of its own.
    pub(crate) fn verdict(self) -> Option<Step> {
        let container = || Some(Step::Done(Outcome::unavailable(Reason::Container)));
        match self.namespace {
            Answer::Link(target) if target == INITIAL_PID_NAMESPACE => {}
            Answer::Link(target) if target.starts_with("pid:[") && target.ends_with(']') => {
                return container();
            }
            Answer::Link(_) => return Some(unparsed(Question::Link(PID_NAMESPACE.to_owned()))),
            other => return Some(unanswered(Question::Link(PID_NAMESPACE.to_owned()), other)),
        }
        for (path, answer) in MARKS.into_iter().zip(self.marks) {
            match answer {
                Answer::Absent => {}
                Answer::Metadata(metadata) if metadata.path == path => return container(),
                other => return Some(unanswered(Question::Metadata(path.to_owned()), other)),
            }
        }
        // That a mark is missing is believed only when the folder it would lie in shows other things.
        let Some(run) = self.run.names().filter(|names| !names.is_empty()) else {
            return Some(unanswered(Question::List(RUN.to_owned()), self.run));
        };
        let shows = |names: &[String], name: &str| names.iter().any(|n| n == name);
        match self.run_systemd {
            Answer::Names(names) if shows(names, "container") => container(),
            Answer::Names(_) if shows(run, ".containerenv") => container(),
            Answer::Names(_) => None,
            Answer::Absent if !shows(run, "systemd") => shows(run, ".containerenv").then(container).flatten(),
            other => Some(unanswered(Question::List(RUN_SYSTEMD.to_owned()), other)),
        }
    }
}
