//! A new certificate for a new TLS key of a device that is enrolled: over its live channel, or, when the certificate it had
//! has ended, by its attestation key alone. docs/FORMAT.md section 8, "New keys of a device".
//!
//! A call of its own and not messages of Submit: the order of statements and answers stays untouched by it, a refusal
//! ends nothing else, and both listeners answer it in the same words.

use std::sync::Arc;
use std::time::Duration;

use certs::{CertificateLife, Issuer as _, Order, Peer, PeerCertificate, Serial, Subject};
use evidence::acts::{Allows, Body, Renewal, recovery_digest, renewal_digest};
use evidence::enrolment::{TlsPublicKey, Transcript};
use evidence::ids::{Digest, InstanceId};
use evidence::roster::{AUTOMATIC_RECOVERIES_MAX, Instance};
use evidence::time::{DAY_MS, Timestamp};
use evidence::trust_domain::TrustDomain;
use proto::renew_reply::Step as Reply;
use proto::renew_request::Step as Request;
use proto::{RenewBegin, RenewFinish, RenewNonce, RenewReply, RenewRequest, Renewed};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::status;
use crate::identity::Identities;
use crate::listen::PeerInfo;
use crate::state::{State, random};
use crate::{failpoints, for_tests};

/// How long a nonce is good: as at an enrolment.
const NONCE_LIFETIME: Duration = Duration::from_mins(1);
/// Devices that may come for another certificate in a second: each costs one entry and two signatures.
const RENEWALS_PER_SECOND: u64 = 50;

/// By which way a device asks.
#[derive(Debug, Clone)]
pub enum Way {
    /// On the agents listener, as the holder of this certificate.
    Live(Box<PeerCertificate>),
    /// On the enrolment listener, as nobody.
    Recovery,
}

/// Renewals and recoveries.
#[derive(Clone)]
pub struct Renewals {
    state: Arc<State>,
    identities: Arc<Identities>,
}

type Answers = tokio::sync::mpsc::Sender<Result<RenewReply, Status>>;

/// An attempt that reached the point of asking for a certificate, with both signatures good.
struct Claim {
    instance: InstanceId,
    record: Instance,
    generation: u64,
    bytes: Vec<u8>,
    transcript: Transcript,
    finish: RenewFinish,
}

impl Renewals {
    /// The service over what the collector shares.
    pub fn new(state: Arc<State>, identities: Arc<Identities>) -> Self {
        Self { state, identities }
    }

    /// Answers one call.
    pub fn answer(
        self,
        request: tonic::Request<Streaming<RenewRequest>>,
        way: Way,
    ) -> Result<tonic::Response<ReceiverStream<Result<RenewReply, Status>>>, Status> {
        let exporter = request
            .extensions()
            .get::<PeerInfo>()
            .map(|info| info.exporter)
            .ok_or_else(|| Status::internal("the connection's TLS exporter is not known"))?;
        let mut incoming = request.into_inner();
        let (answers, outgoing) = tokio::sync::mpsc::channel(2);
        tokio::spawn(async move {
            let dialogue = self.dialogue(exporter, &way, &mut incoming, &answers);
            let result = tokio::time::timeout(NONCE_LIFETIME, dialogue)
                .await
                .unwrap_or_else(|_| Err(Status::deadline_exceeded("the nonce has expired: ask again")));
            if let Err(status) = result {
                tracing::warn!(reason = status.message(), "A certificate was not renewed.");
                // A device that is gone does not wait for the answer.
                drop(answers.send(Err(status)).await);
            }
        });
        Ok(tonic::Response::new(ReceiverStream::new(outgoing)))
    }

    /// In how many seconds a device should come for another certificate, since the authority of the one it has goes.
    pub fn wanted(&self, instance: &InstanceId) -> Option<u32> {
        let certificate = {
            let book = self.state.book();
            book.authority.roster().instance(instance).filter(|record| record.ended.is_none())?.certificate
        };
        if self.identities.is_newest(&self.identities.life(&certificate)?) {
            return None;
        }
        let speaking = {
            let book = self.state.book();
            book.authority.roster().instances().filter(|(_, record)| record.ended.is_none()).count()
        };
        u32::try_from((speaking as u64 / RENEWALS_PER_SECOND).max(1)).ok()
    }

    async fn dialogue(
        &self,
        exporter: [u8; 32],
        way: &Way,
        incoming: &mut Streaming<RenewRequest>,
        answers: &Answers,
    ) -> Result<(), Status> {
        let Some(Request::Begin(RenewBegin { instance, renewal_id })) = next(incoming).await? else {
            return Err(Status::invalid_argument("the first message must be begin"));
        };
        let instance = InstanceId::from_slice(&instance)
            .map_err(|error| Status::invalid_argument(format!("instance: {error}")))?;
        let renewal_id = <[u8; 16]>::try_from(renewal_id.as_slice())
            .map_err(|_| Status::invalid_argument("renewal_id must be 16 bytes"))?;
        let record = self.state.book().authority.roster().instance(&instance).cloned();
        let record = record.ok_or_else(|| {
            Status::permission_denied("this log knows no such instance: enrol with a new token")
        })?;
        if let Way::Live(certificate) = way
            && certificate.peer != Peer::Agent(record.device)
        {
            return Err(Status::permission_denied("this instance is another device's"));
        }
        let nonce: [u8; 32] = random().map_err(|error| status(&error))?;
        let generation = record.generation.saturating_add(1);
        send(answers, Reply::Nonce(RenewNonce { nonce: nonce.to_vec(), generation })).await?;
        let Some(Request::Finish(finish)) = next(incoming).await? else {
            return Err(Status::invalid_argument("the second message must be finish"));
        };
        let trust_domain: TrustDomain =
            self.state.trust_domain().parse().map_err(|_| Status::internal("the trust domain is not one"))?;
        let transcript = Transcript {
            trust_domain,
            enrolment_id: renewal_id,
            nonce,
            exporter,
            token_hash: renewal_digest(&instance, generation),
            tls_key: TlsPublicKey::from_spki_der(&finish.tls_spki)
                .map_err(|error| Status::invalid_argument(error.to_string()))?,
            attestation_key: record.key,
            // Nothing about the hardware is said anew.
            facts_commitment: Digest::ZERO,
        };
        let bytes = transcript.encode();
        // The device signed what it saw; if that was another connection, nothing holds here.
        Transcript::verify(&bytes, &finish.sig_ed25519, &finish.sig_p256).map_err(|error| {
            Status::unauthenticated(format!("{error}: the transcript of this connection"))
        })?;
        let claim = Claim { instance, record, generation, bytes, transcript, finish };
        let certificate = self.certificate(claim, way).await?;
        let chain = chain_of(&self.identities, &certificate)?;
        let certificate = self.identities.issued(&certificate).map_err(|error| {
            tracing::error!(error = %error, "An issued certificate is missing.");
            Status::internal("the certificate issued for this device is missing: tell your administrator")
        })?;
        send(answers, Reply::Renewed(Renewed { certificate, chain })).await
    }

    /// The certificate a claim gets: the one it was given before, or a new one with its entry.
    async fn certificate(&self, claim: Claim, way: &Way) -> Result<Digest, Status> {
        let now = self.state.clock.now();
        self.check_standing(&claim, now)?;
        let life = self.identities.life(&claim.record.certificate).ok_or_else(|| {
            Status::internal(
                "the certificate of this device is not kept here any more: enrol with a new token",
            )
        })?;
        let good = now < life.ends && self.identities.is_trusted(&life);
        if claim.transcript.tls_key.id() == life.key {
            // Its answer was lost. A certificate that has ended meanwhile is of no use.
            return if good {
                Ok(life.fingerprint)
            } else {
                Err(Status::already_exists("this key had its certificate before: make a new key"))
            };
        }
        match way {
            Way::Live(peer) => self.check_live(peer, &life, now)?,
            Way::Recovery => self.check_recovery(&claim, &life, good, now)?,
        }
        let device = claim.record.device;
        let order = Order {
            subject: &Subject::Agent(device),
            public_key: &claim.transcript.tls_key,
            serial: Serial::from_random(random().map_err(|error| status(&error))?),
            now,
            lifetime: for_tests::agent_lifetime(),
        };
        let certificate = issue_and_keep(&self.identities, &order)?;
        failpoints::reach("renewal-kept");
        let recovery = matches!(way, Way::Recovery);
        let act = Renewal {
            device,
            instance: claim.instance,
            recovery,
            generation: claim.generation,
            previous: life.fingerprint,
            certificate,
            transcript: claim.bytes,
            sig_ed25519: claim.finish.sig_ed25519,
            sig_p256: claim.finish.sig_p256,
        };
        let stored = self.state.operate(move |_| Ok(Body::Renewal(Box::new(act)))).await;
        let stored = stored.map_err(|error| status(&error))?;
        failpoints::reach("renewal-stored");
        tracing::info!(device = %device, index = stored.index, generation = claim.generation, recovery, "Certificate renewed.");
        Ok(certificate)
    }

    /// Refuses a device that may not speak at all.
    fn check_standing(&self, claim: &Claim, now: Timestamp) -> Result<(), Status> {
        let book = self.state.book();
        let roster = book.authority.roster();
        let device = roster.device(&claim.record.device);
        let why = if device.is_some_and(|device| device.revoked.is_some()) {
            "its keys were revoked"
        } else if device.is_none_or(|device| device.at(now).is_none()) {
            "it was retired"
        } else if claim.record.ended.is_some() {
            "another key took this one's place"
        } else {
            return Ok(());
        };
        let device = claim.record.device;
        Err(Status::permission_denied(format!(
            "{device} gets no certificate: {why}. Enrol it with a new token"
        )))
    }

    fn check_live(
        &self,
        peer: &PeerCertificate,
        life: &CertificateLife,
        now: Timestamp,
    ) -> Result<(), Status> {
        if peer.fingerprint != life.fingerprint {
            tracing::error!(peer = %peer.peer, "A certificate that was renewed before asks again with another key: a copy of this device speaks.");
            return Err(Status::failed_precondition(
                "another machine has renewed this certificate: one of the two is a copy; retire the device and enrol it anew",
            ));
        }
        let half = life.begins.ms().saturating_add(life.length_ms() / 2);
        if now.ms() < half && self.identities.is_newest(life) {
            return Err(Status::failed_precondition(
                "the certificate is not half as old as it may become: it is renewed later",
            ));
        }
        Ok(())
    }

    fn check_recovery(
        &self,
        claim: &Claim,
        life: &CertificateLife,
        good: bool,
        now: Timestamp,
    ) -> Result<(), Status> {
        if good {
            return Err(Status::failed_precondition(
                "this device's certificate holds: it is renewed over the live channel",
            ));
        }
        if now >= life.recovery_ends() {
            let days = now.ms().saturating_sub(life.ends.ms()) / DAY_MS;
            let most = life.recovery_ends().ms().saturating_sub(life.ends.ms()) / DAY_MS;
            return Err(Status::permission_denied(format!(
                "the certificate ended {days} days ago, and a device comes back by itself within {most}: enrol it with a new token"
            )));
        }
        let request = recovery_digest(&claim.instance);
        let book = self.state.book();
        let approved = book.authority.roster().is_approved(&request, Allows::Recovery, now);
        if claim.record.recoveries >= AUTOMATIC_RECOVERIES_MAX && !approved {
            let (device, instance) = (claim.record.device, claim.instance);
            tracing::warn!(%device, %instance, "A recovery waits for an admin: `tallystick device allow-recovery INSTANCE`.");
            return Err(Status::failed_precondition(format!(
                "this device came back by itself {AUTOMATIC_RECOVERIES_MAX} times: an admin must allow it once more \
                 (`tallystick device allow-recovery {instance}`); it asks again by itself"
            )));
        }
        Ok(())
    }
}

/// Issues a device's certificate and keeps it before any entry names it: a device that asks again gets the same one.
pub(crate) fn issue_and_keep(identities: &Identities, order: &Order<'_>) -> Result<Digest, Status> {
    let not_issued = |error: String| {
        tracing::error!(error, "A certificate could not be issued.");
        Status::internal("the certificate could not be issued; the operator finds why in the collector's log")
    };
    let agents = identities.agents().map_err(|error| not_issued(error.to_string()))?;
    let issued = agents.issue(order).map_err(|error| not_issued(error.to_string()))?;
    let certificate = Digest::of(&issued.certificate);
    identities.keep_issued(&issued.certificate, order.now).map_err(|error| {
        tracing::error!(error = %error, "An issued certificate could not be kept.");
        Status::unavailable("the certificate could not be stored; try again")
    })?;
    Ok(certificate)
}

/// The chain that goes with a device's certificate.
pub(crate) fn chain_of(identities: &Identities, certificate: &Digest) -> Result<Vec<Vec<u8>>, Status> {
    identities.chain_of(certificate).map_err(|error| {
        tracing::error!(error = %error, "There is no authority for devices.");
        Status::internal("the collector has no authority; the operator finds why in its log")
    })
}

async fn next(incoming: &mut Streaming<RenewRequest>) -> Result<Option<Request>, Status> {
    Ok(incoming.message().await?.and_then(|request| request.step))
}

async fn send(answers: &Answers, step: Reply) -> Result<(), Status> {
    let reply = RenewReply { step: Some(step) };
    answers.send(Ok(reply)).await.map_err(|_| Status::cancelled("the device is gone"))
}
