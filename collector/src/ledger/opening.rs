//! Making the ledger, and opening it after whatever happened.
//!
//! The journal rules. The index is compared with it and, when it is lost, damaged or behind, rebuilt from it; an index
//! that is ahead means that the journal lost acknowledged entries, and then nothing is opened or changed.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, RwLock};

use evidence::ids::Digest;
use evidence::leaf::{CODEC_PLAIN, Kind, Leaf};
use evidence::merkle::empty_root;
use evidence::note::{Checkpoint, NoteError};
use tokio::sync::watch;

use super::{Ledger, Shared, Signing, Snapshot};
use crate::data_keys::{DataKeyError, DataKeys};
use crate::datadir::DataDir;
use crate::index::{EntryError, Index, StoredTiles};
use crate::journal::{
    Io, Journal, JournalError, JournalReader, Position, Record, Recovery, SEGMENT_BYTES_DEFAULT,
    SEGMENT_HEADER_BYTES, SystemIo,
};
use crate::log;
use crate::payload_codec::Stored;
use crate::sequencer::{self, Random, Refusal, high_water};
use crate::store::rows::{self, CheckpointRow, Head, LeafRow};
use crate::store::sled::SledStore;
use crate::store::{Row, Store, StoreError};

/// Rows collected before a rebuild writes them: bounds memory.
const REBUILD_ROWS_MAX: usize = 50_000;
/// Damaged indexes kept aside at most, so that names can be tried in order.
const ASIDE_MAX: u32 = 1000;

/// What making or opening a ledger needs from outside.
#[derive(Clone)]
pub struct LedgerOptions {
    /// Length of new journal segments, bytes.
    pub segment_bytes: u64,
    /// The system calls of the journal.
    pub io: Arc<dyn Io>,
}

impl Default for LedgerOptions {
    fn default() -> Self {
        Self { segment_bytes: SEGMENT_BYTES_DEFAULT, io: Arc::new(SystemIo) }
    }
}

/// Why the ledger could not be made or opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The data keys.
    #[error(transparent)]
    Keys(#[from] DataKeyError),
    /// The index, in a way that a rebuild does not cure.
    #[error(
        "the index cannot be opened; if the disk is full, delete the file `ballast` in the data directory and start again"
    )]
    Store(#[from] StoreError),
    /// The journal's records contradict each other.
    #[error(
        "journal segment {segment}, byte {offset}: {what}. Restore the segment from a copy; nothing was changed"
    )]
    Damaged {
        /// Journal segment.
        segment: u64,
        /// Byte offset in the segment.
        offset: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// The journal lost entries.
    #[error(
        "the index knows {index_size} entries and the journal {journal_size}: the journal lost acknowledged \
         entries. Restore its newest segments from a copy; nothing was changed"
    )]
    JournalBehind {
        /// Entries of the index.
        index_size: u64,
        /// Entries of the journal.
        journal_size: u64,
    },
    /// `init` was interrupted.
    #[error("{path} holds no genesis entry: `init` did not finish. Remove the folder and run `init` again")]
    Unfinished {
        /// The data directory.
        path: PathBuf,
    },
    /// The genesis builder refused.
    #[error("the genesis entries were refused")]
    Genesis(#[source] Refusal),
    /// The system refused something.
    #[error("could not {what} {path}")]
    Io {
        /// What was tried, as a verb phrase.
        what: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

/// What opening found and repaired, for the log and for operators.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OpenReport {
    /// What was cut from the journal.
    pub recovery: Recovery,
    /// Why the index was rebuilt from the beginning, if it was.
    pub rebuilt: Option<String>,
    /// Entries added to the index from the journal.
    pub indexed_entries: u64,
}

/// An open ledger whose sequencer has not been started: it can be read, and nothing changes.
pub struct Unstarted {
    pub(crate) ledger: Ledger,
    pub(crate) journal: Journal,
    pub(crate) index: Index,
    /// The newest checkpoint as the log signed it.
    pub(crate) checkpoint: Option<CheckpointRow>,
    /// The newest one with cosignatures: the same, an older one, or none.
    pub(crate) cosigned: Option<CheckpointRow>,
    /// What opening found.
    pub report: OpenReport,
}

impl Ledger {
    /// Makes a ledger in a data directory just made. `genesis` gives the first entries: index 0 must be the genesis.
    /// `high_water` is the file of the high-water mark. Only `init` does this.
    pub fn create(
        dir: &DataDir,
        options: &LedgerOptions,
        high_water: &std::path::Path,
        now: evidence::time::Timestamp,
        random: &mut Random,
        genesis: sequencer::ActBuilder,
    ) -> Result<(), OpenError> {
        let mut journal = Journal::create(&dir.journal(), options.segment_bytes, Arc::clone(&options.io))?;
        let group = sequencer::genesis_group(now, random, genesis).map_err(OpenError::Genesis)?;
        DataKeys::create(&dir.keys(), &dir.data_keys(), random)?;
        high_water::write(high_water, 0, &empty_root()).map_err(|source| OpenError::Io {
            what: "write",
            path: high_water.to_owned(),
            source,
        })?;
        // The commit of the genesis is what makes the folder a ledger; everything else is there before.
        journal.append(&group)?;
        Ok(())
    }

    /// Opens an existing ledger: recovers the journal, brings the index level with it, checks the newest checkpoint.
    pub fn open(dir: Arc<DataDir>, options: &LedgerOptions) -> Result<(Self, Unstarted), OpenError> {
        let (journal, recovery) =
            Journal::open(&dir.journal(), options.segment_bytes, Arc::clone(&options.io))?;
        let opened = open_index(&dir, &journal)?;
        let keys = open_keys(&dir, options, &journal, &opened)?;
        Self::assemble(dir, journal, recovery, opened, keys)
    }

    /// As [`Ledger::open`], with an index in another store; it is brought level with the journal.
    pub fn open_with_store(
        dir: Arc<DataDir>,
        options: &LedgerOptions,
        store: Arc<dyn Store>,
    ) -> Result<(Self, Unstarted), OpenError> {
        let (journal, recovery) =
            Journal::open(&dir.journal(), options.segment_bytes, Arc::clone(&options.io))?;
        let opened = match follow(store, &journal, Expect::Anything)? {
            Followed::Level(opened) => *opened,
            Followed::Unusable(what) => return Err(StoreError::Damaged { what }.into()),
        };
        let keys = open_keys(&dir, options, &journal, &opened)?;
        Self::assemble(dir, journal, recovery, opened, keys)
    }

    fn assemble(
        dir: Arc<DataDir>,
        journal: Journal,
        recovery: Recovery,
        opened: Level,
        keys: Arc<DataKeys>,
    ) -> Result<(Self, Unstarted), OpenError> {
        let Level { store, index, checkpoint, cosigned, indexed_entries, rebuilt } = opened;
        let snapshot = Snapshot {
            size: index.size(),
            root: index.root(),
            received: index.received(),
            streams: index.streams(),
        };
        let shared = Shared {
            store,
            journal: journal.reader(),
            keys,
            snapshot: RwLock::new(snapshot),
            checkpoints: watch::Sender::new(None),
            signing: RwLock::new(Signing::NotStarted),
            _dir: Arc::clone(&dir),
        };
        let ledger = Self { shared: Arc::new(shared) };
        let first = if snapshot.size == 0 { None } else { ledger.leaf(0).ok() };
        if first.is_none_or(|leaf| leaf.kind != Kind::GENESIS) {
            return Err(OpenError::Unfinished { path: dir.path().to_owned() });
        }
        let report = OpenReport { recovery, rebuilt, indexed_entries };
        let unstarted = Unstarted { ledger: ledger.clone(), journal, index, checkpoint, cosigned, report };
        Ok((ledger, unstarted))
    }
}

/// The data keys of a directory. A log from before there were any gets its first; one whose newest payload is sealed
/// must have them.
fn open_keys(
    dir: &DataDir,
    options: &LedgerOptions,
    journal: &Journal,
    opened: &Level,
) -> Result<Arc<DataKeys>, OpenError> {
    let (keys, folder) = (dir.keys(), dir.data_keys());
    let newest = opened.index.size().checked_sub(1).map(rows::leaf_key);
    let row = newest.map(|key| opened.store.value(&key)).transpose()?.flatten();
    let record = match row.and_then(|value| LeafRow::parse(&value)) {
        Some(row) => Some(journal.reader().record(row.position)?),
        None => None,
    };
    let sealed = matches!(record, Some(Record::Entry(entry)) if entry.codec != CODEC_PLAIN);
    if !sealed && !DataKeys::exist(&folder) {
        DataKeys::create(&keys, &folder, &mut sequencer::system_random())?;
    }
    Ok(Arc::new(DataKeys::open(&keys, &folder, Arc::clone(&options.io))?))
}

/// An index that is level with the journal.
struct Level {
    store: Arc<dyn Store>,
    index: Index,
    checkpoint: Option<CheckpointRow>,
    cosigned: Option<CheckpointRow>,
    indexed_entries: u64,
    rebuilt: Option<String>,
}

enum Followed {
    Level(Box<Level>),
    /// The index is of no use; the journal decides when it is rebuilt.
    Unusable(String),
}

/// Whether a store was in use before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expect {
    Head,
    Anything,
}

/// Opens the index of the data directory, or makes it anew from the journal.
fn open_index(dir: &DataDir, journal: &Journal) -> Result<Level, OpenError> {
    let path = dir.index();
    let existed = path.exists();
    let why = if existed {
        match SledStore::open(&path) {
            Ok(store) => match follow(Arc::new(store), journal, Expect::Head)? {
                Followed::Level(level) => return Ok(*level),
                Followed::Unusable(what) => what,
            },
            Err(StoreError::Damaged { what }) => what,
            Err(error) => return Err(error.into()),
        }
    } else {
        "there was none".to_owned()
    };
    if existed {
        let aside = move_aside(dir)?;
        tracing::warn!(
            reason = why,
            aside = %aside.display(),
            "Index moved aside and rebuilt from the journal; the old one can be deleted."
        );
    }
    match follow(Arc::new(SledStore::open(&path)?), journal, Expect::Anything)? {
        Followed::Level(level) => Ok(Level { rebuilt: Some(why), ..*level }),
        Followed::Unusable(what) => Err(StoreError::Damaged { what }.into()),
    }
}

fn move_aside(dir: &DataDir) -> Result<PathBuf, OpenError> {
    let from = dir.index();
    let failed = |what, source| OpenError::Io { what, path: from.clone(), source };
    let free = (0..ASIDE_MAX).map(|n| from.with_extension(format!("aside-{n}"))).find(|path| !path.exists());
    let aside = free.ok_or_else(|| failed("find a free name beside", io::ErrorKind::AlreadyExists.into()))?;
    fs::rename(&from, &aside).map_err(|source| failed("move aside", source))?;
    fs::File::open(dir.indexes())
        .and_then(|folder| folder.sync_all())
        .map_err(|source| failed("sync the folder of", source))?;
    Ok(aside)
}

/// Brings a store level with the journal, or says why it cannot be.
fn follow(store: Arc<dyn Store>, journal: &Journal, expect: Expect) -> Result<Followed, OpenError> {
    let start = Position { segment: 0, offset: SEGMENT_HEADER_BYTES };
    let (index, from, known) = match store.value(rows::HEAD_KEY) {
        Ok(None) if expect == Expect::Head => {
            // sled opens as an empty store after some kinds of damage.
            return Ok(Followed::Unusable("its head row is missing".to_owned()));
        }
        Ok(None) => (Index::new(), start, 0),
        Ok(Some(value)) => {
            let Some(head) = Head::parse(&value) else {
                return Ok(Followed::Unusable("its head row has another form".to_owned()));
            };
            if head.next > journal.end() {
                let journal_size = committed_size(&journal.reader(), start, journal.end())?;
                return Err(OpenError::JournalBehind { index_size: head.size, journal_size });
            }
            match Index::load(store.as_ref(), &head) {
                Ok(index) => (index, head.next, head.size),
                Err(StoreError::Damaged { what }) => return Ok(Followed::Unusable(what)),
                Err(error) => return Err(error.into()),
            }
        }
        Err(StoreError::Damaged { what }) => return Ok(Followed::Unusable(what)),
        Err(error) => return Err(error.into()),
    };
    let mut follower = Follower::new(store, index, from);
    let replayed = journal.reader().replay(from, journal.end(), |at, record| follower.take(at, record));
    match replayed.and_then(|()| follower.finish(journal.end())) {
        Ok(level) => check_checkpoint(level),
        // An index that knew nothing has nothing to disagree with: the journal itself is wrong.
        Err(OpenError::Damaged { what, .. }) if from != start => {
            let journal_size = committed_size(&journal.reader(), start, journal.end())?;
            if journal_size < known {
                return Err(OpenError::JournalBehind { index_size: known, journal_size });
            }
            Ok(Followed::Unusable(format!("the journal does not continue it: {what}")))
        }
        Err(OpenError::Store(StoreError::Damaged { what })) => Ok(Followed::Unusable(what)),
        Err(error) => Err(error),
    }
}

/// Entries the journal has sealed.
fn committed_size(reader: &JournalReader, from: Position, to: Position) -> Result<u64, OpenError> {
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
        log::root_at(&StoredTiles(level.store.as_ref()), row.size).map_err(crate::index::tile_error)
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

/// Applies journal records to an index.
struct Follower {
    store: Arc<dyn Store>,
    index: Index,
    sealed_size: u64,
    positions: Vec<Position>,
    rows: Vec<Row>,
    /// Rows of the newest checkpoints, by their keys.
    checkpoints: BTreeMap<Vec<u8>, Vec<u8>>,
    indexed_entries: u64,
    next: Position,
}

impl Follower {
    fn new(store: Arc<dyn Store>, index: Index, next: Position) -> Self {
        let sealed_size = index.size();
        let (positions, rows, checkpoints) = (Vec::new(), Vec::new(), BTreeMap::new());
        Self { store, index, sealed_size, positions, rows, checkpoints, indexed_entries: 0, next }
    }

    fn take(&mut self, at: Position, record: Record) -> Result<(), OpenError> {
        let damaged = |what| OpenError::Damaged { segment: at.segment, offset: at.offset, what };
        match record {
            Record::Entry(entry) => {
                let leaf = Leaf::parse(&entry.leaf).map_err(|_| damaged("a leaf has an unknown form"))?;
                // What the chain needs is readable, also of what was erased: no key is asked for here.
                let stored = Stored::parse(leaf.kind, entry.codec, &entry.stored)
                    .map_err(|_| damaged("a payload record has an unknown form"))?;
                let link = stored.link(leaf.kind).map_err(|EntryError(what)| damaged(what))?;
                if entry.index != self.index.size() {
                    return Err(damaged("an entry has another index than the one that follows"));
                }
                let added = self.index.add(&leaf, entry.leaf, link);
                added.map_err(|EntryError(what)| damaged(what))?;
                self.positions.push(at);
                self.indexed_entries += 1;
            }
            Record::Commit { size, root } => {
                if size != self.index.size() || Digest(root) != self.index.root() {
                    return Err(damaged(
                        "a commit does not state the size and root of the entries before it",
                    ));
                }
                self.seal(at)?;
            }
            Record::Checkpoint { note } => {
                let checkpoint = parse_note(&note).map_err(|_| damaged("a checkpoint is not a note"))?;
                let note = String::from_utf8(note).map_err(|_| damaged("a checkpoint is not text"))?;
                let Checkpoint { size, root, .. } = checkpoint;
                self.checkpoints.extend(CheckpointRow { size, root, at, note }.row());
            }
            Record::Continued { .. } => return Err(damaged("a segment goes on after its end")),
        }
        Ok(())
    }

    fn seal(&mut self, next: Position) -> Result<(), OpenError> {
        let positions = std::mem::take(&mut self.positions);
        self.rows.extend(self.index.take_rows(&positions, next));
        self.sealed_size = self.index.size();
        if self.rows.len() >= REBUILD_ROWS_MAX {
            self.store.apply(&std::mem::take(&mut self.rows))?;
        }
        Ok(())
    }

    /// Writes what is left and makes the index durable.
    fn finish(mut self, end: Position) -> Result<Level, OpenError> {
        if self.index.size() != self.sealed_size {
            let what = "entries without a commit lie before the end";
            return Err(OpenError::Damaged { segment: end.segment, offset: end.offset, what });
        }
        let moved = self.next != end;
        self.rows.extend(std::mem::take(&mut self.checkpoints));
        if moved {
            self.rows.push((rows::HEAD_KEY.to_vec(), self.index.head(end).encode()));
            self.store.apply(&self.rows)?;
            self.store.sync()?;
        }
        let parse = |value: Vec<u8>| {
            CheckpointRow::parse(&value)
                .ok_or_else(|| StoreError::Damaged { what: "its checkpoint row has no form".to_owned() })
        };
        let checkpoint = self.store.value(rows::CHECKPOINT_KEY)?.map(parse).transpose()?;
        let cosigned = self.store.value(rows::COSIGNED_KEY)?.map(parse).transpose()?;
        let Self { store, index, indexed_entries, .. } = self;
        Ok(Level { store, index, checkpoint, cosigned, indexed_entries, rebuilt: None })
    }
}

/// The head a note states, its signature not checked.
pub(crate) fn parse_note(note: &[u8]) -> Result<Checkpoint, NoteError> {
    let form = NoteError::Form("not text with signatures");
    let text = std::str::from_utf8(note).map_err(|_| form.clone())?;
    let (head, _) = text.split_once("\n\n").ok_or(form)?;
    Checkpoint::parse_text(&format!("{head}\n"))
}
