//! Cosignatures: their one form, what they hold for, and what is never taken over from a witness's answer.

use proptest::prelude::*;

use super::*;
use crate::ids::Digest;
use crate::json::{decode_base64, encode_base64};
use crate::keys::KeyError;
use crate::note::VerifierKey;

const ORIGIN: &str = "example.com/log/one";
const W1: &str = "w1.example/witness";

fn secret(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32]).unwrap()
}

fn witness(seed: u8, name: &str) -> WitnessKey {
    WitnessKey::new(name, *secret(seed).public()).unwrap()
}

fn log_key() -> VerifierKey {
    VerifierKey::new(ORIGIN, *secret(1).public()).unwrap()
}

fn checkpoint(root: u8) -> Checkpoint {
    Checkpoint { origin: ORIGIN.into(), size: 7, root: Digest([root; 32]) }
}

fn signed() -> Note {
    checkpoint(1).sign(&secret(1)).unwrap()
}

fn line(seed: u8, name: &str, seconds: u64) -> String {
    signed().cosignature(name, &secret(seed), seconds).unwrap()
}

fn with(lines: &str) -> Note {
    Note::parse(format!("{}{lines}", signed().encode()).as_bytes()).unwrap()
}

#[test]
fn the_examples_of_the_specification_have_this_form() {
    // The specification gives no key for its example: form, lengths and time can be held against it, not the signature.
    let example = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\
        — example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n\
        — witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n";
    let note = Note::parse(example.as_bytes()).unwrap();
    assert_eq!(note.encode(), example);
    let [_, cosignature] = note.lines.as_slice() else { panic!("two lines") };
    let (time, signature) = cosignature.signature.split_first_chunk::<8>().unwrap();
    assert_eq!((u64::from_be_bytes(*time), signature.len()), (1_679_315_147, SIGNATURE_BYTES));
    let text = "cosignature/v1\ntime 1679315147\nexample.com/behind-the-sofa\n20852163\n\
        CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
    assert_eq!(message(1_679_315_147, &note.text), text);
}

#[test]
fn a_cosignature_holds_for_its_text_time_and_key() {
    let note = with(&line(2, W1, 1_700_000_000));
    let w1 = witness(2, W1);
    assert_eq!(note.cosigned(&w1), Ok(Some(1_700_000_000)));
    assert_eq!(note.cosigned(&witness(3, W1)), Ok(None));
    assert_eq!(note.cosigned(&witness(2, "w2.example")), Ok(None));
    let logs = [log_key()];
    assert_eq!(note.verify(&logs), Ok(checkpoint(1).text().as_str()));
    assert_eq!(note.verify_all(&logs), Err(NoteError::UnknownSigner(W1.into())));
    assert_eq!(note.verify_known(&logs, std::slice::from_ref(&w1)), Ok(checkpoint(1).text().as_str()));
    // A witness alone makes no checkpoint.
    let alone = Note::parse(format!("{}\n{}", checkpoint(1).text(), line(2, W1, 5)).as_bytes()).unwrap();
    assert_eq!(alone.verify_known(&logs, &[w1]), Err(NoteError::Unsigned(ORIGIN.into())));
}

#[test]
fn every_flipped_bit_of_a_cosigned_checkpoint_is_refused() {
    let (logs, witnesses) = ([log_key()], [witness(2, W1)]);
    let whole = with(&line(2, W1, 1_700_000_000)).encode();
    for bit in 0..whole.len() * 8 {
        let mut bad = whole.clone().into_bytes();
        bad[bit / 8] ^= 1 << (bit % 8);
        if let Ok(note) = Note::parse(&bad) {
            assert!(note.verify_known(&logs, &witnesses).is_err(), "bit {bit}");
        }
    }
}

#[test]
fn a_plain_signature_is_no_cosignature_and_the_reverse() {
    let w1 = witness(2, W1);
    let (_, plain) = {
        let note = Note::sign(&checkpoint(1).text(), W1, &secret(2)).unwrap().encode();
        note.split_once("\n\n").map(|(text, line)| (text.to_owned(), line.to_owned())).unwrap()
    };
    assert_eq!(with(&plain).cosigned(&w1), Ok(None));
    let as_log = VerifierKey::new(W1, *secret(2).public()).unwrap();
    assert!(with(&line(2, W1, 1)).verify(&[as_log]).is_err());
    assert!(WitnessKey::parse(&log_key().vkey()).is_err());
    assert!(VerifierKey::parse(&w1.vkey()).is_err());
    assert_eq!(WitnessKey::parse(&w1.vkey()), Ok(w1));
}

#[test]
fn what_is_no_cosignature_of_this_text_is_refused() {
    let w1 = witness(2, W1);
    let good = line(2, W1, 9);
    let bytes = |line: &str| decode_base64(line.trim_end().rsplit_once(' ').unwrap().1).unwrap();
    let again = |bytes: &[u8]| format!("— {W1} {}\n", encode_base64(bytes));
    assert_eq!(again(&bytes(&good)), good);
    let mut other_time = bytes(&good);
    other_time[11] = 10;
    let mut late = bytes(&good);
    late[4] = 0x80;
    let mut long = bytes(&good);
    long.push(0);
    let fork = checkpoint(2).sign(&secret(1)).unwrap().cosignature(W1, &secret(2), 9).unwrap();
    let mismatch = |error| NoteError::Signature { name: W1.into(), error };
    assert_eq!(with(&again(&other_time)).cosigned(&w1), Err(mismatch(KeyError::Mismatch)));
    assert_eq!(with(&fork).cosigned(&w1), Err(mismatch(KeyError::Mismatch)));
    for form in [late, long.clone(), long[..75].to_vec(), long[..12].to_vec(), long[..5].to_vec()] {
        assert!(matches!(with(&again(&form)).cosigned(&w1), Err(NoteError::Cosignature(_))), "{form:?}");
    }
    let twice = with(&format!("{good}{}", line(2, W1, 10)));
    assert_eq!(twice.cosigned(&w1), Err(NoteError::Twice(W1.into())));
    assert_eq!(twice.verify_known(&[log_key()], &[w1]), Err(NoteError::Twice(W1.into())));
}

#[test]
fn nothing_but_a_checkpoint_is_cosigned_and_no_time_beyond_the_last() {
    let note = Note::sign("no checkpoint\n", "name", &secret(1)).unwrap();
    assert!(matches!(note.cosignature(W1, &secret(2), 1), Err(NoteError::Checkpoint(_))));
    assert!(signed().cosignature(W1, &secret(2), COSIGNATURE_SECONDS_MAX).is_ok());
    assert!(signed().cosignature(W1, &secret(2), COSIGNATURE_SECONDS_MAX + 1).is_err());
    for name in ["", "a b", "a+b", "a\nb"] {
        assert!(signed().cosignature(name, &secret(2), 1).is_err(), "{name:?}");
        assert!(WitnessKey::new(name, *secret(2).public()).is_err(), "{name:?}");
    }
}

#[test]
fn of_an_answer_only_the_witnesss_own_true_line_is_taken() {
    let (w1, w2) = (witness(2, W1), witness(3, "w2.example"));
    let mut note = signed();
    let answer = format!("{}{}", line(3, "w2.example", 8), line(2, W1, 9));
    assert_eq!(note.adopt(&w1, answer.as_bytes()), Ok(9));
    assert_eq!((note.cosigned(&w1), note.cosigned(&w2)), (Ok(Some(9)), Ok(None)));
    // A newer line takes the place of the older.
    assert_eq!(note.adopt(&w1, line(2, W1, 12).as_bytes()), Ok(12));
    assert_eq!((note.signatures(), note.cosigned(&w1)), (2, Ok(Some(12))));
    let before = note.clone();
    let fork = checkpoint(2).sign(&secret(1)).unwrap().cosignature(W1, &secret(2), 99).unwrap();
    let longer = Note { text: format!("{}\nmore\n", note.encode().trim_end()), lines: Vec::new() };
    let mut signature = 7_u64.to_be_bytes().to_vec();
    signature.extend_from_slice(&secret(2).sign(message(7, &longer.text).as_bytes()));
    let smuggled = Line { name: W1.into(), hash: key_hash(W1, 4, secret(2).public()), signature }.encode();
    let smuggled =
        format!("{}\nmore\n\n{smuggled}", before.encode().split_once("\n\n").unwrap().1.trim_end());
    for bad in [
        String::new(),
        "\n".into(),
        line(3, "w2.example", 8),
        fork,
        smuggled,
        format!("{}\n", line(2, W1, 13)),
        format!("\n{}", line(2, W1, 13)),
        line(2, W1, 13).trim_end().to_owned(),
        format!("{}{}", line(2, W1, 13), line(2, W1, 14)),
        "<html>".into(),
        line(2, W1, 13).repeat(1000),
    ] {
        assert!(note.adopt(&w1, bad.as_bytes()).is_err(), "{bad:?}");
        assert_eq!(note, before);
    }
}

#[test]
fn strange_lines_are_left_out_on_request() {
    let note = with(&format!("{}{}", line(2, W1, 1), line(3, "w2.example", 1)));
    let kept = note.with_lines_of(&[log_key()], &[witness(3, "w2.example")]);
    assert_eq!((note.signatures(), kept.signatures()), (3, 2));
    assert_eq!(kept.cosigned(&witness(3, "w2.example")), Ok(Some(1)));
    assert_eq!(kept.cosigned(&witness(2, W1)), Ok(None));
}

proptest! {
    #[test]
    fn cosignatures_round_trip(seed in 2_u8..255, seconds in 0..=COSIGNATURE_SECONDS_MAX, name in "[a-zA-Z0-9./ü—-]{1,40}") {
        let key = witness(seed, &name);
        prop_assert_eq!(WitnessKey::parse(&key.vkey()), Ok(key.clone()));
        let mut note = signed();
        let line = note.cosignature(&name, &secret(seed), seconds).unwrap();
        prop_assert_eq!(note.adopt(&key, line.as_bytes()), Ok(seconds));
        let again = Note::parse(note.encode().as_bytes()).unwrap();
        prop_assert_eq!(again.cosigned(&key), Ok(Some(seconds)));
        prop_assert_eq!(again, note);
    }

    #[test]
    fn no_answer_panics_or_changes_the_log_s_own_line(answer in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut note = signed();
        prop_assert!(note.adopt(&witness(2, W1), &answer).is_err());
        prop_assert_eq!(note, signed());
    }
}
