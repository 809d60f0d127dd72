//! A simulated device: enrolled through the real services, with keys of its own.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use certs::{Identity, Pin, TlsKey, Token};
use collector::clock::SystemClock;
use evidence::enrolment::Transcript;
use evidence::ids::{DeviceId, Digest, InstanceId};
use evidence::keys::SecretKey;
use evidence::note::{Checkpoint, Note, VerifierKey};
use proto::enrol_reply::Step as Reply;
use proto::enrol_request::Step as Request;
use proto::{EnrolBegin, EnrolFinish, EnrolRequest};
use rpc::connect::{Address, connect};
use rpc::v1::enrolment_client::EnrolmentClient;
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// An enrolled device.
pub struct Device {
    /// Its id.
    pub id: DeviceId,
    /// Its instance.
    pub instance: InstanceId,
    /// Signs its statements.
    pub key: SecretKey,
    /// Its TLS configuration: certificate and trusted root.
    pub tls: Arc<ClientConfig>,
    /// The checkpoint it verified at enrolment.
    pub anchor: Checkpoint,
}

fn random<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).context("the system gives no random bytes")?;
    Ok(bytes)
}

fn clock() -> certs::Clock {
    Arc::new(certs::SystemClock(Arc::new(SystemClock)))
}

impl Device {
    /// Enrols a new device at `server` with `token`.
    pub async fn enrol(server: &Address, token: &Token) -> anyhow::Result<Self> {
        let (key, tls_key) = (SecretKey::from_seed(&random()?)?, TlsKey::generate()?);
        let connection = connect(server, certs::enrolment_client(token.pin, clock())?).await?;
        let (sender, queue) = mpsc::channel(2);
        let enrolment_id: [u8; 16] = random()?;
        let begin = Request::Begin(EnrolBegin { enrolment_id: enrolment_id.to_vec(), anchor_size: 0 });
        sender.send(EnrolRequest { step: Some(begin) }).await?;
        let mut client = EnrolmentClient::new(connection.channel);
        let mut replies = client.enrol(ReceiverStream::new(queue)).await?.into_inner();
        let Some(Reply::Nonce(nonce)) = replies.message().await?.and_then(|reply| reply.step) else {
            bail!("the collector began with something else than a nonce");
        };
        let (detail, detail_salt) = (br#"{"host_name":"bench"}"#.to_vec(), random::<32>()?);
        let transcript = Transcript {
            trust_domain: nonce.trust_domain.parse()?,
            enrolment_id,
            nonce: nonce.nonce.as_slice().try_into().context("a nonce of 32 bytes")?,
            exporter: connection.exporter,
            token_hash: token.secret.hash(),
            tls_key: tls_key.public().clone(),
            attestation_key: *key.public(),
            facts_commitment: Digest::of_parts(&[&detail_salt, &detail]),
        }
        .encode();
        let finish = EnrolFinish {
            token_secret: token.secret.as_bytes().to_vec(),
            tls_spki: tls_key.public().spki_der().to_vec(),
            attestation_key: key.public().as_bytes().to_vec(),
            detail,
            detail_salt: detail_salt.to_vec(),
            sig_ed25519: key.sign(&transcript).to_vec(),
            sig_p256: tls_key.sign(&transcript)?.to_vec(),
            endorsement_certificate: Vec::new(),
            key_level_claimed: String::new(),
        };
        sender.send(EnrolRequest { step: Some(Request::Finish(finish)) }).await?;
        let Some(Reply::Enrolled(enrolled)) = replies.message().await?.and_then(|reply| reply.step) else {
            bail!("the collector did not enrol the device");
        };
        let mut chain = enrolled.chain.into_iter().map(CertificateDer::from);
        let (issuer, root) = (chain.next().context("no issuer")?, chain.next().context("no root")?);
        anyhow::ensure!(Pin::of(&root) == Some(token.pin), "the root is not the one of the token");
        let identity = Identity { chain: vec![enrolled.certificate.into(), issuer], key: tls_key };
        let log_key = VerifierKey::parse(enrolled.log_vkeys.first().context("no log key")?)?;
        Ok(Self {
            id: enrolled.device.parse()?,
            instance: InstanceId::from_slice(&enrolled.instance)?,
            key,
            tls: certs::mutual_client(&identity, &root, clock())?,
            anchor: Checkpoint::open(&Note::parse(enrolled.checkpoint.as_bytes())?, &[log_key])?,
        })
    }
}
