use evidence::leaf::{Chain, Leaf, commitment};
use evidence::time::Timestamp;
use proptest::prelude::*;

use super::*;

fn key(fill: u8) -> DataKey {
    DataKey::new(Zeroizing::new([fill; 32]))
}

fn leaf(kind: Kind, received: u64, salt: &[u8; 32], payload: &[u8]) -> Leaf {
    let chain = Chain { sequence: 3, previous: Digest([7; 32]) };
    let chain = (kind.stream != Stream::Device).then_some(chain);
    Leaf { kind, received: Timestamp(received), commitment: commitment(salt, payload), chain }
}

fn subject(kind: Kind) -> Subject {
    let instance = InstanceId::from_bytes([9; 16]);
    match (kind.stream, kind) {
        (Stream::Device, Kind::ATTESTATION | Kind::GAP) => Subject::Statement {
            instance,
            sequence: 77,
            anchor_size: 12,
            observed_minute: (kind == Kind::ATTESTATION).then_some(29_000_000),
            hash: Digest([4; 32]),
        },
        (Stream::Device, _) => Subject::Device(instance),
        _ => Subject::Stream,
    }
}

fn opened(
    key: &DataKey,
    kind: Kind,
    index: u64,
    leaf: &[u8],
    stored: &[u8],
) -> Result<Vec<u8>, PayloadError> {
    match Stored::parse(kind, CODEC_SEALED, stored)? {
        Stored::Sealed(sealed) => open(&sealed, key, index, leaf),
        other => panic!("{other:?}"),
    }
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::ATTESTATION),
        Just(Kind::GAP),
        Just(Kind::DEVICE_DETAIL),
        Just(Kind::POLICY),
        Just(Kind::TOMBSTONE)
    ]
}

fn payloads() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..300),
        // What compresses a thousandfold, and what does not at all, at the largest size.
        (any::<u8>(), 0..=PAYLOAD_BYTES_MAX).prop_map(|(fill, bytes)| vec![fill; bytes]),
        any::<u64>().prop_map(|seed| {
            let blocks =
                (0..2048_u64).flat_map(|n| Digest::of(&[seed.to_be_bytes(), n.to_be_bytes()].concat()).0);
            blocks.collect()
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn what_is_sealed_opens_to_the_same_and_fits(
        kind in kinds(), payload in payloads(), index in any::<u64>(), rewrite in any::<u8>(), fill in any::<u8>(),
    ) {
        let key = key(fill);
        let leaf = leaf(kind, 1_700_000_000_000, &key.salt(index), &payload);
        let (bytes, subject) = (leaf.encode(), subject(kind));
        let stored = seal(&key, index, &bytes, &subject, rewrite, &payload).unwrap();
        prop_assert!(stored.len() <= payload.len() + OVERHEAD_BYTES_MAX);
        prop_assert_eq!(opened(&key, kind, index, &bytes, &stored).unwrap(), payload);
        let Ok(Stored::Sealed(sealed)) = Stored::parse(kind, CODEC_SEALED, &stored) else { panic!() };
        prop_assert_eq!(sealed.subject, subject);
        let erased = erased_record(5, &subject);
        prop_assert_eq!(Stored::parse(kind, CODEC_ERASED, &erased), Ok(Stored::Erased { tombstone: 5, subject }));
    }

    #[test]
    fn any_changed_byte_index_leaf_or_key_opens_nothing(
        kind in kinds(), payload in prop::collection::vec(any::<u8>(), 0..200), place in any::<prop::sample::Index>(),
        flip in 1..=255_u8,
    ) {
        let (own, index) = (key(3), 41);
        let leaf = leaf(kind, 5, &own.salt(index), &payload).encode();
        let stored = seal(&own, index, &leaf, &subject(kind), REWRITE_FIRST, &payload).unwrap();
        let mut changed = stored.clone();
        changed[place.index(stored.len())] ^= flip;
        prop_assert!(opened(&own, kind, index, &leaf, &changed).is_err());
        let cut = place.index(stored.len());
        prop_assert!(opened(&own, kind, index, &leaf, &stored[..cut]).is_err());
        let mut other = leaf.clone();
        other[place.index(leaf.len())] ^= flip;
        prop_assert_eq!(opened(&own, kind, index, &other, &stored), Err(PayloadError::Tampered));
        prop_assert_eq!(opened(&own, kind, index + 1, &leaf, &stored), Err(PayloadError::Tampered));
        prop_assert_eq!(opened(&key(4), kind, index, &leaf, &stored), Err(PayloadError::Tampered));
    }

    #[test]
    fn no_bytes_make_the_reader_fail_otherwise_than_by_an_error(
        kind in kinds(), codec in prop_oneof![Just(0_u8), Just(1), Just(255), any::<u8>()],
        stored in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        if let Ok(Stored::Sealed(sealed)) = Stored::parse(kind, codec, &stored) {
            prop_assert!(open(&sealed, &key(1), 0, b"leaf").is_err());
        }
    }
}

#[test]
fn what_decompresses_to_more_than_a_payload_is_refused() {
    let (key, leaf) = (key(1), b"leaf");
    let bomb = zstd::bulk::compress(&vec![0; 50_000_000], 3).unwrap();
    assert!(bomb.len() < 10_000);
    let mut stored = vec![DICTIONARY_NONE, 0];
    let mut sealed = bomb;
    let bound = bound_bytes(leaf, &stored);
    key.entry_key(leaf)
        .unwrap()
        .seal_in_place_append_tag(nonce(0, 0), Aad::from(bound), &mut sealed)
        .unwrap();
    stored.extend(sealed);
    assert_eq!(opened(&key, Kind::POLICY, 0, leaf, &stored), Err(PayloadError::Compressed));
    assert_eq!(
        seal(&key, 0, leaf, &Subject::Stream, 0, &vec![0; PAYLOAD_BYTES_MAX + 1]),
        Err(PayloadError::Seal(PAYLOAD_BYTES_MAX + 1))
    );
}

/// The construction of docs/FORMAT.md section 5, computed apart from it with Python's `cryptography` and `hmac`.
#[test]
fn the_bytes_are_those_of_the_format() {
    let key = DataKey::new(Zeroizing::new(std::array::from_fn(|at| u8::try_from(at).unwrap())));
    assert_eq!(
        data_encoding::HEXLOWER.encode(&key.salt(7)),
        "1f1d7899f1729d7cf1e35e84cc5e7f6dc1d0d2cfc852cd3a2c2d2d670558bb01"
    );
    // A zstd frame of one raw block that holds "evidence".
    let stored = data_encoding::HEXLOWER
        .decode(b"00009f432f09bd369e6f7b18e1b786ad58a0e9a0aa5a9f37881c1960a48565b340952b")
        .unwrap();
    let leaf: Vec<u8> = (0..83).collect();
    assert_eq!(opened(&key, Kind::POLICY, 7, &leaf, &stored).unwrap(), b"evidence");
}

#[test]
fn two_entries_at_one_index_are_not_sealed_with_one_stream_of_keys() {
    // A crash took the first; its index went to the second. Equal payloads would show as equal bytes otherwise.
    let (key, payload) = (key(8), [0x55; 40]);
    let sealed = |received| {
        let leaf = leaf(Kind::POLICY, received, &key.salt(9), &payload).encode();
        seal(&key, 9, &leaf, &Subject::Stream, 0, &payload).unwrap()
    };
    let (first, second) = (sealed(1), sealed(2));
    assert_eq!(first.len(), second.len());
    let equal = first.iter().zip(&second).skip(2).filter(|(a, b)| a == b).count();
    assert!(equal < 8, "{equal} of {} bytes are equal", first.len());
}

#[test]
fn the_dictionary_is_the_one_that_was_released() {
    let expected = "382c03c51313ca3ef30626d03316a335912c8efc715f7395f346df522cd3073d";
    assert_eq!(Digest::of(DICTIONARY).hex(), expected);
}
