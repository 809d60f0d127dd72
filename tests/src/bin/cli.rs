//! `tallystick`.
fn main() -> std::process::ExitCode {
    cli::command::main(std::env::args_os())
}
