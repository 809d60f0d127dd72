//! Changing an issuing authority: prepare, activate, retire, and back. Each step is an entry 1.12 first; the authorities in
//! memory and the listeners follow the log.
//!
//! Peers of the collector check its certificate against the root alone, and bring their own intermediate, so that a new
//! authority need not be made known to anybody but the collector's own listeners: these trust it from `prepare` on, and it
//! issues from `activate` on.

use std::sync::Arc;

use certs::{CertificateLife, Issuer as _, PERSON_LIFETIME, Population};
use evidence::acts::{Act, Body, KeyChange, KeyOf, KeyStep, NewKey};
use evidence::ids::Digest;
use evidence::leaf::{Kind, Stream};
use evidence::roster::Trusted;
use evidence::time::Timestamp;

use crate::failpoints;
use crate::identity::{Identities, name_of, population};
use crate::state::{State, StateError};

/// How a change of one authority stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// What the log says.
    pub trusted: Trusted,
    /// Life of the one that issues.
    pub issuing: CertificateLife,
    /// Devices in service with a certificate of the retiring one that has not ended.
    pub holders: u64,
    /// Devices in service.
    pub devices: u64,
    /// When the last certificate of the retiring one ends; none if there is none, or nobody retires.
    pub held_until: Option<Timestamp>,
}

impl Standing {
    /// Whether the retiring one may go: nobody needs it any more.
    pub fn may_retire(&self, now: Timestamp) -> bool {
        self.trusted.retiring.is_some() && self.held_until.is_none_or(|until| until <= now)
    }
}

/// Changes of authorities over what the collector shares.
pub struct Rollover<'a> {
    state: &'a Arc<State>,
    identities: &'a Arc<Identities>,
}

fn refused(error: impl std::fmt::Display) -> StateError {
    StateError::Refused(error.to_string())
}

impl<'a> Rollover<'a> {
    /// Over these.
    pub fn new(state: &'a Arc<State>, identities: &'a Arc<Identities>) -> Self {
        Self { state, identities }
    }

    /// How it stands.
    pub fn standing(&self, of: KeyOf) -> Result<Standing, StateError> {
        let (trusted, certificates) = {
            let book = self.state.book();
            let roster = book.authority.roster();
            let trusted = roster.authorities().trusted(of).cloned();
            let trusted = trusted.ok_or_else(|| refused("the log's own key is no authority"))?;
            let now = self.state.clock.now();
            let in_service = roster.instances().filter(|(_, record)| {
                let device = roster.device(&record.device);
                record.ended.is_none() && device.is_some_and(|device| device.at(now).is_some())
            });
            let certificates: Vec<Digest> = in_service.map(|(_, record)| record.certificate).collect();
            (trusted, certificates)
        };
        let population = population(of).ok_or_else(|| refused("the log's own key is no authority"))?;
        let life = |digest: &Digest| -> Result<CertificateLife, StateError> {
            let authority = self.identities.read(population, digest).map_err(refused)?;
            CertificateLife::read(authority.certificate())
                .ok_or_else(|| refused("an authority's certificate cannot be read"))
        };
        let issuing = life(&trusted.issuing)?;
        let mut standing = Standing {
            issuing,
            holders: 0,
            devices: certificates.len() as u64,
            held_until: None,
            trusted: trusted.clone(),
        };
        let Some(retiring) = trusted.retiring else { return Ok(standing) };
        let retiring = life(&retiring)?;
        let now = self.state.clock.now();
        match population {
            Population::Agents => {
                let lives = certificates.iter().filter_map(|certificate| self.identities.life(certificate));
                for held in lives.filter(|held| held.issuer == retiring.subject && held.ends > now) {
                    standing.holders = standing.holders.saturating_add(1);
                    standing.held_until = standing.held_until.max(Some(held.ends));
                }
            }
            // No entry tells of a person's certificate: one issued just before the change is the last to end.
            Population::People => {
                let changed = self.changed(of, &trusted.issuing)?;
                let life = u64::try_from(PERSON_LIFETIME.as_millis()).unwrap_or(u64::MAX);
                standing.held_until = Some(Timestamp(changed.ms().saturating_add(life)).min(retiring.ends));
            }
            // The collector has made itself another certificate when the step was taken.
            Population::Servers => {}
        }
        Ok(standing)
    }

    /// When the authority that issues now began to.
    fn changed(&self, of: KeyOf, issuing: &Digest) -> Result<Timestamp, StateError> {
        let mut newest = Timestamp(0);
        let mut from = 0;
        loop {
            let page = self.state.ledger.stream(Stream::Roster, from)?;
            let Some((last, _)) = page.last() else { return Ok(newest) };
            from = last.saturating_add(1);
            for (_, index) in page {
                let leaf = self.state.ledger.leaf(index)?;
                if leaf.kind != Kind::KEY_CHANGE {
                    continue;
                }
                let entry = self.state.ledger.entry(index)?;
                let Ok((_, Act { body: Body::KeyChange(change), .. })) = Act::open(&entry.payload) else {
                    continue;
                };
                // A rollback names the one that issued until then, and lets the other one issue again.
                let begins = match (change.step, &change.key) {
                    (KeyStep::Activate, NewKey::Certificate(certificate)) => certificate == issuing,
                    (KeyStep::Rollback, _) => true,
                    _ => false,
                };
                if change.of == of && begins {
                    newest = newest.max(leaf.received);
                }
            }
        }
    }

    /// Takes a step: the entry first, then the listeners. A step that was taken before, and whose answer was lost, is
    /// no error. Gives the entry's index.
    pub async fn step(
        &self,
        of: KeyOf,
        step: KeyStep,
        certificate: Digest,
        anyway: bool,
    ) -> Result<u64, StateError> {
        let standing = self.standing(of)?;
        let trusted = &standing.trusted;
        let taken = match step {
            KeyStep::Prepare => trusted.prepared == Some(certificate),
            KeyStep::Activate => trusted.issuing == certificate,
            _ => false,
        };
        if taken {
            return self.follow().await.map(|()| 0);
        }
        match step {
            KeyStep::Prepare => self.check_new(of, &certificate, trusted)?,
            KeyStep::Retire if !anyway && !standing.may_retire(self.state.clock.now()) => {
                let until = standing.held_until.map_or_else(String::new, Timestamp::rfc3339);
                return Err(refused(format!(
                    "certificates of the retiring authority are still held, the last one until {until}: wait, or give \
                     --retire-anyway, after which their devices come back by their attestation key"
                )));
            }
            _ => {}
        }
        let change = KeyChange { of, step, key: NewKey::Certificate(certificate) };
        let stored = self.state.operate(move |_| Ok(Body::KeyChange(Box::new(change)))).await?;
        tracing::info!(%of, %step, certificate = %certificate, index = stored.index, "An authority changes.");
        failpoints::reach("rollover-stored");
        self.follow().await?;
        Ok(stored.index)
    }

    /// The authorities in memory, then the listeners.
    async fn follow(&self) -> Result<(), StateError> {
        let authorities = self.state.book().authority.roster().authorities().clone();
        self.identities.follow(&authorities).map_err(refused)?;
        if self.state.reload.and_wait().await {
            return Ok(());
        }
        Err(refused(
            "the step is in the log, but the listeners have not taken it: the collector's log says why",
        ))
    }

    /// What a new authority must be before the log names it.
    fn check_new(&self, of: KeyOf, certificate: &Digest, trusted: &Trusted) -> Result<(), StateError> {
        let population = population(of).ok_or_else(|| refused("the log's own key is no authority"))?;
        let new = self.identities.read(population, certificate).map_err(refused)?;
        new.check_root(self.identities.root()).map_err(refused)?;
        if new.ends() <= self.state.clock.now() {
            return Err(refused("the new authority's certificate has ended already"));
        }
        for old in trusted.all() {
            let old = self.identities.read(population, &old).map_err(refused)?;
            if name_of(&old) == name_of(&new) {
                return Err(refused(
                    "the new authority has the name of one that is trusted: holders of the one would be refused by the \
                     revocation list of the other. Make one with a name of its own, as `ca rollover` does",
                ));
            }
        }
        Ok(())
    }
}
