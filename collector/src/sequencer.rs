//! The sequencer: one thread that orders, stores, answers and signs. Everything that is written passes here.
//!
//! # Order of commitments
//!
//! 1. The waiting submissions are formed into a group: indexes, times, salts, leaves, the new root.
//!    *Crash: nothing of them exists, nobody was told anything.*
//!    Data keys that it needs and that are new are written and synced before anything is written under them.
//! 2. The group and its commit record are written to the journal. *Crash: cut at the next open, or kept if whole.*
//! 3. The journal is synced (`fdatasync`): the entries are durable.
//!    *Crash: the entries exist; the index catches up at the next open; a retry gets the same answer.*
//! 4. Readers see the entries, in memory and the journal. *Crash: as 3.*
//! 5. Followers are called, then the submitters are answered. *Crash: answered entries are in the journal.*
//! 6. The indexer is told; it follows in a thread of its own, see [`crate::indexer`]. *Crash: as 3.*
//! 7. At most once per interval: the leaves since the last checkpoint are read back from the journal and hashed again,
//!    the consistency proof from the last checkpoint is verified, the new one is signed. *Crash: nothing is lost.*
//! 8. The checkpoint is appended to the journal and synced. *Crash: a prefix of the log that nobody has seen yet.*
//! 9. The high-water mark is replaced, then the checkpoint is published. *Crash: published at the next start.*
//!
//! With a quorum of witnesses they come between: nothing is signed before they were compared with at start, 9 hands the
//! checkpoint to them instead, and no further one is signed until
//!
//! 10. the quorum has cosigned it: the note with their lines is appended to the journal and synced.
//!     *Crash: asked about again at the next start.*
//! 11. It is published. *Crash: published at the next start.*
//!
//! So an answer implies 3, a published checkpoint implies 8, and 10 where there is a quorum, and the high-water mark is
//! never behind what anybody has seen, a witness included. An error in 2 or 3, or of the indexer, leaves the state of the
//! disk unknown: the `fatal` handler ends the process and the next start recovers. `failpoints` names the places between.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use evidence::envelope::Envelope;
use evidence::ids::{Digest, InstanceId};
use evidence::keys::SecretKey;
use evidence::leaf::{Kind, Leaf, SALT_BYTES, Stream};
use evidence::note::{NoteError, VerifierKey};
use evidence::statement::{Statement, StatementError};
use evidence::time::{Clock, Timestamp};
use tokio::sync::oneshot;

use crate::index::DeviceLink;
use crate::ledger::Unstarted;
use crate::log_key::Beside;
use crate::store::rows::StreamHead;

mod checkpoints;
pub mod high_water;
mod pool;
mod read_back;
#[cfg(test)]
mod tests;
mod witnessed;
mod writer;

pub(crate) use pool::{COMMIT_BYTES, ENTRY_OVERHEAD_BYTES, genesis_group};
pub(crate) use witnessed::meets;
pub use witnessed::{RECOSIGN_INTERVAL_DEFAULT, WitnessOptions};

/// Submissions waiting at most; more are told to come back.
pub const QUEUE_MAX_DEFAULT: usize = 4096;
/// Entries of a group at most: beyond this a larger group gains nothing (measured with sled).
pub const GROUP_ENTRIES_MAX_DEFAULT: usize = 512;
/// Bytes of a group at most: bounds the time of one sync.
pub const GROUP_BYTES_MAX_DEFAULT: u64 = 8 * 1024 * 1024;
/// Time between checkpoints at least.
pub const CHECKPOINT_INTERVAL_DEFAULT: Duration = Duration::from_secs(1);
/// Free space below which nothing is taken in, bytes: sled cannot be opened on a full disk.
pub const FREE_BYTES_MIN_DEFAULT: u64 = 256 * 1024 * 1024;
/// How far the clock may lie behind the newest entry before signing stops, milliseconds.
pub const CLOCK_STEP_BACK_MS_MAX: u64 = 5_000;
/// How far the clock may be from the median of the witnesses' times before signing stops, milliseconds.
pub const CLOCK_APART_MS_MAX: u64 = 60_000;

/// Fills 32 bytes with fresh randomness.
pub type Random = Box<dyn FnMut(&mut [u8; 32]) -> io::Result<()> + Send>;
/// Why an act was refused by its builder: a type of the builder's own.
pub type Refusal = Box<dyn std::error::Error + Send + Sync>;
/// Looks at the state just before its entries are appended, and gives the entries or refuses.
pub type ActBuilder = Box<dyn FnOnce(&Context) -> Result<Vec<NewEntry>, Refusal> + Send>;
/// Called for each committed entry, in order, before anybody is answered and before the next act is built.
pub type Observer = Box<dyn FnMut(&Committed) + Send>;
/// Called once when the durable state is unknown. It must end the process; if it returns, the sequencer stops.
pub type Fatal = Box<dyn Fn(&str) + Send>;

/// What the sequencer needs from outside.
pub struct WriterOptions {
    /// Origin of the log: name of the log key.
    pub origin: String,
    /// Signs checkpoints, and nothing else.
    pub log_key: SecretKey,
    /// Sign beside it, each for its time.
    pub beside: Vec<Beside>,
    /// Keys that signed before it: what lies in the journal may be by one of them.
    pub earlier_keys: Vec<VerifierKey>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Salts.
    pub random: Random,
    /// Follows the log.
    pub observer: Observer,
    /// Ends the process.
    pub fatal: Fatal,
    /// File of the high-water mark, on another file system where there is one.
    pub high_water: PathBuf,
    /// Sign although the high-water mark is missing. Nothing then shows that an old copy was restored.
    pub accept_rollback_blindness: bool,
    /// Who must cosign before anything is published; none without a quorum.
    pub witnesses: Option<WitnessOptions>,
    /// Submissions waiting at most.
    pub queue_max: usize,
    /// Entries of a group at most.
    pub group_entries_max: usize,
    /// Bytes of a group at most.
    pub group_bytes_max: u64,
    /// Time between checkpoints at least.
    pub checkpoint_interval: Duration,
    /// Time between two parts of the journal being read back ahead of the next checkpoint.
    pub read_back_interval: Duration,
    /// Free space below which nothing is taken in, bytes.
    pub free_bytes_min: u64,
}

impl WriterOptions {
    /// Every key of the log, the one that signs now last.
    pub(crate) fn log_keys(&self) -> Result<Vec<VerifierKey>, NoteError> {
        let current = VerifierKey::new(&self.origin, *self.log_key.public())?;
        Ok(self.earlier_keys.iter().cloned().chain([current]).collect())
    }

    /// Options with the default limits, the system's randomness, no follower, and `abort` as the end.
    pub fn new(origin: &str, log_key: SecretKey, clock: Arc<dyn Clock>, high_water: PathBuf) -> Self {
        Self {
            origin: origin.to_owned(),
            log_key,
            beside: Vec::new(),
            earlier_keys: Vec::new(),
            clock,
            random: system_random(),
            observer: Box::new(|_| {}),
            fatal: Box::new(|reason| {
                tracing::error!(reason, "Durable state unknown; stopping, the next start recovers.");
                std::process::abort()
            }),
            high_water,
            accept_rollback_blindness: false,
            witnesses: None,
            queue_max: QUEUE_MAX_DEFAULT,
            group_entries_max: GROUP_ENTRIES_MAX_DEFAULT,
            group_bytes_max: GROUP_BYTES_MAX_DEFAULT,
            checkpoint_interval: CHECKPOINT_INTERVAL_DEFAULT,
            read_back_interval: read_back::READ_BACK_INTERVAL_DEFAULT,
            free_bytes_min: FREE_BYTES_MIN_DEFAULT,
        }
    }
}

/// The operating system's randomness.
pub fn system_random() -> Random {
    Box::new(|bytes| getrandom::fill(bytes).map_err(|error| io::Error::other(error.to_string())))
}

/// An admitted device statement, ready to be ordered.
#[derive(Debug, Clone)]
pub struct Device {
    pub(crate) kind: Kind,
    pub(crate) link: DeviceLink,
    pub(crate) payload: Vec<u8>,
}

impl Device {
    /// The statement of an envelope that was admitted: this checks its form, not its signature.
    pub fn new(envelope: &Envelope) -> Result<Self, StatementError> {
        Ok(Self::of(&envelope.claimed()?, envelope))
    }

    /// As [`Device::new`], for a caller that has read the statement.
    pub fn of(statement: &Statement, envelope: &Envelope) -> Self {
        let link = DeviceLink::of(statement, envelope);
        Self { kind: statement.kind(), link, payload: envelope.bytes().to_vec() }
    }
}

/// What became of a device statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is durable, now or since an earlier submission of the same bytes.
    Stored(Stored),
    /// It contradicts what this key said before: other bytes for a used sequence, or another `previous`.
    Forked {
        /// Its sequence.
        sequence: u64,
        /// Index of the statement it contradicts; none if it contradicts that there is none.
        known_index: Option<u64>,
        /// The envelope that was not stored, for the conflict record.
        envelope: Vec<u8>,
    },
    /// Its anchor is older than the one the statement before it names, or is gone.
    AnchorShrinks {
        /// Its sequence.
        sequence: u64,
        /// Size of the anchor before it.
        before: u64,
    },
    /// It comes too early; this sequence is next.
    Expect(u64),
    /// An admitted gap declared this sequence destroyed.
    Lost {
        /// Its sequence.
        sequence: u64,
    },
}

/// The answer that a statement is durable; the agent recomputes the leaf from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Its sequence.
    pub sequence: u64,
    /// Its index in the log.
    pub index: u64,
    /// When it was received.
    pub received: Timestamp,
    /// Salt of its commitment.
    pub salt: [u8; SALT_BYTES],
}

/// An entry an act appends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEntry {
    /// Stream and kind; never a device statement.
    pub kind: Kind,
    /// The act's envelope, or a detail record.
    pub payload: Vec<u8>,
    /// The device instance that an entry of stream 0 is about: its payload is sealed, and erased, with the instance's.
    pub instance: Option<InstanceId>,
}

impl NewEntry {
    /// An entry of streams 1 to 4.
    pub fn new(kind: Kind, payload: Vec<u8>) -> Self {
        Self { kind, payload, instance: None }
    }
}

/// The state that an act is appended to: nothing can come between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context {
    /// `received_ms` of the entries to come.
    pub received: Timestamp,
    /// Index of the first of them: the size of the log.
    pub next_index: u64,
    /// Heads of streams 1 to 4, in this order.
    pub streams: [StreamHead; 4],
}

impl Context {
    /// Head of one of the streams 1 to 4; empty for stream 0.
    pub fn head(&self, stream: Stream) -> StreamHead {
        let place = Stream::CHAINED.iter().position(|chained| *chained == stream);
        place.and_then(|place| self.streams.get(place)).copied().unwrap_or_default()
    }
}

/// An entry an act appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Its index in the log.
    pub index: u64,
    /// Its leaf: kind, time, commitment, place in the stream.
    pub leaf: Leaf,
    /// Its leaf hash.
    pub leaf_hash: Digest,
    /// Salt of its commitment.
    pub salt: [u8; SALT_BYTES],
}

/// An entry that has just become durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// Its index in the log.
    pub index: u64,
    /// Its leaf.
    pub leaf: Leaf,
    /// Salt of its commitment.
    pub salt: [u8; SALT_BYTES],
    /// Its payload.
    pub payload: Vec<u8>,
}

/// Why nothing was stored. Whoever submitted keeps the bytes.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// The queue is full: come back later.
    #[error("the collector is busy; try again later")]
    Busy,
    /// The sequencer has stopped.
    #[error("the collector is stopping; try again later")]
    Stopped,
    /// The disk is nearly full. Nothing acknowledged is lost, and reading goes on.
    #[error("the collector's disk is nearly full ({what}); nothing more is taken in until there is room")]
    Full {
        /// What there is and what is needed.
        what: String,
    },
    /// The payload or the group is longer than the limits allow.
    #[error("{bytes} bytes are more than the {bytes_max} that fit")]
    TooLarge {
        /// Length met, bytes.
        bytes: u64,
        /// Length allowed, bytes.
        bytes_max: u64,
    },
    /// An act may not append an entry of this kind.
    #[error("an act cannot append an entry of kind {0}")]
    Kind(Kind),
    /// The act's builder refused.
    #[error("refused: {0}")]
    Refused(#[source] Refusal),
    /// Something the sequencer needs did not work this time.
    #[error("could not be stored: {0}")]
    Unavailable(String),
}

/// What a device submission is answered.
pub type DeviceAnswer = Result<Outcome, SubmitError>;
/// What an act is answered: its entries, in order.
pub type ActAnswer = Result<Vec<Appended>, SubmitError>;

enum Job {
    Device(Device, oneshot::Sender<DeviceAnswer>),
    Act(ActBuilder, oneshot::Sender<ActAnswer>),
    /// Something may lie on the witnesses' desk.
    Look,
    Stop,
}

/// Takes submissions; cheap to clone. A dropped receiver of an answer changes nothing; an answer that never comes means
/// [`SubmitError::Stopped`].
#[derive(Clone)]
pub struct Sequencer {
    queue: SyncSender<Job>,
}

impl Sequencer {
    /// Submits an admitted statement. Statements of one instance are ordered as submitted.
    pub fn submit(&self, device: Device) -> Result<oneshot::Receiver<DeviceAnswer>, SubmitError> {
        let (answer, receiver) = oneshot::channel();
        self.send(Job::Device(device, answer))?;
        Ok(receiver)
    }

    /// Submits an act: `build` runs in the sequencer, against the state its entries will follow.
    pub fn act(&self, build: ActBuilder) -> Result<oneshot::Receiver<ActAnswer>, SubmitError> {
        let (answer, receiver) = oneshot::channel();
        self.send(Job::Act(build, answer))?;
        Ok(receiver)
    }

    /// Has the writer look at what witnesses have answered. A writer with a full queue looks by itself.
    pub fn look(&self) {
        drop(self.queue.try_send(Job::Look));
    }

    fn send(&self, job: Job) -> Result<(), SubmitError> {
        self.queue.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => SubmitError::Busy,
            TrySendError::Disconnected(_) => SubmitError::Stopped,
        })
    }
}

/// The running thread.
pub struct SequencerThread {
    queue: SyncSender<Job>,
    thread: JoinHandle<()>,
}

impl SequencerThread {
    /// Stops after what was submitted before, with a last checkpoint, and waits for it.
    pub fn stop(self) {
        // A queue without a reader means that the thread has ended already.
        drop(self.queue.send(Job::Stop));
        drop(self.thread.join());
    }

    /// True once the thread has ended, for instance after the `fatal` handler returned.
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }
}

impl Unstarted {
    /// Compares the journal's newest checkpoint with the high-water mark: why this copy of the log must not go on, if it
    /// must not. [`Unstarted::start`] asks the same, and then signs nothing.
    pub fn check_high_water(&self, options: &WriterOptions) -> Result<(), String> {
        checkpoints::check_high_water(&self.ledger, options, self.checkpoint_size())
    }

    /// Entries of the newest checkpoint here; 0 without one.
    pub fn checkpoint_size(&self) -> u64 {
        self.checkpoint.as_ref().map_or(0, |row| row.size)
    }

    /// Starts the sequencer. The newest checkpoint of the journal is published first, if signing is allowed.
    pub fn start(self, options: WriterOptions) -> io::Result<(Sequencer, SequencerThread)> {
        let (queue, jobs) = sync_channel(options.queue_max.max(1));
        let mut writer = writer::Writer::new(self, options)?;
        let thread =
            std::thread::Builder::new().name("sequencer".to_owned()).spawn(move || writer.run(&jobs))?;
        Ok((Sequencer { queue: queue.clone() }, SequencerThread { queue, thread }))
    }
}
