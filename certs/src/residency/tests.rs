use evidence::time::Timestamp;

use super::{Challenge, TpmMakers, cfb, derived, public_area};
use crate::test_pki::TestPki;
use crate::{Issuer as _, TlsKey};

const NOW: Timestamp = Timestamp(1_800_000_000_000);

fn hex(text: &str) -> Vec<u8> {
    data_encoding::HEXLOWER.decode(text.as_bytes()).expect("hex")
}

#[test]
fn the_mode_is_that_of_the_published_vectors() {
    // NIST SP 800-38A, F.3.13, whose initial block is not zero: it is what a first block of zeros XOR must give.
    let key = hex("2b7e151628aed2a6abf7158809cf4f3c");
    let (plain, start) = (hex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"), [0; 16]);
    let whole = cfb(&key, &plain);
    // The first block is E(0) XOR plain, the second E(first) XOR plain: both by the block function alone.
    let first = cfb(&key, &start);
    let expected: Vec<u8> = first.iter().zip(&plain).map(|(a, b)| a ^ b).collect();
    assert_eq!(whole[..16], expected);
    assert_eq!(cfb(&key, &plain[..18]), whole[..18], "a short end is a cut one");
    // E(0) under this key, from the same document's CMAC example (SP 800-38B, D.1).
    assert_eq!(first, hex("7df76b0c1ab899b33e42f047b91b546f"));
}

#[test]
fn bits_are_part_of_what_is_derived() {
    let (short, long) =
        (derived(&[7; 32], b"STORAGE", b"name", 128), derived(&[7; 32], b"STORAGE", b"name", 256));
    assert_eq!((short.len(), long.len()), (16, 32));
    assert_ne!(short[..], long[..16]);
}

#[test]
fn only_the_secret_meets_a_challenge_and_no_two_are_equal() {
    let (endorsement, key) = (TlsKey::generate().expect("a key"), TlsKey::generate().expect("a key"));
    let make = || Challenge::new(endorsement.public(), key.public()).expect("a challenge");
    let (one, other) = (make(), make());
    assert_eq!((one.credential.len(), one.secret.len()), (2 + 32 + 2 + 32, 2 * (2 + 32)));
    assert_ne!((&one.credential, &one.secret), (&other.credential, &other.secret));
    for wrong in [&[][..], &[0; 32], &one.credential, &one.secret] {
        assert!(!one.is_met_by(wrong));
    }
    assert_eq!(format!("{one:?}"), "Challenge");
    assert_eq!(public_area(key.public()).len(), 20 + 2 * (2 + 32));
}

#[test]
fn only_a_makers_certificate_has_an_endorsement_key() {
    let (pki, other) = (TestPki::new("maker.example.com", NOW), TestPki::new("maker.example.com", NOW));
    let text =
        |pki: &TestPki| crate::pem::encode(crate::pem::CERTIFICATE, pki.authorities.servers.certificate());
    let makers = TpmMakers::from_pem(&text(&pki)).expect("makers");
    // A certificate for servers says what it is for, which is not being a TPM.
    let server = pki.server("tpm.test");
    let said = makers.endorsement(&server.chain[0], NOW).expect_err("not of a TPM").to_string();
    assert!(said.contains("does not lead to a maker in `tpm_roots`"), "{said}");
    for bytes in [&[][..], b"certificate", &other.server("tpm.test").chain[0]] {
        makers.endorsement(bytes, NOW).expect_err("no certificate of theirs");
    }
    TpmMakers::from_pem("nothing").expect_err("no root");
}

/// Made by openssl, for the endorsement key of an emulated TPM: what it is for, and the model as a critical directory name.
const ENDORSEMENT: &str = include_str!("endorsement.pem");
/// Who signed it.
const MAKER: &str = include_str!("maker.pem");

#[test]
fn a_makers_certificate_gives_the_endorsement_key_while_it_holds() {
    let certificate = crate::pem::certificate(ENDORSEMENT).expect("a certificate");
    let makers = TpmMakers::from_pem(MAKER).expect("makers");
    let key = makers.endorsement(&certificate, NOW).expect("an endorsement key");
    assert_eq!(key.spki_der()[27..31], hex("d2cf6e72"));
    for wrong in [Timestamp(1_700_000_000_000), Timestamp(2_200_000_000_000)] {
        makers.endorsement(&certificate, wrong).expect_err("not yet, or not any more");
    }
    for place in 0..certificate.len() {
        let mut forged = certificate.to_vec();
        forged[place] ^= 1;
        assert!(makers.endorsement(&forged, NOW).is_err(), "another byte {place}");
        assert!(makers.endorsement(&certificate[..place], NOW).is_err(), "cut at {place}");
    }
    let padded = [&certificate[..], &[0; 8 * 1024]].concat();
    makers.endorsement(&padded, NOW).expect_err("too long");
}
