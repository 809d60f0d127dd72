//! The power is cut under a writing ledger, again and again, on ext4 and on XFS: what was acknowledged is kept, once,
//! every checkpoint that left is a prefix of the log, and the ledger comes back by itself.
//!
//! A killed process loses nothing that the system still holds; a cut does. So cuts also come after a kill, when the
//! next process answers for what the killed one left, and during a start.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test stops at what it cannot do, and prints what it counted"
)]

use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread::sleep;
use std::time::Duration;

use tests::loop_disk::{Cut, Kind, LoopDisk};
use tests::process::{Ran, run, run_command, wait_for};
use tests::seeded::Seeded;
use tests::told::{Counts, Told};
use tests::{figures, ledger};

/// Cuts per file system of every day, and of the long form.
const CUTS: u64 = 8;
const CUTS_LONG: u64 = 200;
/// Cuts of the control, whose syncs do nothing.
const CUTS_CONTROL: u64 = 2;
/// Cuts that one ledger lives through.
const LIVES: u64 = 8;
/// Longest time before a cut, milliseconds.
const LIFE_MS_MAX: usize = 400;
/// The same of a start.
const START_MS_MAX: usize = 40;

/// One at a time: a mount that another test's child inherits cannot be taken away.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// When the power goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    /// While it writes.
    Writing,
    /// While the process after a killed one begins to answer.
    AfterKill,
    /// While it starts.
    Starting,
}

/// What was seen over all cuts of a file system.
#[derive(Default)]
struct Seen {
    cuts: u64,
    log_flushed: u64,
    after_kill: u64,
    starting: u64,
    counts: Counts,
    /// What was told while the power went.
    late: Counts,
    /// Ledgers that could not be opened, did not sign, or were not sound.
    not_back: Vec<String>,
    rebuilt: Vec<String>,
    torn: u64,
    behind: u64,
}

fn writer(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ledger-writer"));
    command.args(words).stdin(Stdio::null());
    command
}

/// A writer whose words go to a file beside the disk, so that no cut loses them.
struct Writing {
    child: Child,
    out: PathBuf,
}

impl Writing {
    fn start(beside: &Path, data: &Path, words: &[&str]) -> Self {
        let out = beside.join("told");
        let mut command = writer(&["mix", data.to_str().expect("UTF-8")]);
        command.args(words);
        command.stdout(File::create(&out).expect("a file"));
        command.stderr(File::create(beside.join("said")).expect("a file"));
        Self { child: command.spawn().expect("the writer starts"), out }
    }

    fn told(&self) -> String {
        fs::read_to_string(&self.out).expect("what was told")
    }

    fn kill(mut self) -> String {
        self.child.kill().expect("the writer can be killed");
        self.child.wait().expect("the writer ends");
        self.told()
    }

    /// Waits for its end by itself: its next sync fails.
    fn ended(mut self) -> String {
        let status =
            wait_for("the writer to end without its disk", || self.child.try_wait().expect("a child"));
        assert!(!status.success(), "it ended in good order on a disk that is gone");
        self.told()
    }
}

fn ms(seeded: &mut Seeded, most: usize) -> Duration {
    Duration::from_millis(seeded.below(most) as u64)
}

/// One life of the ledger, up to its cut. Gives what was told before the order to cut was given, and after it.
///
/// A machine without power tells nothing. Here the process lives on, and ext4 may answer a sync that ran into the cut
/// with success: what is told after the order is counted apart.
fn live(
    disk: &LoopDisk,
    data: &Path,
    moment: Moment,
    cut: Cut,
    seeded: &mut Seeded,
    no_sync: bool,
) -> (String, String) {
    let beside = disk.path().parent().expect("a folder");
    let seed = seeded.next().to_string();
    let words: &[&str] = if no_sync { &[&seed, "no-sync"] } else { &[&seed] };
    let mut told = String::new();
    let mut writing = Writing::start(beside, data, words);
    match moment {
        Moment::Starting => sleep(ms(seeded, START_MS_MAX)),
        Moment::Writing | Moment::AfterKill => {
            wait_for("the first answer", || writing.told().contains("stored").then_some(()));
            sleep(ms(seeded, LIFE_MS_MAX));
        }
    }
    if moment == Moment::AfterKill {
        told.push_str(&writing.kill());
        // The last line may be half a one.
        told.truncate(told.rfind('\n').map_or(0, |end| end + 1));
        writing = Writing::start(beside, data, words);
        // Half of the cuts come before it answers anything: what it found may be in its index and not yet on the disk.
        if seeded.below(2) == 0 {
            wait_for("the first answer", || writing.told().contains("stored").then_some(()));
            sleep(ms(seeded, START_MS_MAX) / 8);
        } else {
            sleep(ms(seeded, START_MS_MAX));
        }
    }
    if seeded.below(3) == 0 {
        disk.write_back();
        sleep(ms(seeded, 10));
    }
    let before = writing.told();
    // The line that is being written belongs to what is told late.
    let before = before.get(..before.rfind('\n').map_or(0, |end| end + 1)).unwrap_or_default().len();
    disk.cut(cut);
    let all = writing.ended();
    let (before, late) = all.split_at(before);
    told.push_str(before);
    (told, late.to_owned())
}

/// Opens by the ordinary path; why the ledger did not come back, if it did not.
fn comes_back(data: &Path, told: &mut Told) -> Result<(), String> {
    let data = data.to_str().expect("UTF-8");
    let looked: Ran = run(env!("CARGO_BIN_EXE_ledger-writer"), ["look", data]);
    if looked.code != Some(0) {
        return Err(format!("not opened: {}", looked.err));
    }
    told.hear(&looked.out);
    let opened = told.opened.as_ref().expect("what was opened");
    if !opened.signing {
        return Err(format!("opened and not signed: {}", looked.err));
    }
    let report = ledger::check(Path::new(data)).map_err(|error| format!("{error:#}"))?;
    if !report.sound || !ledger::is_indexed(&report) {
        return Err(format!("not sound after it was opened: {:?}", report.faults));
    }
    Ok(())
}

fn cuts(kind: Kind, cuts: u64) -> Seen {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = LoopDisk::new(folder.path(), kind);
    let mut seen = Seen { cuts, ..Seen::default() };
    let mut seeded = Seeded::new(cuts);
    let mut told = Told::default();
    let mut data = PathBuf::new();
    for cut in 0..cuts {
        if cut % LIVES == 0 {
            // The old one's counts stand; a new one is at once what its maker says it is.
            drop(fs::remove_dir_all(&data));
            data = disk.path().join(format!("data-{cut}"));
            let bytes = if cut % (2 * LIVES) == 0 { ledger::SEGMENT_BYTES_LONG } else { 4 << 20 };
            ledger::create(&data, bytes).expect("a ledger");
            told = Told::default();
        }
        let moment = match cut % 4 {
            1 => Moment::AfterKill,
            3 => Moment::Starting,
            _ => Moment::Writing,
        };
        let how = if cut % 3 == 2 { Cut::LogFlushed } else { Cut::Sudden };
        let before = told.clone();
        let (heard, late) = live(&disk, &data, moment, how, &mut seeded, false);
        told.hear(&heard);
        disk.restart();
        seen.log_flushed += u64::from(how == Cut::LogFlushed);
        seen.after_kill += u64::from(moment == Moment::AfterKill);
        seen.starting += u64::from(moment == Moment::Starting);
        let acknowledged = told.acknowledged() - before.acknowledged();
        println!("{kind} cut {cut}: {moment:?}, {how:?}, {acknowledged} more acknowledged");
        if let Err(why) = comes_back(&data, &mut told) {
            println!("{kind} cut {cut}: {why}");
            seen.not_back.push(format!("cut {cut}, {moment:?}, {how:?}: {why}"));
            // What it would have kept is of no use to anybody: all of it counts as lost.
            seen.counts.acknowledged += told.acknowledged();
            seen.counts.lost += told.acknowledged();
            data = disk.path().join(format!("data-{cut}-next"));
            ledger::create(&data, ledger::SEGMENT_BYTES_LONG).expect("a ledger");
            told = Told::default();
            continue;
        }
        let mut told_late = Told::default();
        told_late.hear(&late);
        let late = told_late.count(&data);
        seen.late.add(&late);
        if late.lost + late.not_prefix > 0 {
            println!("{kind} cut {cut}: told while the power went: {late}");
        }
        let opened = told.opened.clone().expect("what was opened");
        seen.torn += u64::from(opened.torn_bytes > 0);
        seen.behind += u64::from(opened.rebuilt.is_none() && opened.indexed_entries > 0);
        seen.rebuilt.extend(opened.rebuilt.map(|why| format!("cut {cut}: {why}")));
        if cut % LIVES == LIVES - 1 || cut == cuts - 1 {
            seen.counts.add(&told.count(&data));
        } else {
            told.count(&data).assert_kept(&format!("{kind} cut {cut}"));
        }
    }
    seen
}

fn report(kind: Kind, seen: &Seen) {
    let Seen { cuts, log_flushed, after_kill, starting, counts, late, not_back, rebuilt, torn, behind } =
        seen;
    let mut text =
        format!("{cuts} cuts ({log_flushed} with the file system's log flushed; {after_kill} after a ");
    write!(text, "kill, {starting} during a start): {counts}; {} logs did not come ", not_back.len())
        .expect("a string takes everything");
    write!(text, "back by themselves; index made anew {}, brought level {behind}; ", rebuilt.len())
        .expect("a string takes everything");
    write!(
        text,
        "unacknowledged groups cut {torn}; told while the power went: {}, lost {}, ",
        late.acknowledged, late.lost
    )
    .expect("a string takes everything");
    write!(text, "of {} checkpoints {} no prefix", late.checkpoints, late.not_prefix)
        .expect("a string takes everything");
    figures::report(&format!("power cuts on {kind}"), text);
    for why in rebuilt {
        println!("{kind}: index made anew: {why}");
    }
    assert_eq!(*not_back, Vec::<String>::new(), "ledgers that did not come back on {kind}");
    counts.assert_kept(&kind.to_string());
    assert!(counts.acknowledged as u64 > 3 * cuts, "hardly any load: {counts:?}");
    assert!(counts.checkpoints as u64 * 4 > *cuts, "hardly any checkpoints: {counts:?}");
}

fn number_of_cuts() -> u64 {
    if figures::long() { CUTS_LONG } else { CUTS }
}

#[test]
fn nothing_acknowledged_is_lost_on_ext4() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    report(Kind::Ext4, &cuts(Kind::Ext4, number_of_cuts()));
}

#[test]
fn nothing_acknowledged_is_lost_on_xfs() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    report(Kind::Xfs, &cuts(Kind::Xfs, number_of_cuts()));
}

/// Killed between the write of a group and its sync; the next process finds the group in the system's memory, brings its
/// index level with it, and dies too; then the power goes. The index must not know more than the journal.
#[test]
fn what_a_killed_process_left_survives_the_cut_after_the_next_start() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    for kind in [Kind::Ext4, Kind::Xfs] {
        let folder = tempfile::tempdir().expect("a folder");
        let disk = LoopDisk::new(folder.path(), kind);
        let data = disk.path().join("data");
        ledger::create(&data, ledger::SEGMENT_BYTES_LONG).expect("a ledger");
        let path = data.to_str().expect("UTF-8");
        let mut told = Told::default();
        // Groups and checkpoints take turns, a checkpoint first.
        for (words, point) in
            [(&["write", path, "9"][..], "journal-written:6"), (&["look", path], "checkpoint-signed:1")]
        {
            let mut command = writer(words);
            command.env("TALLYSTICK_FAILPOINT", point);
            let ran = run_command(command);
            assert_eq!(ran.code, None, "{point} was not reached: {}", ran.err);
            told.hear(&ran.out);
        }
        disk.cut(Cut::Sudden);
        disk.restart();
        assert_eq!(comes_back(&data, &mut told), Ok(()), "{kind}");
        told.count(&data).assert_kept(&kind.to_string());
        assert_eq!(told.stored.len(), 2, "the statements before the first kill");
        let size = told.opened.as_ref().map(|opened| opened.size);
        assert_eq!(size, Some(4), "the one that the next start found is there too");
    }
}

/// The control: with syncs that do nothing, the same cuts lose what was acknowledged. A test that cannot find that
/// would prove nothing.
#[test]
fn a_ledger_that_does_not_sync_is_caught() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    for kind in [Kind::Ext4, Kind::Xfs] {
        let folder = tempfile::tempdir().expect("a folder");
        let disk = LoopDisk::new(folder.path(), kind);
        let mut seeded = Seeded::new(1);
        let (mut lost, mut not_back) = (0, 0);
        for cut in 0..CUTS_CONTROL {
            let data = disk.path().join(format!("data-{cut}"));
            ledger::create(&data, ledger::SEGMENT_BYTES_LONG).expect("a ledger");
            let mut told = Told::default();
            told.hear(&live(&disk, &data, Moment::Writing, Cut::Sudden, &mut seeded, true).0);
            disk.restart();
            let report = ledger::check(&data);
            let size = report.as_ref().map_or(0, |report| report.size);
            let answers = told.stored.values().chain(told.acts.values());
            lost += answers.filter(|answer| answer.index >= size).count();
            not_back += usize::from(comes_back(&data, &mut told.clone()).is_err());
        }
        let text = format!("{CUTS_CONTROL} cuts: lost {lost}, {not_back} logs did not come back");
        figures::report(&format!("power cuts on {kind} without syncs (control)"), text);
        assert!(lost > 0 || not_back > 0, "cuts on {kind} lose nothing even without syncs");
    }
}
