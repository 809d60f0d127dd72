//! Bad input gets a clear error, and nothing is lost: each test counts what was kept.

#![expect(clippy::expect_used, clippy::panic, reason = "a test stops at what it cannot do")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use certs::{Token, TokenSecret};
use collector::service::people::{Call, TABLE};
use evidence::acts::{Body, Retire};
use evidence::envelope::Envelope;
use evidence::ids::{Digest, InstanceId};
use evidence::keys::SecretKey;
use evidence::leaf::Kind;
use evidence::note::Checkpoint;
use evidence::statement::{Body as Says, SEQUENCE_MAX, Statement};
use evidence::time::Timestamp;
use proto::RefusedReason;
use proto::to_agent::Item as In;
use rpc::v1::ingest_client::IngestClient;
use rpc::v1::people_client::PeopleClient;
use tests::device::{self, Device, Keys, NotEnrolled};
use tests::kept::{entries_of, envelopes, statements};
use tests::process::{run, wait_for};
use tests::programs;
use tests::world::{Caller, ORIGIN, World, clock, now, random};
use tonic::transport::Channel;
use tonic::{Code, Status};

/// Largest envelope, bytes.
const ENVELOPE_BYTES_MAX: usize = 65_536;
/// Largest message of a device, bytes.
const MESSAGE_BYTES_MAX: usize = 128 << 10;

/// What a refusal of an enrolment says.
#[track_caller]
fn refusal(answer: Result<Device, NotEnrolled>) -> (Code, String) {
    match answer {
        Err(NotEnrolled::Refused(status)) => (status.code(), status.message().to_owned()),
        Err(NotEnrolled::Connect(error)) => panic!("no connection: {error:?}"),
        Err(NotEnrolled::Waits(request)) => panic!("it waits: {request}"),
        Ok(device) => panic!("{} was enrolled", device.id),
    }
}

// --------------------------------------------------------------------------------------- configuration

#[test]
fn an_unknown_key_of_the_configuration_is_named_with_its_file_and_line() {
    let world = World::new(programs!());
    let path = world.data.join("collector.toml");
    let good = fs::read_to_string(&path).expect("the configuration");
    let before = world.fsck()["entries"].clone();
    for (key, text) in [
        ("chekpoint_interval_ms", format!("chekpoint_interval_ms = 5\n{good}")),
        ("metrics", good.replace("[listen]\n", "[listen]\nmetrics = \"127.0.0.1:1\"\n")),
    ] {
        assert_ne!(text, good);
        fs::write(&path, &text).expect("the configuration");
        let line = text.lines().position(|line| line.starts_with(key)).expect("the line") + 1;
        let said = world.collector(&["serve"]).fails(2);
        for part in [path.display().to_string(), format!("line {line}"), key.to_owned()] {
            assert!(said.contains(&part), "{part} is not in: {said}");
        }
    }
    fs::write(&path, good).expect("the configuration");
    world.serve().stop();
    assert_eq!(world.fsck()["entries"], before, "entries");
}

#[test]
fn an_unknown_key_of_the_agents_configuration_is_named_and_the_spool_is_kept() {
    let world = World::new(programs!());
    let running = world.serve();
    world.enrol_agent("agent", &world.token());
    running.stop();
    // The collector is down: the statement stays.
    let once = world.agent("agent", &["once", "--timeout-seconds", "1"]);
    assert_ne!(once.code, Some(0), "{once:?}");
    let path = world.file("agent").join("agent.toml");
    fs::write(&path, "interval_minutes = 60\nspool_size = 3\n").expect("the configuration");
    let said = world.agent("agent", &["once"]).fails(2);
    for part in [path.display().to_string(), "line 2".to_owned(), "spool_size".to_owned()] {
        assert!(said.contains(&part), "{part} is not in: {said}");
    }
    fs::remove_file(&path).expect("the configuration");
    let running = world.serve();
    let once = world.agent("agent", &["once", "--json", "--until-proved"]).json();
    assert_eq!((&once["sequence"], &once["result"]), (&serde_json::json!([1]), &"proved".into()), "{once}");
    running.stop();
    assert_eq!(statements(&world).len(), 2, "the statement made while the collector was down, and the next");
}

#[test]
fn a_second_server_and_a_second_init_are_refused() {
    let world = World::new(programs!());
    let running = world.serve();
    let said = world.collector(&["serve"]).fails(2);
    assert!(said.contains(&world.data.display().to_string()), "{said}");
    let said = world.collector(&["fsck"]).fails(2);
    assert!(said.contains(&world.data.display().to_string()), "{said}");
    running.stop();
    let admin = world.admin.public.display().to_string();
    let (root, profile) = (world.file("other-root.key"), world.file("other.profile"));
    let (root, profile) = (root.display().to_string(), profile.display().to_string());
    let line =
        ["init", "--admin", &admin, "--trust-domain", "other.example.com", "--server-name", "127.0.0.1"];
    let said = world
        .collector(
            &[
                &line[..],
                &["--root-key-out", &root, "--profile-out", &profile, "--accept-rollback-blindness"],
            ]
            .concat(),
        )
        .fails(2);
    assert!(said.contains(&format!("{} is not empty", world.data.display())), "{said}");
    assert_eq!(world.fsck()["sound"], true);
}

#[test]
fn a_path_too_long_for_the_admin_socket_is_refused_at_once() {
    let world = World::new(programs!());
    let long = world.file(&"d".repeat(100));
    let outputs = [world.file("other-root.key"), world.file("other.profile")];
    let [dir, admin, root, profile] =
        [&long, &world.admin.public, &outputs[0], &outputs[1]].map(|path| path.display().to_string());
    let line = [
        &["init", "--dir", &dir, "--admin", &admin, "--trust-domain", "other.example.com"][..],
        &["--server-name", "127.0.0.1", "--root-key-out", &root, "--profile-out", &profile],
        &["--accept-rollback-blindness"],
    ]
    .concat();
    let said = run(world.programs().collector, line).fails(2);
    assert!(said.contains("at most 107") && said.contains("shorter path"), "{said}");
    assert!(!long.exists() && outputs.iter().all(|path| !path.exists()), "something was made");
    // Moved to such a path later.
    fs::rename(&world.data, &long).expect("the data directory is moved");
    let said = run(world.programs().collector, ["serve", "--dir", &dir]).fails(2);
    assert!(said.contains("at most 107"), "{said}");
}

// -------------------------------------------------------------------------------- enrolment and tokens

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_and_authorities_that_are_not_good() {
    let (world, foreign) = (World::new(programs!()), World::new(programs!()));
    // Made beside a stopped server: one that will have expired, and one to use.
    let (short, short_act) = token_until(&world, Timestamp(now().ms() + 1_000));
    collector_entry(&world, short_act).await.expect("the act is admitted");
    let good = world.token();
    let running = world.serve();
    let _foreign_running = foreign.serve();

    // The other installation's token pins another root: the device does not even speak to this one.
    let foreign_token = foreign.token();
    let said = world.try_enrol_agent("fooled", &foreign_token.text()).fails(2);
    assert!(said.contains("not the collector this token is for"), "{said}");
    let answer = device::enrol(world.enrol, &foreign_token, &Keys::new()).await;
    assert!(matches!(answer, Err(NotEnrolled::Connect(_))), "{answer:?}");
    // With this root's pin its secret is simply not known here.
    let unknown = Token { secret: foreign_token.secret.clone(), pin: good.pin };
    let (code, said) = refusal(Device::try_enrol(&world, &unknown, Keys::new()).await);
    assert_eq!(code, Code::PermissionDenied, "{said}");
    let guessed = Token { secret: TokenSecret::from_bytes(random()), pin: good.pin };
    assert_eq!(refusal(Device::try_enrol(&world, &guessed, Keys::new()).await), (code, said));

    wait_for("the token to expire", || (now().ms() > short.1.ms()).then_some(()));
    let (code, said) = refusal(Device::try_enrol(&world, &short.0, Keys::new()).await);
    assert!(code == Code::PermissionDenied && said.contains("expired"), "{code}: {said}");
    let said = world.try_enrol_agent("late", &short.0.text()).fails(2);
    assert!(said.contains("expired"), "{said}");

    // Text that is no token never leaves the machine.
    let mut cut = good.text().to_string();
    cut.pop();
    let said = world.try_enrol_agent("cut", &cut).fails(2);
    assert!(said.contains("token"), "{said}");

    // Signed for another connection: somebody sits in between.
    let keys = Keys::new();
    let tls = certs::enrolment_client(good.pin, clock()).expect("TLS");
    let address = world.enrol.to_string().parse().expect("an address");
    let connection = rpc::connect::connect(&address, tls).await.expect("a connection");
    let status = device::dialogue(connection, &good, &keys, random()).await.expect_err("another exporter");
    assert_eq!(status.code(), Code::Unauthenticated, "{status}");

    // After all that the token is as good as new, once; the same device asking again gets the same answer.
    let keys = Keys::new();
    let enrolled = device::enrol(world.enrol, &good, &keys).await.expect("enrolled");
    let again = device::enrol(world.enrol, &good, &keys).await.expect("the same answer");
    assert_eq!((&enrolled.device, &enrolled.certificate), (&again.device, &again.certificate));
    let (code, said) = refusal(Device::try_enrol(&world, &good, Keys::new()).await);
    assert!(code == Code::PermissionDenied && said.contains("used"), "{code}: {said}");

    running.stop();
    assert_eq!(entries_of(&world, Kind::ENROLMENT), 1, "devices enrolled");
    assert_eq!(entries_of(&world, Kind::TOKEN), 2, "tokens");
    assert_eq!(entries_of(&foreign, Kind::ENROLMENT), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_device_with_the_same_key() {
    let world = World::new(programs!());
    let running = world.serve();
    let keys = Keys::new();
    let (seed, pem) = (keys.attestation.seed(), keys.tls.to_pem());
    let same = |attestation: bool, tls: bool| {
        let mut keys = Keys::new();
        if attestation {
            keys.attestation = SecretKey::from_seed(&seed).expect("a key");
        }
        if tls {
            keys.tls = certs::TlsKey::from_pem(&pem).expect("a key");
        }
        keys
    };
    let mut first = Device::try_enrol(&world, &world.token(), keys).await.expect("enrolled");
    let token = world.token();
    for (attestation, tls) in [(true, true), (true, false), (false, true)] {
        let (code, said) = refusal(Device::try_enrol(&world, &token, same(attestation, tls)).await);
        assert_eq!(code, Code::FailedPrecondition, "{said}");
        assert!(said.contains("key"), "{said}");
    }
    // The incumbent is not evicted, and the token is still good for a device with keys of its own.
    let (mut submit, _) = first.greet().await;
    submit.store(&first.sign_next()).await;
    Device::try_enrol(&world, &token, Keys::new()).await.expect("enrolled");
    running.stop();
    assert_eq!(entries_of(&world, Kind::ENROLMENT), 2, "devices enrolled");
    assert_eq!(statements(&world), vec![(first.instance, 0)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_are_made_beside_a_stopped_server_and_through_the_socket_of_a_running_one() {
    let world = World::new(programs!());
    let down = world.token();
    let running = world.serve();
    let mode = fs::metadata(world.data.join("admin.sock")).expect("the socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "the socket is its owner's alone");
    let up = world.token();
    for token in [&down, &up] {
        Device::enrol(&world, token).await;
    }
    // A key that nobody admitted signs nothing.
    let stranger = tests::world::Person::new(world.file("").as_path(), "stranger");
    let key = stranger.key.display().to_string();
    let line = ["token", "create", "--class", "laptop", "--group", "office", "--key", &key];
    world.collector(&line).fails(2);
    running.stop();
    world.collector(&line).fails(2);
    // A server that was killed leaves its socket behind; the command works all the same.
    world.serve().kill();
    assert!(world.data.join("admin.sock").exists());
    world.token();
    assert_eq!((entries_of(&world, Kind::TOKEN), entries_of(&world, Kind::ENROLMENT)), (3, 2));
}

/// A token that ends at `expires_at`, and the act that makes it known.
fn token_until(world: &World, expires_at: Timestamp) -> ((Token, Timestamp), Vec<u8>) {
    let profile = world.admin.profile();
    let token = Token::new(random(), certs::Pin::of(&profile.root).expect("a pin"));
    let body = Body::Token(evidence::acts::Token {
        token_hash: token.secret.hash(),
        class: "laptop".parse().expect("a class"),
        group: "office".parse().expect("a group"),
        expires_at,
        uses: 1,
        approve: false,
        serials: Vec::new(),
    });
    let id = evidence::acts::ActId::from_bytes(random());
    let act = evidence::acts::Act::sign(body, ORIGIN, id, now(), &world.admin.keys().signing).encode();
    ((token, expires_at), act)
}

/// Logs a token act beside a stopped server.
async fn collector_entry(world: &World, act: Vec<u8>) -> Result<(), collector::state::StateError> {
    let node = collector::node::Node::open(&world.data, |_| {}).expect("a stopped collector");
    let service = collector::service::admin::AdminService::new(node.state.clone(), node.identities.clone());
    let answer = service.token(proto::CreateTokenRequest { envelope: act, serials: Vec::new() }).await;
    drop(service);
    tokio::task::spawn_blocking(move || node.close()).await.expect("closed");
    answer.map(|_| ())
}

// ------------------------------------------------------------------------------------------ statements

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statements_that_are_not_what_they_should_be() {
    let world = World::new(programs!());
    let running = world.serve();
    let mut device = Device::enrol(&world, &world.token()).await;
    let other = Device::enrol(&world, &world.token()).await;
    let (mut submit, welcome) = device.greet().await;
    assert_eq!(welcome.next_sequence, 0);
    let first = device.sign_next();
    submit.store(&first).await;

    // A body that names another device, and a whole statement of another device.
    let mut lie = device.next();
    let Says::Attestation(attestation) = &mut lie.body else { panic!("an attestation") };
    attestation.device = other.id;
    attestation.fields.device = other.id.to_string();
    let lie = Envelope::sign(&lie, &device.key);
    assert_eq!(submit.refused(lie.bytes()).await.0, RefusedReason::WrongDevice);
    let theirs = Envelope::sign(&other.next(), &other.key);
    assert_eq!(submit.refused(theirs.bytes()).await.0, RefusedReason::WrongDevice);
    let nobody = Statement { instance: InstanceId::from_bytes(random()), ..device.next() };
    let nobody = Envelope::sign(&nobody, &device.key);
    assert_eq!(submit.refused(nobody.bytes()).await.0, RefusedReason::UnknownInstance);

    // Another key's signature, and one flipped bit of the right one.
    let forged = Envelope::sign(&device.next(), &other.key);
    assert_eq!(submit.refused(forged.bytes()).await.0, RefusedReason::Signature);
    let mut flipped = Envelope::sign(&device.next(), &device.key).bytes().to_vec();
    *flipped.last_mut().expect("bytes") ^= 1;
    let (reason, said) = submit.refused(&flipped).await;
    assert!(matches!(reason, RefusedReason::Signature | RefusedReason::Malformed), "{reason:?}: {said}");

    // No envelope, and one that does not re-encode to itself: a field nobody knows at its end.
    assert_eq!(submit.refused(b"\x01\x02\x03").await.0, RefusedReason::Malformed);
    assert_eq!(submit.refused(b"").await.0, RefusedReason::Malformed);
    let mut longer = Envelope::sign(&device.next(), &device.key).bytes().to_vec();
    longer.extend_from_slice(&[0x78, 0x01]);
    assert_eq!(submit.refused(&longer).await.0, RefusedReason::Malformed);

    // An anchor of another log, one that this log has not reached, and a root that it never had.
    for (origin, size) in [("other.example.com/log/main", 1), (ORIGIN, 1 << 40), (ORIGIN, 1)] {
        let anchor = Checkpoint { origin: origin.to_owned(), size, root: Digest::ZERO };
        let anchored = Statement { anchor: Some(anchor.into()), ..device.next() };
        let anchored = Envelope::sign(&anchored, &device.key);
        assert_eq!(submit.refused(anchored.bytes()).await.0, RefusedReason::Anchor);
    }

    // After all of it, on the same stream: the next one is stored.
    submit.store(&device.sign_next()).await;
    running.stop();
    assert_eq!(statements(&world), vec![(device.instance, 0), (device.instance, 1)]);
    assert_eq!(world.fsck()["sound"], true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sequences_that_are_replayed_skipped_and_forked() {
    let world = World::new(programs!());
    let running = world.serve();
    let mut device = Device::enrol(&world, &world.token()).await;
    let (mut submit, _) = device.greet().await;
    let (zero, one) = (device.sign_next(), device.sign_next());
    let stored = submit.store(&zero).await;
    submit.store(&one).await;

    // Replayed: the old answer, here and on a new stream.
    assert_eq!(submit.store(&zero).await, stored);
    let (mut second, welcome) = device.greet().await;
    assert_eq!(welcome.next_sequence, 2);
    assert_eq!(second.store(&zero).await, stored);

    // Skipped: told where to go on, again and again.
    for sequence in [3, 4, SEQUENCE_MAX] {
        let skipped = Envelope::sign(&device.statement(sequence, Digest::of(b"missing")), &device.key);
        submit.envelope(skipped.bytes()).await;
        match submit.answer().await.expect("an answer") {
            In::Expect(expect) => assert_eq!(expect.sequence, 2),
            other => panic!("{other:?}"),
        }
    }
    // No set could write such a number.
    let beyond = Envelope::sign(&device.statement(SEQUENCE_MAX + 1, Digest::of(b"missing")), &device.key);
    let (reason, said) = submit.refused(beyond.bytes()).await;
    assert!(reason == RefusedReason::Malformed && said.contains("2^53"), "{reason:?}: {said}");

    // Forked: other bytes for a used sequence, the next one after another predecessor, and a first one with a
    // predecessor.
    for (sequence, previous) in
        [(0, Digest::ZERO), (1, Digest::of(b"x")), (2, Digest::of(b"x")), (0, zero.hash())]
    {
        let mut fork = device.statement(sequence, previous);
        let Says::Attestation(attestation) = &mut fork.body else { panic!("an attestation") };
        attestation.fields.boot_minutes = 99;
        let fork = Envelope::sign(&fork, &device.key);
        let (reason, said) = submit.refused(fork.bytes()).await;
        let expected = if sequence == 0 && previous != Digest::ZERO {
            RefusedReason::Malformed
        } else {
            RefusedReason::Forked
        };
        assert_eq!(reason, expected, "{sequence}: {said}");
    }

    // The chain goes on where it was.
    submit.store(&device.sign_next()).await;
    running.stop();
    let expected: Vec<_> = (0..3).map(|sequence| (device.instance, sequence)).collect();
    assert_eq!(statements(&world), expected, "each once, in order");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_are_too_large_or_out_of_turn() {
    let world = World::new(programs!());
    let running = world.serve();
    let mut device = Device::enrol(&world, &world.token()).await;
    let (mut submit, _) = device.greet().await;
    let (reason, said) = submit.refused(&vec![0; ENVELOPE_BYTES_MAX + 1]).await;
    assert!(reason == RefusedReason::TooLarge && said.contains("65536"), "{reason:?}: {said}");
    assert_eq!(submit.refused(&vec![0; ENVELOPE_BYTES_MAX]).await.0, RefusedReason::Malformed);
    submit.store(&device.sign_next()).await;

    // Larger than any message: the stream ends, the device comes back, nothing is lost.
    submit.envelope(&vec![0; MESSAGE_BYTES_MAX + 1]).await;
    let status = submit.answer().await.expect_err("too large for a message");
    assert!(
        status.code() == Code::OutOfRange && status.message().contains(&MESSAGE_BYTES_MAX.to_string()),
        "{status}"
    );
    let (mut submit, welcome) = device.greet().await;
    assert_eq!(welcome.next_sequence, 1);
    submit.store(&device.sign_next()).await;

    // No greeting, a second greeting, a greeting as another instance.
    let mut silent = device.open().await.expect("a stream");
    silent.envelope(b"").await;
    assert_eq!(silent.next().await.expect_err("no greeting").code(), Code::InvalidArgument);
    submit.hello(&device.instance, 0, Vec::new()).await;
    assert_eq!(submit.answer().await.expect_err("greeted twice").code(), Code::InvalidArgument);
    let other = Device::enrol(&world, &world.token()).await;
    let mut impostor = device.open().await.expect("a stream");
    impostor.hello(&other.instance, 0, Vec::new()).await;
    assert_eq!(impostor.next().await.expect_err("another's instance").code(), Code::PermissionDenied);
    running.stop();
    assert_eq!(statements(&world), vec![(device.instance, 0), (device.instance, 1)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retired_device_is_refused_and_keeps_what_it_has() {
    let world = World::new(programs!());
    let running = world.serve();
    let agent = world.enrol_agent("agent", &world.token());
    let id = agent["device"].as_str().expect("a device").to_owned();
    assert_eq!(world.agent("agent", &["once", "--json"]).json()["result"], "stored");
    world.cli(&world.admin, &["retire", &id, "--reason", "sold"]).ok();
    // The real agent: refused, kept, and it says so.
    let once = world.agent("agent", &["once", "--json"]);
    assert_eq!(once.code, Some(1), "{once:?}");
    let status = world.agent("agent", &["status", "--json"]);
    assert_eq!(status.code, Some(1), "{status:?}");
    let status: serde_json::Value = serde_json::from_str(status.out.trim()).expect("JSON");
    assert_eq!((&status["waiting"], &status["next_sequence"]), (&1.into(), &2.into()), "{status}");
    assert_eq!(status["refused"][0]["reason"], "retired", "{status}");
    // A device with its keys, at the place where it stands.
    let first = envelopes(&world)[0].hash();
    let mut device = Device::of_agent(&world.file("agent"), 1, first);
    let (mut submit, welcome) = device.greet().await;
    assert_eq!(welcome.next_sequence, 1);
    assert_eq!(submit.refused(device.sign_next().bytes()).await.0, RefusedReason::Retired);
    running.stop();
    assert_eq!(entries_of(&world, Kind::RETIRE), 1);
    assert_eq!(statements(&world).len(), 1);
}

// ----------------------------------------------------------------------------------------------- roles

async fn call(people: &mut PeopleClient<Channel>, call: Call) -> Result<(), Status> {
    let plan = || proto::PlanRef { plan_hash: vec![7; 32] };
    match call {
        Call::WhoAmI => people.who_am_i(proto::WhoAmIRequest {}).await.map(drop),
        Call::PutAct => {
            let kind = Kind::RETIRE;
            let request = proto::PutActRequest {
                kind_stream: kind.stream.number().into(),
                kind: kind.number.into(),
                envelope: b"{}".to_vec(),
                ..proto::PutActRequest::default()
            };
            people.put_act(request).await.map(drop)
        }
        Call::Posture => people.posture(proto::PostureRequest::default()).await.map(drop),
        Call::Devices => people.devices(proto::DevicesRequest::default()).await.map(drop),
        Call::LatestCheckpoint => {
            people.latest_checkpoint(proto::LatestCheckpointRequest { from_size: 0 }).await.map(drop)
        }
        Call::Proof => people.proof(proto::ProofRequest { index: 0 }).await.map(drop),
        Call::Genesis => people.genesis(proto::GenesisRequest {}).await.map(drop),
        Call::Pending => people.pending(proto::PendingRequest::default()).await.map(drop),
        Call::Conflicts => people.conflicts(proto::ConflictsRequest::default()).await.map(drop),
        Call::Configurations => {
            people.configurations(proto::ConfigurationsRequest::default()).await.map(drop)
        }
        Call::Plans => people.plans(proto::PlansRequest {}).await.map(drop),
        Call::Freeze => people.freeze(plan()).await.map(drop),
        Call::Draw => people.draw(plan()).await.map(drop),
        Call::Export => match people.export(plan()).await {
            Ok(parts) => parts.into_inner().message().await.map(drop),
            Err(status) => Err(status),
        },
        Call::Payloads => {
            let request = proto::PayloadsRequest { size: 1, bundles: 1, ..proto::PayloadsRequest::default() };
            match people.payloads(request).await {
                Ok(parts) => parts.into_inner().message().await.map(drop),
                Err(status) => Err(status),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_by_every_role() {
    let world = World::new(programs!());
    world.admit_people();
    let running = world.serve();
    let device = Device::enrol(&world, &world.token()).await;
    let before = world.admin.connect().await.checkpoint(0).await.0.size;
    let (mut allowed, mut denied) = (0, 0);
    let persons = [
        (certs::Role::Admin, &world.admin),
        (certs::Role::Analyst, &world.analyst),
        (certs::Role::Auditor, &world.auditor),
    ];
    for (role, person) in persons {
        let Caller { mut people, .. } = person.connect().await;
        for (which, roles) in TABLE {
            let answer = call(&mut people, which).await;
            let code = answer.as_ref().map_or_else(Status::code, |()| Code::Ok);
            if roles.contains(&role) {
                let refused =
                    matches!(code, Code::PermissionDenied | Code::Unauthenticated | Code::Unavailable);
                assert!(!refused, "{role} may {which:?}: {answer:?}");
                allowed += 1;
            } else {
                assert_eq!(code, Code::PermissionDenied, "{role} may not {which:?}: {answer:?}");
                denied += 1;
            }
        }
    }
    // Somebody without a certificate, and a device: no call at all on this listener.
    let pin = certs::Pin::of(&world.admin.profile().root).expect("a pin");
    let anonymous = certs::enrolment_client(pin, clock()).expect("TLS");
    let address: rpc::connect::Address = world.people.to_string().parse().expect("an address");
    for (which, _) in TABLE {
        let connections = [
            ("nobody", rpc::connect::connect(&address, anonymous.clone()).await),
            ("a device", device.connect_to(world.people).await),
        ];
        for (who, connection) in connections {
            // TLS 1.3: a refused client hears of it with its first call.
            if let Ok(connection) = connection {
                let answer = call(&mut PeopleClient::new(connection.channel), which).await;
                assert!(answer.is_err(), "{who} may not {which:?}");
            }
            denied += 1;
        }
    }
    // Nor may a person submit.
    let (profile, keys) = (world.admin.profile(), world.admin.keys());
    let tls = certs::mutual_client(&profile.identity(keys.tls), &profile.root, clock()).expect("TLS");
    let address = world.agents.to_string().parse().expect("an address");
    if let Ok(connection) = rpc::connect::connect(&address, tls).await {
        let answer = IngestClient::new(connection.channel).submit(tokio_stream::empty()).await;
        assert!(answer.is_err(), "a person may not submit");
    }
    assert_eq!((allowed, denied), (12 + 11 + 8, 1 + 4 + 2 * 12), "calls that may be made, and that may not");
    // Nothing of it is in the log.
    assert_eq!(world.admin.connect().await.checkpoint(0).await.0.size, before);
    running.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acts_that_are_not_the_callers_to_sign() {
    let world = World::new(programs!());
    world.admit_people();
    let running = world.serve();
    let device = Device::enrol(&world, &world.token()).await;
    let retire = || Body::Retire(Retire { device: device.id, effective_at: now(), detail: None });
    // The auditor may carry any act; his own signature does not retire a device.
    let mut auditor = world.auditor.connect().await;
    let status = auditor.put(retire()).await.expect_err("not an auditor's act");
    assert_eq!(status.code(), Code::FailedPrecondition, "{status}");
    // Tokens and persons are not made from afar, not even by an admin.
    let mut admin = world.admin.connect().await;
    let (_, act) = token_until(&world, Timestamp(now().ms() + 60_000));
    let status = admin.put_as(Kind::TOKEN, act).await.expect_err("not from afar");
    assert_eq!(status.code(), Code::PermissionDenied, "{status}");
    // An act of another log, and one act twice.
    let id = evidence::acts::ActId::from_bytes(random());
    let sign = |origin: &str| {
        evidence::acts::Act::sign(retire(), origin, id.clone(), now(), &admin.signing).encode()
    };
    let (strange, good) = (sign("other.example.com/log/main"), sign(ORIGIN));
    assert!(admin.put_as(Kind::RETIRE, strange).await.is_err(), "of another log");
    admin.put_as(Kind::RETIRE, good.clone()).await.expect("an admin's act");
    assert!(admin.put_as(Kind::RETIRE, good).await.is_err(), "twice");
    running.stop();
    assert_eq!((entries_of(&world, Kind::RETIRE), entries_of(&world, Kind::TOKEN)), (1, 1));
}
