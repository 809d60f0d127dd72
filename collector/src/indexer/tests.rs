use std::fs;
use std::sync::Arc;

use evidence::ids::Digest;
use evidence::leaf::Kind;
use evidence::note::{Checkpoint, VerifierKey};

use crate::datadir::DataDir;
use crate::fsck;
use crate::journal::{Group, Journal};
use crate::ledger::tests::{Bench, EPOCH_LEAVES, In, ORIGIN, Running, log_key};
use crate::ledger::{Ledger, LedgerOptions, OpenError};
use crate::log::BUNDLE_LEAVES;
use crate::store::runs::RUN_STATEMENTS;
use crate::tree::{Folder, PublicTree};

pub(crate) const SEGMENTS_KEPT: u64 = 2;

pub(crate) fn open(bench: &Bench) -> Result<Running, OpenError> {
    let dir = Arc::new(DataDir::open(&bench.path()).unwrap());
    let options = LedgerOptions { journal_segments_kept: SEGMENTS_KEPT, ..bench.options() };
    let (ledger, unstarted) = Ledger::open(dir, &options)?;
    let report = unstarted.report.clone();
    let (sequencer, thread) = unstarted.start(bench.writer_options()).unwrap();
    Ok(Running { ledger, sequencer, thread, report })
}

fn report(bench: &Bench) -> fsck::Report {
    let dir = DataDir::open(&bench.path()).unwrap();
    let key = VerifierKey::new(ORIGIN, *log_key().public()).unwrap();
    let mark = bench.path().join("high-water");
    let options = fsck::Options {
        log_keys: &[key],
        origin: Some(ORIGIN),
        high_water: Some(&mark),
        epoch_leaves: EPOCH_LEAVES,
        progress: None,
    };
    fsck::check(&dir, &options).unwrap()
}

/// Brings the public tree level, as the server's thread does.
fn publish(bench: &Bench, running: &Running) {
    let key = VerifierKey::new(ORIGIN, *log_key().public()).unwrap();
    let published = running.published();
    let folder = Folder::new(&bench.path().join("tree"));
    let (mut tree, _) = PublicTree::open(folder, running.ledger.clone(), &[key]).unwrap();
    tree.publish(&published).unwrap();
}

fn first_segment(bench: &Bench) -> u64 {
    crate::journal::segment_numbers(&bench.path().join("journal")).unwrap()[0]
}

/// A log over three epochs whose journal has lost its first segments, closed. The hashes are those of the two
/// instances' newest statements.
pub(crate) fn long_log() -> (Bench, [Digest; 2]) {
    let mut bench = Bench::new();
    let running = open(&bench).unwrap();
    let mut last = [Digest::ZERO; 2];
    for round in 0..6 {
        bench.clock.0.fetch_add(60_000, std::sync::atomic::Ordering::SeqCst);
        for (number, last) in (1_u8..).zip(&mut last) {
            *last = running.fill_at_once(number, round * 120, 120, *last);
        }
        running.act(Kind::POLICY, &[u8::try_from(round).unwrap(); 300]).unwrap();
        publish(&bench, &running);
    }
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while first_segment(&bench) == 0 {
        // Segments go with the step after the tree has grown.
        last[0] = running.fill_at_once(1, running.next_sequence(1), 256, last[0]);
        publish(&bench, &running);
        assert!(std::time::Instant::now() < deadline, "no segment was dropped");
    }
    bench.check(&running);
    running.stop();
    (bench, last)
}

impl Running {
    pub(crate) fn next_sequence(&self, number: u8) -> u64 {
        self.ledger.instance(&crate::ledger::tests::instance(number)).unwrap().unwrap().next_sequence
    }
}

#[test]
fn the_log_is_whole_when_its_first_segments_are_gone() {
    let (mut bench, last) = long_log();
    let found = report(&bench);
    assert!(found.sound, "{:?}", found.faults);
    assert!(found.journal_from > 256 && found.index_size > 2 * EPOCH_LEAVES, "{found:?}");
    let running = open(&bench).unwrap();
    assert_eq!(running.report.rebuilt, None);
    assert!(running.report.indexed_entries < BUNDLE_LEAVES);
    bench.check(&running);
    for number in 1..=2 {
        let instance = crate::ledger::tests::instance(number);
        let statements = running.ledger.statements(&instance, 0).unwrap();
        let next = running.next_sequence(number);
        assert_eq!(statements.len() as u64, next);
        for (sequence, one) in (0..next).zip(&statements) {
            assert_eq!(one.sequence, sequence);
            assert_eq!(running.ledger.statement(&instance, sequence).unwrap(), Some(one.index));
        }
        assert_eq!(running.ledger.statement(&instance, next).unwrap(), None);
        // Whatever was received at or after a moment is not below what is given for it, and little else: a run or two, and what
        // is not indexed yet.
        for one in &statements {
            for received in [one.received.0.saturating_sub(1), one.received.0, one.received.0 + 1] {
                let received = evidence::time::Timestamp(received);
                let from = running.ledger.sequence_received_at(&instance, received).unwrap();
                let first = statements.iter().find(|one| one.received >= received);
                assert!(first.is_none_or(|first| from <= first.sequence), "{received:?}");
                let surely = statements.iter().take_while(|one| one.received < received).count() as u64;
                let more = 2 * RUN_STATEMENTS as u64 + BUNDLE_LEAVES;
                assert!(from + more >= surely, "{received:?} {from} {surely}");
            }
        }
    }
    running.fill_at_once(2, running.next_sequence(2), 300, last[1]);
    running.published();
    bench.check(&running);
    running.stop();
    assert!(report(&bench).sound);
}

/// The entries a checkpoint is over may have left the journal long before the checkpoint: it is compared all the same.
#[test]
fn a_signed_checkpoint_older_than_the_journal_is_checked_as_a_prefix() {
    let (bench, _) = long_log();
    let running = open(&bench).unwrap();
    let right = running.ledger.root_at(300).unwrap();
    running.stop();
    for (root, sound) in [(right, true), (Digest::of(b"another history"), false)] {
        let checkpoint = Checkpoint { origin: ORIGIN.to_owned(), size: 300, root };
        let note = checkpoint.sign(&log_key()).unwrap().encode();
        let options = bench.options();
        let (mut journal, _) =
            Journal::open(&bench.path().join("journal"), options.segment_bytes, options.io).unwrap();
        let mut group = Group::new();
        group.push_checkpoint(note.as_bytes());
        journal.append(&group).unwrap();
        let found = report(&bench);
        assert!(found.journal_from > 300, "{found:?}");
        assert_eq!(found.sound, sound, "{:?}", found.faults);
        let named = found.faults.iter().all(|fault| fault.what.contains("300 entries is not of the first"));
        assert!(named, "{:?}", found.faults);
    }
}

#[test]
fn a_lost_index_is_made_from_bundles_and_journal_with_the_same_root() {
    let (mut bench, _) = long_log();
    let before = open(&bench).map(|running| {
        let snapshot = running.ledger.snapshot();
        running.stop();
        snapshot
    });
    let before = before.unwrap();
    for lost in ["sled/epoch-00000002", "sled"] {
        fs::remove_dir_all(bench.path().join(lost)).unwrap();
        fs::create_dir_all(bench.path().join("sled")).unwrap();
        let running = open(&bench).unwrap();
        assert_eq!(running.ledger.snapshot(), before, "{lost}");
        bench.check(&running);
        running.stop();
        let found = report(&bench);
        assert!(found.sound, "{lost}: {:?}", found.faults);
    }
    // What is nowhere is said, and nothing is changed.
    fs::remove_dir_all(bench.path().join("sled")).unwrap();
    fs::create_dir_all(bench.path().join("sled")).unwrap();
    let bundle = bench.path().join("payload/001");
    let kept = fs::read(&bundle).unwrap();
    fs::remove_file(&bundle).unwrap();
    for _ in 0..2 {
        let refused = open(&bench).map(|_| ());
        assert!(matches!(refused, Err(OpenError::Nowhere { from: 256, .. })), "{refused:?}");
    }
    fs::write(&bundle, kept).unwrap();
    let running = open(&bench).unwrap();
    assert_eq!(running.ledger.snapshot(), before);
    running.stop();
}

#[test]
fn a_begun_epoch_without_a_head_is_made_again() {
    let mut bench = Bench::new();
    let running = bench.open(In::Sled).unwrap();
    let last = running.fill_at_once(1, 0, EPOCH_LEAVES - 1, Digest::ZERO);
    running.published();
    running.stop();
    let half_made = bench.path().join("sled/epoch-00000001");
    assert!(!half_made.exists());
    let store = crate::store::sled::SledStore::open(&half_made, 1 << 20).unwrap();
    crate::store::Store::apply(&store, &[(b"d1".to_vec(), b"half".to_vec())]).unwrap();
    drop(store);
    // Whoever only looks removes nothing.
    let found = report(&bench);
    assert!(found.sound && half_made.exists(), "{:?}", found.faults);
    let running = bench.open(In::Sled).unwrap();
    assert_eq!(running.report.rebuilt, None);
    running.fill_at_once(1, EPOCH_LEAVES - 1, 600, last);
    running.published();
    bench.check(&running);
    running.stop();
    let found = report(&bench);
    assert!(found.sound && found.index_size > EPOCH_LEAVES, "{:?}", found.faults);
}

#[test]
fn the_journal_keeps_what_the_public_tree_does_not_hold() {
    let mut bench = Bench::new();
    let running = open(&bench).unwrap();
    let last = running.fill_at_once(1, 0, 300, Digest::ZERO);
    publish(&bench, &running);
    running.fill_at_once(1, 300, 700, last);
    running.published();
    running.stop();
    // The tree has one full bundle, the index three more; every segment with an entry of those is there.
    let found = report(&bench);
    assert!(found.sound && found.journal_from <= 256, "{found:?}");
    assert_eq!(found.index_size, 768);
    let running = open(&bench).unwrap();
    bench.check(&running);
    running.stop();
}

#[test]
fn a_start_makes_the_payload_bundles_of_what_it_indexes() {
    let bench = Bench::new();
    let running = bench.open(In::Sled).unwrap();
    running.fill_at_once(1, 0, 600, Digest::ZERO);
    running.published();
    running.stop();
    for lost in ["sled", "payload"] {
        fs::remove_dir_all(bench.path().join(lost)).unwrap();
    }
    fs::create_dir(bench.path().join("sled")).unwrap();
    bench.open(In::Sled).unwrap().stop();
    let found = report(&bench);
    assert!(found.sound && found.payload_bundles == 2, "{found:?}");
}

/// Steps that end where the journal does, and checkpoints that lie between two steps.
#[test]
fn a_step_may_end_with_the_journal_and_begin_after_a_checkpoint() {
    let mut bench = Bench::new();
    let running = open(&bench).unwrap();
    let mut last = running.fill_at_once(1, 0, BUNDLE_LEAVES - 1, Digest::ZERO);
    let mut next = BUNDLE_LEAVES - 1;
    for _ in 0..4 {
        running.published();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while running.ledger.shared.tail.read().unwrap().len() > 0 {
            assert!(std::time::Instant::now() < deadline, "a whole bundle waits");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        last = running.fill_at_once(1, next, BUNDLE_LEAVES, last);
        next += BUNDLE_LEAVES;
    }
    running.published();
    bench.check(&running);
    running.stop();
    let found = report(&bench);
    assert!(found.sound && found.index_size == 5 * BUNDLE_LEAVES, "{found:?}");
}

/// The indexer looks while entries come: it must never see them without the place where they end.
#[test]
fn groups_that_fill_bundles_exactly_are_indexed_while_more_come() {
    let mut bench = Bench::new();
    let running = open(&bench).unwrap();
    let mut last = running.fill_at_once(1, 0, BUNDLE_LEAVES - 1, Digest::ZERO);
    let mut next = BUNDLE_LEAVES - 1;
    for _ in 0..24 {
        last = running.fill_at_once(1, next, BUNDLE_LEAVES / 2, last);
        next += BUNDLE_LEAVES / 2;
    }
    running.published();
    bench.check(&running);
    running.stop();
    assert!(report(&bench).sound);
}
