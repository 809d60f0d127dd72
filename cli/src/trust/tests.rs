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

#[test]
fn a_grown_log_is_pinned() {
    let (one, two, proof) = trees();
    let note = two.sign(&log_key()).unwrap().encode();
    assert_eq!(grown(&trust(), &one, &note, &proof).unwrap(), two);
    assert_eq!(grown(&trust(), &two, &note, &[]).unwrap(), two);
    let nothing = Checkpoint { origin: ORIGIN.to_owned(), size: 0, root: merkle::empty_root() };
    assert_eq!(grown(&trust(), &nothing, &note, &[]).unwrap(), two);
}

#[test]
fn a_rolled_back_or_forked_log_is_not() {
    let (one, two, proof) = trees();
    let older = one.sign(&log_key()).unwrap().encode();
    let error = format!("{:#}", grown(&trust(), &two, &older, &[]).unwrap_err());
    assert!(error.contains("Nothing was pinned"), "{error}");
    let forked = Checkpoint { root: Digest::of(b"other"), ..two.clone() };
    let forked = forked.sign(&log_key()).unwrap().encode();
    grown(&trust(), &one, &forked, &proof).unwrap_err();
    grown(&trust(), &two, &forked, &[]).unwrap_err();
}

#[test]
fn a_checkpoint_of_another_key_or_log_is_not() {
    let (one, two, proof) = trees();
    let stranger = SecretKey::from_seed(&[9; 32]).unwrap();
    let note = two.sign(&stranger).unwrap().encode();
    grown(&trust(), &one, &note, &proof).unwrap_err();
    let other = Checkpoint { origin: "other.example.com/log/main".to_owned(), ..two };
    let note = other.sign(&log_key()).unwrap().encode();
    grown(&trust(), &one, &note, &proof).unwrap_err();
}
