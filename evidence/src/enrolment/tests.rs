use p256::ecdsa::SigningKey;
use p256::ecdsa::signature::Signer as _;
use proptest::prelude::*;

use super::*;
use crate::keys::SecretKey;

struct Signed {
    transcript: Transcript,
    bytes: Vec<u8>,
    ed25519: [u8; 64],
    p256: [u8; 64],
}

fn signed(domain: &str, seed: [u8; 32]) -> Signed {
    let attestation = SecretKey::from_seed(&seed).expect("a seed makes a key");
    let scalar = Digest::of_parts(&[b"tls", &seed]);
    let tls = SigningKey::from_slice(scalar.as_bytes()).expect("a hash is a scalar");
    let transcript = Transcript {
        trust_domain: domain.parse().expect("a trust domain"),
        enrolment_id: seed[..16].try_into().expect("16 bytes"),
        nonce: Digest::of_parts(&[b"nonce", &seed]).0,
        exporter: Digest::of_parts(&[b"exporter", &seed]).0,
        token_hash: Digest::of_parts(&[b"token", &seed]),
        tls_key: TlsPublicKey::from_point(tls.verifying_key().to_sec1_point(false).as_bytes())
            .expect("a key"),
        attestation_key: *attestation.public(),
        facts_commitment: Digest::of_parts(&[b"facts", &seed]),
    };
    let bytes = transcript.encode();
    let signature: Signature = tls.sign(&bytes);
    Signed { ed25519: attestation.sign(&bytes), p256: signature.to_bytes().into(), transcript, bytes }
}

#[test]
fn the_layout_is_that_of_the_format() {
    let s = signed("example.com", [7; 32]);
    let t = &s.transcript;
    let mut by_hand = b"tallystick/enrol/v1\0".to_vec();
    by_hand.extend_from_slice(b"\0\0\0\x0bexample.com");
    by_hand.extend_from_slice(b"\0\0\0\x10");
    by_hand.extend_from_slice(&[7; 16]);
    for part in [t.nonce, t.exporter, t.token_hash.0] {
        by_hand.extend_from_slice(b"\0\0\0\x20");
        by_hand.extend_from_slice(&part);
    }
    by_hand.extend_from_slice(b"\0\0\0\x5b");
    by_hand.extend_from_slice(t.tls_key.spki_der());
    for part in [*t.attestation_key.as_bytes(), t.facts_commitment.0] {
        by_hand.extend_from_slice(b"\0\0\0\x20");
        by_hand.extend_from_slice(&part);
    }
    assert_eq!(s.bytes, by_hand);
}

#[test]
fn a_signature_of_another_transcript_does_not_hold() {
    let a = signed("example.com", [1; 32]);
    let b = signed("example.com", [2; 32]);
    assert_eq!(Transcript::verify(&a.bytes, &a.ed25519, &a.p256), Ok(a.transcript));
    assert_eq!(
        Transcript::verify(&a.bytes, &b.ed25519, &a.p256),
        Err(TranscriptError::AttestationSignature(KeyError::Mismatch))
    );
    assert_eq!(Transcript::verify(&a.bytes, &a.ed25519, &b.p256), Err(TranscriptError::TlsSignature));
}

#[test]
fn zero_and_overlong_signatures_are_refused() {
    let s = signed("example.com", [3; 32]);
    let mut long = s.p256.to_vec();
    long.push(0);
    for bad in [&[0; 64][..], &s.p256[..63], &long, &[0xff; 64], b""] {
        assert_eq!(s.transcript.tls_key.verify(&s.bytes, bad), Err(TranscriptError::TlsSignature));
    }
}

#[test]
fn other_encodings_of_the_tls_key_are_refused() {
    let good = *signed("example.com", [4; 32]).transcript.tls_key.spki_der();
    let mut off_curve = good;
    off_curve[90] ^= 1;
    let mut compressed = good[..27 + 32].to_vec();
    compressed[26] = 2 + (good[90] & 1);
    compressed[1] = 0x39;
    compressed[24] = 0x22;
    let mut secp256k1 = good;
    secp256k1[22] = 0x0a;
    let trailing = [&good[..], b"\0"].concat();
    for bad in [&off_curve[..], &compressed, &secp256k1, &trailing, &good[..90], &[], &[0; 91]] {
        assert_eq!(TlsPublicKey::from_spki_der(bad), Err(TranscriptError::TlsKey));
    }
    assert!(TlsPublicKey::from_spki_der(&good).is_ok());
}

#[test]
fn a_cut_or_lengthened_transcript_is_refused() {
    let s = signed("example.com", [5; 32]);
    for end in 0..s.bytes.len() {
        assert!(Transcript::parse(&s.bytes[..end]).is_err(), "cut at {end} was accepted");
    }
    let longer = [&s.bytes[..], b"x"].concat();
    assert_eq!(Transcript::parse(&longer), Err(TranscriptError::Trailing { bytes: 1 }));
}

#[test]
fn every_single_flipped_bit_fails() {
    let s = signed("a.example.com", [6; 32]);
    let flips = |bytes: &[u8]| -> Vec<Vec<u8>> {
        (0..bytes.len() * 8)
            .map(|bit| {
                let mut changed = bytes.to_vec();
                changed[bit / 8] ^= 1 << (bit % 8);
                changed
            })
            .collect()
    };
    for bytes in flips(&s.bytes) {
        assert!(Transcript::verify(&bytes, &s.ed25519, &s.p256).is_err());
    }
    for signature in flips(&s.ed25519) {
        assert!(Transcript::verify(&s.bytes, &signature, &s.p256).is_err());
    }
    for signature in flips(&s.p256) {
        assert!(Transcript::verify(&s.bytes, &s.ed25519, &signature).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_transcript_comes_back(domain in "[a-z0-9]{1,20}(\\.[a-z0-9]{1,20}){0,3}", seed: [u8; 32]) {
        let s = signed(&domain, seed);
        prop_assert_eq!(Transcript::verify(&s.bytes, &s.ed25519, &s.p256), Ok(s.transcript));
    }

    #[test]
    fn what_parses_encodes_to_itself(
        seed: [u8; 32],
        cut in any::<prop::sample::Index>(),
        with in prop::collection::vec(any::<u8>(), 0..8),
    ) {
        let mut bytes = signed("example.com", seed).bytes;
        let at = cut.index(bytes.len());
        bytes.splice(at..(at + with.len()).min(bytes.len()), with);
        if let Ok(transcript) = Transcript::parse(&bytes) {
            prop_assert_eq!(transcript.encode(), bytes);
        }
    }

    #[test]
    fn noise_never_panics(noise in prop::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(Transcript::parse(&noise).is_err());
        prop_assert!(Transcript::parse(&[HEADER, &noise].concat()).is_err());
    }
}
