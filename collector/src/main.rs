//! `tallystick-collector`: the server and its tools.

fn main() -> std::process::ExitCode {
    collector::main()
}
