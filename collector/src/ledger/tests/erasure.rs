//! Payloads that are erased, and everything that must stay what it was.

use std::fs;
use std::path::Path;

use evidence::erasure::Scope;

use super::*;
use crate::data_keys::{DataKeyError, DataKeys};
use crate::payload_codec::Subject;

const MARKER: &[u8] = b"a serial number that somebody has asked about";

/// Every byte of every file below a folder.
fn raw(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(raw(&path));
        } else if path.is_file() {
            found.push((path.clone(), fs::read(&path).unwrap()));
        }
    }
    found
}

fn holds(folder: &Path, wanted: &[u8]) -> Vec<PathBuf> {
    let has = |bytes: &[u8]| bytes.windows(wanted.len()).any(|window| window == wanted);
    raw(folder).into_iter().filter(|(_, bytes)| has(bytes)).map(|(path, _)| path).collect()
}

fn detail(running: &Running, number: u8) -> u64 {
    let build = Box::new(move |_: &Context| {
        let entry = NewEntry::new(Kind::DEVICE_DETAIL, MARKER.to_vec());
        Ok(vec![NewEntry { instance: Some(instance(number)), ..entry }])
    });
    running.sequencer.act(build).unwrap().blocking_recv().unwrap().unwrap()[0].index
}

fn scope(number: u8) -> Scope {
    Scope::device(instance(number), Timestamp(1_000_000))
}

#[test]
fn what_is_erased_is_in_no_byte_and_everything_else_stays_and_is_rebuilt() {
    let mut bench = Bench::new();
    let running = bench.open(In::Sled).unwrap();
    let last = running.fill(1, 5);
    let of_one = detail(&running, 1);
    running.fill(2, 5);
    running.act(Kind::POLICY, b"a policy that stays").unwrap();
    let published = running.published();
    bench.check(&running);
    let size = published.checkpoint.size;
    let proofs: Vec<_> = (0..size).map(|index| running.ledger.inclusion(index, size).unwrap()).collect();
    let state = running.ledger.instance(&instance(1)).unwrap();
    assert_eq!(running.ledger.entry(of_one).unwrap().payload, MARKER);
    let first = running.ledger.entry(1).unwrap().payload;
    // Nothing is readable in the files before either, but for the genesis.
    assert_eq!(holds(&bench.path(), MARKER), Vec::<PathBuf>::new());
    let key_file = bench.path().join("data-keys").join("keys");
    let key_bytes = fs::read(&key_file).unwrap();
    let place = key_bytes.windows(20).position(|window| window == scope(1).encode()).unwrap();
    let wrapped = key_bytes[place + 20..place + 80].to_vec();
    assert_eq!(holds(&bench.path(), &wrapped), std::slice::from_ref(&key_file));

    running.ledger.data_keys().erase(&[scope(1)], size - 1).unwrap();
    running.stop();
    for secret in [&wrapped[..], MARKER, &first[..32]] {
        assert_eq!(holds(&bench.path(), secret), Vec::<PathBuf>::new());
    }
    // With the index as it was, and with one made from the journal alone.
    for place in [In::Sled, In::Memory] {
        let running = bench.open(place).unwrap();
        let ledger = &running.ledger;
        assert_eq!(ledger.snapshot().root, published.checkpoint.root);
        for index in 0..size {
            let proof = ledger.inclusion(index, size).unwrap();
            assert_eq!(proof, proofs[usize::try_from(index).unwrap()]);
            let hash = ledger.leaf(index).unwrap().hash();
            verify_inclusion(index, size, &hash, &proof, &published.checkpoint.root).unwrap();
        }
        for index in 1..=of_one {
            let error = ledger.entry(index).unwrap_err();
            assert!(matches!(error, ReadError::Erased { tombstone, .. } if tombstone == size - 1), "{error}");
        }
        let Found::Erased(erased) = ledger.find(3).unwrap() else { panic!("3 is erased") };
        assert!(matches!(erased.subject, Subject::Statement { sequence: 2, .. }));
        assert!((of_one + 1..size).all(|index| ledger.entry(index).is_ok()));
        assert_eq!(ledger.instance(&instance(1)).unwrap(), state);
        // A device that comes with an old statement is told not to.
        let again = running.submit(&statement(1, 0, Digest::ZERO, 0)).unwrap();
        assert_eq!(again, Outcome::Lost { sequence: 0 });
        let other = running.submit(&statement(1, 0, Digest::ZERO, 77)).unwrap();
        assert!(matches!(other, Outcome::Forked { sequence: 0, known_index: Some(1), .. }), "{other:?}");
        running.stop();
    }
    let report = crate::fsck::check(&DataDir::open(&bench.path()).unwrap(), &Default::default()).unwrap();
    assert!(report.sound, "{:?}", report.faults);
    assert_eq!(report.erased, of_one);
    // The device goes on from where it was, in another quarter.
    bench.clock.0.store(20_000_000_000, Ordering::SeqCst);
    let running = bench.open(In::Sled).unwrap();
    running.stored(&statement(1, 5, last, 5));
    assert!(running.ledger.entry(size).is_ok());
    running.stop();
}

#[test]
fn a_log_from_before_there_were_data_keys_gets_them_and_a_later_one_needs_them() {
    let mut bench = Bench::new();
    let keys = bench.path().join("data-keys").join("keys");
    let wrap = bench.path().join("keys").join("wrap.key");
    fs::remove_file(&keys).unwrap();
    fs::remove_file(&wrap).unwrap();
    let running = bench.open(In::Memory).unwrap();
    running.fill(1, 2);
    running.published();
    bench.check(&running);
    running.stop();
    let kept = fs::read(&keys).unwrap();
    fs::remove_file(&keys).unwrap();
    for place in [In::Memory, In::Sled] {
        let error = bench.open(place).map(|_| ()).unwrap_err();
        assert!(
            matches!(&error, OpenError::Keys(DataKeyError::Missing { path }) if *path == keys),
            "{error}"
        );
    }
    assert!(!keys.exists(), "a new file would hide that the old one is needed");
    fs::write(&keys, kept).unwrap();
    fs::remove_file(&wrap).unwrap();
    assert!(matches!(bench.open(In::Memory), Err(OpenError::Keys(DataKeyError::Missing { .. }))));
}

#[test]
fn a_key_is_synced_before_anything_is_sealed_under_it() {
    for call in [crate::journal::faults::Call::Write, crate::journal::faults::Call::Sync] {
        let bench = Bench::new();
        let running = bench.open(In::Memory).unwrap();
        running.published();
        let journal: Vec<_> = raw(&bench.path().join("journal"));
        // The first call of its kind in the next group is for the new key.
        let persisted = crate::journal::faults::Persisted::Nothing;
        bench.io.arm(crate::journal::faults::Fault { call, nth: 1, persisted });
        let answer = running.submit(&statement(1, 0, Digest::ZERO, 1));
        assert!(answer.is_err(), "{answer:?}");
        assert_eq!(raw(&bench.path().join("journal")), journal);
        running.stop();
        assert_eq!(bench.fatal.lock().unwrap().len(), 1);
        bench.fatal.lock().unwrap().clear();
        let running = bench.open(In::Memory).unwrap();
        running.stored(&statement(1, 0, Digest::ZERO, 1));
        running.stop();
        let keys = DataKeys::inspect(&bench.path().join("keys"), &bench.path().join("data-keys")).unwrap();
        assert_eq!(keys.scopes(), [(scope(1), None)]);
    }
}
