//! Enrolment: a token once, two keys made here, and a place in the log.
//!
//! Everything that must be the same at every try is made and kept before the first one: the enrolment id, both keys
//! and the facts. So a device whose answer was lost asks again and gets the answer it missed, instead of becoming
//! two devices.

use std::sync::Arc;
use std::time::Duration;

use certs::{HeldKey, Pin, Token};
use evidence::enrolment::Transcript;
use evidence::ids::{Digest, InstanceId};
use evidence::keys::SecretKey;
use evidence::newcomer::Newcomer;
use evidence::note::Checkpoint;
use evidence::time::Clock;
use evidence::trust_domain::TrustDomain;
use proto::enrol_reply::Step as Reply;
use proto::enrol_request::Step as Request;
use rpc::connect::{Address, ConnectError, connect_through};
use rpc::proxy::Proxies;
use rpc::v1::enrolment_client::EnrolmentClient;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;

use crate::anchor::Anchor;
use crate::backoff::Backoff;
use crate::binding;
use crate::custody;
use crate::disk::Folder;
use crate::identity::{IDENTITY_FILE, Identity, StoredIdentity, base64_of};
use crate::spool::{Limits, Spool, SpoolError};
use crate::state::{OPEN_MODE, StateDirectory, StateError};
use crate::succession;

/// What is kept between tries.
const PENDING_FILE: &str = "pending.json";
/// Largest message taken from a collector, in bytes.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// Most messages sent in one enrolment: begin, finish, and the answer to a challenge.
const MESSAGES: usize = 3;
/// Longest wait for one answer.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(30);

/// Longest wait a collector may ask for before the next try: whoever is approved in the morning works by noon.
const RETRY_WAIT_MAX: Duration = Duration::from_hours(1);

/// Why a device did not enrol.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// The state directory.
    #[error(transparent)]
    State(#[from] StateError),
    /// The spool of the new instance.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// Already enrolled somewhere else.
    #[error(
        "this device is already enrolled with {with} as {device}: use another --state directory, or --successor if the log \
         there follows the one it is enrolled in"
    )]
    Elsewhere {
        /// Where it enrolled.
        with: String,
        /// As whom.
        device: String,
    },
    /// An enrolment with another collector was begun and not finished.
    #[error("an enrolment with {with} was begun here and may be half done: finish it with --server {with}")]
    Begun {
        /// Where it was begun.
        with: String,
    },
    /// A move to a successor was begun and not finished.
    #[error("a move to a successor was begun in {path} and is half done: finish it with --successor")]
    Moving {
        /// The folder of what is not in its place yet.
        path: String,
    },
    /// What the collector shows of its first entry does not make its log the successor of this device's.
    #[error(
        "{origin} is not shown to follow what this device has seen of {before}, and nothing here was changed. Its operator can \
         give it `predecessor_tree`; else enrol with another --state directory"
    )]
    NoSuccessor {
        /// The new log.
        origin: String,
        /// This device's log.
        before: String,
        /// What is missing or wrong.
        source: Box<evidence::succession::SuccessionError>,
    },
    /// The system gives no randomness.
    #[error("the system gives no random bytes: {0}")]
    Random(getrandom::Error),
    /// A key could not be made.
    #[error("cannot make a key: {0}")]
    Key(String),
    /// No connection.
    #[error(transparent)]
    Connect(ConnectError),
    /// A server that does not show the token's root.
    #[error(
        "{server} is not the collector this token is for, or somebody is in between: check --server, and that the \
         token was made by that collector"
    )]
    WrongServer {
        /// Where it was tried.
        server: Address,
        /// What TLS said. Boxed, as it repeats the address.
        source: Box<ConnectError>,
    },
    /// The TLS configuration.
    #[error(transparent)]
    Tls(#[from] certs::TlsError),
    /// The collector refused, in its own words.
    #[error("the collector refused: {0}")]
    Refused(String),
    /// Not refused: a person must approve it.
    #[error(
        "this enrolment waits for a person: `tallystick devices approve {request}`. Run this again afterwards, or with --wait"
    )]
    Waiting {
        /// What an approval names.
        request: Digest,
        /// When to ask again.
        retry_after: Duration,
    },
    /// No answer in time.
    #[error("the collector did not answer within {} seconds: try again, nothing is lost", ANSWER_WAIT_MAX.as_secs())]
    Silent,
    /// An answer that cannot be right.
    #[error("the collector's answer is not usable: {0}")]
    Answer(String),
}

impl From<tonic::Status> for EnrolError {
    fn from(status: tonic::Status) -> Self {
        Self::Refused(crate::upload::words_of(&status))
    }
}

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The collector's enrolment listener.
    pub server: Address,
    /// Its listener for agents.
    pub agents: Address,
    /// The token.
    pub token: Token,
    /// The way there.
    pub proxies: Proxies,
}

/// Kept from before the first try until the identity is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pending {
    enrolment_id: String,
    server: String,
    detail: String,
    detail_salt: String,
}

/// The same thing at every try.
struct Prepared {
    enrolment_id: [u8; 16],
    detail: Vec<u8>,
    detail_salt: [u8; 32],
    attestation: SecretKey,
    tls: Arc<dyn HeldKey>,
}

/// Enrols, or finishes an enrolment whose answer was lost. When this device is enrolled with the same collector
/// already, nothing is sent and the identity is returned.
pub async fn enrol(
    state: &StateDirectory,
    wanted: &Wanted,
    newcomer: &Newcomer,
    clock: Arc<dyn Clock>,
) -> Result<Identity, EnrolError> {
    if succession::is_half_done(state) {
        return Err(EnrolError::Moving { path: state.path().display().to_string() });
    }
    state.create()?;
    let _lock = state.lock()?;
    match Identity::read(state) {
        Ok(identity) => {
            if identity.stored.enrol_address != wanted.server.to_string() {
                let with = identity.stored.enrol_address.clone();
                return Err(EnrolError::Elsewhere { with, device: identity.device.to_string() });
            }
            binding::check(state)?;
            ensure_spool(state, &identity)?;
            return Ok(identity);
        }
        Err(StateError::NotEnrolled { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    exchange(state, wanted, newcomer, clock, None).await
}

impl EnrolError {
    /// Whether the same thing may work later without anybody doing something at this device: a person has to approve it, or
    /// the collector is away.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Waiting { .. } | Self::Silent => true,
            Self::Connect(error) => !matches!(error, ConnectError::Tls { .. }),
            _ => false,
        }
    }
}

/// As [`enrol`], again and again with the same keys, until a person has approved it and the collector answers.
pub async fn enrol_and_wait(
    state: &StateDirectory,
    wanted: &Wanted,
    newcomer: &Newcomer,
    clock: Arc<dyn Clock>,
    mut told: impl FnMut(&EnrolError),
) -> Result<Identity, EnrolError> {
    let mut backoff = Backoff::default();
    loop {
        match enrol(state, wanted, newcomer, Arc::clone(&clock)).await {
            Err(error) if error.may_pass() => {
                told(&error);
                let asked = match &error {
                    EnrolError::Waiting { retry_after, .. } => *retry_after,
                    _ => Duration::ZERO,
                };
                let jittered = backoff.wait(getrandom::u64().unwrap_or(0));
                tokio::time::sleep(jittered.max(asked)).await;
            }
            done => return done,
        }
    }
}

/// Enrols in a directory that holds no identity, of which the caller holds the lock. `known`: what this device has seen of
/// the log that the new one must follow.
pub(crate) async fn exchange(
    state: &StateDirectory,
    wanted: &Wanted,
    newcomer: &Newcomer,
    clock: Arc<dyn Clock>,
    known: Option<&Checkpoint>,
) -> Result<Identity, EnrolError> {
    let prepared = prepare(state, &wanted.server, newcomer)?;
    let tls = certs::enrolment_client(wanted.token.pin, Arc::new(certs::SystemClock(clock)))?;
    let connection = connect_through(wanted.proxies.for_server(&wanted.server), &wanted.server, tls)
        .await
        .map_err(no_connection)?;
    let mut client = EnrolmentClient::new(connection.channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let (sender, queue) = mpsc::channel(MESSAGES);
    let begin = proto::EnrolBegin {
        enrolment_id: prepared.enrolment_id.to_vec(),
        anchor_size: known.map_or(0, |known| known.size),
    };
    // The queue holds every message of this stream, so no sending can wait.
    send(&sender, Request::Begin(begin)).await;
    let replies = timeout(ANSWER_WAIT_MAX, client.enrol(ReceiverStream::new(queue)));
    let mut replies = replies.await.map_err(|_| EnrolError::Silent)??.into_inner();
    let Reply::Nonce(nonce) = next(&mut replies).await? else {
        return Err(EnrolError::Answer("it began with something else than a nonce".into()));
    };
    let trust_domain: TrustDomain =
        nonce.trust_domain.parse().map_err(|error| EnrolError::Answer(format!("trust domain: {error}")))?;
    let mut finish = finish(&prepared, wanted, &trust_domain, &nonce.nonce, connection.exporter)?;
    finish.endorsement_certificate = custody::endorsement_certificate(state)?.unwrap_or_default();
    let claimed = custody::holder(state).map_or("k0", custody::Holder::claimed_level);
    claimed.clone_into(&mut finish.key_level_claimed);
    send(&sender, Request::Finish(finish)).await;
    let mut reply = next(&mut replies).await?;
    if let Reply::Challenge(challenge) = reply {
        let secret = custody::answer_challenge(state, &challenge.credential, &challenge.secret)?;
        send(&sender, Request::Proof(proto::EnrolProof { secret })).await;
        reply = next(&mut replies).await?;
    }
    let mut enrolled = match reply {
        Reply::Enrolled(enrolled) => enrolled,
        Reply::Pending(pending) => {
            let request = Digest::from_slice(&pending.request)
                .map_err(|error| EnrolError::Answer(format!("request: {error}")))?;
            let wait = Duration::from_millis(pending.retry_after_ms.into());
            return Err(EnrolError::Waiting { request, retry_after: wait.min(RETRY_WAIT_MAX) });
        }
        Reply::Nonce(_) | Reply::Challenge(_) => {
            return Err(EnrolError::Answer("it ended with something else than an enrolment".into()));
        }
    };
    let (first, proof) = (enrolled.first_entry.take(), std::mem::take(&mut enrolled.predecessor_consistency));
    let identity = accept(&prepared, wanted, &trust_domain, enrolled)?;
    if let Some(known) = known {
        succession::check(&identity, known, first, &proof)?;
    }
    ensure_spool(state, &identity)?;
    // The last write: from here on the device is enrolled.
    state.write_json(IDENTITY_FILE, &identity.stored)?;
    state.remove_secret(PENDING_FILE)?;
    Ok(identity)
}

fn no_connection(source: ConnectError) -> EnrolError {
    match &source {
        ConnectError::Tls { address, .. } => {
            EnrolError::WrongServer { server: address.clone(), source: Box::new(source) }
        }
        _ => EnrolError::Connect(source),
    }
}

async fn send(sender: &mpsc::Sender<proto::EnrolRequest>, step: Request) {
    // A closed stream says why when its answer is read.
    let _closed_or_sent = sender.send(proto::EnrolRequest { step: Some(step) }).await;
}

async fn next(replies: &mut tonic::Streaming<proto::EnrolReply>) -> Result<Reply, EnrolError> {
    let reply = timeout(ANSWER_WAIT_MAX, replies.message()).await.map_err(|_| EnrolError::Silent)??;
    reply
        .and_then(|reply| reply.step)
        .ok_or_else(|| EnrolError::Answer("the stream ended before the enrolment was finished".into()))
}

fn random<const N: usize>() -> Result<[u8; N], EnrolError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(EnrolError::Random)?;
    Ok(bytes)
}

/// Makes and keeps whatever is missing of the things that must not change between tries.
fn prepare(state: &StateDirectory, server: &Address, newcomer: &Newcomer) -> Result<Prepared, EnrolError> {
    let damaged = |name: &str, problem: String| StateError::Damaged {
        path: state.keys().join(name).display().to_string(),
        problem,
    };
    let attestation = match custody::attestation_key(state)? {
        Some(key) => key,
        None => custody::make_attestation_key(state)?,
    };
    let tls = match custody::tls_key(state)? {
        Some(key) => key,
        None => custody::make_tls_key(state)?,
    };
    let pending = if let Some(bytes) = state.read_secret(PENDING_FILE)? {
        let pending: Pending = serde_json::from_slice(&bytes)
            .map_err(|error| damaged(PENDING_FILE, format!("{error}; remove it to begin anew")))?;
        if pending.server != server.to_string() {
            return Err(EnrolError::Begun { with: pending.server });
        }
        pending
    } else {
        let detail = String::from_utf8_lossy(&newcomer.encode()).into_owned();
        let pending = Pending {
            enrolment_id: data_encoding::HEXLOWER.encode(&random::<16>()?),
            server: server.to_string(),
            detail,
            detail_salt: data_encoding::HEXLOWER.encode(&random::<32>()?),
        };
        let bytes = serde_json::to_vec(&pending).map_err(|error| damaged(PENDING_FILE, error.to_string()))?;
        state.write_new_secret(PENDING_FILE, &bytes)?;
        pending
    };
    let enrolment_id =
        hex(&pending.enrolment_id).ok_or_else(|| damaged(PENDING_FILE, "enrolment_id".into()))?;
    let detail_salt = hex(&pending.detail_salt).ok_or_else(|| damaged(PENDING_FILE, "detail_salt".into()))?;
    Ok(Prepared { enrolment_id, detail: pending.detail.into_bytes(), detail_salt, attestation, tls })
}

fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    data_encoding::HEXLOWER.decode(text.as_bytes()).ok()?.try_into().ok()
}

fn finish(
    prepared: &Prepared,
    wanted: &Wanted,
    trust_domain: &TrustDomain,
    nonce: &[u8],
    exporter: [u8; 32],
) -> Result<proto::EnrolFinish, EnrolError> {
    let nonce = nonce.try_into().map_err(|_| EnrolError::Answer("its nonce is not 32 bytes".into()))?;
    let transcript = Transcript {
        trust_domain: trust_domain.clone(),
        enrolment_id: prepared.enrolment_id,
        nonce,
        exporter,
        token_hash: wanted.token.secret.hash(),
        tls_key: prepared.tls.public().clone(),
        attestation_key: *prepared.attestation.public(),
        facts_commitment: Digest::of_parts(&[&prepared.detail_salt, &prepared.detail]),
    };
    let bytes = transcript.encode();
    let sig_p256 = prepared.tls.sign(&bytes).map_err(|error| EnrolError::Key(error.to_string()))?;
    Ok(proto::EnrolFinish {
        token_secret: wanted.token.secret.as_bytes().to_vec(),
        tls_spki: prepared.tls.public().spki_der().to_vec(),
        attestation_key: prepared.attestation.public().as_bytes().to_vec(),
        detail: prepared.detail.clone(),
        detail_salt: prepared.detail_salt.to_vec(),
        sig_ed25519: prepared.attestation.sign(&bytes).to_vec(),
        sig_p256: sig_p256.to_vec(),
        endorsement_certificate: Vec::new(),
        key_level_claimed: String::new(),
    })
}

/// Checks the answer and makes it the identity: what is pinned here is believed from now on.
fn accept(
    prepared: &Prepared,
    wanted: &Wanted,
    trust_domain: &TrustDomain,
    enrolled: proto::Enrolled,
) -> Result<Identity, EnrolError> {
    let instance = InstanceId::from_slice(&enrolled.instance)
        .map_err(|error| EnrolError::Answer(format!("instance: {error}")))?;
    let stored = StoredIdentity {
        device: enrolled.device,
        instance: instance.to_string(),
        trust_domain: trust_domain.as_str().to_owned(),
        origin: enrolled.origin,
        log_vkeys: enrolled.log_vkeys,
        witness_policy: enrolled.witness_policy,
        enrol_address: wanted.server.to_string(),
        agents_address: wanted.agents.to_string(),
        enrolment_index: enrolled.enrolment_index,
        attestation_key: prepared.attestation.public().hex(),
        certificate: base64_of(&enrolled.certificate),
        chain: enrolled.chain.iter().map(|der| base64_of(der)).collect(),
        checkpoint: enrolled.checkpoint,
    };
    let identity = Identity::parse(stored).map_err(EnrolError::Answer)?;
    // The token pinned the root: whoever answered must be of that installation.
    if identity.root().and_then(Pin::of) != Some(wanted.token.pin) {
        return Err(EnrolError::Answer("its root certificate is not the one the token pins".into()));
    }
    Anchor::from_note(identity.log.clone(), &identity.stored.checkpoint)
        .map_err(|error| EnrolError::Answer(crate::Causes(&error).to_string()))?;
    Ok(identity)
}

pub(crate) fn ensure_spool(state: &StateDirectory, identity: &Identity) -> Result<(), EnrolError> {
    match Spool::create(Folder::new(state.spool(), OPEN_MODE), identity.owner, Limits::default()) {
        Ok(_) | Err(SpoolError::Exists) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
