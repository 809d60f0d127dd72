//! What a statement names of the newest checkpoint.

use evidence::keys::SecretKey;
use evidence::note::WitnessKey;

use super::*;

const ORIGIN: &str = "example.org/log/1";

#[test]
fn a_statement_names_the_hash_of_a_cosigned_note_only() {
    let (log_key, witness) =
        (SecretKey::from_seed(&[1; 32]).unwrap(), SecretKey::from_seed(&[2; 32]).unwrap());
    let log =
        PinnedLog { origin: ORIGIN.into(), keys: vec![VerifierKey::new(ORIGIN, *log_key.public()).unwrap()] };
    let head = Checkpoint { origin: ORIGIN.into(), size: 7, root: Digest::of(b"root") };
    let mut note = head.sign(&log_key).unwrap();
    let named = |text: &str| Anchor::from_note(log.clone(), text).unwrap().for_statement();

    let alone = named(&note.encode()).unwrap();
    assert_eq!((alone.checkpoint(), alone.note), (head.clone(), None));

    let line = note.cosignature("w.example", &witness, 1_780_000_000).unwrap();
    note.adopt(&WitnessKey::new("w.example", *witness.public()).unwrap(), line.as_bytes()).unwrap();
    let cosigned = named(&note.encode()).unwrap();
    assert_eq!(cosigned.note, Some(Digest::of(note.encode().as_bytes())));

    // Its note is gone: what others signed is not known any more.
    let own = Anchor::from_own_statement(log.clone(), head);
    assert_eq!(own.for_statement().unwrap().note, None);
    assert_eq!(Anchor::none(log).for_statement(), None);
}
