//! The agent's systemd unit blinds no probe: the real program under the unit's capabilities sees the same as without them, and
//! does nothing that the unit's filters refuse.
//!
//! Takes root: capabilities are dropped from those of root. Takes `setpriv`, `strace` and `systemd-analyze`.

#![expect(clippy::expect_used, reason = "a test stops at what it cannot do, and prints what it counted")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::Value;
use tests::process::run;
use tests::programs;

fn unit() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/systemd/tallystick-agent.service");
    fs::read_to_string(path).expect("the unit")
}

/// The words of a directive that stands once.
fn words(unit: &str, directive: &str) -> Vec<String> {
    let prefix = format!("{directive}=");
    let lines: Vec<&str> = unit.lines().filter_map(|line| line.strip_prefix(&prefix)).collect();
    assert_eq!(lines.len(), 1, "{directive} stands once");
    lines.iter().flat_map(|line| line.split_whitespace()).map(str::to_owned).collect()
}

/// What each control came to. Details like times may differ between two looks; how a look ended may not.
fn outcomes(look: &Value) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let all = look["observations"].as_array().expect("observations");
    all.iter()
        .map(|one| {
            let unavailable = &one["unavailable"];
            let how = format!(
                "{} {} {}",
                text(&one["outcome"]),
                text(&unavailable["reason"]),
                text(&unavailable["question"])
            );
            (text(&one["control"]), how)
        })
        .collect()
}

#[test]
fn under_the_units_capabilities_every_probe_sees_what_root_sees() {
    let kept: Vec<String> = words(&unit(), "CapabilityBoundingSet")
        .iter()
        .map(|name| format!("+{}", name.strip_prefix("CAP_").expect("a capability").to_lowercase()))
        .collect();
    let set = format!("-all,{}", kept.join(","));
    let plain = run(programs!().agent, ["probe", "--json"]).json();
    let bounded = |set: &str| {
        let (bounding, inheritable) = (format!("--bounding-set={set}"), format!("--inh-caps={set}"));
        run("setpriv", ["--no-new-privs", &bounding, &inheritable, programs!().agent, "probe", "--json"])
            .json()
    };
    assert_eq!(outcomes(&bounded(&set)), outcomes(&plain), "a capability is missing in the unit");
    // The comparison can fail: with none at all the packet filter shows nothing.
    if Path::new("/usr/sbin/nft").exists() {
        assert_ne!(outcomes(&bounded("-all")), outcomes(&plain));
    }
}

/// Every call of a filter set, the sets inside it opened.
fn calls_of(set: &str, all: &mut BTreeSet<String>) {
    for line in run("systemd-analyze", ["syscall-filter", "--no-pager", set]).ok().lines().skip(1) {
        let word = line.trim();
        match word.strip_prefix('@') {
            _ if word.is_empty() || word.starts_with('#') => {}
            Some(_) => calls_of(word, all),
            None => drop(all.insert(word.to_owned())),
        }
    }
}

#[test]
fn nothing_that_a_look_does_is_refused_by_the_units_filters() {
    let unit = unit();
    let mut allowed = BTreeSet::new();
    for set in words(&unit, "SystemCallFilter") {
        calls_of(&set, &mut allowed);
    }
    assert!(
        allowed.len() > 200 && allowed.contains("openat") && !allowed.contains("reboot"),
        "{}",
        allowed.len()
    );
    let families: BTreeSet<String> = words(&unit, "RestrictAddressFamilies").into_iter().collect();
    assert_eq!(words(&unit, "MemoryDenyWriteExecute"), ["yes"]);
    assert_eq!(words(&unit, "RestrictNamespaces"), ["yes"]);
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("calls").display().to_string();
    run("strace", ["-f", "-qq", "-o", &log, programs!().agent, "probe", "--json"]).ok();
    let text = String::from_utf8_lossy(&fs::read(&log).expect("the calls")).into_owned();
    let mut used: BTreeMap<String, u64> = BTreeMap::new();
    let mut refused = Vec::new();
    for line in text.lines() {
        // `PID call(arguments) = result`; what goes on after another process's line was counted at its beginning.
        let call = line.trim_start_matches(|c: char| c.is_ascii_digit()).trim_start();
        let Some((name, rest)) = call.split_once('(') else { continue };
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            continue;
        }
        *used.entry(name.to_owned()).or_default() += 1;
        let family = rest.split([',', ')']).next().unwrap_or_default();
        let exec = rest.contains("PROT_EXEC");
        let bad = !allowed.contains(name)
            || (name == "socket" && !families.contains(family))
            || (name == "mmap" && exec && rest.contains("PROT_WRITE"))
            || (name == "mprotect" && exec)
            || rest.contains("CLONE_NEW");
        if bad {
            refused.push(line.to_owned());
        }
    }
    assert!(used.len() > 30 && used.contains_key("execve"), "strace shows what it must: {used:?}");
    println!("{} calls of {} kinds, all allowed by the unit", used.values().sum::<u64>(), used.len());
    assert!(refused.is_empty(), "the unit would refuse:\n{}", refused.join("\n"));
}
