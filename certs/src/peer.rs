//! Who a peer is: its certificate's one name, parsed once, right after the handshake that verified the certificate.

use std::fmt;
use std::str::FromStr;

use evidence::enrolment::TlsPublicKey;
use evidence::ids::{DeviceId, Digest, PersonId};
use evidence::time::Timestamp;
use evidence::trust_domain::TrustDomain;
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use crate::authority::Population;
use crate::issue::Serial;

/// What a person may act as. The certificate says who; the collector's table says what that allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Runs the installation: people, tokens, devices, policies.
    Admin,
    /// Works with findings: devices, classes, policies, exceptions.
    Analyst,
    /// Draws samples and reads what was drawn.
    Auditor,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 3] = [Self::Admin, Self::Analyst, Self::Auditor];

    /// The lower-case name, as in acts and certificates.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Analyst => "analyst",
            Self::Auditor => "auditor",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = PeerError;

    fn from_str(text: &str) -> Result<Self, PeerError> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or(PeerError::Name)
    }
}

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Peer {
    /// A device's agent.
    Agent(DeviceId),
    /// A person in a role.
    Person {
        /// The role.
        role: Role,
        /// The person.
        id: PersonId,
    },
}

impl Peer {
    /// The population whose authority must have issued this peer's certificate.
    pub fn population(&self) -> Population {
        match self {
            Self::Agent(_) => Population::Agents,
            Self::Person { .. } => Population::People,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agent(device) => write!(f, "agent {device}"),
            Self::Person { role, id } => write!(f, "{role} {id}"),
        }
    }
}

/// Why a certificate names no peer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// Not a certificate.
    #[error("the peer's certificate cannot be read")]
    Unreadable,
    /// No name, several names, or a name of another kind.
    #[error("the peer's certificate must carry exactly one subject alternative name, a URI; it carries {0}")]
    Names(usize),
    /// Another installation's certificate.
    #[error("the peer's certificate is of another trust domain than {expected}")]
    TrustDomain {
        /// This installation's.
        expected: TrustDomain,
    },
    /// The name has another form.
    #[error(
        "the peer's name must be spiffe://<trust domain>/agent/<device> or /admin/, /analyst/, /auditor/<person>"
    )]
    Name,
    /// The name is one of another population than the listener is for.
    #[error("a certificate of the {found} population was used where only {expected} may connect")]
    Population {
        /// Who may connect.
        expected: Population,
        /// Who did.
        found: Population,
    },
    /// The serial is none that this system gives.
    #[error("the peer's certificate has a serial of another form than 16 bytes beginning with 40 to 7f")]
    Serial,
    /// The key is none that this system certifies.
    #[error("the peer's certificate does not hold a P-256 key in its usual encoding")]
    Key,
}

/// What the rest of the collector needs to know of a verified certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerCertificate {
    /// Whose it is.
    pub peer: Peer,
    /// Its serial, for the per-call denylist.
    pub serial: Serial,
    /// SHA-256 of the certificate: the `certificate` of an enrolment act.
    pub fingerprint: Digest,
    /// SHA-256 of its key's SubjectPublicKeyInfo: the `tls_key` of a person's act.
    pub tls_key: Digest,
    /// The key itself, for whoever renews.
    pub public_key: TlsPublicKey,
    /// When it ends.
    pub not_after: Timestamp,
}

impl PeerCertificate {
    /// Reads a certificate that a handshake has verified, on a listener for `population`.
    pub fn read(
        certificate: &CertificateDer<'_>,
        trust_domain: &TrustDomain,
        population: Population,
    ) -> Result<Self, PeerError> {
        let (rest, parsed) = X509Certificate::from_der(certificate).map_err(|_| PeerError::Unreadable)?;
        if !rest.is_empty() {
            return Err(PeerError::Unreadable);
        }
        let peer = parse_name(only_uri(&parsed)?, trust_domain)?;
        if peer.population() != population {
            return Err(PeerError::Population { expected: population, found: peer.population() });
        }
        let key = TlsPublicKey::from_spki_der(parsed.tbs_certificate.subject_pki.raw)
            .map_err(|_| PeerError::Key)?;
        let not_after =
            u64::try_from(parsed.validity().not_after.timestamp()).map_err(|_| PeerError::Unreadable)?;
        Ok(Self {
            peer,
            serial: Serial::from_slice(parsed.tbs_certificate.raw_serial()).ok_or(PeerError::Serial)?,
            fingerprint: Digest::of(certificate),
            tls_key: key.id(),
            public_key: key,
            not_after: Timestamp(not_after.saturating_mul(1000)),
        })
    }
}

/// The one subject alternative name, which must be a URI.
fn only_uri<'a>(certificate: &'a X509Certificate<'_>) -> Result<&'a str, PeerError> {
    // A second extension of this kind is an error of the reader, not a second list.
    let extension = certificate.subject_alternative_name().map_err(|_| PeerError::Unreadable)?;
    let names = extension.map(|e| e.value.general_names.as_slice()).unwrap_or_default();
    match names {
        [GeneralName::URI(uri)] => Ok(uri),
        other => Err(PeerError::Names(other.len())),
    }
}

/// The peer that `uri` names, compared byte by byte: no case folding, no percent decoding, no port, query or fragment.
fn parse_name(uri: &str, trust_domain: &TrustDomain) -> Result<Peer, PeerError> {
    let (domain, path) =
        uri.strip_prefix("spiffe://").and_then(|rest| rest.split_once('/')).ok_or(PeerError::Name)?;
    if domain != trust_domain.as_str() {
        return Err(PeerError::TrustDomain { expected: trust_domain.clone() });
    }
    let (kind, id) = path.split_once('/').ok_or(PeerError::Name)?;
    if kind == "agent" {
        return id.parse().map(Peer::Agent).map_err(|_| PeerError::Name);
    }
    let role = kind.parse()?;
    id.parse().map(|id| Peer::Person { role, id }).map_err(|_| PeerError::Name)
}

#[cfg(test)]
mod tests;
