//! A second reader of the journal, written from docs/FORMAT.md section 13: what is kept, without the program
//! that kept it.

use std::fs;
use std::path::{Path, PathBuf};

use evidence::ids::Digest;
use evidence::merkle::{empty_root, leaf_hash, node_hash};

use crate::sealed::DataKeys;

/// Length of a segment's header: magic, version, number.
const HEADER: usize = 16;

/// An entry under the last intact commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Index in the log.
    pub index: u64,
    /// Leaf bytes.
    pub leaf: Vec<u8>,
    /// Salt of the commitment.
    pub salt: [u8; 32],
    /// Payload.
    pub payload: Vec<u8>,
}

/// Everything that counts.
#[derive(Debug, Default)]
pub struct Journal {
    /// Entries, ascending by index.
    pub entries: Vec<Entry>,
    /// Size and root of each commit.
    pub commits: Vec<(u64, Digest)>,
    /// Checkpoint notes.
    pub notes: Vec<String>,
    /// Segments.
    pub segments: usize,
}

/// The segment files, in order.
pub fn segments(data: &Path) -> Vec<PathBuf> {
    let listed = fs::read_dir(data.join("journal")).expect("the journal");
    let mut paths: Vec<PathBuf> = listed.map(|entry| entry.expect("a name").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "seg"));
    paths.sort();
    paths
}

impl Journal {
    /// Reads the journal of a collector that is down.
    pub fn read(data: &Path) -> Self {
        let mut journal = Self::default();
        let paths = segments(data);
        journal.segments = paths.len();
        let keys = DataKeys::read(data);
        let mut waiting = Vec::new();
        for (number, path) in paths.iter().enumerate() {
            let bytes = fs::read(path).expect("a segment");
            journal.segment(&bytes, number as u64, number + 1 == paths.len(), &keys, &mut waiting);
        }
        journal
    }

    fn segment(
        &mut self,
        bytes: &[u8],
        number: u64,
        newest: bool,
        keys: &DataKeys,
        waiting: &mut Vec<Entry>,
    ) {
        assert_eq!(&bytes[..8], b"TSJ1\0\0\0\x01", "head of segment {number}");
        assert_eq!(bytes[8..16], number.to_be_bytes(), "number of segment {number}");
        let mut at = HEADER;
        loop {
            let Some((kind, body, next)) = record(bytes, at) else {
                // Length 0 ends a segment; what is cut short is an unacknowledged group, in the newest one
                // only.
                let ended = bytes.get(at..at + 4).is_none_or(|length| length == [0; 4]);
                assert!(ended || newest, "segment {number} is damaged at {at}");
                waiting.clear();
                return;
            };
            match kind {
                1 => waiting.push(entry(body, keys)),
                2 => {
                    let (size, root) = (u64be(&body[..8]), Digest::from_slice(&body[8..]).expect("a root"));
                    self.entries.append(waiting);
                    assert_eq!(self.entries.len() as u64, size, "size of a commit in segment {number}");
                    self.commits.push((size, root));
                }
                3 => self.notes.push(String::from_utf8(body.to_vec()).expect("a note is UTF-8")),
                4 => {
                    assert_eq!(u64be(body), number + 1, "continuation of segment {number}");
                    assert!(waiting.is_empty(), "a group crosses segment {number}'s end");
                    return;
                }
                other => panic!("a record of type {other} in segment {number} at {at}"),
            }
            at = next;
        }
    }
}

fn u64be(bytes: &[u8]) -> u64 {
    u64::from_be_bytes(bytes.try_into().expect("8 bytes"))
}

fn record(bytes: &[u8], at: usize) -> Option<(u8, &[u8], usize)> {
    let head = bytes.get(at..at + 9)?;
    let length = u32::from_be_bytes(head[..4].try_into().expect("4 bytes")) as usize;
    let next = at + 9 + length;
    let summed = bytes.get(at + 8..next)?;
    let sum = u32::from_be_bytes(head[4..8].try_into().expect("4 bytes"));
    (length > 0 && crc32c::crc32c(summed) == sum).then(|| (head[8], &summed[1..], next))
}

fn entry(body: &[u8], keys: &DataKeys) -> Entry {
    let leaf_bytes = usize::from(body[8]);
    let (leaf, rest) = body[9..].split_at(leaf_bytes);
    let index = u64be(&body[..8]);
    let opened = keys.open(index, leaf, rest[0], &rest[1..]);
    // A group that was never acknowledged may be sealed under a key that was never kept: it does not count either.
    let (salt, payload) = opened.unwrap_or(([0; 32], Vec::new()));
    Entry { index, leaf: leaf.to_vec(), salt, payload }
}

/// Roots of growing trees, from leaf bytes alone: RFC 6962 section 2.1.
#[derive(Debug, Default)]
pub struct Roots {
    /// Complete subtrees, largest first: height and root.
    parts: Vec<(u32, Digest)>,
}

impl Roots {
    /// Appends a leaf.
    pub fn push(&mut self, leaf: &[u8]) {
        let mut part = (0, leaf_hash(leaf));
        while let Some(last) = self.parts.pop_if(|last| last.0 == part.0) {
            part = (part.0 + 1, node_hash(&last.1, &part.1));
        }
        self.parts.push(part);
    }

    /// Root of what was appended.
    pub fn root(&self) -> Digest {
        let roots = self.parts.iter().rev().map(|part| part.1);
        roots.reduce(|right, left| node_hash(&left, &right)).unwrap_or_else(empty_root)
    }
}
