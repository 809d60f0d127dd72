//! The driver of a [`Session`]: one connection, its stream, and when to try again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use evidence::time::Clock;
use proto::from_agent::Item;
use rpc::connect::{Address, ConnectError, connect_probing};
use rpc::proxy::Proxies;
use rpc::v1::ingest_client::IngestClient;
use tokio::sync::{Mutex, Notify, mpsc};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Streaming;
use tonic::transport::Channel;

use crate::backoff::Backoff;
use crate::device::{Device, DeviceError};
use crate::fleet::Fleet;
use crate::health::{Health, Refusal};
use crate::judgement::Judgement;
use crate::renewal::RenewalError;
use crate::session::{Event, Next, Session, SessionError};

mod certificate;

pub(crate) use certificate::is_revoked;

/// Largest message taken from a collector, in bytes: a proof with its checkpoint and cosignatures is below 80 KiB.
const MESSAGE_BYTES_MAX: usize = 256 * 1024;
/// Messages that may wait for the connection.
const SEND_QUEUE: usize = 64;
/// Longest wait for an answer to something that was sent.
const ANSWER_WAIT_MAX: Duration = Duration::from_mins(1);
/// Between two heartbeats on a quiet stream.
const HEARTBEAT_INTERVAL: Duration = Duration::from_mins(5);
/// Between two probes of a connection on which nothing comes. What is sent shows a lost one after [`ANSWER_WAIT_MAX`];
/// nothing else is waited for, and a laptop at rest should stay so.
const PROBE_INTERVAL: Duration = Duration::from_mins(10);
/// Between two notes of when the collector last answered, in milliseconds.
const HEALTH_INTERVAL_MS: u64 = 60_000;
/// After a refusal nothing is sent for so long: it takes a person to change the answer.
const REFUSED_WAIT: Duration = Duration::from_hours(1);
/// Once this device's keys are revoked nothing changes that but a new enrolment: it asks a few times a day, in case the
/// revocation was of another collector, restored from an old copy.
const REVOKED_WAIT: Duration = Duration::from_hours(6);
/// A stream that lasted so long was a good one: the next try comes soon.
const GOOD_STREAM: Duration = Duration::from_mins(1);

/// Why a stream ended early.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The TLS configuration.
    #[error("the device's certificate cannot be used")]
    Tls(#[from] certs::TlsError),
    /// The address in the identity.
    #[error("the collector's address is damaged")]
    Address(#[from] rpc::connect::AddressError),
    /// gRPC. A certificate that is refused shows here first.
    #[error("the collector ended the stream: {0}")]
    Status(String),
    /// This device's keys are revoked.
    #[error(
        "this device's keys are revoked; what it made is kept here: ask an administrator, and enrol it anew if it is in \
         good hands ({0})"
    )]
    Revoked(String),
    /// Nothing was heard in time.
    #[error("the collector did not answer within {} seconds", ANSWER_WAIT_MAX.as_secs())]
    Silent,
    /// The collector said what cannot be.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The device's own parts.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The certificate has ended, and there is no new one yet.
    #[error("this device's certificate has ended, and it asks for a new one by its attestation key")]
    Recovery(#[from] RenewalError),
}

impl From<tonic::Status> for UploadError {
    fn from(status: tonic::Status) -> Self {
        if is_revoked(&status) {
            return Self::Revoked(words_of(&status));
        }
        Self::Status(words_of(&status))
    }
}

/// What a collector said; its code in words where it said nothing.
pub(crate) fn words_of(status: &tonic::Status) -> String {
    let said = status.message();
    crate::session::printable(if said.is_empty() { status.code().description() } else { said })
}

/// How a stream ended without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The goal is reached.
    Reached,
    /// The collector closed it.
    Closed,
    /// A statement was refused.
    Refused,
    /// This program is stopping.
    Cancelled,
    /// The device has a new certificate, for a new connection.
    Renewed,
}

/// The connection that statements go over.
struct Live {
    channel: Channel,
    exporter: [u8; 32],
}

/// Until when a stream is kept open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// For ever.
    Open,
    /// Until every statement up to this sequence is stored.
    Stored(u64),
    /// Until every statement up to this sequence is proved.
    Proved(u64),
}

impl Goal {
    fn reached(self, device: &Device) -> bool {
        let upto = |last: u64| device.spool.kept().range(..=last);
        match self {
            Self::Open => false,
            Self::Stored(last) => upto(last).all(|(_, kept)| kept.receipt.is_some()),
            Self::Proved(last) => upto(last).next().is_none(),
        }
    }
}

/// What the uploader shares with the rest of the program.
#[derive(Clone)]
pub struct Uploader {
    /// The device's parts. Held for the length of a disk write and never over a wait for the network.
    pub device: Arc<Mutex<Device>>,
    /// Told whenever a statement was spooled.
    pub spooled: Arc<Notify>,
    /// Told whenever the machine is in another network, or woke up: what failed before may work now.
    pub moved: Arc<Notify>,
    /// The way to the collector.
    pub proxies: Arc<Proxies>,
    /// The fleet configuration's proxy failed last: the machine's own way is tried next, and after that the proxy again. So a
    /// wrong proxy delays a fleet and does not cut it off.
    pub detour: Arc<AtomicBool>,
    /// The fleet configuration's proxy is never taken.
    pub own_way: bool,
    /// The program's clock.
    pub clock: Arc<dyn Clock>,
    /// Told whenever another fleet configuration is obeyed.
    pub configured: Arc<Notify>,
    /// Stops everything.
    pub cancel: CancellationToken,
}

impl Uploader {
    /// Keeps a stream open until cancelled, whatever happens to it.
    pub async fn run(&self) {
        let mut backoff = Backoff::default();
        while !self.cancel.is_cancelled() {
            let begun = Instant::now();
            let ended = self.exchange(Goal::Open).await;
            let mut refused = false;
            let wait = match ended {
                Ok(Ended::Cancelled | Ended::Reached) => return,
                Ok(Ended::Refused) => {
                    refused = true;
                    REFUSED_WAIT
                }
                Err(UploadError::Revoked(_)) => {
                    refused = true;
                    REVOKED_WAIT
                }
                // It takes a person to change the answer, or a day to pass.
                Err(UploadError::Recovery(RenewalError::Refused(_))) => {
                    refused = true;
                    REFUSED_WAIT
                }
                Ok(Ended::Closed | Ended::Renewed) | Err(_) => {
                    if begun.elapsed() >= GOOD_STREAM {
                        backoff.reset();
                    }
                    backoff.wait(random())
                }
            };
            tracing::info!(seconds = wait.as_secs(), "Waiting before the next connection.");
            tokio::select! {
                () = self.cancel.cancelled() => return,
                () = sleep(wait) => {}
                // The failures counted so far were those of another network. No network changes a refusal.
                () = self.moved.notified(), if !refused => {
                    tracing::info!("The network changed: connecting now.");
                    backoff.reset();
                }
            }
        }
    }

    /// One connection and its stream, until the goal is reached or it ends. Notes how it went for `status`.
    pub async fn exchange(&self, goal: Goal) -> Result<Ended, UploadError> {
        let mut health = Health::read(self.device.lock().await.state());
        health.error = None;
        let mut ended = self.stream(goal, &mut health).await;
        while matches!(ended, Ok(Ended::Renewed)) {
            ended = self.stream(goal, &mut health).await;
        }
        match &ended {
            Err(error) => {
                let text = crate::Causes(error).to_string();
                tracing::warn!(error = %text, "The exchange with the collector failed.");
                health.error = Some(text);
            }
            Ok(Ended::Refused) => tracing::error!("The collector refused a statement; see `status`."),
            Ok(_) => {}
        }
        let mut device = self.device.lock().await;
        if let Err(error) = device.keep_anchor() {
            tracing::warn!(error = %crate::Causes(&error), "The newest checkpoint was not kept.");
        }
        Self::keep(&health, &device);
        ended
    }

    /// Keeps how the exchange goes, for `status`; nothing depends on it.
    fn keep(health: &Health, device: &Device) {
        if let Err(error) = health.write(device.state()) {
            tracing::warn!(error = %crate::Causes(&error), "How the exchange went was not noted.");
        }
    }

    async fn stream(&self, goal: Goal, health: &mut Health) -> Result<Ended, UploadError> {
        self.recover_if_needed(health).await?;
        let (address, tls, fleet) = {
            let device = self.device.lock().await;
            let identity = device.identity.tls(device.state()).map_err(DeviceError::from)?;
            let root = device.identity.root().cloned();
            let root = root.ok_or_else(|| certs::TlsError::NoAuthority)?;
            let clock = Arc::new(certs::SystemClock(Arc::clone(&self.clock)));
            let address: Address = device.identity.stored.agents_address.parse()?;
            let fleet = device.fleet().and_then(Fleet::proxies);
            (address, certs::mutual_client(&identity, &root, clock)?, fleet)
        };
        let by_fleet = fleet.filter(|_| !self.own_way && !self.detour.load(Ordering::Relaxed));
        let proxies = by_fleet.as_ref().unwrap_or(&self.proxies);
        let connection = tokio::select! {
            () = self.cancel.cancelled() => return Ok(Ended::Cancelled),
            connection = connect_probing(proxies.for_server(&address), &address, tls, PROBE_INTERVAL) => connection,
        };
        let connection = match connection {
            Ok(connection) => connection,
            Err(error) => {
                self.detour.store(by_fleet.is_some(), Ordering::Relaxed);
                self.note_refusal(&error).await;
                return Err(error.into());
            }
        };
        let live = Live { channel: connection.channel.clone(), exporter: connection.exporter };
        let mut client = IngestClient::new(connection.channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let (sender, queue) = mpsc::channel(SEND_QUEUE);
        let mut session = Session::default();
        // The greeting must lie in the queue before the call: a collector may wait for it to answer at all.
        self.send_all(&mut session, &sender).await?;
        let inbound = timeout(ANSWER_WAIT_MAX, client.submit(ReceiverStream::new(queue)));
        let inbound = tokio::select! {
            () = self.cancel.cancelled() => return Ok(Ended::Cancelled),
            inbound = inbound => inbound.map_err(|_| UploadError::Silent)?,
        };
        let inbound = match inbound {
            Ok(inbound) => inbound.into_inner(),
            Err(status) => {
                self.note_refusal(&status).await;
                return Err(status.into());
            }
        };
        self.converse(goal, session, &sender, inbound, live, health).await
    }

    async fn converse(
        &self,
        goal: Goal,
        mut session: Session,
        sender: &mpsc::Sender<proto::FromAgent>,
        mut inbound: Streaming<proto::ToAgent>,
        live: Live,
        health: &mut Health,
    ) -> Result<Ended, UploadError> {
        let mut paused_until: Option<Instant> = None;
        let mut first = true;
        let mut heartbeat = Instant::now() + HEARTBEAT_INTERVAL;
        let mut deadline = Instant::now() + ANSWER_WAIT_MAX;
        loop {
            // Answers still arrive during a pause; nothing new is sent.
            if paused_until.is_none_or(|until| until <= Instant::now()) {
                paused_until = None;
                if self.send_all(&mut session, sender).await? {
                    deadline = Instant::now() + ANSWER_WAIT_MAX;
                }
            }
            let mut renewal = self.renewal_in().await;
            // What was sent is answered first: an answer that nobody read would have to be asked for again.
            if session.is_open() && !session.awaits_answer() && renewal.is_zero() {
                if self.renew(&live, health).await {
                    return Ok(Ended::Renewed);
                }
                renewal = self.renewal_in().await;
                deadline = Instant::now() + ANSWER_WAIT_MAX;
            }
            if session.is_open() && goal.reached(&*self.device.lock().await) {
                return Ok(Ended::Reached);
            }
            let far = Instant::now() + HEARTBEAT_INTERVAL;
            tokio::select! {
                () = self.cancel.cancelled() => return Ok(Ended::Cancelled),
                message = inbound.message() => {
                    let message = match message {
                        // A collector that stops, or finds a stream old, says so: that is no problem of anybody's.
                        Err(status) if status.code() == tonic::Code::Unavailable && session.is_open() => {
                            tracing::info!(reason = status.message(), "The collector closed the stream.");
                            None
                        }
                        Err(status) => {
                            self.note_refusal(&status).await;
                            return Err(status.into());
                        }
                        Ok(message) => message,
                    };
                    let Some(message) = message else { return Ok(Ended::Closed) };
                    deadline = Instant::now() + ANSWER_WAIT_MAX;
                    let event = {
                        let device = &mut *self.device.lock().await;
                        session.receive(message, &mut device.spool, &mut device.anchor)?
                    };
                    let now = self.clock.now().ms();
                    let stale = health.answered_ms.is_none_or(|ms| now.abs_diff(ms) > HEALTH_INTERVAL_MS);
                    if std::mem::take(&mut first) || stale {
                        health.answered_ms = Some(now);
                        Self::keep(health, &*self.device.lock().await);
                    }
                    match self.note(event, health).await {
                        Noted::Refused => return Ok(Ended::Refused),
                        Noted::Pause(pause) => {
                            // Several statements were on their way, each with a wait of its own: the longest holds.
                            let until = Instant::now() + pause;
                            let until = paused_until.map_or(until, |before| before.max(until));
                            paused_until = Some(until);
                            deadline = until + ANSWER_WAIT_MAX;
                        }
                        Noted::Nothing => {}
                    }
                }
                () = self.spooled.notified() => {}
                () = sleep_until(paused_until.unwrap_or(far)) => {}
                () = sleep(renewal), if session.is_open() && !renewal.is_zero() && renewal < HEARTBEAT_INTERVAL => {}
                () = sleep_until(heartbeat) => {
                    let spooled = self.device.lock().await.spool.kept().len() as u64;
                    offer(sender, Item::Heartbeat(proto::Heartbeat { spooled })).await?;
                    heartbeat = Instant::now() + HEARTBEAT_INTERVAL;
                }
                () = sleep_until(deadline), if session.awaits_answer() => return Err(UploadError::Silent),
            }
        }
    }

    /// Sends whatever may be sent now; signs a gap first where one is needed. Says whether anything was sent.
    async fn send_all(
        &self,
        session: &mut Session,
        sender: &mpsc::Sender<proto::FromAgent>,
    ) -> Result<bool, UploadError> {
        let mut sent = false;
        loop {
            let next = {
                let device = &mut *self.device.lock().await;
                let instance = device.identity.owner.instance;
                match session.next(&device.spool, instance.as_bytes(), &device.anchor) {
                    Next::Gap(first) => {
                        let sequence = device.state_destroyed(first)?;
                        session.resume_from(sequence);
                        continue;
                    }
                    next => next,
                }
            };
            sent |= matches!(next, Next::Send(_));
            match next {
                Next::Send(item) => offer(sender, item).await?,
                Next::Gap(_) | Next::Idle => return Ok(sent),
            }
        }
    }

    async fn note(&self, event: Option<Event>, health: &mut Health) -> Noted {
        match event {
            None => Noted::Nothing,
            Some(Event::Stored(sequence, receipt)) => {
                tracing::info!(sequence, index = receipt.index, "A statement is stored.");
                health.refused = None;
                Noted::Nothing
            }
            Some(Event::Proved(sequence)) => {
                tracing::info!(sequence, "A statement is proved to be in the log.");
                Noted::Nothing
            }
            Some(Event::ProofRefused(sequence, why)) => {
                tracing::warn!(sequence, why, "A proof does not hold; the statement is kept.");
                Noted::Nothing
            }
            Some(Event::Anchored(size)) => {
                tracing::debug!(size, "A newer checkpoint is verified.");
                Noted::Nothing
            }
            Some(Event::Pause(ms)) => Noted::Pause(Duration::from_millis(ms.into())),
            Some(Event::Posture(posture)) => {
                let judgement = Judgement::of(posture, self.clock.now());
                if let Err(error) = judgement.write(self.device.lock().await.state()) {
                    tracing::warn!(error = %crate::Causes(&error), "The collector's judgement was not kept.");
                }
                Noted::Nothing
            }
            Some(Event::Renew(within_seconds)) => {
                tracing::info!(within_seconds, "The collector asks this device to renew its certificate.");
                let now = self.clock.now();
                self.device.lock().await.renewal.ask(now, within_seconds, random());
                Noted::Nothing
            }
            Some(Event::ConfigurationRefused(why)) => {
                tracing::warn!(why, "A fleet configuration is not obeyed.");
                Noted::Nothing
            }
            Some(Event::Configuration(fleet)) => {
                let number = fleet.configuration.number;
                match self.device.lock().await.obey(*fleet) {
                    Ok(true) => {
                        tracing::info!(number, "A fleet configuration is obeyed from now on.");
                        self.configured.notify_one();
                    }
                    Ok(false) => {}
                    Err(error) => {
                        tracing::warn!(error = %crate::Causes(&error), "A fleet configuration is not obeyed.");
                    }
                }
                Noted::Nothing
            }
            Some(Event::Refused { sequence, reason, detail }) => {
                let reason = reason.as_str_name().trim_start_matches("REFUSED_REASON_").to_lowercase();
                tracing::error!(sequence, reason, detail, "A statement is refused; it is kept.");
                let at_ms = self.clock.now().ms();
                health.refused = Some(Refusal { sequence, reason, detail, at_ms });
                Noted::Refused
            }
        }
    }
}

enum Noted {
    Nothing,
    Pause(Duration),
    Refused,
}

/// Puts a message into the queue. A queue that does not move for a minute is a dead connection.
async fn offer(sender: &mpsc::Sender<proto::FromAgent>, item: Item) -> Result<(), UploadError> {
    let message = proto::FromAgent { item: Some(item) };
    match timeout(ANSWER_WAIT_MAX, sender.send(message)).await {
        Err(_) => Err(UploadError::Silent),
        // The stream's own end says why.
        Ok(Err(_) | Ok(())) => Ok(()),
    }
}

/// A random number for jitter. Without randomness the shortest wait is taken, which is no secret.
fn random() -> u64 {
    getrandom::u64().unwrap_or(0)
}
