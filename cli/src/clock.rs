//! The one place of this program that reads the system's clock.

use std::time::{SystemTime, UNIX_EPOCH};

use evidence::time::{Clock, Timestamp};

/// The system's wall clock: `made_at` of acts, and the validity of certificates.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
    }
}
