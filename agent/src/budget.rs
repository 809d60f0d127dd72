//! How often something may happen: so many times at once, and then once in a while.

use std::time::Duration;

use tokio::time::Instant;

/// Looks that changes of files may cause at once: an upgrade changes many files over minutes.
pub const LOOKS_BURST: u32 = 6;
/// One more such look in so much time: a look asks the package manager, which costs seconds of a processor.
pub const LOOKS_EVERY: Duration = Duration::from_mins(10);
/// Drift statements that may be made at once: a person who changes settings, and changes them back.
pub const DRIFTS_BURST: u32 = 4;
/// One more drift statement in so much time: facts that flicker must not fill the log. With the burst at most 28 in a day.
pub const DRIFTS_EVERY: Duration = Duration::from_hours(1);

/// What is left of a bound. Full at the start of the program.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    burst: u32,
    every: Duration,
    left: u32,
    /// Since when the next one is growing.
    since: Instant,
}

impl Budget {
    /// `burst` times at once, and one more in each `every`.
    pub fn new(burst: u32, every: Duration, now: Instant) -> Self {
        Self { burst, every, left: burst, since: now }
    }

    /// The bound of looks that something gave cause for.
    pub fn of_looks(now: Instant) -> Self {
        Self::new(LOOKS_BURST, LOOKS_EVERY, now)
    }

    /// The bound of drift statements.
    pub fn of_drifts(now: Instant) -> Self {
        Self::new(DRIFTS_BURST, DRIFTS_EVERY, now)
    }

    /// When one may happen: `now`, or later.
    pub fn free_at(&mut self, now: Instant) -> Instant {
        while self.left < self.burst && now.saturating_duration_since(self.since) >= self.every {
            self.left = self.left.saturating_add(1);
            self.since += self.every;
        }
        if self.left > 0 { now } else { self.since + self.every }
    }

    /// One happens now; whether there was room for it.
    pub fn take(&mut self, now: Instant) -> bool {
        if self.free_at(now) > now {
            return false;
        }
        if self.left == self.burst {
            self.since = now;
        }
        self.left = self.left.saturating_sub(1);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::Budget;
    use proptest::prelude::*;
    use std::time::Duration;
    use tokio::time::Instant;

    #[test]
    fn a_burst_and_then_one_in_a_while() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut budget = Budget::new(2, Duration::from_secs(10), start);
        assert!(budget.take(at(5)) && budget.take(at(5)) && !budget.take(at(5)));
        assert_eq!(budget.free_at(at(6)), at(15));
        assert!(!budget.take(at(14)) && budget.take(at(15)) && !budget.take(at(15)));
        assert!(
            budget.take(at(1000)) && budget.take(at(1000)) && !budget.take(at(1000)),
            "never more than the burst"
        );
    }

    proptest! {
        #[test]
        fn no_span_of_time_has_more_than_it_may(gaps in proptest::collection::vec(0..40u64, 1..200)) {
            let start = Instant::now();
            let mut budget = Budget::new(3, Duration::from_secs(10), start);
            let mut second = 0;
            let mut taken = Vec::new();
            for gap in gaps {
                second += gap;
                if budget.take(start + Duration::from_secs(second)) {
                    taken.push(second);
                }
            }
            for (first, from) in taken.iter().enumerate() {
                for (last, to) in taken.iter().enumerate().skip(first) {
                    prop_assert!((last - first + 1) as u64 <= 3 + (to - from) / 10);
                }
            }
        }
    }
}
