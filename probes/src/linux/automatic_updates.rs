//! `automatic-updates`: whether security updates install themselves. Debian's and Ubuntu's way.

use proto::{AutomaticUpdates, Reason, facts::Control};

use crate::{
    answers::{Answers, Round, unanswered, unparsed},
    drive::{Outcome, Step},
    linux::{container, os_release, units},
    programs::Program,
    question::{Answer, FileKind, Question},
};

/// What apt's daily jobs and unattended-upgrades are told, all fragments merged.
pub(crate) const DUMP: [&str; 3] = ["dump", "APT::Periodic", "Unattended-Upgrade"];
/// The two switches once more, so that a line lost from one answer is noticed.
pub(crate) const SWITCHES: [&str; 5] =
    ["shell", "ENABLE", "APT::Periodic::Enable", "UPGRADE", "APT::Periodic::Unattended-Upgrade"];
/// What installs the updates; without it the switch does nothing.
pub(crate) const PROGRAM: &str = "/usr/bin/unattended-upgrade";
const SYSTEMS: [&str; 2] = ["debian", "ubuntu"];

/// The step of the probe on Linux.
pub(crate) fn step(answers: &Answers) -> Step {
    let mut round = Round::new(answers);
    let container = container::ask(&mut round);
    let release = os_release::ask(&mut round);
    if let Some(step) = round.pending() {
        return step;
    }
    if let Some(step) = container.verdict() {
        return step;
    }
    let Some(release) = os_release::parse(release) else {
        return unanswered(Question::Read(os_release::PATHS[0].to_owned()), release[0]);
    };
    if !SYSTEMS.contains(&release.id.as_str()) {
        return Step::Done(Outcome::unavailable(Reason::UnsupportedPlatform));
    }
    let dump = Question::run(Program::AptConfig, &DUMP);
    let switches = Question::run(Program::AptConfig, &SWITCHES);
    let dumped = round.ask(&dump);
    let told = round.ask(&switches);
    let program = round.metadata(PROGRAM);
    let states = round.ask(&units::question());
    if let Some(step) = round.pending() {
        return step;
    }
    let (text, told) = match (dumped.whole_text(), told.whole_text()) {
        (None, _) => return unanswered(dump, dumped),
        (_, None) => return unanswered(switches, told),
        (Some(text), Some(told)) => (text, told),
    };
    let Some(settings) = settings(text) else { return unparsed(dump) };
    let Some(told) = shell(told) else { return unparsed(switches) };
    let get = |name: &str| settings.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
    let enable = get("APT::Periodic::Enable");
    let upgrade = get("APT::Periodic::Unattended-Upgrade");
    let switched = [("ENABLE", enable), ("UPGRADE", upgrade)];
    if told != switched.into_iter().filter_map(|(name, value)| Some((name, value?))).collect::<Vec<_>>() {
        return unparsed(switches);
    }
    // apt's daily script takes a missing `Enable` for 1, and a missing interval for 0: never.
    let is_on = |value: Option<&str>, unset: bool| match value {
        None => Some(unset),
        Some("always") => Some(true),
        Some(number) => interval(number),
    };
    let enabled = is_on(enable, true);
    let both = |value: Option<bool>| match (enabled, value) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        _ => None,
    };
    let program = match program {
        Answer::Metadata(m) if m.path == PROGRAM => Some(m.kind == FileKind::File),
        Answer::Absent => Some(false),
        _ => None,
    };
    let origins = Some(settings.iter().any(|(key, value)| names_security(key, value)));
    let units = units::Units::parse(states);
    let scheduled = units.and_then(|units| units.any_active(&["apt-daily-upgrade.timer"]));
    let installs = [is_on(upgrade, false), program, origins];
    let installs = if installs.contains(&Some(false)) {
        Some(false)
    } else {
        installs.iter().all(|part| *part == Some(true)).then_some(true)
    };
    Step::Done(Outcome::observed(Control::AutomaticUpdates(AutomaticUpdates {
        mechanism: "unattended-upgrades".to_owned(),
        downloads: both(is_on(get("APT::Periodic::Update-Package-Lists"), false)),
        installs_security: both(installs),
        scheduled,
    })))
}

/// The lines `name "value";`; `None` when one has another form.
fn settings(text: &str) -> Option<Vec<(&str, &str)>> {
    text.lines()
        .map(|line| {
            let (name, rest) = line.split_once(" \"")?;
            Some((name, rest.strip_suffix("\";")?))
        })
        .collect()
}

/// The lines `NAME='value'`.
fn shell(text: &str) -> Option<Vec<(&str, &str)>> {
    text.lines()
        .map(|line| {
            let (name, rest) = line.split_once("='")?;
            Some((name, rest.strip_suffix('\'')?))
        })
        .collect()
}

/// `0` is never; `1` every day, `2h` every two hours.
fn interval(text: &str) -> Option<bool> {
    let number = text.trim_end_matches(['s', 'm', 'h', 'd']);
    number.parse::<u32>().ok().map(|number| number > 0)
}

/// The security suite is among what may be installed by itself.
fn names_security(key: &str, value: &str) -> bool {
    matches!(key, "Unattended-Upgrade::Allowed-Origins::" | "Unattended-Upgrade::Origins-Pattern::")
        && (value.ends_with("-security") || value.contains("label=Debian-Security"))
}
