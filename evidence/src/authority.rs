//! Who may do what, entry by entry: the state of streams 1 to 3 and the one gate every act passes.
//!
//! The collector asks before it appends, a verifier asks again about every entry of a set. docs/FORMAT.md
//! sections 4 and 8, checks 6 to 11.

use std::collections::{BTreeMap, BTreeSet};

use crate::acts::{
    Act, ActId, Body, Commitment, Configuration, DrawAct, Export, Freeze, Reveal, Role, request_digest,
};
use crate::draw;
use crate::dsse::ActEnvelope;
use crate::enrolment::Transcript;
use crate::erasure::Erasures;
use crate::ids::{DeviceId, Digest};
use crate::judge::PolicyEntry;
use crate::keys::PublicKey;
use crate::leaf::{Kind, Stream};
use crate::plan::Plan;
use crate::policy::Policy;
use crate::roster::Roster;
use crate::time::Timestamp;

mod error;
mod keys;

pub use error::AuthorityError;

/// One ceremony: a plan and what followed it, each with its index and receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ceremony {
    /// The plan.
    pub plan: Plan,
    /// The plan act's payload: plan.json.
    pub plan_payload: Vec<u8>,
    /// Index of the plan.
    pub plan_index: u64,
    /// The auditor's commitment.
    pub commitment: Option<Step<Commitment>>,
    /// The freeze.
    pub freeze: Option<Step<Freeze>>,
    /// The auditor's nonce.
    pub reveal: Option<Step<Reveal>>,
    /// The draw.
    pub draw: Option<Step<DrawAct>>,
    /// Every export.
    pub exports: Vec<Step<Export>>,
}

/// A step of a ceremony.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step<T> {
    /// Its index.
    pub index: u64,
    /// Its receipt.
    pub received: Timestamp,
    /// The act.
    pub act: T,
}

/// A policy with its place.
#[derive(Debug, Clone, PartialEq)]
pub struct LoggedPolicy {
    /// Its index.
    pub index: u64,
    /// Its receipt.
    pub received: Timestamp,
    /// The policy.
    pub policy: Policy,
}

/// A configuration with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedConfiguration {
    /// Its index.
    pub index: u64,
    /// SHA-256 of its act's payload: the `configuration_digest` of statements made under it.
    pub digest: Digest,
    /// What it says.
    pub configuration: Configuration,
}

/// The state of streams 1 to 3 after some entry.
#[derive(Debug, Clone, PartialEq)]
pub struct Authority {
    origin: String,
    roster: Roster,
    policies: Vec<LoggedPolicy>,
    ceremonies: BTreeMap<Digest, Ceremony>,
    act_ids: BTreeSet<ActId>,
    erasures: Erasures,
    configurations: Vec<LoggedConfiguration>,
}

impl Authority {
    /// The state before the first entry of the log `origin`.
    pub fn new(origin: &str) -> Self {
        Self {
            origin: origin.to_owned(),
            roster: Roster::default(),
            policies: Vec::new(),
            ceremonies: BTreeMap::new(),
            act_ids: BTreeSet::new(),
            erasures: Erasures::default(),
            configurations: Vec::new(),
        }
    }

    /// The log.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Devices, persons, tokens.
    pub fn roster(&self) -> &Roster {
        &self.roster
    }

    /// Every policy, oldest first.
    pub fn policies(&self) -> &[LoggedPolicy] {
        &self.policies
    }

    /// Every policy as judging takes it.
    pub fn policy_entries(&self) -> Vec<PolicyEntry<'_>> {
        self.policies
            .iter()
            .map(|entry| PolicyEntry { index: entry.index, received: entry.received, policy: &entry.policy })
            .collect()
    }

    /// Every configuration, oldest first.
    pub fn configurations(&self) -> &[LoggedConfiguration] {
        &self.configurations
    }

    /// Tombstones and holds.
    pub fn erasures(&self) -> &Erasures {
        &self.erasures
    }

    /// The ceremony of a plan.
    pub fn ceremony(&self, plan_hash: &Digest) -> Option<&Ceremony> {
        self.ceremonies.get(plan_hash)
    }

    /// Every plan, by hash.
    pub fn ceremonies(&self) -> impl Iterator<Item = (&Digest, &Ceremony)> {
        self.ceremonies.iter()
    }

    /// Checks an entry of streams 1 to 3 and, if it may stand at `index`, takes it. A refused one changes nothing.
    pub fn admit(
        &mut self,
        index: u64,
        received: Timestamp,
        kind: Kind,
        envelope: &[u8],
    ) -> Result<Act, AuthorityError> {
        let (envelope, act) = Act::open_as(envelope, kind)?;
        if act.common.origin != self.origin {
            return Err(AuthorityError::Origin { found: act.common.origin, expected: self.origin.clone() });
        }
        if self.act_ids.contains(&act.common.id) {
            return Err(AuthorityError::Repeated(act.common.id));
        }
        let key = self.signing_key(&act, index)?;
        envelope.verify(&key)?;
        self.take(index, received, &envelope, &act)?;
        self.act_ids.insert(act.common.id.clone());
        Ok(act)
    }

    /// The key that must have signed an act, after asking whether its holder may.
    fn signing_key(&self, act: &Act, index: u64) -> Result<PublicKey, AuthorityError> {
        if let Body::Genesis(genesis) = &act.body {
            if self.roster.genesis().is_some() || index != 0 {
                return Err(AuthorityError::Genesis);
            }
            if act.common.signer != genesis.operations_key.id() {
                return Err(AuthorityError::GenesisMembers("it is not signed by its own operations key"));
            }
            return Ok(genesis.operations_key);
        }
        let genesis = self.roster.genesis().ok_or(AuthorityError::Genesis)?;
        let signer = act.common.signer;
        let kind = act.body.kind();
        let name = kind.name().unwrap_or_default();
        match &act.body {
            Body::Commitment(Commitment { plan_hash, .. }) | Body::Reveal(Reveal { plan_hash, .. }) => {
                let auditor = self
                    .ceremonies
                    .get(plan_hash)
                    .ok_or(AuthorityError::NoPlan(*plan_hash))?
                    .plan
                    .auditor_key;
                if auditor.id() == signer {
                    Ok(auditor)
                } else {
                    Err(AuthorityError::NotAuditor { expected: auditor.id(), found: signer })
                }
            }
            _ if kind.is_persons_act() => {
                let person = self.roster.person(&signer).ok_or(AuthorityError::Stranger(signer))?;
                let admin_only = matches!(
                    act.body,
                    Body::Person(_)
                        | Body::Token(_)
                        | Body::Hold(_)
                        | Body::Approval(_)
                        | Body::Configuration(_)
                        | Body::Revoke(crate::acts::Revoke { of: crate::acts::RevokedOf::Person(_), .. })
                );
                let needed = if admin_only { "an admin" } else { "an admin or analyst" };
                match person.role {
                    Role::Admin => Ok(person.key),
                    Role::Analyst if !admin_only => Ok(person.key),
                    role => Err(AuthorityError::Role { role, act: name, needed }),
                }
            }
            _ if genesis.operations_key.id() == signer => Ok(genesis.operations_key),
            _ => Err(AuthorityError::NotOperations(name)),
        }
    }

    fn take(
        &mut self,
        index: u64,
        received: Timestamp,
        envelope: &ActEnvelope,
        act: &Act,
    ) -> Result<(), AuthorityError> {
        match &act.body {
            Body::Genesis(genesis) => {
                check_genesis(genesis, &self.origin)?;
                self.roster.genesis_act(genesis).map_err(AuthorityError::Admission)?;
            }
            Body::Person(person) => {
                let audits = self.ceremonies.iter().find(|(_, other)| other.plan.auditor_key == person.key);
                if let (Some((plan, _)), true) = (audits, person.role != Role::Auditor) {
                    return Err(AuthorityError::NotIndependent(*plan));
                }
                self.roster.person_act(person).map_err(AuthorityError::Admission)?;
            }
            Body::Token(token) => self.roster.token_act(index, token).map_err(AuthorityError::Roster)?,
            Body::Enrolment(enrolment) => {
                let transcript =
                    Transcript::verify(&enrolment.transcript, &enrolment.sig_ed25519, &enrolment.sig_p256)?;
                let trust_domain = self.roster.genesis().map(|genesis| genesis.trust_domain.as_str());
                if Some(transcript.trust_domain.as_str()) != trust_domain {
                    return Err(AuthorityError::TranscriptMember("trust domain"));
                }
                if transcript.token_hash != enrolment.token_hash {
                    return Err(AuthorityError::TranscriptMember("token"));
                }
                if transcript.attestation_key != enrolment.attestation_key {
                    return Err(AuthorityError::TranscriptMember("attestation key"));
                }
                let request =
                    request_digest(&transcript.token_hash, &transcript.tls_key, &transcript.attestation_key);
                self.roster
                    .enrolment_act(index, received, enrolment, transcript.tls_key.id(), &request)
                    .map_err(AuthorityError::Roster)?;
            }
            Body::ReKey(re_key) => self.re_key(index, re_key)?,
            Body::Renewal(renewal) => self.renewal(index, received, renewal)?,
            Body::Approval(approval) => {
                self.roster.approval_act(received, approval).map_err(AuthorityError::Roster)?;
            }
            Body::Revoke(revoke) => {
                self.roster.revoke_act(index, revoke).map_err(AuthorityError::Admission)?;
            }
            Body::Merge(pair) => {
                self.roster.merge_act(index, received, pair).map_err(AuthorityError::Admission)?;
            }
            Body::Split(pair) => self.roster.split_act(pair).map_err(AuthorityError::Admission)?,
            Body::KeyChange(change) => self.key_change(index, change)?,
            Body::Group(group) => {
                self.roster.group_act(index, received, group).map_err(AuthorityError::Admission)?;
            }
            // Who read what is the operations key's word; nothing here depends on it.
            Body::AccessSummary(_) => {}
            Body::Configuration(configuration) => {
                let next =
                    self.configurations.last().map_or(1, |last| last.configuration.number.saturating_add(1));
                if configuration.number != next {
                    return Err(AuthorityError::Configuration(next));
                }
                self.configurations.push(LoggedConfiguration {
                    index,
                    digest: Digest::of(&envelope.payload),
                    configuration: configuration.clone(),
                });
            }
            Body::Retire(retire) => {
                self.roster.retire_act(index, received, retire).map_err(AuthorityError::Admission)?;
            }
            Body::Class(class) => {
                self.roster.class_act(index, received, class).map_err(AuthorityError::Admission)?;
            }
            Body::Policy(policy) => {
                self.policies.push(LoggedPolicy { index, received, policy: policy.clone() });
            }
            Body::Plan(plan) => {
                let hash = Digest::of(&envelope.payload);
                let runs = self.roster.person(&plan.auditor_key.id());
                if runs.is_some_and(|person| person.role != Role::Auditor) {
                    return Err(AuthorityError::NotIndependent(hash));
                }
                let ceremony = Ceremony {
                    plan: (**plan).clone(),
                    plan_payload: envelope.payload.clone(),
                    plan_index: index,
                    commitment: None,
                    freeze: None,
                    reveal: None,
                    draw: None,
                    exports: Vec::new(),
                };
                self.ceremonies.insert(hash, ceremony);
            }
            Body::Commitment(commitment) => {
                let ceremony = self.open_ceremony(&commitment.plan_hash)?;
                step(&mut ceremony.commitment, "commitment", index, received, commitment)?;
            }
            Body::Freeze(freeze) => {
                let ceremony = self.open_ceremony(&freeze.plan_hash)?;
                due(ceremony.commitment.is_some(), "freeze", "the auditor has not committed a nonce")?;
                step(&mut ceremony.freeze, "freeze", index, received, freeze)?;
            }
            Body::Reveal(reveal) => {
                let ceremony = self.open_ceremony(&reveal.plan_hash)?;
                due(ceremony.freeze.is_some(), "reveal", "the frame is not frozen")?;
                let commitment = ceremony.commitment.as_ref().map(|step| step.act.commitment);
                due(
                    commitment == Some(draw::commitment(reveal.nonce.as_bytes())),
                    "reveal",
                    "the nonce is not the committed one",
                )?;
                step(&mut ceremony.reveal, "reveal", index, received, reveal)?;
            }
            Body::Draw(draw) => {
                let ceremony = self.open_ceremony(&draw.plan_hash)?;
                due(ceremony.reveal.is_some(), "draw", "the auditor has not revealed the nonce")?;
                step(&mut ceremony.draw, "draw", index, received, draw)?;
            }
            Body::Export(export) => {
                let ceremony = self.open_ceremony(&export.plan_hash)?;
                due(ceremony.draw.is_some(), "export", "nothing is drawn")?;
                ceremony.exports.push(Step { index, received, act: export.clone() });
            }
            Body::Tombstone(tombstone) => {
                self.erasures
                    .tombstone(index, received, tombstone, &self.roster)
                    .map_err(AuthorityError::Erasure)?;
            }
            Body::Hold(hold) => {
                self.erasures.hold(index, hold, &self.roster).map_err(AuthorityError::Erasure)?;
            }
        }
        Ok(())
    }

    fn open_ceremony(&mut self, plan_hash: &Digest) -> Result<&mut Ceremony, AuthorityError> {
        self.ceremonies.get_mut(plan_hash).ok_or(AuthorityError::NoPlan(*plan_hash))
    }

    /// The device an instance's certificate and key speak for.
    pub fn device_of(&self, instance: &crate::ids::InstanceId) -> Option<DeviceId> {
        self.roster.instance(instance).map(|record| record.device)
    }
}

/// Takes a step that comes once.
fn step<T: Clone>(
    slot: &mut Option<Step<T>>,
    name: &'static str,
    index: u64,
    received: Timestamp,
    act: &T,
) -> Result<(), AuthorityError> {
    due(slot.is_none(), name, "this plan has one already")?;
    *slot = Some(Step { index, received, act: act.clone() });
    Ok(())
}

fn due(holds: bool, step: &'static str, because: &'static str) -> Result<(), AuthorityError> {
    if holds { Ok(()) } else { Err(AuthorityError::Ceremony { step, because }) }
}

fn check_genesis(genesis: &crate::acts::Genesis, origin: &str) -> Result<(), AuthorityError> {
    let wrong = AuthorityError::GenesisMembers;
    if !origin.strip_prefix(&genesis.trust_domain).is_some_and(|rest| rest.starts_with("/log/")) {
        return Err(wrong("the origin does not begin with the trust domain and /log/"));
    }
    if genesis.log_key.name() != origin {
        return Err(wrong("the log key is not named after the origin"));
    }
    if genesis.simulated != origin.ends_with("/simulated") {
        return Err(wrong("a simulated log's origin, and no other, ends in /simulated"));
    }
    Ok(())
}

/// Whether an entry of this kind passes the gate here: all of streams 1 to 3, and of stream 4 renewals, access summaries,
/// configurations, what erases and what holds. The rest of stream 4 is the operations key's own record, and details are no acts.
pub const fn is_gated(kind: Kind) -> bool {
    match kind.stream {
        Stream::Device => false,
        Stream::Roster | Stream::Rules | Stream::Audit => true,
        Stream::Operations => matches!(kind.number, 1 | 2 | 4 | 5 | 7),
    }
}

#[cfg(test)]
mod tests;
