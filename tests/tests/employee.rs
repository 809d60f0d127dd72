//! What the person at a machine sees: by real programs, as a user without any right, with the collector away.
//!
//! Becoming another user takes root: as another user these tests fail and say so.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test stops at what it cannot do, and prints what it saw"
)]

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use evidence::envelope::Envelope;
use evidence::ids::Digest;
use serde_json::Value;
use tests::device::Device;
use tests::process::{Ran, Running, run_command, wait_for};
use tests::programs;
use tests::world::World;

/// The user and group `nobody` of most systems: what matters is that it owns nothing here.
const NOBODY: u32 = 65_534;
/// Minutes to remedy in the policy below.
const SLA_MINUTES: u64 = 10_080;
/// Bytes of a full history and of one of its files: the agent's own bounds.
const HISTORY_BYTES: u64 = 32 << 20;
const FILE_BYTES: usize = 256 << 10;
/// Most memory of its own, in KiB, that showing all of a full history may take.
const ANONYMOUS_KIB_MAX: u64 = 8 << 10;

/// An installation whose folder anybody may enter, as `/var/lib` is, and the agent where anybody may start it.
fn world() -> (World, PathBuf) {
    assert!(rustix::process::geteuid().is_root(), "this test becomes another user, which takes root");
    let world = World::new(programs!());
    let folder = world.file("");
    fs::set_permissions(&folder, Permissions::from_mode(0o755)).expect("the folder can be opened");
    let agent = world.file("tallystick-agent");
    fs::copy(world.programs().agent, &agent).expect("the program can be copied");
    fs::set_permissions(&agent, Permissions::from_mode(0o755)).expect("the program can be opened");
    (world, agent)
}

/// A command as a user who owns nothing and is in no group.
fn as_nobody(program: &Path) -> Command {
    let mut command = Command::new(program);
    // Without groups of its own the child of root loses root's.
    command.uid(NOBODY).gid(NOBODY).current_dir("/");
    command
}

fn agent_as_nobody(world: &World, agent: &Path, line: &[&str]) -> Ran {
    let mut command = as_nobody(agent);
    command.arg("--state").arg(world.file("agent")).args(line);
    run_command(command)
}

/// Enrols as an administrator does, for people; gives what was printed.
fn enrol(world: &World) -> String {
    let token = world.file("token");
    fs::write(&token, world.token().text().as_bytes()).expect("the token");
    let (enrol, agents) = (world.enrol.to_string(), world.agents.to_string());
    let token = token.display().to_string();
    let line = ["enroll", "--server", &enrol, "--agents", &agents, "--token-file", &token];
    world.agent("agent", &line).ok()
}

/// Puts a policy of one control, which no system of this name can meet, or every one whose name is known.
fn put_policy(world: &World, met: bool) {
    let condition = if met {
        r#"{ op = "exists", fact = "os" }"#
    } else {
        r#"{ op = "eq", fact = "os", value = "no-such-system" }"#
    };
    let text = format!(
        "policy = \"employee\"\ntitle = \"T\"\n[[controls]]\nid = \"os-patch\"\ntitle = \"T\"\nrationale = \"R\"\nclasses = []\n\
         groups = []\ngrace_minutes = 0\nsla_minutes = {SLA_MINUTES}\nmax_age_minutes = 60\nseverity = \"high\"\n\
         remedy = \"Ask your IT team for another system, and save your work before they come.\"\nmapping = []\n\
         condition = {condition}\n"
    );
    let path = world.file("policy.toml");
    fs::write(&path, text).expect("the policy");
    world.cli(&world.analyst, &["policy", "put", &path.display().to_string()]).ok();
}

fn status(world: &World) -> Value {
    let ran = world.agent("agent", &["status", "--json"]);
    assert!(matches!(ran.code, Some(0 | 1)), "{ran:?}");
    serde_json::from_str(ran.out.trim()).expect("JSON")
}

/// The verdict on os-patch, once there is one of another state than `before`.
fn told(world: &World, before: &str) -> Value {
    wait_for("the collector's judgement", || {
        let said = status(world);
        let verdict = said["posture"].get(0)?;
        assert_eq!(verdict["control"], "os-patch", "{said}");
        (verdict["state"] != before).then(|| verdict.clone())
    })
}

fn sent(ran: Ran) -> Vec<Value> {
    ran.ok().lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn who_works_at_a_machine_is_told_what_fails_what_to_do_and_until_when() {
    let (world, agent) = world();
    world.admit_people();
    let collector = world.serve();
    put_policy(&world, false);
    let said = enrol(&world);
    assert_eq!(said.lines().skip(1).collect::<Vec<_>>(), agent::notice::lines().lines().collect::<Vec<_>>());
    assert_eq!(
        agent::notice::COLLECTOR_DAYS_USUAL,
        collector::erase::RETENTION_DAYS_DEFAULT,
        "what is said is true"
    );
    let before = agent_as_nobody(&world, &agent, &["status"]);
    assert!(before.out.contains("never: the collector has not said"), "{before:?}");

    let mut command = Command::new(world.programs().agent);
    command.arg("--state").arg(world.file("agent")).arg("run");
    let running = Running::start(command, &world.file("agent.log"));
    let verdict = told(&world, "MISSING");
    // Where this machine is a container nothing can be seen, and nothing is due.
    let seen = sent(world.agent("agent", &["sent", "--json"]));
    let observations = seen[0]["observations"].as_array().expect("observations");
    let patch = observations.iter().find(|o| o["control"] == "os-patch").expect("it is looked at");
    let observed = patch["outcome"] == "observed";
    println!("os-patch on this machine: {}", patch["outcome"]);
    assert_eq!(verdict["state"], if observed { "DEVIATION" } else { "INDETERMINATE" }, "{verdict}");
    assert!(verdict["remedy"].as_str().expect("text").starts_with("Ask your IT team"), "{verdict}");
    let minute =
        |value: &Value| value.as_str().and_then(|text| text.parse::<u64>().ok()).expect("a time") / 60_000;
    let due = verdict["due"].get(0).map(&minute);
    assert_eq!(due, observed.then(|| minute(&seen[0]["observed"]) + SLA_MINUTES), "{verdict}");
    let shown = agent_as_nobody(&world, &agent, &["status"]);
    assert_eq!(shown.code, Some(i32::from(observed)), "something that fails needs a person: {shown:?}");
    assert!(shown.out.contains("agent        running\n"), "{}", shown.out);

    // Another policy, and no new statement: the device is told all the same.
    if observed {
        put_policy(&world, true);
        let met = told(&world, "DEVIATION");
        assert_eq!((&met["state"], &met["remedy"], met["due"].get(0)), (&"PASS".into(), &"".into(), None));
        put_policy(&world, false);
        assert_eq!(told(&world, "PASS"), verdict, "the same statement, the same due date");
    }
    println!("{}", agent_as_nobody(&world, &agent, &["status"]).out);
    running.stop();
    collector.stop();
    offline(&world, &agent, &verdict);
}

/// With agent and collector away, a user without any right sees the same as root, and no key.
fn offline(world: &World, agent: &Path, verdict: &Value) {
    // One statement more, which waits.
    let once = world.agent("agent", &["once", "--timeout-seconds", "5"]);
    assert_eq!(once.code, Some(2), "{once:?}");
    let lines = sent(agent_as_nobody(world, agent, &["sent", "--json"]));
    assert_eq!(lines, sent(world.agent("agent", &["sent", "--json"])));
    let stages: Vec<_> = lines.iter().map(|line| line["stage"].as_str().expect("a stage")).collect();
    assert_eq!((stages.first(), stages.last()), (Some(&"proved"), Some(&"waiting")), "{stages:?}");
    let words = agent_as_nobody(world, agent, &["sent"]).ok();
    assert!(words.contains("statement 0 (proved, entry "), "{words}");
    let probes: BTreeSet<&str> = probes::PROBES.iter().map(|probe| probe.control).collect();
    assert!(probes.iter().all(|control| words.contains(&format!("  {control}: "))), "{words}");
    println!("{}", words.lines().take(40).collect::<Vec<_>>().join("\n"));

    let ran = agent_as_nobody(world, agent, &["status", "--json"]);
    assert_eq!(ran.code, Some(1), "the exchange fails: {ran:?}");
    let shown: Value = serde_json::from_str(ran.out.trim()).expect("JSON");
    assert_eq!((&shown["posture"][0], &shown["waiting"]), (verdict, &1.into()), "{shown}");
    let words = agent_as_nobody(world, agent, &["status"]).out;
    println!("{words}");
    for part in ["not running", "judged       20", "os-patch", "by policy employee", "do: Ask your IT team"] {
        assert!(words.contains(part), "{part}: {words}");
    }
    assert!(words.lines().all(|line| line.chars().count() <= 80), "{words}");

    // Keys: there, and not for him. The same commands on what is open work, so it is the permission that refuses.
    let read = |name: &str| {
        let mut command = as_nobody(Path::new("cat"));
        command.arg(world.file("agent").join(name));
        run_command(command)
    };
    assert!(read("identity.json").ok().contains("trust_domain"));
    assert!(read("spool/chain").code == Some(0) && read("judgement.json").code == Some(0));
    for name in ["attestation.key", "tls.key"] {
        let key = format!("keys/{name}");
        assert!(fs::read(world.file("agent").join(&key)).expect("root reads it").len() >= 32, "{key}");
        let refused = read(&key);
        assert!(refused.out.is_empty() && refused.err.contains("Permission denied"), "{refused:?}");
        assert_eq!(refused.code, Some(1));
    }
    // Nor does he write anything, or speak for the machine.
    for line in [["once", "--json"], ["run", "--json"]] {
        let refused = agent_as_nobody(world, agent, &line);
        assert_eq!(refused.code, Some(2), "{refused:?}");
    }
    for folder in ["", "spool", "keys"] {
        let mut command = as_nobody(Path::new("touch"));
        command.arg(world.file("agent").join(folder).join("forged"));
        assert_eq!(run_command(command).code, Some(1), "{folder:?} may be written by anybody");
    }
    assert_eq!(lines, sent(agent_as_nobody(world, agent, &["sent", "--json"])), "nothing changed");
}

#[test]
fn who_may_not_look_says_so_and_never_sees_it_better() {
    let (world, agent) = world();
    let look = |mut command: Command| {
        command.args(["probe", "--json"]);
        run_command(command).json()["observations"].as_array().expect("observations").clone()
    };
    let (root, nobody) = (look(Command::new(&agent)), look(as_nobody(&agent)));
    assert_eq!(root.len(), nobody.len());
    for (root, nobody) in root.iter().zip(&nobody) {
        println!("{}: root {}, nobody {}", root["control"], root["outcome"], nobody["outcome"]);
        match nobody["outcome"].as_str().expect("an outcome") {
            "unavailable" => {}
            // What he sees is what is there; what he does not see is left out.
            outcome => {
                assert_eq!(Some(outcome), root["outcome"].as_str(), "{root}\n{nobody}");
                is_part_of(nobody, root);
            }
        }
    }
    drop(world);
}

/// Every fact of `part` is one of `whole`; times of the last minutes aside.
fn is_part_of(part: &Value, whole: &Value) {
    match part {
        Value::Object(members) => members
            .iter()
            .filter(|(name, _)| !name.ends_with("_minutes"))
            .for_each(|(name, value)| is_part_of(value, &whole[name])),
        Value::Array(items) => {
            assert_eq!(Some(items.len()), whole.as_array().map(Vec::len), "{part}\n{whole}");
            (0..).zip(items).for_each(|(at, item): (usize, _)| is_part_of(item, &whole[at]));
        }
        other => assert_eq!(other, whole),
    }
}

/// A record of the history, as `agent/src/spool/record.rs` describes it.
fn record(sequence: u64, envelope: &[u8]) -> Vec<u8> {
    let mut typed = vec![8];
    for number in [sequence, 100 + sequence, 1_780_000_000_000 + sequence * 60_000] {
        typed.extend_from_slice(&number.to_be_bytes());
    }
    typed.extend_from_slice(&[7; 32]);
    typed.extend_from_slice(envelope);
    let length = u32::try_from(typed.len() - 1).expect("small");
    [&length.to_be_bytes()[..], &crc32c::crc32c(&typed).to_be_bytes(), &typed].concat()
}

#[test]
fn a_full_history_is_shown_whole_in_little_memory() {
    let (world, agent) = world();
    let collector = world.serve();
    enrol(&world);
    collector.stop();
    let spool = world.file("agent").join("spool");
    let device = Device::of_agent(&world.file("agent"), 0, Digest::ZERO);
    let (mut sequence, mut total, mut number) = (0_u64, 0_u64, 0);
    while total < HISTORY_BYTES {
        let mut file = b"TSH1".to_vec();
        while file.len() < FILE_BYTES {
            // As long as a real one with its facts.
            let before = if sequence == 0 { Digest::ZERO } else { Digest::of(&sequence.to_be_bytes()) };
            let mut statement = device.statement(sequence, before);
            if let evidence::statement::Body::Attestation(attestation) = &mut statement.body {
                attestation.fields.observations = (0..6).map(long_observation).collect();
            }
            file.extend_from_slice(&record(sequence, Envelope::sign(&statement, &device.key).bytes()));
            sequence += 1;
        }
        total += file.len() as u64;
        let path = spool.join(format!("sent-{number:08}.log"));
        fs::write(&path, file).expect("a file of the history");
        fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("for everybody");
        number += 1;
    }
    let mut command = as_nobody(&agent);
    command.arg("--state").arg(world.file("agent")).args(["sent", "--json"]);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("the agent starts");
    let memory = format!("/proc/{}/status", child.id());
    let (mut shown, mut most) = (0_u64, 0);
    for line in BufReader::new(child.stdout.take().expect("piped")).lines() {
        let line: Value = serde_json::from_str(&line.expect("a line")).expect("JSON");
        assert_eq!((line["sequence"].as_u64(), &line["stage"]), (Some(shown), &"proved".into()));
        shown += 1;
        if shown % 100 == 0 {
            most = most.max(anonymous_kib(&memory));
        }
    }
    assert!(child.wait().expect("it ends").success());
    println!("{shown} statements of {number} files, {total} bytes: {most} KiB of memory of its own");
    assert_eq!(shown, sequence, "all of it");
    assert!(most > 0 && most <= ANONYMOUS_KIB_MAX, "{most} KiB");
}

/// An observation of a few hundred bytes.
fn long_observation(number: u32) -> proto::Observation {
    let reason = proto::Unavailable { reason: proto::Reason::Timeout.into(), question: "q".repeat(250) };
    proto::Observation {
        control: format!("control-{number}"),
        probe_version: 1,
        kept_minutes: None,
        outcome: Some(proto::observation::Outcome::Unavailable(reason)),
    }
}

/// Memory that is no file's, of a process that may be over.
fn anonymous_kib(status: &str) -> u64 {
    let text = fs::read_to_string(status).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or_default()
}
