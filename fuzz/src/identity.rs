//! The parsers that enrolment, identity and transport rest on: what peers, proxies and files of people say.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::OnceLock;

use agent::anchor::{Anchor, PinnedLog};
use agent::config::Config;
use agent::disk::Disk;
use agent::enrol_file::EnrolFile;
use agent::identity::{Identity, StoredIdentity, base64_of};
use agent::session::{Next, Session};
use agent::spool::{Limits, Owner, Spool};
use certs::test_pki::{TestPki, clock_at};
use certs::{
    CertificateWords, Issuer as _, PeerCertificate, PersonKey, PersonPublicKey, Pin, Population, Profile,
    Role, Token, TrustedAuthority,
};
use evidence::enrolment::{TlsPublicKey, Transcript};
use evidence::envelope::Envelope;
use evidence::ids::{DeviceId, Digest, InstanceId, PersonId};
use evidence::keys::SecretKey;
use evidence::merkle::empty_root;
use evidence::note::{Checkpoint, VerifierKey};
use evidence::statement::{Body, Gap, SCHEMA_MAX, Statement};
use evidence::tiles::Tile;
use evidence::time::Timestamp;
use prost::Message;
use proto::to_agent::Item;
use rpc::connect::Address;
use rpc::proxy::{Proxies, read_answer};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};

use super::Entry;

/// All of this file.
pub const ENTRIES: [Entry; 14] = [
    ("agent_session", agent_session),
    ("certificate", certificate),
    ("enrol_reply", enrol_reply),
    ("person_key", person_key),
    ("profile", profile),
    ("proxy", proxy),
    ("proxy_answer", proxy_answer),
    ("revocation", revocation),
    ("settings", settings),
    ("spki", spki),
    ("tile_path", tile_path),
    ("token", token),
    ("transcript", transcript),
    ("wire", wire),
];

/// When everything here happens.
const NOW: Timestamp = Timestamp(1_780_000_000_000);
const TRUST_DOMAIN: &str = "fuzz.example";
const ORIGIN: &str = "fuzz.example/log/1";
const INSTANCE: [u8; 16] = [1; 16];
/// Statements that wait in the agent whose session is fuzzed.
const WAITING: u64 = 3;

/// One throw-away installation: its names are always the same, its keys are not.
fn pki() -> &'static TestPki {
    static PKI: OnceLock<TestPki> = OnceLock::new();
    PKI.get_or_init(|| TestPki::new(TRUST_DOMAIN, NOW))
}

/// Certificates as a handshake leaves them to the collector, and in the words of `doctor`. True if it names a peer.
pub fn certificate(data: &[u8]) -> bool {
    let der = CertificateDer::from(data);
    let named = [Population::Agents, Population::People, Population::Servers].map(|population| {
        let read = PeerCertificate::read(&der, &pki().trust_domain, population);
        assert!(read.as_ref().is_ok_and(|read| read.peer.population() == population) || read.is_err());
        read.ok()
    });
    let named: Vec<_> = named.into_iter().flatten().collect();
    assert!(named.len() <= 1, "a certificate is of one population");
    assert!(named.iter().all(|read| read.fingerprint == Digest::of(data)));
    let (words, pin) = (CertificateWords::read(&der), Pin::of(&der));
    assert!(named.is_empty() || (words.is_some() && pin.is_some()), "what names a peer can be told in words");
    !named.is_empty()
}

/// Revocation lists, as a listener is built with them.
pub fn revocation(data: &[u8]) -> bool {
    static SERVER: OnceLock<certs::Identity> = OnceLock::new();
    let server = SERVER.get_or_init(|| pki().server("fuzz.example"));
    let agents = pki().authority(Population::Agents).certificate().clone();
    let list = CertificateRevocationListDer::from(data.to_vec());
    let authority = TrustedAuthority { certificate: agents, revocation_list: list };
    let taken = certs::mutual_listener(server, &[authority], clock_at(NOW)).is_ok();
    // Lists are kept as PEM too.
    if let Ok(list) =
        std::str::from_utf8(data).map_or(Err(()), |text| certs::pem::revocation_list(text).map_err(drop))
    {
        revocation(&list);
    }
    taken
}

/// DER of public keys, and bare points.
pub fn spki(data: &[u8]) -> bool {
    let parsed = TlsPublicKey::from_spki_der(data);
    assert!(parsed.as_ref().map_or(true, |key| key.spki_der() == data));
    if let Ok(key) = TlsPublicKey::from_point(data) {
        assert_eq!(TlsPublicKey::from_spki_der(key.spki_der()), Ok(key));
    }
    parsed.is_ok()
}

/// Enrolment transcripts. No made-up signature holds over one.
pub fn transcript(data: &[u8]) -> bool {
    let Ok(transcript) = Transcript::parse(data) else { return false };
    assert_eq!(transcript.encode(), data);
    assert!(Transcript::verify(data, &[0; 64], &[7; 64]).is_err());
    true
}

/// Token texts.
pub fn token(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let Ok(token) = text.parse::<Token>() else { return false };
    assert_eq!(token.text().as_str(), text.trim());
    true
}

/// Paths of the public tree.
pub fn tile_path(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let Ok(tile) = Tile::parse(text) else { return false };
    assert_eq!(tile.path(), text);
    assert!(!text.contains("..") && !text.starts_with('/'), "no path leaves its folder");
    true
}

/// What a proxy answers to CONNECT, as it comes: byte by byte it is never decided otherwise than whole. True if the tunnel is open.
pub fn proxy_answer(data: &[u8]) -> bool {
    let whole = read_answer(data).map(|read| read.map_err(|error| error.to_string()));
    if let Some(Err(words)) = &whole {
        assert!(!words.contains(char::is_control) && words.chars().count() < 300, "{words:?}");
    }
    let early = (0..data.len()).find_map(|end| read_answer(data.get(..end)?));
    // Bytes after a yes are no yes; nothing else changes by what follows.
    assert!(early.is_none_or(|early| early.is_ok() || !matches!(whole, Some(Ok(())))));
    matches!(whole, Some(Ok(())))
}

/// Addresses of proxies, and what is reached without them: two lines.
pub fn proxy(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let (url, except) = text.split_once('\n').unwrap_or((text, ""));
    if let Ok(address) = text.parse::<Address>() {
        assert_eq!(address.to_string().parse::<Address>().ok().as_ref(), Some(&address));
    }
    let Ok(proxies) = Proxies::new(url, except) else { return false };
    for server in ["collector.example.com:443", "10.1.2.3:443", "[2001:db8::1]:443"] {
        let Ok(server) = server.parse::<Address>() else { continue };
        drop(proxies.for_server(&server).map(ToString::to_string));
    }
    proxies.proxy().is_some()
}

/// Settings of an agent, and where it enrols.
pub fn settings(data: &[u8]) -> bool {
    let config = std::str::from_utf8(data).is_ok_and(|text| Config::parse(text, "agent.toml").is_ok());
    EnrolFile::parse(data, Path::new("/etc/enrol.toml")).is_ok() || config
}

/// Profiles of people.
pub fn profile(data: &[u8]) -> bool {
    let Ok(profile) = Profile::parse(data) else { return false };
    assert_eq!(profile.encode(), data.strip_suffix(b"\n").unwrap_or(data));
    true
}

/// Key files of people, secret and public ones.
pub fn person_key(data: &[u8]) -> bool {
    let line = data.strip_suffix(b"\n").unwrap_or(data);
    if let Ok(public) = PersonPublicKey::parse(data) {
        assert_eq!(public.encode(), line);
        return true;
    }
    PersonKey::parse(data).is_ok()
}

/// Messages of every stream: what decodes is the same after it was encoded again, and no longer.
pub fn wire(data: &[u8]) -> bool {
    fn one<M: Message + Default + PartialEq>(data: &[u8]) -> bool {
        let Ok(message) = M::decode(data) else { return false };
        let again = message.encode_to_vec();
        assert!(M::decode(again.as_slice()).is_ok_and(|twice| twice == message));
        true
    }
    let taken = [
        one::<proto::EnrolRequest>(data),
        one::<proto::EnrolReply>(data),
        one::<proto::FromAgent>(data),
        one::<proto::ToAgent>(data),
        one::<proto::PutActRequest>(data),
        one::<proto::PayloadsRequest>(data),
        one::<proto::PayloadsPart>(data),
        one::<proto::SetPart>(data),
        one::<proto::PostureReply>(data),
        one::<proto::CreateUserRequest>(data),
    ];
    taken.contains(&true)
}

fn log() -> Option<(SecretKey, PinnedLog)> {
    let secret = SecretKey::from_seed(&[8; 32]).ok()?;
    let key = VerifierKey::new(ORIGIN, *secret.public()).ok()?;
    Some((secret, PinnedLog { origin: ORIGIN.into(), keys: vec![key] }))
}

/// A collector's answer to an enrolment, as far as it becomes an identity.
pub fn enrol_reply(data: &[u8]) -> bool {
    let Ok(reply) = proto::EnrolReply::decode(data) else { return false };
    let Some(proto::enrol_reply::Step::Enrolled(enrolled)) = reply.step else { return false };
    let Ok(instance) = InstanceId::from_slice(&enrolled.instance) else { return false };
    let Some(attestation) = SecretKey::from_seed(&[9; 32]).ok() else { return false };
    let stored = StoredIdentity {
        device: enrolled.device,
        instance: instance.to_string(),
        trust_domain: TRUST_DOMAIN.into(),
        origin: enrolled.origin,
        log_vkeys: enrolled.log_vkeys,
        witness_policy: enrolled.witness_policy,
        enrol_address: "127.0.0.1:1".into(),
        agents_address: "127.0.0.1:2".into(),
        enrolment_index: enrolled.enrolment_index,
        attestation_key: attestation.public().hex(),
        certificate: base64_of(&enrolled.certificate),
        chain: enrolled.chain.iter().map(|der| base64_of(der)).collect(),
        checkpoint: enrolled.checkpoint,
    };
    let Ok(identity) = Identity::parse(stored) else { return false };
    let _read = (identity.root().and_then(Pin::of), identity.certificate_ends());
    Anchor::from_note(identity.log.clone(), &identity.stored.checkpoint).is_ok()
}

/// A folder in memory, for the spool.
#[derive(Debug, Default)]
struct Memory(BTreeMap<String, Vec<u8>>);

impl Memory {
    fn file(&self, name: &str) -> io::Result<&Vec<u8>> {
        self.0.get(name).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Disk for Memory {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.0.keys().cloned().collect())
    }

    fn size(&self, name: &str) -> io::Result<u64> {
        self.file(name).map(|bytes| bytes.len() as u64)
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        self.file(name).cloned()
    }

    fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let file = self.0.get_mut(name).ok_or(io::ErrorKind::NotFound)?;
        file.extend_from_slice(bytes);
        Ok(())
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        self.file(name).map(drop)
    }

    fn replace(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.0.insert(name.to_owned(), bytes.to_vec());
        Ok(())
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.0.remove(name);
        Ok(())
    }
}

/// A spool with statements that wait.
fn spool() -> Option<Spool<Memory>> {
    let key = SecretKey::from_seed(&[9; 32]).ok()?;
    let owner = Owner { instance: InstanceId::from_bytes(INSTANCE), key: *key.public() };
    let mut spool = Spool::create(Memory::default(), owner, Limits::default()).ok()?;
    for minute in 0..WAITING {
        let place = spool.place().ok()?;
        let (first_minute, reason) = (minute, proto::GapReason::SpoolFull);
        let body = Body::Gap(Gap::NotMade { first_minute, last_minute: first_minute, count: 1, reason });
        let statement = Statement {
            instance: owner.instance,
            sequence: place.sequence,
            previous: place.previous,
            anchor: None,
            body,
        };
        spool.put(&Envelope::sign(&statement, &key)).ok()?;
    }
    Some(spool)
}

/// A collector that says anything to an agent with statements that wait: length-delimited messages. True if it may send.
pub fn agent_session(mut data: &[u8]) -> bool {
    let (Some((_, log)), Some(mut spool)) = (log(), spool()) else { return false };
    let (mut anchor, mut session, mut opened) = (Anchor::none(log), Session::default(), false);
    let say = |session: &mut Session, spool: &Spool<Memory>, anchor: &Anchor| {
        // As often as there are statements, and a greeting.
        for _ in 0..=WAITING {
            if !matches!(session.next(spool, &INSTANCE, anchor), Next::Send(_)) {
                break;
            }
        }
    };
    say(&mut session, &spool, &anchor);
    while let Ok(message) = proto::ToAgent::decode_length_delimited(&mut data) {
        let (size, proves) = (anchor.size(), matches!(message.item, Some(Item::Proved(_))));
        let waiting = spool.kept().len();
        let heard = session.receive(message, &mut spool, &mut anchor);
        assert!(anchor.size() >= size, "an anchor never shrinks");
        assert!(proves || spool.kept().len() >= waiting, "only what was proved is given back");
        opened |= session.is_open();
        if heard.is_err() || data.is_empty() {
            break;
        }
        say(&mut session, &spool, &anchor);
    }
    opened
}

/// What each parser of this file takes.
pub fn seeds() -> BTreeMap<&'static str, Vec<Vec<u8>>> {
    let mut found: BTreeMap<&'static str, Vec<Vec<u8>>> = BTreeMap::new();
    let mut put = |name, bytes: &[u8]| found.entry(name).or_default().push(bytes.to_vec());
    let pki = pki();
    let device = DeviceId::from_bytes([3; 16]);
    let (agent, serial) = pki.agent(device);
    let (person, _) = pki.person(Role::Admin, PersonId::from_bytes([4; 16]));
    for identity in [&agent, &person] {
        put("certificate", identity.chain.first().map(AsRef::as_ref).unwrap_or_default());
    }
    put("spki", agent.key.public().spki_der());
    put("token", pki.token().text().as_bytes());
    for revoked in [&[][..], &[serial]] {
        put("revocation", pki.trusted(Population::Agents, revoked).revocation_list.as_ref());
    }
    for path in ["tile/0/000", "tile/1/x001/234.p/7", "tile/entries/x255/x999/999"] {
        put("tile_path", path.as_bytes());
    }
    for answer in ["HTTP/1.1 200 Connection established\r\n\r\n", "HTTP/1.0 200\r\nVia: p\r\n\r\n"] {
        put("proxy_answer", answer.as_bytes());
    }
    for text in
        ["http://u%40:p@proxy.example.com:3128\n10.0.0.0/8, .example.com, *", "[::1]:80\n", "proxy\n::/0"]
    {
        put("proxy", text.as_bytes());
    }
    put("settings", b"server = \"a.example:7443\"\nagents = \"b:1\"\ntoken_file = \"t\"\n");
    put("settings", b"interval_minutes = 60\nspool_mib = 4\nproxy = \"http://p:1\"\nno_proxy = \"a\"\n");
    let (Ok(key), Some((secret, log))) = (PersonKey::new(&[5; 32]), log()) else { return found };
    put("person_key", &key.encode());
    put("person_key", &key.public().encode());
    let mut chain = person.chain.iter().cloned();
    if let (Some(certificate), Some(issuing)) = (chain.next(), chain.next()) {
        let profile = Profile {
            server: "a.example:7445".into(),
            trust_domain: pki.trust_domain.clone(),
            origin: ORIGIN.into(),
            person: PersonId::from_bytes([4; 16]),
            role: evidence::acts::Role::Admin,
            certificate,
            issuing,
            root: pki.root().clone(),
            log_keys: log.keys.clone(),
        };
        put("profile", &profile.encode());
    }
    let transcript = Transcript {
        trust_domain: pki.trust_domain.clone(),
        enrolment_id: [1; 16],
        nonce: [2; 32],
        exporter: [3; 32],
        token_hash: Digest::of(b"token"),
        tls_key: agent.key.public().clone(),
        attestation_key: *secret.public(),
        facts_commitment: Digest::of(b"facts"),
    };
    put("transcript", &transcript.encode());
    let head = Checkpoint { origin: ORIGIN.into(), size: 0, root: empty_root() };
    let Ok(note) = head.sign(&secret).map(|note| note.encode()) else { return found };
    let enrolled = proto::Enrolled {
        device: device.to_string(),
        instance: INSTANCE.to_vec(),
        certificate: agent.chain.first().map(|der| der.to_vec()).unwrap_or_default(),
        chain: vec![pki.root().to_vec()],
        origin: ORIGIN.into(),
        log_vkeys: log.keys.iter().map(VerifierKey::vkey).collect(),
        checkpoint: note.clone(),
        enrolment_index: 7,
        ..proto::Enrolled::default()
    };
    let reply = proto::EnrolReply { step: Some(proto::enrol_reply::Step::Enrolled(enrolled)) };
    put("enrol_reply", &reply.encode_to_vec());
    put("wire", &reply.encode_to_vec());
    let mut said = Vec::new();
    let first = Checkpoint { origin: ORIGIN.into(), size: 1, root: Digest::of(b"root") };
    let first = first.sign(&secret).map(|note| note.encode()).unwrap_or_default();
    let expected = spool().map_or(0, |spool| spool.lowest());
    for item in [
        Item::Welcome(proto::Welcome { schema_max: SCHEMA_MAX, next_sequence: expected }),
        Item::Stored(proto::Stored { sequence: expected, index: 3, received_ms: NOW.0, salt: vec![6; 32] }),
        Item::Checkpoint(proto::Checkpoint {
            note: first,
            consistency: Vec::new(),
            from_size: 0,
            key_changes: Vec::new(),
        }),
        Item::Proved(proto::Proved {
            sequence: expected,
            tlog_proof: "c2sp.org/tlog-proof@v1\nindex 3\n".into(),
        }),
        Item::Expect(proto::Expect { sequence: expected }),
        Item::SlowDown(proto::SlowDown { ms: 9 }),
    ] {
        let message = proto::ToAgent { item: Some(item) };
        put("wire", &message.encode_to_vec());
        said.extend(message.encode_length_delimited_to_vec());
        put("agent_session", &said);
    }
    found
}
