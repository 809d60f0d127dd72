//! A device that does what a test wants: enrols, signs any statement, and speaks Submit message by message.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use certs::{HeldIdentity, TlsKey, Token, pem};
use evidence::enrolment::Transcript;
use evidence::envelope::Envelope;
use evidence::ids::{DeviceId, Digest, InstanceId};
use evidence::keys::SecretKey;
use evidence::statement::{Attestation, Body, Statement};
use proto::enrol_reply::Step as Reply;
use proto::enrol_request::Step as Request;
use proto::from_agent::Item as Out;
use proto::to_agent::Item as In;
use proto::{
    EnrolBegin, EnrolFinish, EnrolProof, EnrolRequest, Enrolled, FromAgent, Hello, ToAgent, Welcome,
};
use rpc::connect::{ConnectError, Connection, connect};
use rpc::v1::enrolment_client::EnrolmentClient;
use rpc::v1::ingest_client::IngestClient;
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::process::PATIENCE;
use crate::world::{TRUST_DOMAIN, World, clock, now, random};

/// Messages that may wait to be sent.
const QUEUE: usize = 64;
/// Largest message a test sends: more than any listener takes.
const MESSAGE_BYTES_MAX: usize = 4 << 20;

/// The keys a device makes for itself.
pub struct Keys {
    /// Signs statements.
    pub attestation: SecretKey,
    /// Proves who connects.
    pub tls: TlsKey,
    /// The same at every try of one enrolment.
    pub enrolment_id: [u8; 16],
    /// Somebody's certificate of a TPM; its challenge is answered with zeros.
    pub endorsement_certificate: Vec<u8>,
    /// What it tells of itself.
    pub detail: Vec<u8>,
}

impl Keys {
    /// New keys.
    pub fn new() -> Self {
        Self {
            attestation: SecretKey::from_seed(&random()).expect("a key"),
            tls: TlsKey::generate().expect("a key"),
            enrolment_id: random(),
            endorsement_certificate: Vec::new(),
            detail: b"{}".to_vec(),
        }
    }
}

impl Keys {
    /// New keys of a machine that tells this serial number.
    pub fn with_serial(serial: &str) -> Self {
        let newcomer = evidence::newcomer::Newcomer {
            host_name: format!("host-{serial}"),
            identifiers: vec![(evidence::newcomer::SERIAL.to_owned(), serial.to_owned())],
        };
        Self { detail: newcomer.encode(), ..Self::new() }
    }
}

impl Default for Keys {
    fn default() -> Self {
        Self::new()
    }
}

/// An enrolled device.
pub struct Device {
    /// Its id.
    pub id: DeviceId,
    /// Its instance.
    pub instance: InstanceId,
    /// Signs its statements.
    pub key: SecretKey,
    /// Sequence of its next statement.
    pub next_sequence: u64,
    /// Hash of its last statement.
    pub previous: Digest,
    /// Keys of the log it enrolled with.
    pub log_keys: Vec<evidence::note::VerifierKey>,
    pub(crate) identity: HeldIdentity,
    /// The TLS key as PEM, for programs that are not ours.
    pub(crate) key_pem: String,
    pub(crate) root: CertificateDer<'static>,
    agents: SocketAddr,
}

/// Why a device did not enrol.
#[derive(Debug)]
pub enum NotEnrolled {
    /// No connection.
    Connect(ConnectError),
    /// The collector refused.
    Refused(Status),
    /// A person must approve this request first.
    Waits(Digest),
}

impl Device {
    /// Enrols a new device.
    pub async fn enrol(world: &World, token: &Token) -> Self {
        Self::try_enrol(world, token, Keys::new())
            .await
            .unwrap_or_else(|error| panic!("not enrolled: {error:?}"))
    }

    /// Tries to enrol with these keys.
    pub async fn try_enrol(world: &World, token: &Token, keys: Keys) -> Result<Self, NotEnrolled> {
        let enrolled = enrol(world.enrol, token, &keys).await?;
        let mut chain: Vec<CertificateDer<'static>> =
            std::iter::once(enrolled.certificate).chain(enrolled.chain).map(CertificateDer::from).collect();
        let root = chain.pop().expect("a chain ends in a root");
        let vkey = |text: &String| evidence::note::VerifierKey::parse(text).expect("a key of the log");
        Ok(Self {
            id: enrolled.device.parse().expect("a device id"),
            instance: InstanceId::from_slice(&enrolled.instance).expect("an instance"),
            key: keys.attestation,
            next_sequence: 0,
            previous: Digest::ZERO,
            log_keys: enrolled.log_vkeys.iter().map(vkey).collect(),
            key_pem: keys.tls.to_pem().to_string(),
            identity: HeldIdentity { chain, key: Arc::new(keys.tls) },
            root,
            agents: world.agents,
        })
    }

    /// A device that holds the identity in an agent's state directory. Its chain starts at `next_sequence`.
    pub fn of_agent(state: &Path, next_sequence: u64, previous: Digest) -> Self {
        let state = agent::state::StateDirectory::new(state.to_owned());
        let identity = agent::identity::Identity::read(&state).expect("an enrolled agent");
        Self {
            id: identity.device,
            instance: identity.owner.instance,
            key: identity.attestation_key(&state).expect("its key"),
            next_sequence,
            previous,
            log_keys: identity.log.keys.clone(),
            key_pem: std::fs::read_to_string(state.keys().join("tls.key")).expect("its TLS key"),
            identity: identity.tls(&state).expect("its certificate"),
            root: identity.root().expect("its root").clone(),
            agents: identity.stored.agents_address.parse().expect("an address"),
        }
    }

    /// What it would sign next.
    pub fn next(&self) -> Statement {
        self.statement(self.next_sequence, self.previous)
    }

    /// An attestation at a place in its chain.
    pub fn statement(&self, sequence: u64, previous: Digest) -> Statement {
        let digest = || Digest::of(&sequence.to_be_bytes()).as_bytes().to_vec();
        let fields = proto::Attestation {
            device: self.id.to_string(),
            boot: digest(),
            boot_minutes: 1,
            wall_minutes: now().minutes(),
            trigger: proto::Trigger::Schedule.into(),
            agent_version: "test".to_owned(),
            agent_digest: digest(),
            catalogue_digest: digest(),
            configuration_digest: Digest::ZERO.as_bytes().to_vec(),
            asset: Some(proto::AssetClaim {
                class: proto::AssetClass::Laptop.into(),
                chassis_type: Some(10),
                battery: Some(true),
                graphical_target: Some(true),
                virtualisation: Some("none".to_owned()),
            }),
            answers_digest: digest(),
            observations: vec![unobserved("edr"), unobserved("os-patch")],
        };
        let body = Body::Attestation(Box::new(Attestation { device: self.id, fields }));
        Statement { instance: self.instance, sequence, previous, anchor: None, body }
    }

    /// Signs its next statement.
    pub fn sign_next(&mut self) -> Envelope {
        let envelope = Envelope::sign(&self.next(), &self.key);
        self.next_sequence += 1;
        self.previous = envelope.hash();
        envelope
    }

    /// How it connects: with its certificate, to holders of this installation's.
    pub fn tls(&self) -> Arc<ClientConfig> {
        certs::mutual_client(&self.identity, &self.root, clock()).expect("TLS")
    }

    /// Its certificate with its authority's, its key, and the root, as PEM.
    pub fn pems(&self) -> [String; 3] {
        let chain = self.identity.chain.iter().map(|der| pem::encode(pem::CERTIFICATE, der)).collect();
        let root = pem::encode(pem::CERTIFICATE, &self.root);
        [chain, self.key_pem.clone(), root]
    }

    /// Connects to the listener for devices.
    pub async fn connect(&self) -> Result<Connection, ConnectError> {
        let tls = certs::mutual_client(&self.identity, &self.root, clock()).expect("TLS");
        connect(&self.agents.to_string().parse().expect("an address"), tls).await
    }

    /// Connects to another listener with this device's certificate.
    pub async fn connect_to(&self, address: SocketAddr) -> Result<Connection, ConnectError> {
        let tls = certs::mutual_client(&self.identity, &self.root, clock()).expect("TLS");
        connect(&address.to_string().parse().expect("an address"), tls).await
    }

    /// Opens a stream and greets.
    pub async fn greet(&self) -> (Submit, Welcome) {
        let mut submit = self.open().await.expect("a stream");
        submit.hello(&self.instance, 0, Vec::new()).await;
        match submit.next().await.expect("a greeting") {
            In::Welcome(welcome) => (submit, welcome),
            other => panic!("the first answer is {other:?}"),
        }
    }

    /// Opens a stream and says nothing yet.
    pub async fn open(&self) -> Result<Submit, Status> {
        let connection = self.connect().await.map_err(|error| Status::unavailable(format!("{error:?}")))?;
        self.open_over(&connection).await
    }

    /// The same over an open connection.
    pub async fn open_over(&self, connection: &Connection) -> Result<Submit, Status> {
        let (sender, queue) = mpsc::channel(QUEUE);
        let mut client =
            IngestClient::new(connection.channel.clone()).max_encoding_message_size(MESSAGE_BYTES_MAX);
        let answers = timely(client.submit(ReceiverStream::new(queue))).await?.into_inner();
        Ok(Submit { sender, answers })
    }
}

fn unobserved(control: &str) -> proto::Observation {
    let reason = proto::Unavailable { reason: proto::Reason::Container.into(), question: String::new() };
    proto::Observation {
        control: control.to_owned(),
        probe_version: 1,
        outcome: Some(proto::observation::Outcome::Unavailable(reason)),
        kept_minutes: None,
    }
}

/// A Submit stream, message by message.
pub struct Submit {
    sender: mpsc::Sender<FromAgent>,
    answers: Streaming<ToAgent>,
}

impl Submit {
    /// Its two directions, for who sends and hears at one time.
    pub fn split(self) -> (mpsc::Sender<FromAgent>, Streaming<ToAgent>) {
        (self.sender, self.answers)
    }

    /// Sends a message. A stream that is over says why when its answer is read.
    pub async fn send(&self, item: Out) {
        drop(self.sender.send(FromAgent { item: Some(item) }).await);
    }

    /// Sends the greeting.
    pub async fn hello(&self, instance: &InstanceId, anchor_size: u64, unproved: Vec<u64>) {
        let instance = instance.as_bytes().to_vec();
        self.send(Out::Hello(Hello { instance, anchor_size, unproved })).await;
    }

    /// Sends an envelope.
    pub async fn envelope(&self, bytes: &[u8]) {
        self.send(Out::Envelope(bytes.to_vec())).await;
    }

    /// The next message, or how the stream ended.
    pub async fn next(&mut self) -> Result<In, Status> {
        match timely(self.answers.message()).await? {
            Some(message) => message.item.ok_or_else(|| Status::internal("an empty message")),
            None => Err(Status::ok("the stream ended")),
        }
    }

    /// The next answer to an envelope: checkpoints, proofs and postures, which come when they will, are left out.
    pub async fn answer(&mut self) -> Result<In, Status> {
        loop {
            match self.next().await? {
                In::Checkpoint(_) | In::Proved(_) | In::Posture(_) | In::Renew(_) => {}
                other => return Ok(other),
            }
        }
    }

    /// Sends an envelope and expects it to be stored.
    pub async fn store(&mut self, envelope: &Envelope) -> proto::Stored {
        self.envelope(envelope.bytes()).await;
        match self.answer().await.expect("an answer") {
            In::Stored(stored) => stored,
            other => panic!("not stored: {other:?}"),
        }
    }

    /// Sends bytes and expects them to be refused.
    pub async fn refused(&mut self, bytes: &[u8]) -> (proto::RefusedReason, String) {
        self.envelope(bytes).await;
        match self.answer().await.expect("an answer") {
            In::Refused(refused) => (refused.reason(), refused.detail),
            other => panic!("not refused: {other:?}"),
        }
    }
}

pub(crate) async fn timely<T>(answer: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    tokio::time::timeout(PATIENCE, answer).await.unwrap_or_else(|_| panic!("no answer in {PATIENCE:?}"))
}

/// One dialogue of an enrolment.
pub async fn enrol(address: SocketAddr, token: &Token, keys: &Keys) -> Result<Enrolled, NotEnrolled> {
    let tls = certs::enrolment_client(token.pin, clock()).expect("TLS");
    let address = address.to_string().parse().expect("an address");
    let connection = connect(&address, tls).await.map_err(NotEnrolled::Connect)?;
    let exporter = connection.exporter;
    match replied(connection, token, keys, exporter).await {
        Ok(Reply::Enrolled(enrolled)) => Ok(enrolled),
        Ok(Reply::Pending(pending)) => {
            Err(NotEnrolled::Waits(Digest::from_slice(&pending.request).expect("a request")))
        }
        Ok(other @ (Reply::Nonce(_) | Reply::Challenge(_))) => panic!("the dialogue ends with {other:?}"),
        Err(status) => Err(NotEnrolled::Refused(status)),
    }
}

/// A dialogue over an open connection, with the exporter the device signs.
pub async fn dialogue(
    connection: Connection,
    token: &Token,
    keys: &Keys,
    exporter: [u8; 32],
) -> Result<Enrolled, Status> {
    match replied(connection, token, keys, exporter).await? {
        Reply::Enrolled(enrolled) => Ok(enrolled),
        other => panic!("the dialogue ends with {other:?}"),
    }
}

/// The last answer of a dialogue.
async fn replied(
    connection: Connection,
    token: &Token,
    keys: &Keys,
    exporter: [u8; 32],
) -> Result<Reply, Status> {
    let mut client = EnrolmentClient::new(connection.channel);
    let (sender, queue) = mpsc::channel(2);
    let send = async |step| drop(sender.send(EnrolRequest { step: Some(step) }).await);
    send(Request::Begin(EnrolBegin { enrolment_id: keys.enrolment_id.to_vec(), anchor_size: 0 })).await;
    let mut replies = timely(client.enrol(ReceiverStream::new(queue))).await?.into_inner();
    let Some(Reply::Nonce(nonce)) = timely(replies.message()).await?.and_then(|reply| reply.step) else {
        panic!("the dialogue begins with a nonce");
    };
    let (detail, detail_salt) = (keys.detail.clone(), random::<32>());
    let transcript = Transcript {
        trust_domain: TRUST_DOMAIN.parse().expect("a trust domain"),
        enrolment_id: keys.enrolment_id,
        nonce: nonce.nonce.try_into().expect("32 bytes"),
        exporter,
        token_hash: token.secret.hash(),
        tls_key: keys.tls.public().clone(),
        attestation_key: *keys.attestation.public(),
        facts_commitment: Digest::of_parts(&[&detail_salt, &detail]),
    };
    let bytes = transcript.encode();
    send(Request::Finish(EnrolFinish {
        token_secret: token.secret.as_bytes().to_vec(),
        tls_spki: keys.tls.public().spki_der().to_vec(),
        attestation_key: keys.attestation.public().as_bytes().to_vec(),
        detail,
        detail_salt: detail_salt.to_vec(),
        sig_ed25519: keys.attestation.sign(&bytes).to_vec(),
        sig_p256: keys.tls.sign(&bytes).expect("a signature").to_vec(),
        endorsement_certificate: keys.endorsement_certificate.clone(),
        key_level_claimed: String::new(),
    }))
    .await;
    let reply = timely(replies.message()).await?.and_then(|reply| reply.step).expect("an answer");
    let Reply::Challenge(_) = reply else { return Ok(reply) };
    send(Request::Proof(EnrolProof { secret: vec![0; 32] })).await;
    Ok(timely(replies.message()).await?.and_then(|reply| reply.step).expect("an answer"))
}
