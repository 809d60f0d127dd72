//! The rows the epochs must hold, and how they differ.

use std::collections::BTreeMap;

use evidence::ids::Digest;
use evidence::note::Checkpoint;

use crate::datadir::DataDir;
use crate::epochs::{EPOCH_LEAVES_DEFAULT, Epochs, SledEpochs};
use crate::journal::Position;
use crate::log::BUNDLE_LEAVES;
use crate::row_maker::{RowMaker, Step};
use crate::store::rows::{self, CheckpointRow, Head};
use crate::store::{Row, Store, StoreError};

/// Rows read from a store at once.
const PAGE_ROWS: usize = 4096;
/// Differences described at most.
const DIFFERENCES_MAX: usize = 100;
/// Entries between two comparisons, so that memory stays in proportion.
const STEP_ENTRIES: u64 = 64 * BUNDLE_LEAVES;
/// First letters of the keys of rows that are compared when all of an epoch is known.
const LATE: [u8; 5] = [b'd', b'e', b'q', b's', b't'];

/// A short value itself, or the SHA-256 of a longer one, so that memory stays in proportion.
#[derive(PartialEq, Eq)]
enum Value {
    Short(Vec<u8>),
    Hash([u8; 32]),
}

impl Value {
    fn of(value: &[u8]) -> Self {
        if value.len() <= 32 { Self::Short(value.to_vec()) } else { Self::Hash(Digest::of(value).0) }
    }
}

/// Follows the entries and compares.
pub(super) struct IndexWalk {
    epochs: Option<Epochs>,
    epoch_leaves: u64,
    head: Option<Head>,
    /// Entries whose rows were compared.
    done: u64,
    /// Rows of the epoch at hand that may still change.
    late: BTreeMap<Vec<u8>, Value>,
    /// Rows of the newest checkpoints before the index's head, by their keys.
    checkpoints: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Places of the entries around the index's head.
    before_head: Option<Position>,
    after_head: Option<Position>,
    /// Rows compared.
    pub(super) rows: u64,
    /// What is wrong.
    pub(super) faults: Vec<String>,
}

impl IndexWalk {
    /// Opens the epochs, if there are any. `epoch_leaves` 0: as many as by default.
    pub(super) fn new(dir: &DataDir, epoch_leaves: u64) -> Self {
        let epoch_leaves = if epoch_leaves == 0 { EPOCH_LEAVES_DEFAULT } else { epoch_leaves };
        let mut walk = Self {
            epochs: None,
            epoch_leaves,
            head: None,
            done: 0,
            late: BTreeMap::new(),
            checkpoints: BTreeMap::new(),
            before_head: None,
            after_head: None,
            rows: 0,
            faults: Vec::new(),
        };
        let sled = SledEpochs::inspected(&dir.indexes());
        if !sled.path(0).exists() {
            return walk;
        }
        let opened = Epochs::open(Box::new(sled), epoch_leaves).and_then(|epochs| {
            let head = epochs.head()?;
            Ok((epochs, head))
        });
        match opened {
            Ok((epochs, Some(head))) => (walk.epochs, walk.head) = (Some(epochs), Some(head)),
            Ok((_, None)) => walk.fault("its head row is missing".to_owned()),
            Err(error) => walk.fault(error.to_string()),
        }
        walk
    }

    /// Entries that the index holds.
    pub(super) fn size(&self) -> u64 {
        self.head.map_or(0, |head| head.size)
    }

    /// True if rows must be taken once there are `size` entries.
    pub(super) fn is_boundary(&self, size: u64) -> bool {
        size.is_multiple_of(STEP_ENTRIES) || size.is_multiple_of(self.epoch_leaves) || size == self.size()
    }

    /// Takes the place of an entry's record.
    pub(super) fn position(&mut self, index: u64, at: Position) {
        let size = self.size();
        if index < size {
            self.before_head = Some(at);
        } else if index == size {
            self.after_head = Some(at);
        }
    }

    /// Takes a checkpoint that follows the entries so far.
    pub(super) fn checkpoint(&mut self, checkpoint: &Checkpoint, at: Position, note: &[u8]) {
        let note = String::from_utf8_lossy(note).into_owned();
        let row = CheckpointRow { size: checkpoint.size, root: checkpoint.root, at, note };
        if self.head.is_some_and(|head| at < head.next) {
            self.checkpoints.extend(row.row());
        }
    }

    /// Compares the rows of the entries since the last call, as far as the index goes.
    pub(super) fn step(&mut self, step: Step, maker: &RowMaker) {
        let (from, to) = (self.done, maker.index().size());
        self.done = to;
        if self.epochs.is_none() || from >= self.size() || from == to {
            return;
        }
        let epoch = from / self.epoch_leaves;
        let mut chunks: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        for (key, value) in step.rows.into_iter().chain(step.last) {
            match key.first() {
                Some(b'l' | b'p') => drop(chunks.insert(key, value)),
                Some(letter) if LATE.contains(letter) => drop(self.late.insert(key, Value::of(&value))),
                _ => {}
            }
        }
        let outcome = self.compare_chunks(epoch, from, to.min(self.size()), &chunks);
        self.failed(outcome);
        if let Some(head) = self.head.filter(|head| head.size == to) {
            self.rows += 1;
            if maker.head(head.next) != head {
                self.fault("its head states another root or time than the entries have".to_owned());
            }
        }
        if to.is_multiple_of(self.epoch_leaves) || to >= self.size() {
            for (key, value) in maker.instance_rows() {
                self.late.insert(key, Value::of(&value));
            }
            let outcome = self.compare_late(epoch);
            self.failed(outcome);
            self.late.clear();
            if let Some(epochs) = &self.epochs {
                epochs.close_sealed();
            }
        }
    }

    /// Compares what can only be said at the end: `size` entries are sealed and the journal goes on at `end`.
    pub(super) fn end(&mut self, size: u64, end: Position) {
        let Some(head) = self.head else { return };
        if head.size > size {
            return self.fault(format!("it holds {} entries and the journal {size}", head.size));
        }
        let after = self.before_head.is_none_or(|before| before < head.next);
        if !after || head.next > self.after_head.unwrap_or(end) {
            self.fault("its head goes on at another place of the journal".to_owned());
        }
        let outcome = self.compare_checkpoint();
        self.failed(outcome);
    }

    fn compare_chunks(
        &mut self,
        epoch: u64,
        from: u64,
        to: u64,
        expected: &BTreeMap<Vec<u8>, Vec<u8>>,
    ) -> Result<(), StoreError> {
        let Some(store) = self.epoch(epoch)? else { return Ok(()) };
        let (first, after) = (from / rows::CHUNK_LEAVES, to / rows::CHUNK_LEAVES);
        let ranges = [
            (rows::leaves_key(first), rows::leaves_key(after)),
            (rows::payloads_key(first, 0), rows::payloads_key(after, 0)),
        ];
        for (low, high) in ranges {
            let mut wanted = expected.range(low.clone()..high.clone()).peekable();
            let mut from = low;
            loop {
                let page = store.range(&from, &high, PAGE_ROWS)?;
                let Some((last, _)) = page.last() else { break };
                from.clone_from(last);
                from.push(0);
                for (key, value) in &page {
                    while let Some((missing, _)) = wanted.next_if(|(wanted, _)| *wanted < key) {
                        self.fault(format!("row {} is missing", name(missing)));
                    }
                    let same = wanted.next_if(|(wanted, _)| *wanted == key);
                    self.compared(key, same.map(|(_, expected)| expected == value));
                }
            }
            for (missing, _) in wanted {
                self.fault(format!("row {} is missing", name(missing)));
            }
        }
        Ok(())
    }

    fn compare_late(&mut self, epoch: u64) -> Result<(), StoreError> {
        let Some(store) = self.epoch(epoch)? else { return Ok(()) };
        let mut late = std::mem::take(&mut self.late);
        for letter in LATE {
            let mut from = vec![letter];
            loop {
                let page: Vec<Row> = store.range(&from, &[letter + 1], PAGE_ROWS)?;
                let Some((last, _)) = page.last() else { break };
                from.clone_from(last);
                from.push(0);
                for (key, value) in &page {
                    let same = late.remove(key).map(|expected| expected == Value::of(value));
                    self.compared(key, same);
                }
            }
        }
        for key in late.keys() {
            self.fault(format!("row {} is missing", name(key)));
        }
        Ok(())
    }

    fn compared(&mut self, key: &[u8], same: Option<bool>) {
        self.rows += 1;
        match same {
            Some(true) => {}
            Some(false) => self.fault(format!("row {} has another value", name(key))),
            None => self.fault(format!("row {} does not follow from the journal", name(key))),
        }
    }

    fn compare_checkpoint(&mut self) -> Result<(), StoreError> {
        let Some(epochs) = &self.epochs else { return Ok(()) };
        let (_, store) = epochs.newest()?;
        for key in [rows::CHECKPOINT_KEY, rows::COSIGNED_KEY] {
            let found = store.value(key)?;
            self.rows += u64::from(found.is_some());
            // One whose record went with its segment was compared when it was indexed.
            if self.checkpoints.contains_key(key) && found.as_ref() != self.checkpoints.get(key) {
                self.fault("its checkpoint is not the newest before its head".to_owned());
            }
        }
        Ok(())
    }

    fn epoch(&self, epoch: u64) -> Result<Option<std::sync::Arc<dyn Store>>, StoreError> {
        self.epochs.as_ref().map(|epochs| epochs.epoch(epoch)).transpose()
    }

    fn failed(&mut self, outcome: Result<(), StoreError>) {
        if let Err(error) = outcome {
            self.fault(error.to_string());
        }
    }

    fn fault(&mut self, what: String) {
        if self.faults.len() < DIFFERENCES_MAX {
            self.faults.push(what);
        }
    }
}

/// A key for people: its letter and the rest in hex.
fn name(key: &[u8]) -> String {
    let (letter, rest) = key.split_first().map_or((b'?', [].as_slice()), |(letter, rest)| (*letter, rest));
    format!("{}/{}", char::from(letter), data_encoding::HEXLOWER.encode(rest))
}
