//! What a test counted: printed, and kept in a file when one is asked for.

use std::fmt::Display;
use std::io::Write as _;

/// Variable that names the file. docs/TESTING.md: one line `what | figure` each.
const VARIABLE: &str = "TALLYSTICK_FIGURES";
/// Variable that asks for what is too long for every day.
const LONG: &str = "TALLYSTICK_LONG";

/// Whether the long form of a test is asked for.
pub fn long() -> bool {
    std::env::var(LONG).is_ok_and(|value| value == "1")
}

/// Prints a figure, and appends it to the file of the figures if there is one.
pub fn report(what: &str, figure: impl Display) {
    let line = format!("{what} | {figure}\n");
    print!("{line}");
    let Some(path) = std::env::var_os(VARIABLE) else { return };
    // One write per line: tests of several processes may append at once.
    let file = std::fs::File::options().create(true).append(true).open(path);
    file.and_then(|mut file| file.write_all(line.as_bytes())).expect("the file of figures can be written");
}
