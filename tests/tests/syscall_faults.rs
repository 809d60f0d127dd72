//! System calls of a writing process are made to fail, one at a time, by strace: EIO, ENOSPC, a write that takes nothing,
//! and a signal that interrupts. After each, the process has ended or refused, fsck finds the ledger sound, and nothing
//! acknowledged is lost.
//!
//! A call that strace makes fail did not happen. What a failed call leaves that happened all the same, or half, is
//! `collector/src/journal/faults.rs`.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test stops at what it cannot do, and prints what it counted"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tests::process::{Ran, run, run_command};
use tests::seeded::Seeded;
use tests::told::{Counts, Told};
use tests::{figures, folder, ledger};

/// Statements of a run: enough for several segments, and for a step of the indexer.
const STATEMENTS: u64 = 270;
const STATEMENTS_TEXT: &str = "270";
/// Calls that are made to fail, and how.
const CALLS: [(&str, &[&str]); 8] = [
    ("openat", &["error=EIO", "error=ENOSPC"]),
    ("write", &["error=EIO", "error=ENOSPC", "retval=0", "error=EINTR"]),
    ("pwrite64", &["error=EIO", "error=ENOSPC", "retval=0", "error=EINTR"]),
    ("fsync", &["error=EIO", "error=ENOSPC"]),
    ("fdatasync", &["error=EIO", "error=ENOSPC", "error=EINTR"]),
    ("rename", &["error=EIO", "error=ENOSPC"]),
    ("fallocate", &["error=EIO", "error=ENOSPC"]),
    ("sync_file_range", &["error=EIO"]),
];
/// Of the calls of one kind, those that fail every day, and in the long form.
const EVERY_DAY: usize = 3;
const LONG: usize = 60;

struct Traced {
    ran: Ran,
    trace: String,
}

/// Runs the writer under strace.
fn traced(folder: &Path, data: &Path, arguments: &[&str]) -> Traced {
    let trace = folder.join("trace");
    drop(fs::remove_file(&trace));
    let mut command = Command::new("strace");
    command.args(["-f", "-y", "-qq", "-s", "0", "-e", "signal=none"]).args(arguments);
    command.arg("-o").arg(&trace).arg("--").arg(env!("CARGO_BIN_EXE_ledger-writer"));
    command.arg("write").arg(data).arg(STATEMENTS.to_string());
    let ran = run_command(command);
    Traced { ran, trace: fs::read_to_string(&trace).expect("the trace") }
}

fn new_ledger(folder: &Path) -> PathBuf {
    let data = folder.join("data");
    drop(fs::remove_dir_all(&data));
    ledger::create(&data, ledger::SEGMENT_BYTES.min(4096)).expect("a ledger");
    data
}

/// The calls of a whole run that concern the ledger's files: name to the numbers that strace gives them, which it counts
/// for each thread.
fn calls(folder: &Path) -> BTreeMap<&'static str, BTreeSet<usize>> {
    let data = new_ledger(folder);
    let names: Vec<&str> = CALLS.iter().map(|(name, _)| *name).collect();
    let traced = traced(folder, &data, &["-e", &format!("trace={}", names.join(","))]);
    traced.ran.ok();
    let mut counted: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut found: BTreeMap<&'static str, BTreeSet<usize>> = BTreeMap::new();
    for line in traced.trace.lines() {
        let Some((thread, call)) = line.split_once(' ') else { continue };
        let call = call.trim_start();
        let Some((name, _)) = CALLS.iter().find(|(name, _)| call.starts_with(&format!("{name}("))) else {
            continue;
        };
        let number = counted.entry((thread, name)).or_default();
        *number += 1;
        if call.contains(data.to_str().expect("UTF-8")) {
            found.entry(name).or_default().insert(*number);
        }
    }
    found
}

#[derive(Default)]
struct Seen {
    runs: usize,
    /// Calls that failed: more than one run has when several threads reach the number.
    failed: usize,
    /// Runs in which no thread reached the number: which of its threads writes is the index's own affair.
    not_reached: usize,
    ended: usize,
    went_on: usize,
    counts: Counts,
}

/// True if a call that failed is a write or a sync of what was promised.
fn concerns_promises(line: &str) -> bool {
    let write = ["write(", "pwrite64(", "fsync(", "fdatasync("].iter().any(|call| line.contains(call));
    write && line.contains(".seg>") && !line.contains("EINTR")
}

/// One run in which call number `nth` of each thread fails.
fn fail(folder: &Path, name: &str, how: &str, nth: usize, seen: &mut Seen) {
    let data = new_ledger(folder);
    let context = format!("{name} {nth} {how}");
    let inject = format!("inject={name}:{how}:when={nth}");
    let Traced { ran, trace } = traced(folder, &data, &["-e", &format!("trace={name}"), "-e", &inject]);
    let failed: Vec<&str> = trace.lines().filter(|line| line.contains("(INJECTED)")).collect();
    if failed.is_empty() {
        ran.ok();
        seen.not_reached += 1;
        return;
    }
    let mut told = Told::default();
    told.hear(&ran.out);
    let ended = ran.code != Some(0);
    if failed.iter().any(|line| concerns_promises(line)) {
        assert!(ended, "{context}: it went on after {failed:?}");
    }
    println!(
        "{context}: {} calls, {} acknowledged, ended with {:?}",
        failed.len(),
        told.stored.len(),
        ran.code
    );
    // Before anything is repaired: the index may be behind or damaged, and nothing else may be wrong.
    let report = ledger::check(&data).expect("a report");
    let other = report.faults.iter().find(|fault| fault.part != collector::fsck::Part::Index);
    assert!(other.is_none(), "{context}: {other:?}");
    let again =
        run(env!("CARGO_BIN_EXE_ledger-writer"), [Path::new("write"), &data, Path::new(STATEMENTS_TEXT)]);
    assert_eq!(again.code, Some(0), "{context}: the next start: {}", again.err);
    told.hear(&again.out);
    assert_eq!(told.stored.len() as u64, STATEMENTS, "{context}");
    assert_eq!(told.checkpoints.last_key_value().map(|(size, _)| *size), Some(STATEMENTS + 1), "{context}");
    let report = ledger::check(&data).expect("a report");
    assert!(report.sound && ledger::is_indexed(&report), "{context}: {:?}", report.faults);
    let counts = told.count(&data);
    counts.assert_kept(&context);
    seen.runs += 1;
    seen.failed += failed.len();
    seen.ended += usize::from(ended);
    seen.went_on += usize::from(!ended);
    seen.counts.add(&counts);
}

#[test]
fn each_failing_system_call_ends_or_refuses_and_nothing_is_lost() {
    let folder = folder::in_memory();
    let found = calls(folder.path());
    let mut seeded = Seeded::new(3);
    for (name, ways) in CALLS {
        let numbers: Vec<usize> = found.get(name).into_iter().flatten().copied().collect();
        assert!(!numbers.is_empty(), "the writer makes no {name} any more: take it off the list");
        for how in ways {
            let count = if figures::long() { LONG } else { EVERY_DAY };
            // Every run reaches the first one.
            let more = (1..count).map(|_| numbers[seeded.below(numbers.len())]);
            let chosen: BTreeSet<usize> = numbers.first().copied().into_iter().chain(more).collect();
            let mut seen = Seen::default();
            for nth in chosen {
                fail(folder.path(), name, how, nth, &mut seen);
            }
            let Seen { runs, failed, not_reached, ended, went_on, counts } = seen;
            assert!(
                runs > not_reached || (runs > 0 && name == "sync_file_range"),
                "{name} {how}: hardly ever reached"
            );
            figures::report(
                &format!("{name} fails ({how})"),
                format_args!(
                    "{runs} runs, one for each of {} calls ({not_reached} not reached), {failed} failures: \
                     {ended} ended, {went_on} went on; {counts}; fsck sound {runs}",
                    numbers.len()
                ),
            );
        }
    }
}
