//! The agent as a Windows program: built for Windows on this machine and run under Wine, in a Windows of its own.
//!
//! Needs Debian packages, which `./check` installs; it says which are missing. What lies on this machine's disk is on
//! Wine's drive Z:.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::process::{Ran, run_command};

/// Programs this needs, each with the Debian package that brings it.
const TOOLS: [(&str, &str); 4] = [
    ("/usr/bin/cargo", "cargo-web"),
    ("/usr/bin/rustc", "rustc-web"),
    ("/usr/bin/x86_64-w64-mingw32-gcc", "gcc-mingw-w64-x86-64-win32"),
    ("/usr/bin/wine", "wine wine64"),
];
/// The standard library's source, which the other packages do not bring.
const STANDARD_LIBRARY: &str = "/usr/lib/rustlib/src/rust/library/std/Cargo.toml";
/// Wine's own words are of no use here, and nothing may ask to be installed.
const QUIET: [(&str, &str); 2] = [("WINEDEBUG", "-all"), ("WINEDLLOVERRIDES", "mscoree=;mshtml=")];

/// A Windows of its own, with the agent in it.
#[derive(Debug)]
pub struct Wine {
    prefix: PathBuf,
    program: PathBuf,
}

impl Wine {
    /// Builds the agent for Windows and makes a new Windows in a folder of `temporary`, Cargo's folder for what tests leave, as
    /// what Wine calls Windows 10.
    #[track_caller]
    pub fn new(temporary: &Path) -> Self {
        let folder = &temporary.join("wine");
        let missing: Vec<&str> = TOOLS
            .iter()
            .copied()
            .chain([(STANDARD_LIBRARY, "rust-web-src")])
            .filter(|(path, _)| !Path::new(path).exists())
            .map(|(_, package)| package)
            .collect();
        assert!(missing.is_empty(), "this test builds for Windows: apt-get install {}", missing.join(" "));
        if folder.exists() {
            fs::remove_dir_all(folder).expect("what an earlier run left can go");
        }
        fs::create_dir_all(folder).expect("a folder");
        let programs = folder.join("programs");
        // What is built for Windows lies beside what Cargo builds for this system.
        build(&programs, temporary.parent().expect("the build directory is above"));
        let wine = Self { prefix: folder.join("prefix"), program: programs.join("tallystick-agent.exe") };
        wine.run("winecfg", &["-v", "win10"]).ok();
        wine
    }

    /// A path of this machine as Windows writes it.
    pub fn path(path: &Path) -> String {
        format!("Z:{}", path.display().to_string().replace('/', "\\"))
    }

    /// The agent's program, as Windows writes it.
    pub fn agent_path(&self) -> String {
        Self::path(&self.program)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("wine");
        // Without a screen Wine has none to show windows on.
        command.arg(program).env("WINEPREFIX", &self.prefix).envs(QUIET).env_remove("DISPLAY");
        command
    }

    /// Runs a program of Windows to its end.
    #[track_caller]
    pub fn run(&self, program: &str, arguments: &[&str]) -> Ran {
        let mut command = self.command(program);
        command.args(arguments);
        run_command(command)
    }

    /// Runs the agent to its end.
    #[track_caller]
    pub fn agent(&self, arguments: &[&str]) -> Ran {
        self.run(&self.agent_path(), arguments)
    }

    /// Runs lines of a batch file, one after the other, and gives what they print.
    #[track_caller]
    pub fn batch(&self, lines: &[String]) -> Ran {
        let file = self.prefix.with_file_name("run.bat");
        fs::write(&file, format!("@echo off\r\n{}\r\n", lines.join("\r\n"))).expect("a batch file");
        self.run("cmd", &["/c", &Self::path(&file)])
    }

    /// Adds and removes keys and values by `wine reg`: the text of a registry file, without its first line.
    #[track_caller]
    pub fn registry(&self, text: &str) {
        let file = self.prefix.with_file_name("values.reg");
        let text = format!("Windows Registry Editor Version 5.00\n\n{text}\n").replace('\n', "\r\n");
        fs::write(&file, text).expect("a registry file");
        self.run("reg", &["import", &Self::path(&file)]).ok();
    }
}

impl Drop for Wine {
    fn drop(&mut self) {
        // Ends the programs of this Windows and no other.
        let ended = Command::new("wineserver").arg("-k").env("WINEPREFIX", &self.prefix).status();
        drop(ended);
    }
}

#[track_caller]
fn build(out: &Path, target: &Path) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("foreign/build-windows");
    let built = Command::new(&script)
        .arg(out)
        .env("CARGO_TARGET_DIR", target)
        .stdin(Stdio::null())
        .output()
        .expect("the script runs");
    let said = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "{}: {}\n{said}", script.display(), built.status);
}
