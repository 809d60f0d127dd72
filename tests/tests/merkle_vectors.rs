//! The vectors of transparency-dev/merkle: proofs, and the same proofs damaged in every way its authors thought of.
//!
//! `TALLYSTICK_VECTORS` names the folder that holds `merkle/`.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test stops at what it cannot read"
)]

use std::fs;
use std::path::{Path, PathBuf};

use evidence::ids::Digest;
use evidence::json::decode_base64;
use evidence::merkle::{verify_consistency, verify_inclusion};

fn folder(name: &str) -> PathBuf {
    let vectors = std::env::var_os("TALLYSTICK_VECTORS")
        .expect("set TALLYSTICK_VECTORS to the folder of the vectors, as ./check does");
    Path::new(&vectors).join("merkle").join(name)
}

fn cases(folder: &Path, found: &mut Vec<(String, serde_json::Value)>) {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            cases(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "json") {
            let value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
            found.push((path.display().to_string(), value));
        }
    }
}

/// Cases their authors refuse because a proof from the empty tree says nothing. docs/FORMAT.md section 6 and the
/// tlog-witness protocol want the empty proof to hold there.
const HOLD_HERE: [&str; 3] = [
    "size1 is zero and does not equal size2",
    "size1 is zero and size2 is not zero",
    "sizes are equal (zero) and proof is empty",
];

fn bytes(value: &serde_json::Value) -> Vec<u8> {
    decode_base64(value.as_str().unwrap_or_default()).expect("base64")
}

/// A hash of the case. Some cases have other bytes in its place, which no caller could pass: a hash stands in for
/// them, equal where they are equal.
fn hash(value: &serde_json::Value) -> Digest {
    let bytes = bytes(value);
    Digest::from_slice(&bytes).unwrap_or_else(|_| Digest::of_parts(&[b"not a hash: ", &bytes]))
}

fn proof(case: &serde_json::Value) -> Vec<Digest> {
    match &case["proof"] {
        serde_json::Value::Null => Vec::new(),
        list => list.as_array().expect("a list").iter().map(hash).collect(),
    }
}

fn number(value: &serde_json::Value) -> u64 {
    value.as_u64().expect("a number")
}

/// How many cases were to hold and to fail.
fn tally(cases: &[(String, serde_json::Value)]) -> (usize, usize) {
    let bad = cases.iter().filter(|(_, case)| case["wantErr"] == true).count();
    (cases.len() - bad, bad)
}

#[test]
fn inclusion() {
    let mut found = Vec::new();
    cases(&folder("inclusion"), &mut found);
    for (path, case) in &found {
        let (index, size) = (number(&case["leafIdx"]), number(&case["treeSize"]));
        let verdict =
            verify_inclusion(index, size, &hash(&case["leafHash"]), &proof(case), &hash(&case["root"]));
        // A leaf or root that is no hash cannot even be asked about.
        let hashes = [&case["leafHash"], &case["root"]].into_iter().all(|value| bytes(value).len() == 32);
        assert_eq!(verdict.is_err() || !hashes, case["wantErr"] == true, "{path}: {verdict:?}");
    }
    let (good, bad) = tally(&found);
    assert!(good >= 5 && bad >= 80, "{good} good and {bad} bad cases");
}

#[test]
fn consistency() {
    let mut found = Vec::new();
    cases(&folder("consistency"), &mut found);
    let mut hold_here = 0;
    for (path, case) in &found {
        let (from, to) = (number(&case["size1"]), number(&case["size2"]));
        let (old, new) = (hash(&case["root1"]), hash(&case["root2"]));
        let verdict = verify_consistency(from, &old, to, &new, &proof(case));
        let from_nothing = from == 0 && HOLD_HERE.iter().any(|desc| case["desc"] == *desc);
        hold_here += usize::from(from_nothing);
        let refused = case["wantErr"] == true && !from_nothing;
        assert_eq!(verdict.is_err(), refused, "{path}: {verdict:?}");
    }
    assert_eq!(hold_here, HOLD_HERE.len());
    let (good, bad) = tally(&found);
    assert!(good >= 4 && bad >= 80, "{good} good and {bad} bad cases");
}
