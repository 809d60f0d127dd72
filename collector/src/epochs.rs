//! The stores of the log: one per epoch of leaves, so that opening, memory and repair do not grow with the log.
//!
//! The newest epoch is written; the older ones are sealed: never written again, opened when something in them is asked
//! for. An epoch is begun by copying into it what entries build on (device instances and stream heads) and then its head
//! row; without a head row it is not begun, and is made anew.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use evidence::ids::{Digest, InstanceId};
use evidence::leaf::Stream;

use crate::log::Tiles;
use crate::store::memory::MemoryStore;
use crate::store::rows::{self, CHUNK_LEAVES, CheckpointRow, Head, InstanceRow, StreamHead};
use crate::store::runs::{Run, RunStatement};
use crate::store::sled::{CACHE_BYTES_SEALED, CACHE_BYTES_WRITTEN, SledStore};
use crate::store::{Row, Store, StoreError};

/// Leaves of an epoch. sled reads at open what was written since the last open, so this bounds the time of a start after
/// a kill (a second) and its memory; ten million leaves are ten epochs.
pub const EPOCH_LEAVES_DEFAULT: u64 = 1 << 20;
/// Least leaves of an epoch: one step of the indexer.
pub const EPOCH_LEAVES_MIN: u64 = 256;
/// Sealed epochs open at once at most: bounds memory and open files.
const SEALED_OPEN_MAX: usize = 16;
/// Rows copied into a new epoch at once.
const COPY_ROWS: usize = 4096;

/// Opens or makes the store of an epoch. `newest` is the one that will be written.
pub trait StoreMaker: Send + Sync + 'static {
    /// The store of this epoch.
    fn open(&self, epoch: u64, newest: bool) -> Result<Arc<dyn Store>, StoreError>;
    /// Numbers of the epochs there are, ascending.
    fn epochs(&self) -> Result<Vec<u64>, StoreError>;
    /// Removes an epoch that was not begun.
    fn discard(&self, epoch: u64) -> Result<(), StoreError>;
}

/// Epochs in sled, `epoch-<8 digits>` each.
#[derive(Debug, Clone)]
pub struct SledEpochs {
    folder: PathBuf,
    inspected: bool,
}

impl SledEpochs {
    /// The epochs in `folder`.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), inspected: false }
    }

    /// The same, for somebody who removes nothing.
    pub fn inspected(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), inspected: true }
    }

    /// Where an epoch lies.
    pub fn path(&self, epoch: u64) -> PathBuf {
        self.folder.join(format!("epoch-{epoch:08}"))
    }
}

impl StoreMaker for SledEpochs {
    fn open(&self, epoch: u64, newest: bool) -> Result<Arc<dyn Store>, StoreError> {
        let cache_bytes = if newest { CACHE_BYTES_WRITTEN } else { CACHE_BYTES_SEALED };
        Ok(Arc::new(SledStore::open(&self.path(epoch), cache_bytes)?))
    }

    fn epochs(&self) -> Result<Vec<u64>, StoreError> {
        let failed = |source: std::io::Error| StoreError::System {
            what: format!("{}: {source}", self.folder.display()),
        };
        let mut epochs = Vec::new();
        for found in std::fs::read_dir(&self.folder).map_err(failed)? {
            let name = found.map_err(failed)?.file_name();
            let digits = name.to_str().and_then(|name| name.strip_prefix("epoch-"));
            let number = digits.filter(|digits| digits.len() == 8);
            epochs.extend(number.and_then(|digits| digits.parse::<u64>().ok()));
        }
        epochs.sort_unstable();
        Ok(epochs)
    }

    fn discard(&self, epoch: u64) -> Result<(), StoreError> {
        if self.inspected {
            return Ok(());
        }
        let path = self.path(epoch);
        std::fs::remove_dir_all(&path)
            .and_then(|()| std::fs::File::open(&self.folder)?.sync_all())
            .map_err(|source| StoreError::System { what: format!("{}: {source}", path.display()) })
    }
}

/// Epochs that last as long as the process.
#[derive(Debug, Default)]
pub struct MemoryEpochs {
    stores: Mutex<BTreeMap<u64, Arc<MemoryStore>>>,
}

impl StoreMaker for MemoryEpochs {
    fn open(&self, epoch: u64, _newest: bool) -> Result<Arc<dyn Store>, StoreError> {
        let mut stores = self.stores.lock().unwrap_or_else(PoisonError::into_inner);
        let store = Arc::clone(stores.entry(epoch).or_default());
        Ok(store)
    }

    fn epochs(&self) -> Result<Vec<u64>, StoreError> {
        Ok(self.stores.lock().unwrap_or_else(PoisonError::into_inner).keys().copied().collect())
    }

    fn discard(&self, epoch: u64) -> Result<(), StoreError> {
        self.stores.lock().unwrap_or_else(PoisonError::into_inner).remove(&epoch);
        Ok(())
    }
}

/// All epochs of a log, for reading from any thread and for writing by one.
pub struct Epochs {
    maker: Box<dyn StoreMaker>,
    leaves: u64,
    open: Mutex<Open>,
}

struct Open {
    newest: u64,
    /// The newest is always here.
    stores: BTreeMap<u64, Arc<dyn Store>>,
    /// Sealed ones, the one asked for last at the end.
    order: Vec<u64>,
}

impl Epochs {
    /// Opens the newest epoch, or makes the first. An epoch that was not begun is removed.
    pub fn open(maker: Box<dyn StoreMaker>, leaves: u64) -> Result<Self, StoreError> {
        let leaves = leaves.max(EPOCH_LEAVES_MIN).next_multiple_of(EPOCH_LEAVES_MIN);
        let found = maker.epochs()?;
        for (expected, epoch) in (0_u64..).zip(&found) {
            if expected != *epoch {
                let what = format!("epoch {expected} is missing");
                return Err(StoreError::Damaged { what });
            }
        }
        let mut newest = found.last().copied().unwrap_or(0);
        let mut store = maker.open(newest, true)?;
        if newest > 0 && store.value(rows::HEAD_KEY)?.is_none() {
            // The process ended while it was being made: the one before it is still the newest.
            drop(store);
            maker.discard(newest)?;
            newest -= 1;
            store = maker.open(newest, true)?;
        }
        let open = Open { newest, stores: BTreeMap::from([(newest, store)]), order: Vec::new() };
        Ok(Self { maker, leaves, open: Mutex::new(open) })
    }

    /// Leaves of an epoch.
    pub fn leaves(&self) -> u64 {
        self.leaves
    }

    /// The epoch being written and its number.
    pub fn newest(&self) -> Result<(u64, Arc<dyn Store>), StoreError> {
        let number = self.open.lock().unwrap_or_else(PoisonError::into_inner).newest;
        Ok((number, self.epoch(number)?))
    }

    /// The store of an epoch.
    pub fn epoch(&self, epoch: u64) -> Result<Arc<dyn Store>, StoreError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if epoch > open.newest {
            let what = format!("epoch {epoch} is not begun");
            return Err(StoreError::Damaged { what });
        }
        if let Some(store) = open.stores.get(&epoch).cloned() {
            if let Some(at) = open.order.iter().position(|known| *known == epoch) {
                open.order.remove(at);
                open.order.push(epoch);
            }
            return Ok(store);
        }
        let store = self.maker.open(epoch, false)?;
        if open.order.len() >= SEALED_OPEN_MAX {
            let oldest = open.order.remove(0);
            open.stores.remove(&oldest);
        }
        open.stores.insert(epoch, Arc::clone(&store));
        open.order.push(epoch);
        Ok(store)
    }

    /// Closes the sealed epochs that are open: each holds memory.
    pub fn close_sealed(&self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = open.newest;
        open.stores.retain(|epoch, _| *epoch == newest);
        open.order.clear();
    }

    /// The store that holds the leaf at `index`.
    pub fn of_leaf(&self, index: u64) -> Result<Arc<dyn Store>, StoreError> {
        self.epoch(index / self.leaves)
    }

    /// How far the newest epoch follows the log; none if nothing is indexed.
    pub fn head(&self) -> Result<Option<Head>, StoreError> {
        let Some(value) = self.newest()?.1.value(rows::HEAD_KEY)? else { return Ok(None) };
        let form = || StoreError::Damaged { what: "its head row has another form".to_owned() };
        Ok(Some(Head::parse(&value).ok_or_else(form)?))
    }

    /// The newest checkpoint that was indexed, as the log signed it.
    pub fn checkpoint(&self) -> Result<Option<CheckpointRow>, StoreError> {
        self.checkpoint_of(rows::CHECKPOINT_KEY)
    }

    /// The newest one with cosignatures that was indexed.
    pub fn cosigned(&self) -> Result<Option<CheckpointRow>, StoreError> {
        self.checkpoint_of(rows::COSIGNED_KEY)
    }

    fn checkpoint_of(&self, key: &[u8]) -> Result<Option<CheckpointRow>, StoreError> {
        let Some(value) = self.newest()?.1.value(key)? else { return Ok(None) };
        Ok(Some(CheckpointRow::parse(&value).ok_or_else(|| damaged("the checkpoint's row has no form"))?))
    }

    /// Heads of streams 1 to 4.
    pub fn streams(&self) -> Result<[StreamHead; 4], StoreError> {
        let (_, store) = self.newest()?;
        let mut streams = [StreamHead::default(); 4];
        for (head, stream) in streams.iter_mut().zip(Stream::CHAINED) {
            if let Some(value) = store.value(&rows::stream_key(stream))? {
                *head = StreamHead::parse(&value)
                    .ok_or_else(|| damaged(&format!("the head of stream {} has no form", stream.name())))?;
            }
        }
        Ok(streams)
    }

    /// A device instance.
    pub fn instance(&self, instance: &InstanceId) -> Result<Option<InstanceRow>, StoreError> {
        let Some(value) = self.newest()?.1.value(&rows::instance_key(instance))? else { return Ok(None) };
        let form = || damaged("the row of a device instance has no form");
        Ok(Some(InstanceRow::parse(&value).ok_or_else(form)?))
    }

    /// The closed run that may hold a statement: the last that begins at or before `sequence`.
    pub fn run(&self, instance: &InstanceId, sequence: u64) -> Result<Option<Run>, StoreError> {
        Ok(self.run_and_epoch(instance, sequence)?.map(|(_, run)| run))
    }

    fn run_and_epoch(&self, instance: &InstanceId, sequence: u64) -> Result<Option<(u64, Run)>, StoreError> {
        let low = rows::run_key(instance, 0);
        // The key after that of `sequence`.
        let mut high = rows::run_key(instance, sequence);
        high.push(0);
        let (newest, _) = self.newest()?;
        for epoch in (0..=newest).rev() {
            if let Some((_, value)) = self.epoch(epoch)?.last(&low, &high)? {
                let run = Run::parse(&value).ok_or_else(|| damaged("a run has no form"))?;
                return Ok(Some((epoch, run)));
            }
        }
        Ok(None)
    }

    /// Statements in closed runs, from the run that may hold `sequence` on, oldest first, at most about `limit`.
    pub fn runs(
        &self,
        instance: &InstanceId,
        sequence: u64,
        limit: usize,
    ) -> Result<Vec<RunStatement>, StoreError> {
        // The epochs before the one with the first run need not be opened.
        let first = self.run_and_epoch(instance, sequence)?;
        let first = first.and_then(|(epoch, run)| Some((epoch, run.statements().first()?.sequence)));
        let (oldest, first) = first.unwrap_or((0, 0));
        let (low, mut high) = (rows::run_key(instance, first), rows::run_key(instance, u64::MAX));
        high.push(0);
        let (newest, _) = self.newest()?;
        let mut found = Vec::new();
        for epoch in oldest..=newest {
            let left = limit.saturating_sub(found.len()).div_ceil(super::store::runs::RUN_STATEMENTS);
            for (_, value) in self.epoch(epoch)?.range(&low, &high, left)? {
                let run = Run::parse(&value).ok_or_else(|| damaged("a run has no form"))?;
                found.extend_from_slice(run.statements());
            }
        }
        Ok(found)
    }

    /// Index of an entry of streams 1 to 4.
    pub fn stream_entry(&self, stream: Stream, sequence: u64) -> Result<Option<u64>, StoreError> {
        let key = rows::stream_entry_key(stream, sequence);
        let (newest, _) = self.newest()?;
        for epoch in (0..=newest).rev() {
            if let Some(value) = self.epoch(epoch)?.value(&key)? {
                return Ok(Some(rows::parse_number(&value).ok_or_else(|| damaged("a number has no form"))?));
            }
        }
        Ok(None)
    }

    /// Entries of a stream from stream sequence `from` on, as (stream sequence, index), at most `limit`.
    pub fn stream(&self, stream: Stream, from: u64, limit: usize) -> Result<Vec<(u64, u64)>, StoreError> {
        let (low, high) = (rows::stream_entry_key(stream, from), rows::stream_entry_key(stream, u64::MAX));
        let (newest, _) = self.newest()?;
        let mut found = Vec::new();
        for epoch in 0..=newest {
            for (key, value) in self.epoch(epoch)?.range(&low, &high, limit.saturating_sub(found.len()))? {
                let sequence = key.last_chunk::<8>().copied().map(u64::from_be_bytes);
                let pair = sequence.zip(rows::parse_number(&value));
                found.push(pair.ok_or_else(|| damaged("a number has no form"))?);
            }
        }
        Ok(found)
    }

    /// The 16 leaves of a chunk.
    pub fn leaves_of(&self, chunk: u64) -> Result<Vec<Vec<u8>>, StoreError> {
        let store = self.of_leaf(chunk.saturating_mul(CHUNK_LEAVES))?;
        let value = store.value(&rows::leaves_key(chunk))?;
        let leaves = value.as_deref().and_then(rows::parse_leaves);
        let leaves = leaves.ok_or_else(|| damaged("the leaves of a chunk are missing or have no form"))?;
        Ok(leaves.into_iter().map(<[u8]>::to_vec).collect())
    }

    /// The bytes of the 16 payload records of a chunk, as a payload bundle has them; empty if they are missing.
    pub fn payloads_of(&self, chunk: u64) -> Result<Vec<u8>, StoreError> {
        let (low, high) = (rows::payloads_key(chunk, 0), rows::payloads_key(chunk.saturating_add(1), 0));
        let store = self.of_leaf(chunk.saturating_mul(CHUNK_LEAVES))?;
        let parts = store.range(&low, &high, usize::from(u16::MAX))?;
        Ok(parts.into_iter().flat_map(|(_, part)| part).collect())
    }

    /// The payload record at `index`, as (codec, bytes).
    pub fn payload(&self, index: u64) -> Result<(u8, Vec<u8>), StoreError> {
        let form = || damaged("the payload records of a chunk are missing or have no form");
        let chunk = index / CHUNK_LEAVES;
        let bytes = self.payloads_of(chunk)?;
        let records = rows::parse_payloads(&bytes).ok_or_else(form)?;
        let place = usize::try_from(index % CHUNK_LEAVES).unwrap_or(usize::MAX);
        let (codec, stored) = records.get(place).ok_or_else(form)?;
        Ok((*codec, stored.to_vec()))
    }

    /// Begins epoch `epoch` after the sealed one before it: copies what entries build on, then the head row.
    pub fn begin(&self, epoch: u64) -> Result<(), StoreError> {
        let (sealed, from) = self.newest()?;
        if sealed.saturating_add(1) != epoch {
            return Err(damaged("an epoch is begun out of order"));
        }
        let to = self.maker.open(epoch, true)?;
        for letter in [b'c', b'd', b's', b'w'] {
            let mut low = vec![letter];
            loop {
                let page = from.range(&low, &[letter + 1], COPY_ROWS)?;
                let Some((last, _)) = page.last() else { break };
                low.clone_from(last);
                low.push(0);
                to.apply(&page)?;
            }
        }
        to.sync()?;
        let head = from.value(rows::HEAD_KEY)?.ok_or_else(|| damaged("its head row is missing"))?;
        to.apply(&[(rows::HEAD_KEY.to_vec(), head)])?;
        to.sync()?;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        // Read again from its file when asked for: what is sealed needs no cache for writing.
        open.stores.clear();
        open.order.clear();
        open.stores.insert(epoch, to);
        open.newest = epoch;
        Ok(())
    }

    /// Applies rows of one step to the newest epoch in batches; the last batch, which holds the head, makes them count.
    pub fn apply(&self, rows: &[Row]) -> Result<(), StoreError> {
        self.newest()?.1.apply(rows)
    }

    /// Makes what was applied durable.
    pub fn sync(&self) -> Result<(), StoreError> {
        self.newest()?.1.sync()
    }
}

/// The tiles of the first `size` leaves, as the epochs hold them.
pub struct EpochTiles<'a> {
    /// The stores.
    pub epochs: &'a Epochs,
    /// Leaves indexed.
    pub size: u64,
}

impl Tiles for EpochTiles<'_> {
    type Error = StoreError;

    fn tile(&self, level: u8, number: u64) -> Result<Vec<Digest>, StoreError> {
        let shift = u32::from(level).saturating_mul(CHUNK_LEAVES.ilog2());
        let nodes = self.size.checked_shr(shift).unwrap_or(0);
        let end = number.saturating_add(1).saturating_mul(CHUNK_LEAVES).min(nodes);
        if end <= number.saturating_mul(CHUNK_LEAVES) {
            return Ok(Vec::new());
        }
        if level == 0 {
            let leaves = self.epochs.leaves_of(number)?;
            return Ok(leaves.iter().map(|leaf| evidence::merkle::leaf_hash(leaf)).collect());
        }
        // It was last written with the leaf that completed its last node.
        let last = end.checked_shl(shift).unwrap_or(u64::MAX).saturating_sub(1);
        let store = self.epochs.of_leaf(last)?;
        let Some(value) = store.value(&rows::tile_key(level, number))? else { return Ok(Vec::new()) };
        rows::parse_tile(&value).ok_or_else(|| damaged(&format!("tile {level}/{number} has no form")))
    }
}

fn damaged(what: &str) -> StoreError {
    StoreError::Damaged { what: what.to_owned() }
}
