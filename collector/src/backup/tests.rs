use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;

use evidence::ids::Digest;

use super::*;
use crate::indexer::tests::{long_log, open};
use crate::ledger::tests::{Bench, In, ORIGIN, SEGMENT_BYTES, log_key};
use crate::restore::tests::{restored, restores};
use crate::shipment::MANIFEST;

pub(crate) fn key() -> VerifierKey {
    VerifierKey::new(ORIGIN, *log_key().public()).unwrap()
}

/// What a data directory has beside its ledger.
pub(crate) fn furnish(bench: &Bench) {
    let config = format!(
        "origin = {ORIGIN:?}\ntrust_domain = \"example.org\"\nserver_names = [\"127.0.0.1\"]\n\
         witness_policy = \"witnesses.policy\"\nsegment_bytes = {SEGMENT_BYTES}\naccept_rollback_blindness = true\n\
         [listen]\nenrol = \"127.0.0.1:0\"\nagents = \"127.0.0.1:0\"\npeople = \"127.0.0.1:0\"\n"
    );
    fs::write(bench.path().join(CONFIGURATION), config).unwrap();
    fs::write(bench.path().join("witnesses.policy"), "a policy").unwrap();
    fs::write(bench.path().join("certs/root.pem"), "a root").unwrap();
    fs::create_dir_all(bench.path().join("certs/issued")).unwrap();
    fs::write(bench.path().join("certs/issued/0123.der"), "a certificate").unwrap();
    // Notes that statements name lie nowhere else.
    let mut notes = crate::notes::Recent::open(&bench.path().join("notes")).unwrap();
    let checkpoint = evidence::note::Checkpoint {
        origin: ORIGIN.to_owned(),
        size: 0,
        root: evidence::merkle::empty_root(),
    };
    notes.push(&checkpoint.sign(&log_key()).unwrap().encode()).unwrap();
    notes.sync().unwrap();
    crate::secrets::write_new(&bench.path().join("keys/log.key"), &crate::secrets::encode(&log_key()))
        .unwrap();
}

/// Ships a bench into a folder beside it; where the keys go is told too.
pub(crate) fn ship_to(bench: &Bench, to: &Path, around: Option<&Around<'_>>) -> Result<Report, BackupError> {
    let dir = match DataDir::open(&bench.path()) {
        Err(DataDirError::Locked { .. }) => DataDir::beside(&bench.path()).unwrap(),
        opened => opened.unwrap(),
    };
    let keys = bench.parent.path().join("kept-keys");
    let key = [key()];
    let options = Options {
        log_keys: &key,
        segment_bytes: SEGMENT_BYTES,
        named: vec!["witnesses.policy".into()],
        keys_to: Some(&keys),
        now: Timestamp(7),
        progress: None,
        around,
    };
    backup(&dir, to, &options)
}

pub(crate) fn ship(bench: &Bench) -> Result<Report, BackupError> {
    ship_to(bench, &bench.parent.path().join("backup"), None)
}

/// A log over several epochs, furnished and closed, and where it is shipped to.
fn shippable() -> (Bench, PathBuf, Digest) {
    let (bench, last) = long_log();
    furnish(&bench);
    let to = bench.parent.path().join("backup");
    (bench, to, last[0])
}

/// Every file and its bytes.
fn bytes_below(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let paths = files_below(root).unwrap();
    paths.into_iter().map(|path| (path.clone(), fs::read(root.join(path)).unwrap())).collect()
}

fn grow(bench: &Bench, count: u64, last: Digest) -> Digest {
    let running = open(bench).unwrap();
    let last = running.fill_at_once(1, running.next_sequence(1), count, last);
    running.published();
    running.stop();
    last
}

#[test]
fn a_second_run_brings_what_is_new_and_nothing_else() {
    let (bench, to, last) = shippable();
    let first = ship(&bench).unwrap();
    assert_eq!((first.run, first.new_files, first.earlier.clone()), (1, first.files, None));
    assert!(first.payloads_opened && !first.beside_server && first.log == first.checkpoint, "{first:?}");
    let before = bytes_below(&to);
    let same = ship(&bench).unwrap();
    assert_eq!((same.run, same.new_files, same.new_bytes), (1, 0, 0));
    assert_eq!(bytes_below(&to), before);

    grow(&bench, 300, last);
    let second = ship(&bench).unwrap();
    assert_eq!((second.run, second.log.size), (2, first.log.size + 300));
    assert_eq!(second.earlier, Some(first.log.clone()));
    let after = bytes_below(&to);
    let bundles = |size: u64| size / BUNDLE_LEAVES;
    let full = bundles(second.log.size) - bundles(first.log.size);
    let partial = u64::from(!second.log.size.is_multiple_of(BUNDLE_LEAVES));
    // What statements name lies there for every indexed bundle: the last one of the first run may not have been.
    let notes = after.keys().filter(|path| path.contains("/notes/") && !before.contains_key(*path)).count();
    assert!((full..=full + 1).contains(&(notes as u64)), "{notes}");
    // Leaves and payloads of each, and the newest checkpoint.
    assert_eq!(second.new_files, 2 * (full + partial) + notes as u64 + 1, "{second:?}");
    for (path, bytes) in &before {
        // Gone is only what was the end.
        let kept = after.get(path).is_some_and(|now| now == bytes);
        assert!(kept || path.contains(".p/") || path == MANIFEST || path.ends_with(CHECKPOINT), "{path}");
    }
    let manifest = Manifest::read(&to).unwrap().unwrap();
    assert_eq!(manifest.files.len() + 1, after.len(), "nothing lies there that is not named");
}

#[test]
fn no_key_and_no_mark_is_shipped_and_the_keys_lie_apart() {
    let (bench, to, _) = shippable();
    ship(&bench).unwrap();
    let shipped = bytes_below(&to);
    let keys = bench.parent.path().join("kept-keys");
    let kept = bytes_below(&keys);
    assert_eq!(kept.keys().collect::<Vec<_>>(), ["data-keys/keys", "keys/log.key", "keys/wrap.key"]);
    let mark = fs::read(bench.path().join("high-water")).unwrap();
    for (path, bytes) in &shipped {
        for secret in kept.values().chain([&mark]) {
            assert!(!bytes.windows(secret.len()).any(|window| window == secret), "{path}");
        }
    }
    for path in kept.keys() {
        let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(keys.join(path)).unwrap());
        assert_eq!(mode & 0o777, 0o600, "{path}");
    }
    // Another log's keys are not written over, and neither is a file that knows more.
    let wrap = keys.join("keys/wrap.key");
    let good = fs::read(&wrap).unwrap();
    fs::write(&wrap, "another").unwrap();
    assert!(matches!(ship(&bench), Err(BackupError::OtherKeys { .. })));
    fs::write(&wrap, good).unwrap();
    let data_keys = keys.join("data-keys/keys");
    let longer = [fs::read(&data_keys).unwrap(), vec![1; 128]].concat();
    fs::write(&data_keys, longer).unwrap();
    assert!(matches!(ship(&bench), Err(BackupError::OtherKeys { .. })));
}

#[test]
fn another_log_and_an_older_copy_are_refused_with_both_checkpoints() {
    let (bench, to, last) = shippable();
    let older = bench.parent.path().join("older");
    crate::ledger::tests::copy_folder(&bench.path(), &older);
    grow(&bench, 20, last);
    let newest = ship(&bench).unwrap();
    let before = bytes_below(&to);
    let refused = |bench: &Bench, what: &str| {
        let error = ship_to(bench, &to, None).unwrap_err();
        assert!(matches!(error, BackupError::NoPrefix { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains(&newest.checkpoint.root) && text.contains(what), "{text}");
        assert_eq!(bytes_below(&to), before);
    };
    let data = bench.path();
    fs::rename(&data, bench.parent.path().join("newest")).unwrap();
    fs::rename(&older, &data).unwrap();
    for folder in ["", "keys"] {
        let closed = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        fs::set_permissions(data.join(folder), closed).unwrap();
    }
    refused(&bench, &format!("{} entries", newest.log.size - 20));
    // One that went on otherwise is longer, and no continuation.
    let mut other = last;
    for _ in 0..2 {
        let running = open(&bench).unwrap();
        let next = running.next_sequence(1);
        let envelope = crate::ledger::tests::statement(1, next, other, 99);
        running.stored(&envelope);
        other = running.fill_at_once(1, next + 1, 30, envelope.hash());
        running.published();
        running.stop();
    }
    refused(&bench, "no beginning of this log");
    // Another key is another log, whatever its name.
    let (another, ..) = shippable();
    let another_key = [VerifierKey::new("example.org/log/other", *log_key().public()).unwrap()];
    let dir = DataDir::open(&another.path()).unwrap();
    let options = Options {
        log_keys: &another_key,
        segment_bytes: SEGMENT_BYTES,
        named: Vec::new(),
        keys_to: None,
        now: Timestamp(1),
        progress: None,
        around: None,
    };
    assert!(matches!(backup(&dir, &to, &options), Err(BackupError::OtherLog { .. })));
    assert_eq!(bytes_below(&to), before);
}

#[test]
fn folders_that_are_none_of_its_own_are_refused() {
    let (bench, to, _) = shippable();
    let data = bench.path();
    for inside in [data.clone(), data.join("backup"), data.join("not/there/yet")] {
        let refused = ship_to(&bench, &inside, None);
        assert!(matches!(refused, Err(BackupError::Inside { .. })), "{refused:?}");
    }
    let somebodys = bench.parent.path().join("somebody's");
    fs::create_dir(&somebodys).unwrap();
    fs::write(somebodys.join("a file"), "of somebody").unwrap();
    let foreign = ship_to(&bench, &somebodys, None);
    assert!(matches!(foreign, Err(BackupError::Shipment(ShipmentError::Foreign { .. }))), "{foreign:?}");
    ship(&bench).unwrap();
    for path in [&to, &to.join("00000001")] {
        DataDir::open(path).unwrap_err();
    }
    let refused = DataDir::open(&to).unwrap_err();
    assert!(refused.to_string().contains("is a backup and no data directory"), "{refused}");
}

#[test]
fn an_erasure_takes_the_key_from_the_kept_keys_too() {
    let (bench, to, _) = shippable();
    ship(&bench).unwrap();
    let kept = bench.parent.path().join("kept-keys/data-keys/keys");
    let before = fs::read(&kept).unwrap();
    // What lies in its blocks is still to be seen through a second name.
    let blocks = bench.parent.path().join("blocks");
    fs::hard_link(&kept, &blocks).unwrap();
    let io = std::sync::Arc::new(crate::journal::SystemIo);
    let keys = DataKeys::open(&bench.path().join("keys"), &bench.path().join("data-keys"), io).unwrap();
    let scope = keys
        .scopes()
        .into_iter()
        .map(|(scope, _)| scope)
        .find(evidence::erasure::Scope::is_erasable)
        .unwrap();
    keys.erase(&[scope], 9).unwrap();
    drop(keys);
    let shipped = ship(&bench).unwrap();
    assert_eq!((shipped.run, shipped.new_files), (1, 0), "keys are no part of it");
    let after = fs::read(&kept).unwrap();
    assert_eq!(after, fs::read(bench.path().join("data-keys/keys")).unwrap());
    assert_ne!(after, before);
    assert_eq!(fs::read(blocks).unwrap(), vec![0; before.len()]);
    // Restored, it is as erased as it was.
    let report = restored(&bench, &to).check.unwrap();
    assert!(report.sound && report.erased > 100, "{report:?}");
}

/// A run that fails at any write, before or after it was done, leaves the shipment before it, and the next run brings
/// everything.
#[test]
fn a_run_interrupted_at_any_write_leaves_the_earlier_shipment_whole() {
    let (bench, to, mut last) = shippable();
    let mut earlier = ship(&bench).unwrap();
    last = grow(&bench, 270, last);
    for done in [false, true] {
        for nth in 1.. {
            let count = Cell::new(0);
            let around = |step: &mut dyn FnMut() -> io::Result<()>| {
                count.set(count.get() + 1);
                match count.get() == nth {
                    false => step(),
                    true if done => step().and(Err(io::ErrorKind::Other.into())),
                    true => Err(io::ErrorKind::Other.into()),
                }
            };
            let shipped = ship_to(&bench, &to, Some(&around));
            let manifest = Manifest::read(&to).unwrap().unwrap();
            let there = restored(&bench, &to);
            assert_eq!(there.log, manifest.log, "step {nth}, done: {done}");
            assert!(there.check.is_some_and(|check| check.sound));
            if count.get() < nth {
                shipped.unwrap();
                assert!(nth > 8, "{nth}");
                break;
            }
            shipped.unwrap_err();
            assert!(manifest.log == earlier.log || nth > 6, "step {nth}, done: {done}: {manifest:?}");
        }
        let finished = ship(&bench).unwrap();
        assert_eq!(finished.log.size, earlier.log.size + 270);
        let manifest = Manifest::read(&to).unwrap().unwrap();
        assert_eq!(manifest.files.len() + 1, bytes_below(&to).len(), "what was half done is gone");
        earlier = finished;
        last = grow(&bench, 270, last);
    }
}

#[test]
fn a_log_that_is_being_written_is_shipped_at_its_newest_checkpoint() {
    let (bench, to, last) = shippable();
    let running = open(&bench).unwrap();
    let next = running.next_sequence(1);
    let last = running.fill_at_once(1, next, 90, last);
    let published = running.published().checkpoint.clone();
    let shipped = ship_to(&bench, &to, None).unwrap();
    assert!(shipped.beside_server && shipped.payloads_opened, "{shipped:?}");
    assert_eq!((shipped.log.size, &shipped.log), (published.size, &shipped.checkpoint));
    assert_eq!(restored(&bench, &to).log.size, published.size);
    // While it is written without rest.
    let writing = std::thread::scope(|scope| {
        let writer = scope.spawn(|| running.fill_at_once(1, next + 90, 1500, last));
        let mut before = published.size;
        for _ in 0..6 {
            let shipped = ship_to(&bench, &to, None).unwrap();
            assert!(shipped.log.size >= before, "{shipped:?}");
            before = shipped.log.size;
        }
        writer.join().unwrap()
    });
    running.published();
    running.stop();
    let shipped = ship(&bench).unwrap();
    assert!(!shipped.beside_server, "{shipped:?}");
    assert!(
        restores(&bench, &to)
            .ledger
            .statement(&crate::ledger::tests::instance(1), next + 1589)
            .unwrap()
            .is_some()
    );
    assert_ne!(writing, last);
}

#[test]
fn a_rotten_bundle_never_replaces_a_good_one_and_an_erased_one_does() {
    let (bench, to, _) = shippable();
    ship(&bench).unwrap();
    let path = bench.path().join("payload/000");
    let good = fs::read(&path).unwrap();
    let before = bytes_below(&to);
    for place in [3, 40, good.len() / 2, good.len() - 1] {
        let mut bad = good.clone();
        bad[place] ^= 1;
        fs::write(&path, bad).unwrap();
        let refused = ship(&bench);
        assert!(matches!(refused, Err(BackupError::Damaged { .. })), "{refused:?}");
        assert_eq!(bytes_below(&to), before);
    }
    // As an erasure would write it: what it was is gone, and whose it was is left.
    let records = crate::payload_bundles::records(&good).unwrap();
    let mut erased = Vec::new();
    for (place, (codec, stored)) in records.into_iter().enumerate() {
        let subject = stored.get(2..2 + 68).unwrap_or_default();
        if place == 5 {
            rows::push_payload(
                &mut erased,
                payload_codec::CODEC_ERASED,
                &[&900_u64.to_be_bytes(), subject].concat(),
            );
        } else {
            rows::push_payload(&mut erased, codec, stored);
        }
    }
    fs::write(&path, &erased).unwrap();
    let shipped = ship(&bench).unwrap();
    assert_eq!((shipped.run, shipped.new_files), (2, 1));
    let after = bytes_below(&to);
    assert_eq!(after.get("00000002/payload/000"), Some(&erased));
    assert!(!after.contains_key("00000001/payload/000"), "the sealed payload is not kept");
    // Leaves never change.
    let leaves = bench.path().join("tree/tile/entries/000");
    let mut bad = fs::read(&leaves).unwrap();
    bad[9] ^= 1;
    fs::write(&leaves, bad).unwrap();
    let refused = ship(&bench).unwrap_err();
    assert!(
        refused.to_string().contains("other leaves were shipped")
            || matches!(refused, BackupError::NoPrefix { .. }),
        "{refused}"
    );
}

#[test]
fn what_no_file_holds_comes_from_the_journal() {
    let bench = Bench::new();
    furnish(&bench);
    let running = bench.open(In::Sled).unwrap();
    running.fill(1, 600);
    running.published();
    running.stop();
    fs::remove_dir_all(bench.path().join("payload")).unwrap();
    assert!(!bench.path().join("tree").exists());
    let to = bench.parent.path().join("backup");
    let shipped = ship(&bench).unwrap();
    assert_eq!(shipped.log.size, 601);
    assert!(restored(&bench, &to).check.is_some_and(|check| check.sound && check.journal_from == 512));
    // Nothing was signed: nothing is shipped.
    let bench = Bench::new();
    furnish(&bench);
    assert!(matches!(ship(&bench), Err(BackupError::Unsigned)));
}
