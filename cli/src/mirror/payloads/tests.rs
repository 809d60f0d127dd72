use std::fs;
use std::path::Path;

use evidence::acts::{Act, ActId, Body, Tombstone};
use evidence::erasure::Scope;
use evidence::ids::{Digest, InstanceId};
use evidence::keys::SecretKey;
use evidence::leaf::{CODEC_PLAIN, Chain, commitment};
use evidence::payload_record::{CODEC_ERASED, CODEC_SEALED, Stored, Subject, parse_records, push_record};
use evidence::tiles::push_entry;
use evidence::time::Timestamp;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

const ORIGIN: &str = "example.org/log/mirror";
/// In the fourth quarter of 2026.
const THEN: Timestamp = Timestamp(1_795_000_000_000);
/// In the second of 2027.
const LATER: Timestamp = Timestamp(1_811_000_000_000);
/// What may lie in no file of a copy once it is erased.
const SECRET: &[u8] = b"what the first device said";

fn instance(number: u8) -> InstanceId {
    InstanceId::from_bytes([number; 16])
}

/// An entry as the source has it: its leaf, codec and record.
type Entry = (Vec<u8>, u8, Vec<u8>);

/// A sealed statement of a device; nobody can open it here, so any bytes will do.
fn statement(number: u8, sequence: u64, received: Timestamp) -> Entry {
    let leaf = Leaf {
        kind: Kind::ATTESTATION,
        received,
        commitment: Digest::of(&sequence.to_be_bytes()),
        chain: None,
    };
    let mut record = vec![1, 0];
    Subject::statement(instance(number), sequence, 0, Some(29_000_000), Digest([number; 32]))
        .encode(&mut record);
    let text =
        if number == 1 { SECRET.to_vec() } else { format!("statement {sequence} of {number}").into_bytes() };
    record.extend([text.as_slice(), &[0; 16]].concat());
    (leaf.encode(), CODEC_SEALED, record)
}

/// A tombstone over scopes, with the record that a source shows of it.
fn tombstone(scopes: &[Scope], up_to: u64, received: Timestamp, origin: &str) -> (Entry, Vec<u8>) {
    let body = Body::Tombstone(Tombstone {
        rule: "request".parse().unwrap(),
        days: 0,
        requested_by: None,
        scopes: scopes.to_vec(),
        up_to,
    });
    let key = SecretKey::from_seed(&[3; 32]).unwrap();
    let payload = Act::sign(body, origin, ActId::from_bytes([4; 16]), received, &key).encode();
    let commitment = commitment(&[5; 32], &payload);
    let chain = Some(Chain { sequence: 0, previous: Digest::ZERO });
    let leaf = Leaf { kind: Kind::TOMBSTONE, received, commitment, chain };
    ((leaf.encode(), CODEC_SEALED, vec![0; 40]), [&[5; 32][..], &payload].concat())
}

/// Writes the entries of a log, and its payloads if wanted, as a copy has them; the tree's hashes are not looked at here.
fn write(root: &Path, entries: &[Entry], payloads: bool) -> Checkpoint {
    let mut copy = Copy::open(root).unwrap();
    for (number, bundle) in (0..).zip(entries.chunks(256)) {
        let tile = Tile::new(Content::Entries, number, u16::try_from(bundle.len()).unwrap()).unwrap();
        let (mut leaves, mut records) = (Vec::new(), Vec::new());
        for (leaf, codec, record) in bundle {
            push_entry(&mut leaves, leaf).unwrap();
            push_record(&mut records, *codec, record);
        }
        copy.put(&tile, &leaves).unwrap();
        if payloads {
            copy.put_private(&Run::path(&tile), &records).unwrap();
        }
    }
    Checkpoint { origin: ORIGIN.to_owned(), size: entries.len() as u64, root: Digest::ZERO }
}

fn run(from: &Path, to: &Path, checkpoint: &Checkpoint) -> anyhow::Result<PayloadsDone> {
    let source = PayloadSource::Folder(from.to_owned());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(level(&mut Copy::open(to).unwrap(), &source, checkpoint, &ProgressBar::hidden()))
}

fn dirs() -> (TempDir, std::path::PathBuf, std::path::PathBuf) {
    let parent = tempfile::tempdir().unwrap();
    let (from, to) = (parent.path().join("from"), parent.path().join("to"));
    (parent, from, to)
}

/// Statements of two devices, turn by turn.
fn spoken(count: u64) -> Vec<Entry> {
    (0..count).map(|n| statement(u8::try_from(n % 2).unwrap() + 1, n / 2, THEN)).collect()
}

fn holds(folder: &Path, wanted: &[u8]) -> bool {
    fs::read_dir(folder).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return holds(&path, wanted);
        }
        fs::read(&path).unwrap().windows(wanted.len()).any(|window| window == wanted)
    })
}

#[test]
fn a_copy_goes_on_where_it_stopped_and_keeps_no_older_bundle() {
    let (_parent, from, to) = dirs();
    for (size, fetched, kept) in [(100, 1, 0), (100, 0, 1), (300, 2, 0), (700, 2, 1), (700, 0, 3)] {
        let entries = spoken(size);
        let checkpoint = write(&from, &entries, true);
        write(&to, &entries, false);
        let done = run(&from, &to, &checkpoint).unwrap();
        assert_eq!((done.fetched, done.kept, done.rewritten), (fetched, kept, 0), "{size}");
        let (full, width) = evidence::tiles::row(size, 0);
        for number in 0..=full {
            let width = if number == full { width } else { 256 };
            let path = format!("payload/{}", bundle_path(number, width));
            assert_eq!(fs::read(to.join(&path)).unwrap(), fs::read(from.join(&path)).unwrap(), "{path}");
        }
        assert!(!to.join("payload/000.p").exists() || size == 100, "{size}");
        let sums = fs::read_to_string(to.join("payload.sums")).unwrap();
        assert_eq!(sums.lines().count() as u64, full + 1, "{sums}");
    }
}

#[cfg(unix)]
#[test]
fn payloads_are_their_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let (_parent, from, to) = dirs();
    let entries = spoken(300);
    let checkpoint = write(&from, &entries, true);
    write(&to, &entries, false);
    run(&from, &to, &checkpoint).unwrap();
    for (path, mode) in [("payload", 0o700), ("payload/000", 0o600), ("payload/001.p/44", 0o600)] {
        assert_eq!(fs::metadata(to.join(path)).unwrap().permissions().mode() & 0o777, mode, "{path}");
    }
}

#[test]
fn what_changed_on_disk_is_fetched_again_and_what_the_source_changed_is_refused() {
    let (_parent, from, to) = dirs();
    let entries = spoken(600);
    let checkpoint = write(&from, &entries, true);
    write(&to, &entries, false);
    run(&from, &to, &checkpoint).unwrap();
    let own = to.join("payload/001");
    let good = fs::read(&own).unwrap();
    // Of a sealed record nothing but the sum shows it.
    let middle = good.windows(9).position(|window| window == b"statement").unwrap();
    for at in [0, 4, 7, 30, middle, good.len() - 1] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(&own, &bad).unwrap();
        let done = run(&from, &to, &checkpoint).unwrap();
        assert_eq!((done.fetched, done.kept), (1, 2), "{at}");
        assert_eq!(fs::read(&own).unwrap(), good);
    }
    for bad in [&good[..good.len() - 1], &[], &[&good[..], &[0; 5]].concat()] {
        fs::write(&own, bad).unwrap();
        assert_eq!(run(&from, &to, &checkpoint).unwrap().fetched, 1);
        // The same bytes from the source, when the copy has none.
        fs::remove_file(&own).unwrap();
        fs::write(from.join("payload/001"), bad).unwrap();
        let error = format!("{:#}", run(&from, &to, &checkpoint).unwrap_err());
        assert!(error.contains("payload bundle 1 of the source"), "{error}");
        assert!(!own.exists());
        fs::write(from.join("payload/001"), &good).unwrap();
        run(&from, &to, &checkpoint).unwrap();
    }
    fs::remove_file(&own).unwrap();
    fs::remove_file(from.join("payload/001")).unwrap();
    let error = format!("{:#}", run(&from, &to, &checkpoint).unwrap_err());
    assert!(error.contains("is missing"), "{error}");
}

#[test]
fn a_plain_record_must_be_what_its_leaf_commits_to() {
    let (salt, payload) = ([9; 32], b"a policy");
    let leaf = Leaf {
        kind: Kind::POLICY,
        received: THEN,
        commitment: commitment(&salt, payload),
        chain: Some(Chain { sequence: 0, previous: Digest::ZERO }),
    };
    let leaf = leaf.encode();
    let bundle = |payload: &[u8]| {
        let mut bytes = Vec::new();
        push_record(&mut bytes, CODEC_PLAIN, &[&salt[..], payload].concat());
        bytes
    };
    let none = Erased::new(ORIGIN);
    examine(0, &[&leaf], &bundle(payload), &none).unwrap();
    examine(0, &[&leaf], &bundle(b"a polici"), &none).unwrap_err();
}

#[test]
fn what_a_tombstone_names_is_in_no_byte_after_the_next_run_and_stays_out() {
    let (_parent, from, to) = dirs();
    let mut entries = spoken(599);
    let checkpoint = write(&from, &entries, true);
    write(&to, &entries, false);
    run(&from, &to, &checkpoint).unwrap();
    assert!(holds(&to, SECRET));
    let gone = Scope::device(instance(1), THEN);
    let (entry, record) = tombstone(&[gone], 599, LATER, ORIGIN);
    entries.push(entry);
    // What the device says in a later quarter stays.
    entries.push(statement(2, 300, LATER));
    let checkpoint = write(&from, &entries, true);
    write(&to, &entries, false);
    // What was erased is not known, so nothing goes on.
    let error = format!("{:#}", run(&from, &to, &checkpoint).unwrap_err());
    assert!(error.contains("does not show tombstone 599"), "{error}");
    let mut source = Copy::open(&from).unwrap();
    let mut bad = record.clone();
    bad[40] ^= 1;
    source.put_private("tombstones/599", &bad).unwrap();
    drop(source);
    let error = format!("{:#}", run(&from, &to, &checkpoint).unwrap_err());
    assert!(error.contains("is not what the log's entry 599 commits to"), "{error}");
    Copy::open(&from).unwrap().put_private("tombstones/599", &record).unwrap();

    let done = run(&from, &to, &checkpoint).unwrap();
    assert_eq!((done.rewritten, done.fetched, done.tombstones, done.records_erased), (2, 1, 1, 300));
    assert!(!holds(&to, SECRET));
    let bundle = fs::read(to.join("payload/000")).unwrap();
    for (n, (codec, stored)) in (0..).zip(parse_records(&bundle).unwrap()) {
        assert_eq!(codec == CODEC_ERASED, n % 2 == 0, "{n}");
        if codec == CODEC_ERASED {
            let parsed = Stored::parse(Kind::ATTESTATION, codec, stored).unwrap();
            let Stored::Erased { tombstone: 599, subject: Subject::Statement { sequence, .. } } = parsed
            else {
                panic!("{parsed:?}")
            };
            assert_eq!(sequence, n / 2);
        }
    }
    // Fetched again from a source that still has it, and from the tombstone that the copy keeps.
    fs::remove_file(to.join("payload/001")).unwrap();
    fs::remove_file(from.join("tombstones/599")).unwrap();
    let done = run(&from, &to, &checkpoint).unwrap();
    assert_eq!((done.fetched, done.kept, done.records_erased), (1, 2, 300));
    assert!(holds(&from, SECRET) && !holds(&to, SECRET));
    // A record that is erased without a tombstone is a hole that a source would like to have.
    let mut bytes = Vec::new();
    for (n, (codec, stored)) in (0..).zip(parse_records(&bundle).unwrap()) {
        let subject =
            Stored::parse(Kind::ATTESTATION, codec, stored).unwrap().subject(Kind::ATTESTATION).unwrap();
        let hole = evidence::payload_record::erased_record(599, &subject);
        let (codec, stored) = if n == 1 { (CODEC_ERASED, hole.as_slice()) } else { (codec, stored) };
        push_record(&mut bytes, codec, stored);
    }
    fs::write(from.join("payload/000"), bytes).unwrap();
    fs::remove_file(to.join("payload/000")).unwrap();
    let error = format!("{:#}", run(&from, &to, &checkpoint).unwrap_err());
    assert!(error.contains("no tombstone of it"), "{error}");
}

#[test]
fn a_tombstone_of_another_log_or_of_a_quarter_that_is_not_over_erases_nothing() {
    let gone = Scope::device(instance(1), THEN);
    for (received, origin, why) in
        [(THEN, ORIGIN, "no tombstone of that time"), (LATER, "example.org/log/other", "it is of the log")]
    {
        let ((leaf, ..), record) = tombstone(&[gone], 5, received, origin);
        let mut erased = Erased::new(ORIGIN);
        let error = erased.take(5, &Leaf::parse(&leaf).unwrap(), &record).unwrap_err();
        assert!(error.to_string().contains(why), "{error:#}");
    }
}

proptest! {
    /// Whatever a source sends, the answer is an error or a bundle of as many records without any that is erased.
    #[test]
    fn no_bytes_of_a_source_pass_for_a_bundle_that_holds_what_is_erased(
        cut in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), flip in any::<u8>(),
    ) {
        let entries = spoken(20);
        let leaves: Vec<&[u8]> = entries.iter().map(|(leaf, ..)| leaf.as_slice()).collect();
        let mut bytes = Vec::new();
        for (_, codec, record) in &entries {
            push_record(&mut bytes, *codec, record);
        }
        let place = at.index(bytes.len());
        bytes[place] ^= flip;
        bytes.truncate(cut.index(bytes.len() * 4).max(bytes.len() / 2));
        let ((leaf, ..), record) = tombstone(&[Scope::device(instance(1), THEN)], 20, LATER, ORIGIN);
        let mut erased = Erased::new(ORIGIN);
        erased.take(20, &Leaf::parse(&leaf).unwrap(), &record).unwrap();
        if let Ok(examined) = examine(0, &leaves, &bytes, &erased) {
            let kept = examined.rewritten.unwrap_or(bytes);
            let records = parse_records(&kept).unwrap();
            prop_assert_eq!(records.len(), 20);
            // One flip can turn one device's record into another's, and no more.
            let left = kept.windows(SECRET.len()).filter(|window| *window == SECRET).count();
            prop_assert!(left <= 1, "{}", left);
        }
    }
}
