//! From entries to the rows of an epoch and to payload bundles: one pure function of the log, used when the log is
//! indexed, when an index is rebuilt, and when `fsck` asks what it must hold.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use evidence::ids::InstanceId;
use evidence::leaf::Leaf;

use crate::index::{Changes, DeviceLink, EntryError, Index};
use crate::journal::Position;
use crate::log::BUNDLE_LEAVES;
use crate::store::rows::{self, CHUNK_LEAVES, CheckpointRow, Head, InstanceRow};
use crate::store::runs::{Run, RunStatement};
use crate::store::{Row, StoreError};

/// Device instances kept in memory between steps at most; the others are read again.
const INSTANCES_KEPT_MAX: usize = 65_536;

/// Why an entry could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    /// It does not follow the ones before it.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// What is stored of its instance could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Where what is stored of a device instance is read.
pub type LoadInstance<'a> = &'a dyn Fn(&InstanceId) -> Result<Option<InstanceRow>, StoreError>;

/// A full bundle of payload records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayloadBundle {
    /// Its number: entries 256 × number and the 255 after it.
    pub number: u64,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// The rows of one step.
#[derive(Debug, Clone, Default)]
pub struct Step {
    /// Rows that mean nothing before the head row names them, in any order.
    pub rows: Vec<Row>,
    /// Rows that replace others, with the head row: one batch, after all the rest.
    pub last: Vec<Row>,
    /// Payload bundles that are full now.
    pub bundles: Vec<PayloadBundle>,
}

/// Makes rows out of entries.
pub struct RowMaker {
    index: Index,
    leaves: Vec<Vec<u8>>,
    payloads: Vec<u8>,
    bundle: Vec<u8>,
    instances: HashMap<InstanceId, InstanceRow>,
    changed: BTreeSet<InstanceId>,
    step: Step,
    /// Rows of the newest checkpoints, by their keys.
    checkpoints: BTreeMap<Vec<u8>, Vec<u8>>,
    instances_kept_max: usize,
}

impl RowMaker {
    /// Continues after the entries that `index` has, which end with a bundle.
    pub fn new(index: Index) -> Self {
        let (leaves, payloads, bundle) = (Vec::new(), Vec::new(), Vec::new());
        let (instances, changed) = (HashMap::new(), BTreeSet::new());
        let (step, checkpoints) = (Step::default(), BTreeMap::new());
        let instances_kept_max = INSTANCES_KEPT_MAX;
        Self { index, leaves, payloads, bundle, instances, changed, step, checkpoints, instances_kept_max }
    }

    /// Begins with the first entry and keeps every device instance in memory: nothing is asked of a store.
    pub fn remembering() -> Self {
        Self { instances_kept_max: usize::MAX, ..Self::new(Index::new()) }
    }

    /// The rows of the device instances in memory.
    pub fn instance_rows(&self) -> impl Iterator<Item = Row> + '_ {
        self.instances.iter().map(|(instance, row)| (rows::instance_key(instance), row.encode()))
    }

    /// What the next entry builds on.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// Takes the next entry. `bytes` is its leaf, `codec` and `stored` its payload record.
    pub fn add(
        &mut self,
        leaf: &Leaf,
        bytes: Vec<u8>,
        (codec, stored): (u8, &[u8]),
        link: Option<DeviceLink>,
        load: LoadInstance<'_>,
    ) -> Result<u64, MakeError> {
        self.leaves.push(bytes.clone());
        let index = self.index.add(leaf, bytes, link)?;
        rows::push_payload(&mut self.payloads, codec, stored);
        if let Some(link) = link {
            self.statement(index, leaf, &link, load)?;
        }
        if index % CHUNK_LEAVES == CHUNK_LEAVES - 1 {
            self.close_chunk(index / CHUNK_LEAVES);
        }
        if index % BUNDLE_LEAVES == BUNDLE_LEAVES - 1 {
            let bytes = std::mem::take(&mut self.bundle);
            self.step.bundles.push(PayloadBundle { number: index / BUNDLE_LEAVES, bytes });
        }
        Ok(index)
    }

    /// Takes a signed checkpoint over the entries so far.
    pub fn checkpoint(&mut self, row: &CheckpointRow) {
        self.checkpoints.extend(row.row());
    }

    /// The rows since the last call. The entries taken must end with a bundle; `next` is where the journal goes on.
    pub fn take_step(&mut self, next: Position) -> Step {
        let mut step = std::mem::take(&mut self.step);
        let Changes { tiles, stream_entries, .. } = self.index.take_changes();
        for ((stream, sequence), index) in stream_entries {
            step.rows.push((rows::stream_entry_key_of(stream, sequence), rows::number_value(index)));
        }
        // Level 0 lies in the leaves.
        for ((level, number), nodes) in tiles.into_iter().filter(|((level, _), _)| *level > 0) {
            step.last.push((rows::tile_key(level, number), rows::tile_value(&nodes)));
        }
        for instance in std::mem::take(&mut self.changed) {
            if let Some(row) = self.instances.get(&instance) {
                step.last.push((rows::instance_key(&instance), row.encode()));
            }
        }
        for (head, stream) in self.index.streams().iter().zip(evidence::leaf::Stream::CHAINED) {
            step.last.push((rows::stream_key(stream), head.encode()));
        }
        step.last.extend(std::mem::take(&mut self.checkpoints));
        step.last.push((rows::HEAD_KEY.to_vec(), self.head(next).encode()));
        if self.instances.len() > self.instances_kept_max {
            self.instances.clear();
        }
        step
    }

    /// The head row of the entries so far.
    pub fn head(&self, next: Position) -> Head {
        let (size, root) = (self.index.size(), self.index.root());
        Head { size, root, received: self.index.received(), next }
    }

    fn statement(
        &mut self,
        index: u64,
        leaf: &Leaf,
        link: &DeviceLink,
        load: LoadInstance<'_>,
    ) -> Result<(), MakeError> {
        let Some(state) = self.index.instance(&link.instance) else { return Ok(()) };
        let row = match self.instances.entry(link.instance) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                let stored = load(&link.instance)?;
                place.insert(stored.unwrap_or(InstanceRow { state, run: Run::default() }))
            }
        };
        row.state = state;
        let statement = RunStatement {
            sequence: link.sequence,
            index,
            received: leaf.received,
            observed_minute: link.observed_minute,
        };
        if let Some(full) = row.run.add(statement) {
            let first = full.statements().first().map_or(0, |first| first.sequence);
            self.step.rows.push((rows::run_key(&link.instance, first), full.encode()));
        }
        self.changed.insert(link.instance);
        Ok(())
    }

    fn close_chunk(&mut self, chunk: u64) {
        let leaves = std::mem::take(&mut self.leaves);
        let value = rows::leaves_value(leaves.iter().map(Vec::as_slice));
        self.step.rows.push((rows::leaves_key(chunk), value));
        let payloads = std::mem::take(&mut self.payloads);
        for (part, bytes) in (0_u16..).zip(payloads.chunks(rows::PART_BYTES)) {
            self.step.rows.push((rows::payloads_key(chunk, part), bytes.to_vec()));
        }
        self.bundle.extend_from_slice(&payloads);
    }
}
