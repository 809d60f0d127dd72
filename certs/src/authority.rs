//! The root and the three issuing authorities: one for agents, one for people, one for servers.
//!
//! Each listener trusts one of them, so a certificate of one population cannot be used as one of another even if a name
//! in it were wrong. Every authority has a name of its own: rustls takes the first revocation list with a matching
//! name, so two authorities of one name would lock each other's holders out.

use std::fmt;
use std::time::Duration;

use evidence::enrolment::TlsPublicKey;
use evidence::time::Timestamp;
use evidence::trust_domain::TrustDomain;
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256};
use rcgen::{KeyIdMethod, SubjectPublicKeyInfo};
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::crypto;
use crate::issue::{
    self, BACKDATE, IssueError, Issued, Issuer, Order, Serial, after, before, distinguished_name,
    whole_seconds, x509_time,
};
use crate::revocation::{self, RevocationList, RevocationOrder};
use crate::tls_key::TlsKey;

/// Life of the root: ten years. Its key lies offline, and replacing it means enrolling every device again.
const ROOT_LIFETIME: Duration = Duration::from_hours(24 * 3653);
/// Life of an issuing authority: five years, replaced by a rollover long before.
const AUTHORITY_LIFETIME: Duration = Duration::from_hours(24 * 1826);
/// Longest organisation name of X.520 in characters (ub-organization-name of RFC 5280); a longer one is left out.
const ORGANIZATION_CHARACTERS_MAX: usize = 64;

/// Whom an issuing authority issues for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Population {
    /// Devices.
    Agents,
    /// Admins, analysts and auditors.
    People,
    /// Collectors.
    Servers,
}

impl Population {
    /// Every population.
    pub const ALL: [Self; 3] = [Self::Agents, Self::People, Self::Servers];

    /// The lower-case name, as in the genesis act and in file names.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Agents => "agents",
            Self::People => "people",
            Self::Servers => "servers",
        }
    }
}

impl fmt::Display for Population {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why an authority could not be made or opened.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The certificate cannot be read.
    #[error("the {0} authority's certificate cannot be read")]
    Certificate(Population),
    /// The certificate is not an issuing authority's.
    #[error(
        "the {0} authority's certificate may not issue: it must be a CA with path length 0, keyCertSign and cRLSign"
    )]
    NotAnAuthority(Population),
    /// The certificate and the key do not belong together.
    #[error("the {0} authority's key is not the key of its certificate: restore both from one backup")]
    Mismatch(Population),
    /// The root's certificate cannot be read.
    #[error("the root's certificate cannot be read: restore certs/root.pem from a backup")]
    Root,
    /// Another key than the root's.
    #[error(
        "this is not the key of this installation's root: take the file that `init` wrote to --root-key-out"
    )]
    OtherRoot,
    /// The root has ended.
    #[error(
        "the root's own certificate has ended: a new installation must follow this one (`init --predecessor`)"
    )]
    RootEnded,
    /// The root did not sign it.
    #[error("the {0} authority's certificate is not signed by this installation's root")]
    NotOfTheRoot(Population),
    /// Signing failed.
    #[error(transparent)]
    Issue(#[from] IssueError),
}

/// The four keys `init` makes.
#[derive(Debug)]
pub struct AuthorityKeys {
    /// Key of the root.
    pub root: TlsKey,
    /// Key of the agents authority.
    pub agents: TlsKey,
    /// Key of the people authority.
    pub people: TlsKey,
    /// Key of the servers authority.
    pub servers: TlsKey,
}

/// What `init` gets: the root's certificate and the three authorities.
#[derive(Debug)]
pub struct NewAuthorities {
    /// The root's certificate, self-signed, path length 1.
    pub root: CertificateDer<'static>,
    /// The root's key: `init` writes it out for its owner to take away, and nothing keeps it.
    pub root_key: TlsKey,
    /// Issues for devices.
    pub agents: IssuingAuthority,
    /// Issues for people.
    pub people: IssuingAuthority,
    /// Issues for servers.
    pub servers: IssuingAuthority,
}

impl NewAuthorities {
    /// Makes the root and the three issuing authorities of `trust_domain`. `serials` are four different ones, in the
    /// order root, agents, people, servers; they also make the four names unique.
    pub fn create(
        trust_domain: &TrustDomain,
        keys: AuthorityKeys,
        serials: [Serial; 4],
        now: Timestamp,
    ) -> Result<Self, AuthorityError> {
        let [root_serial, agents_serial, people_serial, servers_serial] = serials;
        let mut params = authority_parameters(trust_domain, "root", root_serial, now, ROOT_LIFETIME)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
        let root_pair = key_pair(&keys.root)?;
        let root = params.self_signed(&root_pair).map_err(signing)?;
        let root_issuer = rcgen::Issuer::new(params, root_pair);
        let issuing = |population: Population, key: TlsKey, serial: Serial| {
            let mut params =
                authority_parameters(trust_domain, population.as_str(), serial, now, AUTHORITY_LIFETIME)?;
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
            params.use_authority_key_identifier_extension = true;
            let certificate = params.signed_by(&public_key(key.public())?, &root_issuer).map_err(signing)?;
            IssuingAuthority::open(population, trust_domain.clone(), certificate.into(), key)
        };
        let agents = issuing(Population::Agents, keys.agents, agents_serial)?;
        let people = issuing(Population::People, keys.people, people_serial)?;
        let servers = issuing(Population::Servers, keys.servers, servers_serial)?;
        Ok(Self { root: root.into(), root_key: keys.root, agents, people, servers })
    }
}

/// An issuing authority with its key in memory.
pub struct IssuingAuthority {
    population: Population,
    trust_domain: TrustDomain,
    certificate: CertificateDer<'static>,
    ends: Timestamp,
    key: TlsKey,
    signer: rcgen::Issuer<'static, KeyPair>,
}

impl fmt::Debug for IssuingAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IssuingAuthority({} of {})", self.population, self.trust_domain)
    }
}

impl IssuingAuthority {
    /// The authority with this certificate and key, after checking that they belong together and may issue.
    pub fn open(
        population: Population,
        trust_domain: TrustDomain,
        certificate: CertificateDer<'static>,
        key: TlsKey,
    ) -> Result<Self, AuthorityError> {
        let (rest, parsed) =
            X509Certificate::from_der(&certificate).map_err(|_| AuthorityError::Certificate(population))?;
        if !rest.is_empty() {
            return Err(AuthorityError::Certificate(population));
        }
        if parsed.tbs_certificate.subject_pki.raw != key.public().spki_der() {
            return Err(AuthorityError::Mismatch(population));
        }
        let constraints = parsed.basic_constraints().ok().flatten();
        let usage = parsed.key_usage().ok().flatten();
        if !constraints.is_some_and(|c| c.value.ca && c.value.path_len_constraint == Some(0))
            || !usage.is_some_and(|u| u.value.key_cert_sign() && u.value.crl_sign())
        {
            return Err(AuthorityError::NotAnAuthority(population));
        }
        let ends = u64::try_from(parsed.validity().not_after.timestamp())
            .map_err(|_| AuthorityError::Certificate(population))?;
        let signer = rcgen::Issuer::from_ca_cert_der(&certificate, key_pair(&key)?).map_err(signing)?;
        Ok(Self {
            population,
            trust_domain,
            ends: Timestamp(ends.saturating_mul(1000)),
            certificate,
            key,
            signer,
        })
    }

    /// A new authority under the root, with a name that no other one has: the serial is in it. It lives as long as one
    /// that `init` makes, and no longer than the root.
    pub fn create(
        population: Population,
        trust_domain: &TrustDomain,
        root: (&CertificateDer<'static>, &TlsKey),
        key: TlsKey,
        serial: Serial,
        now: Timestamp,
    ) -> Result<Self, AuthorityError> {
        let (root, root_key) = root;
        let (_, parsed) = X509Certificate::from_der(root).map_err(|_| AuthorityError::Root)?;
        if parsed.tbs_certificate.subject_pki.raw != root_key.public().spki_der() {
            return Err(AuthorityError::OtherRoot);
        }
        let ends =
            u64::try_from(parsed.validity().not_after.timestamp()).map_err(|_| AuthorityError::Root)?;
        let left = Duration::from_secs(ends).saturating_sub(Duration::from_millis(now.ms()));
        if left.is_zero() {
            return Err(AuthorityError::RootEnded);
        }
        let life = AUTHORITY_LIFETIME.min(left);
        let mut params = authority_parameters(trust_domain, population.as_str(), serial, now, life)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.use_authority_key_identifier_extension = true;
        let issuer = rcgen::Issuer::from_ca_cert_der(root, key_pair(root_key)?).map_err(signing)?;
        let certificate = params.signed_by(&public_key(key.public())?, &issuer).map_err(signing)?;
        Self::open(population, trust_domain.clone(), certificate.into(), key)
    }

    /// Refuses an authority that the root did not sign.
    pub fn check_root(&self, root: &CertificateDer<'_>) -> Result<(), AuthorityError> {
        let (_, root) = X509Certificate::from_der(root).map_err(|_| AuthorityError::Root)?;
        let (_, own) = X509Certificate::from_der(&self.certificate)
            .map_err(|_| AuthorityError::Certificate(self.population))?;
        let key = &root.tbs_certificate.subject_pki.subject_public_key.data;
        let signed = crypto::ecdsa_holds(key, own.tbs_certificate.as_ref(), &own.signature_value.data);
        if own.issuer().as_raw() == root.subject().as_raw() && signed {
            Ok(())
        } else {
            Err(AuthorityError::NotOfTheRoot(self.population))
        }
    }

    /// When its certificate ends: nothing it issued lives longer.
    pub fn ends(&self) -> Timestamp {
        self.ends
    }

    /// Whom this authority issues for.
    pub fn population(&self) -> Population {
        self.population
    }

    /// The authority's key, for `init` to write it to a protected file.
    pub fn key(&self) -> &TlsKey {
        &self.key
    }
}

impl Issuer for IssuingAuthority {
    fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    fn issue(&self, order: &Order<'_>) -> Result<Issued, IssueError> {
        let subject = order.subject.population();
        if subject != self.population {
            return Err(IssueError::Population { authority: self.population, subject });
        }
        let (params, not_after) = issue::parameters(order, &self.trust_domain, self.ends)?;
        let certificate = params.signed_by(&public_key(order.public_key)?, &self.signer).map_err(signing)?;
        Ok(Issued { certificate: certificate.into(), serial: order.serial, not_after })
    }

    fn revocation_list(&self, order: &RevocationOrder<'_>) -> Result<RevocationList, IssueError> {
        let (params, next_update) = revocation::parameters(order)?;
        let list = params.signed_by(&self.signer).map_err(signing)?;
        Ok(RevocationList { der: list.into(), next_update })
    }
}

fn authority_parameters(
    trust_domain: &TrustDomain,
    what: &str,
    serial: Serial,
    now: Timestamp,
    lifetime: Duration,
) -> Result<CertificateParams, IssueError> {
    let organization = Some(trust_domain.as_str()).filter(|name| name.len() <= ORGANIZATION_CHARACTERS_MAX);
    let mut params = CertificateParams::default();
    params.serial_number = Some(serial.for_rcgen());
    params.not_before = x509_time(before(now, BACKDATE))?.into();
    params.not_after = x509_time(whole_seconds(after(now, lifetime)))?.into();
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name = distinguished_name(&format!("Tallystick {what} {serial}"), organization);
    params.key_identifier_method = KeyIdMethod::Sha256;
    Ok(params)
}

fn key_pair(key: &TlsKey) -> Result<KeyPair, IssueError> {
    KeyPair::from_pkcs8_der_and_sign_algo(&key.pkcs8(), &PKCS_ECDSA_P256_SHA256).map_err(signing)
}

fn public_key(key: &TlsPublicKey) -> Result<SubjectPublicKeyInfo, IssueError> {
    SubjectPublicKeyInfo::from_der(key.spki_der()).map_err(signing)
}

fn signing(error: rcgen::Error) -> IssueError {
    IssueError::Sign(error.to_string())
}

#[cfg(test)]
mod tests;
