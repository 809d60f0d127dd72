//! Is this the machine itself? In a container, disks, kernel and processes are not the machine's; in a mount
//! namespace of one's own, or behind `chroot`, volumes, sessions and packages can be hidden. There nothing
//! may be claimed, by no probe.
//!
//! That the agent sees the mounts of the machine is shown by comparing the mount `/` of its own mountinfo
//! with that of the first process. The kernel gives no two living mounts one id, and every new namespace
//! copies its mounts under new ids (mountinfo, proc(5)); so equal ids mean the same namespace and the same
//! root. This is preferred to comparing `/proc/1/ns/mnt`, which only root may read and which does not change
//! behind `chroot`. The mounts are not simply taken from `/proc/1/mountinfo`: everything else that is asked,
//! in /sys, /etc, /run and /usr, would still be what the agent's own namespace shows.

use proto::Reason;

use crate::{
    answers::{Round, unanswered, unparsed},
    drive::{Outcome, Step},
    linux::mounts,
    question::{Answer, Question},
};

/// Where the kernel says which process namespace this is.
pub(crate) const PID_NAMESPACE: &str = "/proc/self/ns/pid";
/// The mounts the agent sees.
pub(crate) const MOUNTINFO: &str = "/proc/self/mountinfo";
/// The mounts the first process sees; everybody may read it unless /proc is mounted with `hidepid`.
pub(crate) const FIRST_MOUNTINFO: &str = "/proc/1/mountinfo";
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
    mounts: &'a Answer,
    first_mounts: &'a Answer,
}

/// Asks what tells a container; [`Signs::verdict`] reads it once the round has nothing pending.
pub(crate) fn ask<'a>(round: &mut Round<'a>) -> Signs<'a> {
    Signs {
        namespace: round.link(PID_NAMESPACE),
        run: round.list(RUN),
        run_systemd: round.list(RUN_SYSTEMD),
        marks: MARKS.map(|path| round.metadata(path)),
        mounts: round.read(MOUNTINFO),
        first_mounts: round.read(FIRST_MOUNTINFO),
    }
}

impl Signs<'_> {
    /// The conclusion if this is not the machine itself or if that cannot be told; `None` where it is.
    pub(crate) fn verdict(self) -> Option<Step> {
        self.container().or_else(|| self.other_mounts())
    }

    /// Whether the agent sees other mounts than the first process. The reason is the container's; the question
    /// tells the two apart.
    fn other_mounts(self) -> Option<Step> {
        let root = |path: &str, answer: &Answer| match answer.whole_text() {
            Some(text) => match mounts::root_id(text) {
                Some(id) => Ok(id),
                None => Err(unparsed(Question::Read(path.to_owned()))),
            },
            None => Err(unanswered(Question::Read(path.to_owned()), answer)),
        };
        match (root(MOUNTINFO, self.mounts), root(FIRST_MOUNTINFO, self.first_mounts)) {
            (Err(step), _) | (_, Err(step)) => Some(step),
            (Ok(ours), Ok(first)) if ours == first => None,
            _ => {
                let question = Question::Read(FIRST_MOUNTINFO.to_owned());
                Some(Step::Done(Outcome::Unavailable(Reason::Container, Some(question))))
            }
        }
    }

    fn container(self) -> Option<Step> {
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
