//! The ledger as a whole: made once, opened with recovery, read from any thread, written by the sequencer alone.
//!
//! ```text
//! Ledger::create(dir, …, genesis)      `init`, once
//! let (ledger, unstarted) = Ledger::open(dir, …)?;
//! …fold the streams read through `ledger` into whatever follows them…
//! let (sequencer, thread) = unstarted.start(writer_options)?;
//! ```
//!
//! Readers see committed entries only: the newest in memory and the journal, the others in the epochs of sled (see
//! [`crate::indexer`]). A payload is checked against leaf and commitment each time it is read.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock};

use evidence::ids::Digest;
use evidence::leaf::{Leaf, SALT_BYTES};
use evidence::note::Checkpoint;
use evidence::time::Timestamp;
use tokio::sync::watch;

use crate::data_keys::{DataKeyError, DataKeys};
use crate::datadir::DataDir;
use crate::epochs::{EpochTiles, Epochs};
use crate::indexer::Signal;
use crate::journal::{JournalError, JournalReader, Record};
use crate::log::{self, Tiles};
use crate::notes::Recent;
use crate::payload_codec::{self, Opened, PayloadError, ReadPayloadError, Subject};
use crate::store::StoreError;
use crate::store::rows::{CHUNK_LEAVES, StreamHead};
use crate::tail::Tail;
use crate::tree::Folder;

mod memo;
mod opening;
mod reading;
mod replay;
#[cfg(test)]
pub(crate) mod tests;

pub use opening::{JOURNAL_SEGMENTS_KEPT_DEFAULT, LedgerOptions, OpenError, OpenReport, Unstarted};
pub(crate) use opening::{level_index, parse_note};
pub(crate) use replay::link_of;

/// Rows given by one call at most: callers page.
pub const PAGE_ROWS_MAX: usize = 10_000;

/// The reading side of the ledger; cheap to clone.
#[derive(Clone)]
pub struct Ledger {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    /// Holds the lock of the data directory for as long as anybody reads.
    pub(crate) _dir: Arc<DataDir>,
    pub(crate) epochs: Epochs,
    pub(crate) tail: RwLock<Tail>,
    pub(crate) memo: memo::Memo,
    pub(crate) journal: JournalReader,
    pub(crate) keys: Arc<DataKeys>,
    /// The newest cosigned notes.
    pub(crate) recent: Mutex<Recent>,
    /// Those that statements of whole bundles name.
    pub(crate) kept_notes: Folder,
    /// Leaves that the public tree holds durably; 0 while nobody keeps one.
    pub(crate) tree_size: AtomicU64,
    pub(crate) indexer: Arc<(Mutex<Signal>, Condvar)>,
    pub(crate) snapshot: RwLock<Snapshot>,
    pub(crate) checkpoints: watch::Sender<Option<Arc<Published>>>,
    pub(crate) signing: RwLock<Signing>,
}

impl Shared {
    /// Changes what the threads tell each other, and wakes them.
    pub(crate) fn signal(&self, change: impl FnOnce(&mut Signal)) {
        let (signal, changed) = &*self.indexer;
        change(&mut signal.lock().unwrap_or_else(PoisonError::into_inner));
        changed.notify_all();
    }
}

/// What is committed at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Snapshot {
    /// Leaves.
    pub size: u64,
    /// Root over them.
    pub root: Digest,
    /// When the newest was received.
    pub received: Timestamp,
    /// Heads of streams 1 to 4, in this order.
    pub streams: [StreamHead; 4],
}

/// A checkpoint that may leave the process: it is durable in the journal, and cosigned by the quorum where there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Origin, size and root.
    pub checkpoint: Checkpoint,
    /// The note, with every line it was published with.
    pub note: String,
}

/// Whether new checkpoints are signed. Ingest goes on in every state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signing {
    /// The sequencer has not been started.
    NotStarted,
    /// Whenever there is something new.
    Active,
    /// Not before the witnesses were compared with, at start.
    Held,
    /// Not until enough witnesses have cosigned the last checkpoint.
    QuorumMissing {
        /// What the quorum line of the policy names.
        quorum: String,
        /// Who cosigned and who did not.
        standing: String,
    },
    /// Not until the clock agrees with the time of the witnesses.
    ClockApart {
        /// How far it is from their median, milliseconds.
        apart_ms: u64,
    },
    /// Not until the clock has caught up with the newest entry.
    ClockSteppedBack {
        /// How far it lies behind, milliseconds.
        behind_ms: u64,
    },
    /// Not in this run: the reason, and what to do.
    Refused(String),
}

/// An entry as stored and checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its index, from 0.
    pub index: u64,
    /// Its leaf.
    pub leaf: Leaf,
    /// Salt of the commitment.
    pub salt: [u8; SALT_BYTES],
    /// The payload.
    pub payload: Vec<u8>,
}

/// An entry whose payload was erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErasedEntry {
    /// Its index, from 0.
    pub index: u64,
    /// Its leaf.
    pub leaf: Leaf,
    /// Index of the tombstone.
    pub tombstone: u64,
    /// Whose entry it was; unchecked but for the record's own checksum.
    pub subject: Subject,
}

/// What the log has at an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// The entry.
    Entry(Entry),
    /// Its leaf, and that it was erased.
    Erased(ErasedEntry),
}

/// Why something could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Its payload was erased: that is no damage.
    #[error("the payload of entry {index} was erased by entry {tombstone}")]
    Erased {
        /// Index of the entry.
        index: u64,
        /// Index of the tombstone.
        tombstone: u64,
    },
    /// The data keys.
    #[error(transparent)]
    Keys(#[from] DataKeyError),
    /// There is no such entry.
    #[error("there is no entry {index}: the log has {size}")]
    NoEntry {
        /// Index asked for.
        index: u64,
        /// Entries there are.
        size: u64,
    },
    /// The sizes are not of this log.
    #[error("sizes {from} and {to} are out of order, or beyond the {size} entries of the log")]
    Sizes {
        /// Index or older size.
        from: u64,
        /// Newer size.
        to: u64,
        /// Entries there are.
        size: u64,
    },
    /// The index.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Stored bytes contradict each other.
    #[error("entry {index} is damaged: {what}. Run fsck")]
    Damaged {
        /// Index of the entry.
        index: u64,
        /// What is wrong.
        what: &'static str,
    },
}

impl Ledger {
    /// The data keys of this log.
    pub fn data_keys(&self) -> &Arc<DataKeys> {
        &self.shared.keys
    }

    /// What is committed now.
    pub fn snapshot(&self) -> Snapshot {
        *self.shared.snapshot.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Entries committed now.
    pub fn size(&self) -> u64 {
        self.snapshot().size
    }

    /// Whether checkpoints are being signed.
    pub fn signing(&self) -> Signing {
        self.shared.signing.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_signing(&self, signing: Signing) {
        *self.shared.signing.write().unwrap_or_else(PoisonError::into_inner) = signing;
    }

    /// The newest published checkpoint, if there is one.
    pub fn checkpoint(&self) -> Option<Arc<Published>> {
        self.shared.checkpoints.borrow().clone()
    }

    /// Checkpoints as they are published; holds the newest.
    pub fn checkpoints(&self) -> watch::Receiver<Option<Arc<Published>>> {
        self.shared.checkpoints.subscribe()
    }

    /// An entry's leaf.
    pub fn leaf(&self, index: u64) -> Result<Leaf, ReadError> {
        let found = self.leaf_bytes(index)?;
        parse_leaf(index, &found)
    }

    /// Bytes of the leaves of entries `from` to `to` − 1, at most [`PAGE_ROWS_MAX`].
    pub fn leaves(&self, from: u64, to: u64) -> Result<Vec<Vec<u8>>, ReadError> {
        self.check_sizes(from, to)?;
        let to = to.min(from.saturating_add(PAGE_ROWS_MAX as u64));
        let mut leaves = Vec::new();
        let mut index = from;
        while index < to {
            if let Some(leaf) = self.tail_leaf(index) {
                leaves.push(leaf);
                index += 1;
                continue;
            }
            let chunk = index / CHUNK_LEAVES;
            let end = chunk.saturating_add(1).saturating_mul(CHUNK_LEAVES).min(to);
            let skipped = usize::try_from(index % CHUNK_LEAVES).unwrap_or(usize::MAX);
            let wanted = usize::try_from(end - index).unwrap_or(usize::MAX);
            leaves.extend(self.shared.epochs.leaves_of(chunk)?.into_iter().skip(skipped).take(wanted));
            index = end;
        }
        Ok(leaves)
    }

    /// Root over the 256 leaves of entry bundle `number`.
    pub fn bundle_root(&self, number: u64) -> Result<Digest, ReadError> {
        let low = number.saturating_mul(log::BUNDLE_LEAVES);
        self.check_sizes(low, low.saturating_add(log::BUNDLE_LEAVES))?;
        Ok(log::bundle_root(&self.tiles(), low).map_err(crate::index::tile_error)?)
    }

    /// An entry's leaf, salt and payload, checked against each other; that it was erased is an error here.
    pub fn entry(&self, index: u64) -> Result<Entry, ReadError> {
        match self.find(index)? {
            Found::Entry(entry) => Ok(entry),
            Found::Erased(ErasedEntry { tombstone, .. }) => Err(ReadError::Erased { index, tombstone }),
        }
    }

    /// As [`Ledger::entry`], where an erased payload is an answer too.
    pub fn find(&self, index: u64) -> Result<Found, ReadError> {
        let damaged = |what| ReadError::Damaged { index, what };
        let bytes = self.leaf_bytes(index)?;
        let leaf = parse_leaf(index, &bytes)?;
        let (codec, stored) = self.stored(index)?;
        match payload_codec::read(Some(&self.shared.keys), index, &leaf, &bytes, codec, &stored) {
            Ok(Opened::Payload { salt, payload }) => Ok(Found::Entry(Entry { index, leaf, salt, payload })),
            Ok(Opened::Erased { tombstone, subject }) => {
                Ok(Found::Erased(ErasedEntry { index, leaf, tombstone, subject }))
            }
            Err(ReadPayloadError::Key(error)) => Err(error.into()),
            Err(ReadPayloadError::Payload(error)) => Err(damaged(match error {
                PayloadError::Form(what) => what,
                _ => "its sealed payload does not open",
            })),
        }
    }

    /// An entry's payload record as it is stored: (codec, bytes).
    pub fn stored(&self, index: u64) -> Result<(u8, Vec<u8>), ReadError> {
        let damaged = |what| ReadError::Damaged { index, what };
        let at = self.tail().entry(index).map(|entry| (entry.position, entry.added.leaf.clone()));
        let Some((position, leaf)) = at else {
            self.check_index(index)?;
            return Ok(self.shared.epochs.payload(index)?);
        };
        match self.shared.journal.record(position) {
            Ok(Record::Entry(record)) if record.index == index && record.leaf == leaf => {
                Ok((record.codec, record.stored))
            }
            Ok(_) => Err(damaged("the journal holds something else there")),
            // It was indexed a moment ago, and its segment dropped.
            Err(_) if self.tail().first() > index => Ok(self.shared.epochs.payload(index)?),
            Err(error) => Err(error.into()),
        }
    }

    /// Inclusion proof of an entry in the tree of the first `size`, hashes from leaf to root.
    pub fn inclusion(&self, index: u64, size: u64) -> Result<Vec<Digest>, ReadError> {
        Ok(self.inclusions(&[index], size)?.into_iter().next().unwrap_or_default())
    }

    /// The same for several entries, in their order, with the work they share done once.
    pub fn inclusions(&self, indexes: &[u64], size: u64) -> Result<Vec<Vec<Digest>>, ReadError> {
        let tiles = self.tiles();
        let mut inclusions = log::Inclusions::new(&tiles, size);
        let mut proofs = Vec::with_capacity(indexes.len());
        for index in indexes {
            self.check_sizes(*index, size)?;
            if *index >= size {
                return Err(ReadError::Sizes { from: *index, to: size, size: self.size() });
            }
            proofs.push(inclusions.proof(*index).map_err(crate::index::tile_error)?);
        }
        Ok(proofs)
    }

    /// Consistency proof between the trees of the first `from` and the first `to` entries.
    pub fn consistency(&self, from: u64, to: u64) -> Result<Vec<Digest>, ReadError> {
        self.check_sizes(from, to)?;
        Ok(log::consistency(&self.tiles(), from, to).map_err(crate::index::tile_error)?)
    }

    /// Root over the first `size` entries.
    pub fn root_at(&self, size: u64) -> Result<Digest, ReadError> {
        self.check_sizes(0, size)?;
        if let Some(root) = self.shared.memo.root(size) {
            return Ok(root);
        }
        let root = log::root_at(&self.tiles(), size).map_err(crate::index::tile_error)?;
        self.shared.memo.put_root(size, root);
        Ok(root)
    }

    pub(crate) fn tiles(&self) -> LedgerTiles<'_> {
        LedgerTiles { epochs: &self.shared.epochs, tail: &self.shared.tail, memo: Some(&self.shared.memo) }
    }

    /// Says how many leaves the public tree holds durably: the journal is not needed for them.
    pub fn tree_is_durable(&self, size: u64) {
        self.shared.tree_size.store(size, Ordering::Release);
    }

    fn tail(&self) -> std::sync::RwLockReadGuard<'_, Tail> {
        self.shared.tail.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn tail_leaf(&self, index: u64) -> Option<Vec<u8>> {
        self.tail().entry(index).map(|entry| entry.added.leaf.clone())
    }

    fn check_sizes(&self, from: u64, to: u64) -> Result<(), ReadError> {
        let size = self.size();
        if from <= to && to <= size { Ok(()) } else { Err(ReadError::Sizes { from, to, size }) }
    }

    fn check_index(&self, index: u64) -> Result<(), ReadError> {
        let size = self.size();
        if index < size { Ok(()) } else { Err(ReadError::NoEntry { index, size }) }
    }

    fn leaf_bytes(&self, index: u64) -> Result<Vec<u8>, ReadError> {
        self.check_index(index)?;
        if let Some(leaf) = self.tail_leaf(index) {
            return Ok(leaf);
        }
        let place = usize::try_from(index % CHUNK_LEAVES).unwrap_or(usize::MAX);
        let leaf = self.shared.epochs.leaves_of(index / CHUNK_LEAVES)?.into_iter().nth(place);
        Ok(leaf.ok_or_else(|| damaged_row("a leaf"))?)
    }
}

/// The tiles of everything committed.
pub(crate) struct LedgerTiles<'a> {
    pub(crate) epochs: &'a Epochs,
    pub(crate) tail: &'a RwLock<Tail>,
    /// Remembers complete tiles.
    pub(crate) memo: Option<&'a memo::Memo>,
}

impl Tiles for LedgerTiles<'_> {
    type Error = StoreError;

    fn tile(&self, level: u8, number: u64) -> Result<Vec<Digest>, StoreError> {
        let tail = self.tail.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(nodes) = tail.tile(level, number) {
            return Ok(nodes);
        }
        let size = tail.first();
        drop(tail);
        if let Some(nodes) = self.memo.and_then(|memo| memo.tile(level, number)) {
            return Ok(nodes);
        }
        let nodes = EpochTiles { epochs: self.epochs, size }.tile(level, number)?;
        if let Some(memo) = self.memo.filter(|_| nodes.len() as u64 == log::TILE_NODES) {
            memo.put_tile(level, number, &nodes);
        }
        Ok(nodes)
    }
}

fn parse_leaf(index: u64, bytes: &[u8]) -> Result<Leaf, ReadError> {
    let what = "its leaf has a form this program does not know";
    Leaf::parse(bytes).map_err(|_| ReadError::Damaged { index, what })
}

fn damaged_row(what: &str) -> StoreError {
    StoreError::Damaged {
        what: format!("{what} is missing or has no form; move the index away and start again"),
    }
}
