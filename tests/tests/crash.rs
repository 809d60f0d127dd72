//! The collector is killed at each point of the order of commitments and at random moments, under load, again and again
//! on one data directory: whatever was acknowledged is kept, once, unchanged and in order, and every checkpoint that
//! was ever received is a prefix of the log.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test stops at what it cannot do, and prints what it counted"
)]

use std::time::{Duration, Instant};

use collector::failpoints::POINTS;
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
/// Longest time from a start to its random kill, milliseconds: some come before the collector is ready.
const LIFE_MS_MAX: u64 = 1_500;

/// Small segments, so that their ends are met; frequent checkpoints, so that many are received.
fn world() -> World {
    let settings = Settings { segment_bytes: 96 << 10, checkpoint_interval_ms: 50, ..Settings::default() };
    World::with(programs!(), &settings)
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
/// At the end the count itself is tried: an answer that was never given and a root that never was must be noticed.
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
        "{} entries in {} segments; {} repeated and answered as before, {} proofs verified, {consistent} consistent",
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
    for (round, point) in POINTS.iter().enumerate() {
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
    finish("collector killed at each failpoint under load", &world, load, POINTS.len()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_random_moments() {
    let kills = if figures::long() { KILLS_LONG } else { KILLS };
    let world = world();
    let running = world.serve();
    let load = Load::start(devices(&world).await);
    running.stop();
    let mut before_ready = 0;
    for _ in 0..kills {
        let life = Duration::from_millis(u64::from_le_bytes(random()) % LIFE_MS_MAX);
        let until = Instant::now() + life;
        let mut running = world.spawn(&[]);
        if world.wait_ready_or_ended(&mut running, until) {
            load.up();
            tokio::time::sleep_until(until.into()).await;
        } else {
            before_ready += 1;
        }
        let ended = running.ended();
        assert!(ended.is_none(), "it ended by itself with {ended:?}:\n{}", running.said());
        running.kill();
        load.down();
    }
    println!("{before_ready} of {kills} kills came before the collector was ready");
    finish("collector killed at random moments under load", &world, load, kills).await;
}
