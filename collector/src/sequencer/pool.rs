//! The group being formed: what the sequencer has taken in and not yet written.

use std::collections::HashMap;
use std::sync::Arc;

use evidence::ids::{Digest, InstanceId};
use evidence::leaf::{Kind, Leaf, PAYLOAD_BYTES_MAX, SALT_BYTES, commitment};
use evidence::time::Timestamp;
use tokio::sync::oneshot;

use super::{
    ActAnswer, ActBuilder, Appended, Committed, Context, Device, DeviceAnswer, NewEntry, Outcome, Random,
    Refusal, Stored, SubmitError,
};
use crate::data_keys::DataKeys;
use crate::index::{DeviceLink, EntryError, Index};
use crate::journal::Group;
use crate::ledger::{Found, Ledger, ReadError};
use crate::payload_codec::{CODEC_SEALED, OVERHEAD_BYTES_MAX, REWRITE_FIRST, Subject, seal, subject_of};

/// Bytes of a group beside an entry's payload at most: record header, index, leaf, codec, payload record.
pub(crate) const ENTRY_OVERHEAD_BYTES: u64 = 9 + 8 + 1 + 83 + 1 + OVERHEAD_BYTES_MAX as u64;
/// Bytes of a commit record.
pub(crate) const COMMIT_BYTES: u64 = 49;

/// Entries of one group, with the answers that are due once it is durable.
pub(super) struct Pool {
    pub(super) index: Index,
    pub(super) group: Group,
    pub(super) entries: Vec<Committed>,
    received: Timestamp,
    statements: HashMap<(InstanceId, u64), usize>,
    answers: Vec<Answer>,
    bytes_max: u64,
    /// Seal the payloads; without them (the genesis, which holds nothing of anybody) they lie plain.
    keys: Option<Arc<DataKeys>>,
}

enum Answer {
    Device(oneshot::Sender<DeviceAnswer>, DeviceAnswer),
    Act(oneshot::Sender<ActAnswer>, ActAnswer),
}

impl Pool {
    /// An empty group that will follow `index`, received at `received`.
    pub(super) fn new(
        index: Index,
        received: Timestamp,
        bytes_max: u64,
        keys: Option<Arc<DataKeys>>,
    ) -> Self {
        let (group, entries) = (Group::new(), Vec::new());
        let (statements, answers) = (HashMap::new(), Vec::new());
        Self { index, group, entries, received, statements, answers, bytes_max, keys }
    }

    /// True if a payload still fits.
    pub(super) fn has_room(&self, payload_bytes: usize) -> bool {
        let entry = ENTRY_OVERHEAD_BYTES.saturating_add(payload_bytes as u64);
        (self.group.bytes().len() as u64).saturating_add(entry).saturating_add(COMMIT_BYTES) <= self.bytes_max
    }

    /// Takes in a statement, or notes the answer it gets instead.
    pub(super) fn device(
        &mut self,
        device: Device,
        ledger: &Ledger,
        random: &mut Random,
        answer: oneshot::Sender<DeviceAnswer>,
    ) {
        let outcome = self.place(device, ledger, random);
        self.answers.push(Answer::Device(answer, outcome));
    }

    fn place(&mut self, device: Device, ledger: &Ledger, random: &mut Random) -> DeviceAnswer {
        let unavailable = |error: ReadError| SubmitError::Unavailable(error.to_string());
        let DeviceLink { instance, sequence, first, previous, .. } = device.link;
        let state = match self.index.instance(&instance) {
            Some(state) => Some(state),
            None => ledger.instance(&instance).map_err(unavailable)?,
        };
        let next = state.map_or(0, |state| state.next_sequence);
        if first > next {
            return Ok(Outcome::Expect(next));
        }
        if first < next {
            return self.known(&device, next, ledger).map_err(unavailable);
        }
        if previous != state.map_or(Digest::ZERO, |state| state.last_hash) {
            let known_index = state.map(|state| state.last_index);
            return Ok(Outcome::Forked { sequence, known_index, envelope: device.payload });
        }
        // Check 16 of a set refuses what would be stored here: one device must not be able to spoil an audit.
        let before = state.map_or(0, |state| state.anchor_size);
        if device.link.anchor_size < before {
            return Ok(Outcome::AnchorShrinks { sequence, before });
        }
        let entry = NewEntry { kind: device.kind, payload: device.payload, instance: Some(instance) };
        let appended = self.append(entry, Some(device.link), random)?;
        self.statements.insert((instance, sequence), self.entries.len().saturating_sub(1));
        let Appended { index, leaf, salt, .. } = appended;
        Ok(Outcome::Stored(Stored { sequence, index, received: leaf.received, salt }))
    }

    /// The answer to a statement whose sequence was used before.
    fn known(&self, device: &Device, next: u64, ledger: &Ledger) -> Result<Outcome, ReadError> {
        let DeviceLink { instance, sequence, .. } = device.link;
        let pooled = self.statements.get(&(instance, sequence)).and_then(|place| self.entries.get(*place));
        let committed;
        let (index, leaf, salt, payload) = if let Some(entry) = pooled {
            (entry.index, entry.leaf, entry.salt, &entry.payload)
        } else if let Some(index) = ledger.statement(&instance, sequence)? {
            committed = match ledger.find(index)? {
                Found::Entry(entry) => entry,
                // Nobody has the salt any more, so it cannot be answered again; the same bytes need not be sent again.
                Found::Erased(erased) => {
                    let same =
                        matches!(erased.subject, Subject::Statement { hash, .. } if hash == device.link.hash);
                    let known_index = Some(index);
                    return Ok(if same {
                        Outcome::Lost { sequence }
                    } else {
                        Outcome::Forked { sequence, known_index, envelope: device.payload.clone() }
                    });
                }
            };
            (index, committed.leaf, committed.salt, &committed.payload)
        } else if sequence >= next {
            // A gap that declares statements destroyed which the log has: the agent must begin after them.
            return Ok(Outcome::Expect(next));
        } else {
            return Ok(Outcome::Lost { sequence });
        };
        if *payload == device.payload {
            return Ok(Outcome::Stored(Stored { sequence, index, received: leaf.received, salt }));
        }
        Ok(Outcome::Forked { sequence, known_index: Some(index), envelope: device.payload.clone() })
    }

    /// Builds an act's entries and takes them in, all or none.
    pub(super) fn act(&mut self, build: ActBuilder, random: &mut Random, answer: oneshot::Sender<ActAnswer>) {
        let before = (self.index.clone(), self.group.clone(), self.entries.len());
        let outcome = self.build(build, random);
        if outcome.is_err() {
            (self.index, self.group) = (before.0, before.1);
            self.entries.truncate(before.2);
        }
        self.answers.push(Answer::Act(answer, outcome));
    }

    fn build(&mut self, build: ActBuilder, random: &mut Random) -> ActAnswer {
        let context =
            Context { received: self.received, next_index: self.index.size(), streams: self.index.streams() };
        let entries = build(&context).map_err(SubmitError::Refused)?;
        entries
            .into_iter()
            .map(|entry| {
                if entry.kind == Kind::ATTESTATION || entry.kind == Kind::GAP {
                    return Err(SubmitError::Kind(entry.kind));
                }
                self.append(entry, None, random)
            })
            .collect()
    }

    fn append(
        &mut self,
        entry: NewEntry,
        link: Option<DeviceLink>,
        random: &mut Random,
    ) -> Result<Appended, SubmitError> {
        let NewEntry { kind, payload, instance } = entry;
        if payload.len() > PAYLOAD_BYTES_MAX {
            let (bytes, bytes_max) = (payload.len() as u64, PAYLOAD_BYTES_MAX as u64);
            return Err(SubmitError::TooLarge { bytes, bytes_max });
        }
        if !self.has_room(payload.len()) {
            let bytes = (self.group.bytes().len() + payload.len()) as u64;
            return Err(SubmitError::TooLarge { bytes, bytes_max: self.bytes_max });
        }
        let unavailable = |what: String| SubmitError::Unavailable(what);
        let subject = subject_of(kind, link.as_ref(), instance).ok_or(SubmitError::Kind(kind))?;
        let scope = subject.scope(kind.stream, self.received).ok_or(SubmitError::Kind(kind))?;
        let key = match &self.keys {
            Some(keys) => {
                let key = keys.prepare(scope, random);
                Some(key.map_err(|error| unavailable(error.to_string()))?)
            }
            None => None,
        };
        let salt = if let Some(key) = &key {
            key.salt(self.index.size())
        } else {
            let mut salt = [0_u8; SALT_BYTES];
            random(&mut salt).map_err(|error| unavailable(format!("no randomness: {error}")))?;
            salt
        };
        let leaf = Leaf {
            kind,
            received: self.received,
            commitment: commitment(&salt, &payload),
            chain: self.index.next_chain(kind.stream),
        };
        let bytes = leaf.encode();
        let sealed = key
            .map(|key| seal(&key, self.index.size(), &bytes, &subject, REWRITE_FIRST, &payload))
            .transpose()
            .map_err(|error| unavailable(error.to_string()))?;
        let added = self.index.add(&leaf, bytes.clone(), link);
        let index = added.map_err(|EntryError(what)| unavailable(what.to_owned()))?;
        match sealed {
            Some(stored) => self.group.push_stored(index, &bytes, CODEC_SEALED, &[&stored]),
            None => self.group.push_entry(index, &bytes, &salt, &payload),
        }
        self.entries.push(Committed { index, leaf, salt, payload });
        Ok(Appended { index, leaf, leaf_hash: leaf.hash(), salt })
    }

    /// Adds the commit record.
    pub(super) fn seal(&mut self) {
        self.group.push_commit(self.index.size(), self.index.root().as_bytes());
    }

    /// Tells every submitter what became of his submission. Called only once the group is durable.
    pub(super) fn answer(self) {
        for answer in self.answers {
            // Whoever stopped waiting finds out when he submits again.
            match answer {
                Answer::Device(sender, answer) => drop(sender.send(answer)),
                Answer::Act(sender, answer) => drop(sender.send(answer)),
            }
        }
    }

    /// Tells every submitter that nothing was stored.
    pub(super) fn refuse(self, error: impl Fn() -> SubmitError) {
        for answer in self.answers {
            match answer {
                Answer::Device(sender, _) => drop(sender.send(Err(error()))),
                Answer::Act(sender, _) => drop(sender.send(Err(error()))),
            }
        }
    }
}

/// The sealed first group of a log.
pub(crate) fn genesis_group(
    received: Timestamp,
    random: &mut Random,
    genesis: ActBuilder,
) -> Result<Group, Refusal> {
    let mut pool = Pool::new(Index::new(), received, super::GROUP_BYTES_MAX_DEFAULT, None);
    pool.build(genesis, random).map_err(|error| match error {
        SubmitError::Refused(refusal) => refusal,
        other => other.into(),
    })?;
    match pool.entries.first() {
        Some(first) if first.leaf.kind == Kind::GENESIS => {}
        _ => return Err("the first entry must be the genesis".into()),
    }
    pool.seal();
    Ok(pool.group)
}
