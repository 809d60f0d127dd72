//! What a certificate holds: everything from policy, and from the holder nothing but a public key.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use evidence::enrolment::TlsPublicKey;
use evidence::ids::{DeviceId, PersonId};
use evidence::time::Timestamp;
use evidence::trust_domain::TrustDomain;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SanType,
    SerialNumber,
};
use rustls::pki_types::{CertificateDer, ServerName};

use crate::authority::Population;
use crate::peer::Role;
use crate::revocation::{RevocationList, RevocationOrder};

/// Life of an agent's certificate: laptops sleep for weeks, and revocation does not wait for expiry.
pub const AGENT_LIFETIME: Duration = Duration::from_hours(24 * 30);
/// Life of a person's certificate: one working day, since nobody revokes a forgotten terminal.
pub const PERSON_LIFETIME: Duration = Duration::from_hours(12);
/// Life of the collector's own certificate, which it renews by itself.
pub const SERVER_LIFETIME: Duration = Duration::from_hours(24 * 7);
/// Longest life any leaf certificate may be ordered with.
pub const MAX_LIFETIME: Duration = Duration::from_hours(24 * 90);
/// How long before "now" a certificate begins, so that a peer whose clock is a little behind accepts it.
pub(crate) const BACKDATE: Duration = Duration::from_mins(5);
/// The last moment an X.509 time can say: 9999-12-31T23:59:59Z, in milliseconds since 1970.
const LATEST_MS: u64 = 253_402_300_799_000;
/// Names a server certificate may carry: more is a mistake in a configuration.
const SERVER_NAMES_MAX: usize = 32;

/// A certificate's serial number: 16 random bytes, the first of them in 0x40..=0x7f, so that every serial is a
/// positive number of exactly 16 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial([u8; 16]);

impl Serial {
    /// The serial of 16 random bytes; two bits are given up for its fixed form.
    pub fn from_random(mut bytes: [u8; 16]) -> Self {
        let [first, ..] = &mut bytes;
        *first = (*first & 0x3f) | 0x40;
        Self(bytes)
    }

    /// The serial in `bytes`, `None` unless [`Serial::from_random`] could have made it.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        let serial = Self(bytes.try_into().ok()?);
        (Self::from_random(serial.0) == serial).then_some(serial)
    }

    /// The 16 bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    pub(crate) fn for_rcgen(self) -> SerialNumber {
        SerialNumber::from_slice(&self.0)
    }
}

impl std::fmt::Display for Serial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl std::fmt::Debug for Serial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

/// Whom a certificate is for. It decides the authority, the key usage and the one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A device.
    Agent(DeviceId),
    /// A person in a role.
    Person(Role, PersonId),
    /// A server under these DNS names and addresses.
    Server(Vec<ServerName<'static>>),
}

impl Subject {
    /// The authority that issues for this subject.
    pub fn population(&self) -> Population {
        match self {
            Self::Agent(_) => Population::Agents,
            Self::Person(..) => Population::People,
            Self::Server(_) => Population::Servers,
        }
    }
}

/// One certificate to be issued.
#[derive(Debug, Clone)]
pub struct Order<'a> {
    /// Whom it is for.
    pub subject: &'a Subject,
    /// The holder's key: the only thing taken from the holder.
    pub public_key: &'a TlsPublicKey,
    /// Its serial, never used before.
    pub serial: Serial,
    /// Now.
    pub now: Timestamp,
    /// How long it lives from now; cut where the authority's own certificate ends.
    pub lifetime: Duration,
}

/// A certificate that was issued.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The certificate.
    pub certificate: CertificateDer<'static>,
    /// Its serial.
    pub serial: Serial,
    /// Its end, whole seconds.
    pub not_after: Timestamp,
}

/// Why a certificate or a revocation list was not issued.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IssueError {
    /// The authority is for others.
    #[error("the {authority} authority does not issue for {subject}")]
    Population {
        /// The authority asked.
        authority: Population,
        /// The one to ask.
        subject: Population,
    },
    /// The lifetime is zero or too long.
    #[error("a certificate lives between one second and {} days", MAX_LIFETIME.as_secs() / 86_400)]
    Lifetime,
    /// The authority's certificate has ended.
    #[error(
        "the {0} authority's own certificate has ended: prepare a new one with `tallystick-collector ca rollover`"
    )]
    AuthorityEnded(Population),
    /// A server without names, or with too many, or with one that cannot be written.
    #[error("a server certificate needs 1 to {SERVER_NAMES_MAX} DNS names or addresses")]
    ServerNames,
    /// The moment cannot be written in a certificate.
    #[error("the time lies outside what a certificate can say (1970 to 9999): check the clock")]
    Time,
    /// The encoder or the signer failed.
    #[error("the certificate could not be signed: {0}")]
    Sign(String),
}

/// Whoever holds an issuing authority's key: a file today, a separate process or a hardware module later.
pub trait Issuer: Send + Sync {
    /// The authority's own certificate, which peers are checked against.
    fn certificate(&self) -> &CertificateDer<'static>;

    /// Issues one certificate. The same order gives another signature but the same names, times and serial.
    fn issue(&self, order: &Order<'_>) -> Result<Issued, IssueError>;

    /// Issues this authority's full revocation list.
    fn revocation_list(&self, order: &RevocationOrder<'_>) -> Result<RevocationList, IssueError>;
}

/// What the certificate of `order` says, except who signs it; `ends` is the authority's own end.
pub(crate) fn parameters(
    order: &Order<'_>,
    trust_domain: &TrustDomain,
    ends: Timestamp,
) -> Result<(CertificateParams, Timestamp), IssueError> {
    let population = order.subject.population();
    if order.lifetime < Duration::from_secs(1) || order.lifetime > MAX_LIFETIME {
        return Err(IssueError::Lifetime);
    }
    if order.now >= ends {
        return Err(IssueError::AuthorityEnded(population));
    }
    let not_after = whole_seconds(after(order.now, order.lifetime).min(ends));
    let mut params = CertificateParams::default();
    params.serial_number = Some(order.serial.for_rcgen());
    params.not_before = x509_time(before(order.now, BACKDATE))?.into();
    params.not_after = x509_time(not_after)?.into();
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    let (common_name, usage, names) = match order.subject {
        Subject::Agent(device) => {
            let uri = format!("spiffe://{trust_domain}/agent/{device}");
            (device.to_string(), ExtendedKeyUsagePurpose::ClientAuth, vec![uri_name(&uri)?])
        }
        Subject::Person(role, person) => {
            let uri = format!("spiffe://{trust_domain}/{role}/{person}");
            (person.to_string(), ExtendedKeyUsagePurpose::ClientAuth, vec![uri_name(&uri)?])
        }
        Subject::Server(names) => {
            let names = server_names(names)?;
            ("tallystick collector".to_owned(), ExtendedKeyUsagePurpose::ServerAuth, names)
        }
    };
    params.extended_key_usages = vec![usage];
    params.subject_alt_names = names;
    params.distinguished_name = distinguished_name(&common_name, None);
    Ok((params, not_after))
}

fn uri_name(uri: &str) -> Result<SanType, IssueError> {
    uri.try_into().map(SanType::URI).map_err(|e: rcgen::Error| IssueError::Sign(e.to_string()))
}

fn server_names(names: &[ServerName<'static>]) -> Result<Vec<SanType>, IssueError> {
    if names.is_empty() || names.len() > SERVER_NAMES_MAX {
        return Err(IssueError::ServerNames);
    }
    names
        .iter()
        .map(|name| match name {
            ServerName::DnsName(dns) => {
                dns.as_ref().try_into().map(SanType::DnsName).map_err(|_| IssueError::ServerNames)
            }
            ServerName::IpAddress(address) => Ok(SanType::IpAddress(IpAddr::from(*address))),
            _ => Err(IssueError::ServerNames),
        })
        .collect()
}

/// A name of one or two attributes.
pub(crate) fn distinguished_name(common_name: &str, organization: Option<&str>) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    if let Some(organization) = organization {
        name.push(DnType::OrganizationName, organization);
    }
    name.push(DnType::CommonName, common_name);
    name
}

/// `moment` plus `by`.
pub(crate) fn after(moment: Timestamp, by: Duration) -> Timestamp {
    Timestamp(moment.ms().saturating_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX)))
}

/// `moment` minus `by`, not before 1970.
pub(crate) fn before(moment: Timestamp, by: Duration) -> Timestamp {
    Timestamp(moment.ms().saturating_sub(u64::try_from(by.as_millis()).unwrap_or(u64::MAX)))
}

/// `moment` without its milliseconds, since X.509 times are whole seconds.
pub(crate) fn whole_seconds(moment: Timestamp) -> Timestamp {
    Timestamp(moment.ms() / 1000 * 1000)
}

/// `moment` as the encoder takes it.
pub(crate) fn x509_time(moment: Timestamp) -> Result<SystemTime, IssueError> {
    if moment.ms() > LATEST_MS {
        return Err(IssueError::Time);
    }
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(moment.ms() / 1000)).ok_or(IssueError::Time)
}
