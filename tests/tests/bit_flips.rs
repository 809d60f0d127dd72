//! One bit of a copy of a ledger is flipped, position after position: the copy's next start or fsck finds it, or it
//! lies where nothing counts. No start ever signs over it, and no answer ever differs from the first one.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test stops at what it cannot do, and prints what it counted"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use collector::log::BUNDLE_LEAVES;
use evidence::ids::Digest;
use evidence::leaf::{Kind, Leaf};
use evidence::time::Timestamp;
use serde_json::Value;
use tests::journal_file::{Journal, Roots, segments};
use tests::process::{Ran, run};
use tests::seeded::Seeded;
use tests::told::Told;
use tests::{figures, folder, ledger};

/// Flipped bits of every day, and of the long form.
const FLIPS: usize = 100;
const FLIPS_LONG: usize = 1000;
/// Statements of the ledger: several segments, and a tree of several levels.
const STATEMENTS: u64 = 600;
/// What is written to a damaged copy: everything again, and one more.
const STATEMENTS_AFTER: u64 = STATEMENTS + 1;

/// What a flip lies in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    /// Records of a journal segment, or its header.
    Journal,
    /// The zeros after the last record of a segment.
    JournalTail,
    /// A file of the index.
    Index,
    /// A payload bundle.
    Bundles,
    /// The high-water mark.
    Mark,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    /// The next start refused, or made the index anew, or did not sign.
    Start,
    /// The start went on, and the damaged entry was refused when it was read.
    Read,
    /// Only fsck found it.
    Fsck,
    /// Nobody found it, and fsck compared everything: nothing is kept there.
    Harmless,
}

/// A process being started by one test holds, between fork and exec, the locks that another test has just let go.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn writer(words: &[&str]) -> Ran {
    run(env!("CARGO_BIN_EXE_ledger-writer"), words)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("a folder");
    fs::set_permissions(to, fs::metadata(from).expect("a folder").permissions()).expect("its mode");
    for entry in fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).expect("a copy");
        }
    }
}

/// Files below a folder.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

/// The ledger that is copied, and what is known of it.
struct Original {
    path: PathBuf,
    told: Told,
    rows: u64,
    /// Places that may be flipped, by part: file and range of bytes.
    places: BTreeMap<Part, Vec<(PathBuf, usize, usize)>>,
}

impl Original {
    fn new(folder: &Path) -> Self {
        let path = folder.join("original");
        ledger::create(&path, ledger::SEGMENT_BYTES).expect("a ledger");
        let written = writer(&["write", text(&path), &STATEMENTS.to_string()]);
        let mut told = Told::default();
        told.hear(&written.ok());
        // Once more, so that the index was also closed and opened.
        told.hear(&writer(&["look", text(&path)]).ok());
        told.count(&path).assert_kept("the original");
        let report = ledger::check(&path).expect("a report");
        assert!(report.sound && ledger::is_indexed(&report) && report.segments > 3, "{report:?}");
        let mut places: BTreeMap<Part, Vec<(PathBuf, usize, usize)>> = BTreeMap::new();
        for segment in segments(&path) {
            let bytes = fs::read(&segment).expect("a segment");
            let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            places.entry(Part::Journal).or_default().push((segment.clone(), 0, end));
            if end < bytes.len() {
                places.entry(Part::JournalTail).or_default().push((segment, end, bytes.len()));
            }
        }
        let mut index = Vec::new();
        files(&path.join("sled"), &mut index);
        for file in index {
            // Most of it is zeros that were never written; the rest is what a flip can harm.
            let bytes = fs::read(&file).expect("a file of the index");
            let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            if end > 0 {
                places.entry(Part::Index).or_default().push((file, 0, end));
            }
        }
        let mut bundles = Vec::new();
        files(&path.join("payload"), &mut bundles);
        for file in bundles {
            let length = fs::read(&file).expect("a bundle").len();
            places.entry(Part::Bundles).or_default().push((file, 0, length));
        }
        let mark = path.join("high-water");
        let length = fs::read(&mark).expect("the mark").len();
        places.insert(Part::Mark, vec![(mark, 0, length)]);
        Self { path, told, rows: report.index_rows, places }
    }

    /// A place of a part: every byte of the part is as likely as any other.
    fn place(&self, part: Part, seeded: &mut Seeded) -> (PathBuf, usize) {
        let places = &self.places[&part];
        let mut at = seeded.below(places.iter().map(|(_, from, to)| to - from).sum());
        for (file, from, to) in places {
            if at < to - from {
                let file = file.strip_prefix(&self.path).expect("below the original");
                return (file.to_owned(), from + at);
            }
            at -= to - from;
        }
        panic!("no place of {part:?}");
    }

    /// Fails if a damaged copy told anything that does not follow from the original and what was added to it.
    fn compare(&self, told: &Told, context: &str) {
        let mut roots = Roots::default();
        let mut expected: BTreeMap<u64, Digest> = BTreeMap::new();
        for entry in Journal::read(&self.path).entries {
            roots.push(&entry.leaf);
            expected.insert(entry.index + 1, roots.root());
        }
        if let Some(added) = told.stored.get(&STATEMENTS) {
            let (received, commitment) = (Timestamp(added.received), added.commitment);
            roots.push(&Leaf { kind: Kind::GAP, received, commitment, chain: None }.encode());
            expected.insert(added.index + 1, roots.root());
            assert_eq!(added.index, STATEMENTS + 1, "{context}");
        }
        for (size, root) in &told.checkpoints {
            assert_eq!(
                expected.get(size),
                Some(root),
                "{context}: a checkpoint of {size} was signed over it"
            );
        }
    }
}

/// The report of fsck, in a process of its own; none if that did not end in good order.
fn fsck(path: &Path) -> Option<Value> {
    let ran = writer(&["fsck", text(path)]);
    let ended = matches!(ran.code, Some(0 | 1));
    ended.then(|| serde_json::from_str(ran.out.trim()).ok()).flatten()
}

/// Flips one bit in two copies; one is checked, the other started and written to.
fn flip(original: &Original, folder: &Path, part: Part, seeded: &mut Seeded) -> Fate {
    let (file, at) = original.place(part, seeded);
    let bit = seeded.below(8);
    let context = format!("{part:?}: bit {bit} of byte {at} of {}", file.display());
    let (checked, started) = (folder.join("checked"), folder.join("started"));
    for path in [&checked, &started] {
        drop(fs::remove_dir_all(path));
        copy(&original.path, path);
        let damaged = path.join(&file);
        let mut bytes = fs::read(&damaged).expect("the file");
        bytes[at] ^= 1 << bit;
        fs::write(&damaged, bytes).expect("the file");
    }
    let report = fsck(&checked);
    let found = report.as_ref().is_none_or(|report| report["sound"] != true);

    let ran = writer(&["write", text(&started), &STATEMENTS_AFTER.to_string()]);
    let mut told = original.told.clone();
    told.opened = None;
    // An answer that differs from the first one fails here.
    told.hear(&ran.out);
    original.compare(&told, &context);
    let noticed = told.opened.as_ref().is_none_or(|opened| {
        // What follows the last whole bundle is read from the journal at every start.
        let indexed = opened.indexed_entries > opened.size % BUNDLE_LEAVES;
        opened.rebuilt.is_some() || indexed || opened.torn_bytes > 0 || !opened.signing
    });
    let fate = if noticed {
        Fate::Start
    } else if ran.code != Some(0) {
        Fate::Read
    } else if found {
        Fate::Fsck
    } else {
        Fate::Harmless
    };
    println!("{context}: {fate:?}, fsck {}", if found { "finds it" } else { "finds nothing" });
    let index_size = report.as_ref().and_then(|report| report["index_size"].as_u64());
    let behind = index_size != Some((STATEMENTS + 1) / BUNDLE_LEAVES * BUNDLE_LEAVES);
    match part {
        // These bytes are all counted on, and fsck reads all of them.
        Part::Journal | Part::Mark => assert!(found && fate != Fate::Harmless, "{context}: {fate:?}"),
        // Nobody reads them while there is an index.
        Part::Bundles => assert!(found && fate == Fate::Fsck, "{context}: {fate:?}"),
        // Nothing was ever kept there: it is taken for an unacknowledged group and cut, or for damage.
        Part::JournalTail => assert!(found || fate == Fate::Start, "{context}: {fate:?}"),
        // What fsck compared row by row is what the journal says, so the byte is in no row that is read.
        Part::Index if fate == Fate::Harmless => {
            let rows = report.as_ref().and_then(|report| report["index_rows"].as_u64());
            assert!(!behind && rows == Some(original.rows), "{context}: {rows:?} of {} rows", original.rows);
        }
        Part::Index => {}
    }
    // Whatever happened, the index can be made anew from the journal, and then everything is there.
    if part == Part::Index {
        let again = writer(&["write", text(&started), &STATEMENTS_AFTER.to_string()]);
        let healed = again.code == Some(0) && fate != Fate::Read && fate != Fate::Fsck;
        if healed {
            told.hear(&again.out);
        } else {
            fs::remove_dir_all(started.join("sled")).expect("the index");
            fs::create_dir(started.join("sled")).expect("its folder");
            told.hear(&writer(&["write", text(&started), &STATEMENTS_AFTER.to_string()]).ok());
        }
        original.compare(&told, &context);
        let report = ledger::check(&started).expect("a report");
        assert!(report.sound && ledger::is_indexed(&report), "{context}: {:?}", report.faults);
    }
    fate
}

#[test]
fn every_flipped_bit_is_found_or_harmless_and_none_is_signed_over() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let flips = if figures::long() { FLIPS_LONG } else { FLIPS };
    let folder = folder::in_memory();
    let original = Original::new(folder.path());
    let mut seeded = Seeded::new(7);
    let mut seen: BTreeMap<(Part, Fate), usize> = BTreeMap::new();
    for number in 0..flips {
        let part = match number % 10 {
            0..5 => Part::Journal,
            5 => Part::JournalTail,
            6 if number % 20 == 6 => Part::Mark,
            6 => Part::Bundles,
            _ => Part::Index,
        };
        let fate = flip(&original, folder.path(), part, &mut seeded);
        *seen.entry((part, fate)).or_default() += 1;
    }
    for (part, name) in [
        (Part::Journal, "records of the journal"),
        (Part::JournalTail, "zeros after the records of the journal"),
        (Part::Mark, "the high-water mark"),
        (Part::Bundles, "payload bundles"),
        (Part::Index, "files of the index"),
    ] {
        let count = |fate| seen.get(&(part, fate)).copied().unwrap_or_default();
        let counts = [Fate::Start, Fate::Read, Fate::Fsck, Fate::Harmless].map(count);
        let [start, read, fsck, harmless] = counts;
        let all: usize = counts.iter().sum();
        figures::report(
            &format!("bits flipped in {name}"),
            format_args!(
                "{all}: found at the next start {start}, when read {read}, by fsck only {fsck}, harmless {harmless}, \
                 signed over 0"
            ),
        );
        assert!(all > 0, "nothing was flipped in {name}");
    }
}

/// An older copy of the whole ledger, under a mark that lies elsewhere and was not put back with it.
#[test]
fn an_older_copy_does_not_sign() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = folder::in_memory();
    let (live, older) = (folder.path().join("live"), folder.path().join("older"));
    ledger::create(&live, ledger::SEGMENT_BYTES).expect("a ledger");
    let mut told = Told::default();
    told.hear(&writer(&["write", text(&live), "30"]).ok());
    copy(&live, &older);
    told.hear(&writer(&["write", text(&live), "60"]).ok());
    fs::copy(live.join("high-water"), older.join("high-water")).expect("the mark");
    let ran = writer(&["write", text(&older), "31"]);
    assert_eq!(ran.code, Some(0), "ingest goes on: {}", ran.err);
    assert!(!ran.out.contains("checkpoint"), "an older copy signed: {}", ran.out);
    let mut of_older = Told::default();
    of_older.hear(&ran.out);
    assert!(of_older.opened.is_some_and(|opened| !opened.signing));
    let report = ledger::check(&older).expect("a report");
    assert!(!report.sound && report.faults.len() == 1, "{:?}", report.faults);
    // The newer one is not harmed by any of this.
    told.count(&live).assert_kept("the newer copy");
    told.hear(&writer(&["look", text(&live)]).ok());
    figures::report("older copies restored beside a newer high-water mark", "1, refused to sign 1");
}
