//! docs/RECORDINGS.md: every recorded machine in one table.
#![expect(clippy::disallowed_methods, reason = "the test reads a document, and writes it when asked to")]

use std::{env, fmt::Write as _, fs, path::Path};

use super::{
    fleet::{claim, look, machines, recordings},
    verdict::{Verdict, verdict},
};
use crate::{Origin, PROBES};

/// Set to `1` to write the table instead of comparing it.
const WRITE: &str = "TALLYSTICK_WRITE_TABLE";
const HEAD: &str = "\
# Recordings

Every machine of `probes/recordings/`, written by a test: `TALLYSTICK_WRITE_TABLE=1 cargo test -p probes --lib table`.

*recorded* was asked of a machine that ran; *documented* was written from documents and published samples. Nothing here
was asked of a Mac. The outcomes are those of the strict judge of the tests (`probes/src/tests/verdict.rs`): only what
is certain passes. Machines argued line by line: docs/HOSTS.md.

";

#[test]
fn the_table_names_every_recording() {
    let machines = machines();
    let mut text = HEAD.to_owned();
    let controls: Vec<&str> = PROBES.iter().map(|probe| probe.control).collect();
    writeln!(text, "| recording | platform | machine | origin | {} | class |", controls.join(" | ")).unwrap();
    writeln!(text, "|{}", "---|".repeat(controls.len() + 5)).unwrap();
    for (name, recording) in recordings() {
        let machine = &machines[&name];
        let outcomes: Vec<&str> = controls
            .iter()
            .map(|control| match verdict(machine.platform(), &look(&name, control, machine).0) {
                Verdict::Pass => "pass",
                Verdict::Fail => "fail",
                Verdict::Unknown => "unknown",
                Verdict::NotApplicable => "does not apply",
            })
            .collect();
        let class = claim(&name, machine).0.map_or_else(String::new, |c| {
            format!("{:?}", c.class()).to_lowercase().replace("unspecified", "")
        });
        let origin = match recording.origin {
            Origin::Recorded => "recorded",
            Origin::Documented => "documented",
        };
        let release = recording.release.replace('|', "/");
        let platform = &recording.platform;
        writeln!(text, "| {name} | {platform} | {release} | {origin} | {} | {class} |", outcomes.join(" | "))
            .unwrap();
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/RECORDINGS.md");
    if env::var(WRITE).is_ok_and(|value| value == "1") {
        fs::write(&path, &text).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(found == text, "docs/RECORDINGS.md is not what the recordings say: run this with {WRITE}=1");
}
