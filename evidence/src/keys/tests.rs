//! RFC 8032's own vectors, and inputs built so that libraries disagree about them.

use data_encoding::HEXLOWER;
use ed25519_dalek::{Signature, Verifier as _, VerifyingKey};
use proptest::prelude::*;

use super::*;

/// RFC 8032 section 7.1, tests 1, 2, 3 and SHA(abc): seed, public key, message, signature.
const RFC_8032: [(&str, &str, &str, &str); 4] = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155\
         5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
         085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac\
         18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
    (
        "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
         2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b589\
         09351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704",
    ),
];

/// The 14 encodings of docs/FORMAT.md section 2, as printed there.
const REFUSED: [&str; 14] = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
];

const HOSTILE: &str = include_str!("../../testdata/ed25519.tsv");

fn bytes(hex: &str) -> Vec<u8> {
    HEXLOWER.decode(hex.as_bytes()).unwrap()
}

fn array<const N: usize>(hex: &str) -> [u8; N] {
    bytes(hex).try_into().unwrap()
}

/// The strict verdict of this module, key and signature together.
fn holds(key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    PublicKey::from_slice(key).is_ok_and(|key| key.verify(message, signature).is_ok())
}

#[test]
fn the_vectors_of_rfc_8032_hold() {
    for (seed, public, message, signature) in RFC_8032 {
        let secret = SecretKey::from_seed(&array(seed)).unwrap();
        assert_eq!(secret.public().hex(), public);
        assert_eq!(secret.sign(&bytes(message)).to_vec(), bytes(signature));
        assert_eq!(secret.public().verify(&bytes(message), &bytes(signature)), Ok(()));
        assert_eq!(secret.seed().as_slice(), bytes(seed));
        assert_eq!(secret.public().id(), Digest::of(&bytes(public)));
    }
}

#[test]
fn every_flipped_bit_of_key_message_and_signature_is_refused() {
    let (_, public, message, signature) = RFC_8032[2];
    let whole = [bytes(public), bytes(message), bytes(signature)].concat();
    for bit in 0..whole.len() * 8 {
        let mut bad = whole.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        let (key, rest) = bad.split_at(32);
        let (message, signature) = rest.split_at(2);
        assert!(!holds(key, message, signature), "bit {bit}");
    }
}

#[test]
fn the_fourteen_encodings_are_refused_as_keys_and_as_r() {
    let (seed, public, ..) = RFC_8032[0];
    let honest = SecretKey::from_seed(&array(seed)).unwrap();
    for hex in REFUSED {
        let refused = PublicKey::from_slice(&bytes(hex));
        assert!(matches!(refused, Err(KeyError::SmallOrder | KeyError::NotCanonical)), "{hex}: {refused:?}");
        let mut signature = honest.sign(b"x");
        signature[..32].copy_from_slice(&bytes(hex));
        let verdict = PublicKey::from_slice(&bytes(public)).unwrap().verify(b"x", &signature);
        assert!(matches!(verdict, Err(KeyError::SmallOrder | KeyError::NotCanonical)), "{hex}: {verdict:?}");
    }
}

#[test]
fn hostile_inputs_get_the_verdict_of_the_independent_arithmetic() {
    let (mut strict_yes, mut library_only, mut dalek_only, mut cofactored_only) = (0, 0, 0, 0);
    for line in HOSTILE.lines().filter(|line| !line.starts_with('#')) {
        let [name, key, message, signature, strict, library, exact, cofactored] =
            line.split('\t').collect::<Vec<_>>().try_into().unwrap();
        let (key, message, signature) = (array(key), bytes(message), array(signature));
        let verdict = holds(&key, &message, &signature);
        assert_eq!(verdict, strict == "yes", "{name}");
        let plain = VerifyingKey::from_bytes(&key)
            .is_ok_and(|key| key.verify(&message, &Signature::from_bytes(&signature)).is_ok());
        // Refusing more than a library is the point; accepting what it refuses would be a hole.
        assert!(!verdict || (library == "yes" && plain && exact == "yes"), "{name}");
        strict_yes += usize::from(verdict);
        library_only += usize::from(!verdict && library == "yes");
        dalek_only += usize::from(!verdict && plain);
        cofactored_only += usize::from(exact == "no" && cofactored == "yes");
    }
    // The table must keep its teeth: honest and mixed-order ones hold, and plain verification takes many others.
    assert_eq!(strict_yes, 4);
    assert!(library_only >= 20, "{library_only}");
    assert!(dalek_only >= 10, "{dalek_only}");
    assert!(cofactored_only >= 10, "{cofactored_only}");
}

#[test]
fn s_must_be_below_the_order() {
    let honest = SecretKey::from_seed(&[7; 32]).unwrap();
    let mut signature = honest.sign(b"x");
    let mut carry = 0u16;
    for (byte, order) in signature[32..].iter_mut().zip(ORDER_LE) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        [*byte, _] = sum.to_le_bytes();
        carry = sum >> 8;
    }
    assert_eq!(honest.public().verify(b"x", &signature), Err(KeyError::LargeS));
    signature[32..].copy_from_slice(&ORDER_LE);
    assert_eq!(honest.public().verify(b"x", &signature), Err(KeyError::LargeS));
    // L − 1 is in range, so the equation decides.
    signature[32] -= 1;
    assert_eq!(honest.public().verify(b"x", &signature), Err(KeyError::Mismatch));
}

#[test]
fn every_y_from_p_upwards_is_refused() {
    for extra in 0..19u8 {
        for sign in [0, 0x80] {
            let mut encoding = FIELD_LE;
            encoding[0] += extra;
            encoding[31] |= sign;
            assert_eq!(PublicKey::from_slice(&encoding), Err(KeyError::NotCanonical), "p + {extra}");
        }
    }
    let mut largest = FIELD_LE;
    largest[0] -= 2;
    assert_ne!(PublicKey::from_slice(&largest), Err(KeyError::NotCanonical));
}

#[test]
fn other_lengths_are_refused() {
    let (_, public, _, signature) = RFC_8032[0];
    let (public, signature) = (bytes(public), bytes(signature));
    let key = PublicKey::from_slice(&public).unwrap();
    for length in (0..=96).filter(|length| *length != 32) {
        let padded: Vec<u8> = public.iter().copied().cycle().take(length).collect();
        assert_eq!(PublicKey::from_slice(&padded), Err(KeyError::Length));
    }
    for length in (0..=96).filter(|length| *length != 64) {
        let padded: Vec<u8> = signature.iter().copied().cycle().take(length).collect();
        assert_eq!(key.verify(b"", &padded), Err(KeyError::Length));
    }
}

#[test]
fn secrets_do_not_print_themselves() {
    let secret = SecretKey::from_seed(&array(RFC_8032[0].0)).unwrap();
    let shown = format!("{secret:?}");
    assert!(shown.contains(RFC_8032[0].1) && !shown.contains(RFC_8032[0].0));
}

proptest! {
    #[test]
    fn what_is_signed_holds_and_nothing_else(seed: [u8; 32], message: Vec<u8>, other: Vec<u8>) {
        let secret = SecretKey::from_seed(&seed).unwrap();
        let signature = secret.sign(&message);
        prop_assert_eq!(secret.public().verify(&message, &signature), Ok(()));
        prop_assert_eq!(secret.public().verify(&other, &signature).is_ok(), other == message);
    }

    #[test]
    fn arbitrary_bytes_never_panic_and_never_hold(key: [u8; 32], message: Vec<u8>, signature in prop::collection::vec(any::<u8>(), 60..70)) {
        prop_assert!(!holds(&key, &message, &signature));
    }
}
