//! Which machine the keys were made on, so that a copy of its disk is noticed before it speaks.
//!
//! Beside the keys lie hashes of what the machine is called by its system and its firmware, keyed with random bytes made
//! here: the file alone tells nobody which machine it is of. It is a guard against mistakes (an image made of an enrolled
//! machine, a cloned guest), not against a thief, who can write what he likes; the log notices two that go on with one key.
//!
//! On Linux these are `/etc/machine-id` and the firmware's UUID, which only root may read. On other systems nothing is read yet.

use evidence::ids::Digest;
use serde::{Deserialize, Serialize};

use crate::state::{StateDirectory, StateError};

/// The file of the hashes, in the folder of keys.
pub const MACHINE_FILE: &str = "machine.json";
/// Longest name read, in bytes: a UUID has 36.
#[cfg(target_os = "linux")]
const NAME_BYTES_MAX: u64 = 256;

/// What this machine is called.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Machine {
    /// By its system: it changes when the system is installed anew, and should when it is cloned.
    pub system: Option<String>,
    /// By its firmware: another one on another board, or in another guest.
    pub firmware: Option<String>,
}

impl Machine {
    /// This machine.
    pub fn here() -> Self {
        #[cfg(target_os = "linux")]
        let (system, firmware) = (read("/etc/machine-id"), read("/sys/class/dmi/id/product_uuid"));
        #[cfg(not(target_os = "linux"))]
        let (system, firmware) = (None, None);
        Self { system, firmware }
    }
}

#[cfg(target_os = "linux")]
fn read(path: &str) -> Option<String> {
    use std::io::Read as _;
    let mut text = String::new();
    std::fs::File::open(path).ok()?.take(NAME_BYTES_MAX).read_to_string(&mut text).ok()?;
    let name = text.trim().to_lowercase();
    // `uninitialized` is what an image says that has not been started yet.
    (!name.is_empty() && name != "uninitialized").then_some(name)
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    key: String,
    system: Option<String>,
    firmware: Option<String>,
}

impl Stored {
    fn of(key: String, machine: &Machine) -> Self {
        let hash = |label: &str, name: &Option<String>| {
            name.as_ref().map(|name| {
                // The key has one length and the label no zero byte, so no two names give the same bytes.
                Digest::of_parts(&[key.as_bytes(), label.as_bytes(), &[0], name.as_bytes()]).hex()
            })
        };
        Self { system: hash("system", &machine.system), firmware: hash("firmware", &machine.firmware), key }
    }
}

/// Notes which machine this is, unless it is noted already.
pub fn bind(state: &StateDirectory) -> Result<(), StateError> {
    bind_to(state, &Machine::here())
}

fn bind_to(state: &StateDirectory, machine: &Machine) -> Result<(), StateError> {
    if state.read_secret(MACHINE_FILE)?.is_some() {
        return check_on(state, machine);
    }
    let path = state.keys().join(MACHINE_FILE).display().to_string();
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(|error| StateError::Io {
        what: "get random bytes for",
        path: path.clone(),
        source: error.into(),
    })?;
    let stored = Stored::of(data_encoding::HEXLOWER.encode(&key), machine);
    let bytes = serde_json::to_vec(&stored)
        .map_err(|error| StateError::Damaged { path, problem: error.to_string() })?;
    state.write_new_secret(MACHINE_FILE, &bytes)
}

/// Whether this is the machine that was noted; nothing is noted for keys of before.
pub fn check(state: &StateDirectory) -> Result<(), StateError> {
    check_on(state, &Machine::here())
}

fn check_on(state: &StateDirectory, machine: &Machine) -> Result<(), StateError> {
    let Some(bytes) = state.read_secret(MACHINE_FILE)? else { return Ok(()) };
    let path = state.keys().join(MACHINE_FILE);
    let noted: Stored = serde_json::from_slice(&bytes).map_err(|error| StateError::Damaged {
        path: path.display().to_string(),
        problem: error.to_string(),
    })?;
    let now = Stored::of(noted.key.clone(), machine);
    let differs =
        |noted: &Option<String>, now: &Option<String>| matches!((noted, now), (Some(a), Some(b)) if a != b);
    let what = if differs(&noted.firmware, &now.firmware) {
        "the firmware's UUID"
    } else if differs(&noted.system, &now.system) {
        "/etc/machine-id"
    } else {
        return Ok(());
    };
    Err(StateError::Copy { path: state.path().display().to_string(), what })
}

#[cfg(test)]
mod tests {
    use super::{MACHINE_FILE, Machine, bind_to, check_on};
    use crate::state::{StateDirectory, StateError};

    fn machine(system: &str, firmware: &str) -> Machine {
        let name = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Machine { system: name(system), firmware: name(firmware) }
    }

    fn state() -> (tempfile::TempDir, StateDirectory) {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDirectory::new(folder.path().join("state"));
        state.create().unwrap();
        (folder, state)
    }

    #[test]
    fn a_copy_is_noticed_by_either_name() {
        let (_folder, state) = state();
        check_on(&state, &machine("a", "b")).unwrap();
        bind_to(&state, &machine("a", "b")).unwrap();
        for same in [machine("a", "b"), machine("a", ""), machine("", "b"), machine("", "")] {
            check_on(&state, &same).unwrap();
            bind_to(&state, &same).unwrap();
        }
        for (copy, named) in [
            (machine("x", "b"), "/etc/machine-id"),
            (machine("a", "x"), "the firmware's UUID"),
            (machine("", "x"), "the firmware's UUID"),
            (machine("x", ""), "/etc/machine-id"),
            (machine("b", "a"), "the firmware's UUID"),
        ] {
            let error = check_on(&state, &copy).unwrap_err();
            assert!(matches!(error, StateError::Copy { what, .. } if what == named), "{copy:?} {error}");
            assert!(error.to_string().contains("enroll --anew"), "{error}");
            assert!(matches!(bind_to(&state, &copy), Err(StateError::Copy { .. })));
        }
    }

    #[test]
    fn the_file_does_not_tell_the_machine() {
        let named = machine("0123456789abcdef0123456789abcdef", "03000200-0400-0500-0006-000700080009");
        let text = || {
            let (_folder, state) = state();
            bind_to(&state, &named).unwrap();
            String::from_utf8(state.read_secret(MACHINE_FILE).unwrap().unwrap().to_vec()).unwrap()
        };
        let (one, other) = (text(), text());
        assert!(!one.contains("0123456789abcdef0123456789abcdef") && !one.contains("0400-0500"), "{one}");
        assert_ne!(one, other, "the same machine, another key");
    }

    #[test]
    fn what_was_not_known_then_is_not_compared() {
        let (_folder, state) = state();
        bind_to(&state, &machine("a", "")).unwrap();
        check_on(&state, &machine("a", "b")).unwrap();
        check_on(&state, &machine("x", "b")).unwrap_err();
    }
}
