//! `tallystick`: the client of the security team and of the auditor.

fn main() -> std::process::ExitCode {
    cli::command::main(std::env::args_os())
}
