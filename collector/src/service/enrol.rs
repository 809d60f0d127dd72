//! Enrolment: one stream, one nonce, one device. docs/FORMAT.md section 7.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use certs::residency::TpmMakers;
use certs::{Order, Serial, Subject};
use evidence::acts::{Allows, Body, Enrolment, KeyLevel, request_digest, serial_digest};
use evidence::enrolment::{TlsPublicKey, Transcript};
use evidence::ids::{DeviceId, Digest, InstanceId};
use evidence::keys::PublicKey;
use evidence::newcomer::{Newcomer, serial_lines};
use evidence::roster::RosterError;
use evidence::time::Timestamp;
use evidence::trust_domain::TrustDomain;
use proto::enrol_reply::Step as Reply;
use proto::enrol_request::Step as Request;
use proto::{
    EnrolBegin, EnrolChallenge, EnrolFinish, EnrolNonce, EnrolPending, EnrolReply, EnrolRequest, Enrolled,
    RenewReply, RenewRequest,
};
use rpc::v1::enrolment_server::Enrolment as EnrolmentService;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};
use zeroize::Zeroizing;

use self::steps::{Before, GoodToken, Refused, Step, answer, wait};
use super::renew::{Renewals, Way, issue_and_keep};
use super::{residency, status};
use crate::causes::chain;
use crate::enrolling::Enrolling;
use crate::enrolling::pending::{Waiting, Why};
use crate::failpoints;
use crate::for_tests;
use crate::identity::Identities;
use crate::ledger::Found;
use crate::listen::PeerInfo;
use crate::state::{DETAIL_BYTES_MAX, Detail, State, StateError, random};
use crate::succession::{PredecessorTree, first_entry};

mod steps;

/// How long a nonce is good: long enough for a slow link, too short to carry elsewhere.
const NONCE_LIFETIME: Duration = Duration::from_mins(1);

/// What a newcomer that waits is asked to wait at least, milliseconds. Its own backoff grows from there.
const RETRY_AFTER_MS: u32 = 5_000;
/// All that a stranger learns of a token that does not enrol it: which of these it is stands in the collector's log.
const TOKEN_REFUSED: &str = "this token does not enrol this device: it is mistyped, expired, used or not of this log. Ask an \
                             admin for a new one";
/// What an address is told that gave too many wrong tokens, whatever it gives now.
const ADDRESS_LOCKED: &str = "too many wrong tokens came from this address: wait ten minutes, then try again";

/// The enrolment service.
#[derive(Clone)]
pub struct EnrolService {
    state: Arc<State>,
    identities: Arc<Identities>,
    enrolling: Arc<Enrolling>,
    /// A public tree of the log before this one.
    predecessor_tree: Option<PathBuf>,
    /// Whose TPMs are trusted.
    makers: Option<Arc<TpmMakers>>,
}

impl EnrolService {
    /// The service over what the collector shares.
    pub fn new(
        state: Arc<State>,
        identities: Arc<Identities>,
        enrolling: Arc<Enrolling>,
        predecessor_tree: Option<PathBuf>,
    ) -> Self {
        Self { state, identities, enrolling, predecessor_tree, makers: None }
    }

    /// The same, which finds out whether a key lies in a TPM of one of these makers.
    pub fn trusting(self, makers: Option<TpmMakers>) -> Self {
        Self { makers: makers.map(Arc::new), ..self }
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
        let (exporter, address) = request
            .extensions()
            .get::<PeerInfo>()
            .map(|info| (info.exporter, info.address.ip()))
            .ok_or_else(|| Status::internal("the connection's TLS exporter is not known"))?;
        let mut incoming = request.into_inner();
        let (answers, outgoing) = tokio::sync::mpsc::channel(2);
        let around = self.clone();
        tokio::spawn(async move {
            let dialogue = around.dialogue(exporter, address, &mut incoming, &answers);
            let result = tokio::time::timeout(NONCE_LIFETIME, dialogue)
                .await
                .unwrap_or_else(|_| Err(Status::deadline_exceeded("the nonce has expired: enrol again")));
            if let Err(status) = result {
                tracing::warn!(%address, reason = status.message(), "Enrolment refused.");
                // A device that is gone does not wait for the answer.
                drop(answers.try_send(Err(status)));
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
        address: IpAddr,
        incoming: &mut Streaming<EnrolRequest>,
        answers: &Answers,
    ) -> Result<(), Status> {
        let locked = || self.enrolling.attempts.is_locked(address, Instant::now());
        if locked() {
            return Err(Status::resource_exhausted(ADDRESS_LOCKED));
        }
        let Some(Request::Begin(EnrolBegin { enrolment_id, anchor_size })) = next(incoming).await? else {
            return Err(Status::invalid_argument("the first message must be begin"));
        };
        let enrolment_id = <[u8; 16]>::try_from(enrolment_id.as_slice())
            .map_err(|_| Status::invalid_argument("enrolment_id must be 16 bytes"))?;
        let nonce = fresh_nonce()?;
        let challenge =
            EnrolNonce { nonce: nonce.to_vec(), trust_domain: self.state.trust_domain().to_owned() };
        send(answers, Reply::Nonce(challenge)).await?;
        let Some(Request::Finish(mut finish)) = next(incoming).await? else {
            return Err(Status::invalid_argument("the second message must be finish"));
        };
        let certificate = std::mem::take(&mut finish.endorsement_certificate);
        let claimed = residency::claimed(&finish.key_level_claimed);
        let claim = Claim::check(self.state.trust_domain(), enrolment_id, nonce, exporter, finish)?;
        // Before its turn: nobody waits for another device's TPM.
        let level = self.key_level(&claim, &certificate, incoming, answers).await?;
        let before = {
            let _turn = self.enrolling.turn.lock().await;
            // Again, as others of this address had their turn meanwhile.
            if locked() {
                return Err(Status::resource_exhausted(ADDRESS_LOCKED));
            }
            match claim.enrol(&self.state, &self.identities, &self.enrolling, address, level).await {
                Ok(Step::Enrolled(before)) => before,
                Ok(Step::Pending(request)) => {
                    let pending =
                        EnrolPending { request: request.as_bytes().to_vec(), retry_after_ms: RETRY_AFTER_MS };
                    return send(answers, Reply::Pending(pending)).await;
                }
                Err(Refused::Token(why)) => {
                    tracing::warn!(%address, why, "A wrong token.");
                    self.enrolling.attempts.note(address, Instant::now());
                    return Err(Status::permission_denied(TOKEN_REFUSED));
                }
                Err(Refused::Told(status)) => return Err(*status),
            }
        };
        // What it claims is no fact of the log: a device says of itself what it likes.
        let (device, established) = (before.act.device, before.act.key_level);
        tracing::info!(%device, key_level = established.as_str(), claimed, "The key level is established.");
        // Outside its turn: the wait for a checkpoint takes up to a second.
        let mut enrolled = answer(&self.state, &self.identities, *before).await?;
        if anchor_size > 0 {
            self.show_succession(&mut enrolled, anchor_size)?;
        }
        send(answers, Reply::Enrolled(enrolled)).await
    }

    /// Finds out whether the TLS key lies in a TPM of a trusted maker. What could not be checked counts as nothing; a TPM that
    /// does not open its challenge has no such key, and its device says so falsely.
    async fn key_level(
        &self,
        claim: &Claim,
        certificate: &[u8],
        incoming: &mut Streaming<EnrolRequest>,
        answers: &Answers,
    ) -> Result<KeyLevel, Status> {
        let (key, now) = (&claim.transcript.tls_key, self.state.clock.now());
        // A wrong token is refused in its turn, and who enrolled before has its level: neither is asked anything.
        if claim.token(&self.state, now).is_err() || matches!(claim.retried(&self.state), Ok(Some(_))) {
            return Ok(KeyLevel::K0);
        }
        let challenge = residency::challenge(self.makers.as_deref(), certificate, key, now);
        let Some(challenge) = challenge.map_err(|error| Status::internal(error.to_string()))? else {
            return Ok(KeyLevel::K0);
        };
        let asked =
            EnrolChallenge { credential: challenge.credential.clone(), secret: challenge.secret.clone() };
        send(answers, Reply::Challenge(asked)).await?;
        let Some(Request::Proof(proof)) = next(incoming).await? else {
            return Err(Status::invalid_argument("the message after a challenge must be proof"));
        };
        if challenge.is_met_by(&proof.secret) {
            Ok(KeyLevel::K3)
        } else {
            Err(Status::permission_denied(
                "the TPM of this endorsement certificate does not hold the TLS key: its answer to the challenge is wrong",
            ))
        }
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

/// A challenge: 32 random bytes that nobody was given before and that die with their stream.
fn fresh_nonce() -> Result<[u8; 32], Status> {
    random().map_err(|error| status(&error))
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
    token_secret: Zeroizing<Vec<u8>>,
    bytes: Vec<u8>,
    sig_ed25519: Vec<u8>,
    sig_p256: Vec<u8>,
    detail: Detail,
}

impl Claim {
    fn check(
        trust_domain: &str,
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
            trust_domain.parse().map_err(|_| Status::internal("the trust domain is not one"))?;
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
        let token_secret = Zeroizing::new(finish.token_secret);
        let (sig_ed25519, sig_p256) = (finish.sig_ed25519, finish.sig_p256);
        Ok(Self { transcript, token_secret, bytes, sig_ed25519, sig_p256, detail })
    }

    /// Enrols, or finds that a person must approve first.
    async fn enrol(
        self,
        state: &Arc<State>,
        identities: &Arc<Identities>,
        enrolling: &Enrolling,
        address: IpAddr,
        level: KeyLevel,
    ) -> Result<Step, Refused> {
        if let Some(before) = self.retried(state)? {
            return Ok(Step::Enrolled(Box::new(before)));
        }
        let now = state.clock.now();
        let token = self.token(state, now)?;
        let request = self.request();
        let newcomer = Newcomer::parse(&self.detail.bytes).unwrap_or_default();
        let serial = self.listed_serial(state, &token, &newcomer)?;
        if !token.approved {
            let listed = token.serials > 0;
            // The first time it reads what every device told.
            let like = tokio::task::block_in_place(|| enrolling.hardware.like(state, &newcomer));
            let like = like.map_err(|error| status(&error.into()))?;
            let why = if token.approve {
                Some(Why::Approval)
            } else if listed && serial.is_none() {
                Some(Why::Serial)
            } else if !like.is_empty() && !enrolling.admit_known_hardware {
                Some(Why::KnownHardware)
            } else {
                None
            };
            if let Some(why) = why {
                let waiting = Waiting {
                    why,
                    class: token.class.to_string(),
                    group: token.group.to_string(),
                    address: address.to_string(),
                    host_name: newcomer.host_name.clone(),
                    serial: newcomer.serial().unwrap_or_default().to_owned(),
                    first_ms: now.0,
                    last_ms: now.0,
                    like: like.iter().map(ToString::to_string).collect(),
                };
                return wait(enrolling, &request, waiting);
            }
        }
        let before = self.admit(state, identities, token, (serial, level), now).await?;
        if let Err(error) = enrolling.pending.remove(&request) {
            // It only tells people too much: the approval is used.
            tracing::warn!(%error, "The list of enrolments that wait could not be written.");
        }
        Ok(Step::Enrolled(Box::new(before)))
    }

    /// Issues a certificate from policy alone and logs the enrolment.
    async fn admit(
        self,
        state: &Arc<State>,
        identities: &Arc<Identities>,
        token: GoodToken,
        (serial, level): (Option<Digest>, KeyLevel),
        now: Timestamp,
    ) -> Result<Before, Refused> {
        let device = DeviceId::from_bytes(random().map_err(|error| status(&error))?);
        let instance = InstanceId::from_bytes(random().map_err(|error| status(&error))?);
        let order = Order {
            subject: &Subject::Agent(device),
            public_key: &self.transcript.tls_key,
            serial: Serial::from_random(random().map_err(|error| status(&error))?),
            now,
            lifetime: for_tests::agent_lifetime(),
        };
        let certificate = issue_and_keep(identities, &order)?;
        failpoints::reach("enrol-issued");
        let act = Enrolment {
            device,
            instance,
            class: token.class,
            group: token.group,
            attestation_key: self.transcript.attestation_key,
            token_hash: self.transcript.token_hash,
            transcript: self.bytes,
            sig_ed25519: self.sig_ed25519,
            sig_p256: self.sig_p256,
            certificate,
            key_level: level,
            serial,
        };
        let (entry, detail) = (act.clone(), self.detail);
        let stored = state.operate_with(move |_| Ok((Some(detail), Body::Enrolment(Box::new(entry))))).await;
        let stored = stored.map_err(|error| {
            // No entry names it, and nobody was given it. If the answer was lost the entry may stand: then it stays.
            if matches!(error, StateError::Refused(_)) {
                drop(identities.forget_issued(&certificate));
            }
            status(&error)
        })?;
        failpoints::reach("enrol-logged");
        tracing::info!(device = %device, index = stored.index, "Device enrolled.");
        Ok(Before { act, index: stored.index })
    }

    /// What an approval would name.
    fn request(&self) -> Digest {
        let Transcript { token_hash, tls_key, attestation_key, .. } = &self.transcript;
        request_digest(token_hash, tls_key, attestation_key)
    }

    fn token(&self, state: &State, now: Timestamp) -> Result<GoodToken, Refused> {
        let book = state.book();
        let roster = book.authority.roster();
        let hash = &self.transcript.token_hash;
        // The hash is looked up, not the secret: how long that takes tells nothing about the secret.
        let token =
            roster.check_token(hash, now).map_err(|error: RosterError| Refused::Token(error.to_string()))?;
        Ok(GoodToken {
            class: token.class,
            group: token.group.clone(),
            approve: token.approve,
            serials: token.serials.len(),
            index: roster.token(hash).map_or(0, |known| known.index),
            approved: roster.is_approved(&self.request(), Allows::Enrolment, now),
        })
    }

    /// The digest of the newcomer's serial number, if the token lists it and it enrolled nobody.
    fn listed_serial(
        &self,
        state: &State,
        token: &GoodToken,
        newcomer: &Newcomer,
    ) -> Result<Option<Digest>, Refused> {
        let (Some(serial), true) = (newcomer.serial(), token.serials > 0) else { return Ok(None) };
        let digest = serial_digest(&self.token_secret, serial);
        let used = {
            let book = state.book();
            let known = book.authority.roster().token(&self.transcript.token_hash);
            known.is_none_or(|known| known.serial_used(&digest))
        };
        if used {
            return Ok(None);
        }
        for index in token.index.saturating_sub(token.serials as u64)..token.index {
            let found = state.ledger.find(index).map_err(|error| status(&error.into()))?;
            let Found::Entry(record) = found else { continue };
            let lines = record.payload.get(32..).and_then(serial_lines).unwrap_or_default();
            if lines.binary_search(&serial).is_ok() {
                return Ok(Some(digest));
            }
        }
        Ok(None)
    }

    /// The enrolment this is a retry of: same token, same enrolment id, same keys. Anything else with a used token is refused.
    fn retried(&self, state: &State) -> Result<Option<Before>, Refused> {
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
        let used = || Refused::Token(format!("used before by these keys, for device {device}"));
        let entry = state.ledger.entry(index).map_err(|error| status(&error.into()))?;
        let (_, act) = evidence::acts::Act::open(&entry.payload).map_err(|_| used())?;
        let Body::Enrolment(act) = act.body else { return Err(used()) };
        let earlier = Transcript::parse(&act.transcript).map_err(|_| used())?;
        let same = earlier.enrolment_id == self.transcript.enrolment_id
            && earlier.tls_key == self.transcript.tls_key
            && earlier.attestation_key == self.transcript.attestation_key;
        if same { Ok(Some(Before { act: *act, index })) } else { Err(used()) }
    }
}

#[cfg(test)]
mod tests;
