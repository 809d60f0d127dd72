//! The ledger as a whole: made once, opened with recovery, read from any thread, written by the sequencer alone.
//!
//! ```text
//! Ledger::create(dir, …, genesis)      `init`, once
//! let (ledger, unstarted) = Ledger::open(dir, …)?;
//! …fold the streams read through `ledger` into whatever follows them…
//! let (sequencer, thread) = unstarted.start(writer_options)?;
//! ```
//!
//! Readers see committed entries only. Payloads are read from the journal by position and checked against record
//! checksum, leaf and commitment each time.

use std::sync::{Arc, PoisonError, RwLock};

use evidence::ids::{Digest, InstanceId};
use evidence::leaf::{Leaf, SALT_BYTES, Stream};
use evidence::note::Checkpoint;
use evidence::time::Timestamp;
use tokio::sync::watch;

use crate::data_keys::{DataKeyError, DataKeys};
use crate::datadir::DataDir;
use crate::index::StoredTiles;
use crate::journal::{JournalError, JournalReader, Position, Record};
use crate::log;
use crate::payload_codec::{self, Opened, PayloadError, ReadPayloadError, Subject};
use crate::store::rows::{self, InstanceState, LeafRow, StreamHead};
use crate::store::{Row, Store, StoreError};

mod opening;
#[cfg(test)]
pub(crate) mod tests;

pub(crate) use opening::parse_note;
pub use opening::{LedgerOptions, OpenError, OpenReport, Unstarted};

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
    pub(crate) store: Arc<dyn Store>,
    pub(crate) journal: JournalReader,
    pub(crate) keys: Arc<DataKeys>,
    pub(crate) snapshot: RwLock<Snapshot>,
    pub(crate) checkpoints: watch::Sender<Option<Arc<Published>>>,
    pub(crate) signing: RwLock<Signing>,
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
    #[error("entry {index} is damaged (segment {segment}, byte {offset}): {what}. Run fsck")]
    Damaged {
        /// Index of the entry.
        index: u64,
        /// Journal segment.
        segment: u64,
        /// Byte offset in the segment.
        offset: u64,
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
        let row = self.leaf_row(index)?;
        parse_leaf(index, &row)
    }

    /// Bytes of the leaves of entries `from` to `to` − 1, at most [`PAGE_ROWS_MAX`].
    pub fn leaves(&self, from: u64, to: u64) -> Result<Vec<Vec<u8>>, ReadError> {
        self.check_sizes(from, to)?;
        let found = self.shared.store.range(&rows::leaf_key(from), &rows::leaf_key(to), PAGE_ROWS_MAX)?;
        let leaf = |(_, value): &Row| LeafRow::parse(value).map(|row| row.leaf);
        let leaves: Option<Vec<Vec<u8>>> = found.iter().map(leaf).collect();
        let expected = usize::try_from(to - from).unwrap_or(usize::MAX).min(PAGE_ROWS_MAX);
        // A missing row would move all that follow to other indexes.
        let whole = leaves.filter(|leaves| leaves.len() == expected);
        Ok(whole.ok_or_else(|| damaged_row("the row of a leaf"))?)
    }

    /// Root over the 256 leaves of entry bundle `number`.
    pub fn bundle_root(&self, number: u64) -> Result<Digest, ReadError> {
        let low = number.saturating_mul(log::BUNDLE_LEAVES);
        self.check_sizes(low, low.saturating_add(log::BUNDLE_LEAVES))?;
        Ok(log::bundle_root(&self.tiles(), low).map_err(crate::index::tile_error)?)
    }

    /// An entry's leaf, salt and payload, read from the journal and checked; that it was erased is an error here.
    pub fn entry(&self, index: u64) -> Result<Entry, ReadError> {
        match self.find(index)? {
            Found::Entry(entry) => Ok(entry),
            Found::Erased(ErasedEntry { tombstone, .. }) => Err(ReadError::Erased { index, tombstone }),
        }
    }

    /// As [`Ledger::entry`], where an erased payload is an answer too.
    pub fn find(&self, index: u64) -> Result<Found, ReadError> {
        let row = self.leaf_row(index)?;
        let Position { segment, offset } = row.position;
        let damaged = |what| ReadError::Damaged { index, segment, offset, what };
        let Record::Entry(record) = self.shared.journal.record(row.position)? else {
            return Err(damaged("the journal holds something else there"));
        };
        if record.index != index || record.leaf != row.leaf {
            return Err(damaged("the journal holds another entry there"));
        }
        let leaf = parse_leaf(index, &row)?;
        let keys = Some(&*self.shared.keys);
        match payload_codec::read(keys, index, &leaf, &row.leaf, record.codec, &record.stored) {
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
        Ok(log::root_at(&self.tiles(), size).map_err(crate::index::tile_error)?)
    }

    /// What the log knows of a device instance; none if it never submitted.
    pub fn instance(&self, instance: &InstanceId) -> Result<Option<InstanceState>, ReadError> {
        let value = self.shared.store.value(&rows::instance_key(instance))?;
        let parse = |value: Vec<u8>| {
            InstanceState::parse(&value).ok_or_else(|| damaged_row("the row of a device instance"))
        };
        Ok(value.map(parse).transpose()?)
    }

    /// Index of one statement of a device instance.
    pub fn statement(&self, instance: &InstanceId, sequence: u64) -> Result<Option<u64>, ReadError> {
        self.number(&rows::statement_key(instance, sequence))
    }

    /// Statements of a device instance from sequence `from` on, as (sequence, index), at most [`PAGE_ROWS_MAX`].
    pub fn statements(&self, instance: &InstanceId, from: u64) -> Result<Vec<(u64, u64)>, ReadError> {
        let (low, high) = (rows::statement_key(instance, from), rows::statement_key(instance, u64::MAX));
        self.numbers(&low, &high)
    }

    /// Index of an entry of streams 1 to 4 by its place in the stream.
    pub fn stream_entry(&self, stream: Stream, sequence: u64) -> Result<Option<u64>, ReadError> {
        self.number(&rows::stream_entry_key(stream, sequence))
    }

    /// Entries of a stream from stream sequence `from` on, as (stream sequence, index), at most [`PAGE_ROWS_MAX`].
    pub fn stream(&self, stream: Stream, from: u64) -> Result<Vec<(u64, u64)>, ReadError> {
        let (low, high) = (rows::stream_entry_key(stream, from), rows::stream_entry_key(stream, u64::MAX));
        self.numbers(&low, &high)
    }

    /// Heads of streams 1 to 4 over the first `size` entries.
    pub fn heads(&self, size: u64) -> Result<[StreamHead; 4], ReadError> {
        self.check_sizes(0, size)?;
        let mut heads = self.snapshot().streams;
        for (head, stream) in heads.iter_mut().zip(Stream::CHAINED) {
            let (mut low, mut high) = (0, head.entries);
            while low < high {
                let middle = low + (high - low) / 2;
                let index = self.stream_entry(stream, middle)?;
                let index = index.ok_or_else(|| damaged_row("the row of a stream's entry"))?;
                (low, high) = if index < size { (middle + 1, high) } else { (low, middle) };
            }
            *head = self.head_of(stream, low)?;
        }
        Ok(heads)
    }

    fn head_of(&self, stream: Stream, entries: u64) -> Result<StreamHead, ReadError> {
        let Some(last) = entries.checked_sub(1) else { return Ok(StreamHead::default()) };
        let index = self.stream_entry(stream, last)?;
        let index = index.ok_or_else(|| damaged_row("the row of a stream's entry"))?;
        Ok(StreamHead { entries, last_leaf_hash: self.leaf(index)?.hash() })
    }

    fn tiles(&self) -> StoredTiles<'_> {
        StoredTiles(self.shared.store.as_ref())
    }

    fn check_sizes(&self, from: u64, to: u64) -> Result<(), ReadError> {
        let size = self.size();
        if from <= to && to <= size { Ok(()) } else { Err(ReadError::Sizes { from, to, size }) }
    }

    fn leaf_row(&self, index: u64) -> Result<LeafRow, ReadError> {
        let size = self.size();
        if index >= size {
            return Err(ReadError::NoEntry { index, size });
        }
        let value = self.shared.store.value(&rows::leaf_key(index))?;
        let row = value.and_then(|value| LeafRow::parse(&value));
        Ok(row.ok_or_else(|| damaged_row("the row of a leaf"))?)
    }

    fn number(&self, key: &[u8]) -> Result<Option<u64>, ReadError> {
        let value = self.shared.store.value(key)?;
        let parse = |value: Vec<u8>| rows::parse_number(&value).ok_or_else(|| damaged_row("a number"));
        Ok(value.map(parse).transpose()?)
    }

    fn numbers(&self, low: &[u8], high: &[u8]) -> Result<Vec<(u64, u64)>, ReadError> {
        let size = self.size();
        let found = self.shared.store.range(low, high, PAGE_ROWS_MAX)?;
        let mut numbers = Vec::with_capacity(found.len());
        for (key, value) in found {
            let sequence = key.last_chunk::<8>().copied().map(u64::from_be_bytes);
            let pair = sequence.zip(rows::parse_number(&value)).ok_or_else(|| damaged_row("a number"))?;
            // A row may be visible a moment before its entry is committed for readers.
            if pair.1 < size {
                numbers.push(pair);
            }
        }
        Ok(numbers)
    }
}

fn parse_leaf(index: u64, row: &LeafRow) -> Result<Leaf, ReadError> {
    let Position { segment, offset } = row.position;
    let what = "its leaf has a form this program does not know";
    Leaf::parse(&row.leaf).map_err(|_| ReadError::Damaged { index, segment, offset, what })
}

fn damaged_row(what: &str) -> StoreError {
    StoreError::Damaged {
        what: format!("{what} is missing or has no form; move the index away and start again"),
    }
}
