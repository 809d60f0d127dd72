use super::memory::MemoryStore;
use super::sled::SledStore;
use super::*;

const CACHE: u64 = 1 << 20;

/// Runs a test over every store.
fn over_all_stores(check: impl Fn(&dyn Store)) {
    check(&MemoryStore::new());
    let dir = tempfile::tempdir().unwrap();
    check(&SledStore::open(&dir.path().join("store"), CACHE).unwrap());
}

fn row(key: &[u8], value: &[u8]) -> Row {
    (key.to_vec(), value.to_vec())
}

#[test]
fn rows_are_read_back_and_overwritten() {
    over_all_stores(|store| {
        assert_eq!(store.value(b"a").unwrap(), None);
        store.apply(&[row(b"a", b"1"), row(b"b", b"2")]).unwrap();
        store.apply(&[row(b"a", b"3")]).unwrap();
        store.sync().unwrap();
        assert_eq!(store.value(b"a").unwrap().unwrap(), b"3");
        assert_eq!(store.value(b"b").unwrap().unwrap(), b"2");
    });
}

#[test]
fn ranges_are_half_open_ascending_and_limited() {
    over_all_stores(|store| {
        let rows: Vec<Row> =
            (0..600_u64).rev().map(|n| row(&rows::leaves_key(n), &n.to_be_bytes())).collect();
        store.apply(&rows).unwrap();
        let numbers = |from: u64, to: u64, limit| {
            let found = store.range(&rows::leaves_key(from), &rows::leaves_key(to), limit).unwrap();
            found.iter().map(|(_, value)| rows::parse_number(value).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(numbers(0, 1000, 1000), (0..600).collect::<Vec<_>>());
        assert_eq!(numbers(250, 260, 1000), (250..260).collect::<Vec<_>>());
        assert_eq!(numbers(250, 600, 3), [250, 251, 252]);
        assert_eq!(numbers(10, 10, 5), [] as [u64; 0]);
        assert_eq!(numbers(11, 10, 5), [] as [u64; 0]);
    });
}

#[test]
fn the_last_row_of_a_range_is_found() {
    over_all_stores(|store| {
        store.apply(&[row(b"a1", b"1"), row(b"a3", b"3"), row(b"b", b"4")]).unwrap();
        assert_eq!(store.last(b"a", b"b").unwrap(), Some(row(b"a3", b"3")));
        assert_eq!(store.last(b"a", b"a3").unwrap(), Some(row(b"a1", b"1")));
        assert_eq!(store.last(b"a", b"a1").unwrap(), None);
        assert_eq!(store.last(b"b", b"a").unwrap(), None);
    });
}

#[test]
fn a_value_that_sled_would_not_sync_is_refused_with_its_whole_batch() {
    over_all_stores(|store| {
        let long = vec![1; VALUE_BYTES_MAX + 1];
        let refused = store.apply(&[row(b"a", b"1"), row(b"b", &long)]);
        assert!(matches!(refused, Err(StoreError::ValueTooLong(_))));
        assert_eq!(store.value(b"a").unwrap(), None);
        store.apply(&[row(b"b", &long[1..])]).unwrap();
    });
}

#[test]
fn a_store_in_use_is_locked_and_not_absent() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let first = SledStore::open(&path, CACHE).unwrap();
    first.apply(&[row(b"a", b"1")]).unwrap();
    assert!(matches!(SledStore::open(&path, CACHE), Err(StoreError::Locked { .. })));
    first.sync().unwrap();
    drop(first);
    assert_eq!(SledStore::open(&path, CACHE).unwrap().value(b"a").unwrap().unwrap(), b"1");
}

#[test]
fn the_longest_values_make_no_blobs() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let store = SledStore::open(&path, CACHE).unwrap();
    for batch in 0..20_u64 {
        let rows: Vec<Row> = (0..64_u64)
            .map(|n| (rows::leaves_key(batch * 64 + n), vec![u8::try_from(n).unwrap(); VALUE_BYTES_MAX]))
            .collect();
        store.apply(&rows).unwrap();
        store.sync().unwrap();
    }
    drop(store);
    assert_eq!(std::fs::read_dir(path.join("blobs")).unwrap().count(), 0);
    SledStore::open(&path, CACHE).unwrap();
}

#[test]
fn rows_round_trip_and_refuse_other_lengths() {
    use crate::journal::Position;
    use evidence::ids::Digest;
    use evidence::time::Timestamp;
    let position = Position { segment: 3, offset: 70_000 };
    let head = rows::Head { size: 9, root: Digest([7; 32]), received: Timestamp(5), next: position };
    assert_eq!(rows::Head::parse(&head.encode()), Some(head));
    assert_eq!(rows::Head::parse(&head.encode()[1..]), None);
    let state = rows::InstanceState {
        next_sequence: 4,
        last_hash: Digest([1; 32]),
        last_index: 99,
        last_received: Timestamp(8),
        anchor_size: 6,
    };
    let mut run = super::runs::Run::default();
    let first = super::runs::RunStatement {
        sequence: 3,
        index: 99,
        received: Timestamp(8),
        observed_minute: Some(0),
    };
    run.add(first);
    let instance = rows::InstanceRow { state, run };
    assert_eq!(rows::InstanceRow::parse(&instance.encode()), Some(instance));
    assert_eq!(rows::InstanceRow::parse(&[0; 12]), None);
    let leaves = vec![[1_u8; 83].as_slice(); 16];
    let value = rows::leaves_value(leaves.iter().copied());
    assert_eq!(rows::parse_leaves(&value), Some(leaves));
    assert_eq!(rows::parse_leaves(&value[84..]), None);
    assert_eq!(rows::parse_leaves(&value[1..]), None);
    let mut records = Vec::new();
    rows::push_payload(&mut records, 7, b"abc");
    rows::push_payload(&mut records, 0, b"");
    assert_eq!(rows::parse_payloads(&records), Some(vec![(7, b"abc".as_slice()), (0, b"")]));
    assert_eq!(rows::parse_payloads(&records[..records.len() - 1]), None);
    let checkpoint =
        rows::CheckpointRow { size: 1, root: Digest([2; 32]), at: position, note: "x\n".to_owned() };
    assert_eq!(rows::CheckpointRow::parse(&checkpoint.encode()), Some(checkpoint));
    assert_eq!(rows::parse_tile(&[0; 33]), None);
}
