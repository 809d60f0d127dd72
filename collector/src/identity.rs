//! The collector's certificates and authorities, as the data directory keeps them and the roster names them.
//!
//! An authority of the genesis lies in `certs/NAME.pem` and `keys/ca-NAME.key`, one that followed in `certs/ca-DIGEST.pem`
//! and `keys/ca-DIGEST.key`, after the SHA-256 of its certificate. Which of them issue and which are only trusted is in the
//! log and nowhere else.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use certs::{
    AuthorityKeys, Candidate, CertificateLife, Identity, IssuingAuthority, NewAuthorities, Order, Population,
    RevocationOrder, SERVER_LIFETIME, Serial, Subject, TlsKey, TrustedAuthority, pem,
};
use evidence::acts::KeyOf;
use evidence::ids::Digest;
use evidence::roster::Authorities;
use evidence::time::{Clock, Timestamp};
use evidence::trust_domain::TrustDomain;
use rustls::pki_types::{CertificateDer, ServerName};

use crate::datadir::{DataDir, replace_file};
use crate::denylist::Denylist;
use crate::revocation::Lists;
use crate::{failpoints, secrets};

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

/// How long before an authority ends the operator is told: the longest a device may sleep, its certificate's life, and two
/// months to do it in.
const AUTHORITY_WARNING: Duration = Duration::from_hours(24 * 180);

/// Issued certificates whose lives are remembered, 200 bytes each; beyond, they are read again.
const LIVES_MAX: usize = 65_536;

/// The authorities of one population: the one that issues, then those that are trusted beside it.
type Trusted = Vec<Arc<IssuingAuthority>>;

/// The issuing authorities, and where issued certificates are kept.
pub struct Identities {
    root: CertificateDer<'static>,
    trust_domain: TrustDomain,
    keys: PathBuf,
    certs: PathBuf,
    held: RwLock<BTreeMap<Population, Trusted>>,
    issued: PathBuf,
    lists: Lists,
    /// What is known of issued certificates, by their SHA-256: they never change.
    lives: Mutex<HashMap<Digest, CertificateLife>>,
}

/// What `init` made beside the authorities.
pub struct NewIdentities {
    /// The authorities.
    pub identities: Identities,
    /// The root's key, as PEM: written out for its owner and kept nowhere.
    pub root_key: zeroize::Zeroizing<String>,
}

/// The population an act's word is about; none for the log's key.
pub const fn population(of: KeyOf) -> Option<Population> {
    match of {
        KeyOf::Agents => Some(Population::Agents),
        KeyOf::People => Some(Population::People),
        KeyOf::Servers => Some(Population::Servers),
        KeyOf::Log => None,
    }
}

/// An act's word for a population.
pub const fn key_of(population: Population) -> KeyOf {
    match population {
        Population::Agents => KeyOf::Agents,
        Population::People => KeyOf::People,
        Population::Servers => KeyOf::Servers,
    }
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
        let held = [made.agents, made.people, made.servers]
            .map(|authority| (authority.population(), vec![Arc::new(authority)]));
        let identities = Self {
            root: made.root,
            trust_domain: trust_domain.clone(),
            keys: dir.keys(),
            certs: dir.certs(),
            held: RwLock::new(held.into_iter().collect()),
            issued,
            lists,
            lives: Mutex::default(),
        };
        Ok(NewIdentities { identities, root_key })
    }

    /// Opens the authorities that the roster names, from the files of a data directory.
    pub fn open(
        dir: &DataDir,
        trust_domain: &TrustDomain,
        authorities: &Authorities,
        now: Timestamp,
    ) -> Result<Self, IdentityError> {
        let identities = Self {
            root: read_certificate(&certificate_path(dir, "root"))?,
            trust_domain: trust_domain.clone(),
            keys: dir.keys(),
            certs: dir.certs(),
            held: RwLock::default(),
            issued: dir.certs().join("issued"),
            lists: lists(dir, trust_domain, now)?,
            lives: Mutex::default(),
        };
        identities.follow(authorities)?;
        Ok(identities)
    }

    /// Opens whatever the roster names now. On an error nothing changes.
    pub fn follow(&self, authorities: &Authorities) -> Result<(), IdentityError> {
        let mut held = BTreeMap::new();
        for population in Population::ALL {
            let named = authorities
                .trusted(key_of(population))
                .ok_or_else(|| certs_error("the log has no genesis that names its authorities"))?;
            let opened = named.all().map(|digest| self.read(population, &digest).map(Arc::new));
            held.insert(population, opened.collect::<Result<Trusted, _>>()?);
        }
        *self.held.write().unwrap_or_else(PoisonError::into_inner) = held;
        Ok(())
    }

    /// An authority from its files.
    pub fn read(&self, population: Population, digest: &Digest) -> Result<IssuingAuthority, IdentityError> {
        let first = self.certs.join(format!("{population}.pem"));
        let of_genesis = first.exists() && Digest::of(&read_certificate(&first)?) == *digest;
        let (certificate, key) = if of_genesis {
            (first, self.keys.join(format!("ca-{population}.key")))
        } else {
            files(&self.certs, &self.keys, digest)
        };
        let found = read_certificate(&certificate)?;
        if Digest::of(&found) != *digest {
            let problem = format!("it is not the certificate {digest}, which the log names");
            return Err(IdentityError::Form { path: certificate, problem });
        }
        let text = secrets::read(&key)?;
        let form = |problem: String| IdentityError::Form { path: key.clone(), problem };
        let text = std::str::from_utf8(&text).map_err(|error| form(error.to_string()))?;
        let key = TlsKey::from_pem(text).map_err(|error| form(error.to_string()))?;
        IssuingAuthority::open(population, self.trust_domain.clone(), found, key).map_err(certs_error)
    }

    /// Keeps a new authority's files: the key first, as a certificate without one is of no use. Nothing is trusted by it.
    pub fn keep_authority(dir: &Path, authority: &IssuingAuthority) -> Result<Digest, IdentityError> {
        let digest = Digest::of(authority.certificate());
        let (certificate, key) = files(&dir.join("certs"), &dir.join("keys"), &digest);
        secrets::write_new(&key, authority.key().to_pem().as_bytes())?;
        failpoints::reach("rollover-key-written");
        write_certificate(&certificate, authority.certificate())?;
        failpoints::reach("rollover-files-written");
        Ok(digest)
    }

    fn trusted_of(&self, population: Population) -> Trusted {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        held.get(&population).cloned().unwrap_or_default()
    }

    fn issuing(&self, population: Population) -> Result<Arc<IssuingAuthority>, IdentityError> {
        let first = self.trusted_of(population).into_iter().next();
        first.ok_or_else(|| certs_error(format!("there is no authority for {population}")))
    }

    /// The root's certificate.
    pub fn root(&self) -> &CertificateDer<'static> {
        &self.root
    }

    /// Issues for devices.
    pub fn agents(&self) -> Result<Arc<IssuingAuthority>, IdentityError> {
        self.issuing(Population::Agents)
    }

    /// Issues for people.
    pub fn people(&self) -> Result<Arc<IssuingAuthority>, IdentityError> {
        self.issuing(Population::People)
    }

    /// Issues for the collector.
    pub fn servers(&self) -> Result<Arc<IssuingAuthority>, IdentityError> {
        self.issuing(Population::Servers)
    }

    /// The certificates above one that was issued to a device: its own issuer's while that is trusted, then the root's.
    pub fn chain_of(&self, certificate: &Digest) -> Result<Vec<Vec<u8>>, IdentityError> {
        let issuer = self.life(certificate).map(|life| life.issuer);
        let trusted = self.trusted_of(Population::Agents);
        let own = trusted.iter().find(|authority| issuer.is_some_and(|issuer| name_of(authority) == issuer));
        let issuing = own.or_else(|| trusted.first()).ok_or_else(|| certs_error("there is no authority"))?;
        Ok(vec![issuing.certificate().to_vec(), self.root.to_vec()])
    }

    /// What is known of a certificate that was issued to a device; none when it is not kept here.
    pub fn life(&self, certificate: &Digest) -> Option<CertificateLife> {
        let lives = || self.lives.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = lives().get(certificate) {
            return Some(*known);
        }
        let life = CertificateLife::read(&self.issued(certificate).ok()?.into())?;
        let mut lives = lives();
        if lives.len() >= LIVES_MAX {
            lives.clear();
        }
        lives.insert(*certificate, life);
        Some(life)
    }

    /// Whether a certificate's issuer is one of those that are trusted for devices.
    pub fn is_trusted(&self, life: &CertificateLife) -> bool {
        self.trusted_of(Population::Agents).iter().any(|authority| name_of(authority) == life.issuer)
    }

    /// Whether a certificate's issuer is the one that issues for devices now.
    pub fn is_newest(&self, life: &CertificateLife) -> bool {
        self.trusted_of(Population::Agents).first().is_some_and(|authority| name_of(authority) == life.issuer)
    }

    /// Says in the log which authorities end soon, or have ended.
    pub fn warn_of_ends(&self, now: Timestamp) {
        for population in Population::ALL {
            let Ok(authority) = self.issuing(population) else { continue };
            let (ends, soon) = (authority.ends(), AUTHORITY_WARNING.as_millis());
            let left = ends.ms().saturating_sub(now.ms());
            if u128::from(left) < soon {
                let days = left / evidence::time::DAY_MS;
                tracing::warn!(
                    of = %population, ends = %ends.rfc3339(), days,
                    "An authority ends: run `tallystick-collector ca rollover` with the root's key."
                );
            }
        }
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
        let servers = self.servers()?;
        let issued = servers.issue(&order).map_err(certs_error)?;
        let chain = vec![issued.certificate, servers.certificate().clone(), self.root.clone()];
        Ok(Arc::new(Identity { chain, key }))
    }

    /// Every trusted authority of a population, each with a fresh revocation list of whoever is on the denylist, which is
    /// published too: with a list for one of two only, rustls would refuse every holder of the other.
    pub fn trusted(
        &self,
        population: Population,
        clock: &dyn Clock,
        denylist: &Denylist,
    ) -> Result<Vec<TrustedAuthority>, IdentityError> {
        let now = clock.now();
        // One list for all: a serial number that another authority gave is on nobody else's certificate.
        let revoked = self.lists.revoked(population, denylist, now);
        let number = self.lists.next_number(population, now);
        let order = RevocationOrder { number, now, revoked: &revoked };
        let with_list = |(place, authority): (usize, &Arc<IssuingAuthority>)| {
            let list = authority.revocation_list(&order).map_err(certs_error)?;
            let certificate = authority.certificate().clone();
            let name = match place {
                0 => population.to_string(),
                _ => Digest::of(&certificate).hex(),
            };
            self.lists.publish(&name, &list.der).map_err(|source| IdentityError::Io {
                what: "write the revocation list",
                path: PathBuf::from(format!("crl-{name}.der")),
                source,
            })?;
            // Checked as a list from elsewhere would be: what this collector writes others rely on.
            let candidate = Candidate { certificate, list: Some(list.der.to_vec()), number_min: number };
            candidate.check(now).map_err(certs_error)
        };
        self.trusted_of(population).iter().enumerate().map(with_list).collect()
    }
}

fn lists(dir: &DataDir, trust_domain: &TrustDomain, now: Timestamp) -> Result<Lists, IdentityError> {
    Lists::open(&dir.certs(), trust_domain, now).map_err(|source| IdentityError::Io {
        what: "read the certificates issued before in",
        path: dir.certs(),
        source,
    })
}

/// Where certificate and key of an authority lie that followed another one.
fn files(certs: &Path, keys: &Path, digest: &Digest) -> (PathBuf, PathBuf) {
    (certs.join(format!("ca-{digest}.pem")), keys.join(format!("ca-{digest}.key")))
}

/// SHA-256 of an authority's distinguished name.
pub(crate) fn name_of(authority: &IssuingAuthority) -> Digest {
    CertificateLife::read(authority.certificate()).map_or(Digest::ZERO, |life| life.subject)
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
