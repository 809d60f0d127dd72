//! What a server presents in a handshake, kept also when it is refused: so that whoever looks for a fault learns who is in
//! between. The decision stays the real verifier's.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use evidence::time::Timestamp;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// Most certificates of a chain that are kept: a peer chooses their number.
const KEPT_CERTIFICATES_MAX: usize = 8;
/// Longest name that is shown, characters.
const NAME_CHARACTERS_MAX: usize = 200;

/// A certificate in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateWords {
    /// Whose it is. As the certificate says, so only as true as its signature.
    pub subject: String,
    /// Who issued it.
    pub issuer: String,
    /// From when it holds.
    pub not_before: Timestamp,
    /// Until when it holds.
    pub not_after: Timestamp,
}

impl CertificateWords {
    /// Reads a certificate; none if it is none.
    pub fn read(der: &CertificateDer<'_>) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let words =
            |text: String| text.chars().filter(|c| !c.is_control()).take(NAME_CHARACTERS_MAX).collect();
        // Before 1970 counts as 1970: no clock here goes further back.
        let time = |seconds: i64| Timestamp(u64::try_from(seconds).unwrap_or(0).saturating_mul(1000));
        let validity = certificate.validity();
        Some(Self {
            subject: words(certificate.subject().to_string()),
            issuer: words(certificate.issuer().to_string()),
            not_before: time(validity.not_before.timestamp()),
            not_after: time(validity.not_after.timestamp()),
        })
    }
}

#[derive(Debug, Default)]
struct Seen {
    chain: Vec<CertificateDer<'static>>,
    only_the_time: bool,
}

/// What the server of the last handshake presented. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Presented(Arc<Mutex<Seen>>);

impl Presented {
    /// Its certificates, leaf first, as they came; empty when the handshake did not come so far.
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.seen().chain.clone()
    }

    /// Whether the chain would have been accepted at another time, and was refused for this one.
    pub fn only_the_time_is_wrong(&self) -> bool {
        self.seen().only_the_time
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A verifier that keeps what another one is shown.
#[derive(Debug)]
pub(super) struct Recording {
    real: Arc<dyn ServerCertVerifier>,
    presented: Presented,
}

impl Recording {
    pub(super) fn new(real: Arc<dyn ServerCertVerifier>, presented: &Presented) -> Self {
        Self { real, presented: presented.clone() }
    }
}

impl ServerCertVerifier for Recording {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let decide =
            |at| self.real.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, at);
        let decided = decide(now);
        let only_the_time = decided.as_ref().is_err_and(is_of_time)
            && middle(end_entity).is_some_and(|at| decide(at).is_ok());
        let chain = std::iter::once(end_entity).chain(intermediates).take(KEPT_CERTIFICATES_MAX);
        let chain = chain.map(|certificate| certificate.clone().into_owned()).collect();
        *self.presented.seen() = Seen { chain, only_the_time };
        decided
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.real.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.real.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.real.supported_verify_schemes()
    }
}

fn is_of_time(error: &Error) -> bool {
    use CertificateError::{Expired, ExpiredContext, NotValidYet, NotValidYetContext};
    let Error::InvalidCertificate(error) = error else { return false };
    matches!(error, Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. })
}

/// The middle of the time in which a certificate holds.
fn middle(certificate: &CertificateDer<'_>) -> Option<UnixTime> {
    let CertificateWords { not_before, not_after, .. } = CertificateWords::read(certificate)?;
    let half = not_after.ms().checked_sub(not_before.ms())? / 2;
    Some(UnixTime::since_unix_epoch(Duration::from_millis(not_before.ms().saturating_add(half))))
}
