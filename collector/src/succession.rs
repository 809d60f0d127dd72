//! A log that follows another: whose last checkpoint its first entry may name, and what shows devices that it extends what
//! they have seen.

use std::io;
use std::path::{Path, PathBuf};

use evidence::ids::Digest;
use evidence::note::{Checkpoint, NOTE_BYTES_MAX, Note, NoteError, VerifierKey};
use evidence::tiles::{self, Content, LEVEL_MAX, Tile, fold};

use crate::ledger::{Entry, Ledger, ReadError, parse_note};
use crate::log::{self, ProofError, TILE_NODES, Tiles};
use crate::tree::Folder;

#[cfg(test)]
mod tests;

/// End of the origin of a simulated log, and of no other.
pub const SIMULATED_LABEL_END: &str = "/simulated";

/// Why a log cannot follow another, or a proof about the one before cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum SuccessionError {
    /// A file could not be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The note is not the old log's.
    #[error("{path} is not a checkpoint that the old log's key has signed: {source}")]
    Note {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: NoteError,
    },
    /// It is the log itself.
    #[error("{0} cannot follow itself: give the successor another --label")]
    Itself(String),
    /// Another installation's.
    #[error(
        "{origin} cannot follow {predecessor}: a successor has the same trust domain and changes only the label"
    )]
    Stranger {
        /// The log to be made.
        origin: String,
        /// The old one.
        predecessor: String,
    },
    /// One is simulated and one is not.
    #[error("{origin} cannot follow {predecessor}: time is simulated in one of them alone")]
    Simulated {
        /// The log to be made.
        origin: String,
        /// The old one.
        predecessor: String,
    },
    /// Nothing was published.
    #[error("a checkpoint of no entries is nothing to follow")]
    Empty,
    /// The folder is no tree of it.
    #[error("{path} is not a public tree of {origin} with {size} entries and the root that is named: {why}")]
    Tree {
        /// The folder.
        path: PathBuf,
        /// The old log.
        origin: String,
        /// Entries that are named.
        size: u64,
        /// What is wrong.
        why: String,
    },
}

/// The checkpoint in the file `note`, once `key` signed it.
pub fn read_predecessor(note: &Path, key: &VerifierKey) -> Result<Checkpoint, SuccessionError> {
    let path = note.to_owned();
    let bytes = match std::fs::read(note) {
        Ok(bytes) => bytes,
        Err(source) => return Err(SuccessionError::Read { path, source }),
    };
    let parsed = Note::parse(bytes.get(..NOTE_BYTES_MAX).unwrap_or(&bytes));
    parsed
        .and_then(|note| Checkpoint::open_of(&note, std::slice::from_ref(key), key.name()))
        .map_err(|source| SuccessionError::Note { path, source })
}

/// Whether the log `origin` may follow the one of this checkpoint.
pub fn may_follow(origin: &str, trust_domain: &str, old: &Checkpoint) -> Result<(), SuccessionError> {
    let predecessor = old.origin.clone();
    let is_of_domain =
        |origin: &str| origin.strip_prefix(trust_domain).is_some_and(|rest| rest.starts_with("/log/"));
    let is_simulated = |origin: &str| origin.ends_with(SIMULATED_LABEL_END);
    if predecessor == origin {
        return Err(SuccessionError::Itself(predecessor));
    }
    let origin = origin.to_owned();
    if !is_of_domain(&predecessor) {
        return Err(SuccessionError::Stranger { origin, predecessor });
    }
    if is_simulated(&origin) != is_simulated(&predecessor) {
        return Err(SuccessionError::Simulated { origin, predecessor });
    }
    if old.size == 0 { Err(SuccessionError::Empty) } else { Ok(()) }
}

/// The first entry with its proof under the newest checkpoint, as it is shown.
pub fn first_entry(
    ledger: &Ledger,
    published: &crate::ledger::Published,
) -> Result<proto::FirstEntry, ReadError> {
    let Entry { leaf, salt, payload, .. } = ledger.entry(0)?;
    let hashes = ledger.inclusion(0, published.checkpoint.size)?;
    let damaged = |_| ReadError::Damaged { index: 0, what: "the newest checkpoint cannot be read" };
    let note = Note::parse(published.note.as_bytes()).map_err(damaged)?;
    let proof = evidence::note::TlogProof { extra: None, index: 0, hashes, note };
    Ok(proto::FirstEntry { leaf: leaf.encode(), salt: salt.to_vec(), payload, tlog_proof: proof.encode() })
}

/// A public tree of the predecessor, in a folder.
#[derive(Debug)]
pub struct PredecessorTree {
    folder: Folder,
    /// Entries that the folder's own checkpoint covers: what its partial tiles are as wide as.
    covered: u64,
    named: Checkpoint,
}

impl PredecessorTree {
    /// Opens the folder at `path`, whose hash tiles must lead to the checkpoint that is named.
    pub fn open(path: &Path, named: &Checkpoint) -> Result<Self, SuccessionError> {
        let refused = |why: String| SuccessionError::Tree {
            path: path.to_owned(),
            origin: named.origin.clone(),
            size: named.size,
            why,
        };
        let folder = Folder::new(path);
        let note = folder.checkpoint();
        let note = note.map_err(|source| SuccessionError::Read { path: path.to_owned(), source })?;
        let note = note.ok_or_else(|| refused("it holds no checkpoint".to_owned()))?;
        let covered = parse_note(&note).map_err(|error| refused(error.to_string()))?;
        if covered.origin != named.origin || covered.size < named.size {
            return Err(refused(format!("it holds {} entries of {}", covered.size, covered.origin)));
        }
        let tree = Self { folder, covered: covered.size, named: named.clone() };
        match log::root_at(&tree, named.size) {
            Ok(root) if root == named.root => Ok(tree),
            Ok(_) => Err(refused("its root is another one".to_owned())),
            Err(error) => Err(refused(crate::causes::chain(&error))),
        }
    }

    /// That the first `from` entries are the beginning of what is named; empty if they are all of it, or more.
    pub fn consistency(&self, from: u64) -> Result<Vec<Digest>, ProofError<io::Error>> {
        if from >= self.named.size { Ok(Vec::new()) } else { log::consistency(self, from, self.named.size) }
    }

    /// The hashes of a tile of the public tree, 256 wide, as many as there are.
    fn hashes(&self, level: u8, number: u64) -> io::Result<Vec<Digest>> {
        let (full, rest) = tiles::row(self.covered, level);
        let width = if number < full { tiles::TILE_WIDTH } else { rest };
        let Some(tile) = Tile::new(Content::Hashes(level), number, width).filter(|_| number <= full) else {
            return Ok(Vec::new());
        };
        let bytes = self.folder.tile_or_part_of_full(&tile)?;
        let bytes = bytes.ok_or_else(|| io::Error::other(format!("{tile} is missing")))?;
        tile.parse_hashes(&bytes).map_err(io::Error::other)
    }
}

/// The ledger's own tiles are 16 wide: one of them is a part of a public tile, or 16 hashes for each of its own.
impl Tiles for PredecessorTree {
    type Error = io::Error;

    fn tile(&self, level: u8, number: u64) -> io::Result<Vec<Digest>> {
        let (public, nodes) = (level / 2, usize::try_from(TILE_NODES).unwrap_or(usize::MAX));
        if public > LEVEL_MAX {
            return Ok(Vec::new());
        }
        if level.is_multiple_of(2) {
            let hashes = self.hashes(public, number / TILE_NODES)?;
            let skipped = usize::try_from(number % TILE_NODES).unwrap_or(usize::MAX) * nodes;
            return Ok(hashes.into_iter().skip(skipped).take(nodes).collect());
        }
        let hashes = self.hashes(public, number)?;
        Ok(hashes.chunks_exact(nodes).map(fold).collect())
    }
}
