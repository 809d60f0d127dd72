use std::sync::Arc;

use super::*;
use crate::backup::tests::{furnish, key, ship, ship_to};
use crate::indexer::tests::{long_log, open};
use crate::ledger::Ledger;
use crate::ledger::tests::{Bench, EPOCH_LEAVES, In, Running};
use crate::shipment::{MANIFEST, files_below};

fn try_restore(bench: &Bench, from: &Path, to: &Path) -> Result<Report, RestoreError> {
    let keys = bench.parent.path().join("kept-keys");
    let options = Options { keys_from: Some(&keys), epoch_leaves: EPOCH_LEAVES, ..Options::default() };
    restore(from, to, &options)
}

/// Restores a shipment, and removes what was made.
pub(crate) fn restored(bench: &Bench, from: &Path) -> Report {
    let to = bench.parent.path().join("restored");
    let report = try_restore(bench, from, &to).unwrap();
    fs::remove_dir_all(to).unwrap();
    report
}

/// Restores a shipment in the bench's place and opens it.
pub(crate) fn restores(bench: &Bench, from: &Path) -> Running {
    let lost = bench.parent.path().join("lost");
    fs::rename(bench.path(), &lost).unwrap();
    let report = try_restore(bench, from, &bench.path()).unwrap();
    // The mark is not part of what is lost, nor of the backup.
    assert!(!bench.path().join("high-water").exists());
    fs::copy(lost.join("high-water"), bench.path().join("high-water")).unwrap();
    assert!(report.check.as_ref().is_some_and(|check| check.sound), "{report:?}");
    open(bench).unwrap()
}

fn shipped() -> (Bench, PathBuf, [Digest; 2]) {
    let (bench, last) = long_log();
    furnish(&bench);
    ship(&bench).unwrap();
    let from = bench.parent.path().join("backup");
    (bench, from, last)
}

#[test]
fn what_was_shipped_goes_on_where_it_was() {
    let (mut bench, from, last) = shipped();
    let before = {
        let running = open(&bench).unwrap();
        let snapshot = running.ledger.snapshot();
        running.stop();
        snapshot
    };
    let running = restores(&bench, &from);
    assert_eq!(running.ledger.snapshot(), before);
    assert_eq!(running.report.rebuilt, None, "the index was there");
    bench.check(&running);
    running.fill_at_once(1, running.next_sequence(1), 300, last[0]);
    running.published();
    bench.check(&running);
    running.stop();
    let paths =
        ["collector.toml", "witnesses.policy", "certs/issued/0123.der", "keys/log.key", "notes/recent"];
    for path in paths {
        let (lost, now) = (bench.parent.path().join("lost").join(path), bench.path().join(path));
        assert_eq!(fs::read(lost).unwrap(), fs::read(&now).unwrap(), "{path}");
        let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(now).unwrap());
        assert_eq!(mode & 0o077, 0, "{path}");
    }
    // And it is shipped on.
    let again = ship_to(&bench, &from, None).unwrap();
    assert_eq!((again.run, again.log.size), (2, before.size + 300));
}

/// Sizes around the ends of bundles, with and without entries that no checkpoint covers.
#[test]
fn logs_of_every_size_around_a_bundle_come_back() {
    for size in [1, 2, 255, 256, 257, 511, 512, 513] {
        let mut bench = Bench::new();
        furnish(&bench);
        let running = bench.open(In::Sled).unwrap();
        let last = running.fill_at_once(1, 0, size - 1, Digest::ZERO);
        running.published();
        running.stop();
        ship(&bench).unwrap();
        let from = bench.parent.path().join("backup");
        let running = restores(&bench, &from);
        assert_eq!(running.ledger.size(), size);
        running.fill_at_once(1, size - 1, 3, last);
        running.published();
        bench.check(&running);
        running.stop();
    }
}

#[test]
fn entries_after_the_newest_checkpoint_are_in_it_and_signed_later() {
    let mut bench = Bench::new();
    furnish(&bench);
    let running = bench.open(In::Sled).unwrap();
    let last = running.fill_at_once(1, 0, 300, Digest::ZERO);
    let covered = running.published().checkpoint.size;
    running.stop();
    // No clock, no checkpoint.
    bench.clock.0.store(1, std::sync::atomic::Ordering::SeqCst);
    let running = bench.open(In::Sled).unwrap();
    let last = running.fill_at_once(1, 300, 700, last);
    running.stop();
    let shipped = ship(&bench).unwrap();
    assert_eq!((shipped.checkpoint.size, shipped.log.size), (covered, 1001));
    bench.clock.0.store(9_000_000, std::sync::atomic::Ordering::SeqCst);
    let running = restores(&bench, &bench.parent.path().join("backup"));
    assert_eq!(running.published().checkpoint.size, 1001);
    running.fill_at_once(1, 1000, 1, last);
    bench.check(&running);
    running.stop();
}

/// Every file of a shipment, at its ends and in between.
#[test]
fn any_flipped_byte_is_refused_and_nothing_is_left() {
    let bench = Bench::new();
    furnish(&bench);
    let running = bench.open(In::Sled).unwrap();
    running.fill_at_once(1, 0, 280, Digest::ZERO);
    running.published();
    running.stop();
    ship(&bench).unwrap();
    let from = bench.parent.path().join("backup");
    let to = bench.parent.path().join("restored");
    let mut flipped = 0;
    for path in files_below(&from).unwrap() {
        let whole = fs::read(from.join(&path)).unwrap();
        let step = whole.len().div_ceil(120).max(1);
        for place in (0..whole.len()).step_by(step).chain(whole.len().checked_sub(1)) {
            let mut bad = whole.clone();
            bad[place] ^= 1 << (place % 8);
            fs::write(from.join(&path), bad).unwrap();
            let error = try_restore(&bench, &from, &to).unwrap_err();
            let file = Path::new(&path).file_name().unwrap().to_str().unwrap();
            assert!(error.to_string().contains(file), "{path}, byte {place}: {error}");
            assert!(!to.exists(), "{path}, byte {place}");
            flipped += 1;
        }
        // Cut, grown, gone.
        let cut = whole.split_last().map(|(_, cut)| cut.to_vec());
        for bad in cut.into_iter().chain([[&whole[..], b"\0"].concat()]) {
            fs::write(from.join(&path), bad).unwrap();
            try_restore(&bench, &from, &to).unwrap_err();
        }
        fs::remove_file(from.join(&path)).unwrap();
        try_restore(&bench, &from, &to).unwrap_err();
        assert!(!to.exists());
        fs::write(from.join(&path), whole).unwrap();
    }
    assert!(flipped > 600, "{flipped}");
    assert!(try_restore(&bench, &from, &to).unwrap().check.is_some_and(|check| check.sound));
}

/// Hashes can be right and the log wrong: somebody made the manifest anew.
#[test]
fn entries_that_are_not_the_signed_ones_are_refused() {
    let (bench, from, _) = shipped();
    let to = bench.parent.path().join("restored");
    let good = Manifest::read(&from).unwrap().unwrap();
    let write = |path: &str, bytes: &[u8]| {
        let mut manifest = good.clone();
        let shipped = manifest.files.get_mut(path).unwrap();
        fs::write(place(&from, shipped.run, path), bytes).unwrap();
        *shipped = crate::shipment::Shipped::new(bytes, shipped.run);
        fs::write(from.join(MANIFEST), manifest.encode().unwrap()).unwrap();
    };
    let path = "tree/tile/entries/001";
    let mut bytes = good.bytes(&from, path).unwrap();
    bytes[30] ^= 1;
    write(path, &bytes);
    let refused = try_restore(&bench, &from, &to).unwrap_err();
    assert!(matches!(refused, RestoreError::Root { .. }), "{refused}");
    assert!(!to.exists());
    bytes[30] ^= 1;
    write(path, &bytes);
    // An older checkpoint would make an older log of it.
    let note = good.bytes(&from, PUBLISHED).unwrap();
    let key = crate::ledger::tests::log_key();
    let other = Checkpoint { origin: key_name(), size: 3, root: Digest::ZERO };
    write(CHECKPOINT, other.sign(&key).unwrap().encode().as_bytes());
    assert!(matches!(try_restore(&bench, &from, &to), Err(RestoreError::Root { .. })));
    write(CHECKPOINT, b"no note");
    assert!(matches!(try_restore(&bench, &from, &to), Err(RestoreError::Note { .. })));
    write(CHECKPOINT, &good.bytes(&from, CHECKPOINT).unwrap_or(note));
}

/// With witnesses there are two notes, and the older one is what was published.
#[test]
fn a_cosigned_checkpoint_comes_along_and_is_shipped_on() {
    let (bench, from, last) = shipped();
    let mut manifest = Manifest::read(&from).unwrap().unwrap();
    let size = manifest.log.size;
    let line = data_encoding::BASE64.encode(&[7; 4 + 8 + 64]);
    let note = manifest.bytes(&from, CHECKPOINT).unwrap();
    let cosigned = format!("{}\u{2014} witness.example.com/w1 {line}\n", String::from_utf8(note).unwrap());
    let running = open(&bench).unwrap();
    running.fill_at_once(1, running.next_sequence(1), 300, last[0]);
    running.published();
    running.stop();
    ship(&bench).unwrap();
    manifest = Manifest::read(&from).unwrap().unwrap();
    fs::create_dir_all(from.join("00000002/notes")).unwrap();
    fs::write(place(&from, 2, COSIGNED), &cosigned).unwrap();
    manifest.files.insert(COSIGNED.to_owned(), crate::shipment::Shipped::new(cosigned.as_bytes(), 2));
    fs::write(from.join(MANIFEST), manifest.encode().unwrap()).unwrap();
    let running = restores(&bench, &from);
    running.stop();
    let dir = Arc::new(DataDir::open(&bench.path()).unwrap());
    let (_, unstarted) = Ledger::open(dir, &bench.options()).unwrap();
    let newest = |row: &Option<crate::store::rows::CheckpointRow>| row.as_ref().map(|row| row.size);
    assert_eq!((newest(&unstarted.checkpoint), newest(&unstarted.cosigned)), (Some(size + 300), Some(size)));
    drop(unstarted);
    let again = bench.parent.path().join("again");
    ship_to(&bench, &again, None).unwrap();
    let shipped = Manifest::read(&again).unwrap().unwrap().bytes(&again, COSIGNED).unwrap();
    assert_eq!(String::from_utf8(shipped).unwrap(), cosigned);
}

fn key_name() -> String {
    key().name().to_owned()
}

#[test]
fn a_place_that_is_taken_is_left_as_it_is() {
    let (bench, from, _) = shipped();
    let to = bench.parent.path().join("restored");
    fs::create_dir(&to).unwrap();
    fs::write(to.join("a file"), "of somebody").unwrap();
    let refused = try_restore(&bench, &from, &to);
    assert!(matches!(refused, Err(RestoreError::DataDir(DataDirError::NotEmpty { .. }))), "{refused:?}");
    assert_eq!(files_below(&to).unwrap(), ["a file"]);
    fs::remove_file(to.join("a file")).unwrap();
    // An empty one stays there, empty, when the backup is damaged, and takes it when it is not.
    let bundle = from.join("00000001/payload/001");
    let good = fs::read(&bundle).unwrap();
    fs::write(&bundle, &good[1..]).unwrap();
    try_restore(&bench, &from, &to).unwrap_err();
    assert_eq!(fs::read_dir(&to).unwrap().count(), 0);
    fs::write(&bundle, good).unwrap();
    try_restore(&bench, &from, &to).unwrap();
    for inside in [from.join("restored"), from.clone()] {
        let refused = try_restore(&bench, &from, &inside);
        assert!(matches!(refused, Err(RestoreError::Inside(_))), "{refused:?}");
    }
    let empty = bench.parent.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let refused = try_restore(&bench, &empty, &bench.parent.path().join("new"));
    assert!(matches!(refused, Err(RestoreError::Shipment(ShipmentError::Absent { .. }))), "{refused:?}");
}

#[test]
fn a_restore_that_was_killed_is_no_data_directory() {
    let (bench, from, _) = shipped();
    let to = bench.parent.path().join("restored");
    try_restore(&bench, &from, &to).unwrap();
    let dir = DataDir::open(&to).unwrap();
    // What a kill leaves: the mark is there from the first file to the last.
    dir.unfinished().unwrap();
    drop(dir);
    let refused = DataDir::open(&to).unwrap_err();
    assert!(refused.to_string().contains("half of what `restore` makes"), "{refused}");
}

#[test]
fn keys_are_wanted_for_reading_and_only_this_logs_are_taken() {
    let (bench, from, _) = shipped();
    let to = bench.parent.path().join("restored");
    let report = restore(&from, &to, &Options { epoch_leaves: EPOCH_LEAVES, ..Options::default() }).unwrap();
    assert_eq!((report.check, report.keys, files_below(&to.join("keys")).unwrap().len()), (None, false, 0));
    let dir = Arc::new(DataDir::open(&to).unwrap());
    let refused = Ledger::open(dir, &bench.options()).map(|_| ());
    assert!(matches!(refused, Err(OpenError::Keys(_))), "{refused:?}");
    fs::remove_dir_all(&to).unwrap();
    let log_key = bench.parent.path().join("kept-keys/keys/log.key");
    fs::remove_file(&log_key).unwrap();
    let other = evidence::keys::SecretKey::from_seed(&[1; 32]).unwrap();
    secrets::write_new(&log_key, &secrets::encode(&other)).unwrap();
    let refused = try_restore(&bench, &from, &to);
    assert!(matches!(refused, Err(RestoreError::OtherKey { .. })), "{refused:?}");
    assert!(!to.exists());
}
