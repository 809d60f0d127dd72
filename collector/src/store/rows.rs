//! Keys and values of an epoch's store. Keys begin with one letter and continue big-endian, so that they sort by number.
//!
//! | key | value |
//! |---|---|
//! | `h` | [`Head`]: how far the index follows the journal; absent until the epoch is begun |
//! | `c` | [`CheckpointRow`]: newest checkpoint before `h` as the log signed it |
//! | `w` | [`CheckpointRow`]: newest checkpoint before `h` with cosignatures |
//! | `l` chunk(8) | the 16 leaves of a chunk: u8(length) ‖ leaf, each |
//! | `p` chunk(8) part(2) | their payload records, u32be(length) ‖ codec ‖ bytes each, cut into parts |
//! | `t` level(1) number(8) | up to 16 hashes of nodes at height 4 × level, from level 1 on |
//! | `d` instance(16) | [`InstanceRow`]: state of a device instance and its open run |
//! | `q` instance(16) first sequence(8) | a closed run: 24 statements that follow each other |
//! | `s` stream(1) | [`StreamHead`] |
//! | `e` stream(1) stream sequence(8) | index(8) of that entry |
//!
//! An index is written in steps of whole bundles, so that no row is per entry and none but `h`, `c`, `d`, `s` and the edge
//! of `t` is written twice.

use evidence::ids::{Digest, InstanceId};
use evidence::leaf::Stream;
use evidence::note::Note;
pub use evidence::payload_record::{parse_records as parse_payloads, push_record as push_payload};
use evidence::time::Timestamp;

use super::runs::Run;
use super::{Row, VALUE_BYTES_MAX};
use crate::journal::Position;

/// Version of this layout; an index of another version is rebuilt.
const LAYOUT_VERSION: u8 = 3;
/// Leaves of a chunk: one tile of the lowest level.
pub const CHUNK_LEAVES: u64 = 16;
/// Bytes of a part of a chunk's payload records.
pub const PART_BYTES: usize = VALUE_BYTES_MAX - 96;

/// Key of [`Head`].
pub const HEAD_KEY: &[u8] = b"h";
/// Key of [`CheckpointRow`], of the log's line alone.
pub const CHECKPOINT_KEY: &[u8] = b"c";
/// Key of [`CheckpointRow`], with lines of witnesses.
pub const COSIGNED_KEY: &[u8] = b"w";

/// Key of the leaves of a chunk.
pub fn leaves_key(chunk: u64) -> Vec<u8> {
    key(b'l', &[&chunk.to_be_bytes()])
}

/// Key of a part of the payload records of a chunk.
pub fn payloads_key(chunk: u64, part: u16) -> Vec<u8> {
    key(b'p', &[&chunk.to_be_bytes(), &part.to_be_bytes()])
}

/// Key of a tile of the tree.
pub fn tile_key(level: u8, number: u64) -> Vec<u8> {
    key(b't', &[&[level], &number.to_be_bytes()])
}

/// Key of a device instance.
pub fn instance_key(instance: &InstanceId) -> Vec<u8> {
    key(b'd', &[instance.as_bytes()])
}

/// Key of a closed run of a device instance, by its first sequence.
pub fn run_key(instance: &InstanceId, first: u64) -> Vec<u8> {
    key(b'q', &[instance.as_bytes(), &first.to_be_bytes()])
}

/// Key of a stream's head.
pub fn stream_key(stream: Stream) -> Vec<u8> {
    key(b's', &[&[stream.number()]])
}

/// Key of an entry of a stream.
pub fn stream_entry_key(stream: Stream, sequence: u64) -> Vec<u8> {
    stream_entry_key_of(stream.number(), sequence)
}

/// The same, by the stream's number.
pub fn stream_entry_key_of(stream: u8, sequence: u64) -> Vec<u8> {
    key(b'e', &[&[stream], &sequence.to_be_bytes()])
}

fn key(letter: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut key = vec![letter];
    for part in parts {
        key.extend_from_slice(part);
    }
    key
}

/// A value that is one number.
pub fn number_value(number: u64) -> Vec<u8> {
    number.to_be_bytes().to_vec()
}

/// Reads a value that is one number.
pub fn parse_number(value: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(value.try_into().ok()?))
}

/// How far the index follows the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Leaves indexed.
    pub size: u64,
    /// Root over them.
    pub root: Digest,
    /// `received` of the newest leaf.
    pub received: Timestamp,
    /// Where the journal goes on after what is indexed.
    pub next: Position,
}

impl Head {
    /// The row's value.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![LAYOUT_VERSION];
        out.extend_from_slice(&self.size.to_be_bytes());
        out.extend_from_slice(self.root.as_bytes());
        out.extend_from_slice(&self.received.ms().to_be_bytes());
        push_position(&mut out, self.next);
        out
    }

    /// Reads the row's value.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let mut fields = Fields(value.strip_prefix(&[LAYOUT_VERSION])?);
        let (size, root) = (fields.number()?, fields.digest()?);
        let (received, next) = (Timestamp(fields.number()?), fields.position()?);
        fields.end(Self { size, root, received, next })
    }
}

/// A checkpoint of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointRow {
    /// Leaves it covers.
    pub size: u64,
    /// Root over them.
    pub root: Digest,
    /// Position of its record in the journal.
    pub at: Position,
    /// The note as signed.
    pub note: String,
}

impl CheckpointRow {
    /// The row's value.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.size.to_be_bytes().to_vec();
        out.extend_from_slice(self.root.as_bytes());
        push_position(&mut out, self.at);
        out.extend_from_slice(self.note.as_bytes());
        out
    }

    /// Reads the row's value.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let mut fields = Fields(value);
        let (size, root, at) = (fields.number()?, fields.digest()?, fields.position()?);
        let note = String::from_utf8(fields.0.to_vec()).ok()?;
        Some(Self { size, root, at, note })
    }

    /// Whether witnesses signed too.
    pub fn is_cosigned(&self) -> bool {
        Note::parse(self.note.as_bytes()).is_ok_and(|note| note.is_cosigned())
    }

    /// The row with its key, which says whether witnesses signed too. None for a note that is longer than a value may be:
    /// what is then read at the next start is an older checkpoint, which is one all the same.
    pub fn row(&self) -> Option<Row> {
        let key = if self.is_cosigned() { COSIGNED_KEY } else { CHECKPOINT_KEY };
        let value = self.encode();
        (value.len() <= VALUE_BYTES_MAX).then(|| (key.to_vec(), value))
    }
}

/// The value of a chunk's leaves.
pub fn leaves_value<'a>(leaves: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut value = Vec::new();
    for leaf in leaves {
        value.push(u8::try_from(leaf.len()).unwrap_or(u8::MAX));
        value.extend_from_slice(leaf);
    }
    value
}

/// Reads a chunk's leaves: exactly [`CHUNK_LEAVES`].
pub fn parse_leaves(value: &[u8]) -> Option<Vec<&[u8]>> {
    let (mut leaves, mut rest) = (Vec::new(), value);
    while let Some((length, after)) = rest.split_first() {
        let (leaf, after) = after.split_at_checked(usize::from(*length))?;
        leaves.push(leaf);
        rest = after;
    }
    (leaves.len() as u64 == CHUNK_LEAVES).then_some(leaves)
}

/// What the log knows of a device instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InstanceState {
    /// The sequence it must use next.
    pub next_sequence: u64,
    /// SHA-256 of its newest envelope: what `previous` must be.
    pub last_hash: Digest,
    /// Index of its newest statement.
    pub last_index: u64,
    /// When that was received.
    pub last_received: Timestamp,
    /// Size of its anchor, which the next one's must not be below; 0 without one.
    pub anchor_size: u64,
}

impl InstanceState {
    fn push(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.next_sequence.to_be_bytes());
        out.extend_from_slice(self.last_hash.as_bytes());
        out.extend_from_slice(&self.last_index.to_be_bytes());
        out.extend_from_slice(&self.last_received.ms().to_be_bytes());
        out.extend_from_slice(&self.anchor_size.to_be_bytes());
    }

    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let (next_sequence, last_hash) = (fields.number()?, fields.digest()?);
        let (last_index, last_received) = (fields.number()?, Timestamp(fields.number()?));
        let anchor_size = fields.number()?;
        Some(Self { next_sequence, last_hash, last_index, last_received, anchor_size })
    }
}

/// A device instance: what the next statement builds on, and the newest ones, which fill no run yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceRow {
    /// What the next statement builds on.
    pub state: InstanceState,
    /// The newest statements.
    pub run: Run,
}

impl InstanceRow {
    /// The row's value.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.state.push(&mut out);
        self.run.push(&mut out);
        out
    }

    /// Reads the row's value.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let mut fields = Fields(value);
        let state = InstanceState::read(&mut fields)?;
        Some(Self { state, run: Run::parse(fields.0)? })
    }
}

/// The newest entry of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StreamHead {
    /// Entries in the stream.
    pub entries: u64,
    /// Leaf hash of the newest; zeros when there is none.
    pub last_leaf_hash: Digest,
}

impl StreamHead {
    /// The row's value.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.entries.to_be_bytes().to_vec();
        out.extend_from_slice(self.last_leaf_hash.as_bytes());
        out
    }

    /// Reads the row's value.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let mut fields = Fields(value);
        let (entries, last_leaf_hash) = (fields.number()?, fields.digest()?);
        fields.end(Self { entries, last_leaf_hash })
    }
}

/// A tile's value.
pub fn tile_value(hashes: &[Digest]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| hash.0).collect()
}

/// Reads a tile's value.
pub fn parse_tile(value: &[u8]) -> Option<Vec<Digest>> {
    let (hashes, rest) = value.as_chunks::<32>();
    rest.is_empty().then(|| hashes.iter().copied().map(Digest).collect())
}

fn push_position(out: &mut Vec<u8>, position: Position) {
    out.extend_from_slice(&position.segment.to_be_bytes());
    out.extend_from_slice(&position.offset.to_be_bytes());
}

/// The rest of a value that is being read.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn number(&mut self) -> Option<u64> {
        let (first, rest) = self.0.split_first_chunk::<8>()?;
        self.0 = rest;
        Some(u64::from_be_bytes(*first))
    }

    fn digest(&mut self) -> Option<Digest> {
        let (first, rest) = self.0.split_first_chunk::<32>()?;
        self.0 = rest;
        Some(Digest(*first))
    }

    fn position(&mut self) -> Option<Position> {
        Some(Position { segment: self.number()?, offset: self.number()? })
    }

    fn end<T>(self, value: T) -> Option<T> {
        self.0.is_empty().then_some(value)
    }
}
