//! The one place of this program that reads the system's clock, and the clock of simulated logs, which reads none.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use evidence::time::{Clock, Timestamp};

use crate::for_tests;

/// The system's wall clock. The sequencer never lets a receipt go back, whatever this says.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        Timestamp(ms.saturating_add(for_tests::clock_ahead_ms()))
    }
}

/// A clock that stands where it is put and never goes back: the time of a simulated log, whose genesis says so.
#[derive(Debug, Default)]
pub struct SimulatedClock(AtomicU64);

impl SimulatedClock {
    /// A clock that stands at `now`.
    pub fn new(now: Timestamp) -> Self {
        Self(AtomicU64::new(now.ms()))
    }

    /// Puts it at `now`, unless it stands there or later already.
    pub fn advance(&self, now: Timestamp) {
        self.0.fetch_max(now.ms(), Ordering::Relaxed);
    }
}

impl Clock for SimulatedClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Relaxed))
    }
}
