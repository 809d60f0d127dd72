use std::fs;

use evidence::payload_record::parse_records;
use evidence::time::Timestamp;

use super::*;
use crate::ledger::tests::{Bench, In, instance};

/// A log of two devices with one full bundle and the beginning of another, and its folder of bundles.
fn log() -> (Bench, crate::ledger::tests::Running, PayloadBundles) {
    let bench = Bench::new();
    let running = bench.open(In::Sled).unwrap();
    running.fill_at_once(1, 0, 200, evidence::ids::Digest::ZERO);
    running.fill_at_once(2, 0, 120, evidence::ids::Digest::ZERO);
    running.published();
    let file = bench.path().join("payload/000");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !file.exists() {
        assert!(std::time::Instant::now() < deadline, "no bundle is written");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    let bundles = PayloadBundles::new(&bench.path().join("payload"));
    (bench, running, bundles)
}

fn nothing(_: &Scope) -> Option<u64> {
    None
}

#[test]
fn what_is_sent_is_what_is_stored_wherever_it_still_lies() {
    let (bench, running, bundles) = log();
    let file = bench.path().join("payload/000");
    let stored = fs::read(&file).unwrap();
    let sent = |number, size| bundle_bytes(&running.ledger, &bundles, &nothing, number, size).unwrap();
    assert_eq!(sent(0, 321), stored);
    // Any damage of the file: the log has it too.
    let mut flipped = stored.clone();
    flipped[stored.len() / 2] ^= 1;
    for bad in [flipped, stored[..stored.len() - 1].to_vec(), Vec::new()] {
        fs::write(&file, bad).unwrap();
        assert_eq!(sent(0, 321), stored);
    }
    fs::remove_file(&file).unwrap();
    assert_eq!(sent(0, 321), stored);
    // What is in no full bundle yet, and no entry above the size.
    let rest = sent(1, 321);
    let records = parse_records(&rest).unwrap();
    assert_eq!(records.len(), 65);
    for (index, (codec, bytes)) in (256..).zip(records) {
        assert_eq!(running.ledger.stored(index).unwrap(), (codec, bytes.to_vec()));
    }
    assert_eq!(parse_records(&sent(1, 300)).unwrap().len(), 44);
    assert_eq!(parse_records(&sent(0, 10)).unwrap().len(), 10);
    running.stop();
}

#[test]
fn what_a_tombstone_names_is_sent_as_erased_and_nothing_else() {
    let (_bench, running, bundles) = log();
    let gone = Scope::device(instance(1), Timestamp(1_000_000));
    let erased = |scope: &Scope| (*scope == gone).then_some(320);
    let bytes = bundle_bytes(&running.ledger, &bundles, &erased, 0, 321).unwrap();
    for (index, (codec, stored)) in (0..).zip(parse_records(&bytes).unwrap()) {
        let leaf = running.ledger.leaf(index).unwrap();
        if (1..=200).contains(&index) {
            let parsed = Stored::parse(leaf.kind, codec, stored).unwrap();
            assert!(matches!(parsed, Stored::Erased { tombstone: 320, .. }), "{index}: {parsed:?}");
            assert_eq!(parsed.subject(leaf.kind).unwrap().scope(leaf.kind.stream, leaf.received), Some(gone));
        } else {
            assert_eq!(running.ledger.stored(index).unwrap(), (codec, stored.to_vec()), "{index}");
        }
    }
    running.stop();
}
