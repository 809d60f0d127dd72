//! `time-sync` on macOS: whether the clock is set from the network. When it last was, nothing tells.

use proto::{TimeSync, facts::Control};

use crate::{
    answers::{Answers, Round, unanswered, unparsed},
    drive::{Outcome, Step},
    macos::{launchctl, managed, plists::Dict},
    programs::Program,
    question::Question,
};

/// The switch, which only root is told.
pub(crate) const SWITCH: [&str; 1] = ["-getusingnetworktime"];
/// What an administrator forces.
pub(crate) const DOMAIN: &str = "com.apple.timed";
/// The job that sets the clock.
pub(crate) const JOB: &str = "com.apple.timed";
const AUTOMATIC: &str = "TMAutomaticTimeOnlyEnabled";
const ZONE: &str = "TMAutomaticTimeZoneEnabled";

/// The step of the probe on macOS.
pub(crate) fn step(answers: &Answers) -> Step {
    let mut round = Round::new(answers);
    let question = Question::run(Program::Systemsetup, &SWITCH);
    let switch = round.ask(&question);
    let forced = managed::ask(&mut round, DOMAIN, None);
    let job = launchctl::ask(&mut round, JOB);
    if let Some(step) = round.pending() {
        return step;
    }
    let on = match switch.line() {
        Some("Network Time: On") => true,
        Some("Network Time: Off") => false,
        Some(_) => return unparsed(question),
        None => return unanswered(question, switch),
    };
    // What is forced off and told to be on is one or the other; a lost list could have forced it off.
    let forced = forced.dicts().filter(|dicts| dicts.iter().all(is_of_domain));
    let forced_off = forced.map(|dicts| {
        dicts.iter().any(|dict| dict.get(AUTOMATIC).is_some_and(|value| value.flag() != Some(true)))
    });
    let loaded = job.is_loaded();
    let enabled = match (on, forced_off, loaded) {
        (false, ..) | (_, _, Some(false)) => Some(false),
        (true, Some(false), Some(true)) => Some(true),
        _ => None,
    };
    Step::Done(Outcome::observed(Control::TimeSync(TimeSync {
        service: if loaded == Some(true) { "timed" } else { "" }.to_owned(),
        enabled,
        synchronised: None,
        synchronised_minutes: None,
    })))
}

fn is_of_domain(dict: &Dict) -> bool {
    [AUTOMATIC, ZONE].iter().any(|name| dict.contains_key(*name))
}
