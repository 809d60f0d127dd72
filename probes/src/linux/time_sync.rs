//! `time-sync`: whether the clock is set by somebody else's.

use proto::{TimeSync, facts::Control};

use crate::{
    answers::{Answers, Round, unanswered, unparsed},
    drive::{Outcome, Step},
    linux::container,
    programs::Program,
    question::{Answer, FileKind, Question},
};

/// systemd's word in properties, which are never translated. `NTPSynchronized` is the kernel's own state.
pub(crate) const SHOW: [&str; 3] = ["show", "--property=NTP", "--property=NTPSynchronized"];
/// systemd-timesyncd touches it at every synchronisation.
pub(crate) const TIMESYNC_STAMP: &str = "/run/systemd/timesync/synchronized";
/// Programs that set the clock, where distributions install them.
const SERVICES: [(&str, &str); 7] = [
    ("chrony", "/usr/sbin/chronyd"),
    ("chrony", "/usr/bin/chronyd"),
    ("ntpd", "/usr/sbin/ntpd"),
    ("ntpd", "/usr/bin/ntpd"),
    ("ntpd-rs", "/usr/bin/ntp-daemon"),
    ("systemd-timesyncd", "/usr/lib/systemd/systemd-timesyncd"),
    ("systemd-timesyncd", "/lib/systemd/systemd-timesyncd"),
];

/// The step of the probe on Linux.
pub(crate) fn step(answers: &Answers) -> Step {
    let mut round = Round::new(answers);
    let container = container::ask(&mut round);
    if let Some(step) = round.pending() {
        return step;
    }
    if let Some(step) = container.verdict() {
        return step;
    }
    let show = Question::run(Program::Timedatectl, &SHOW);
    let shown = round.ask(&show);
    let processes = round.ask(&Question::Processes);
    let stamp = round.metadata(TIMESYNC_STAMP);
    if let Some(step) = round.pending() {
        return step;
    }
    let Some(text) = shown.whole_text() else { return unanswered(show, shown) };
    let (enabled, synchronised) = (property(text, "NTP"), property(text, "NTPSynchronized"));
    if enabled.is_none() && synchronised.is_none() {
        return unparsed(show);
    }
    let service = service(processes);
    let synchronised_minutes = match stamp {
        Answer::Metadata(m) if m.path == TIMESYNC_STAMP && m.kind == FileKind::File => {
            u64::try_from(m.modified_seconds).ok().map(|seconds| seconds / 60)
        }
        _ => None,
    };
    Step::Done(Outcome::observed(Control::TimeSync(TimeSync {
        service: service.to_owned(),
        enabled,
        synchronised,
        // The stamp stays when another program takes over.
        synchronised_minutes: synchronised_minutes.filter(|_| service == "systemd-timesyncd"),
    })))
}

/// A property that is `yes` or `no`, and stands there once.
fn property(text: &str, name: &str) -> Option<bool> {
    let mut values = text.lines().filter_map(|line| line.split_once('=')).filter(|(key, _)| *key == name);
    let (_, value) = values.next()?;
    match (value, values.next()) {
        ("yes", None) => Some(true),
        ("no", None) => Some(false),
        _ => None,
    }
}

/// The program that runs; empty where none is seen.
fn service(processes: &Answer) -> &'static str {
    let Answer::Processes(processes) = processes else { return "" };
    let runs = |path: &str| processes.iter().any(|process| process.exe.as_deref() == Some(path));
    SERVICES.into_iter().find(|(_, path)| runs(path)).map_or("", |(name, _)| name)
}
