//! An agent in a mount namespace of its own, as systemd's sandboxing, a container or `unshare` gives it, says
//! that it could not look: the real program on the real machine.
//!
//! Making a namespace takes root: as another user this test fails and says so.

#![expect(clippy::expect_used, reason = "a test stops at what it cannot do")]

use std::fs;
use std::path::Path;

use serde_json::Value;
use tests::process::{Ran, run};
use tests::programs;

/// The question that tells a namespace from a container.
const ASKED: &str = "read /proc/1/mountinfo";
/// What of systemd.exec(5) gives a service mounts of its own.
const OWN_MOUNTS: [&str; 31] = [
    "BindPaths",
    "BindReadOnlyPaths",
    "DynamicUser",
    "ExecPaths",
    "ExtensionDirectories",
    "ExtensionImages",
    "InaccessiblePaths",
    "MountAPIVFS",
    "MountFlags",
    "MountImages",
    "NetworkNamespacePath",
    "NoExecPaths",
    "PrivateDevices",
    "PrivateIPC",
    "PrivateMounts",
    "PrivateNetwork",
    "PrivatePIDs",
    "PrivateTmp",
    "PrivateUsers",
    "ProcSubset",
    "ProtectControlGroups",
    "ProtectHome",
    "ProtectKernelLogs",
    "ProtectKernelModules",
    "ProtectKernelTunables",
    "ProtectProc",
    "ProtectSystem",
    "ReadOnlyPaths",
    "ReadWritePaths",
    "RootDirectory",
    "RootImage",
];

/// What `probe --json` prints when started by `sh -c PREPARE` in a mount namespace of its own.
#[track_caller]
fn probe_in_namespace(prepare: &str) -> Value {
    let script = format!("{prepare} && exec \"$0\" probe --json");
    let ran: Ran = run("unshare", ["--mount", "sh", "-c", &script, programs!().agent]);
    assert_eq!(
        ran.code,
        Some(0),
        "this test makes a mount namespace, which takes root and the right to do so:\n{}\n{}",
        ran.line,
        ran.err
    );
    ran.json()
}

fn observations(look: &Value) -> &Vec<Value> {
    look["observations"].as_array().expect("observations")
}

#[test]
fn in_a_mount_namespace_of_its_own_the_agent_says_that_it_could_not_look() {
    let plain = run(programs!().agent, ["probe", "--json"]).json();
    for observation in observations(&plain) {
        let question = &observation["unavailable"]["question"];
        assert_ne!(question, ASKED, "the test itself must run in the machine's own mount namespace: {plain}");
    }
    // Where the machine is a container already, that is what is said, with and without another namespace.
    let container = observations(&plain).iter().all(|o| o["unavailable"]["reason"] == "container");
    for prepare in ["true", "mount -o remount,ro,bind /", "mount -t tmpfs tmpfs /srv"] {
        let look = probe_in_namespace(prepare);
        assert_eq!(observations(&look).len(), observations(&plain).len());
        for observation in observations(&look) {
            assert_eq!(observation["outcome"], "unavailable", "{prepare}: {observation}");
            assert_eq!(observation["unavailable"]["reason"], "container", "{prepare}: {observation}");
            let question = &observation["unavailable"]["question"];
            assert!(container || question == ASKED, "{prepare}: {observation}");
        }
    }
}

#[test]
fn the_agents_unit_gives_it_no_mounts_of_its_own() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/systemd/tallystick-agent.service");
    let unit = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(unit.contains("\nExecStart="), "{unit}");
    for line in unit.lines() {
        let name = line.split('=').next().unwrap_or_default().trim();
        assert!(!OWN_MOUNTS.contains(&name), "`{line}` gives the agent a view of its own");
    }
}
