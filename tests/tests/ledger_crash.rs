//! A ledger whose process is killed at every named point of the order of commitments, and at moments nobody chose.
//!
//! After each death: everything that was answered is there with the same answer, nothing is there twice, and every
//! checkpoint that left the process is a prefix of the log.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at what it cannot read"
)]

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use collector::datadir::DataDir;
use collector::failpoints::POINTS;
use collector::fsck;
use collector::ledger::Ledger;
use tests::ledger;

const SIGKILL: i32 = 9;
/// Statements of a run: enough for several segments.
const STATEMENTS: u64 = 60;

/// A process being started by one test holds, between fork and exec, the locks that another test has just let go.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// What left the processes that wrote to one ledger.
#[derive(Default)]
struct Told {
    answers: BTreeMap<String, String>,
    checkpoints: BTreeMap<u64, String>,
}

impl Told {
    /// Adds what one process said; an answer that differs from an earlier one fails.
    fn hear(&mut self, output: &Output) {
        let text = String::from_utf8(output.stdout.clone()).unwrap();
        // The last line may have been cut by the kill.
        for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
            let words: Vec<_> = line.splitn(3, ' ').collect();
            let (key, rest) = (words[1].to_owned(), words[2].to_owned());
            let earlier = match words[0] {
                "stored" => self.answers.insert(key, rest.clone()),
                "checkpoint" => self.checkpoints.insert(key.parse().unwrap(), rest.clone()),
                other => panic!("{other}"),
            };
            assert!(earlier.is_none_or(|earlier| earlier == rest), "another answer than before: {line}");
        }
    }

    /// Checks the ledger itself, from outside.
    fn check(&self, path: &Path, context: &str) {
        // Before anything is repaired, the index may be behind, and nothing else may be wrong.
        fsck_is_sound(path, context);
        let dir = Arc::new(DataDir::open(path).unwrap());
        let (log, _) = Ledger::open(dir, &ledger::options()).unwrap();
        for (size, root) in &self.checkpoints {
            assert_eq!(&log.root_at(*size).unwrap().hex(), root, "{context}: checkpoint of {size}");
        }
        drop(log);
        assert!(!fsck_is_sound(path, context).index_behind, "{context}");
    }
}

fn fsck_is_sound(path: &Path, context: &str) -> fsck::Report {
    let keys = [ledger::verifier_key().unwrap()];
    let dir = DataDir::open(path).unwrap();
    let high_water = dir.high_water();
    let options =
        fsck::Options { log_keys: &keys, origin: Some(ledger::ORIGIN), high_water: Some(&high_water) };
    let report = fsck::check(&dir, &options).unwrap();
    assert!(report.sound, "{context}: {:?}", report.faults);
    report
}

fn writer(path: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ledger-writer"));
    command.arg(path).arg(STATEMENTS.to_string()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn finish(path: &Path, told: &mut Told, context: &str) {
    let output = writer(path).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{context}: {stderr}");
    told.hear(&output);
    assert_eq!(told.answers.len() as u64, STATEMENTS, "{context}");
    assert_eq!(told.checkpoints.last_key_value().map(|(size, _)| *size), Some(STATEMENTS + 1), "{context}");
    told.check(path, context);
}

fn new_ledger(parent: &tempfile::TempDir) -> PathBuf {
    let path = parent.path().join("data");
    ledger::create(&path).unwrap();
    path
}

#[test]
fn a_kill_at_every_point_loses_nothing_that_was_answered() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    for point in POINTS {
        for nth in [1, 3] {
            let context = format!("{point}:{nth}");
            let parent = tempfile::tempdir().unwrap();
            let path = new_ledger(&parent);
            let mut told = Told::default();
            let output = writer(&path).env("TALLYSTICK_FAILPOINT", &context).output().unwrap();
            assert_eq!(output.status.signal(), Some(SIGKILL), "{context} was not reached");
            told.hear(&output);
            told.check(&path, &context);
            finish(&path, &mut told, &context);
        }
    }
}

#[test]
fn kills_at_moments_nobody_chose_lose_nothing_either() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let parent = tempfile::tempdir().unwrap();
    let path = new_ledger(&parent);
    let mut told = Told::default();
    let mut killed = 0;
    for round in 0..25_u64 {
        let mut child = writer(&path).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(7 * (round % 13) + round));
        child.kill().unwrap();
        let output = child.wait_with_output().unwrap();
        killed += u64::from(output.status.signal() == Some(SIGKILL));
        told.hear(&output);
        told.check(&path, &format!("round {round}"));
    }
    assert!(killed >= 3, "only {killed} processes were killed while they wrote");
    finish(&path, &mut told, "at the end");
}

#[test]
fn a_point_that_does_not_exist_is_not_silently_passed() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let parent = tempfile::tempdir().unwrap();
    let path = new_ledger(&parent);
    let output = writer(&path).env("TALLYSTICK_FAILPOINT", "no-such-point").output().unwrap();
    assert!(!output.status.success());
}
