use std::collections::BTreeMap;

use evidence::ids::Digest;
use evidence::statement::{Body, Gap};
use proptest::prelude::*;

use super::*;
use crate::log::Log;

const ORIGIN: &str = "example.org/log/1/simulated";

/// The first statements of a fleet, each anchored to the log of all before it.
fn first(order: &Order, count: usize) -> Vec<Made> {
    let mut fleet = Fleet::new(order).unwrap();
    let mut log = Log::new(ORIGIN, order.seed);
    let mut all = Vec::with_capacity(count);
    while all.len() < count {
        let made = fleet.next().unwrap();
        log.push(made.statement.kind(), made.received, made.envelope.bytes());
        fleet.see(log.checkpoint().unwrap());
        all.push(made);
    }
    all
}

#[test]
fn a_seed_gives_these_bytes_for_ever() {
    let all: Vec<u8> =
        first(&Order::of(1, 200), 1_000).iter().flat_map(|made| made.envelope.bytes().to_vec()).collect();
    assert_eq!(Digest::of(&all).hex(), "d4cc46248aaa64aba630644b809b814dbcaf3bb98e31d6091539e19ab1b04b87");
}

#[test]
fn another_seed_gives_other_devices() {
    let ids =
        |seed| Fleet::new(&Order::of(seed, 3)).unwrap().devices().iter().map(|d| d.id).collect::<Vec<_>>();
    assert_eq!(ids(1), ids(1));
    assert!(ids(1).iter().all(|id| !ids(2).contains(id)));
}

#[test]
fn statements_have_these_sizes() {
    let all = first(&Order::of(1, 500), 20_000);
    let mut sizes: Vec<usize> = all.iter().map(|made| made.envelope.bytes().len()).collect();
    sizes.sort_unstable();
    let at = |percent: usize| sizes[(sizes.len() - 1) * percent / 100];
    // The README tells them.
    assert_eq!([0, 1, 50, 99, 100].map(at), [237, 760, 1238, 1377, 1420]);
}

#[test]
fn a_fleet_shows_everything_that_happens_to_devices() {
    let all = first(&Order::of(5, 300), 150_000);
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut count = |what| *counts.entry(what).or_default() += 1;
    for made in &all {
        match &made.statement.body {
            Body::Gap(Gap::NotMade { .. }) => count("not made"),
            Body::Gap(Gap::Destroyed { .. }) => count("destroyed"),
            Body::Attestation(attestation) => {
                count("attestation");
                match attestation.fields.trigger() {
                    proto::Trigger::Drift => count("drift"),
                    proto::Trigger::Manual => count("manual"),
                    _ => {}
                }
                if made.received.minutes() > attestation.fields.wall_minutes {
                    count("late");
                }
                if attestation.fields.boot_minutes < 10 {
                    count("rebooted");
                }
            }
        }
    }
    println!("{counts:?}");
    for what in ["not made", "destroyed", "drift", "manual", "late", "rebooted"] {
        assert!(counts.get(what).is_some_and(|count| *count >= 10), "{what}: {counts:?}");
    }
    assert!(counts["attestation"] > 140_000);
}

#[test]
fn impossible_fleets_are_refused() {
    assert!(matches!(Fleet::new(&Order::of(1, 0)), Err(FleetError::Order)));
    let never = Order { interval_minutes: 0, ..Order::of(1, 1) };
    assert!(matches!(Fleet::new(&never), Err(FleetError::Order)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// docs/FORMAT.md section 3, over whatever seed, size and interval.
    #[test]
    fn every_chain_is_valid(seed: u64, devices in 1_usize..40, hours in 1_u64..30, offset in 0_u64..1_000_000) {
        let begin = Timestamp(BEGIN_DEFAULT.ms() + offset * 60_000);
        let order = Order { seed, devices, interval_minutes: hours * 60, begin };
        let fleet = Fleet::new(&order).unwrap();
        let mut chains: BTreeMap<_, (u64, Digest, u64)> = BTreeMap::new();
        let mut received = begin;
        let all = first(&order, 400);
        for (index, made) in (0_u64..).zip(&all) {
            let device = &fleet.devices()[made.device];
            prop_assert!(made.received >= received);
            received = made.received;
            let statement = made.envelope.open(device.key.public()).unwrap();
            prop_assert_eq!(&statement, &made.statement);
            let (next, previous, anchor) = chains.get(&statement.instance).copied().unwrap_or((0, Digest::ZERO, 0));
            let first = match &statement.body {
                Body::Attestation(attestation) => {
                    prop_assert_eq!(attestation.device, device.id);
                    let wall = attestation.wall();
                    prop_assert!(wall >= begin && wall <= made.received);
                    statement.sequence
                }
                Body::Gap(Gap::NotMade { first_minute, last_minute, .. }) => {
                    prop_assert!(first_minute <= last_minute && *last_minute <= made.received.minutes());
                    statement.sequence
                }
                Body::Gap(Gap::Destroyed { first, .. }) => *first,
            };
            prop_assert_eq!((first, statement.previous), (next, previous));
            let size = statement.anchor.as_ref().map_or(0, |anchor| anchor.size);
            prop_assert!(size >= anchor && size <= index);
            chains.insert(statement.instance, (statement.sequence + 1, made.envelope.hash(), size));
        }
        prop_assert!(all.len() == 400);
    }
}
