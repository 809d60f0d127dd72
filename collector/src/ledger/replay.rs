//! Bringing an index level with the journal: what is in the journal after it, or in the bundles before the journal.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::{PoisonError, RwLock};

use evidence::ids::Digest;
use evidence::leaf::Leaf;
use evidence::tiles::{Content, TILE_WIDTH, Tile};

use super::{LedgerTiles, OpenError};
use crate::datadir::DataDir;
use crate::epochs::{EpochTiles, Epochs};
use crate::index::{DeviceLink, EntryError, Index};
use crate::indexer::{STEP_ENTRIES_MAX, batches, checkpoint_row};
use crate::journal::{EntryRecord, Journal, JournalError, JournalReader, Position, Record};
use crate::log::{self, BUNDLE_LEAVES};
use crate::notes::Recent;
use crate::payload_bundles::{self, PayloadBundles};
use crate::payload_codec::{self, Stored};
use crate::row_maker::{MakeError, PayloadBundle, RowMaker};
use crate::store::StoreError;
use crate::store::rows::CheckpointRow;
use crate::tail::Tail;
use crate::tree::Folder;

/// An index that is level with the journal, together with what is in memory.
pub(super) struct Level {
    pub(super) epochs: Epochs,
    pub(super) tail: RwLock<Tail>,
    pub(super) index: Index,
    pub(super) checkpoint: Option<CheckpointRow>,
    pub(super) cosigned: Option<CheckpointRow>,
    pub(super) recent: Recent,
    pub(super) indexed_entries: u64,
    pub(super) rebuilt: Option<String>,
}

pub(super) enum Followed {
    Level(Box<Level>),
    /// The newest epoch is of no use; what lies before it decides when it is made anew.
    Unusable(String),
}

/// Brings the epochs level with the journal, or says why they cannot be.
pub(super) fn follow(epochs: Epochs, journal: &Journal, dir: &DataDir) -> Result<Followed, OpenError> {
    let reader = journal.reader();
    let loaded = epochs.head().and_then(|head| {
        // sled opens as an empty store after some kinds of damage.
        let missing = || StoreError::Damaged { what: "its head row is missing".to_owned() };
        let head = head.ok_or_else(missing)?;
        let streams = epochs.streams()?;
        if head.next > journal.end() {
            return Ok((head, None, [None, None]));
        }
        let index = Index::load(&EpochTiles { epochs: &epochs, size: head.size }, streams, &head)?;
        Ok((head, Some(index), [epochs.checkpoint()?, epochs.cosigned()?]))
    });
    let (head, index, checkpoints) = match loaded {
        Ok((head, Some(index), checkpoints)) => (head, index, checkpoints),
        Ok((head, None, _)) => {
            let journal_size = committed_size(&reader, reader.first()?, journal.end())?;
            return Err(OpenError::JournalBehind { index_size: head.size, journal_size });
        }
        Err(StoreError::Damaged { what }) => return Ok(Followed::Unusable(what)),
        Err(error) => return Err(error.into()),
    };
    let first = reader.first()?;
    let recent = Recent::open(&dir.notes()).map_err(|source| OpenError::Io {
        what: "read the cosigned notes in",
        path: dir.notes(),
        source,
    })?;
    let mut follower = Follower::new(epochs, dir, (index, head.next), checkpoints, recent);
    let mut from = head.next;
    if head.next <= first {
        // What the journal does not reach back to comes from the bundles, and may overlap with its first entries.
        match follower.bundles(dir, &reader, first) {
            Ok(()) => from = first,
            Err(OpenError::Store(StoreError::Damaged { what })) => return Ok(Followed::Unusable(what)),
            Err(error) => return Err(error),
        }
    }
    let replayed = reader.replay(from, journal.end(), |at, record| follower.take(at, record));
    match replayed.and_then(|()| follower.finish(journal.end())) {
        Ok(level) => check_checkpoint(level),
        // An index that knew nothing has nothing to disagree with: the journal itself is wrong.
        Err(OpenError::Damaged { what, .. }) if head.size > 0 && from == head.next => {
            let journal_size = committed_size(&reader, first, journal.end())?;
            if journal_size < head.size {
                return Err(OpenError::JournalBehind { index_size: head.size, journal_size });
            }
            Ok(Followed::Unusable(format!("the journal does not continue it: {what}")))
        }
        Err(OpenError::Store(StoreError::Damaged { what })) => Ok(Followed::Unusable(what)),
        Err(error) => Err(error),
    }
}

/// Entries the journal has sealed.
pub(super) fn committed_size(reader: &JournalReader, from: Position, to: Position) -> Result<u64, OpenError> {
    let mut committed = 0;
    reader.replay(from, to, |_, record| {
        if let Record::Commit { size, .. } = record {
            committed = size;
        }
        Ok::<_, JournalError>(())
    })?;
    Ok(committed)
}

/// Refuses a log that its own newest checkpoint does not describe.
fn check_checkpoint(level: Level) -> Result<Followed, OpenError> {
    let Some(row) = &level.checkpoint else { return Ok(Followed::Level(Box::new(level))) };
    let root = if row.size <= level.index.size() {
        let tiles = LedgerTiles { epochs: &level.epochs, tail: &level.tail, memo: None };
        log::root_at(&tiles, row.size).map_err(crate::index::tile_error)
    } else {
        Ok(Digest::ZERO)
    };
    match root {
        Ok(root) if root == row.root => Ok(Followed::Level(Box::new(level))),
        Ok(_) => {
            let Position { segment, offset } = row.at;
            let what = "the checkpoint here is not one of this log";
            Err(OpenError::Damaged { segment, offset, what })
        }
        Err(StoreError::Damaged { what }) => Ok(Followed::Unusable(what)),
        Err(error) => Err(error.into()),
    }
}

/// A record that is not in the index yet.
enum Pending {
    Entry(Box<PendingEntry>),
    Checkpoint(CheckpointRow),
}

struct PendingEntry {
    at: Position,
    leaf: Leaf,
    record: EntryRecord,
    link: Option<DeviceLink>,
}

/// Applies journal records: to what the next entry builds on, and, as whole bundles, to the index.
struct Follower {
    epochs: Epochs,
    payloads: PayloadBundles,
    root: PathBuf,
    tail: RwLock<Tail>,
    /// Over every sealed entry.
    index: Index,
    /// Over the indexed ones.
    maker: RowMaker,
    sealed_size: u64,
    /// Entries below this came from bundles and may be in the journal once more.
    bundled: u64,
    positions: Vec<Position>,
    pending: VecDeque<Pending>,
    /// Entries among the pending.
    waiting: u64,
    checkpoint: Option<CheckpointRow>,
    cosigned: Option<CheckpointRow>,
    recent: Recent,
    notes: PathBuf,
    indexed_entries: u64,
}

impl Follower {
    fn new(
        epochs: Epochs,
        dir: &DataDir,
        (index, next): (Index, Position),
        [checkpoint, cosigned]: [Option<CheckpointRow>; 2],
        recent: Recent,
    ) -> Self {
        let sealed_size = index.size();
        let (positions, pending) = (Vec::new(), VecDeque::new());
        let (tail, maker) = (RwLock::new(Tail::new(sealed_size, next)), RowMaker::new(index.clone()));
        let (bundled, waiting, indexed_entries) = (0, 0, 0);
        Self {
            epochs,
            payloads: PayloadBundles::new(&dir.payloads()),
            root: dir.payloads(),
            tail,
            index,
            maker,
            sealed_size,
            bundled,
            positions,
            pending,
            waiting,
            checkpoint,
            cosigned,
            recent,
            notes: dir.notes(),
            indexed_entries,
        }
    }

    fn take(&mut self, at: Position, record: Record) -> Result<(), OpenError> {
        let damaged = |what| OpenError::Damaged { segment: at.segment, offset: at.offset, what };
        match record {
            Record::Entry(record) if record.index < self.bundled => {}
            Record::Entry(record) => {
                let leaf = Leaf::parse(&record.leaf).map_err(|_| damaged("a leaf has an unknown form"))?;
                let link = link_of(&leaf, record.codec, &record.stored).map_err(damaged)?;
                if record.index != self.index.size() {
                    return Err(damaged("an entry has another index than the one that follows"));
                }
                let added = self.index.add(&leaf, record.leaf.clone(), link);
                added.map_err(|EntryError(what)| damaged(what))?;
                self.positions.push(at);
                self.pending.push_back(Pending::Entry(Box::new(PendingEntry { at, leaf, record, link })));
                self.waiting += 1;
                self.indexed_entries += 1;
            }
            Record::Commit { size, .. } if size < self.bundled => {}
            Record::Commit { size, root } => {
                if size != self.index.size() || Digest(root) != self.index.root() {
                    return Err(damaged(
                        "a commit does not state the size and root of the entries before it",
                    ));
                }
                self.seal(at)?;
            }
            Record::Checkpoint { note } => {
                let row = checkpoint_row(at, note).map_err(damaged)?;
                if row.is_cosigned() {
                    self.recent.push(&row.note).map_err(|source| self.notes_error(source))?;
                    self.cosigned = Some(row.clone());
                } else {
                    self.checkpoint = Some(row.clone());
                }
                self.pending.push_back(Pending::Checkpoint(row));
            }
            Record::Continued { .. } => return Err(damaged("a segment goes on after its end")),
        }
        Ok(())
    }

    fn seal(&mut self, commit: Position) -> Result<(), OpenError> {
        let positions = std::mem::take(&mut self.positions);
        let changes = self.index.take_changes();
        self.tail.write().unwrap_or_else(PoisonError::into_inner).push(changes, &positions, commit);
        self.sealed_size = self.index.size();
        if self.waiting >= STEP_ENTRIES_MAX { self.step(commit) } else { Ok(()) }
    }

    /// Indexes the whole bundles among what is pending. `end` is where the journal goes on after all of it.
    fn step(&mut self, end: Position) -> Result<(), OpenError> {
        loop {
            let from = self.maker.index().size();
            let epoch = from / self.epochs.leaves();
            let epoch_end = (epoch + 1) * self.epochs.leaves();
            let to = (from + self.waiting) / BUNDLE_LEAVES * BUNDLE_LEAVES;
            let to = to.min(epoch_end);
            if to == from {
                return Ok(());
            }
            if epoch > self.epochs.newest()?.0 {
                self.epochs.begin(epoch)?;
            }
            self.feed(to)?;
            let next = self.pending.iter().find_map(|pending| match pending {
                Pending::Entry(entry) => Some(entry.at),
                Pending::Checkpoint(_) => None,
            });
            self.write(next.unwrap_or(end))?;
        }
    }

    /// Gives the maker the pending entries below `to`, and the checkpoints before the first of the others.
    fn feed(&mut self, to: u64) -> Result<(), OpenError> {
        let Self { maker, epochs, pending, waiting, .. } = self;
        let load = |instance: &_| epochs.instance(instance);
        while let Some(next) = pending.pop_front() {
            match next {
                Pending::Entry(_) if maker.index().size() >= to => {
                    pending.push_front(next);
                    break;
                }
                Pending::Entry(entry) => {
                    let PendingEntry { at, leaf, record, link } = *entry;
                    let payload = (record.codec, record.stored.as_slice());
                    let made = maker.add(&leaf, record.leaf, payload, link, &load);
                    made.map_err(|error| make_error(error, at))?;
                    *waiting = waiting.saturating_sub(1);
                }
                Pending::Checkpoint(row) => maker.checkpoint(&row),
            }
        }
        Ok(())
    }

    /// Writes a step in the order of [`crate::indexer`].
    fn write(&mut self, next: Position) -> Result<(), OpenError> {
        let mut step = self.maker.take_step(next);
        let bundles = std::mem::take(&mut step.bundles);
        self.put(&bundles).map_err(|source| OpenError::Io {
            what: "write the payload bundles in",
            path: self.root.clone(),
            source,
        })?;
        self.recent.sync().map_err(|source| self.notes_error(source))?;
        for batch in batches(&step.rows) {
            self.epochs.apply(batch)?;
        }
        self.epochs.apply(&step.last)?;
        self.epochs.sync()?;
        let size = self.maker.index().size();
        self.tail.write().unwrap_or_else(PoisonError::into_inner).trim(size);
        Ok(())
    }

    fn notes_error(&self, source: io::Error) -> OpenError {
        OpenError::Io { what: "write the cosigned notes in", path: self.notes.clone(), source }
    }

    fn put(&mut self, bundles: &[PayloadBundle]) -> io::Result<()> {
        if bundles.is_empty() {
            return Ok(());
        }
        self.payloads.prepare()?;
        for bundle in bundles {
            self.payloads.put(bundle.number, &bundle.bytes)?;
        }
        self.payloads.sync()
    }

    /// Takes entries from the public tree's bundles and the payload bundles, up to where the journal begins.
    fn bundles(&mut self, dir: &DataDir, reader: &JournalReader, first: Position) -> Result<(), OpenError> {
        let Some(journal_from) = reader.first_index(first)? else { return Ok(()) };
        let (tree, payloads) = (Folder::new(&dir.tree()), PayloadBundles::new(&dir.payloads()));
        while self.index.size() < journal_from {
            let size = self.index.size();
            let number = size / BUNDLE_LEAVES;
            let nowhere = || OpenError::Nowhere { from: size, to: journal_from.saturating_sub(1) };
            let tile = Tile::new(Content::Entries, number, TILE_WIDTH).ok_or_else(nowhere)?;
            let read = tree.tile(&tile).and_then(|leaves| Ok((leaves, payloads.bytes(number)?)));
            let (leaves, records) = read.map_err(|source| OpenError::Io {
                what: "read a bundle of",
                path: dir.path().to_owned(),
                source,
            })?;
            let (leaves, records) = leaves.zip(records).ok_or_else(nowhere)?;
            let leaves = tile.parse_entries(&leaves).map_err(|_| nowhere())?;
            let records = payload_bundles::records(&records).ok_or_else(nowhere)?;
            let epoch = size / self.epochs.leaves();
            if epoch > self.epochs.newest()?.0 {
                self.epochs.begin(epoch)?;
            }
            for (bytes, (codec, stored)) in leaves.into_iter().zip(records) {
                let damaged = |what| OpenError::Damaged { segment: first.segment, offset: 0, what };
                let leaf = Leaf::parse(bytes).map_err(|_| nowhere())?;
                let link = link_of(&leaf, codec, stored).map_err(damaged)?;
                let added = self.index.add(&leaf, bytes.to_vec(), link);
                added.map_err(|EntryError(what)| damaged(what))?;
                let Self { maker, epochs, .. } = self;
                let load = |instance: &_| epochs.instance(instance);
                let made = maker.add(&leaf, bytes.to_vec(), (codec, stored), link, &load);
                made.map_err(|error| make_error(error, first))?;
                self.indexed_entries += 1;
            }
            // Into the sealed state: nothing of it is in the tail.
            drop(self.index.take_changes());
            self.sealed_size = self.index.size();
            let size = self.sealed_size;
            if size.is_multiple_of(STEP_ENTRIES_MAX)
                || size.is_multiple_of(self.epochs.leaves())
                || size >= journal_from
            {
                self.write(first)?;
            }
            self.tail = RwLock::new(Tail::new(size, first));
        }
        self.bundled = self.index.size();
        Ok(())
    }

    /// Indexes what is left in whole bundles.
    fn finish(mut self, end: Position) -> Result<Level, OpenError> {
        if self.index.size() != self.sealed_size {
            let what = "entries without a commit lie before the end";
            return Err(OpenError::Damaged { segment: end.segment, offset: end.offset, what });
        }
        self.step(end)?;
        self.tail.write().unwrap_or_else(PoisonError::into_inner).set_end(end);
        let Self { epochs, tail, index, checkpoint, cosigned, recent, indexed_entries, .. } = self;
        Ok(Level { epochs, tail, index, checkpoint, cosigned, recent, indexed_entries, rebuilt: None })
    }
}

/// The place of a stored entry in the chain of its device. What the chain needs is readable, also of what was erased: no
/// key is asked for here.
pub(crate) fn link_of(leaf: &Leaf, codec: u8, stored: &[u8]) -> Result<Option<DeviceLink>, &'static str> {
    let parsed = Stored::parse(leaf.kind, codec, stored);
    let parsed = parsed.map_err(|_| "a payload record has an unknown form")?;
    payload_codec::link_of(&parsed, leaf.kind).map_err(|EntryError(what)| what)
}

fn make_error(error: MakeError, at: Position) -> OpenError {
    match error {
        MakeError::Store(error) => error.into(),
        MakeError::Entry(EntryError(what)) => {
            OpenError::Damaged { segment: at.segment, offset: at.offset, what }
        }
    }
}
