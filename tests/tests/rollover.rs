//! Changing an issuing authority while devices submit: interrupted at every step, rolled back at every phase, with the server
//! up and down, and after the authorities have ended. Nobody is locked out.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test stops at what it cannot do, and prints what it saw"
)]

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use collector::node::Node;
use collector::service::admin::AdminService;
use evidence::acts::KeyOf;
use evidence::ids::Digest;
use evidence::roster::Trusted;
use proto::ChangeAuthorityRequest;
use tests::device::Device;
use tests::load::Load;
use tests::process::{PATIENCE, Ran, Running, run_command};
use tests::world::{World, write_secret};
use tests::{figures, programs};

/// Devices of the load.
const DEVICES: usize = 50;
/// How long each rests after a statement: 50 of them, a machine of two processors, and a build that is not optimised.
const REST: Duration = Duration::from_millis(500);
/// Rollovers of every day, and of the long form.
const ROLLOVERS: usize = 1;
const ROLLOVERS_LONG: usize = 20;

fn rollover_command(world: &World, of: &str, more: &[&str]) -> Command {
    let root_key = world.file("root.key").display().to_string();
    let line = [&["ca", "rollover", "--of", of, "--root-key", &root_key], more].concat();
    world.collector_command(&line)
}

fn rollover(world: &World, of: &str, more: &[&str]) -> Ran {
    run_command(rollover_command(world, of, more))
}

fn status(world: &World, of: &str) -> serde_json::Value {
    world.collector(&["ca", "rollover", "--of", of, "--status", "--json"]).json()
}

fn named(status: &serde_json::Value, member: &str) -> Option<String> {
    status[member].get(0).and_then(|value| value.as_str()).map(str::to_owned)
}

/// Runs the command until it kills itself at a point.
fn killed_at(world: &World, point: &str) {
    let mut command = rollover_command(world, "agents", &["--again"]);
    command.env("TALLYSTICK_FAILPOINT", point);
    let killed = run_command(command);
    assert_eq!(killed.code, None, "{point}: {}{}", killed.out, killed.err);
    print!("-- killed at {point}\n{}", killed.out);
}

/// Runs the command beside a server that kills itself after the next step is in the log; gives a new server.
fn server_killed_at_a_step(world: &World, load: &Load, server: Running) -> Running {
    load.down();
    server.stop();
    let mut server = world.spawn(&[("TALLYSTICK_FAILPOINT", "rollover-stored")]);
    world.wait_ready(&mut server);
    load.up();
    let cut = rollover(world, "agents", &["--again"]);
    assert_ne!(cut.code, Some(0), "{}", cut.out);
    print!("-- the server was killed after a step\n{}{}", cut.out, cut.err);
    server.wait_killed();
    load.down();
    let server = world.serve();
    load.up();
    server
}

async fn devices(world: &World, count: usize) -> Vec<Device> {
    let mut devices = Vec::new();
    for _ in 0..count {
        devices.push(Device::enrol(world, &world.token()).await);
    }
    devices
}

/// What the log says of the authorities, beside a stopped server.
async fn authorities(world: &World) -> (Trusted, Vec<(Digest, u64)>) {
    let node = Node::open(&world.data, |_| {}).expect("a stopped collector");
    let (trusted, instances) = {
        let book = node.state.book();
        let roster = book.authority.roster();
        let trusted = roster.authorities().trusted(KeyOf::Agents).cloned().expect("authorities");
        let instances = roster.instances().map(|(_, record)| (record.certificate, record.generation));
        (trusted, instances.collect::<Vec<_>>())
    };
    tokio::task::spawn_blocking(move || node.close()).await.expect("closed");
    (trusted, instances)
}

/// Every device's newest certificate was issued by the authority that issues now; OpenSSL checks each chain.
fn assert_all_under(world: &World, issuing: &Digest, certificates: &[(Digest, u64)]) {
    let ca = world.data.join("certs").join(format!("ca-{issuing}.pem"));
    let root = world.data.join("certs").join("root.pem");
    let leaf = world.file("leaf.pem");
    for (certificate, _) in certificates {
        let der = std::fs::read(world.data.join("certs/issued").join(format!("{certificate}.der")));
        std::fs::write(&leaf, certs::pem::encode("CERTIFICATE", &der.expect("it is kept"))).expect("written");
        let mut verify = Command::new("openssl");
        verify
            .args(["verify", "-purpose", "sslclient", "-CAfile"])
            .arg(&root)
            .arg("-untrusted")
            .arg(&ca)
            .arg(&leaf);
        run_command(verify).ok();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn interrupted_at_every_step_with_fifty_devices_nobody_is_lost() {
    let rollovers = if figures::long() { ROLLOVERS_LONG } else { ROLLOVERS };
    let world = World::new(programs!());
    let mut server = world.serve();
    let load = Load::start_resting(devices(&world, DEVICES).await, REST);
    load.up();
    load.reaches(DEVICES).await;
    for _ in 0..rollovers {
        let before = status(&world, "agents")["issuing"].clone();
        for point in
            ["rollover-key-written", "rollover-files-written", "rollover-prepared", "rollover-activated"]
        {
            killed_at(&world, point);
        }
        // Killed from outside while it waits, and at its very end.
        let mut command = rollover_command(&world, "agents", &[]);
        command.env("TALLYSTICK_FAILPOINT", "rollover-retired");
        let mut waiting = Running::start(command, &world.file("rollover.log"));
        tokio::time::sleep(Duration::from_millis(300)).await;
        if waiting.ended().is_none() {
            waiting.kill();
            print!(
                "-- killed while it waits\n{}",
                std::fs::read_to_string(world.file("rollover.log")).expect("log")
            );
            killed_at(&world, "rollover-retired");
        }
        let after = status(&world, "agents");
        assert_ne!(after["issuing"], before, "another one issues");
        assert_eq!((named(&after, "prepared"), named(&after, "retiring")), (None, None), "{after}");
        let done = rollover(&world, "agents", &[]).ok();
        assert!(done.contains("nothing to do"), "{done}");
        // And the server, after each of the three entries.
        for _ in 0..3 {
            server = server_killed_at_a_step(&world, &load, server);
        }
        let second = status(&world, "agents");
        assert_ne!(second["issuing"], after["issuing"], "another one again");
        assert_eq!((named(&second, "prepared"), named(&second, "retiring")), (None, None), "{second}");
    }
    load.reaches(load.acknowledged() + DEVICES * 2).await;
    let record = load.end().await;
    server.stop();
    let (trusted, certificates) = authorities(&world).await;
    assert_eq!(certificates.len(), DEVICES);
    assert_all_under(&world, &trusted.issuing, &certificates);
    let renewals: u64 = certificates.iter().map(|(_, generation)| generation).sum();
    let lost = certificates.iter().filter(|(_, generation)| *generation < rollovers as u64 * 2).count();
    figures::report(
        "rollover interrupted at every step",
        format_args!(
            "{} rollovers, {DEVICES} devices: {lost} lost, {} calls failed due to trust, {} renewals, {} statements",
            rollovers * 2,
            record.distrusted.len(),
            record.renewed,
            record.acknowledged.len()
        ),
    );
    assert_eq!(record.wrong, Vec::<String>::new(), "answers that are not as promised");
    assert_eq!(record.distrusted, Vec::<String>::new(), "calls that failed due to trust");
    assert_eq!((lost, renewals), (0, (DEVICES * rollovers * 2) as u64), "each device once a rollover");
    world.fsck();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn back_from_every_phase() {
    let world = World::new(programs!());
    let server = world.serve();
    let load = Load::start_resting(devices(&world, 3).await, REST);
    load.up();
    let first = status(&world, "agents")["issuing"].clone();
    let nothing = rollover(&world, "agents", &["--rollback"]).fails(2);
    assert!(nothing.contains("no change of the agents authority"), "{nothing}");
    killed_at(&world, "rollover-prepared");
    let said = rollover(&world, "agents", &["--rollback"]).ok();
    assert!(said.contains("rolled back"), "{said}");
    assert_eq!(status(&world, "agents")["issuing"], first);
    // After activation, when devices may have renewed already: they come back to the old one.
    killed_at(&world, "rollover-activated");
    let second = status(&world, "agents")["issuing"].clone();
    assert_ne!(second, first);
    tokio::time::sleep(Duration::from_secs(2)).await;
    rollover(&world, "agents", &["--rollback"]).ok();
    let back = status(&world, "agents");
    assert_eq!((&back["issuing"], named(&back, "retiring")), (&first, second.as_str().map(str::to_owned)));
    rollover(&world, "agents", &[]).ok();
    let back = status(&world, "agents");
    assert_eq!((&back["issuing"], named(&back, "retiring")), (&first, None));
    load.reaches(load.acknowledged() + 6).await;
    let record = load.end().await;
    assert_eq!(record.wrong, Vec::<String>::new());
    assert_eq!(record.distrusted, Vec::<String>::new());
    // After retirement there is no way back, and none is needed.
    rollover(&world, "agents", &["--again", "--retire-anyway"]).ok();
    rollover(&world, "agents", &["--rollback"]).fails(2);
    server.stop();
    world.fsck();
}

#[test]
fn with_the_server_down_and_for_people_and_servers() {
    let world = World::new(programs!());
    world.admit_people();
    // Nobody is enrolled: nobody has to come.
    let said = rollover(&world, "agents", &[]).ok();
    assert!(said.contains("prepared (entry") && said.contains("retired (entry"), "{said}");
    let said = rollover(&world, "servers", &[]).ok();
    assert!(said.contains("retired (entry"), "{said}");
    let waits = rollover(&world, "people", &[]).fails_with(1);
    assert!(waits.contains("certificates of it end at") && waits.contains("start the server"), "{waits}");
    let server = world.serve();
    // The profiles of before hold until the old authority is retired.
    world.cli(&world.analyst, &["devices"]).ok();
    rollover(&world, "people", &["--retire-anyway"]).ok();
    world.cli(&world.analyst, &["devices"]).fails(2);
    let key = world.analyst.public.display().to_string();
    let profile = world.analyst.profile.display().to_string();
    world.collector(&["user", "renew", "--public-key", &key, "--profile-out", &profile]).ok();
    world.cli(&world.analyst, &["devices"]).ok();
    world.enrol_agent("laptop", &world.token());
    run_command(world.agent_command("laptop", &["once", "--until-proved"])).ok();
    let other = world.file("other.key");
    write_secret(&other, certs::TlsKey::generate().expect("a key").to_pem().as_bytes());
    let line = ["ca", "rollover", "--of", "agents", "--again", "--root-key"];
    let refused = world.collector(&[&line[..], &[&other.display().to_string()]].concat()).fails(2);
    assert!(refused.contains("not the key of this installation's root"), "{refused}");
    server.stop();
    world.fsck();
}

/// An authority of somebody's own making, whose files lie where a real one's do.
fn plant(world: &World, certificate: &Path, key: &Path) -> Digest {
    let text = std::fs::read_to_string(certificate).expect("a certificate");
    let digest = Digest::of(&certs::pem::certificate(&text).expect("a certificate"));
    std::fs::copy(certificate, world.data.join(format!("certs/ca-{digest}.pem"))).expect("copied");
    let key = std::fs::read(key).expect("a key");
    write_secret(&world.data.join(format!("keys/ca-{digest}.key")), &key);
    digest
}

async fn prepare(world: &World, digest: &Digest) -> Result<(), String> {
    let node = Node::open(&world.data, |_| {}).expect("a stopped collector");
    let service = AdminService::new(node.state.clone(), node.identities.clone());
    let request = ChangeAuthorityRequest {
        of: "agents".into(),
        step: "prepare".into(),
        certificate: digest.as_bytes().to_vec(),
        anyway: false,
    };
    let answer = service.change(&request).await;
    drop(service);
    tokio::task::spawn_blocking(move || node.close()).await.expect("closed");
    answer.map(|_| ()).map_err(|error| error.to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authority_with_a_name_that_is_trusted_or_by_another_root_is_refused() {
    let world = World::new(programs!());
    let openssl = |arguments: &[&str]| {
        let mut command = Command::new("openssl");
        command.args(arguments).current_dir(world.file(""));
        run_command(command).ok();
    };
    std::fs::write(
        world.file("ca.ext"),
        "basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign\n",
    )
    .expect("written");
    openssl(&["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", "new.key"]);
    // The same name, byte by byte: the request is made of the old certificate.
    openssl(&[
        "x509",
        "-x509toreq",
        "-in",
        "data/certs/agents.pem",
        "-signkey",
        "new.key",
        "-out",
        "same.csr",
    ]);
    let root = ["-CA", "data/certs/root.pem", "-CAkey", "root.key"];
    let sign = ["x509", "-req", "-days", "100", "-set_serial", "0x4112", "-extfile", "ca.ext"];
    openssl(&[&sign[..], &root, &["-in", "same.csr", "-out", "same.pem"]].concat());
    let same = plant(&world, &world.file("same.pem"), &world.file("new.key"));
    let refused = prepare(&world, &same).await.expect_err("the same name");
    assert!(refused.contains("has the name of one that is trusted"), "{refused}");
    // Another name and another root.
    openssl(&["req", "-new", "-key", "new.key", "-subj", "/CN=Tallystick agents 2", "-out", "own.csr"]);
    let own = ["-in", "own.csr", "-signkey", "new.key", "-out", "own.pem"];
    openssl(&[&sign[..], &own].concat());
    let own = plant(&world, &world.file("own.pem"), &world.file("new.key"));
    let refused = prepare(&world, &own).await.expect_err("another root");
    assert!(refused.contains("not signed by this installation's root"), "{refused}");
    // The same request, signed by the root: that it is refused above is not for its form.
    openssl(&[&sign[..], &root, &["-in", "own.csr", "-out", "good.pem"]].concat());
    let good = plant(&world, &world.file("good.pem"), &world.file("new.key"));
    prepare(&world, &good).await.expect("an authority of the root");
    let missing = prepare(&world, &Digest::of(b"nothing")).await.expect_err("no files");
    assert!(missing.contains("cannot read"), "{missing}");
    world.fsck();
}

#[test]
fn authorities_that_have_ended_are_replaced_and_devices_come_back() {
    /// Five years, the life of an authority, in days.
    const LIFE_DAYS: u64 = 1826;
    let world = World::new(programs!());
    let ahead = |days: u64| (days * 86_400).to_string();
    let serve = |days: u64| {
        let server = world.spawn(&[("TALLYSTICK_CLOCK_AHEAD_SECONDS", &ahead(days))]);
        (server, days)
    };
    let (mut server, days) = serve(LIFE_DAYS - 10);
    world.wait_ready(&mut server);
    let token = {
        let key = world.admin.key.display().to_string();
        let line = [
            "token", "create", "--json", "--key", &key, "--class", "laptop", "--group", "office", "--hours",
            "72",
        ];
        let mut command = world.collector_command(&line);
        command.env("TALLYSTICK_CLOCK_AHEAD_SECONDS", ahead(days));
        run_command(command).json()["token"].as_str().expect("a token").to_owned()
    };
    let agent = |days: u64, line: &[&str]| {
        let mut command = world.agent_command("laptop", line);
        command.env("TALLYSTICK_CLOCK_AHEAD_SECONDS", ahead(days));
        run_command(command)
    };
    let file = world.file("laptop.token");
    write_secret(&file, token.as_bytes());
    let (enrol, agents, file) =
        (world.enrol.to_string(), world.agents.to_string(), file.display().to_string());
    agent(days, &["enroll", "--server", &enrol, "--agents", &agents, "--token-file", &file]).ok();
    agent(days, &["once", "--until-proved"]).ok();
    let warned = server.said();
    assert!(warned.contains("An authority ends: run `tallystick-collector ca rollover`"), "{warned}");
    let told = agent(days, &["doctor"]);
    assert!(told.out.contains("certificate"), "{}", told.out);
    server.stop();
    let (mut server, days) = serve(LIFE_DAYS + 1);
    let until = std::time::Instant::now() + PATIENCE;
    let ended = loop {
        if let Some(ended) = server.ended() {
            break ended;
        }
        assert!(std::time::Instant::now() < until, "it serves without an authority:\n{}", server.said());
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!((ended.code(), ended.signal()), (Some(2), None));
    let said = server.said();
    assert!(said.contains("prepare a new one with `tallystick-collector ca rollover`"), "{said}");
    drop(server);
    for of in ["servers", "agents", "people"] {
        let mut command = rollover_command(&world, of, &[]);
        command.env("TALLYSTICK_CLOCK_AHEAD_SECONDS", ahead(days));
        let said = run_command(command).ok();
        assert!(said.contains("retired (entry"), "{said}");
    }
    let (mut server, days) = serve(LIFE_DAYS + 1);
    world.wait_ready(&mut server);
    agent(days, &["once", "--until-proved"]).ok();
    let told = agent(days, &["status"]);
    assert_eq!(told.code, Some(0), "{}{}", told.out, told.err);
    server.stop();
    world.fsck();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_was_left_behind_by_a_retirement_comes_back_by_its_attestation_key() {
    let world = World::new(programs!());
    let server = world.serve();
    world.enrol_agent("asleep", &world.token());
    let said = rollover(&world, "agents", &["--wait-hours", "0"]).fails_with(1);
    assert!(said.contains("1 of 1 devices still hold"), "{said}");
    rollover(&world, "agents", &["--retire-anyway"]).ok();
    // Its certificate has not ended, but nobody trusts it any more.
    let agent = Running::start(world.agent_command("asleep", &["run"]), &world.file("agent.log"));
    tests::process::wait_for("a recovery", || agent.said().contains("has a new certificate").then_some(()));
    // A stop waits for the look that is under way: it is over when its statement is in the log.
    tests::process::wait_for("a statement", || {
        agent.said().contains("proved to be in the log").then_some(())
    });
    agent.stop();
    server.stop();
    // A copy of the data directory opens the same authorities.
    let (trusted, certificates) = authorities(&world).await;
    assert_all_under(&world, &trusted.issuing, &certificates);
    let (backup, keys, restored) = (world.file("backup"), world.file("keys"), world.file("restored"));
    let path = |path: &Path| path.display().to_string();
    world.collector(&["backup", "--to", &path(&backup), "--keys-to", &path(&keys)]).ok();
    let mut restore = Command::new(world.programs().collector);
    restore.args([
        "restore",
        "--from",
        &path(&backup),
        "--keys-from",
        &path(&keys),
        "--dir",
        &path(&restored),
    ]);
    run_command(restore).ok();
    let mut status = Command::new(world.programs().collector);
    status.args(["ca", "rollover", "--of", "agents", "--status", "--json", "--dir", &path(&restored)]);
    let status = run_command(status).json();
    assert_eq!(status["issuing"].as_str(), Some(trusted.issuing.to_string().as_str()));
}
