//! The command line.

use std::io::Write;

use clap::{Parser, Subcommand};

use crate::observe_cli::{ProbeArgs, QuestionsArgs, RecordArgs, ReplayArgs};

/// Observes this device and reports signed evidence.
#[derive(Debug, Parser)]
#[command(name = "tallystick-agent", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Probe(ProbeArgs),
    Questions(QuestionsArgs),
    Record(RecordArgs),
    Replay(ReplayArgs),
}

impl Cli {
    /// Runs the command.
    ///
    /// # Errors
    /// When it could not be done; the chain says why.
    pub fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        match &self.command {
            Command::Probe(args) => args.run(out),
            Command::Questions(args) => args.run(out),
            Command::Record(args) => args.run(out),
            Command::Replay(args) => args.run(out),
        }
    }
}
