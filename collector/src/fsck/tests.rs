use std::fs;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use evidence::leaf::{Leaf, Stream, commitment};
use evidence::note::VerifierKey;

use super::*;
use crate::data_keys::Standing;
use crate::ledger::tests::{Bench, In, ORIGIN, log_key};
use crate::payload_codec::{self, Opened, Stored, Subject, seal};
use crate::store::Store;
use crate::store::rows;
use crate::store::sled::SledStore;

/// Entries of the log that [`bench`] makes.
const SIZE: u64 = 845;
/// Those in its index, which has two epochs.
const INDEXED: u64 = 768;
const CACHE: u64 = 1 << 20;

/// A log over several segments and epochs with entries of every stream, closed.
fn bench() -> Bench {
    let mut bench = Bench::new();
    let running = bench.open(In::Sled).unwrap();
    running.fill(1, 400);
    for kind in [Kind::TOKEN, Kind::POLICY, Kind::PLAN, Kind::DETAIL] {
        running.act(kind, &[7; 200]).unwrap();
    }
    running.fill(2, 440);
    running.published();
    bench.check(&running);
    assert!(running.ledger.snapshot().streams.iter().all(|head| head.entries > 0));
    running.stop();
    bench
}

fn report(bench: &Bench) -> Report {
    let key = VerifierKey::new(ORIGIN, *log_key().public()).unwrap();
    let high_water = bench.path().join("high-water");
    let options = Options {
        log_keys: &[key],
        origin: Some(ORIGIN),
        high_water: Some(&high_water),
        epoch_leaves: crate::ledger::tests::EPOCH_LEAVES,
        progress: None,
    };
    check(&DataDir::open(&bench.path()).unwrap(), &options).unwrap()
}

fn segment(bench: &Bench, number: u64) -> PathBuf {
    bench.path().join(format!("journal/{number:08}.seg"))
}

/// Position of each record of a segment.
fn offsets(bytes: &[u8]) -> Vec<(usize, Record)> {
    let (mut at, mut found) = (HEADER, Vec::new());
    while let Parsed::Record(record, length) = parse_record(&bytes[at..]) {
        found.push((at, record));
        at += length;
    }
    found
}

#[test]
fn a_sound_ledger_is_sound_and_nothing_is_changed() {
    let bench = bench();
    let before: Vec<_> = (0..2).map(|number| fs::read(segment(&bench, number)).unwrap()).collect();
    let found = report(&bench);
    assert!(found.sound, "{:?}", found.faults);
    assert_eq!((found.size, found.entries, found.torn_bytes), (SIZE, SIZE, 0));
    assert!(found.segments >= 2 && found.checkpoints > 0 && found.signatures_checked);
    // Chunks of leaves and payloads, runs, stream entries; and tiles, heads, instances, checkpoint.
    assert!(found.index_rows > 2 * INDEXED / 16 + INDEXED / 24 + 5, "{}", found.index_rows);
    assert_eq!((found.index_size, found.payload_bundles), (INDEXED, INDEXED / 256));
    let json: serde_json::Value = serde_json::from_str(&serde_json::to_string(&found).unwrap()).unwrap();
    assert_eq!(json["size"], SIZE);
    let after: Vec<_> = (0..2).map(|number| fs::read(segment(&bench, number)).unwrap()).collect();
    assert_eq!(before, after);
    let running = bench.open(In::Sled).unwrap();
    assert_eq!(running.ledger.snapshot().root.hex(), found.root);
    running.stop();
}

#[test]
fn an_index_that_is_behind_or_gone_is_no_fault_and_one_that_is_ahead_is() {
    let bench = bench();
    let index = bench.path().join("sled");
    let kept = bench.parent.path().join("kept");
    fs::rename(&index, &kept).unwrap();
    fs::create_dir(&index).unwrap();
    let found = report(&bench);
    assert!(found.sound && found.index_size == 0 && found.index_rows == 0, "{:?}", found.faults);
    fs::remove_dir_all(&index).unwrap();
    fs::rename(&kept, &index).unwrap();
    // The newest epoch alone may be gone: the one before it goes on.
    fs::rename(index.join("epoch-00000001"), &kept).unwrap();
    let found = report(&bench);
    assert!(found.sound && found.index_size == 512 && found.index_rows > 0, "{:?}", found.faults);
    fs::rename(&kept, index.join("epoch-00000001")).unwrap();
    let store = SledStore::open(&index.join("epoch-00000001"), CACHE).unwrap();
    let good = rows::Head::parse(&store.value(rows::HEAD_KEY).unwrap().unwrap()).unwrap();
    let ahead = rows::Head { size: good.size + 256, ..good };
    store.apply(&[(rows::HEAD_KEY.to_vec(), ahead.encode())]).unwrap();
    drop(store);
    let found = report(&bench);
    assert!(found.faults.iter().any(|fault| fault.what.contains("holds 1024 entries")), "{:?}", found.faults);
}

#[test]
fn every_damaged_record_is_named_by_segment_and_offset() {
    let bench = bench();
    for number in 0..2 {
        let path = segment(&bench, number);
        let good = fs::read(&path).unwrap();
        for (at, record) in offsets(&good).into_iter().step_by(3) {
            let mut bad = good.clone();
            bad[at + 15] ^= 0x10;
            fs::write(&path, &bad).unwrap();
            let found = report(&bench);
            assert!(!found.sound);
            let first = &found.faults[0];
            assert_eq!(
                (first.part, first.segment, first.offset),
                (Part::Journal, Some(number), Some(at as u64)),
                "{record:?}: {:?}",
                found.faults
            );
            if let Record::Entry(entry) = record {
                assert_eq!(first.index, Some(entry.index));
            }
        }
        fs::write(&path, &good).unwrap();
    }
    assert!(report(&bench).sound);
}

#[test]
fn two_damages_are_both_found() {
    let bench = bench();
    let path = segment(&bench, 0);
    let mut bytes = fs::read(&path).unwrap();
    let places = offsets(&bytes);
    let (first, second) = (places[4].0, places[places.len() - 6].0);
    bytes[first + 12] ^= 1;
    bytes[second + 12] ^= 1;
    fs::write(&path, bytes).unwrap();
    let offsets: Vec<_> = report(&bench)
        .faults
        .iter()
        .filter(|fault| fault.part == Part::Journal)
        .filter_map(|fault| fault.offset)
        .collect();
    assert_eq!(offsets, [first as u64, second as u64]);
}

/// Replaces an entry by one whose record is intact: only the hashes can tell.
#[test]
fn a_rewritten_entry_with_a_right_checksum_is_found() {
    let bench = bench();
    let path = segment(&bench, 0);
    let bytes = fs::read(&path).unwrap();
    let (at, record) = offsets(&bytes).into_iter().filter(|(_, record)| !record.is_seal()).nth(3).unwrap();
    let Record::Entry(entry) = record else { unreachable!() };
    let keys = DataKeys::inspect(&bench.path().join("keys"), &bench.path().join("data-keys")).unwrap();
    let (leaf, codec) = (Leaf::parse(&entry.leaf).unwrap(), entry.codec);
    let opened = payload_codec::read(Some(&keys), entry.index, &leaf, &entry.leaf, codec, &entry.stored);
    let Ok(Opened::Payload { salt, payload }) = opened else { panic!("{opened:?}") };
    let Ok(Stored::Sealed(sealed)) = Stored::parse(leaf.kind, codec, &entry.stored) else { panic!() };
    let scope = sealed.subject.scope(leaf.kind.stream, leaf.received).unwrap();
    let Standing::Kept(key) = keys.standing(&scope).unwrap() else { panic!() };
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    let write = |leaf: &[u8], subject: &Subject, payload: &[u8]| {
        let stored = seal(&key, entry.index, leaf, subject, 0, payload).unwrap();
        assert_eq!(stored.len(), entry.stored.len());
        let mut group = crate::journal::Group::new();
        group.push_stored(entry.index, leaf, codec, &[&stored]);
        file.write_all_at(group.bytes(), at as u64).unwrap();
    };
    // Another payload under the same leaf.
    let mut other = payload.clone();
    *other.last_mut().unwrap() ^= 1;
    write(&entry.leaf, &sealed.subject, &other);
    let found = report(&bench);
    let fault = &found.faults[0];
    assert_eq!((fault.part, fault.index, fault.offset), (Part::Entry, Some(entry.index), Some(at as u64)));
    // Another leaf and payload that agree with each other.
    let other_leaf = Leaf { commitment: commitment(&salt, &other), ..leaf };
    let link = DeviceLink::of_payload(leaf.kind, &other).unwrap().unwrap();
    write(&other_leaf.encode(), &payload_codec::statement_subject(&link), &other);
    let found = report(&bench);
    assert!(found.faults.iter().any(|fault| fault.what.contains("another root")), "{:?}", found.faults);
    assert!(found.faults.iter().any(|fault| fault.part == Part::Checkpoint));
    assert!(found.faults.iter().any(|fault| fault.part == Part::Chain));
}

#[test]
fn a_torn_tail_is_no_fault_and_a_missing_segment_is_one() {
    let bench = bench();
    let numbers = crate::journal::segment_numbers(&bench.path().join("journal")).unwrap();
    let last = segment(&bench, *numbers.last().unwrap());
    let bytes = fs::read(&last).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let mut group = crate::journal::Group::new();
    group.push_entry(SIZE, &[1; 43], &[2; 32], &[3; 100]);
    fs::OpenOptions::new().write(true).open(&last).unwrap().write_all_at(group.bytes(), end as u64).unwrap();
    let found = report(&bench);
    assert!(found.sound, "{:?}", found.faults);
    assert_eq!(found.torn_bytes, group.bytes().len() as u64);
    fs::rename(segment(&bench, 1), bench.parent.path().join("kept")).unwrap();
    let found = report(&bench);
    assert!(found.faults.iter().any(|fault| fault.segment == Some(1)), "{:?}", found.faults);
    fs::rename(bench.parent.path().join("kept"), segment(&bench, 1)).unwrap();
    fs::remove_file(&last).unwrap();
    let found = report(&bench);
    assert!(found.faults.iter().any(|fault| fault.segment == numbers.last().copied()), "{:?}", found.faults);
}

#[test]
fn index_rows_that_are_missing_other_or_too_many_are_found() {
    let bench = bench();
    let keys = [
        (0, rows::leaves_key(3)),
        (0, rows::payloads_key(31, 0)),
        (1, rows::payloads_key(40, 1)),
        (0, rows::tile_key(1, 0)),
        (1, rows::tile_key(2, 0)),
        (1, rows::stream_key(Stream::Rules)),
        (0, rows::stream_entry_key(Stream::Rules, 0)),
        (0, rows::run_key(&crate::ledger::tests::instance(1), 24)),
        (0, rows::instance_key(&crate::ledger::tests::instance(1))),
        (1, rows::instance_key(&crate::ledger::tests::instance(2))),
        (1, rows::CHECKPOINT_KEY.to_vec()),
        (1, rows::run_key(&crate::ledger::tests::instance(3), 0)),
    ];
    for (epoch, key) in keys {
        let path = bench.path().join(format!("sled/epoch-{epoch:08}"));
        let store = SledStore::open(&path, CACHE).unwrap();
        let good = store.value(&key).unwrap();
        store.apply(&[(key.clone(), vec![1; 48])]).unwrap();
        store.sync().unwrap();
        drop(store);
        let found = report(&bench);
        assert_eq!(found.faults.len(), 1, "{key:?} {:?}", found.faults);
        assert_eq!(found.faults[0].part, Part::Index);
        let db = ::sled::open(&path).unwrap();
        db.remove(&key).unwrap();
        drop(db);
        let found = report(&bench);
        if let Some(good) = good {
            let what = if key == rows::CHECKPOINT_KEY { "newest" } else { "missing" };
            assert!(
                found.faults.len() == 1 && found.faults[0].what.contains(what),
                "{key:?} {:?}",
                found.faults
            );
            SledStore::open(&path, CACHE).unwrap().apply(&[(key, good)]).unwrap();
        }
        let found = report(&bench);
        assert!(found.sound, "{:?}", found.faults);
    }
}

#[test]
fn payload_bundles_that_are_missing_or_other_are_found() {
    let bench = bench();
    let path = bench.path().join("payload/001");
    let good = fs::read(&path).unwrap();
    let mut other = good.clone();
    other[good.len() / 2] ^= 1;
    fs::write(&path, other).unwrap();
    let found = report(&bench);
    assert!(found.faults.len() == 1 && found.faults[0].what.contains("other bytes"), "{:?}", found.faults);
    fs::remove_file(&path).unwrap();
    let found = report(&bench);
    assert!(found.faults.len() == 1 && found.faults[0].what.contains("missing"), "{:?}", found.faults);
    fs::write(&path, good).unwrap();
    assert!(report(&bench).sound);
}

#[test]
fn checkpoints_of_another_key_and_marks_of_another_log_are_found() {
    let bench = bench();
    let key = evidence::keys::SecretKey::from_seed(&[1; 32]).unwrap();
    let other = [VerifierKey::new(ORIGIN, *key.public()).unwrap()];
    let dir = DataDir::open(&bench.path()).unwrap();
    let found = check(&dir, &Options { log_keys: &other, ..Options::default() }).unwrap();
    assert_eq!(
        found.faults.iter().filter(|fault| fault.part == Part::Checkpoint).count() as u64,
        found.checkpoints
    );
    drop(dir);
    let mark = bench.path().join("high-water");
    for (text, what) in [
        ("846 ", "not in the journal"),
        ("845 ", "not in the journal"),
        ("0 ", "not in the journal"),
        ("x", "not of the form"),
    ] {
        fs::write(&mark, format!("{text}{}\n", Digest::of(b"other"))).unwrap();
        let found = report(&bench);
        assert!(found.faults.len() == 1 && found.faults[0].what.contains(what), "{:?}", found.faults);
    }
}

#[test]
fn a_fault_says_its_part_as_the_manual_does_and_where_it_lies() {
    let mut fault = Fault {
        part: Part::HighWater,
        segment: None,
        offset: None,
        index: None,
        what: "is missing".to_owned(),
    };
    assert_eq!(fault.to_string(), "high-water: is missing");
    (fault.part, fault.segment, fault.offset, fault.index) = (Part::Entry, Some(3), Some(700), Some(12));
    assert_eq!(fault.to_string(), "entry, segment 3, byte 700, entry 12: is missing");
    for part in [
        Part::Journal,
        Part::Entry,
        Part::Chain,
        Part::Checkpoint,
        Part::Index,
        Part::HighWater,
        Part::Tree,
        Part::Payloads,
    ] {
        assert_eq!(serde_json::to_value(part).unwrap(), part.as_str());
    }
}
