//! The state of a unit: one device, one day, one control. docs/FORMAT.md section 9, "State of a unit".
//!
//! A pure function of what was logged: whoever has the entries comes to the same state.

use std::collections::BTreeMap;
use std::fmt;

use proto::observation::Outcome;

use crate::facts::{self, Facts};
use crate::plan::Plan;
use crate::policy::{Control, Policy};
use crate::roster::ServiceSpan;
use crate::rules::Truth;
use crate::statement::Attestation;
use crate::time::{DayLabel, MINUTE_MS, Timestamp};

mod state;

pub use state::{NotAState, State};

/// A day of a unit, half open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Day {
    /// First moment.
    pub start: Timestamp,
    /// First moment after it; at a partial day the receipt of the freeze.
    pub end: Timestamp,
    /// At a partial day the index of the freeze: only what was logged before it is judged.
    pub freeze_index: Option<u64>,
}

/// A version of a policy, as logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PolicyEntry<'a> {
    /// Index of its leaf.
    pub index: u64,
    /// When it was logged.
    pub received: Timestamp,
    /// What it says.
    pub policy: &'a Policy,
}

/// An admitted attestation of one of the device's instances, as logged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sighting<'a> {
    /// Index of its leaf.
    pub index: u64,
    /// When it was logged.
    pub received: Timestamp,
    /// What it says.
    pub attestation: &'a Attestation,
}

/// An attestation of one of the device's instances whose payload was erased: when it was observed, nobody knows any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Erased {
    /// Index of its leaf.
    pub index: u64,
    /// When it was logged.
    pub received: Timestamp,
}

impl Erased {
    /// Whether it may have been observed on a day and logged within `max_age_minutes`.
    pub fn may_lie_in(&self, day: &Day, max_age_minutes: u64) -> bool {
        let earliest_ms = self.received.ms().saturating_sub(max_age_minutes.saturating_mul(MINUTE_MS));
        self.received >= day.start && earliest_ms < day.end.ms()
    }
}

/// The state of a unit and what it rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitState {
    /// The state.
    pub state: State,
    /// Why, as one word of the format, for example `condition` or `no-evidence`.
    pub because: &'static str,
    /// Index of the leaf that decided; `None` when none did.
    pub decided_by: Option<u64>,
    /// Index of the policy entry in force; `None` when there was none.
    pub policy_index: Option<u64>,
    /// Indexes of the attestations that count, ascending.
    pub counted: Vec<u64>,
}

impl Day {
    /// The days of a plan by label, judged as of its freeze: `freeze_received` is the received_ms of the
    /// freeze leaf, `freeze_index` its index.
    pub fn of_plan(plan: &Plan, freeze_received: Timestamp, freeze_index: u64) -> BTreeMap<DayLabel, Self> {
        let spans = plan.spans(freeze_received);
        let partial = plan.partial_day && freeze_received < plan.end;
        let last = spans.last().map(|span| span.label);
        spans
            .iter()
            .map(|span| {
                let freeze_index = (partial && Some(span.label) == last).then_some(freeze_index);
                (span.label, Self { start: span.start, end: span.end, freeze_index })
            })
            .collect()
    }

    /// Whether a moment lies in it.
    pub fn contains(&self, moment: Timestamp) -> bool {
        self.start <= moment && moment < self.end
    }

    /// Whether some moment of a span lies in it; an empty day or span has none.
    pub fn meets(&self, span: &ServiceSpan) -> bool {
        span.start.max(self.start) < span.end.min(self.end)
    }

    /// Whether an entry of this index is judged: at a partial day only those before the freeze.
    pub fn admits(&self, index: u64) -> bool {
        self.freeze_index.is_none_or(|freeze| index < freeze)
    }

    /// The policy in force: the last one logged before the end, or before the freeze of a partial day.
    pub fn policy<'a>(&self, policies: &[PolicyEntry<'a>]) -> Option<PolicyEntry<'a>> {
        policies
            .iter()
            .filter(|entry| match self.freeze_index {
                Some(freeze) => entry.index < freeze,
                None => entry.received < self.end,
            })
            .max_by_key(|entry| entry.index)
            .copied()
    }
}

impl Sighting<'_> {
    /// When the device saw it: by its own clock, but never after the receipt.
    pub fn observed(&self) -> Timestamp {
        self.attestation.wall().min(self.received)
    }

    /// Whether it counts for a control on a day: observed in it, logged in time and, at a partial day, before
    /// the freeze.
    pub fn counts(&self, day: &Day, control: &Control) -> bool {
        let age_ms = self.received.ms().saturating_sub(self.observed().ms());
        day.contains(self.observed())
            && day.admits(self.index)
            && age_ms <= control.max_age_minutes.saturating_mul(MINUTE_MS)
    }

    /// What it alone says about a control: a state and its word.
    pub fn judge(&self, control: &Control) -> (State, &'static str) {
        let observation = self.attestation.observation(&control.id);
        match observation.and_then(|observation| observation.outcome.as_ref()) {
            Some(Outcome::Observed(observed)) => {
                // Facts of another control would be judged by names they do not have.
                if facts::control_of(observed) != Some(control.id.as_str()) {
                    return (State::Indeterminate, "no-observation");
                }
                match control.condition.evaluate(&Facts::of(observed), self.observed().minutes()) {
                    Truth::True => (State::Pass, "condition"),
                    Truth::False => (State::Deviation, "condition"),
                    Truth::Unknown => (State::Indeterminate, "unknown-fact"),
                }
            }
            Some(Outcome::NotApplicable(proof)) => not_applicable(control, proof),
            Some(Outcome::Unavailable(unavailable)) => (State::Indeterminate, reason(unavailable.reason())),
            None => (State::Indeterminate, "no-observation"),
        }
    }
}

/// A proof counts only for the control it is about, and only if it proves what it says.
fn not_applicable(control: &Control, proof: &proto::NotApplicable) -> (State, &'static str) {
    match &proof.proof {
        Some(proto::not_applicable::Proof::Headless(headless))
            if control.id.as_str() == "screen-lock"
                && !headless.display_manager
                && headless.graphical_sessions == 0
                && !headless.desktop_installed =>
        {
            (State::NotApplicable, "headless")
        }
        _ => (State::Indeterminate, "unproved"),
    }
}

/// The reason's name in lower case with hyphens.
pub const fn reason(reason: proto::Reason) -> &'static str {
    use proto::Reason;
    match reason {
        // Refused at admission; a reason that nobody gave is no observation.
        Reason::Unspecified => "no-observation",
        Reason::NoPrivilege => "no-privilege",
        Reason::ToolMissing => "tool-missing",
        Reason::Timeout => "timeout",
        Reason::UnparsedOutput => "unparsed-output",
        Reason::NoSession => "no-session",
        Reason::UnsupportedPlatform => "unsupported-platform",
        Reason::Container => "container",
        Reason::TooLarge => "too-large",
        Reason::TooManyRounds => "too-many-rounds",
        Reason::Stale => "stale",
        Reason::UnsupportedDesktop => "unsupported-desktop",
        Reason::IoError => "io-error",
        Reason::DisabledByConfig => "disabled-by-config",
    }
}

/// The state of the unit (device, `day`, `control`).
///
/// `policies`: the entries of the rules stream in any order. `service`: the device's states in service,
/// from the roster entries the day is judged by. `sightings`: its admitted attestations in any order; others
/// than those of the day change nothing.
pub fn judge_unit(
    day: &Day,
    control: &str,
    policies: &[PolicyEntry<'_>],
    service: &[ServiceSpan],
    sightings: &[Sighting<'_>],
) -> UnitState {
    judge_with_erased(day, control, policies, service, sightings, &[])
}

/// The same where attestations were erased: one that may have counted makes the unit INDETERMINATE at best, and what
/// is left without any statement stays MISSING. So erasing never makes a state better than the evidence left.
pub fn judge_with_erased(
    day: &Day,
    control: &str,
    policies: &[PolicyEntry<'_>],
    service: &[ServiceSpan],
    sightings: &[Sighting<'_>],
    erased: &[Erased],
) -> UnitState {
    let policy = day.policy(policies);
    let mut unit = UnitState {
        state: State::Indeterminate,
        because: "no-policy",
        decided_by: None,
        policy_index: policy.map(|entry| entry.index),
        counted: Vec::new(),
    };
    let Some(control) = policy.and_then(|entry| entry.policy.control(control)) else {
        return unit;
    };
    let applies = service.iter().any(|span| day.meets(span) && control.applies_to(span.class, &span.group));
    if !applies {
        (unit.state, unit.because) = (State::NotApplicable, "class");
        return unit;
    }
    let mut counted: Vec<_> = sightings.iter().filter(|sighting| sighting.counts(day, control)).collect();
    let none_left = counted.is_empty();
    let erased = erased
        .iter()
        .filter(|erased| day.admits(erased.index) && erased.may_lie_in(day, control.max_age_minutes))
        .map(|erased| (erased.index, State::Indeterminate, "erased"));
    let mut judged: Vec<(u64, State, &'static str)> = counted
        .drain(..)
        .map(|sighting| (sighting.index, sighting.judge(control)))
        .map(|(index, (state, because))| (index, state, because))
        .chain(erased)
        .collect();
    judged.sort_by_key(|(index, ..)| *index);
    unit.counted = judged.iter().map(|(index, ..)| *index).collect();
    if none_left {
        (unit.state, unit.because) =
            (State::Missing, if judged.is_empty() { "no-evidence" } else { "erased" });
        return unit;
    }
    let mut worst: Option<State> = None;
    for (index, state, because) in judged {
        if worst.is_none_or(|worst| state.is_worse_than(worst)) {
            worst = Some(state);
            (unit.state, unit.because, unit.decided_by) = (state, because, Some(index));
        }
    }
    unit
}

impl fmt::Display for UnitState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.state, self.because)
    }
}

#[cfg(test)]
mod tests;
