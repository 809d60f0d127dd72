//! What a test counted: printed, and kept in a file when one is asked for.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use serde_json::{Map, Value};

/// Variable that names the file: one JSON object, a member per test.
const VARIABLE: &str = "TALLYSTICK_FIGURES";
/// Variable that asks for what is too long for every day.
const LONG: &str = "TALLYSTICK_LONG";

static FILE: Mutex<()> = Mutex::new(());

/// Whether the long form of a test is asked for.
pub fn long() -> bool {
    std::env::var(LONG).is_ok_and(|value| value == "1")
}

/// Prints `figures` under `name`, and puts them into the file of the figures if there is one.
pub fn report(name: &str, figures: Value) {
    println!("{name}: {figures}");
    let Some(path) = std::env::var_os(VARIABLE).map(PathBuf::from) else { return };
    let _one_at_a_time = FILE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut kept: Map<String, Value> = match std::fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes).expect("the file of figures is a JSON object"),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Map::new(),
        Err(error) => panic!("{}: {error}", path.display()),
    };
    kept.insert(name.to_owned(), figures);
    let text = serde_json::to_string_pretty(&kept).expect("figures are JSON");
    std::fs::write(&path, text + "\n").expect("the file of figures can be written");
}
