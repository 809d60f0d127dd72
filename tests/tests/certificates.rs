//! Certificates, tokens and connections, with OpenSSL as the other side: what we issue it must accept, what we
//! refuse it must not get through.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test stops at what it cannot do"
)]

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use certs::test_pki::{TestPki, serial};
use certs::{
    AGENT_LIFETIME, Identity, Issuer as _, Order, Population, Role, Serial, Subject, TlsKey,
    enrolment_client, mutual_client, mutual_listener, open_listener, pem,
};
use collector::http2::{self, Clients};
use collector::listen::{Audience, Counters, Incoming, Limits, PeerInfo, listen};
use evidence::enrolment::{TlsPublicKey, Transcript};
use evidence::ids::{DeviceId, Digest, PersonId};
use evidence::keys::SecretKey;
use evidence::time::Timestamp;
use proto::{EnrolBegin, EnrolNonce, EnrolReply, EnrolRequest, enrol_reply, enrol_request};
use rpc::connect::{ConnectError, connect};
use rpc::v1::enrolment_client::EnrolmentClient;
use rpc::v1::enrolment_server::{Enrolment, EnrolmentServer};
use rustls::ServerConfig;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio_stream::StreamExt as _;
use tonic::{Request, Response, Status, Streaming};

const PATIENCE: Duration = Duration::from_secs(30);

/// OpenSSL looks at the real clock, so the certificates it sees are made now.
fn pki() -> TestPki {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
    TestPki::new("evidence.example.com", Timestamp(u64::try_from(now).expect("before 584 million")))
}

fn openssl(folder: &Path, arguments: &[&str]) -> Output {
    Command::new("openssl")
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .expect("openssl is installed (Debian package openssl)")
}

fn succeeds(folder: &Path, arguments: &[&str]) -> String {
    let output = openssl(folder, arguments);
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "openssl {arguments:?}: {text}");
    text
}

fn fails(folder: &Path, arguments: &[&str]) -> String {
    let output = openssl(folder, arguments);
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(!output.status.success(), "openssl {arguments:?} was happy: {text}");
    text
}

/// The files OpenSSL reads.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new(pki: &TestPki) -> Self {
        let folder = Self(tempfile::tempdir().expect("a temporary folder"));
        folder.certificates("root.pem", [pki.root().as_ref()]);
        for population in Population::ALL {
            let certificate = pki.authority(population).certificate();
            folder.certificates(&format!("{population}.pem"), [certificate.as_ref()]);
        }
        folder
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        fs::write(&path, text).expect("a file is written");
        path
    }

    fn certificates<'a>(&self, name: &str, ders: impl IntoIterator<Item = &'a [u8]>) {
        let text: String = ders.into_iter().map(|der| pem::encode(pem::CERTIFICATE, der)).collect();
        self.write(name, &text);
    }

    fn identity(&self, name: &str, identity: &Identity) {
        self.certificates(&format!("{name}.pem"), identity.chain.iter().take(1).map(AsRef::as_ref));
        self.write(&format!("{name}.key"), &identity.key.to_pem());
    }
}

#[test]
fn openssl_accepts_what_we_issue_for_its_purpose_only() {
    let pki = pki();
    let folder = Folder::new(&pki);
    folder.identity("agent", &pki.agent(DeviceId::from_bytes([1; 16])).0);
    folder.identity("person", &pki.person(Role::Auditor, PersonId::from_bytes([1; 16])).0);
    folder.identity("server", &pki.server("collector.example.com"));
    let cases = [
        ("agent", "agents", "sslclient"),
        ("person", "people", "sslclient"),
        ("server", "servers", "sslserver"),
    ];
    for (name, authority, purpose) in cases {
        let (leaf, authority) = (format!("{name}.pem"), format!("{authority}.pem"));
        let base = ["verify", "-x509_strict", "-CAfile", "root.pem", "-untrusted", authority.as_str()];
        succeeds(folder.path(), &[&base[..], &["-purpose", purpose, &leaf]].concat());
        let other = if purpose == "sslclient" { "sslserver" } else { "sslclient" };
        let said = fails(folder.path(), &[&base[..], &["-purpose", other, &leaf]].concat());
        assert!(said.contains("unsuitable certificate purpose") || said.contains("unsupported"), "{said}");
        // Without its authority, and under another one, it is nobody's.
        fails(folder.path(), &["verify", "-CAfile", "root.pem", &leaf]);
        let wrong = if name == "agent" { "people.pem" } else { "agents.pem" };
        fails(folder.path(), &["verify", "-CAfile", "root.pem", "-untrusted", wrong, &leaf]);
    }
    let host = ["verify", "-CAfile", "root.pem", "-untrusted", "servers.pem", "-verify_hostname"];
    succeeds(folder.path(), &[&host[..], &["collector.example.com", "server.pem"]].concat());
    fails(folder.path(), &[&host[..], &["other.example.com", "server.pem"]].concat());
}

#[test]
fn openssl_refuses_what_is_revoked() {
    let pki = pki();
    let folder = Folder::new(&pki);
    let (revoked, serial) = pki.agent(DeviceId::from_bytes([1; 16]));
    folder.identity("revoked", &revoked);
    folder.identity("good", &pki.agent(DeviceId::from_bytes([2; 16])).0);
    let list = pki.trusted(Population::Agents, &[serial]).revocation_list;
    folder.write("crl.pem", &pem::encode(pem::REVOCATION_LIST, &list));
    let base = ["verify", "-x509_strict", "-crl_check", "-CAfile", "root.pem", "-untrusted", "agents.pem"];
    succeeds(folder.path(), &[&base[..], &["-CRLfile", "crl.pem", "good.pem"]].concat());
    let said = fails(folder.path(), &[&base[..], &["-CRLfile", "crl.pem", "revoked.pem"]].concat());
    assert!(said.contains("certificate revoked"), "{said}");
    let text = succeeds(folder.path(), &["crl", "-in", "crl.pem", "-noout", "-text", "-nameopt", "RFC2253"]);
    assert!(text.contains(&format!("Serial Number: {}", serial.to_string().to_uppercase())), "{text}");
    assert!(text.contains("X509v3 CRL Number"), "{text}");
}

#[test]
fn no_issuing_authority_can_make_another() {
    // Whoever steals the agents' key can make agents, and nothing that makes certificates.
    let pki = pki();
    let folder = Folder::new(&pki);
    folder.write("agents.key", &pki.authorities.agents.key().to_pem());
    succeeds(
        folder.path(),
        &[
            "req",
            "-new",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-keyout",
            "sub.key",
        ]
        .into_iter()
        .chain(["-subj", "/CN=sub", "-out", "sub.csr"])
        .collect::<Vec<_>>(),
    );
    folder.write("ca.ext", "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n");
    let sign = ["x509", "-req", "-in", "sub.csr", "-CA", "agents.pem", "-CAkey", "agents.key", "-days", "1"];
    succeeds(folder.path(), &[&sign[..], &["-extfile", "ca.ext", "-out", "sub.pem"]].concat());
    succeeds(
        folder.path(),
        &[
            "req",
            "-new",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-keyout",
            "leaf.key",
        ]
        .into_iter()
        .chain(["-subj", "/CN=leaf", "-out", "leaf.csr"])
        .collect::<Vec<_>>(),
    );
    let sign = ["x509", "-req", "-in", "leaf.csr", "-CA", "sub.pem", "-CAkey", "sub.key", "-days", "1"];
    succeeds(folder.path(), &[&sign[..], &["-out", "leaf.pem"]].concat());
    let text = format!(
        "{}{}",
        fs::read_to_string(folder.path().join("agents.pem")).expect("a file"),
        fs::read_to_string(folder.path().join("sub.pem")).expect("a file")
    );
    folder.write("chain.pem", &text);
    let said =
        fails(folder.path(), &["verify", "-CAfile", "root.pem", "-untrusted", "chain.pem", "leaf.pem"]);
    assert!(said.contains("path length constraint exceeded"), "{said}");
}

#[test]
fn of_a_request_only_the_key_survives() {
    let pki = pki();
    let folder = Folder::new(&pki);
    folder.write(
        "greedy.cnf",
        "[req]\nprompt=no\ndistinguished_name=dn\nreq_extensions=ext\n[dn]\nO=Evil\nCN=root\n[ext]\n\
         basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n\
         extendedKeyUsage=serverAuth,codeSigning\n\
         subjectAltName=URI:spiffe://evidence.example.com/admin/p-aaaaaaaaaaaaaaaaaaaaaaaaaa,DNS:evil.example.com\n\
         nsComment=greedy\n",
    );
    let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "greedy.key"];
    let request = ["req", "-new", "-config", "greedy.cnf", "-out", "greedy.csr"];
    succeeds(folder.path(), &[&request[..], &curve].concat());
    let asked = succeeds(folder.path(), &["req", "-in", "greedy.csr", "-noout", "-text"]);
    assert!(asked.contains("CA:TRUE") && asked.contains("evil.example.com"), "{asked}");
    let spki = ["-pubkey", "-noout", "-in", "greedy.csr", "-out", "greedy.pub"];
    succeeds(folder.path(), &[&["req"][..], &spki].concat());
    succeeds(
        folder.path(),
        &["pkey", "-pubin", "-in", "greedy.pub", "-outform", "DER", "-out", "greedy.spki"],
    );
    let spki = fs::read(folder.path().join("greedy.spki")).expect("a file");
    let key = TlsPublicKey::from_spki_der(&spki).expect("a P-256 key");

    let device = DeviceId::from_bytes([5; 16]);
    let serial = serial();
    let subject = Subject::Agent(device);
    let order = Order { subject: &subject, public_key: &key, serial, now: pki.now, lifetime: AGENT_LIFETIME };
    let issued = pki.authorities.agents.issue(&order).expect("issued");
    folder.certificates("issued.pem", [issued.certificate.as_ref()]);
    let text = succeeds(folder.path(), &["x509", "-in", "issued.pem", "-noout", "-text"]);
    for line in [
        format!("URI:spiffe://evidence.example.com/agent/{device}"),
        "CA:FALSE".to_owned(),
        "TLS Web Client Authentication".to_owned(),
        "Digital Signature".to_owned(),
        format!("Subject: CN = {device}"),
    ] {
        assert!(text.contains(&line), "{line} is missing: {text}");
    }
    for asked in
        ["Evil", "evil", "admin", "CA:TRUE", "Server Auth", "Code Signing", "Certificate Sign", "greedy"]
    {
        assert!(!text.contains(asked), "{asked} was asked for and given: {text}");
    }
    succeeds(folder.path(), &["x509", "-in", "issued.pem", "-noout", "-pubkey", "-out", "issued.pub"]);
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).expect("a file");
    assert_eq!(read("issued.pub"), read("greedy.pub"));
    // 30 days from now and 5 minutes back: OpenSSL's own clock says so.
    succeeds(folder.path(), &["x509", "-in", "issued.pem", "-noout", "-checkend", "2591900"]);
    fails(folder.path(), &["x509", "-in", "issued.pem", "-noout", "-checkend", "2592100"]);
}

#[test]
fn other_keys_than_p256_are_not_certified() {
    let folder = Folder::new(&pki());
    let point = "ec_conversion_form:compressed";
    let kinds: [&[&str]; 5] = [
        &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"],
        &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:secp256k1"],
        &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-pkeyopt", "ec_param_enc:explicit"],
        &["-algorithm", "ED25519"],
        &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
    ];
    for kind in kinds {
        succeeds(folder.path(), &[&["genpkey"][..], kind, &["-out", "other.key"]].concat());
        succeeds(
            folder.path(),
            &["pkey", "-in", "other.key", "-pubout", "-outform", "DER", "-out", "other.spki"],
        );
        let spki = fs::read(folder.path().join("other.spki")).expect("a file");
        assert!(TlsPublicKey::from_spki_der(&spki).is_err(), "{kind:?} was accepted");
        let text = fs::read_to_string(folder.path().join("other.key")).expect("a file");
        assert!(TlsKey::from_pem(&text).is_err(), "{kind:?} was accepted as a secret key");
    }
    // The right key in its other spelling would have another hash, and be "new" a second time.
    let key = TlsKey::generate().expect("a key");
    folder.write("good.key", &key.to_pem());
    let convert = ["ec", "-in", "good.key", "-pubout", "-outform", "DER", "-conv_form"];
    for (form, accepted) in [("uncompressed", true), ("compressed", false), ("hybrid", false)] {
        succeeds(folder.path(), &[&convert[..], &[form, "-out", "good.spki"]].concat());
        let spki = fs::read(folder.path().join("good.spki")).expect("a file");
        assert_eq!(TlsPublicKey::from_spki_der(&spki).is_ok(), accepted, "{form} ({point})");
    }
}

/// DER of an ECDSA signature given as r ‖ s.
fn der_of(signature: &[u8; 64]) -> Vec<u8> {
    let mut body = Vec::new();
    for number in [&signature[..32], &signature[32..]] {
        let start = number.iter().position(|b| *b != 0).expect("not zero");
        let mut digits = number[start..].to_vec();
        if digits[0] >= 0x80 {
            digits.insert(0, 0);
        }
        body.extend([2, u8::try_from(digits.len()).expect("short")]);
        body.extend(digits);
    }
    [vec![0x30, u8::try_from(body.len()).expect("short")], body].concat()
}

#[test]
fn openssl_reads_our_keys_and_checks_our_signatures_and_we_its() {
    let folder = Folder::new(&pki());
    succeeds(
        folder.path(),
        &["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", "its.key"],
    );
    let its = TlsKey::from_pem(&fs::read_to_string(folder.path().join("its.key")).expect("a file"));
    for (name, key) in
        [("its", its.expect("OpenSSL's key is read")), ("our", TlsKey::generate().expect("a key"))]
    {
        folder.write("key.pem", &key.to_pem());
        succeeds(folder.path(), &["pkey", "-in", "key.pem", "-check", "-noout"]);
        succeeds(folder.path(), &["pkey", "-in", "key.pem", "-pubout", "-out", "key.pub"]);
        folder.write("message", "what both keys sign");
        let signature = key.sign(b"what both keys sign").expect("a signature");
        fs::write(folder.path().join("signature"), der_of(&signature)).expect("a file is written");
        let verify = ["dgst", "-sha256", "-verify", "key.pub", "-signature", "signature", "message"];
        succeeds(folder.path(), &verify);
        folder.write("message", "what both keys sigN");
        fails(folder.path(), &verify);
        assert!(key.public().verify(b"what both keys sign", &signature).is_ok(), "{name}");
    }
}

/// A listener on loopback without anything above it.
async fn raw_listener(config: Arc<ServerConfig>, audience: Audience) -> (SocketAddr, Incoming) {
    let tcp = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = tcp.local_addr().expect("an address");
    let (sender, receiver) = watch::channel(config);
    let incoming =
        listen(tcp, receiver, audience, Limits::for_open_files(1000), Arc::new(Counters::default()));
    // The listener keeps the last configuration when nobody can send a new one.
    drop(sender);
    (address, incoming)
}

fn agents(pki: &TestPki, revoked: &[Serial]) -> (Arc<ServerConfig>, Audience) {
    let trusted = [pki.trusted(Population::Agents, revoked)];
    let config = mutual_listener(&pki.server("127.0.0.1"), &trusted, pki.clock()).expect("a listener");
    (config, Audience::Holders { trust_domain: pki.trust_domain.clone(), population: Population::Agents })
}

async fn s_client(folder: &Path, address: SocketAddr, more: &[&str]) -> (bool, String) {
    let mut arguments =
        ["s_client", "-CAfile", "root.pem", "-verify_return_error", "-connect"].map(str::to_owned).to_vec();
    arguments.push(address.to_string());
    arguments.extend(more.iter().map(|&argument| argument.to_owned()));
    let folder = folder.to_owned();
    let run = tokio::task::spawn_blocking(move || {
        openssl(&folder, &arguments.iter().map(String::as_str).collect::<Vec<_>>())
    });
    let output = tokio::time::timeout(PATIENCE, run).await.expect("s_client ends").expect("s_client runs");
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.success(), text)
}

#[tokio::test]
async fn openssl_connects_with_tls_13_only_and_sees_our_exporter() {
    let pki = pki();
    let folder = Folder::new(&pki);
    let device = DeviceId::from_bytes([1; 16]);
    folder.identity("agent", &pki.agent(device).0);
    let (config, audience) = agents(&pki, &[]);
    let (address, mut incoming) = raw_listener(config, audience).await;
    let known = ["-cert", "agent.pem", "-key", "agent.key", "-alpn", "h2"];

    for old in ["-tls1_2", "-tls1_1", "-tls1"] {
        let (connected, said) = s_client(folder.path(), address, &[&known[..], &[old]].concat()).await;
        assert!(!connected, "{old} connected: {said}");
        assert!(!said.contains("Verification: OK\n---\nNew, TLSv1"), "{said}");
    }

    let export = ["-keymatexport", "EXPORTER-Channel-Binding", "-keymatexportlen", "32"];
    let arguments = [&known[..], &["-tls1_3"], &export].concat();
    let client = s_client(folder.path(), address, &arguments);
    let (accepted, (connected, said)) = tokio::join!(tokio::time::timeout(PATIENCE, incoming.next()), client);
    assert!(connected, "{said}");
    assert!(said.contains("ALPN protocol: h2"), "{said}");
    // A session ticket would let a revoked device resume.
    assert!(
        !said.contains("New Session Ticket arrived") && !said.contains("Post-Handshake New Session"),
        "{said}"
    );
    let connection = accepted.expect("in time").expect("open").expect("a connection");
    let info = connection.info();
    assert_eq!(info.peer(), Some(certs::Peer::Agent(device)));
    let material = said.lines().find_map(|line| line.trim().strip_prefix("Keying material: "));
    let material = material.unwrap_or_else(|| panic!("no keying material: {said}"));
    assert_eq!(material.to_lowercase(), Digest(info.exporter).hex());
}

/// What `s_client -msg` prints when a record of application data arrives: its inner content type is 23.
const APPLICATION_DATA: &str = "<<< TLS 1.3, InnerContent [length 0001]\n    17";
/// The same for an alert, type 21.
const ALERT: &str = "<<< TLS 1.3, InnerContent [length 0001]\n    15";

#[tokio::test]
async fn openssl_without_the_right_certificate_gets_no_application_data() {
    let pki = pki();
    let folder = Folder::new(&pki);
    let (revoked, serial) = pki.agent(DeviceId::from_bytes([1; 16]));
    folder.identity("revoked", &revoked);
    folder.identity("good", &pki.agent(DeviceId::from_bytes([2; 16])).0);
    folder.identity("person", &pki.person(Role::Admin, PersonId::from_bytes([1; 16])).0);
    folder.identity("server", &pki.server("127.0.0.1"));
    folder.identity("stranger", &self::pki().agent(DeviceId::from_bytes([1; 16])).0);
    let (config, audience) = agents(&pki, &[serial]);
    let (address, mut incoming) = raw_listener(config, audience).await;
    // With -ign_eof it stays until the server closes, so that it hears everything the server says.
    let base = ["-tls1_3", "-msg", "-ign_eof", "-alpn", "h2"];
    for name in [None, Some("revoked"), Some("person"), Some("server"), Some("stranger")] {
        let (certificate, key) =
            (format!("{}.pem", name.unwrap_or("")), format!("{}.key", name.unwrap_or("")));
        let identity = ["-cert", certificate.as_str(), "-key", key.as_str()];
        let identity = if name.is_some() { &identity[..] } else { &[] };
        let (connected, said) = s_client(folder.path(), address, &[&base[..], identity].concat()).await;
        assert!(!connected && said.contains(ALERT), "{name:?}: {said}");
        assert!(!said.contains(APPLICATION_DATA), "{name:?}: {said}");
    }
    let nobody = tokio::time::timeout(Duration::from_millis(100), incoming.next()).await;
    assert!(nobody.is_err(), "somebody came through");

    // The same client with the right certificate does get data: the words looked for above are the right ones.
    let arguments = [&base[..], &["-cert", "good.pem", "-key", "good.key"]].concat();
    let serve = async {
        let mut connection = incoming.next().await.expect("open").expect("a connection");
        connection.write_all(b"hello agent").await.expect("writes");
        connection.shutdown().await.expect("closes");
    };
    let client = s_client(folder.path(), address, &arguments);
    let (served, (_, said)) = tokio::join!(tokio::time::timeout(PATIENCE, serve), client);
    served.expect("in time");
    assert!(said.contains(APPLICATION_DATA) && said.contains("hello agent"), "{said}");
}

/// Answers a begin with the exporter the server sees, as a real enrolment answers with a nonce.
struct TellsExporter;

#[tonic::async_trait]
impl Enrolment for TellsExporter {
    type EnrolStream = tokio_stream::Once<Result<EnrolReply, Status>>;
    type RecoverStream = tokio_stream::Empty<Result<proto::RenewReply, Status>>;

    async fn recover(
        &self,
        _request: Request<Streaming<proto::RenewRequest>>,
    ) -> Result<Response<Self::RecoverStream>, Status> {
        Err(Status::unimplemented("it only tells its exporter"))
    }

    async fn enrol(
        &self,
        request: Request<Streaming<EnrolRequest>>,
    ) -> Result<Response<Self::EnrolStream>, Status> {
        let info = request.extensions().get::<PeerInfo>().ok_or_else(|| Status::internal("no peer info"))?;
        let trust_domain = info.peer().map_or_else(|| "nobody".to_owned(), |peer| peer.to_string());
        let nonce = EnrolNonce { nonce: info.exporter.to_vec(), trust_domain };
        let reply = EnrolReply { step: Some(enrol_reply::Step::Nonce(nonce)) };
        Ok(Response::new(tokio_stream::once(Ok(reply))))
    }
}

struct GrpcServer {
    address: rpc::connect::Address,
    stop: oneshot::Sender<()>,
    stopped: tokio::task::JoinHandle<Result<(), tonic::transport::Error>>,
}

async fn grpc(config: Arc<ServerConfig>, audience: Audience, clients: Clients) -> GrpcServer {
    let (address, incoming) = raw_listener(config, audience).await;
    let (stop, stopping) = oneshot::channel();
    let stopped = tokio::spawn(async move {
        let service = EnrolmentServer::new(TellsExporter);
        let signal = async { drop(stopping.await) };
        http2::server(clients).add_service(service).serve_with_incoming_shutdown(incoming, signal).await
    });
    GrpcServer { address: address.to_string().parse().expect("an address"), stop, stopped }
}

async fn begin(channel: tonic::transport::Channel) -> Result<EnrolNonce, Status> {
    let begin = EnrolBegin { enrolment_id: vec![1; 16], anchor_size: 0 };
    let request = EnrolRequest { step: Some(enrol_request::Step::Begin(begin)) };
    let call = EnrolmentClient::new(channel).enrol(tokio_stream::once(request)).await?;
    match call.into_inner().message().await?.and_then(|reply| reply.step) {
        Some(enrol_reply::Step::Nonce(nonce)) => Ok(nonce),
        other => panic!("expected a nonce, got {other:?}"),
    }
}

#[tokio::test]
async fn a_device_enrols_over_a_connection_both_ends_can_name() {
    let pki = pki();
    let config = open_listener(&pki.server("127.0.0.1"), pki.clock()).expect("a listener");
    let server = grpc(config, Audience::Anybody, Clients::Strangers).await;
    let token = pki.token();
    let tls = enrolment_client(token.pin, pki.clock()).expect("a client");
    let connection = connect(&server.address, tls.clone()).await.expect("connects");
    assert_eq!(connection.server_chain.last(), Some(pki.root()), "the chain ends with the pinned root");
    let nonce = begin(connection.channel).await.expect("answers");
    assert_eq!(nonce.trust_domain, "nobody");
    assert_eq!(nonce.nonce, connection.exporter);

    // A transcript that is relayed over another connection names this one, and its receiver sees it.
    let other = connect(&server.address, tls).await.expect("connects");
    assert_ne!(other.exporter, connection.exporter);
    let (attestation, key) =
        (SecretKey::from_seed(&[7; 32]).expect("a key"), TlsKey::generate().expect("a key"));
    let transcript = Transcript {
        trust_domain: pki.trust_domain.clone(),
        enrolment_id: [1; 16],
        nonce: [2; 32],
        exporter: connection.exporter,
        token_hash: token.secret.hash(),
        tls_key: key.public().clone(),
        attestation_key: *attestation.public(),
        facts_commitment: Digest::of(b"facts"),
    };
    let bytes = transcript.encode();
    let signatures = (attestation.sign(&bytes), key.sign(&bytes).expect("a signature"));
    let seen = Transcript::verify(&bytes, &signatures.0, &signatures.1).expect("both signatures hold");
    assert_eq!(seen.exporter, connection.exporter);
    assert_ne!(seen.exporter, other.exporter);
}

#[tokio::test]
async fn a_token_of_another_installation_meets_no_collector() {
    let pki = pki();
    let config = open_listener(&pki.server("127.0.0.1"), pki.clock()).expect("a listener");
    let server = grpc(config, Audience::Anybody, Clients::Strangers).await;
    let tls = enrolment_client(self::pki().token().pin, pki.clock()).expect("a client");
    let error = connect(&server.address, tls).await.expect_err("refused");
    assert!(matches!(error, ConnectError::Tls { .. }), "{error:?}");
}

#[tokio::test]
async fn handlers_know_the_agent_and_a_lost_connection_stays_lost() {
    let pki = pki();
    let device = DeviceId::from_bytes([1; 16]);
    let (agent, serial) = pki.agent(device);
    let (config, audience) = agents(&pki, &[]);
    let server = grpc(config, audience, Clients::Agents).await;
    let tls = mutual_client(&agent, pki.root(), pki.clock()).expect("a client");
    let connection = connect(&server.address, tls.clone()).await.expect("connects");
    let nonce = begin(connection.channel.clone()).await.expect("answers");
    assert_eq!(nonce.trust_domain, format!("agent {device}"));
    assert_eq!(nonce.nonce, connection.exporter);

    server.stop.send(()).expect("it still runs");
    let stopped = tokio::time::timeout(PATIENCE, server.stopped).await.expect("stops in time");
    stopped.expect("no panic").expect("stops well");
    let (config, audience) = agents(&pki, &[serial]);
    let again = grpc(config, audience, Clients::Agents).await;
    assert!(begin(connection.channel).await.is_err(), "no channel connects again by itself");
    // TLS 1.3 tells a refused client at its first call.
    match connect(&again.address, tls).await {
        Ok(connection) => assert!(begin(connection.channel).await.is_err(), "a revoked agent was answered"),
        Err(error) => {
            assert!(matches!(error, ConnectError::Http2 { .. } | ConnectError::Tls { .. }), "{error:?}");
        }
    }
}

#[tokio::test]
async fn errors_of_connecting_say_where_and_why() {
    let pki = pki();
    let tls = enrolment_client(pki.pin(), pki.clock()).expect("a client");
    let closed = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address");
    let address = closed.to_string().parse().expect("an address");
    let error = connect(&address, tls).await.expect_err("nobody listens");
    assert!(matches!(error, ConnectError::Tcp { .. }), "{error:?}");
    assert!(error.to_string().contains(&closed.to_string()));
}
