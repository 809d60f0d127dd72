//! What a sample says about a control: three bounds, always shown together. docs/FORMAT.md section 11.
//!
//! Not in scope: a conclusion. That is the auditor's.

use std::collections::BTreeMap;

use crate::ids::Name;
use crate::json::{Value, count, object, text};
use crate::judge::State;
use crate::plan::Plan;
use crate::stats::{self, StatsError};

/// One reading of the sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    /// Units in it.
    pub n: u64,
    /// Of them, those read as deviations.
    pub deviations: u64,
    /// Upper limit of the deviation rate in percent, rounded up to one decimal, for example `10.2`.
    pub upper_limit: String,
    /// The limit does not exceed the tolerable rate, at the plan's risk.
    pub supports: bool,
}

/// The evaluation of one control.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evaluation {
    /// The control.
    pub control: Name,
    /// Units evaluated, after replacement.
    pub sample: u64,
    /// What is not shown conforms.
    pub optimistic: Bound,
    /// What is not shown deviates; what is not applicable leaves.
    pub classified: Bound,
    /// Everything but a pass deviates.
    pub strict: Bound,
    /// How many units of each state, states that occur.
    pub states: BTreeMap<State, u64>,
}

/// The states that are evaluated: with `replace`, each selected unit that is not applicable gives way to the
/// next unused reserve, whatever that one's state; with none left it stays.
pub fn evaluated(selected: &[State], reserves: &[State], replace: bool) -> Vec<State> {
    let mut reserves = reserves.iter();
    selected
        .iter()
        .map(|state| match state {
            State::NotApplicable if replace => *reserves.next().unwrap_or(state),
            _ => *state,
        })
        .collect()
}

impl Evaluation {
    /// Evaluates the states of a control's sample (after [`evaluated`]) at the plan's risk and tolerable
    /// rate.
    ///
    /// # Errors
    /// [`StatsError`] when the sample or a rate is outside what the statistics take; never for a sound plan.
    pub fn of(control: &Name, sample: &[State], plan: &Plan) -> Result<Self, StatsError> {
        let mut states = BTreeMap::new();
        for state in sample {
            *states.entry(*state).or_default() += 1;
        }
        let total = tally(sample, |_| true);
        let applicable = tally(sample, |state| state != State::NotApplicable);
        Ok(Self {
            control: control.clone(),
            sample: total,
            optimistic: bound(total, tally(sample, is_shown_deviation), plan)?,
            classified: bound(applicable, tally(sample, is_classified_deviation), plan)?,
            strict: bound(total, tally(sample, |state| state != State::Pass), plan)?,
            states,
        })
    }

    /// The content of `evaluation/<control>.json`.
    pub fn to_json(&self) -> Value {
        let states = self.states.iter().map(|(state, n)| (state.as_str().to_owned(), count(*n))).collect();
        object([
            ("control", text(self.control.as_str())),
            ("sample", count(self.sample)),
            ("optimistic", self.optimistic.to_json()),
            ("classified", self.classified.to_json()),
            ("strict", self.strict.to_json()),
            ("states", Value::Object(states)),
        ])
    }
}

impl Bound {
    fn to_json(&self) -> Value {
        object([
            ("n", count(self.n)),
            ("deviations", count(self.deviations)),
            ("upper_limit", text(&self.upper_limit)),
            ("supports", count(self.supports.into())),
        ])
    }
}

fn tally(states: &[State], counts: impl Fn(State) -> bool) -> u64 {
    states.iter().filter(|state| counts(**state)).fold(0, |n, _| n + 1)
}

fn is_shown_deviation(state: State) -> bool {
    state == State::Deviation
}

fn is_classified_deviation(state: State) -> bool {
    matches!(state, State::Deviation | State::Indeterminate | State::Missing)
}

fn bound(n: u64, deviations: u64, plan: &Plan) -> Result<Bound, StatsError> {
    // Basis points beyond 32 bits are far outside the statistics' range, which refuse the largest one.
    let [risk_bp, tolerable_bp] =
        [plan.risk_bp, plan.tolerable_bp].map(|points| u32::try_from(points).unwrap_or(u32::MAX));
    Ok(Bound {
        n,
        deviations,
        upper_limit: stats::upper_limit(n, deviations, risk_bp)?.printed(),
        supports: n > 0 && stats::supports(n, deviations, tolerable_bp, risk_bp)?,
    })
}

#[cfg(test)]
pub(crate) mod tests;
