//! The files of the public tree under flipped bits and under power cuts. What a stranger reads is right or refused, never
//! wrong; fsck and the next start find what is damaged, and the start makes it again, byte for byte.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test stops at what it cannot do, and prints what it counted"
)]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;
use tests::loop_disk::{Cut, Kind, LoopDisk};
use tests::process::{run, wait_for};
use tests::seeded::Seeded;
use tests::{figures, folder, ledger};

/// A process being started by one test holds, between fork and exec, the locks that another test has just let go.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Flipped bits of every day, and of the long form.
const FLIPS: usize = 40;
const FLIPS_LONG: usize = 600;
/// Statements of the ledger: two full bundles and a partial one.
const STATEMENTS: u64 = 530;
/// Cuts per file system of every day, and of the long form.
const CUTS: u64 = 5;
const CUTS_LONG: u64 = 100;
/// Longest time before a cut, milliseconds.
const LIFE_MS_MAX: usize = 400;

fn writer(words: &[&str]) -> tests::process::Ran {
    run(env!("CARGO_BIN_EXE_ledger-writer"), words)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// Files of a tree by their path.
fn files(root: &Path, folder: &Path, found: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files(root, &path, found);
        } else {
            let within = path.strip_prefix(root).expect("below the tree").to_owned();
            found.insert(within, fs::read(&path).expect("a file"));
        }
    }
}

fn tree(data: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let (root, mut found) = (data.join("tree"), BTreeMap::new());
    files(&root, &root, &mut found);
    found
}

/// Whether another reader, in Python and of the C2SP text alone, takes the whole tree.
fn a_stranger_takes(data: &Path) -> bool {
    let reader = Path::new(env!("CARGO_MANIFEST_DIR")).join("oracle/read_tree.py");
    let vkey = ledger::verifier_key().expect("a key").vkey();
    let mut command = Command::new("python3");
    let command = command.arg("-B").arg(reader).arg(data.join("tree")).args(["--vkey", &vkey]);
    let output = command.output().expect("python3 must run: install Python 3.11 or newer");
    let code = output.status.code();
    assert!(matches!(code, Some(0 | 1)), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    code == Some(0)
}

/// What opening the tree found, as the writer tells it: files made again, and whether the checkpoint was none.
fn repairs(out: &str) -> (u64, bool) {
    let line = out.lines().find_map(|line| line.strip_prefix("tree-opened ")).expect("the tree was opened");
    let told: Value = serde_json::from_str(line).expect("JSON");
    (told["files"].as_u64().expect("a count"), told["checkpoint"] == true)
}

#[test]
fn every_flipped_bit_of_the_tree_is_found_and_made_good() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let flips = if figures::long() { FLIPS_LONG } else { FLIPS };
    let folder = folder::in_memory();
    let data = folder.path().join("data");
    ledger::create(&data, 1 << 20).expect("a ledger");
    writer(&["write", text(&data), &STATEMENTS.to_string()]).ok();
    writer(&["tree", text(&data)]).ok();
    let good = tree(&data);
    assert!(good.len() > 7 && a_stranger_takes(&data), "{:?}", good.keys());
    assert!(ledger::check(&data).expect("a report").sound);
    let mut seeded = Seeded::new(11);
    let (mut of_tiles, mut of_checkpoint) = (0, 0);
    let total: usize = good.values().map(Vec::len).sum();
    for number in 0..flips {
        // Every byte is as likely as any other; the checkpoint, which is short, has every eighth flip besides.
        let mut at = seeded.below(total);
        let (path, bytes) = if number % 8 == 7 {
            let note = &good[Path::new("checkpoint")];
            at = seeded.below(note.len());
            (Path::new("checkpoint"), note)
        } else {
            let mut found = None;
            for (path, bytes) in &good {
                if at < bytes.len() {
                    found = Some((path.as_path(), bytes));
                    break;
                }
                at -= bytes.len();
            }
            found.expect("a byte of the tree")
        };
        let mut bad = bytes.clone();
        bad[at] ^= 1 << seeded.below(8);
        fs::write(data.join("tree").join(path), bad).expect("a file");
        let context = format!("byte {at} of {}", path.display());

        assert!(!a_stranger_takes(&data), "{context}: a stranger takes it");
        assert!(!ledger::check(&data).expect("a report").sound, "{context}: fsck finds nothing");
        let (made_again, no_checkpoint) = repairs(&writer(&["tree", text(&data)]).ok());
        if path == Path::new("checkpoint") {
            of_checkpoint += 1;
            assert!(no_checkpoint, "{context}: the start takes it for a checkpoint");
        } else {
            of_tiles += 1;
            assert_eq!((made_again, no_checkpoint), (1, false), "{context}");
        }
        assert_eq!(tree(&data), good, "{context}: not as it was");
        assert!(
            ledger::check(&data).expect("a report").sound,
            "{context}: not sound after it was made again"
        );
    }
    assert!(of_tiles > 0 && of_checkpoint > 0);
    figures::report(
        "bits flipped in files of the public tree",
        format_args!(
            "{flips} ({of_checkpoint} in the checkpoint): refused by a stranger {flips}, found by fsck {flips}, found at the \
             next start and made again as they were {flips}"
        ),
    );
}

/// Cuts the power under a writer whose tree follows. Gives cuts, those with a checkpoint in the tree, and files that the next
/// start made again.
fn cuts(kind: Kind, cuts: u64) -> (u64, u64, u64) {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = LoopDisk::new(folder.path(), kind);
    let data = disk.path().join("data");
    ledger::create(&data, 4 << 20).expect("a ledger");
    let mut seeded = Seeded::new(cuts);
    let (mut shown, mut made_again) = (0, 0);
    let mut told_size = 0;
    for cut in 0..cuts {
        let out = folder.path().join("told");
        let seed = seeded.next().to_string();
        let mut command = Command::new(env!("CARGO_BIN_EXE_ledger-writer"));
        command.args(["mix", text(&data), &seed, "tree"]).stdin(Stdio::null());
        command.stdout(File::create(&out).expect("a file"));
        command.stderr(File::create(folder.path().join("said")).expect("a file"));
        let mut child = command.spawn().expect("the writer starts");
        let told = || fs::read_to_string(&out).expect("what was told");
        wait_for("the tree to follow", || told().contains("\ntree ").then_some(()));
        sleep(Duration::from_millis(seeded.below(LIFE_MS_MAX) as u64));
        if seeded.below(3) == 0 {
            disk.write_back();
        }
        // Whole lines that were told before the cut.
        let before = told();
        let before = before.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let sizes = before.lines().filter_map(|line| line.strip_prefix("tree ")?.parse::<u64>().ok());
        told_size = sizes.max().unwrap_or(told_size);
        let how = if cut % 3 == 2 { Cut::LogFlushed } else { Cut::Sudden };
        disk.cut(how);
        let status = wait_for("the writer to end without its disk", || child.try_wait().expect("a child"));
        assert!(!status.success(), "it ended in good order on a disk that is gone");
        disk.restart();

        // As the cut left it, before anybody repairs: what is shown is whole, and what was told is shown.
        let context = format!("{kind} cut {cut}, {how:?}, told {told_size}");
        let note =
            fs::read_to_string(data.join("tree/checkpoint")).expect("a checkpoint was shown before the cut");
        let size: u64 = note.lines().nth(1).and_then(|size| size.parse().ok()).expect("a size");
        assert!(size >= told_size, "{context}: the tree shows {size}");
        assert!(a_stranger_takes(&data), "{context}: a stranger refuses the tree of {size}");
        shown += 1;
        let (files, no_checkpoint) = repairs(&writer(&["tree", text(&data)]).ok());
        assert!(!no_checkpoint, "{context}");
        made_again += files;
        let report = ledger::check(&data).expect("a report");
        assert!(report.sound && ledger::is_indexed(&report), "{context}: {:?}", report.faults);
        println!("{context}: the tree shows {size}, {files} files made again");
    }
    (cuts, shown, made_again)
}

#[test]
fn a_cut_leaves_no_tree_that_a_stranger_refuses() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let number = if figures::long() { CUTS_LONG } else { CUTS };
    for kind in [Kind::Ext4, Kind::Xfs] {
        let (cuts, shown, made_again) = cuts(kind, number);
        figures::report(
            &format!("power cuts on {kind} with a public tree"),
            format_args!(
                "{cuts}: whole to a stranger before any repair {shown}, older than what was told 0, files made again at the next \
                 start {made_again}; fsck sound {cuts}"
            ),
        );
        assert_eq!(made_again, 0, "a tile was shown before it was durable on {kind}");
    }
}
