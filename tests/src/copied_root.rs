//! This machine's system as a folder that may be changed: its root file system below, every change in memory above it. What is
//! installed, removed and started there leaves the machine as it was.
//!
//! Takes root and overlayfs. Mounts of the machine (`/run` with systemd's socket in it, `/home`) are not in the copy.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::process::{Ran, run, run_command, wait_for};

/// A copied root; unmounted when dropped.
#[derive(Debug)]
pub struct CopiedRoot {
    folder: TempDir,
    at: PathBuf,
}

impl CopiedRoot {
    /// Makes one. `megabytes` is the most that may be changed.
    #[track_caller]
    pub fn new(megabytes: u32) -> Self {
        // A copy made in the middle of somebody's installation would hold half of it.
        wait_for("other installations of packages on this machine", || {
            let open = std::fs::read_dir("/var/lib/dpkg/updates").map_or(0, Iterator::count);
            (open == 0).then_some(())
        });
        let folder = tempfile::tempdir().expect("a folder");
        let at = folder.path().join("root");
        let copied = Self { folder, at };
        let memory = copied.folder.path().display().to_string();
        let size = format!("size={megabytes}m,mode=755");
        let mounted = run("mount", ["-t", "tmpfs", "-o", &size, "tallystick-test", &memory]);
        assert_eq!(mounted.code, Some(0), "this test mounts file systems, which takes root: {}", mounted.err);
        let (upper, work) = (format!("{memory}/upper"), format!("{memory}/work"));
        for made in [upper.as_str(), work.as_str(), &copied.at.display().to_string()] {
            std::fs::create_dir(made).expect("a folder");
        }
        let layers = format!("lowerdir=/,upperdir={upper},workdir={work}");
        let root = copied.at.display().to_string();
        run("mount", ["-t", "overlay", "-o", &layers, "tallystick-test", &root]).ok();
        run("mount", ["-t", "proc", "proc", &format!("{root}/proc")]).ok();
        run("mount", ["--bind", "/dev", &format!("{root}/dev")]).ok();
        copied
    }

    /// Where a path of the copy lies on the machine.
    pub fn path(&self, inside: &str) -> PathBuf {
        self.at.join(inside.trim_start_matches('/'))
    }

    /// Whether something is there, a dangling link too.
    pub fn holds(&self, inside: &str) -> bool {
        std::fs::symlink_metadata(self.path(inside)).is_ok()
    }

    /// A command inside, as a user of the copy, in an environment of its own.
    pub fn command<S: AsRef<OsStr>>(
        &self,
        user: &str,
        program: &str,
        arguments: impl IntoIterator<Item = S>,
    ) -> Command {
        let mut command = Command::new("chroot");
        command.arg(format!("--userspec={user}:{user}")).arg(&self.at).arg(program).args(arguments);
        command
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .env("LC_ALL", "C.UTF-8")
            .current_dir(Path::new("/"));
        command
    }

    /// Runs a command inside as root, to its end.
    #[track_caller]
    pub fn run<S: AsRef<OsStr>>(&self, program: &str, arguments: impl IntoIterator<Item = S>) -> Ran {
        run_command(self.command("root", program, arguments))
    }
}

impl Drop for CopiedRoot {
    fn drop(&mut self) {
        // Lazily: a program that a failed test left there must not keep the folder.
        drop(Command::new("umount").args(["--recursive", "--lazy"]).arg(self.folder.path()).status());
    }
}
