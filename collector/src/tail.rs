//! Committed entries that the index does not hold yet: their leaves and places in memory, their payloads in the journal.
//!
//! The sequencer adds at the end, the indexer takes from the front. Readers look here first and then in the stores.

use std::collections::{BTreeMap, HashMap, VecDeque};

use evidence::ids::{Digest, InstanceId};

use crate::index::{Added, Changes};
use crate::journal::Position;
use crate::log::{ChangedTiles, TILE_NODES};
use crate::store::rows::InstanceState;
use crate::store::runs::RunStatement;

/// A committed entry.
#[derive(Debug, Clone)]
pub(crate) struct TailEntry {
    /// Its leaf, receipt and link.
    pub(crate) added: Added,
    /// Where its record lies in the journal.
    pub(crate) position: Position,
}

/// What is committed and not indexed.
#[derive(Debug)]
pub(crate) struct Tail {
    /// Entries indexed: index of the first entry here.
    first: u64,
    /// Where the journal goes on after the entries here. It moves with them, in one step for whoever looks.
    end: Position,
    entries: VecDeque<TailEntry>,
    tiles: ChangedTiles,
    stream_entries: BTreeMap<(u8, u64), u64>,
    instances: HashMap<InstanceId, InstanceState>,
    statements: BTreeMap<(InstanceId, u64), RunStatement>,
}

impl Tail {
    /// Nothing, after `first` indexed entries and before `end` of the journal.
    pub(crate) fn new(first: u64, end: Position) -> Self {
        Self {
            first,
            end,
            entries: VecDeque::new(),
            tiles: ChangedTiles::new(),
            stream_entries: BTreeMap::new(),
            instances: HashMap::new(),
            statements: BTreeMap::new(),
        }
    }

    /// Where the journal goes on after the entries here.
    pub(crate) fn end(&self) -> Position {
        self.end
    }

    /// Says that the journal has grown by records that are no entries.
    pub(crate) fn set_end(&mut self, end: Position) {
        self.end = end;
    }

    /// Entries indexed.
    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    /// Entries here.
    pub(crate) fn len(&self) -> u64 {
        self.entries.len() as u64
    }

    /// Adds what was committed. `positions` are those of the entries' records, in order, and `end` is where the journal goes
    /// on after them.
    pub(crate) fn push(&mut self, changes: Changes, positions: &[Position], end: Position) {
        self.end = end;
        let Changes { entries, tiles, stream_entries, instances } = changes;
        for (added, position) in entries.into_iter().zip(positions) {
            let index = self.first.saturating_add(self.len());
            if let Some(link) = &added.link {
                let statement = RunStatement {
                    sequence: link.sequence,
                    index,
                    received: added.received,
                    observed_minute: link.observed_minute,
                };
                self.statements.insert((link.instance, link.sequence), statement);
            }
            self.entries.push_back(TailEntry { added, position: *position });
        }
        self.tiles.extend(tiles);
        self.stream_entries.extend(stream_entries);
        self.instances.extend(instances);
    }

    /// Forgets the entries below `size`, which the index holds now.
    pub(crate) fn trim(&mut self, size: u64) {
        while self.first < size {
            let Some(entry) = self.entries.pop_front() else { break };
            if let Some(link) = &entry.added.link {
                self.statements.remove(&(link.instance, link.sequence));
                if self.instances.get(&link.instance).is_some_and(|state| state.last_index < size) {
                    self.instances.remove(&link.instance);
                }
            }
            self.first += 1;
        }
        self.stream_entries.retain(|_, index| *index >= size);
        self.tiles.retain(|(level, number), _| {
            let shift = TILE_NODES.ilog2().saturating_mul(u32::from(*level) + 1);
            number.saturating_add(1).checked_shl(shift).is_none_or(|end| end > size)
        });
    }

    /// An entry.
    pub(crate) fn entry(&self, index: u64) -> Option<&TailEntry> {
        let place = index.checked_sub(self.first)?;
        self.entries.get(usize::try_from(place).ok()?)
    }

    /// The nodes of a tile, if one of them is new.
    pub(crate) fn tile(&self, level: u8, number: u64) -> Option<Vec<Digest>> {
        self.tiles.get(&(level, number)).cloned()
    }

    /// Index of an entry of a stream.
    pub(crate) fn stream_entry(&self, stream: u8, sequence: u64) -> Option<u64> {
        self.stream_entries.get(&(stream, sequence)).copied()
    }

    /// Entries of a stream from `from` on.
    pub(crate) fn stream(&self, stream: u8, from: u64) -> impl Iterator<Item = (u64, u64)> + '_ {
        let range = self.stream_entries.range((stream, from)..=(stream, u64::MAX));
        range.map(|((_, sequence), index)| (*sequence, *index))
    }

    /// State of a device instance, if an entry here changed it.
    pub(crate) fn instance(&self, instance: &InstanceId) -> Option<InstanceState> {
        self.instances.get(instance).copied()
    }

    /// Statements of a device instance from sequence `from` on.
    pub(crate) fn statements(
        &self,
        instance: &InstanceId,
        from: u64,
    ) -> impl Iterator<Item = RunStatement> + '_ {
        self.statements.range((*instance, from)..=(*instance, u64::MAX)).map(|(_, statement)| *statement)
    }
}
