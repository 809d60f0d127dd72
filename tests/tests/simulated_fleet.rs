//! Statements of the simulated fleet pass the gate that real ones pass, and the dictionary is the one that was released.

#![expect(clippy::expect_used, reason = "a test stops at what it cannot do")]

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use collector::admit::{Standing, admit};
use evidence::ids::Digest;
use fleet::log::Log;
use fleet::{Fleet, Order};
use proptest::prelude::*;

const ORIGIN: &str = "example.org/log/1/simulated";

fn admitted(order: &Order, count: usize) {
    let mut fleet = Fleet::new(order).expect("a fleet");
    let standings: HashMap<_, _> = fleet
        .devices()
        .iter()
        .map(|device| {
            let standing = Standing { device: device.id, key: *device.key.public(), in_service: true };
            (device.instance, standing)
        })
        .collect();
    let mut log = Log::new(ORIGIN, order.seed);
    let mut roots: BTreeMap<u64, Digest> = BTreeMap::new();
    for _ in 0..count {
        let made = fleet.next().expect("without end");
        let peer = standings.get(&made.statement.instance).expect("a device of the fleet").device;
        let gate = admit(
            made.envelope.bytes(),
            &peer,
            |instance| standings.get(instance).copied(),
            ORIGIN,
            |size| roots.get(&size).copied(),
            |_| None,
        );
        assert_eq!(gate.expect("it is admitted").statement, made.statement);
        log.push(made.statement.kind(), made.received, made.envelope.bytes());
        let checkpoint = log.checkpoint().expect("the log is not empty");
        roots.insert(checkpoint.size, checkpoint.root);
        fleet.see(checkpoint);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn every_statement_is_admitted(seed: u64, devices in 1_usize..80, hours in 1_u64..30) {
        admitted(&Order { interval_minutes: 60 * hours, ..Order::of(seed, devices) }, 400);
    }
}

#[test]
fn a_long_life_is_admitted_too() {
    // About three years of six devices: every spell befalls one of them.
    admitted(&Order::of(77, 6), 12_000);
}

#[test]
fn the_released_dictionaries_are_those_of_the_list() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../collector/dictionaries");
    let list = std::fs::read_to_string(folder.join("README.md")).expect("the list");
    let mut seen = 0;
    for file in std::fs::read_dir(&folder).expect("the folder") {
        let path = file.expect("a file").path();
        if path.extension().is_some_and(|extension| extension == "zdict") {
            let hash = Digest::of(&std::fs::read(&path).expect("the dictionary")).hex();
            let name = path.file_name().and_then(|name| name.to_str()).expect("a name");
            let line = list.lines().find(|line| line.contains(&format!("`{name}`")));
            assert!(line.is_some_and(|line| line.contains(&format!("`{hash}`"))), "{name} is {hash}");
            seen += 1;
        }
    }
    assert_eq!(seen, 1, "a dictionary is missing or new");
}
