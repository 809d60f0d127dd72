//! Life on a laptop: months without a network, clocks that step, files that are damaged. Everything is real but the time, the
//! machine's facts and the collector.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use evidence::envelope::Envelope;
use evidence::statement::{Body, Gap};
use evidence::time::{DAY_MS, MINUTE_MS, Timestamp};
use tokio_util::sync::CancellationToken;

use crate::attest::{Moment, Observed};
use crate::clock::{Boot, SystemClock};
use crate::device::{Attested, Device};
use crate::exchange_tests::{World, look};
use crate::run::Agent;
use crate::schedule::Schedule;
use crate::spool::{Limits, Receipt};
use crate::state::StateDirectory;
use crate::upload::Ended;

/// 2026-01-01.
const START: Timestamp = Timestamp(1_767_225_600_000);
/// Everything that waits must be proved in so much time.
const PATIENCE: Duration = Duration::from_mins(5);

fn observed() -> Observed {
    look()().unwrap().observed
}

fn moment(now: Timestamp, trigger: proto::Trigger) -> Moment {
    Moment { now, boot: Boot { id: "boot".into(), minutes: 1 }, trigger }
}

fn open(state: &StateDirectory, limits: Limits) -> Device {
    Device::open(state, limits).unwrap_or_else(|error| panic!("{}", crate::Causes(&error)))
}

/// Sends everything that waits, and looks once more.
async fn once(world: &World, limits: Limits) -> Option<u64> {
    let agent =
        Agent::new(open(&world.state(), limits), look(), Arc::new(SystemClock), CancellationToken::new());
    let once = agent.once(true, PATIENCE).await.unwrap();
    assert_eq!(once.ended, Some(Ended::Reached));
    once.sequence
}

/// What one device did, by the minutes of its clock.
#[derive(Default)]
struct Did {
    made: Vec<u64>,
    missed: Vec<u64>,
}

/// Half a year at `interval` minutes without a network, with a restart every month.
fn offline(world: &World, interval: u64, limits: Limits) -> Did {
    let mut did = Did::default();
    let mut device = open(&world.state(), limits);
    let schedule = Schedule::new(interval, &device.identity.owner.instance);
    let end = Timestamp(START.ms() + 180 * DAY_MS);
    let mut now = schedule.next_after(START);
    let mut restart = START.ms() + 30 * DAY_MS;
    while now < end {
        if now.ms() >= restart {
            restart += 30 * DAY_MS;
            drop(device);
            device = open(&world.state(), limits);
        }
        match device.attest(&moment(now, proto::Trigger::Schedule), observed()).unwrap() {
            Attested::Spooled(_) => did.made.push(now.minutes()),
            Attested::NotMade => did.missed.push(now.minutes()),
        }
        // As the agent's loop asks: what was counted is not due again before the next time.
        assert_eq!(schedule.due(Timestamp(now.ms() + MINUTE_MS), device.last_tried(), false), None);
        let most = limits.bytes_max + limits.reserve_bytes;
        assert!(device.spool.bytes() <= most + 4096, "{} bytes", device.spool.bytes());
        now = schedule.next_after(now);
    }
    assert_eq!(device.spool.not_made().map_or(0, |not_made| not_made.count), did.missed.len() as u64);
    assert_eq!(device.spool.kept().len(), did.made.len(), "everything that was made is kept");
    did
}

/// What the collector holds in the end: every sequence once, and the gaps.
fn gaps(world: &World) -> Vec<Gap> {
    let log = world.collector.log.lock().unwrap();
    let sequences: Vec<u64> = log.stored.keys().copied().collect();
    assert_eq!(sequences, (0..log.next).collect::<Vec<u64>>(), "none is missing");
    let statements = log.stored.values().map(|(bytes, _)| Envelope::parse(bytes).unwrap().claimed().unwrap());
    statements
        .filter_map(|statement| match statement.body {
            Body::Gap(gap) => Some(gap),
            Body::Attestation(_) => None,
        })
        .collect()
}

#[tokio::test]
async fn half_a_year_offline_at_the_usual_interval_loses_nothing() {
    let world = World::enrolled().await;
    let did = offline(&world, 360, Limits::default());
    assert_eq!((did.made.len(), did.missed.len()), (720, 0));
    once(&world, Limits::default()).await.unwrap();
    assert_eq!(gaps(&world), []);
    assert_eq!(world.collector.log.lock().unwrap().next, 721);
    println!("180 days offline every 6 h: 720 statements made, 0 not made, all proved");
}

#[tokio::test]
async fn half_a_year_offline_in_the_smallest_spool_says_exactly_what_was_not_made() {
    let world = World::enrolled().await;
    let limits = Limits { bytes_max: 1024 * 1024, ..Limits::default() };
    let did = offline(&world, 5, limits);
    assert_eq!(did.made.len() + did.missed.len(), 180 * 288);
    let (first, last) = (did.missed[0], did.missed[did.missed.len() - 1]);
    // From the first that was not made on, one a day is.
    let daily = did.made.iter().filter(|minute| **minute > first).count() as u64;
    let days = (last - first) / 1440;
    assert!((days - 1..=days + 1).contains(&daily), "{daily} in {days} days");
    // The first look finds the spool full, so it is counted as well, unless a day has passed on the real clock; then there is room.
    let manual = once(&world, limits).await;
    let now = SystemClock.now_minutes();
    let sequence = once(&world, limits).await.unwrap();
    let gaps = gaps(&world);
    let missed = did.missed.len() as u64 + u64::from(manual.is_none());
    let [Gap::NotMade { first_minute, last_minute, count, reason }] = gaps.as_slice() else {
        panic!("{gaps:?}")
    };
    assert_eq!((*count, *reason), (missed, proto::GapReason::SpoolFull));
    assert_eq!(*first_minute, first);
    assert!(*last_minute == last || (manual.is_none() && *last_minute <= now), "{last_minute}");
    assert_eq!(world.collector.log.lock().unwrap().next, sequence + 1);
    println!(
        "180 days offline every 5 min in 1 MiB: {} made, {daily} of them one a day; {missed} not made, named in one gap; {} proved",
        did.made.len(),
        sequence + 1
    );
}

trait Minutes {
    fn now_minutes(&self) -> u64;
}

impl Minutes for SystemClock {
    fn now_minutes(&self) -> u64 {
        evidence::time::Clock::now(self).minutes()
    }
}

#[tokio::test]
async fn clocks_that_step_cost_one_statement_each() {
    let world = World::enrolled().await;
    let mut device = open(&world.state(), Limits::default());
    let schedule = Schedule::new(360, &device.identity.owner.instance);
    let year = 365 * DAY_MS;
    let at = |device: &mut Device, start: u64| {
        // Two days of glances, one a minute.
        let mut made = 0;
        for minute in 0..2 * 1440 {
            let now = Timestamp(start + minute * MINUTE_MS);
            if schedule.due(now, device.last_tried(), false).is_some() {
                let attested = device.attest(&moment(now, proto::Trigger::Schedule), observed()).unwrap();
                made += u64::from(matches!(attested, Attested::Spooled(_)));
            }
        }
        made
    };
    let mut all = 0;
    for (what, start) in [
        ("as it is", START.ms()),
        ("three days on", START.ms() + 5 * DAY_MS),
        ("ten days back", START.ms() - 5 * DAY_MS),
        ("twenty years on", START.ms() + 20 * year),
        ("twenty years back", START.ms()),
        ("1970", 0),
        ("as it is", START.ms() + 10 * DAY_MS),
        ("the end of time", u64::MAX - 10 * DAY_MS),
        ("as it is", START.ms() + 12 * DAY_MS),
    ] {
        let made = at(&mut device, start);
        // Eight in two days, and one at once where the step is noticed.
        assert!((8..=9).contains(&made), "{what}: {made}");
        all += made;
    }
    drop(device);
    once(&world, Limits::default()).await.unwrap();
    assert_eq!(gaps(&world), [], "nothing is missing for a step");
    assert_eq!(world.collector.log.lock().unwrap().next, all + 1);
}

#[tokio::test]
async fn what_is_not_made_while_the_clock_steps_back_lies_in_the_gaps_span() {
    let world = World::enrolled().await;
    let limits = Limits { bytes_max: 1, reserve_bytes: 1, ..Limits::default() };
    let mut device = open(&world.state(), limits);
    for days in [10, 3, 20] {
        let now = Timestamp(START.ms() + days * DAY_MS);
        let attested = device.attest(&moment(now, proto::Trigger::Schedule), observed()).unwrap();
        assert_eq!(attested, Attested::NotMade);
    }
    let not_made = device.spool.not_made().unwrap();
    let minute = |days: u64| START.minutes() + days * 1440;
    assert_eq!((not_made.first_minute, not_made.last_minute, not_made.count), (minute(3), minute(20), 3));
}

/// Seeded numbers (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((z ^ (z >> 31)) % end.max(1) as u64).unwrap()
    }
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    std::fs::set_permissions(to, std::fs::metadata(from).unwrap().permissions()).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}

/// Damages a file in one of five ways.
fn damage(path: &Path, numbers: &mut Numbers) -> &'static str {
    let mut bytes = std::fs::read(path).unwrap();
    let (way, at) = (numbers.below(5), numbers.below(bytes.len()));
    let what = match way {
        0 => {
            std::fs::remove_file(path).unwrap();
            return "removed";
        }
        1 => {
            bytes.truncate(at);
            "cut"
        }
        2 => {
            let end = (at + 64).min(bytes.len());
            bytes[at..end].fill(0);
            "a block of zeros"
        }
        3 => {
            bytes.extend((0..50).map(|_| u8::try_from(numbers.below(256)).unwrap()));
            "junk at the end"
        }
        _ => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << numbers.below(8);
            }
            "a flipped bit"
        }
    };
    std::fs::write(path, bytes).unwrap();
    what
}

/// Statements of the device that is damaged; the first ten are proved, five more stored.
const STATEMENTS: u64 = 40;

#[tokio::test]
async fn damaged_files_never_panic_and_what_was_lost_is_named() {
    let world = World::enrolled().await;
    let limits = Limits { segment_bytes_max: 2000, ..Limits::default() };
    let originals: BTreeMap<u64, Vec<u8>> = {
        let mut device = open(&world.state(), limits);
        for hours in 0..STATEMENTS {
            let now = Timestamp(START.ms() + hours * 6 * 3_600_000);
            device.attest(&moment(now, proto::Trigger::Schedule), observed()).unwrap();
        }
        let all =
            device.spool.kept().iter().map(|(sequence, kept)| (*sequence, kept.envelope.clone())).collect();
        for sequence in 0..15 {
            let receipt = Receipt { index: sequence, received: START, salt: [1; 32] };
            device.spool.mark_stored(sequence, receipt);
            if sequence < 10 {
                device.spool.mark_proved(sequence).unwrap();
            }
        }
        device.keep_anchor().unwrap();
        all
    };
    crate::health::Health::default().write(&world.state()).unwrap();
    let mut all = Vec::new();
    files(world.state().path(), &mut all);
    all.retain(|path| !path.ends_with("lock"));
    assert!(all.len() >= 12, "{all:?}");
    let mut numbers = Numbers(20_261_130);
    let (mut tried, mut refused, mut with_losses, mut lost_in_all) = (0, 0, 0, 0);
    for path in &all {
        let relative = path.strip_prefix(world.state().path()).unwrap();
        for round in 0..30 {
            let state = StateDirectory::new(world.folder.path().join("damaged"));
            copy(world.state().path(), state.path());
            let what = format!(
                "{} {}, round {round}",
                relative.display(),
                damage(&state.path().join(relative), &mut numbers)
            );
            tried += 1;
            let opened = catch_unwind(AssertUnwindSafe(|| Device::open(&state, limits)));
            match opened.unwrap_or_else(|_| panic!("{what}: it panicked")) {
                Err(error) => {
                    let text = crate::Causes(&error).to_string();
                    let told =
                        ["damaged", "missing", "enrol", "cannot"].iter().any(|word| text.contains(word));
                    assert!(told, "{what}: {text}");
                    refused += 1;
                }
                Ok(mut device) => {
                    assert_eq!(
                        device.spool.next_sequence(),
                        STATEMENTS,
                        "{what}: a sequence is never used again"
                    );
                    for (sequence, original) in &originals {
                        let kept = device.spool.kept().get(sequence).map(|kept| &kept.envelope);
                        let lost = device.spool.lost().contains(sequence);
                        let (proved, whole) = (*sequence < 10, kept == Some(original));
                        assert!(whole || kept.is_none(), "{what}: {sequence} is another statement now");
                        assert!(whole || lost || proved, "{what}: {sequence} is gone and nobody says so");
                    }
                    let lost = device.spool.lost().clone();
                    if let Some(first) = lost.first() {
                        with_losses += 1;
                        lost_in_all += lost.len();
                        let stated = catch_unwind(AssertUnwindSafe(|| device.state_destroyed(*first)));
                        let stated = stated.unwrap_or_else(|_| panic!("{what}: it panicked"));
                        assert_eq!(stated.unwrap(), STATEMENTS, "{what}: the gap takes the next sequence");
                        assert!(device.spool.lost().is_empty(), "{what}");
                    }
                    let now = Timestamp(START.ms() + 30 * DAY_MS);
                    let attested = device.attest(&moment(now, proto::Trigger::Schedule), observed());
                    assert!(matches!(attested, Ok(Attested::Spooled(_))), "{what}: {attested:?}");
                }
            }
            std::fs::remove_dir_all(state.path()).unwrap();
        }
    }
    println!(
        "{tried} damages to {} files: {refused} refused with the reason, {with_losses} with losses ({lost_in_all} statements, all \
         named in gaps), none panicked",
        all.len()
    );
    assert!(refused > 0 && with_losses > 0);
}
