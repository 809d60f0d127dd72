//! `tallystick-agent doctor` with real peers that fail in one way each: the real agent and collector, OpenSSL with another
//! authority, a closed port, a name that nobody knows, a disk that is full or read-only.
//!
//! Takes root: it mounts small file systems and becomes another user.

#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "a test stops at what it cannot do")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use tests::doctor::Examined;
use tests::process::{Running, run, run_command, wait_for};
use tests::programs;
use tests::world::World;

#[track_caller]
fn doctor(world: &World, state: &str, more: &[&str]) -> Examined {
    Examined::of(world.agent(state, &[&["doctor", "--json"], more].concat()))
}

/// Changes the collector's address in an identity.
fn move_collector(world: &World, state: &str, to: &str) {
    let path = world.file(state).join("identity.json");
    let text = fs::read_to_string(&path).expect("the identity");
    let mut identity: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    identity["agents_address"] = to.into();
    fs::write(&path, identity.to_string()).expect("the identity can be written");
}

/// A server certificate of an authority that nobody asked, as an inspecting firewall makes one; gives chain and key.
fn foreign_certificate(folder: &Path) -> (String, String) {
    let file = |name: &str| folder.join(name).display().to_string();
    let openssl = |line: &[&str]| run("openssl", line).ok();
    let (ca, ca_key, key, request, leaf) =
        (file("ca.pem"), file("ca.key"), file("leaf.key"), file("leaf.csr"), file("leaf.pem"));
    let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    openssl(
        &[
            &[
                "req",
                "-x509",
                "-days",
                "2",
                "-subj",
                "/O=Example Inspection/CN=Inspecting CA",
                "-keyout",
                &ca_key,
                "-out",
                &ca,
            ],
            &curve[..],
        ]
        .concat(),
    );
    openssl(&[&["req", "-subj", "/CN=127.0.0.1", "-keyout", &key, "-out", &request], &curve[..]].concat());
    openssl(&[
        "x509",
        "-req",
        "-in",
        &request,
        "-CA",
        &ca,
        "-CAkey",
        &ca_key,
        "-CAcreateserial",
        "-days",
        "1",
        "-out",
        &leaf,
    ]);
    let chain = file("chain.pem");
    let both = [fs::read(&leaf).expect("the leaf"), fs::read(&ca).expect("the CA")].concat();
    fs::write(&chain, both).expect("the chain");
    (chain, key)
}

/// OpenSSL's server at `port`.
fn openssl_server(world: &World, port: u16, more: &[&str]) -> Running {
    let (chain, key) = foreign_certificate(world.file("").as_path());
    let mut command = Command::new("openssl");
    command.args([
        "s_server",
        "-quiet",
        "-accept",
        &port.to_string(),
        "-cert",
        &chain,
        "-cert_chain",
        &chain,
        "-key",
        &key,
    ]);
    command.args(more);
    let mut running = Running::start(command, &world.file("openssl.log"));
    wait_for("openssl to listen", || {
        assert!(running.ended().is_none(), "openssl ended:\n{}", running.said());
        std::net::TcpStream::connect(("127.0.0.1", port)).ok().map(drop)
    });
    running
}

#[test]
fn each_hop_that_fails_is_named() {
    let world = World::new(programs!());
    // No enrolment: the way is tried with --server, and the token is not used up.
    let server = world.serve();
    let nobody = doctor(&world, "nobody", &[]);
    assert_eq!(nobody.failed(), ["state", "identity"], "{nobody:?}");
    assert!(nobody.check("identity").1.contains("not enrolled"), "{nobody:?}");
    let token = world.token();
    let file = world.file("doctor.token");
    tests::world::write_secret(&file, token.text().as_bytes());
    let (enrol, file) = (world.enrol.to_string(), file.display().to_string());
    let before = doctor(&world, "nobody", &["--server", &enrol, "--token-file", &file]);
    assert_eq!(before.failed(), ["state", "identity"], "{before:?}");
    assert_eq!(before.check("tls").0, "ok", "{before:?}");
    fs::write(&file, "tst1.damaged").expect("written");
    let damaged = doctor(&world, "nobody", &["--server", &enrol, "--token-file", &file]);
    assert!(damaged.check("tls").1.contains("the token: it cannot be used"), "{damaged:?}");

    // All is well, beside a running agent as well.
    world.enrol_agent("agent", &token);
    world.agent("agent", &["once", "--until-proved"]).ok();
    let well = doctor(&world, "agent", &[]);
    assert_eq!(well.code, Some(0), "{well:?}");
    assert!(well.check("greeting").1.contains("expects statement 1"), "{well:?}");
    assert!(
        well.check("time").1.contains("agree") || well.check("time").1.contains("collector's"),
        "{well:?}"
    );
    assert!(well.check("agent").1.contains("not running"), "{well:?}");
    let mut command = Command::new(programs!().agent);
    command.arg("--state").arg(world.file("agent")).arg("run");
    let agent = Running::start(command, &world.file("agent.log"));
    wait_for("the agent to run", || agent.said().contains("Running.").then_some(()));
    let beside = doctor(&world, "agent", &[]);
    assert_eq!((beside.code, beside.check("agent").1.as_str()), (Some(0), "running -> "), "{beside:?}");
    agent.stop();
    // For people: a line each, and what to do in the next one.
    let words = world.agent("agent", &["doctor"]).ok();
    assert!(words.lines().any(|line| line.starts_with("tls") && line.contains(" ok ")), "{words}");

    // Another user sees everything but what takes the keys.
    let reader = world.file("agent");
    fs::set_permissions(world.file(""), fs::Permissions::from_mode(0o755)).expect("readable");
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", programs!().agent, "--state"]);
    command.arg(&reader).args(["doctor", "--json"]);
    let other = Examined::of(run_command(command));
    assert_eq!(other.code, Some(0), "{other:?}");
    for name in ["identity", "disk", "greeting"] {
        assert_eq!(other.check(name).0, "not tried", "{name}: {other:?}");
    }
    assert_eq!(other.check("tls").0, "ok", "{other:?}");

    // A closed port.
    server.stop();
    let closed = doctor(&world, "agent", &[]);
    assert_eq!(closed.failed(), ["tcp"], "{closed:?}");
    assert!(closed.check("tcp").1.contains("refused"), "{closed:?}");
    assert_eq!(closed.check("tls").0, "not tried");

    // Somebody in between: the issuer is told.
    let between = openssl_server(&world, world.agents.port(), &["-tls1_3", "-alpn", "h2"]);
    let intercepted = doctor(&world, "agent", &[]);
    assert_eq!(intercepted.failed(), ["tls"], "{intercepted:?}");
    let said = intercepted.check("tls").1;
    assert!(said.contains("Inspecting CA") && said.contains("Example Inspection"), "{said}");
    assert!(said.contains("excepted from inspection"), "{said}");
    between.kill();
    // A box that speaks older TLS only shows no certificate before it is refused.
    let old = openssl_server(&world, world.agents.port(), &["-tls1_2"]);
    let older = doctor(&world, "agent", &[]);
    assert_eq!(older.failed(), ["tls"], "{older:?}");
    assert!(older.check("tls").1.contains("no certificate was shown"), "{older:?}");
    old.kill();

    // A name that nobody knows.
    move_collector(&world, "agent", "collector.invalid:7444");
    let unknown = doctor(&world, "agent", &[]);
    assert_eq!(unknown.failed(), ["dns"], "{unknown:?}");
    assert!(unknown.check("dns").1.contains("collector.invalid"), "{unknown:?}");
}

#[test]
fn a_bad_directory_bad_settings_and_a_bad_disk_are_named() {
    let world = World::new(programs!());
    let server = world.serve();
    let disk = world.file("disk");
    fs::create_dir(&disk).expect("a folder");
    let mount = |options: &str| {
        run("mount", ["-t", "tmpfs", "-o", options, "tallystick-test", &disk.display().to_string()])
    };
    assert_eq!(mount("size=256m,mode=755").code, Some(0), "this test mounts, which takes root");
    let _unmount = Unmount(disk.clone());
    world.enrol_agent("disk/agent", &world.token());
    let state = world.file("disk/agent");
    let well = doctor(&world, "disk/agent", &[]);
    assert_eq!(well.code, Some(0), "{well:?}");

    fs::set_permissions(state.join("keys"), fs::Permissions::from_mode(0o755)).expect("a mode");
    let open = doctor(&world, "disk/agent", &[]);
    assert_eq!(open.failed(), ["state", "identity"], "{open:?}");
    assert!(open.check("state").1.contains("chmod 0700"), "{open:?}");
    fs::set_permissions(state.join("keys"), fs::Permissions::from_mode(0o700)).expect("a mode");

    fs::write(state.join("agent.toml"), "proxy = \"socks5://anna:geheim@proxy:1080\"\n").expect("written");
    let settings = doctor(&world, "disk/agent", &[]);
    assert_eq!(settings.failed(), ["settings"], "{settings:?}");
    assert!(!format!("{settings:?}").contains("geheim"), "{settings:?}");
    fs::remove_file(state.join("agent.toml")).expect("removed");

    // Full, to the last byte.
    let filler = disk.join("filler");
    drop(run("dd", ["if=/dev/zero", &format!("of={}", filler.display()), "bs=64k"]));
    let full = doctor(&world, "disk/agent", &[]);
    assert_eq!(full.failed(), ["disk"], "{full:?}");
    assert!(full.check("disk").1.contains("full"), "{full:?}");
    fs::remove_file(&filler).expect("removed");
    assert_eq!(doctor(&world, "disk/agent", &[]).code, Some(0), "it leaves nothing behind");

    run("mount", ["-o", "remount,ro", &disk.display().to_string()]).ok();
    let read_only = doctor(&world, "disk/agent", &[]);
    assert_eq!(read_only.failed(), ["disk"], "{read_only:?}");
    assert!(read_only.check("disk").1.contains("read-only"), "{read_only:?}");
    assert_eq!(read_only.check("greeting").0, "ok", "{read_only:?}");
    server.stop();
}

/// Unmounts when dropped.
struct Unmount(std::path::PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}
