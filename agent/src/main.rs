//! `tallystick-agent`.

use std::io::Write as _;
use std::process::ExitCode;

use agent::cli::{COULD_NOT_DO, Cli};
use clap::Parser as _;

fn main() -> ExitCode {
    let mut out = std::io::stdout().lock();
    let done = Cli::parse().run(&mut out).and_then(|code| Ok(out.flush().map(|()| code)?));
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            // Nothing can be reported when even standard error is closed.
            let _closed = writeln!(std::io::stderr(), "tallystick-agent: {error:#}");
            ExitCode::from(COULD_NOT_DO)
        }
    }
}
