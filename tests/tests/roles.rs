//! Every call of every service by every kind of caller, over real connections, against the one table; and auditors who are
//! kept to their engagements.

#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "a test stops at what it cannot do")]

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use certs::test_pki::TestPki;
use certs::{
    ClientConfig, Identity, Issuer as _, IssuingAuthority, Order, Population, Role, Subject, TlsKey,
};
use collector::roles::{self, Caller, Listener};
use evidence::ids::PersonId;
use evidence::leaf::Kind;
use evidence::time::Timestamp;
use prost_types::FileDescriptorSet;
use rpc::connect::connect;
use rpc::v1::people_client::PeopleClient;
use rustls::pki_types::CertificateDer;
use tests::device::Device;
use tests::kept::entries_of;
use tests::programs;
use tests::world::{Person, World, clock, now, random};
use tests::{figures, process};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

/// Longest wait for the head of an answer: one that comes later is no refusal.
const ANSWER_MAX: Duration = Duration::from_secs(20);

/// Every call there is, `/service/call`: ours from the compiled descriptors, and those of health and reflection.
fn calls() -> Vec<String> {
    let sets = [
        rpc::DESCRIPTORS,
        tonic_health::pb::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
    ];
    let mut calls = Vec::new();
    for set in sets {
        let set: FileDescriptorSet = prost::Message::decode(set).expect("descriptors");
        for file in set.file {
            for service in &file.service {
                let name = format!("{}.{}", file.package(), service.name());
                calls.extend(service.method.iter().map(|method| format!("/{name}/{}", method.name())));
            }
        }
    }
    calls
}

/// One call with an empty message, whatever its form; only whether the caller was let in counts.
async fn call(channel: &Channel, path: &str) -> Result<(), Status> {
    let mut client = tonic::client::Grpc::new(channel.clone());
    let ready = tokio::time::timeout(ANSWER_MAX, client.ready()).await;
    ready
        .map_err(|_| Status::unavailable("late"))?
        .map_err(|error| Status::unavailable(error.to_string()))?;
    let path = PathAndQuery::try_from(path).expect("a path");
    let request = Request::new(tokio_stream::once(()));
    let codec = tonic_prost::ProstCodec::<(), ()>::default();
    match tokio::time::timeout(ANSWER_MAX, client.streaming(request, path, codec)).await {
        Ok(answer) => answer.map(drop),
        // Waiting for more of the caller's stream is an answer of its kind.
        Err(_) => Ok(()),
    }
}

/// Whether the collector let a call in: no word of it that refuses, and no broken connection, which has a cause beside it.
fn let_in(answer: &Result<(), Status>) -> bool {
    !answer.as_ref().is_err_and(|status| {
        let refused =
            matches!(status.code(), Code::PermissionDenied | Code::Unauthenticated | Code::Unimplemented);
        refused || std::error::Error::source(status).is_some() || status.code() == Code::Unavailable
    })
}

/// Somebody at the door, and what the table takes them for; none: nobody who has a place in it.
struct Stranger {
    name: &'static str,
    tls: Arc<ClientConfig>,
    agents: Option<Caller>,
    people: Option<Caller>,
}

/// A certificate of an authority of this world, for a life that is over.
fn ended(
    world: &World,
    population: Population,
    subject: &Subject,
    key: &TlsKey,
) -> Vec<CertificateDer<'static>> {
    let read = |name: String| fs::read_to_string(world.data.join(name)).expect("a file");
    let authority_key = TlsKey::from_pem(&read(format!("keys/ca-{population}.key"))).expect("a key");
    let certificate =
        certs::pem::certificate(&read(format!("certs/{population}.pem"))).expect("a certificate");
    let domain = tests::world::TRUST_DOMAIN.parse().expect("a domain");
    let authority =
        IssuingAuthority::open(population, domain, certificate.clone(), authority_key).expect("an authority");
    let order = Order {
        subject,
        public_key: key.public(),
        serial: certs::Serial::from_random(random()),
        now: Timestamp(now().0 - 3 * 3_600_000),
        lifetime: Duration::from_hours(2),
    };
    vec![authority.issue(&order).expect("a certificate").certificate, certificate]
}

/// Everybody who may come, and the log's size after they were made.
async fn strangers(world: &World) -> (Vec<Stranger>, u64) {
    let root = world.admin.profile().root;
    let tls = |identity: &Identity| certs::mutual_client(identity, &root, clock()).expect("TLS");
    let person = |person: &Person| tls(&person.profile().identity(person.keys().tls));
    let other = TestPki::new(tests::world::TRUST_DOMAIN, now());
    let device = Device::enrol(world, &world.token()).await;
    let revoked = Device::enrol(world, &world.token()).await;
    let left = Person::new(&world.file("."), "left");
    world.admit(&left, "admin");
    let pin = certs::Pin::of(&root).expect("a pin");
    let (device_key, person_key) = (TlsKey::generate().expect("a key"), TlsKey::generate().expect("a key"));
    let subject = Subject::Agent(device.id);
    let chain = ended(world, Population::Agents, &subject, &device_key);
    let ended_device = Identity { chain, key: device_key };
    let subject = Subject::Person(Role::Admin, world.admin.profile().person);
    let chain = ended(world, Population::People, &subject, &person_key);
    let ended_person = Identity { chain, key: person_key };
    let nobody = |name, tls| Stranger { name, tls, agents: None, people: None };
    let found = vec![
        nobody("nobody", certs::enrolment_client(pin, clock()).expect("TLS")),
        Stranger { agents: Some(Caller::Agent), ..nobody("agent", device.tls()) },
        Stranger { people: Some(Caller::Person(Role::Admin)), ..nobody("admin", person(&world.admin)) },
        Stranger { people: Some(Caller::Person(Role::Analyst)), ..nobody("analyst", person(&world.analyst)) },
        Stranger { people: Some(Caller::Person(Role::Auditor)), ..nobody("auditor", person(&world.auditor)) },
        nobody("agent of another authority", tls(&other.agent(device.id).0)),
        nobody("admin of another authority", tls(&other.person(Role::Admin, world.admin.profile().person).0)),
        nobody("agent whose certificate has ended", tls(&ended_device)),
        nobody("admin whose certificate has ended", tls(&ended_person)),
        nobody("revoked agent", revoked.tls()),
        nobody("revoked admin", person(&left)),
    ];
    let mut size = 0;
    for (kind, id) in [("--device", revoked.id.to_string()), ("--person", left.profile().person.to_string())]
    {
        let entry = world.cli(&world.admin, &["revoke", kind, &id, "--reason", "other", "--json"]).json();
        size = entry["index"].as_u64().expect("an index") + 1;
    }
    (found, size)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_by_every_caller() {
    let world = World::new(programs!());
    world.admit_people();
    let running = world.serve();
    let calls = calls();
    assert!(calls.len() > 20, "{calls:?}");
    for call in &calls {
        let listeners = [Listener::Enrol, Listener::Agents, Listener::People, Listener::Socket];
        let rows = listeners.into_iter().filter(|listener| roles::find(*listener, call).is_some());
        assert!(rows.count() > 0, "{call} has no row in collector/src/roles.rs: who may make it?");
    }
    let (strangers, before) = strangers(&world).await;
    let (mut allowed, mut refused) = (0, 0);
    for (listener, address) in
        [(Listener::Enrol, world.enrol), (Listener::Agents, world.agents), (Listener::People, world.people)]
    {
        let address = address.to_string().parse().expect("an address");
        for stranger in &strangers {
            let caller = match listener {
                // It asks nobody who they are.
                Listener::Enrol => Some(Caller::Anybody),
                Listener::Agents => stranger.agents,
                _ => stranger.people,
            };
            let mut connection = connect(&address, stranger.tls.clone()).await;
            for path in &calls {
                let row = roles::find(listener, path);
                let may = caller.is_some_and(|caller| row.is_some_and(|row| row.allows(caller)));
                // TLS 1.3: whoever is refused hears of it with the first call, and a new connection is a new refusal.
                let answer = match &connection {
                    Ok(connection) => call(&connection.channel, path).await,
                    Err(error) => Err(Status::unavailable(format!("{error:?}"))),
                };
                let name = stranger.name;
                assert_eq!(
                    let_in(&answer),
                    may,
                    "{name}, {} listener, {path}: {answer:?}",
                    listener.as_str()
                );
                if may {
                    allowed += 1;
                } else {
                    refused += 1;
                }
                if caller.is_none() {
                    connection = connect(&address, stranger.tls.clone()).await;
                }
            }
        }
    }
    let socket = format!("unix://{}", world.data.join("admin.sock").display());
    let channel = Endpoint::from_shared(socket).expect("a socket").connect().await.expect("a connection");
    for path in &calls {
        let may = roles::find(Listener::Socket, path).is_some_and(|row| row.allows(Caller::Owner));
        let answer = call(&channel, path).await;
        assert_eq!(let_in(&answer), may, "owner, admin socket, {path}: {answer:?}");
        if may { allowed += 1 } else { refused += 1 }
    }
    figures::report("calls by callers that may, let in", allowed);
    figures::report("calls by callers that may not, refused", refused);
    // Each row of the table was met by whoever may.
    let marks: usize = roles::TABLE.iter().map(|row| row.may.len()).sum();
    let enrol = roles::TABLE.iter().filter(|row| row.listener == Listener::Enrol).count();
    assert_eq!(allowed, marks + enrol * (strangers.len() - 1));
    running.stop();
    // Nothing of it is in the log, but the days of the two who read something.
    assert_eq!(entries_of(&world, Kind::ACCESS_SUMMARY), 3);
    assert_eq!(world.fsck()["entries"], before + 3);
}

#[test]
fn the_document_has_the_table() {
    let text =
        fs::read_to_string(format!("{}/../docs/PROTOCOL.md", env!("CARGO_MANIFEST_DIR"))).expect("a file");
    let table = roles::markdown();
    assert!(text.contains(&table), "docs/PROTOCOL.md must have this table:\n{table}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn auditors_see_their_engagements_and_no_admin_acts_as_one() {
    let world = World::new(programs!());
    world.admit_people();
    let running = world.serve();
    let baseline = format!("{}/../docs/policies/baseline.toml", env!("CARGO_MANIFEST_DIR"));
    world.cli(&world.analyst, &["policy", "put", &baseline]).ok();
    let day = now().day().to_string();
    // Two engagements, each with an auditor of its own.
    let ours = Person::new(&world.file("."), "ours");
    let theirs = Person::new(&world.file("."), "theirs");
    let mut made = Vec::new();
    for (auditor, name) in [(&ours, "ours"), (&theirs, "theirs")] {
        let (public, plan) = (auditor.public.display().to_string(), world.file(&format!("{name}.json")));
        let plan = plan.display().to_string();
        let line =
            ["audit", "plan", "--engagement", "new", "--auditor-key", &public, "--out", &plan, "--json"];
        let units =
            ["--control", "edr", "--day", &day, "--partial-day", "--sample-size", "1", "--reserves", "0"];
        let risk = ["--risk", "5%", "--tolerable", "5%"];
        let planned = world.cli(&world.analyst, &[&line[..], &units, &risk].concat()).json();
        let engagement = planned["engagement"].as_str().expect("an engagement").to_owned();
        let (key, profile) = (world.admin.key.display().to_string(), auditor.profile.display().to_string());
        let line = ["user", "create", "--key", &key, "--public-key", &public, "--role", "auditor"];
        let line =
            [&line[..], &["--name", name, "--profile-out", &profile, "--engagement", &engagement]].concat();
        world.collector(&line).ok();
        made.push((engagement, plan));
    }
    let listed = |person: &Person| -> Vec<String> {
        let said = world.cli(person, &["audit", "list", "--json"]).json();
        let plans = said["plans"].as_array().expect("plans").clone();
        plans.iter().map(|row| row["engagement"].as_str().expect("an engagement").to_owned()).collect()
    };
    assert_eq!(listed(&ours), [made[0].0.clone()]);
    assert_eq!(listed(&theirs), [made[1].0.clone()]);
    assert_eq!(listed(&world.auditor).len(), 2, "one who is not kept to any sees both");
    let foreign = made[1].1.clone();
    let out = world.file("set").display().to_string();
    for (line, words) in [
        (vec!["audit", "export", "--plan", &foreign, "--out", &out], "your engagements"),
        (vec!["audit", "freeze", "--plan", &foreign], "may not do this"),
        (vec!["audit", "draw", "--plan", &foreign], "may not do this"),
    ] {
        let ran = world.cli(&ours, &line);
        assert!(ran.code == Some(2) && ran.err.contains(words), "{line:?}: {}", ran.err);
    }
    // What they carry is theirs too, and payloads are everybody's.
    let mut people = ours.connect().await;
    let payloads = proto::PayloadsRequest { size: 1, bundles: 1, ..proto::PayloadsRequest::default() };
    let refused = people.people.payloads(payloads).await.expect_err("of every engagement");
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    let device = Device::enrol(&world, &world.token()).await;
    let retire = evidence::acts::Retire { device: device.id, effective_at: now(), detail: None };
    let refused = people.put(evidence::acts::Body::Retire(retire)).await.expect_err("no step of an audit");
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    // Their own step passes the scope, and the log decides.
    let (nonce, trust) =
        (world.file("nonce").display().to_string(), world.file("trust").display().to_string());
    let public = ours.public.display().to_string();
    let pin = ["trust", "pin", "--auditor-key", &public, "--made-by", "auditor", "--out", &trust];
    world.cli(&ours, &pin).ok();
    world.cli(&ours, &["audit", "nonce", "--out", &nonce]).ok();
    let commit = |plan: &str| {
        ["audit", "commit", "--plan", plan, "--nonce", &nonce, "--trust", &trust, "--carry"]
            .map(str::to_owned)
    };
    let run = |person: &Person, line: &[String]| {
        world.cli(person, &line.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let ran = run(&ours, &commit(&made[1].1));
    assert_eq!(ran.code, Some(2), "{}", ran.out);
    run(&ours, &commit(&made[0].1)).ok();
    // No admin acts as an auditor: not in an auditor's plan, and not as the auditor of one.
    let ran = run(&world.admin, &commit(&made[1].1));
    assert_eq!(ran.code, Some(2), "{}", ran.out);
    let (public, plan) =
        (world.admin.public.display().to_string(), world.file("own.json").display().to_string());
    let line = ["audit", "plan", "--engagement", "new", "--auditor-key", &public, "--out", &plan];
    let units = ["--control", "edr", "--day", &day, "--partial-day", "--sample-size", "1", "--reserves", "0"];
    let ran =
        world.cli(&world.analyst, &[&line[..], &units, &["--risk", "5%", "--tolerable", "5%"]].concat());
    assert!(
        ran.code == Some(2) && ran.err.contains("may not be the key of an admin or analyst"),
        "{}",
        ran.err
    );
    // Nor is anybody but an auditor kept to engagements.
    let person = PersonId::from_bytes([1; 16]);
    let new = Person::new(&world.file("."), &person.to_string());
    let (key, public, profile) = (
        world.admin.key.display().to_string(),
        new.public.display().to_string(),
        new.profile.display().to_string(),
    );
    let line = ["user", "create", "--key", &key, "--public-key", &public, "--role", "analyst", "--name", "x"];
    let ran: process::Ran =
        world.collector(&[&line[..], &["--profile-out", &profile, "--engagement", &made[0].0]].concat());
    assert!(ran.code == Some(2) && ran.err.contains("for auditors"), "{}", ran.err);
    let mut theirs = theirs.connect().await;
    let mine: &mut PeopleClient<Channel> = &mut theirs.people;
    mine.plans(proto::PlansRequest {}).await.expect("their own");
    running.stop();
}
