//! Binary of `agent`.

use std::{io::Write, process::ExitCode};

use agent::cli::Cli;
use clap::Parser as _;

/// The command could not be done.
const COULD_NOT_DO: u8 = 2;

fn main() -> ExitCode {
    let mut out = std::io::stdout().lock();
    let done = Cli::parse().run(&mut out).and_then(|()| Ok(out.flush()?));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing can be reported when even standard error is closed.
            let _closed = writeln!(std::io::stderr(), "tallystick-agent: {error:#}");
            ExitCode::from(COULD_NOT_DO)
        }
    }
}
