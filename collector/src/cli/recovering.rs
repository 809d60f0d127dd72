//! `recover`: brings a log that went back level with a mirror of it, and checks everything.

use std::fmt::Write as _;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use evidence::time::Clock;
use serde_json::{Value, json};

use super::Directory;
use crate::clock::SystemClock;
use crate::config::Config;
use crate::datadir::DataDir;
use crate::fsck;
use crate::ledger::{Ledger, LedgerOptions};
use crate::node::{gate, high_water, writer_options};
use crate::recover::{self, Ended, Recovered};
use crate::rollback::require_memory;
use crate::secrets;
use crate::witnesses::{Desk, Settings};

#[derive(Debug, Args)]
pub(super) struct RecoverArguments {
    #[command(flatten)]
    directory: Directory,
    /// A mirror of this log with payloads, as `tallystick log mirror --with-payloads` makes it.
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
}

/// What is said once the log is level with its mirror.
struct After {
    /// Why the server would not start, if it would not.
    gate: Result<(), String>,
    check: fsck::Report,
}

/// Whether the log has everything and may go on.
pub(super) fn run(arguments: &RecoverArguments, out: &mut impl Write) -> anyhow::Result<bool> {
    let dir = Arc::new(DataDir::open(&arguments.directory.dir)?);
    let config = Config::read(&dir.configuration())?;
    let memory = require_memory(dir.path(), &config)?;
    let log_key = secrets::signing_key(&dir.keys().join("log.key"))?;
    let log_keys = crate::log_key::known(dir.path(), &config.origin)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let settings =
        Settings::read(dir.path(), &config, &log_keys, Arc::new(certs::SystemClock(Arc::clone(&clock))))?;
    let settings = settings.filter(|settings| settings.policy.has_quorum());
    let bar = indicatif::ProgressBar::new_spinner().with_message("reading the mirror");
    bar.enable_steady_tick(Duration::from_millis(250));
    let progress = |what: &'static str, entries: u64| bar.set_message(format!("{entries} entries {what}"));
    let ledger = LedgerOptions { segment_bytes: config.segment_bytes, ..LedgerOptions::default() };
    let options = recover::Options {
        log_keys: log_keys.clone(),
        policy: settings.as_ref().map(|settings| &settings.policy),
        ledger: ledger.clone(),
        free_bytes_min: config.free_bytes_min,
        progress: &progress,
    };
    let recovered = recover::recover(&dir, &arguments.from, &options)?;
    let after = if matches!(recovered.ended, Ended::Level(_)) {
        bar.set_message("bringing the index level");
        let witnesses =
            settings.as_ref().map(|settings| (settings, Arc::new(Desk::new(settings.policy.clone()))));
        let witnesses = witnesses.as_ref().map(|(settings, desk)| (*settings, desk, memory));
        let mut writer = writer_options(&dir, &config, log_key, clock, witnesses);
        writer.earlier_keys = log_keys.split_last().map(|(_, earlier)| earlier.to_vec()).unwrap_or_default();
        let (opened, unstarted) = Ledger::open(Arc::clone(&dir), &ledger)?;
        let gate = gate(&dir, &config, memory, &unstarted, &writer).map_err(|error| error.to_string());
        // The check opens the index itself.
        drop((opened, unstarted));
        let mark = high_water(&dir, &config);
        let progress = |entries: u64| bar.set_message(format!("{entries} entries checked"));
        let options = fsck::Options {
            log_keys: &log_keys,
            origin: Some(&config.origin),
            high_water: Some(&mark),
            progress: Some(&progress),
            ..fsck::Options::default()
        };
        Some(After { gate, check: fsck::check(&dir, &options)? })
    } else {
        None
    };
    bar.finish_and_clear();
    let text = if arguments.directory.json {
        as_json(&recovered, after.as_ref()).to_string()
    } else {
        words(&recovered, after.as_ref())
    };
    writeln!(out, "{text}").context("cannot write the report")?;
    Ok(after.is_some_and(|after| after.gate.is_ok() && after.check.sound))
}

fn as_json(recovered: &Recovered, after: Option<&After>) -> Value {
    let Recovered { checkpoint, size_before, ended } = recovered;
    let mut answer = json!({
        "origin": checkpoint.origin, "size": checkpoint.size, "root": checkpoint.root.hex(), "size_before": size_before,
    });
    let more = match ended {
        Ended::Level(counts) => json!({
            "state": "level",
            "recovered": counts.entries, "without_key": counts.without_key, "erased": counts.erased,
        }),
        Ended::Fork { why, evidence } => {
            json!({ "state": "fork", "why": why, "evidence": evidence.display().to_string() })
        }
        Ended::TakenIn { from, size } => json!({ "state": "taken-in", "from": from, "entries_here": size }),
        Ended::Missing(missing) => {
            let of = |(stream, entries): (&evidence::leaf::Stream, &u64)| json!({ "stream": stream.name(), "entries": entries });
            json!({ "state": "payloads-missing", "missing": missing.iter().map(of).collect::<Vec<_>>() })
        }
    };
    let after = after.map(|after| json!({ "starts": after.gate.is_ok(), "gate": after.gate.clone().err(), "check": after.check }));
    for part in [more, after.unwrap_or_default()] {
        if let (Some(answer), Value::Object(mut part)) = (answer.as_object_mut(), part) {
            answer.append(&mut part);
        }
    }
    answer
}

/// What to do when there is no better mirror.
const SUCCESSOR: &str = "if there is none, begin a successor log (`init --predecessor`): OPERATING.md, \"An old copy was restored\"";

fn words(recovered: &Recovered, after: Option<&After>) -> String {
    let Recovered { checkpoint, size_before, ended } = recovered;
    let size = checkpoint.size;
    let mut text = match ended {
        Ended::Level(counts) if counts.entries == 0 => {
            format!("The log has {size_before} entries, and all {size} of the mirror are among them.")
        }
        Ended::Level(counts) => format!(
            "{} entries recovered: the log had {size_before} and has {size}, with the mirror's checkpoint. \
             Statements that devices hold and nobody has proved to them come back by themselves once the server runs.",
            counts.entries
        ),
        Ended::Fork { why, evidence } => format!(
            "Two histories of one log: {why}. Nothing was written. Both checkpoints lie in {}: stop whatever else runs with \
             this log's key, and keep everything",
            evidence.display()
        ),
        Ended::TakenIn { from, size } => format!(
            "This copy took in entries after it had gone back: of its {size}, those from {from} on are under no checkpoint, and \
             the mirror has others there. Nothing was written. Restore the copy once more as it was before it was started, and \
             recover that: the devices hold what was taken in here"
        ),
        Ended::Missing(missing) => {
            let all: u64 = missing.values().sum();
            let streams: Vec<String> =
                missing.iter().map(|(stream, entries)| format!("{} of {entries}", stream.name())).collect();
            format!(
                "The mirror has no payload, or not the right one, for {all} of the {} missing entries (stream {}). Nothing was \
                 written. Take a mirror made by `tallystick log mirror --with-payloads`; {SUCCESSOR}",
                size.saturating_sub(*size_before),
                streams.join(", ")
            )
        }
    };
    if let Ended::Level(counts) = ended
        && counts.without_key > 0
    {
        // Writing to a string does not fail.
        let _always = write!(
            text,
            "\n{} of them are sealed under data keys that are not in `data-keys/keys` here; their bytes were taken over \
             unchecked. Restore the newest copy of that file before the server starts: it would make other keys for the same \
             devices, and these payloads would be lost.",
            counts.without_key
        );
    }
    let Some(After { gate, check }) = after else { return text };
    for fault in &check.faults {
        let _always = write!(text, "\n{fault}");
    }
    let verdict = if check.sound { "sound" } else { "NOT sound" };
    let _always = write!(text, "\n{} entries checked: {verdict}.", check.entries);
    if let Err(why) = gate {
        let _always = write!(text, "\nThe server will not start: {why}. Take a newer mirror; {SUCCESSOR}");
    }
    text
}
