//! Programs that share nothing with ours at the doors of a collector: certificates that OpenSSL made, each wrong in one way,
//! and calls by Python's grpcio, whose TLS and HTTP/2 are others' too.

#![expect(clippy::expect_used, reason = "a test stops at what it cannot do")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use certs::test_pki::TestPki;
use certs::{Issuer as _, Population, mutual_listener, pem};
use collector::listen::{Audience, Counters, Limits, listen};
use evidence::ids::DeviceId;
use evidence::time::Timestamp;
use serde_json::{Value, json};
use tests::device::Device;
use tests::process::run;
use tests::programs;
use tests::world::World;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_stream::StreamExt as _;

const PATIENCE: Duration = Duration::from_secs(60);
/// What `s_client -msg` prints when a record of application data arrives: its inner content type is 23.
const APPLICATION_DATA: &str = "<<< TLS 1.3, InnerContent [length 0001]\n    17";
/// The same for an alert, type 21.
const ALERT: &str = "<<< TLS 1.3, InnerContent [length 0001]\n    15";

fn openssl(folder: &Path, line: &str) -> Output {
    let output =
        Command::new("openssl").args(line.split(' ')).current_dir(folder).stdin(Stdio::null()).output();
    output.expect("openssl is installed (Debian package openssl)")
}

fn text(output: &Output) -> String {
    [String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)].concat()
}

#[track_caller]
fn made(folder: &Path, line: &str) {
    let output = openssl(folder, line);
    assert!(output.status.success(), "openssl {line}: {}", text(&output));
}

/// What `openssl ca` must be told, for the authority `name`.
fn configuration(name: &str, device: &str, purpose: &str) -> String {
    format!(
        "[ca]\ndefault_ca = this\n[this]\ndatabase = {name}.index\nnew_certs_dir = .\ncertificate = {name}.pem\n\
         private_key = {name}.key\nserial = serial\ndefault_md = sha256\npolicy = any\nunique_subject = no\n\
         x509_extensions = leaf\n[any]\ncommonName = supplied\n[leaf]\nbasicConstraints = critical,CA:FALSE\n\
         keyUsage = critical,digitalSignature\nextendedKeyUsage = {purpose}\n\
         subjectAltName = critical,URI:spiffe://evidence.example.com/{device}\n\
         authorityKeyIdentifier = keyid\nsubjectKeyIdentifier = hash\n\
         [req]\ndistinguished_name = name\n[name]\n"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_openssls_certificates_only_the_right_one_gets_in() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
    let pki =
        TestPki::new("evidence.example.com", Timestamp(u64::try_from(now).expect("before 584 million")));
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path();
    let write = |name: &str, text: &str| fs::write(path.join(name), text).expect("a file");
    let device = DeviceId::from_bytes([1; 16]);
    let id = format!("agent/{device}");
    let agents = pki.authority(Population::Agents);
    write("root.pem", &pem::encode(pem::CERTIFICATE, pki.root()));
    write("agents.pem", &pem::encode(pem::CERTIFICATE, agents.certificate()));
    write("agents.key", &agents.key().to_pem());
    // Another authority, of the same name, made by OpenSSL.
    let ec = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    made(path, "x509 -in agents.pem -noout -subject -nameopt RFC2253 -out subject");
    let leaf = "basicConstraints=critical,CA:TRUE";
    made(
        path,
        &format!("req -x509 {ec} -keyout other.key -out other.pem -subj /CN=agents -addext {leaf} -days 30"),
    );
    let issue = |name: &str, authority: &str, device: &str, purpose: &str, from: &str, to: &str| {
        write("ca.conf", &configuration(authority, device, purpose));
        write(&format!("{authority}.index"), "");
        // Sixteen bytes, as our authorities number: nothing but what is said of it below is wrong with a certificate.
        write("serial", &format!("4{:0>31}\n", name.len()));
        made(path, &format!("req {ec} -keyout {name}.key -out {name}.csr -subj /CN={name} -config ca.conf"));
        let line = format!("ca -batch -notext -config ca.conf -in {name}.csr -out {name}.pem");
        made(path, &format!("{line} -startdate {from} -enddate {to}"));
    };
    let (long_ago, ago, later, far) =
        ("20200101000000Z", "20240101000000Z", "20400101000000Z", "20480101000000Z");
    issue("right", "agents", &id, "clientAuth", ago, later);
    issue("expired", "agents", &id, "clientAuth", long_ago, ago);
    issue("early", "agents", &id, "clientAuth", later, far);
    issue("for-servers", "agents", &id, "serverAuth", ago, later);
    issue("an-admin", "agents", &format!("admin/{device}"), "clientAuth", ago, later);
    issue("other-authority", "other", &id, "clientAuth", ago, later);
    let san = format!("subjectAltName=critical,URI:spiffe://evidence.example.com/{id}");
    made(
        path,
        &format!(
            "req -x509 {ec} -keyout self-made.key -out self-made.pem -subj /CN=self -days 30 -addext {san}"
        ),
    );

    let trusted = [pki.trusted(Population::Agents, &[])];
    let config = mutual_listener(&pki.server("127.0.0.1"), &trusted, pki.clock()).expect("a listener");
    let audience =
        Audience::Holders { trust_domain: pki.trust_domain.clone(), population: Population::Agents };
    let tcp = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = tcp.local_addr().expect("an address");
    let (_sender, receiver) = watch::channel(config);
    let counters = Arc::new(Counters::default());
    let mut incoming = listen(tcp, receiver, audience, Limits::for_open_files(1000), Arc::clone(&counters));
    let connect = async |name: &str| {
        let line = format!(
            "s_client -CAfile root.pem -verify_return_error -connect {address} -tls1_3 -msg -ign_eof -alpn h2 \
             -cert {name}.pem -key {name}.key -cert_chain {}.pem",
            if name == "other-authority" { "other" } else { "agents" }
        );
        let path = path.to_owned();
        let run = tokio::task::spawn_blocking(move || openssl(&path, &line));
        let output =
            tokio::time::timeout(PATIENCE, run).await.expect("s_client ends").expect("s_client runs");
        text(&output)
    };
    let wrong = ["expired", "early", "for-servers", "an-admin", "other-authority", "self-made"];
    for name in wrong {
        let said = connect(name).await;
        // A wrong name is refused after the handshake, by closing: no alert, and not one byte either.
        assert!(said.contains(ALERT) || name == "an-admin", "{name}: {said}");
        assert!(!said.contains(APPLICATION_DATA), "{name}: {said}");
    }
    let nobody = tokio::time::timeout(Duration::from_millis(100), incoming.next()).await;
    assert!(nobody.is_err(), "somebody came through");
    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!((count(&counters.failed), count(&counters.refused)), (5, 1), "{counters:?}");

    // The same made rightly gets in: it was not OpenSSL's way of writing certificates that was refused.
    let serve = async {
        let mut connection = incoming.next().await.expect("open").expect("a connection");
        assert_eq!(connection.info().peer(), Some(certs::Peer::Agent(device)));
        connection.write_all(b"hello agent").await.expect("writes");
        connection.shutdown().await.expect("closes");
    };
    let (served, said) = tokio::join!(tokio::time::timeout(PATIENCE, serve), connect("right"));
    served.expect("in time");
    assert!(said.contains(APPLICATION_DATA) && said.contains("hello agent"), "{said}");
    tests::figures::report(
        "OpenSSL's certificates that got in, of wrong ones; of right ones",
        format_args!("0 of {}; 1 of 1", wrong.len()),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpcio_succeeds_and_fails_rightly() {
    let world = World::new(programs!());
    let running = world.serve();
    let device = Device::enrol(&world, &world.token()).await;
    let folder = world.file("stranger");
    fs::create_dir(&folder).expect("a folder");
    let write = |name: &str, text: &str| fs::write(folder.join(name), text).expect("a file");
    let [chain, key, root] = device.pems();
    write("root.pem", &root);
    write("agent.pem", &chain);
    write("agent.key", &key);
    write(
        "instance",
        &device.instance.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect::<String>(),
    );
    let identity = world.admin.profile().identity(world.admin.keys().tls);
    let chain: String = identity.chain.iter().map(|der| pem::encode(pem::CERTIFICATE, der)).collect();
    write("person.pem", &chain);
    write("person.key", &identity.key.to_pem());

    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/strangers/grpc_stranger.py");
    let proto = concat!(env!("CARGO_MANIFEST_DIR"), "/../proto");
    let [enrol, agents, people] =
        [world.enrol, world.agents, world.people].map(|address| address.to_string());
    let folder = folder.display().to_string();
    let line = ["-B", script, proto, &folder, &enrol, &agents, &people].map(str::to_owned);
    let ran = tokio::task::spawn_blocking(move || run("python3", line)).await.expect("no panic");
    let said: Value = ran.json();
    let code = |what: &str| said[what]["code"].clone();
    assert_eq!(said["person asks"], json!({ "ok": "admin" }), "{said}");
    let greeted = said["device greets and sends garbage"]["ok"].as_array().cloned().unwrap_or_default();
    assert_eq!(greeted.first(), Some(&json!("welcome")), "{said}");
    assert_eq!(greeted.last(), Some(&json!("REFUSED_REASON_MALFORMED")), "{said}");
    assert_eq!(code("device does not greet"), "INVALID_ARGUMENT", "{said}");
    // Wrong certificates, or none, never come as far as an answer.
    for what in ["device asks as a person", "person submits as a device", "nobody asks", "nobody submits"] {
        assert_eq!(code(what), "UNAVAILABLE", "{what}: {said}");
    }
    // Anybody may connect there, and this service is not there.
    assert_eq!(code("device asks where devices enrol"), "UNIMPLEMENTED", "{said}");
    running.stop();
    assert_eq!(world.fsck()["sound"], true);
}
