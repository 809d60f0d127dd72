//! Leaf bytes laid out by hand from docs/FORMAT.md section 5.

use data_encoding::HEXLOWER;
use proptest::prelude::*;

use super::*;

/// The table of docs/FORMAT.md section 5; people's acts are marked.
const KINDS: [(u8, u8, &str, bool); 38] = [
    (0, 1, "attestation", false),
    (0, 2, "gap", false),
    (0, 3, "conflict", false),
    (0, 4, "device-detail", false),
    (1, 1, "genesis", false),
    (1, 2, "person", true),
    (1, 3, "token", true),
    (1, 4, "enrolment", false),
    (1, 5, "re-key", false),
    (1, 6, "retire", true),
    (1, 7, "revoke", true),
    (1, 8, "class", true),
    (1, 9, "group", true),
    (1, 10, "merge", true),
    (1, 11, "split", true),
    (1, 12, "key-change", false),
    (1, 13, "approval", true),
    (2, 1, "policy", true),
    (2, 2, "mapping", true),
    (2, 3, "exception-request", true),
    (2, 4, "exception-approval", true),
    (2, 5, "recall", true),
    (3, 1, "plan", true),
    (3, 2, "commitment", true),
    (3, 3, "freeze", false),
    (3, 4, "reveal", true),
    (3, 5, "draw", false),
    (3, 6, "finding", true),
    (3, 7, "export", false),
    (3, 8, "consent", true),
    (4, 1, "renewal", false),
    (4, 2, "access-summary", false),
    (4, 3, "import", true),
    (4, 4, "tombstone", false),
    (4, 5, "configuration", true),
    (4, 6, "outage", false),
    (4, 7, "hold", true),
    (4, 8, "detail", false),
];

fn leaves() -> impl Strategy<Value = Leaf> {
    (prop::sample::select(&KINDS[..]), any::<u64>(), any::<[u8; 32]>(), any::<u64>(), any::<[u8; 32]>())
        .prop_map(|((stream, number, ..), received, commitment, sequence, previous)| Leaf {
            kind: Kind::new(stream, number).unwrap(),
            received: Timestamp(received),
            commitment: Digest(commitment),
            chain: (stream != 0).then_some(Chain { sequence, previous: Digest(previous) }),
        })
}

#[test]
fn kinds_are_those_of_the_format_and_no_others() {
    for stream in 0..=255 {
        for number in 0..=255 {
            let expected = KINDS.iter().find(|(s, n, ..)| (*s, *n) == (stream, number));
            let kind = Kind::new(stream, number);
            assert_eq!(kind.and_then(Kind::name), expected.map(|(.., name, _)| *name), "{stream}.{number}");
            if let (Some(kind), Some((.., name, by_person))) = (kind, expected) {
                assert_eq!(kind.is_persons_act(), *by_person, "{name}");
                assert_eq!(kind.to_string(), format!("{stream}.{number} {name}"));
            }
        }
    }
    let names = ["device", "roster", "rules", "audit", "operations"];
    for (number, name) in (0..).zip(names) {
        let stream = Stream::from_number(number).unwrap();
        assert_eq!((stream.number(), stream.name()), (number, name));
        assert_eq!(Stream::CHAINED.contains(&stream), number != 0);
    }
    assert_eq!(Stream::from_number(5), None);
}

#[test]
fn leaf_bytes_are_laid_out_as_documented() {
    let device = Leaf {
        kind: Kind::GAP,
        received: Timestamp(0x0102_0304_0506_0708),
        commitment: Digest([0xcc; 32]),
        chain: None,
    };
    let expected = format!("0100020102030405060708{}", "cc".repeat(32));
    assert_eq!(HEXLOWER.encode(&device.encode()), expected);
    assert_eq!(device.encode().len(), LEAF_BYTES_DEVICE);

    let chained = Leaf {
        kind: Kind::EXPORT,
        chain: Some(Chain { sequence: 0x1112_1314_1516_1718, previous: Digest([0xdd; 32]) }),
        ..device
    };
    let expected = format!("0103070102030405060708{}1112131415161718{}", "cc".repeat(32), "dd".repeat(32));
    assert_eq!(HEXLOWER.encode(&chained.encode()), expected);
    assert_eq!(chained.encode().len(), LEAF_BYTES_STREAM);
    assert_eq!(chained.hash(), Digest::of_parts(&[&[0], &chained.encode()]));
}

#[test]
fn commitment_hashes_salt_then_payload() {
    let mut whole = vec![7; SALT_BYTES];
    whole.extend_from_slice(b"payload");
    assert_eq!(commitment(&[7; SALT_BYTES], b"payload"), Digest::of(&whole));
}

#[test]
fn other_versions_kinds_and_lengths_are_refused() {
    let mut bytes = vec![1, 0, 1];
    bytes.resize(LEAF_BYTES_DEVICE, 0);
    assert!(Leaf::parse(&bytes).is_ok());
    for version in (0..=255).filter(|version| *version != LEAF_VERSION) {
        bytes[0] = version;
        assert_eq!(Leaf::parse(&bytes), Err(LeafError::Version(version)));
    }
    assert_eq!(Leaf::parse(&[]), Err(LeafError::Short(0)));
    for (stream, number, ..) in KINDS {
        let expected = if stream == 0 { LEAF_BYTES_DEVICE } else { LEAF_BYTES_STREAM };
        for length in 3..=2 * LEAF_BYTES_STREAM {
            let mut bytes = vec![LEAF_VERSION, stream, number];
            bytes.resize(length, 0);
            assert_eq!(Leaf::parse(&bytes).is_ok(), length == expected, "{stream}.{number}, {length} bytes");
        }
    }
    for (stream, number) in [(0, 0), (0, 5), (1, 0), (1, 14), (2, 6), (3, 9), (4, 9), (5, 1), (255, 255)] {
        let mut bytes = vec![LEAF_VERSION, stream, number];
        bytes.resize(LEAF_BYTES_STREAM, 0);
        assert_eq!(Leaf::parse(&bytes), Err(LeafError::Kind(stream, number)));
    }
}

proptest! {
    #[test]
    fn leaves_come_back(leaf in leaves()) {
        prop_assert_eq!(Leaf::parse(&leaf.encode()), Ok(leaf));
    }

    #[test]
    fn a_changed_bit_is_another_leaf(leaf in leaves(), at: prop::sample::Index) {
        let mut bytes = leaf.encode();
        let bit = at.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        if let Ok(other) = Leaf::parse(&bytes) {
            prop_assert_ne!(other, leaf);
            prop_assert_ne!(other.hash(), leaf.hash());
        }
    }

    #[test]
    fn whatever_parses_is_written_as_it_was(version in 0..3u8, stream in 0..6u8, number in 0..14u8, rest in prop_oneof![
        prop::collection::vec(any::<u8>(), 40),
        prop::collection::vec(any::<u8>(), 80),
        prop::collection::vec(any::<u8>(), 0..100),
    ]) {
        let mut bytes = vec![version, stream, number];
        bytes.extend(rest);
        if let Ok(leaf) = Leaf::parse(&bytes) {
            prop_assert_eq!(leaf.encode(), bytes);
        }
    }
}
