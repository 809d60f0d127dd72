//! Who may read what the agent keeps: Windows has access lists where a Unix has permission bits.
//!
//! No crate sets them by safe calls, so `icacls`, which is a part of Windows, does. Files inherit from their folder, so
//! that the two folders are all there is to set. The list is set when a folder is made; it is not read again.

use std::{
    io,
    os::windows::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The system itself, as which the service runs.
const SYSTEM: &str = "*S-1-5-18";
/// Administrators, by number: their name is another in each language.
const ADMINISTRATORS: &str = "*S-1-5-32-544";
/// Whoever owns the file, as the user who enrolled.
const OWNER: &str = "*S-1-3-4";
/// Everybody who has an account here.
const USERS: &str = "*S-1-5-32-545";
/// No console window of its own.
const CREATE_NO_WINDOW: u32 = 0x0800_0000;

/// Takes a folder from everybody but the system, administrators and its owner; with `open`, everybody here may read it.
pub fn restrict(folder: &Path, open: bool) -> io::Result<()> {
    let mut command = Command::new(system_program("icacls.exe"));
    command.arg(folder).args(["/inheritance:r", "/q", "/grant:r"]);
    for who in [SYSTEM, ADMINISTRATORS, OWNER] {
        command.arg(format!("{who}:(OI)(CI)F"));
    }
    if open {
        command.arg(format!("{USERS}:(OI)(CI)RX"));
    }
    let output = command.stdin(Stdio::null()).creation_flags(CREATE_NO_WINDOW).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "icacls ended with {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    )))
}

/// A program of Windows, by the folder that Windows itself names.
fn system_program(name: &str) -> PathBuf {
    let root = std::env::var_os("SystemRoot").map_or_else(|| PathBuf::from(r"C:\Windows"), PathBuf::from);
    root.join("System32").join(name)
}

/// Where the state lies unless told otherwise: the folder that Windows names for data of programs.
pub fn state_directory() -> PathBuf {
    let data =
        std::env::var_os("ProgramData").map_or_else(|| PathBuf::from(r"C:\ProgramData"), PathBuf::from);
    data.join("Tallystick")
}
