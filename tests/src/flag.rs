//! A fact of the live machine that a test may change and puts back: whether packages ask for a restart.

use std::fs;
use std::path::PathBuf;

/// The file by which Debian's packages ask for a restart; nothing but reminders reads it.
const FLAG: &str = "/run/reboot-required";

/// The file, as it was before when dropped.
#[derive(Debug)]
pub struct Flag {
    before: Option<Vec<u8>>,
}

impl Default for Flag {
    fn default() -> Self {
        Self { before: fs::read(FLAG).ok() }
    }
}

impl Flag {
    fn path() -> PathBuf {
        PathBuf::from(FLAG)
    }

    /// Whether it is there.
    pub fn is_up(&self) -> bool {
        Self::path().exists()
    }

    /// Makes it the opposite of what it is. Takes root.
    #[track_caller]
    pub fn change(&self) {
        if self.is_up() {
            fs::remove_file(Self::path()).expect("root may take the flag away");
        } else {
            fs::write(Self::path(), "*** System restart required ***\n").expect("root may raise the flag");
        }
    }
}

impl Drop for Flag {
    fn drop(&mut self) {
        let restored = match &self.before {
            Some(bytes) => fs::write(Self::path(), bytes),
            None if self.is_up() => fs::remove_file(Self::path()),
            None => Ok(()),
        };
        drop(restored);
    }
}
