//! The collector is killed at each point of the order of commitments and at random moments, under load, again
//! and again on one data directory: whatever was acknowledged is kept, once, unchanged and in order, and
//! every checkpoint that was ever received is a prefix of the log.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test stops at what it cannot do, and prints what it counted"
)]

use std::time::Duration;

use collector::failpoints::{POINTS, TREE_POINTS};
use evidence::ids::Digest;
use tests::device::Device;
use tests::load::{Load, Record};
use tests::world::{Settings, World, random};
use tests::{figures, kept, programs};

/// Devices of the load.
const DEVICES: usize = 6;
/// Statements that must be acknowledged after each restart before the next crash.
const BETWEEN: usize = 60;
/// Random kills of every day, and of the long form.
const KILLS: usize = 10;
const KILLS_LONG: usize = 100;
/// Longest time under load before a random kill, milliseconds.
const LIFE_MS_MAX: u64 = 800;
/// After so many kills under load comes one during a start.
const START_EVERY: usize = 5;
/// Longest time from a start to such a kill, milliseconds.
const START_MS_MAX: u64 = 300;

/// Small segments, so that their ends are met; frequent checkpoints, so that many are received.
fn world() -> World {
    let settings = Settings { segment_bytes: 96 << 10, checkpoint_interval_ms: 50, ..Settings::default() };
    World::with(programs!(), &settings)
}

/// A random moment.
fn at_most(ms: u64) -> Duration {
    Duration::from_millis(u64::from_le_bytes(random()) % ms)
}

async fn devices(world: &World) -> Vec<Device> {
    let mut devices = Vec::new();
    for _ in 0..DEVICES {
        devices.push(Device::enrol(world, &world.token()).await);
    }
    devices
}

/// Restarts, lets the load come to rest, checks everything, and reports under `name`.
///
/// At the end the count itself is tried: an answer that was never given and a root that never was must be
/// noticed.
async fn finish(name: &str, world: &World, load: Load, kills: usize) {
    let running = world.serve();
    load.up();
    load.reaches(load.acknowledged() + BETWEEN).await;
    let mut record: Record = load.end().await;
    assert_eq!(record.wrong, Vec::<String>::new(), "answers that are not as promised");
    let consistent = kept::consistent(&mut world.admin.connect().await, &record).await;
    assert_eq!(consistent, record.checkpoints.len());
    running.stop();
    let report = world.fsck();
    assert_eq!(report["sound"], true, "{report}");
    let counts = kept::count(world, &record);
    assert_eq!(report["entries"], counts.entries, "fsck and the second reader");
    figures::report(name, format_args!("{kills} kills: {counts}"));
    println!(
        "{} entries, {} segments; {} answered twice alike, {} proofs and {consistent} checkpoints verified",
        counts.entries, report["segments"], record.repeated, record.proved
    );
    counts.assert_kept();
    assert!(counts.acknowledged >= BETWEEN * (kills + 1) / 2, "hardly any load: {counts:?}");
    assert!(record.checkpoints.len() > 1, "hardly any checkpoints");
    record.acknowledged[0].index += 1;
    record.checkpoints.first_entry().expect("a checkpoint").get_mut().root = Digest::ZERO;
    let spoilt = kept::count(world, &record);
    assert_eq!((spoilt.lost, spoilt.not_prefix), (1, 1), "the count notices what is wrong");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_each_point_of_the_order_of_commitments() {
    let world = world();
    let running = world.serve();
    let load = Load::start(devices(&world).await);
    running.stop();
    for (round, point) in POINTS.iter().chain(&TREE_POINTS).enumerate() {
        // Not always the first time the point is reached; segments end seldom.
        let nth = if point.starts_with("segment") { 2 } else { 2 + round };
        let mut running = world.spawn(&[("TALLYSTICK_FAILPOINT", &format!("{point}:{nth}"))]);
        world.wait_ready(&mut running);
        let before = load.acknowledged();
        load.up();
        running.wait_killed();
        load.down();
        println!("{point}:{nth}: {} acknowledged before the kill", load.acknowledged() - before);
    }
    finish("collector killed at each failpoint under load", &world, load, POINTS.len() + TREE_POINTS.len())
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_random_moments() {
    let kills = if figures::long() { KILLS_LONG } else { KILLS };
    let world = world();
    let running = world.serve();
    let load = Load::start(devices(&world).await);
    running.stop();
    let mut at_start = 0;
    for kill in 1..=kills {
        if kill % START_EVERY == 0 {
            // While it recovers from the last kill.
            let running = world.spawn(&[]);
            tokio::time::sleep(at_most(START_MS_MAX)).await;
            running.kill();
            at_start += 1;
        }
        let mut running = world.serve();
        load.up();
        tokio::time::sleep(at_most(LIFE_MS_MAX)).await;
        let ended = running.ended();
        assert!(ended.is_none(), "it ended by itself with {ended:?}:\n{}", running.said());
        running.kill();
        load.down();
    }
    println!("besides {kills} kills under load, {at_start} during a start");
    finish("collector killed at random moments under load", &world, load, kills).await;
}
