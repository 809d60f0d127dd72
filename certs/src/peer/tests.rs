use proptest::prelude::*;
use rcgen::{CertificateParams, SanType};

use super::*;
use crate::test_pki::TestPki;

const NOW: Timestamp = Timestamp(1_800_000_000_000);

fn domain() -> TrustDomain {
    "evidence.example.com".parse().expect("a trust domain")
}

/// A self-signed certificate with these names; the handshake's checks are not this module's.
fn certificate(names: Vec<SanType>) -> CertificateDer<'static> {
    let mut params = CertificateParams::default();
    params.subject_alt_names = names;
    params.serial_number = Some(Serial::from_random([1; 16]).for_rcgen());
    params.self_signed(&rcgen::KeyPair::generate().expect("a key")).expect("a certificate").into()
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().expect("ASCII"))
}

fn read(names: Vec<SanType>, population: Population) -> Result<Peer, PeerError> {
    PeerCertificate::read(&certificate(names), &domain(), population).map(|c| c.peer)
}

#[test]
fn issued_certificates_name_their_holders() {
    let pki = TestPki::new("evidence.example.com", NOW);
    let device = DeviceId::from_bytes([9; 16]);
    let (agent, serial) = pki.agent(device);
    let seen =
        PeerCertificate::read(&agent.chain[0], &pki.trust_domain, Population::Agents).expect("an agent");
    assert_eq!(seen.peer, Peer::Agent(device));
    assert_eq!(seen.serial, serial);
    assert_eq!(seen.fingerprint, Digest::of(&agent.chain[0]));
    assert_eq!(seen.tls_key, agent.key.public().id());
    assert_eq!(seen.not_after, Timestamp(NOW.ms() + 3_600_000));
    for role in Role::ALL {
        let id = PersonId::from_bytes([3; 16]);
        let (person, _) = pki.person(role, id);
        let seen =
            PeerCertificate::read(&person.chain[0], &pki.trust_domain, Population::People).expect("a person");
        assert_eq!(seen.peer, Peer::Person { role, id });
    }
}

#[test]
fn a_name_of_another_population_is_refused() {
    let device = DeviceId::from_bytes([9; 16]);
    let agent = format!("spiffe://evidence.example.com/agent/{device}");
    assert_eq!(
        read(vec![uri(&agent)], Population::People),
        Err(PeerError::Population { expected: Population::People, found: Population::Agents })
    );
    let admin = format!("spiffe://evidence.example.com/admin/{}", PersonId::from_bytes([1; 16]));
    assert_eq!(
        read(vec![uri(&admin)], Population::Agents),
        Err(PeerError::Population { expected: Population::Agents, found: Population::People })
    );
    assert!(read(vec![uri(&admin)], Population::Servers).is_err());
}

#[test]
fn exactly_one_name_and_that_a_uri() {
    let good = uri(&format!("spiffe://evidence.example.com/agent/{}", DeviceId::from_bytes([9; 16])));
    let dns = SanType::DnsName("evidence.example.com".try_into().expect("ASCII"));
    let ip = SanType::IpAddress([127, 0, 0, 1].into());
    assert!(read(vec![good.clone()], Population::Agents).is_ok());
    for (names, count) in [
        (vec![], 0),
        (vec![dns.clone()], 1),
        (vec![ip], 1),
        (vec![good.clone(), good.clone()], 2),
        (vec![good.clone(), dns.clone()], 2),
        (vec![dns, good], 2),
    ] {
        assert_eq!(read(names, Population::Agents), Err(PeerError::Names(count)));
    }
}

#[test]
fn near_misses_of_the_name_are_refused() {
    let d = DeviceId::from_bytes([9; 16]).to_string();
    let p = PersonId::from_bytes([9; 16]).to_string();
    let refused = |text: &str| {
        [Population::Agents, Population::People].iter().all(|&population| {
            matches!(read(vec![uri(text)], population), Err(PeerError::Name | PeerError::TrustDomain { .. }))
        })
    };
    for text in [
        format!("spiffe://evidence.example.com/agent/{}", d.to_uppercase()),
        format!("spiffe://evidence.example.com/Agent/{d}"),
        format!("SPIFFE://evidence.example.com/agent/{d}"),
        format!("spiffe://EVIDENCE.example.com/agent/{d}"),
        format!("spiffe://evidence.example.com./agent/{d}"),
        format!("spiffe://evidence.example.com:443/agent/{d}"),
        format!("spiffe://x@evidence.example.com/agent/{d}"),
        format!("spiffe://evil.evidence.example.com/agent/{d}"),
        format!("spiffe://example.com/agent/{d}"),
        format!("spiffe://evidence.example.com//agent/{d}"),
        format!("spiffe://evidence.example.com/agent/{d}/"),
        format!("spiffe://evidence.example.com/agent/{d}?x"),
        format!("spiffe://evidence.example.com/agent/{d}#x"),
        format!("spiffe://evidence.example.com/agent/../admin/{p}"),
        format!("spiffe://evidence.example.com/%61gent/{d}"),
        format!("https://evidence.example.com/agent/{d}"),
        format!(" spiffe://evidence.example.com/agent/{d}"),
        format!("spiffe://evidence.example.com/agent/{p}"),
        format!("spiffe://evidence.example.com/admin/{d}"),
        format!("spiffe://evidence.example.com/root/{p}"),
        "spiffe://evidence.example.com/agent/".to_owned(),
        "spiffe://evidence.example.com/agent".to_owned(),
        "spiffe://evidence.example.com".to_owned(),
        "spiffe://".to_owned(),
        String::new(),
    ] {
        assert!(refused(&text), "{text} was accepted");
    }
}

#[test]
fn foreign_serials_and_keys_are_refused() {
    let name = uri(&format!("spiffe://evidence.example.com/agent/{}", DeviceId::from_bytes([9; 16])));
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![name];
    params.serial_number = Some(vec![1].into());
    let p256 = rcgen::KeyPair::generate().expect("a key");
    let short = params.self_signed(&p256).expect("a certificate").into();
    assert_eq!(PeerCertificate::read(&short, &domain(), Population::Agents), Err(PeerError::Serial));
    params.serial_number = Some(Serial::from_random([1; 16]).for_rcgen());
    let ed25519 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key");
    let other = params.self_signed(&ed25519).expect("a certificate").into();
    assert_eq!(PeerCertificate::read(&other, &domain(), Population::Agents), Err(PeerError::Key));
}

proptest! {
    #[test]
    fn noise_never_panics(noise in prop::collection::vec(any::<u8>(), 0..300)) {
        let read = PeerCertificate::read(&noise.into(), &domain(), Population::Agents);
        prop_assert_eq!(read, Err(PeerError::Unreadable));
    }

    #[test]
    fn a_damaged_certificate_never_panics(at in any::<prop::sample::Index>(), with: u8) {
        let pki = TestPki::new("evidence.example.com", NOW);
        let device = DeviceId::from_bytes([9; 16]);
        let mut der = pki.agent(device).0.chain[0].to_vec();
        let at = at.index(der.len());
        der[at] = with;
        // The handshake has checked the signature before; here only that reading damaged bytes is an answer.
        let read = PeerCertificate::read(&der.into(), &domain(), Population::Agents);
        prop_assert!(read.is_err() || read.is_ok_and(|c| matches!(c.peer, Peer::Agent(_))));
    }
}
