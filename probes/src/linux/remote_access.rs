//! `remote-access`: whether SSH lets somebody in, and with what.

use proto::{Reason, RemoteAccess, RootLogin, facts::Control};

use crate::{
    answers::{Answers, Round, unparsed},
    drive::{Outcome, Step},
    linux::{container, units},
    programs::Program,
    question::{Answer, Question},
};

/// The server's own reading of its configuration, with includes and what matches root, as numbers and fixed words.
pub(crate) const EFFECTIVE: [&str; 3] = ["-T", "-C", "user=root,host=localhost,addr=127.0.0.1"];
const SSH_UNITS: [&str; 4] = ["ssh.service", "ssh.socket", "sshd.service", "sshd.socket"];

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
    let effective = Question::run(Program::Sshd, &EFFECTIVE);
    let shown = round.ask(&effective);
    let states = round.ask(&units::question());
    let processes = round.ask(&Question::Processes);
    if let Some(step) = round.pending() {
        return step;
    }
    let configuration = shown.whole_text();
    let by_unit = units::Units::parse(states).and_then(|units| active(&units));
    let ssh_server = match (by_unit, runs(processes)) {
        (Some(true), _) | (_, Some(true)) => Some(true),
        (Some(false), Some(false)) => Some(false),
        _ => None,
    };
    let facts = RemoteAccess {
        ssh_server,
        root_login: configuration.and_then(root_login).unwrap_or(RootLogin::Unspecified).into(),
        password_login: configuration.and_then(|text| flag(text, "passwordauthentication")),
        keyboard_interactive: configuration.and_then(|text| flag(text, "kbdinteractiveauthentication")),
        ..RemoteAccess::default()
    };
    if facts == RemoteAccess::default() {
        return match shown {
            Answer::Output { status: 0, .. } => unparsed(effective),
            _ => Step::Done(Outcome::Unavailable(Reason::UnparsedOutput, Some(units::question()))),
        };
    }
    Step::Done(Outcome::observed(Control::RemoteAccess(facts)))
}

/// The unit has two names; a distribution uses one, and for the other systemd says that it is not active.
fn active(units: &units::Units) -> Option<bool> {
    units.any_active(&SSH_UNITS)
}

/// A server that was started by hand runs too. An executable that is not shown could be one.
fn runs(processes: &Answer) -> Option<bool> {
    let Answer::Processes(processes) = processes else { return None };
    if processes.is_empty() {
        return None;
    }
    if processes.iter().any(|p| p.exe.as_deref() == Some("/usr/sbin/sshd")) {
        return Some(true);
    }
    let hidden = processes.iter().any(|p| p.exe.is_none() && p.name == "sshd");
    (!hidden).then_some(false)
}

/// The value of a key that stands there once.
fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let mut values = text.lines().filter_map(|line| line.split_once(' ')).filter(|(name, _)| *name == key);
    let (_, value) = values.next()?;
    values.next().is_none().then_some(value)
}

/// `yes` or `no` of a key of the effective configuration.
pub(crate) fn flag(text: &str, key: &str) -> Option<bool> {
    match value(text, key)? {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    }
}

/// How root may log in, by the effective configuration.
pub(crate) fn root_login(text: &str) -> Option<RootLogin> {
    match value(text, "permitrootlogin")? {
        "no" => Some(RootLogin::No),
        "forced-commands-only" => Some(RootLogin::CommandsOnly),
        "without-password" | "prohibit-password" => Some(RootLogin::KeysOnly),
        "yes" => Some(RootLogin::Yes),
        _ => None,
    }
}
