//! The folder a mirror fills: public tlog-tiles files, and payloads for their owner alone; each whole or not there.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use evidence::log_keys::LOG_KEYS_PATH;
use evidence::tiles::{CHECKPOINT_PATH, Tile};

use super::source::{BUNDLE_BYTES_MAX, read_if_there};

/// Where a file lies until it is whole.
const UNFINISHED: &str = ".new";
/// Evidence of a fork.
const FORKS: &str = "forks";
/// Modes of folders and files that only their owner may read: sealed payloads say in plain which device spoke when.
#[cfg(unix)]
const PRIVATE_MODES: (u32, u32) = (0o700, 0o600);

/// A mirror's folder.
#[derive(Debug)]
pub(crate) struct Copy {
    root: PathBuf,
    dirty: BTreeSet<PathBuf>,
    /// Held open: its lock keeps other runs out.
    _lock: File,
}

/// Who may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Readers {
    Everybody,
    Owner,
}

impl Copy {
    /// Opens the folder for this run alone, and makes it if there is none.
    pub(crate) fn open(root: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(root).with_context(|| format!("cannot make {}", root.display()))?;
        let lock = File::open(root).with_context(|| format!("cannot open {}", root.display()))?;
        // A file system without locks has none to wait for.
        if matches!(lock.try_lock(), Err(TryLockError::WouldBlock)) {
            bail!("another run works on {}: wait until it is done", root.display());
        }
        // What a killed run left half written may be a payload that was erased since.
        match fs::remove_file(root.join(UNFINISHED)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot clear {}", root.display()));
            }
            _ => {}
        }
        Ok(Self { root: root.to_owned(), dirty: BTreeSet::new(), _lock: lock })
    }

    /// Where it lies.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The bytes of a bundle or tile; none if it is not there.
    pub(crate) fn tile(&self, tile: &Tile) -> anyhow::Result<Option<Vec<u8>>> {
        read_if_there(&self.root.join(tile.path()), BUNDLE_BYTES_MAX)
    }

    /// Puts a tile, unless it is there already; whether it was written.
    pub(crate) fn put(&mut self, tile: &Tile, bytes: &[u8]) -> anyhow::Result<bool> {
        if self.tile(tile).ok().flatten().as_deref() == Some(bytes) {
            return Ok(false);
        }
        self.write(&self.root.join(tile.path()), bytes, Readers::Everybody).map(|()| true)
    }

    /// The bytes of a file of at most `bytes_max` bytes at a path in the folder; none if it is not there.
    pub(crate) fn file(&self, path: &str, bytes_max: usize) -> anyhow::Result<Option<Vec<u8>>> {
        read_if_there(&self.root.join(path), bytes_max)
    }

    /// Puts a file that only its owner may read, in place of an older one.
    pub(crate) fn put_private(&mut self, path: &str, bytes: &[u8]) -> anyhow::Result<()> {
        self.write(&self.root.join(path), bytes, Readers::Owner)
    }

    /// Keeps the changes of the log's key, by which its checkpoint is believed the next time.
    pub(crate) fn put_log_keys(&mut self, lines: &[u8]) -> anyhow::Result<()> {
        self.write(&self.root.join(LOG_KEYS_PATH), lines, Readers::Everybody)
    }

    /// Whether there is anything at a path in the folder.
    pub(crate) fn has(&self, path: &str) -> bool {
        self.root.join(path).symlink_metadata().is_ok()
    }

    /// Removes what lies in a folder of partial bundles, but for the file `keep`. Unlike old tiles, old payloads must go:
    /// what is erased would live on in them.
    pub(crate) fn remove_all_but(&mut self, folder: &str, keep: &str) -> anyhow::Result<()> {
        let folder = self.root.join(folder);
        let found = match fs::read_dir(&folder) {
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
                ) =>
            {
                return Ok(());
            }
            found => found.with_context(|| format!("cannot read {}", folder.display()))?,
        };
        let mut kept = false;
        for entry in found {
            let path = entry.with_context(|| format!("cannot read {}", folder.display()))?.path();
            if path.file_name().is_some_and(|name| name == keep) {
                kept = true;
            } else {
                fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
                self.dirty.insert(folder.clone());
            }
        }
        if !kept {
            fs::remove_dir(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
            self.dirty.remove(&folder);
            self.dirty.extend(folder.parent().map(Path::to_owned));
        }
        Ok(())
    }

    /// Removes the partial tiles of a place whose full tile is there.
    pub(crate) fn remove_partials(&self, full: &Tile) {
        let mut path = self.root.join(full.full().path()).into_os_string();
        path.push(".p");
        // They only take room.
        drop(fs::remove_dir_all(PathBuf::from(path)));
    }

    /// Replaces the checkpoint once all tiles are durable.
    pub(crate) fn put_checkpoint(&mut self, note: &[u8]) -> anyhow::Result<()> {
        self.sync()?;
        self.write(&self.root.join(CHECKPOINT_PATH), note, Readers::Everybody)?;
        self.sync()
    }

    /// Keeps two checkpoints that contradict each other; gives the folder they lie in.
    pub(crate) fn keep_fork(&mut self, ours: &[u8], theirs: &[u8], name: &str) -> anyhow::Result<PathBuf> {
        let folder = self.root.join(FORKS).join(name);
        self.write(&folder.join("ours"), ours, Readers::Everybody)?;
        self.write(&folder.join("theirs"), theirs, Readers::Everybody)?;
        self.sync()?;
        Ok(folder)
    }

    fn write(&mut self, path: &Path, bytes: &[u8], readers: Readers) -> anyhow::Result<()> {
        let failed = || format!("cannot write {}", path.display());
        let folder = path.parent().unwrap_or(&self.root);
        for folder in folder.ancestors().take_while(|folder| folder.starts_with(&self.root)) {
            self.dirty.insert(folder.to_owned());
        }
        let (mut folders, mut options) = (DirBuilder::new(), OpenOptions::new());
        #[cfg(unix)]
        if readers == Readers::Owner {
            std::os::unix::fs::DirBuilderExt::mode(&mut folders, PRIVATE_MODES.0);
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, PRIVATE_MODES.1);
        }
        folders.recursive(true).create(folder).with_context(failed)?;
        let unfinished = self.root.join(UNFINISHED);
        let opened = options.write(true).create(true).truncate(true).open(&unfinished);
        let mut file = opened.with_context(failed)?;
        file.write_all(bytes).and_then(|()| file.sync_all()).with_context(failed)?;
        fs::rename(&unfinished, path).with_context(failed)
    }

    fn sync(&mut self) -> anyhow::Result<()> {
        while let Some(folder) = self.dirty.pop_last() {
            let synced = File::open(&folder).and_then(|file| file.sync_all());
            synced.with_context(|| format!("cannot sync {}", folder.display()))?;
        }
        Ok(())
    }
}
