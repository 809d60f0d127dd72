//! What the processes that wrote to one small ledger told, and whether the ledger keeps it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use evidence::envelope::Envelope;
use evidence::ids::Digest;
use evidence::leaf::{Kind, Leaf, commitment};
use serde::Deserialize;

use crate::journal_file::{Journal, Roots};
use crate::ledger;

/// An answer: where the entry lies, and what its leaf says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Its index in the log.
    pub index: u64,
    /// When it was received, milliseconds.
    pub received: u64,
    /// Its commitment.
    pub commitment: Digest,
}

/// What opening found.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Opened {
    /// Entries.
    pub size: u64,
    /// Bytes of an unacknowledged group that were cut.
    pub torn_bytes: u64,
    /// Why the index was made anew, if it was.
    pub rebuilt: Option<String>,
    /// Entries the index lacked.
    pub indexed_entries: u64,
    /// Whether checkpoints are signed.
    pub signing: bool,
}

/// What left the processes that wrote to one ledger.
#[derive(Debug, Clone, Default)]
pub struct Told {
    /// Statements that were stored, by sequence.
    pub stored: BTreeMap<u64, Answer>,
    /// Acts that were stored, by their place in their stream.
    pub acts: BTreeMap<u64, Answer>,
    /// Checkpoints that were published.
    pub checkpoints: BTreeMap<u64, Digest>,
    /// What the last opening found.
    pub opened: Option<Opened>,
}

/// What was counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Entries that were acknowledged.
    pub acknowledged: usize,
    /// Of them, those that lie where the answer said, with the answered leaf.
    pub found: usize,
    /// Of them, those that do not.
    pub lost: usize,
    /// Entries that repeat or do not follow another of their chain.
    pub duplicated: usize,
    /// Checkpoints that were published.
    pub checkpoints: usize,
    /// Of them, those that are no prefix of the log.
    pub not_prefix: usize,
}

impl Counts {
    /// Adds those of another ledger.
    pub fn add(&mut self, other: &Self) {
        self.acknowledged += other.acknowledged;
        self.found += other.found;
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.checkpoints += other.checkpoints;
        self.not_prefix += other.not_prefix;
    }

    /// Fails unless all is kept.
    #[track_caller]
    pub fn assert_kept(&self, context: &str) {
        assert_eq!([self.lost, self.duplicated, self.not_prefix], [0; 3], "{context}: {self:?}");
        assert_eq!(self.found, self.acknowledged, "{context}: {self:?}");
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { acknowledged, found, lost, duplicated, checkpoints, not_prefix } = self;
        write!(f, "acknowledged {acknowledged}, found {found}, lost {lost}, duplicated {duplicated}; ")?;
        write!(f, "of {checkpoints} checkpoints {not_prefix} are no prefix")
    }
}

impl Told {
    /// Adds what one process said. An answer that differs from an earlier one fails.
    #[track_caller]
    pub fn hear(&mut self, text: &str) {
        // The last line may have been cut by the end of the process.
        for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
            let (word, rest) = line.split_once(' ').unwrap_or_else(|| panic!("{line:?}"));
            if word == "opened" {
                self.opened = Some(serde_json::from_str(rest).expect("what was opened"));
                continue;
            }
            let (key, rest) = rest.split_once(' ').unwrap_or_else(|| panic!("{line:?}"));
            let key = number(key);
            match word {
                "checkpoint" => remember(&mut self.checkpoints, key, digest(rest), line),
                "stored" => remember(&mut self.stored, key, answer(rest), line),
                "act" => remember(&mut self.acts, key, answer(rest), line),
                other => panic!("{other}"),
            }
        }
    }

    /// How many entries were acknowledged.
    pub fn acknowledged(&self) -> usize {
        self.stored.len() + self.acts.len()
    }

    /// Counts what a ledger that is not in use keeps of it, with a reader of its own.
    pub fn count(&self, data: &Path) -> Counts {
        let journal = Journal::read(data);
        let mut counts = Counts {
            acknowledged: self.acknowledged(),
            checkpoints: self.checkpoints.len(),
            ..Counts::default()
        };
        for (kind, answers) in [(Kind::GAP, &self.stored), (ledger::ACT, &self.acts)] {
            for told in answers.values() {
                let kept = usize::try_from(told.index).ok().and_then(|index| journal.entries.get(index));
                let same = kept.is_some_and(|entry| {
                    let leaf = Leaf::parse(&entry.leaf).expect("a leaf");
                    (leaf.kind, leaf.received.ms(), leaf.commitment) == (kind, told.received, told.commitment)
                        && commitment(&entry.salt, &entry.payload) == told.commitment
                });
                if same { counts.found += 1 } else { counts.lost += 1 }
            }
        }
        counts.duplicated = repeated(&journal);
        let mut roots = Roots::default();
        let mut left = self.checkpoints.clone();
        for (size, entry) in (1_u64..).zip(&journal.entries) {
            roots.push(&entry.leaf);
            if left.get(&size).is_some_and(|root| *root == roots.root()) {
                left.remove(&size);
            }
        }
        counts.not_prefix = left.len();
        counts
    }
}

/// Entries that do not follow the one before them in their chain, or were there before.
fn repeated(journal: &Journal) -> usize {
    let (mut next, mut previous, mut acts) = (0, Digest::ZERO, 0);
    let mut seen = BTreeSet::new();
    let mut repeated = 0;
    for entry in &journal.entries {
        let leaf = Leaf::parse(&entry.leaf).expect("a leaf");
        if leaf.kind == Kind::GAP {
            let envelope = Envelope::parse(&entry.payload).expect("an envelope");
            let statement = envelope.claimed().expect("a statement");
            let follows = statement.sequence == next && statement.previous == previous;
            repeated += usize::from(!follows || !seen.insert(envelope.hash()));
            (next, previous) = (statement.sequence + 1, envelope.hash());
        } else if leaf.kind == ledger::ACT {
            let place = leaf.chain.expect("a place").sequence;
            repeated += usize::from(place != acts || entry.payload != ledger::act(place));
            acts = place + 1;
        }
    }
    repeated
}

#[track_caller]
fn remember<T: PartialEq>(known: &mut BTreeMap<u64, T>, key: u64, told: T, line: &str) {
    let same = known.get(&key).is_none_or(|known| *known == told);
    assert!(same, "another answer than before: {line}");
    known.insert(key, told);
}

#[track_caller]
fn answer(text: &str) -> Answer {
    let words: Vec<&str> = text.split(' ').collect();
    let [index, received, commitment] = words.as_slice() else { panic!("{text:?}") };
    Answer { index: number(index), received: number(received), commitment: digest(commitment) }
}

#[track_caller]
fn number(text: &str) -> u64 {
    text.parse().unwrap_or_else(|_| panic!("{text:?} is no number"))
}

#[track_caller]
fn digest(text: &str) -> Digest {
    Digest::from_hex(text).unwrap_or_else(|error| panic!("{text:?}: {error}"))
}
