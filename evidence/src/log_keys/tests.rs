use proptest::prelude::*;

use super::*;
use crate::keys::SecretKey;

const ORIGIN: &str = "audit.example/log/2026";

fn secret(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32]).unwrap()
}

fn key(seed: u8) -> VerifierKey {
    VerifierKey::new(ORIGIN, *secret(seed).public()).unwrap()
}

fn endorsed(by: u8, new: u8) -> Vec<u8> {
    secret(by).sign(&log_key_text(ORIGIN, &key(new))).to_vec()
}

fn signed(size: u64, by: &[u8]) -> Note {
    let head = Checkpoint { origin: ORIGIN.into(), size, root: Digest::of(b"root") };
    let mut note = head.sign(&secret(by[0])).unwrap();
    for more in &by[1..] {
        note.sign_also(ORIGIN, &secret(*more)).unwrap();
    }
    note
}

#[test]
fn a_key_is_followed_from_a_pinned_one_and_signs_from_its_entry_on() {
    let mut keys = LogKeys::pinned(&[key(1)]);
    assert!(keys.open(&signed(9, &[2]), &[], ORIGIN).is_err(), "nobody endorsed it yet");
    assert!(keys.follow(8, &key(2), &endorsed(1, 2)));
    assert_eq!(keys.all(), [key(1), key(2)]);
    for (size, by, holds) in [
        (8, &[1][..], true),
        (9, &[1], false),
        (9, &[2], true),
        (9, &[1, 2], true),
        (9, &[2, 1], true),
        (9, &[2, 3], false),
    ] {
        assert_eq!(keys.open(&signed(size, by), &[], ORIGIN).is_ok(), holds, "{size} by {by:?}");
        let ignoring = keys.open_ignoring(&signed(size, by), ORIGIN).is_ok();
        assert_eq!(ignoring, holds || by == [2, 3], "{size} by {by:?}");
    }
    assert_eq!(keys.open(&signed(9, &[1]), &[], ORIGIN), Err(NoteError::Retired(9)));
    assert!(!signed(9, &[1, 2]).is_cosigned(), "both lines are the log's");
    let whole =
        signed(9, &[1, 2]).encode() + &signed(9, &[1]).cosignature("w.example", &secret(9), 7).unwrap();
    assert!(Note::parse(whole.as_bytes()).unwrap().is_cosigned());
}

#[test]
fn who_pins_both_keys_gets_the_same() {
    let mut keys = LogKeys::pinned(&[key(1), key(2)]);
    assert!(keys.follow(8, &key(2), &endorsed(1, 2)));
    assert_eq!(keys.all().len(), 2);
    assert!(keys.open(&signed(9, &[1]), &[], ORIGIN).is_err());
    assert!(keys.open(&signed(9, &[2]), &[], ORIGIN).is_ok());
}

#[test]
fn an_endorsement_by_another_key_or_of_another_log_is_none() {
    let mut keys = LogKeys::pinned(&[key(1)]);
    assert!(!keys.follow(8, &key(2), &endorsed(3, 2)));
    assert!(!keys.follow(8, &key(2), &endorsed(2, 2)));
    assert!(!keys.follow(8, &key(3), &endorsed(1, 2)));
    let other = VerifierKey::new("audit.example/log/2027", *secret(2).public()).unwrap();
    let text = log_key_text(other.name(), &other);
    assert!(!keys.follow(8, &other, &secret(1).sign(&text)));
    assert_eq!(keys, LogKeys::pinned(&[key(1)]));
}

#[test]
fn lines_of_a_public_tree_lead_as_far_as_they_hold() {
    let whole = line(8, &key(2), &endorsed(1, 2)) + &line(20, &key(3), &endorsed(2, 3));
    let mut keys = LogKeys::pinned(&[key(1)]);
    keys.follow_lines(whole.as_bytes());
    assert_eq!(keys.all(), [key(1), key(2), key(3)]);
    assert!(keys.open(&signed(21, &[2]), &[], ORIGIN).is_err());
    for (text, known) in [
        (line(8, &key(2), &endorsed(3, 2)), 1),
        (whole.replacen("8 ", "08 ", 1), 1),
        (whole.replacen(' ', "  ", 1), 1),
        (format!("junk\n{whole}"), 3),
        (whole.lines().next().unwrap().to_owned(), 2),
    ] {
        let mut keys = LogKeys::pinned(&[key(1)]);
        keys.follow_lines(text.as_bytes());
        assert_eq!(keys.all().len(), known, "{text}");
    }
    let mut keys = LogKeys::pinned(&[key(1)]);
    keys.follow_lines(&[0xff; 9]);
    assert_eq!(keys.all().len(), 1);
}

proptest! {
    /// Of a chain of changes with one link bent, exactly the keys before the bent link are believed, and a checkpoint
    /// holds exactly under the key whose turn it is.
    #[test]
    fn a_chain_is_believed_up_to_its_first_bent_link(
        links in 1_usize..8,
        bent in 0_usize..8,
        size in 0_u64..100,
        by in 0_usize..8,
    ) {
        let mut keys = LogKeys::pinned(&[key(1)]);
        for link in 0..links {
            let (old, new) = (u8::try_from(link + 1).unwrap(), u8::try_from(link + 2).unwrap());
            let mut endorsement = endorsed(old, new);
            if link == bent {
                endorsement[7] ^= 1;
            }
            keys.follow(10 * (link as u64 + 1), &key(new), &endorsement);
        }
        let believed = links.min(bent);
        prop_assert_eq!(keys.all().len(), believed + 1);
        // The entries of the changes lie at 10, 20, 30…
        let turn = usize::try_from(size.saturating_sub(1) / 10).unwrap().min(believed);
        let is_due = by == turn || (by > turn && by <= believed);
        let holds = keys.open(&signed(size, &[u8::try_from(by + 1).unwrap()]), &[], ORIGIN).is_ok();
        prop_assert_eq!(holds, is_due);
    }
}
