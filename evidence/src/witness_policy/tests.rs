//! Policies: what is one, what a quorum means against the definition, and texts that are almost policies.

use proptest::prelude::*;

use super::*;
use crate::ids::Digest;
use crate::keys::SecretKey;
use crate::merkle::leaf_hash;
use crate::note::{TlogProof, TlogProofError};

const ORIGIN: &str = "example.com/log/one";

fn secret(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32]).unwrap()
}

fn log_line() -> String {
    format!("log {}\n", VerifierKey::new(ORIGIN, *secret(1).public()).unwrap().vkey())
}

fn key_name(seed: u8) -> String {
    format!("w{seed}.example")
}

fn witness_line(seed: u8) -> String {
    let key = WitnessKey::new(&key_name(seed), *secret(seed).public()).unwrap();
    format!("witness w{seed} {}\n", key.vkey())
}

fn policy(witnesses: std::ops::Range<u8>, rest: &str) -> Result<WitnessPolicy, PolicyError> {
    let lines: String = witnesses.map(witness_line).collect();
    WitnessPolicy::parse(format!("{}{lines}{rest}", log_line()).as_bytes())
}

fn cosigned(by: &[u8]) -> Note {
    let head = Checkpoint { origin: ORIGIN.into(), size: 1, root: leaf_hash(b"a") };
    let mut note = head.sign(&secret(1)).unwrap();
    for seed in by {
        let line = note.cosignature(&key_name(*seed), &secret(*seed), 1_700_000_000).unwrap();
        let key = WitnessKey::new(&key_name(*seed), *secret(*seed).public()).unwrap();
        note.adopt(&key, line.as_bytes()).unwrap();
    }
    note
}

#[test]
fn the_example_of_the_specification_has_this_meaning() {
    let text = "\ngroup X-witnesses 2 w2 w3 w4\n\ngroup Y-witnesses any w5 w6 w7\n\n\
        group X-and-Y all X-witnesses Y-witnesses\nquorum X-and-Y\n";
    let policy = policy(2..8, text).unwrap();
    assert!(policy.has_quorum());
    for by in 0_u8..64 {
        let signers: Vec<u8> = (0..6).filter(|bit| by >> bit & 1 == 1).map(|bit| bit + 2).collect();
        let standing = policy.standing(&cosigned(&signers)).unwrap();
        let wanted = (by & 7).count_ones() >= 2 && by & 0o70 != 0;
        assert_eq!(standing.satisfied, wanted, "{signers:?}");
        assert_eq!(standing.cosigned.len(), signers.len());
        assert_eq!(standing.missing.len(), 6 - signers.len());
        assert_eq!(policy.open(&cosigned(&signers)).is_ok(), wanted);
    }
}

#[test]
fn without_a_quorum_the_log_is_enough_and_lines_are_still_checked() {
    let none = policy(2..3, "quorum none\n").unwrap();
    assert!(!none.has_quorum());
    assert!(none.open(&cosigned(&[])).is_ok());
    let head = Checkpoint { origin: ORIGIN.into(), size: 1, root: leaf_hash(b"b") };
    let fork = head.sign(&secret(1)).unwrap().cosignature(&key_name(2), &secret(2), 1).unwrap();
    let lied = Note::parse(format!("{}{fork}", cosigned(&[]).encode()).as_bytes()).unwrap();
    assert!(matches!(none.standing(&lied), Err(NoteError::Signature { .. })));
    assert!(none.open(&lied).is_err());
}

#[test]
fn a_log_key_is_good_for_its_own_log_only() {
    let stranger = Checkpoint { origin: "example.com/log/two".into(), size: 1, root: leaf_hash(b"a") };
    let policy = policy(2..3, "quorum none\n").unwrap();
    let note = Note::sign(&stranger.text(), ORIGIN, &secret(1)).unwrap();
    assert!(matches!(policy.open(&note), Err(NoteError::Origin { .. })));
    assert!(policy.open(&stranger.sign(&secret(1)).unwrap()).is_err());
    assert!(policy.open(&stranger.sign(&secret(9)).unwrap()).is_err());
}

#[test]
fn a_proof_is_held_against_the_policy() {
    let policy = policy(2..4, "group g all w2 w3\nquorum g\n").unwrap();
    let proof = |by: &[u8]| TlogProof { extra: None, index: 0, hashes: Vec::new(), note: cosigned(by) };
    assert!(proof(&[2, 3]).verify_under(&leaf_hash(b"a"), &policy).is_ok());
    assert!(proof(&[2, 3]).verify_under(&leaf_hash(b"b"), &policy).is_err());
    let missing = proof(&[3]).verify_under(&leaf_hash(b"a"), &policy);
    let Err(TlogProofError::Note(NoteError::Quorum { quorum, standing })) = missing else {
        panic!("{missing:?}")
    };
    assert_eq!(quorum, "g");
    assert_eq!(standing, "1 of 2 witnesses cosigned: w3; missing: w2");
}

#[test]
fn what_is_no_policy_is_refused() {
    let two = policy(2..4, "group g all w2 w3\nquorum g\n");
    assert_eq!(two.unwrap().quorum_name(), "g");
    for bad in [
        "",
        "quorum w4\n",
        "quorum w2",
        "quorum w2\nquorum w2\n",
        "quorum none\nquorum none\n",
        "quorum\n",
        "quorum w2 w3\n",
        "group g all\nquorum w2\n",
        "group g w2 w3\nquorum g\n",
        "group g 0 w2 w3\nquorum g\n",
        "group g 3 w2 w3\nquorum g\n",
        "group g 02 w2 w3\nquorum g\n",
        "group g -1 w2 w3\nquorum g\n",
        "group g 18446744073709551617 w2 w3\nquorum g\n",
        "group g ALL w2 w3\nquorum g\n",
        "group g all g\nquorum g\n",
        "group g all w2 w2\nquorum g\n",
        "group g all w2 none\nquorum g\n",
        "group none all w2\nquorum none\n",
        "group w2 all w3\nquorum w2\n",
        "group a all w2\ngroup b all w2\nquorum a\n",
        "group a all b\ngroup b all w2\nquorum a\n",
        "quorum g\ngroup g all w2\n",
        "quorum w2\r\n",
        "quorum w2\0\n",
        "quorum w2\u{7f}\n",
        "quorum\u{a0}w2\n",
        "quorum w2 # comment\n",
        "what w2\n",
        "log\n",
        "witness w9\n",
    ] {
        assert!(policy(2..4, bad).is_err(), "{bad:?}");
    }
    assert!(WitnessPolicy::parse(b"quorum none\n\xff\n").is_err());
    assert!(WitnessPolicy::parse(&vec![b'\n'; POLICY_BYTES_MAX + 1]).is_err());
    for twice in [log_line(), witness_line(2).replace("witness w2", "witness x")] {
        let text = format!("{}{}{twice}quorum w2\n", log_line(), witness_line(2));
        let refused = WitnessPolicy::parse(text.as_bytes());
        assert!(matches!(refused, Err(PolicyError::Line { line: 3, .. })), "{refused:?}");
    }
    // The log is not its own witness.
    let own = WitnessKey::new("own.example", *secret(1).public()).unwrap();
    let text = format!("{}witness w {}\nquorum w\n", log_line(), own.vkey());
    assert!(WitnessPolicy::parse(text.as_bytes()).is_err());
}

#[test]
fn at_least_32_of_each_are_read() {
    let groups: Vec<String> = (2..34).map(|n| format!("group g{n} all w{n}\n")).collect();
    let groups = groups.concat();
    let all = policy(2..34, &format!("{groups}quorum g33\n")).unwrap();
    assert_eq!(all.witnesses().len(), POLICY_ENTRIES_MAX);
    assert!(policy(2..35, "quorum w2\n").is_err());
    assert!(all.open(&cosigned(&[33])).is_ok());
    assert!(all.open(&cosigned(&[32])).is_err());
}

#[test]
fn addresses_names_and_comments_are_kept_apart() {
    let key = WitnessKey::new(&key_name(2), *secret(2).public()).unwrap().vkey();
    let text =
        format!("#c\n\t {} \n\n witness\tK {key}\thttps://w.example/x \nquorum K\n", log_line().trim());
    let policy = WitnessPolicy::parse(text.as_bytes()).unwrap();
    let [witness] = policy.witnesses() else { panic!("one witness") };
    assert_eq!((witness.name.as_str(), witness.url.as_deref()), ("K", Some("https://w.example/x")));
    assert!(policy.logs().iter().all(|log| log.url.is_none()));
    assert!(WitnessPolicy::parse(text.replace("quorum K", "quorum \u{212a}").as_bytes()).is_err());
}

proptest! {
    #[test]
    fn a_threshold_counts_members(of in 1_usize..8, k in 1_usize..8, by in any::<u8>()) {
        prop_assume!(k <= of);
        let members: Vec<String> = (0..of).map(|n| format!(" w{}", n + 2)).collect();
        let members = members.concat();
        let last = u8::try_from(of).unwrap() + 2;
        let policy = policy(2..last, &format!("group g {k}{members}\nquorum g\n")).unwrap();
        let signers: Vec<u8> = (2..last).filter(|seed| by >> (seed - 2) & 1 == 1).collect();
        prop_assert_eq!(policy.standing(&cosigned(&signers)).unwrap().satisfied, signers.len() >= k);
    }

    /// A note is made shorter at the cost of lines the quorum does not need, and of no others.
    #[test]
    fn a_fitted_note_still_meets_the_quorum(by in 0_u8..64, k in 1_usize..4, bytes_max in 0_usize..1500) {
        let rest = format!("group a any w2 w3\ngroup g {k} a w4 w5\nquorum g\n");
        let policy = policy(2..7, &rest).unwrap();
        // Seed 7 is nobody's in this policy.
        let signers: Vec<u8> = (2..8).filter(|seed| by >> (seed - 2) & 1 == 1).collect();
        let note = cosigned(&signers);
        let fitted = policy.fitted(&note, bytes_max).unwrap();
        let (before, after) = (policy.standing(&note).unwrap(), policy.standing(&fitted).unwrap());
        prop_assert_eq!(before.satisfied, after.satisfied);
        prop_assert_eq!(fitted.signatures(), after.cosigned.len() + 1, "the log's line stays, nobody's goes");
        prop_assert!(after.cosigned.iter().all(|kept| before.cosigned.contains(kept)));
        let kept = |place: usize| after.cosigned.iter().any(|(name, _)| *name == policy.witnesses()[place].name);
        if fitted.encode().len() > bytes_max && after.satisfied {
            for place in (0..5).filter(|place| kept(*place)) {
                prop_assert!(!policy.is_met_by(|other| other != place && kept(other)), "w{} is not needed", place + 2);
            }
        }
        if note.encode().len() <= bytes_max {
            prop_assert_eq!(after.cosigned, before.cosigned);
        }
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), words in "(log|witness|group|quorum|#| |\\t|\\n|w2|all|any|1|none){0,40}") {
        drop(WitnessPolicy::parse(&bytes));
        drop(policy(2..3, &words));
    }
}

#[test]
fn a_digest_is_no_policy() {
    assert!(WitnessPolicy::parse(Digest::of(b"x").hex().as_bytes()).is_err());
}
