use std::os::unix::fs::PermissionsExt as _;

use evidence::erasure::Quarter;
use evidence::ids::InstanceId;
use evidence::leaf::Stream;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::journal::SystemIo;
use crate::journal::faults::{Call, Fault, FaultyIo, Persisted};
use crate::sequencer::system_random;

struct Bench {
    dir: TempDir,
}

impl Bench {
    fn new() -> Self {
        let bench = Self { dir: tempfile::tempdir().unwrap() };
        fs::create_dir(bench.keys()).unwrap();
        DataKeys::create(&bench.keys(), &bench.folder(), &mut system_random()).unwrap();
        bench
    }

    fn keys(&self) -> PathBuf {
        self.dir.path().join("keys")
    }

    fn folder(&self) -> PathBuf {
        self.dir.path().join("data-keys")
    }

    fn file(&self) -> PathBuf {
        self.folder().join("keys")
    }

    fn open(&self) -> Result<DataKeys, DataKeyError> {
        DataKeys::open(&self.keys(), &self.folder(), Arc::new(SystemIo))
    }

    fn bytes(&self) -> Vec<u8> {
        fs::read(self.file()).unwrap()
    }
}

fn scope(number: u8) -> Scope {
    let quarter = Quarter::new(2026, number % 4 + 1).unwrap();
    Scope::Device { instance: InstanceId::from_bytes([number; 16]), quarter }
}

fn kept(keys: &DataKeys, scope: &Scope) -> Option<[u8; 32]> {
    match keys.standing(scope).unwrap() {
        Standing::Kept(key) => Some(*key.bytes()),
        Standing::Erased { .. } | Standing::Absent => None,
    }
}

fn add(keys: &DataKeys, numbers: std::ops::Range<u8>) -> Vec<[u8; 32]> {
    let mut random = system_random();
    let made = numbers.map(|number| *keys.prepare(scope(number), &mut random).unwrap().bytes()).collect();
    keys.store().unwrap();
    made
}

#[test]
fn keys_are_there_again_after_opening_and_none_is_readable_in_the_file() {
    let bench = Bench::new();
    let keys = bench.open().unwrap();
    let mut made = add(&keys, 0..3);
    made.extend(add(&keys, 3..4));
    drop(keys);
    let keys = bench.open().unwrap();
    let found: Vec<_> = (0..4).filter_map(|number| kept(&keys, &scope(number))).collect();
    assert_eq!(found, made);
    assert!(kept(&keys, &scope(9)).is_none());
    let bytes = bench.bytes();
    assert_eq!(bytes.len(), 5 * RECORD_BYTES);
    for key in &made {
        assert!(!bytes.windows(32).any(|window| window == key));
    }
    for path in [bench.file(), bench.keys().join("wrap.key")] {
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "{}", path.display());
    }
}

#[test]
fn a_key_that_was_not_stored_is_another_one_next_time() {
    let bench = Bench::new();
    let keys = bench.open().unwrap();
    let first = *keys.prepare(scope(0), &mut system_random()).unwrap().bytes();
    assert_eq!(*keys.prepare(scope(0), &mut system_random()).unwrap().bytes(), first);
    drop(keys);
    let keys = bench.open().unwrap();
    assert!(kept(&keys, &scope(0)).is_none());
    assert_ne!(*keys.prepare(scope(0), &mut system_random()).unwrap().bytes(), first);
}

#[test]
fn erased_keys_are_gone_from_the_disk_and_never_made_again() {
    let bench = Bench::new();
    let keys = bench.open().unwrap();
    let made = add(&keys, 0..5);
    let before = bench.bytes();
    keys.erase(&[scope(1), scope(3), scope(77)], 42).unwrap();
    keys.erase(&[scope(1)], 50).unwrap();
    add(&keys, 5..6);
    drop(keys);
    let keys = bench.open().unwrap();
    for number in [0, 2, 4] {
        assert_eq!(kept(&keys, &scope(number)), Some(made[usize::from(number)]));
    }
    for number in [1, 3, 77] {
        let found = keys.standing(&scope(number)).unwrap();
        assert!(matches!(found, Standing::Erased { tombstone: 42 }));
        let again = keys.prepare(scope(number), &mut system_random()).map(|_| ());
        assert!(matches!(again, Err(DataKeyError::Erased { tombstone: 42, .. })));
    }
    let after = bench.bytes();
    for number in [1, 3] {
        let wrapped = &before[RECORD_BYTES * (number + 1) + 29..][..60];
        assert!(!after.windows(60).any(|window| window == wrapped));
    }
    let roster = Scope::Stream { stream: Stream::Roster, year: 2026 };
    assert!(matches!(keys.erase(&[roster], 60), Err(DataKeyError::NotErasable(_))));
    assert!(!next_path(&bench.folder()).exists());
}

#[test]
fn the_old_file_is_overwritten() {
    let bench = Bench::new();
    let keys = bench.open().unwrap();
    add(&keys, 0..3);
    let old = File::open(bench.file()).unwrap();
    keys.erase(&[scope(0)], 7).unwrap();
    let mut bytes = Vec::new();
    (&old).read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, vec![0; 4 * RECORD_BYTES]);
}

#[test]
fn a_batch_cut_anywhere_is_dropped_and_the_rest_is_kept() {
    let bench = Bench::new();
    let keys = bench.open().unwrap();
    let made = add(&keys, 0..2);
    // Six records: they reach over a sector's end.
    add(&keys, 2..8);
    drop(keys);
    let whole = bench.bytes();
    let first = 3 * RECORD_BYTES;
    for cut in first..whole.len() {
        fs::write(bench.file(), &whole[..cut]).unwrap();
        let keys = bench.open().unwrap_or_else(|error| panic!("cut at {cut}: {error}"));
        assert_eq!(kept(&keys, &scope(1)), Some(made[1]), "cut at {cut}");
        assert!(kept(&keys, &scope(7)).is_none());
        add(&keys, 7..8);
        drop(keys);
        assert!(kept(&bench.open().unwrap(), &scope(7)).is_some(), "cut at {cut}");
    }
    // A power cut that took any of the sectors, in any combination.
    let sectors =
        [first..4 * RECORD_BYTES, 4 * RECORD_BYTES..8 * RECORD_BYTES, 8 * RECORD_BYTES..whole.len()];
    for taken in 1..8_u32 {
        let mut bytes = whole.clone();
        for (number, sector) in sectors.iter().enumerate() {
            if taken >> number & 1 == 1 {
                bytes[sector.clone()].fill(0);
            }
        }
        fs::write(bench.file(), &bytes).unwrap();
        let keys = bench.open().unwrap_or_else(|error| panic!("sectors {taken:b}: {error}"));
        assert_eq!(kept(&keys, &scope(0)), Some(made[0]));
        add(&keys, 0..9);
        assert!(bench.open().is_ok(), "sectors {taken:b}");
    }
}

#[test]
fn damage_elsewhere_is_an_error_that_changes_nothing() {
    let bench = Bench::new();
    let keys = bench.open().unwrap();
    add(&keys, 0..1);
    add(&keys, 1..4);
    drop(keys);
    let whole = bench.bytes();
    for place in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[place] ^= 0x10;
        fs::write(bench.file(), &bytes).unwrap();
        assert!(matches!(bench.open(), Err(DataKeyError::Damaged { .. })), "byte {place}");
        assert_eq!(bench.bytes(), bytes);
    }
    // A record of an earlier batch that is all zeros is no torn tail.
    let mut bytes = whole.clone();
    bytes[RECORD_BYTES..2 * RECORD_BYTES].fill(0);
    fs::write(bench.file(), &bytes).unwrap();
    assert!(matches!(bench.open(), Err(DataKeyError::Damaged { record: 1, .. })));
    // Records in each other's place, or twice.
    let mut bytes = whole.clone();
    bytes.copy_within(2 * RECORD_BYTES..3 * RECORD_BYTES, 3 * RECORD_BYTES);
    fs::write(bench.file(), &bytes).unwrap();
    assert!(matches!(bench.open(), Err(DataKeyError::Damaged { record: 3, .. })));
}

#[test]
fn a_missing_or_foreign_file_is_named() {
    let (bench, other) = (Bench::new(), Bench::new());
    add(&bench.open().unwrap(), 0..1);
    let wrap = bench.keys().join("wrap.key");
    fs::copy(other.keys().join("wrap.key"), &wrap).unwrap();
    let error = bench.open().map(drop).unwrap_err().to_string();
    assert!(error.contains("wrap.key") && error.contains("Restore"), "{error}");
    fs::set_permissions(&wrap, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(bench.open(), Err(DataKeyError::Wrap(SecretError::Exposed { .. }))));
    for gone in [wrap, bench.file()] {
        let bytes = fs::read(&gone).unwrap();
        fs::remove_file(&gone).unwrap();
        assert!(matches!(bench.open(), Err(DataKeyError::Missing { path }) if path == gone));
        fs::write(&gone, bytes).unwrap();
    }
}

#[test]
fn after_any_failed_call_an_erased_key_never_comes_back_and_no_other_is_lost() {
    let persisted = [Persisted::All, Persisted::Half, Persisted::Nothing];
    let calls =
        [Call::Write, Call::Sync].into_iter().flat_map(|call| persisted.map(|persisted| (call, persisted)));
    let mut failures = 0;
    for (call, persisted) in calls.chain([(Call::Names, Persisted::All)]) {
        for nth in 1..=3 {
            let (bench, io) = (Bench::new(), Arc::new(FaultyIo::default()));
            let keys =
                DataKeys::open(&bench.keys(), &bench.folder(), Arc::clone(&io) as Arc<dyn Io>).unwrap();
            let made = add(&keys, 0..3);
            io.arm(Fault { call, nth, persisted });
            let answer = keys.erase(&[scope(1)], 9);
            failures += u32::from(answer.is_err());
            if answer.is_err() {
                // The process must end: nothing is added to a file of which nobody knows what it holds.
                assert!(keys.prepare(scope(5), &mut system_random()).is_ok());
                assert!(matches!(keys.store(), Err(DataKeyError::Unsure)));
                assert!(matches!(keys.erase(&[scope(0)], 10), Err(DataKeyError::Unsure)));
            }
            drop(keys);
            let keys = bench.open().unwrap();
            assert_eq!(kept(&keys, &scope(0)), Some(made[0]), "{call:?} {nth} {persisted:?}");
            assert_eq!(kept(&keys, &scope(2)), Some(made[2]), "{call:?} {nth} {persisted:?}");
            // Whoever was answered may rely on it; whoever was not asks again.
            assert!(answer.is_err() || kept(&keys, &scope(1)).is_none());
            keys.erase(&[scope(1)], 9).unwrap();
            assert!(kept(&bench.open().unwrap(), &scope(1)).is_none());
        }
    }
    assert!(failures >= 9, "{failures}");
}

#[test]
fn after_any_failed_call_while_storing_keys_the_file_opens_and_keeps_what_was_stored() {
    for call in [Call::Write, Call::Sync] {
        for persisted in [Persisted::All, Persisted::Half, Persisted::Nothing] {
            let (bench, io) = (Bench::new(), Arc::new(FaultyIo::default()));
            let keys =
                DataKeys::open(&bench.keys(), &bench.folder(), Arc::clone(&io) as Arc<dyn Io>).unwrap();
            let made = add(&keys, 0..2);
            for number in 2..8 {
                keys.prepare(scope(number), &mut system_random()).unwrap();
            }
            io.arm(Fault { call, nth: 1, persisted });
            assert!(keys.store().is_err());
            assert!(matches!(keys.store(), Err(DataKeyError::Unsure)));
            drop(keys);
            let keys = bench.open().unwrap_or_else(|error| panic!("{call:?} {persisted:?}: {error}"));
            assert_eq!(kept(&keys, &scope(1)), Some(made[1]));
            add(&keys, 2..8);
            assert!(kept(&bench.open().unwrap(), &scope(7)).is_some());
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Add(Vec<u8>),
    Erase(Vec<u8>),
    Reopen,
    Cut(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => prop::collection::vec(0..24_u8, 1..7).prop_map(Step::Add),
        1 => prop::collection::vec(0..24_u8, 1..4).prop_map(Step::Erase),
        1 => Just(Step::Reopen),
        // A batch that is being written when the power goes.
        1 => (1..700_usize).prop_map(Step::Cut),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn the_file_follows_the_model(steps in prop::collection::vec(step(), 1..16)) {
        let bench = Bench::new();
        let mut keys = bench.open().unwrap();
        let mut model: BTreeMap<u8, Option<[u8; 32]>> = BTreeMap::new();
        for (number, step) in (100_u64..).zip(steps) {
            match step {
                Step::Add(numbers) => {
                    for number in numbers {
                        match keys.prepare(scope(number), &mut system_random()) {
                            Ok(key) => {
                                let known = *model.entry(number).or_insert(Some(*key.bytes()));
                                prop_assert_eq!(known, Some(*key.bytes()));
                            }
                            Err(DataKeyError::Erased { .. }) => {
                                prop_assert_eq!(model.get(&number), Some(&None));
                            }
                            Err(error) => panic!("{error}"),
                        }
                    }
                    keys.store().unwrap();
                }
                Step::Erase(numbers) => {
                    let scopes: Vec<Scope> = numbers.iter().map(|number| scope(*number)).collect();
                    keys.erase(&scopes, number).unwrap();
                    model.extend(numbers.into_iter().map(|number| (number, None)));
                }
                Step::Reopen => keys = bench.open().unwrap(),
                Step::Cut(bytes) => {
                    let kept_bytes = bench.bytes().len();
                    for number in 30..35 {
                        keys.prepare(scope(number), &mut system_random()).unwrap();
                    }
                    keys.store().unwrap();
                    let cut = (kept_bytes + bytes).min(kept_bytes + 5 * RECORD_BYTES - 1);
                    let whole = bench.bytes();
                    if whole.len() > kept_bytes {
                        fs::write(bench.file(), &whole[..cut]).unwrap();
                    }
                    keys = bench.open().unwrap();
                    let left: Vec<Scope> = (30..35).map(scope).collect();
                    keys.erase(&left, number).unwrap();
                    // They are the cut's own, and gone: another cut needs others.
                    return Ok(());
                }
            }
            for number in 0..24 {
                let expected = model.get(&number).copied().flatten();
                prop_assert_eq!(kept(&keys, &scope(number)), expected);
            }
        }
    }
}
