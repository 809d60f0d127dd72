//! The states a unit can ever have, their names, and which is worse.

use std::fmt;
use std::str::FromStr;

/// The state of a unit. The first release makes five of them: Pass, Deviation, Indeterminate, Missing,
/// NotApplicable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// A fresh observation shows the requirement met.
    Pass,
    /// Not met, within the grace that the control allows.
    FailWithinGrace,
    /// Not met.
    Deviation,
    /// Observed, and neither is shown.
    Indeterminate,
    /// In service and no evidence.
    Missing,
    /// Shown by a second source not to have been in operation.
    NotInOperation,
    /// Met, by evidence that came late.
    PassLate,
    /// Not met, by evidence that came late.
    DeviationLate,
    /// Taken over from an earlier day.
    Carried,
    /// An approved exception. Never a pass.
    Waived,
    /// An exception that does not hold.
    WaiverInvalid,
    /// Shown not to concern this device.
    NotApplicable,
    /// Two devices speak as one.
    Conflict,
    /// Evidence of a recalled agent.
    EvidenceUnreliable,
    /// Seen by another source and not enrolled.
    Uncovered,
    /// Nothing happened that the control is about.
    NoOccurrence,
}

/// A word that names no state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no state of a unit")]
pub struct NotAState;

impl State {
    /// Every state, in the order of the format.
    pub const ALL: [Self; 16] = [
        Self::Pass,
        Self::FailWithinGrace,
        Self::Deviation,
        Self::Indeterminate,
        Self::Missing,
        Self::NotInOperation,
        Self::PassLate,
        Self::DeviationLate,
        Self::Carried,
        Self::Waived,
        Self::WaiverInvalid,
        Self::NotApplicable,
        Self::Conflict,
        Self::EvidenceUnreliable,
        Self::Uncovered,
        Self::NoOccurrence,
    ];

    /// The name used in every format.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "PASS",
            Self::FailWithinGrace => "FAIL_WITHIN_GRACE",
            Self::Deviation => "DEVIATION",
            Self::Indeterminate => "INDETERMINATE",
            Self::Missing => "MISSING",
            Self::NotInOperation => "NOT_IN_OPERATION",
            Self::PassLate => "PASS_LATE",
            Self::DeviationLate => "DEVIATION_LATE",
            Self::Carried => "CARRIED",
            Self::Waived => "WAIVED",
            Self::WaiverInvalid => "WAIVER_INVALID",
            Self::NotApplicable => "NOT_APPLICABLE",
            Self::Conflict => "CONFLICT",
            Self::EvidenceUnreliable => "EVIDENCE_UNRELIABLE",
            Self::Uncovered => "UNCOVERED",
            Self::NoOccurrence => "NO_OCCURRENCE",
        }
    }

    /// Whether one observation of this state outweighs one of `other` on the same day: DEVIATION, then
    /// INDETERMINATE, then PASS, then NOT_APPLICABLE. Other states are not of one observation.
    pub const fn is_worse_than(self, other: Self) -> bool {
        self.weight() > other.weight()
    }

    const fn weight(self) -> u8 {
        match self {
            Self::Deviation => 3,
            Self::Pass => 1,
            Self::NotApplicable => 0,
            // What says neither yes nor no is weighed as not known.
            _ => 2,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for State {
    type Err = NotAState;

    fn from_str(text: &str) -> Result<Self, NotAState> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or(NotAState)
    }
}
