//! The one place of this program that reads the system's clock and what it was started from.

use std::time::{SystemTime, UNIX_EPOCH};

use evidence::ids::{Digest, InstanceId};
use evidence::time::{Clock, Timestamp};

use crate::failpoints;
use crate::schedule::SLEPT_MS_MIN;

/// First bytes of what a boot digest is taken over. docs/FORMAT.md section 3.
const BOOT_PREFIX: &[u8] = b"tallystick/boot/v1\0";

/// The system's wall clock. It may step; evidence relies on the collector's time and on anchors instead.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        Timestamp(ms.saturating_add(failpoints::clock_ahead_ms()))
    }
}

/// The running boot of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boot {
    /// The boot's id as the system prints it, without line end.
    pub id: String,
    /// Whole minutes since it began, suspended time included.
    pub minutes: u64,
}

impl Boot {
    /// Asks the system. On Linux the kernel's random boot id; elsewhere the second of the start stands for it.
    pub fn current() -> Result<Self, sysinfo::Error> {
        let minutes = sysinfo::System::uptime()? / 60;
        let kernel = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let id = match kernel.trim_end() {
            "" => format!("started-{}", sysinfo::System::boot_time()?),
            id => id.to_owned(),
        };
        Ok(Self { id, minutes })
    }

    /// The boot id as statements carry it: hashed with the instance, so that two instances cannot be linked by it.
    pub fn digest(&self, instance: &InstanceId) -> Digest {
        Digest::of_parts(&[BOOT_PREFIX, instance.as_bytes(), self.id.as_bytes()])
    }
}

/// A clock that goes on while the machine sleeps and one that stands still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clocks {
    asleep_too_ms: u64,
    awake_ms: u64,
}

impl Clocks {
    /// As they stand. Nobody can set the boot-time clock; where there is none, the wall clock must do.
    pub fn now(wall: &dyn Clock) -> Self {
        #[cfg(target_os = "linux")]
        {
            use rustix::time::{ClockId, clock_gettime};
            let _: &dyn Clock = wall;
            let read = |clock| {
                let time = clock_gettime(clock);
                let ms = time.tv_sec.saturating_mul(1000).saturating_add(time.tv_nsec / 1_000_000);
                u64::try_from(ms).unwrap_or_default()
            };
            Self { asleep_too_ms: read(ClockId::Boottime), awake_ms: read(ClockId::Monotonic) }
        }
        #[cfg(not(target_os = "linux"))]
        {
            static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
            let awake = START.get_or_init(std::time::Instant::now).elapsed();
            Self {
                asleep_too_ms: wall.now().ms(),
                awake_ms: u64::try_from(awake.as_millis()).unwrap_or(u64::MAX),
            }
        }
    }
}

/// Whether the machine slept in between: one clock went on much more than the other.
pub fn slept(before: &Clocks, now: &Clocks) -> bool {
    let all = now.asleep_too_ms.saturating_sub(before.asleep_too_ms);
    all.saturating_sub(now.awake_ms.saturating_sub(before.awake_ms)) >= SLEPT_MS_MIN
}

#[cfg(test)]
mod tests {
    use super::{Clocks, SystemClock, slept};

    #[test]
    fn sleep_is_time_that_the_clock_of_waking_did_not_count() {
        let at =
            |asleep_too: u64, awake: u64| Clocks { asleep_too_ms: asleep_too * 1000, awake_ms: awake * 1000 };
        assert!(!slept(&at(600, 600), &at(660, 660)));
        assert!(slept(&at(600, 600), &at(4200, 630)));
        assert!(!slept(&at(600, 600), &at(300, 630)), "a wall clock that was set back");
        assert!(!slept(&at(600, 0), &at(1200, 600)), "a slow look");
    }

    #[test]
    fn a_machine_that_is_awake_did_not_sleep() {
        let before = Clocks::now(&SystemClock);
        let now = Clocks::now(&SystemClock);
        assert!(before.asleep_too_ms > 0 && before.awake_ms <= now.awake_ms);
        assert!(!slept(&before, &now));
    }
}
