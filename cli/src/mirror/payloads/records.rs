//! What can be told of payload records without a key, and which of them are erased.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use evidence::acts::{Act, Body};
use evidence::erasure::Scope;
use evidence::leaf::{Kind, Leaf, PAYLOAD_BYTES_MAX, SALT_BYTES, commitment};
use evidence::payload_record::{
    CODEC_ERASED, OVERHEAD_BYTES_MAX, Stored, Subject, erased_record, parse_records, push_record,
};

/// Scopes that a log has erased, each with the index of its tombstone.
#[derive(Debug)]
pub(super) struct Erased {
    origin: String,
    scopes: BTreeMap<Scope, u64>,
}

impl Erased {
    /// Nothing, of the log `origin`.
    pub(super) fn new(origin: &str) -> Self {
        Self { origin: origin.to_owned(), scopes: BTreeMap::new() }
    }

    /// Takes the tombstone at `index`: `record` is salt ‖ payload, and must be what the leaf commits to. Who may erase was
    /// asked before the leaf was in the log.
    pub(super) fn take(&mut self, index: u64, leaf: &Leaf, record: &[u8]) -> anyhow::Result<()> {
        let (salt, payload) = record.split_first_chunk::<SALT_BYTES>().context("it is cut short")?;
        if commitment(salt, payload) != leaf.commitment {
            bail!("it is not what the log's entry {index} commits to");
        }
        let (_, act) = Act::open_as(payload, Kind::TOMBSTONE)?;
        let Body::Tombstone(tombstone) = act.body else { bail!("it is another act") };
        if act.common.origin != self.origin {
            bail!("it is of the log {:?}", act.common.origin);
        }
        for scope in &tombstone.scopes {
            // Else it would erase entries that are still to come.
            if scope.end() > leaf.received || !scope.is_erasable() {
                bail!("it names {scope}, which no tombstone of that time may");
            }
        }
        for scope in tombstone.scopes {
            self.scopes.entry(scope).or_insert(index);
        }
        Ok(())
    }

    /// Index of the tombstone that erased an entry.
    fn of(&self, leaf: &Leaf, subject: &Subject) -> Option<u64> {
        let scope = subject.scope(leaf.kind.stream, leaf.received)?;
        self.scopes.get(&scope).copied()
    }
}

/// A bundle that belongs to the log.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Examined {
    /// Its bytes without what is erased, where they are others than before.
    pub(super) rewritten: Option<Vec<u8>>,
    /// Records that are erased.
    pub(super) erased: u64,
}

/// Compares the payload records of the entries from `low` on with their leaves, as far as that goes without a key.
pub(super) fn examine(low: u64, leaves: &[&[u8]], bytes: &[u8], erased: &Erased) -> anyhow::Result<Examined> {
    let records = parse_records(bytes).context("it ends within a record")?;
    if records.len() != leaves.len() {
        bail!("it holds {} records for {} entries", records.len(), leaves.len());
    }
    let mut out = Examined { rewritten: None, erased: 0 };
    let mut fresh = Vec::with_capacity(bytes.len());
    let mut differs = false;
    for (index, (bytes, (codec, stored))) in (low..).zip(leaves.iter().zip(records)) {
        let leaf = Leaf::parse(bytes).with_context(|| format!("the leaf of entry {index}"))?;
        let tombstone =
            examine_one(&leaf, codec, stored, erased).with_context(|| format!("entry {index}"))?;
        match tombstone {
            Some(record) => {
                differs |= codec != CODEC_ERASED;
                out.erased += 1;
                push_record(&mut fresh, CODEC_ERASED, &record);
            }
            None => push_record(&mut fresh, codec, stored),
        }
    }
    out.rewritten = differs.then_some(fresh);
    Ok(out)
}

/// The record that must stand there if the entry is erased; none if it is not, and its record may stay.
fn examine_one(leaf: &Leaf, codec: u8, stored: &[u8], erased: &Erased) -> anyhow::Result<Option<Vec<u8>>> {
    let parsed = Stored::parse(leaf.kind, codec, stored)?;
    if stored.len() > PAYLOAD_BYTES_MAX + OVERHEAD_BYTES_MAX {
        bail!("its record of {} bytes is longer than any", stored.len());
    }
    if let Stored::Plain { salt, payload } = &parsed
        && commitment(salt, payload) != leaf.commitment
    {
        bail!("its payload is not what its leaf commits to");
    }
    let subject = parsed.subject(leaf.kind);
    let tombstone = subject.and_then(|subject| Some((erased.of(leaf, &subject)?, subject)));
    if let Stored::Erased { tombstone: said, .. } = parsed
        && tombstone.is_none_or(|(index, _)| index != said)
    {
        bail!("its record says that entry {said} erased it, which is no tombstone of it in this copy's log");
    }
    Ok(tombstone.map(|(index, subject)| erased_record(index, &subject)))
}
