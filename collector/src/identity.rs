//! The collector's certificates and authorities, as the data directory keeps them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use certs::{
    AuthorityKeys, Candidate, Identity, IssuingAuthority, NewAuthorities, Order, Population, RevocationOrder,
    SERVER_LIFETIME, Serial, Subject, TlsKey, TrustedAuthority, pem,
};
use evidence::ids::Digest;
use evidence::time::{Clock, Timestamp};
use evidence::trust_domain::TrustDomain;
use rustls::pki_types::{CertificateDer, ServerName};

use crate::datadir::{DataDir, replace_file};
use crate::denylist::Denylist;
use crate::revocation::Lists;
use crate::secrets;

pub use certs::Issuer;

/// PEM label of a certificate (RFC 7468 section 5).
const CERTIFICATE: &str = "CERTIFICATE";

/// Why the authorities could not be made or opened.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A secret file.
    #[error(transparent)]
    Secret(#[from] secrets::SecretError),
    /// Another file.
    #[error("cannot {what} {path}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A certificate file.
    #[error("{path}: {problem}")]
    Form {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The certificates themselves.
    #[error("{0}")]
    Certs(String),
}

fn certs_error(error: impl std::fmt::Display) -> IdentityError {
    IdentityError::Certs(error.to_string())
}

/// The three issuing authorities, and where issued certificates are kept.
pub struct Identities {
    root: CertificateDer<'static>,
    agents: IssuingAuthority,
    people: IssuingAuthority,
    servers: IssuingAuthority,
    issued: PathBuf,
    lists: Lists,
}

/// What `init` made beside the authorities.
pub struct NewIdentities {
    /// The authorities.
    pub identities: Identities,
    /// The root's key, as PEM: written out for its owner and kept nowhere.
    pub root_key: zeroize::Zeroizing<String>,
}

fn key_path(dir: &DataDir, name: &str) -> PathBuf {
    dir.keys().join(format!("ca-{name}.key"))
}

fn certificate_path(dir: &DataDir, name: &str) -> PathBuf {
    dir.certs().join(format!("{name}.pem"))
}

impl Identities {
    /// Makes root and authorities in a data directory just made.
    pub fn create(
        dir: &DataDir,
        trust_domain: &TrustDomain,
        now: Timestamp,
        mut random: impl FnMut() -> std::io::Result<[u8; 16]>,
    ) -> Result<NewIdentities, IdentityError> {
        let key = || TlsKey::generate().map_err(certs_error);
        let keys = AuthorityKeys { root: key()?, agents: key()?, people: key()?, servers: key()? };
        let mut serial = || random().map(Serial::from_random).map_err(certs_error);
        let serials = [serial()?, serial()?, serial()?, serial()?];
        let made = NewAuthorities::create(trust_domain, keys, serials, now).map_err(certs_error)?;
        for authority in [&made.agents, &made.people, &made.servers] {
            let name = authority.population().as_str();
            secrets::write_new(&key_path(dir, name), authority.key().to_pem().as_bytes())?;
            write_certificate(&certificate_path(dir, name), authority.certificate())?;
        }
        write_certificate(&certificate_path(dir, "root"), &made.root)?;
        let issued = dir.certs().join("issued");
        std::fs::create_dir(&issued).map_err(|source| IdentityError::Io {
            what: "make",
            path: issued.clone(),
            source,
        })?;
        let root_key = made.root_key.to_pem();
        let lists = lists(dir, trust_domain, now)?;
        let NewAuthorities { root, agents, people, servers, .. } = made;
        let identities = Self { root, agents, people, servers, issued, lists };
        Ok(NewIdentities { identities, root_key })
    }

    /// Opens the authorities of a data directory.
    pub fn open(dir: &DataDir, trust_domain: &TrustDomain, now: Timestamp) -> Result<Self, IdentityError> {
        let open = |population: Population| {
            let name = population.as_str();
            let path = key_path(dir, name);
            let text = secrets::read(&path)?;
            let form = |problem: String| IdentityError::Form { path: path.clone(), problem };
            let text = std::str::from_utf8(&text).map_err(|error| form(error.to_string()))?;
            let key = TlsKey::from_pem(text).map_err(|error| form(error.to_string()))?;
            let certificate = read_certificate(&certificate_path(dir, name))?;
            IssuingAuthority::open(population, trust_domain.clone(), certificate, key).map_err(certs_error)
        };
        Ok(Self {
            root: read_certificate(&certificate_path(dir, "root"))?,
            agents: open(Population::Agents)?,
            people: open(Population::People)?,
            servers: open(Population::Servers)?,
            issued: dir.certs().join("issued"),
            lists: lists(dir, trust_domain, now)?,
        })
    }

    /// The root's certificate.
    pub fn root(&self) -> &CertificateDer<'static> {
        &self.root
    }

    /// Issues for devices.
    pub fn agents(&self) -> &IssuingAuthority {
        &self.agents
    }

    /// Issues for people.
    pub fn people(&self) -> &IssuingAuthority {
        &self.people
    }

    /// Issues for the collector.
    pub fn servers(&self) -> &IssuingAuthority {
        &self.servers
    }

    /// Keeps a certificate that was issued, before anybody gets it: a retried enrolment gets the same one, and a revocation
    /// finds its serial number.
    pub fn keep_issued(&self, certificate: &CertificateDer<'_>, now: Timestamp) -> std::io::Result<()> {
        self.lists.keep(certificate, now)
    }

    /// Forgets a certificate that no entry came to name: nobody was given it.
    pub fn forget_issued(&self, digest: &Digest) -> std::io::Result<()> {
        std::fs::remove_file(self.issued.join(format!("{digest}.der")))
    }

    /// A certificate issued before.
    pub fn issued(&self, digest: &Digest) -> std::io::Result<Vec<u8>> {
        std::fs::read(self.issued.join(format!("{digest}.der")))
    }

    /// A fresh server certificate under these names, with a new key, in memory only.
    pub fn server(
        &self,
        names: &[String],
        now: Timestamp,
        serial: [u8; 16],
    ) -> Result<Arc<Identity>, IdentityError> {
        let names = names
            .iter()
            .map(|name| {
                ServerName::try_from(name.clone())
                    .map_err(|_| certs_error(format!("{name:?} is no server name")))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let key = TlsKey::generate().map_err(certs_error)?;
        let order = Order {
            subject: &Subject::Server(names),
            public_key: key.public(),
            serial: Serial::from_random(serial),
            now,
            lifetime: SERVER_LIFETIME,
        };
        let issued = self.servers.issue(&order).map_err(certs_error)?;
        let chain = vec![issued.certificate, self.servers.certificate().clone(), self.root.clone()];
        Ok(Arc::new(Identity { chain, key }))
    }

    /// An authority with a fresh revocation list of whoever is on the denylist, which is published too.
    pub fn trusted(
        &self,
        population: Population,
        clock: &dyn Clock,
        denylist: &Denylist,
    ) -> Result<TrustedAuthority, IdentityError> {
        let authority = match population {
            Population::Agents => &self.agents,
            Population::People => &self.people,
            Population::Servers => &self.servers,
        };
        let now = clock.now();
        let revoked = self.lists.revoked(population, denylist, now);
        let number = self.lists.next_number(population, now);
        let order = RevocationOrder { number, now, revoked: &revoked };
        let list = authority.revocation_list(&order).map_err(certs_error)?;
        self.lists.publish(population, &list.der).map_err(|source| IdentityError::Io {
            what: "write the revocation list",
            path: PathBuf::from(format!("crl-{population}.der")),
            source,
        })?;
        // Checked as a list from elsewhere would be: what this collector writes others rely on.
        let certificate = authority.certificate().clone();
        let candidate = Candidate { certificate, list: Some(list.der.to_vec()), number_min: number };
        candidate.check(now).map_err(certs_error)
    }
}

fn lists(dir: &DataDir, trust_domain: &TrustDomain, now: Timestamp) -> Result<Lists, IdentityError> {
    Lists::open(&dir.certs(), trust_domain, now).map_err(|source| IdentityError::Io {
        what: "read the certificates issued before in",
        path: dir.certs(),
        source,
    })
}

fn write_certificate(path: &Path, certificate: &CertificateDer<'_>) -> Result<(), IdentityError> {
    replace_file(path, pem::encode(CERTIFICATE, certificate).as_bytes()).map_err(|source| IdentityError::Io {
        what: "write",
        path: path.to_owned(),
        source,
    })
}

fn read_certificate(path: &Path) -> Result<CertificateDer<'static>, IdentityError> {
    let text = std::fs::read_to_string(path).map_err(|source| IdentityError::Io {
        what: "read",
        path: path.to_owned(),
        source,
    })?;
    pem::certificate(&text)
        .map_err(|error| IdentityError::Form { path: path.to_owned(), problem: error.to_string() })
}
