//! Envelopes: final bytes, and no bit of them that could be another.

use proptest::prelude::*;

use super::*;
use crate::samples::{damaged, full_statement, statements};

fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32]).unwrap()
}

fn wire(change: impl FnOnce(&mut proto::Envelope)) -> Vec<u8> {
    let good = Envelope::sign(&full_statement(), &key(1));
    let mut wire = proto::Envelope::decode(good.bytes()).unwrap();
    change(&mut wire);
    wire.encode_to_vec()
}

/// Whether these bytes are taken for a statement of the key.
fn opens(bytes: &[u8]) -> bool {
    Envelope::parse(bytes).is_ok_and(|envelope| envelope.open(key(1).public()).is_ok())
}

#[test]
fn what_was_signed_is_opened() {
    let envelope = Envelope::sign(&full_statement(), &key(1));
    let back = Envelope::parse(envelope.bytes()).unwrap();
    assert_eq!(back, envelope);
    assert_eq!(back.open(key(1).public()), Ok(full_statement()));
    assert_eq!(back.claimed(), Ok(full_statement()));
    assert_eq!(back.keyid(), key(1).public().id());
    assert_eq!(back.hash(), Digest::of(envelope.bytes()));
    let other = back.open(key(2).public());
    assert!(matches!(other, Err(EnvelopeError::OtherKey { .. })), "{other:?}");
}

#[test]
fn the_signature_is_over_the_pae_of_the_payload() {
    let envelope = Envelope::sign(&full_statement(), &key(1));
    let wire = proto::Envelope::decode(envelope.bytes()).unwrap();
    assert_eq!(wire.payload, full_statement().encode());
    let mut signed = format!("DSSEv1 50 {STATEMENT_TYPE} {} ", wire.payload.len()).into_bytes();
    signed.extend_from_slice(&wire.payload);
    assert_eq!(wire.sig, key(1).sign(&signed));
    // Neither bare bytes nor those of an act.
    assert!(!opens(&self::wire(|wire| wire.sig = key(1).sign(&wire.payload).to_vec())));
    assert!(!opens(&self::wire(|wire| {
        wire.sig = key(1).sign(&pae(crate::dsse::ACT_TYPE, &wire.payload)).to_vec();
    })));
}

#[test]
fn every_flipped_bit_is_refused() {
    let envelope = Envelope::sign(&full_statement(), &key(1));
    assert!(opens(envelope.bytes()));
    for bit in 0..envelope.bytes().len() * 8 {
        let mut bad = envelope.bytes().to_vec();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(!opens(&bad), "bit {bit}");
    }
}

#[test]
fn every_cut_and_every_extra_byte_is_refused() {
    let envelope = Envelope::sign(&full_statement(), &key(1));
    for length in 0..envelope.bytes().len() {
        assert!(!opens(envelope.bytes().get(..length).unwrap()), "cut at {length}");
    }
    for byte in 0..=255 {
        assert!(!opens(&[envelope.bytes(), &[byte]].concat()));
        assert!(!opens(&[&[byte], envelope.bytes()].concat()));
    }
}

#[test]
fn key_ids_and_signatures_have_their_length() {
    for bytes in [
        wire(|wire| wire.keyid.clear()),
        wire(|wire| wire.keyid.truncate(31)),
        wire(|wire| wire.keyid.push(0)),
        wire(|wire| wire.sig.clear()),
        wire(|wire| wire.sig.truncate(63)),
        wire(|wire| wire.sig.push(0)),
    ] {
        let refused = Envelope::parse(&bytes);
        assert!(matches!(refused, Err(EnvelopeError::Form(_))), "{refused:?}");
    }
    assert!(Envelope::parse(&wire(|_| ())).is_ok());
}

#[test]
fn a_key_id_alone_opens_nothing() {
    let bytes = wire(|wire| wire.keyid = key(2).public().id().as_bytes().to_vec());
    let refused = Envelope::parse(&bytes).unwrap().open(key(2).public());
    assert_eq!(refused, Err(EnvelopeError::Signature(KeyError::Mismatch)));
}

#[test]
fn an_unsound_statement_is_refused_although_it_is_signed() {
    let bytes = wire(|wire| {
        let mut statement = proto::Statement::decode(wire.payload.as_slice()).unwrap();
        statement.instance.push(0);
        wire.payload = statement.encode_to_vec();
        wire.sig = key(1).sign(&pae(STATEMENT_TYPE, &wire.payload)).to_vec();
    });
    let refused = Envelope::parse(&bytes).unwrap().open(key(1).public());
    assert!(matches!(refused, Err(EnvelopeError::Statement(_))), "{refused:?}");
    // Nor is one that is sound but in another encoding.
    let bytes = wire(|wire| {
        wire.payload.extend_from_slice(&[0x78, 1]);
        wire.sig = key(1).sign(&pae(STATEMENT_TYPE, &wire.payload)).to_vec();
    });
    let refused = Envelope::parse(&bytes).unwrap().open(key(1).public());
    assert_eq!(refused, Err(EnvelopeError::Statement(StatementError::NotCanonical)));
}

#[test]
fn other_encodings_are_refused() {
    let good = Envelope::sign(&full_statement(), &key(1));
    let fields = proto::Envelope::decode(good.bytes()).unwrap();
    let only = |payload: &[u8], keyid: &[u8], sig: &[u8]| {
        proto::Envelope { payload: payload.to_vec(), keyid: keyid.to_vec(), sig: sig.to_vec() }
            .encode_to_vec()
    };
    let (payload, keyid, sig) =
        (only(&fields.payload, &[], &[]), only(&[], &fields.keyid, &[]), only(&[], &[], &fields.sig));
    assert_eq!([&payload[..], &keyid, &sig].concat(), good.bytes());
    for (what, bytes) in [
        ("another order", [&keyid[..], &payload, &sig].concat()),
        ("a field twice", [good.bytes(), &sig].concat()),
        ("another value first", [&only(b"x", &[], &[])[..], good.bytes()].concat()),
        ("an unknown field", [good.bytes(), &[0x20, 1]].concat()),
        ("a default written", [&[0x0a, 0][..], good.bytes()].concat()),
        ("a long length", [&payload[..], &[0x12, 0xa0, 0], &fields.keyid, &sig].concat()),
        ("nothing", Vec::new()),
    ] {
        assert!(matches!(Envelope::parse(&bytes), Err(EnvelopeError::Form(_))), "{what}");
    }
}

#[test]
fn an_envelope_ends_at_64_kib() {
    let sized = |size: usize| wire(|wire| wire.payload = vec![0xff; size]);
    let overhead = sized(60_000).len() - 60_000;
    let largest = sized(PAYLOAD_BYTES_MAX - overhead);
    assert_eq!(largest.len(), PAYLOAD_BYTES_MAX);
    assert!(Envelope::parse(&largest).is_ok());
    let larger = sized(PAYLOAD_BYTES_MAX - overhead + 1);
    assert_eq!(Envelope::parse(&larger), Err(EnvelopeError::TooLarge(PAYLOAD_BYTES_MAX + 1)));
}

proptest! {
    #[test]
    fn envelopes_come_back(statement in statements(), seed: [u8; 32]) {
        let key = SecretKey::from_seed(&seed).unwrap();
        let envelope = Envelope::sign(&statement, &key);
        let back = Envelope::parse(envelope.bytes()).unwrap();
        prop_assert_eq!(back.open(key.public()), Ok(statement));
        prop_assert_eq!(back.hash(), envelope.hash());
    }

    #[test]
    fn damage_never_opens(
        (good, bad) in statements().prop_flat_map(|statement| {
            let bytes = Envelope::sign(&statement, &key(1)).bytes().to_vec();
            (Just(bytes.clone()), damaged(bytes))
        }),
    ) {
        prop_assert_eq!(opens(&bad), good == bad);
        if let Ok(envelope) = Envelope::parse(&bad) {
            prop_assert_eq!(envelope.bytes(), bad.as_slice());
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
        prop_assert!(Envelope::parse(&bytes).is_err());
    }
}
