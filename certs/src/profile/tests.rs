use evidence::keys::SecretKey;
use evidence::time::Timestamp;

use super::*;
use crate::test_pki::TestPki;
use crate::{Issuer as _, Population, Role as CertificateRole, mutual_client};

const ORIGIN: &str = "evidence.example.com/log/main";

fn profile() -> (Profile, TlsKey) {
    let pki = TestPki::new("evidence.example.com", Timestamp(1_700_000_000_000));
    let person = PersonId::from_bytes([9; 16]);
    let (identity, _) = pki.person(CertificateRole::Analyst, person);
    let log = SecretKey::from_seed(&[3; 32]).unwrap();
    let profile = Profile {
        server: "collector.example.com:7444".to_owned(),
        trust_domain: pki.trust_domain.clone(),
        origin: ORIGIN.to_owned(),
        person,
        role: Role::Analyst,
        certificate: identity.chain[0].clone(),
        issuing: pki.authority(Population::People).certificate().clone(),
        root: pki.root().clone(),
        log_keys: vec![VerifierKey::new(ORIGIN, *log.public()).unwrap()],
    };
    (profile, identity.key)
}

#[test]
fn a_profile_reads_back() {
    let (profile, _) = profile();
    let mut bytes = profile.encode();
    assert_eq!(Profile::parse(&bytes).unwrap(), profile);
    bytes.push(b'\n');
    assert_eq!(Profile::parse(&bytes).unwrap(), profile);
}

#[test]
fn a_profile_and_its_key_make_a_client() {
    let (profile, key) = profile();
    let clock = crate::test_pki::clock_at(Timestamp(1_700_000_000_000));
    mutual_client(&profile.identity(key), &profile.root, clock).unwrap();
}

#[test]
fn another_key_makes_no_client() {
    let (profile, _) = profile();
    let clock = crate::test_pki::clock_at(Timestamp(1_700_000_000_000));
    let other = TlsKey::generate().unwrap();
    mutual_client(&profile.identity(other), &profile.root, clock).unwrap_err();
}

/// Replaces one member of the profile's JSON and reads it.
fn with(member: &str, value: Value) -> Result<Profile, JsonError> {
    let Value::Object(mut members) = Value::parse(&profile().0.encode()).unwrap() else { unreachable!() };
    members.insert(member.to_owned(), value);
    Profile::parse(&Value::Object(members).to_bytes())
}

#[test]
fn unsound_profiles_are_refused_with_the_member() {
    let other = VerifierKey::new("other/log/x", *SecretKey::from_seed(&[3; 32]).unwrap().public()).unwrap();
    let cases = [
        ("format", json::text("tallystick/key/v1")),
        ("chain", Value::Array(vec![json::text("AA==")])),
        ("chain", Value::Array(vec![json::text("AA=="), json::text("AA"), json::text("AA==")])),
        ("chain", Value::Array(vec![json::text("AA=="), json::text(""), json::text("AA==")])),
        ("log_vkeys", Value::Array(Vec::new())),
        ("log_vkeys", Value::Array(vec![json::text(other.vkey())])),
        ("role", json::text("root")),
        ("person", json::text("p-1")),
        ("surplus", json::text("")),
    ];
    for (member, value) in cases {
        let error = with(member, value.clone()).unwrap_err().to_string();
        assert!(error.contains(member), "{member} {value:?}: {error}");
    }
}
