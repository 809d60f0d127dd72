//! The one place of this program that reads the system's clock.

use std::time::{SystemTime, UNIX_EPOCH};

use evidence::time::{Clock, Timestamp};

/// The system's wall clock. The sequencer never lets a receipt go back, whatever this says.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
    }
}
