//! A ledger whose process is killed at every named point of the order of commitments, and at moments nobody chose.
//!
//! After each death: everything that was answered is there with the same answer, nothing is there twice, and every
//! checkpoint that left the process is a prefix of the log.

#![expect(clippy::unwrap_used, reason = "a test stops at what it cannot read")]

use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use collector::failpoints::{LONG_POINTS, POINTS};
use collector::fsck;
use tests::process::run;
use tests::seeded::Seeded;
use tests::told::{Counts, Told};
use tests::{figures, folder, ledger};

const SIGKILL: i32 = 9;
/// Statements of a run: enough for several segments, and for three steps of the indexer.
const STATEMENTS: u64 = 800;
/// Kills that one ledger lives through.
const KILLS: u64 = 25;
/// Ledgers of the long form.
const LEDGERS_LONG: u64 = 400;
/// Longest time before a kill, milliseconds: most come before all is written.
const LIFE_MS_MAX: usize = 200;

/// A process being started by one test holds, between fork and exec, the locks that another test has just let go.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Checks the ledger itself, from outside. False if there was an index and it was of no use.
fn check(told: &mut Told, path: &Path, context: &str) -> bool {
    // Before anything is repaired, the index may be behind, or of no use when sled was killed while it made its files.
    // Nothing else may be wrong.
    let report = ledger::check(path).unwrap();
    let other = report.faults.iter().find(|fault| fault.part != fsck::Part::Index);
    assert!(other.is_none(), "{context}: {other:?}");
    let looked = run(env!("CARGO_BIN_EXE_ledger-writer"), [Path::new("look"), path]);
    assert_eq!(looked.code, Some(0), "{context}: {}", looked.err);
    told.hear(&looked.out);
    let sound = report.sound;
    let rebuilt = told.opened.as_ref().is_some_and(|opened| opened.rebuilt.is_some());
    assert!(sound || rebuilt, "{context}: fsck found {:?}, and the start nothing", report.faults);
    let report = ledger::check(path).unwrap();
    assert!(report.sound && ledger::is_indexed(&report), "{context}: {:?}", report.faults);
    told.count(path).assert_kept(context);
    sound
}

fn hear(told: &mut Told, output: &Output) {
    let text = String::from_utf8_lossy(&output.stdout);
    // What is said of the public tree is not for the ledger's book.
    let lines = text.lines().filter(|line| !line.starts_with("tree")).map(|line| format!("{line}\n"));
    told.hear(&lines.collect::<String>());
}

fn writer(path: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ledger-writer"));
    command.arg("write").arg(path).arg(STATEMENTS.to_string()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn finish(path: &Path, told: &mut Told, context: &str) {
    let output = writer(path).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{context}: {stderr}");
    hear(told, &output);
    assert_eq!(told.stored.len() as u64, STATEMENTS, "{context}");
    assert_eq!(told.checkpoints.last_key_value().map(|(size, _)| *size), Some(STATEMENTS + 1), "{context}");
    check(told, path, context);
}

fn new_ledger(parent: &tempfile::TempDir) -> PathBuf {
    let path = parent.path().join("data");
    ledger::create(&path, ledger::SEGMENT_BYTES).unwrap();
    path
}

#[test]
fn a_kill_at_every_point_loses_nothing_that_was_answered() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    for point in POINTS {
        for nth in [1, 3] {
            let context = format!("{point}:{nth}");
            let parent = folder::in_memory();
            let path = new_ledger(&parent);
            let mut told = Told::default();
            let output = writer(&path).env("TALLYSTICK_FAILPOINT", &context).output().unwrap();
            assert_eq!(output.status.signal(), Some(SIGKILL), "{context} was not reached");
            hear(&mut told, &output);
            check(&mut told, &path, &context);
            finish(&path, &mut told, &context);
        }
    }
}

/// The index goes on in another epoch, and the journal lets go of segments, while the public tree follows.
#[test]
fn a_kill_where_the_journal_lets_go_leaves_the_whole_log() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    for point in LONG_POINTS {
        for nth in [1, 2] {
            let context = format!("{point}:{nth}");
            let parent = folder::in_memory();
            let path = new_ledger(&parent);
            let run = || {
                let mut command = Command::new(env!("CARGO_BIN_EXE_ledger-writer"));
                command.arg("drop").arg(&path).arg(STATEMENTS.to_string());
                command.stdout(Stdio::piped()).stderr(Stdio::piped());
                command
            };
            let mut told = Told::default();
            let output = run().env("TALLYSTICK_FAILPOINT", &context).output().unwrap();
            assert_eq!(output.status.signal(), Some(SIGKILL), "{context} was not reached");
            hear(&mut told, &output);
            let report = ledger::check(&path).unwrap();
            assert!(report.sound, "{context}: {:?}", report.faults);
            // The same answers again, and everything else.
            let output = run().output().unwrap();
            assert!(output.status.success(), "{context}: {}", String::from_utf8_lossy(&output.stderr));
            hear(&mut told, &output);
            assert_eq!(told.stored.len() as u64, STATEMENTS, "{context}");
            let report = ledger::check(&path).unwrap();
            assert!(report.sound && ledger::is_indexed(&report), "{context}: {:?}", report.faults);
            assert!(report.journal_from > 0 && report.entries == STATEMENTS + 1, "{context}: {report:?}");
        }
    }
}

/// Kills of one ledger at moments from its start on; how many hit a process that was still writing.
fn kill_at_moments(seeded: &mut Seeded, counts: &mut Counts, unusable: &mut u64) -> u64 {
    let parent = folder::in_memory();
    let path = new_ledger(&parent);
    let mut told = Told::default();
    let mut killed = 0;
    for round in 0..KILLS {
        let mut child = writer(&path).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(seeded.below(LIFE_MS_MAX) as u64));
        child.kill().unwrap();
        let output = child.wait_with_output().unwrap();
        killed += u64::from(output.status.signal() == Some(SIGKILL));
        hear(&mut told, &output);
        *unusable += u64::from(!check(&mut told, &path, &format!("round {round}")));
    }
    finish(&path, &mut told, "at the end");
    counts.add(&told.count(&path));
    killed
}

#[test]
fn kills_at_moments_nobody_chose_lose_nothing_either() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let ledgers = if figures::long() { LEDGERS_LONG } else { 1 };
    let mut seeded = Seeded::new(5);
    let mut counts = Counts::default();
    let (mut killed, mut unusable) = (0, 0);
    for _ in 0..ledgers {
        killed += kill_at_moments(&mut seeded, &mut counts, &mut unusable);
    }
    let kills = ledgers * KILLS;
    figures::report(
        "ledger writer killed at random moments",
        format_args!(
            "{kills} kills, {killed} before it had written all, on {ledgers} ledgers: {counts}; \
             index of no use and made anew {unusable}"
        ),
    );
    assert!(killed >= 3, "only {killed} processes were killed while they wrote");
}

#[test]
fn a_point_that_does_not_exist_is_not_silently_passed() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let parent = tempfile::tempdir().unwrap();
    let path = new_ledger(&parent);
    let output = writer(&path).env("TALLYSTICK_FAILPOINT", "no-such-point").output().unwrap();
    assert!(!output.status.success());
}
