//! From entries to index rows: one pure function, used when an entry is appended and when the index is rebuilt.

use std::collections::HashMap;

use evidence::envelope::Envelope;
use evidence::ids::{Digest, InstanceId};
use evidence::leaf::{Chain, Kind, Leaf, Stream};
use evidence::merkle::leaf_hash;
use evidence::statement::{Body, Gap, Statement};
use evidence::time::Timestamp;

use crate::journal::Position;
use crate::log::{ChangedTiles, ProofError, Tiles, Tree};
use crate::store::rows::{self, Head, InstanceState, LeafRow, StreamHead};
use crate::store::{Row, Store, StoreError};

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
        Self { instance, sequence, first, previous, hash: envelope.hash(), anchor_size }
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

/// What the next entry builds on, with the rows of the entries since [`Index::take_rows`].
#[derive(Clone, Default)]
pub struct Index {
    tree: Tree,
    streams: [StreamHead; 4],
    received: Timestamp,
    tiles: ChangedTiles,
    instances: HashMap<InstanceId, InstanceState>,
    leaves: Vec<(u64, Vec<u8>)>,
    rows: Vec<Row>,
}

impl Index {
    /// The index of an empty log.
    pub fn new() -> Self {
        Self::default()
    }

    /// Continues from what the store holds. Damage that shows here is an error.
    pub fn load(store: &dyn Store, head: &Head) -> Result<Self, StoreError> {
        let damaged = |what: String| StoreError::Damaged { what };
        let tree = Tree::load(&StoredTiles(store), head.size).map_err(tile_error)?;
        if tree.root() != head.root {
            return Err(damaged("its tree does not have the root it states".to_owned()));
        }
        let mut streams = [StreamHead::default(); 4];
        for (head, stream) in streams.iter_mut().zip(Stream::CHAINED) {
            if let Some(value) = store.value(&rows::stream_key(stream))? {
                *head = StreamHead::parse(&value)
                    .ok_or_else(|| damaged(format!("the head of stream {} has no form", stream.name())))?;
            }
        }
        Ok(Self { tree, streams, received: head.received, ..Self::default() })
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

    /// An instance's state, if an entry since the last [`Index::take_rows`] changed it.
    pub fn instance(&self, instance: &InstanceId) -> Option<InstanceState> {
        self.instances.get(instance).copied()
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
                self.rows.push((rows::stream_key(leaf.kind.stream), head.encode()));
            }
            let key = rows::stream_entry_key(leaf.kind.stream, chain.sequence);
            self.rows.push((key, rows::number_value(index)));
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
            self.instances.insert(link.instance, state);
            let key = rows::statement_key(&link.instance, link.sequence);
            self.rows.push((key, rows::number_value(index)));
        }
        self.tree.push(hash, &mut self.tiles);
        self.received = leaf.received;
        self.leaves.push((index, bytes));
        Ok(index)
    }

    /// The rows of the entries since the last call. `positions` are those of their records, in order, and `next` is
    /// where the journal goes on.
    pub fn take_rows(&mut self, positions: &[Position], next: Position) -> Vec<Row> {
        let mut rows = std::mem::take(&mut self.rows);
        for ((index, leaf), position) in std::mem::take(&mut self.leaves).into_iter().zip(positions) {
            rows.push((rows::leaf_key(index), LeafRow { position: *position, leaf }.encode()));
        }
        for (instance, state) in std::mem::take(&mut self.instances) {
            rows.push((rows::instance_key(&instance), state.encode()));
        }
        for ((level, number), nodes) in std::mem::take(&mut self.tiles) {
            rows.push((rows::tile_key(level, number), rows::tile_value(&nodes)));
        }
        rows.push((rows::HEAD_KEY.to_vec(), self.head(next).encode()));
        rows
    }

    /// The head row once everything up to `next` is indexed.
    pub fn head(&self, next: Position) -> Head {
        Head { size: self.size(), root: self.root(), received: self.received, next }
    }
}

/// The tiles in a store.
pub struct StoredTiles<'a>(pub &'a dyn Store);

impl Tiles for StoredTiles<'_> {
    type Error = StoreError;

    fn tile(&self, level: u8, number: u64) -> Result<Vec<Digest>, StoreError> {
        let Some(value) = self.0.value(&rows::tile_key(level, number))? else { return Ok(Vec::new()) };
        rows::parse_tile(&value)
            .ok_or_else(|| StoreError::Damaged { what: format!("tile {level}/{number} has no form") })
    }
}

/// A tree that cannot be read from the store is damage of the store.
pub(crate) fn tile_error(error: ProofError<StoreError>) -> StoreError {
    match error {
        ProofError::Tile(error) => error,
        other => StoreError::Damaged { what: other.to_string() },
    }
}
