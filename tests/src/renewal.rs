//! A device that asks for another certificate, by its own words and not by the agent's.

use certs::TlsKey;
use evidence::acts::renewal_digest;
use evidence::enrolment::Transcript;
use evidence::ids::Digest;
use proto::renew_reply::Step as Reply;
use proto::renew_request::Step as Request;
use proto::{RenewBegin, RenewFinish, RenewRequest, Renewed};
use rpc::connect::{Connection, connect};
use rpc::v1::enrolment_client::EnrolmentClient;
use rpc::v1::ingest_client::IngestClient;
use rustls::pki_types::CertificateDer;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::device::{Device, timely};
use crate::world::{TRUST_DOMAIN, World, clock};

/// By which call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// `Ingest.Renew`, as the holder of its certificate.
    Live,
    /// `Enrolment.Recover`, as nobody.
    Recovery,
}

/// What a test changes about the dialogue.
#[derive(Debug, Clone, Copy, Default)]
pub struct Lies {
    /// Another exporter than this connection's.
    pub exporter: bool,
    /// Another number than the one that was asked for.
    pub generation: bool,
    /// The signature of another attestation key.
    pub attestation: bool,
}

impl Device {
    /// A connection to the listener where nobody is known.
    pub async fn connect_as_nobody(&self, world: &World) -> Connection {
        let tls = certs::public_client(&self.root, clock()).expect("TLS");
        connect(&world.enrol.to_string().parse().expect("an address"), tls).await.expect("a connection")
    }

    /// Gets a certificate for `key` and uses it from now on.
    pub async fn renew(&mut self, connection: Connection, by: By, key: TlsKey) -> Result<(), Status> {
        let renewed = self.ask(connection, by, &key, Lies::default()).await?;
        self.take(renewed, key);
        Ok(())
    }

    /// Uses a certificate from now on.
    pub fn take(&mut self, renewed: Renewed, key: TlsKey) {
        let chain = std::iter::once(renewed.certificate).chain(renewed.chain);
        let mut chain: Vec<CertificateDer<'static>> = chain.map(CertificateDer::from).collect();
        let root = chain.pop().expect("a chain ends in a root");
        assert_eq!(root, self.root, "another root");
        self.key_pem = key.to_pem().to_string();
        self.identity = certs::HeldIdentity { chain, key: std::sync::Arc::new(key) };
    }

    /// The dialogue, without taking what it gives.
    pub async fn ask(
        &self,
        connection: Connection,
        by: By,
        key: &TlsKey,
        lies: Lies,
    ) -> Result<Renewed, Status> {
        let (sender, queue) = mpsc::channel(2);
        let send = async |step| drop(sender.send(RenewRequest { step: Some(step) }).await);
        let renewal_id = key.public().id().as_bytes()[..16].to_vec();
        let begin =
            RenewBegin { instance: self.instance.as_bytes().to_vec(), renewal_id: renewal_id.clone() };
        send(Request::Begin(begin)).await;
        let (mut exporter, queue) = (connection.exporter, ReceiverStream::new(queue));
        let replies = match by {
            By::Live => timely(IngestClient::new(connection.channel).renew(queue)).await,
            By::Recovery => timely(EnrolmentClient::new(connection.channel).recover(queue)).await,
        };
        let mut replies = replies?.into_inner();
        let Some(Reply::Nonce(nonce)) = timely(replies.message()).await?.and_then(|reply| reply.step) else {
            panic!("the dialogue begins with a nonce");
        };
        if lies.exporter {
            exporter[0] ^= 1;
        }
        let generation = nonce.generation + u64::from(lies.generation);
        let transcript = Transcript {
            trust_domain: TRUST_DOMAIN.parse().expect("a trust domain"),
            enrolment_id: renewal_id.try_into().expect("16 bytes"),
            nonce: nonce.nonce.try_into().expect("32 bytes"),
            exporter,
            token_hash: renewal_digest(&self.instance, generation),
            tls_key: key.public().clone(),
            attestation_key: *self.key.public(),
            facts_commitment: Digest::ZERO,
        };
        let bytes = transcript.encode();
        let other = crate::device::Keys::new().attestation;
        let signer = if lies.attestation { &other } else { &self.key };
        send(Request::Finish(RenewFinish {
            tls_spki: key.public().spki_der().to_vec(),
            sig_ed25519: signer.sign(&bytes).to_vec(),
            sig_p256: key.sign(&bytes).expect("a signature").to_vec(),
        }))
        .await;
        match timely(replies.message()).await?.and_then(|reply| reply.step) {
            Some(Reply::Renewed(renewed)) => Ok(renewed),
            other => panic!("the dialogue ends with {other:?}"),
        }
    }

    /// The certificate it uses.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        self.identity.chain.first().expect("a certificate")
    }
}
