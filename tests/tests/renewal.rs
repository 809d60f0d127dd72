//! Certificates of devices: renewed by a running agent, got back by the attestation key after their end, and never half
//! installed, whenever agent or collector is killed. Real programs, whose clocks are set ahead together.

#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "a test stops at what it cannot do")]

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use certs::{CertificateLife, TlsKey};
use collector::failpoints::RENEWAL_POINTS;
use collector::node::Node;
use evidence::acts::{Act, ActId, Allows, Approval, Body, Retire, recovery_digest};
use evidence::ids::InstanceId;
use evidence::time::{Clock, DAY_MS, Timestamp};
use tests::device::Device;
use tests::process::{Ran, Running, run_command, wait_for};
use tests::programs;
use tests::renewal::{By, Lies};
use tests::world::{ORIGIN, World, now, random};
use tonic::Code;

/// Sets the clocks of the programs ahead.
const AHEAD: &str = "TALLYSTICK_CLOCK_AHEAD_SECONDS";
/// Kills the agent.
const AGENT_POINT: &str = "TALLYSTICK_AGENT_FAILPOINT";

fn seconds(days: u64) -> String {
    (days * 86_400).to_string()
}

/// A server whose clock is so many days ahead.
fn serve(world: &World, days: u64) -> Running {
    let mut running = world.spawn(&[(AHEAD, &seconds(days))]);
    world.wait_ready(&mut running);
    running
}

/// One pass of an agent whose clock is so many days ahead.
fn once(world: &World, state: &str, days: u64, environment: &[(&str, &str)]) -> Ran {
    let mut command = world.agent_command(state, &["once", "--until-proved"]);
    command.env(AHEAD, seconds(days)).envs(environment.iter().copied());
    run_command(command)
}

fn status(world: &World, state: &str, days: u64) -> Ran {
    let mut command = world.agent_command(state, &["status"]);
    command.env(AHEAD, seconds(days));
    run_command(command)
}

fn identity(world: &World, state: &str) -> agent::identity::Identity {
    agent::identity::Identity::read(&agent::state::StateDirectory::new(world.file(state)))
        .expect("an identity")
}

fn life(world: &World, state: &str) -> CertificateLife {
    identity(world, state).life().expect("a certificate")
}

/// The key an agent uses is that of its certificate, and the chain ends in the root: OpenSSL says so.
fn assert_whole(world: &World, state: &str) {
    let identity = identity(world, state);
    let keys = identity.tls(&agent::state::StateDirectory::new(world.file(state))).expect("keys");
    assert_eq!(keys.key.public().id(), identity.life().expect("a certificate").key, "key and certificate");
    let pem = |name: &str, der: &[u8]| {
        let path = world.file(name);
        std::fs::write(&path, certs::pem::encode("CERTIFICATE", der)).expect("written");
        path
    };
    let [leaf, issuing, root] = [("leaf.pem", 0), ("issuing.pem", 1), ("root-of-agent.pem", 2)]
        .map(|(name, place)| pem(name, &identity.chain[place]));
    assert!(!world.file(state).join("renewal").exists(), "nothing is left of the renewal");
    let mut verify = Command::new("openssl");
    // Its time may lie ahead.
    verify.args(["verify", "-no_check_time", "-purpose", "sslclient", "-CAfile"]);
    verify.arg(&root).arg("-untrusted").arg(&issuing).arg(&leaf);
    run_command(verify).ok();
}

struct At(Timestamp);

impl Clock for At {
    fn now(&self) -> Timestamp {
        self.0
    }
}

/// What the log says, and what a person adds to it, beside a stopped server whose clock was so many days ahead.
async fn beside(world: &World, days: u64, body: Option<Body>) -> evidence::roster::Roster {
    let moment = Timestamp(now().ms() + days * DAY_MS);
    let node = Node::open_at(&world.data, Arc::new(At(moment)), |_| {}).expect("a stopped collector");
    if let Some(body) = body {
        let kind = body.kind();
        let signed =
            Act::sign(body, ORIGIN, ActId::from_bytes(random()), moment, &world.admin.keys().signing);
        node.state.put_act(kind, signed.encode(), None).await.expect("an admin's act");
    }
    let roster = node.state.book().authority.roster().clone();
    tokio::task::spawn_blocking(move || node.close()).await.expect("closed");
    roster
}

fn instance(world: &World, state: &str) -> InstanceId {
    identity(world, state).owner.instance
}

#[test]
fn a_running_agent_renews_its_certificate_and_goes_on() {
    let world = World::new(programs!());
    let short = [("TALLYSTICK_AGENT_CERTIFICATE_SECONDS", "24")];
    let mut server = world.spawn(&short);
    world.wait_ready(&mut server);
    world.enrol_agent("laptop", &world.token());
    let first = life(&world, "laptop");
    assert_eq!(first.length_ms(), 24_000);
    let agent = Running::start(world.agent_command("laptop", &["run"]), &world.file("agent.log"));
    wait_for("a renewed certificate", || (life(&world, "laptop") != first).then_some(()));
    let second = life(&world, "laptop");
    let after = second.begins.ms() - first.begins.ms();
    // Whole seconds in certificates; a busy machine is late and never early.
    assert!(after + 1000 >= 24_000 * 56 / 100, "renewed after {after} ms");
    assert_ne!(second.key, first.key, "another key");
    wait_for("a second renewal", || (life(&world, "laptop") != second).then_some(()));
    agent.stop();
    let said = std::fs::read_to_string(world.file("agent.log")).expect("the agent's log");
    assert!(!said.contains("ERROR"), "{said}");
    once(&world, "laptop", 0, &[]).ok();
    assert_whole(&world, "laptop");
    server.stop();
    world.fsck();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_or_a_collector_that_is_killed_anywhere_leaves_one_whole_identity_and_one_renewal() {
    let world = World::new(programs!());
    let server = world.serve();
    world.enrol_agent("laptop", &world.token());
    let instance = instance(&world, "laptop");
    server.stop();
    let mut days = 0;
    let mut renewals = 0;
    for point in agent::failpoints::POINTS {
        days += 25;
        renewals += 1;
        let server = serve(&world, days);
        let before = life(&world, "laptop");
        let killed = once(&world, "laptop", days, &[(AGENT_POINT, point)]);
        assert_eq!(killed.code, None, "{point}: {}{}", killed.out, killed.err);
        // Whoever reads it now finds a key for the certificate.
        let identity = identity(&world, "laptop");
        let state = agent::state::StateDirectory::new(world.file("laptop"));
        let key = identity.tls(&state).expect("a key").key;
        assert_eq!(key.public().id(), identity.life().expect("a certificate").key, "{point}");
        once(&world, "laptop", days, &[]).ok();
        assert_ne!(life(&world, "laptop"), before, "{point}");
        assert_whole(&world, "laptop");
        server.stop();
        let roster = beside(&world, days, None).await;
        let record = roster.instance(&instance).expect("the instance");
        assert_eq!(record.generation, renewals, "{point}: one renewal each");
        assert_eq!(record.certificate, life(&world, "laptop").fingerprint, "{point}");
    }
    for point in RENEWAL_POINTS {
        days += 25;
        renewals += 1;
        let mut server = world.spawn(&[(AHEAD, &seconds(days)), ("TALLYSTICK_FAILPOINT", point)]);
        world.wait_ready(&mut server);
        // The proof of its statement may have been on its way already.
        let _answered_or_not = once(&world, "laptop", days, &[]);
        server.wait_killed();
        let server = serve(&world, days);
        once(&world, "laptop", days, &[]).ok();
        assert_whole(&world, "laptop");
        server.stop();
        let roster = beside(&world, days, None).await;
        let record = roster.instance(&instance).expect("the instance");
        assert_eq!(record.generation, renewals, "{point}: one renewal each");
        assert_eq!(record.certificate, life(&world, "laptop").fingerprint, "{point}");
        assert_eq!(record.recoveries, 0, "{point}");
    }
    world.fsck();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_laptop_that_slept_comes_back_twice_then_asks_a_person_and_after_90_days_is_enrolled_anew() {
    let world = World::new(programs!());
    let server = world.serve();
    for state in ["often", "long", "longer", "retired"] {
        world.enrol_agent(state, &world.token());
    }
    server.stop();
    // Certificates hold 30 days: asleep 1 day past the end, then 30 days past the end of the second one.
    for (days, recoveries) in [(31, 1), (91, 2)] {
        let server = serve(&world, days);
        once(&world, "often", days, &[]).ok();
        assert_whole(&world, "often");
        assert_eq!(status(&world, "often", days).code, Some(0));
        server.stop();
        let roster = beside(&world, days, None).await;
        assert_eq!(roster.instance(&instance(&world, "often")).expect("known").recoveries, recoveries);
    }
    let server = serve(&world, 119);
    once(&world, "long", 119, &[]).ok();
    server.stop();
    let device = identity(&world, "retired").device;
    let retire = Retire { device, effective_at: Timestamp(0), detail: None };
    beside(&world, 119, Some(Body::Retire(retire))).await;
    let server = serve(&world, 121);
    let refused = once(&world, "longer", 121, &[]).fails(2);
    assert!(refused.contains("91 days ago") && refused.contains("new token"), "{refused}");
    let said = status(&world, "longer", 121).fails_with(1);
    assert!(said.contains("enrol anew"), "{said}");
    let refused = once(&world, "retired", 121, &[]).fails(2);
    assert!(refused.contains("it was retired") && refused.contains("new token"), "{refused}");
    server.stop();
    // The third time of the first one: 89 days past the end of its third certificate.
    let server = serve(&world, 210);
    let waits = once(&world, "often", 210, &[]).fails(2);
    assert!(waits.contains("an admin must allow it"), "{waits}");
    let said = status(&world, "often", 210).fails_with(1);
    assert!(said.contains("an admin must allow it") && said.contains("by itself"), "{said}");
    let told = server.said();
    assert!(told.contains("A recovery waits for an admin"), "{told}");
    server.stop();
    let approval = Approval {
        allows: Allows::Recovery,
        request: recovery_digest(&instance(&world, "often")),
        expires_at: Timestamp(now().ms() + 213 * DAY_MS),
    };
    beside(&world, 210, Some(Body::Approval(approval))).await;
    let server = serve(&world, 210);
    once(&world, "often", 210, &[]).ok();
    assert_whole(&world, "often");
    server.stop();
    let roster = beside(&world, 210, None).await;
    let record = roster.instance(&instance(&world, "often")).expect("known");
    assert_eq!((record.generation, record.recoveries), (3, 1), "it counts from the approved one");
    world.fsck();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_hold_the_keys_or_asks_at_the_wrong_time_gets_no_certificate() {
    let world = World::new(programs!());
    let server = world.serve();
    let mut device = Device::enrol(&world, &world.token()).await;
    let other = Device::enrol(&world, &world.token()).await;
    let key = || TlsKey::generate().expect("a key");
    let code = |answer: Result<proto::Renewed, tonic::Status>| answer.err().map(|status| status.code());
    // Signatures over another connection, another number, by another key.
    let lies = [
        Lies { exporter: true, ..Lies::default() },
        Lies { generation: true, ..Lies::default() },
        Lies { attestation: true, ..Lies::default() },
    ];
    for lie in lies {
        let live = device.connect().await.expect("a connection");
        assert_eq!(
            code(device.ask(live, By::Live, &key(), lie).await),
            Some(Code::Unauthenticated),
            "{lie:?}"
        );
        let nobody = device.connect_as_nobody(&world).await;
        let answer = device.ask(nobody, By::Recovery, &key(), lie).await;
        assert_eq!(code(answer), Some(Code::Unauthenticated), "{lie:?}");
    }
    // Another device's connection, and a certificate that is young or holds.
    let foreign = other.connect().await.expect("a connection");
    let answer = device.ask(foreign, By::Live, &key(), Lies::default()).await;
    assert_eq!(code(answer), Some(Code::PermissionDenied));
    let live = device.connect().await.expect("a connection");
    let young = device.ask(live, By::Live, &key(), Lies::default()).await;
    assert_eq!(code(young), Some(Code::FailedPrecondition));
    let nobody = device.connect_as_nobody(&world).await;
    let holds = device.ask(nobody, By::Recovery, &key(), Lies::default()).await;
    assert_eq!(code(holds), Some(Code::FailedPrecondition));
    let mut stranger = other;
    stranger.instance = InstanceId::from_bytes(random());
    let nobody = device.connect_as_nobody(&world).await;
    let unknown = stranger.ask(nobody, By::Recovery, &key(), Lies::default()).await;
    assert_eq!(code(unknown), Some(Code::PermissionDenied));
    // After two thirds, or when its authority goes: here the latter. The first answer is lost.
    let root_key = world.file("root.key").display().to_string();
    let rollover = ["ca", "rollover", "--of", "agents", "--root-key", &root_key, "--wait-hours", "0"];
    world.collector(&rollover).fails(1);
    let wanted = key();
    let live = device.connect().await.expect("a connection");
    let first = device.ask(live, By::Live, &wanted, Lies::default()).await.expect("a certificate");
    let live = device.connect().await.expect("a connection");
    let again = device.ask(live, By::Live, &wanted, Lies::default()).await.expect("the same certificate");
    assert_eq!(first, again, "a lost answer is given again");
    // Whoever shows the old certificate and another key is a copy.
    let live = device.connect().await.expect("a connection");
    let copy = device.ask(live, By::Live, &key(), Lies::default()).await.expect_err("a copy");
    assert!(copy.message().contains("is a copy"), "{copy}");
    device.take(again, wanted);
    device.greet().await;
    server.stop();
    let roster = beside(&world, 0, None).await;
    assert_eq!(roster.instance(&device.instance).expect("known").generation, 1);
    assert!(Path::new(&root_key).exists());
}
