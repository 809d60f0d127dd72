//! Reads a sampling set from a folder and prints what [`evidence::verify`] finds.
//!
//! In scope: files in, a check list out. Not in scope: rules, network, anything that could change a set.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

mod folder;
mod report;

pub use folder::{FolderError, read_set};

/// Checks a sampling set offline, trusting no server.
///
/// Exit codes: 0 the set is sound; 1 it is not; 2 the set folder or the trust file cannot be read, or wrong usage.
#[derive(Debug, Parser)]
#[command(name = "tallystick-verify", version)]
pub struct Arguments {
    /// The folder of the sampling set.
    pub set: PathBuf,
    /// The trust file, got before the set existed. It never lies inside the set.
    #[arg(long, value_name = "FILE")]
    pub trust: PathBuf,
    /// A copy of the log's public tree (`tallystick log mirror` makes one): proves that no entry of a stream was left out.
    #[arg(long, value_name = "DIR")]
    pub tree: Option<PathBuf>,
    /// Print JSON for machines.
    #[arg(long)]
    pub json: bool,
}

/// Runs the program; the exit code is what [`Arguments`] documents.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments, &mut std::io::stdout().lock()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            report::trouble(&error);
            ExitCode::from(2)
        }
    }
}

/// Verifies and writes the list to `out`; whether the set is sound.
pub fn run(arguments: &Arguments, out: &mut impl std::io::Write) -> anyhow::Result<bool> {
    use anyhow::Context as _;
    let (files, irregular) = read_set(&arguments.set)?;
    let trust = folder::read_bounded(&arguments.trust)
        .with_context(|| format!("cannot read the trust file {}", arguments.trust.display()))?;
    let read = arguments.tree.as_deref().map(|root| {
        move |path: &str| {
            folder::read_of_tree(root, path).map_err(|error| format!("{path} of the tree: {error}"))
        }
    });
    let read = read.as_ref().map(|read| read as evidence::verify::ReadTree<'_>);
    let report = evidence::verify::verify_with_tree(&files, &irregular, &trust, read);
    if arguments.json { report::json(&report, out) } else { report::text(&report, out) }
        .context("cannot write the report")?;
    Ok(report.is_sound())
}
