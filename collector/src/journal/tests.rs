use std::fs;
use std::os::unix::fs::FileExt;

use proptest::prelude::*;

use super::faults::{Call, Fault, FaultyIo, Persisted};
use super::*;

const SEGMENT_BYTES: u64 = 8192;

fn system() -> Arc<dyn Io> {
    Arc::new(SystemIo)
}

fn create(dir: &Path) -> Journal {
    Journal::create(dir, SEGMENT_BYTES, system()).unwrap()
}

fn open(dir: &Path) -> Result<(Journal, Recovery), JournalError> {
    Journal::open(dir, SEGMENT_BYTES, system())
}

/// Entries `first..first + count` with payloads of `bytes`, sealed.
fn group(first: u64, count: u64, bytes: usize) -> Group {
    let mut group = Group::new();
    for index in first..first + count {
        let fill = u8::try_from(index % 250).unwrap() + 1;
        group.push_entry(index, &[fill; 43], &[0xA5; 32], &vec![fill; bytes]);
    }
    group.push_commit(first + count, &[0xC3; 32]);
    group
}

fn start() -> Position {
    Position { segment: 0, offset: SEGMENT_HEADER_BYTES }
}

fn records(journal: &Journal) -> Result<Vec<(Position, Record)>, JournalError> {
    let mut found = Vec::new();
    journal.reader().replay(start(), journal.end(), |at, record| {
        found.push((at, record));
        Ok::<_, JournalError>(())
    })?;
    Ok(found)
}

fn indexes(journal: &Journal) -> Vec<u64> {
    let entry = |(_, record)| match record {
        Record::Entry(entry) => Some(entry.index),
        _ => None,
    };
    records(journal).unwrap().into_iter().filter_map(entry).collect()
}

#[test]
fn what_was_appended_is_read_back_in_order_and_by_position() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = create(dir.path());
    let mut positions = journal.append(&group(0, 3, 100)).unwrap();
    let mut checkpoint = Group::new();
    checkpoint.push_checkpoint("a note\n".as_bytes());
    positions.extend(journal.append(&checkpoint).unwrap());
    drop(journal);
    let (journal, recovery) = open(dir.path()).unwrap();
    assert_eq!(recovery, Recovery::default());
    let found = records(&journal).unwrap();
    assert_eq!(found.iter().map(|(at, _)| *at).collect::<Vec<_>>(), positions);
    for (at, record) in &found {
        assert_eq!(&journal.reader().record(*at).unwrap(), record);
    }
    assert!(matches!(&found[4].1, Record::Checkpoint { note } if note == b"a note\n"));
}

#[test]
fn a_journal_may_begin_later_and_have_one_segment_only() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::create_from(dir.path(), 3, SEGMENT_BYTES, system()).unwrap();
    for reopened in 0..6 {
        let at = journal.append(&group(512 + reopened * 3, 3, 900)).unwrap();
        assert!(at[0].segment >= 3);
        assert_eq!(journal.reader().first().unwrap().segment, 3);
        drop(journal);
        journal = open(dir.path()).unwrap().0;
    }
    assert!(journal.end().segment > 3);
    // What lies before the newest may go.
    journal.reader().drop_below(journal.end().segment).unwrap();
    let end = journal.end();
    drop(journal);
    let (journal, _) = open(dir.path()).unwrap();
    assert_eq!((journal.end(), journal.reader().first().unwrap().segment), (end, end.segment));
}

#[test]
fn a_journal_is_never_made_over_another_and_never_by_opening() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(open(dir.path()), Err(JournalError::Absent { .. })));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    drop(create(dir.path()));
    let again = Journal::create(dir.path(), SEGMENT_BYTES, system());
    assert!(matches!(again, Err(JournalError::Exists { .. })));
}

#[test]
fn segments_roll_over_and_reopen_at_every_step() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = create(dir.path());
    for step in 0..40_u64 {
        journal.append(&group(step * 2, 2, 300)).unwrap();
        assert_eq!(indexes(&journal), (0..step * 2 + 2).collect::<Vec<_>>());
        drop(journal);
        let recovery;
        (journal, recovery) = open(dir.path()).unwrap();
        assert_eq!(recovery, Recovery::default());
    }
    assert!(journal.end().segment >= 4, "the test must reach the roll-over");
    assert_eq!(indexes(&journal), (0..80).collect::<Vec<_>>());
}

#[test]
fn an_unsealed_or_too_long_group_is_refused_and_nothing_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = create(dir.path());
    let mut unsealed = Group::new();
    unsealed.push_entry(0, &[1; 43], &[2; 32], b"payload");
    assert!(matches!(journal.append(&unsealed), Err(JournalError::TooLarge { .. })));
    assert!(matches!(journal.append(&group(0, 1, 9000)), Err(JournalError::TooLarge { .. })));
    journal.append(&group(0, 1, 10)).unwrap();
    assert_eq!(indexes(&journal), [0]);
}

#[test]
fn a_tail_torn_at_any_byte_is_cut_and_the_journal_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = create(dir.path());
    journal.append(&group(0, 2, 60)).unwrap();
    let sealed_end = usize::try_from(journal.end().offset).unwrap();
    journal.append(&group(2, 2, 60)).unwrap();
    let whole_end = usize::try_from(journal.end().offset).unwrap();
    drop(journal);
    let path = segment_path(dir.path(), 0);
    let whole = fs::read(&path).unwrap();
    for cut in sealed_end..whole_end {
        let mut torn = whole.clone();
        torn[cut..].fill(0);
        fs::write(&path, &torn).unwrap();
        let (mut journal, recovery) =
            open(dir.path()).unwrap_or_else(|error| panic!("cut at {cut}: {error}"));
        assert_eq!(indexes(&journal), [0, 1], "cut at {cut}");
        assert_eq!(recovery.torn_bytes > 0, torn[sealed_end..].iter().any(|byte| *byte != 0));
        journal.append(&group(2, 1, 30)).unwrap();
        drop(journal);
        let (journal, recovery) = open(dir.path()).unwrap();
        assert_eq!((indexes(&journal), recovery), (vec![0, 1, 2], Recovery::default()), "cut at {cut}");
    }
}

#[test]
fn sectors_that_were_not_persisted_are_a_torn_tail_wherever_they_lie() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = create(dir.path());
    journal.append(&group(0, 1, 60)).unwrap();
    let sealed_end = usize::try_from(journal.end().offset).unwrap();
    journal.append(&group(1, 6, 500)).unwrap();
    let whole_end = usize::try_from(journal.end().offset).unwrap();
    drop(journal);
    let path = segment_path(dir.path(), 0);
    let whole = fs::read(&path).unwrap();
    let sectors: Vec<_> = (0..whole.len() / 512)
        .map(|sector| (sector * 512).max(sealed_end)..((sector + 1) * 512).min(whole_end))
        .filter(|range| !range.is_empty())
        .collect();
    assert!(sectors.len() > 5);
    for mask in 1..(1_u32 << sectors.len()) {
        let mut torn = whole.clone();
        for (bit, range) in sectors.iter().enumerate() {
            if mask & (1 << bit) != 0 {
                torn[range.clone()].fill(0);
            }
        }
        fs::write(&path, &torn).unwrap();
        let (journal, _) = open(dir.path()).unwrap_or_else(|error| panic!("mask {mask:b}: {error}"));
        assert_eq!(indexes(&journal), [0], "mask {mask:b}");
    }
}

/// A group that begins with one, two or three bytes of a sector: missing, they are no sector of zeros to look at, and
/// yet the length is another.
#[test]
fn a_group_that_lost_the_few_bytes_it_has_in_its_first_sector_is_a_torn_tail() {
    for (few, payload) in [(1, 500), (2, 500), (3, 500), (3, 40_000), (2, 65_536)] {
        let segment_bytes = 1 << 17;
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::create(dir.path(), segment_bytes, system()).unwrap();
        journal.append(&group(0, 1, 353 - few)).unwrap();
        let sealed_end = usize::try_from(journal.end().offset).unwrap();
        assert_eq!(sealed_end, 512 - few);
        journal.append(&group(1, 1, payload)).unwrap();
        drop(journal);
        let path = segment_path(dir.path(), 0);
        let whole = fs::read(&path).unwrap();
        let mut torn = whole.clone();
        torn[sealed_end..512].fill(0);
        fs::write(&path, &torn).unwrap();
        let (mut journal, recovery) = Journal::open(dir.path(), segment_bytes, system()).unwrap();
        let kept = if torn == whole { vec![0, 1] } else { vec![0] };
        assert_eq!(indexes(&journal), kept, "{few} bytes of {payload}");
        assert_eq!(recovery.torn_bytes > 0, torn != whole);
        assert_eq!(torn == whole, few == 1 || (few, payload) == (2, 500), "which of them lose something");
        journal.append(&group(kept.len() as u64, 1, 30)).unwrap();
        // And the same place damaged in another way is still damage.
        torn.copy_from_slice(&whole);
        torn[sealed_end + 40] ^= 1;
        fs::write(&path, &torn).unwrap();
        let opened = Journal::open(dir.path(), segment_bytes, system()).map(|_| ());
        assert!(matches!(opened, Err(JournalError::Corrupt { segment: 0, .. })), "{opened:?}");
    }
}

#[test]
fn every_flipped_bit_of_acknowledged_bytes_is_refused_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = create(dir.path());
    let mut positions = journal.append(&group(0, 2, 40)).unwrap();
    positions.extend(journal.append(&group(2, 1, 40)).unwrap());
    let end = usize::try_from(journal.end().offset).unwrap();
    drop(journal);
    let path = segment_path(dir.path(), 0);
    let whole = fs::read(&path).unwrap();
    for bit in 0..end * 8 {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let found = recovery::scan(&SegmentBytes::new(0, flipped.clone())).map(|_| ());
        let Err(JournalError::Corrupt { segment, offset, .. }) = found else {
            panic!("bit {bit} of byte {} went unnoticed", bit / 8);
        };
        let byte = u64::try_from(bit / 8).unwrap();
        let record = positions.iter().rev().find(|at| at.offset <= byte).map_or(0, |at| at.offset);
        assert_eq!((segment, offset), (0, record), "bit {bit}");
        if bit % 101 == 0 {
            fs::write(&path, &flipped).unwrap();
            assert!(matches!(open(dir.path()), Err(JournalError::Corrupt { .. })));
            assert_eq!(fs::read(&path).unwrap(), flipped, "a damaged journal must not be changed");
        }
    }
}

#[test]
fn damage_in_an_older_segment_is_named_when_it_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = create(dir.path());
    let first = journal.append(&group(0, 2, 300)).unwrap();
    while journal.end().segment < 3 {
        journal.append(&group(2, 2, 300)).unwrap();
    }
    let path = segment_path(dir.path(), 0);
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(&[0xFF], first[1].offset + 100).unwrap();
    let found = records(&journal);
    assert!(
        matches!(found, Err(JournalError::Corrupt { segment: 0, offset, .. }) if offset == first[1].offset)
    );
    assert!(matches!(journal.reader().record(first[1]), Err(JournalError::Corrupt { .. })));
    assert!(journal.reader().record(first[0]).is_ok());
}

#[test]
fn a_missing_segment_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = create(dir.path());
    while journal.end().segment < 3 {
        journal.append(&group(0, 2, 300)).unwrap();
    }
    drop(journal);
    fs::rename(segment_path(dir.path(), 1), dir.path().join("kept")).unwrap();
    assert!(matches!(open(dir.path()), Err(JournalError::Corrupt { segment: 1, .. })));
    fs::rename(dir.path().join("kept"), segment_path(dir.path(), 1)).unwrap();
    fs::remove_file(segment_path(dir.path(), 3)).unwrap();
    assert!(matches!(open(dir.path()), Err(JournalError::Corrupt { segment: 2, .. })));
}

#[test]
fn what_an_interrupted_roll_over_leaves_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = create(dir.path());
    journal.append(&group(0, 2, 40)).unwrap();
    drop(journal);
    drop(make_segment(dir.path(), 1, SEGMENT_BYTES, &SystemIo).unwrap());
    fs::write(dir.path().join("00000002.new"), b"half").unwrap();
    let (journal, recovery) = open(dir.path()).unwrap();
    assert_eq!((journal.end().segment, recovery), (0, Recovery::default()));
    assert_eq!(indexes(&journal), [0, 1]);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_failed_write_or_sync_poisons_and_the_next_open_finds_all_or_nothing() {
    for call in [Call::Write, Call::Sync] {
        for persisted in [Persisted::All, Persisted::Half, Persisted::Nothing] {
            let dir = tempfile::tempdir().unwrap();
            let io = Arc::new(FaultyIo::default());
            let mut journal = Journal::create(dir.path(), SEGMENT_BYTES, io.clone()).unwrap();
            journal.append(&group(0, 2, 40)).unwrap();
            io.arm(Fault { call, nth: 1, persisted });
            let failed = journal.append(&group(2, 2, 40)).unwrap_err();
            assert!(failed.is_fatal() && matches!(failed, JournalError::Unsure { .. }));
            assert!(matches!(journal.append(&group(2, 2, 40)), Err(JournalError::Poisoned)));
            drop(journal);
            let (mut journal, _) = open(dir.path()).unwrap();
            let expected = if persisted == Persisted::All { vec![0, 1, 2, 3] } else { vec![0, 1] };
            assert_eq!(indexes(&journal), expected, "{call:?} {persisted:?}");
            journal.append(&group(expected.len() as u64, 1, 40)).unwrap();
        }
    }
}

/// A killed process may leave its last group in the system's memory only. Whoever opens the journal then answers for
/// it, so it must reach the disk first: a power cut after that would lose it.
#[test]
fn what_a_killed_process_left_is_durable_before_it_counts() {
    for (call, rolled) in [(Call::Write, false), (Call::Sync, false), (Call::Sync, true)] {
        let dir = tempfile::tempdir().unwrap();
        let io = Arc::new(FaultyIo::default());
        let mut journal = Journal::create(dir.path(), SEGMENT_BYTES, io.clone()).unwrap();
        journal.append(&group(0, 1, 40)).unwrap();
        let mut size = 1;
        if rolled {
            while journal.end().offset + 400 < SEGMENT_BYTES {
                journal.append(&group(size, 1, 100)).unwrap();
                size += 1;
            }
            // The header of the next segment, the record that names it, and then this group.
            io.arm(Fault { call: Call::Write, nth: 3, persisted: Persisted::Nothing });
            journal.append(&group(size, 1, 900)).unwrap_err();
        } else {
            journal.append(&group(1, 1, 40)).unwrap();
        }
        drop(journal);
        io.arm(Fault { call, nth: 1, persisted: Persisted::Nothing });
        let opened = Journal::open(dir.path(), SEGMENT_BYTES, io.clone()).map(|_| ());
        assert!(matches!(opened, Err(JournalError::Io { .. })), "{call:?} {rolled}: {opened:?}");
        // What was not durable is gone, and nobody was told that it was there.
        let (journal, _) = open(dir.path()).unwrap();
        let kept = if call == Call::Sync && !rolled { 1 } else { size.max(2 - u64::from(rolled)) };
        assert_eq!(indexes(&journal), (0..kept).collect::<Vec<_>>(), "{call:?} {rolled}");
    }
}

/// The name of the next segment may be durable or not when the folder's sync fails: the process ends, and the next open
/// goes on with what was acknowledged.
#[test]
fn a_roll_over_whose_name_may_not_be_durable_ends_the_process() {
    for persisted in [Persisted::All, Persisted::Nothing] {
        let dir = tempfile::tempdir().unwrap();
        let io = Arc::new(FaultyIo::default());
        let mut journal = Journal::create(dir.path(), SEGMENT_BYTES, io.clone()).unwrap();
        let mut size = 0;
        while journal.end().offset + 400 < SEGMENT_BYTES {
            journal.append(&group(size, 1, 100)).unwrap();
            size += 1;
        }
        io.arm(Fault { call: Call::Names, nth: 1, persisted });
        let failed = journal.append(&group(size, 1, 900)).unwrap_err();
        assert!(matches!(failed, JournalError::Unsure { .. }), "{persisted:?}: {failed:?}");
        assert!(matches!(journal.append(&group(size, 1, 40)), Err(JournalError::Poisoned)));
        drop(journal);
        if persisted == Persisted::All {
            // The empty segment is taken away, and that must be durable too.
            io.arm(Fault { call: Call::Names, nth: 1, persisted });
            let opened = Journal::open(dir.path(), SEGMENT_BYTES, io.clone()).map(|_| ());
            assert!(matches!(opened, Err(JournalError::Io { .. })), "{opened:?}");
        }
        let (mut journal, _) = open(dir.path()).unwrap();
        assert_eq!(indexes(&journal), (0..size).collect::<Vec<_>>(), "{persisted:?}");
        journal.append(&group(size, 1, 900)).unwrap();
        drop(journal);
        let (journal, recovery) = open(dir.path()).unwrap();
        assert_eq!((journal.end().segment, recovery), (1, Recovery::default()));
        assert_eq!(indexes(&journal), (0..=size).collect::<Vec<_>>(), "{persisted:?}");
    }
}

#[test]
fn no_room_for_a_segment_is_refused_without_harm() {
    let dir = tempfile::tempdir().unwrap();
    let io = Arc::new(FaultyIo::default());
    let mut journal = Journal::create(dir.path(), SEGMENT_BYTES, io.clone()).unwrap();
    io.arm(Fault { call: Call::Allocate, nth: 1, persisted: Persisted::Nothing });
    let mut taken = 0;
    let refused = loop {
        match journal.append(&group(taken, 1, 300)) {
            Ok(_) => taken += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, JournalError::Full { .. }) && !refused.is_fatal());
    assert_eq!(indexes(&journal), (0..taken).collect::<Vec<_>>());
    // The allocation that failed was the first; the next one finds room again.
    journal.append(&group(taken, 1, 300)).unwrap();
    assert_eq!(indexes(&journal), (0..=taken).collect::<Vec<_>>());
}

proptest! {
    #[test]
    fn records_round_trip(
        index in any::<u64>(),
        leaf in proptest::collection::vec(any::<u8>(), 0..=83),
        salt in any::<[u8; 32]>(),
        payload in proptest::collection::vec(any::<u8>(), 0..600),
        root in any::<[u8; 32]>(),
        trailer in proptest::collection::vec(any::<u8>(), 0..20),
    ) {
        let mut group = Group::new();
        group.push_entry(index, &leaf, &salt, &payload);
        group.push_commit(index, &root);
        let mut bytes = group.bytes().to_vec();
        bytes.extend_from_slice(&trailer);
        let Parsed::Record(first, length) = parse_record(&bytes) else { panic!("not a record") };
        prop_assert_eq!(length, group.offsets()[1] as usize);
        let stored = [salt.as_slice(), &payload].concat();
        prop_assert_eq!(first, Record::Entry(EntryRecord { index, leaf, codec: 0, stored }));
        let Parsed::Record(second, _) = parse_record(&bytes[length..]) else { panic!("not a record") };
        prop_assert_eq!(second, Record::Commit { size: index, root });
    }

    #[test]
    fn any_bytes_are_judged_without_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..2000),
        sealed_end in 0_usize..100,
    ) {
        let _judged = judge_tail(&bytes, sealed_end);
        let _parsed = parse_record(&bytes);
    }
}
