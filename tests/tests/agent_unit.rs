//! The agent's systemd unit blinds no probe: the real program under the unit's capabilities sees the same as without them, and
//! does nothing that the unit's filters refuse.
//!
//! Takes root: capabilities are dropped from those of root. Takes `setpriv`, `strace` and `systemd-analyze`.

#![expect(clippy::expect_used, reason = "a test stops at what it cannot do, and prints what it counted")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;
use tests::process::run;
use tests::programs;
use tests::unit::{Filters, words};

fn unit() -> String {
    tests::unit::unit("tallystick-agent.service")
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

#[test]
fn nothing_that_a_look_does_is_refused_by_the_units_filters() {
    let filters = Filters::of(&unit());
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("calls").display().to_string();
    run("strace", ["-f", "-qq", "-o", &log, programs!().agent, "probe", "--json"]).ok();
    let traced = filters.hold(&String::from_utf8_lossy(&fs::read(&log).expect("the calls")));
    let used = &traced.used;
    assert!(used.len() > 30 && used.contains_key("execve"), "strace shows what it must: {used:?}");
    println!("{} calls of {} kinds, all allowed by the unit", used.values().sum::<u64>(), used.len());
    assert!(traced.refused.is_empty(), "the unit would refuse:\n{}", traced.refused.join("\n"));
}
