use evidence::envelope::Envelope;
use evidence::ids::{Digest, InstanceId};
use evidence::keys::SecretKey;
use evidence::statement::{Body, Gap, SCHEMA_MAX, Statement};
use proptest::prelude::*;
use proto::from_agent::Item;
use proto::to_agent::Item as In;

use super::{Event, Next, REWINDS_MAX, Session, SessionError, WINDOW_STATEMENTS_MAX};
use crate::anchor::Anchor;
use crate::disk::Disk as _;
use crate::fake_log::{FakeLog, say, stored};
use crate::memory_disk::MemoryDisk;
use crate::spool::{Limits, Owner, Spool};

const INSTANCE: [u8; 16] = [1; 16];

fn key() -> SecretKey {
    SecretKey::from_seed(&[7; 32]).unwrap()
}

fn owner() -> Owner {
    Owner { instance: InstanceId::from_bytes(INSTANCE), key: *key().public() }
}

fn limits() -> Limits {
    Limits { segment_bytes_max: 2000, ..Limits::default() }
}

fn put(spool: &mut Spool<MemoryDisk>) {
    let place = spool.place().unwrap();
    let gap = Gap::NotMade {
        first_minute: place.sequence,
        last_minute: place.sequence,
        count: 1,
        reason: proto::GapReason::SpoolFull,
    };
    sign(spool, place.previous, Body::Gap(gap), false);
}

fn sign(spool: &mut Spool<MemoryDisk>, previous: Digest, body: Body, destroyed: bool) {
    let statement = Statement {
        instance: owner().instance,
        sequence: spool.next_sequence(),
        previous,
        anchor: None,
        body,
    };
    let envelope = Envelope::sign(&statement, &key());
    if destroyed {
        spool.put_destroyed(&envelope).unwrap()
    } else {
        spool.put(&envelope).unwrap()
    };
}

struct Device {
    disk: MemoryDisk,
    spool: Spool<MemoryDisk>,
    anchor: Anchor,
    session: Session,
    sent: Vec<u64>,
}

impl Device {
    fn new(log: &FakeLog, statements: u64) -> Self {
        let disk = MemoryDisk::default();
        let mut spool = Spool::create(disk.clone(), owner(), limits()).unwrap();
        (0..statements).for_each(|_| put(&mut spool));
        Self {
            disk,
            spool,
            anchor: Anchor::none(log.pinned()),
            session: Session::default(),
            sent: Vec::new(),
        }
    }

    fn next(&mut self) -> Next {
        self.session.next(&self.spool, &INSTANCE, &self.anchor)
    }

    fn hear(&mut self, message: proto::ToAgent) -> Result<Option<Event>, SessionError> {
        self.session.receive(message, &mut self.spool, &mut self.anchor)
    }

    /// Runs until nothing is left to say, every answer arriving at once.
    fn talk(&mut self, log: &mut FakeLog) -> Result<Vec<Event>, SessionError> {
        let mut events = Vec::new();
        loop {
            match self.next() {
                Next::Idle => return Ok(events),
                Next::Gap(first) => {
                    let (gap, previous) = self.spool.destroyed_from(first).unwrap();
                    sign(&mut self.spool, previous, Body::Gap(gap), true);
                    self.session.resume_from(self.spool.next_sequence() - 1);
                }
                Next::Send(item) => {
                    if let Item::Envelope(bytes) = &item {
                        self.sent.push(Envelope::parse(bytes).unwrap().claimed().unwrap().sequence);
                    }
                    for answer in log.answer(item) {
                        events.extend(self.hear(answer)?);
                    }
                }
            }
        }
    }

    fn reconnect(&mut self) {
        self.session = Session::default();
    }

    fn restart(&mut self) {
        self.spool = Spool::open(self.disk.clone(), owner(), limits()).unwrap();
        self.reconnect();
    }

    fn damage(&mut self, sequence: u64) {
        let bytes = self.spool.kept()[&sequence].envelope.clone();
        for name in self.disk.names() {
            let file = self.disk.read(&name).unwrap();
            if let Some(at) = file.windows(bytes.len()).position(|part| part == bytes) {
                self.disk.edit(&name, |file| file[at + 20] ^= 1);
            }
        }
        self.restart();
        assert!(self.spool.lost().contains(&sequence));
    }
}

#[test]
fn statements_go_out_are_stored_proved_and_given_back() {
    let mut log = FakeLog::new(5);
    let mut device = Device::new(&log, 3);
    device.talk(&mut log).unwrap();
    assert_eq!(device.sent, [0, 1, 2]);
    assert_eq!(device.spool.kept().len(), 3, "stored is not proved");
    let checkpoint = log.checkpoint();
    assert_eq!(device.hear(checkpoint).unwrap(), Some(Event::Anchored(8)));
    for sequence in 0..3 {
        assert_eq!(device.hear(log.proved(sequence)).unwrap(), Some(Event::Proved(sequence)));
    }
    assert!(device.spool.kept().is_empty());
    assert_eq!(device.hear(log.proved(1)).unwrap(), None, "proved twice");
    log.leaves.push(Digest::of(b"another"));
    let checkpoint = log.checkpoint();
    assert_eq!(device.hear(checkpoint).unwrap(), Some(Event::Anchored(9)));
}

#[test]
fn no_more_than_a_window_is_sent_unanswered() {
    let log = FakeLog::new(1);
    let mut device = Device::new(&log, 50);
    assert!(matches!(device.next(), Next::Send(Item::Hello(_))));
    assert_eq!(device.next(), Next::Idle, "nothing before the welcome");
    device.hear(say(In::Welcome(proto::Welcome { schema_max: SCHEMA_MAX, next_sequence: 0 }))).unwrap();
    let sent = std::iter::repeat_with(|| device.next()).take_while(|next| *next != Next::Idle).count();
    assert_eq!(sent, WINDOW_STATEMENTS_MAX);
}

#[test]
fn lost_answers_are_asked_for_again() {
    let mut log = FakeLog::new(2);
    let mut device = Device::new(&log, 4);
    while let Next::Send(item) = device.next() {
        for answer in log.answer(item) {
            if matches!(answer.item, Some(In::Welcome(_))) || log.next < 3 {
                device.hear(answer).unwrap();
            }
        }
    }
    device.restart();
    device.talk(&mut log).unwrap();
    assert!(device.spool.kept().values().all(|kept| kept.receipt.is_some()));
    device.reconnect();
    device.talk(&mut log).unwrap();
    assert!(device.spool.kept().is_empty(), "the greeting asks for the proofs");
}

#[test]
fn a_proof_of_anything_else_gives_nothing_back() {
    let mut log = FakeLog::new(6);
    let mut device = Device::new(&log, 1);
    device.talk(&mut log).unwrap();
    let Some(In::Proved(good)) = log.proved(0).item else { panic!() };
    let stranger = SecretKey::from_seed(&[1; 32]).unwrap();
    let mut forged = FakeLog::new(6);
    forged.key = stranger;
    forged.leaves.clone_from(&log.leaves);
    forged.stored.clone_from(&log.stored);
    let Some(In::Proved(forged)) = forged.proved(0).item else { panic!() };
    let texts = [
        forged.tlog_proof,
        good.tlog_proof.replace("index 6", "index 5"),
        good.tlog_proof.replacen("example.org", "example.com", 1),
        good.tlog_proof.lines().map(|line| format!("{line}\n")).take(4).collect(),
        String::new(),
    ];
    for tlog_proof in texts {
        device.reconnect();
        device.next();
        device.hear(say(In::Welcome(proto::Welcome { schema_max: SCHEMA_MAX, next_sequence: 1 }))).unwrap();
        let proof = || say(In::Proved(proto::Proved { sequence: 0, tlog_proof: tlog_proof.clone() }));
        let event = device.hear(proof()).unwrap();
        assert!(matches!(event, Some(Event::ProofRefused(0, _))), "{event:?}");
        assert!(matches!(device.next(), Next::Send(Item::Envelope(_))), "its answer is asked for again");
        assert!(device.hear(proof()).is_err(), "twice is enough");
        assert_eq!(device.spool.kept().len(), 1);
    }
    device.reconnect();
    assert_eq!(device.talk(&mut log).unwrap(), [Event::Proved(0)]);
}

#[test]
fn checkpoints_only_grow_and_only_continue() {
    let mut log = FakeLog::new(5);
    let mut device = Device::new(&log, 0);
    device.talk(&mut log).unwrap();
    let first = log.checkpoint();
    device.hear(first.clone()).unwrap();
    assert!(matches!(device.hear(first), Err(SessionError::Checkpoint(_))), "from a size passed long ago");
    let mut rewritten = FakeLog::new(9);
    rewritten.leaves[2] = Digest::of(b"rewritten");
    rewritten.anchor_of_agent = 5;
    let checkpoint = rewritten.checkpoint();
    assert!(matches!(device.hear(checkpoint), Err(SessionError::Checkpoint(_))));
    let mut smaller = FakeLog::new(3);
    let checkpoint = proto::Checkpoint {
        note: smaller.note(),
        consistency: Vec::new(),
        from_size: 5,
        ..Default::default()
    };
    assert!(matches!(device.hear(say(In::Checkpoint(checkpoint))), Err(SessionError::Checkpoint(_))));
    smaller.anchor_of_agent = 0;
    let checkpoint = smaller.checkpoint();
    assert!(matches!(device.hear(checkpoint), Err(SessionError::Checkpoint(_))));
    assert_eq!(device.anchor.size(), 5);
}

#[test]
fn a_forked_log_is_noticed_by_its_proofs() {
    let mut log = FakeLog::new(4);
    let mut device = Device::new(&log, 1);
    device.talk(&mut log).unwrap();
    let checkpoint = log.checkpoint();
    device.hear(checkpoint).unwrap();
    log.leaves[0] = Digest::of(b"other");
    assert!(matches!(device.hear(log.proved(0)), Err(SessionError::Forked { size: 5 })));
    assert_eq!(device.spool.kept().len(), 1);
}

#[test]
fn clones_and_roll_backs_are_told_apart() {
    let mut log = FakeLog::new(0);
    let mut device = Device::new(&log, 2);
    log.next = 3;
    assert!(matches!(device.talk(&mut log), Err(SessionError::Behind { collector: 3, device: 2 })));
    let mut log = FakeLog::new(0);
    let mut device = Device::new(&log, 2);
    device.talk(&mut log).unwrap();
    device.hear(log.proved(0)).unwrap();
    device.hear(log.proved(1)).unwrap();
    device.reconnect();
    log.next = 1;
    assert!(matches!(device.talk(&mut log), Err(SessionError::RolledBack { collector: 1, device: 2 })));
}

#[test]
fn a_refusal_stops_the_stream_and_keeps_the_statement() {
    let log = FakeLog::new(0);
    let mut device = Device::new(&log, 3);
    device.next();
    device.hear(say(In::Welcome(proto::Welcome { schema_max: SCHEMA_MAX, next_sequence: 0 }))).unwrap();
    device.next();
    let reason = proto::RefusedReason::Retired.into();
    let refused = proto::Refused { sequence: 0, reason, detail: "re\u{7}tired\n".into() };
    let event = device.hear(say(In::Refused(refused))).unwrap();
    let expected =
        Event::Refused { sequence: 0, reason: proto::RefusedReason::Retired, detail: "retired".into() };
    assert_eq!(event, Some(expected));
    assert_eq!(device.next(), Next::Idle);
    assert_eq!(device.spool.kept().len(), 3);
}

#[test]
fn expect_rewinds_and_not_for_ever() {
    let log = FakeLog::new(0);
    let mut device = Device::new(&log, 3);
    device.next();
    device.hear(say(In::Welcome(proto::Welcome { schema_max: SCHEMA_MAX, next_sequence: 0 }))).unwrap();
    for _ in 0..REWINDS_MAX {
        while device.next() != Next::Idle {}
        for _ in 0..3 {
            device.hear(say(In::Expect(proto::Expect { sequence: 0 }))).unwrap();
        }
    }
    assert!(matches!(device.next(), Next::Send(Item::Envelope(_))));
    assert!(device.hear(say(In::Expect(proto::Expect { sequence: 0 }))).is_err());
}

#[test]
fn a_busy_writer_gets_everything_again_in_order() {
    let mut log = FakeLog::new(0);
    let mut device = Device::new(&log, 5);
    let Next::Send(hello) = device.next() else { panic!() };
    log.answer(hello).into_iter().for_each(|answer| drop(device.hear(answer).unwrap()));
    let mut flying = Vec::new();
    while let Next::Send(Item::Envelope(bytes)) = device.next() {
        flying.push(bytes);
    }
    assert_eq!(flying.len(), 5);
    // The writer takes 0, has no room for 1, and finds the others out of order.
    for answer in log.answer(Item::Envelope(flying[0].clone())) {
        device.hear(answer).unwrap();
    }
    for _ in 1..5 {
        assert_eq!(device.next(), Next::Idle, "answers are owed for what is in flight");
        device.hear(say(In::SlowDown(proto::SlowDown { ms: 500 }))).unwrap();
        device.hear(say(In::Expect(proto::Expect { sequence: 1 }))).unwrap();
    }
    device.talk(&mut log).unwrap();
    assert_eq!(device.sent, [1, 2, 3, 4]);
    assert_eq!(log.next, 5);
    assert!(device.spool.kept().values().all(|kept| kept.receipt.is_some()));
}

#[test]
fn an_older_collector_is_not_written_to() {
    let log = FakeLog::new(0);
    let mut device = Device::new(&log, 1);
    device.next();
    let welcome = say(In::Welcome(proto::Welcome { schema_max: SCHEMA_MAX - 1, next_sequence: 0 }));
    assert!(matches!(device.hear(welcome), Err(SessionError::Schema { found }) if found == SCHEMA_MAX - 1));
    assert_eq!(device.next(), Next::Idle);
}

/// Statement `lost` of 4 is damaged after the collector got the first `sent`.
fn damaged(sent: u64, lost: u64) -> (FakeLog, Device) {
    let mut log = FakeLog::new(3);
    let mut device = Device::new(&log, 4);
    device.next();
    let welcome = log.answer(Item::Hello(proto::Hello::default()));
    for answer in welcome {
        device.hear(answer).unwrap();
    }
    for _ in 0..sent {
        let Next::Send(item) = device.next() else { panic!() };
        for answer in log.answer(item) {
            device.hear(answer).unwrap();
        }
    }
    device.damage(lost);
    (log, device)
}

#[test]
fn what_the_collector_lacks_is_named_by_one_gap() {
    for (sent, lost, gap) in [(0, 1, 1), (1, 1, 1), (1, 2, 2), (3, 3, 3), (0, 3, 3)] {
        let (mut log, mut device) = damaged(sent, lost);
        device.talk(&mut log).unwrap();
        assert_eq!(log.next, 5, "sent {sent}, lost {lost}");
        let last = Envelope::parse(&log.stored[&4].0).unwrap().claimed().unwrap();
        let Body::Gap(Gap::Destroyed { first, last, .. }) = last.body else { panic!("{last:?}") };
        assert_eq!((first, last), (gap, 3), "sent {sent}, lost {lost}");
        put(&mut device.spool);
        device.talk(&mut log).unwrap();
        assert_eq!(log.next, 6);
    }
}

#[test]
fn what_the_collector_has_needs_no_gap() {
    for (sent, lost) in [(2, 1), (4, 3), (4, 0), (1, 0)] {
        let (mut log, mut device) = damaged(sent, lost);
        device.talk(&mut log).unwrap();
        assert_eq!(log.next, 4, "sent {sent}, lost {lost}");
        device.reconnect();
        device.talk(&mut log).unwrap();
        assert!(device.spool.kept().is_empty() && device.spool.lost().is_empty());
    }
}

#[derive(Debug, Clone)]
enum Move {
    /// The agent says the next thing.
    Say,
    /// The oldest unheard answer arrives.
    Hear,
    Checkpoint,
    Prove(u64),
    Put,
    Reconnect,
    Restart,
    /// The collector says anything at all.
    Lie(proto::ToAgent),
}

fn lie() -> impl Strategy<Value = proto::ToAgent> {
    let small = 0..12u64;
    prop_oneof![
        (0..SCHEMA_MAX + 2, small.clone()).prop_map(|(schema_max, next_sequence)| {
            say(In::Welcome(proto::Welcome { schema_max, next_sequence }))
        }),
        (small.clone(), small.clone(), prop::collection::vec(any::<u8>(), 30..34)).prop_map(
            |(sequence, index, salt)| say(In::Stored(proto::Stored {
                sequence,
                index,
                received_ms: 1,
                salt
            }))
        ),
        (small.clone(), ".{0,40}")
            .prop_map(|(sequence, tlog_proof)| { say(In::Proved(proto::Proved { sequence, tlog_proof })) }),
        (small.clone(), ".{0,40}").prop_map(|(from_size, note)| {
            say(In::Checkpoint(proto::Checkpoint {
                note,
                consistency: vec![vec![0; 32]],
                from_size,
                ..Default::default()
            }))
        }),
        small.clone().prop_map(|sequence| say(In::Expect(proto::Expect { sequence }))),
        (small, any::<i32>()).prop_map(|(sequence, reason)| {
            say(In::Refused(proto::Refused { sequence, reason, detail: String::new() }))
        }),
        any::<u32>().prop_map(|ms| say(In::SlowDown(proto::SlowDown { ms }))),
        Just(proto::ToAgent { item: None }),
    ]
}

fn a_move() -> impl Strategy<Value = Move> {
    prop_oneof![
        8 => Just(Move::Say),
        8 => Just(Move::Hear),
        2 => Just(Move::Checkpoint),
        4 => (0..12u64).prop_map(Move::Prove),
        3 => Just(Move::Put),
        1 => Just(Move::Reconnect),
        1 => Just(Move::Restart),
        2 => lie().prop_map(Move::Lie),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn whatever_is_said_nothing_leaves_unproved_or_out_of_order(
        moves in prop::collection::vec(a_move(), 1..120),
        honest in any::<bool>(),
    ) {
        let mut log = FakeLog::new(3);
        let mut device = Device::new(&log, 2);
        let mut answers: Vec<proto::ToAgent> = Vec::new();
        let mut last_sent = None;
        let mut greeted = false;
        for a_move in moves {
            let heard = match a_move {
                Move::Say => {
                    let next = device.next();
                    prop_assert!(!matches!(next, Next::Gap(_)), "nothing was lost");
                    if let Next::Send(item) = next {
                        greeted = true;
                        if let Item::Envelope(bytes) = &item {
                            let sequence = Envelope::parse(bytes).unwrap().claimed().unwrap().sequence;
                            // Ascending, unless the collector asked to begin again or doubted an answer.
                            prop_assert!(!honest || last_sent.is_none_or(|last| last < sequence));
                            last_sent = Some(sequence);
                        }
                        answers.extend(log.answer(item));
                    }
                    None
                }
                Move::Hear => (!answers.is_empty()).then(|| answers.remove(0)),
                Move::Checkpoint | Move::Prove(_) if !greeted => None,
                Move::Checkpoint => {
                    // Queued like any answer: the sizes it starts from are then in order.
                    answers.push(log.checkpoint());
                    None
                }
                Move::Prove(sequence) if log.stored.contains_key(&sequence) => {
                    answers.push(log.proved(sequence));
                    None
                }
                Move::Prove(_) => None,
                Move::Put => {
                    put(&mut device.spool);
                    None
                }
                Move::Reconnect | Move::Restart => {
                    if matches!(a_move, Move::Restart) { device.restart() } else { device.reconnect() }
                    answers.clear();
                    (last_sent, greeted) = (None, false);
                    None
                }
                Move::Lie(message) => (!honest).then_some(message),
            };
            if let Some(message) = heard {
                let proof = matches!(message.item, Some(In::Proved(_)));
                let before: Vec<u64> = device.spool.kept().keys().copied().collect();
                let size = device.anchor.size();
                let heard = device.hear(message);
                prop_assert!(!honest || heard.is_ok(), "{:?}", heard);
                let after: Vec<u64> = device.spool.kept().keys().copied().collect();
                for sequence in before.iter().filter(|sequence| !after.contains(sequence)) {
                    prop_assert!(proof && log.stored.contains_key(sequence), "{} left", sequence);
                }
                prop_assert!(device.anchor.size() >= size);
                if heard.is_err() {
                    device.reconnect();
                    answers.clear();
                    (last_sent, greeted) = (None, false);
                }
            }
        }
        // Whatever happened, an honest collector gets everything in the end, and everything is given back.
        for _ in 0..4 {
            device.reconnect();
            device.talk(&mut log).unwrap();
            for sequence in 0..log.next {
                device.hear(log.proved(sequence)).unwrap();
            }
        }
        prop_assert_eq!(log.next, device.spool.next_sequence());
        prop_assert!(device.spool.kept().is_empty(), "{:?}", device.spool.kept().keys());
    }
}

#[test]
fn answers_to_what_was_not_sent_are_refused() {
    let mut log = FakeLog::new(0);
    let mut device = Device::new(&log, 2);
    device.next();
    let receipt = crate::spool::Receipt { index: 0, received: evidence::time::Timestamp(1), salt: [0; 32] };
    for answer in log.answer(Item::Hello(proto::Hello::default())) {
        device.hear(answer).unwrap();
    }
    device.next();
    assert!(matches!(device.hear(stored(1, &receipt)), Err(SessionError::Protocol(_))));
    assert!(device.spool.kept().values().all(|kept| kept.receipt.is_none()));
}
