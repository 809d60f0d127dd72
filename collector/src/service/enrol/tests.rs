//! What a device's last message must show.

use std::collections::BTreeSet;

use certs::TlsKey;
use evidence::enrolment::Transcript;
use evidence::ids::Digest;
use evidence::keys::SecretKey;
use proto::EnrolFinish;
use tonic::Code;

use super::{Claim, fresh_nonce};

const TRUST_DOMAIN: &str = "evidence.example.com";
const ENROLMENT_ID: [u8; 16] = [1; 16];
/// Nonces that must differ.
const NONCES: usize = 100_000;

/// What a device sends that signed over these.
fn finish(nonce: [u8; 32], exporter: [u8; 32]) -> EnrolFinish {
    let (attestation, tls) = (SecretKey::from_seed(&[3; 32]).unwrap(), TlsKey::generate().unwrap());
    let (secret, detail, salt) = ([9; 32], b"{}".to_vec(), [4; 32]);
    let transcript = Transcript {
        trust_domain: TRUST_DOMAIN.parse().unwrap(),
        enrolment_id: ENROLMENT_ID,
        nonce,
        exporter,
        token_hash: Digest::of(&secret),
        tls_key: tls.public().clone(),
        attestation_key: *attestation.public(),
        facts_commitment: Digest::of_parts(&[&salt, &detail]),
    };
    let bytes = transcript.encode();
    EnrolFinish {
        token_secret: secret.to_vec(),
        tls_spki: tls.public().spki_der().to_vec(),
        attestation_key: attestation.public().as_bytes().to_vec(),
        detail,
        detail_salt: salt.to_vec(),
        sig_ed25519: attestation.sign(&bytes).to_vec(),
        sig_p256: tls.sign(&bytes).unwrap().to_vec(),
    }
}

fn check(nonce: [u8; 32], exporter: [u8; 32], finish: EnrolFinish) -> Result<(), Code> {
    let claim = Claim::check(TRUST_DOMAIN, ENROLMENT_ID, nonce, exporter, finish);
    claim.map(|_| ()).map_err(|status| status.code())
}

#[test]
fn no_nonce_comes_twice() {
    let nonces: BTreeSet<[u8; 32]> = (0..NONCES).map(|_| fresh_nonce().unwrap()).collect();
    assert_eq!(nonces.len(), NONCES);
}

#[test]
fn a_claim_holds_for_its_nonce_and_connection_alone() {
    let (nonce, exporter) = ([7; 32], [8; 32]);
    assert_eq!(check(nonce, exporter, finish(nonce, exporter)), Ok(()));
    let refused = Err(Code::Unauthenticated);
    assert_eq!(check([6; 32], exporter, finish(nonce, exporter)), refused, "replayed");
    assert_eq!(check(nonce, [6; 32], finish(nonce, exporter)), refused, "relayed");
    let (mut one, two) = (finish(nonce, exporter), finish(nonce, exporter));
    one.sig_p256 = two.sig_p256;
    assert_eq!(check(nonce, exporter, one), refused, "signed by another TLS key");
    let mut other = finish(nonce, exporter);
    other.detail = b"{\"host_name\":\"other\"}".to_vec();
    assert_eq!(check(nonce, exporter, other), refused, "what it tells was changed");
    let mut other = finish(nonce, exporter);
    other.token_secret = vec![5; 32];
    assert_eq!(check(nonce, exporter, other), refused, "another token");
}

#[test]
fn a_request_is_a_key_and_nothing_more() {
    let (nonce, exporter) = ([7; 32], [8; 32]);
    // There is no place for a name, a usage or a validity: whatever stands where the key should is no key.
    for spki in [Vec::new(), vec![0x30; 300], finish(nonce, exporter).tls_spki[..90].to_vec()] {
        let request = EnrolFinish { tls_spki: spki, ..finish(nonce, exporter) };
        assert_eq!(check(nonce, exporter, request), Err(Code::InvalidArgument));
    }
    let mut longer = finish(nonce, exporter);
    longer.tls_spki.push(0);
    assert_eq!(check(nonce, exporter, longer), Err(Code::InvalidArgument), "something after the key");
    let weak = EnrolFinish { attestation_key: vec![0; 32], ..finish(nonce, exporter) };
    assert_eq!(check(nonce, exporter, weak), Err(Code::InvalidArgument), "a weak key");
}
