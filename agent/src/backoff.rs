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

    #[test]
    fn waits_are_spread_evenly_over_the_whole_span() {
        // A fleet that lost its collector at one moment: each device at each number of failures.
        const DEVICES: u64 = 20_000;
        for failures in [1, 3, 6, 9, 10, 30] {
            let bound = (1u64 << failures.min(10)).min(900) * 1000;
            let mut tenths = [0u64; 10];
            for device in 0..DEVICES {
                let mut backoff = Backoff { failures };
                // Random numbers by splitmix64.
                let mut z = (device + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
                z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
                z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
                let wait = u64::try_from(backoff.wait(z ^ (z >> 31)).as_millis()).unwrap();
                let tenth = (wait - 1000) * 10 / (bound - 1000 + 1);
                tenths[usize::try_from(tenth).unwrap()] += 1;
            }
            // A tenth of 20,000 is 2,000 with a standard deviation of 42: five of them.
            assert!(tenths.iter().all(|count| count.abs_diff(2000) < 212), "{failures}: {tenths:?}");
        }
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
