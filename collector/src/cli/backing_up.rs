//! `backup` and `restore`: the log into a folder that only grows, and a data directory out of it.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use evidence::time::{Clock as _, Timestamp};
use indicatif::ProgressBar;

use super::Directory;
use crate::clock::SystemClock;
use crate::config::Config;
use crate::datadir::{DataDir, DataDirError};
use crate::{backup, fsck, restore};

/// Ship the log into a folder that only grows: what is new is copied, everything is checked. The server may run.
///
/// Every entry is hashed again and must lead to the newest signed checkpoint, and what lies in the folder must be a
/// beginning of this log; so each run reads all of `tree/` and `payload/` (about 0.5 kB an attestation) and writes what is
/// new. With the server down the backup ends at the last entry, beside a running one at the newest checkpoint. An
/// interrupted run leaves the earlier backup whole. The folder is no data directory: `restore` makes one of it.
///
/// Exit code 0: all of it lies there; 2: nothing new does, and the message says why.
#[derive(Debug, Args)]
pub(super) struct BackupArguments {
    #[command(flatten)]
    directory: Directory,
    /// Folder that is shipped to: one that is empty or not there yet, or that of an earlier backup of this log. Outside the
    /// data directory, best on another disk.
    #[arg(long, value_name = "FOLDER")]
    to: PathBuf,
    /// Folder for `keys/` and the data keys, mode 0700, its files 0600, replaced at each backup. Keep it apart from the
    /// backup: the two together are all there is to know. Without it the keys are not backed up, and without them no
    /// payload can be read and nothing signed.
    #[arg(long, value_name = "FOLDER")]
    keys_to: Option<PathBuf>,
}

/// Make a data directory of a backup and check it as `fsck` does. An older copy of a log refuses to start.
///
/// Every file is compared with its SHA-256 and every entry hashed again, and the index is made anew: minutes for millions
/// of entries. When something is damaged nothing is left behind.
///
/// Exit code 0: done and sound, or done without keys and not checked; 1: done, and the faults are listed; 2: not done.
#[derive(Debug, Args)]
pub(super) struct RestoreArguments {
    /// Folder that `backup` shipped to.
    #[arg(long, value_name = "FOLDER")]
    from: PathBuf,
    /// Folder that `backup --keys-to` wrote. Without it the new data directory has no keys, is not checked as `fsck` does,
    /// and `serve` refuses it until they are there.
    #[arg(long, value_name = "FOLDER")]
    keys_from: Option<PathBuf>,
    /// The data directory to make: it must not exist, or be empty.
    #[arg(long, value_name = "NEW")]
    dir: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Ships what is new.
pub(super) fn backup(arguments: &BackupArguments, out: &mut impl Write) -> anyhow::Result<()> {
    let Directory { dir: path, json } = &arguments.directory;
    let dir = match DataDir::open(path) {
        Err(DataDirError::Locked { .. }) => DataDir::beside(path)?,
        opened => opened?,
    };
    let config = Config::read(&dir.configuration())?;
    let log_keys = crate::log_key::known(path, &config.origin)?;
    let bar = bar("hashing every entry and copying what is new");
    let progress = |entries: u64, size: u64| bar.set_message(format!("{entries} of {size} entries hashed"));
    let options = backup::Options {
        log_keys: &log_keys,
        segment_bytes: config.segment_bytes,
        named: config.witness_policy.into_iter().chain(config.witness_roots).collect(),
        keys_to: arguments.keys_to.as_deref(),
        now: SystemClock.now(),
        progress: Some(&progress),
        around: None,
    };
    let report = backup::backup(&dir, &arguments.to, &options)?;
    bar.finish_and_clear();
    let text = if *json { serde_json::to_string(&report)? } else { backup_text(&report, arguments) };
    writeln!(out, "{text}").context("cannot write the report")
}

fn backup_text(report: &backup::Report, arguments: &BackupArguments) -> String {
    let backup::Report { log, checkpoint, new_files, new_bytes, files, bytes, .. } = report;
    let mut lines = vec![format!(
        "{} entries, newest checkpoint of {}; {new_files} files of {new_bytes} bytes are new, {files} of {bytes} bytes lie \
         in {}",
        log.size,
        checkpoint.size,
        arguments.to.display()
    )];
    if report.beside_server {
        lines.push(
            "The server was running: what is newer than this checkpoint is for the next backup.".to_owned(),
        );
    }
    if !report.payloads_opened {
        lines.push("The data keys could not be read: payloads were copied without being opened.".to_owned());
    }
    lines.push(match &report.keys {
        Some(keys) => format!("The keys lie in {}: keep them apart from the backup.", keys.display()),
        None => "The keys are not in it (--keys-to): if they are lost with this disk, every payload is lost, the roster \
                 too, and the log can sign no more."
            .to_owned(),
    });
    lines.join("\n")
}

/// Makes a data directory; whether everything in it is sound.
pub(super) fn restore(arguments: &RestoreArguments, out: &mut impl Write) -> anyhow::Result<bool> {
    let bar = bar("reading the backup");
    let progress = |entries: u64, size: u64| bar.set_message(format!("{entries} of {size} entries"));
    let options = restore::Options {
        keys_from: arguments.keys_from.as_deref(),
        progress: Some(&progress),
        ..restore::Options::default()
    };
    let report = restore::restore(&arguments.from, &arguments.dir, &options)?;
    bar.finish_and_clear();
    let text =
        if arguments.json { serde_json::to_string(&report)? } else { restore_text(&report, arguments) };
    writeln!(out, "{text}").context("cannot write the report")?;
    Ok(report.check.is_none_or(|check| check.sound))
}

fn restore_text(report: &restore::Report, arguments: &RestoreArguments) -> String {
    let dir = arguments.dir.display();
    let faults = report.check.iter().flat_map(|check| &check.faults);
    let mut lines: Vec<String> = faults.map(fsck::Fault::to_string).collect();
    lines.push(format!(
        "{} entries of {}, newest checkpoint of {}, as they were at {}; {} files of {} bytes compared",
        report.log.size,
        report.origin,
        report.checkpoint.size,
        Timestamp(report.made_ms).rfc3339(),
        report.files,
        report.bytes
    ));
    lines.push(match &report.check {
        None => format!(
            "Not checked, without keys. Put `keys/` and `data-keys/` into {dir}, run fsck, and compare the log's key: {}",
            report.log_key
        ),
        Some(check) if check.sound => format!("{dir} is sound. Read collector.toml before you start it"),
        Some(_) => format!("{dir} is NOT sound: what is named above is not as it must be"),
    });
    lines.join("\n")
}

/// Whether an error is of one of these commands: a disk that it calls full is not the data directory's of a server.
pub(super) fn is_of_these(error: &anyhow::Error) -> bool {
    error.is::<backup::BackupError>() || error.is::<restore::RestoreError>()
}

fn bar(what: &'static str) -> ProgressBar {
    let bar = ProgressBar::new_spinner().with_message(what);
    bar.enable_steady_tick(Duration::from_millis(250));
    bar
}
