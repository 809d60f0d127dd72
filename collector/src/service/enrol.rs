//! Enrolment: one stream, one nonce, one device. docs/FORMAT.md section 7.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use certs::{Order, Serial, Subject};
use evidence::acts::{Body, Enrolment, KeyLevel};
use evidence::enrolment::{TlsPublicKey, Transcript};
use evidence::ids::{Class, DeviceId, Digest, InstanceId, Name};
use evidence::keys::PublicKey;
use evidence::trust_domain::TrustDomain;
use proto::enrol_reply::Step as Reply;
use proto::enrol_request::Step as Request;
use proto::{EnrolBegin, EnrolFinish, EnrolNonce, EnrolReply, EnrolRequest, Enrolled};
use proto::{RenewReply, RenewRequest};
use rpc::v1::enrolment_server::Enrolment as EnrolmentService;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::renew::{Renewals, Way, chain_of, issue_and_keep};
use super::status;
use crate::causes::chain;
use crate::for_tests;
use crate::identity::Identities;
use crate::listen::PeerInfo;
use crate::state::{DETAIL_BYTES_MAX, Detail, State, random};
use crate::succession::{PredecessorTree, first_entry};

/// How long a nonce is good: long enough for a slow link, too short to carry elsewhere.
const NONCE_LIFETIME: Duration = Duration::from_mins(1);

/// The enrolment service.
pub struct EnrolService {
    state: Arc<State>,
    identities: Arc<Identities>,
    /// A public tree of the log before this one.
    predecessor_tree: Option<PathBuf>,
}

impl EnrolService {
    /// The service over what the collector shares.
    pub fn new(state: Arc<State>, identities: Arc<Identities>, predecessor_tree: Option<PathBuf>) -> Self {
        Self { state, identities, predecessor_tree }
    }
}

#[tonic::async_trait]
impl EnrolmentService for EnrolService {
    type EnrolStream = ReceiverStream<Result<EnrolReply, Status>>;
    type RecoverStream = ReceiverStream<Result<RenewReply, Status>>;

    async fn recover(
        &self,
        request: tonic::Request<Streaming<RenewRequest>>,
    ) -> Result<tonic::Response<Self::RecoverStream>, Status> {
        Renewals::new(Arc::clone(&self.state), Arc::clone(&self.identities)).answer(request, Way::Recovery)
    }

    async fn enrol(
        &self,
        request: tonic::Request<Streaming<EnrolRequest>>,
    ) -> Result<tonic::Response<Self::EnrolStream>, Status> {
        let exporter = request
            .extensions()
            .get::<PeerInfo>()
            .map(|info| info.exporter)
            .ok_or_else(|| Status::internal("the connection's TLS exporter is not known"))?;
        let mut incoming = request.into_inner();
        let (answers, outgoing) = tokio::sync::mpsc::channel(2);
        let around = Self {
            state: Arc::clone(&self.state),
            identities: Arc::clone(&self.identities),
            predecessor_tree: self.predecessor_tree.clone(),
        };
        tokio::spawn(async move {
            let dialogue = around.dialogue(exporter, &mut incoming, &answers);
            let result = tokio::time::timeout(NONCE_LIFETIME, dialogue)
                .await
                .unwrap_or_else(|_| Err(Status::deadline_exceeded("the nonce has expired: enrol again")));
            if let Err(status) = result {
                tracing::warn!(reason = status.message(), "Enrolment refused.");
                // A device that is gone does not wait for the answer.
                drop(answers.send(Err(status)).await);
            }
        });
        Ok(tonic::Response::new(ReceiverStream::new(outgoing)))
    }
}

type Answers = tokio::sync::mpsc::Sender<Result<EnrolReply, Status>>;

impl EnrolService {
    async fn dialogue(
        &self,
        exporter: [u8; 32],
        incoming: &mut Streaming<EnrolRequest>,
        answers: &Answers,
    ) -> Result<(), Status> {
        let Some(Request::Begin(EnrolBegin { enrolment_id, anchor_size })) = next(incoming).await? else {
            return Err(Status::invalid_argument("the first message must be begin"));
        };
        let enrolment_id = <[u8; 16]>::try_from(enrolment_id.as_slice())
            .map_err(|_| Status::invalid_argument("enrolment_id must be 16 bytes"))?;
        let nonce: [u8; 32] = random().map_err(|error| status(&error))?;
        let challenge =
            EnrolNonce { nonce: nonce.to_vec(), trust_domain: self.state.trust_domain().to_owned() };
        send(answers, Reply::Nonce(challenge)).await?;
        let Some(Request::Finish(finish)) = next(incoming).await? else {
            return Err(Status::invalid_argument("the second message must be finish"));
        };
        let claim = Claim::check(&self.state, enrolment_id, nonce, exporter, finish)?;
        let mut enrolled = claim.enrol(&self.state, &self.identities).await?;
        if anchor_size > 0 {
            self.show_succession(&mut enrolled, anchor_size)?;
        }
        send(answers, Reply::Enrolled(enrolled)).await
    }

    /// Adds what shows a device of the predecessor's that this log goes on from what it has seen.
    fn show_succession(&self, enrolled: &mut Enrolled, anchor_size: u64) -> Result<(), Status> {
        let published = self
            .state
            .ledger
            .checkpoint()
            .ok_or_else(|| Status::unavailable("there is no checkpoint yet"))?;
        let first = tokio::task::block_in_place(|| first_entry(&self.state.ledger, &published));
        enrolled.first_entry = Some(first.map_err(|error| status(&error.into()))?);
        let named = {
            let book = self.state.book();
            book.authority.roster().genesis().and_then(|genesis| genesis.predecessor.clone())
        };
        let (Some(named), Some(tree)) = (named, &self.predecessor_tree) else { return Ok(()) };
        // Without a proof the device refuses, and says what it misses.
        let proof = tokio::task::block_in_place(|| {
            let tree = PredecessorTree::open(tree, &named).map_err(|error| chain(&error))?;
            tree.consistency(anchor_size).map_err(|error| chain(&error))
        });
        match proof {
            Ok(hashes) => {
                enrolled.predecessor_consistency = hashes.iter().map(|hash| hash.0.to_vec()).collect();
            }
            Err(error) => tracing::error!(error, "The predecessor's tree could not be read."),
        }
        Ok(())
    }
}

async fn next(incoming: &mut Streaming<EnrolRequest>) -> Result<Option<Request>, Status> {
    Ok(incoming.message().await?.and_then(|request| request.step))
}

async fn send(answers: &Answers, step: Reply) -> Result<(), Status> {
    answers
        .send(Ok(EnrolReply { step: Some(step) }))
        .await
        .map_err(|_| Status::cancelled("the device is gone"))
}

/// What a device claims at the end of its dialogue: both signatures hold over this connection's transcript.
struct Claim {
    transcript: Transcript,
    bytes: Vec<u8>,
    sig_ed25519: Vec<u8>,
    sig_p256: Vec<u8>,
    detail: Detail,
}

impl Claim {
    fn check(
        state: &State,
        enrolment_id: [u8; 16],
        nonce: [u8; 32],
        exporter: [u8; 32],
        finish: EnrolFinish,
    ) -> Result<Self, Status> {
        let refuse = |what: &str| Status::invalid_argument(what.to_owned());
        if finish.detail.len() > DETAIL_BYTES_MAX {
            return Err(refuse("the device's detail is too long"));
        }
        let random = <[u8; 32]>::try_from(finish.detail_salt.as_slice())
            .map_err(|_| refuse("detail_salt must be 32 bytes"))?;
        let detail = Detail { random, bytes: finish.detail };
        if finish.token_secret.len() != 32 {
            return Err(refuse("the token's secret must be 32 bytes"));
        }
        let trust_domain: TrustDomain =
            state.trust_domain().parse().map_err(|_| Status::internal("the trust domain is not one"))?;
        let transcript = Transcript {
            trust_domain,
            enrolment_id,
            nonce,
            exporter,
            token_hash: Digest::of(&finish.token_secret),
            tls_key: TlsPublicKey::from_spki_der(&finish.tls_spki).map_err(|e| refuse(&e.to_string()))?,
            attestation_key: PublicKey::from_slice(&finish.attestation_key)
                .map_err(|e| refuse(&format!("the attestation key: {e}")))?,
            facts_commitment: detail.digest(),
        };
        let bytes = transcript.encode();
        // The device signed what it saw; if that was another connection, nothing holds here.
        Transcript::verify(&bytes, &finish.sig_ed25519, &finish.sig_p256).map_err(|error| {
            Status::unauthenticated(format!("{error}: the transcript of this connection"))
        })?;
        Ok(Self { transcript, bytes, sig_ed25519: finish.sig_ed25519, sig_p256: finish.sig_p256, detail })
    }

    async fn enrol(self, state: &Arc<State>, identities: &Arc<Identities>) -> Result<Enrolled, Status> {
        if let Some(before) = self.retried(state)? {
            return self.answer(state, identities, before).await;
        }
        let now = state.clock.now();
        let (class, group) = self.token(state, now)?;
        let device = DeviceId::from_bytes(random().map_err(|error| status(&error))?);
        let instance = InstanceId::from_bytes(random().map_err(|error| status(&error))?);
        let serial = Serial::from_random(random().map_err(|error| status(&error))?);
        let order = Order {
            subject: &Subject::Agent(device),
            public_key: &self.transcript.tls_key,
            serial,
            now,
            lifetime: for_tests::agent_lifetime(),
        };
        let certificate = issue_and_keep(identities, &order)?;
        let act = Enrolment {
            device,
            instance,
            class,
            group,
            attestation_key: self.transcript.attestation_key,
            token_hash: self.transcript.token_hash,
            transcript: self.bytes.clone(),
            sig_ed25519: self.sig_ed25519.clone(),
            sig_p256: self.sig_p256.clone(),
            certificate,
            // What a device says of its keys is no more than its word.
            key_level: KeyLevel::K0,
            serial: None,
        };
        let (entry, detail) = (act.clone(), self.detail.clone());
        let stored = state
            .operate_with(move |_| Ok((Some(detail), Body::Enrolment(Box::new(entry)))))
            .await
            .map_err(|error| status(&error))?;
        tracing::info!(device = %device, index = stored.index, "Device enrolled.");
        self.answer(state, identities, Before { act, index: stored.index }).await
    }

    fn token(&self, state: &State, now: evidence::time::Timestamp) -> Result<(Class, Name), Status> {
        let book = state.book();
        let token = book
            .authority
            .roster()
            .check_token(&self.transcript.token_hash, now)
            .map_err(|error| Status::permission_denied(error.to_string()))?;
        Ok((token.class, token.group.clone()))
    }

    /// The enrolment this is a retry of: same token, same enrolment id, same keys. Anything else with a used token is refused.
    fn retried(&self, state: &State) -> Result<Option<Before>, Status> {
        let (device, index) = {
            let book = state.book();
            let roster = book.authority.roster();
            let Some(token) = roster.token(&self.transcript.token_hash) else { return Ok(None) };
            let same_key = token.used_by.iter().find_map(|device| {
                let instance = roster.device(device)?.instances.first()?;
                let record = roster.instance(instance)?;
                (record.key == self.transcript.attestation_key).then_some((*device, record.index))
            });
            let Some(found) = same_key else { return Ok(None) };
            found
        };
        let used = || Status::permission_denied(format!("the token was used before, for device {device}"));
        let entry = state.ledger.entry(index).map_err(|error| status(&error.into()))?;
        let (_, act) = evidence::acts::Act::open(&entry.payload).map_err(|_| used())?;
        let Body::Enrolment(act) = act.body else { return Err(used()) };
        let earlier = Transcript::parse(&act.transcript).map_err(|_| used())?;
        let same = earlier.enrolment_id == self.transcript.enrolment_id
            && earlier.tls_key == self.transcript.tls_key
            && earlier.attestation_key == self.transcript.attestation_key;
        if same { Ok(Some(Before { act: *act, index })) } else { Err(used()) }
    }

    async fn answer(
        &self,
        state: &Arc<State>,
        identities: &Arc<Identities>,
        before: Before,
    ) -> Result<Enrolled, Status> {
        let certificate = identities.issued(&before.act.certificate).map_err(|error| {
            tracing::error!(error = %error, "An issued certificate is missing.");
            Status::internal("the certificate issued for this device is missing: ask for a new token")
        })?;
        let published = state.wait_for_checkpoint(before.index + 1).await.map_err(|error| status(&error))?;
        Ok(Enrolled {
            device: before.act.device.to_string(),
            instance: before.act.instance.as_bytes().to_vec(),
            certificate,
            chain: chain_of(identities, &before.act.certificate)?,
            origin: state.origin().to_owned(),
            log_vkeys: vec![state.log_key().vkey()],
            witness_policy: state.witness_policy().to_owned(),
            checkpoint: published.note.clone(),
            enrolment_index: before.index,
            first_entry: None,
            predecessor_consistency: Vec::new(),
        })
    }
}

/// An enrolment that stands in the log.
struct Before {
    act: Enrolment,
    index: u64,
}
