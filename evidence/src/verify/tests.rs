//! Verifying what is no set: a check list comes back whatever the bytes, and never a sound one.
//!
//! Whole sets, good and bad, are made by tests/oracle and verified in the `tests` package.

use proptest::prelude::*;

use super::*;
use crate::ids::Name;
use crate::samples::acts::{Log, ORIGIN, START, device, name, plan};
use crate::set::{UnitView, draw_path, population_path, stream_path, unit_folder};
use crate::time::Timestamp;

fn outcomes(files: &Files) -> Vec<Outcome> {
    let report = verify(files, &Vec::new(), b"{}");
    let numbers: Vec<u8> = report.checks.iter().map(|check| check.number).collect();
    assert_eq!(numbers, (1..=25).collect::<Vec<u8>>());
    assert!(!report.is_sound());
    report.checks.into_iter().map(|check| check.outcome).collect()
}

/// Files that each parser meets, sealed by a manifest that lists them.
fn sealed(mut files: Files) -> Files {
    let manifest = Manifest::over(ORIGIN, TreeHead { size: 9, root: Digest::ZERO }, Digest::ZERO, &files);
    files.insert(crate::set::MANIFEST.into(), manifest.encode());
    files.insert(crate::set::MANIFEST_NOTE.into(), b"note".to_vec());
    files.insert(crate::set::EXPORT_PROOF.into(), b"proof".to_vec());
    files
}

#[test]
fn nothing_is_not_sound() {
    let outcomes = outcomes(&Files::new());
    assert!(matches!(outcomes[0], Outcome::Failed(_)));
    assert!(outcomes[1..].iter().all(|outcome| matches!(outcome, Outcome::NotRun(_))));
}

#[test]
fn a_link_or_a_stray_file_fails_the_first_check() {
    let files = sealed(Files::new());
    assert!(matches!(outcomes(&files)[0], Outcome::Passed(_)));
    let linked = verify(&files, &vec!["log/checkpoint".into()], b"");
    assert!(linked.failed().contains(&1) && linked.failed().contains(&2));
    let mut stray = files;
    stray.insert("x".into(), Vec::new());
    assert!(matches!(outcomes(&stray)[0], Outcome::Failed(_)));
}

#[test]
fn only_what_has_failed_or_has_to_run_makes_a_set_unsound() {
    let report = |outcome: Outcome, number: usize| {
        let mut checks: Vec<Check> = NAMES
            .iter()
            .zip(1..)
            .map(|(name, number)| Check { number, name, outcome: Outcome::Passed(String::new()) })
            .collect();
        checks[number - 1].outcome = outcome;
        Report { checks, notices: Vec::new(), times: Vec::new() }
    };
    for number in 1..=25 {
        assert!(report(Outcome::Passed(String::new()), number).is_sound());
        let failed = report(Outcome::Failed(String::new()), number);
        assert!(!failed.is_sound());
        assert_eq!(failed.failed(), [u8::try_from(number).unwrap()]);
        assert_eq!(report(Outcome::NotRun(String::new()), number).is_sound(), number > 19, "{number}");
    }
}

/// A line of a stream that is sound but for what the log as a whole says.
fn line(log: &Log) -> Vec<u8> {
    let body = crate::acts::Body::Plan(Box::new(plan()));
    let payload = log.sign(body, "analyst");
    let chain = crate::leaf::Chain { sequence: 0, previous: Digest::ZERO };
    let leaf = crate::leaf::Leaf {
        kind: crate::leaf::Kind::PLAN,
        received: Timestamp(START),
        commitment: crate::leaf::commitment(&[0; 32], &payload),
        chain: Some(chain),
    };
    StreamEntry { index: 0, leaf, payload, salt: [0; 32] }.line().into_bytes()
}

fn content() -> impl Strategy<Value = Vec<u8>> {
    let unit = crate::ids::UnitId { device: device(1), day: Timestamp(START).day(), control: name("edr") };
    let view = UnitView {
        unit,
        ticket: "0.1".into(),
        role: crate::set::UnitRole::Selected,
        state: "PASS".into(),
        because: "condition".into(),
        decided_by: None,
        policy_index: None,
        statements: Vec::new(),
        erased: Vec::new(),
    };
    let sound = vec![
        Vec::new(),
        b"{}".to_vec(),
        b"[]".to_vec(),
        b"\n".to_vec(),
        b"d-a/2026-06-01/edr\n".to_vec(),
        view.encode(),
        line(&Log::begun()),
        format!("{ORIGIN}\n9\n{}\n\n", crate::json::encode_base64(&[0; 32])).into_bytes(),
        b"c2sp.org/tlog-proof@v1\nindex 0\n\n".to_vec(),
    ];
    prop_oneof![
        prop::sample::select(sound).prop_flat_map(crate::samples::damaged),
        prop::collection::vec(any::<u8>(), 0..80),
    ]
}

fn any_files() -> impl Strategy<Value = Files> {
    let control: Name = name("edr");
    let folder = unit_folder(&control, 1);
    let mut paths: Vec<String> = crate::set::SET_STREAMS.into_iter().map(stream_path).collect();
    paths.extend([
        crate::set::PLAN.to_owned(),
        crate::set::CHECKPOINT.to_owned(),
        population_path(&control),
        draw_path(&control),
        format!("{folder}/unit.json"),
        format!("{folder}/0.envelope"),
        format!("{folder}/0.tlog-proof"),
    ]);
    prop::collection::btree_map(prop::sample::select(paths), content(), 0..10)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn whatever_the_files_a_list_comes_back(files in any_files(), trust in content(), seal: bool) {
        let report = verify(&if seal { sealed(files) } else { files }, &Vec::new(), &trust);
        prop_assert_eq!(report.checks.len(), 25);
        prop_assert!(!report.is_sound());
    }
}
