//! Files of one folder, with the two durable operations everything here is built from: append and replace.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

/// Largest file read back, in bytes: far above every limit of the files kept here.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The folder under a spool. The contract of every operation: once it returns `Ok` the effect is there, and for
/// [`Disk::replace`], [`Disk::remove`] and a durable [`Disk::append`] it survives a power cut. After an `Err` it
/// may have happened, not happened, or, for an append, happened in part.
pub trait Disk {
    /// Names of all files, in no order.
    fn list(&self) -> io::Result<Vec<String>>;
    /// How many bytes a file has.
    fn size(&self, name: &str) -> io::Result<u64>;
    /// The whole content of a file.
    fn read(&self, name: &str) -> io::Result<Vec<u8>>;
    /// Adds bytes at the end of a file that exists. Not durable: a crash may cut any part of it off again.
    fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<()>;
    /// Makes all bytes appended to a file durable.
    fn sync(&mut self, name: &str) -> io::Result<()>;
    /// Creates a file or replaces its content, all or nothing.
    fn replace(&mut self, name: &str, bytes: &[u8]) -> io::Result<()>;
    /// Removes a file; absent is no error.
    fn remove(&mut self, name: &str) -> io::Result<()>;
}

/// A real folder.
#[derive(Debug, Clone)]
pub struct Folder {
    path: PathBuf,
    mode: u32,
}

impl Folder {
    /// The folder at `path`, which must exist; new files get permission bits `mode`.
    pub fn new(path: impl Into<PathBuf>, mode: u32) -> Self {
        Self { path: path.into(), mode }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Disk for Folder {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            // Names that are not UTF-8 are not ours.
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn size(&self, name: &str) -> io::Result<u64> {
        Ok(std::fs::metadata(self.path.join(name))?.len())
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        read_bounded(&self.path.join(name))
    }

    fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        OpenOptions::new().append(true).open(self.path.join(name))?.write_all(bytes)
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        // Opened for writing, because Windows syncs for nobody else.
        OpenOptions::new().append(true).open(self.path.join(name))?.sync_data()
    }

    fn replace(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        replace(&self.path.join(name), bytes, self.mode)
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        match std::fs::remove_file(self.path.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => sync_folder(&self.path),
        }
    }
}

/// Reads a file of at most 64 MiB.
pub fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 64 MiB"));
    }
    Ok(bytes)
}

/// Writes a file so that either the old or the whole new content is there after any crash: temporary file, fsync,
/// rename, fsync of the folder. `mode` are the permission bits.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    // A left-over of a crash; O_EXCL below refuses whatever else lies there, links included.
    match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let written = create_new(&temporary, mode).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)
    });
    if written.is_err() {
        // On a full disk the half that was written would take the last room.
        let _gone_or_removed_next_time = std::fs::remove_file(&temporary);
    }
    written?;
    sync_folder(folder)
}

/// Creates a file that did not exist, with permission bits `mode`.
#[cfg(unix)]
pub(crate) fn create_new(path: &Path, mode: u32) -> io::Result<File> {
    use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    // The umask may have taken bits that the reader of `sent` needs.
    file.set_permissions(std::fs::Permissions::from_mode(mode))?;
    Ok(file)
}

/// Creates a file that did not exist, with the access list of its folder.
#[cfg(windows)]
pub(crate) fn create_new(path: &Path, _mode: u32) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

/// Makes names made, renamed or removed in a folder durable.
#[cfg(unix)]
pub fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// On this system nobody can do it by a safe call: NTFS writes names to its own journal, soon. A power cut may therefore
/// undo the last ones.
#[cfg(windows)]
pub fn sync_folder(_path: &Path) -> io::Result<()> {
    Ok(())
}
