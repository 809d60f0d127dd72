//! Enrolment and the stream over real connections, against [`FakeCollector`].

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use evidence::envelope::Envelope;
use evidence::ids::Digest;
use evidence::newcomer::Newcomer;
use evidence::time::{Clock as _, DAY_MS, Timestamp};
use rpc::proxy::Proxies;
use tokio_util::sync::CancellationToken;

use crate::attest::Observed;
use crate::clock::SystemClock;
use crate::device::Device;
use crate::disk::Folder;
use crate::enrol::{EnrolError, Wanted, enrol};
use crate::fake_collector::FakeCollector;
use crate::health::Health;
use crate::identity::Identity;
use crate::run::{Agent, Look};
use crate::spool::{History, Limits, Sent, Spool};
use crate::state::{OPEN_MODE, StateDirectory, StateError};
use crate::status::Status;
use crate::upload::Ended;

pub(crate) const LONG: Duration = Duration::from_secs(30);

pub(crate) struct World {
    pub(crate) collector: Arc<FakeCollector>,
    enrol: String,
    agents: String,
    pub(crate) folder: tempfile::TempDir,
}

pub(crate) fn look() -> Look {
    Arc::new(|| {
        let outcome = proto::observation::Outcome::Unavailable(proto::Unavailable {
            reason: proto::Reason::Container.into(),
            question: String::new(),
        });
        Ok(Observed {
            observations: vec![proto::Observation {
                control: "disk-encryption".into(),
                probe_version: 1,
                outcome: Some(outcome),
                kept_minutes: None,
            }],
            asset: None,
            answers_digest: Digest::of(b"answers"),
            catalogue_digest: Digest::of(b"catalogue"),
        }
        .into())
    })
}

impl World {
    async fn new() -> Self {
        let (collector, enrol, agents) = FakeCollector::start().await;
        Self { collector, enrol, agents, folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn state(&self) -> StateDirectory {
        StateDirectory::new(self.folder.path().join("state"))
    }

    async fn enrol(&self) -> Result<Identity, EnrolError> {
        let wanted = Wanted {
            server: self.enrol.parse().unwrap(),
            agents: self.agents.parse().unwrap(),
            token: self.collector.token.clone(),
            proxies: Proxies::none(),
        };
        enrol(&self.state(), &wanted, &Newcomer::of("host", None), Arc::new(SystemClock)).await
    }

    pub(crate) async fn enrolled() -> Self {
        let world = Self::new().await;
        world.enrol().await.unwrap();
        world
    }

    pub(crate) fn agent(&self, cancel: &CancellationToken) -> Agent {
        let device = Device::open(&self.state(), Limits::default()).unwrap();
        Agent::new(device, look(), Arc::new(SystemClock), cancel.clone())
    }

    /// Every statement and how far it has come.
    pub(crate) fn stages(&self) -> Vec<(u64, &'static str)> {
        let identity = Identity::read(&self.state()).unwrap();
        let folder = Folder::new(self.state().spool(), OPEN_MODE);
        let contents = Spool::inspect(&folder, &identity.owner).unwrap();
        let mut stages: Vec<_> = self.history().keys().map(|sequence| (*sequence, "proved")).collect();
        stages.extend(
            contents.kept.iter().map(|(sequence, kept)| {
                (*sequence, if kept.receipt.is_some() { "stored" } else { "waiting" })
            }),
        );
        stages
    }

    pub(crate) fn history(&self) -> BTreeMap<u64, Sent> {
        History::read(&Folder::new(self.state().spool(), OPEN_MODE)).unwrap()
    }
}

#[tokio::test]
async fn a_lost_answer_is_got_by_asking_again() {
    let world = World::new().await;
    world.collector.lose_answers.store(2, Ordering::SeqCst);
    assert!(matches!(world.enrol().await, Err(EnrolError::Refused(_))));
    assert!(matches!(Identity::read(&world.state()), Err(StateError::NotEnrolled { .. })));
    assert!(world.enrol().await.is_err());
    let identity = world.enrol().await.unwrap();
    assert_eq!(world.collector.enrolled.lock().unwrap().len(), 1, "one enrolment, whatever was lost");
    let again = world.enrol().await.unwrap();
    assert_eq!(again.stored, identity.stored);
    let files: std::collections::BTreeSet<_> = std::fs::read_dir(world.state().keys())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(files.into_iter().collect::<Vec<_>>(), ["attestation.key", "machine.json", "tls.key"]);
}

#[tokio::test]
async fn another_collector_is_not_mixed_in() {
    let world = World::new().await;
    let other = World::new().await;
    let wanted = |world: &World, token: &World| Wanted {
        server: world.enrol.parse().unwrap(),
        agents: world.agents.parse().unwrap(),
        token: token.collector.token.clone(),
        proxies: Proxies::none(),
    };
    // A token of another installation pins another root: the server is not even spoken to.
    let error =
        enrol(&world.state(), &wanted(&world, &other), &Newcomer::of("host", None), Arc::new(SystemClock))
            .await
            .unwrap_err();
    assert!(matches!(error, EnrolError::WrongServer { .. }), "{error:?}");
    assert!(world.collector.enrolled.lock().unwrap().is_empty());
    let error =
        enrol(&world.state(), &wanted(&other, &other), &Newcomer::of("host", None), Arc::new(SystemClock))
            .await
            .unwrap_err();
    assert!(matches!(error, EnrolError::Begun { .. }), "{error:?}");
    world.enrol().await.unwrap();
    let error =
        enrol(&world.state(), &wanted(&other, &other), &Newcomer::of("host", None), Arc::new(SystemClock))
            .await
            .unwrap_err();
    assert!(matches!(error, EnrolError::Elsewhere { .. }), "{error:?}");
}

#[tokio::test]
async fn once_is_stored_proved_and_shown() {
    let world = World::enrolled().await;
    let once = world.agent(&CancellationToken::new()).once(true, LONG).await.unwrap();
    assert_eq!((once.sequence, once.ended), (Some(0), Some(Ended::Reached)));
    assert_eq!(world.stages(), [(0, "proved")]);
    let once = world.agent(&CancellationToken::new()).once(false, LONG).await.unwrap();
    assert_eq!((once.sequence, once.ended), (Some(1), Some(Ended::Reached)));
    assert_eq!(world.history()[&0].receipt.index, 3);
    // The second statement names the checkpoint that came with the first one's answer.
    let device = Device::open(&world.state(), Limits::default()).unwrap();
    let second = world.history().remove(&1).map(|sent| sent.envelope);
    let second = second.unwrap_or_else(|| device.spool.kept()[&1].envelope.clone());
    let second = Envelope::parse(&second).unwrap().open(&device.identity.owner.key).unwrap();
    assert_eq!(second.anchor.unwrap().size, 4);
    drop(device);
    let identity = Identity::read(&world.state()).unwrap();
    let ends = identity.certificate_ends().unwrap();
    let at = |now| Status::read(&world.state(), identity.clone(), now).unwrap();
    // As if its certificate held longer than those of the tests' authority do.
    let status = at(Timestamp(ends.ms() - 8 * DAY_MS));
    assert!(!status.needs_attention());
    assert!(at(ends).needs_attention(), "its certificate ends");
    assert!(at(ends).words().contains("the agent asks for a new one"), "{}", at(ends).words());
    assert!(status.words().contains("2 made"), "{}", status.words());
}

#[tokio::test]
async fn a_damaged_anchor_file_does_not_make_the_next_anchor_older() {
    let world = World::enrolled().await;
    for _ in 0..2 {
        world.agent(&CancellationToken::new()).once(true, LONG).await.unwrap();
    }
    assert_eq!(world.stages(), [(0, "proved"), (1, "proved")], "nothing is kept but the history");
    let stated =
        |sent: &Sent| Envelope::parse(&sent.envelope).unwrap().claimed().unwrap().anchor.unwrap().size;
    let newest = stated(&world.history()[&1]);
    let enrolled = Device::open(&world.state(), Limits::default()).unwrap().identity.stored.checkpoint;
    let path = world.state().file(crate::identity::ANCHOR_FILE);
    for damage in [Some("junk"), None] {
        match damage {
            Some(junk) => std::fs::write(&path, junk).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
        let size = Device::open(&world.state(), Limits::default()).unwrap().anchor.size();
        assert_eq!(size, newest, "{damage:?}: at enrolment it was {enrolled}");
    }
    // It goes on from there: a checkpoint that continues it is verified, kept and named.
    world.agent(&CancellationToken::new()).once(true, LONG).await.unwrap();
    assert!(stated(&world.history()[&2]) >= newest);
    assert!(Device::open(&world.state(), Limits::default()).unwrap().anchor.size() > newest);
}

#[tokio::test]
async fn what_could_not_be_sent_is_sent_later() {
    let world = World::enrolled().await;
    world.collector.break_after.store(0, Ordering::SeqCst);
    let broken = world.agent(&CancellationToken::new()).once(false, LONG).await.unwrap();
    assert_eq!((broken.sequence, broken.ended), (Some(0), Some(Ended::Closed)));
    assert_eq!(world.stages(), [(0, "waiting")]);
    let once = world.agent(&CancellationToken::new()).once(true, LONG).await.unwrap();
    assert_eq!((once.sequence, once.ended), (Some(1), Some(Ended::Reached)));
    assert_eq!(world.collector.log.lock().unwrap().next, 2, "each is in the log once");
}

#[tokio::test]
async fn who_is_told_to_slow_down_sends_nothing_until_the_longest_wait_is_over() {
    let world = World::enrolled().await;
    // Three statements that could not be sent yet.
    *world.collector.refuse.lock().unwrap() = Some(proto::RefusedReason::Retired);
    for sequence in 0..3 {
        let once = world.agent(&CancellationToken::new()).once(false, LONG).await.unwrap();
        assert_eq!((once.sequence, once.ended), (Some(sequence), Some(Ended::Refused)));
    }
    *world.collector.refuse.lock().unwrap() = None;
    world.collector.came.lock().unwrap().clear();
    world.collector.slow.lock().unwrap().extend([900, 1, 1, 1]);
    let once = world.agent(&CancellationToken::new()).once(true, LONG).await.unwrap();
    assert_eq!((once.sequence, once.ended), (Some(3), Some(Ended::Reached)));
    let came = world.collector.came.lock().unwrap().clone();
    assert_eq!(came.len(), 8, "four that were not taken, and the same four again");
    let waited = came[4].duration_since(came[0]);
    assert!(waited >= Duration::from_millis(900), "it sent again after {waited:?}");
    assert_eq!(world.stages(), [(0, "proved"), (1, "proved"), (2, "proved"), (3, "proved")]);
    assert_eq!(world.collector.log.lock().unwrap().next, 4, "each is in the log once");
}

#[tokio::test]
async fn a_refused_statement_is_kept_and_reported() {
    let world = World::enrolled().await;
    *world.collector.refuse.lock().unwrap() = Some(proto::RefusedReason::Retired);
    let once = world.agent(&CancellationToken::new()).once(false, LONG).await.unwrap();
    assert_eq!((once.sequence, once.ended), (Some(0), Some(Ended::Refused)));
    assert_eq!(world.stages(), [(0, "waiting")]);
    assert_eq!(Health::read(&world.state()).refused.unwrap().reason, "retired");
    let identity = Identity::read(&world.state()).unwrap();
    assert!(Status::read(&world.state(), identity, SystemClock.now()).unwrap().needs_attention());
    *world.collector.refuse.lock().unwrap() = None;
    world.agent(&CancellationToken::new()).once(true, LONG).await.unwrap();
    assert_eq!(Health::read(&world.state()).refused, None);
}

#[tokio::test]
async fn run_attests_at_the_start_and_stops_when_told() {
    let world = World::enrolled().await;
    let cancel = CancellationToken::new();
    let agent = Arc::new(world.agent(&cancel));
    let running = tokio::spawn({
        let agent = Arc::clone(&agent);
        async move { agent.run(360).await.unwrap() }
    });
    tokio::time::timeout(LONG, async {
        while world.stages() != [(0, "proved")] {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .unwrap();
    cancel.cancel();
    tokio::time::timeout(LONG, running).await.unwrap().unwrap();
    drop(agent);
    // The same facts again, right after: nothing new is said.
    let cancel = CancellationToken::new();
    let agent = world.agent(&cancel);
    let stop = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        cancel.cancel();
    };
    tokio::join!(agent.run(360), stop).0.unwrap();
    assert_eq!(world.stages().len(), 1);
    assert!(world.collector.streams.load(Ordering::SeqCst) >= 2);
}

/// A machine of one file, whose content is the fact.
struct OneFile(std::path::PathBuf);

impl probes::Host for OneFile {
    fn answer(&self, _: &probes::Question) -> Result<probes::Answer, probes::NoAnswer> {
        Ok(std::fs::read(&self.0).map_or(probes::Answer::Absent, probes::Answer::Bytes))
    }
}

/// The triggers of all statements, in order.
fn triggers(world: &World) -> Vec<proto::Trigger> {
    let identity = Identity::read(&world.state()).unwrap();
    let folder = Folder::new(world.state().spool(), OPEN_MODE);
    let mut envelopes: BTreeMap<u64, Vec<u8>> =
        world.history().into_iter().map(|(sequence, sent)| (sequence, sent.envelope)).collect();
    let kept = Spool::inspect(&folder, &identity.owner).unwrap().kept;
    envelopes.extend(kept.into_iter().map(|(sequence, kept)| (sequence, kept.envelope)));
    let trigger = |bytes: Vec<u8>| {
        let statement = Envelope::parse(&bytes).unwrap().claimed().unwrap();
        statement.attestation().unwrap().fields.trigger()
    };
    envelopes.into_values().map(trigger).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_file_becomes_a_drift_statement_and_a_touched_one_does_not() {
    use probes::Host as _;
    let world = World::enrolled().await;
    let path = world.folder.path().join("fact");
    std::fs::write(&path, "io\n").unwrap();
    let host = Arc::new(OneFile(path.clone()));
    let seen: Look = Arc::new({
        let host = Arc::clone(&host);
        move || {
            let mut seen = look()()?;
            let question = probes::Question::Read(host.0.display().to_string());
            let answer = host.answer(&question).map_err(|error| error.to_string())?;
            seen.observed.catalogue_digest = Digest::of(&answer.raw());
            let mut answers = probes::Answers::new();
            answers.insert(question, answer);
            seen.files = crate::watch::files::Files::of(&answers);
            Ok(seen)
        }
    });
    let cancel = CancellationToken::new();
    let device = Device::open(&world.state(), Limits::default()).unwrap();
    let agent = Agent::new(device, seen, Arc::new(SystemClock), cancel.clone()).with_host(host);
    let running = tokio::spawn(async move { agent.run(360).await.unwrap() });
    let stated = async |count: usize| {
        let wait = async {
            while world.stages().iter().filter(|(_, stage)| *stage == "proved").count() < count {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(LONG, wait).await.unwrap();
        triggers(&world)
    };
    assert_eq!(stated(1).await, [proto::Trigger::Schedule]);
    // The same content again, and a neighbour: events that change no fact.
    std::fs::write(&path, "io\n").unwrap();
    std::fs::write(world.folder.path().join("neighbour"), "new").unwrap();
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(triggers(&world).len(), 1);
    let begun = std::time::Instant::now();
    std::fs::write(&path, "other\n").unwrap();
    assert_eq!(stated(2).await, [proto::Trigger::Schedule, proto::Trigger::Drift]);
    println!("a changed file was stated, stored and proved after {} ms", begun.elapsed().as_millis());
    // Flapping: what is over the bound is not said.
    for number in 0..2 * crate::budget::DRIFTS_BURST {
        std::fs::write(&path, format!("{number}\n")).unwrap();
        tokio::time::sleep(Duration::from_millis(2500)).await;
    }
    let said = triggers(&world).len();
    assert!(said <= 1 + usize::try_from(crate::budget::DRIFTS_BURST).unwrap(), "{said}");
    cancel.cancel();
    tokio::time::timeout(LONG, running).await.unwrap().unwrap();
}

#[test]
fn without_an_enrolment_nothing_opens() {
    let state = StateDirectory::new(Path::new("/nonexistent/tallystick"));
    let Err(error) = Device::open(&state, Limits::default()) else { panic!("it opened") };
    assert!(error.to_string().contains("not enrolled"), "{error}");
}
