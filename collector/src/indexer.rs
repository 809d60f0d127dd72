//! The indexer: a thread that brings sled and the payload bundles level with the journal, behind the sequencer.
//!
//! # Order of a step
//!
//! 1. The records of whole bundles are read from the journal, which checks each, and made into rows.
//!    *Crash: nothing of the step exists.*
//! 2. The payload bundles are written and synced, and the newest cosigned notes are synced. *Crash: files that the next
//!    step writes again, byte for byte.*
//! 3. The rows are applied, the head row last and in one batch with every row it replaces. *Crash: rows that no head
//!    names, written again.*
//! 4. sled is synced; readers look there from now on. *Crash: as 3, or a head that the journal continues.*
//! 5. The notes that its statements name are written and synced (`notes.rs`). *Crash: files that the next start writes.*
//! 6. Journal segments go that nothing needs any more, the oldest first: their entries are below sled's head, in full
//!    bundles, in full tiles of the public tree, and below a signed checkpoint. *Crash: fewer segments, without a hole.*
//!
//! So sled ≤ journal at any moment, and an entry is always in the journal or in both sled and bundles.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use std::{io, thread};

use evidence::leaf::Leaf;

use crate::causes::chain;
use crate::epochs::EpochTiles;
use crate::failpoints;
use crate::index::{EntryError, Index};
use crate::journal::{JournalError, Position, Record};
use crate::ledger::{Ledger, parse_note};
use crate::log::BUNDLE_LEAVES;
use crate::notes::Keeper;
use crate::payload_bundles::PayloadBundles;
use crate::row_maker::{MakeError, RowMaker};
use crate::store::rows::CheckpointRow;
use crate::store::{Row, StoreError};
use crate::tail::TailEntry;

#[cfg(test)]
pub(crate) mod tests;

/// Entries of one step at most: bounds its memory and the time readers wait for it.
pub(crate) const STEP_ENTRIES_MAX: u64 = 16_384;
/// Time between steps at least: larger steps write each device's row less often.
const STEP_INTERVAL: Duration = Duration::from_millis(250);
/// Time between two looks without a step: the public tree may have grown, so that segments can go.
const IDLE_INTERVAL: Duration = Duration::from_secs(5);
/// Entries that may wait for the indexer before the sequencer waits for it: bounds memory (300 bytes each) and what a
/// start after a kill reads again.
pub(crate) const TAIL_ENTRIES_MAX: u64 = 131_072;
/// Bytes of rows in one batch of sled, about: its memory is a few times that.
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// Why a step was not made. The journal has everything, but the process cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StepError {
    #[error("the index could not be written")]
    Store(#[from] StoreError),
    #[error("the journal could not be read back")]
    Journal(#[from] JournalError),
    #[error("the payload bundles could not be written")]
    Bundles(#[source] io::Error),
    #[error("the cosigned notes could not be written")]
    Notes(#[source] io::Error),
    #[error("the journal does not hold what was committed: {0}")]
    Differs(&'static str),
}

/// What the threads tell each other.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    stop: bool,
    failed: Option<String>,
}

/// Makes the steps.
pub(crate) struct Indexer {
    ledger: Ledger,
    maker: RowMaker,
    bundles: PayloadBundles,
    keeper: Keeper,
    /// Where the journal goes on after what is indexed: a checkpoint may lie before the next entry.
    next: Position,
    /// Segment of the newest checkpoint taken in, as the log signed it.
    checkpoint_segment: u64,
    /// Journal segments whose entries are all indexed, or the one being read, with the entries up to their end.
    segments: BTreeMap<u64, u64>,
    segments_kept: u64,
}

impl Indexer {
    /// Continues after what the epochs hold.
    pub(crate) fn new(
        ledger: Ledger,
        bundles: PayloadBundles,
        keeper: Keeper,
        segments_kept: u64,
    ) -> Result<Self, StoreError> {
        let epochs = &ledger.shared.epochs;
        let index = match epochs.head()? {
            Some(head) => Index::load(&EpochTiles { epochs, size: head.size }, epochs.streams()?, &head)?,
            None => Index::new(),
        };
        let checkpoint_segment = epochs.checkpoint()?.map_or(0, |row| row.at.segment);
        // Which entries the older segments end with is not known: none beyond what is indexed.
        let start = ledger.shared.tail.read().unwrap_or_else(PoisonError::into_inner).end();
        let next = epochs.head()?.map_or(start, |head| head.next);
        let segments =
            (0..next.segment).map(|segment| (segment, index.size())).next_back().into_iter().collect();
        let maker = RowMaker::new(index);
        Ok(Self { ledger, maker, bundles, keeper, next, checkpoint_segment, segments, segments_kept })
    }

    /// One step over the whole bundles that wait, if there are any. Gives how many entries it took.
    pub(crate) fn step(&mut self) -> Result<u64, StepError> {
        let from = self.maker.index().size();
        let (entries, next) = self.waiting(from);
        if entries.is_empty() {
            return Ok(0);
        }
        let taken = entries.len() as u64;
        self.begin_epoch(from)?;
        self.read(next, entries)?;
        self.next = next;
        let step = self.maker.take_step(next);
        for bundle in &step.bundles {
            self.bundles.put(bundle.number, &bundle.bytes).map_err(StepError::Bundles)?;
        }
        self.bundles.sync().map_err(StepError::Bundles)?;
        let unsynced = self.ledger.recent_notes().unsynced().map_err(StepError::Notes)?;
        unsynced.map_or(Ok(()), |file| file.sync_data()).map_err(StepError::Notes)?;
        failpoints::reach("bundles-synced");
        let epochs = &self.ledger.shared.epochs;
        for batch in batches(&step.rows) {
            epochs.apply(batch)?;
        }
        epochs.apply(&step.last)?;
        failpoints::reach("index-applied");
        epochs.sync()?;
        failpoints::reach("index-synced");
        let size = self.maker.index().size();
        self.ledger.shared.tail.write().unwrap_or_else(PoisonError::into_inner).trim(size);
        Ok(taken)
    }

    /// The entries of the step to come, and where the journal goes on after them.
    fn waiting(&self, from: u64) -> (Vec<TailEntry>, Position) {
        let epoch_end = (from / self.ledger.shared.epochs.leaves() + 1) * self.ledger.shared.epochs.leaves();
        let tail = self.ledger.shared.tail.read().unwrap_or_else(PoisonError::into_inner);
        let whole = (tail.first() + tail.len()) / BUNDLE_LEAVES * BUNDLE_LEAVES;
        let to = whole.min(epoch_end).min(from.saturating_add(STEP_ENTRIES_MAX));
        let entries: Vec<TailEntry> = (from..to).map_while(|index| tail.entry(index).cloned()).collect();
        let after = tail.entry(to).map(|entry| entry.position);
        (entries, after.unwrap_or(tail.end()))
    }

    fn begin_epoch(&self, from: u64) -> Result<(), StepError> {
        let epochs = &self.ledger.shared.epochs;
        let epoch = from / epochs.leaves();
        if epoch > epochs.newest()?.0 {
            epochs.begin(epoch)?;
            failpoints::reach("epoch-begun");
        }
        Ok(())
    }

    /// Reads the records of `entries` back and gives them to the maker.
    fn read(&mut self, next: Position, entries: Vec<TailEntry>) -> Result<(), StepError> {
        let Self { ledger, maker, checkpoint_segment, segments, .. } = self;
        let load = |instance: &_| ledger.shared.epochs.instance(instance);
        let mut entries = entries.into_iter();
        ledger.shared.journal.replay(self.next, next, |at, record| match record {
            Record::Entry(record) => {
                let differs = StepError::Differs;
                let expected = entries.next().ok_or(differs("there are more entries"))?;
                if record.index != maker.index().size() || record.leaf != expected.added.leaf {
                    return Err(differs("another entry lies there"));
                }
                let leaf = Leaf::parse(&record.leaf).map_err(|_| differs("a leaf has an unknown form"))?;
                let payload = (record.codec, record.stored.as_slice());
                match maker.add(&leaf, record.leaf, payload, expected.added.link, &load) {
                    Ok(index) => {
                        segments.insert(at.segment, index.saturating_add(1));
                        Ok(())
                    }
                    Err(MakeError::Store(error)) => Err(error.into()),
                    Err(MakeError::Entry(EntryError(what))) => Err(differs(what)),
                }
            }
            Record::Checkpoint { note } => {
                let row = checkpoint_row(at, note).map_err(StepError::Differs)?;
                // The log's own line comes first, and reading back before the next one begins there.
                if !row.is_cosigned() {
                    *checkpoint_segment = at.segment;
                }
                maker.checkpoint(&row);
                Ok(())
            }
            Record::Commit { .. } | Record::Continued { .. } => Ok(()),
        })?;
        if entries.next().is_some() {
            return Err(StepError::Differs("entries are missing"));
        }
        Ok(())
    }

    /// Removes journal segments that nothing needs. The newest are kept for people who look for what happened.
    fn drop_segments(&mut self) -> Result<(), StepError> {
        let shared = &self.ledger.shared;
        let end = shared.tail.read().unwrap_or_else(PoisonError::into_inner).end();
        let in_tree = shared.tree_size.load(Ordering::Acquire) / BUNDLE_LEAVES * BUNDLE_LEAVES;
        // Read to their end, in index and payload bundles, and before a signed checkpoint.
        let needed = self.next.segment.min(self.checkpoint_segment);
        let below = needed.min(end.segment.saturating_sub(self.segments_kept));
        let held = self.segments.range(..below).filter(|(_, entries)| **entries <= in_tree);
        let Some(last) = held.map(|(segment, _)| *segment).next_back() else { return Ok(()) };
        shared.journal.drop_below(last.saturating_add(1))?;
        self.segments = self.segments.split_off(&last.saturating_add(1));
        Ok(())
    }
}

/// A checkpoint's row, its signature not checked.
pub(crate) fn checkpoint_row(at: Position, note: Vec<u8>) -> Result<CheckpointRow, &'static str> {
    let checkpoint = parse_note(&note).map_err(|_| "a checkpoint is not a note")?;
    let note = String::from_utf8(note).map_err(|_| "a checkpoint is not text")?;
    Ok(CheckpointRow { size: checkpoint.size, root: checkpoint.root, at, note })
}

/// The rows in batches of about [`BATCH_BYTES`].
pub(crate) fn batches(rows: &[Row]) -> Vec<&[Row]> {
    let (mut batches, mut rest) = (Vec::new(), rows);
    while !rest.is_empty() {
        let mut bytes = 0_usize;
        let fits = rest.iter().take_while(|(key, value)| {
            bytes = bytes.saturating_add(key.len()).saturating_add(value.len());
            bytes <= BATCH_BYTES
        });
        let count = fits.count().max(1);
        let (batch, after) = rest.split_at_checked(count).unwrap_or((rest, &[]));
        batches.push(batch);
        rest = after;
    }
    batches
}

/// The running thread.
pub(crate) struct IndexerThread {
    ledger: Ledger,
    thread: Option<JoinHandle<()>>,
}

impl IndexerThread {
    /// Starts it.
    pub(crate) fn start(mut indexer: Indexer) -> io::Result<Self> {
        let ledger = indexer.ledger.clone();
        let thread = thread::Builder::new().name("indexer".to_owned()).spawn(move || {
            let outcome = indexer.run();
            if let Err(error) = outcome {
                indexer.ledger.shared.signal(|signal| signal.failed = Some(chain(&error)));
            }
        })?;
        Ok(Self { ledger, thread: Some(thread) })
    }

    /// Indexes what waits in whole bundles, and ends.
    pub(crate) fn stop(&mut self) {
        self.ledger.shared.signal(|signal| signal.stop = true);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }

    /// Why it ended, if it failed.
    pub(crate) fn failure(&self) -> Option<String> {
        let (signal, _) = &*self.ledger.shared.indexer;
        let signal = signal.lock().unwrap_or_else(PoisonError::into_inner);
        let gone = !signal.stop && self.thread.as_ref().is_some_and(JoinHandle::is_finished);
        signal.failed.clone().or_else(|| gone.then(|| "the indexer's thread has ended".to_owned()))
    }

    /// Wakes it if there is something to do, and waits while too much is.
    pub(crate) fn committed(&self) {
        let waiting = || self.ledger.shared.tail.read().unwrap_or_else(PoisonError::into_inner).len();
        if waiting() < BUNDLE_LEAVES {
            return;
        }
        let (signal, changed) = &*self.ledger.shared.indexer;
        changed.notify_all();
        while waiting() >= TAIL_ENTRIES_MAX {
            if self.failure().is_some() {
                return;
            }
            let signal = signal.lock().unwrap_or_else(PoisonError::into_inner);
            drop(changed.wait_timeout(signal, STEP_INTERVAL));
        }
    }
}

impl Indexer {
    fn run(&mut self) -> Result<(), StepError> {
        loop {
            let begun = Instant::now();
            let taken = self.step()?;
            self.keeper.step().map_err(StepError::Notes)?;
            self.drop_segments()?;
            let shared = Arc::clone(&self.ledger.shared);
            let (signal, changed) = &*shared.indexer;
            changed.notify_all();
            let mut signal = signal.lock().unwrap_or_else(PoisonError::into_inner);
            if taken >= STEP_ENTRIES_MAX {
                continue;
            }
            // The sequencer may have committed since: a missed call costs one interval.
            while !signal.stop {
                let interval = if self.is_due() { STEP_INTERVAL } else { IDLE_INTERVAL };
                let left = interval.saturating_sub(begun.elapsed());
                if left.is_zero() {
                    break;
                }
                (signal, _) = changed.wait_timeout(signal, left).unwrap_or_else(PoisonError::into_inner);
            }
            if signal.stop && !self.is_due() {
                return Ok(());
            }
        }
    }

    fn is_due(&self) -> bool {
        let tail = self.ledger.shared.tail.read().unwrap_or_else(PoisonError::into_inner);
        tail.first() / BUNDLE_LEAVES < (tail.first() + tail.len()) / BUNDLE_LEAVES
    }
}
