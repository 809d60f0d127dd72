use std::sync::atomic::Ordering;

use evidence::keys::SecretKey;
use evidence::note::{VerifierKey, WitnessKey};

use super::*;
use crate::fsck;
use crate::ledger::tests::{Bench, In, ORIGIN, Running, log_key, statement};
use crate::witnesses::rounds::{Answer, Contradiction, Question};

mod notes;

/// Patience of these tests.
const PATIENCE: Duration = Duration::from_secs(20);

/// Witnesses in the test's hand, and the log they are asked about.
struct Panel {
    bench: Bench,
    running: Option<Running>,
    desk: Arc<Desk>,
    keys: Vec<(String, SecretKey)>,
    answered: u64,
}

fn policy(keys: &[(String, SecretKey)], quorum: &str) -> WitnessPolicy {
    let log = VerifierKey::new(ORIGIN, *log_key().public()).unwrap().vkey();
    let mut text = format!("log {log}\n");
    for (number, (name, key)) in keys.iter().enumerate() {
        let vkey = WitnessKey::new(name, *key.public()).unwrap().vkey();
        text += &["witness w", &number.to_string(), " ", &vkey, " http://127.0.0.1:1\n"].concat();
    }
    let all: Vec<String> = (0..keys.len()).map(|number| format!("w{number}")).collect();
    text += &["group q ", quorum, " ", &all.join(" "), "\nquorum q\n"].concat();
    WitnessPolicy::parse(text.as_bytes()).unwrap()
}

impl Panel {
    fn new(count: u8, quorum: &str) -> Self {
        Self::named(count, quorum, "witness.example")
    }

    fn named(count: u8, quorum: &str, name: &str) -> Self {
        let key = |number: u8| SecretKey::from_seed(&[100 + number; 32]).unwrap();
        let keys: Vec<_> = (0..count).map(|number| (format!("{name}/{number}"), key(number))).collect();
        let desk = Arc::new(Desk::new(policy(&keys, quorum)));
        Self { bench: Bench::new(), running: None, desk, keys, answered: 0 }
    }

    /// Starts the log, with an empty desk as after a start of the process.
    fn start(&mut self, mark_suffices: bool) {
        self.start_with(mark_suffices, RECOSIGN_INTERVAL_DEFAULT, In::Memory);
    }

    fn start_with(&mut self, mark_suffices: bool, recosign_interval: Duration, place: In) {
        let policy = self.desk.rounds().policy().clone();
        self.desk = Arc::new(Desk::new(policy));
        self.answered = 0;
        let mut options = self.bench.writer_options();
        options.witnesses =
            Some(WitnessOptions { desk: Arc::clone(&self.desk), mark_suffices, recosign_interval });
        self.running = Some(self.bench.open_with(place, options).unwrap());
    }

    fn running(&self) -> &Running {
        self.running.as_ref().unwrap()
    }

    fn stop(&mut self) {
        self.running.take().unwrap().stop();
    }

    fn published_size(&self) -> u64 {
        self.running().ledger.checkpoint().map_or(0, |published| published.checkpoint.size)
    }

    fn signing(&self) -> Signing {
        self.running().ledger.signing()
    }

    fn wait(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds(self) {
            assert!(Instant::now() < deadline, "waited for {what}: {:?}", self.signing());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// The next question that has not been answered.
    fn question(&mut self) -> Arc<Question> {
        let newest = || self.desk.questions().borrow().clone();
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(question) = newest().filter(|question| question.number > self.answered) {
                self.answered = question.number;
                return question;
            }
            assert!(Instant::now() < deadline, "nothing was asked: {:?}", self.signing());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn take(&self, place: usize, question: &Question, answer: Answer) {
        self.desk.take(place, question, answer);
        self.running().sequencer.look();
    }

    /// A good answer, signed at the bench's time plus `offset_seconds`.
    fn cosign_at(&self, place: usize, question: &Question, offset_seconds: i64) {
        let (name, key) = &self.keys[place];
        let seconds =
            (self.bench.clock.0.load(Ordering::SeqCst) / 1000).saturating_add_signed(offset_seconds);
        let line = question.note.cosignature(name, key, seconds).unwrap();
        self.take(place, question, Answer::Lines(line.into_bytes()));
    }

    fn cosign(&self, question: &Question) {
        for place in 0..self.keys.len() {
            self.cosign_at(place, question, 0);
        }
    }

    fn fail(&self, question: &Question) {
        for place in 0..self.keys.len() {
            self.take(place, question, Answer::Failed("unreachable".into()));
        }
    }

    /// Answers everything until everything committed is published.
    fn publish_all(&mut self) {
        while self.published_size() < self.running().ledger.size() {
            let question = self.question();
            self.cosign(&question);
            let size = question.checkpoint.size;
            self.wait("publishing", |panel| panel.published_size() >= size);
        }
        let running = self.running.take().unwrap();
        self.bench.check(&running);
        self.running = Some(running);
    }

    fn fsck(&self) {
        let dir = crate::datadir::DataDir::open(&self.bench.path()).unwrap();
        let key = VerifierKey::new(ORIGIN, *log_key().public()).unwrap();
        let mark = dir.high_water();
        let options = fsck::Options {
            log_keys: &[key],
            origin: Some(ORIGIN),
            high_water: Some(&mark),
            ..fsck::Options::default()
        };
        let report = fsck::check(&dir, &options).unwrap();
        assert!(report.sound, "{:?}", report.faults);
    }
}

#[test]
fn nothing_is_signed_before_the_comparison_nor_published_before_the_quorum() {
    let mut panel = Panel::new(2, "all");
    panel.start(true);
    let first = panel.question();
    // A log without a checkpoint asks about the empty tree.
    assert_eq!(first.checkpoint.size, 0);
    panel.running().fill(1, 2);
    panel.cosign_at(0, &first, 0);
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(
        (panel.signing(), panel.desk.questions().borrow().as_ref().unwrap().number),
        (Signing::Held, 1)
    );
    panel.cosign_at(1, &first, 0);
    let second = panel.question();
    assert_eq!((second.checkpoint.size, second.note.signatures()), (3, 1));
    panel.cosign_at(1, &second, 0);
    // What comes in meanwhile waits for the next one: entries lie between the two records of the checkpoint.
    panel.running().fill(2, 3);
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(panel.published_size(), 0, "one of two is not the quorum");
    panel.cosign_at(0, &second, 0);
    panel.wait("publishing", |panel| panel.published_size() == 3);
    let published = panel.running().ledger.checkpoint().unwrap();
    let note = Note::parse(published.note.as_bytes()).unwrap();
    assert_eq!(panel.desk.rounds().policy().open(&note).unwrap(), published.checkpoint);
    assert_eq!(note.signatures(), 3);
    panel.publish_all();
    assert_eq!(panel.published_size(), 6);
    panel.stop();
    for (number, place) in [(3, In::Memory), (4, In::Sled), (5, In::Sled)] {
        let size = panel_size(&panel);
        panel.start_with(true, RECOSIGN_INTERVAL_DEFAULT, place);
        assert_eq!(panel.running().ledger.checkpoint(), None, "not before the comparison");
        let question = panel.question();
        assert_eq!(question.checkpoint.size, size);
        panel.fail(&question);
        panel.wait("what was published before", |panel| panel.published_size() == size);
        panel.running().fill(number, 1);
        panel.cosign(&question);
        panel.wait("publishing", |panel| panel.signing() == Signing::Active);
        panel.publish_all();
        panel.stop();
        panel.fsck();
    }
}

/// Size that the mark remembers.
fn panel_size(panel: &Panel) -> u64 {
    let mark = crate::sequencer::high_water::read(&panel.bench.path().join("high-water"));
    mark.unwrap().unwrap().size
}

#[test]
fn a_checkpoint_that_no_quorum_saw_is_asked_about_again_at_the_next_start() {
    let mut panel = Panel::new(2, "all");
    panel.start(true);
    panel.running().fill(1, 2);
    panel.publish_all();
    panel.running().fill(2, 2);
    let unseen = panel.question();
    assert_eq!(unseen.checkpoint.size, 4, "{unseen:?}");
    panel.cosign_at(0, &unseen, 0);
    panel.stop();
    panel.start(true);
    let again = panel.question();
    assert_eq!((&again.checkpoint, &again.note), (&unseen.checkpoint, &unseen.note));
    panel.fail(&again);
    panel.wait("what met the quorum", |panel| panel.published_size() == 3);
    let waits_for_the_quorum = panel.desk.questions().borrow().as_ref().unwrap().number;
    assert_eq!(waits_for_the_quorum, again.number, "no further checkpoint is signed");
    panel.cosign(&again);
    panel.publish_all();
    panel.stop();
    // Without a quorum the newest that the log signed is published, as ever.
    let running = panel.bench.open(In::Memory).unwrap();
    assert_eq!(running.published().checkpoint.size, 5);
    panel.bench.check(&running);
    running.stop();
}

#[test]
fn a_witness_that_holds_another_log_stops_signing_at_start_and_later() {
    for (size, status) in [(9, 409), (3, 422)] {
        let mut panel = Panel::new(2, "any");
        panel.start(true);
        panel.running().fill(1, 2);
        panel.publish_all();
        let contradiction = Answer::Contradicted(Contradiction { size, status, body: Vec::new() });
        // In the middle of a run: what was published stays.
        panel.running().fill(2, 1);
        let question = panel.question();
        panel.take(0, &question, contradiction.clone());
        panel.wait("the refusal", |panel| matches!(panel.signing(), Signing::Refused(_)));
        panel.cosign_at(1, &question, 0);
        panel.running().fill(3, 2);
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!((panel.published_size(), panel.running().ledger.size()), (3, 6));
        panel.stop();
        // At start: nothing is published either.
        panel.start(true);
        let question = panel.question();
        panel.cosign_at(1, &question, 0);
        panel.take(0, &question, contradiction);
        panel.wait("the refusal", |panel| matches!(panel.signing(), Signing::Refused(_)));
        panel.running().stored(&statement(9, 0, evidence::ids::Digest::ZERO, 1));
        assert_eq!((panel.published_size(), panel.running().ledger.size()), (0, 7));
        panel.stop();
    }
}

#[test]
fn without_a_mark_elsewhere_one_witness_must_have_answered() {
    let mut panel = Panel::new(2, "any");
    panel.start(true);
    panel.running().fill(1, 2);
    panel.publish_all();
    panel.stop();
    std::fs::remove_file(panel.bench.path().join("high-water")).unwrap();
    panel.start(false);
    let question = panel.question();
    panel.fail(&question);
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!((panel.signing(), panel.published_size()), (Signing::Held, 0));
    panel.running().fill(2, 1);
    panel.cosign_at(1, &question, 0);
    panel.publish_all();
    assert_eq!((panel.signing(), panel.published_size()), (Signing::Active, 4));
    panel.stop();
    // With one elsewhere, or the operator's word, what was published is shown though nobody answers.
    panel.start(true);
    let question = panel.question();
    panel.fail(&question);
    panel.wait("what was published", |panel| panel.published_size() == 4);
    panel.stop();
}

#[test]
fn a_clock_that_is_not_the_witnesses_stops_signing_until_it_is() {
    for offset in [-61_i64, 75] {
        let mut panel = Panel::new(3, "2");
        panel.start(true);
        let question = panel.question();
        // One of three may be as wrong as it likes.
        panel.cosign_at(0, &question, 86_400 * 365);
        panel.cosign_at(1, &question, offset);
        panel.cosign_at(2, &question, offset);
        panel.running().fill(1, 2);
        panel.wait("the clocks", |panel| matches!(panel.signing(), Signing::ClockApart { .. }));
        assert_eq!((panel.published_size(), panel.running().ledger.size()), (0, 3));
        let Signing::ClockApart { apart_ms } = panel.signing() else { panic!("signs again") };
        assert!(apart_ms.abs_diff(offset.unsigned_abs() * 1000) < 5_000, "{apart_ms}");
        // Whichever was wrong is set right.
        let back = |ms: u64| ms.saturating_add_signed(offset * 1000);
        let now = panel.bench.clock.0.load(Ordering::SeqCst);
        panel.bench.clock.0.store(back(now).max(now), Ordering::SeqCst);
        if offset < 0 {
            let again = panel.desk.questions().borrow().clone().unwrap();
            (0..3).for_each(|place| panel.cosign_at(place, &again, 0));
        }
        panel.publish_all();
        assert_eq!(panel.signing(), Signing::Active);
        panel.stop();
    }
}

#[test]
fn a_quiet_log_is_cosigned_again_and_not_signed_again() {
    let mut panel = Panel::new(1, "all");
    panel.start_with(true, Duration::from_millis(30), In::Memory);
    panel.publish_all();
    let first = panel.running().ledger.checkpoint().unwrap();
    panel.bench.clock.0.fetch_add(7_000, Ordering::SeqCst);
    let again = panel.question();
    assert_eq!(again.checkpoint, first.checkpoint);
    panel.cosign(&again);
    panel
        .wait("a fresh cosignature", |panel| panel.running().ledger.checkpoint().unwrap().note != first.note);
    let time = |published: &Published| {
        let note = Note::parse(published.note.as_bytes()).unwrap();
        panel.desk.rounds().policy().standing(&note).unwrap().cosigned[0].1
    };
    let fresh = panel.running().ledger.checkpoint().unwrap();
    assert_eq!((time(&first), time(&fresh)), (1000, 1007));
    // While a repeat is open, new entries do not wait for it.
    let _repeated = panel.question();
    panel.running().fill(1, 1);
    panel.publish_all();
    assert_eq!(panel.published_size(), 2);
    panel.stop();
}

#[test]
fn notes_longer_than_a_value_are_cut_to_the_quorum_or_kept_out_of_the_store() {
    let long = format!("witness.example/{}", "x".repeat(150));
    for (quorum, is_stored) in [("any", true), ("20", false)] {
        let mut panel = Panel::named(20, quorum, &long);
        panel.start_with(true, RECOSIGN_INTERVAL_DEFAULT, In::Sled);
        panel.running().fill(1, 2);
        panel.publish_all();
        let published = panel.running().ledger.checkpoint().unwrap();
        let note = Note::parse(published.note.as_bytes()).unwrap();
        assert_eq!(published.note.len() <= COSIGNED_NOTE_BYTES_MAX, is_stored, "{}", published.note.len());
        assert!(note.signatures() > 1, "{}", note.signatures());
        panel.desk.rounds().policy().open(&note).unwrap();
        panel.stop();
        panel.fsck();
        for place in [In::Sled, In::Memory] {
            panel.start_with(true, RECOSIGN_INTERVAL_DEFAULT, place);
            let question = panel.question();
            panel.fail(&question);
            panel.wait("the comparison", |panel| panel.signing() == Signing::Active);
            std::thread::sleep(Duration::from_millis(20));
            // The journal has it, whether or not it fits the index.
            assert_eq!(panel.published_size(), 3);
            panel.cosign(&question);
            panel.stop();
        }
    }
}
