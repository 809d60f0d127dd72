//! One journal record: `u32be(length of body) ‖ u32be(CRC32C of type ‖ body) ‖ type(1) ‖ body`.

use evidence::leaf::CODEC_PLAIN;

use crate::payload_codec::OVERHEAD_BYTES_MAX;

/// Bytes before a record's body: length, checksum, type.
pub(super) const RECORD_HEADER_BYTES: usize = 9;
/// Longest body, bytes: an entry of the longest leaf and the longest payload record.
pub(super) const RECORD_BODY_BYTES_MAX: usize = 8 + 1 + 83 + 1 + OVERHEAD_BYTES_MAX + 65_536;
/// Body of a commit: size and root.
const COMMIT_BODY_BYTES: usize = 40;
/// Body of a `continued` record: a segment number.
const CONTINUED_BODY_BYTES: usize = 8;

const TYPE_ENTRY: u8 = 1;
const TYPE_COMMIT: u8 = 2;
const TYPE_CHECKPOINT: u8 = 3;
const TYPE_CONTINUED: u8 = 4;

/// One entry of the log as it is stored: `u64be(index) ‖ u8(leaf length) ‖ leaf ‖ codec ‖ payload record`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryRecord {
    /// Index of the leaf in the log, from 0.
    pub index: u64,
    /// The leaf's bytes, as hashed.
    pub leaf: Vec<u8>,
    /// How `stored` is coded: see [`crate::payload_codec`].
    pub codec: u8,
    /// The payload record.
    pub stored: Vec<u8>,
}

/// A record of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// An entry; counts once a commit follows.
    Entry(EntryRecord),
    /// Seals the entries before it.
    Commit {
        /// Leaves in the tree.
        size: u64,
        /// RFC 6962 root over them.
        root: [u8; 32],
    },
    /// A signed checkpoint note, its own seal.
    Checkpoint {
        /// The note, verbatim.
        note: Vec<u8>,
    },
    /// Last record of a full segment.
    Continued {
        /// Number of the segment that follows.
        next: u64,
    },
}

impl Record {
    /// True if what was written before this record counts because of it.
    pub fn is_seal(&self) -> bool {
        !matches!(self, Self::Entry(_))
    }
}

/// What lies at a place of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parsed {
    /// An intact record and its whole length, bytes.
    Record(Record, usize),
    /// Length 0, or no room for a record: nothing was written from here on.
    End,
    /// Neither.
    Bad(&'static str),
}

/// Reads the record at the start of `bytes`.
pub fn parse_record(bytes: &[u8]) -> Parsed {
    let Some((header, rest)) = bytes.split_first_chunk::<RECORD_HEADER_BYTES>() else {
        let empty = bytes.iter().all(|byte| *byte == 0);
        return if empty { Parsed::End } else { Parsed::Bad("half a record header at the end of the file") };
    };
    let [l0, l1, l2, l3, c0, c1, c2, c3, kind] = *header;
    let length = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
    if length == 0 {
        return Parsed::End;
    }
    if length > RECORD_BODY_BYTES_MAX {
        return Parsed::Bad("a record is longer than any can be");
    }
    let Some(body) = rest.get(..length) else {
        return Parsed::Bad("a record reaches beyond the end of the file");
    };
    if checksum(kind, body) != u32::from_be_bytes([c0, c1, c2, c3]) {
        return Parsed::Bad("the checksum of a record does not match its bytes");
    }
    match parse_body(kind, body) {
        Some(record) => Parsed::Record(record, RECORD_HEADER_BYTES + length),
        None => Parsed::Bad("a record has a type or a form this program does not know"),
    }
}

fn parse_body(kind: u8, body: &[u8]) -> Option<Record> {
    match kind {
        TYPE_ENTRY => {
            let (index, rest) = body.split_first_chunk::<8>()?;
            let (leaf_bytes, rest) = rest.split_first()?;
            let (leaf, rest) = rest.split_at_checked(usize::from(*leaf_bytes))?;
            let (codec, stored) = rest.split_first()?;
            let (leaf, stored) = (leaf.to_vec(), stored.to_vec());
            Some(Record::Entry(EntryRecord {
                index: u64::from_be_bytes(*index),
                leaf,
                codec: *codec,
                stored,
            }))
        }
        TYPE_COMMIT => {
            let (size, root) = body.split_first_chunk::<8>()?;
            Some(Record::Commit { size: u64::from_be_bytes(*size), root: root.try_into().ok()? })
        }
        TYPE_CHECKPOINT => Some(Record::Checkpoint { note: body.to_vec() }),
        TYPE_CONTINUED => Some(Record::Continued { next: u64::from_be_bytes(body.try_into().ok()?) }),
        _ => None,
    }
}

/// True if a record whose length, checksum and type are `header` could have a body of that length.
pub(super) fn plausible_header(header: &[u8; RECORD_HEADER_BYTES]) -> Option<usize> {
    let [l0, l1, l2, l3, _, _, _, _, kind] = *header;
    let length = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
    let plausible = match kind {
        TYPE_ENTRY | TYPE_CHECKPOINT => (1..=RECORD_BODY_BYTES_MAX).contains(&length),
        TYPE_COMMIT => length == COMMIT_BODY_BYTES,
        TYPE_CONTINUED => length == CONTINUED_BODY_BYTES,
        _ => false,
    };
    plausible.then_some(length)
}

fn checksum(kind: u8, body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&[kind]), body)
}

/// Records being put together for one write.
#[derive(Debug, Clone, Default)]
pub struct Group {
    bytes: Vec<u8>,
    offsets: Vec<u32>,
    sealed: bool,
}

impl Group {
    /// An empty group.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an entry of codec 0: `salt ‖ payload`.
    pub fn push_entry(&mut self, index: u64, leaf: &[u8], salt: &[u8; 32], payload: &[u8]) {
        self.push_stored(index, leaf, CODEC_PLAIN, &[salt, payload]);
    }

    /// Adds an entry whose payload record is `stored`, in parts.
    pub fn push_stored(&mut self, index: u64, leaf: &[u8], codec: u8, stored: &[&[u8]]) {
        let leaf_bytes = u8::try_from(leaf.len()).unwrap_or(u8::MAX);
        let (index, leaf_bytes, codec) = (index.to_be_bytes(), [leaf_bytes], [codec]);
        let parts: Vec<&[u8]> =
            [&index, leaf_bytes.as_slice(), leaf, &codec].into_iter().chain(stored.iter().copied()).collect();
        self.push(TYPE_ENTRY, &parts);
        self.sealed = false;
    }

    /// Seals the entries so far.
    pub fn push_commit(&mut self, size: u64, root: &[u8; 32]) {
        self.push(TYPE_COMMIT, &[&size.to_be_bytes(), root]);
        self.sealed = true;
    }

    /// Adds a signed checkpoint note.
    pub fn push_checkpoint(&mut self, note: &[u8]) {
        self.push(TYPE_CHECKPOINT, &[note]);
        self.sealed = true;
    }

    pub(crate) fn push_continued(&mut self, next: u64) {
        self.push(TYPE_CONTINUED, &[&next.to_be_bytes()]);
        self.sealed = true;
    }

    fn push(&mut self, kind: u8, parts: &[&[u8]]) {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let sum = parts.iter().fold(crc32c::crc32c(&[kind]), |sum, part| crc32c::crc32c_append(sum, part));
        self.offsets.push(u32::try_from(self.bytes.len()).unwrap_or(u32::MAX));
        self.bytes.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
        self.bytes.extend_from_slice(&sum.to_be_bytes());
        self.bytes.push(kind);
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
    }

    /// The records' bytes so far.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Where each record begins in [`Group::bytes`].
    pub fn offsets(&self) -> &[u32] {
        &self.offsets
    }

    /// True if the last record is a seal, so that the group may be written.
    pub fn is_sealed(&self) -> bool {
        self.sealed
    }
}
