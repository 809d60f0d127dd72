//! The data directory: layout, lock, permissions, ballast, and files that are replaced whole.
//!
//! docs/FORMAT.md section 13 lists what lies where. One process at a time holds it, by a lock on the folder itself.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use crate::journal::{Io, SystemIo};

#[cfg(test)]
mod tests;

/// Space to give back on a full disk by default, bytes: enough to open sled and write a last checkpoint.
pub const BALLAST_BYTES_DEFAULT: u64 = 64 * 1024 * 1024;
/// Longest path of a Unix socket, bytes: `sun_path` of Linux holds 108 with the final zero.
const SOCKET_PATH_BYTES_MAX: usize = 107;
/// Mode of folders: only the collector's own user reads keys and evidence.
const FOLDER_MODE: u32 = 0o700;
/// Mode of files that are replaced whole.
const FILE_MODE: u32 = 0o600;
/// Indexes kept aside at most, so that names can be tried in order.
const ASIDE_MAX: u32 = 1000;
/// Permission bits that nobody else may have.
const OTHERS: u32 = 0o077;

/// Why a data directory could not be made or opened.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// `init` or `restore` found something there.
    #[error("{path} is not empty: `init` and `restore` never write into a folder that holds anything")]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// The admin socket would have too long a path.
    #[error(
        "the path of the admin socket, {socket}, has {bytes} bytes, and that of a Unix socket has at most {bytes_max}: \
         give the data directory a shorter path"
    )]
    LongPath {
        /// The socket to be.
        socket: PathBuf,
        /// Length of its path, bytes.
        bytes: usize,
        /// Length that is possible, bytes.
        bytes_max: usize,
    },
    /// There is none.
    #[error("{path} is no data directory: run `init` first")]
    Absent {
        /// The folder.
        path: PathBuf,
    },
    /// It is what `backup` ships to.
    #[error(
        "{path} is a backup and no data directory: make one of it with `restore --from {path} --dir NEW`, NEW being a \
         folder that is not there yet"
    )]
    Shipment {
        /// The folder.
        path: PathBuf,
    },
    /// A restore was interrupted.
    #[error("{path} is half of what `restore` makes: remove the folder and run `restore` again")]
    Unfinished {
        /// The folder.
        path: PathBuf,
    },
    /// Another process holds it.
    #[error("{path} is in use by another process: stop it first, or use its admin socket")]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// Others may read or write it.
    #[error("{path} is open to others (mode {mode:o}): run chmod {fix:o} on it")]
    Permissions {
        /// The folder or file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// The permission bits it must have.
        fix: u32,
    },
    /// It is another user's: files made here now could not be read by the server afterwards.
    #[error(
        "{path} belongs to user {owner}, and this program runs as user {user}: run it as the collector's user \
         (`sudo -u`)"
    )]
    Owner {
        /// The folder.
        path: PathBuf,
        /// Number of the user it belongs to.
        owner: u32,
        /// Number of the user who runs this.
        user: u32,
    },
    /// The system refused.
    #[error("could not {what} {path}")]
    Io {
        /// What was tried, as a verb phrase.
        what: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

/// The ballast, once it was looked after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ballast {
    /// It was there.
    Whole,
    /// It was made anew.
    Restored,
    /// It is missing, or shorter than it should be, and cannot be made yet.
    NoRoom {
        /// Free space, bytes.
        free_bytes: u64,
        /// Free space from which on it is made, bytes.
        needed_bytes: u64,
    },
}

/// File that lies in a data directory while `restore` makes it.
pub(crate) const UNFINISHED: &str = "restore.unfinished";

/// A data directory, locked for this process as long as the value lives, unless it was opened by [`DataDir::beside`].
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    lock: Option<File>,
}

impl DataDir {
    /// Makes the folders and the ballast at `path`, which must not exist or be empty. Only `init` and `restore` do this.
    pub fn create(path: &Path, ballast_bytes: u64) -> Result<Self, DataDirError> {
        // The whole path: it may be relative now and not when the server is started.
        let whole =
            std::path::absolute(path).map_err(|source| failed("find the whole path of", path, source))?;
        check_socket_path(&whole)?;
        make_folder(path)?;
        if fs::read_dir(path).map_err(|source| failed("read", path, source))?.next().is_some() {
            return Err(DataDirError::NotEmpty { path: path.to_owned() });
        }
        fs::set_permissions(path, fs::Permissions::from_mode(FOLDER_MODE))
            .map_err(|source| failed("set the permissions of", path, source))?;
        let lock = lock(path)?;
        let dir = Self { path: path.to_owned(), lock: Some(lock) };
        for folder in [dir.keys(), dir.certs(), dir.journal(), dir.indexes()] {
            make_folder(&folder)?;
        }
        dir.make_ballast(ballast_bytes)?;
        sync_folder(path)?;
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            sync_folder(parent)?;
        }
        Ok(dir)
    }

    /// Locks an existing data directory and refuses one that others may read.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        Self::open_with(path, true)
    }

    /// As [`DataDir::open`], without the lock: for reading beside a running server, and for nothing else.
    pub fn beside(path: &Path) -> Result<Self, DataDirError> {
        Self::open_with(path, false)
    }

    fn open_with(path: &Path, locked: bool) -> Result<Self, DataDirError> {
        if path.join(crate::shipment::MANIFEST).exists() {
            return Err(DataDirError::Shipment { path: path.to_owned() });
        }
        if path.join(UNFINISHED).exists() {
            return Err(DataDirError::Unfinished { path: path.to_owned() });
        }
        if !path.join("journal").is_dir() {
            return Err(DataDirError::Absent { path: path.to_owned() });
        }
        refuse_foreign(path, rustix::process::geteuid().as_raw())?;
        let lock = if locked { Some(lock(path)?) } else { None };
        let dir = Self { path: path.to_owned(), lock };
        for folder in [path.to_owned(), dir.keys()] {
            refuse_others(&folder, FOLDER_MODE)?;
        }
        let keys = dir.keys();
        for found in fs::read_dir(&keys).map_err(|source| failed("read", &keys, source))? {
            refuse_others(&found.map_err(|source| failed("read", &keys, source))?.path(), FILE_MODE)?;
        }
        Ok(dir)
    }

    /// Whether this process holds the lock, so that nobody writes here.
    pub fn is_locked(&self) -> bool {
        self.lock.is_some()
    }

    /// Marks the directory as half made, durably: nobody opens it until [`DataDir::finished`].
    pub fn unfinished(&self) -> Result<(), DataDirError> {
        let path = self.path.join(UNFINISHED);
        replace_file(&path, b"").map_err(|source| failed("write", &path, source))
    }

    /// Takes the mark of [`DataDir::unfinished`] away, durably.
    pub fn finished(&self) -> Result<(), DataDirError> {
        let path = self.path.join(UNFINISHED);
        fs::remove_file(&path).map_err(|source| failed("remove", &path, source))?;
        sync_folder(&self.path)
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `collector.toml`.
    pub fn configuration(&self) -> PathBuf {
        self.path.join("collector.toml")
    }

    /// Secret keys.
    pub fn keys(&self) -> PathBuf {
        self.path.join("keys")
    }

    /// Certificates and revocation lists.
    pub fn certs(&self) -> PathBuf {
        self.path.join("certs")
    }

    /// Journal segments.
    pub fn journal(&self) -> PathBuf {
        self.path.join("journal")
    }

    /// The folder of the indexes.
    pub fn indexes(&self) -> PathBuf {
        self.path.join("sled")
    }

    /// Moves the indexes aside, if there are any, and makes an empty folder in their place. Gives where they lie now.
    pub fn move_indexes_aside(&self) -> Result<Option<PathBuf>, DataDirError> {
        let indexes = self.indexes();
        let mut aside = None;
        if indexes.exists() {
            let mut free = (0..ASIDE_MAX).map(|n| self.path.join(format!("sled.aside-{n}")));
            let free = free.find(|path| !path.exists()).ok_or_else(|| {
                failed("find a free name beside", &indexes, io::ErrorKind::AlreadyExists.into())
            })?;
            fs::rename(&indexes, &free).map_err(|source| failed("move aside", &indexes, source))?;
            aside = Some(free);
        }
        make_folder(&indexes)?;
        sync_folder(&self.path)?;
        Ok(aside)
    }

    /// Undoes [`DataDir::move_indexes_aside`]: what was made since then is removed.
    pub fn put_indexes_back(&self, aside: &Path) -> Result<(), DataDirError> {
        let (indexes, unfinished) = (self.indexes(), self.path.join("sled.unfinished"));
        remove_folder(&unfinished)?;
        fs::rename(&indexes, &unfinished).map_err(|source| failed("move aside", &indexes, source))?;
        fs::rename(aside, &indexes).map_err(|source| failed("put back", aside, source))?;
        sync_folder(&self.path)?;
        remove_folder(&unfinished)
    }

    /// The payload bundles.
    pub fn payloads(&self) -> PathBuf {
        self.path.join("payload")
    }

    /// Cosigned notes.
    pub fn notes(&self) -> PathBuf {
        self.path.join("notes")
    }

    /// The wrapped data keys: the only copy of what opens the payloads, and what erasing rewrites.
    pub fn data_keys(&self) -> PathBuf {
        self.path.join("data-keys")
    }

    /// The public tree.
    pub fn tree(&self) -> PathBuf {
        self.path.join("tree")
    }

    /// The high-water mark, unless the configuration puts it on another file system.
    pub fn high_water(&self) -> PathBuf {
        self.path.join("high-water")
    }

    /// Answers of witnesses that contradict the log; there is no folder before there is one.
    pub fn witnesses(&self) -> PathBuf {
        self.path.join("witnesses")
    }

    /// Checkpoints of a recovery's source that contradict this log; there is no folder before there is one.
    pub fn forks(&self) -> PathBuf {
        self.path.join("forks")
    }

    /// The checkpoint that a recovery which has begun must reach before anything is signed.
    pub fn recovering(&self) -> PathBuf {
        self.path.join("recovering")
    }

    /// File of keys that contradicted themselves: what the newest of the log's conflict records say.
    pub fn conflicts(&self) -> PathBuf {
        self.path.join("conflicts.json")
    }

    /// File of newcomers that wait for a person.
    pub fn pending(&self) -> PathBuf {
        self.path.join("pending.json")
    }

    /// Socket of the running server.
    pub fn admin_socket(&self) -> PathBuf {
        admin_socket(&self.path)
    }

    /// Space to give back on a full disk.
    pub fn ballast(&self) -> PathBuf {
        self.path.join("ballast")
    }

    /// Gives the ballast's space back, so that a full disk can be put right.
    pub fn release_ballast(&self) -> Result<(), DataDirError> {
        let path = self.ballast();
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(failed("remove", &path, source)),
            _ => Ok(()),
        }
    }

    /// Makes the ballast anew if it is missing or too short, and there is room. Whoever deleted it did so because the disk
    /// was full, so `bytes_kept`, and the ballast's own size once more, must stay free beside it.
    pub fn restore_ballast(&self, ballast_bytes: u64, bytes_kept: u64) -> Result<Ballast, DataDirError> {
        let path = self.ballast();
        let present_bytes = match fs::metadata(&path) {
            Ok(found) => found.len(),
            Err(source) if source.kind() == io::ErrorKind::NotFound => 0,
            Err(source) => return Err(failed("inspect", &path, source)),
        };
        let missing_bytes = ballast_bytes.saturating_sub(present_bytes);
        if missing_bytes == 0 {
            return Ok(Ballast::Whole);
        }
        let free_bytes =
            SystemIo.free_bytes(&self.path).map_err(|source| failed("measure", &self.path, source))?;
        let needed_bytes = missing_bytes.saturating_add(bytes_kept.max(ballast_bytes));
        if free_bytes < needed_bytes {
            return Ok(Ballast::NoRoom { free_bytes, needed_bytes });
        }
        self.make_ballast(ballast_bytes)?;
        Ok(Ballast::Restored)
    }

    fn make_ballast(&self, ballast_bytes: u64) -> Result<(), DataDirError> {
        if ballast_bytes == 0 {
            return Ok(());
        }
        let path = self.ballast();
        let allocate = |source| failed("make room for", &path, source);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(FILE_MODE)
            .open(&path)
            .map_err(allocate)?;
        SystemIo.allocate(&file, ballast_bytes).map_err(|source| {
            // A ballast of half the size would give false comfort.
            drop(fs::remove_file(&path));
            allocate(source)
        })
    }
}

/// Refuses a data directory, made or not, whose path as given leaves no room for the name of its admin socket.
pub fn check_socket_path(path: &Path) -> Result<(), DataDirError> {
    let (socket, bytes_max) = (admin_socket(path), SOCKET_PATH_BYTES_MAX);
    let bytes = socket.as_os_str().as_bytes().len();
    if bytes <= bytes_max { Ok(()) } else { Err(DataDirError::LongPath { socket, bytes, bytes_max }) }
}

fn admin_socket(path: &Path) -> PathBuf {
    path.join("admin.sock")
}

/// Replaces a file whole: after a crash it is the old one or the new one. Durable once it returns.
pub fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let temporary = path.with_file_name(name);
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(FILE_MODE).open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// Makes a folder that is its owner's alone, unless there is one.
pub(crate) fn make_folder(path: &Path) -> Result<(), DataDirError> {
    let made = DirBuilder::new().mode(FOLDER_MODE).create(path);
    match made {
        Err(source) if source.kind() != io::ErrorKind::AlreadyExists => Err(failed("make", path, source)),
        _ => Ok(()),
    }
}

fn remove_folder(path: &Path) -> Result<(), DataDirError> {
    match fs::remove_dir_all(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(failed("remove", path, source)),
        _ => Ok(()),
    }
}

fn sync_folder(path: &Path) -> Result<(), DataDirError> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(|source| failed("sync", path, source))
}

/// Locks a folder for as long as the file lives.
pub(crate) fn lock(path: &Path) -> Result<File, DataDirError> {
    let folder = File::open(path).map_err(|source| failed("open", path, source))?;
    match rustix::fs::flock(&folder, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(folder),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(DataDirError::Locked { path: path.to_owned() }),
        Err(error) => Err(failed("lock", path, error.into())),
    }
}

fn refuse_foreign(path: &Path, user: u32) -> Result<(), DataDirError> {
    let owner = fs::metadata(path).map_err(|source| failed("inspect", path, source))?.uid();
    if owner == user { Ok(()) } else { Err(DataDirError::Owner { path: path.to_owned(), owner, user }) }
}

fn refuse_others(path: &Path, fix: u32) -> Result<(), DataDirError> {
    let found = fs::metadata(path).map_err(|source| failed("inspect", path, source))?;
    let mode = found.permissions().mode() & 0o777;
    if mode & OTHERS == 0 {
        return Ok(());
    }
    Err(DataDirError::Permissions { path: path.to_owned(), mode, fix })
}

fn failed(what: &'static str, path: &Path, source: io::Error) -> DataDirError {
    DataDirError::Io { what, path: path.to_owned(), source }
}
