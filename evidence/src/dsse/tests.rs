//! The published PAE vector, and envelopes that differ by one byte or by form.

use proptest::prelude::*;

use super::*;

fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32]).unwrap()
}

fn sample() -> ActEnvelope {
    ActEnvelope::sign(br#"{"act":"person","version":1}"#.to_vec(), &key(1))
}

#[test]
fn pae_is_that_of_the_dsse_specification() {
    let encoded = pae("http://example.com/HelloWorld", b"hello world");
    assert_eq!(encoded, b"DSSEv1 29 http://example.com/HelloWorld 11 hello world");
    assert_eq!(
        Digest::of(&encoded).hex(),
        "217751fac2c4f14edb2c9297fbc34abcb016ba88e74757e875ec4ac16fb6b6a1"
    );
    assert_eq!(pae("", b""), b"DSSEv1 0  0 ");
}

#[test]
fn pae_counts_bytes_and_not_characters() {
    assert_eq!(pae("é", "ß".as_bytes()), "DSSEv1 2 é 2 ß".as_bytes());
}

#[test]
fn an_act_has_exactly_the_documented_form() {
    let envelope = sample();
    let text = String::from_utf8(envelope.encode()).unwrap();
    let expected = format!(
        r#"{{"payload":"{}","payloadType":"application/vnd.tallystick.act.v1+json","signatures":[{{"keyid":"{}","sig":"{}"}}]}}"#,
        json::encode_base64(&envelope.payload),
        Digest::of(key(1).public().as_bytes()).hex(),
        json::encode_base64(&envelope.signature),
    );
    assert_eq!(text, expected);
    assert_eq!(ActEnvelope::parse(text.as_bytes()), Ok(envelope.clone()));
    assert_eq!(envelope.verify(key(1).public()), Ok(()));
    assert!(matches!(envelope.verify(key(2).public()), Err(DsseError::OtherKey { .. })));
}

#[test]
fn a_statement_signature_is_not_an_act_signature() {
    let payload = b"{}".to_vec();
    let signature = key(1).sign(&pae(STATEMENT_TYPE, &payload)).to_vec();
    let envelope = ActEnvelope { payload, keyid: key(1).public().id(), signature };
    assert_eq!(envelope.verify(key(1).public()), Err(DsseError::Signature(KeyError::Mismatch)));
}

#[test]
fn every_flipped_bit_is_refused() {
    let bytes = sample().encode();
    for bit in 0..bytes.len() * 8 {
        let mut bad = bytes.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        let held = ActEnvelope::parse(&bad).is_ok_and(|envelope| envelope.verify(key(1).public()).is_ok());
        assert!(!held, "bit {bit}");
    }
}

#[test]
fn other_forms_of_the_same_act_are_refused() {
    let good = String::from_utf8(sample().encode()).unwrap();
    let line = good.split_once("\"signatures\":[").unwrap().1.strip_suffix("]}").unwrap().to_owned();
    let forms = [
        ("a final newline", format!("{good}\n")),
        ("a space", good.replace(",\"payloadType", ", \"payloadType")),
        ("no signature", good.replace(&line, "")),
        ("two signatures", good.replace(&line, &format!("{line},{line}"))),
        ("an unknown member", good.replace("{\"payload\":", "{\"a\":1,\"payload\":")),
        ("an unknown member of the signature", good.replace("\"sig\":", "\"note\":\"\",\"sig\":")),
        ("a repeated member", good.replace("{\"payload\":", "{\"payload\":\"\",\"payload\":")),
        ("another type", good.replace("act.v1+json", "act.v2+json")),
        ("unpadded base64", good.replace("=\",\"payloadType", "\",\"payloadType")),
        ("an upper-case key id", {
            let id = key(1).public().id().hex();
            good.replace(&id, &id.to_ascii_uppercase())
        }),
        ("another order", {
            let (head, tail) = good.split_once(",\"payloadType").unwrap();
            format!(
                "{{\"payloadType{},{}}}",
                tail.strip_suffix('}').unwrap(),
                head.strip_prefix('{').unwrap()
            )
        }),
    ];
    assert!(ActEnvelope::parse(good.as_bytes()).is_ok());
    for (what, text) in forms {
        assert_ne!(text, good, "{what}: the change found nothing to change");
        assert!(ActEnvelope::parse(text.as_bytes()).is_err(), "{what}");
    }
}

#[test]
fn an_envelope_too_large_for_an_entry_is_refused() {
    let bytes = ActEnvelope::sign(vec![b'a'; PAYLOAD_BYTES_MAX], &key(1)).encode();
    assert_eq!(ActEnvelope::parse(&bytes), Err(DsseError::TooLarge(bytes.len())));
}

proptest! {
    #[test]
    fn acts_come_back_as_signed(payload: Vec<u8>, seed: u8) {
        let envelope = ActEnvelope::sign(payload, &key(seed));
        let back = ActEnvelope::parse(&envelope.encode()).unwrap();
        prop_assert_eq!(&back, &envelope);
        prop_assert_eq!(back.verify(key(seed).public()), Ok(()));
    }

    #[test]
    fn pae_tells_every_type_and_body_apart(a: (String, Vec<u8>), b: (String, Vec<u8>)) {
        prop_assert_eq!(pae(&a.0, &a.1) == pae(&b.0, &b.1), a == b);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
        prop_assert!(ActEnvelope::parse(&bytes).is_err());
    }
}
