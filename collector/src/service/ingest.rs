//! Submit: envelopes in, Stored and Proved out. Stored is sent after the journal's fdatasync and never before.

mod proving;
mod twins;
mod waiting;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use certs::Peer;
use evidence::ids::{DeviceId, Digest, InstanceId};
use evidence::statement::SCHEMA_MAX;
use proto::from_agent::Item as Incoming;
use proto::to_agent::Item as Outgoing;
use proto::{Expect, FromAgent, Hello, Refused, RefusedReason, SlowDown, Stored, ToAgent, Welcome};
use proto::{Renew, RenewReply, RenewRequest};
use rpc::v1::ingest_server::Ingest;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, Streaming};

use self::waiting::{Settled, Waiting, hold, next_answer};
use super::renew::{Renewals, Way};
use super::status;
use super::telling::{self, Telling};
use super::unstored::Unstored;
use crate::admit::{Admitted, Refusal, Standing, admit, claim};
use crate::denylist::Denylist;
use crate::http2::CONNECTION_AGE_MAX;
use crate::ledger::{Published, ReadError};
use crate::listen::PeerInfo;
use crate::quota::{Over, Quotas, StreamPlace};
use crate::sequencer::{Device, DeviceAnswer, Outcome, SubmitError};
use crate::state::State;

/// Envelopes of one stream that may wait for the writer: enough to fill a group commit, little memory.
const PENDING_MAX: usize = 256;
/// Answers of one stream that may wait for the network.
const ANSWERS_MAX: usize = 64;
/// How long an answer may wait for a reader that does not read.
const SLOW_READER_MAX: Duration = Duration::from_secs(30);
/// Statements stored and not yet proved that one stream keeps in mind; the agent names older ones at its next Hello.
const UNPROVED_MAX: usize = 4_096;
/// Proofs computed together: enough to share the work, little memory while they are sent.
const PROOFS_AT_ONCE: usize = 256;
/// What an agent is asked to wait when the writer's queue is full.
const BUSY_WAIT_MS: u32 = 500;
/// What a device is told whose key contradicted itself.
const FORKED: &str = "this key signed two statements for one place in its chain: the device was cloned or restored. Nothing \
                      of it is admitted until a person decides (`tallystick devices conflicts`) or it is enrolled anew";
/// What an agent is asked to wait when the disk is full.
const FULL_WAIT_MS: u32 = 60_000;
/// How long a stream may take to its greeting, which needs no answer to be sent.
const HELLO_MAX: Duration = Duration::from_secs(30);
/// How long a stream may bring no whole message: three heartbeats of an agent.
const QUIET_MAX: Duration = Duration::from_mins(15);
/// Statements refused in a row for a quota before a stream is read more slowly: two windows of an agent, which sends no
/// further one once it was told to wait.
const UNHEEDED_MAX: u32 = 64;
/// How long it is not read then, at most: HTTP/2's window holds the sender back, and the answers before are still sent.
const HOLD_MAX: Duration = Duration::from_secs(10);

/// The ingest service.
pub struct IngestService {
    state: Arc<State>,
    denylist: Arc<Denylist>,
    unstored: Arc<Unstored>,
    quotas: Arc<Quotas>,
    turns: Arc<Semaphore>,
    renewals: Renewals,
    cancel: CancellationToken,
}

impl IngestService {
    /// The service; it counts in `unstored` what it could not store, takes no more than `quotas` allow, and `cancel` ends
    /// its streams at shutdown.
    pub fn new(
        state: Arc<State>,
        renewals: Renewals,
        denylist: Arc<Denylist>,
        unstored: Arc<Unstored>,
        quotas: Arc<Quotas>,
        cancel: CancellationToken,
    ) -> Self {
        Self { state, renewals, denylist, unstored, quotas, turns: telling::turns(), cancel }
    }
}

#[tonic::async_trait]
impl Ingest for IngestService {
    type SubmitStream = ReceiverStream<Result<ToAgent, Status>>;
    type RenewStream = ReceiverStream<Result<RenewReply, Status>>;

    async fn renew(
        &self,
        request: tonic::Request<Streaming<RenewRequest>>,
    ) -> Result<tonic::Response<Self::RenewStream>, Status> {
        let certificate = request.extensions().get::<PeerInfo>().and_then(|info| info.certificate.clone());
        let certificate =
            certificate.ok_or_else(|| Status::permission_denied("only an enrolled device may renew"))?;
        self.renewals.clone().answer(request, Way::Live(Box::new(certificate)))
    }

    async fn submit(
        &self,
        request: tonic::Request<Streaming<FromAgent>>,
    ) -> Result<tonic::Response<Self::SubmitStream>, Status> {
        let peer = request.extensions().get::<PeerInfo>().and_then(PeerInfo::peer);
        let Some(Peer::Agent(device)) = peer else {
            return Err(Status::permission_denied("only an enrolled device may submit"));
        };
        let Some(place) = self.quotas.stream(device) else {
            return Err(Status::resource_exhausted(
                "this device has as many streams as it may: another one of its own is still open",
            ));
        };
        let incoming = request.into_inner();
        let (answers, outgoing) = mpsc::channel(ANSWERS_MAX);
        let session = Session {
            state: Arc::clone(&self.state),
            denylist: Arc::clone(&self.denylist),
            unstored: Arc::clone(&self.unstored),
            telling: Telling::new(Arc::clone(&self.state), Arc::clone(&self.turns), device),
            device,
            place,
            unheeded: 0,
            held_until: None,
            answers,
            pending: VecDeque::new(),
            unproved: BTreeMap::new(),
            checkpoints: self.state.ledger.checkpoints(),
            renewals: self.renewals.clone(),
            authorities: self.state.reload.taken(),
            anchor_size: 0,
            greeted: false,
            key_changes: super::key_changes(&self.state),
            instance: None,
            stream: self.state.conflicts.live().stream(),
            configured: 0,
            looked_at: 0,
        };
        let cancel = self.cancel.clone();
        tokio::spawn(async move { session.run(incoming, cancel).await });
        Ok(tonic::Response::new(ReceiverStream::new(outgoing)))
    }
}

struct Session {
    state: Arc<State>,
    denylist: Arc<Denylist>,
    unstored: Arc<Unstored>,
    telling: Telling,
    device: DeviceId,
    /// Its place among the device's streams, through which its quota is asked.
    place: StreamPlace,
    /// Statements in a row that were over the quota.
    unheeded: u32,
    /// Nothing is read until then.
    held_until: Option<Instant>,
    answers: mpsc::Sender<Result<ToAgent, Status>>,
    /// In the order of arrival: answers keep it.
    pending: VecDeque<Waiting>,
    /// Leaf index → sequence.
    unproved: BTreeMap<u64, u64>,
    checkpoints: watch::Receiver<Option<Arc<Published>>>,
    renewals: Renewals,
    /// Told when the authorities may have changed.
    authorities: watch::Receiver<u64>,
    /// Size of the newest checkpoint the agent has.
    anchor_size: u64,
    /// The newest checkpoint at the stream's beginning was sent.
    greeted: bool,
    /// What the first checkpoint of the stream brings.
    key_changes: Vec<proto::LogKeyChange>,
    /// Who speaks, once it said so.
    instance: Option<InstanceId>,
    /// This stream's number: later ones have higher.
    stream: u64,
    /// Number of the fleet configuration that was sent on this stream.
    configured: u64,
    /// Number of the newest fleet configuration that was looked at, for this device or not.
    looked_at: u64,
}

/// The stream is over, for a reason the agent is told or not.
enum End {
    Quiet,
    Told(Status),
}

/// A message that is too long or no message is the agent's fault, and it is told; a lost connection is nobody's.
fn unreadable(status: Status) -> End {
    match status.code() {
        Code::OutOfRange | Code::Internal => End::Told(Status::new(status.code(), status.message())),
        _ => End::Quiet,
    }
}

impl Session {
    async fn run(mut self, mut incoming: Streaming<FromAgent>, cancel: CancellationToken) {
        let end = self.serve(&mut incoming, &cancel).await;
        if let Err(End::Told(status)) = end {
            tracing::info!(device = %self.device, reason = status.message(), "Stream ended.");
            // The agent may be gone already.
            drop(self.answers.try_send(Err(status)));
        }
        // What the writer has is held in memory until it is written, whoever still waits for the answer: so are the places.
        if self.pending.iter().any(|waiting| matches!(waiting, Waiting::Answer { .. })) {
            let mut pending = std::mem::take(&mut self.pending);
            tokio::spawn(async move {
                while !pending.is_empty() {
                    next_answer(&mut pending).await;
                }
            });
        }
    }

    async fn serve(
        &mut self,
        incoming: &mut Streaming<FromAgent>,
        cancel: &CancellationToken,
    ) -> Result<(), End> {
        let first = tokio::time::timeout(HELLO_MAX, incoming.message())
            .await
            .map_err(|_| End::Told(Status::deadline_exceeded("no hello came in time: connect again")))?;
        let first = first.map_err(unreadable)?.and_then(|message| message.item);
        let Some(Incoming::Hello(hello)) = first else {
            return Err(End::Told(Status::invalid_argument("the first message must be hello")));
        };
        self.hello(hello).await?;
        let mut open = true;
        let age = tokio::time::sleep(CONNECTION_AGE_MAX);
        tokio::pin!(age);
        let quiet = tokio::time::sleep(QUIET_MAX);
        tokio::pin!(quiet);
        loop {
            if !open && self.pending.is_empty() && self.unproved.is_empty() {
                return Ok(());
            }
            tokio::select! {
                biased;
                () = cancel.cancelled() => {
                    return Err(End::Told(Status::unavailable("the collector is stopping; connect again")));
                }
                () = &mut age => {
                    return Err(End::Told(Status::unavailable("this stream is old; connect again")));
                }
                () = &mut quiet => {
                    return Err(End::Told(Status::unavailable("nothing came for a long time; connect again")));
                }
                answers = next_answer(&mut self.pending), if !self.pending.is_empty() => {
                    let settled = self.settle(answers).await?;
                    for item in settled {
                        self.send(item).await?;
                    }
                }
                () = hold(self.held_until), if self.held_until.is_some() => self.held_until = None,
                message = incoming.message(),
                    if open && self.held_until.is_none() && self.pending.len() < PENDING_MAX =>
                {
                    quiet.as_mut().reset(tokio::time::Instant::now() + QUIET_MAX);
                    match message.map_err(unreadable)?.and_then(|message| message.item) {
                        Some(Incoming::Envelope(bytes)) => self.envelope(&bytes),
                        Some(Incoming::Heartbeat(_)) => {}
                        Some(Incoming::Hello(_)) => {
                            return Err(End::Told(Status::invalid_argument("hello comes once")));
                        }
                        None => open = false,
                    }
                }
                changed = self.checkpoints.changed() => {
                    changed.map_err(|_| End::Told(Status::unavailable("the collector is stopping")))?;
                    self.prove().await?;
                    self.telling.look_for_policy();
                }
                Ok(()) = self.authorities.changed() => self.ask_for_renewal().await?,
                // Last: it is the least of what a device waits for.
                told = self.telling.next() => {
                    if let Some(posture) = told {
                        self.send(Outgoing::Posture(posture)).await?;
                    }
                }
            }
        }
    }

    async fn hello(&mut self, hello: Hello) -> Result<(), End> {
        let told = |text: &str| End::Told(Status::invalid_argument(text.to_owned()));
        let instance =
            InstanceId::from_slice(&hello.instance).map_err(|_| told("instance must be 16 bytes"))?;
        let owner = self.state.book().authority.roster().instance(&instance).map(|record| record.device);
        if owner != Some(self.device) {
            return Err(End::Told(Status::permission_denied(
                "this instance does not belong to the device of this certificate",
            )));
        }
        if hello.unproved.len() > UNPROVED_MAX {
            return Err(told("more unproved sequences than one stream may ask for"));
        }
        let read = |error: ReadError| End::Told(status(&error.into()));
        let next = self.state.ledger.instance(&instance).map_err(read)?;
        let next_sequence = next.map_or(0, |state| state.next_sequence);
        self.send(Outgoing::Welcome(Welcome { schema_max: SCHEMA_MAX, next_sequence })).await?;
        self.anchor_size = hello.anchor_size;
        self.instance = Some(instance);
        self.ask_for_renewal().await?;
        self.state.conflicts.live().begin(&instance, self.stream, Instant::now());
        self.telling.begin(instance);
        for sequence in hello.unproved {
            if let Some(index) = self.state.ledger.statement(&instance, sequence).map_err(read)? {
                self.unproved.insert(index, sequence);
            }
        }
        self.prove().await
    }

    /// Asks the device to come for another certificate if the authority of its own goes.
    async fn ask_for_renewal(&self) -> Result<(), End> {
        let Some(within_seconds) = self.instance.and_then(|instance| self.renewals.wanted(&instance)) else {
            return Ok(());
        };
        self.send(Outgoing::Renew(Renew { within_seconds })).await
    }

    fn envelope(&mut self, bytes: &[u8]) {
        let now = Instant::now();
        // Before anything that costs more than a glance.
        let waiting = match self.place.take(bytes.len(), now) {
            Ok(place) => {
                self.unheeded = 0;
                match self.admit(bytes) {
                    Ok((sequence, answer)) => Waiting::Answer { sequence, answer, _place: place },
                    Err(refused) => Waiting::Now(refused),
                }
            }
            Err(over) => Waiting::Now(self.over(bytes, over, now)),
        };
        self.pending.push_back(waiting);
    }

    /// More than this device may send: it waits and sends again from there. One that does not wait is read more slowly.
    fn over(&mut self, bytes: &[u8], over: Over, now: Instant) -> Vec<Outgoing> {
        self.unheeded = self.unheeded.saturating_add(1);
        if self.unheeded > UNHEEDED_MAX {
            self.held_until = Some(now + over.wait.min(HOLD_MAX));
        }
        match claim(bytes) {
            Ok((_, statement)) => {
                let ms = u32::try_from(over.wait.as_millis()).unwrap_or(u32::MAX);
                let sequence = statement.sequence;
                vec![Outgoing::SlowDown(SlowDown { ms }), Outgoing::Expect(Expect { sequence })]
            }
            Err(refusal) => vec![refused(refusal)],
        }
    }

    fn admit(&self, bytes: &[u8]) -> Result<(u64, oneshot::Receiver<DeviceAnswer>), Vec<Outgoing>> {
        let now = self.state.clock.now();
        // The book is locked for the look-up alone: the writer waits for its readers.
        let standing =
            |instance: &InstanceId| Standing::of(self.state.book().authority.roster(), instance, now);
        let mut unread = None;
        let root_at = |size| {
            let root = self.root_at(size);
            root.unwrap_or_else(|error| {
                unread = Some(error);
                None
            })
        };
        let note_size = |note: &Digest| self.state.ledger.cosigned_size(note);
        let admitted = admit(bytes, &self.device, standing, self.state.origin(), root_at, note_size);
        let Admitted { envelope, statement } = admitted.map_err(|refusal| {
            if let Some(error) = unread.take() {
                // What could not be read says nothing about the statement.
                return self.busy(refusal.sequence, &SubmitError::Unavailable(error.to_string()));
            }
            tracing::warn!(device = %self.device, sequence = refusal.sequence, reason = ?refusal.reason, "Statement refused.");
            vec![refused(refusal)]
        })?;
        let sequence = statement.sequence;
        if self.state.is_forked(&self.device, &statement.instance) {
            // The statement that began it is in a conflict record; what follows is neither machine's until a person decides.
            return Err(vec![refused(Refusal {
                sequence,
                reason: RefusedReason::Forked,
                detail: FORKED.into(),
            })]);
        }
        self.hear(&statement);
        let device = Device::of(&statement, &envelope);
        let answer = self.state.sequencer.submit(device).map_err(|error| self.busy(sequence, &error))?;
        Ok((sequence, answer))
    }

    /// Root over the log's first `size` entries; none if it has not so many.
    fn root_at(&self, size: u64) -> Result<Option<Digest>, ReadError> {
        match self.state.ledger.checkpoint() {
            Some(newest) if newest.checkpoint.size == size => Ok(Some(newest.checkpoint.root)),
            _ if size > self.state.ledger.size() => Ok(None),
            _ => self.state.ledger.root_at(size).map(Some),
        }
    }

    async fn settle(&mut self, waiting: Settled) -> Result<Vec<Outgoing>, End> {
        let (sequence, answer) = match waiting {
            Settled::Now(items) => return Ok(items),
            Settled::Answer(sequence, answer) => (sequence, answer),
        };
        match answer {
            Ok(Outcome::Stored(stored)) => {
                self.telling.ask(Duration::ZERO);
                if self.unproved.len() < UNPROVED_MAX {
                    self.unproved.insert(stored.index, stored.sequence);
                }
                Ok(vec![Outgoing::Stored(Stored {
                    sequence: stored.sequence,
                    index: stored.index,
                    received_ms: stored.received.0,
                    salt: stored.salt.to_vec(),
                })])
            }
            Ok(Outcome::Expect(sequence)) => Ok(vec![Outgoing::Expect(Expect { sequence })]),
            Ok(Outcome::Forked { sequence, known_index, envelope }) => {
                self.fork(sequence, known_index, envelope).await;
                Ok(vec![refused(Refusal { sequence, reason: RefusedReason::Forked, detail: FORKED.into() })])
            }
            Ok(Outcome::AnchorShrinks { sequence, before }) => {
                tracing::warn!(device = %self.device, sequence, before, "Statement refused.");
                let detail = format!(
                    "the statement before it names a checkpoint of {before} entries, this one an older one or none: \
                     this device's disk was damaged or restored; retire it and enrol it anew"
                );
                Ok(vec![refused(Refusal { sequence, reason: RefusedReason::Anchor, detail })])
            }
            Ok(Outcome::Ended { sequence, by }) => {
                let refused_ever = self.denylist.statements_refused.fetch_add(1, Ordering::Relaxed) + 1;
                tracing::warn!(device = %self.device, sequence, by, refused_ever, "Statement of a key that signs no more.");
                let detail = format!(
                    "this key signs no more since entry {by} of the log (revoked, replaced or merged); what it signed \
                     before stays: ask an admin"
                );
                Ok(vec![refused(Refusal { sequence, reason: RefusedReason::Revoked, detail })])
            }
            Ok(Outcome::Lost { sequence }) => {
                let detail = "a gap statement declared this sequence destroyed";
                Ok(vec![refused(Refusal { sequence, reason: RefusedReason::Forked, detail: detail.into() })])
            }
            Err(SubmitError::Stopped) => {
                Err(End::Told(Status::unavailable("the collector is stopping; connect again")))
            }
            Err(error) => Ok(self.busy(sequence, &error)),
        }
    }

    /// The writer cannot take it now: the agent waits and sends again from there.
    fn busy(&self, sequence: u64, error: &SubmitError) -> Vec<Outgoing> {
        let ms = match error {
            SubmitError::Full { .. } => FULL_WAIT_MS,
            _ => BUSY_WAIT_MS,
        };
        self.unstored.count(error, Instant::now());
        vec![Outgoing::SlowDown(SlowDown { ms }), Outgoing::Expect(Expect { sequence })]
    }

    async fn send(&self, item: Outgoing) -> Result<(), End> {
        let message = Ok(ToAgent { item: Some(item) });
        match tokio::time::timeout(SLOW_READER_MAX, self.answers.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(End::Quiet),
        }
    }
}

fn refused(refusal: Refusal) -> Outgoing {
    Outgoing::Refused(Refused {
        sequence: refusal.sequence,
        reason: refusal.reason.into(),
        detail: refusal.detail,
    })
}
