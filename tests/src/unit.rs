//! What a systemd unit of ours allows, and whether calls that strace wrote down would be refused by it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::process::run;

/// The text of a unit of `deploy/systemd`.
pub fn unit(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/systemd").join(name);
    fs::read_to_string(path).expect("the unit")
}

/// The values of a directive, one for each time it stands.
pub fn values<'a>(unit: &'a str, directive: &str) -> Vec<&'a str> {
    let prefix = format!("{directive}=");
    unit.lines().filter_map(|line| line.strip_prefix(&prefix)).collect()
}

/// The words of a directive that stands once.
#[track_caller]
pub fn words(unit: &str, directive: &str) -> Vec<String> {
    let lines = values(unit, directive);
    assert_eq!(lines.len(), 1, "{directive} stands once");
    lines.iter().flat_map(|line| line.split_whitespace()).map(str::to_owned).collect()
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

/// What a unit's filters let through.
#[derive(Debug)]
pub struct Filters {
    calls: BTreeSet<String>,
    families: BTreeSet<String>,
}

/// What strace wrote down.
#[derive(Debug, Default)]
pub struct Traced {
    /// How often each call was made.
    pub used: BTreeMap<String, u64>,
    /// The lines that a unit would refuse.
    pub refused: Vec<String>,
}

impl Filters {
    /// The filters of a unit that has `MemoryDenyWriteExecute` and `RestrictNamespaces`.
    #[track_caller]
    pub fn of(unit: &str) -> Self {
        let mut calls = BTreeSet::new();
        for value in values(unit, "SystemCallFilter") {
            let mut named = BTreeSet::new();
            for set in value.trim_start_matches('~').split_whitespace() {
                calls_of(set, &mut named);
            }
            if value.starts_with('~') {
                calls.retain(|call| !named.contains(call));
            } else {
                calls.append(&mut named);
            }
        }
        let known = calls.len() > 200 && calls.contains("openat") && !calls.contains("reboot");
        assert!(known, "systemd-analyze tells what the sets hold: {}", calls.len());
        assert_eq!(words(unit, "MemoryDenyWriteExecute"), ["yes"]);
        assert_eq!(words(unit, "RestrictNamespaces"), ["yes"]);
        Self { calls, families: words(unit, "RestrictAddressFamilies").into_iter().collect() }
    }

    /// Holds the lines of `strace -f` against them.
    pub fn hold(&self, text: &str) -> Traced {
        let mut traced = Traced::default();
        for line in text.lines() {
            // `PID call(arguments) = result`; what goes on after another process's line was counted at its beginning.
            let call = line.trim_start_matches(|c: char| c.is_ascii_digit()).trim_start();
            let Some((name, rest)) = call.split_once('(') else { continue };
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
                continue;
            }
            *traced.used.entry(name.to_owned()).or_default() += 1;
            let family = rest.split([',', ')']).next().unwrap_or_default();
            let exec = rest.contains("PROT_EXEC");
            let bad = !self.calls.contains(name)
                || (name == "socket" && !self.families.contains(family))
                || (name == "mmap" && exec && rest.contains("PROT_WRITE"))
                || (name == "mprotect" && exec)
                || rest.contains("CLONE_NEW");
            if bad {
                traced.refused.push(line.to_owned());
            }
        }
        traced
    }
}
