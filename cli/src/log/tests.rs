use evidence::keys::SecretKey;
use evidence::leaf::Kind;
use evidence::note::Checkpoint;
use evidence::time::Timestamp;

use super::*;

const ORIGIN: &str = "evidence.example.com/log/main";

fn leaf(n: u8) -> Leaf {
    Leaf {
        kind: Kind::ATTESTATION,
        received: Timestamp(u64::from(n)),
        commitment: Digest([n; 32]),
        chain: None,
    }
}

/// A proof of entry 1 in a log of two.
fn reply() -> (ProofReply, Vec<VerifierKey>) {
    let key = SecretKey::from_seed(&[3; 32]).unwrap();
    let (a, b) = (leaf(1), leaf(2));
    let root = merkle::node_hash(&a.hash(), &b.hash());
    let note = Checkpoint { origin: ORIGIN.to_owned(), size: 2, root }.sign(&key).unwrap();
    let proof = TlogProof { extra: None, index: 1, hashes: vec![a.hash()], note };
    let reply = ProofReply { tlog_proof: proof.encode(), leaf: b.encode() };
    (reply, vec![VerifierKey::new(ORIGIN, *key.public()).unwrap()])
}

#[test]
fn a_true_proof_gives_leaf_and_size() {
    let (reply, keys) = reply();
    assert_eq!(check(&reply, 1, &keys, ORIGIN).unwrap(), (leaf(2), 2));
}

#[test]
fn another_leaf_index_key_or_log_is_refused() {
    let (reply, keys) = reply();
    check(&reply, 0, &keys, ORIGIN).unwrap_err();
    check(&reply, 1, &keys, "other.example.com/log/main").unwrap_err();
    check(&ProofReply { leaf: leaf(1).encode(), ..reply.clone() }, 1, &keys, ORIGIN).unwrap_err();
    let stranger = SecretKey::from_seed(&[4; 32]).unwrap();
    let strangers = [VerifierKey::new(ORIGIN, *stranger.public()).unwrap()];
    check(&reply, 1, &strangers, ORIGIN).unwrap_err();
}
