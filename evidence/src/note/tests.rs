//! The example of C2SP signed-note, notes that are almost notes, and the lines around a proof.

use proptest::prelude::*;

use super::*;
use crate::merkle::{ProofError, leaf_hash, node_hash};
use crate::samples::damaged;

const VKEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
const NOTE: &str = "This is an example message.\n\n\
    — example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";
const ORIGIN: &str = "example.com/log/one";

fn secret(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32]).unwrap()
}

fn key(seed: u8, name: &str) -> VerifierKey {
    VerifierKey::new(name, *secret(seed).public()).unwrap()
}

fn checkpoint() -> Checkpoint {
    Checkpoint { origin: ORIGIN.into(), size: 2, root: node_hash(&leaf_hash(b"a"), &leaf_hash(b"b")) }
}

fn signed() -> Note {
    checkpoint().sign(&secret(1)).unwrap()
}

/// The signature line of a key over the checkpoint, with its line end.
fn line(seed: u8, name: &str) -> String {
    let note = Note::sign(&checkpoint().text(), name, &secret(seed)).unwrap().encode();
    note.strip_prefix(&format!("{}\n", checkpoint().text())).unwrap().to_owned()
}

fn with_lines(lines: &[String]) -> Note {
    Note::parse(format!("{}\n{}", checkpoint().text(), lines.concat()).as_bytes()).unwrap()
}

#[test]
fn the_example_of_the_specification_verifies() {
    let key = VerifierKey::parse(VKEY).unwrap();
    assert_eq!((key.name(), key.vkey().as_str()), ("example.com/foo", VKEY));
    let note = Note::parse(NOTE.as_bytes()).unwrap();
    assert_eq!(note.encode(), NOTE);
    assert_eq!(note.signatures(), 1);
    let keys = std::slice::from_ref(&key);
    assert_eq!(note.verify(keys), Ok("This is an example message.\n"));
    assert_eq!(note.verify_all(keys), Ok("This is an example message.\n"));
}

#[test]
fn every_flipped_bit_of_a_note_is_refused() {
    let keys = [VerifierKey::parse(VKEY).unwrap()];
    for bit in 0..NOTE.len() * 8 {
        let mut bad = NOTE.as_bytes().to_vec();
        bad[bit / 8] ^= 1 << (bit % 8);
        if let Ok(note) = Note::parse(&bad) {
            assert!(note.verify(&keys).is_err(), "bit {bit}");
            assert!(note.verify_all(&keys).is_err(), "bit {bit}");
        }
    }
}

#[test]
fn vkeys_have_one_form() {
    let (name, rest) = VKEY.split_once('+').unwrap();
    let (hash, data) = rest.split_once('+').unwrap();
    let ecdsa = {
        let mut bytes = decode_base64(data).unwrap();
        bytes[0] = 2;
        encode_base64(&bytes)
    };
    let weak = {
        let mut bytes = vec![0; 33];
        bytes[0] = 1;
        encode_base64(&bytes)
    };
    for bad in [
        String::new(),
        name.to_owned(),
        format!("{name}+{hash}"),
        format!("+{hash}+{data}"),
        format!("{name} +{hash}+{data}"),
        format!("{name}x+{hash}+{data}"),
        format!("{name}+{}+{data}", hash.to_ascii_uppercase()),
        format!("{name}+0{hash}+{data}"),
        format!("{name}+530d903b+{data}"),
        format!("{name}+{hash}+{data}\n"),
        format!("{name}+{hash}+{}", data.trim_end_matches('k')),
        format!("{name}+{hash}+{ecdsa}"),
        format!("{name}+{hash}+{weak}"),
        format!("{name}+{hash}+AQ=="),
        format!("{name}+{hash}+"),
    ] {
        assert!(VerifierKey::parse(&bad).is_err(), "{bad:?}");
    }
}

#[test]
fn names_hold_neither_white_space_nor_plus_nor_controls() {
    for good in ["a", "example.com/log/one", "ü", "a—b", "a\u{7f}"] {
        let key = key(1, good);
        assert_eq!(VerifierKey::parse(&key.vkey()), Ok(key), "{good:?}");
    }
    for bad in [
        "",
        " ",
        "a b",
        "a+b",
        "a\nb",
        "a\tb",
        "a\u{a0}b",
        "a\u{2003}b",
        "a\u{3000}",
        "\u{85}",
        "a\0",
        "\u{1f}",
    ] {
        assert!(VerifierKey::new(bad, *secret(1).public()).is_err(), "{bad:?}");
        assert!(Note::sign("text\n", bad, &secret(1)).is_err(), "{bad:?}");
    }
}

#[test]
fn what_is_not_a_note_is_refused() {
    let (text, signature) = NOTE.split_once("\n\n").unwrap();
    let forms = [
        String::new(),
        "\n".to_owned(),
        "\n\n".to_owned(),
        text.to_owned(),
        format!("{text}\n\n"),
        format!("{text}\n{signature}"),
        NOTE.trim_end().to_owned(),
        format!("{NOTE}\n"),
        format!("{NOTE} "),
        NOTE.replace("— ", "- "),
        NOTE.replace("— ", "—"),
        NOTE.replace("— ", "—  "),
        NOTE.replace("foo ", "foo  "),
        NOTE.replace("foo ", "f+o "),
        NOTE.replace("foo ", "f\u{a0}o "),
        NOTE.replace("= \n", "=\n").replace("=\n", "= \n"),
        NOTE.replace('=', ""),
        NOTE.replace("yaQM=", "yaQN="),
        NOTE.replace('\n', "\r\n"),
        NOTE.replace("example message", "example\tmessage"),
        NOTE.replace("example message", "example\0message"),
        "text\n\n— name AAAAAA==\n".to_owned(),
        "text\n\n— name AAAA\n".to_owned(),
        "text\n\n—  AAAAAAAA\n".to_owned(),
    ];
    for form in &forms {
        assert_ne!(form, NOTE);
        assert!(matches!(Note::parse(form.as_bytes()), Err(NoteError::Form(_))), "{form:?}");
    }
    assert!(Note::parse(b"\xff\n\n\xe2\x80\x94 a AAAAAAAA\n").is_err());
    let large = format!("{}\n\n{signature}", "a".repeat(NOTE_BYTES_MAX));
    assert!(matches!(Note::parse(large.as_bytes()), Err(NoteError::Form(_))));
    for text in ["", "\n", "no line end", "an\n\nempty line\n", "\ntext\n", "tab\t\n"] {
        assert!(Note::sign(text, "name", &secret(1)).is_err(), "{text:?}");
    }
}

#[test]
fn at_least_sixteen_and_at_most_64_lines_are_read() {
    let lines = |count: u8| (0..count).map(|n| line(n, &format!("witness{n}"))).collect::<String>();
    let note = |count| Note::parse(format!("{}\n{}", checkpoint().text(), lines(count)).as_bytes());
    assert_eq!(note(16).unwrap().signatures(), 16);
    assert_eq!(note(64).unwrap().signatures(), 64);
    assert!(note(65).is_err());
}

#[test]
fn unknown_lines_are_ignored_outside_a_set_and_refused_inside() {
    let log = key(1, ORIGIN);
    let other = key(2, "witness");
    let both = with_lines(&[line(1, ORIGIN), line(2, "witness")]);
    let text = checkpoint().text();
    assert_eq!(both.verify(std::slice::from_ref(&log)), Ok(text.as_str()));
    assert_eq!(both.verify_all(std::slice::from_ref(&log)), Err(NoteError::UnknownSigner("witness".into())));
    assert_eq!(both.verify_all(&[log.clone(), other.clone()]), Ok(text.as_str()));
    assert_eq!(both.verify(&[key(3, ORIGIN)]), Err(NoteError::Unsigned(ORIGIN.into())));
    assert_eq!(both.verify(&[]), Err(NoteError::Unsigned("any key".into())));
    assert!(both.verify_all(&[]).is_err());
    // The right key under another name is another key.
    assert!(both.verify(&[key(1, "example.com/log/two")]).is_err());
}

#[test]
fn a_false_line_of_a_known_key_spoils_the_note() {
    let other = Note::sign("other text\n", "witness", &secret(2)).unwrap().encode();
    let (_, false_line) = other.split_once("\n\n").unwrap();
    let note = with_lines(&[line(1, ORIGIN), false_line.to_owned()]);
    let keys = [key(1, ORIGIN), key(2, "witness")];
    assert!(matches!(note.verify(&keys), Err(NoteError::Signature { .. })));
    assert!(matches!(note.verify_all(&keys), Err(NoteError::Signature { .. })));
}

#[test]
fn a_key_signs_once() {
    let note = with_lines(&[line(1, ORIGIN), line(1, ORIGIN)]);
    let keys = [key(1, ORIGIN)];
    assert_eq!(note.verify_all(&keys), Err(NoteError::Twice(ORIGIN.into())));
    assert_eq!(Checkpoint::open_strict(&note, &keys, ORIGIN), Err(NoteError::Twice(ORIGIN.into())));
    // Two keys of one log are two signers.
    let both = with_lines(&[line(1, ORIGIN), line(2, ORIGIN)]);
    assert!(both.verify_all(&[key(1, ORIGIN), key(2, ORIGIN)]).is_ok());
}

#[test]
fn a_checkpoint_has_exactly_three_lines() {
    let example = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
    let head = Checkpoint::parse_text(example).unwrap();
    assert_eq!((head.origin.as_str(), head.size), ("example.com/behind-the-sofa", 20_852_163));
    assert_eq!(head.root.hex(), "0ac5186a91863e8e1d90c808014aa89bf5da8e3ee1d9f07630f0378f68f1ab62");
    assert_eq!(head.text(), example);
    for bad in [
        String::new(),
        example.trim_end().to_owned(),
        format!("{example}\n"),
        format!("{example}extension\n"),
        format!("\n{example}"),
        example.replace("example.com/behind-the-sofa", ""),
        example.replace("20852163", "020852163"),
        example.replace("20852163", "+20852163"),
        example.replace("20852163", "-1"),
        example.replace("20852163", ""),
        example.replace("20852163", " 20852163"),
        example.replace("20852163", "18446744073709551616"),
        example.replace("2I=", "2J="),
        example.replace("2I=", "2I"),
        example.replace("CsUY", ""),
        example.replace('/', "_"),
    ] {
        assert!(Checkpoint::parse_text(&bad).is_err(), "{bad:?}");
    }
}

#[test]
fn a_strict_checkpoint_is_of_the_expected_log() {
    let keys = [key(1, ORIGIN)];
    assert_eq!(Checkpoint::open(&signed(), &keys), Ok(checkpoint()));
    assert_eq!(Checkpoint::open_strict(&signed(), &keys, ORIGIN), Ok(checkpoint()));
    assert_eq!(
        Checkpoint::open_strict(&signed(), &keys, "example.com/log/two"),
        Err(NoteError::Origin { found: ORIGIN.into(), expected: "example.com/log/two".into() })
    );
    let spaced = Checkpoint { origin: "two words".into(), ..checkpoint() };
    assert!(spaced.sign(&secret(1)).is_err());
    let forged = Checkpoint { origin: format!("{ORIGIN}\n1\nx"), ..checkpoint() };
    assert!(forged.sign(&secret(1)).is_err());
}

#[test]
fn hash_lines_are_base64_of_32_bytes_each() {
    let hashes: Vec<Digest> = (0..3u8).map(|n| leaf_hash(&[n])).collect();
    let text = hash_lines(&hashes);
    assert_eq!(text.lines().count(), 3);
    assert_eq!(parse_hash_lines(&text), Ok(hashes));
    assert_eq!(parse_hash_lines(""), Ok(vec![]));
    let most = hash_lines(&vec![leaf_hash(b""); PROOF_HASHES_MAX]);
    assert_eq!(parse_hash_lines(&most).unwrap().len(), PROOF_HASHES_MAX);
    assert!(parse_hash_lines(&hash_lines(&vec![leaf_hash(b""); PROOF_HASHES_MAX + 1])).is_err());
    for bad in [
        "\n",
        text.trim_end(),
        &format!("\n{text}"),
        &format!("{text}\n"),
        &format!("{text}AAAA\n"),
        &text.replace('\n', "\r\n"),
    ] {
        assert!(parse_hash_lines(bad).is_err(), "{bad:?}");
    }
}

fn proof() -> TlogProof {
    TlogProof { extra: Some(b"leaf".to_vec()), index: 1, hashes: vec![leaf_hash(b"a")], note: signed() }
}

#[test]
fn a_proof_file_has_the_documented_lines() {
    let text = proof().encode();
    let expected = format!(
        "c2sp.org/tlog-proof@v1\nextra bGVhZg==\nindex 1\n{}\n\n{}",
        encode_base64(leaf_hash(b"a").as_bytes()),
        signed().encode()
    );
    assert_eq!(text, expected);
    assert_eq!(TlogProof::parse(text.as_bytes()), Ok(proof()));
    let keys = [key(1, ORIGIN)];
    assert_eq!(proof().verify(&leaf_hash(b"b"), &keys), Ok(checkpoint()));
    assert_eq!(proof().verify(&leaf_hash(b"c"), &keys), Err(TlogProofError::Inclusion(ProofError::Root)));
    assert!(matches!(proof().verify(&leaf_hash(b"b"), &[key(2, ORIGIN)]), Err(TlogProofError::Note(_))));
    let moved = TlogProof { index: 0, ..proof() };
    assert!(moved.verify(&leaf_hash(b"b"), &keys).is_err());
    let bare = TlogProof { extra: None, hashes: vec![], ..proof() };
    assert_eq!(TlogProof::parse(bare.encode().as_bytes()), Ok(bare));
}

#[test]
fn what_is_not_a_proof_file_is_refused() {
    let good = proof().encode();
    let hash = encode_base64(leaf_hash(b"a").as_bytes());
    let forms = [
        String::new(),
        format!("\n{good}"),
        good.replace("@v1", "@v2"),
        good.replace("extra bGVhZg==", "extra bGVhZg"),
        good.replace("extra bGVhZg==\n", "extra bGVhZg==\nextra bGVhZg==\n"),
        good.replace("extra bGVhZg==\nindex 1\n", "index 1\nextra bGVhZg==\n"),
        good.replace("index 1\n", ""),
        good.replace("index 1\n", "index 01\n"),
        good.replace("index 1\n", "index -1\n"),
        good.replace("index 1\n", "index 1 \n"),
        good.replace("index 1\n", "index 18446744073709551616\n"),
        good.replace("index 1\n", "index 1\nindex 1\n"),
        good.replace("index 1\n", "Index 1\n"),
        good.replace(&hash, &format!(" {hash}")),
        good.replace(&hash, "AAAA"),
        good.replace(&format!("{hash}\n\n"), &format!("{hash}\n")),
        good.replace(&format!("{hash}\n\n"), &format!("{hash}\r\n\r\n")),
        good.trim_end().to_owned(),
        format!("{good}\n"),
    ];
    for form in forms {
        assert_ne!(form, good);
        assert!(TlogProof::parse(form.as_bytes()).is_err(), "{form:?}");
    }
    assert!(TlogProof::parse(b"c2sp.org/tlog-proof@v1\nindex 1\n\n\xff").is_err());
}

#[test]
fn every_flipped_bit_of_a_proof_file_changes_its_meaning_or_is_refused() {
    let good = proof().encode().into_bytes();
    let keys = [key(1, ORIGIN)];
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        if let Ok(parsed) = TlogProof::parse(&bad) {
            // `extra` is not covered by any signature; section 11 hashes what sets put there.
            let held = parsed.verify(&leaf_hash(b"b"), &keys).is_ok();
            assert!(!held || parsed.extra != proof().extra, "bit {bit}");
        }
    }
}

proptest! {
    #[test]
    fn notes_come_back(text in "([^\\x00-\\x1f\n]{1,20}\n){1,4}", name in "[a-z0-9./é-]{1,20}", seed: u8) {
        let note = Note::sign(&text, &name, &secret(seed)).unwrap();
        let back = Note::parse(note.encode().as_bytes()).unwrap();
        prop_assert_eq!(&back, &note);
        prop_assert_eq!(back.verify_all(&[key(seed, &name)]), Ok(text.as_str()));
    }

    #[test]
    fn checkpoints_come_back(origin in "[a-z0-9./-]{1,40}", size: u64, root: [u8; 32], seed: u8) {
        let head = Checkpoint { origin, size, root: Digest(root) };
        let note = Note::parse(head.sign(&secret(seed)).unwrap().encode().as_bytes()).unwrap();
        prop_assert_eq!(Checkpoint::open_strict(&note, &[key(seed, &head.origin)], &head.origin), Ok(head));
    }

    #[test]
    fn proofs_come_back(
        extra in prop::option::of(any::<Vec<u8>>()),
        index: u64,
        hashes in prop::collection::vec(any::<[u8; 32]>().prop_map(Digest), 0..=PROOF_HASHES_MAX),
    ) {
        let proof = TlogProof { extra, index, hashes, note: signed() };
        prop_assert_eq!(TlogProof::parse(proof.encode().as_bytes()), Ok(proof));
    }

    #[test]
    fn damaged_files_are_refused_or_written_as_they_were(bad in damaged(proof().encode().into_bytes())) {
        if let Ok(proof) = TlogProof::parse(&bad) {
            prop_assert_eq!(proof.encode().into_bytes(), bad.clone());
        }
        if let Ok(note) = Note::parse(&bad) {
            prop_assert_eq!(note.encode().into_bytes(), bad);
        }
    }

    #[test]
    fn a_damaged_note_never_verifies(bad in damaged(NOTE.as_bytes().to_vec())) {
        let keys = [VerifierKey::parse(VKEY).unwrap()];
        let held = Note::parse(&bad).is_ok_and(|note| note.verify_all(&keys).is_ok());
        prop_assert_eq!(held, bad == NOTE.as_bytes());
    }

    #[test]
    fn arbitrary_text_never_panics(text: String, lines in "[—a+ =\n]{0,30}", bytes: Vec<u8>) {
        for input in [text.as_bytes(), lines.as_bytes(), &bytes] {
            prop_assert!(TlogProof::parse(input).is_err());
            if let Ok(note) = Note::parse(input) {
                prop_assert_eq!(note.encode().into_bytes(), input);
            }
        }
        if let Ok(key) = VerifierKey::parse(&text) {
            prop_assert_eq!(key.vkey(), text.clone());
        }
        if let Ok(head) = Checkpoint::parse_text(&text) {
            prop_assert_eq!(head.text(), text.clone());
        }
        if let Ok(hashes) = parse_hash_lines(&text) {
            prop_assert_eq!(hash_lines(&hashes), text);
        }
    }
}
