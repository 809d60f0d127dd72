//! How files look from outside: enough to know that one changed, without reading it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use evidence::ids::Digest;
use probes::{Input, Inputs};
use sha2::{Digest as _, Sha256};

use super::Prints;
use crate::disk;

/// Most files that are looked at for one program: some thousand packages, and what was fetched.
const FILES_MAX: usize = 16_384;
/// Most bytes of one file of settings: they have some thousand.
const SETTINGS_BYTES_MAX: u64 = 1024 * 1024;
/// How deep files of settings lie in their folder.
const SETTINGS_LEVELS: u32 = 3;
/// File systems that count fractions of a second take them from the kernel's tick, 10 ms at most: what changed so long
/// before a run cannot change once more and look the same.
const TICK_NS: i128 = 100_000_000;
/// The same where times are whole seconds, or two.
const SECONDS_NS: i128 = 2_100_000_000;

/// How everything looks that an answer is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Print {
    /// Equal when nothing changed.
    pub digest: Digest,
    /// From when on any further change must show, nanoseconds since 1970.
    pub settled_ns: i128,
}

impl Print {
    /// Whether a change after this moment cannot hide in the time stamp of one before.
    pub fn is_settled(&self, wall_ms: u64) -> bool {
        i128::from(wall_ms) * 1_000_000 > self.settled_ns
    }
}

/// The live machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct LivePrints;

impl Prints for LivePrints {
    fn print(&self, inputs: &Inputs) -> Option<Print> {
        print_of(inputs.places).ok()
    }

    fn stays(&self, inputs: &Inputs) -> bool {
        inputs.settings.iter().all(|path| stays(inputs, Path::new(path), SETTINGS_LEVELS).unwrap_or(false))
    }
}

/// How these places look.
///
/// # Errors
/// When one cannot be looked at, or there is too much. Being absent is an answer.
pub fn print_of(places: &[Input]) -> io::Result<Print> {
    let mut taker = Taker { hash: Sha256::new(), settled_ns: 0, left: FILES_MAX };
    for place in places {
        match place {
            Input::File(path) => taker.file(Path::new(path))?,
            Input::Folder { path, levels, except } => taker.folder(Path::new(path), *levels, except)?,
            Input::Content(path) => {
                let content = disk::read_bounded(Path::new(path));
                match content {
                    Ok(bytes) => taker.put(path.as_bytes(), &[b"content", &bytes]),
                    Err(error) => taker.failed(Path::new(path), error)?,
                }
            }
        }
    }
    Ok(Print { digest: Digest(taker.hash.finalize().into()), settled_ns: taker.settled_ns })
}

struct Taker {
    hash: Sha256,
    settled_ns: i128,
    left: usize,
}

impl Taker {
    fn put(&mut self, name: &[u8], parts: &[&[u8]]) {
        for part in std::iter::once(&name).chain(parts) {
            self.hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            self.hash.update(part);
        }
    }

    /// What is not there looks like nothing; what cannot be seen has no look.
    fn failed(&mut self, path: &Path, error: io::Error) -> io::Result<()> {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
                self.put(path.as_os_str().as_encoded_bytes(), &[b"absent"]);
                Ok(())
            }
            _ => Err(error),
        }
    }

    /// A file, or a link and what it leads to.
    fn file(&mut self, path: &Path) -> io::Result<()> {
        self.left = self.left.checked_sub(1).ok_or(io::ErrorKind::QuotaExceeded)?;
        match fs::symlink_metadata(path) {
            Ok(found) if found.is_symlink() => {
                self.look(path, &found, true);
                match fs::metadata(path) {
                    // What lies in a folder behind a link is not looked at, so nothing is known of it.
                    Ok(behind) if behind.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
                    Ok(behind) => {
                        self.look(path, &behind, true);
                        Ok(())
                    }
                    Err(error) => self.failed(path, error),
                }
            }
            Ok(found) => {
                self.look(path, &found, true);
                Ok(())
            }
            Err(error) => self.failed(path, error),
        }
    }

    fn folder(&mut self, path: &Path, levels: u32, except: &[&str]) -> io::Result<()> {
        match fs::metadata(path) {
            // Its own times tell of names that come and go, which are compared anyway, and of those that do not count.
            Ok(found) if found.is_dir() => self.look(path, &found, false),
            Ok(_) => return self.file(path),
            Err(error) => return self.failed(path, error),
        }
        let mut names: Vec<PathBuf> = Vec::new();
        for entry in fs::read_dir(path)? {
            if names.len() > self.left {
                return Err(io::ErrorKind::QuotaExceeded.into());
            }
            names.push(entry?.path());
        }
        names
            .retain(|name| !except.iter().any(|except| name.file_name().is_some_and(|name| name == *except)));
        names.sort_unstable();
        for name in names {
            if levels > 1 && fs::symlink_metadata(&name).is_ok_and(|found| found.is_dir()) {
                self.folder(&name, levels - 1, &[])?;
            } else {
                self.file(&name)?;
            }
        }
        Ok(())
    }

    #[cfg(unix)]
    fn look(&mut self, path: &Path, found: &fs::Metadata, with_times: bool) {
        use std::os::unix::fs::MetadataExt as _;
        let (size, modified, changed) = if with_times {
            (found.size(), (found.mtime(), found.mtime_nsec()), (found.ctime(), found.ctime_nsec()))
        } else {
            (0, (0, 0), (0, 0))
        };
        let line = format!(
            "{} {} {:o} {} {} {size} {}.{} {}.{}",
            found.dev(),
            found.ino(),
            found.mode(),
            found.uid(),
            found.gid(),
            modified.0,
            modified.1,
            changed.0,
            changed.1
        );
        self.put(path.as_os_str().as_encoded_bytes(), &[line.as_bytes()]);
        // Whole milliseconds are as good as never seen where the clock has more.
        let margin = if changed.1 % 1_000_000 == 0 { SECONDS_NS } else { TICK_NS };
        let changed_ns = i128::from(changed.0) * 1_000_000_000 + i128::from(changed.1);
        self.settled_ns = self.settled_ns.max(changed_ns + margin);
    }

    /// Elsewhere no program's inputs are known, so nothing is ever looked at.
    #[cfg(not(unix))]
    fn look(&mut self, path: &Path, found: &fs::Metadata, _with_times: bool) {
        self.put(path.as_os_str().as_encoded_bytes(), &[&found.len().to_be_bytes()]);
        self.settled_ns = i128::MAX;
    }
}

/// Whether settings leave everything where it is listed; an error when that cannot be read.
fn stays(inputs: &Inputs, path: &Path, levels: u32) -> io::Result<bool> {
    let found = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        found => found?,
    };
    if found.is_dir() {
        let Some(levels) = levels.checked_sub(1) else { return Ok(false) };
        for entry in fs::read_dir(path)? {
            if !stays(inputs, &entry?.path(), levels)? {
                return Ok(false);
            }
        }
        return Ok(true);
    }
    // A socket or a device has no settings, and reading one could wait for ever.
    if !found.is_file() {
        return Ok(true);
    }
    if found.len() > SETTINGS_BYTES_MAX {
        return Ok(false);
    }
    // Words of settings are ASCII; other bytes cannot make one.
    Ok(inputs.stays(&String::from_utf8_lossy(&disk::read_bounded(path)?)))
}

#[cfg(test)]
mod tests;
