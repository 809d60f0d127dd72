//! How long to wait before the next try: exponential with full jitter, so that a fleet does not return as one.

use std::time::Duration;

/// Shortest wait.
pub const WAIT_MIN: Duration = Duration::from_secs(1);
/// Longest wait.
pub const WAIT_MAX: Duration = Duration::from_mins(15);
/// Doublings after which the longest wait is reached: 2^10 seconds are 17 minutes.
const DOUBLINGS_MAX: u32 = 10;

/// Tries that failed in a row.
#[derive(Debug, Clone, Copy, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Notes a failure and gives the wait before the next try: between one second and the bound, which doubles with
    /// every failure up to 15 minutes. `random` is any random number.
    pub fn wait(&mut self, random: u64) -> Duration {
        let bound = WAIT_MIN.saturating_mul(1 << self.failures.min(DOUBLINGS_MAX)).min(WAIT_MAX);
        self.failures = self.failures.saturating_add(1);
        let span_ms = u64::try_from((bound.saturating_sub(WAIT_MIN)).as_millis()).unwrap_or(u64::MAX);
        WAIT_MIN
            .saturating_add(Duration::from_millis(random.checked_rem(span_ms.saturating_add(1)).unwrap_or(0)))
    }

    /// Something worked.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::{Backoff, WAIT_MAX, WAIT_MIN};
    use proptest::prelude::*;

    #[test]
    fn the_bound_doubles_up_to_fifteen_minutes() {
        let mut backoff = Backoff::default();
        let largest: Vec<u64> = (0..12)
            .map(|failures| {
                let bound = if failures < 10 { (1u64 << failures) * 1000 } else { 900_000 };
                // A random number whose remainder is the largest: the span itself.
                backoff.wait(bound - 1000).as_millis().try_into().unwrap()
            })
            .collect();
        let expected = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900].map(|seconds: u64| seconds * 1000);
        assert_eq!(largest, expected);
        backoff.reset();
        assert_eq!(backoff.wait(u64::MAX), WAIT_MIN);
    }

    proptest! {
        #[test]
        fn every_wait_lies_between_the_ends(failures in 0..40u32, random in any::<u64>()) {
            let mut backoff = Backoff::default();
            for _ in 0..failures {
                backoff.wait(random);
            }
            let wait = backoff.wait(random);
            prop_assert!((WAIT_MIN..=WAIT_MAX).contains(&wait));
        }
    }
}
