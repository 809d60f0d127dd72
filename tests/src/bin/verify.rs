//! `tallystick-verify`.
fn main() -> std::process::ExitCode {
    verifier::main()
}
