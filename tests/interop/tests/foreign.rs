//! Notes, checkpoints, keys and proofs: ours and other people's crates give the same answer to the same bytes.
//!
//! Where the answers differ, ours refuses and the reason is one of [`Reason`]; never the other way round, but for one case of
//! consistency from nothing, which RFC 9162 leaves to the caller.

use std::collections::BTreeSet;

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use ct_merkle::{ConsistencyProof, InclusionProof, RootHash};
use evidence::ids::Digest;
use evidence::keys::SecretKey;
use evidence::merkle::{verify_consistency, verify_inclusion};
use evidence::note::{Checkpoint, NOTE_BYTES_MAX, Note, SIGNATURE_LINES_MAX, VerifierKey};
use proptest::prelude::*;
use sha2::Sha256;
use signed_note::{StandardVerifier, VerifierList};

const ORIGIN: &str = "example.org/log/1";
/// An order-8 point, and the identity: keys and R for which signatures are not bound to one message.
const WEAK: [&str; 2] = [
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "0100000000000000000000000000000000000000000000000000000000000000",
];

/// Why ours refuses what another crate takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reason {
    /// Ours reads 64 KiB and 64 lines, `signed_note` 1 MB and 100.
    Larger,
    /// `signed_note` looks at the first line of a key only; ours refuses a note with any false line of a key it knows.
    SecondLineFalse,
    /// Ours has no weak keys and no R of small order (strict Ed25519, FORMAT section 2).
    Weak,
    /// A key id in capitals, or with a plus: `signed_note` reads it as a number, ours has one form of a key.
    KeyIdForm,
    /// `tlog_tiles` keeps extension lines, ours has none (FORMAT section 6).
    Extension,
}

fn secret(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32]).unwrap()
}

fn key(seed: u8, name: &str) -> VerifierKey {
    VerifierKey::new(name, *secret(seed).public()).unwrap()
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn ours(bytes: &[u8]) -> Option<String> {
    Note::parse(bytes).ok()?.verify(&[key(1, ORIGIN)]).ok().map(str::to_owned)
}

fn theirs(bytes: &[u8]) -> Option<String> {
    let known = StandardVerifier::new(&key(1, ORIGIN).vkey()).unwrap();
    let note = signed_note::Note::from_bytes(bytes).ok()?;
    note.verify(&VerifierList::new(vec![Box::new(known)])).ok()?;
    Some(String::from_utf8(note.text().to_vec()).unwrap())
}

/// Whether there is a reason by which ours may refuse this note.
fn reason(bytes: &[u8]) -> Option<Reason> {
    let text = std::str::from_utf8(bytes).ok()?;
    let lines: Vec<&str> = text.rsplit_once("\n\n")?.1.lines().collect();
    if bytes.len() > NOTE_BYTES_MAX || lines.len() > SIGNATURE_LINES_MAX {
        return Some(Reason::Larger);
    }
    let own = format!("— {ORIGIN} ");
    (lines.iter().filter(|line| line.starts_with(&own)).count() > 1).then_some(Reason::SecondLineFalse)
}

fn line(seed: u8, name: &str, text: &str) -> String {
    let note = Note::sign(text, name, &secret(seed)).unwrap().encode();
    note[note.rfind("\n\n").unwrap() + 2..].to_owned()
}

/// A note by the log, strangers, forgers and the log again, in some order.
fn notes() -> impl Strategy<Value = Vec<u8>> {
    let texts = prop_oneof![
        (any::<u64>(), any::<[u8; 32]>()).prop_map(|(size, root)| Checkpoint {
            origin: ORIGIN.into(),
            size,
            root: Digest(root)
        }
        .text()),
        "([a-zA-Zé— 0-9+]{1,20}\n){1,4}",
    ];
    (texts, prop::collection::vec(0_u8..6, 1..5)).prop_map(|(text, signers)| {
        let signed = signers.into_iter().map(|signer| match signer {
            0..=2 => line(1, ORIGIN, &text),
            3 => line(1, ORIGIN, "another text\n"),
            4 => line(2, ORIGIN, &text),
            _ => line(3, "other.example", &text),
        });
        format!("{text}\n{}", signed.collect::<String>()).into_bytes()
    })
}

#[derive(Debug, Clone)]
enum Damage {
    Flip(prop::sample::Index, u8),
    Cut(prop::sample::Index),
    Remove(prop::sample::Index),
    Insert(prop::sample::Index, &'static str),
    Double(prop::sample::Index),
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = any::<prop::sample::Index>;
    let inserted =
        prop::sample::select(vec!["\n", " ", "+", "=", "—", "\0", "\t", "\r", "A", "0", "\u{a0}", "\u{85}"]);
    prop_oneof![
        (at(), 0_u8..8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        at().prop_map(Damage::Cut),
        at().prop_map(Damage::Remove),
        (at(), inserted).prop_map(|(at, text)| Damage::Insert(at, text)),
        at().prop_map(Damage::Double),
    ]
}

fn damaged(mut bytes: Vec<u8>, damages: &[Damage]) -> Vec<u8> {
    for damage in damages {
        if bytes.is_empty() {
            break;
        }
        match damage {
            Damage::Flip(at, bit) => *at.get_mut(&mut bytes) ^= 1 << bit,
            Damage::Cut(at) => bytes.truncate(at.index(bytes.len())),
            Damage::Remove(at) => drop(bytes.remove(at.index(bytes.len()))),
            Damage::Insert(at, text) => {
                let at = at.index(bytes.len());
                bytes.splice(at..at, text.bytes());
            }
            Damage::Double(at) => bytes.extend_from_within(at.index(bytes.len())..),
        }
    }
    bytes
}

fn tree(leaves: u64) -> MemoryBackedTree<Sha256, Vec<u8>> {
    let mut tree = MemoryBackedTree::new();
    (0..leaves).for_each(|leaf| tree.push(leaf.to_be_bytes().to_vec()));
    tree
}

fn digest(bytes: &[u8]) -> Digest {
    Digest::from_slice(bytes).unwrap()
}

fn hashes(proof: &[u8]) -> Vec<Digest> {
    proof.chunks(32).map(digest).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn notes_get_one_answer(note in notes(), damages in prop::collection::vec(damage(), 0..3)) {
        let note = damaged(note, &damages);
        let (mine, other) = (ours(&note), theirs(&note));
        if mine != other {
            prop_assert!(mine.is_none(), "ours takes what signed_note refuses");
            prop_assert!(reason(&note).is_some(), "no reason known for {:?}", String::from_utf8_lossy(&note));
        }
    }

    #[test]
    fn checkpoints_get_one_answer(size: u64, root: [u8; 32], damages in prop::collection::vec(damage(), 0..3)) {
        let text = Checkpoint { origin: ORIGIN.into(), size, root: Digest(root) }.text();
        let Ok(text) = String::from_utf8(damaged(text.into_bytes(), &damages)) else { return Ok(()) };
        let mine = Checkpoint::parse_text(&text).ok();
        let other = tlog_tiles::Checkpoint::from_bytes(text.as_bytes()).ok();
        match (mine, other) {
            (Some(mine), Some(other)) => {
                prop_assert_eq!((mine.origin.as_str(), mine.size), (other.origin(), other.size()));
                prop_assert_eq!(mine.root.0, other.hash().0);
                prop_assert_eq!(mine.text().into_bytes(), other.to_bytes());
            }
            (None, None) => {}
            (None, Some(other)) => prop_assert!(!other.extension().is_empty(), "{:?}: {:?}", Reason::Extension, text),
            (Some(_), None) => prop_assert!(false, "ours takes what tlog_tiles refuses: {text:?}"),
        }
    }

    #[test]
    fn keys_get_one_answer(seed: u8, name in "[a-z0-9./é]{1,20}", damages in prop::collection::vec(damage(), 0..3)) {
        let vkey = key(seed, &name).vkey();
        let Ok(vkey) = String::from_utf8(damaged(vkey.into_bytes(), &damages)) else { return Ok(()) };
        let (mine, other) = (VerifierKey::parse(&vkey).is_ok(), StandardVerifier::new(&vkey).is_ok());
        if mine != other {
            let id = vkey.split('+').nth(1).unwrap_or_default();
            let form = !id.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
            prop_assert!(!mine && form, "{:?} explains not {vkey:?}", Reason::KeyIdForm);
        }
    }

    #[test]
    fn inclusion_gets_one_answer(
        leaves in 1_u64..200, at: prop::sample::Index, shift in 0_u64..3, damages in prop::collection::vec(damage(), 0..2),
    ) {
        let tree = tree(leaves);
        let index = at.index(leaves as usize) as u64;
        let (root, leaf) = (tree.root(), index.to_be_bytes().to_vec());
        let proof = damaged(tree.prove_inclusion(index as usize).as_bytes().to_vec(), &damages);
        if proof.len() % 32 != 0 {
            return Ok(());
        }
        let index = index + shift;
        let other = root.verify_inclusion(&leaf, index, &InclusionProof::<Sha256>::try_from_bytes(proof.clone()).unwrap());
        let mine = verify_inclusion(
            index, leaves, &evidence::merkle::leaf_hash(&leaf), &hashes(&proof), &digest(root.as_bytes()),
        );
        prop_assert_eq!(mine.is_ok(), other.is_ok(), "{:?} and {:?}", mine, other);
        prop_assert!(shift > 0 || !damages.is_empty() || mine.is_ok());
    }

    #[test]
    fn consistency_gets_one_answer(
        old in 0_u64..150, more in 0_u64..150, shift in 0_u64..3, damages in prop::collection::vec(damage(), 0..2),
    ) {
        let (before, after) = (tree(old), tree(old + more));
        let whole = if old == 0 { Vec::new() } else { after.prove_consistency(more as usize).as_bytes().to_vec() };
        let proof = damaged(whole, &damages);
        if proof.len() % 32 != 0 {
            return Ok(());
        }
        let (first, second) = (before.root(), after.root());
        let claimed = RootHash::<Sha256>::new(*first.as_bytes(), old + shift);
        let other = ConsistencyProof::try_from_bytes(proof.clone());
        let other = other.and_then(|proof| second.verify_consistency(&claimed, &proof));
        let mine = verify_consistency(
            old + shift, &digest(first.as_bytes()), old + more, &digest(second.as_bytes()), &hashes(&proof),
        );
        if old + shift == 0 {
            // From nothing every tree grows, and the proof is empty; ct-merkle leaves that to its caller.
            prop_assert!(other.is_err());
            prop_assert_eq!(mine.is_ok(), proof.is_empty());
        } else {
            prop_assert_eq!(mine.is_ok(), other.is_ok(), "{:?} and {:?}", mine, other);
        }
        prop_assert!(shift > 0 || !damages.is_empty() || mine.is_ok());
    }
}

/// Every reason is met by bytes made for it, so that the list holds no excuse nobody needs.
#[test]
fn every_reason_is_real() {
    let mut met = BTreeSet::new();
    let text = Checkpoint { origin: ORIGIN.into(), size: 7, root: Digest::ZERO }.text();
    let good = format!("{text}\n{}", line(1, ORIGIN, &text));
    let mut differs = |reason, mine: bool, other: bool| {
        assert!(!mine && other, "{reason:?}: ours {mine}, theirs {other}");
        met.insert(reason);
    };
    let many = good.clone() + &line(3, "other.example", &text).repeat(SIGNATURE_LINES_MAX);
    differs(Reason::Larger, ours(many.as_bytes()).is_some(), theirs(many.as_bytes()).is_some());
    let forged = good.clone() + &line(1, ORIGIN, "another text\n");
    differs(Reason::SecondLineFalse, ours(forged.as_bytes()).is_some(), theirs(forged.as_bytes()).is_some());
    for point in WEAK {
        let public = hex(point);
        let data = [&[1], public.as_slice()].concat();
        let id = Digest::of_parts(&[ORIGIN.as_bytes(), b"\n", &data]);
        let vkey = format!("{ORIGIN}+{}+{}", &id.hex()[..8], evidence::json::encode_base64(&data));
        differs(Reason::Weak, VerifierKey::parse(&vkey).is_ok(), StandardVerifier::new(&vkey).is_ok());
    }
    let vkey = (0..=255).map(|seed| key(seed, ORIGIN).vkey());
    let capital = |vkey: String| {
        let mut parts = vkey.splitn(3, '+');
        let (name, id, data) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
        (id != id.to_uppercase()).then(|| format!("{name}+{}+{data}", id.to_uppercase()))
    };
    let vkey = vkey.filter_map(capital).next().unwrap();
    differs(Reason::KeyIdForm, VerifierKey::parse(&vkey).is_ok(), StandardVerifier::new(&vkey).is_ok());
    let extended = format!("{text}extension\n");
    differs(
        Reason::Extension,
        Checkpoint::parse_text(&extended).is_ok(),
        tlog_tiles::Checkpoint::from_bytes(extended.as_bytes()).is_ok(),
    );
    assert_eq!(met.len(), 5);
}

/// A checkpoint of ours is read by another log's crate, and one of theirs by ours.
#[test]
fn each_reads_what_the_other_signed() {
    use signed_note::{Signer, StandardSigner};
    let head = Checkpoint { origin: ORIGIN.into(), size: 7, root: Digest::of(b"root") };
    let note = head.sign(&secret(1)).unwrap().encode();
    assert_eq!(theirs(note.as_bytes()), Some(head.text()));

    let id = Digest::of_parts(&[ORIGIN.as_bytes(), b"\n\x01", secret(1).public().as_bytes()]);
    let seed = evidence::json::encode_base64(&[&[1_u8], &[1_u8; 32][..]].concat());
    let signer = StandardSigner::new(&format!("PRIVATE+KEY+{ORIGIN}+{}+{seed}", &id.hex()[..8])).unwrap();
    assert_eq!(signer.name(), ORIGIN);
    let mut note = signed_note::Note::new(head.text().as_bytes(), &[]).unwrap();
    note.add_sigs(&[&signer]).unwrap();
    assert_eq!(ours(&note.to_bytes()), Some(head.text()));
}
