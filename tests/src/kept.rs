//! Whether everything that was acknowledged is kept: once, unchanged, in order, under every checkpoint ever
//! seen.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use evidence::envelope::Envelope;
use evidence::ids::{Digest, InstanceId};
use evidence::leaf::{Kind, Leaf, commitment};
use evidence::merkle::verify_consistency;
use evidence::note::{Checkpoint, Note};
use evidence::time::Timestamp;

use crate::journal_file::{Journal, Roots};
use crate::load::Record;
use crate::world::{Caller, World};

/// What was counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Statements that were answered with Stored.
    pub acknowledged: usize,
    /// Of them, those that lie at the answered index with the answered leaf.
    pub found: usize,
    /// Of them, those that do not.
    pub lost: usize,
    /// Statements that lie in the log more than once.
    pub duplicated: usize,
    /// Statements that stand before an earlier one of their instance.
    pub out_of_order: usize,
    /// Checkpoints that were received or are kept.
    pub checkpoints: usize,
    /// Of them, those that are no prefix of the log.
    pub not_prefix: usize,
    /// Entries of the log.
    pub entries: usize,
}

impl Counts {
    /// Fails unless all is kept.
    #[track_caller]
    pub fn assert_kept(&self) {
        let bad = [self.lost, self.duplicated, self.out_of_order, self.not_prefix];
        assert_eq!(bad, [0; 4], "lost, duplicated, out of order, no prefix: {self:?}");
        assert_eq!(self.found, self.acknowledged, "{self:?}");
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { acknowledged, found, lost, duplicated, out_of_order, checkpoints, not_prefix, .. } = self;
        write!(f, "acknowledged {acknowledged}, found {found}, lost {lost}, duplicated {duplicated}, ")?;
        write!(f, "out of order {out_of_order}; of {checkpoints} checkpoints {not_prefix} are no prefix")
    }
}

/// Counts what a stopped collector keeps of what a load was told.
pub fn count(world: &World, record: &Record) -> Counts {
    let journal = Journal::read(&world.data);
    let mut counts = Counts {
        acknowledged: record.acknowledged.len(),
        entries: journal.entries.len(),
        ..Counts::default()
    };
    for (index, entry) in journal.entries.iter().enumerate() {
        assert_eq!(entry.index, index as u64, "indexes of the journal");
        let leaf = Leaf::parse(&entry.leaf).expect("a leaf");
        assert_eq!(leaf.commitment, commitment(&entry.salt, &entry.payload), "commitment of entry {index}");
    }
    for told in &record.acknowledged {
        let kept = usize::try_from(told.index).ok().and_then(|index| journal.entries.get(index));
        let same = kept.is_some_and(|entry| {
            entry.leaf == told.leaf.encode() && Digest::of(&entry.payload) == told.envelope
        });
        if same { counts.found += 1 } else { counts.lost += 1 }
    }
    (counts.duplicated, counts.out_of_order) = order(&journal);
    let mut seen: Vec<Checkpoint> = record.checkpoints.values().cloned().collect();
    seen.extend(journal.notes.iter().map(|note| opened(world, note)));
    seen.push(high_water(world));
    (counts.checkpoints, counts.not_prefix) = (seen.len(), not_prefixes(&journal, &seen));
    counts
}

/// Statements that are in the log twice, and those that follow another than their predecessor.
fn order(journal: &Journal) -> (usize, usize) {
    let mut received = Timestamp(0);
    let mut places: BTreeMap<(InstanceId, u64), usize> = BTreeMap::new();
    let mut payloads: BTreeSet<Digest> = BTreeSet::new();
    let mut last: HashMap<InstanceId, (u64, Digest)> = HashMap::new();
    let (mut duplicated, mut out_of_order) = (0, 0);
    for entry in &journal.entries {
        let leaf = Leaf::parse(&entry.leaf).expect("a leaf");
        assert!(leaf.received >= received, "received_ms decreases at {}", entry.index);
        received = leaf.received;
        let Ok(envelope) = Envelope::parse(&entry.payload) else { continue };
        let statement = envelope.claimed().expect("a statement");
        let (instance, sequence) = (statement.instance, statement.sequence);
        let twice = !payloads.insert(envelope.hash());
        let taken = places.insert((instance, sequence), 0).is_some();
        duplicated += usize::from(twice || taken);
        let before = last.insert(instance, (sequence, envelope.hash()));
        let follows = match before {
            Some((before, hash)) => sequence == before + 1 && statement.previous == hash,
            None => sequence == 0 && statement.previous == Digest::ZERO,
        };
        out_of_order += usize::from(!follows);
    }
    (duplicated, out_of_order)
}

fn opened(world: &World, note: &str) -> Checkpoint {
    let keys = world.admin.profile().log_keys;
    let note = Note::parse(note.as_bytes()).expect("a note");
    Checkpoint::open_strict(&note, &keys, crate::world::ORIGIN).expect("signed by the log")
}

fn high_water(world: &World) -> Checkpoint {
    let text = std::fs::read_to_string(world.file("high-water")).expect("the high-water mark");
    let (size, root) = text.trim_end().split_once(' ').expect("two parts");
    Checkpoint {
        origin: crate::world::ORIGIN.to_owned(),
        size: size.parse().expect("a size"),
        root: Digest::from_hex(root).expect("a root"),
    }
}

/// Computes the root at every size that a checkpoint or a commit names.
fn not_prefixes(journal: &Journal, seen: &[Checkpoint]) -> usize {
    let commits: BTreeMap<u64, Digest> = journal.commits.iter().copied().collect();
    let mut at: BTreeMap<u64, Vec<Digest>> = BTreeMap::new();
    for checkpoint in seen {
        at.entry(checkpoint.size).or_default().push(checkpoint.root);
    }
    let mut roots = Roots::default();
    for (size, entry) in (1_u64..).zip(&journal.entries) {
        roots.push(&entry.leaf);
        if let Some(root) = commits.get(&size) {
            assert_eq!(*root, roots.root(), "root of the commit at {size}");
        }
        if let Some(seen) = at.get_mut(&size) {
            let root = roots.root();
            seen.retain(|other| *other != root);
        }
    }
    at.values().map(Vec::len).sum()
}

/// Asks a running collector to prove that every received checkpoint is a prefix of its newest; how many it
/// proved.
pub async fn consistent(caller: &mut Caller, record: &Record) -> usize {
    for checkpoint in record.checkpoints.values() {
        let (newest, reply) = caller.checkpoint(checkpoint.size).await;
        let proof: Vec<Digest> =
            reply.consistency.iter().map(|hash| Digest::from_slice(hash).expect("32 bytes")).collect();
        verify_consistency(checkpoint.size, &checkpoint.root, newest.size, &newest.root, &proof)
            .unwrap_or_else(|error| panic!("from {} to {}: {error}", checkpoint.size, newest.size));
    }
    record.checkpoints.len()
}

/// How many entries of a kind are kept.
pub fn entries_of(world: &World, kind: Kind) -> usize {
    let journal = Journal::read(&world.data);
    journal.entries.iter().filter(|entry| Leaf::parse(&entry.leaf).expect("a leaf").kind == kind).count()
}

/// The device statements that are kept, in the order of the log.
pub fn envelopes(world: &World) -> Vec<Envelope> {
    let entries = Journal::read(&world.data).entries;
    let device = entries.into_iter().filter(|entry| {
        matches!(Leaf::parse(&entry.leaf).expect("a leaf").kind, Kind::ATTESTATION | Kind::GAP)
    });
    device.map(|entry| Envelope::parse(&entry.payload).expect("an envelope")).collect()
}

/// Instance and sequence of each of them.
pub fn statements(world: &World) -> Vec<(InstanceId, u64)> {
    let claimed = envelopes(world).into_iter().map(|envelope| envelope.claimed().expect("a statement"));
    claimed.map(|statement| (statement.instance, statement.sequence)).collect()
}
