//! A ledger on a temporary folder, with everything from outside in the test's hand, and the check of everything that
//! must hold after every step.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use evidence::envelope::Envelope;
use evidence::ids::InstanceId;
use evidence::keys::SecretKey;
use evidence::leaf::{Chain, Kind, Stream};
use evidence::merkle::{node_hash, verify_consistency, verify_inclusion};
use evidence::note::{Note, VerifierKey};
use evidence::statement::{Anchor, Body, Gap, Statement};
use evidence::time::Clock;

use super::*;
use crate::journal::faults::FaultyIo;
use crate::sequencer::{
    Committed, Context, Device, DeviceAnswer, NewEntry, Outcome, Sequencer, SequencerThread, Stored,
    WriterOptions,
};

mod erasure;

pub(crate) const ORIGIN: &str = "example.org/log/test";
pub(crate) const SEGMENT_BYTES: u64 = 16 * 1024;
/// Small, so that a test reaches the next epoch.
pub(crate) const EPOCH_LEAVES: u64 = 512;

pub(crate) struct TestClock(pub(crate) AtomicU64);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

/// Where the index lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum In {
    Sled,
    Memory,
}

pub(crate) struct Bench {
    pub(crate) parent: tempfile::TempDir,
    pub(crate) io: Arc<FaultyIo>,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) seen: Arc<Mutex<Vec<Committed>>>,
    pub(crate) fatal: Arc<Mutex<Vec<String>>>,
    /// Every checkpoint that ever left, as (size, root).
    pub(crate) left: BTreeMap<u64, Digest>,
}

pub(crate) struct Running {
    pub(crate) ledger: Ledger,
    pub(crate) sequencer: Sequencer,
    pub(crate) thread: SequencerThread,
    pub(crate) report: OpenReport,
}

pub(crate) fn log_key() -> SecretKey {
    SecretKey::from_seed(&[9; 32]).unwrap()
}

pub(crate) fn instance(number: u8) -> InstanceId {
    InstanceId::from_bytes([number; 16])
}

/// A statement of an instance; `tag` makes its bytes differ.
pub(crate) fn statement(number: u8, sequence: u64, previous: Digest, tag: u64) -> Envelope {
    let reason = proto::GapReason::SpoolFull;
    let gap = Gap::NotMade { first_minute: tag, last_minute: tag, count: 1, reason };
    sign(number, sequence, previous, gap)
}

/// Declares `first..=last` destroyed.
pub(crate) fn destroyed(number: u8, first: u64, last: u64, previous: Digest) -> Envelope {
    sign(number, last + 1, previous, Gap::Destroyed { first, last, reason: proto::GapReason::DiskDamage })
}

/// As [`statement`], with an anchor of this size; 0: none.
pub(crate) fn anchored(number: u8, sequence: u64, previous: Digest, size: u64) -> Envelope {
    let mut statement = statement(number, sequence, previous, 1).claimed().unwrap();
    let (origin, root) = (ORIGIN.to_owned(), Digest::ZERO);
    statement.anchor = (size > 0).then_some(Anchor { origin, size, root, note: None });
    Envelope::sign(&statement, &SecretKey::from_seed(&[number; 32]).unwrap())
}

fn sign(number: u8, sequence: u64, previous: Digest, gap: Gap) -> Envelope {
    let statement =
        Statement { instance: instance(number), sequence, previous, anchor: None, body: Body::Gap(gap) };
    Envelope::sign(&statement, &SecretKey::from_seed(&[number; 32]).unwrap())
}

impl Bench {
    /// A new ledger with its genesis.
    pub(crate) fn new() -> Self {
        let bench = Self {
            parent: tempfile::tempdir().unwrap(),
            io: Arc::new(FaultyIo::default()),
            clock: Arc::new(TestClock(AtomicU64::new(1_000_000))),
            seen: Arc::default(),
            fatal: Arc::default(),
            left: BTreeMap::new(),
        };
        bench.create(b"genesis").unwrap();
        bench
    }

    pub(crate) fn create(&self, payload: &'static [u8]) -> Result<(), OpenError> {
        let dir = DataDir::create(&self.path(), 0).unwrap();
        let mut random = Self::random();
        let genesis = Box::new(|_: &Context| Ok(vec![NewEntry::new(Kind::GENESIS, payload.to_vec())]));
        let now = self.clock.now();
        Ledger::create(&dir, &self.options(), &dir.high_water(), now, &mut random, genesis)
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.parent.path().join("data")
    }

    pub(crate) fn options(&self) -> LedgerOptions {
        LedgerOptions {
            segment_bytes: SEGMENT_BYTES,
            io: self.io.clone(),
            epoch_leaves: EPOCH_LEAVES,
            journal_segments_kept: u64::MAX,
        }
    }

    fn random() -> crate::sequencer::Random {
        let mut counter = 0_u8;
        Box::new(move |bytes| {
            counter = counter.wrapping_add(1);
            bytes.fill(counter);
            Ok(())
        })
    }

    pub(crate) fn writer_options(&self) -> WriterOptions {
        let (seen, fatal) = (self.seen.clone(), self.fatal.clone());
        let high_water = self.path().join("high-water");
        let mut options = WriterOptions::new(ORIGIN, log_key(), self.clock.clone(), high_water);
        options.random = Self::random();
        options.observer = Box::new(move |entry| seen.lock().unwrap().push(entry.clone()));
        options.fatal = Box::new(move |reason| fatal.lock().unwrap().push(reason.to_owned()));
        options.checkpoint_interval = Duration::ZERO;
        options.free_bytes_min = 1;
        options
    }

    pub(crate) fn open(&self, place: In) -> Result<Running, OpenError> {
        self.open_with(place, self.writer_options())
    }

    pub(crate) fn open_with(&self, place: In, options: WriterOptions) -> Result<Running, OpenError> {
        let dir = Arc::new(DataDir::open(&self.path()).unwrap());
        let (ledger, unstarted) = match place {
            In::Sled => Ledger::open(dir, &self.options())?,
            In::Memory => Ledger::open_in_memory(dir, &self.options())?,
        };
        let report = unstarted.report.clone();
        let (sequencer, thread) = unstarted.start(options).unwrap();
        Ok(Running { ledger, sequencer, thread, report })
    }

    /// Everything that must hold of a log at any moment.
    pub(crate) fn check(&mut self, running: &Running) {
        let ledger = &running.ledger;
        let Snapshot { size, root, streams, .. } = ledger.snapshot();
        let mut hashes = Vec::new();
        let mut chains = [StreamHead::default(); 4];
        let mut received = Timestamp(0);
        for index in 0..size {
            let entry = ledger.entry(index).unwrap();
            assert_eq!(entry.leaf, ledger.leaf(index).unwrap());
            assert!(entry.leaf.received >= received, "time went back at {index}");
            received = entry.leaf.received;
            hashes.push(entry.leaf.hash());
            let stream = entry.leaf.kind.stream;
            let place = Stream::CHAINED.iter().position(|chained| *chained == stream);
            assert_eq!(entry.leaf.chain.is_some(), place.is_some());
            if let (Some(place), Some(Chain { sequence, previous })) = (place, entry.leaf.chain) {
                let head = chains[place];
                assert_eq!((sequence, previous), (head.entries, head.last_leaf_hash), "stream at {index}");
                assert_eq!(ledger.stream_entry(stream, sequence).unwrap(), Some(index));
                chains[place] = StreamHead { entries: sequence + 1, last_leaf_hash: entry.leaf.hash() };
            }
            let proof = ledger.inclusion(index, size).unwrap();
            verify_inclusion(index, size, &entry.leaf.hash(), &proof, &root).unwrap();
        }
        assert_eq!(chains, streams);
        assert_eq!(ledger.heads(size).unwrap(), streams);
        assert_eq!(naive_root(&hashes), root);
        if let Some(published) = ledger.checkpoint() {
            let key = VerifierKey::new(ORIGIN, *log_key().public()).unwrap();
            let note = Note::parse(published.note.as_bytes()).unwrap();
            assert_eq!(Checkpoint::open_of(&note, &[key], ORIGIN).unwrap(), published.checkpoint);
            self.left.insert(published.checkpoint.size, published.checkpoint.root);
        }
        for (from, old) in &self.left {
            let proof = ledger.consistency(*from, size).unwrap();
            verify_consistency(*from, old, size, &root, &proof).unwrap();
        }
        assert_eq!(*self.fatal.lock().unwrap(), Vec::<String>::new());
    }
}

fn naive_root(leaves: &[Digest]) -> Digest {
    match leaves {
        [] => Digest::of(b""),
        [leaf] => *leaf,
        _ => {
            let middle = leaves.len().next_power_of_two() / 2;
            node_hash(&naive_root(&leaves[..middle]), &naive_root(&leaves[middle..]))
        }
    }
}

impl Running {
    /// Submits and waits.
    pub(crate) fn submit(&self, envelope: &Envelope) -> DeviceAnswer {
        let waiting = self.sequencer.submit(Device::new(envelope).unwrap())?;
        waiting.blocking_recv().unwrap_or(Err(crate::sequencer::SubmitError::Stopped))
    }

    pub(crate) fn stored(&self, envelope: &Envelope) -> Stored {
        match self.submit(envelope).unwrap() {
            Outcome::Stored(stored) => stored,
            other => panic!("not stored: {other:?}"),
        }
    }

    pub(crate) fn act(&self, kind: Kind, payload: &[u8]) -> crate::sequencer::ActAnswer {
        let payload = payload.to_vec();
        let build = Box::new(move |_: &Context| Ok(vec![NewEntry::new(kind, payload)]));
        self.sequencer.act(build).unwrap().blocking_recv().unwrap()
    }

    /// Statements 0..count of an instance; gives the hash of the last.
    pub(crate) fn fill(&self, number: u8, count: u64) -> Digest {
        let mut previous = Digest::ZERO;
        for sequence in 0..count {
            let envelope = statement(number, sequence, previous, sequence);
            self.stored(&envelope);
            previous = envelope.hash();
        }
        previous
    }

    /// Statements `from`..`from + count` of an instance after the one with hash `previous`, all at once; gives the hash of
    /// the last.
    pub(crate) fn fill_at_once(&self, number: u8, from: u64, count: u64, mut previous: Digest) -> Digest {
        let mut waiting = Vec::new();
        for sequence in from..from + count {
            let envelope = statement(number, sequence, previous, sequence);
            waiting.push(self.sequencer.submit(Device::new(&envelope).unwrap()).unwrap());
            previous = envelope.hash();
        }
        for answer in waiting {
            let answer = answer.blocking_recv().unwrap().unwrap();
            assert!(matches!(answer, Outcome::Stored(_)), "{answer:?}");
        }
        previous
    }

    /// Waits until everything committed is published.
    pub(crate) fn published(&self) -> Arc<Published> {
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(found) = self.ledger.checkpoint()
                && found.checkpoint.size == self.ledger.size()
            {
                return found;
            }
            assert!(std::time::Instant::now() < deadline, "no checkpoint: {:?}", self.ledger.signing());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    pub(crate) fn stop(self) {
        self.thread.stop();
    }
}

#[test]
fn the_genesis_is_entry_0_and_a_ledger_is_made_once() {
    let mut bench = Bench::new();
    let running = bench.open(In::Sled).unwrap();
    let genesis = running.ledger.entry(0).unwrap();
    assert_eq!((genesis.leaf.kind, genesis.payload.as_slice()), (Kind::GENESIS, b"genesis".as_slice()));
    assert_eq!(running.published().checkpoint.size, 1);
    bench.check(&running);
    running.stop();
    let dir = DataDir::open(&bench.path()).unwrap();
    let mut random = Bench::random();
    let genesis = Box::new(|_: &Context| Ok(vec![NewEntry::new(Kind::GENESIS, vec![1])]));
    let again = Ledger::create(&dir, &bench.options(), &dir.high_water(), Timestamp(1), &mut random, genesis);
    assert!(matches!(again, Err(OpenError::Journal(JournalError::Exists { .. }))));
}

#[test]
fn an_unfinished_init_is_said_to_be_one() {
    let mut bench = Bench::new();
    bench.parent = tempfile::tempdir().unwrap();
    let dir = DataDir::create(&bench.path(), 0).unwrap();
    crate::journal::Journal::create(&dir.journal(), SEGMENT_BYTES, bench.io.clone()).unwrap();
    drop(dir);
    assert!(matches!(bench.open(In::Sled), Err(OpenError::Unfinished { .. })));
    bench.parent = tempfile::tempdir().unwrap();
    let dir = DataDir::create(&bench.path(), 0).unwrap();
    let act = Box::new(|_: &Context| Ok(vec![NewEntry::new(Kind::TOKEN, vec![1])]));
    let mut random = Bench::random();
    let made = Ledger::create(&dir, &bench.options(), &dir.high_water(), Timestamp(1), &mut random, act);
    assert!(matches!(made, Err(OpenError::Genesis(_))));
}

#[test]
fn everything_is_there_after_each_reopening() {
    let mut bench = Bench::new();
    let mut previous = Digest::ZERO;
    for sequence in 0..12 {
        let running = bench.open(In::Sled).unwrap();
        assert_eq!(running.report.rebuilt.is_some(), sequence == 0, "{:?}", running.report);
        let envelope = statement(1, sequence, previous, 7);
        let stored = running.stored(&envelope);
        assert_eq!(stored.index, 2 * sequence + 1);
        running.act(Kind::TOKEN, b"token").unwrap();
        previous = envelope.hash();
        running.published();
        bench.check(&running);
        running.stop();
    }
}

#[test]
fn a_lost_cut_or_overwritten_index_is_rebuilt_with_the_same_root() {
    let mut bench = Bench::new();
    let running = bench.open(In::Sled).unwrap();
    running.fill(1, 400);
    running.published();
    let before = running.ledger.snapshot();
    running.stop();
    let index = bench.path().join("sled/epoch-00000000");
    let copy = bench.parent.path().join("copy");
    copy_folder(&index, &copy);
    let db = fs::read(index.join("db")).unwrap();
    let bytes = db.iter().rposition(|byte| *byte != 0).unwrap() as u64;
    let (mut rebuilt, mut repaired) = (0, 0);
    for damage in 0..10_u64 {
        let db = index.join("db");
        match damage {
            0 => fs::remove_dir_all(&index).unwrap(),
            1 => fs::remove_file(&db).unwrap(),
            2..=6 => {
                let cut = bytes * (damage - 2) / 5;
                fs::OpenOptions::new().write(true).open(&db).unwrap().set_len(cut).unwrap();
            }
            7 => fs::write(index.join("conf"), b"nonsense").unwrap(),
            _ => {
                let file = fs::OpenOptions::new().write(true).open(&db).unwrap();
                let noise: Vec<u8> = (0..bytes).map(|byte| (byte % 251) as u8).collect();
                file.write_all_at(&noise, if damage == 8 { 0 } else { bytes / 4 }).unwrap();
            }
        }
        let running = bench.open(In::Sled).unwrap_or_else(|error| panic!("damage {damage}: {error}"));
        assert_eq!(running.ledger.snapshot(), before, "damage {damage}");
        rebuilt += u32::from(running.report.rebuilt.is_some());
        repaired += u32::from(running.report.indexed_entries > 401 - 256);
        // The entries after the last whole bundle are read at every start.
        assert!(running.report.indexed_entries >= 401 - 256, "damage {damage}");
        assert!(running.report.rebuilt.is_none() || running.report.indexed_entries == 401, "damage {damage}");
        bench.check(&running);
        running.stop();
        fs::remove_dir_all(&index).unwrap();
        copy_folder(&copy, &index);
    }
    // After the milder damages sled opens with an older state, which is behind and catches up.
    assert!(rebuilt >= 4 && repaired >= 9, "{rebuilt} rebuilt, {repaired} repaired");
}

pub(crate) fn copy_folder(from: &std::path::Path, to: &std::path::Path) {
    fs::create_dir_all(to).unwrap();
    for found in fs::read_dir(from).unwrap() {
        let found = found.unwrap();
        if found.file_type().unwrap().is_dir() {
            copy_folder(&found.path(), &to.join(found.file_name()));
        } else {
            fs::copy(found.path(), to.join(found.file_name())).unwrap();
        }
    }
}

#[test]
fn a_journal_behind_its_index_is_refused_and_nothing_changes() {
    let bench = Bench::new();
    let running = bench.open(In::Sled).unwrap();
    running.fill(1, 3);
    running.stop();
    let copy = bench.parent.path().join("older");
    copy_folder(&bench.path().join("journal"), &copy);
    let running = bench.open(In::Sled).unwrap();
    running.fill(2, 300);
    running.stop();
    fs::remove_dir_all(bench.path().join("journal")).unwrap();
    copy_folder(&copy, &bench.path().join("journal"));
    for _ in 0..2 {
        let refused = bench.open(In::Sled).map(|_| ());
        assert!(
            matches!(refused, Err(OpenError::JournalBehind { index_size: 256, journal_size: 4 })),
            "{refused:?}"
        );
    }
}

#[test]
fn an_index_in_use_is_neither_replaced_nor_moved() {
    let bench = Bench::new();
    bench.open(In::Sled).unwrap().stop();
    let index = bench.path().join("sled/epoch-00000000");
    let held = crate::store::sled::SledStore::open(&index, 1 << 20).unwrap();
    let refused = bench.open(In::Sled).map(|_| ());
    assert!(matches!(refused, Err(OpenError::Store(StoreError::Locked { .. }))), "{refused:?}");
    assert_eq!(fs::read_dir(bench.path().join("sled")).unwrap().count(), 1);
    drop(held);
    bench.open(In::Sled).unwrap().stop();
}

#[test]
fn a_payload_changed_on_disk_is_never_given_out() {
    let bench = Bench::new();
    let running = bench.open(In::Memory).unwrap();
    running.fill(1, 2);
    let position = running.ledger.tail().entry(1).unwrap().position;
    let path = bench.path().join(format!("journal/{:08}.seg", position.segment));
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(&[0xEE], position.offset + 100).unwrap();
    assert!(matches!(running.ledger.entry(1), Err(ReadError::Journal(JournalError::Corrupt { .. }))));
    running.ledger.entry(2).unwrap();
    running.stop();
}

#[test]
fn reads_beyond_the_log_are_refused() {
    let bench = Bench::new();
    let running = bench.open(In::Memory).unwrap();
    let ledger = &running.ledger;
    assert!(matches!(ledger.entry(1), Err(ReadError::NoEntry { index: 1, size: 1 })));
    assert!(matches!(ledger.inclusion(1, 1), Err(ReadError::Sizes { .. })));
    assert!(matches!(ledger.inclusion(0, 2), Err(ReadError::Sizes { .. })));
    assert!(matches!(ledger.consistency(1, 2), Err(ReadError::Sizes { .. })));
    assert!(matches!(ledger.root_at(2), Err(ReadError::Sizes { .. })));
    assert_eq!(ledger.instance(&instance(1)).unwrap(), None);
    running.stop();
}

#[test]
fn streams_statements_and_heads_are_found_by_their_place() {
    let mut bench = Bench::new();
    let running = bench.open(In::Memory).unwrap();
    running.fill(1, 3);
    running.act(Kind::POLICY, b"first").unwrap();
    running.fill(2, 2);
    running.act(Kind::POLICY, b"second").unwrap();
    let ledger = &running.ledger;
    assert_eq!(ledger.stream(Stream::Rules, 0).unwrap(), [(0, 4), (1, 7)]);
    assert_eq!(ledger.stream(Stream::Rules, 1).unwrap(), [(1, 7)]);
    let statements = ledger.statements(&instance(1), 1).unwrap();
    let places: Vec<_> = statements.iter().map(|one| (one.sequence, one.index)).collect();
    assert_eq!(places, [(1, 2), (2, 3)]);
    assert_eq!(ledger.instance(&instance(2)).unwrap().unwrap().next_sequence, 2);
    let entries = |size| ledger.heads(size).unwrap().map(|head| head.entries);
    assert_eq!(entries(0), [0, 0, 0, 0]);
    assert_eq!(entries(4), [1, 0, 0, 0]);
    assert_eq!(entries(5), [1, 1, 0, 0]);
    assert_eq!(entries(8), [1, 2, 0, 0]);
    assert_eq!(ledger.heads(5).unwrap()[1].last_leaf_hash, ledger.leaf(4).unwrap().hash());
    bench.check(&running);
    running.stop();
}
