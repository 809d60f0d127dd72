//! Making the ledger, and opening it after whatever happened.
//!
//! The journal rules. The index is compared with it and, when it is lost, damaged or behind, rebuilt from it, or from
//! the public tree and the payload bundles where the journal does not reach back; an index that is ahead means that the
//! journal lost acknowledged entries, and then nothing is opened or changed.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use evidence::ids::Digest;
use evidence::leaf::{CODEC_PLAIN, Kind};
use evidence::merkle::empty_root;
use evidence::note::{Checkpoint, NoteError};
use tokio::sync::watch;

use super::replay::{Followed, Level, follow};
use super::{Ledger, LedgerTiles, Shared, Signing, Snapshot};
use crate::data_keys::{DataKeyError, DataKeys};
use crate::datadir::DataDir;
use crate::epochs::{EPOCH_LEAVES_DEFAULT, Epochs, MemoryEpochs, SledEpochs};
use crate::index::Index;
use crate::indexer::{Indexer, IndexerThread};
use crate::journal::{Io, Journal, JournalError, Record, Recovery, SEGMENT_BYTES_DEFAULT, SystemIo};
use crate::notes::Keeper;
use crate::payload_bundles::PayloadBundles;
use crate::sequencer::{self, Random, Refusal, high_water};
use crate::store::StoreError;
use crate::store::rows::{self, CheckpointRow, Head};
use crate::tree::Folder;

/// Damaged indexes kept aside at most, so that names can be tried in order.
const ASIDE_MAX: u32 = 1000;
/// Journal segments kept although nothing needs them: a quarter of a gigabyte for people who look for what happened.
pub const JOURNAL_SEGMENTS_KEPT_DEFAULT: u64 = 4;

/// What making or opening a ledger needs from outside.
#[derive(Clone)]
pub struct LedgerOptions {
    /// Length of new journal segments, bytes.
    pub segment_bytes: u64,
    /// The system calls of the journal.
    pub io: Arc<dyn Io>,
    /// Leaves of an epoch of the index. It cannot be changed once a log has more than one.
    pub epoch_leaves: u64,
    /// Full journal segments kept although nothing needs them.
    pub journal_segments_kept: u64,
}

impl Default for LedgerOptions {
    fn default() -> Self {
        Self {
            segment_bytes: SEGMENT_BYTES_DEFAULT,
            io: Arc::new(SystemIo),
            epoch_leaves: EPOCH_LEAVES_DEFAULT,
            journal_segments_kept: JOURNAL_SEGMENTS_KEPT_DEFAULT,
        }
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
    /// Neither the journal nor the bundles hold what the index lacks.
    #[error(
        "entries {from} to {to} are neither in the index nor in the journal nor in the bundles of `tree` and `payload`: \
         restore these folders from a copy; nothing was changed"
    )]
    Nowhere {
        /// The first of them.
        from: u64,
        /// The last of them.
        to: u64,
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
    dir: Arc<DataDir>,
    segments_kept: u64,
    /// What opening found.
    pub report: OpenReport,
}

impl Unstarted {
    /// Starts the thread that keeps the index level.
    pub(crate) fn start_indexer(&self) -> io::Result<IndexerThread> {
        let mut bundles = PayloadBundles::new(&self.dir.payloads());
        bundles.prepare()?;
        let keeper = Keeper::new(self.ledger.clone(), &self.dir.notes())?;
        let indexer = Indexer::new(self.ledger.clone(), bundles, keeper, self.segments_kept);
        IndexerThread::start(indexer.map_err(io::Error::other)?)
    }
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
        let opened = open_index(&dir, &journal, options)?;
        let keys = open_keys(&dir, options, &journal, &opened)?;
        Self::assemble(dir, options, (journal, recovery), opened, keys)
    }

    /// As [`Ledger::open`], with an index in memory that is made from the journal each time.
    pub fn open_in_memory(
        dir: Arc<DataDir>,
        options: &LedgerOptions,
    ) -> Result<(Self, Unstarted), OpenError> {
        let (journal, recovery) =
            Journal::open(&dir.journal(), options.segment_bytes, Arc::clone(&options.io))?;
        let epochs = Epochs::open(Box::new(MemoryEpochs::default()), options.epoch_leaves)?;
        begin_first(&epochs, &journal)?;
        let opened = match follow(epochs, &journal, &dir)? {
            Followed::Level(opened) => *opened,
            Followed::Unusable(what) => return Err(StoreError::Damaged { what }.into()),
        };
        let keys = open_keys(&dir, options, &journal, &opened)?;
        Self::assemble(dir, options, (journal, recovery), opened, keys)
    }

    fn assemble(
        dir: Arc<DataDir>,
        options: &LedgerOptions,
        (journal, recovery): (Journal, Recovery),
        opened: Level,
        keys: Arc<DataKeys>,
    ) -> Result<(Self, Unstarted), OpenError> {
        let Level { epochs, tail, index, checkpoint, cosigned, recent, indexed_entries, rebuilt } = opened;
        let snapshot = Snapshot {
            size: index.size(),
            root: index.root(),
            received: index.received(),
            streams: index.streams(),
        };
        let shared = Shared {
            epochs,
            tail,
            memo: super::memo::Memo::default(),
            journal: journal.reader(),
            keys,
            recent: Mutex::new(recent),
            kept_notes: Folder::private(&dir.notes()),
            tree_size: std::sync::atomic::AtomicU64::new(0),
            indexer: Arc::default(),
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
        let segments_kept = options.journal_segments_kept;
        let ledger_too = ledger.clone();
        let unstarted = Unstarted {
            ledger: ledger_too,
            journal,
            index,
            checkpoint,
            cosigned,
            dir,
            segments_kept,
            report,
        };
        Ok((ledger, unstarted))
    }
}

/// An index that is level with the journal, for whoever needs neither the data keys nor a sequencer.
pub(crate) struct LevelIndex(Level);

impl LevelIndex {
    /// Entries of the log.
    pub(crate) fn size(&self) -> u64 {
        self.0.index.size()
    }

    /// Root over the first `size` of them.
    pub(crate) fn root_at(&self, size: u64) -> Result<Digest, StoreError> {
        let tiles = LedgerTiles { epochs: &self.0.epochs, tail: &self.0.tail, memo: None };
        crate::log::root_at(&tiles, size).map_err(crate::index::tile_error)
    }
}

/// Brings the index of a data directory level with its journal, or makes it.
pub(crate) fn level_index(dir: &DataDir, options: &LedgerOptions) -> Result<LevelIndex, OpenError> {
    let (journal, _) = Journal::open(&dir.journal(), options.segment_bytes, Arc::clone(&options.io))?;
    Ok(LevelIndex(open_index(dir, &journal, options)?))
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
    let codec = match opened.index.size().checked_sub(1) {
        None => CODEC_PLAIN,
        Some(newest) => {
            let tail = opened.tail.read().unwrap_or_else(PoisonError::into_inner);
            match tail.entry(newest).map(|entry| entry.position) {
                Some(at) => match journal.reader().record(at)? {
                    Record::Entry(entry) => entry.codec,
                    _ => CODEC_PLAIN,
                },
                None => opened.epochs.payload(newest)?.0,
            }
        }
    };
    if codec == CODEC_PLAIN && !DataKeys::exist(&folder) {
        DataKeys::create(&keys, &folder, &mut sequencer::system_random())?;
    }
    Ok(Arc::new(DataKeys::open(&keys, &folder, Arc::clone(&options.io))?))
}

/// The head row of a log of which nothing is indexed: a store that is begun and has none is damaged.
fn begin_first(epochs: &Epochs, journal: &Journal) -> Result<(), OpenError> {
    let next = journal.reader().first()?;
    let head = Head { size: 0, root: empty_root(), received: evidence::time::Timestamp(0), next };
    epochs.apply(&[(rows::HEAD_KEY.to_vec(), head.encode())])?;
    Ok(epochs.sync()?)
}

/// Opens the index of the data directory, or makes what is lost or damaged of it anew.
fn open_index(dir: &DataDir, journal: &Journal, options: &LedgerOptions) -> Result<Level, OpenError> {
    let sled = SledEpochs::new(&dir.indexes());
    let mut rebuilt = None;
    loop {
        let existed = sled.path(0).exists();
        let opened = Epochs::open(Box::new(sled.clone()), options.epoch_leaves);
        let why = match opened {
            Ok(epochs) => {
                if !existed {
                    begin_first(&epochs, journal)?;
                    rebuilt.get_or_insert_with(|| "there was none".to_owned());
                }
                match follow(epochs, journal, dir)? {
                    Followed::Level(level) => return Ok(Level { rebuilt, ..*level }),
                    Followed::Unusable(what) => what,
                }
            }
            Err(StoreError::Damaged { what }) => what,
            Err(error) => return Err(error.into()),
        };
        let aside = move_aside(dir, &sled)?;
        tracing::warn!(
            reason = why,
            aside = %aside.display(),
            "Newest epoch of the index moved aside and made anew; the old one can be deleted."
        );
        rebuilt = Some(why);
    }
}

/// Moves the newest epoch out of the way.
fn move_aside(dir: &DataDir, sled: &SledEpochs) -> Result<PathBuf, OpenError> {
    use crate::epochs::StoreMaker as _;
    let newest = sled.epochs()?.last().copied().unwrap_or(0);
    let from = sled.path(newest);
    let failed = |what, source| OpenError::Io { what, path: from.clone(), source };
    let free = (0..ASIDE_MAX).map(|n| from.with_extension(format!("aside-{n}"))).find(|path| !path.exists());
    let aside = free.ok_or_else(|| failed("find a free name beside", io::ErrorKind::AlreadyExists.into()))?;
    fs::rename(&from, &aside).map_err(|source| failed("move aside", source))?;
    fs::File::open(dir.indexes())
        .and_then(|folder| folder.sync_all())
        .map_err(|source| failed("sync the folder of", source))?;
    Ok(aside)
}

/// The head a note states, its signature not checked.
pub(crate) fn parse_note(note: &[u8]) -> Result<Checkpoint, NoteError> {
    let form = NoteError::Form("not text with signatures");
    let text = std::str::from_utf8(note).map_err(|_| form.clone())?;
    let (head, _) = text.split_once("\n\n").ok_or(form)?;
    Checkpoint::parse_text(&format!("{head}\n"))
}
