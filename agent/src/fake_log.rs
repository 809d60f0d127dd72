//! A collector's log for tests: a naive tree, recomputed from all leaves each time.

use std::collections::BTreeMap;

use evidence::envelope::Envelope;
use evidence::ids::Digest;
use evidence::keys::SecretKey;
use evidence::leaf::{Leaf, commitment};
use evidence::merkle::{empty_root, node_hash};
use evidence::note::{Checkpoint, TlogProof, VerifierKey};
use evidence::statement::SCHEMA_MAX;
use evidence::time::Timestamp;
use proto::from_agent::Item as In;
use proto::to_agent::Item as Out;

use crate::anchor::PinnedLog;
use crate::spool::Receipt;

/// Origin of the fake log.
pub(crate) const ORIGIN: &str = "example.org/log/1";

/// The fake collector of one device.
pub(crate) struct FakeLog {
    pub(crate) key: SecretKey,
    pub(crate) leaves: Vec<Digest>,
    pub(crate) stored: BTreeMap<u64, (Vec<u8>, Receipt)>,
    pub(crate) next: u64,
    last_hash: Digest,
    pub(crate) anchor_of_agent: u64,
}

fn split(count: usize) -> usize {
    let mut power = 1;
    while power * 2 < count {
        power *= 2;
    }
    power
}

pub(crate) fn root(leaves: &[Digest]) -> Digest {
    match leaves {
        [] => empty_root(),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len()));
            node_hash(&root(left), &root(right))
        }
    }
}

pub(crate) fn path(index: usize, leaves: &[Digest]) -> Vec<Digest> {
    if leaves.len() <= 1 {
        return Vec::new();
    }
    let at = split(leaves.len());
    let (left, right) = leaves.split_at(at);
    let (mut hashes, sibling) =
        if index < at { (path(index, left), root(right)) } else { (path(index - at, right), root(left)) };
    hashes.push(sibling);
    hashes
}

fn subproof(from: usize, leaves: &[Digest], whole: bool) -> Vec<Digest> {
    if from == leaves.len() {
        return if whole { Vec::new() } else { vec![root(leaves)] };
    }
    let at = split(leaves.len());
    let (left, right) = leaves.split_at(at);
    let (mut hashes, sibling) = if from <= at {
        (subproof(from, left, whole), root(right))
    } else {
        (subproof(from - at, right, false), root(left))
    };
    hashes.push(sibling);
    hashes
}

impl FakeLog {
    /// A log with `others` entries of other devices.
    pub(crate) fn new(others: usize) -> Self {
        let leaves = (0..others).map(|other| Digest::of(&other.to_be_bytes())).collect();
        Self {
            key: SecretKey::from_seed(&[42; 32]).unwrap(),
            leaves,
            stored: BTreeMap::new(),
            next: 0,
            last_hash: Digest::ZERO,
            anchor_of_agent: 0,
        }
    }

    pub(crate) fn pinned(&self) -> PinnedLog {
        let keys = vec![VerifierKey::new(ORIGIN, *self.key.public()).unwrap()];
        PinnedLog { origin: ORIGIN.into(), keys }
    }

    pub(crate) fn note(&self) -> String {
        let size = self.leaves.len() as u64;
        let checkpoint = Checkpoint { origin: ORIGIN.into(), size, root: root(&self.leaves) };
        checkpoint.sign(&self.key).unwrap().encode()
    }

    pub(crate) fn checkpoint(&mut self) -> proto::ToAgent {
        let from = usize::try_from(self.anchor_of_agent).unwrap();
        let consistency = if from == 0 { Vec::new() } else { subproof(from, &self.leaves, true) };
        let consistency = consistency.iter().map(|hash| hash.as_bytes().to_vec()).collect();
        let note = self.note();
        let message =
            proto::Checkpoint { note, consistency, from_size: self.anchor_of_agent, ..Default::default() };
        self.anchor_of_agent = self.leaves.len() as u64;
        say(Out::Checkpoint(message))
    }

    pub(crate) fn proved(&self, sequence: u64) -> proto::ToAgent {
        let (_, receipt) = &self.stored[&sequence];
        let hashes = path(usize::try_from(receipt.index).unwrap(), &self.leaves);
        let note = evidence::note::Note::parse(self.note().as_bytes()).unwrap();
        let proof = TlogProof { extra: None, index: receipt.index, hashes, note };
        say(Out::Proved(proto::Proved { sequence, tlog_proof: proof.encode() }))
    }

    /// Answers one message as a collector does.
    pub(crate) fn answer(&mut self, message: In) -> Vec<proto::ToAgent> {
        match message {
            In::Hello(hello) => {
                self.anchor_of_agent = hello.anchor_size;
                let welcome = proto::Welcome { schema_max: SCHEMA_MAX, next_sequence: self.next };
                let mut answers = vec![say(Out::Welcome(welcome))];
                answers.extend(hello.unproved.iter().map(|sequence| self.proved(*sequence)));
                answers
            }
            In::Envelope(bytes) => self.admit(bytes),
            In::Heartbeat(_) => Vec::new(),
        }
    }

    fn admit(&mut self, bytes: Vec<u8>) -> Vec<proto::ToAgent> {
        let envelope = Envelope::parse(&bytes).unwrap();
        let statement = envelope.claimed().unwrap();
        let sequence = statement.sequence;
        if let Some((before, receipt)) = self.stored.get(&sequence) {
            assert_eq!(before, &bytes, "two statements of one sequence");
            return vec![stored(sequence, receipt)];
        }
        let destroyed = match statement.body {
            evidence::statement::Body::Gap(evidence::statement::Gap::Destroyed { first, .. }) => Some(first),
            _ => None,
        };
        if destroyed.unwrap_or(sequence) != self.next {
            return vec![say(Out::Expect(proto::Expect { sequence: self.next }))];
        }
        assert_eq!(statement.previous, self.last_hash, "the chain of {sequence}");
        let receipt = Receipt {
            index: self.leaves.len() as u64,
            received: Timestamp(1_000_000 + sequence),
            salt: Digest::of(&sequence.to_be_bytes()).0,
        };
        let leaf = Leaf {
            kind: statement.kind(),
            received: receipt.received,
            commitment: commitment(&receipt.salt, &bytes),
            chain: None,
        };
        self.leaves.push(leaf.hash());
        self.last_hash = envelope.hash();
        self.next = sequence + 1;
        self.stored.insert(sequence, (bytes, receipt));
        vec![stored(sequence, &receipt)]
    }
}

pub(crate) fn say(item: Out) -> proto::ToAgent {
    proto::ToAgent { item: Some(item) }
}

pub(crate) fn stored(sequence: u64, receipt: &Receipt) -> proto::ToAgent {
    say(Out::Stored(proto::Stored {
        sequence,
        index: receipt.index,
        received_ms: receipt.received.ms(),
        salt: receipt.salt.to_vec(),
    }))
}
