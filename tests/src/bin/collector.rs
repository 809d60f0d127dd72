//! `tallystick-collector`, built with its crash points.
fn main() -> std::process::ExitCode {
    collector::main()
}
