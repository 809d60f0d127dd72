//! The folder a mirror fills: public tlog-tiles files, each whole or not there.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use evidence::tiles::{CHECKPOINT_PATH, Tile};

use super::source::{BUNDLE_BYTES_MAX, read_if_there};

/// Where a file lies until it is whole.
const UNFINISHED: &str = ".new";
/// Evidence of a fork.
const FORKS: &str = "forks";

/// A mirror's folder.
#[derive(Debug)]
pub(crate) struct Copy {
    root: PathBuf,
    dirty: BTreeSet<PathBuf>,
}

impl Copy {
    /// Opens the folder, and makes it if there is none.
    pub(crate) fn open(root: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(root).with_context(|| format!("cannot make {}", root.display()))?;
        Ok(Self { root: root.to_owned(), dirty: BTreeSet::new() })
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
        self.write(&self.root.join(tile.path()), bytes).map(|()| true)
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
        self.write(&self.root.join(CHECKPOINT_PATH), note)?;
        self.sync()
    }

    /// Keeps two checkpoints that contradict each other; gives the folder they lie in.
    pub(crate) fn keep_fork(&mut self, ours: &[u8], theirs: &[u8], name: &str) -> anyhow::Result<PathBuf> {
        let folder = self.root.join(FORKS).join(name);
        self.write(&folder.join("ours"), ours)?;
        self.write(&folder.join("theirs"), theirs)?;
        self.sync()?;
        Ok(folder)
    }

    fn write(&mut self, path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
        let failed = || format!("cannot write {}", path.display());
        let folder = path.parent().unwrap_or(&self.root);
        for folder in folder.ancestors().take_while(|folder| folder.starts_with(&self.root)) {
            self.dirty.insert(folder.to_owned());
        }
        fs::create_dir_all(folder).with_context(failed)?;
        let unfinished = self.root.join(UNFINISHED);
        let mut file = File::create(&unfinished).with_context(failed)?;
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
