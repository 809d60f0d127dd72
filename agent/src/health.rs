//! How the exchange with the collector goes, kept for `status`. Nothing here is evidence.

use serde::{Deserialize, Serialize};

use crate::state::{StateDirectory, StateError};

/// The file.
pub(crate) const HEALTH_FILE: &str = "health.json";

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
    /// Why the last renewal of the certificate failed; absent once it did not.
    pub renewal: Option<String>,
    /// The refusal that stopped sending; absent once something was stored again.
    pub refused: Option<Refusal>,
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
}
