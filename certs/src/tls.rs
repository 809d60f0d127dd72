//! rustls configurations: TLS 1.3 only, HTTP/2 only, no resumption, mutual where a peer must be known.
//!
//! Resumption is off everywhere: a resumed session skips the certificate check, so a revoked peer would get in.

mod pinned;
mod presented;

use std::fmt;
use std::sync::Arc;

use evidence::ids::Digest;
use rustls::client::danger::ServerCertVerifier;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::time_provider::TimeProvider;
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use x509_parser::prelude::{CertificateRevocationList, FromDer as _, X509Certificate};

use crate::crypto;
use crate::held_key::HeldIdentity;
use crate::tls::pinned::PinnedRoot;
use crate::tls::presented::Recording;
use crate::tls_key::TlsKey;
use crate::token::Pin;

pub use crate::tls::presented::{CertificateWords, Presented};

/// The one application protocol.
const ALPN_HTTP2: &[u8] = b"h2";
/// What plain readers of public files may speak besides.
const ALPN_HTTP1: &[u8] = b"http/1.1";

/// Why a configuration was not made. The one in use stays in use.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// rustls refused certificate or key.
    #[error("the certificate chain or its key is refused: {0}")]
    Identity(rustls::Error),
    /// The protocol versions are not supported.
    #[error("TLS 1.3 is not available: {0}")]
    Versions(rustls::Error),
    /// A trusted certificate cannot be used.
    #[error("the trusted certificate {fingerprint} cannot be used: {reason}")]
    Trusted {
        /// SHA-256 of the certificate.
        fingerprint: Digest,
        /// Why.
        reason: String,
    },
    /// Nobody is trusted.
    #[error("no authority is given, so nobody could connect")]
    NoAuthority,
    /// Two authorities with one name.
    #[error(
        "two authorities share the name {0}: their holders would lock each other out. Make the new one with a new name"
    )]
    SharedName(String),
    /// A revocation list does not belong to its authority.
    #[error("the revocation list of authority {0} was not issued by it: write a new list")]
    RevocationList(String),
    /// The verifier cannot be built.
    #[error("the certificate verifier cannot be built: {0}")]
    Verifier(String),
}

/// Where configurations get the time from: the program's one clock.
pub type Clock = Arc<dyn TimeProvider>;

/// A [`Clock`] over the program's own clock.
pub struct SystemClock(pub Arc<dyn evidence::time::Clock>);

impl fmt::Debug for SystemClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SystemClock")
    }
}

impl TimeProvider for SystemClock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(std::time::Duration::from_millis(self.0.now().ms())))
    }
}

/// A certificate chain with its key: how this side proves who it is.
#[derive(Debug)]
pub struct Identity {
    /// Leaf first. A server's chain ends with the root, because a device that enrols knows the root only by its hash.
    pub chain: Vec<CertificateDer<'static>>,
    /// The leaf's key.
    pub key: TlsKey,
}

/// How a client proves who it is.
pub trait ClientIdentity {
    /// Finishes a configuration with it.
    fn finish(&self, config: WithoutIdentity) -> Result<ClientConfig, rustls::Error>;
}

/// A client's configuration that lacks only who it is.
pub type WithoutIdentity = rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>;

impl ClientIdentity for Identity {
    fn finish(&self, config: WithoutIdentity) -> Result<ClientConfig, rustls::Error> {
        config.with_client_auth_cert(self.chain.clone(), self.key.for_rustls())
    }
}

impl ClientIdentity for HeldIdentity {
    fn finish(&self, config: WithoutIdentity) -> Result<ClientConfig, rustls::Error> {
        Ok(config.with_client_cert_resolver(self.certified()?))
    }
}

/// An authority whose holders may connect.
#[derive(Debug, Clone)]
pub struct TrustedAuthority {
    /// Its certificate.
    pub certificate: CertificateDer<'static>,
    /// Its newest revocation list. There is none without: rustls would refuse every holder.
    pub revocation_list: CertificateRevocationListDer<'static>,
}

/// A listener anybody may connect to: enrolment. The server proves itself, the client stays unknown.
pub fn open_listener(identity: &Identity, clock: Clock) -> Result<Arc<ServerConfig>, TlsError> {
    listener(identity, WebPkiClientVerifier::no_client_auth(), clock, &[ALPN_HTTP2])
}

/// The same for public files: HTTP/1.1 is spoken too, because any reader of such files must be able to get them.
pub fn public_listener(identity: &Identity, clock: Clock) -> Result<Arc<ServerConfig>, TlsError> {
    listener(identity, WebPkiClientVerifier::no_client_auth(), clock, &[ALPN_HTTP2, ALPN_HTTP1])
}

/// A listener of HTTP/1.1 with a certificate of somebody else's making: a witness's. The chain stands leaf first; the key
/// may be of any kind ring can sign with.
pub fn http1_listener(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    clock: Clock,
) -> Result<Arc<ServerConfig>, TlsError> {
    let anybody = WebPkiClientVerifier::no_client_auth();
    serving(chain, key, anybody, clock, &[ALPN_HTTP1])
}

/// A listener only for holders of a certificate from one of `authorities`, not revoked, not ended. A revocation list
/// past its end refuses everybody of its authority. During a rollover there are two authorities.
pub fn mutual_listener(
    identity: &Identity,
    authorities: &[TrustedAuthority],
    clock: Clock,
) -> Result<Arc<ServerConfig>, TlsError> {
    check_authorities(authorities)?;
    let roots = trust(authorities.iter().map(|authority| &authority.certificate))?;
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), crypto::provider())
        .with_crls(authorities.iter().map(|authority| authority.revocation_list.clone()))
        .enforce_revocation_expiration()
        .build()
        .map_err(|e| TlsError::Verifier(e.to_string()))?;
    listener(identity, verifier, clock, &[ALPN_HTTP2])
}

fn listener(
    identity: &Identity,
    verifier: Arc<dyn ClientCertVerifier>,
    clock: Clock,
    protocols: &[&[u8]],
) -> Result<Arc<ServerConfig>, TlsError> {
    serving(identity.chain.clone(), identity.key.for_rustls(), verifier, clock, protocols)
}

fn serving(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    verifier: Arc<dyn ClientCertVerifier>,
    clock: Clock,
    protocols: &[&[u8]],
) -> Result<Arc<ServerConfig>, TlsError> {
    let mut config = ServerConfig::builder_with_details(crypto::provider(), clock)
        .with_protocol_versions(&[&TLS13])
        .map_err(TlsError::Versions)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(TlsError::Identity)?;
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(Arc::new(config))
}

/// A device's first contact: no identity yet, and of the server only a hash of its root's key, from the token. Accepts
/// a server whose chain ends in that root, for the name that was dialled.
pub fn enrolment_client(pin: Pin, clock: Clock) -> Result<Arc<ClientConfig>, TlsError> {
    let config = ClientConfig::builder_with_details(crypto::provider(), clock)
        .with_protocol_versions(&[&TLS13])
        .map_err(TlsError::Versions)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(PinnedRoot::new(pin)))
        .with_no_client_auth();
    Ok(Arc::new(finish_client(config)))
}

/// An agent's or a person's client: proves `identity`, and accepts a server whose chain ends in `root`.
pub fn mutual_client(
    identity: &dyn ClientIdentity,
    root: &CertificateDer<'static>,
    clock: Clock,
) -> Result<Arc<ClientConfig>, TlsError> {
    let roots = trust(std::iter::once(root))?;
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), crypto::provider())
        .build()
        .map_err(|e| TlsError::Verifier(e.to_string()))?;
    let config = ClientConfig::builder_with_details(crypto::provider(), clock)
        .with_protocol_versions(&[&TLS13])
        .map_err(TlsError::Versions)?
        .with_webpki_verifier(verifier);
    let config = identity.finish(config).map_err(TlsError::Identity)?;
    Ok(Arc::new(finish_client(config)))
}

/// The same as [`mutual_client`], and as strict, for finding out what is wrong: what the server presents is kept in
/// `presented`. Without an identity it proves nothing, which a collector refuses after the handshake.
pub fn examining_client(
    identity: Option<&dyn ClientIdentity>,
    root: &CertificateDer<'static>,
    clock: Clock,
    presented: &Presented,
) -> Result<Arc<ClientConfig>, TlsError> {
    let roots = trust(std::iter::once(root))?;
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), crypto::provider())
        .build()
        .map_err(|e| TlsError::Verifier(e.to_string()))?;
    examining(identity, verifier, clock, presented)
}

/// The same as [`enrolment_client`], and as strict; what the server presents is kept in `presented`.
pub fn examining_enrolment_client(
    pin: Pin,
    clock: Clock,
    presented: &Presented,
) -> Result<Arc<ClientConfig>, TlsError> {
    examining(None, Arc::new(PinnedRoot::new(pin)), clock, presented)
}

fn examining(
    identity: Option<&dyn ClientIdentity>,
    verifier: Arc<dyn ServerCertVerifier>,
    clock: Clock,
    presented: &Presented,
) -> Result<Arc<ClientConfig>, TlsError> {
    let config = ClientConfig::builder_with_details(crypto::provider(), clock)
        .with_protocol_versions(&[&TLS13])
        .map_err(TlsError::Versions)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Recording::new(verifier, presented)));
    let config = match identity {
        None => config.with_no_client_auth(),
        Some(identity) => identity.finish(config).map_err(TlsError::Identity)?,
    };
    Ok(Arc::new(finish_client(config)))
}

/// A reader of public files: proves nothing, and accepts a server whose chain ends in `root`.
pub fn public_client(root: &CertificateDer<'static>, clock: Clock) -> Result<Arc<ClientConfig>, TlsError> {
    Ok(Arc::new(finish_client(anonymous_client(std::slice::from_ref(root), clock)?)))
}

/// The same over HTTP/1.1, for a server whose chain ends in any of `roots`: a witness is somebody else's server.
pub fn http1_client(roots: &[CertificateDer<'static>], clock: Clock) -> Result<Arc<ClientConfig>, TlsError> {
    let mut config = finish_client(anonymous_client(roots, clock)?);
    config.alpn_protocols = vec![ALPN_HTTP1.to_vec()];
    Ok(Arc::new(config))
}

fn anonymous_client(roots: &[CertificateDer<'static>], clock: Clock) -> Result<ClientConfig, TlsError> {
    let roots = trust(roots.iter())?;
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), crypto::provider())
        .build()
        .map_err(|e| TlsError::Verifier(e.to_string()))?;
    let config = ClientConfig::builder_with_details(crypto::provider(), clock)
        .with_protocol_versions(&[&TLS13])
        .map_err(TlsError::Versions)?
        .with_webpki_verifier(verifier)
        .with_no_client_auth();
    Ok(config)
}

fn finish_client(mut config: ClientConfig) -> ClientConfig {
    config.alpn_protocols = vec![ALPN_HTTP2.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    config
}

fn trust<'a>(
    certificates: impl Iterator<Item = &'a CertificateDer<'static>>,
) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots
            .add(certificate.clone())
            .map_err(|e| TlsError::Trusted { fingerprint: Digest::of(certificate), reason: e.to_string() })?;
    }
    Ok(roots)
}

/// What rustls finds out only when a holder connects, and then with a misleading error: every authority has a name of
/// its own and a revocation list that it signed.
fn check_authorities(authorities: &[TrustedAuthority]) -> Result<(), TlsError> {
    if authorities.is_empty() {
        return Err(TlsError::NoAuthority);
    }
    let mut names: Vec<Vec<u8>> = Vec::new();
    for authority in authorities {
        let unreadable = |what: &str| TlsError::Trusted {
            fingerprint: Digest::of(&authority.certificate),
            reason: format!("{what} cannot be read"),
        };
        let (_, certificate) =
            X509Certificate::from_der(&authority.certificate).map_err(|_| unreadable("the certificate"))?;
        let (_, list) = CertificateRevocationList::from_der(&authority.revocation_list)
            .map_err(|_| unreadable("its revocation list"))?;
        let subject = certificate.subject();
        if names.iter().any(|name| name == subject.as_raw()) {
            return Err(TlsError::SharedName(subject.to_string()));
        }
        names.push(subject.as_raw().to_vec());
        let key = &certificate.tbs_certificate.subject_pki.subject_public_key.data;
        let signed = crypto::ecdsa_holds(key, list.tbs_cert_list.as_ref(), &list.signature_value.data);
        if list.issuer().as_raw() != subject.as_raw() || !signed {
            return Err(TlsError::RevocationList(subject.to_string()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
