//! The check list, for people and for machines.

use std::io::{self, Write};

use evidence::json::{self, Value, object};
use evidence::verify::{Outcome, Report};

/// One line a check, then the notices and the answer.
pub(crate) fn text(report: &Report, out: &mut impl Write) -> io::Result<()> {
    for check in &report.checks {
        let (mark, detail) = match &check.outcome {
            Outcome::Passed(detail) => ("[ok]     ", detail),
            Outcome::Failed(detail) => ("[FAILED] ", detail),
            Outcome::NotRun(detail) => ("[not run]", detail),
        };
        writeln!(out, "{mark} {:>2} {:<13} {detail}", check.number, check.name)?;
    }
    writeln!(out)?;
    for notice in &report.notices {
        writeln!(out, "note: {notice}")?;
    }
    if report.is_sound() {
        writeln!(out, "The set is sound: what it shows is what was signed, logged, drawn and judged.")
    } else {
        let failed: Vec<String> = report.failed().iter().map(ToString::to_string).collect();
        writeln!(out, "The set is NOT sound. Failed checks: {}.", failed.join(", "))?;
        writeln!(out, "Ask whoever sent it for a new export; keep this one as it is.")
    }
}

/// {"sound","checks":[{"number","name","result","detail"}],"notices"}, canonical but for `sound`.
pub(crate) fn json(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let checks = report
        .checks
        .iter()
        .map(|check| {
            let (result, detail) = match &check.outcome {
                Outcome::Passed(detail) => ("passed", detail),
                Outcome::Failed(detail) => ("failed", detail),
                Outcome::NotRun(detail) => ("not-run", detail),
            };
            object([
                ("number", json::count(check.number.into())),
                ("name", json::text(check.name)),
                ("result", json::text(result)),
                ("detail", json::text(detail)),
            ])
        })
        .collect();
    let notices = Value::Array(report.notices.iter().map(json::text).collect());
    writeln!(
        out,
        "{{\"sound\":{},\"checks\":{},\"notices\":{}}}",
        report.is_sound(),
        Value::Array(checks).encode(),
        notices.encode()
    )
}

/// A sentence on standard error for exit code 2.
pub(crate) fn trouble(error: &anyhow::Error) {
    // Standard error may be closed; there is nobody left to tell.
    let _unheard = writeln!(io::stderr(), "tallystick-verify: {error:#}");
}
