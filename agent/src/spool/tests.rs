use std::io;

use evidence::envelope::Envelope;
use evidence::ids::{Digest, InstanceId};
use evidence::keys::SecretKey;
use evidence::statement::{Body, Gap, Statement};
use evidence::time::Timestamp;
use proptest::prelude::*;

use super::{History, Limits, NotMade, Owner, Receipt, Room, Spool, SpoolError};
use crate::disk::{Disk, Folder};
use crate::memory_disk::{Fault, MemoryDisk};

fn key() -> SecretKey {
    SecretKey::from_seed(&[7; 32]).unwrap()
}

fn owner() -> Owner {
    Owner { instance: InstanceId::from_bytes([1; 16]), key: *key().public() }
}

/// Small enough that every test meets the ends of segments and of the history.
const SMALL: Limits = Limits {
    bytes_max: 8000,
    reserve_bytes: 2000,
    segment_bytes_max: 700,
    history_bytes_max: 4000,
    history_file_bytes_max: 700,
};

fn receipt(sequence: u64) -> Receipt {
    Receipt { index: sequence + 100, received: Timestamp(sequence + 5000), salt: [9; 32] }
}

/// A statement at the spool's next place; `text` makes its bytes distinct.
fn sign(spool: &mut Spool<impl Disk>, minute: u64) -> Result<Envelope, SpoolError> {
    let place = spool.place()?;
    let body = Body::Gap(Gap::NotMade {
        first_minute: minute,
        last_minute: minute,
        count: 1,
        reason: proto::GapReason::SpoolFull,
    });
    let statement = Statement {
        instance: owner().instance,
        sequence: place.sequence,
        previous: place.previous,
        anchor: None,
        body,
    };
    Ok(Envelope::sign(&statement, &key()))
}

fn put(spool: &mut Spool<impl Disk>, minute: u64) -> Result<Envelope, SpoolError> {
    let envelope = sign(spool, minute)?;
    spool.put(&envelope)?;
    Ok(envelope)
}

fn prove(spool: &mut Spool<impl Disk>, sequence: u64) -> Result<(), SpoolError> {
    spool.mark_stored(sequence, receipt(sequence));
    spool.mark_proved(sequence)
}

fn filled(count: u64) -> (MemoryDisk, Vec<Envelope>) {
    let disk = MemoryDisk::default();
    let mut spool = Spool::create(disk.clone(), owner(), SMALL).unwrap();
    let made = (0..count).map(|minute| put(&mut spool, minute).unwrap()).collect();
    (disk, made)
}

fn reopened(disk: &MemoryDisk) -> Spool<MemoryDisk> {
    Spool::open(disk.clone(), owner(), SMALL).unwrap()
}

fn gap_for(spool: &Spool<impl Disk>, first: u64) -> Envelope {
    let (gap, previous) = spool.destroyed_from(first).unwrap();
    let statement = Statement {
        instance: owner().instance,
        sequence: spool.next_sequence(),
        previous,
        anchor: None,
        body: Body::Gap(gap),
    };
    Envelope::sign(&statement, &key())
}

#[test]
fn sequences_and_hashes_chain_over_restarts() {
    let (disk, made) = filled(3);
    let mut spool = reopened(&disk);
    assert_eq!(spool.kept().keys().copied().collect::<Vec<_>>(), [0, 1, 2]);
    let place = spool.place().unwrap();
    assert_eq!((place.sequence, place.previous), (3, made[2].hash()));
    assert_eq!(spool.kept()[&1].envelope, made[1].bytes());
}

#[test]
fn only_the_next_statement_is_taken() {
    let (disk, made) = filled(2);
    let mut spool = reopened(&disk);
    assert!(matches!(spool.put(&made[1]), Err(SpoolError::Order { expected: 2, found: 1 })));
    let stranger = SecretKey::from_seed(&[8; 32]).unwrap();
    let mut statement = sign(&mut spool, 9).unwrap().claimed().unwrap();
    assert!(matches!(spool.put(&Envelope::sign(&statement, &stranger)), Err(SpoolError::Envelope(_))));
    statement.previous = Digest::of(b"another");
    assert!(matches!(spool.put(&Envelope::sign(&statement, &key())), Err(SpoolError::Order { .. })));
    assert_eq!(spool.kept().len(), 2);
}

#[test]
fn a_missing_spool_is_not_an_empty_one() {
    assert!(matches!(Spool::open(MemoryDisk::default(), owner(), SMALL), Err(SpoolError::Missing)));
    let (disk, _) = filled(1);
    assert!(matches!(Spool::create(disk, owner(), SMALL), Err(SpoolError::Exists)));
}

#[test]
fn only_what_is_stored_and_proved_leaves_and_history_shows_it() {
    let (disk, made) = filled(12);
    let mut spool = reopened(&disk);
    spool.mark_proved(0).unwrap();
    assert_eq!(spool.kept().len(), 12, "proved without a receipt");
    for sequence in 0..11 {
        prove(&mut spool, sequence).unwrap();
    }
    assert_eq!(spool.kept().keys().copied().collect::<Vec<_>>(), [11]);
    let history = History::read(&disk).unwrap();
    let newest = history[&10].clone();
    assert_eq!((newest.envelope.as_slice(), newest.receipt), (made[10].bytes(), receipt(10)));
    let segments = disk.names().iter().filter(|name| name.strip_suffix(".seg").is_some()).count();
    assert!(segments <= 2, "{:?}", disk.names());
    let spool = reopened(&disk);
    assert_eq!((spool.lowest(), spool.next_sequence(), spool.lost().len()), (11, 12, 0));
}

#[test]
fn a_power_cut_that_keeps_the_mark_keeps_the_history() {
    for permille in [0, 315, 1000] {
        let (disk, made) = filled(4);
        let mut spool = reopened(&disk);
        prove(&mut spool, 3).unwrap();
        // Makes everything before it in the segment durable, the mark too.
        put(&mut spool, 4).unwrap();
        disk.cut(permille);
        let shown = reopened(&disk).proved(3).unwrap().map(|sent| sent.envelope);
        assert_eq!(shown.as_deref(), Some(made[3].bytes()), "{permille}");
    }
}

#[test]
fn history_stays_within_its_bound_and_survives_restarts() {
    let (disk, _) = filled(0);
    for sequence in 0..60 {
        let mut spool = reopened(&disk);
        put(&mut spool, sequence).unwrap();
        prove(&mut spool, sequence).unwrap();
    }
    let history = History::read(&disk).unwrap();
    let bytes: usize = disk
        .names()
        .iter()
        .filter(|name| name.starts_with("sent-"))
        .map(|name| disk.read(name).unwrap().len())
        .sum();
    assert!(bytes <= 4000, "{bytes}");
    assert!(history.len() >= 4 && history.contains_key(&59), "{:?}", history.keys());
}

#[test]
fn a_torn_end_is_cut_and_the_sequence_is_given_again() {
    let (disk, _) = filled(2);
    disk.edit("00000000.seg", |bytes| bytes.extend_from_slice(&[0, 0, 0, 40, 1, 2, 3]));
    let mut spool = reopened(&disk);
    assert!(spool.lost().is_empty());
    put(&mut spool, 3).unwrap();
    assert_eq!(reopened(&disk).kept().len(), 3);
}

#[test]
fn any_damaged_byte_loses_nothing_silently() {
    let (disk, made) = filled(4);
    let intact: Vec<(String, Vec<u8>)> =
        disk.names().into_iter().map(|name| (name.clone(), disk.read(&name).unwrap())).collect();
    for (name, bytes) in &intact {
        for at in 0..bytes.len() {
            let disk = MemoryDisk::default();
            for (name, bytes) in &intact {
                disk.clone().replace(name, bytes).unwrap();
            }
            disk.edit(name, |bytes| bytes[at] ^= 0x10);
            let spool = reopened(&disk);
            assert_eq!(spool.next_sequence(), 4, "{name} at {at}");
            for sequence in 0..4 {
                let kept = spool.kept().get(&sequence).map(|kept| kept.envelope.as_slice());
                let whole = kept == Some(made[usize::try_from(sequence).unwrap()].bytes());
                assert!(whole || spool.lost().contains(&sequence), "{name} at {at}: {sequence}");
                assert!(whole || kept.is_none());
            }
            assert!(spool.lost().len() <= 1, "{name} at {at}");
        }
    }
}

#[test]
fn lost_statements_the_collector_has_are_settled() {
    let (disk, made) = filled(4);
    damage_statement(&disk, &made[1]);
    let mut spool = reopened(&disk);
    assert_eq!(spool.lost().iter().copied().collect::<Vec<_>>(), [1]);
    spool.settle_lost_below(2).unwrap();
    assert!(spool.lost().is_empty());
    assert!(reopened(&disk).lost().is_empty(), "settled for good");
}

#[test]
fn a_full_spool_that_lost_a_statement_still_states_it() {
    let (disk, made) = filled(2);
    let mut spool = reopened(&disk);
    while put(&mut spool, 6).is_ok() {}
    assert_eq!(spool.room(), Room::Full);
    damage_statement(&disk, &made[1]);
    let mut spool = reopened(&disk);
    assert_eq!((spool.room(), spool.lost().first()), (Room::Full, Some(&1)));
    // Nothing after the loss can be sent before the gap that names it.
    let gap = gap_for(&spool, 1);
    let sequence = spool.put_destroyed(&gap).unwrap();
    assert!(spool.lost().is_empty());
    assert_eq!(spool.kept().keys().copied().collect::<Vec<_>>(), [0, sequence]);
    prove(&mut spool, 0).unwrap();
    prove(&mut spool, sequence).unwrap();
    assert_eq!(spool.room(), Room::Free);
}

fn damage_statement(disk: &MemoryDisk, envelope: &Envelope) {
    for name in disk.names() {
        let bytes = disk.read(&name).unwrap();
        if let Some(at) = bytes.windows(envelope.bytes().len()).position(|part| part == envelope.bytes()) {
            disk.edit(&name, |bytes| bytes[at + 20] ^= 1);
            return;
        }
    }
    panic!("no file holds the statement");
}

#[test]
fn lost_statements_are_named_by_a_destroyed_gap() {
    let (disk, made) = filled(4);
    damage_statement(&disk, &made[1]);
    let mut spool = reopened(&disk);
    let gap = gap_for(&spool, 1);
    let statement = gap.claimed().unwrap();
    assert_eq!(statement.previous, made[0].hash());
    let Body::Gap(Gap::Destroyed { first, last, .. }) = statement.body else { panic!("not a gap") };
    assert_eq!((first, last, statement.sequence), (1, 3, 4));
    spool.put_destroyed(&gap).unwrap();
    for spool in [spool, reopened(&disk)] {
        assert_eq!(spool.kept().keys().copied().collect::<Vec<_>>(), [0, 4]);
        assert!(spool.lost().is_empty());
        assert_eq!(spool.next_sequence(), 5);
    }
    let mut spool = reopened(&disk);
    assert_eq!(spool.place().unwrap().previous, gap.hash());
}

#[test]
fn a_missing_segment_or_chain_is_noticed() {
    let (disk, made) = filled(12);
    disk.clone().remove("00000001.seg").unwrap();
    let spool = reopened(&disk);
    assert!(!spool.lost().is_empty());
    assert_eq!(spool.lost().len() + spool.kept().len(), 12);
    let first = *spool.lost().first().unwrap();
    assert_eq!(spool.destroyed_from(first).unwrap().1, made[usize::try_from(first).unwrap() - 1].hash());
    let (disk, _) = filled(12);
    disk.clone().remove("chain").unwrap();
    assert_eq!(reopened(&disk).kept().len(), 12);
}

#[test]
fn at_the_limit_only_the_reserve_is_left_and_what_was_not_made_is_counted() {
    let (disk, _) = filled(0);
    let mut spool = reopened(&disk);
    let mut minute = 0;
    while spool.room() == Room::Free {
        put(&mut spool, minute).unwrap();
        minute += 1;
    }
    spool.note_not_made(100, proto::GapReason::SpoolFull);
    spool.note_not_made(460, proto::GapReason::SpoolFull);
    let expected =
        NotMade { first_minute: 100, last_minute: 460, count: 2, reason: proto::GapReason::SpoolFull };
    assert_eq!(spool.not_made(), Some(expected));
    let mut spool = reopened(&disk);
    assert_eq!(spool.not_made(), Some(expected));
    assert_eq!(spool.room(), Room::Reserve);
    while spool.room() == Room::Reserve {
        spool.note_not_made(500, proto::GapReason::SpoolFull);
        let envelope = sign(&mut spool, minute).unwrap();
        spool.put(&envelope).unwrap();
    }
    let envelope = sign(&mut spool, minute).unwrap();
    assert!(matches!(spool.put(&envelope), Err(SpoolError::Full)));
    assert!(spool.bytes() < SMALL.bytes_max + SMALL.reserve_bytes + 400);
    for sequence in 0..spool.next_sequence() {
        prove(&mut spool, sequence).unwrap();
    }
    assert_eq!(spool.room(), Room::Free);
}

#[test]
fn a_gap_statement_takes_the_count_back() {
    let (disk, _) = filled(0);
    let mut spool = reopened(&disk);
    spool.note_not_made(100, proto::GapReason::SpoolFull);
    put(&mut spool, 1).unwrap();
    assert_eq!(spool.not_made(), None);
    assert_eq!(reopened(&disk).not_made(), None);
}

#[test]
fn a_full_disk_keeps_the_count_until_there_is_room() {
    let (disk, _) = filled(1);
    disk.0.lock().unwrap().kind = Some(io::ErrorKind::StorageFull);
    let mut spool = reopened(&disk);
    let envelope = sign(&mut spool, 1).unwrap();
    disk.fail(0, Fault::Torn);
    let error = spool.put(&envelope).unwrap_err();
    assert_eq!(error.gap_reason(), proto::GapReason::DiskFull);
    spool.note_not_made(7, error.gap_reason());
    disk.fail(0, Fault::NotPersisted);
    assert!(spool.place().is_err(), "recovery needs the disk too");
    assert_eq!(spool.place().unwrap().sequence, 1);
    assert_eq!(spool.not_made().map(|not_made| not_made.count), Some(1));
    assert_eq!(reopened(&disk).not_made().map(|not_made| not_made.count), Some(1));
}

#[test]
fn a_real_folder_behaves_as_the_memory_does() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Folder::new(folder.path(), 0o644);
    let mut spool = Spool::create(disk.clone(), owner(), SMALL).unwrap();
    for minute in 0..10 {
        put(&mut spool, minute).unwrap();
    }
    for sequence in 0..9 {
        prove(&mut spool, sequence).unwrap();
    }
    drop(spool);
    let spool = Spool::open(disk.clone(), owner(), SMALL).unwrap();
    assert_eq!(spool.kept().keys().copied().collect::<Vec<_>>(), [9]);
    let contents = Spool::inspect(&disk, &owner()).unwrap();
    assert_eq!((contents.next, contents.kept.len(), contents.lost.len()), (10, 1, 0));
}

#[derive(Debug, Clone)]
enum Action {
    Put,
    Stored(usize),
    Proved(usize),
    NotMade,
    Fault(usize, Fault),
    Restart,
    PowerCut(usize),
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![Just(Fault::Persisted), Just(Fault::NotPersisted), Just(Fault::Torn),]
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        8 => Just(Action::Put),
        4 => (0..20usize).prop_map(Action::Stored),
        4 => (0..20usize).prop_map(Action::Proved),
        1 => Just(Action::NotMade),
        3 => (0..6usize, fault()).prop_map(|(after, fault)| Action::Fault(after, fault)),
        1 => Just(Action::Restart),
        1 => (0..=1000usize).prop_map(Action::PowerCut),
    ]
}

/// The plain model: all envelopes ever made at their sequence, and which of them were given back.
#[derive(Default)]
struct Model {
    made: Vec<Vec<u8>>,
    proved: Vec<u64>,
}

fn check(spool: &Spool<MemoryDisk>, model: &Model, disk: &MemoryDisk) {
    let next = usize::try_from(spool.next_sequence()).unwrap();
    assert_eq!(next, model.made.len());
    assert!(spool.lost().is_empty(), "faults tear ends and never the middle: {:?}", spool.lost());
    let history = History::read(disk).unwrap();
    for (sequence, envelope) in (0u64..).zip(&model.made) {
        if let Some(kept) = spool.kept().get(&sequence) {
            assert_eq!(&kept.envelope, envelope);
        } else {
            assert!(model.proved.contains(&sequence), "{sequence} left without proof");
            let newest = model.made.len() as u64 - sequence < 4;
            assert!(!newest || history.contains_key(&sequence), "{sequence} is not in the history");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_spool_is_the_model_whatever_the_disk_does(actions in prop::collection::vec(action(), 1..80)) {
        let disk = MemoryDisk::default();
        let mut spool = Spool::create(disk.clone(), owner(), SMALL).unwrap();
        let mut model = Model::default();
        let mut minute = 0;
        for action in actions {
            minute += 1;
            match action {
                Action::Put => {
                    let Ok(envelope) = sign(&mut spool, minute) else { continue };
                    // `sign` may have recovered the folder: a put that failed is decided now.
                    let done = spool.put(&envelope);
                    disk.0.lock().unwrap().fault = None;
                    if matches!(done, Err(SpoolError::Full)) {
                        continue;
                    }
                    let failed = done.is_err();
                    let place = spool.place().unwrap();
                    let persisted = place.sequence > model.made.len() as u64;
                    prop_assert!(failed || persisted);
                    if persisted {
                        prop_assert_eq!(place.previous, envelope.hash());
                        model.made.push(envelope.bytes().to_vec());
                    }
                }
                Action::Stored(pick) => {
                    let sequence = spool.kept().keys().nth(pick).copied();
                    if let Some(sequence) = sequence {
                        spool.mark_stored(sequence, receipt(sequence));
                    }
                }
                Action::Proved(pick) => {
                    let Some(sequence) = spool.kept().keys().nth(pick).copied() else { continue };
                    if spool.kept()[&sequence].receipt.is_some() {
                        model.proved.push(sequence);
                    }
                    let _either = spool.mark_proved(sequence);
                }
                Action::NotMade => spool.note_not_made(minute, proto::GapReason::SpoolFull),
                Action::Fault(after, fault) => disk.fail(after, fault),
                Action::Restart => {
                    disk.0.lock().unwrap().fault = None;
                    spool = reopened(&disk);
                }
                Action::PowerCut(permille) => {
                    disk.cut(permille);
                    spool = reopened(&disk);
                }
            }
            if disk.0.lock().unwrap().fault.is_none() {
                spool.place().unwrap();
                check(&spool, &model, &disk);
            }
        }
        disk.cut(0);
        check(&reopened(&disk), &model, &disk);
    }

    #[test]
    fn arbitrary_bytes_never_panic(segment in prop::collection::vec(any::<u8>(), 0..600),
                                   chain in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut disk = MemoryDisk::default();
        disk.replace("00000000.seg", &segment).unwrap();
        disk.replace("chain", &chain).unwrap();
        let _either = Spool::open(disk, owner(), SMALL);
    }
}
