//! `rebuild`: makes again what a disk lost of payload bundles and index, and checks everything.

use std::io::Write;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;

use super::{Directory, admin_log_keys};
use crate::config::Config;
use crate::datadir::DataDir;
use crate::ledger::LedgerOptions;
use crate::{fsck, rebuild};

#[derive(Debug, Args)]
pub(super) struct RebuildArguments {
    #[command(flatten)]
    directory: Directory,
    /// Move all of `sled/` aside and make it anew from journal, `tree/` and `payload/`. The old one is kept.
    #[arg(long)]
    index: bool,
}

/// Whether everything is sound afterwards.
pub(super) fn run(arguments: &RebuildArguments, out: &mut impl Write) -> anyhow::Result<bool> {
    let dir = DataDir::open(&arguments.directory.dir)?;
    let config = Config::read(&dir.configuration())?;
    let log_keys = admin_log_keys(&arguments.directory.dir)?;
    let high_water = crate::node::high_water(&dir, &config);
    let bar = indicatif::ProgressBar::new_spinner().with_message("comparing the copies of every entry");
    bar.enable_steady_tick(Duration::from_millis(250));
    let progress = |entries: u64| bar.set_message(format!("{entries} entries compared"));
    let options = fsck::Options {
        log_keys: &log_keys,
        origin: Some(&config.origin),
        high_water: Some(&high_water),
        progress: Some(&progress),
        ..fsck::Options::default()
    };
    let ledger = LedgerOptions { segment_bytes: config.segment_bytes, ..LedgerOptions::default() };
    let report = rebuild::rebuild(&dir, &ledger, &options, arguments.index)?;
    bar.finish_and_clear();
    let text = if arguments.directory.json { serde_json::to_string(&report)? } else { text(&report) };
    writeln!(out, "{text}").context("cannot write the report")?;
    Ok(report.check.sound)
}

fn text(report: &rebuild::Report) -> String {
    let mut lines = Vec::new();
    for left in &report.left {
        lines.push(format!("payload/{} was not made again: {}", left.path, left.why));
    }
    lines.extend(report.check.faults.iter().map(fsck::Fault::to_string));
    if let Some(index) = &report.index {
        let aside = index.aside.as_ref().map_or(String::new(), |aside| {
            format!("; the old one lies in {} and can be deleted", aside.display())
        });
        lines.push(format!("the index was made anew over {} entries{aside}", index.entries));
    }
    let verdict = if report.check.sound { "sound" } else { "NOT sound: restore what is named from a copy" };
    lines.push(format!(
        "{} payload bundles compared, {} written; {} entries: {verdict}",
        report.bundles,
        report.written.len(),
        report.check.entries
    ));
    lines.join("\n")
}
