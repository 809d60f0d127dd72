//! What one device may send: one that floods gets its share and no more, the others do not notice, and an agent obeys.

#![expect(clippy::expect_used, clippy::panic, reason = "a test stops at what it cannot do")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use evidence::envelope::Envelope;
use evidence::ids::InstanceId;
use proto::FromAgent;
use proto::from_agent::Item as Out;
use proto::to_agent::Item as In;
use tests::device::Device;
use tests::figures::{long, report};
use tests::kept::statements;
use tests::process::PATIENCE;
use tests::programs;
use tests::watched::quantile;
use tests::world::{Settings, World};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tonic::Code;

/// Devices that behave.
const OTHERS: usize = 50;
/// Between two statements of one of them.
const PAUSE: Duration = Duration::from_millis(400);
/// What a device may send: collector/src/quota.rs.
const PER_SECOND: u64 = 50;
const AT_ONCE: u64 = 500;
/// Streams of the device that floods, all that it may have.
const STREAMS: usize = 4;
/// Statements that it sends again and again.
const SIGNED: usize = 2_000;

/// What is measured in now.
const QUIET: usize = 0;
const FLOOD: usize = 1;
const OVER: usize = 2;

/// A device that behaves, until the end: milliseconds to each answer, by phase.
async fn behaves(mut device: Device, phase: Arc<AtomicUsize>) -> (InstanceId, u64, [Vec<f64>; 2]) {
    let (mut submit, _) = device.greet().await;
    let mut took = [Vec::new(), Vec::new()];
    loop {
        let now = phase.load(Ordering::Relaxed);
        let Some(took) = took.get_mut(now) else { break };
        let envelope = device.sign_next();
        let begun = Instant::now();
        // Whatever else it is answered is a failure.
        submit.store(&envelope).await;
        took.push(begun.elapsed().as_secs_f64() * 1e3);
        sleep(PAUSE).await;
    }
    (device.instance, device.next_sequence, took)
}

/// What a flooding device was answered.
#[derive(Debug, Default)]
struct Answers {
    sent: AtomicU64,
    stored: AtomicU64,
    slow_down: AtomicU64,
    highest: AtomicU64,
}

/// One of its streams: sends as fast as it is let, and hears nothing of waiting.
async fn floods(device: &Device, signed: Arc<Vec<Envelope>>, answers: Arc<Answers>, phase: Arc<AtomicUsize>) {
    let (submit, _) = device.greet().await;
    let (sender, mut heard) = submit.split();
    let sending = {
        let (answers, phase) = (Arc::clone(&answers), Arc::clone(&phase));
        tokio::spawn(async move {
            for envelope in signed.iter().cycle() {
                let item = Some(Out::Envelope(envelope.bytes().to_vec()));
                if phase.load(Ordering::Relaxed) == OVER || sender.send(FromAgent { item }).await.is_err() {
                    return;
                }
                answers.sent.fetch_add(1, Ordering::Relaxed);
            }
        })
    };
    while phase.load(Ordering::Relaxed) != OVER {
        let Ok(message) = timeout(Duration::from_millis(100), heard.message()).await else { continue };
        match message.expect("the stream goes on").and_then(|message| message.item) {
            Some(In::Stored(stored)) => {
                answers.stored.fetch_add(1, Ordering::Relaxed);
                answers.highest.fetch_max(stored.sequence + 1, Ordering::Relaxed);
            }
            Some(In::SlowDown(_)) => {
                answers.slow_down.fetch_add(1, Ordering::Relaxed);
            }
            Some(In::Refused(refused)) => panic!("{refused:?}"),
            Some(_) => {}
            None => return,
        }
    }
    sending.abort();
}

/// The flood in a world with or without quotas: the worst of a hundred answers to others before and during it.
async fn flood(quotas: bool) -> (f64, f64) {
    let world = World::with(programs!(), &Settings { quotas, ..Settings::default() });
    let running = world.serve();
    let mut flooder = Device::enrol(&world, &world.token()).await;
    let signed: Arc<Vec<Envelope>> = Arc::new((0..SIGNED).map(|_| flooder.sign_next()).collect());
    let phase = Arc::new(AtomicUsize::new(QUIET));
    let mut others = JoinSet::new();
    for _ in 0..OTHERS {
        let device = Device::enrol(&world, &world.token()).await;
        others.spawn(behaves(device, Arc::clone(&phase)));
    }
    let lasts = Duration::from_secs(if long() { 60 } else { 6 });
    sleep(lasts).await;
    phase.store(FLOOD, Ordering::Relaxed);
    let (answers, flooder) = (Arc::new(Answers::default()), Arc::new(flooder));
    let begun = Instant::now();
    let mut streams = JoinSet::new();
    for _ in 0..STREAMS {
        let (flooder, signed) = (Arc::clone(&flooder), Arc::clone(&signed));
        let (answers, phase) = (Arc::clone(&answers), Arc::clone(&phase));
        streams.spawn(async move { floods(&flooder, signed, answers, phase).await });
    }
    sleep(lasts).await;
    phase.store(OVER, Ordering::Relaxed);
    let lasted = begun.elapsed();
    while let Some(ended) = streams.join_next().await {
        ended.expect("no panic");
    }
    let (mut quiet, mut during, mut expected) = (Vec::new(), Vec::new(), Vec::new());
    while let Some(ended) = others.join_next().await {
        let (instance, sequences, [before, meanwhile]) =
            ended.expect("all of a good device's statements are stored");
        quiet.extend(before);
        during.extend(meanwhile);
        expected.extend((0..sequences).map(|sequence| (instance, sequence)));
    }
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let (sent, stored, slow_down) = (read(&answers.sent), read(&answers.stored), read(&answers.slow_down));
    let form = if quotas { "with quotas" } else { "without quotas" };
    report(
        &format!(
            "one device floods for {:.0} s, {form}: handed over, stored, told to wait",
            lasted.as_secs_f64()
        ),
        format_args!("{sent}, {stored}, {slow_down}"),
    );
    let p99 = (quantile(&quiet, 0.99), quantile(&during, 0.99));
    report(
        &format!("answers to {OTHERS} others, {form}: p50 and p99 before, p50 and p99 meanwhile, ms"),
        format_args!(
            "{:.1}, {:.1}; {:.1}, {:.1}",
            quantile(&quiet, 0.5),
            p99.0,
            quantile(&during, 0.5),
            p99.1
        ),
    );
    if quotas {
        let most = AT_ONCE + PER_SECOND * (lasted.as_secs() + 2);
        assert!(stored <= most, "{stored} of at most {most}");
        assert!(slow_down > 0, "it was never told to wait");
        // Generous: the machine is shared, and the load comes from it as well.
        assert!(p99.1 <= (10.0 * p99.0).max(1_000.0), "{p99:?}");
    }
    running.stop();
    assert_eq!(world.fsck()["sound"], true);
    // Nothing acknowledged is lost, the flooding device's included, and nothing is there twice.
    let kept = statements(&world);
    let highest = answers.highest.load(Ordering::Relaxed);
    expected.extend((0..highest).map(|sequence| (flooder.instance, sequence)));
    for statement in &expected {
        assert_eq!(kept.iter().filter(|kept| *kept == statement).count(), 1, "{statement:?}");
    }
    if quotas {
        let said = std::fs::read_to_string(world.log()).expect("the log");
        assert!(
            said.contains("Devices were told to slow down") && said.contains(&flooder.id.to_string()),
            "{said}"
        );
    }
    p99
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_device_that_floods_is_not_noticed_by_fifty_others() {
    let with = flood(true).await;
    report(
        "p99 meanwhile by p99 before, with quotas (wanted: under 2)",
        format_args!("{:.2}", with.1 / with.0),
    );
    if long() {
        let without = flood(false).await;
        report("p99 meanwhile by p99 before, without quotas", format_args!("{:.2}", without.1 / without.0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_has_four_streams_and_a_fifth_is_told_why() {
    let world = World::with(programs!(), &Settings { quotas: true, ..Settings::default() });
    let running = world.serve();
    let device = Device::enrol(&world, &world.token()).await;
    // All over one connection, so that it is not the limit of connections that refuses.
    let connection = device.connect().await.expect("a connection");
    let mut open = Vec::new();
    for _ in 0..STREAMS {
        open.push(device.open_over(&connection).await.expect("a stream"));
    }
    let refused = device.open_over(&connection).await.err().expect("a fifth");
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.message().contains("streams"), "{refused}");
    drop(open);
    let again = async {
        while device.open_over(&connection).await.is_err() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, again).await.expect("the places are given back");
    running.stop();
}

#[test]
fn an_agent_that_is_told_to_wait_waits_and_loses_nothing() {
    let world = World::with(programs!(), &Settings { quotas: true, ..Settings::default() });
    let running = world.serve();
    world.enrol_agent("agent", &world.token());
    running.stop();
    // A backlog: more than it may send at once, at one a second.
    for _ in 0..5 {
        let once = world.agent("agent", &["once", "--timeout-seconds", "1"]);
        assert_ne!(once.code, Some(0), "{once:?}");
    }
    world.set_quota(1, 2);
    let running = world.serve();
    let begun = Instant::now();
    let once = world.agent("agent", &["once", "--json", "--until-proved"]).json();
    assert_eq!(once["result"], "proved", "{once}");
    // Two at once, and four more one by one: its own look takes time as well.
    assert!(begun.elapsed() >= Duration::from_secs(3), "{:?}", begun.elapsed());
    running.stop();
    assert_eq!(statements(&world).len(), 6);
    let said = std::fs::read_to_string(world.log()).expect("the log");
    assert!(said.contains("Devices were told to slow down"), "{said}");
    assert_eq!(world.fsck()["sound"], true);
}
