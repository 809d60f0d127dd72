//! When to attest: at a fixed interval, at an offset of the device's own, so that a fleet spreads over the interval.

use evidence::ids::{Digest, InstanceId};
use evidence::time::{MINUTE_MS, Timestamp};

/// Shortest interval in minutes.
pub const INTERVAL_MINUTES_MIN: u64 = 5;
/// Longest interval in minutes: one day, so that no day is without evidence.
pub const INTERVAL_MINUTES_MAX: u64 = 24 * 60;
/// From the reserve of a full spool one attestation is made in so many minutes.
pub const RESERVE_MINUTES: u64 = 24 * 60;
/// The clock that goes on in suspend moving so many milliseconds more than the one that stops means that the machine slept.
pub const SLEPT_MS_MIN: u64 = 2 * MINUTE_MS;

/// The times of one device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    interval_ms: u64,
    offset_ms: u64,
}

impl Schedule {
    /// The schedule of an instance. The offset is the instance's digest modulo the interval: fixed, and spread evenly
    /// over a fleet.
    pub fn new(interval_minutes: u64, instance: &InstanceId) -> Self {
        let interval_ms =
            interval_minutes.clamp(INTERVAL_MINUTES_MIN, INTERVAL_MINUTES_MAX).saturating_mul(MINUTE_MS);
        let digest = Digest::of_parts(&[b"tallystick/schedule/v1\0", instance.as_bytes()]);
        let number = digest.0.first_chunk().map_or(0, |first| u64::from_be_bytes(*first));
        let offset_ms = number.checked_rem(interval_ms).unwrap_or_default();
        Self { interval_ms, offset_ms }
    }

    /// The first time after `last` that is due.
    pub fn next_after(&self, last: Timestamp) -> Timestamp {
        let since = last.ms().saturating_sub(self.offset_ms);
        let passed = if last.ms() < self.offset_ms {
            0
        } else {
            since.checked_div(self.interval_ms).unwrap_or_default().saturating_add(1)
        };
        Timestamp(self.offset_ms.saturating_add(passed.saturating_mul(self.interval_ms)))
    }

    /// Why a statement should be made now, if one should: the time has come since `last`, or a look found other
    /// facts than the last statement said (how often that may be said is `budget`'s matter). A last statement from the future (the clock was set back) does not
    /// silence the device.
    pub fn due(&self, now: Timestamp, last: Option<Timestamp>, changed: bool) -> Option<proto::Trigger> {
        let Some(last) = last.filter(|last| *last <= now) else { return Some(proto::Trigger::Schedule) };
        if now >= self.next_after(last) {
            return Some(proto::Trigger::Schedule);
        }
        changed.then_some(proto::Trigger::Drift)
    }
}

#[cfg(test)]
mod tests {
    use super::Schedule;
    use evidence::ids::InstanceId;
    use evidence::time::Timestamp;
    use proptest::prelude::*;

    const HOUR_MS: u64 = 3_600_000;

    #[test]
    fn due_once_in_an_interval_or_when_facts_changed() {
        let schedule = Schedule::new(360, &InstanceId::from_bytes([1; 16]));
        let last = schedule.next_after(Timestamp(1_700_000_000_000));
        let at = |hours: u64| Timestamp(last.ms() + hours * HOUR_MS);
        assert_eq!(schedule.due(at(0), None, false), Some(proto::Trigger::Schedule));
        assert_eq!(schedule.due(at(5), Some(last), false), None);
        assert_eq!(schedule.due(at(6), Some(last), false), Some(proto::Trigger::Schedule));
        assert_eq!(schedule.due(at(2), Some(last), true), Some(proto::Trigger::Drift));
        assert_eq!(schedule.due(at(0), Some(last), true), Some(proto::Trigger::Drift), "at once");
        assert_eq!(schedule.due(at(0), Some(at(30)), false), Some(proto::Trigger::Schedule), "set back");
    }

    proptest! {
        #[test]
        fn times_are_an_interval_apart(seed in any::<[u8; 16]>(), last in 0..4_000_000_000_000u64) {
            let schedule = Schedule::new(360, &InstanceId::from_bytes(seed));
            let next = schedule.next_after(Timestamp(last));
            prop_assert!(next.ms() > last && next.ms() <= last + 6 * HOUR_MS + schedule.offset_ms);
            prop_assert!(last < schedule.offset_ms || next.ms() <= last + 6 * HOUR_MS);
            prop_assert_eq!(schedule.next_after(next).ms(), next.ms() + 6 * HOUR_MS);
        }
    }

    #[test]
    fn devices_spread_over_the_interval() {
        let mut offsets: Vec<u64> =
            (0..=255).map(|n| Schedule::new(360, &InstanceId::from_bytes([n; 16])).offset_ms).collect();
        offsets.sort_unstable();
        let widest = offsets.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
        assert!(widest < HOUR_MS / 2, "{widest}");
    }
}
