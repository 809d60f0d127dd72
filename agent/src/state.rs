//! The state directory: what is where, who may read it, and that only one agent writes it.
//!
//! ```text
//! agent.toml?      configuration, for people (may lie elsewhere)
//! identity.json    who this device is, and which log it trusts: no secrets
//! keys/ (0700)     attestation.key, tls.key (0600), or attestation.tpm, tls.tpm, which only a TPM can use;
//!                  machine.json, hashes of which machine they were made on; pending.json while an enrolment is under way
//! anchor           the newest checkpoint that was verified here
//! looked.json      what the last look saw, as digests and minutes
//! answers (0600)?  what package managers said, given again while nothing changed
//! health.json      how the last exchange with the collector went
//! judgement.json   how the collector last said that this machine stands
//! spool/           signed statements, and the newest of those that were sent and proved
//! lock             held by the one running agent
//! renewal/?        a new TLS key, until its certificate is there and it is in its place
//! successor/?      a new instance in a log that follows, until it is in its place
//! before-i-…/?     the instance before it, as a state directory of its own
//! ```

use std::fs::{File, TryLockError};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::custody::{TpmAddress, TpmError};
use crate::disk;

/// Where the state lies unless told otherwise.
#[cfg(unix)]
const STATE_DIRECTORY: &str = "/var/lib/tallystick-agent";
/// The folder of secrets.
pub(crate) const KEYS_FOLDER: &str = "keys";
/// The folder of the spool.
pub(crate) const SPOOL_FOLDER: &str = "spool";
/// Permission bits of what the person at the machine may read: nothing in it is secret.
pub const OPEN_MODE: u32 = 0o644;
/// Permission bits of secrets.
pub const SECRET_MODE: u32 = 0o600;
/// Permission bits of the folder of secrets.
const SECRET_FOLDER_MODE: u32 = 0o700;
/// Permission bits of other folders.
const OPEN_FOLDER_MODE: u32 = 0o755;

/// Largest secret file, in bytes: a key with its PEM or a TPM's blobs has less than two thousand.
const SECRET_BYTES_MAX: u64 = 64 * 1024;
/// Permission bit of a folder in which nobody may rename what is another's.
#[cfg(unix)]
const STICKY: u32 = 0o1000;

/// The file by which the disk is tried.
const TRIED: &str = "tried";
/// Bytes it is tried with: a whole segment of the spool and its chain are written anew after a refusal.
const TRIED_BYTES: usize = 512 * 1024;

/// How often a lock is tried for before it counts as held.
const LOCK_TRIES: u32 = 10;
/// Between two tries.
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// Why the state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The system refused.
    #[error("cannot {what} {path}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// Others may read or write a secret.
    #[error(
        "{path} may be read or written by others (mode {mode:04o}): chmod {wanted:04o} {path}, and enrol again if a stranger could have read it"
    )]
    Mode {
        /// The file or folder.
        path: String,
        /// Its permission bits.
        mode: u32,
        /// The bits it must have.
        wanted: u32,
    },
    /// A secret belongs to somebody else.
    #[error("{path} belongs to user {owner}, but this program runs as user {user}: run it as the same user")]
    Owner {
        /// The file or folder.
        path: String,
        /// Its owner.
        owner: u32,
        /// Who runs this.
        user: u32,
    },
    /// Not a regular file with one name.
    #[error("{path} is not a regular file with one name: nothing is read from a link or a device")]
    Special {
        /// The path.
        path: String,
    },
    /// Somebody else could exchange the whole state directory.
    #[error(
        "{path}, above the keys, may be changed by {who}, who could put other keys there: chown root it and chmod go-w it, or use another --state directory"
    )]
    Parent {
        /// The folder.
        path: String,
        /// Who may.
        who: String,
    },
    /// This directory was made on another machine.
    #[error(
        "{path} was made on another machine ({what} differs): this is a copy, and two machines must not speak as one. Nothing was \
         sent. To give this machine an identity of its own, run `tallystick-agent enroll --anew` with a new token: what was \
         copied is then kept aside"
    )]
    Copy {
        /// The directory.
        path: String,
        /// By what it is seen.
        what: &'static str,
    },
    /// The TPM that holds the keys.
    #[error(transparent)]
    Tpm(#[from] TpmError),
    /// Another agent runs on this directory.
    #[error("another agent is running on {path}: stop it first")]
    Locked {
        /// The directory.
        path: String,
    },
    /// A file has another content than it must have.
    #[error("{path} is damaged: {problem}")]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong.
        problem: String,
    },
    /// There is no identity.
    #[error("{path}: this device is not enrolled: run `tallystick-agent enroll`")]
    NotEnrolled {
        /// Where the identity would be.
        path: String,
    },
}

/// Where the state lies unless told otherwise.
#[cfg(unix)]
pub fn default_directory() -> PathBuf {
    PathBuf::from(STATE_DIRECTORY)
}
#[cfg(windows)]
pub use crate::windows::access::state_directory as default_directory;

/// A state directory.
#[derive(Debug, Clone)]
pub struct StateDirectory {
    root: PathBuf,
    tpm: Option<TpmAddress>,
}

impl StateDirectory {
    /// The directory at `root`; nothing is touched.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), tpm: None }
    }

    /// The same directory, whose new keys are made in a TPM, if there is one.
    pub fn with_tpm(self, tpm: Option<TpmAddress>) -> Self {
        Self { tpm, ..self }
    }

    /// The TPM of the configuration.
    pub fn tpm(&self) -> Option<&TpmAddress> {
        self.tpm.as_ref()
    }

    /// A state directory in this one, under the same configuration.
    pub fn within(&self, name: &str) -> Self {
        Self { root: self.file(name), tpm: self.tpm.clone() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The folder of secrets.
    pub fn keys(&self) -> PathBuf {
        self.root.join(KEYS_FOLDER)
    }

    /// The folder of the spool.
    pub fn spool(&self) -> PathBuf {
        self.root.join(SPOOL_FOLDER)
    }

    /// Makes the folders that are missing.
    pub fn create(&self) -> Result<(), StateError> {
        make_folder(&self.root, OPEN_FOLDER_MODE)?;
        make_folder(&self.keys(), SECRET_FOLDER_MODE)?;
        make_folder(&self.spool(), OPEN_FOLDER_MODE)?;
        disk::sync_folder(&self.root).map_err(|source| fail("sync", &self.root, source))
    }

    /// Whether the disk takes as much as the spool must be able to write. Leaves nothing behind.
    pub fn try_disk(&self) -> io::Result<()> {
        let path = self.spool().join(TRIED);
        disk::replace(&path, &vec![0; TRIED_BYTES], OPEN_MODE)?;
        std::fs::remove_file(&path)
    }

    /// Takes the lock that only one agent can hold. It is given back when the process ends, however it ends.
    pub fn lock(&self) -> Result<Lock, StateError> {
        let path = self.file("lock");
        std::fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|source| fail("open", &path, source))?;
        set_mode(&path, OPEN_MODE)?;
        // Held for reading: a file open for writing would keep the disk from being remounted read-only.
        let file = File::open(&path).map_err(|source| fail("open", &path, source))?;
        let mut tries = 0;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Lock { _file: file }),
                // `status` holds a shared lock for an instant to see whether an agent runs.
                Err(TryLockError::WouldBlock) if tries < LOCK_TRIES => {
                    tries += 1;
                    std::thread::sleep(LOCK_PAUSE);
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(StateError::Locked { path: self.root.display().to_string() });
                }
                Err(TryLockError::Error(source)) => return Err(fail("lock", &path, source)),
            }
        }
    }

    /// Whether an agent holds the lock. Needs no right to write.
    pub fn is_locked(&self) -> bool {
        let Ok(file) = File::open(self.file("lock")) else { return false };
        matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
    }

    /// Reads a secret file, after its permissions, its owner and those of every folder above it were found good; `None` when
    /// absent. What was looked at is what is read: one open file, and no link.
    pub fn read_secret(&self, name: &str) -> Result<Option<zeroize::Zeroizing<Vec<u8>>>, StateError> {
        let path = self.keys().join(name);
        let mut file = match open_secret(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(_) if std::fs::symlink_metadata(&path).is_ok_and(|found| !found.is_file()) => {
                return Err(StateError::Special { path: path.display().to_string() });
            }
            opened => opened.map_err(|source| fail("open", &path, source))?,
        };
        let found = file.metadata().map_err(|source| fail("look at", &path, source))?;
        if !found.is_file() || names_of(&found) != 1 {
            return Err(StateError::Special { path: path.display().to_string() });
        }
        check_parents(&self.keys())?;
        check_private(&self.keys(), SECRET_FOLDER_MODE)?;
        check_found(&path, &found, SECRET_MODE)?;
        if found.len() > SECRET_BYTES_MAX {
            return Err(fail("read", &path, io::ErrorKind::FileTooLarge.into()));
        }
        // Room for all of it at once: a buffer that grows leaves copies of its bytes behind.
        let room = usize::try_from(found.len()).unwrap_or(0);
        let mut bytes = zeroize::Zeroizing::new(vec![0; room]);
        file.read_exact(&mut bytes).map_err(|source| fail("read", &path, source))?;
        Ok(Some(bytes))
    }

    /// Writes a secret file durably, 0600, never over an existing one.
    pub fn write_new_secret(&self, name: &str, bytes: &[u8]) -> Result<(), StateError> {
        check_parents(&self.keys())?;
        check_private(&self.keys(), SECRET_FOLDER_MODE)?;
        let path = self.keys().join(name);
        if std::fs::symlink_metadata(&path).is_ok() {
            let source = io::Error::from(io::ErrorKind::AlreadyExists);
            return Err(fail("create", &path, source));
        }
        disk::replace(&path, bytes, SECRET_MODE).map_err(|source| fail("write", &path, source))
    }

    /// Removes a secret file; absent is no error.
    pub fn remove_secret(&self, name: &str) -> Result<(), StateError> {
        let path = self.keys().join(name);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(fail("remove", &path, error)),
            _ => disk::sync_folder(&self.keys()).map_err(|source| fail("sync", &self.keys(), source)),
        }
    }

    /// Reads a JSON file into its type; `None` when absent.
    pub fn read_json<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<Option<T>, StateError> {
        let path = self.file(name);
        let bytes = match disk::read_bounded(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(fail("read", &path, source)),
            Ok(bytes) => bytes,
        };
        serde_json::from_slice(&bytes).map(Some).map_err(|error| StateError::Damaged {
            path: path.display().to_string(),
            problem: error.to_string(),
        })
    }

    /// Writes a JSON file durably, readable by everybody on the machine.
    pub fn write_json<T: serde::Serialize>(&self, name: &str, value: &T) -> Result<(), StateError> {
        let path = self.file(name);
        let mut bytes = serde_json::to_vec_pretty(value)
            .map_err(|error| fail("write", &path, io::Error::other(error)))?;
        bytes.push(b'\n');
        disk::replace(&path, &bytes, OPEN_MODE).map_err(|source| fail("write", &path, source))
    }
}

/// Held while an agent writes the directory.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

fn fail(what: &'static str, path: &Path, source: io::Error) -> StateError {
    StateError::Io { what, path: path.display().to_string(), source }
}

#[cfg(unix)]
fn make_folder(path: &Path, mode: u32) -> Result<(), StateError> {
    use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
    if path.is_dir() {
        return Ok(());
    }
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .and_then(|()| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)))
        .map_err(|source| fail("create", path, source))
}

/// Whatever the umask says: `status` of anybody must be able to look at the lock.
#[cfg(unix)]
fn set_mode(path: &Path, mode: u32) -> Result<(), StateError> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
        .map_err(|source| fail("set the mode of", path, source))
}

/// A file has the access list of its folder.
#[cfg(windows)]
#[expect(clippy::unnecessary_wraps, reason = "the same shape on every system")]
fn set_mode(_path: &Path, _mode: u32) -> Result<(), StateError> {
    Ok(())
}

#[cfg(windows)]
fn make_folder(path: &Path, mode: u32) -> Result<(), StateError> {
    if path.is_dir() {
        return Ok(());
    }
    let open = mode != SECRET_FOLDER_MODE;
    std::fs::create_dir_all(path)
        .and_then(|()| crate::windows::access::restrict(path, open))
        .map_err(|source| fail("create", path, source))
}

/// A secret outside the state directory: a regular file of this user, closed to others.
pub(crate) fn check_secret_file(path: &Path) -> Result<(), StateError> {
    let found = std::fs::symlink_metadata(path).map_err(|source| fail("look at", path, source))?;
    if !found.is_file() {
        return Err(StateError::Special { path: path.display().to_string() });
    }
    check_private(path, SECRET_MODE)
}

#[cfg(unix)]
fn check_private(path: &Path, wanted: u32) -> Result<(), StateError> {
    let found = std::fs::symlink_metadata(path).map_err(|source| fail("look at", path, source))?;
    check_found(path, &found, wanted)
}

#[cfg(unix)]
fn check_found(path: &Path, found: &std::fs::Metadata, wanted: u32) -> Result<(), StateError> {
    use std::os::unix::fs::MetadataExt as _;
    let mode = found.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(StateError::Mode { path: path.display().to_string(), mode, wanted });
    }
    let user = rustix::process::geteuid().as_raw();
    if found.uid() != user {
        return Err(StateError::Owner { path: path.display().to_string(), owner: found.uid(), user });
    }
    Ok(())
}

/// Nobody but root and this user may exchange a folder above `path`, neither as it is written nor behind its links.
#[cfg(unix)]
fn check_parents(path: &Path) -> Result<(), StateError> {
    use std::os::unix::fs::MetadataExt as _;
    let user = rustix::process::geteuid().as_raw();
    let written = std::path::absolute(path).map_err(|source| fail("look at", path, source))?;
    let behind = std::fs::canonicalize(path).map_err(|source| fail("look at", path, source))?;
    for folder in written.ancestors().chain(behind.ancestors()).skip(1) {
        let found = std::fs::metadata(folder).map_err(|source| fail("look at", folder, source))?;
        let others = found.mode() & 0o022 != 0 && found.mode() & STICKY == 0;
        let who = if found.uid() != 0 && found.uid() != user {
            format!("user {}", found.uid())
        } else if others {
            format!("others (mode {:04o})", found.mode() & 0o7777)
        } else {
            continue;
        };
        return Err(StateError::Parent { path: folder.display().to_string(), who });
    }
    Ok(())
}

/// Opens a file without following a link, and without waiting for whoever may be at the other end of one that is no file.
#[cfg(unix)]
fn open_secret(path: &Path) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags, open};
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(File::from(open(path, flags, Mode::empty())?))
}

/// How many names a file has: one that has another may be read there.
#[cfg(unix)]
fn names_of(found: &std::fs::Metadata) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    found.nlink()
}

#[cfg(windows)]
fn open_secret(path: &Path) -> io::Result<File> {
    if std::fs::symlink_metadata(path)?.is_file() {
        return File::open(path);
    }
    Err(io::ErrorKind::InvalidInput.into())
}

/// Nobody tells it by a safe call.
#[cfg(windows)]
fn names_of(_found: &std::fs::Metadata) -> u64 {
    1
}

/// Reading an access list takes an unsafe call or words of a language: the list that the folder was made with is trusted.
#[cfg(windows)]
#[expect(clippy::unnecessary_wraps, reason = "the same shape on every system")]
fn check_private(_path: &Path, _wanted: u32) -> Result<(), StateError> {
    Ok(())
}

#[cfg(windows)]
#[expect(clippy::unnecessary_wraps, reason = "the same shape on every system")]
fn check_found(_path: &Path, _found: &std::fs::Metadata, _wanted: u32) -> Result<(), StateError> {
    Ok(())
}

#[cfg(windows)]
#[expect(clippy::unnecessary_wraps, reason = "the same shape on every system")]
fn check_parents(_path: &Path) -> Result<(), StateError> {
    Ok(())
}

#[cfg(test)]
mod tests;
