//! `tallystick-verify`: checks a sampling set offline.

fn main() -> std::process::ExitCode {
    verifier::main()
}
