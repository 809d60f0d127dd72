//! Notes, proof files, checkpoints and keys: what parses is written as it was, and no proof of noise holds.
#![no_main]

use evidence::ids::Digest;
use evidence::note::{Checkpoint, Note, TlogProof, VerifierKey, hash_lines, parse_hash_lines};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(note) = Note::parse(data) {
        assert_eq!(note.encode().as_bytes(), data);
    }
    if let Ok(proof) = TlogProof::parse(data) {
        assert_eq!(proof.encode().as_bytes(), data);
        assert!(
            evidence::merkle::verify_inclusion(
                proof.index,
                u64::MAX,
                &Digest::ZERO,
                &proof.hashes,
                &Digest::ZERO
            )
            .is_err()
        );
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    assert!(Checkpoint::parse_text(text).map_or(true, |head| head.text() == text));
    assert!(parse_hash_lines(text).map_or(true, |hashes| hash_lines(&hashes) == text));
    assert!(VerifierKey::parse(text).map_or(true, |key| key.vkey() == text));
});
