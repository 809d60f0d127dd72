//! The one place of this program that reads the system's clock and what it was started from.

use std::time::{SystemTime, UNIX_EPOCH};

use evidence::ids::{Digest, InstanceId};
use evidence::time::{Clock, Timestamp};

/// First bytes of what a boot digest is taken over. docs/FORMAT.md section 3.
const BOOT_PREFIX: &[u8] = b"tallystick/boot/v1\0";

/// The system's wall clock. It may step; evidence relies on the collector's time and on anchors instead.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
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
