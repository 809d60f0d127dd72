//! `doctor` with clocks that are wrong and collectors that remember otherwise, over real connections.

use std::sync::Arc;

use evidence::time::{Clock, DAY_MS, Timestamp};

use super::{Check, Doctor, Outcome};
use crate::clock::SystemClock;
use crate::config::Config;
use crate::device::Device;
use crate::exchange_tests::World;
use crate::spool::{Limits, Receipt};

/// A day in milliseconds, as a difference.
const DAY: i64 = 86_400_000;

/// A clock that is off by so many milliseconds.
struct Off(i64);

impl Clock for Off {
    fn now(&self) -> Timestamp {
        Timestamp(SystemClock.now().ms().saturating_add_signed(self.0))
    }
}

async fn examine(world: &World, off_ms: i64) -> Vec<Check> {
    let state = world.state();
    let doctor = Doctor {
        state: &state,
        config: Ok(Config::default()),
        config_path: state.file("agent.toml"),
        clock: Arc::new(Off(off_ms)),
        environment: &|_| None,
        enrolment: None,
    };
    doctor.examine().await
}

fn failed(checks: &[Check]) -> Vec<&'static str> {
    checks.iter().filter(|check| check.outcome == Outcome::Failed).map(|check| check.name).collect()
}

fn detail<'a>(checks: &'a [Check], name: &str) -> &'a str {
    &checks.iter().find(|check| check.name == name).unwrap().detail
}

#[tokio::test]
async fn a_wrong_clock_is_told_with_how_far_it_is_off() {
    let world = World::enrolled().await;
    // The certificates of the tests hold for an hour, which `certificate` rightly finds too short.
    let right = examine(&world, 0).await;
    assert_eq!(failed(&right), ["certificate"], "{right:#?}");
    assert_eq!(detail(&right, "time"), "this clock and the collector's agree");
    assert!(detail(&right, "tls").contains("the collector's own certificate: issued by"), "{right:#?}");

    // Within the certificate's time the collector's answer tells.
    let ahead = examine(&world, 10 * 60_000).await;
    assert_eq!(failed(&ahead), ["certificate", "time"], "{ahead:#?}");
    let said = detail(&ahead, "time");
    assert!(said.starts_with("this clock is 10 min") || said.starts_with("this clock is 9 min 5"), "{said}");
    assert!(said.ends_with("ahead of the collector's"), "{said}");

    // Out of it the certificate does.
    let behind = examine(&world, -DAY).await;
    assert_eq!(failed(&behind), ["certificate", "tls"], "{behind:#?}");
    let said = detail(&behind, "tls");
    assert!(said.contains("is at least 23 h") || said.contains("is at least 1 days 0 h"), "{said}");
    assert!(detail(&behind, "certificate").contains("this clock is behind"), "{behind:#?}");
    let late = examine(&world, 400 * DAY).await;
    assert_eq!(failed(&late), ["certificate", "tls"], "{late:#?}");
    let said = detail(&late, "tls");
    assert!(said.contains("the collector's certificate ended 399 days"), "{said}");
    let tls = late.iter().find(|check| check.name == "tls").unwrap();
    assert!(tls.next.contains("if this clock is ahead, set it"), "{}", tls.next);
}

#[tokio::test]
async fn what_the_collector_said_before_tells_of_a_clock_that_fell_back() {
    let world = World::enrolled().await;
    let mut device = Device::open(&world.state(), Limits::default()).unwrap();
    let boot = crate::clock::Boot { id: "boot".into(), minutes: 1 };
    let moment = crate::attest::Moment { now: SystemClock.now(), boot, trigger: proto::Trigger::Manual };
    device.attest(&moment, crate::exchange_tests::look()().unwrap().observed).unwrap();
    let received = Timestamp(SystemClock.now().ms() + 3 * DAY_MS + 60_000);
    device.spool.mark_stored(0, Receipt { index: 7, received, salt: [1; 32] });
    drop(device);
    let checks = examine(&world, 0).await;
    assert!(failed(&checks).contains(&"clock"), "{checks:#?}");
    assert!(detail(&checks, "clock").contains("is at least 3 days 0 h behind"), "{checks:#?}");
}

#[tokio::test]
async fn a_collector_that_remembers_otherwise_is_named_by_the_greeting() {
    let world = World::enrolled().await;
    world.collector.log.lock().unwrap().next = 5;
    let checks = examine(&world, 0).await;
    assert_eq!(failed(&checks), ["certificate", "greeting"], "{checks:#?}");
    assert_eq!(detail(&checks, "greeting"), "it expects statement 5, this device has made only 0");
}
