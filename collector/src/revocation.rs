//! The revocation lists of the issuing authorities: which serial numbers are on them, their numbers, their files.
//!
//! Whose keys are revoked says the denylist; which certificates that makes is read from `certs/issued/`, where every
//! certificate that was issued is kept until it has ended. Lists are made anew every hour and at every revocation, and lie
//! in `certs/crl-<population>.der` for whoever checks certificates elsewhere.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use certs::{PeerCertificate, Population, Revoked, Serial, list_number};
use evidence::ids::Digest;
use evidence::time::Timestamp;
use evidence::trust_domain::TrustDomain;
use rustls::pki_types::CertificateDer;

use crate::datadir::replace_file;
use crate::denylist::{Denylist, Holder};

/// The certificates that were issued and have not ended, and the numbers of the lists.
#[derive(Debug)]
pub struct Lists {
    certs: PathBuf,
    trust_domain: TrustDomain,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    issued: BTreeMap<Holder, Vec<(Serial, Timestamp)>>,
    numbers: BTreeMap<Population, u64>,
}

impl Lists {
    /// The lists of a data directory's `certs` folder. Reads what was issued; people's certificates that have ended are
    /// removed, since they are made twice a day. A device's stay: one that enrolled asks for its own again.
    pub fn open(certs: &Path, trust_domain: &TrustDomain, now: Timestamp) -> std::io::Result<Self> {
        let lists =
            Self { certs: certs.to_owned(), trust_domain: trust_domain.clone(), known: Mutex::default() };
        for entry in std::fs::read_dir(certs.join("issued"))? {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != "der") {
                continue;
            }
            let ended = lists.note(&CertificateDer::from(std::fs::read(&path)?), now);
            if ended == Some(Population::People) {
                std::fs::remove_file(&path)?;
            }
        }
        for population in Population::ALL {
            let found = std::fs::read(lists.path(population)).ok();
            let number = found.as_deref().and_then(list_number);
            if found.is_some() && number.is_none() {
                tracing::error!(%population, "The revocation list in certs/ cannot be read; a new one takes its place.");
            }
            if let Some(number) = number {
                lists.known().numbers.insert(population, number);
            }
        }
        Ok(lists)
    }

    /// Keeps a certificate that was just issued.
    pub fn keep(&self, certificate: &CertificateDer<'_>, now: Timestamp) -> std::io::Result<()> {
        let digest = Digest::of(certificate);
        replace_file(&self.certs.join("issued").join(format!("{digest}.der")), certificate)?;
        self.note(certificate, now);
        Ok(())
    }

    /// Remembers a certificate; gives its population if it has ended and is not remembered.
    fn note(&self, certificate: &CertificateDer<'_>, now: Timestamp) -> Option<Population> {
        let read = |population| PeerCertificate::read(certificate, &self.trust_domain, population).ok();
        let found = read(Population::Agents).or_else(|| read(Population::People));
        let Some(found) = found else {
            tracing::warn!(
                "A file in certs/issued is no certificate of this installation; it is left alone."
            );
            return None;
        };
        if found.not_after <= now {
            return Some(found.peer.population());
        }
        let mut known = self.known();
        known.issued.entry(found.peer.into()).or_default().push((found.serial, found.not_after));
        None
    }

    /// What is on the list of a population now: the serial numbers of whoever is revoked, without those that have ended.
    pub fn revoked(&self, population: Population, denylist: &Denylist, now: Timestamp) -> Vec<Revoked> {
        let mut known = self.known();
        for serials in known.issued.values_mut() {
            serials.retain(|(_, not_after)| *not_after > now);
        }
        known.issued.retain(|_, serials| !serials.is_empty());
        let of = |holder: &Holder| match holder {
            Holder::Device(_) => Population::Agents,
            Holder::Person(_) => Population::People,
        };
        let denied = denylist.all().into_iter().filter(|(holder, _)| of(holder) == population);
        denied
            .flat_map(|(holder, denied)| {
                let serials = known.issued.get(&holder).map(Vec::as_slice).unwrap_or_default();
                serials.iter().map(move |(serial, _)| Revoked { serial: *serial, since: denied.since })
            })
            .collect()
    }

    /// The number of the next list: higher than every one before, whatever the clock says.
    pub fn next_number(&self, population: Population, now: Timestamp) -> u64 {
        let mut known = self.known();
        let number = known.numbers.entry(population).or_default();
        *number = number.saturating_add(1).max(now.0);
        *number
    }

    /// Puts a new list where others find it: under the population's name for the authority that issues.
    pub fn publish(&self, name: &str, list: &[u8]) -> std::io::Result<()> {
        replace_file(&self.certs.join(format!("crl-{name}.der")), list)
    }

    fn path(&self, population: Population) -> PathBuf {
        self.certs.join(format!("crl-{population}.der"))
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
