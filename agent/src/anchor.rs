//! The newest checkpoint this device has verified: it only ever grows, and every statement names it.

use std::path::PathBuf;

use evidence::ids::Digest;
use evidence::log_keys::LogKeys;
use evidence::merkle::{self, ProofError};
use evidence::note::{Checkpoint, Note, NoteError, VerifierKey};
use evidence::statement;

use crate::disk;

/// Changes of the log's key in one message at most: one a month for twenty years.
const KEY_CHANGES_MAX: usize = 256;

#[cfg(test)]
mod tests;

/// Why a checkpoint was not believed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnchorError {
    /// The note is not a checkpoint of this log under a pinned key.
    #[error("the checkpoint is refused")]
    Note(#[from] NoteError),
    /// It does not continue what was verified before: the log was rewritten, or shows this device another one.
    #[error("the log at size {to} does not continue the one verified at size {from}")]
    Inconsistent {
        /// Size verified before.
        from: u64,
        /// Size shown now.
        to: u64,
        /// What the proof does not do.
        source: ProofError,
    },
    /// The proof starts from another size than this device has.
    #[error("the consistency proof starts at size {found}, this device has verified size {expected}")]
    From {
        /// Size verified here.
        expected: u64,
        /// Start of the proof.
        found: u64,
    },
    /// Too many hashes, or one that is not 32 bytes.
    #[error("the consistency proof is malformed")]
    Proof,
}

/// The log this device enrolled with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinnedLog {
    /// Its origin.
    pub origin: String,
    /// Its keys.
    pub keys: Vec<VerifierKey>,
}

impl PinnedLog {
    /// Takes the keys that this log's key changed to, as far as a key that is held endorsed them. They are held beside the
    /// ones before: a collector that waits for its witnesses may still show a checkpoint of before.
    pub fn follow(&mut self, changes: &[proto::LogKeyChange]) {
        let mut keys = LogKeys::pinned(&self.keys);
        for change in changes.iter().take(KEY_CHANGES_MAX) {
            if let Ok(key) = VerifierKey::parse(&change.vkey)
                && key.name() == self.origin
                && !keys.all().contains(&key)
                && !keys.follow(change.index, &key, &change.endorsement)
            {
                tracing::warn!(
                    vkey = change.vkey,
                    "A key of the log is not endorsed by the one before; it is not taken."
                );
            }
        }
        self.keys = keys.all().to_vec();
    }

    /// The checkpoint of a note, once every line of it is by a pinned key and it is of this log.
    pub fn open(&self, note: &str) -> Result<Checkpoint, AnchorError> {
        let note = Note::parse(note.as_bytes())?;
        let checkpoint = Checkpoint::open(&note, &self.keys)?;
        if checkpoint.origin == self.origin {
            Ok(checkpoint)
        } else {
            Err(NoteError::Origin { found: checkpoint.origin, expected: self.origin.clone() }.into())
        }
    }
}

/// The newest verified checkpoint, in memory.
#[derive(Debug, Clone)]
pub struct Anchor {
    log: PinnedLog,
    newest: Option<(Checkpoint, Option<String>)>,
}

impl Anchor {
    /// Nothing verified yet.
    pub fn none(log: PinnedLog) -> Self {
        Self { log, newest: None }
    }

    /// Begins from a note that was kept here, or that came with the enrolment. An empty tree is no anchor.
    pub fn from_note(log: PinnedLog, note: &str) -> Result<Self, AnchorError> {
        let checkpoint = log.open(note)?;
        let newest = (checkpoint.size > 0).then(|| (checkpoint, Some(note.to_owned())));
        Ok(Self { log, newest })
    }

    /// Begins from a checkpoint that a statement of this device names: it was verified here before the statement was
    /// signed, but its note is gone.
    pub fn from_own_statement(log: PinnedLog, checkpoint: Checkpoint) -> Self {
        Self { log, newest: Some((checkpoint, None)) }
    }

    /// The log it is of.
    pub fn log(&self) -> &PinnedLog {
        &self.log
    }

    /// The checkpoint, for a statement.
    pub fn checkpoint(&self) -> Option<&Checkpoint> {
        self.newest.as_ref().map(|(checkpoint, _)| checkpoint)
    }

    /// The checkpoint as a statement names it: with the hash of its note where others than the log signed it too, since
    /// that hash nobody could know before they did.
    pub fn for_statement(&self) -> Option<statement::Anchor> {
        let mut anchor = statement::Anchor::from(self.checkpoint()?.clone());
        anchor.note =
            self.note().filter(|note| self.is_cosigned(note)).map(|note| Digest::of(note.as_bytes()));
        Some(anchor)
    }

    fn is_cosigned(&self, note: &str) -> bool {
        Note::parse(note.as_bytes())
            .is_ok_and(|note| note.signatures() > note.with_lines_of(&self.log.keys, &[]).signatures())
    }

    /// Its note as the log signed it.
    pub fn note(&self) -> Option<&str> {
        self.newest.as_ref().and_then(|(_, note)| note.as_deref())
    }

    /// Its size; 0 when there is none.
    pub fn size(&self) -> u64 {
        self.checkpoint().map_or(0, |checkpoint| checkpoint.size)
    }

    /// Takes a newer checkpoint once its signature and its consistency with the newest one hold. Returns whether
    /// it is newer. A smaller one is refused: a log does not shrink.
    pub fn advance(&mut self, note: &str, from: u64, proof: &[Vec<u8>]) -> Result<bool, AnchorError> {
        let next = self.log.open(note)?;
        if from != self.size() {
            return Err(AnchorError::From { expected: self.size(), found: from });
        }
        if proof.len() > merkle::PROOF_HASHES_MAX {
            return Err(AnchorError::Proof);
        }
        let hashes: Result<Vec<Digest>, _> = proof.iter().map(|hash| Digest::from_slice(hash)).collect();
        let hashes = hashes.map_err(|_| AnchorError::Proof)?;
        let root = self.checkpoint().map_or_else(merkle::empty_root, |checkpoint| checkpoint.root);
        merkle::verify_consistency(from, &root, next.size, &next.root, &hashes)
            .map_err(|source| AnchorError::Inconsistent { from, to: next.size, source })?;
        if next.size == from {
            return Ok(false);
        }
        self.newest = Some((next, Some(note.to_owned())));
        Ok(true)
    }

    /// Follows the log's key before a checkpoint by it is looked at.
    pub fn follow(&mut self, changes: &[proto::LogKeyChange]) {
        self.log.follow(changes);
    }

    /// Whether `seen` contradicts what was verified: the same size with another root.
    pub fn contradicts(&self, seen: &Checkpoint) -> bool {
        self.checkpoint().is_some_and(|mine| mine.size == seen.size && mine.root != seen.root)
    }
}

/// The file the anchor is kept in, so that a statement never names a smaller one after a restart.
#[derive(Debug)]
pub struct AnchorFile {
    path: PathBuf,
    kept_size: u64,
}

impl AnchorFile {
    /// The file at `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), kept_size: 0 }
    }

    /// Reads the kept anchor; `None` when there is no file.
    pub fn read(&mut self, log: &PinnedLog) -> std::io::Result<Option<Result<Anchor, AnchorError>>> {
        let bytes = match disk::read_bounded(&self.path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            bytes => bytes?,
        };
        let anchor = Anchor::from_note(log.clone(), &String::from_utf8_lossy(&bytes));
        if let Ok(anchor) = &anchor {
            self.kept_size = anchor.size();
        }
        Ok(Some(anchor))
    }

    /// Keeps the anchor durably. Must have returned before a statement that names it is signed.
    pub fn keep(&mut self, anchor: &Anchor) -> std::io::Result<()> {
        if let Some(note) = anchor.note()
            && anchor.size() > self.kept_size
        {
            disk::replace(&self.path, note.as_bytes(), 0o644)?;
            self.kept_size = anchor.size();
        }
        Ok(())
    }
}
