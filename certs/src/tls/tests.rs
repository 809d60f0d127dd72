use evidence::ids::{DeviceId, PersonId};
use evidence::time::Timestamp;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, ServerConnection};

use super::*;
use crate::test_pki::{TestPki, clock_at, key, serial};
use crate::{HeldKey, HeldKeyError, Issuer as _, Order, Population, Role, Serial, Subject};

const NOW: Timestamp = Timestamp(1_800_000_000_000);

fn pki() -> TestPki {
    TestPki::new("evidence.example.com", NOW)
}

/// Carries every byte between the two until neither has more to say; the first error ends it.
fn handshake(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>, name: &str) -> Result<Both, String> {
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let mut both = Both {
        client: ClientConnection::new(client.clone(), name).expect("a client"),
        server: ServerConnection::new(server.clone()).expect("a server"),
    };
    for _ in 0..10 {
        while both.client.wants_write() {
            let mut bytes = Vec::new();
            both.client.write_tls(&mut bytes).expect("writes to memory");
            both.server.read_tls(&mut bytes.as_slice()).expect("reads from memory");
        }
        both.server.process_new_packets().map_err(|e| format!("server: {e:?}"))?;
        while both.server.wants_write() {
            let mut bytes = Vec::new();
            both.server.write_tls(&mut bytes).expect("writes to memory");
            both.client.read_tls(&mut bytes.as_slice()).expect("reads from memory");
        }
        both.client.process_new_packets().map_err(|e| format!("client: {e:?}"))?;
    }
    assert!(!both.client.is_handshaking() && !both.server.is_handshaking());
    Ok(both)
}

struct Both {
    client: ClientConnection,
    server: ServerConnection,
}

fn refused(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>, name: &str) -> String {
    match handshake(client, server, name) {
        Ok(_) => panic!("the handshake succeeded"),
        Err(error) => error,
    }
}

fn agents(pki: &TestPki, revoked: &[Serial]) -> Arc<ServerConfig> {
    agents_at(pki, revoked, NOW)
}

fn agents_at(pki: &TestPki, revoked: &[Serial], moment: Timestamp) -> Arc<ServerConfig> {
    let trusted = [pki.trusted(Population::Agents, revoked)];
    mutual_listener(&pki.server("collector.test"), &trusted, clock_at(moment)).expect("a listener")
}

fn client(pki: &TestPki, identity: &Identity) -> Arc<ClientConfig> {
    mutual_client(identity, pki.root(), pki.clock()).expect("a client")
}

#[test]
fn an_agent_and_the_collector_prove_themselves_and_share_one_exporter() {
    let pki = pki();
    let (agent, _) = pki.agent(DeviceId::from_bytes([1; 16]));
    let both = handshake(&client(&pki, &agent), &agents(&pki, &[]), "collector.test").expect("a connection");
    assert_eq!(both.server.peer_certificates().expect("a certificate")[0], agent.chain[0]);
    assert_eq!(both.server.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
    assert_eq!(both.client.alpn_protocol(), Some(&b"h2"[..]));
    let export = |connection: &rustls::Connection| {
        connection
            .export_keying_material([0; 32], evidence::enrolment::EXPORTER_LABEL, Some(b""))
            .expect("an exporter")
    };
    let (client, server) = (export(&both.client.into()), export(&both.server.into()));
    assert_eq!(client, server);
    let again =
        handshake(&self::client(&pki, &agent), &agents(&pki, &[]), "collector.test").expect("a connection");
    assert_ne!(export(&again.client.into()), client, "each connection has an exporter of its own");
}

#[derive(Debug)]
struct Broken(TlsKey);

impl HeldKey for Broken {
    fn public(&self) -> &evidence::enrolment::TlsPublicKey {
        self.0.public()
    }

    fn sign(&self, _message: &[u8]) -> Result<[u8; 64], HeldKeyError> {
        Err(HeldKeyError("the chip is gone".into()))
    }
}

#[test]
fn a_held_key_proves_its_holder_and_says_why_it_cannot() {
    let pki = pki();
    let (agent, _) = pki.agent(DeviceId::from_bytes([1; 16]));
    let copy = || TlsKey::from_pem(&agent.key.to_pem()).expect("the key reads back");
    let held = |key: Arc<dyn HeldKey>| {
        let identity = HeldIdentity { chain: agent.chain.clone(), key };
        mutual_client(&identity, pki.root(), pki.clock())
    };
    let good = held(Arc::new(copy())).expect("a client");
    let both = handshake(&good, &agents(&pki, &[]), "collector.test").expect("a connection");
    assert_eq!(both.server.peer_certificates().expect("a certificate")[0], agent.chain[0]);
    let gone = held(Arc::new(Broken(copy()))).expect("a client");
    let said = refused(&gone, &agents(&pki, &[]), "collector.test");
    assert!(said.starts_with("client") && said.contains("the chip is gone"), "{said}");
    assert!(matches!(held(Arc::new(key())), Err(TlsError::Identity(_))));
}

#[test]
fn nothing_can_be_resumed() {
    let pki = pki();
    let (agent, _) = pki.agent(DeviceId::from_bytes([1; 16]));
    let (client, server) = (client(&pki, &agent), agents(&pki, &[]));
    for _ in 0..3 {
        let both = handshake(&client, &server, "collector.test").expect("a connection");
        assert_eq!(both.server.handshake_kind(), Some(rustls::HandshakeKind::Full));
        assert_eq!(both.client.tls13_tickets_received(), 0);
    }
}

#[test]
fn a_listener_for_agents_refuses_everybody_else() {
    let pki = pki();
    let server = agents(&pki, &[]);
    let (person, _) = pki.person(Role::Admin, PersonId::from_bytes([1; 16]));
    let error = refused(&client(&pki, &person), &server, "collector.test");
    assert_eq!(error, "server: InvalidCertificate(UnknownIssuer)");

    let other = self::pki();
    let (stranger, _) = other.agent(DeviceId::from_bytes([1; 16]));
    let error = refused(&client(&pki, &stranger), &server, "collector.test");
    assert_eq!(error, "server: InvalidCertificate(UnknownIssuer)");

    let nobody = enrolment_client(pki.pin(), pki.clock()).expect("a client");
    assert_eq!(refused(&nobody, &server, "collector.test"), "server: NoCertificatesPresented");
}

#[test]
fn a_server_certificate_does_not_make_a_client() {
    // Were the servers' authority trusted for clients by mistake, the key usage would still refuse.
    let pki = pki();
    let trusted = [pki.trusted(Population::Servers, &[])];
    let server = mutual_listener(&pki.server("collector.test"), &trusted, pki.clock()).expect("a listener");
    let error = refused(&client(&pki, &pki.server("collector.test")), &server, "collector.test");
    assert!(error.starts_with("server: InvalidCertificate(InvalidPurpose"), "{error}");
}

#[test]
fn a_client_certificate_does_not_make_a_server() {
    let pki = pki();
    let (mut agent, _) = pki.agent(DeviceId::from_bytes([1; 16]));
    agent.chain.push(pki.root().clone());
    let impostor = open_listener(&agent, pki.clock()).expect("a listener");
    for client in [
        enrolment_client(pki.pin(), pki.clock()).expect("a client"),
        client(&pki, &pki.agent(DeviceId::from_bytes([2; 16])).0),
    ] {
        let error = refused(&client, &impostor, "collector.test");
        assert!(error.starts_with("client: InvalidCertificate("), "{error}");
    }
}

#[test]
fn ended_and_not_yet_valid_certificates_are_refused() {
    let pki = pki();
    let (agent, _) = pki.agent(DeviceId::from_bytes([1; 16]));
    let late = Timestamp(NOW.ms() + 3_601_000);
    let error = refused(&client(&pki, &agent), &agents_at(&pki, &[], late), "collector.test");
    assert!(error.starts_with("server: InvalidCertificate(Expired"), "{error}");
    let early = Timestamp(NOW.ms() - 301_000);
    let error = refused(&client(&pki, &agent), &agents_at(&pki, &[], early), "collector.test");
    assert!(error.starts_with("server: InvalidCertificate(NotValidYet"), "{error}");
}

#[test]
fn a_revoked_agent_is_refused_and_others_are_not() {
    let pki = pki();
    let (agent, serial) = pki.agent(DeviceId::from_bytes([1; 16]));
    let (other, _) = pki.agent(DeviceId::from_bytes([2; 16]));
    let server = agents(&pki, &[serial]);
    assert_eq!(
        refused(&client(&pki, &agent), &server, "collector.test"),
        "server: InvalidCertificate(Revoked)"
    );
    assert!(handshake(&client(&pki, &other), &server, "collector.test").is_ok());
}

#[test]
fn a_revocation_list_past_its_end_refuses_everybody() {
    let pki = pki();
    let key = key();
    let order = Order {
        subject: &Subject::Agent(DeviceId::from_bytes([1; 16])),
        public_key: key.public(),
        serial: serial(),
        now: NOW,
        lifetime: crate::AGENT_LIFETIME,
    };
    let certificate = pki.authorities.agents.issue(&order).expect("issued").certificate;
    let agent = Identity { chain: vec![certificate], key };
    assert!(handshake(&client(&pki, &agent), &agents(&pki, &[]), "collector.test").is_ok());
    let next_day = Timestamp(NOW.ms() + 86_401_000);
    let error = refused(&client(&pki, &agent), &agents_at(&pki, &[], next_day), "collector.test");
    assert!(error.starts_with("server: InvalidCertificate(ExpiredRevocationList"), "{error}");
}

#[test]
fn during_a_rollover_holders_of_both_authorities_connect() {
    let (old, new) = (pki(), pki());
    let trusted = [old.trusted(Population::Agents, &[]), new.trusted(Population::Agents, &[])];
    let server = mutual_listener(&old.server("collector.test"), &trusted, old.clock()).expect("a listener");
    for pki in [&old, &new] {
        let (agent, _) = pki.agent(DeviceId::from_bytes([1; 16]));
        assert!(handshake(&client(&old, &agent), &server, "collector.test").is_ok());
    }
}

#[test]
fn a_configuration_that_would_lock_holders_out_is_not_made() {
    let (pki, other) = (pki(), pki());
    let identity = pki.server("collector.test");
    let listener = |authorities: &[TrustedAuthority]| mutual_listener(&identity, authorities, pki.clock());
    assert!(matches!(listener(&[]), Err(TlsError::NoAuthority)));
    let good = pki.trusted(Population::Agents, &[]);
    assert!(matches!(listener(&[good.clone(), good.clone()]), Err(TlsError::SharedName(_))));
    let foreign = TrustedAuthority {
        revocation_list: other.trusted(Population::Agents, &[]).revocation_list,
        ..good.clone()
    };
    assert!(matches!(listener(&[foreign]), Err(TlsError::RevocationList(_))));
    let mut damaged = good.revocation_list.to_vec();
    *damaged.last_mut().expect("bytes") ^= 1;
    let damaged = TrustedAuthority { revocation_list: damaged.into(), ..good };
    assert!(matches!(listener(&[damaged]), Err(TlsError::RevocationList(_))));
}

#[test]
fn first_contact_accepts_only_the_pinned_root_and_the_dialled_name() {
    let (pki, other) = (pki(), pki());
    let server = open_listener(&pki.server("collector.test"), pki.clock()).expect("a listener");
    let enrol = |pki: &TestPki| enrolment_client(pki.pin(), pki.clock()).expect("a client");
    assert!(handshake(&enrol(&pki), &server, "collector.test").is_ok());
    assert_eq!(
        refused(&enrol(&other), &server, "collector.test"),
        "client: InvalidCertificate(UnknownIssuer)"
    );
    let error = refused(&enrol(&pki), &server, "other.test");
    assert!(error.starts_with("client: InvalidCertificate(NotValidForName"), "{error}");

    // The right root beside a chain that it did not sign.
    let mut forged = other.server("collector.test");
    forged.chain.push(pki.root().clone());
    let forged = open_listener(&forged, other.clock()).expect("a listener");
    assert_eq!(refused(&enrol(&pki), &forged, "collector.test"), "client: InvalidCertificate(UnknownIssuer)");

    // A chain without the root cannot be checked against its hash.
    let mut short = pki.server("collector.test");
    short.chain.truncate(2);
    let short = open_listener(&short, pki.clock()).expect("a listener");
    assert_eq!(refused(&enrol(&pki), &short, "collector.test"), "client: InvalidCertificate(UnknownIssuer)");
}

#[test]
fn later_contacts_check_root_and_name() {
    let (pki, other) = (pki(), pki());
    let (agent, _) = pki.agent(DeviceId::from_bytes([1; 16]));
    let foreign = open_listener(&other.server("collector.test"), other.clock()).expect("a listener");
    assert_eq!(
        refused(&client(&pki, &agent), &foreign, "collector.test"),
        "client: InvalidCertificate(UnknownIssuer)"
    );
    let error = refused(&client(&pki, &agent), &agents(&pki, &[]), "other.test");
    assert!(error.starts_with("client: InvalidCertificate(NotValidForName"), "{error}");
}

#[test]
fn a_key_that_is_not_the_certificates_is_refused_before_anybody_connects() {
    let pki = pki();
    let identity = Identity { key: key(), ..pki.server("collector.test") };
    assert!(matches!(open_listener(&identity, pki.clock()), Err(TlsError::Identity(_))));
}

#[test]
fn whoever_examines_is_as_strict_and_learns_what_was_presented() {
    let (pki, other) = (pki(), pki());
    let (agent, _) = pki.agent(DeviceId::from_bytes([7; 16]));
    let day = 24 * 3_600_000;
    let late = clock_at(Timestamp(NOW.ms() + day));
    let early = clock_at(Timestamp(NOW.ms() - day));
    let servers = [
        ("its own", agents(&pki, &[]), "collector.test", pki.clock(), false),
        ("another's", agents(&other, &[]), "collector.test", pki.clock(), false),
        ("another name", agents(&pki, &[]), "elsewhere.test", pki.clock(), false),
        ("a late clock", agents(&pki, &[]), "collector.test", late.clone(), true),
        ("an early clock", agents(&pki, &[]), "collector.test", early, true),
        ("another's, and a late clock", agents(&other, &[]), "collector.test", late, false),
    ];
    for (what, server, name, clock, only_the_time) in servers {
        let strict = mutual_client(&agent, pki.root(), clock.clone()).expect("a client");
        for identity in [Some(&agent as &dyn ClientIdentity), None] {
            let presented = Presented::default();
            let client = examining_client(identity, pki.root(), clock.clone(), &presented).expect("a client");
            let (mine, theirs) = (handshake(&client, &server, name), handshake(&strict, &server, name));
            let of_client =
                |end: &Result<Both, String>| end.as_ref().err().filter(|e| e.starts_with("client")).cloned();
            assert_eq!(of_client(&mine), of_client(&theirs), "{what}");
            assert_eq!(presented.only_the_time_is_wrong(), only_the_time, "{what}");
            let words = CertificateWords::read(presented.chain().first().expect(what)).expect(what);
            assert!(words.issuer.contains("ervers"), "{what}: {words:?}");
            assert!(words.not_before <= NOW && NOW < words.not_after, "{what}: {words:?}");
        }
    }
    for (pin, accepted) in [(pki.pin(), true), (other.pin(), false)] {
        let server = open_listener(&pki.server("collector.test"), pki.clock()).expect("a listener");
        let presented = Presented::default();
        let client = examining_enrolment_client(pin, pki.clock(), &presented).expect("a client");
        assert_eq!(handshake(&client, &server, "collector.test").is_ok(), accepted);
        assert_eq!(presented.chain().len(), 3);
        assert!(!presented.only_the_time_is_wrong());
    }
}
