//! An open collector: data directory, ledger, book and authorities, with the writer running and nothing listening.
//!
//! The server and the commands beside a stopped server are the same thing with and without listeners.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use evidence::acts::Genesis;
use evidence::keys::SecretKey;
use evidence::leaf::Kind;
use evidence::note::VerifierKey;
use evidence::time::Clock;
use evidence::trust_domain::TrustDomain;

use crate::clock::{SimulatedClock, SystemClock};
use crate::config::{Config, ConfigError};
use crate::conflicts::Conflicts;
use crate::datadir::{DataDir, DataDirError};
use crate::denylist::Denylist;
use crate::identity::{Identities, IdentityError};
use crate::ledger::{Ledger, LedgerOptions, OpenError, OpenReport, ReadError, Unstarted};
use crate::log_key::{LogKey, LogKeyError, Rotation};
use crate::recover;
use crate::rollback::{Memory, RollbackError, mirror, require_memory};
use crate::secrets::{self, SecretError};
use crate::sequencer::{SequencerThread, WitnessOptions, WriterOptions};
use crate::state::{Book, ReplayError, State};
use crate::succession::SuccessionError;
use crate::witnesses::{Desk, Settings, SettingsError};

/// Why a collector could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The data directory.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// collector.toml.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A key.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The authorities.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The ledger.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The book.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// A restored old copy, or nothing that would notice one.
    #[error(transparent)]
    Rollback(#[from] RollbackError),
    /// What collector.toml says about witnesses.
    #[error(transparent)]
    Witnesses(#[from] SettingsError),
    /// What the log follows.
    #[error(transparent)]
    Succession(#[from] SuccessionError),
    /// The log's key.
    #[error(transparent)]
    LogKey(#[from] LogKeyError),
    /// Something set is wrong.
    #[error("{0}")]
    Setting(String),
    /// The list of conflicts could not be brought level with the log.
    #[error("the log could not be read: {0}")]
    Read(#[from] ReadError),
    /// The writer's thread.
    #[error("cannot start the writer: {0}")]
    Thread(std::io::Error),
}

/// An open collector.
pub struct Node {
    /// Where it lives.
    pub dir: Arc<DataDir>,
    /// What people set.
    pub config: Config,
    /// What its services share.
    pub state: Arc<State>,
    /// Its authorities.
    pub identities: Arc<Identities>,
    /// Whose keys are revoked.
    pub denylist: Arc<Denylist>,
    /// What opening the ledger found.
    pub report: OpenReport,
    /// Its witnesses, and the desk where they are asked; none without a quorum. Whoever serves asks them.
    pub witnesses: Option<(Settings, Arc<Desk>)>,
    /// The change of the log's key that it was opened for.
    pub rotation: Option<Arc<Rotation>>,
    writer: SequencerThread,
}

/// By which clock a collector runs.
enum Time {
    System,
    Simulated(Arc<SimulatedClock>),
    #[cfg(feature = "failpoints")]
    Test(Arc<dyn Clock>),
}

impl Node {
    /// Opens the collector at `path` and starts its writer, unless this is an old copy of the log, or nothing would show
    /// that it is, or time in it is simulated. `progress` is told how many entries were read.
    pub fn open(path: &Path, progress: impl FnMut(u64)) -> Result<Self, NodeError> {
        Self::open_by(path, Time::System, None, progress)
    }

    /// As [`Node::open`], for a log whose genesis says that its time is simulated, and for no other. `clock` is advanced to
    /// the newest entry, and afterwards by the caller alone.
    pub fn open_simulated(
        path: &Path,
        clock: Arc<SimulatedClock>,
        progress: impl FnMut(u64),
    ) -> Result<Self, NodeError> {
        Self::open_by(path, Time::Simulated(clock), None, progress)
    }

    /// As [`Node::open`], by a clock of a test: quarters end slowly.
    #[cfg(feature = "failpoints")]
    pub fn open_at(path: &Path, clock: Arc<dyn Clock>, progress: impl FnMut(u64)) -> Result<Self, NodeError> {
        Self::open_by(path, Time::Test(clock), None, progress)
    }

    /// As [`Node::open`], to change the log's key: the next one is made, unless an earlier attempt made it.
    pub fn open_to_rotate(
        path: &Path,
        overlap_days: u64,
        progress: impl FnMut(u64),
    ) -> Result<Self, NodeError> {
        Self::open_by(path, Time::System, Some(overlap_days), progress)
    }

    fn open_by(
        path: &Path,
        time: Time,
        rotate: Option<u64>,
        progress: impl FnMut(u64),
    ) -> Result<Self, NodeError> {
        let dir = Arc::new(DataDir::open(path)?);
        let config = Config::read(&dir.configuration())?;
        let mut memory = require_memory(dir.path(), &config)?;
        let trust_domain: TrustDomain = config
            .trust_domain
            .parse()
            .map_err(|_| NodeError::Setting("trust_domain is no DNS name".into()))?;
        let operations = secrets::signing_key(&dir.keys().join("operations.key"))?;
        let options = LedgerOptions {
            segment_bytes: config.segment_bytes,
            journal_segments_kept: config.journal_segments_kept,
            ..LedgerOptions::default()
        };
        let (ledger, mut unstarted) = Ledger::open(Arc::clone(&dir), &options)?;
        let report = std::mem::take(&mut unstarted.report);
        let book = Arc::new(RwLock::new(Book::replay(&config.origin, &ledger, progress)?));
        let (genesis, log_keys, authorities) = {
            let book = book.read().unwrap_or_else(PoisonError::into_inner);
            let roster = book.authority.roster();
            let authorities = roster.authorities();
            (roster.genesis().cloned(), authorities.log_keys().to_vec(), authorities.clone())
        };
        let fits = |genesis: &Genesis| genesis.operations_key == *operations.public();
        let Some(genesis) = genesis.filter(fits) else {
            return Err(NodeError::Setting("the keys in keys/ are not those of this log's genesis".into()));
        };
        let identities = Arc::new(Identities::open(&dir, &trust_domain, &authorities, SystemClock.now())?);
        // A device's word and a simulated one must not meet in one log.
        let clock: Arc<dyn Clock> = match (time, genesis.simulated) {
            (Time::System, false) => Arc::new(SystemClock),
            #[cfg(feature = "failpoints")]
            (Time::Test(clock), false) => clock,
            (Time::Simulated(clock), true) => {
                clock.advance(ledger.snapshot().received);
                clock
            }
            (_, true) => {
                let what =
                    "time in this log is simulated: only a simulation writes to it, no server and no command";
                return Err(NodeError::Setting(what.into()));
            }
            (Time::Simulated(_), false) => {
                let what = "time in this log is real: a simulation needs one made by `init --simulated`";
                return Err(NodeError::Setting(what.into()));
            }
        };
        let mut log_key = LogKey::open(&dir, &ledger, &log_keys, clock.now())?;
        let log_keys: Vec<VerifierKey> = log_keys.into_iter().map(|(_, key)| key).collect();
        let rotation = rotate.map(|days| log_key.prepare(&dir, days)).transpose()?;
        let changes = std::mem::take(&mut log_key.changes);
        // Sets print what the genesis says: an acceptance they do not print would be a secret one.
        if config.accept_rollback_blindness && !genesis.accept_rollback_blindness {
            return Err(RollbackError::AcceptedLater.into());
        }
        let tls_clock = Arc::new(certs::SystemClock(clock.clone()));
        let settings = Settings::read(dir.path(), &config, &log_keys, tls_clock)?;
        let policy_text = settings.as_ref().map(|settings| settings.text.clone());
        let settings = settings.filter(|settings| settings.policy.has_quorum());
        if memory == Memory::Witnesses && settings.is_none() {
            if config.mirror.is_none() {
                return Err(RollbackError::NoQuorum.into());
            }
            memory = Memory::Mirror;
        }
        let witnesses = settings.map(|settings| {
            let desk = Arc::new(Desk::new(settings.policy.clone()));
            (settings, desk)
        });
        let witnessed = witnesses.as_ref().map(|(settings, desk)| (settings, desk, memory));
        let mut writer = writer_options(&dir, &config, log_key.key, clock.clone(), witnessed);
        writer.beside = log_key.beside;
        writer.earlier_keys = log_keys.split_last().map(|(_, earlier)| earlier.to_vec()).unwrap_or_default();
        // An old copy takes nothing in: whoever was answered by it would hold entries that the log cannot have.
        gate(&dir, &config, memory, &unstarted, &writer)?;
        let denylist = Arc::new(Denylist::default());
        {
            let book = book.read().unwrap_or_else(PoisonError::into_inner);
            // The receipt only dates the entry of a list; one that cannot be read now does not keep anybody in.
            let received = |index| ledger.leaf(index).map_or_else(|_| clock.now(), |leaf| leaf.received);
            denylist.follow(book.authority.roster(), received);
        }
        let ended = Arc::clone(&book);
        writer.ended = Box::new(move |instance| {
            let book = ended.read().unwrap_or_else(PoisonError::into_inner);
            book.authority.roster().instance(instance).and_then(|record| record.ended)
        });
        let (kept, cut) = (Arc::clone(&book), Arc::clone(&denylist));
        writer.observer = Box::new(move |committed| {
            let mut book = kept.write().unwrap_or_else(PoisonError::into_inner);
            let taken = book.take(committed);
            drop(book);
            if committed.leaf.kind == Kind::REVOKE {
                let book = kept.read().unwrap_or_else(PoisonError::into_inner);
                cut.follow(book.authority.roster(), |_| committed.leaf.received);
            }
            if let Err(error) = taken {
                // Admission asked the same question just before; a different answer means broken memory.
                tracing::error!(index = committed.index, error = %error, "A committed entry does not fit the book.");
                std::process::abort();
            }
        });
        let (sequencer, thread) = unstarted.start(writer).map_err(NodeError::Thread)?;
        let conflicts = Conflicts::open(dir.conflicts(), &ledger)?;
        let state = State::new(ledger, sequencer, clock, book, trust_domain.as_str(), log_keys, operations);
        let state =
            state.with_witness_policy(policy_text).with_conflicts(conflicts).with_log_key_changes(changes);
        let state = Arc::new(state);
        Ok(Self { dir, config, state, identities, denylist, report, witnesses, rotation, writer: thread })
    }

    /// Stops the writer after everything submitted, with a last checkpoint.
    pub fn close(self) {
        self.writer.stop();
    }
}

/// Refuses a copy of the log that is not its newest, as far as anything shows it: a recovery that is not finished, the
/// high-water mark, the mirror. Witnesses are asked later.
pub(crate) fn gate(
    dir: &DataDir,
    config: &Config,
    memory: Memory,
    unstarted: &Unstarted,
    writer: &WriterOptions,
) -> Result<(), RollbackError> {
    let (ledger, newest) = (&unstarted.ledger, unstarted.checkpoint_size());
    recover::check_finished(dir, ledger, newest).map_err(RollbackError::OldCopy)?;
    unstarted.check_high_water(writer).map_err(RollbackError::OldCopy)?;
    let Some(folder) = &config.mirror else { return Ok(()) };
    let log = writer.log_keys().map_err(|error| RollbackError::OldCopy(error.to_string()))?;
    mirror::check(folder, ledger, newest, &log, memory == Memory::Mirror)
}

/// What collector.toml says to the writer. `witnesses`: where there is a quorum, with what else remembers the log.
pub(crate) fn writer_options(
    dir: &DataDir,
    config: &Config,
    log_key: SecretKey,
    clock: Arc<dyn Clock>,
    witnesses: Option<(&Settings, &Arc<Desk>, Memory)>,
) -> WriterOptions {
    let mut writer = WriterOptions::new(&config.origin, log_key, clock, high_water(dir, config));
    writer.accept_rollback_blindness = config.accept_rollback_blindness;
    writer.witnesses = witnesses.map(|(settings, desk, memory)| WitnessOptions {
        desk: Arc::clone(desk),
        mark_suffices: memory != Memory::Witnesses,
        recosign_interval: settings.recosign_interval,
    });
    writer.checkpoint_interval = Duration::from_millis(config.checkpoint_interval_ms);
    writer.free_bytes_min = config.free_bytes_min;
    writer
}

/// Where the high-water mark lies.
pub(crate) fn high_water(dir: &DataDir, config: &Config) -> PathBuf {
    config.high_water.clone().unwrap_or_else(|| dir.high_water())
}
