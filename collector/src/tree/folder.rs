//! The files of the public tree. A file appears whole or not at all, under a path that a [`Tile`] gives.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use evidence::log_keys::LOG_KEYS_PATH;
use evidence::tiles::{self, CHECKPOINT_PATH, Content, Tile};

/// Mode of folders: what is in them is public, wherever they are copied to.
const FOLDER_MODE: u32 = 0o755;
/// Mode of files.
const FILE_MODE: u32 = 0o644;
/// Modes of folders and files that only their owner may read.
const PRIVATE_MODES: (u32, u32) = (0o700, 0o600);
/// Files written and not yet synced: they are synced together, because the first sync makes the others cheap.
const PENDING_MAX: usize = 64;
/// Where files lie until they are whole.
const UNFINISHED: &str = ".new";

/// A folder with a public tree in it.
#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
    /// Modes of folders and of files.
    modes: (u32, u32),
    /// Written, not synced, not in place: the open file, where it lies, where it belongs.
    pending: Vec<(File, PathBuf, PathBuf)>,
    /// Folders that something was renamed into since the last sync.
    dirty: BTreeSet<PathBuf>,
}

impl Folder {
    /// The tree at `root`, whether or not there is one.
    pub fn new(root: &Path) -> Self {
        Self::with_modes(root, (FOLDER_MODE, FILE_MODE))
    }

    /// A folder of the same kind that is nobody's but its owner's.
    pub fn private(root: &Path) -> Self {
        Self::with_modes(root, PRIVATE_MODES)
    }

    fn with_modes(root: &Path, modes: (u32, u32)) -> Self {
        let (pending, dirty) = (Vec::new(), BTreeSet::new());
        Self { root: root.to_owned(), modes, pending, dirty }
    }

    /// Where it lies.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Makes the folders, and removes what an interrupted run left half written.
    pub fn prepare(&mut self) -> io::Result<()> {
        self.pending.clear();
        make_folders(&self.root, &self.root, self.modes.0, &mut self.dirty)?;
        match fs::remove_dir_all(self.root.join(UNFINISHED)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        DirBuilder::new().mode(self.modes.0).create(self.root.join(UNFINISHED))
    }

    /// The bytes of exactly this tile; none if there is no such file.
    pub fn tile(&self, tile: &Tile) -> io::Result<Option<Vec<u8>>> {
        self.path_bytes(&tile.path())
    }

    /// The bytes of the file at a path in the folder; none if there is none.
    pub fn path_bytes(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        absent(fs::read(self.root.join(path)))
    }

    /// The bytes of this tile, cut from the full one if it is not kept by itself any more.
    pub fn tile_or_part_of_full(&self, tile: &Tile) -> io::Result<Option<Vec<u8>>> {
        if let Some(bytes) = self.tile(tile)? {
            return Ok(Some(bytes));
        }
        if tile.is_full() {
            return Ok(None);
        }
        Ok(self.tile(&tile.full())?.and_then(|bytes| part(tile, &bytes).map(<[u8]>::to_vec)))
    }

    /// The newest checkpoint's note; none if there is none.
    pub fn checkpoint(&self) -> io::Result<Option<Vec<u8>>> {
        absent(fs::read(self.root.join(CHECKPOINT_PATH)))
    }

    /// The changes of the log's key; none if there is none.
    pub fn log_keys(&self) -> io::Result<Option<Vec<u8>>> {
        absent(fs::read(self.root.join(LOG_KEYS_PATH)))
    }

    /// Shows the changes of the log's key.
    pub fn put_log_keys(&mut self, lines: &str) -> io::Result<()> {
        if self.log_keys()?.is_some_and(|shown| shown == lines.as_bytes()) {
            return Ok(());
        }
        self.put_path(LOG_KEYS_PATH, lines.as_bytes())?;
        self.sync()
    }

    /// Puts a tile in its place. It is durable after [`Folder::sync`].
    pub fn put(&mut self, tile: &Tile, bytes: &[u8]) -> io::Result<()> {
        self.put_path(&tile.path(), bytes)
    }

    /// Puts a file in its place. It is durable after [`Folder::sync`].
    pub fn put_path(&mut self, path: &str, bytes: &[u8]) -> io::Result<()> {
        self.write(self.root.join(path), bytes)?;
        if self.pending.len() >= PENDING_MAX { self.finish_pending() } else { Ok(()) }
    }

    /// Replaces the checkpoint. Everything put before and the checkpoint are durable once it returns.
    pub fn put_checkpoint(&mut self, note: &[u8]) -> io::Result<()> {
        self.sync()?;
        self.write(self.root.join(CHECKPOINT_PATH), note)?;
        self.sync()
    }

    /// Makes everything that was put durable.
    pub fn sync(&mut self) -> io::Result<()> {
        self.finish_pending()?;
        while let Some(folder) = self.dirty.pop_first() {
            if let Err(error) = File::open(&folder).and_then(|file| file.sync_all()) {
                self.dirty.insert(folder);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Removes the partial tiles of a place whose full tile is durable.
    pub fn remove_partials(&self, full: &Tile) -> io::Result<()> {
        let mut path = self.root.join(full.full().path()).into_os_string();
        path.push(".p");
        match fs::remove_dir_all(PathBuf::from(path)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn write(&mut self, path: PathBuf, bytes: &[u8]) -> io::Result<()> {
        if let Some(folder) = path.parent() {
            make_folders(&self.root, folder, self.modes.0, &mut self.dirty)?;
        }
        let unfinished = self.root.join(UNFINISHED).join(self.pending.len().to_string());
        let mut options = OpenOptions::new();
        let mut file =
            options.write(true).create(true).truncate(true).mode(self.modes.1).open(&unfinished)?;
        file.write_all(bytes)?;
        self.pending.push((file, unfinished, path));
        Ok(())
    }

    fn finish_pending(&mut self) -> io::Result<()> {
        for (file, _, _) in &self.pending {
            file.sync_all()?;
        }
        for (_, unfinished, path) in self.pending.drain(..) {
            fs::rename(unfinished, &path)?;
            if let Some(folder) = path.parent() {
                self.dirty.insert(folder.to_owned());
            }
        }
        Ok(())
    }

    /// Every file below the tree, by its path in it; what is still being written is left out.
    pub fn paths(&self) -> io::Result<Vec<String>> {
        let mut paths = Vec::new();
        let mut folders = vec![(self.root.clone(), String::new())];
        while let Some((folder, prefix)) = folders.pop() {
            for entry in fs::read_dir(folder)? {
                let entry = entry?;
                let name = entry.file_name().to_string_lossy().into_owned();
                let path = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
                if path == UNFINISHED {
                    continue;
                }
                if entry.file_type()?.is_dir() {
                    folders.push((entry.path(), path));
                } else {
                    paths.push(path);
                }
            }
        }
        Ok(paths)
    }
}

/// The bytes of a partial tile within those of a wider one.
pub fn part<'a>(tile: &Tile, wider: &'a [u8]) -> Option<&'a [u8]> {
    match tile.content() {
        Content::Entries => tiles::first_entries(wider, tile.width()),
        Content::Hashes(_) => wider.get(..usize::from(tile.width()) * 32),
    }
}

fn absent(read: io::Result<Vec<u8>>) -> io::Result<Option<Vec<u8>>> {
    match read {
        Ok(bytes) => Ok(Some(bytes)),
        // A path element that is a file means the same: a plain file system cannot hold what is asked for.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Makes `folder`, at or below `root`; the parents of new folders must be synced.
fn make_folders(root: &Path, folder: &Path, mode: u32, dirty: &mut BTreeSet<PathBuf>) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(parent) = folder.parent() {
        if folder != root {
            make_folders(root, parent, mode, dirty)?;
        }
        dirty.insert(parent.to_owned());
    }
    match DirBuilder::new().mode(mode).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}
