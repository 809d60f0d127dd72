//! What the running collector knows: the ledger, the one writer, and the book kept from what was committed.
//!
//! The book is a fold over the log: whoever replays the entries comes to the same one.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use evidence::acts::{Act, ActId, Body, Head, Heads};
use evidence::erasure::Scope;
use evidence::ids::Digest;
use evidence::keys::SecretKey;
use evidence::leaf::{Kind, Stream};
use evidence::note::VerifierKey;
use evidence::time::{Clock, Timestamp};
use evidence::trust::Trust;

use crate::conflicts::Conflicts;
use crate::data_keys::DataKeyError;
use crate::failpoints;
use crate::ledger::{Ledger, Published, ReadError};
use crate::log_key::Changed;
use crate::reload::Reload;
use crate::sequencer::{Context, NewEntry, Sequencer, SubmitError};

mod book;

pub use book::{ACCESS_DAYS_KEPT, Book, ReplayError};

/// Longest wait for a checkpoint to cover an entry: signing is due every second.
const CHECKPOINT_WAIT: Duration = Duration::from_secs(30);
/// Largest detail record, in bytes: a name, a reason, or a device's hardware facts.
pub const DETAIL_BYTES_MAX: usize = 16_384;

/// A personal or device detail that goes into the log beside an act, erasable.
#[derive(Debug, Clone)]
pub struct Detail {
    /// 32 random bytes.
    pub random: [u8; 32],
    /// The detail.
    pub bytes: Vec<u8>,
}

impl Detail {
    /// The detail record: random ‖ detail.
    pub fn record(&self) -> Vec<u8> {
        let mut record = self.random.to_vec();
        record.extend_from_slice(&self.bytes);
        record
    }

    /// SHA-256 of the record: how a payload names it.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.record())
    }
}

/// Where an act was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PutAct {
    /// Index of its leaf.
    pub index: u64,
    /// Its receipt.
    pub received: Timestamp,
    /// Its number in its stream.
    pub stream_sequence: u64,
    /// SHA-256 of its payload (for a plan: the plan hash).
    pub payload_sha256: Digest,
}

/// Why something was not done. Every text is a sentence for the person who asked.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// What was asked for is not allowed or not due.
    #[error("{0}")]
    Refused(String),
    /// The input is wrong.
    #[error("{0}")]
    Invalid(String),
    /// The collector cannot store now.
    #[error(transparent)]
    Submit(SubmitError),
    /// Something could not be read back.
    #[error("the log could not be read: {0}")]
    Read(#[from] ReadError),
    /// The data keys.
    #[error("the data keys could not be erased: {0}")]
    Keys(#[from] DataKeyError),
    /// No checkpoint came in time.
    #[error("no checkpoint covers entry {0} yet: signing is {1}; see the collector's log")]
    NoCheckpoint(u64, String),
    /// The operating system gave no randomness.
    #[error("the operating system gave no random bytes: {0}")]
    Random(String),
}

impl From<SubmitError> for StateError {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Refused(refusal) => Self::Refused(refusal.to_string()),
            other => Self::Submit(other),
        }
    }
}

/// The moment an entry of the operations key is built in: nothing can come between.
pub struct Moment<'a> {
    /// Receipt of the entry to come.
    pub received: Timestamp,
    /// Its index, unless a detail goes before it.
    pub next_index: u64,
    /// Heads of streams 1 to 4.
    pub heads: Heads,
    /// The book as of the entry before.
    pub book: &'a Book,
}

/// What the collector's services share.
pub struct State {
    /// The log, for reading.
    pub ledger: Ledger,
    /// The one writer.
    pub sequencer: Sequencer,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Asks the listeners to take what changed about who may connect.
    pub reload: Reload,
    /// Keys that contradicted themselves.
    pub conflicts: Arc<Conflicts>,
    book: Arc<RwLock<Book>>,
    trust_domain: String,
    log_keys: Vec<VerifierKey>,
    log_key_changes: Vec<Changed>,
    operations: SecretKey,
    witness_policy: String,
}

impl State {
    /// Puts the parts together; `book` is the one the sequencer's observer keeps.
    pub fn new(
        ledger: Ledger,
        sequencer: Sequencer,
        clock: Arc<dyn Clock>,
        book: Arc<RwLock<Book>>,
        trust_domain: &str,
        log_keys: Vec<VerifierKey>,
        operations: SecretKey,
    ) -> Self {
        // What a reader pins: the others follow from the first.
        let witness_policy = log_keys.first().map(Trust::no_witnesses).unwrap_or_default();
        Self {
            ledger,
            sequencer,
            clock,
            reload: Reload::default(),
            conflicts: Arc::default(),
            book,
            trust_domain: trust_domain.to_owned(),
            log_keys,
            log_key_changes: Vec::new(),
            operations,
            witness_policy,
        }
    }

    /// With the changes of the log's key so far.
    pub fn with_log_key_changes(mut self, changes: Vec<Changed>) -> Self {
        self.log_key_changes = changes;
        self
    }

    /// With the text of a witness policy, if there is one.
    pub fn with_witness_policy(mut self, text: Option<String>) -> Self {
        self.witness_policy = text.unwrap_or(self.witness_policy);
        self
    }

    /// With what is known of keys that contradicted themselves.
    pub fn with_conflicts(mut self, conflicts: Conflicts) -> Self {
        self.conflicts = Arc::new(conflicts);
        self
    }

    /// The witness policy that checkpoints of this log meet.
    pub fn witness_policy(&self) -> &str {
        &self.witness_policy
    }

    /// The log's name.
    pub fn origin(&self) -> &str {
        self.log_keys.first().map(VerifierKey::name).unwrap_or_default()
    }

    /// The company's DNS name.
    pub fn trust_domain(&self) -> &str {
        &self.trust_domain
    }

    /// Every key of the log, the genesis's first and the one of today last.
    pub fn log_keys(&self) -> &[VerifierKey] {
        &self.log_keys
    }

    /// The changes of the log's key, as readers are told them.
    pub fn log_key_changes(&self) -> &[Changed] {
        &self.log_key_changes
    }

    /// The operations key.
    pub fn operations(&self) -> &SecretKey {
        &self.operations
    }

    /// The book, for reading. Hold it briefly: the writer waits for it.
    pub fn book(&self) -> RwLockReadGuard<'_, Book> {
        self.book.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends a person's act. Whether it may stand is asked inside the writer, against the state it follows.
    pub async fn put_act(
        &self,
        kind: Kind,
        envelope: Vec<u8>,
        detail: Option<Detail>,
    ) -> Result<PutAct, StateError> {
        self.put_act_with(kind, envelope, detail.into_iter().collect()).await
    }

    /// As [`State::put_act`], with every detail record the act names, in its order.
    pub async fn put_act_with(
        &self,
        kind: Kind,
        envelope: Vec<u8>,
        details: Vec<Detail>,
    ) -> Result<PutAct, StateError> {
        if !kind.is_persons_act() {
            return Err(StateError::Invalid(format!("{kind} is not an act a person may carry in")));
        }
        let (parsed, act) =
            Act::open_as(&envelope, kind).map_err(|error| StateError::Invalid(error.to_string()))?;
        check_details(&act.body, &details)?;
        let book = Arc::clone(&self.book);
        let answer = self.sequencer.act(Box::new(move |context: &Context| {
            let index = context.next_index.saturating_add(details.len() as u64);
            let mut trial = book.read().unwrap_or_else(PoisonError::into_inner).authority.clone();
            trial.admit(index, context.received, kind, &envelope)?;
            let details = details.iter().map(|detail| NewEntry::new(Kind::DETAIL, detail.record()));
            Ok(details.chain([NewEntry::new(kind, envelope)]).collect())
        }))?;
        self.stored(answer, Digest::of(&parsed.payload)).await
    }

    /// Appends an entry of the operations key, built against the state it follows.
    pub async fn operate(
        &self,
        build: impl FnOnce(&Moment<'_>) -> Result<Body, String> + Send + 'static,
    ) -> Result<PutAct, StateError> {
        self.operate_with(move |moment| Ok((None, build(moment)?))).await
    }

    /// As [`State::operate`], with a detail record of a device (0.4) going before the entry.
    pub async fn operate_with(
        &self,
        build: impl FnOnce(&Moment<'_>) -> Result<(Option<Detail>, Body), String> + Send + 'static,
    ) -> Result<PutAct, StateError> {
        let id = ActId::from_bytes(random()?);
        let seed = self.operations.seed();
        let operations =
            SecretKey::from_seed(&seed).map_err(|error| StateError::Invalid(error.to_string()))?;
        let (book, origin) = (Arc::clone(&self.book), self.origin().to_owned());
        let (tell, told) = tokio::sync::oneshot::channel();
        let answer = self.sequencer.act(Box::new(move |context: &Context| {
            let book = book.read().unwrap_or_else(PoisonError::into_inner);
            let moment = Moment {
                received: context.received,
                next_index: context.next_index,
                heads: heads(context),
                book: &book,
            };
            let (detail, body) = build(&moment)?;
            let kind = body.kind();
            let instance = match &body {
                Body::Enrolment(enrolment) => Some(enrolment.instance),
                _ => None,
            };
            let envelope = Act::sign(body, &origin, id, context.received, &operations);
            let payload_sha256 = Digest::of(&envelope.payload);
            let payload = envelope.encode();
            let detail = detail
                .map(|detail| NewEntry { instance, ..NewEntry::new(Kind::DEVICE_DETAIL, detail.record()) });
            let index = context.next_index + u64::from(detail.is_some());
            book.authority.clone().admit(index, context.received, kind, &payload)?;
            // A receiver that is gone no longer wants to know.
            let _gone = tell.send(payload_sha256);
            Ok(detail.into_iter().chain([NewEntry::new(kind, payload)]).collect())
        }))?;
        let stored = self.stored(answer, Digest::ZERO).await?;
        Ok(PutAct { payload_sha256: told.await.unwrap_or(Digest::ZERO), ..stored })
    }

    pub(crate) async fn stored(
        &self,
        answer: tokio::sync::oneshot::Receiver<crate::sequencer::ActAnswer>,
        payload_sha256: Digest,
    ) -> Result<PutAct, StateError> {
        let appended = answer.await.map_err(|_| SubmitError::Stopped)??;
        let last = appended.last().ok_or_else(|| StateError::Invalid("nothing was appended".into()))?;
        Ok(PutAct {
            index: last.index,
            received: last.leaf.received,
            stream_sequence: last.leaf.chain.map_or(0, |chain| chain.sequence),
            payload_sha256,
        })
    }

    /// Erases the keys of every scope that a tombstone names and whose key is still there: after the tombstone is under
    /// a published checkpoint, so that whoever misses the payloads can be shown why. How many scopes there were.
    pub async fn finish_erasures(&self) -> Result<usize, StateError> {
        let keys = Arc::clone(self.ledger.data_keys());
        let kept = keys.scopes().into_iter().filter(|found| found.1.is_none()).map(|found| found.0);
        let mut due: BTreeMap<u64, Vec<Scope>> = BTreeMap::new();
        {
            let book = self.book();
            for scope in kept {
                if let Some(tombstone) = book.authority.erasures().of(&scope) {
                    due.entry(tombstone).or_default().push(scope);
                }
            }
        }
        let Some(last) = due.keys().next_back() else { return Ok(0) };
        self.wait_for_checkpoint(last.saturating_add(1)).await?;
        failpoints::reach("tombstone-covered");
        let count = due.values().map(Vec::len).sum();
        let erased = tokio::task::spawn_blocking(move || {
            due.into_iter().try_for_each(|(tombstone, scopes)| keys.erase(&scopes, tombstone))
        });
        erased.await.map_err(|error| StateError::Invalid(error.to_string()))??;
        Ok(count)
    }

    /// A published checkpoint of at least `size` leaves.
    pub async fn wait_for_checkpoint(&self, size: u64) -> Result<Arc<Published>, StateError> {
        let mut published = self.ledger.checkpoints();
        let covering =
            published.wait_for(|newest| newest.as_ref().is_some_and(|newest| newest.checkpoint.size >= size));
        let gone = || StateError::NoCheckpoint(size, format!("{:?}", self.ledger.signing()));
        match tokio::time::timeout(CHECKPOINT_WAIT, covering).await {
            Ok(Ok(newest)) => newest.clone().ok_or_else(gone),
            Ok(Err(_)) | Err(_) => Err(gone()),
        }
    }
}

/// Fresh random bytes.
pub fn random<const N: usize>() -> Result<[u8; N], StateError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| StateError::Random(error.to_string()))?;
    Ok(bytes)
}

fn heads(context: &Context) -> Heads {
    let mut heads = Heads::default();
    for stream in Stream::CHAINED {
        let head = context.head(stream);
        heads.set(stream, Head { entries: head.entries, last_leaf_hash: head.last_leaf_hash });
    }
    heads
}

/// An act that names details must come with those very ones, in its order, and one that names none without any.
fn check_details(body: &Body, details: &[Detail]) -> Result<(), StateError> {
    let named: Vec<Digest> = match body {
        Body::Person(act) => vec![act.detail],
        Body::Retire(act) => act.detail.into_iter().collect(),
        Body::Revoke(act) => act.detail.into_iter().collect(),
        Body::Merge(act) | Body::Split(act) => act.detail.into_iter().collect(),
        Body::Hold(act) => vec![act.detail],
        Body::Token(act) => act.serials.clone(),
        _ => Vec::new(),
    };
    if details.iter().any(|detail| detail.bytes.len() > DETAIL_BYTES_MAX) {
        return Err(StateError::Invalid(format!("the detail is longer than {DETAIL_BYTES_MAX} bytes")));
    }
    if details.iter().map(Detail::digest).eq(named) {
        Ok(())
    } else {
        Err(StateError::Invalid("the act does not name the detail that came with it".into()))
    }
}
