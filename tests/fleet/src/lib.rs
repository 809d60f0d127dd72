//! Simulated devices for tests and benchmarks: realistic, signed, chained statements, made from recordings and a seed.
//!
//! The facts are what the real `probes` conclude from the repository's own recordings; the statements are the types of
//! `evidence`, signed with a key per device. There is no network and no clock: the same seed gives the same bytes.
//!
//! ```
//! let mut fleet = fleet::Fleet::new(&fleet::Order::of(1, 20)).unwrap();
//! let mut log = fleet::log::Log::new("example.org/log/1/simulated", 1);
//! for _ in 0..100 {
//!     let made = fleet.next().unwrap();
//!     log.push(made.statement.kind(), made.received, made.envelope.bytes());
//!     fleet.see(log.checkpoint().unwrap());
//! }
//! ```
//!
//! In scope: what devices say and when it is received. Not in scope: storing it, and enrolling the devices.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use evidence::ids::InstanceId;
use evidence::keys::KeyError;
use evidence::note::Checkpoint;
use evidence::time::{MINUTE_MS, Timestamp};

pub mod device;
mod hours;
mod identity;
pub mod log;
pub mod machine;
pub mod seeded;
mod updates;

pub use device::{Device, Made};
use machine::{KINDS, Kind, MachineError, Machines};

/// 2027-01-01T00:00Z: later than every time in the recordings.
pub const BEGIN_DEFAULT: Timestamp = Timestamp(20_819 * evidence::time::DAY_MS);
/// Minutes between scheduled statements of a device.
pub const INTERVAL_MINUTES_DEFAULT: u64 = 6 * 60;

/// Which fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Everything follows from it.
    pub seed: u64,
    /// How many devices.
    pub devices: usize,
    /// Minutes between scheduled statements of a device, at least 1.
    pub interval_minutes: u64,
    /// When it begins; the seconds of its minute do not count.
    pub begin: Timestamp,
}

impl Order {
    /// A fleet with the default interval and begin.
    pub fn of(seed: u64, devices: usize) -> Self {
        Self { seed, devices, interval_minutes: INTERVAL_MINUTES_DEFAULT, begin: BEGIN_DEFAULT }
    }
}

/// Why there is no fleet.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// The order cannot be met.
    #[error("a fleet has 1 to 4,294,967,295 devices and an interval of at least a minute")]
    Order,
    /// A recording.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// A key: no seed is known that gives a weak one.
    #[error("the key of a device: {0}")]
    Key(#[from] KeyError),
}

/// Devices that speak, without end. The iterator gives their statements in the order of receipt, and holds one planned
/// step of each device; nothing is signed before it is asked for.
pub struct Fleet {
    machines: Machines,
    devices: Vec<Device>,
    due: BinaryHeap<Reverse<(Timestamp, u32)>>,
    newest: Option<Arc<Checkpoint>>,
}

impl Fleet {
    /// A fleet whose devices have said nothing yet.
    pub fn new(order: &Order) -> Result<Self, FleetError> {
        let count = u32::try_from(order.devices).map_err(|_| FleetError::Order)?;
        if count == 0 || order.interval_minutes == 0 {
            return Err(FleetError::Order);
        }
        let machines = Machines::look()?;
        let begin = order.begin.ms() / MINUTE_MS;
        let common = device::Common { seed: order.seed, begin, interval: order.interval_minutes };
        let mut devices = Vec::with_capacity(order.devices);
        let mut due = BinaryHeap::with_capacity(order.devices);
        for number in 0..count {
            let mut device = Device::new(&common, number.into(), kind(order.seed, number))?;
            due.push(Reverse((device.next_received(&machines), number)));
            devices.push(device);
        }
        Ok(Self { machines, devices, due, newest: None })
    }

    /// The devices, in the order of their numbers.
    pub fn devices(&self) -> &[Device] {
        &self.devices
    }

    /// The device of an instance.
    pub fn of_instance(&self, instance: &InstanceId) -> Option<&Device> {
        self.devices.iter().find(|device| device.instance == *instance)
    }

    /// Shows the fleet the log's newest checkpoint: what is made from now on is anchored to it. One that is smaller than
    /// the one before is none of this log, and ignored.
    pub fn see(&mut self, checkpoint: Checkpoint) {
        if self.newest.as_ref().is_none_or(|newest| newest.size <= checkpoint.size) {
            self.newest = Some(Arc::new(checkpoint));
        }
    }
}

impl Iterator for Fleet {
    type Item = Made;

    fn next(&mut self) -> Option<Made> {
        let Reverse((received, number)) = self.due.pop()?;
        let place = usize::try_from(number).ok()?;
        let device = self.devices.get_mut(place)?;
        let made = device.say(place, received, self.newest.as_ref(), &self.machines)?;
        self.due.push(Reverse((device.next_received(&self.machines), number)));
        Some(made)
    }
}

/// The kind of a device: each kind has its share of a hundred, on average.
fn kind(seed: u64, number: u32) -> &'static Kind {
    let mut rest = seeded::fixed([seed, number.into(), 2]) % 100;
    let found = KINDS.iter().find(|kind| {
        let is_it = rest < kind.share;
        rest = rest.saturating_sub(kind.share);
        is_it
    });
    found.unwrap_or(&KINDS[0])
}

#[cfg(test)]
mod tests;
