//! The check list, for people and for machines.

use std::io::{self, Write};

use evidence::interval::Bound;
use evidence::json::{self, Value, object};
use evidence::verify::{Outcome, Report, UnitTime};

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
    times(&report.times, out)?;
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

/// When the deciding statements were signed, and what that does not say.
fn times(times: &[UnitTime], out: &mut impl Write) -> io::Result<()> {
    if times.is_empty() {
        return Ok(());
    }
    writeln!(out, "When the statements that decided were signed (UTC; in brackets, whose clocks say so):")?;
    for time in times {
        writeln!(out, "  {} {}: statement {}, {}", time.folder, time.unit, time.index, time.interval)?;
    }
    writeln!(
        out,
        "That is when a device signed, not when a fact was so: a device can look and sign later. Who holds a device's key \
         can sign a lie within these times, but none before them. The log's clock is the operator's word."
    )?;
    writeln!(out)
}

fn bound(bound: &Bound) -> Value {
    object([("ms", json::time(bound.at)), ("clocks", json::text(bound.clocks.to_string()))])
}

fn time(time: &UnitTime) -> Value {
    object([
        ("folder", json::text(&time.folder)),
        ("unit", json::text(time.unit.to_string())),
        ("index", json::count(time.index)),
        ("not_before", Value::Array(time.interval.not_before.iter().map(bound).collect())),
        ("not_after", bound(&time.interval.not_after)),
        ("text", json::text(time.interval.to_string())),
    ])
}

/// {"sound","checks":[{"number","name","result","detail"}],"notices","times":[{"folder","unit","index","not_before",
/// "not_after","text"}]}, canonical but for `sound`.
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
        "{{\"sound\":{},\"checks\":{},\"notices\":{},\"times\":{}}}",
        report.is_sound(),
        Value::Array(checks).encode(),
        notices.encode(),
        Value::Array(report.times.iter().map(time).collect()).encode()
    )
}

/// A sentence on standard error for exit code 2.
pub(crate) fn trouble(error: &anyhow::Error) {
    // Standard error may be closed; there is nobody left to tell.
    let _unheard = writeln!(io::stderr(), "tallystick-verify: {error:#}");
}
