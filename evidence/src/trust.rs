//! The trust file: what an auditor brings along, got before the set existed. docs/FORMAT.md section 11.

use crate::acts::{TreeHead, checkpoint_of, checkpoint_value, take_key};
use crate::json::{self, JsonError, Members, Value};
use crate::keys::PublicKey;
use crate::note::{Checkpoint, VerifierKey};
use crate::trust_domain::TrustDomain;
use crate::witness_policy::{PolicyError, WitnessPolicy};

const FORMAT: &str = "tallystick/trust/v1";

/// What a verifier believes before it opens a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trust {
    /// The company's DNS name.
    pub trust_domain: String,
    /// The log.
    pub origin: String,
    /// Keys that may sign its checkpoints.
    pub log_keys: Vec<VerifierKey>,
    /// C2SP tlog-policy text.
    pub witness_policy: String,
    /// Checkpoints seen before; every set must be consistent with them.
    pub checkpoints: Vec<Checkpoint>,
    /// The auditor's key: the plan must name it.
    pub auditor_key: PublicKey,
    /// Made by the auditor, or by the hand that also runs the log.
    pub made_by: MadeBy,
    /// Whether simulated logs are accepted.
    pub accept_simulated: bool,
}

/// Who made a trust file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MadeBy {
    /// The auditor, on a machine of their own.
    Auditor,
    /// The same hand that holds every other key: a demonstration.
    SameHand,
}

impl Trust {
    /// Reads a trust file: canonical JSON, with or without a final newline.
    pub fn parse(bytes: &[u8]) -> Result<Self, JsonError> {
        let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let mut members = Members::of(Value::parse(bytes)?, "")?;
        if members.text("format")? != FORMAT {
            return Err(members.problem("format", format!("must be {FORMAT:?}")));
        }
        let log_keys = members
            .parsed_list::<String>("log_keys")?
            .iter()
            .map(|vkey| {
                VerifierKey::parse(vkey).map_err(|error| members.problem("log_keys", error.to_string()))
            })
            .collect::<Result<Vec<_>, _>>()?;
        if log_keys.is_empty() {
            return Err(members.problem("log_keys", "must hold at least one key"));
        }
        let checkpoints =
            members.objects("checkpoints")?.into_iter().map(checkpoint_of).collect::<Result<Vec<_>, _>>()?;
        let made_by = match members.text("made_by")?.as_str() {
            "auditor" => MadeBy::Auditor,
            "same-hand" => MadeBy::SameHand,
            _ => return Err(members.problem("made_by", "must be auditor or same-hand")),
        };
        let accept_simulated = match members.text("simulated")?.as_str() {
            "refuse" => false,
            "accept" => true,
            _ => return Err(members.problem("simulated", "must be refuse or accept")),
        };
        let trust = Self {
            trust_domain: members.text("trust_domain")?,
            origin: members.text("origin")?,
            log_keys,
            witness_policy: members.text("witness_policy")?,
            checkpoints,
            auditor_key: take_key(&mut members, "auditor_key")?,
            made_by,
            accept_simulated,
        };
        trust.check(&members)?;
        members.finish()?;
        Ok(trust)
    }

    fn check(&self, members: &Members) -> Result<(), JsonError> {
        if self.trust_domain.parse::<TrustDomain>().is_err() {
            return Err(members.problem("trust_domain", "must be a lower-case DNS name"));
        }
        if !self.origin.strip_prefix(&self.trust_domain).is_some_and(|rest| rest.starts_with("/log/")) {
            return Err(members.problem("origin", "must begin with trust_domain and /log/"));
        }
        let mut keys = std::collections::BTreeSet::new();
        if self.log_keys.iter().any(|key| key.name() != self.origin || !keys.insert(key.key().id())) {
            return Err(members.problem("log_keys", "must be named after the origin, each once"));
        }
        let policy = self.policy().map_err(|error| members.problem("witness_policy", error.to_string()))?;
        if policy.log_keys() != self.log_keys {
            return Err(members.problem("witness_policy", "its logs must be log_keys, in their order"));
        }
        Ok(())
    }

    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        let made_by = match self.made_by {
            MadeBy::Auditor => "auditor",
            MadeBy::SameHand => "same-hand",
        };
        json::object([
            ("format", json::text(FORMAT)),
            ("trust_domain", json::text(&self.trust_domain)),
            ("origin", json::text(&self.origin)),
            ("log_keys", Value::Array(self.log_keys.iter().map(|key| json::text(key.vkey())).collect())),
            ("witness_policy", json::text(&self.witness_policy)),
            ("checkpoints", Value::Array(self.checkpoints.iter().map(checkpoint_value).collect())),
            ("auditor_key", json::text(self.auditor_key.hex())),
            ("made_by", json::text(made_by)),
            ("simulated", json::text(if self.accept_simulated { "accept" } else { "refuse" })),
        ])
        .to_bytes()
    }

    /// The witness policy. A trust file that was read has a sound one.
    pub fn policy(&self) -> Result<WitnessPolicy, PolicyError> {
        WitnessPolicy::parse(self.witness_policy.as_bytes())
    }

    /// The policy text of a log without witnesses.
    pub fn no_witnesses(log_key: &VerifierKey) -> String {
        format!("log {}\nquorum none\n", log_key.vkey())
    }

    /// The trusted head of this log at `size`, if one was pinned.
    pub fn pinned(&self, size: u64) -> Option<TreeHead> {
        self.checkpoints
            .iter()
            .find(|checkpoint| checkpoint.origin == self.origin && checkpoint.size == size)
            .map(|checkpoint| TreeHead { size: checkpoint.size, root: checkpoint.root })
    }
}

#[cfg(test)]
mod tests;
