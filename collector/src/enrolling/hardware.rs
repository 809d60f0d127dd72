//! The hardware that devices told when they enrolled, so that a newcomer with the same is seen.
//!
//! It is read from their detail records, which may be erased: what is erased is not known any more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use evidence::acts::{Act, Body};
use evidence::ids::{DeviceId, Digest, InstanceId};
use evidence::leaf::Kind;
use evidence::newcomer::Newcomer;
use evidence::time::Timestamp;

use crate::ledger::{Found, ReadError};
use crate::state::State;

/// What one device told: digests of (kind, value), so that memory holds no serial number longer than needed.
#[derive(Debug, Default)]
struct Known {
    read: BTreeSet<InstanceId>,
    by_fact: BTreeMap<Digest, BTreeSet<DeviceId>>,
}

/// The hardware of every device that enrolled.
#[derive(Debug, Default)]
pub struct Hardware {
    known: Mutex<Known>,
}

fn fact(kind: &str, value: &str) -> Digest {
    Digest::of_parts(&[kind.as_bytes(), b"\0", value.as_bytes()])
}

impl Hardware {
    /// Devices in service, with keys that hold, that told the same hardware as this newcomer.
    pub fn like(&self, state: &State, newcomer: &Newcomer) -> Result<Vec<DeviceId>, ReadError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.catch_up(state)?;
        let now = state.clock.now();
        let told: BTreeSet<DeviceId> = newcomer
            .telling()
            .filter_map(|(kind, value)| known.by_fact.get(&fact(kind, value)))
            .flatten()
            .copied()
            .collect();
        Ok(told.into_iter().filter(|device| speaks(state, device, now)).collect())
    }

    /// Pairs of devices in service that told the same hardware, the smaller id first.
    pub fn pairs(&self, state: &State) -> Result<BTreeSet<(DeviceId, DeviceId)>, ReadError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.catch_up(state)?;
        let now = state.clock.now();
        let mut pairs = BTreeSet::new();
        for devices in known.by_fact.values().filter(|devices| devices.len() > 1) {
            let here: Vec<DeviceId> =
                devices.iter().copied().filter(|device| speaks(state, device, now)).collect();
            // Neighbours are enough: what all of many devices share, each shares with the next.
            pairs.extend(here.iter().copied().zip(here.iter().copied().skip(1)));
        }
        Ok(pairs)
    }
}

/// Whether a device is in service and one of its instances may still speak.
fn speaks(state: &State, device: &DeviceId, now: Timestamp) -> bool {
    let book = state.book();
    let roster = book.authority.roster();
    roster.device(device).is_some_and(|record| {
        record.at(now).is_some()
            && record
                .instances
                .iter()
                .any(|instance| roster.instance(instance).is_some_and(|known| known.ended.is_none()))
    })
}

impl Known {
    /// Reads the details of instances that came since the last look.
    fn catch_up(&mut self, state: &State) -> Result<(), ReadError> {
        let new: Vec<(InstanceId, DeviceId, u64)> = {
            let book = state.book();
            let instances = book.authority.roster().instances();
            instances
                .filter(|(instance, _)| !self.read.contains(instance))
                .map(|(instance, record)| (*instance, record.device, record.index))
                .collect()
        };
        for (instance, device, index) in new {
            if let Some(newcomer) = told_at(state, index)? {
                for (kind, value) in newcomer.telling() {
                    self.by_fact.entry(fact(kind, value)).or_default().insert(device);
                }
            }
            self.read.insert(instance);
        }
        Ok(())
    }
}

/// What a device told at the enrolment of entry `index`: its detail stands right before it. None if it is erased, or if
/// there is none.
pub fn told_at(state: &State, index: u64) -> Result<Option<Newcomer>, ReadError> {
    let Some(before) = index.checked_sub(1) else { return Ok(None) };
    if state.ledger.leaf(before)?.kind != Kind::DEVICE_DETAIL {
        return Ok(None);
    }
    let Found::Entry(detail) = state.ledger.find(before)? else { return Ok(None) };
    let Found::Entry(entry) = state.ledger.find(index)? else { return Ok(None) };
    let Ok((_, act)) = Act::open(&entry.payload) else { return Ok(None) };
    let Body::Enrolment(act) = act.body else { return Ok(None) };
    let named = evidence::enrolment::Transcript::parse(&act.transcript).map(|read| read.facts_commitment);
    if named.ok() != Some(Digest::of(&detail.payload)) {
        return Ok(None);
    }
    Ok(detail.payload.get(32..).and_then(|bytes| Newcomer::parse(bytes).ok()))
}
