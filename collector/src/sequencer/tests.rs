use std::fs;
use std::sync::atomic::Ordering;
use std::sync::mpsc;

use evidence::merkle::verify_inclusion;
use proptest::prelude::*;

use super::*;
use crate::journal::faults::{Call, Fault, Persisted};
use crate::ledger::Signing;
use crate::ledger::tests::{Bench, In, Running, anchored, destroyed, instance, statement};
use crate::store::rows;

fn expect_outcome(running: &Running, envelope: &Envelope, expected: &Outcome) {
    assert_eq!(&running.submit(envelope).unwrap(), expected);
}

#[test]
fn the_next_statement_is_stored_and_a_repeat_gets_the_old_answer() {
    let mut bench = Bench::new();
    let running = bench.open(In::Memory).unwrap();
    let first = statement(1, 0, Digest::ZERO, 1);
    let stored = running.stored(&first);
    let leaf = running.ledger.leaf(stored.index).unwrap();
    assert_eq!(leaf.received, stored.received);
    assert_eq!(leaf.commitment, evidence::leaf::commitment(&stored.salt, first.bytes()));
    let second = statement(1, 1, first.hash(), 2);
    let later = running.stored(&second);
    assert_eq!(running.stored(&first), stored);
    assert_eq!(running.stored(&second), later);
    assert_eq!(running.ledger.size(), 3);
    bench.check(&running);
    running.stop();
    let running = bench.open(In::Memory).unwrap();
    assert_eq!(running.stored(&first), stored, "also after a restart");
    running.stop();
}

#[test]
fn forks_skips_and_lost_sequences_are_told_apart() {
    let mut bench = Bench::new();
    let running = bench.open(In::Memory).unwrap();
    let zero = statement(1, 0, Digest::ZERO, 1);
    let one = statement(1, 1, zero.hash(), 1);
    expect_outcome(&running, &one, &Outcome::Expect(0));
    let at = running.stored(&zero).index;
    // Other bytes for a used sequence, and a right sequence after another past.
    let forked = |sequence, second: &Envelope| Outcome::Forked {
        sequence,
        known_index: Some(at),
        envelope: second.bytes().to_vec(),
    };
    let second = statement(1, 0, Digest::ZERO, 2);
    expect_outcome(&running, &second, &forked(0, &second));
    let second = statement(1, 1, Digest::of(b"other"), 1);
    expect_outcome(&running, &second, &forked(1, &second));
    expect_outcome(&running, &statement(1, 5, zero.hash(), 1), &Outcome::Expect(1));
    // A gap that destroys 1 to 3 continues statement 0 and takes sequence 4.
    expect_outcome(&running, &destroyed(1, 2, 3, zero.hash()), &Outcome::Expect(1));
    let gap = destroyed(1, 1, 3, zero.hash());
    assert_eq!(running.stored(&gap).sequence, 4);
    running.stored(&gap);
    expect_outcome(&running, &one, &Outcome::Lost { sequence: 1 });
    // It cannot declare destroyed what the log has.
    expect_outcome(&running, &destroyed(1, 0, 7, Digest::ZERO), &Outcome::Expect(5));
    running.stored(&statement(1, 5, gap.hash(), 1));
    // Another instance that lost its very first statements.
    assert_eq!(running.stored(&destroyed(2, 0, 1, Digest::ZERO)).sequence, 2);
    assert_eq!(running.ledger.size(), 5);
    bench.check(&running);
    running.stop();
}

#[test]
fn an_anchor_never_shrinks_within_an_instance() {
    let mut bench = Bench::new();
    let mut running = bench.open(In::Sled).unwrap();
    let zero = anchored(1, 0, Digest::ZERO, 0);
    running.stored(&zero);
    let one = anchored(1, 1, zero.hash(), 2);
    running.stored(&one);
    let shrinks = Outcome::AnchorShrinks { sequence: 2, before: 2 };
    for size in [0, 1] {
        expect_outcome(&running, &anchored(1, 2, one.hash(), size), &shrinks);
        // Another device's is its own.
        running.stored(&anchored(2 + u8::try_from(size).unwrap(), 0, Digest::ZERO, size));
    }
    running.stop();
    running = bench.open(In::Sled).unwrap();
    expect_outcome(&running, &anchored(1, 2, one.hash(), 1), &shrinks);
    running.stored(&zero);
    let two = anchored(1, 2, one.hash(), 2);
    running.stored(&two);
    running.stored(&anchored(1, 3, two.hash(), 5));
    bench.check(&running);
    running.stop();
}

#[test]
fn statements_of_one_group_build_on_each_other() {
    let mut bench = Bench::new();
    // The first act holds the sequencer until everything else waits, so that it forms one group.
    let running = bench.open(In::Memory).unwrap();
    let (release, held) = mpsc::channel::<()>();
    let block = running.sequencer.act(Box::new(move |_| {
        held.recv().unwrap();
        Ok(Vec::new())
    }));
    let mut envelopes = vec![statement(1, 0, Digest::ZERO, 1)];
    for sequence in 1..20 {
        envelopes.push(statement(1, sequence, envelopes.last().unwrap().hash(), sequence));
    }
    let mut waiting = Vec::new();
    for envelope in envelopes.iter().chain(&envelopes) {
        waiting.push(running.sequencer.submit(Device::new(envelope).unwrap()).unwrap());
    }
    let skipped =
        running.sequencer.submit(Device::new(&statement(1, 30, Digest::of(b"unknown"), 1)).unwrap()).unwrap();
    release.send(()).unwrap();
    assert!(block.unwrap().blocking_recv().unwrap().unwrap().is_empty());
    let answers: Vec<_> =
        waiting.into_iter().map(|answer| answer.blocking_recv().unwrap().unwrap()).collect();
    for (place, answer) in answers.iter().enumerate() {
        let Outcome::Stored(stored) = answer else { panic!("{answer:?}") };
        assert_eq!(stored.index, place as u64 % 20 + 1);
    }
    assert_eq!(answers[..20], answers[20..]);
    assert_eq!(skipped.blocking_recv().unwrap().unwrap(), Outcome::Expect(20));
    bench.check(&running);
    running.stop();
}

#[test]
fn an_act_sees_exactly_what_it_follows_and_the_observer_comes_first() {
    let mut bench = Bench::new();
    let running = bench.open(In::Memory).unwrap();
    let mut waiting = Vec::new();
    for number in 0..30_u8 {
        drop(running.sequencer.submit(Device::new(&statement(number, 0, Digest::ZERO, 1)).unwrap()).unwrap());
        let (seen, ledger) = (bench.seen.clone(), running.ledger.clone());
        let build = Box::new(move |context: &Context| {
            let seen = seen.lock().unwrap();
            // The genesis was there before the observer.
            assert_eq!(seen.len() as u64 + 1, context.next_index);
            assert_eq!(ledger.size(), context.next_index);
            let tokens = context.head(Stream::Roster).entries - 1;
            assert_eq!(seen.iter().filter(|entry| entry.leaf.kind == Kind::TOKEN).count() as u64, tokens);
            if number % 3 == 0 {
                return Err("not this one".into());
            }
            let detail = NewEntry {
                instance: Some(instance(1)),
                ..NewEntry::new(Kind::DEVICE_DETAIL, vec![number; 40])
            };
            Ok(vec![detail, NewEntry::new(Kind::TOKEN, vec![number])])
        });
        waiting.push((number, running.sequencer.act(build).unwrap()));
    }
    for (number, answer) in waiting {
        match answer.blocking_recv().unwrap() {
            Err(SubmitError::Refused(refusal)) => {
                assert_eq!((number % 3, refusal.to_string().as_str()), (0, "not this one"));
            }
            Ok(appended) => {
                assert_eq!(appended.len(), 2);
                assert_eq!(appended[0].leaf.chain, None);
                assert_eq!(appended[0].index + 1, appended[1].index);
                assert_eq!(running.ledger.entry(appended[1].index).unwrap().payload, [number]);
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(running.ledger.size(), 1 + 30 + 20 * 2);
    assert_eq!(running.ledger.instance(&instance(3)).unwrap().unwrap().next_sequence, 1);
    bench.check(&running);
    let order: Vec<u64> = bench.seen.lock().unwrap().iter().map(|entry| entry.index).collect();
    assert_eq!(order, (1..71).collect::<Vec<_>>());
    running.stop();
}

#[test]
fn an_act_that_fails_half_way_leaves_nothing() {
    let mut bench = Bench::new();
    let running = bench.open(In::Memory).unwrap();
    let good = NewEntry::new(Kind::TOKEN, vec![1]);
    for bad in [
        NewEntry::new(Kind::ATTESTATION, vec![1]),
        NewEntry::new(Kind::TOKEN, vec![1; 65_537]),
        NewEntry::new(Kind::TOKEN, vec![1; 20_000]),
    ] {
        let entries = vec![good.clone(), bad];
        let answer = running.sequencer.act(Box::new(move |_| Ok(entries))).unwrap().blocking_recv().unwrap();
        assert!(matches!(answer, Err(SubmitError::Kind(_) | SubmitError::TooLarge { .. })));
        assert_eq!(running.ledger.size(), 1);
    }
    running.act(Kind::TOKEN, b"good").unwrap();
    bench.check(&running);
    running.stop();
}

#[test]
fn a_full_queue_is_busy_and_a_stopped_sequencer_says_so() {
    let bench = Bench::new();
    let mut options = bench.writer_options();
    options.queue_max = 2;
    let running = bench.open_with(In::Memory, options).unwrap();
    let (entered, inside) = mpsc::channel::<()>();
    let (release, held) = mpsc::channel::<()>();
    let block = running.sequencer.act(Box::new(move |_| {
        entered.send(()).unwrap();
        held.recv().unwrap();
        Ok(Vec::new())
    }));
    inside.recv().unwrap();
    let device = Device::new(&statement(1, 0, Digest::ZERO, 1)).unwrap();
    let waiting = [
        running.sequencer.submit(device.clone()).unwrap(),
        running.sequencer.submit(device.clone()).unwrap(),
    ];
    assert!(matches!(running.sequencer.submit(device.clone()), Err(SubmitError::Busy)));
    release.send(()).unwrap();
    drop(block);
    for answer in waiting {
        assert!(matches!(answer.blocking_recv().unwrap(), Ok(Outcome::Stored(_))));
    }
    let sequencer = running.sequencer.clone();
    running.stop();
    assert!(matches!(sequencer.submit(device), Err(SubmitError::Stopped)));
}

#[test]
fn time_never_goes_back_and_a_step_back_stops_signing_only() {
    let mut bench = Bench::new();
    let running = bench.open(In::Memory).unwrap();
    let first = statement(1, 0, Digest::ZERO, 1);
    let stored = running.stored(&first);
    let before = running.published();
    bench.clock.0.fetch_sub(60_000, Ordering::SeqCst);
    let second = statement(1, 1, first.hash(), 1);
    assert_eq!(running.stored(&second).received, stored.received);
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while !matches!(running.ledger.signing(), Signing::ClockSteppedBack { behind_ms: 60_000 }) {
        assert!(std::time::Instant::now() < deadline, "{:?}", running.ledger.signing());
        std::thread::yield_now();
    }
    assert_eq!(running.ledger.checkpoint().unwrap(), before);
    bench.check(&running);
    bench.clock.0.fetch_add(56_000, Ordering::SeqCst);
    assert_eq!(running.published().checkpoint.size, 3);
    assert_eq!(running.ledger.signing(), Signing::Active);
    bench.check(&running);
    running.stop();
}

#[test]
fn a_full_disk_refuses_and_keeps_everything_readable() {
    let mut bench = Bench::new();
    let mut options = bench.writer_options();
    options.free_bytes_min = 1_000;
    let running = bench.open_with(In::Memory, options).unwrap();
    let first = statement(1, 0, Digest::ZERO, 1);
    running.stored(&first);
    bench.io.pretend_free_bytes(Some(999));
    let second = statement(1, 1, first.hash(), 1);
    assert!(matches!(running.submit(&second), Err(SubmitError::Full { .. })));
    assert!(matches!(running.act(Kind::TOKEN, b"x"), Err(SubmitError::Full { .. })));
    assert_eq!(running.ledger.entry(1).unwrap().payload, first.bytes());
    bench.check(&running);
    bench.io.pretend_free_bytes(None);
    running.stored(&second);
    // No room for the next segment: refused before anything is written, until there is room.
    let mut previous = second.hash();
    let (mut sequence, mut refused) = (2, 0);
    while refused == 0 || sequence < 60 {
        let fault = Fault { call: Call::Allocate, nth: 1, persisted: Persisted::Nothing };
        if refused == 0 {
            bench.io.arm(fault);
        }
        let envelope = statement(1, sequence, previous, sequence);
        match running.submit(&envelope) {
            Ok(Outcome::Stored(_)) => {
                previous = envelope.hash();
                sequence += 1;
            }
            Err(SubmitError::Full { .. }) => refused += 1,
            other => panic!("{other:?}"),
        }
        assert!(sequence < 200, "the segment was never full");
    }
    bench.check(&running);
    running.stop();
}

/// A log of three entries, all of them published, and the path of its high-water mark.
fn published_log() -> (Bench, std::path::PathBuf) {
    let bench = Bench::new();
    let running = bench.open(In::Memory).unwrap();
    running.fill(1, 2);
    running.published();
    running.stop();
    let mark = bench.path().join("high-water");
    (bench, mark)
}

#[test]
fn a_rolled_back_forked_or_markless_log_is_read_but_not_signed() {
    let root = high_water::read(&published_log().1).unwrap().unwrap().root;
    let bad = [
        (Some(format!("4 {root}\n")), "old copy"),
        (Some(format!("3 {}\n", Digest::of(b"another"))), "two logs"),
        (Some(format!("03 {root}\n")), "not of the form"),
        (Some(String::new()), "not of the form"),
        (None, "missing"),
    ];
    for (text, reason) in bad {
        let (mut bench, mark) = published_log();
        match &text {
            Some(text) => fs::write(&mark, text).unwrap(),
            None => fs::remove_file(&mark).unwrap(),
        }
        let running = bench.open(In::Memory).unwrap();
        running.stored(&statement(9, 0, Digest::ZERO, 1));
        let Signing::Refused(why) = running.ledger.signing() else { panic!("signing after {reason}") };
        assert!(why.contains(reason), "{why}");
        assert_eq!(running.ledger.checkpoint(), None);
        bench.check(&running);
        running.stop();
        assert_eq!(fs::read_to_string(&mark).ok(), text, "a mark that disagrees is not overwritten");
    }
}

#[test]
fn rollback_blindness_must_be_accepted_in_so_many_words() {
    let (mut bench, mark) = published_log();
    fs::remove_file(&mark).unwrap();
    let mut options = bench.writer_options();
    options.accept_rollback_blindness = true;
    let running = bench.open_with(In::Memory, options).unwrap();
    assert_eq!(running.ledger.signing(), Signing::Active);
    running.fill(2, 1);
    running.published();
    bench.check(&running);
    running.stop();
    assert_eq!(high_water::read(&mark).unwrap().unwrap().size, 4);
}

#[test]
fn a_checkpoint_of_another_key_is_not_continued() {
    let bench = Bench::new();
    let running = bench.open(In::Memory).unwrap();
    running.published();
    running.stop();
    let mut options = bench.writer_options();
    options.log_key = SecretKey::from_seed(&[8; 32]).unwrap();
    let running = bench.open_with(In::Memory, options).unwrap();
    assert!(matches!(running.ledger.signing(), Signing::Refused(_)));
    running.stop();
}

#[test]
fn bytes_that_changed_on_disk_are_never_signed() {
    let bench = Bench::new();
    let mut options = bench.writer_options();
    options.checkpoint_interval = Duration::from_hours(1);
    // Changed before they are read back: what the thread has read already is not read again.
    options.read_back_interval = Duration::from_hours(1);
    let running = bench.open_with(In::Memory, options).unwrap();
    running.published();
    running.fill(1, 2);
    let path = bench.path().join("journal/00000000.seg");
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[last - 60] ^= 1;
    fs::write(&path, bytes).unwrap();
    let ledger = running.ledger.clone();
    running.stop();
    assert_eq!(ledger.checkpoint().unwrap().checkpoint.size, 1);
    assert_eq!(bench.fatal.lock().unwrap().len(), 1, "the process must end");
}

/// The tree being built is right, and a node of the old tree is not what was signed: the proof between the two must
/// hold before anything is signed.
#[test]
fn a_tree_that_is_not_shown_to_extend_the_signed_one_is_never_signed() {
    let bench = Bench::new();
    let mut options = bench.writer_options();
    options.checkpoint_interval = Duration::from_hours(1);
    let running = bench.open_with(In::Sled, options).unwrap();
    running.published();
    running.fill(1, 299);
    running.stop();
    let running = bench.open(In::Sled).unwrap();
    running.published();
    let row = (rows::tile_key(2, 0), rows::tile_value(&[Digest::of(b"another subtree")]));
    running.ledger.shared.epochs.apply(&[row]).unwrap();
    let ledger = running.ledger.clone();
    drop(running.submit(&statement(2, 0, Digest::ZERO, 0)));
    running.stop();
    assert_eq!(ledger.checkpoint().unwrap().checkpoint.size, 300);
    let fatal = bench.fatal.lock().unwrap().clone();
    assert!(fatal.len() == 1 && fatal[0].contains("does not extend"), "{fatal:?}");
}

/// Every write and sync fails once, persisted or not: what was acknowledged stays, what was not may be tried again.
#[test]
fn after_any_failed_write_or_sync_nothing_acknowledged_is_lost_or_twice() {
    for call in [Call::Write, Call::Sync] {
        for persisted in [Persisted::All, Persisted::Half, Persisted::Nothing] {
            for nth in 1..=12 {
                let mut bench = Bench::new();
                let running = bench.open(In::Memory).unwrap();
                bench.io.arm(Fault { call, nth, persisted });
                let mut envelopes: Vec<Envelope> = Vec::new();
                let mut acknowledged = Vec::new();
                for sequence in 0..40 {
                    let previous = envelopes.last().map_or(Digest::ZERO, Envelope::hash);
                    let envelope = statement(1, sequence, previous, sequence);
                    envelopes.push(envelope.clone());
                    match running.submit(&envelope) {
                        Ok(Outcome::Stored(stored)) => acknowledged.push(stored),
                        Err(SubmitError::Stopped) => break,
                        other => panic!("{other:?}"),
                    }
                    if let Some(published) = running.ledger.checkpoint() {
                        bench.left.insert(published.checkpoint.size, published.checkpoint.root);
                    }
                }
                let context = format!("{call:?} {persisted:?} {nth}");
                running.stop();
                assert_eq!(bench.fatal.lock().unwrap().drain(..).count(), 1, "{context}");
                let running = bench.open(In::Memory).unwrap();
                assert!(!matches!(running.ledger.signing(), Signing::Refused(_)), "{context}");
                bench.check(&running);
                for (sequence, stored) in acknowledged.iter().enumerate() {
                    assert_eq!(running.stored(&envelopes[sequence]), *stored, "{context}");
                }
                for envelope in &envelopes {
                    running.stored(envelope);
                }
                assert_eq!(running.ledger.size(), envelopes.len() as u64 + 1, "{context}");
                running.published();
                bench.check(&running);
                running.stop();
            }
        }
    }
}

/// A step of the model test.
#[derive(Debug, Clone)]
enum Step {
    Next(u8),
    Repeat(u8, u64),
    Fork(u8, u64),
    Skip(u8, u64),
    Destroyed(u8, u64),
    Act(u8),
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let device = 1_u8..4;
    let step = prop_oneof![
        8 => device.clone().prop_map(Step::Next),
        2 => (device.clone(), any::<u64>()).prop_map(|(d, n)| Step::Repeat(d, n)),
        2 => (device.clone(), any::<u64>()).prop_map(|(d, n)| Step::Fork(d, n)),
        1 => (device.clone(), 1_u64..9).prop_map(|(d, n)| Step::Skip(d, n)),
        1 => (device, 1_u64..4).prop_map(|(d, n)| Step::Destroyed(d, n)),
        2 => (0_u8..8).prop_map(Step::Act),
        1 => Just(Step::Reopen),
    ];
    proptest::collection::vec(step, 1..40)
}

/// What one device has had stored: envelope and answer by sequence.
#[derive(Default)]
struct Model {
    stored: std::collections::BTreeMap<u64, (Envelope, Stored)>,
    next: u64,
    last: Option<Digest>,
}

impl Model {
    fn pick(&self, n: u64) -> Option<(u64, &(Envelope, Stored))> {
        let place = usize::try_from(n).ok()? % self.stored.len().max(1);
        self.stored.iter().nth(place).map(|(sequence, known)| (*sequence, known))
    }

    fn store(&mut self, running: &Running, envelope: Envelope, sequence: u64, expected_index: u64) {
        let stored = running.stored(&envelope);
        assert_eq!((stored.sequence, stored.index), (sequence, expected_index));
        self.last = Some(envelope.hash());
        self.next = sequence + 1;
        self.stored.insert(sequence, (envelope, stored));
    }
}

fn play(place: In, steps: &[Step]) {
    let mut bench = Bench::new();
    let mut running = bench.open(place).unwrap();
    let mut models: [Model; 4] = Default::default();
    let mut size = 1;
    for step in steps {
        match *step {
            Step::Next(d) => {
                let model = &mut models[usize::from(d)];
                let last = model.last.unwrap_or(Digest::ZERO);
                let envelope = statement(d, model.next, last, size);
                model.store(&running, envelope, model.next, size);
                size += 1;
            }
            Step::Destroyed(d, count) => {
                let model = &mut models[usize::from(d)];
                let (first, last) = (model.next, model.next + count - 1);
                let envelope = destroyed(d, first, last, model.last.unwrap_or(Digest::ZERO));
                model.store(&running, envelope, last + 1, size);
                size += 1;
            }
            Step::Repeat(d, n) => {
                let Some((_, (envelope, stored))) = models[usize::from(d)].pick(n) else { continue };
                assert_eq!(running.stored(envelope), *stored);
            }
            Step::Fork(d, n) => {
                let Some((sequence, (envelope, stored))) = models[usize::from(d)].pick(n) else { continue };
                let previous = envelope.claimed().unwrap().previous;
                let previous = if sequence == 0 { Digest::ZERO } else { previous };
                if previous == Digest::ZERO && sequence > 0 {
                    continue;
                }
                let fork = statement(d, sequence, previous, u64::MAX);
                let envelope = fork.bytes().to_vec();
                let expected = Outcome::Forked { sequence, known_index: Some(stored.index), envelope };
                expect_outcome(&running, &fork, &expected);
            }
            Step::Skip(d, ahead) => {
                let next = models[usize::from(d)].next;
                let skip = statement(d, next + ahead, Digest::of(b"unknown"), 1);
                expect_outcome(&running, &skip, &Outcome::Expect(next));
            }
            Step::Act(n) => {
                let kind = [Kind::TOKEN, Kind::POLICY, Kind::PLAN, Kind::DETAIL][usize::from(n % 4)];
                let appended = running.act(kind, &[n; 50]).unwrap();
                assert_eq!(appended[0].index, size);
                size += 1;
            }
            Step::Reopen => {
                running.stop();
                running = bench.open(place).unwrap();
            }
        }
        assert_eq!(running.ledger.size(), size);
        bench.check(&running);
    }
    let published = running.published();
    let leaf = running.ledger.leaf(0).unwrap().hash();
    let proof = running.ledger.inclusion(0, size).unwrap();
    verify_inclusion(0, size, &leaf, &proof, &published.checkpoint.root).unwrap();
    running.stop();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn the_log_follows_the_model_in_memory(steps in steps()) {
        play(In::Memory, &steps);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4, max_shrink_iters: 0, ..ProptestConfig::default() })]
    #[test]
    fn the_log_follows_the_model_in_sled(steps in steps()) {
        play(In::Sled, &steps);
    }
}
