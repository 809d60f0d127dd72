//! Requests and decisions: every answer that tlog-witness knows, and that nothing but growth is ever cosigned.

use proptest::prelude::*;

use super::*;
use crate::keys::SecretKey;
use crate::merkle::{leaf_hash, node_hash};

const ORIGIN: &str = "example.com/log/one";

fn key() -> SecretKey {
    SecretKey::from_seed(&[1; 32]).unwrap()
}

fn log_keys() -> Vec<VerifierKey> {
    vec![VerifierKey::new(ORIGIN, *key().public()).unwrap()]
}

/// Root of the first `size` leaves of the log `name`, by the definition.
fn root(name: &str, from: u64, to: u64) -> Digest {
    match to - from {
        0 => empty_root(),
        1 => leaf_hash(format!("{name} {from}").as_bytes()),
        n => {
            let middle = from + (1 << (n - 1).ilog2());
            node_hash(&root(name, from, middle), &root(name, middle, to))
        }
    }
}

fn subproof(name: &str, m: u64, from: u64, to: u64, whole: bool) -> Vec<Digest> {
    if m == to {
        return if whole { Vec::new() } else { vec![root(name, from, to)] };
    }
    let middle = from + (1 << (to - from - 1).ilog2());
    if m <= middle {
        [subproof(name, m, from, middle, whole), vec![root(name, middle, to)]].concat()
    } else {
        [subproof(name, m, middle, to, false), vec![root(name, from, middle)]].concat()
    }
}

fn proof(name: &str, from: u64, to: u64) -> Vec<Digest> {
    if from == 0 || from == to { Vec::new() } else { subproof(name, from, 0, to, true) }
}

fn head(name: &str, size: u64) -> TreeHead {
    TreeHead { size, root: root(name, 0, size) }
}

fn request(name: &str, from: u64, to: u64) -> AddCheckpoint {
    let checkpoint = Checkpoint { origin: ORIGIN.into(), size: to, root: root(name, 0, to) };
    AddCheckpoint { old_size: from, proof: proof(name, from, to), note: checkpoint.sign(&key()).unwrap() }
}

fn status(request: &AddCheckpoint, latest: TreeHead) -> u16 {
    consider(request, &log_keys(), latest).map_or_else(|refused| refused.status(), |_| 200)
}

#[test]
fn growth_is_cosigned_and_so_is_standing_still() {
    for from in 0..20 {
        for to in from..20 {
            let given = consider(&request("a", from, to), &log_keys(), head("a", from)).unwrap();
            assert_eq!((given.size, given.root), (to, root("a", 0, to)));
        }
    }
}

#[test]
fn everything_else_has_its_status() {
    let latest = head("a", 5);
    let mut wrong_proof = request("a", 5, 9);
    wrong_proof.proof.reverse();
    let mut from_nothing = request("a", 0, 9);
    from_nothing.proof = proof("a", 5, 9);
    let mut backwards = request("a", 5, 5);
    backwards.old_size = 6;
    let empty = Checkpoint { origin: ORIGIN.into(), size: 0, root: leaf_hash(b"x") };
    let no_empty = AddCheckpoint { old_size: 0, proof: Vec::new(), note: empty.sign(&key()).unwrap() };
    let mut forged = request("a", 5, 9);
    let other = SecretKey::from_seed(&[2; 32]).unwrap();
    forged.note = Note::sign(request("a", 5, 9).note.claimed_text(), ORIGIN, &other).unwrap();
    let stranger = Checkpoint { origin: "example.com/log/two".into(), size: 9, root: root("a", 0, 9) };
    let mut unknown = request("a", 5, 9);
    unknown.note = stranger.sign(&key()).unwrap();
    for (what, request, latest, wanted) in [
        ("grown", request("a", 5, 9), latest, 200),
        ("again", request("a", 5, 5), latest, 200),
        ("first", request("a", 0, 9), head("a", 0), 200),
        ("empty", request("a", 0, 0), head("a", 0), 200),
        ("old size above", backwards, latest, 400),
        ("unknown log", unknown, latest, 404),
        ("another key", forged, latest, 403),
        ("older than held", request("a", 4, 9), latest, 409),
        ("newer than held", request("a", 6, 9), latest, 409),
        ("rollback", request("a", 3, 4), latest, 409),
        ("from nothing again", request("a", 0, 9), latest, 409),
        ("proof from nothing", from_nothing, head("a", 0), 422),
        ("wrong proof", wrong_proof, latest, 422),
        ("fork", request("b", 5, 9), latest, 422),
        ("fork of this size", request("b", 5, 5), latest, 422),
        ("empty with a root", no_empty, head("a", 0), 422),
    ] {
        assert_eq!(status(&request, latest), wanted, "{what}");
    }
    assert_eq!(parse_size_body(size_body(5).as_bytes()), Some(5));
    for bad in [&b"5"[..], b"05\n", b"\n", b"5\n\n", b"-5\n", b"5 \n", b"\xff\n", b"18446744073709551616\n"] {
        assert_eq!(parse_size_body(bad), None);
    }
}

#[test]
fn the_example_of_the_specification_is_read_and_written() {
    let example = "old 20852014\nPlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=\n\
        jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=\n5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=\n\
        /6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=\n\nexample.com/behind-the-sofa\n20852163\n\
        CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\
        — example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n\
        — example.com/behind-the-sofa opLqBQsREYCgu6xQkYQwJr9fo45a62DN9EdmHXnZdXNqlcVGlCum2Wks+49/V6267UEjw6QUXTS5Rovnzv++qbSzm9Q=\n";
    let request = AddCheckpoint::parse(example.as_bytes()).unwrap();
    assert_eq!((request.old_size, request.proof.len(), request.note.signatures()), (20_852_014, 4, 2));
    assert_eq!(request.claimed_origin().unwrap(), "example.com/behind-the-sofa");
    assert_eq!(request.encode(), example);
}

#[test]
fn what_is_no_request_is_refused() {
    let good = request("a", 5, 9).encode();
    assert!(AddCheckpoint::parse(good.as_bytes()).is_ok());
    let hash = encode_hash();
    for bad in [
        String::new(),
        good.replace("old 5", "old 05"),
        good.replace("old 5", "old"),
        good.replace("old 5", "old -5"),
        good.replace("old 5", "old  5"),
        good.replace("old 5", "OLD 5"),
        good.replace("old 5\n", "old 5 \n"),
        good.replace("old 5\n", "old 5\r\n"),
        good.replacen("old 5\n", "", 1),
        good.replacen("=\n", "\n", 1),
        good.replacen("\n\n", "\n", 1),
        good.trim_end().to_owned(),
        format!("old 5\n{}\n{}", hash.repeat(64), request("a", 5, 9).note.encode()),
        format!("old 5\n\n{}", "x".repeat(REQUEST_BYTES_MAX)),
    ] {
        assert!(AddCheckpoint::parse(bad.as_bytes()).is_err(), "{bad:?}");
    }
    let most = format!("old 5\n{}\n{}", hash.repeat(63), request("a", 5, 9).note.encode());
    assert_eq!(AddCheckpoint::parse(most.as_bytes()).unwrap().proof.len(), REQUEST_HASHES_MAX);
    assert!(AddCheckpoint::parse(b"old 5\n\n\xff").is_err());
    // An extension line is signed by the log and still none of ours: monitors could not audit it.
    let text = format!("{}extension\n", request("a", 5, 9).note.claimed_text());
    let extended = AddCheckpoint { note: Note::sign(&text, ORIGIN, &key()).unwrap(), ..request("a", 5, 9) };
    assert_eq!(status(&extended, head("a", 5)), 400);
}

fn encode_hash() -> String {
    hash_lines(&[Digest([7; 32])])
}

proptest! {
    #[test]
    fn requests_round_trip(from in 0_u64..40, more in 0_u64..40) {
        let request = request("a", from, from + more);
        prop_assert_eq!(AddCheckpoint::parse(request.encode().as_bytes()), Ok(request));
    }

    #[test]
    fn a_witness_never_holds_two_logs_of_one_name(steps in proptest::collection::vec((0_u8..2, 0_u64..12, 0_u64..12), 1..40)) {
        // A hostile log asks for anything; what was cosigned must be one history.
        let mut latest = head("a", 0);
        let mut held: Vec<TreeHead> = vec![latest];
        for (fork, from, to) in steps {
            let name = if fork == 1 { "b" } else { "a" };
            let (from, to) = (from.min(to), from.max(to));
            if let Ok(given) = consider(&request(name, from, to), &log_keys(), latest) {
                latest = TreeHead { size: given.size, root: given.root };
                held.push(latest);
            }
        }
        prop_assert!(held.is_sorted_by_key(|head| head.size));
        let of = |name: &str| held.iter().all(|held| held.root == root(name, 0, held.size));
        prop_assert!(of("a") || of("b"));
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        drop(AddCheckpoint::parse(&bytes));
    }
}
