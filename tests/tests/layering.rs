//! The crate graph is the architecture: who may use whom, and what must never come into a tree.
//!
//! Each crate's tree is asked for alone, because features unified over the workspace would show another one.

#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "a test stops at what it cannot read")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Each crate and the workspace crates it may use. Layers: proto | evidence | probes, certs, rpc | programs.
const MAY_USE: [(&str, &[&str]); 10] = [
    ("proto", &[]),
    ("evidence", &["proto"]),
    ("probes", &["evidence", "proto"]),
    ("certs", &["evidence"]),
    ("rpc", &["evidence", "proto"]),
    ("agent", &["certs", "evidence", "probes", "proto", "rpc"]),
    ("collector", &["certs", "evidence", "proto", "rpc"]),
    ("cli", &["certs", "evidence", "proto", "rpc"]),
    ("verifier", &["evidence"]),
    // Simulated devices: for the packages below, so no other row may name it.
    ("fleet", &["evidence", "probes", "proto"]),
];
/// Crates that may use everything: they are never shipped.
const UNBOUND: [&str; 2] = ["bench", "tests"];

/// What compiles or links C, by the crates that do it.
const C: [&str; 6] = ["bindgen", "cc", "cmake", "nasm-rs", "pkg-config", "vcpkg"];
/// A second way to do TLS, in no tree at all; deny.toml has the longer list.
const OTHER_TLS: [&str; 5] = ["aws-lc-rs", "aws-lc-sys", "native-tls", "openssl", "openssl-sys"];
/// The runtime and the network.
const NETWORK: [&str; 8] = ["h2", "hyper", "mio", "rustls", "tokio", "tokio-rustls", "tonic", "tower"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace").to_owned()
}

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .args(["--locked", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo {arguments:?}: {errors}");
    String::from_utf8(output.stdout).expect("cargo prints UTF-8")
}

/// The names in `cargo tree -p <name>`, the crate itself apart.
fn tree(name: &str, extra: &[&str]) -> BTreeSet<String> {
    let text = cargo(&[&["tree", "-p", name, "--prefix", "none"], extra].concat());
    let mut names: BTreeSet<String> =
        text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect();
    assert!(names.remove(name), "cargo tree -p {name} does not begin with {name}:\n{text}");
    // Headings of the kinds of dependencies and the empty lines around them.
    names.retain(|name| !name.is_empty() && !name.starts_with('['));
    names
}

fn shipped(name: &str) -> BTreeSet<String> {
    tree(name, &["-e", "normal,build"])
}

fn members() -> BTreeSet<String> {
    let text = cargo(&["metadata", "--format-version", "1", "--no-deps"]);
    let metadata: serde_json::Value = serde_json::from_str(&text).expect("cargo metadata prints JSON");
    let packages = metadata["packages"].as_array().expect("packages is a list");
    packages.iter().map(|package| package["name"].as_str().expect("a name").to_owned()).collect()
}

fn assert_without(name: &str, banned: &[&str]) {
    let found: Vec<_> = shipped(name).into_iter().filter(|found| banned.contains(&found.as_str())).collect();
    assert!(
        found.is_empty(),
        "{name} must not contain {found:?}: `cargo tree -p {name} -e normal,build -i {}` shows the way in",
        found.join(" -i ")
    );
}

#[test]
fn every_crate_has_its_place() {
    let placed: BTreeSet<String> =
        MAY_USE.iter().map(|(name, _)| *name).chain(UNBOUND).map(str::to_owned).collect();
    assert_eq!(members(), placed, "a new crate needs a row in MAY_USE");
}

#[test]
fn crates_use_only_lower_layers() {
    let members = members();
    let mut found = BTreeMap::new();
    for (name, allowed) in MAY_USE {
        // Tests of a crate are bound like the crate: what needs more belongs into the package `tests`.
        let used = tree(name, &["-e", "normal,build,dev", "--depth", "1"]);
        let used: BTreeSet<String> = used.intersection(&members).cloned().collect();
        let too_many: Vec<_> = used.iter().filter(|used| !allowed.contains(&used.as_str())).collect();
        assert!(too_many.is_empty(), "{name} must not use {too_many:?}");
        found.insert(name, used.len());
    }
    // A reading that finds no edges at all would pass everything.
    assert!(found["evidence"] == 1 && found["agent"] >= 2 && found["verifier"] == 1, "{found:?}");
}

#[test]
fn the_verifier_is_small_and_pure_rust() {
    assert_without("verifier", &[&NETWORK[..], &C, &OTHER_TLS, &["ring", "sled"]].concat());
}

#[test]
fn rules_and_probes_have_no_runtime_and_no_c() {
    for name in ["proto", "evidence", "probes", "fleet"] {
        assert_without(name, &[&NETWORK[..], &C, &OTHER_TLS, &["ring", "sled", "rustls"]].concat());
    }
}

#[test]
fn the_store_belongs_to_the_collector_and_the_machine_to_the_agent() {
    for name in ["certs", "rpc", "agent", "cli"] {
        assert_without(name, &["sled"]);
    }
    for name in ["certs", "rpc", "cli"] {
        assert_without(name, &["notify", "sysinfo"]);
    }
    // The collector watches its own certificates, and no machine.
    assert_without("collector", &["sysinfo"]);
    assert_without("certs", &["tokio", "tonic"]);
    // rpc opens a client's TLS connection; what is in certificates is not its business.
    assert_without("rpc", &["rcgen", "x509-parser"]);
}

#[test]
fn there_is_one_provider_of_tls() {
    for (name, _) in MAY_USE {
        assert_without(name, &OTHER_TLS);
    }
}

#[test]
fn the_trees_are_really_read() {
    let (agent, collector) = (shipped("agent"), shipped("collector"));
    for name in ["cc", "ring", "rustls", "tokio", "tonic"] {
        assert!(agent.contains(name) && collector.contains(name), "{name} was looked for under this name");
    }
    assert!(collector.contains("sled") && agent.contains("sysinfo") && agent.contains("tokio-rustls"));
}
