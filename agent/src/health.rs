//! How the exchange with the collector goes, kept for `status`. Nothing here is evidence.

use serde::{Deserialize, Serialize};

use crate::state::{StateDirectory, StateError};

/// The file.
pub(crate) const HEALTH_FILE: &str = "health.json";
/// Most verdicts kept: as many as a statement has observations.
const VERDICTS_MAX: usize = 64;

/// One control as the collector judges it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Control id.
    pub control: String,
    /// State of docs/FORMAT.md section 9.
    pub state: String,
    /// Why.
    pub reason: String,
    /// What the person at the machine can do.
    pub remedy: String,
}

/// A statement the collector would not admit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Its sequence.
    pub sequence: u64,
    /// The reason's name.
    pub reason: String,
    /// In words.
    pub detail: String,
    /// When, by this device's clock.
    pub at_ms: u64,
}

/// The last known state of the exchange.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// When the collector last answered, by this device's clock.
    pub answered_ms: Option<u64>,
    /// Why the last stream ended or did not begin; absent while all is well.
    pub error: Option<String>,
    /// The refusal that stopped sending; absent once something was stored again.
    pub refused: Option<Refusal>,
    /// The collector's judgement, as far as it sent one.
    pub posture: Vec<Verdict>,
}

impl Health {
    /// Reads what was kept. Damage costs no more than the knowledge.
    pub fn read(state: &StateDirectory) -> Self {
        state.read_json(HEALTH_FILE).ok().flatten().unwrap_or_default()
    }

    /// Keeps it.
    pub fn write(&self, state: &StateDirectory) -> Result<(), StateError> {
        state.write_json(HEALTH_FILE, self)
    }

    /// Takes a posture, cut to what can be shown.
    pub fn take_posture(&mut self, verdicts: Vec<proto::Verdict>) {
        let shown = crate::session::printable;
        self.posture = verdicts
            .into_iter()
            .take(VERDICTS_MAX)
            .map(|verdict| Verdict {
                control: shown(&verdict.control),
                state: shown(&verdict.state),
                reason: shown(&verdict.reason),
                remedy: shown(&verdict.remedy),
            })
            .collect();
    }
}
