//! The agent behind an HTTP proxy that is not ours: tinyproxy. Enrolment, statements and `doctor` go through it, TLS stays end to
//! end, and what the proxy refuses is told as the proxy's refusal.
//!
//! The witness that the proxy was used is its own log.

#![expect(clippy::expect_used, reason = "a test stops at what it cannot do")]

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use tests::doctor::Examined;
use tests::process::{Ran, Running, run_command, wait_for};
use tests::programs;
use tests::world::{World, free_ports, write_secret};

/// A tinyproxy at `port`, with `more` in its configuration.
fn tinyproxy(world: &World, name: &str, port: u16, more: &str) -> Running {
    let (config, log) = (world.file(&format!("{name}.conf")), world.file(&format!("{name}.requests")));
    let text = format!(
        "Port {port}\nListen 127.0.0.1\nTimeout 600\nMaxClients 20\nLogLevel Connect\nLogFile \"{}\"\n{more}\n",
        log.display()
    );
    fs::write(&config, text).expect("the configuration");
    let mut command = Command::new("tinyproxy");
    command.arg("-d").arg("-c").arg(&config);
    let mut running = Running::start(command, &world.file(&format!("{name}.log")));
    wait_for("tinyproxy to listen", || {
        assert!(running.ended().is_none(), "tinyproxy ended:\n{}", running.said());
        TcpStream::connect(("127.0.0.1", port)).ok().map(drop)
    });
    running
}

/// What a proxy was asked for.
fn requests(world: &World, name: &str) -> String {
    String::from_utf8_lossy(&fs::read(world.file(&format!("{name}.requests"))).unwrap_or_default())
        .into_owned()
}

/// The agent with a proxy in its environment and no other variable that matters.
fn agent(world: &World, state: &str, environment: &[(&str, &str)], line: &[&str]) -> Ran {
    let mut command = Command::new(programs!().agent);
    for name in ["https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY"] {
        command.env_remove(name);
    }
    command.envs(environment.iter().copied());
    command.arg("--state").arg(world.file(state)).args(line);
    run_command(command)
}

#[test]
fn enrolment_and_statements_go_through_the_proxy() {
    let world = World::new(programs!());
    let server = world.serve();
    let ports = free_ports();
    let open = tinyproxy(&world, "open", ports, "");
    let guarded = tinyproxy(&world, "guarded", ports + 1, "BasicAuth anna geheim");
    let closed = tinyproxy(&world, "closed", ports + 2, "ConnectPort 443");

    // By the environment: enrolment.
    let token = world.file("proxy.token");
    write_secret(&token, world.token().text().as_bytes());
    let (enrol, agents, token) =
        (world.enrol.to_string(), world.agents.to_string(), token.display().to_string());
    let line = ["enroll", "--server", &enrol, "--agents", &agents, "--token-file", &token];
    let url = |port: u16| format!("http://127.0.0.1:{port}");
    let refused = agent(&world, "agent", &[("HTTPS_PROXY", &url(ports + 2))], &line).fails(2);
    assert!(refused.contains("the proxy does not allow this connection (it answered 403"), "{refused}");
    agent(&world, "agent", &[("HTTPS_PROXY", &url(ports))], &line).ok();
    let asked = requests(&world, "open");
    assert!(asked.contains(&format!("CONNECT {enrol} HTTP/1.1")), "{asked}");

    // By the environment: statements. By no_proxy: around it.
    let once = ["once", "--until-proved"];
    agent(&world, "agent", &[("https_proxy", &url(ports))], &once).ok();
    let connects = |text: &str| text.matches(&format!("CONNECT {agents} ")).count();
    let through = connects(&requests(&world, "open"));
    assert!(through > 0);
    agent(&world, "agent", &[("https_proxy", &url(ports)), ("no_proxy", "127.0.0.0/8")], &once).ok();
    assert_eq!(connects(&requests(&world, "open")), through, "around the proxy");

    // By agent.toml, before the environment: with name and password, which no log of ours repeats.
    let settings = world.file("agent").join("agent.toml");
    write_secret(&settings, format!("proxy = \"http://anna:geheim@127.0.0.1:{}\"\n", ports + 1).as_bytes());
    let ran = agent(&world, "agent", &[("https_proxy", &url(1)), ("TALLYSTICK_LOG", "trace")], &once);
    assert!(!ran.err.contains("geheim") && !ran.err.contains("YW5uYTpnZWhlaW0"), "{}", ran.err);
    ran.ok();
    assert!(connects(&requests(&world, "guarded")) > 0);
    let well = Examined::of(agent(&world, "agent", &[], &["doctor", "--json"]));
    assert_eq!(well.code, Some(0), "{well:?}");
    assert!(well.check("proxy").1.contains("opened a tunnel"), "{well:?}");
    assert!(!format!("{well:?}").contains("geheim"), "{well:?}");

    fs::set_permissions(&settings, fs::Permissions::from_mode(0o644)).expect("a mode");
    let readable = Examined::of(agent(&world, "agent", &[], &["doctor", "--json"]));
    assert_eq!(readable.failed(), ["settings"], "{readable:?}");
    assert!(readable.check("settings").1.contains("chmod 0600"), "{readable:?}");

    // What the proxy refuses, hop by hop.
    let through = |port: u16| {
        write_secret(&settings, format!("proxy = \"{}\"\n", url(port)).as_bytes());
        Examined::of(agent(&world, "agent", &[], &["doctor", "--json"]))
    };
    let without = through(ports + 1);
    assert_eq!(without.failed(), ["proxy"], "{without:?}");
    assert!(without.check("proxy").1.contains("it answered 407"), "{without:?}");
    let forbidden = through(ports + 2);
    assert_eq!(forbidden.failed(), ["proxy"], "{forbidden:?}");
    assert!(forbidden.check("proxy").1.contains("it answered 403"), "{forbidden:?}");
    assert_eq!(forbidden.check("tls").0, "not tried");
    server.stop();
    let behind = through(ports);
    assert_eq!(behind.failed(), ["proxy"], "{behind:?}");
    assert!(behind.check("proxy").1.contains("cannot reach"), "{behind:?}");
    let kept = agent(&world, "agent", &[], &["once", "--timeout-seconds", "20"]).fails(2);
    assert!(kept.contains("no way to") && kept.contains("the statement is kept here"), "{kept}");
    for proxy in [open, guarded, closed] {
        proxy.kill();
    }
    let nobody = through(ports);
    assert_eq!(nobody.failed(), ["tcp"], "{nobody:?}");
}
