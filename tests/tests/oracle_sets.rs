//! The two verifiers over the hand-made sets of `tests/oracle/make_set.py`: each must say what the makers meant.
//!
//! `expected.json` names for every set the checks that must fail and those that may fail besides, because they need a
//! failed one. Nothing else may fail; what must fail fails, or is not run because a lower one failed.

#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "a test stops at what it cannot read")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use evidence::set::{MANIFEST, Manifest};
use evidence::verify::{Outcome, Report, verify, verify_with_tree};
use serde_json::Value;

/// Fewer sets than this, and the makers lost some.
const SETS_MIN: usize = 665;
/// Fewer sound ones than this, likewise.
const GOOD_MIN: usize = 90;
/// Damaged copies of each of three sets.
const DAMAGED_ROUNDS: usize = 150;
/// So many different checks must have met the damage.
const REACHED_MIN: usize = 10;
/// The checks that some set must fail; the last one runs where there is a tree.
const CHECKS: std::ops::RangeInclusive<u8> = 1..=21;
/// The check over all leaves.
const TREE: u8 = 21;
/// The check of witnesses, which runs where a policy asks for them.
const WITNESSES: u8 = 22;
/// The check of anchors and times.
const TIMES: u8 = 25;
/// Fewer sets than this whose times are known, and the makers lost some.
const TIMED_MIN: usize = 14;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace").to_owned()
}

/// What a set must give.
struct Expected {
    sound: bool,
    failed: BTreeSet<u8>,
    may_fail: BTreeSet<u8>,
    /// When the statement that decided the unit in a folder was signed.
    times: BTreeMap<String, String>,
}

fn numbers(row: &Value, key: &str) -> BTreeSet<u8> {
    let list = row[key].as_array().expect("a list of checks");
    list.iter().map(|n| n.as_u64().and_then(|n| u8::try_from(n).ok()).expect("a check's number")).collect()
}

/// Makes every set below `out` and tells what each must give, by name.
fn make(out: &Path) -> BTreeMap<String, Expected> {
    let maker = root().join("tests/oracle/make_set.py");
    let made = Command::new("python3").arg("-B").arg(&maker).arg(out).output();
    let made = made.expect("python3 must run: install Python 3.11 or newer");
    assert!(
        made.status.success(),
        "{} failed; it needs the packages of tests/oracle/requirements.txt: python3 -m pip install -r \
         tests/oracle/requirements.txt\n{}",
        maker.display(),
        String::from_utf8_lossy(&made.stderr)
    );
    let text = fs::read_to_string(out.join("expected.json")).expect("expected.json is written");
    let rows: BTreeMap<String, Value> = serde_json::from_str(&text).expect("expected.json is JSON");
    let sets: BTreeMap<String, Expected> = rows
        .into_iter()
        .map(|(name, row)| {
            let sound = row["exit"].as_u64().expect("an exit code") == 0;
            let failed = numbers(&row, "failed");
            assert_eq!(sound, failed.is_empty(), "{name} contradicts itself");
            let times = row.get("times").and_then(Value::as_object).into_iter().flatten();
            let times = times
                .map(|(folder, text)| (folder.clone(), text.as_str().expect("a text").to_owned()))
                .collect();
            (name, Expected { sound, failed, may_fail: numbers(&row, "also"), times })
        })
        .collect();
    assert!(sets.len() >= SETS_MIN, "only {} sets were made", sets.len());
    assert!(sets.values().filter(|set| set.sound).count() >= GOOD_MIN, "too few sound sets were made");
    sets
}

fn trust_file(out: &Path, name: &str) -> PathBuf {
    out.join(format!("{name}.trust.json"))
}

fn report(out: &Path, name: &str) -> Report {
    let (files, irregular) = verifier::read_set(&out.join(name)).expect("the set is readable");
    let trust = fs::read(trust_file(out, name)).expect("the trust file is readable");
    let tree = out.join(format!("{name}.tree"));
    let read = |path: &str| fs::read(tree.join(path)).map_err(|error| format!("{path}: {error}"));
    verify_with_tree(&files, &irregular, &trust, tree.is_dir().then_some(&read))
}

/// What is wrong with a report, line by line.
fn complaints(name: &str, expected: &Expected, report: &Report) -> Vec<String> {
    let mut found = Vec::new();
    if report.is_sound() != expected.sound {
        found.push(format!("{name}: sound is {}", report.is_sound()));
    }
    for check in &report.checks {
        let must = expected.failed.contains(&check.number);
        let may = must || expected.may_fail.contains(&check.number);
        let wrong = match &check.outcome {
            Outcome::Passed(_) => must,
            Outcome::Failed(_) => !may,
            Outcome::NotRun(_) if must => report.failed().iter().all(|failed| *failed > check.number),
            Outcome::NotRun(_) => {
                let due = check.number < TREE || (check.number == TREE && name.contains("-tree"));
                expected.sound && due
            }
        };
        if wrong {
            found.push(format!("{name}: check {} {:?}", check.number, check.outcome));
        }
    }
    for (folder, text) in &expected.times {
        let told =
            report.times.iter().find(|time| time.folder == *folder).map(|time| time.interval.to_string());
        if told.as_ref() != Some(text) {
            found.push(format!("{name}: {folder} was signed {told:?}, not {text}"));
        }
    }
    found
}

#[test]
fn every_hand_made_set_gives_what_it_must() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let sets = make(folder.path());
    let mut found = Vec::new();
    let mut reached = BTreeSet::new();
    for (name, expected) in &sets {
        let report = report(folder.path(), name);
        reached.extend(report.failed());
        found.extend(complaints(name, expected, &report));
    }
    assert!(found.is_empty(), "{} disagreements:\n{}", found.len(), found.join("\n"));
    assert_eq!(reached, CHECKS.chain([WITNESSES, TIMES]).collect(), "every check is failed by some set");
    the_program(folder.path());
    both_tell_the_same_times(folder.path(), &sets);
}

/// The second verifier's times are ours, row by row, for every set about times.
fn both_tell_the_same_times(out: &Path, sets: &BTreeMap<String, Expected>) {
    let mut compared = 0;
    for (name, _) in sets.iter().filter(|(name, set)| name.contains("-times-") || !set.times.is_empty()) {
        let (set, trust) = (out.join(name), trust_file(out, name));
        let report = |command: &mut Command| -> Value {
            let output = command.arg(&set).arg("--trust").arg(&trust).arg("--json").output();
            serde_json::from_slice(&output.expect("the program runs").stdout).expect("one JSON object")
        };
        let ours = report(&mut Command::new(env!("CARGO_BIN_EXE_verify")));
        let other = report(Command::new("python3").arg("-B").arg(root().join("tests/oracle/verify.py")));
        assert_eq!(ours["times"], other["times"], "{name}");
        assert_eq!(ours["times"].as_array().is_some_and(Vec::is_empty), ours["sound"] == false, "{name}");
        compared += usize::from(ours["sound"] == true);
    }
    assert!(compared >= TIMED_MIN, "only {compared} sets tell times");
}

/// One change of a file, drawn from `chance`: a flipped bit, a cut, a part twice, a byte more.
fn damaged(bytes: &[u8], chance: &mut impl FnMut(usize) -> usize) -> Vec<u8> {
    let mut out = bytes.to_vec();
    let (a, b) = (chance(bytes.len() + 1), chance(bytes.len() + 1));
    let (low, high) = (a.min(b), a.max(b));
    match chance(4) {
        0 if low < bytes.len() => out[low] ^= 1 << chance(8),
        1 => out.truncate(low),
        2 => drop(out.splice(low..low, bytes[low..high].to_vec())),
        _ => out.insert(low, b"0\"\n{"[chance(4)]),
    }
    out
}

#[test]
fn no_damage_is_sound_or_a_panic() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    make(folder.path());
    // xorshift64, seeded: the same damage in every run.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut chance = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).expect("below a usize")
    };
    let mut reached = BTreeSet::new();
    for name in ["good-minimal", "good-small", "good-two-log-keys"] {
        let (good, irregular) = verifier::read_set(&folder.path().join(name)).expect("the set is readable");
        let trust = fs::read(trust_file(folder.path(), name)).expect("the trust file is readable");
        assert!(verify(&good, &irregular, &trust).is_sound());
        let paths: Vec<&String> = good.keys().collect();
        for round in 0..DAMAGED_ROUNDS {
            let path = paths[chance(paths.len())];
            let bytes = damaged(&good[path], &mut chance);
            if bytes == good[path] {
                continue;
            }
            let mut files = good.clone();
            files.insert(path.clone(), bytes);
            // Half of the damage is listed anew, so that it gets past the first check.
            if round % 2 == 0 && files[MANIFEST] == good[MANIFEST] {
                let old = Manifest::parse(&files[MANIFEST]).expect("the manifest is sound");
                let mut listed = files.clone();
                listed.retain(|path, _| old.files.iter().any(|file| file.path == *path));
                let new = Manifest::over(&old.origin, old.checkpoint, old.plan_hash, &listed);
                files.insert(MANIFEST.to_owned(), new.encode());
            }
            let report = verify(&files, &irregular, &trust);
            assert!(!report.is_sound(), "{name}: damaged {path} is sound");
            reached.extend(report.failed());
        }
    }
    assert!(reached.len() >= REACHED_MIN, "damage reached only {reached:?}");
}

/// Exit codes and both outputs of the real process.
fn the_program(out: &Path) {
    let program = Path::new(env!("CARGO_BIN_EXE_verify"));
    let run = |set: &Path, trust: &Path, more: &[&str]| -> Output {
        let mut command = Command::new(program);
        command.arg(set).arg("--trust").arg(trust).args(more);
        command.output().expect("the program runs")
    };
    let text = |output: &Output| String::from_utf8(output.stdout.clone()).expect("UTF-8");
    let (good, trust) = (out.join("good-small"), trust_file(out, "good-small"));

    let sound = run(&good, &trust, &[]);
    assert_eq!(sound.status.code(), Some(0), "{}", text(&sound));
    let lines = text(&sound);
    assert!(lines.starts_with("[ok]       1 files"), "{lines}");
    assert!(lines.contains("[not run] 21 completeness  needs the public tree"), "{lines}");
    assert!(lines.trim_end().lines().last().is_some_and(|line| line.starts_with("The set is sound")));

    let bad = run(&out.join("bad-draw-swapped"), &trust_file(out, "bad-draw-swapped"), &["--json"]);
    assert_eq!(bad.status.code(), Some(1));
    let value: Value = serde_json::from_str(&text(&bad)).expect("one JSON object");
    assert_eq!(value["sound"], Value::Bool(false));
    let checks = value["checks"].as_array().expect("checks");
    assert_eq!(checks.len(), 25);
    let failed: Vec<_> = checks.iter().filter(|row| row["result"] == "failed").collect();
    assert_eq!(failed.iter().filter_map(|row| row["number"].as_u64()).collect::<Vec<_>>(), [14]);

    let unreadable = out.join("nowhere");
    for (set, trust, more) in [
        (&unreadable, &trust, &[][..]),
        (&trust, &trust, &[]),
        (&good, &unreadable, &[]),
        (&good, &trust, &["--what"]),
    ] {
        let output = run(set, trust, more);
        assert_eq!(output.status.code(), Some(2), "{} {more:?}", set.display());
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{}", set.display());
    }
    let bare = Command::new(program).arg(&good).output().expect("the program runs");
    assert_eq!(bare.status.code(), Some(2));
}
