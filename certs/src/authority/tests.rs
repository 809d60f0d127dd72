use proptest::prelude::*;
use x509_parser::prelude::ParsedExtension;

use super::*;
use crate::issue::{AGENT_LIFETIME, MAX_LIFETIME, Subject};
use crate::peer::Role;
use crate::test_pki::{TestPki, key, random, serial};
use evidence::ids::{DeviceId, PersonId};

const NOW: Timestamp = Timestamp(1_800_000_000_123);

fn pki() -> TestPki {
    TestPki::new("evidence.example.com", NOW)
}

fn parsed(der: &CertificateDer<'_>) -> String {
    let (_, certificate) = X509Certificate::from_der(der).expect("a certificate");
    let mut extensions: Vec<String> = certificate
        .extensions()
        .iter()
        .map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(_) => "ski".to_owned(),
            ParsedExtension::AuthorityKeyIdentifier(_) => "aki".to_owned(),
            other => format!("{}{other:?}", if extension.critical { "critical " } else { "" }),
        })
        .collect();
    extensions.sort();
    extensions.join("\n")
}

#[test]
fn every_authority_has_a_name_of_its_own_and_may_not_make_another() {
    let pki = pki();
    let mut names = Vec::new();
    for population in Population::ALL {
        let der = pki.authority(population).certificate();
        let (_, certificate) = X509Certificate::from_der(der).expect("a certificate");
        names.push(certificate.subject().to_string());
        let constraints = certificate.basic_constraints().expect("one").expect("present");
        assert!(constraints.critical && constraints.value.ca);
        assert_eq!(constraints.value.path_len_constraint, Some(0));
        let usage = certificate.key_usage().expect("one").expect("present");
        assert!(usage.critical && usage.value.key_cert_sign() && usage.value.crl_sign());
        assert!(!usage.value.digital_signature());
    }
    let (_, root) = X509Certificate::from_der(pki.root()).expect("a certificate");
    assert_eq!(root.basic_constraints().expect("one").expect("present").value.path_len_constraint, Some(1));
    names.push(root.subject().to_string());
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 4);
}

#[test]
fn an_agents_certificate_says_what_policy_says() {
    let pki = pki();
    let device = DeviceId::from_bytes([7; 16]);
    let key = key();
    let serial = serial();
    let order = Order {
        subject: &Subject::Agent(device),
        public_key: key.public(),
        serial,
        now: NOW,
        lifetime: AGENT_LIFETIME,
    };
    let issued = pki.authorities.agents.issue(&order).expect("issued");
    let (_, certificate) = X509Certificate::from_der(&issued.certificate).expect("a certificate");
    assert_eq!(certificate.tbs_certificate.raw_serial(), serial.as_bytes());
    assert_eq!(certificate.validity().not_before.timestamp(), 1_800_000_000 - 300);
    assert_eq!(certificate.validity().not_after.timestamp(), 1_800_000_000 + 30 * 86_400);
    assert_eq!(issued.not_after, Timestamp((1_800_000_000 + 30 * 86_400) * 1000));
    assert_eq!(certificate.tbs_certificate.subject_pki.raw, key.public().spki_der());
    assert_eq!(
        parsed(&issued.certificate),
        format!(
            "ExtendedKeyUsage(ExtendedKeyUsage {{ any: false, server_auth: false, client_auth: true, \
             code_signing: false, email_protection: false, time_stamping: false, ocsp_signing: false, other: [] }})\n\
             SubjectAlternativeName(SubjectAlternativeName {{ general_names: \
             [URI(\"spiffe://evidence.example.com/agent/{device}\")] }})\n\
             aki\n\
             critical BasicConstraints(BasicConstraints {{ ca: false, path_len_constraint: None }})\n\
             critical KeyUsage(KeyUsage {{ flags: 1 }})\n\
             ski"
        )
    );
}

#[test]
fn an_authority_issues_for_its_own_population_only() {
    let pki = pki();
    let subjects = [
        Subject::Agent(DeviceId::from_bytes([1; 16])),
        Subject::Person(Role::Auditor, PersonId::from_bytes([2; 16])),
        Subject::Server(vec!["localhost".try_into().expect("a name")]),
    ];
    for population in Population::ALL {
        for subject in &subjects {
            let key = key();
            let order = Order {
                subject,
                public_key: key.public(),
                serial: serial(),
                now: NOW,
                lifetime: AGENT_LIFETIME,
            };
            let result = pki.authority(population).issue(&order);
            if subject.population() == population {
                assert!(result.is_ok());
            } else {
                let subject = subject.population();
                assert_eq!(
                    result.expect_err("refused"),
                    IssueError::Population { authority: population, subject }
                );
            }
        }
    }
}

#[test]
fn lifetimes_are_bounded_by_policy_and_by_the_authority() {
    let pki = pki();
    let key = key();
    let subject = Subject::Agent(DeviceId::from_bytes([1; 16]));
    let issue = |now: Timestamp, lifetime: Duration| {
        let order = Order { subject: &subject, public_key: key.public(), serial: serial(), now, lifetime };
        pki.authorities.agents.issue(&order)
    };
    let end = whole_seconds(after(NOW, AUTHORITY_LIFETIME));
    for lifetime in [Duration::ZERO, Duration::from_millis(999), MAX_LIFETIME + Duration::from_secs(1)] {
        assert_eq!(issue(NOW, lifetime).expect_err("refused"), IssueError::Lifetime);
    }
    let last = issue(Timestamp(end.ms() - 1000), MAX_LIFETIME).expect("one second before the end");
    assert_eq!(last.not_after, end);
    assert_eq!(
        issue(end, MAX_LIFETIME).expect_err("refused"),
        IssueError::AuthorityEnded(Population::Agents)
    );
    let forever = Timestamp(u64::MAX);
    assert_eq!(
        issue(forever, MAX_LIFETIME).expect_err("refused"),
        IssueError::AuthorityEnded(Population::Agents)
    );
}

#[test]
fn an_authority_opens_with_its_own_key_and_certificate_only() {
    let pki = pki();
    let agents = &pki.authorities.agents;
    let open = |certificate: &CertificateDer<'static>, key: &TlsKey| {
        let key = TlsKey::from_pem(&key.to_pem()).expect("the key reads back");
        IssuingAuthority::open(Population::Agents, pki.trust_domain.clone(), certificate.clone(), key)
    };
    assert!(open(agents.certificate(), agents.key()).is_ok());
    assert!(matches!(
        open(agents.certificate(), pki.authorities.people.key()),
        Err(AuthorityError::Mismatch(Population::Agents))
    ));
    // The root may issue authorities, so nothing may run with it.
    assert!(matches!(
        open(pki.root(), &pki.authorities.root_key),
        Err(AuthorityError::NotAnAuthority(Population::Agents))
    ));
    let (device, _) = pki.agent(DeviceId::from_bytes([1; 16]));
    assert!(matches!(open(&device.chain[0], &device.key), Err(AuthorityError::NotAnAuthority(_))));
    assert!(matches!(open(&vec![0x30, 0].into(), agents.key()), Err(AuthorityError::Certificate(_))));
}

#[test]
fn a_time_no_certificate_can_say_is_refused() {
    let keys = AuthorityKeys { root: key(), agents: key(), people: key(), servers: key() };
    let domain = "example.com".parse().expect("a trust domain");
    let serials = [serial(), serial(), serial(), serial()];
    let result = NewAuthorities::create(&domain, keys, serials, Timestamp(u64::MAX));
    assert!(matches!(result, Err(AuthorityError::Issue(IssueError::Time))));
}

#[test]
fn names_of_a_server_are_all_written() {
    let pki = pki();
    let names = ["collector.example.com", "127.0.0.1", "::1"];
    let names = names.map(|name| name.try_into().expect("a name")).to_vec();
    let issued = pki.issue(&Subject::Server(names), key().public());
    let text = parsed(&issued.certificate);
    assert!(text.contains("DNSName(\"collector.example.com\")"), "{text}");
    assert!(text.contains("server_auth: true") && text.contains("client_auth: false"), "{text}");
    let order = |names| Subject::Server(names);
    for subject in [order(vec![]), order(vec!["a.b".try_into().expect("a name"); 33])] {
        let key = key();
        let order = Order {
            subject: &subject,
            public_key: key.public(),
            serial: serial(),
            now: NOW,
            lifetime: AGENT_LIFETIME,
        };
        let refused = pki.authorities.servers.issue(&order).expect_err("refused");
        assert_eq!(refused, IssueError::ServerNames);
    }
}

proptest! {
    #[test]
    fn serials_are_positive_and_exactly_16_bytes(bytes: [u8; 16]) {
        let serial = Serial::from_random(bytes);
        prop_assert!((0x40..0x80).contains(&serial.as_bytes()[0]));
        prop_assert_eq!(Serial::from_slice(serial.as_bytes()), Some(serial));
        prop_assert_eq!(Serial::from_slice(&bytes).is_some(), (0x40..0x80).contains(&bytes[0]));
    }
}

#[test]
fn a_revocation_list_names_exactly_the_revoked() {
    use crate::revocation::{REVOCATION_LIST_LIFETIME, Revoked};
    use x509_parser::prelude::{CertificateRevocationList, RevokedCertificate};

    let pki = pki();
    let revoked = [serial(), Serial::from_random(random())];
    let entries = revoked.map(|serial| Revoked { serial, since: NOW });
    let order = RevocationOrder { number: 42, now: NOW, revoked: &entries };
    let list = pki.authorities.people.revocation_list(&order).expect("issued");
    let (_, parsed) = CertificateRevocationList::from_der(&list.der).expect("a list");
    let serials: Vec<&[u8]> =
        parsed.iter_revoked_certificates().map(RevokedCertificate::raw_serial).collect();
    assert_eq!(serials, revoked.iter().map(|s| &s.as_bytes()[..]).collect::<Vec<_>>());
    assert_eq!(parsed.crl_number().map(ToString::to_string), Some("42".to_owned()));
    assert_eq!(list.next_update, after(NOW, REVOCATION_LIST_LIFETIME));
    assert_eq!(parsed.next_update().expect("present").timestamp(), 1_800_000_000 + 86_400);
}
