//! Tokens for many devices, newcomers that wait, and what a stranger with wrong tokens gets: over the real collector.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test stops at what it cannot do, and prints what it counted"
)]

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::time::Duration;

use certs::{Token, TokenSecret};
use collector::failpoints::ENROL_POINTS;
use evidence::ids::Digest;
use evidence::leaf::Kind;
use proto::enrol_reply::Step as Reply;
use proto::enrol_request::Step as Request;
use proto::{EnrolBegin, EnrolFinish, EnrolRequest};
use rpc::v1::enrolment_client::EnrolmentClient;
use tests::device::{self, Device, Keys, NotEnrolled};
use tests::kept::entries_of;
use tests::process::{Running, wait_for};
use tests::world::{World, clock, random};
use tests::{figures, programs};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

/// Guesses of every day, and of the long form.
const GUESSES: usize = 1_000;
const GUESSES_LONG: usize = 20_000;
/// Nonces of every day, and of the long form.
const NONCES: usize = 100_000;
const NONCES_LONG: usize = 1_000_000;
/// Uses of one token at once.
const AT_ONCE: usize = 100;
/// Retries of one enrolment.
const RETRIES: usize = 50;
/// Kills of an enrolling agent.
const AGENT_KILLS: u64 = 20;

fn make_token(world: &World, options: &[&str]) -> Token {
    let key = world.admin.key.display().to_string();
    let line = ["token", "create", "--json", "--key", &key, "--class", "laptop", "--group", "office"];
    let made = world.collector(&[&line[..], options].concat()).json();
    made["token"].as_str().and_then(|text| text.parse().ok()).expect("a token")
}

fn refused(answer: Result<proto::Enrolled, NotEnrolled>) -> Status {
    match answer {
        Err(NotEnrolled::Refused(status)) => status,
        other => panic!("not refused: {other:?}"),
    }
}

fn waits(answer: Result<proto::Enrolled, NotEnrolled>) -> Digest {
    match answer {
        Err(NotEnrolled::Waits(request)) => request,
        other => panic!("it does not wait: {other:?}"),
    }
}

/// How many certificates devices got.
fn issued(world: &World) -> usize {
    let domain = world.admin.profile().trust_domain;
    let of_a_device = |path: &std::path::Path| {
        let certificate = fs::read(path).expect("a certificate").into();
        certs::PeerCertificate::read(&certificate, &domain, certs::Population::Agents).is_ok()
    };
    let all = fs::read_dir(world.data.join("certs/issued")).expect("the issued certificates");
    all.filter(|entry| of_a_device(&entry.as_ref().expect("an entry").path())).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_enrols_as_many_devices_as_it_says_and_a_stranger_learns_one_sentence() {
    let world = World::new(programs!());
    let running = world.serve();
    let token = make_token(&world, &["--uses", "3", "--expires", "14d"]);
    for _ in 0..3 {
        Device::enrol(&world, &token).await;
    }
    let spent = refused(device::enrol(world.enrol, &token, &Keys::new()).await);
    let guessed = Token { secret: TokenSecret::from_bytes(random()), pin: token.pin };
    let unknown = refused(device::enrol(world.enrol, &guessed, &Keys::new()).await);
    assert_eq!(spent.code(), Code::PermissionDenied);
    assert_eq!((spent.code(), spent.message()), (unknown.code(), unknown.message()), "an oracle");
    let log = fs::read_to_string(world.log()).expect("the collector's log");
    assert!(
        log.contains("as many as it may") && log.contains("no such token"),
        "the operator learns which:\n{log}"
    );
    running.stop();
    assert_eq!(entries_of(&world, Kind::ENROLMENT), 3);
    assert_eq!(issued(&world), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guessing_enrols_nobody_and_locks_the_address() {
    let world = World::new(programs!());
    let running = world.serve();
    let good = world.token();
    let guesses = if figures::long() { GUESSES_LONG } else { GUESSES };
    let tls = certs::enrolment_client(good.pin, clock()).expect("TLS");
    let address = world.enrol.to_string().parse().expect("an address");
    let (mut wrong, mut locked) = (0, 0);
    for _ in 0..guesses {
        let connection = rpc::connect::connect(&address, tls.clone()).await.expect("a connection");
        let guessed = Token { secret: TokenSecret::from_bytes(random()), pin: good.pin };
        let exporter = connection.exporter;
        match device::dialogue(connection, &guessed, &Keys::new(), exporter).await {
            Err(status) if status.code() == Code::PermissionDenied => wrong += 1,
            Err(status) if status.code() == Code::ResourceExhausted => locked += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((wrong, locked), (5, guesses - 5), "guesses looked at, and refused unseen");
    // The good token of somebody at the same address waits too, and is not used up.
    let status = refused(device::enrol(world.enrol, &good, &Keys::new()).await);
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    running.stop();
    let running = world.serve();
    Device::enrol(&world, &good).await;
    running.stop();
    assert_eq!(entries_of(&world, Kind::ENROLMENT), 1);
    figures::report("guessed tokens, accepted of tried", format!("0 of {guesses}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_uses_of_one_token_at_once_give_one_certificate() {
    let world = World::new(programs!());
    let running = world.serve();
    let token = world.token();
    let tries: Vec<_> = (0..AT_ONCE)
        .map(|_| {
            let (address, token) = (world.enrol, token.clone());
            tokio::spawn(async move { device::enrol(address, &token, &Keys::new()).await.is_ok() })
        })
        .collect();
    let mut enrolled = 0;
    for done in tries {
        enrolled += usize::from(done.await.expect("a try"));
    }
    assert_eq!(enrolled, 1);
    running.stop();
    assert_eq!((entries_of(&world, Kind::ENROLMENT), issued(&world)), (1, 1));
    world.fsck();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_whose_answer_was_lost_gets_the_same_certificate_again() {
    let world = World::new(programs!());
    let running = world.serve();
    let (token, keys) = (world.token(), Keys::new());
    let first = device::enrol(world.enrol, &token, &keys).await.expect("enrolled");
    for _ in 0..RETRIES {
        let again = device::enrol(world.enrol, &token, &keys).await.expect("the same answer");
        assert_eq!((&again.certificate, &again.device), (&first.certificate, &first.device));
    }
    running.stop();
    assert_eq!((entries_of(&world, Kind::ENROLMENT), issued(&world)), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_nonce_is_good_once_on_its_connection() {
    let world = World::new(programs!());
    let running = world.serve();
    let (token, keys) = (world.token(), Keys::new());
    let tls = certs::enrolment_client(token.pin, clock()).expect("TLS");
    let address = world.enrol.to_string().parse().expect("an address");
    let connection = rpc::connect::connect(&address, tls).await.expect("a connection");
    let begin = || EnrolRequest {
        step: Some(Request::Begin(EnrolBegin { enrolment_id: keys.enrolment_id.to_vec(), anchor_size: 0 })),
    };
    let mut nonces = BTreeSet::new();
    let mut old = None;
    for _ in 0..2 {
        let (sender, queue) = tokio::sync::mpsc::channel(2);
        sender.send(begin()).await.expect("sent");
        let mut client = EnrolmentClient::new(connection.channel.clone());
        let mut replies = client.enrol(ReceiverStream::new(queue)).await.expect("a stream").into_inner();
        let Some(Reply::Nonce(nonce)) = replies.message().await.expect("an answer").and_then(|r| r.step)
        else {
            panic!("no nonce");
        };
        assert!(nonces.insert(nonce.nonce.clone()));
        let (detail, salt) = (b"{}".to_vec(), [1; 32]);
        // The second dialogue answers with what was signed over the nonce of the first.
        let signed_over = old.clone().unwrap_or_else(|| nonce.nonce.clone());
        let transcript = evidence::enrolment::Transcript {
            trust_domain: tests::world::TRUST_DOMAIN.parse().expect("a trust domain"),
            enrolment_id: keys.enrolment_id,
            nonce: signed_over.try_into().expect("32 bytes"),
            exporter: connection.exporter,
            token_hash: token.secret.hash(),
            tls_key: keys.tls.public().clone(),
            attestation_key: *keys.attestation.public(),
            facts_commitment: Digest::of_parts(&[&salt, &detail]),
        };
        let bytes = transcript.encode();
        let finish = EnrolFinish {
            token_secret: token.secret.as_bytes().to_vec(),
            tls_spki: keys.tls.public().spki_der().to_vec(),
            attestation_key: keys.attestation.public().as_bytes().to_vec(),
            detail,
            detail_salt: salt.to_vec(),
            sig_ed25519: keys.attestation.sign(&bytes).to_vec(),
            sig_p256: keys.tls.sign(&bytes).expect("a signature").to_vec(),
            endorsement_certificate: Vec::new(),
            key_level_claimed: String::new(),
        };
        if old.is_none() {
            // This dialogue ends here, as if somebody had copied what would be sent now.
            old = Some(nonce.nonce);
            continue;
        }
        sender.send(EnrolRequest { step: Some(Request::Finish(finish)) }).await.expect("sent");
        let status = replies.message().await.expect_err("replayed");
        assert_eq!(status.code(), Code::Unauthenticated, "{status}");
    }
    running.stop();
    assert_eq!(entries_of(&world, Kind::ENROLMENT), 0);
    let count = if figures::long() { NONCES_LONG } else { NONCES };
    let distinct: BTreeSet<[u8; 32]> =
        (0..count).map(|_| collector::state::random().expect("random")).collect();
    assert_eq!(distinct.len(), count, "the source of nonces");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listed_serial_number_enrols_once_and_the_rest_waits_for_a_person() {
    let world = World::new(programs!());
    let running = world.serve();
    let list = world.file("serials.txt");
    fs::write(&list, "SN-2\nSN-1\n").expect("a list");
    let token = make_token(&world, &["--uses", "10", "--serials", &list.display().to_string()]);
    let listed = Keys::with_serial("SN-1");
    device::enrol(world.enrol, &token, &listed).await.expect("listed");
    device::enrol(world.enrol, &token, &listed).await.expect("the same device again");
    let twice = Keys::with_serial("SN-1");
    waits(device::enrol(world.enrol, &token, &twice).await);
    let stranger = Keys::with_serial("SN-9");
    let request = waits(device::enrol(world.enrol, &token, &stranger).await);
    assert_eq!(request, waits(device::enrol(world.enrol, &token, &stranger).await), "the same request");
    waits(device::enrol(world.enrol, &token, &Keys::new()).await);
    let pending = world.cli(&world.admin, &["devices", "pending", "--json"]).fails_json(1);
    let rows = pending["pending"].as_array().expect("rows");
    assert_eq!(rows.len(), 3, "{pending}");
    let row = rows.iter().find(|row| row["serial"] == "SN-9").expect("the stranger");
    assert_eq!((&row["request"], &row["why"]), (&request.hex().into(), &"serial".into()));
    assert_eq!((&row["host_name"], &row["address"]), (&"host-SN-9".into(), &"127.0.0.1".into()));
    // Nothing of them is in the log, and the list outlives the process.
    running.kill();
    assert_eq!(entries_of(&world, Kind::ENROLMENT), 1);
    let running = world.serve();
    world.admit_people();
    let approve = ["devices", "approve", &request.hex()];
    world.cli(&world.analyst, &approve).fails(2);
    world.cli(&world.admin, &approve).ok();
    device::enrol(world.enrol, &token, &stranger).await.expect("approved");
    let left = world.cli(&world.analyst, &["devices", "pending", "--json"]).fails_json(1);
    assert_eq!(left["pending"].as_array().map(Vec::len), Some(2), "{left}");
    running.stop();
    assert_eq!(entries_of(&world, Kind::ENROLMENT), 2);
    world.fsck();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newcomer_with_known_hardware_waits_and_the_incumbent_stays() {
    let world = World::new(programs!());
    world.set("admit_known_hardware", false);
    let running = world.serve();
    let token = make_token(&world, &["--uses", "5"]);
    let mut incumbent = Device::try_enrol(&world, &token, Keys::with_serial("SN-1")).await.expect("enrolled");
    let keys = Keys::with_serial("SN-1");
    let request = waits(device::enrol(world.enrol, &token, &keys).await);
    let pending = world.cli(&world.admin, &["devices", "pending", "--json"]).fails_json(1);
    assert_eq!(pending["pending"][0]["like"][0], incumbent.id.to_string(), "{pending}");
    let (mut submit, _) = incumbent.greet().await;
    submit.store(&incumbent.sign_next()).await;
    world.cli(&world.admin, &["devices", "approve", &request.hex()]).ok();
    let mut newcomer = Device::try_enrol(&world, &token, keys).await.expect("approved");
    submit.store(&incumbent.sign_next()).await;
    let (mut other, _) = newcomer.greet().await;
    other.store(&newcomer.sign_next()).await;
    let conflicts = || world.cli(&world.admin, &["devices", "conflicts", "--json"]);
    let open = conflicts().fails_json(1);
    assert_eq!(
        (&open["conflicts"][0]["kind"], &open["conflicts"][0]["open"]),
        (&"hardware".into(), &true.into())
    );
    // One machine, installed anew: the old device leaves service and its key ends.
    let line =
        ["devices", "merge", &newcomer.id.to_string(), &incumbent.id.to_string(), "--reason", "new disk"];
    world.cli(&world.admin, &line).ok();
    assert_eq!(conflicts().json()["conflicts"].as_array().map(Vec::len), Some(0));
    let (reason, _) = submit.refused(incumbent.sign_next().bytes()).await;
    assert_eq!(reason, proto::RefusedReason::Retired);
    other.store(&newcomer.sign_next()).await;
    running.stop();
    world.fsck();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_killed_at_any_step_of_an_enrolment_leaves_no_half_enrolled_device() {
    for point in ENROL_POINTS.into_iter().chain(["journal-written", "journal-synced", "group-answered"]) {
        let world = World::new(programs!());
        let running = world.serve();
        let token = make_token(&world, &["--approve"]);
        let once = world.token();
        let keys = Keys::new();
        let waiting = point == "enrol-waiting-kept";
        running.stop();
        let mut running = world.spawn(&[("TALLYSTICK_FAILPOINT", point)]);
        world.wait_ready(&mut running);
        let used = if waiting { &token } else { &once };
        device::enrol(world.enrol, used, &keys).await.expect_err("the collector dies");
        running.wait_killed();
        let running = world.serve();
        if waiting {
            let request = waits(device::enrol(world.enrol, used, &keys).await);
            world.cli(&world.admin, &["devices", "approve", &request.hex()]).ok();
        }
        let enrolled = device::enrol(world.enrol, used, &keys).await.expect("after the restart");
        let again = device::enrol(world.enrol, used, &keys).await.expect("the same answer");
        assert_eq!(enrolled.certificate, again.certificate, "{point}");
        refused(device::enrol(world.enrol, used, &Keys::new()).await);
        running.stop();
        assert_eq!(entries_of(&world, Kind::ENROLMENT), 1, "{point}");
        world.fsck();
    }
}

#[test]
fn an_agent_killed_while_it_enrols_becomes_one_device() {
    let world = World::new(programs!());
    let running = world.serve();
    let token = world.token();
    let file = world.file("agent.token");
    tests::world::write_secret(&file, token.text().as_bytes());
    let (enrol, agents) = (world.enrol.to_string(), world.agents.to_string());
    let file = file.display().to_string();
    for kill in 0..AGENT_KILLS {
        let mut command = Command::new(programs!().agent);
        command.arg("--state").arg(world.file("agent"));
        command.args(["enroll", "--server", &enrol, "--agents", &agents, "--token-file", &file]);
        let started = Running::start(command, &world.file("agent.log"));
        std::thread::sleep(Duration::from_millis(kill * 7));
        started.kill();
    }
    world.enrol_agent("agent", &token);
    running.stop();
    assert_eq!(entries_of(&world, Kind::ENROLMENT), 1);
}

#[test]
fn an_agent_waits_until_a_person_has_approved_it() {
    let world = World::new(programs!());
    let running = world.serve();
    let token = make_token(&world, &["--approve"]);
    let said = world.try_enrol_agent("agent", &token.text()).fails_json(1);
    let request = said["waiting"].as_str().expect("a request").to_owned();
    let file = world.file("agent.token").display().to_string();
    let (enrol, agents) = (world.enrol.to_string(), world.agents.to_string());
    let mut command = Command::new(programs!().agent);
    command.arg("--state").arg(world.file("agent"));
    command.args(["enroll", "--wait", "--server", &enrol, "--agents", &agents, "--token-file", &file]);
    let mut waiting = Running::start(command, &world.file("agent.log"));
    wait_for("the agent to ask", || waiting.said().contains("waits for a person").then_some(()));
    assert!(waiting.ended().is_none());
    let pending = world.cli(&world.admin, &["devices", "pending", "--json"]).fails_json(1);
    assert_eq!(pending["pending"][0]["request"], request);
    world.cli(&world.admin, &["devices", "approve", &request]).ok();
    let ended = wait_for("the agent to be enrolled", || waiting.ended());
    assert!(ended.success(), "{ended}: {}", waiting.said());
    world.agent("agent", &["once"]).ok();
    running.stop();
    assert_eq!(entries_of(&world, Kind::ENROLMENT), 1);
}
