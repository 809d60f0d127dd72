//! The issuing authorities and log keys of a log over time: docs/FORMAT.md section 8, "Changing keys".

use std::collections::{BTreeMap, BTreeSet};

use super::{Roster, RosterError};
use crate::acts::{Genesis, KeyChange, KeyOf, KeyStep, NewKey};
use crate::ids::Digest;
use crate::note::VerifierKey;

/// The authorities of one population that are trusted now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trusted {
    /// SHA-256 of the certificate of the one that issues.
    pub issuing: Digest,
    /// The one that is prepared, and does not issue yet.
    pub prepared: Option<Digest>,
    /// The one that issued before, and is still trusted.
    pub retiring: Option<Digest>,
}

impl Trusted {
    /// Every one that is trusted, the issuing one first.
    pub fn all(&self) -> impl Iterator<Item = Digest> + '_ {
        [Some(self.issuing), self.prepared, self.retiring].into_iter().flatten()
    }
}

/// Authorities and log keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Authorities {
    trusted: BTreeMap<KeyOf, Trusted>,
    seen: BTreeSet<Digest>,
    log_keys: Vec<(u64, VerifierKey)>,
}

impl Authorities {
    pub(super) fn begun(genesis: &Genesis) -> Self {
        let cas = &genesis.issuing_cas;
        let begun = [(KeyOf::Agents, cas.agents), (KeyOf::People, cas.people), (KeyOf::Servers, cas.servers)];
        let trusted = |issuing| Trusted { issuing, prepared: None, retiring: None };
        Self {
            trusted: begun.iter().map(|(of, issuing)| (*of, trusted(*issuing))).collect(),
            seen: begun.iter().map(|(_, issuing)| *issuing).collect(),
            log_keys: vec![(0, genesis.log_key.clone())],
        }
    }

    /// The authorities of a population; none before the genesis, and for the log's key.
    pub fn trusted(&self, of: KeyOf) -> Option<&Trusted> {
        self.trusted.get(&of)
    }

    /// (index from which on it signs, key), oldest first.
    pub fn log_keys(&self) -> &[(u64, VerifierKey)] {
        &self.log_keys
    }

    fn step(&mut self, act: &KeyChange, certificate: Digest) -> Result<(), RosterError> {
        let refuse = |because| Err(RosterError::KeyChange(because));
        let Some(trusted) = self.trusted.get_mut(&act.of) else {
            return refuse("there is no such authority");
        };
        match act.step {
            KeyStep::Prepare => {
                if trusted.prepared.is_some() || trusted.retiring.is_some() {
                    return refuse(
                        "a change of this authority is under way: finish it or roll it back first",
                    );
                }
                if !self.seen.insert(certificate) {
                    return refuse("this certificate was an authority before: make a new one");
                }
                trusted.prepared = Some(certificate);
            }
            KeyStep::Activate => {
                if trusted.prepared != Some(certificate) {
                    return refuse("this authority is not the one that is prepared");
                }
                trusted.retiring = Some(trusted.issuing);
                trusted.issuing = certificate;
                trusted.prepared = None;
            }
            KeyStep::Retire => {
                if trusted.retiring != Some(certificate) {
                    return refuse("this authority is not the one that retires");
                }
                trusted.retiring = None;
            }
            KeyStep::Rollback if trusted.prepared == Some(certificate) => trusted.prepared = None,
            KeyStep::Rollback => match trusted.retiring {
                // What the new one issued stays good until it is retired in its turn.
                Some(old) if trusted.issuing == certificate => {
                    trusted.retiring = Some(trusted.issuing);
                    trusted.issuing = old;
                }
                _ => return refuse("there is no change of this authority to roll back"),
            },
            KeyStep::Rotate => return refuse("only the log's key is rotated"),
        }
        Ok(())
    }
}

impl Roster {
    /// Issuing authorities and log keys.
    pub fn authorities(&self) -> &Authorities {
        &self.authorities
    }

    /// Takes a change of an authority or of the log's key. The signatures of both log keys are the caller's to check.
    pub fn key_change_act(&mut self, index: u64, act: &KeyChange) -> Result<(), RosterError> {
        match &act.key {
            NewKey::Certificate(certificate) => {
                // A refused step changes nothing.
                let mut authorities = self.authorities.clone();
                authorities.step(act, *certificate)?;
                self.authorities = authorities;
            }
            NewKey::Log { key, .. } => {
                if !self.signing_keys.insert(key.key().id()) {
                    return Err(RosterError::KeyTwice("this log key"));
                }
                self.authorities.log_keys.push((index, key.clone()));
            }
        }
        Ok(())
    }
}
