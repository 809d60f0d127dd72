//! Log lines about who was turned away: at the doors, by the limits of the listeners, and with statements, by quotas.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::listen::Counters;
use crate::quota::Quotas;

/// Between two looks: accounts of devices are let go then, and a line is written where something was turned away.
const ROUND_INTERVAL: Duration = Duration::from_mins(1);

/// Counts to tell.
pub(crate) struct TurnedAway {
    quotas: Arc<Quotas>,
    doors: Vec<Door>,
}

/// A listener's counters, and what was told of them.
struct Door {
    name: &'static str,
    counters: Arc<Counters>,
    told: Counts,
}

/// What a listener has counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counts {
    failed: u64,
    dropped: u64,
    refused: u64,
    flooded: u64,
    accept_errors: u64,
}

impl Counts {
    fn of(counters: &Counters) -> Self {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Self {
            failed: read(&counters.failed),
            dropped: read(&counters.dropped),
            refused: read(&counters.refused),
            flooded: read(&counters.flooded),
            accept_errors: read(&counters.accept_errors),
        }
    }

    fn since(self, before: Self) -> Self {
        Self {
            failed: self.failed.saturating_sub(before.failed),
            dropped: self.dropped.saturating_sub(before.dropped),
            refused: self.refused.saturating_sub(before.refused),
            flooded: self.flooded.saturating_sub(before.flooded),
            accept_errors: self.accept_errors.saturating_sub(before.accept_errors),
        }
    }
}

impl TurnedAway {
    pub(crate) fn new(quotas: Arc<Quotas>) -> Self {
        Self { quotas, doors: Vec::new() }
    }

    /// New counters for a listener, whose changes are told.
    pub(crate) fn counters(&mut self, name: &'static str) -> Arc<Counters> {
        let counters = Arc::new(Counters::default());
        self.doors.push(Door { name, counters: Arc::clone(&counters), told: Counts::default() });
        counters
    }

    /// A round each minute until `cancel`, and a last one.
    pub(crate) async fn run(mut self, cancel: CancellationToken) {
        let mut rounds = tokio::time::interval(ROUND_INTERVAL);
        while cancel.run_until_cancelled(rounds.tick()).await.is_some() {
            self.round();
        }
        self.round();
    }

    fn round(&mut self) {
        self.quotas.look_after(Instant::now());
        for door in &mut self.doors {
            let counts = Counts::of(&door.counters);
            let news = counts.since(std::mem::replace(&mut door.told, counts));
            if news != Counts::default() {
                let Counts { failed, dropped, refused, flooded, accept_errors } = news;
                tracing::warn!(
                    listener = door.name,
                    failed,
                    dropped,
                    refused,
                    flooded,
                    accept_errors,
                    "Connections were turned away in the last minute."
                );
            }
        }
    }
}
