//! Which statements each device has made, small enough to keep in memory; their bytes stay in the journal.

use std::collections::{BTreeMap, BTreeSet};

use evidence::envelope::Envelope;
use evidence::erasure::Scope;
use evidence::ids::{DeviceId, InstanceId};
use evidence::leaf::{Kind, Leaf};
use evidence::roster::Roster;
use evidence::time::Timestamp;

use crate::payload_codec::Subject;

/// A logged statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Index of its leaf.
    pub index: u64,
    /// Its receipt.
    pub received: Timestamp,
    /// When it was observed: by the device's clock, never after the receipt. None for a gap, and for an erased one.
    pub observed: Option<Timestamp>,
    /// Index of the tombstone, if its payload is erased or about to be.
    pub erased: Option<u64>,
    /// Whether it is an attestation; else it is a gap.
    pub attests: bool,
    /// Who spoke.
    pub instance: InstanceId,
    /// Its number within the instance.
    pub sequence: u64,
}

/// The statements of every device, in the order of the log.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    devices: BTreeMap<DeviceId, Vec<Seen>>,
}

impl Evidence {
    /// Takes a committed entry of stream 0; others than statements are passed over.
    pub fn take(&mut self, index: u64, leaf: &Leaf, payload: &[u8], roster: &Roster) {
        if leaf.kind != Kind::ATTESTATION && leaf.kind != Kind::GAP {
            return;
        }
        // What was admitted parses; a damaged payload is fsck's finding, not a reason to stop here.
        let Some(statement) = Envelope::parse(payload).ok().and_then(|envelope| envelope.claimed().ok())
        else {
            return;
        };
        let Some(instance) = roster.instance(&statement.instance) else { return };
        let observed = statement.attestation().map(|attestation| attestation.wall().min(leaf.received));
        self.devices.entry(instance.device).or_default().push(Seen {
            index,
            received: leaf.received,
            observed,
            erased: None,
            attests: leaf.kind == Kind::ATTESTATION,
            instance: statement.instance,
            sequence: statement.sequence,
        });
    }

    /// Takes a committed entry of stream 0 whose payload is gone; others than statements are passed over.
    pub fn take_erased(
        &mut self,
        index: u64,
        leaf: &Leaf,
        subject: &Subject,
        tombstone: u64,
        roster: &Roster,
    ) {
        let Subject::Statement { instance, sequence, .. } = *subject else { return };
        let Some(record) = roster.instance(&instance) else { return };
        let (received, attests) = (leaf.received, leaf.kind == Kind::ATTESTATION);
        let erased = Some(tombstone);
        let seen = Seen { index, received, observed: None, erased, attests, instance, sequence };
        self.devices.entry(record.device).or_default().push(seen);
    }

    /// Follows a tombstone: what it names is not read any more from now on, whenever its keys go.
    pub fn erase(&mut self, scopes: &[Scope], tombstone: u64) {
        let scopes: BTreeSet<&Scope> = scopes.iter().collect();
        for seen in self.devices.values_mut().flatten() {
            if seen.index < tombstone && scopes.contains(&Scope::device(seen.instance, seen.received)) {
                (seen.observed, seen.erased) = (None, Some(tombstone));
            }
        }
    }

    /// The statements with an index below `size`.
    pub fn below(&self, size: u64) -> Self {
        let devices = self
            .devices
            .iter()
            .map(|(device, seen)| (*device, seen.iter().filter(|seen| seen.index < size).copied().collect()))
            .collect();
        Self { devices }
    }

    /// A device's statements, ascending by index.
    pub fn of(&self, device: &DeviceId) -> &[Seen] {
        self.devices.get(device).map(Vec::as_slice).unwrap_or_default()
    }
}
