//! `host-firewall` on macOS: the application firewall, which decides by program.
//!
//! Its plist (`com.apple.alf`) is gone since macOS 15, and the number in "State = 2" does not mean that everything is
//! blocked: only the sentence about that does. The packet filter `pf` is not looked at.

use proto::{FilterDefault, FilterScope, FirewallFilter, HostFirewall, facts::Control};

use crate::{
    answers::{Answers, Round, unanswered, unparsed},
    drive::{Outcome, Step},
    macos::{managed, plists::Dict},
    programs::Program,
    question::Question,
};

/// Whether it is on, and whether it blocks everything.
pub(crate) const STATE: [&str; 2] = ["--getglobalstate", "--getblockall"];
/// What an administrator forces.
pub(crate) const DOMAIN: &str = "com.apple.security.firewall";
const ENABLE: &str = "EnableFirewall";
/// Names of the domain; a list without any is another list.
const NAMES: [&str; 7] = [
    ENABLE,
    "AllowSigned",
    "AllowSignedApp",
    "Applications",
    "BlockAllIncoming",
    "EnableLogging",
    "EnableStealthMode",
];

/// The step of the probe on macOS.
pub(crate) fn step(answers: &Answers) -> Step {
    let mut round = Round::new(answers);
    let question = Question::run(Program::Socketfilterfw, &STATE);
    let state = round.ask(&question);
    let forced = managed::ask(&mut round, DOMAIN, None);
    if let Some(step) = round.pending() {
        return step;
    }
    let Some(text) = state.whole_text() else { return unanswered(question, state) };
    let mut lines = text.lines().map(str::trim_end);
    let (Some(global), Some(all), None) = (lines.next().and_then(is_on), lines.next(), lines.next()) else {
        return unparsed(question);
    };
    let forced = forced.dicts().filter(|dicts| dicts.iter().all(is_of_domain));
    // What an administrator forces off and the tool calls on is one or the other.
    let forced_off = forced.map(|dicts| {
        dicts.iter().any(|dict| dict.get(ENABLE).is_some_and(|value| value.flag() != Some(true)))
    });
    let enabled = match (global, forced_off) {
        (false, _) => Some(false),
        (true, Some(false)) => Some(true),
        _ => None,
    };
    let incoming = match (enabled, blocks_all(all)) {
        (Some(false), _) => FilterDefault::Allow,
        (Some(true), Some(true)) => FilterDefault::Block,
        // It depends on the program and its signature.
        _ => FilterDefault::Unspecified,
    };
    let filters = vec![FirewallFilter {
        scope: FilterScope::Application.into(),
        enabled,
        incoming: incoming.into(),
        open_interfaces: None,
    }];
    Step::Done(Outcome::observed(Control::HostFirewall(HostFirewall { filters, filters_truncated: false })))
}

fn is_of_domain(dict: &Dict) -> bool {
    NAMES.iter().any(|name| dict.contains_key(*name))
}

/// The sentence, whole; new words say nothing.
fn is_on(line: &str) -> Option<bool> {
    match line {
        "Firewall is enabled. (State = 1)" | "Firewall is enabled. (State = 2)" => Some(true),
        "Firewall is disabled. (State = 0)" => Some(false),
        _ => None,
    }
}

/// Both wordings that are known.
fn blocks_all(line: &str) -> Option<bool> {
    match line {
        "Firewall has block all state set to enabled." | "Block all ENABLED!" => Some(true),
        "Firewall has block all state set to disabled." | "Block all DISABLED!" => Some(false),
        _ => None,
    }
}
