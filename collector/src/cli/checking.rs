//! `fsck`: recomputes everything and says what does not fit.

use std::io::Write;
use std::time::Duration;

use anyhow::Context as _;

use super::{FsckArguments, admin_log_keys};
use crate::config::Config;
use crate::datadir::DataDir;
use crate::fsck;

/// Whether everything is sound.
pub(super) fn run(arguments: &FsckArguments, out: &mut impl Write) -> anyhow::Result<bool> {
    let dir = DataDir::open(&arguments.directory.dir)?;
    let config = Config::read(&dir.configuration())?;
    let log_keys = admin_log_keys(&arguments.directory.dir)?;
    let high_water = crate::node::high_water(&dir, &config);
    let bar =
        indicatif::ProgressBar::new_spinner().with_message("recomputing every entry, proof and checkpoint");
    bar.enable_steady_tick(Duration::from_millis(250));
    let progress = |entries: u64| bar.set_message(format!("{entries} entries recomputed and compared"));
    let options = fsck::Options {
        log_keys: &log_keys,
        origin: Some(&config.origin),
        high_water: Some(&high_water),
        progress: Some(&progress),
        ..fsck::Options::default()
    };
    let report = fsck::check(&dir, &options)?;
    bar.finish_and_clear();
    if arguments.directory.json {
        writeln!(out, "{}", serde_json::to_string(&report)?).context("cannot write the report")?;
        return Ok(report.sound);
    }
    for fault in &report.faults {
        writeln!(out, "{fault}").context("cannot write the report")?;
    }
    let verdict =
        if report.sound { "sound" } else { "NOT sound: keep the disk as it is and restore from a copy" };
    writeln!(
        out,
        "{} entries, {} commits, {} checkpoints, {} segments; index of {} entries, {} payload bundles, {} cosigned notes, \
         public tree of {}: {verdict}",
        report.entries,
        report.commits,
        report.checkpoints,
        report.segments,
        report.index_size,
        report.payload_bundles,
        report.notes,
        report.tree_size
    )
    .context("cannot write the report")?;
    Ok(report.sound)
}
