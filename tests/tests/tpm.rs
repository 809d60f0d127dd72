//! Keys in a TPM, with the real agent, a real collector and an emulated TPM (`swtpm`): enrolment, connections, restarts, and
//! every way in which the TPM can be another one. docs/KEYS.md holds what a run prints.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test stops at what it cannot do, and prints what it saw"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use tests::device::{Device, Keys, NotEnrolled};
use tests::doctor::Examined;
use tests::process::{Programs, Ran, run_command, wait_for};
use tests::programs;
use tests::tpm::{Maker, Tpm, agent};
use tests::world::{World, write_secret};

/// What the library below says by itself is of no use to a reader; its errors are told by the agent.
const QUIET: (&str, &str) = ("TSS2_LOG", "all+none");

/// The collector's line about a key level.
const ESTABLISHED: &str = "The key level is established.";

/// The programs, with the agent for a TPM.
fn with_tpm() -> Programs {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target directory");
    Programs { agent: agent(target), ..programs!() }
}

/// A state directory whose keys a TPM holds.
struct Machine<'a> {
    world: &'a World,
    state: &'a str,
}

impl<'a> Machine<'a> {
    fn new(world: &'a World, state: &'a str, tpm: Option<&Tpm>) -> Self {
        let machine = Self { world, state };
        fs::create_dir_all(world.file(state)).expect("a folder");
        machine.names(tpm);
        machine
    }

    /// Writes agent.toml.
    fn names(&self, tpm: Option<&Tpm>) {
        let text = tpm.map_or_else(String::new, |tpm| format!("tpm = \"{}\"\n", tpm.address()));
        fs::write(self.world.file(self.state).join("agent.toml"), text).expect("agent.toml");
    }

    fn by(&self, program: &str, line: &[&str]) -> Ran {
        let mut command = Command::new(program);
        command.env(QUIET.0, QUIET.1).arg("--state").arg(self.world.file(self.state)).args(line);
        run_command(command)
    }

    /// Runs the agent and prints what was typed and what it said.
    fn run(&self, line: &[&str]) -> Ran {
        let ran = self.by(self.world.programs().agent, line);
        println!("$ tallystick-agent {}", line.join(" "));
        print!("{}{}", ran.out, ran.err);
        println!("[exit {}]", ran.code.unwrap_or(-1));
        ran
    }

    fn enrol(&self, more: &[&str]) -> Ran {
        let token = self.world.file(&format!("{}.token", self.state));
        write_secret(&token, self.world.token().text().as_bytes());
        let (enrol, agents) = (self.world.enrol.to_string(), self.world.agents.to_string());
        let token = token.display().to_string();
        let line = ["enroll", "--server", &enrol, "--agents", &agents, "--token-file", &token];
        self.run(&[&line[..], more].concat())
    }

    /// One statement, sent and proved.
    fn proved(&self) {
        let said = self.run(&["once", "--until-proved"]).ok();
        assert!(said.contains("proved"), "{said}");
    }

    /// One statement that cannot be made, as the keys cannot be used; nothing of the keys changes.
    fn refused(&self, because: &str) {
        let before = self.keys();
        let said = self.run(&["once", "--timeout-seconds", "20"]).fails(2);
        assert!(said.contains(because), "{said}");
        assert_eq!(self.keys(), before, "keys were changed or made");
    }

    /// Names and contents of the folder of keys.
    fn keys(&self) -> BTreeMap<String, Vec<u8>> {
        let folder = fs::read_dir(self.world.file(self.state).join("keys")).expect("the folder of keys");
        let named = folder.map(|entry| entry.expect("an entry").path()).map(|path| {
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            (name, fs::read(path).expect("a file"))
        });
        named.collect()
    }
}

#[test]
fn a_device_whose_keys_a_tpm_holds() {
    let world = World::new(with_tpm());
    let server = world.serve();
    let port = Tpm::free_port();
    let (mine, another) = (Tpm::new(world.file("tpm"), port), Tpm::new(world.file("tpm-other"), port));
    let machine = Machine::new(&world, "laptop", Some(&mine));

    println!("# the TPM is off");
    let said = machine.enrol(&[]).fails(2);
    assert!(said.contains("does not answer") && said.contains("/dev/tpmrm0"), "{said}");
    assert_eq!(machine.keys().keys().collect::<Vec<_>>(), ["machine.json"], "no key was made");

    println!("# the TPM is on: enrolment, and two connections");
    let on = mine.start();
    let said = machine.enrol(&[]).ok();
    assert!(said.contains("; a TPM holds its keys"), "{said}");
    assert_eq!(
        machine.keys().keys().collect::<Vec<_>>(),
        ["attestation.tpm", "machine.json", "tls.tpm"],
        "no key in a file"
    );
    machine.proved();
    machine.proved();
    let well = Examined::of(machine.by(world.programs().agent, &["doctor", "--json"]));
    assert_eq!(well.code, Some(0), "{well:?}");
    assert!(well.check("identity").1.contains("keys held by a TPM"), "{well:?}");

    println!("# after a restart of the machine");
    on.kill();
    let on = mine.start();
    machine.proved();

    println!("# the TPM is switched off");
    on.kill();
    machine.refused("does not answer");
    let gone = Examined::of(machine.by(world.programs().agent, &["doctor", "--json"]));
    assert!(gone.failed().contains(&"identity"), "{gone:?}");
    assert!(gone.check("identity").1.contains("switch the TPM on"), "{gone:?}");

    println!("# the disk is put into another machine");
    let elsewhere = another.start();
    machine.refused("belongs to another TPM");
    elsewhere.kill();

    println!("# agent.toml names no TPM any more");
    let on = mine.start();
    machine.names(None);
    machine.refused("agent.toml names none");
    machine.names(Some(&mine));

    println!("# a build without TPM");
    let said = machine.by(programs!().agent, &["once", "--timeout-seconds", "20"]).fails(2);
    println!("{said}");
    assert!(said.contains("built without support for a TPM"), "{said}");

    println!("# back in its place: the same identity goes on");
    machine.proved();
    let sent = machine.by(world.programs().agent, &["sent", "--json"]).ok();
    let sequences: Vec<_> =
        sent.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok()).collect();
    assert_eq!(sequences.len(), 4, "{sent}");

    println!("# the TPM is cleared");
    mine.clear();
    machine.refused("the TPM was cleared");
    println!("# a new identity, asked for");
    let said = machine.enrol(&["--anew"]).ok();
    assert!(said.contains("the instance before lies in"), "{said}");
    machine.proved();
    on.kill();
    server.stop();
    world.fsck();
}

#[test]
fn the_agent_goes_on_after_its_collector_was_away() {
    let world = World::new(with_tpm());
    let server = world.serve();
    let tpm = Tpm::new(world.file("tpm"), Tpm::free_port());
    let on = tpm.start();
    let machine = Machine::new(&world, "laptop", Some(&tpm));
    machine.enrol(&[]).ok();
    let mut command = Command::new(world.programs().agent);
    command.env(QUIET.0, QUIET.1).arg("--state").arg(world.file("laptop")).arg("run");
    let agent = tests::process::Running::start(command, &world.file("run.log"));
    wait_for("a proof", || agent.said().contains("is proved to be in the log").then_some(()));
    let limits = fs::read_to_string(format!("/proc/{}/limits", agent.id())).expect("the agent's limits");
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).expect("a limit");
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "no core dump");
    server.stop();
    wait_for("the end of the stream", || {
        agent.said().contains("Waiting before the next connection").then_some(())
    });
    let server = world.serve();
    // The greeting of a new connection is the first thing that a collector answers.
    let health = || fs::read_to_string(world.file("laptop").join("health.json")).unwrap_or_default();
    let before = health();
    wait_for("a second connection", || {
        (health() != before && health().contains("\"error\": null")).then_some(())
    });
    agent.stop();
    on.kill();
    server.stop();
}

/// What the collector's log says of the newest enrolment.
fn established(world: &World) -> String {
    let log = fs::read_to_string(world.log()).expect("the collector's log");
    let line = log.lines().rfind(|line| line.contains(ESTABLISHED)).expect("an enrolment");
    println!("  collector: {}", line.split_once(ESTABLISHED).expect("a line").1.trim());
    line.to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_in_a_tpm_is_a_fact_only_where_its_maker_vouches_for_it() {
    let world = World::new(with_tpm());
    let (trusted, stranger) =
        (Maker::new(world.file("maker"), "Maker of TPMs"), Maker::new(world.file("stranger"), "Anybody"));
    let settings = world.data.join("collector.toml");
    let text = fs::read_to_string(&settings).expect("collector.toml");
    fs::write(&settings, format!("tpm_roots = \"{}\"\n{text}", trusted.root().display()))
        .expect("collector.toml");
    let server = world.serve();
    let tpm = |name: &str| {
        let tpm = Tpm::new(world.file(&format!("tpm-{name}")), Tpm::free_port());
        let on = tpm.start();
        (tpm, on)
    };

    println!("# files");
    world.enrol_agent("files", &world.token());
    let line = established(&world);
    assert!(line.contains(r#"key_level="k0" claimed="k0""#), "{line}");

    println!("# a TPM without a certificate: claimed, not established");
    let (bare, _on) = tpm("bare");
    Machine::new(&world, "bare", Some(&bare)).enrol(&[]).ok();
    let line = established(&world);
    assert!(line.contains(r#"key_level="k0" claimed="k2""#), "{line}");

    println!("# a TPM whose maker is trusted");
    let (good, _on) = tpm("good");
    let certificate = good.endorse(&trusted);
    let laptop = Machine::new(&world, "good", Some(&good));
    laptop.enrol(&[]).ok();
    let line = established(&world);
    assert!(line.contains(r#"key_level="k3" claimed="k2""#), "{line}");
    laptop.proved();
    let listed = world.cli(&world.admin, &["devices", "--json"]).json();
    let levels: Vec<_> =
        listed["devices"].as_array().expect("devices").iter().map(|row| row["key_level"].clone()).collect();
    println!("  devices: {levels:?}");
    assert_eq!(levels.iter().filter(|level| *level == "k3").count(), 1, "{listed}");
    assert_eq!(levels.iter().filter(|level| *level == "k0").count(), 2, "{listed}");

    println!("# a TPM of another maker: claimed, not established");
    let (other, _on) = tpm("other");
    other.endorse(&stranger);
    Machine::new(&world, "other", Some(&other)).enrol(&[]).ok();
    let line = established(&world);
    assert!(line.contains(r#"key_level="k0" claimed="k2""#), "{line}");

    println!("# another TPM with the good one's certificate");
    let (liar, _on) = tpm("liar");
    liar.certificate(&certificate);
    let machine = Machine::new(&world, "liar", Some(&liar));
    let said = machine.enrol(&[]).fails(2);
    assert!(said.contains("refused to open the collector's challenge"), "{said}");

    println!("# a key in a file, with the good one's certificate and an answer that is none");
    let keys = Keys { endorsement_certificate: certificate, ..Keys::new() };
    let refused = Device::try_enrol(&world, &world.token(), keys).await.err();
    let Some(NotEnrolled::Refused(status)) = refused else { panic!("it was enrolled: {refused:?}") };
    println!("  {}", status.message());
    assert!(status.message().contains("does not hold the TLS key"), "{status:?}");
    assert_eq!(established(&world), line, "nobody was enrolled after the stranger's");
    server.stop();
    world.fsck();
}
