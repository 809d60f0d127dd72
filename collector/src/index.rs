//! What the next entry builds on: one pure fold over the entries, used when an entry is appended, when the log is opened
//! and when its rows are made.

use std::collections::HashMap;

use evidence::envelope::Envelope;
use evidence::ids::{Digest, InstanceId};
use evidence::leaf::{Chain, Kind, Leaf, Stream};
use evidence::merkle::leaf_hash;
use evidence::statement::{Body, Gap, Statement};
use evidence::time::Timestamp;

use crate::log::{ChangedTiles, ProofError, Tiles, Tree};
use crate::store::StoreError;
use crate::store::rows::{Head, InstanceState, StreamHead};

/// A statement's place in the chain of its device instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceLink {
    /// The instance.
    pub instance: InstanceId,
    /// Its sequence number.
    pub sequence: u64,
    /// The sequence that must be expected for it to be admitted: its own, or the first one that it declares destroyed.
    pub first: u64,
    /// SHA-256 of the envelope before it.
    pub previous: Digest,
    /// SHA-256 of its own envelope.
    pub hash: Digest,
    /// Size of its anchor; 0 without one.
    pub anchor_size: u64,
    /// When it was observed, by the device's clock, in minutes. None for a gap.
    pub observed_minute: Option<u64>,
}

impl DeviceLink {
    /// The place of a statement.
    pub fn of(statement: &Statement, envelope: &Envelope) -> Self {
        let first = match statement.body {
            Body::Gap(Gap::Destroyed { first, .. }) => first,
            Body::Gap(Gap::NotMade { .. }) | Body::Attestation(_) => statement.sequence,
        };
        let Statement { instance, sequence, previous, .. } = *statement;
        let anchor_size = statement.anchor.as_ref().map_or(0, |anchor| anchor.size);
        let observed_minute = statement.attestation().map(|attestation| attestation.wall().minutes());
        Self { instance, sequence, first, previous, hash: envelope.hash(), anchor_size, observed_minute }
    }

    /// The place of a stored payload; none if the kind is not a statement's. Fails if it should be one and is not.
    pub fn of_payload(kind: Kind, payload: &[u8]) -> Result<Option<Self>, EntryError> {
        if kind != Kind::ATTESTATION && kind != Kind::GAP {
            return Ok(None);
        }
        let not_one = |_| EntryError("the payload is not a device statement");
        let envelope =
            Envelope::parse(payload).map_err(|_| EntryError("the payload is not a device envelope"))?;
        let statement = envelope.claimed().map_err(not_one)?;
        if statement.kind() != kind {
            return Err(EntryError("the payload is another kind of statement than its leaf says"));
        }
        Ok(Some(Self::of(&statement, &envelope)))
    }
}

/// Why an entry cannot follow the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct EntryError(pub &'static str);

/// An entry as the fold has taken it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Added {
    /// The leaf's bytes.
    pub leaf: Vec<u8>,
    /// Its receipt.
    pub received: Timestamp,
    /// Its place in the chain of its instance, if it is a device statement.
    pub link: Option<DeviceLink>,
}

/// What entries changed.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    /// The entries, in order.
    pub entries: Vec<Added>,
    /// Tiles, with all their nodes.
    pub tiles: ChangedTiles,
    /// New entries of streams 1 to 4: (stream, stream sequence) → index.
    pub stream_entries: Vec<((u8, u64), u64)>,
    /// Device instances.
    pub instances: HashMap<InstanceId, InstanceState>,
}

/// What the next entry builds on, with what changed since [`Index::take_changes`].
#[derive(Clone, Default)]
pub struct Index {
    tree: Tree,
    streams: [StreamHead; 4],
    received: Timestamp,
    changes: Changes,
}

impl Index {
    /// The index of an empty log.
    pub fn new() -> Self {
        Self::default()
    }

    /// Continues from what is stored up to `head`. Damage that shows here is an error.
    pub fn load<T: Tiles<Error = StoreError>>(
        tiles: &T,
        streams: [StreamHead; 4],
        head: &Head,
    ) -> Result<Self, StoreError> {
        let tree = Tree::load(tiles, head.size).map_err(tile_error)?;
        if tree.root() != head.root {
            let what = "its tree does not have the root it states".to_owned();
            return Err(StoreError::Damaged { what });
        }
        Ok(Self { tree, streams, received: head.received, changes: Changes::default() })
    }

    /// Leaves so far.
    pub fn size(&self) -> u64 {
        self.tree.size()
    }

    /// Root over them.
    pub fn root(&self) -> Digest {
        self.tree.root()
    }

    /// The tree so far.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// When the newest leaf was received.
    pub fn received(&self) -> Timestamp {
        self.received
    }

    /// Heads of streams 1 to 4, in this order.
    pub fn streams(&self) -> [StreamHead; 4] {
        self.streams
    }

    /// The place the next entry of a stream takes; none in stream 0.
    pub fn next_chain(&self, stream: Stream) -> Option<Chain> {
        let place = Stream::CHAINED.iter().position(|chained| *chained == stream)?;
        let head = self.streams.get(place)?;
        Some(Chain { sequence: head.entries, previous: head.last_leaf_hash })
    }

    /// An instance's state, if an entry since the last [`Index::take_changes`] changed it.
    pub fn instance(&self, instance: &InstanceId) -> Option<InstanceState> {
        self.changes.instances.get(instance).copied()
    }

    /// Adds an entry. `bytes` is the leaf as stored. Gives its index.
    pub fn add(&mut self, leaf: &Leaf, bytes: Vec<u8>, link: Option<DeviceLink>) -> Result<u64, EntryError> {
        let index = self.tree.size();
        let hash = leaf_hash(&bytes);
        if leaf.received < self.received {
            return Err(EntryError("its time lies before the time of the entry before it"));
        }
        if leaf.chain != self.next_chain(leaf.kind.stream) {
            return Err(EntryError("it does not continue its stream"));
        }
        if let Some(chain) = leaf.chain {
            let place = Stream::CHAINED.iter().position(|stream| *stream == leaf.kind.stream);
            if let Some(head) = place.and_then(|place| self.streams.get_mut(place)) {
                *head = StreamHead { entries: chain.sequence.saturating_add(1), last_leaf_hash: hash };
            }
            self.changes.stream_entries.push(((leaf.kind.stream.number(), chain.sequence), index));
        }
        if let Some(link) = link {
            let next_sequence =
                link.sequence.checked_add(1).ok_or(EntryError("its sequence is the last there is"))?;
            let state = InstanceState {
                next_sequence,
                last_hash: link.hash,
                last_index: index,
                last_received: leaf.received,
                anchor_size: link.anchor_size,
            };
            self.changes.instances.insert(link.instance, state);
        }
        self.tree.push(hash, &mut self.changes.tiles);
        self.received = leaf.received;
        self.changes.entries.push(Added { leaf: bytes, received: leaf.received, link });
        Ok(index)
    }

    /// What changed since the last call.
    pub fn take_changes(&mut self) -> Changes {
        std::mem::take(&mut self.changes)
    }
}

/// A tree that cannot be read from the store is damage of the store.
pub(crate) fn tile_error(error: ProofError<StoreError>) -> StoreError {
    match error {
        ProofError::Tile(error) => error,
        other => StoreError::Damaged { what: other.to_string() },
    }
}
