//! Another TLS key and certificate for this device: over its live channel before the one it has ends, or by its attestation
//! key alone afterwards.
//!
//! The new key lies in a folder of its own, `renewal/`, until its certificate is there. The moment of change is the
//! replacement of `identity.json`: before it the device is who it was, after it the key of the new certificate is looked for
//! in both places. The folder then goes. A key that was made is used until it has a certificate, so that a device whose
//! answer was lost gets the answer it missed.

use std::sync::Arc;
use std::time::Duration;

use certs::{CertificateLife, HeldKey, Peer, PeerCertificate, Population};
use evidence::acts::renewal_digest;
use evidence::enrolment::Transcript;
use evidence::ids::Digest;
use evidence::time::{Clock, Timestamp};
use evidence::trust_domain::TrustDomain;
use proto::renew_reply::Step as Reply;
use proto::renew_request::Step as Request;
use proto::{RenewBegin, RenewFinish, RenewReply, RenewRequest};
use rpc::connect::{Address, ConnectError, connect_through};
use rpc::proxy::Proxies;
use rpc::v1::enrolment_client::EnrolmentClient;
use rpc::v1::ingest_client::IngestClient;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Response, Status, Streaming};

use crate::custody::{self, TLS_KEY_FILE, TPM_TLS_KEY_FILE};
use crate::disk;
use crate::failpoints;
use crate::identity::{IDENTITY_FILE, Identity, StoredIdentity, base64_of};
use crate::state::{StateDirectory, StateError};

/// The folder of a key whose certificate is not here yet: a state directory with nothing but keys.
const FOLDER: &str = "renewal";
/// Largest message taken from a collector, in bytes: three certificates.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// Longest wait for one answer: shorter than what a Submit stream waits, which stands still meanwhile.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(20);
/// First bound of the wait after a renewal that failed, milliseconds; it doubles with every failure.
const RETRY_MS_MIN: u64 = 30_000;
/// Its largest bound: an hour is nothing in the ten days that are left.
const RETRY_MS_MAX: u64 = 3_600_000;
/// How rustls begins to tell of an alert of the peer's; its name follows.
const ALERT: &str = "received fatal alert: ";
/// Alerts about a certificate that another one helps against.
const REFUSALS: [&str; 5] =
    ["BadCertificate", "CertificateExpired", "CertificateUnknown", "DecryptError", "UnknownCA"];
/// Doublings after which the largest bound is reached: 30 s times 2^7 are more than an hour.
const DOUBLINGS_MAX: u32 = 7;

/// Why there is no new certificate. The device is who it was.
#[derive(Debug, thiserror::Error)]
pub enum RenewalError {
    /// The state directory.
    #[error(transparent)]
    State(#[from] StateError),
    /// A key could not be made or used.
    #[error("cannot make a key: {0}")]
    Key(String),
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The TLS configuration.
    #[error(transparent)]
    Tls(#[from] certs::TlsError),
    /// An address in the identity.
    #[error(transparent)]
    Address(#[from] rpc::connect::AddressError),
    /// The collector refused, in its own words.
    #[error("the collector gives no certificate: {0}")]
    Refused(String),
    /// It could not answer.
    #[error("the collector could not answer: {0}")]
    Failed(String),
    /// No answer in time.
    #[error("the collector did not answer within {} seconds", ANSWER_WAIT_MAX.as_secs())]
    Silent,
    /// An answer that cannot be right.
    #[error("the collector's answer is not usable: {0}")]
    Answer(String),
    /// The key had its certificate before, which has ended.
    #[error("the new key had a certificate before: another one is made")]
    KeyUsed,
}

impl From<Status> for RenewalError {
    fn from(status: Status) -> Self {
        let words = crate::upload::words_of(&status);
        match status.code() {
            Code::AlreadyExists => Self::KeyUsed,
            Code::PermissionDenied
            | Code::FailedPrecondition
            | Code::Unauthenticated
            | Code::InvalidArgument => Self::Refused(words),
            _ => Self::Failed(words),
        }
    }
}

/// When the next certificate is asked for.
#[derive(Debug, Default)]
pub struct Schedule {
    failures: u32,
    /// After a failure, not before.
    retry: Option<Timestamp>,
    /// The collector asked for it.
    asked: Option<Timestamp>,
    /// The collector does not take the certificate, whatever the clock here says.
    pub refused: bool,
}

impl Schedule {
    /// When it is due.
    pub fn due(&self, life: &CertificateLife, now: Timestamp) -> Timestamp {
        let due = life.renewal_due();
        let due = self.asked.map_or(due, |asked| asked.min(due));
        // A clock that was set back must not make anybody wait longer than the longest wait.
        let retry = self.retry.filter(|retry| retry.ms() <= now.ms().saturating_add(RETRY_MS_MAX));
        retry.map_or(due, |retry| due.max(retry))
    }

    /// The collector wants the device to come within so many seconds. `random` is any random number.
    pub fn ask(&mut self, now: Timestamp, within_seconds: u32, random: u64) {
        let within_ms = u64::from(within_seconds).saturating_mul(1000).clamp(1, RETRY_MS_MAX);
        self.asked = Some(Timestamp(now.ms().saturating_add(random % within_ms)));
    }

    /// It failed: the next try comes at a random moment within a bound that doubles up to an hour.
    pub fn failed(&mut self, now: Timestamp, random: u64) {
        let bound = RETRY_MS_MIN.saturating_mul(1 << self.failures.min(DOUBLINGS_MAX)).min(RETRY_MS_MAX);
        self.failures = self.failures.saturating_add(1);
        let wait = random.checked_rem(bound).unwrap_or(0).saturating_add(1000);
        self.retry = Some(Timestamp(now.ms().saturating_add(wait)));
    }

    /// There is a new certificate.
    pub fn done(&mut self) {
        *self = Self::default();
    }
}

/// A key of the folder that belongs to this certificate.
pub(crate) fn next_key_of(
    state: &StateDirectory,
    certificate: &CertificateLife,
) -> Result<Option<Arc<dyn HeldKey>>, StateError> {
    let next = custody::tls_key(&folder(state))?;
    Ok(next.filter(|key| key.public().id() == certificate.key))
}

fn folder(state: &StateDirectory) -> StateDirectory {
    state.within(FOLDER)
}

/// Puts the key of a new certificate into its place, if that was left undone. The caller holds the lock.
pub(crate) fn finish(state: &StateDirectory, identity: &Identity) -> Result<(), StateError> {
    let Some(life) = identity.life() else { return Ok(()) };
    match custody::tls_key(&folder(state))? {
        None => {
            // A folder that was emptied and not removed is no harm, nor is one that stays.
            let _gone_or_stays = std::fs::remove_dir_all(state.file(FOLDER));
            return Ok(());
        }
        Some(key) if key.public().id() != life.key => return Ok(()),
        Some(_) => {}
    }
    let folder = folder(state);
    let waits = |name: &&str| folder.keys().join(name).exists();
    let Some(name) = [TLS_KEY_FILE, TPM_TLS_KEY_FILE].into_iter().find(waits) else { return Ok(()) };
    // A key that was held in another way goes first: two in one folder are refused, and the new one is found in its own.
    let other = if name == TLS_KEY_FILE { TPM_TLS_KEY_FILE } else { TLS_KEY_FILE };
    state.remove_secret(other)?;
    let (from, to) = (folder.keys().join(name), state.keys().join(name));
    let failed = |source| StateError::Io { what: "move", path: from.display().to_string(), source };
    std::fs::rename(&from, &to).and_then(|()| disk::sync_folder(&state.keys())).map_err(failed)?;
    failpoints::reach("renewal-key-renamed");
    // An empty folder that stays is no harm.
    let _removed_or_empty = std::fs::remove_dir_all(state.file(FOLDER));
    Ok(())
}

/// The key that waits for a certificate; makes one where there is none.
fn next_key(state: &StateDirectory) -> Result<Arc<dyn HeldKey>, RenewalError> {
    let folder = folder(state);
    folder.create()?;
    if let Some(key) = custody::tls_key(&folder)? {
        return Ok(key);
    }
    let key = custody::make_tls_key(&folder)?;
    failpoints::reach("renewal-key-kept");
    Ok(key)
}

/// Renews over the connection that statements go over.
pub async fn renew(
    state: &StateDirectory,
    identity: &Identity,
    channel: Channel,
    exporter: [u8; 32],
) -> Result<Identity, RenewalError> {
    let mut client = IngestClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
    exchange(state, identity, exporter, async |queue| client.renew(queue).await).await
}

/// Comes back by the attestation key: over the enrolment listener, whose server is checked as always.
pub async fn recover(
    state: &StateDirectory,
    identity: &Identity,
    proxies: &Proxies,
    clock: Arc<dyn Clock>,
) -> Result<Identity, RenewalError> {
    let root = identity.root().ok_or(certs::TlsError::NoAuthority)?;
    let tls = certs::public_client(root, Arc::new(certs::SystemClock(clock)))?;
    let address: Address = identity.stored.enrol_address.parse()?;
    let connection = connect_through(proxies.for_server(&address), &address, tls).await?;
    let mut client = EnrolmentClient::new(connection.channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
    exchange(state, identity, connection.exporter, async |queue| client.recover(queue).await).await
}

type Answered = Result<Response<Streaming<RenewReply>>, Status>;

async fn exchange(
    state: &StateDirectory,
    identity: &Identity,
    exporter: [u8; 32],
    call: impl AsyncFnOnce(ReceiverStream<RenewRequest>) -> Answered,
) -> Result<Identity, RenewalError> {
    let key = next_key(state)?;
    let done = dialogue(state, identity, exporter, key.as_ref(), call).await;
    if matches!(done, Err(RenewalError::KeyUsed)) {
        let folder = folder(state);
        [TLS_KEY_FILE, TPM_TLS_KEY_FILE].into_iter().try_for_each(|name| folder.remove_secret(name))?;
    }
    install(state, identity, key.as_ref(), done?)
}

async fn dialogue(
    state: &StateDirectory,
    identity: &Identity,
    exporter: [u8; 32],
    key: &dyn HeldKey,
    call: impl AsyncFnOnce(ReceiverStream<RenewRequest>) -> Answered,
) -> Result<proto::Renewed, RenewalError> {
    let attestation = identity.attestation_key(state)?;
    let instance = identity.owner.instance;
    // The same at every try of this key.
    let renewal_id = *key.public().id().as_bytes().first_chunk::<16>().unwrap_or(&[0; 16]);
    let (sender, queue) = mpsc::channel(2);
    let begin = RenewBegin { instance: instance.as_bytes().to_vec(), renewal_id: renewal_id.to_vec() };
    // The queue holds both messages of this stream, so neither sending can wait.
    send(&sender, Request::Begin(begin)).await;
    let replies = timeout(ANSWER_WAIT_MAX, call(ReceiverStream::new(queue)));
    let mut replies = replies.await.map_err(|_| RenewalError::Silent)??.into_inner();
    let Reply::Nonce(nonce) = next(&mut replies).await? else {
        return Err(RenewalError::Answer("it began with something else than a nonce".into()));
    };
    let trust_domain: TrustDomain = identity
        .stored
        .trust_domain
        .parse()
        .map_err(|error| RenewalError::Answer(format!("trust domain: {error}")))?;
    let transcript = Transcript {
        trust_domain,
        enrolment_id: renewal_id,
        nonce: nonce
            .nonce
            .as_slice()
            .try_into()
            .map_err(|_| RenewalError::Answer("its nonce is not 32 bytes".into()))?,
        exporter,
        token_hash: renewal_digest(&instance, nonce.generation),
        tls_key: key.public().clone(),
        attestation_key: *attestation.public(),
        facts_commitment: Digest::ZERO,
    };
    let bytes = transcript.encode();
    let sig_p256 = key.sign(&bytes).map_err(|error| RenewalError::Key(error.to_string()))?;
    let finish = RenewFinish {
        tls_spki: key.public().spki_der().to_vec(),
        sig_ed25519: attestation.sign(&bytes).to_vec(),
        sig_p256: sig_p256.to_vec(),
    };
    send(&sender, Request::Finish(finish)).await;
    let Reply::Renewed(renewed) = next(&mut replies).await? else {
        return Err(RenewalError::Answer("it ended with a second nonce".into()));
    };
    failpoints::reach("renewal-answered");
    Ok(renewed)
}

/// Checks the answer and makes it the identity: this device's name, the key that was made here, the root it always had.
fn install(
    state: &StateDirectory,
    identity: &Identity,
    key: &dyn HeldKey,
    renewed: proto::Renewed,
) -> Result<Identity, RenewalError> {
    let answer = |what: &str| RenewalError::Answer(what.to_owned());
    let stored = StoredIdentity {
        certificate: base64_of(&renewed.certificate),
        chain: renewed.chain.iter().map(|der| base64_of(der)).collect(),
        ..identity.stored.clone()
    };
    let new = Identity::parse(stored).map_err(RenewalError::Answer)?;
    if new.chain.len() != identity.chain.len() || new.root() != identity.root() {
        return Err(answer("its certificates do not end in this installation's root"));
    }
    let domain = identity.stored.trust_domain.parse().map_err(|_| answer("trust domain"))?;
    let certificate = new.chain.first().ok_or_else(|| answer("there is no certificate"))?;
    let certificate = PeerCertificate::read(certificate, &domain, Population::Agents)
        .map_err(|error| RenewalError::Answer(error.to_string()))?;
    if certificate.peer != Peer::Agent(identity.device) || certificate.tls_key != key.public().id() {
        return Err(answer("the certificate is for another device or another key"));
    }
    state.write_json(IDENTITY_FILE, &new.stored)?;
    failpoints::reach("renewal-identity-written");
    finish(state, &new)?;
    Ok(new)
}

async fn send(sender: &mpsc::Sender<RenewRequest>, step: Request) {
    // A closed stream says why when its answer is read.
    let _closed_or_sent = sender.send(RenewRequest { step: Some(step) }).await;
}

async fn next(replies: &mut Streaming<RenewReply>) -> Result<Reply, RenewalError> {
    let reply = timeout(ANSWER_WAIT_MAX, replies.message()).await.map_err(|_| RenewalError::Silent)??;
    reply
        .and_then(|reply| reply.step)
        .ok_or_else(|| RenewalError::Answer("the stream ended before there was a certificate".into()))
}

/// Whether a connection failed because the collector does not take this device's certificate: it has ended by the
/// collector's clock, or its authority is trusted no more. One that was revoked is another thing: nothing here helps.
///
/// By its words: h2 keeps of an error of the connection below it nothing else.
pub(crate) fn refuses_certificate(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some((_, alert)) = error.to_string().split_once(ALERT) {
            let name = alert.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
            return REFUSALS.contains(&name);
        }
        next = error.source();
    }
    false
}

#[cfg(test)]
mod tests;
