//! Keys and values of the index. Keys begin with one letter and continue big-endian, so that they sort by number.
//!
//! | key | value |
//! |---|---|
//! | `h` | [`Head`]: how far the index follows the journal |
//! | `c` | [`CheckpointRow`]: newest checkpoint as the log signed it |
//! | `w` | [`CheckpointRow`]: newest checkpoint with cosignatures |
//! | `l` index(8) | [`LeafRow`]: where an entry lies, and its leaf |
//! | `t` level(1) number(8) | up to 16 hashes of nodes at height 4 × level |
//! | `d` instance(16) | [`InstanceState`] |
//! | `q` instance(16) sequence(8) | index(8) of that statement |
//! | `s` stream(1) | [`StreamHead`] |
//! | `e` stream(1) stream sequence(8) | index(8) of that entry |

use evidence::ids::{Digest, InstanceId};
use evidence::leaf::Stream;
use evidence::note::Note;
use evidence::time::Timestamp;

use super::{Row, VALUE_BYTES_MAX};
use crate::journal::Position;

/// Version of this layout; an index of another version is rebuilt.
const LAYOUT_VERSION: u8 = 2;

/// Key of [`Head`].
pub const HEAD_KEY: &[u8] = b"h";
/// Key of [`CheckpointRow`], of the log's line alone.
pub const CHECKPOINT_KEY: &[u8] = b"c";
/// Key of [`CheckpointRow`], with lines of witnesses.
pub const COSIGNED_KEY: &[u8] = b"w";

/// Key of a leaf.
pub fn leaf_key(index: u64) -> Vec<u8> {
    key(b'l', &[&index.to_be_bytes()])
}

/// Key of a tile of the tree.
pub fn tile_key(level: u8, number: u64) -> Vec<u8> {
    key(b't', &[&[level], &number.to_be_bytes()])
}

/// Key of a device instance.
pub fn instance_key(instance: &InstanceId) -> Vec<u8> {
    key(b'd', &[instance.as_bytes()])
}

/// Key of a statement of a device instance.
pub fn statement_key(instance: &InstanceId, sequence: u64) -> Vec<u8> {
    key(b'q', &[instance.as_bytes(), &sequence.to_be_bytes()])
}

/// Key of a stream's head.
pub fn stream_key(stream: Stream) -> Vec<u8> {
    key(b's', &[&[stream.number()]])
}

/// Key of an entry of a stream.
pub fn stream_entry_key(stream: Stream, sequence: u64) -> Vec<u8> {
    key(b'e', &[&[stream.number()], &sequence.to_be_bytes()])
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

    /// The row with its key, which says whether witnesses signed too. None for a note that is longer than a value may be:
    /// what is then read at the next start is an older checkpoint, which is one all the same.
    pub fn row(&self) -> Option<Row> {
        let cosigned = Note::parse(self.note.as_bytes()).is_ok_and(|note| note.signatures() > 1);
        let key = if cosigned { COSIGNED_KEY } else { CHECKPOINT_KEY };
        let value = self.encode();
        (value.len() <= VALUE_BYTES_MAX).then(|| (key.to_vec(), value))
    }
}

/// Where an entry lies, and its leaf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeafRow {
    /// Position of its journal record.
    pub position: Position,
    /// The leaf's bytes.
    pub leaf: Vec<u8>,
}

impl LeafRow {
    /// The row's value.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(16 + self.leaf.len());
        push_position(&mut out, self.position);
        out.extend_from_slice(&self.leaf);
        out
    }

    /// Reads the row's value.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let mut fields = Fields(value);
        let position = fields.position()?;
        Some(Self { position, leaf: fields.0.to_vec() })
    }
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
    /// The row's value.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.next_sequence.to_be_bytes().to_vec();
        out.extend_from_slice(self.last_hash.as_bytes());
        out.extend_from_slice(&self.last_index.to_be_bytes());
        out.extend_from_slice(&self.last_received.ms().to_be_bytes());
        out.extend_from_slice(&self.anchor_size.to_be_bytes());
        out
    }

    /// Reads the row's value.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let mut fields = Fields(value);
        let (next_sequence, last_hash) = (fields.number()?, fields.digest()?);
        let (last_index, last_received) = (fields.number()?, Timestamp(fields.number()?));
        let anchor_size = fields.number()?;
        fields.end(Self { next_sequence, last_hash, last_index, last_received, anchor_size })
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
