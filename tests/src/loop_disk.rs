//! A file system in a file whose power can be cut: mounted over a loop device, shut down by the file system's own
//! ioctl, unmounted and mounted again. What was not synced is lost, as in a power cut with an honest disk.
//!
//! Needs root, loop devices, `mkfs.ext4`, `mkfs.xfs` and `xfs_io`; `./check` installs the programs. Without the
//! permission the tests fail: whether acknowledged entries survive a power cut cannot be seen otherwise.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::process::{PATIENCE, run};

/// Length of the image, bytes; it is sparse. XFS wants 300 MiB at least.
const IMAGE_BYTES: u64 = 768 << 20;
/// Between two tries to unmount.
const GLANCE: Duration = Duration::from_millis(5);

/// The kind of a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// ext4 as `mkfs.ext4` makes it.
    Ext4,
    /// XFS as `mkfs.xfs` makes it.
    Xfs,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
        })
    }
}

/// How the power goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// At once.
    Sudden,
    /// After the file system's own log was written: names and lengths are there, data is not.
    LogFlushed,
}

/// A mounted file system; unmounted when dropped.
#[derive(Debug)]
pub struct LoopDisk {
    image: PathBuf,
    at: PathBuf,
}

impl LoopDisk {
    /// Makes one in a folder and mounts it.
    #[track_caller]
    pub fn new(folder: &Path, kind: Kind) -> Self {
        let (image, at) = (folder.join("image"), folder.join("disk"));
        fs::create_dir(&at).expect("a folder");
        let file = fs::File::create_new(&image).expect("the image can be made");
        file.set_len(IMAGE_BYTES).expect("the image can be sparse");
        let text = image.to_str().expect("UTF-8");
        match kind {
            Kind::Ext4 => {
                let lazily = "lazy_itable_init=0,lazy_journal_init=0";
                run("mkfs.ext4", ["-q", "-F", "-E", lazily, text]).ok();
            }
            Kind::Xfs => {
                run("mkfs.xfs", ["-q", text]).ok();
            }
        }
        let disk = Self { image, at };
        disk.mount();
        disk
    }

    /// Its root.
    pub fn path(&self) -> &Path {
        &self.at
    }

    #[track_caller]
    fn mount(&self) {
        let mounted = run("mount", [Path::new("-o"), Path::new("loop"), &self.image, &self.at]);
        assert_eq!(
            mounted.code,
            Some(0),
            "power cuts need a loop device, and this user may not mount one (run as root; in a container with \
             --privileged): {}",
            mounted.err
        );
    }

    /// Cuts the power. Whoever has files open there gets EIO from now on.
    #[track_caller]
    pub fn cut(&self, cut: Cut) {
        let word = if cut == Cut::LogFlushed { "shutdown -f" } else { "shutdown" };
        let words = [Path::new("-x"), Path::new("-c"), Path::new(word), &self.at];
        run("xfs_io", words).ok();
    }

    /// Writes everything back, as the system does when it likes.
    #[track_caller]
    pub fn write_back(&self) {
        // It fails when the power goes meanwhile.
        drop(run("sync", [Path::new("-f"), &self.at]));
    }

    /// Power comes back: unmounted, mounted again, its log replayed. Nobody may have files open there.
    #[track_caller]
    pub fn restart(&self) {
        let until = Instant::now() + PATIENCE;
        loop {
            let unmounted = run("umount", [&self.at]);
            if unmounted.code == Some(0) {
                break;
            }
            assert!(Instant::now() < until, "{} is in use: {}", self.at.display(), unmounted.err);
            sleep(GLANCE);
        }
        self.mount();
    }
}

impl Drop for LoopDisk {
    fn drop(&mut self) {
        // Lazily: a process that is being killed may still hold files there.
        drop(Command::new("umount").arg("-l").arg(&self.at).status());
    }
}
