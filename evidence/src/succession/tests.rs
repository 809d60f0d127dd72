use super::*;
use crate::acts::ActId;
use crate::leaf::Chain;
use crate::merkle::{leaf_hash, node_hash};
use crate::note::Note;
use crate::samples::acts::{ORIGIN, genesis, key, secret};
use crate::time::Timestamp;

const OLD: &str = "example.com/log/zero";

/// Roots of the old log's first one to four leaves, and the hashes they are made of.
fn old() -> ([Digest; 5], [Digest; 4]) {
    let leaves = [1_u8, 2, 3, 4].map(|n| leaf_hash(&[n]));
    let pairs = [node_hash(&leaves[0], &leaves[1]), node_hash(&leaves[2], &leaves[3])];
    let roots = [
        crate::merkle::empty_root(),
        leaves[0],
        pairs[0],
        node_hash(&pairs[0], &leaves[2]),
        node_hash(&pairs[0], &pairs[1]),
    ];
    (roots, leaves)
}

fn at(size: u64) -> Checkpoint {
    Checkpoint { origin: OLD.to_owned(), size, root: old().0[usize::try_from(size).unwrap()] }
}

struct Entry {
    leaf: Vec<u8>,
    payload: Vec<u8>,
    proof: String,
}

fn entry(predecessor: Option<Checkpoint>, origin: &str, signer: &str) -> Entry {
    let genesis = Genesis { predecessor, ..genesis() };
    let time = Timestamp(1_800_000_000_000);
    let act =
        Act::sign(Body::Genesis(genesis), origin, ActId::from_bytes([1; 16]), time, &secret("operations"));
    let payload = act.encode();
    let chain = Some(Chain { sequence: 0, previous: Digest::ZERO });
    let commitment = commitment(&[5; 32], &payload);
    let leaf = Leaf { kind: Kind::GENESIS, received: time, commitment, chain };
    let checkpoint = Checkpoint { origin: ORIGIN.to_owned(), size: 1, root: leaf.hash() };
    let note = Note::sign(&checkpoint.text(), ORIGIN, &secret(signer)).unwrap();
    let proof = TlogProof { extra: None, index: 0, hashes: Vec::new(), note }.encode();
    Entry { leaf: leaf.encode(), payload, proof }
}

fn open(entry: &Entry) -> Result<(Genesis, Checkpoint), SuccessionError> {
    let shown =
        Shown { leaf: &entry.leaf, salt: &[5; 32], payload: &entry.payload, tlog_proof: &entry.proof };
    shown.open(&[VerifierKey::new(ORIGIN, key("log")).unwrap()], ORIGIN)
}

#[test]
fn a_proved_first_entry_names_whom_it_follows() {
    let (genesis, checkpoint) = open(&entry(Some(at(4)), ORIGIN, "log")).unwrap();
    assert_eq!(predecessor(&genesis, ORIGIN), Ok(&at(4)));
    assert_eq!((checkpoint.origin.as_str(), checkpoint.size), (ORIGIN, 1));
    let (genesis, _) = open(&entry(None, ORIGIN, "log")).unwrap();
    assert!(matches!(predecessor(&genesis, ORIGIN), Err(SuccessionError::NoPredecessor(_))));
}

#[test]
fn one_that_is_bent_is_not_believed() {
    let good = || entry(Some(at(4)), ORIGIN, "log");
    assert!(matches!(open(&entry(Some(at(4)), ORIGIN, "stranger")), Err(SuccessionError::Unproved(_))));
    assert!(matches!(open(&entry(Some(at(4)), OLD, "log")), Err(SuccessionError::Act(_))));
    let other = entry(Some(at(3)), ORIGIN, "log");
    assert_eq!(open(&Entry { payload: other.payload, ..good() }), Err(SuccessionError::Commitment));
    assert!(matches!(open(&Entry { leaf: other.leaf, ..good() }), Err(SuccessionError::Unproved(_))));
    let mut bent = good();
    bent.leaf[3] ^= 1;
    assert!(open(&bent).is_err());
    let mut bent = good();
    bent.proof = bent.proof.replace("index 0", "index 1");
    assert!(open(&bent).is_err());
}

#[test]
fn what_is_named_extends_what_was_seen_or_is_refused() {
    let (roots, leaves) = old();
    assert_eq!(extends(&at(4), &at(4), &[]), Ok(()));
    assert_eq!(extends(&at(2), &at(3), &[leaves[2]]), Ok(()));
    let proof = [leaves[2], leaves[3], roots[2]];
    assert_eq!(extends(&at(3), &at(4), &proof), Ok(()));
    assert_eq!(extends(&at(4), &at(3), &[]), Err(SuccessionError::Forgets { named: 3, known: 4 }));
    let other = Checkpoint { root: Digest::ZERO, ..at(4) };
    for (known, named, proof) in [
        (at(4), other.clone(), &[][..]),
        (at(3), other, &proof),
        (at(3), at(4), &[]),
        (at(3), at(4), &proof[..2]),
    ] {
        let refused = extends(&known, &named, proof);
        assert!(matches!(refused, Err(SuccessionError::NotExtended { .. })), "{refused:?}");
    }
    let elsewhere = Checkpoint { origin: "example.com/log/two".to_owned(), ..at(4) };
    assert!(matches!(extends(&elsewhere, &at(4), &[]), Err(SuccessionError::OtherLog { .. })));
}
