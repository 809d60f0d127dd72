use std::collections::BTreeMap;
use std::fs;

use evidence::note::VerifierKey;

use super::*;
use crate::indexer::tests::{long_log, open};
use crate::ledger::tests::{Bench, EPOCH_LEAVES, In, ORIGIN, log_key};
use crate::store::Store;
use crate::store::sled::SledStore;

const CACHE: u64 = 1 << 20;

fn mend(bench: &Bench, anew: bool) -> Result<Report, RebuildError> {
    let dir = DataDir::open(&bench.path()).unwrap();
    let key = VerifierKey::new(ORIGIN, *log_key().public()).unwrap();
    let mark = bench.path().join("high-water");
    let options = fsck::Options {
        log_keys: &[key],
        origin: Some(ORIGIN),
        high_water: Some(&mark),
        epoch_leaves: EPOCH_LEAVES,
        progress: None,
    };
    rebuild(&dir, &bench.options(), &options, anew)
}

fn bundle(bench: &Bench, number: u64) -> PathBuf {
    bench.path().join("payload").join(payload_bundles::path(number))
}

fn flip(path: &std::path::Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

fn bundles(bench: &Bench) -> BTreeMap<String, Vec<u8>> {
    let payloads = PayloadBundles::new(&bench.path().join("payload"));
    let paths = payloads.paths().unwrap();
    paths
        .into_iter()
        .map(|path| (path.clone(), fs::read(bench.path().join("payload").join(path)).unwrap()))
        .collect()
}

/// Damages a payload row of the index; its checksums are sled's own and stay right.
fn damage_index(bench: &Bench, chunk: u64) {
    let epoch = chunk * CHUNK_LEAVES / EPOCH_LEAVES;
    let store = SledStore::open(&bench.path().join(format!("sled/epoch-{epoch:08}")), CACHE).unwrap();
    let key = rows::payloads_key(chunk, 0);
    let mut value = store.value(&key).unwrap().unwrap();
    let middle = value.len() / 2;
    value[middle] ^= 1;
    store.apply(&[(key, value)]).unwrap();
    store.sync().unwrap();
}

fn asides(bench: &Bench) -> Vec<String> {
    let names = fs::read_dir(bench.path()).unwrap().map(|found| found.unwrap().file_name());
    let mut names: Vec<String> = names.map(|name| name.to_string_lossy().into_owned()).collect();
    names.retain(|name| name.starts_with("sled."));
    names
}

#[test]
fn bundles_come_back_from_the_index_and_from_the_journal() {
    let (bench, last) = long_log();
    // Every segment of this is kept: the last bundles lie in the journal too.
    let running = bench.open(In::Sled).unwrap();
    running.fill_at_once(1, running.next_sequence(1), 700, last[0]);
    running.published();
    running.stop();
    let before = bundles(&bench);
    let found = mend(&bench, false).unwrap();
    assert!(found.check.sound && found.written.is_empty() && found.left.is_empty(), "{found:?}");
    assert_eq!(found.bundles, before.len() as u64);
    let last = before.len() as u64 - 1;
    assert!(found.check.journal_from > 512 && found.check.journal_from <= last * BUNDLE_LEAVES, "{found:?}");
    flip(&bundle(&bench, 0));
    fs::remove_file(bundle(&bench, 1)).unwrap();
    flip(&bundle(&bench, last));
    let found = mend(&bench, false).unwrap();
    assert!(found.check.sound && found.left.is_empty(), "{found:?}");
    assert_eq!((found.written.clone(), found.index.clone()), (vec![0, 1, last], None));
    assert_eq!(bundles(&bench), before);
    fs::remove_dir_all(bench.path().join("payload")).unwrap();
    assert_eq!(mend(&bench, false).unwrap().written.len(), before.len());
    assert_eq!(bundles(&bench), before);
    let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(bundle(&bench, 1)).unwrap());
    assert_eq!(mode & 0o777, 0o600);
    // The journal's copy is taken where there is one, whatever the index says.
    damage_index(&bench, last * BUNDLE_LEAVES / CHUNK_LEAVES);
    flip(&bundle(&bench, last));
    let found = mend(&bench, false).unwrap();
    assert!(!found.check.sound && found.written == [last], "{found:?}");
    assert_eq!(bundles(&bench), before);
    assert!(mend(&bench, true).unwrap().check.sound);
}

#[test]
fn a_damaged_index_writes_over_nothing_and_is_made_anew_when_asked() {
    let (mut bench, _) = long_log();
    let before = bundles(&bench);
    damage_index(&bench, 3);
    let found = mend(&bench, false).unwrap();
    assert!(!found.check.sound && found.written.is_empty() && found.left.is_empty(), "{found:?}");
    assert_eq!(bundles(&bench), before);
    let found = mend(&bench, true).unwrap();
    assert!(found.check.sound, "{found:?}");
    let index = found.index.unwrap();
    assert_eq!((index.entries, index.aside), (found.check.size, Some(bench.path().join("sled.aside-0"))));
    assert_eq!((bundles(&bench), asides(&bench)), (before, vec!["sled.aside-0".to_owned()]));
    let running = open(&bench).unwrap();
    assert_eq!((running.report.rebuilt.clone(), running.ledger.size()), (None, index.entries));
    bench.check(&running);
    running.stop();
}

#[test]
fn what_is_nowhere_is_listed_and_the_old_index_stays() {
    let (bench, _) = long_log();
    damage_index(&bench, 16);
    fs::remove_file(bundle(&bench, 1)).unwrap();
    let found = mend(&bench, false).unwrap();
    assert!(!found.check.sound && found.written.is_empty(), "{found:?}");
    assert_eq!((found.left.len(), found.left[0].number, found.left[0].path.as_str()), (1, 1, "001"));
    let index_size = found.check.index_size;
    let refused = mend(&bench, true);
    assert!(matches!(refused, Err(RebuildError::Index(OpenError::Nowhere { from: 256, .. }))), "{refused:?}");
    assert_eq!(asides(&bench), Vec::<String>::new());
    let after = mend(&bench, false).unwrap();
    assert_eq!((after.check.index_size, after.left), (index_size, found.left));
}

#[test]
fn an_index_that_knew_more_is_put_back() {
    let (bench, _) = long_log();
    let dir = SledEpochs::new(&bench.path().join("sled"));
    let newest = crate::epochs::StoreMaker::epochs(&dir).unwrap().pop().unwrap();
    let store = SledStore::open(&dir.path(newest), CACHE).unwrap();
    let head = Head::parse(&store.value(rows::HEAD_KEY).unwrap().unwrap()).unwrap();
    let ahead = Head { size: head.size + 1024, ..head };
    store.apply(&[(rows::HEAD_KEY.to_vec(), ahead.encode())]).unwrap();
    store.sync().unwrap();
    drop(store);
    let refused = mend(&bench, true);
    assert!(matches!(refused, Err(RebuildError::Differs { old, made }) if old > made), "{refused:?}");
    assert_eq!(asides(&bench), Vec::<String>::new());
    let store = SledStore::open(&dir.path(newest), CACHE).unwrap();
    assert_eq!(Head::parse(&store.value(rows::HEAD_KEY).unwrap().unwrap()), Some(ahead));
}
