use evidence::keys::SecretKey;
use evidence::note::VerifierKey;

use super::*;

const ORIGIN: &str = "evidence.example.com/log/main";

fn log_key() -> SecretKey {
    SecretKey::from_seed(&[3; 32]).unwrap()
}

fn trust() -> Trust {
    let key = VerifierKey::new(ORIGIN, *log_key().public()).unwrap();
    Trust {
        trust_domain: "evidence.example.com".to_owned(),
        origin: ORIGIN.to_owned(),
        witness_policy: Trust::no_witnesses(&key),
        log_keys: vec![key],
        checkpoints: Vec::new(),
        auditor_key: *SecretKey::from_seed(&[4; 32]).unwrap().public(),
        made_by: MadeBy::Auditor,
        accept_simulated: false,
    }
}

/// Trees of one and two leaves, and the proof between them.
fn trees() -> (Checkpoint, Checkpoint, Vec<Vec<u8>>) {
    let (a, b) = (merkle::leaf_hash(b"a"), merkle::leaf_hash(b"b"));
    let at = |size, root| Checkpoint { origin: ORIGIN.to_owned(), size, root };
    (at(1, a), at(2, merkle::node_hash(&a, &b)), vec![b.as_bytes().to_vec()])
}

fn reply(note: &str, proof: &[Vec<u8>]) -> LatestCheckpointReply {
    LatestCheckpointReply { note: note.to_owned(), consistency: proof.to_vec(), key_changes: Vec::new() }
}

#[test]
fn a_grown_log_is_pinned() {
    let (one, two, proof) = trees();
    let note = two.sign(&log_key()).unwrap().encode();
    assert_eq!(grown(&trust(), &one, &reply(&note, &proof)).unwrap(), two);
    assert_eq!(grown(&trust(), &two, &reply(&note, &[])).unwrap(), two);
    let nothing = Checkpoint { origin: ORIGIN.to_owned(), size: 0, root: merkle::empty_root() };
    assert_eq!(grown(&trust(), &nothing, &reply(&note, &[])).unwrap(), two);
}

#[test]
fn a_rolled_back_or_forked_log_is_not() {
    let (one, two, proof) = trees();
    let older = one.sign(&log_key()).unwrap().encode();
    let error = format!("{:#}", grown(&trust(), &two, &reply(&older, &[])).unwrap_err());
    assert!(error.contains("Nothing was pinned"), "{error}");
    let forked = Checkpoint { root: Digest::of(b"other"), ..two.clone() };
    let forked = forked.sign(&log_key()).unwrap().encode();
    grown(&trust(), &one, &reply(&forked, &proof)).unwrap_err();
    grown(&trust(), &two, &reply(&forked, &[])).unwrap_err();
}

#[test]
fn a_checkpoint_of_another_key_or_log_is_not() {
    let (one, two, proof) = trees();
    let stranger = SecretKey::from_seed(&[9; 32]).unwrap();
    let note = two.sign(&stranger).unwrap().encode();
    grown(&trust(), &one, &reply(&note, &proof)).unwrap_err();
    let other = Checkpoint { origin: "other.example.com/log/main".to_owned(), ..two };
    let note = other.sign(&log_key()).unwrap().encode();
    grown(&trust(), &one, &reply(&note, &proof)).unwrap_err();
}

#[test]
fn a_checkpoint_without_its_quorum_is_not() {
    let (one, two, proof) = trees();
    let witness = SecretKey::from_seed(&[7; 32]).unwrap();
    let name = "witness.example/w1";
    let vkey = evidence::note::WitnessKey::new(name, *witness.public()).unwrap().vkey();
    let [log] = trust().log_keys.try_into().unwrap();
    let log = format!("log {}\n", VerifierKey::vkey(&log));
    let asking = Trust { witness_policy: format!("{log}witness w1 {vkey}\nquorum w1\n"), ..trust() };
    let note = two.sign(&log_key()).unwrap();
    let line = note.cosignature(name, &witness, 1).unwrap();
    let cosigned = format!("{}{line}", note.encode());
    assert_eq!(grown(&asking, &one, &reply(&cosigned, &proof)).unwrap(), two);
    // A trust file that asks for nobody takes it with strange lines too.
    assert_eq!(grown(&trust(), &one, &reply(&cosigned, &proof)).unwrap(), two);
    let error = format!("{:#}", grown(&asking, &one, &reply(&note.encode(), &proof)).unwrap_err());
    assert!(error.contains("missing: w1. Nothing was pinned"), "{error}");
    let fork = Checkpoint { root: Digest::of(b"other"), ..two.clone() }.sign(&log_key()).unwrap();
    let lie = format!("{}{}", note.encode(), fork.cosignature(name, &witness, 1).unwrap());
    grown(&asking, &one, &reply(&lie, &proof)).unwrap_err();
}
