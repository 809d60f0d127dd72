//! The command line as a whole: its words, its exit codes, its errors.

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::{CommandFactory as _, Parser, Subcommand};
use evidence::time::Clock;

use crate::access::AccessArgs;
use crate::audit::Audit;
use crate::client::Options;
use crate::clock::SystemClock;
use crate::configuration::ConfigCommand;
use crate::devices::DevicesArgs;
use crate::fleet::{DeviceArgs, RetireArgs};
use crate::history::HistoryArgs;
use crate::key::KeyCommand;
use crate::log::LogCommand;
use crate::posture::PostureArgs;
use crate::revoke::RevokeArgs;
use crate::rulebook::PolicyCommand;
use crate::shell::{CompletionsArgs, ManArgs};
use crate::trust::TrustCommand;
use crate::witness::WitnessCommand;

/// The answer is no.
const EXIT_NO: u8 = 1;
/// Wrong usage, or it could not be done.
const EXIT_FAILED: u8 = 2;

/// Client of the security team and of the auditor.
///
/// Exit code 0: done. 1: the answer is no (posture, history: something is not shown to pass, or there is nothing to judge; log mirror:
/// a fork; log succession: it does not hold). 2: wrong usage,
/// or it could not be done.
#[derive(Debug, Parser)]
#[command(name = "tallystick", version)]
struct Line {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Keys of a person
    #[command(subcommand)]
    Key(KeyCommand),
    /// What an auditor believes before a set exists
    #[command(subcommand)]
    Trust(TrustCommand),
    /// List the devices, newcomers that wait, and what contradicts
    Devices(DevicesArgs),
    /// Show one device, or change what it counts as
    Device(DeviceArgs),
    /// What the agents of the fleet do: how often they look, what is switched off
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Take a device out of service
    Retire(RetireArgs),
    /// Make the keys of a device or a person good no more, from this moment on
    Revoke(RevokeArgs),
    /// Print who read what
    Access(AccessArgs),
    /// Print how every device stands, with the facts that decided it; exit 1 unless all of it passed
    Posture(PostureArgs),
    /// Print how one device stood day by day; exit 1 unless all of it passed
    History(HistoryArgs),
    /// Policies
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Checkpoints and proofs
    #[command(subcommand)]
    Log(LogCommand),
    /// Samples: from the plan to the set
    #[command(subcommand)]
    Audit(Audit),
    /// A witness: vouches for others that a log only grew
    #[command(subcommand)]
    Witness(WitnessCommand),
    /// Print what a shell needs to complete this command line
    Completions(CompletionsArgs),
    /// Write the man pages of every command
    Man(ManArgs),
}

/// What came of a command that ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Done, or the answer is yes.
    Done,
    /// The answer is no.
    No,
}

/// What every command works with.
pub(crate) struct Context<'a> {
    /// Options of every command.
    pub(crate) options: &'a Options,
    /// This program's one clock.
    pub(crate) clock: Arc<dyn Clock>,
    /// Where answers go.
    pub(crate) out: &'a mut dyn Write,
}

/// Runs the command line `arguments`, the program's name first: answers to standard output, errors to standard error.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let line = match Line::try_parse_from(arguments) {
        Ok(line) => line,
        Err(error) => {
            // Help and version are answers; a closed terminal is nobody to tell.
            drop(error.print());
            return if error.use_stderr() { ExitCode::from(EXIT_FAILED) } else { ExitCode::SUCCESS };
        }
    };
    let mut out = io::BufWriter::new(io::stdout().lock());
    let outcome = run(&line, Arc::new(SystemClock), &mut out)
        .and_then(|outcome| out.flush().context("cannot write the answer").map(|()| outcome));
    match outcome {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::No) => ExitCode::from(EXIT_NO),
        Err(error) => {
            drop(writeln!(io::stderr(), "error: {}", sentence(&error)));
            ExitCode::from(EXIT_FAILED)
        }
    }
}

/// The error with its causes. One that repeats its cause in its own words is followed by what is new only.
fn sentence(error: &anyhow::Error) -> String {
    let mut causes = error.chain().map(ToString::to_string);
    let mut text = causes.next().unwrap_or_default();
    for cause in causes.filter(|cause| !cause.is_empty()) {
        if !text.ends_with(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

fn run(line: &Line, clock: Arc<dyn Clock>, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let mut context = Context { options: &line.options, clock, out };
    runtime.block_on(line.command.run(&mut context))
}

impl Command {
    async fn run(&self, context: &mut Context<'_>) -> anyhow::Result<Outcome> {
        match self {
            Self::Device(args) => return args.run(context).await,
            Self::Posture(args) => return args.run(context).await,
            Self::History(args) => return args.run(context).await,
            Self::Log(command) => return command.run(context).await,
            Self::Key(command) => command.run(context)?,
            Self::Trust(command) => command.run(context).await?,
            Self::Devices(args) => return args.run(context).await,
            Self::Config(command) => command.run(context).await?,
            Self::Retire(args) => args.run(context).await?,
            Self::Revoke(args) => args.run(context).await?,
            Self::Access(args) => args.run(context).await?,
            Self::Policy(command) => command.run(context).await?,
            Self::Audit(command) => command.run(context).await?,
            Self::Witness(command) => command.run(context).await?,
            Self::Completions(args) => args.run(Line::command(), context)?,
            Self::Man(args) => args.run(Line::command(), context)?,
        }
        Ok(Outcome::Done)
    }
}

#[cfg(test)]
pub(crate) mod tests;
