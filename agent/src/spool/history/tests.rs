use evidence::ids::{DeviceId, Digest, InstanceId};
use evidence::keys::SecretKey;
use evidence::statement::{Attestation, Body, Statement};

use super::*;
use crate::memory_disk::MemoryDisk;

/// 2026-11-22.
const DAY: u64 = 20_779;
const LIMITS: Limits = Limits {
    bytes_max: 0,
    reserve_bytes: 0,
    segment_bytes_max: 0,
    history_bytes_max: 1 << 20,
    history_file_bytes_max: 1 << 14,
};

fn day(number: u64) -> Timestamp {
    Timestamp((DAY + number) * DAY_MS)
}

/// A statement by its bytes alone, received on a day.
fn record(sequence: u64, on: u64) -> Record {
    let receipt = Receipt { index: sequence, received: day(on), salt: [1; 32] };
    Record::Sent { sequence, receipt, envelope: vec![b'e'; 100] }
}

/// One that says itself when it was made.
fn dated(sequence: u64, received: u64, made: u64) -> Record {
    let digest = || Digest::of(b"any").as_bytes().to_vec();
    let fields = proto::Attestation {
        device: DeviceId::from_bytes([2; 16]).to_string(),
        boot: digest(),
        boot_minutes: 1,
        wall_minutes: day(made).minutes(),
        trigger: proto::Trigger::Schedule.into(),
        agent_version: "test".to_owned(),
        agent_digest: digest(),
        catalogue_digest: digest(),
        configuration_digest: digest(),
        asset: None,
        answers_digest: digest(),
        observations: Vec::new(),
    };
    let statement = Statement {
        instance: InstanceId::from_bytes([1; 16]),
        sequence,
        previous: if sequence == 0 { Digest::ZERO } else { Digest::of(b"before") },
        anchor: None,
        body: Body::Attestation(Box::new(Attestation { device: DeviceId::from_bytes([2; 16]), fields })),
    };
    let envelope = Envelope::sign(&statement, &SecretKey::from_seed(&[7; 32]).unwrap());
    assert!(envelope.claimed().is_ok(), "it can be read back");
    let envelope = envelope.bytes().to_vec();
    let receipt = Receipt { index: sequence, received: day(received), salt: [1; 32] };
    Record::Sent { sequence, receipt, envelope }
}

fn kept(disk: &MemoryDisk) -> Vec<u64> {
    History::reader(disk).unwrap().sequences().collect()
}

#[test]
fn what_is_older_than_its_time_goes_file_by_file_and_nothing_before() {
    let mut disk = MemoryDisk::default();
    let mut history = History::open(&disk).unwrap();
    for on in 0..600 {
        history.add(&mut disk, &record(on, on), &LIMITS).unwrap();
        let oldest = kept(&disk)[0];
        assert_eq!(kept(&disk), (oldest..=on).collect::<Vec<_>>());
        let age = on - oldest;
        assert!(age >= HISTORY_DAYS.min(on), "on day {on} statement {oldest} is the oldest");
        assert!(age <= HISTORY_DAYS + HISTORY_FILE_DAYS, "on day {on} statement {oldest} is still there");
    }
}

#[test]
fn no_room_drops_the_oldest_and_the_bound_holds() {
    let limits = Limits { history_bytes_max: 3000, history_file_bytes_max: 500, ..LIMITS };
    let mut disk = MemoryDisk::default();
    let mut history = History::open(&disk).unwrap();
    for sequence in 0..100 {
        history.add(&mut disk, &record(sequence, 0), &limits).unwrap();
        let bytes: u64 = disk.names().iter().map(|name| disk.size(name).unwrap()).sum();
        assert!(bytes <= limits.history_bytes_max, "{bytes}");
    }
    let kept = kept(&disk);
    assert_eq!(kept.last(), Some(&99));
    assert!(kept.len() > 12, "most of the room is used: {kept:?}");
}

#[test]
fn one_clock_that_runs_ahead_drops_nothing() {
    for ahead in [dated(1, 5000, 1), dated(1, 1, 5000)] {
        let mut disk = MemoryDisk::default();
        let mut history = History::open(&disk).unwrap();
        history.add(&mut disk, &dated(0, 0, 0), &LIMITS).unwrap();
        history.add(&mut disk, &ahead, &LIMITS).unwrap();
        history.begin(&mut disk, &ahead).unwrap();
        history.drop_oldest(&mut disk, moment(&ahead), &LIMITS).unwrap();
        assert_eq!(kept(&disk), [0, 1]);
    }
    // Both together are believed.
    let mut disk = MemoryDisk::default();
    let mut history = History::open(&disk).unwrap();
    history.add(&mut disk, &dated(0, 0, 0), &LIMITS).unwrap();
    history.add(&mut disk, &dated(1, 5000, 5000), &LIMITS).unwrap();
    assert_eq!(kept(&disk), [1]);
}

#[test]
fn restarts_and_torn_ends_go_on_in_the_same_file() {
    let mut disk = MemoryDisk::default();
    for sequence in 0..5 {
        let mut history = History::open(&disk).unwrap();
        history.add(&mut disk, &record(sequence, sequence), &LIMITS).unwrap();
        disk.edit("sent-00000000.log", |bytes| bytes.extend_from_slice(&[0, 0, 0, 40, 1, 2, 3]));
    }
    assert_eq!(kept(&disk), [0, 1, 2, 3, 4]);
    assert_eq!(disk.names(), ["sent-00000000.log"]);
    // Across restarts a file does not cover more than its days.
    let mut history = History::open(&disk).unwrap();
    history.add(&mut disk, &record(5, HISTORY_FILE_DAYS + 1), &LIMITS).unwrap();
    assert_eq!(disk.names(), ["sent-00000000.log", "sent-00000001.log"]);
}

#[test]
fn a_reader_gives_each_once_in_order_whatever_the_files_hold() {
    let limits = Limits { history_file_bytes_max: 500, ..LIMITS };
    let mut disk = MemoryDisk::default();
    let mut history = History::open(&disk).unwrap();
    for sequence in [3, 1, 2, 0, 7, 3, 5] {
        history.add(&mut disk, &record(sequence, sequence), &limits).unwrap();
    }
    assert!(disk.names().len() > 2);
    let mut reader = History::reader(&disk).unwrap();
    let sequences: Vec<u64> = reader.sequences().collect();
    assert_eq!(sequences, [0, 1, 2, 3, 5, 7]);
    for sequence in sequences {
        assert_eq!(reader.get(sequence).unwrap().unwrap().receipt.index, sequence);
        assert_eq!(History::find(&disk, sequence).unwrap().unwrap().receipt.index, sequence);
    }
    assert_eq!((reader.get(4).unwrap(), History::find(&disk, 4).unwrap()), (None, None));
    // An agent that runs drops a file between two reads.
    let mut reader = History::reader(&disk).unwrap();
    disk.clone().remove("sent-00000000.log").unwrap();
    assert_eq!(reader.get(1).unwrap(), None);
    assert!(reader.get(5).unwrap().is_some());
}
