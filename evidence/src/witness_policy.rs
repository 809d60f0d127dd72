//! C2SP tlog-policy: which logs, which witnesses, and how many of them must have cosigned. docs/FORMAT.md section 6.
//!
//! A policy decides about one checkpoint at a time: it is signed by one of the logs, and witnesses cosigned it as the
//! quorum says.

use std::collections::{BTreeMap, BTreeSet};

use crate::json::decode_decimal;
use crate::keys::PublicKey;
use crate::note::{Checkpoint, Note, NoteError, VerifierKey, WitnessKey};

#[cfg(test)]
mod tests;

/// Largest policy that is read, bytes: 32 logs, witnesses and groups with long names have about 16 KiB.
pub const POLICY_BYTES_MAX: usize = 65_536;
/// Most logs, witnesses and groups, each: tlog-policy wants at least 32.
pub const POLICY_ENTRIES_MAX: usize = 32;
/// The name of no quorum.
const NONE: &str = "none";

/// Why a policy was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// The text as a whole.
    #[error("not a witness policy: {0}")]
    Form(&'static str),
    /// One line.
    #[error("line {line} of the witness policy: {problem}")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
}

/// A log that may be relied on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyLog {
    /// Its key, named after its origin.
    pub key: VerifierKey,
    /// Where it is reached, if stated.
    pub url: Option<String>,
}

/// A witness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyWitness {
    /// Its name in this policy alone.
    pub name: String,
    /// Its key.
    pub key: WitnessKey,
    /// Its submission prefix, if stated.
    pub url: Option<String>,
}

/// What witnesses a checkpoint: a witness or a group, by its place in the policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Member {
    Witness(usize),
    Group(usize),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Group {
    threshold: usize,
    members: Vec<Member>,
}

/// A policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessPolicy {
    logs: Vec<PolicyLog>,
    witnesses: Vec<PolicyWitness>,
    groups: Vec<Group>,
    quorum: Option<Member>,
    quorum_name: String,
}

/// How a checkpoint stands under a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Who cosigned it and when, Unix seconds, in the policy's order; names of the policy.
    pub cosigned: Vec<(String, u64)>,
    /// Who did not.
    pub missing: Vec<String>,
    /// Whether that is the quorum. Always so under `quorum none`.
    pub satisfied: bool,
}

impl Standing {
    /// The sentence for people: how many of how many, and who.
    pub fn sentence(&self) -> String {
        let all = self.cosigned.len() + self.missing.len();
        let names = |names: Vec<&str>| if names.is_empty() { "nobody".to_owned() } else { names.join(", ") };
        let by = names(self.cosigned.iter().map(|(name, _)| name.as_str()).collect());
        let without = names(self.missing.iter().map(String::as_str).collect());
        format!("{} of {all} witnesses cosigned: {by}; missing: {without}", self.cosigned.len())
    }
}

/// What is filled while lines are read.
#[derive(Default)]
struct Reading {
    logs: Vec<PolicyLog>,
    witnesses: Vec<PolicyWitness>,
    groups: Vec<Group>,
    names: BTreeMap<String, Member>,
    grouped: BTreeSet<String>,
    log_keys: BTreeSet<[u8; 32]>,
    witness_keys: BTreeSet<[u8; 32]>,
    quorum: Option<(Option<Member>, String)>,
}

impl WitnessPolicy {
    /// Reads a policy.
    pub fn parse(bytes: &[u8]) -> Result<Self, PolicyError> {
        if bytes.len() > POLICY_BYTES_MAX {
            return Err(PolicyError::Form("larger than 64 KiB"));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| PolicyError::Form("not UTF-8"))?;
        if text.bytes().any(|byte| (byte < b' ' && byte != b'\t' && byte != b'\n') || byte == 0x7f) {
            return Err(PolicyError::Form("holds control characters other than tab and line end"));
        }
        let body = text.strip_suffix('\n').ok_or(PolicyError::Form("does not end in a newline"))?;
        let mut reading = Reading::default();
        for (line, number) in body.split('\n').zip(1..) {
            reading.line(line).map_err(|problem| PolicyError::Line { line: number, problem })?;
        }
        let Reading { logs, witnesses, groups, quorum, .. } = reading;
        let (quorum, quorum_name) = quorum.ok_or(PolicyError::Form("has no quorum line"))?;
        Ok(Self { logs, witnesses, groups, quorum, quorum_name })
    }

    /// The logs, in the policy's order.
    pub fn logs(&self) -> &[PolicyLog] {
        &self.logs
    }

    /// The witnesses, in the policy's order; also those that are in no group.
    pub fn witnesses(&self) -> &[PolicyWitness] {
        &self.witnesses
    }

    /// Keys of the logs.
    pub fn log_keys(&self) -> Vec<VerifierKey> {
        self.logs.iter().map(|log| log.key.clone()).collect()
    }

    /// Takes a further log key, where it has no line yet.
    pub fn add_log(&mut self, key: &VerifierKey) {
        if !self.logs.iter().any(|log| log.key == *key) {
            self.logs.push(PolicyLog { key: key.clone(), url: None });
        }
    }

    /// Keys of the witnesses.
    pub fn witness_keys(&self) -> Vec<WitnessKey> {
        self.witnesses.iter().map(|witness| witness.key.clone()).collect()
    }

    /// Whether any cosignature is demanded.
    pub fn has_quorum(&self) -> bool {
        self.quorum.is_some()
    }

    /// What the quorum line names.
    pub fn quorum_name(&self) -> &str {
        &self.quorum_name
    }

    /// Who cosigned `note`, and whether that is enough. The log's own line is not looked at. A false line of a witness, or
    /// two of one, is an error: such a note is nobody's to rely on.
    pub fn standing(&self, note: &Note) -> Result<Standing, NoteError> {
        let mut times = Vec::with_capacity(self.witnesses.len());
        for witness in &self.witnesses {
            times.push(note.cosigned(&witness.key)?);
        }
        let mut standing = Standing { cosigned: Vec::new(), missing: Vec::new(), satisfied: true };
        for (witness, time) in self.witnesses.iter().zip(&times) {
            match time {
                Some(seconds) => standing.cosigned.push((witness.name.clone(), *seconds)),
                None => standing.missing.push(witness.name.clone()),
            }
        }
        let witnessed: Vec<bool> = times.iter().map(Option::is_some).collect();
        standing.satisfied = self.quorum.is_none_or(|quorum| self.holds(quorum, &witnessed));
        Ok(standing)
    }

    /// Whether cosignatures of the witnesses at these places of the policy would be the quorum, and nobody else's.
    pub fn is_met_by(&self, has_cosigned: impl Fn(usize) -> bool) -> bool {
        let witnessed: Vec<bool> = (0..self.witnesses.len()).map(has_cosigned).collect();
        self.quorum.is_none_or(|quorum| self.holds(quorum, &witnessed))
    }

    /// A note that meets the quorum, in `bytes_max` bytes if that can be: without the lines of witnesses the quorum does
    /// not need, the last of the policy first. Lines of others than its logs and witnesses go in any case.
    pub fn fitted(&self, note: &Note, bytes_max: usize) -> Result<Note, NoteError> {
        let cosigned: Vec<bool> = self
            .witnesses
            .iter()
            .map(|witness| note.cosigned(&witness.key).map(|time| time.is_some()))
            .collect::<Result<_, _>>()?;
        let mut kept = cosigned;
        let log_keys = self.log_keys();
        let of = |kept: &[bool]| {
            let keys = self.witnesses.iter().zip(kept).filter(|(_, kept)| **kept);
            let keys: Vec<WitnessKey> = keys.map(|(witness, _)| witness.key.clone()).collect();
            note.with_lines_of(&log_keys, &keys)
        };
        for place in (0..kept.len()).rev() {
            if of(&kept).encode().len() <= bytes_max {
                break;
            }
            let without = |other: usize| other != place && kept.get(other).copied().unwrap_or(false);
            if self.is_met_by(without)
                && let Some(line) = kept.get_mut(place)
            {
                *line = false;
            }
        }
        Ok(of(&kept))
    }

    /// The checkpoint of a note that one of the logs signed and the quorum cosigned. Unknown lines are ignored.
    pub fn open(&self, note: &Note) -> Result<Checkpoint, NoteError> {
        let checkpoint = Checkpoint::open(note, &self.log_keys())?;
        // A key is good for the log it is named after only.
        if !self.logs.iter().any(|log| log.key.name() == checkpoint.origin) {
            let expected = self.logs.first().map_or_else(String::new, |log| log.key.name().to_owned());
            return Err(NoteError::Origin { found: checkpoint.origin, expected });
        }
        let keys: Vec<_> =
            self.log_keys().into_iter().filter(|key| key.name() == checkpoint.origin).collect();
        note.verify(&keys)?;
        let standing = self.standing(note)?;
        if standing.satisfied {
            Ok(checkpoint)
        } else {
            Err(NoteError::Quorum { quorum: self.quorum_name.clone(), standing: standing.sentence() })
        }
    }

    /// Whether the witnesses of these names are the quorum. Never under `quorum none`: nobody's word is no witness.
    pub fn is_quorum(&self, names: &[&str]) -> bool {
        let witnessed: Vec<bool> =
            self.witnesses.iter().map(|witness| names.contains(&witness.name.as_str())).collect();
        self.quorum.is_some_and(|quorum| self.holds(quorum, &witnessed))
    }

    /// Groups name only what stands before them, so this ends.
    fn holds(&self, member: Member, witnessed: &[bool]) -> bool {
        match member {
            Member::Witness(place) => witnessed.get(place).copied().unwrap_or(false),
            Member::Group(place) => self.groups.get(place).is_some_and(|group| {
                let count = group.members.iter().filter(|member| self.holds(**member, witnessed)).count();
                count >= group.threshold
            }),
        }
    }
}

impl Reading {
    fn line(&mut self, line: &str) -> Result<(), String> {
        let items: Vec<&str> = line.split([' ', '\t']).filter(|item| !item.is_empty()).collect();
        match items.as_slice() {
            [] => Ok(()),
            [first, ..] if first.starts_with('#') => Ok(()),
            ["log", vkey] => self.log(vkey, None),
            ["log", vkey, url] => self.log(vkey, Some(url)),
            ["witness", name, vkey] => self.witness(name, vkey, None),
            ["witness", name, vkey, url] => self.witness(name, vkey, Some(url)),
            ["group", name, threshold, members @ ..] => self.group(name, threshold, members),
            ["quorum", name] => self.set_quorum(name),
            ["log" | "witness" | "group" | "quorum", ..] => Err("too few or too many words".into()),
            [other, ..] => Err(format!("{other:?} begins no line of a policy")),
        }
    }

    fn log(&mut self, vkey: &str, url: Option<&str>) -> Result<(), String> {
        let key = VerifierKey::parse(vkey).map_err(|error| error.to_string())?;
        self.check_key(key.key())?;
        self.log_keys.insert(*key.key().as_bytes());
        self.logs.push(PolicyLog { key, url: url.map(str::to_owned) });
        room(self.logs.len())
    }

    fn witness(&mut self, name: &str, vkey: &str, url: Option<&str>) -> Result<(), String> {
        let key = WitnessKey::parse(vkey).map_err(|error| error.to_string())?;
        self.check_key(key.key())?;
        self.witness_keys.insert(*key.key().as_bytes());
        self.define(name, Member::Witness(self.witnesses.len()))?;
        self.witnesses.push(PolicyWitness { name: name.to_owned(), key, url: url.map(str::to_owned) });
        room(self.witnesses.len())
    }

    /// One key is one log or one witness: nobody counts twice, and a log is not its own witness.
    fn check_key(&self, key: &PublicKey) -> Result<(), String> {
        if self.log_keys.contains(key.as_bytes()) || self.witness_keys.contains(key.as_bytes()) {
            return Err("this key stands on another line already".into());
        }
        Ok(())
    }

    fn define(&mut self, name: &str, member: Member) -> Result<(), String> {
        if name == NONE {
            return Err("the name none means no quorum".into());
        }
        if self.names.insert(name.to_owned(), member).is_some() {
            return Err(format!("{name:?} is defined already"));
        }
        Ok(())
    }

    fn group(&mut self, name: &str, threshold: &str, members: &[&str]) -> Result<(), String> {
        let count = members.len();
        let threshold = match threshold {
            "all" => Some(count),
            "any" => Some(1),
            number => decode_decimal(number).and_then(|number| usize::try_from(number).ok()),
        };
        let threshold = threshold
            .filter(|threshold| (1..=count).contains(threshold))
            .ok_or_else(|| format!("a group needs all, any, or a number from 1 to its {count} members"))?;
        let mut found = Vec::with_capacity(count);
        for member in members {
            let place = self.names.get(*member).ok_or_else(|| format!("{member:?} is not defined above"))?;
            found.push(*place);
            if !self.grouped.insert((*member).to_owned()) {
                return Err(format!("{member:?} is in a group already: nobody may count twice"));
            }
        }
        self.define(name, Member::Group(self.groups.len()))?;
        self.groups.push(Group { threshold, members: found });
        room(self.groups.len())
    }

    fn set_quorum(&mut self, name: &str) -> Result<(), String> {
        let member = if name == NONE {
            None
        } else {
            Some(*self.names.get(name).ok_or_else(|| format!("{name:?} is not defined above"))?)
        };
        if self.quorum.replace((member, name.to_owned())).is_some() {
            return Err("there is a quorum line already".into());
        }
        Ok(())
    }
}

fn room(count: usize) -> Result<(), String> {
    if count <= POLICY_ENTRIES_MAX {
        Ok(())
    } else {
        Err(format!("more than {POLICY_ENTRIES_MAX} logs, witnesses or groups"))
    }
}
