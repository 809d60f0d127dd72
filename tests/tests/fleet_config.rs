//! The fleet configuration from an admin's file to what agents do and say: over the real programs.

#![expect(clippy::expect_used, reason = "a test stops at what it cannot do, and prints what it counted")]

use std::fs;
use std::process::Command;

use evidence::ids::Digest;
use evidence::statement::Statement;
use proto::observation::Outcome;
use tests::device::Device;
use tests::kept;
use tests::process::{Running, wait_for};
use tests::programs;
use tests::world::World;

fn put(world: &World, text: &str) -> tests::process::Ran {
    let file = world.file("fleet.toml");
    fs::write(&file, text).expect("a file");
    world.cli(&world.admin, &["config", "put", &file.display().to_string(), "--json"])
}

fn statements(world: &World) -> Vec<Statement> {
    kept::envelopes(world).iter().map(|envelope| envelope.claimed().expect("a statement")).collect()
}

/// The statements made under a configuration, oldest first.
fn under(world: &World, digest: Digest) -> Vec<Statement> {
    let mut statements = statements(world);
    statements.retain(|statement| {
        statement.attestation().expect("an attestation").fields.configuration_digest == digest.as_bytes()
    });
    statements
}

/// The digest of the newest configuration, from its act.
fn digest_of(put: &serde_json::Value) -> Digest {
    let text = put["payload_sha256"].as_str().expect("a digest");
    Digest::from_hex(text).expect("a digest")
}

fn reason_of(statement: &Statement, control: &str) -> Option<proto::Reason> {
    let fields = &statement.attestation()?.fields;
    let observation = fields.observations.iter().find(|observation| observation.control == control)?;
    match &observation.outcome {
        Some(Outcome::Unavailable(unavailable)) => Some(unavailable.reason()),
        _ => None,
    }
}

#[test]
fn what_an_admin_switches_off_is_off_and_every_statement_says_so() {
    let world = World::new(programs!());
    let running = world.serve();
    world.admit_people();
    world.enrol_agent("agent", &world.token());
    let mut command = Command::new(programs!().agent);
    command.arg("--state").arg(world.file("agent")).arg("run");
    let agent = Running::start(command, &world.file("agent.log"));
    wait_for("the first statement", || (!statements(&world).is_empty()).then_some(()));
    assert_eq!(statements(&world)[0].attestation().expect("one").fields.configuration_digest, [0; 32]);
    let text = "interval_minutes = 60\ndisabled = [\"remote-access\", \"password-manager\"]\nlog_level = \"debug\"\n";
    let first = put(&world, text).json();
    let digest = digest_of(&first);
    let said = wait_for("a statement under the configuration", || under(&world, digest).pop());
    for control in ["remote-access", "password-manager"] {
        assert_eq!(reason_of(&said, control), Some(proto::Reason::DisabledByConfig), "{control}");
    }
    assert_ne!(reason_of(&said, "os-patch"), Some(proto::Reason::DisabledByConfig));
    wait_for("the log level to change", || agent.said().contains("DEBUG").then_some(()));
    // An analyst signs none, and no file can name what is not built in.
    let file = world.file("fleet.toml").display().to_string();
    world.cli(&world.analyst, &["config", "put", &file]).fails(2);
    let said = put(&world, "program = \"/bin/sh\"\n").fails(2);
    assert!(said.contains("program is no member"), "{said}");
    let said = put(&world, "interval_minutes = 1\n").fails(2);
    assert!(said.contains("5 to 1440"), "{said}");
    let versions = world.cli(&world.analyst, &["devices", "--versions", "--json"]).json();
    assert_eq!(versions["devices"][0]["configuration"], 1, "{versions}");
    assert_eq!(versions["counts"][0]["devices"], 1, "{versions}");
    // It holds after a restart without the collector, and the next one takes its place.
    agent.stop();
    let before = under(&world, digest).len();
    running.kill();
    world.agent("agent", &["once", "--timeout-seconds", "1"]).fails(2);
    let running = world.serve();
    let second = put(&world, "interval_minutes = 30\n").json();
    // A configuration is obeyed once it has come with its proof, which a short exchange need not wait for.
    let newest = wait_for("a statement under the next configuration", || {
        world.agent("agent", &["once", "--until-proved"]).ok();
        under(&world, digest_of(&second)).pop()
    });
    assert_ne!(reason_of(&newest, "remote-access"), Some(proto::Reason::DisabledByConfig));
    // What was kept without a collector too: since the first one, nothing was said under none.
    assert!(under(&world, digest).len() > before, "what was kept without a collector");
    let said: Vec<Vec<u8>> = statements(&world)
        .iter()
        .map(|statement| statement.attestation().expect("an attestation").fields.configuration_digest.clone())
        .skip_while(|said| *said != digest.as_bytes())
        .collect();
    let known = [digest, digest_of(&second)];
    assert!(said.iter().all(|said| known.iter().any(|known| *said == known.as_bytes())), "{said:?}");
    let history = world.cli(&world.analyst, &["config", "history", "--json"]).json();
    let numbers: Vec<_> =
        history["configurations"].as_array().expect("rows").iter().map(|row| &row["number"]).collect();
    assert_eq!(numbers, [1, 2]);
    let shown = world.cli(&world.analyst, &["config", "show", "--json"]).json();
    assert_eq!(shown["configurations"][0]["devices"], 1, "{shown}");
    running.stop();
    world.fsck();
}

#[test]
fn a_wrong_proxy_delays_an_agent_and_does_not_cut_it_off() {
    let world = World::new(programs!());
    let running = world.serve();
    world.enrol_agent("agent", &world.token());
    put(&world, "proxy = \"http://127.0.0.1:9\"\n").json();
    // Obeyed at the end of this exchange.
    world.agent("agent", &["once", "--until-proved"]).ok();
    assert!(world.file("agent").join("fleet.json").exists(), "the configuration is kept");
    let mut command = Command::new(programs!().agent);
    command.arg("--state").arg(world.file("agent")).arg("run");
    // Something to send that the next look finds changed is not needed: what waits is sent by `run`.
    world.agent("agent", &["once", "--timeout-seconds", "1"]).fails(2);
    let agent = Running::start(command, &world.file("agent.log"));
    wait_for("the agent to go its own way", || (statements(&world).len() == 2).then_some(()));
    agent.stop();
    running.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rings_grow_and_lose_nobody() {
    let world = World::new(programs!());
    let running = world.serve();
    let key = world.admin.key.display().to_string();
    let line = [
        "token", "create", "--json", "--key", &key, "--class", "laptop", "--group", "office", "--uses", "40",
    ];
    let token =
        world.collector(&line).json()["token"].as_str().and_then(|text| text.parse().ok()).expect("a token");
    let mut devices = Vec::new();
    for _ in 0..40 {
        devices.push(Device::enrol(&world, &token).await);
    }
    let told = |configuration: evidence::acts::Configuration| {
        devices
            .iter()
            .filter(|device| configuration.is_for(&device.id))
            .map(|device| device.id)
            .collect::<Vec<_>>()
    };
    let of = |number, percent, interval_minutes| evidence::acts::Configuration {
        number,
        percent,
        interval_minutes,
        disabled: Vec::new(),
        proxy: None,
        log_level: "info".into(),
    };
    let (some, more, all) = (told(of(1, 10, 60)), told(of(2, 60, 60)), told(of(3, 100, 60)));
    assert!(some.iter().all(|device| more.contains(device)) && more.len() > some.len() && all.len() == 40);
    assert_ne!(told(of(1, 50, 60)), told(of(1, 50, 61)), "other settings begin with other devices");
    // The collector tells each device the newest one that is for it, and only that.
    put(&world, "interval_minutes = 60\npercent = 100\n").json();
    put(&world, "interval_minutes = 30\npercent = 50\n").json();
    for device in devices.iter().take(10) {
        let (mut submit, _) = device.greet().await;
        let expected = if of(2, 50, 30).is_for(&device.id) { 2 } else { 1 };
        // The newest checkpoint may not cover the second one yet: then it comes with the next.
        loop {
            let config = match submit.next().await.expect("an answer") {
                proto::to_agent::Item::Config(config) => config,
                proto::to_agent::Item::Checkpoint(_) | proto::to_agent::Item::Posture(_) => continue,
                other => panic!("{other:?}"),
            };
            let kind = evidence::leaf::Kind::CONFIGURATION;
            let (_, act) = evidence::acts::Act::open_as(&config.signed, kind).expect("an act");
            let evidence::acts::Body::Configuration(sent) = act.body else { panic!("another act") };
            assert!(sent.number <= expected, "{} is told {}", device.id, sent.number);
            if sent.number == expected {
                break;
            }
        }
    }
    running.stop();
}
