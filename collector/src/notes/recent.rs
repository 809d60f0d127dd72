//! The newest published notes, in two files: one that grows, and the one before it, which goes when the first is full.

use std::collections::HashMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufReader, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use evidence::ids::Digest;
use evidence::note::NOTE_BYTES_MAX;

use super::push;
use crate::ledger::parse_note;

/// Length of a file at most, bytes. With three witnesses a note has about 600, so at least the newest 200,000 are there: two
/// and a half days of a log that publishes every second, weeks of one that does every ten. What a device signed on an
/// older one has no lower bound by witnesses.
const FILE_BYTES_MAX: u64 = 128 * 1024 * 1024;
/// The file that grows.
const NEWER: &str = "recent";
/// The one before it.
const OLDER: &str = "recent.old";
/// Mode of the folder: as of the data directory.
const FOLDER_MODE: u32 = 0o700;
/// Mode of the files.
const FILE_MODE: u32 = 0o600;
/// Bytes of the length before a note.
const LENGTH_BYTES: u64 = 4;

/// Where a note lies.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// Size of its checkpoint.
    size: u64,
    offset: u64,
    length: u32,
}

/// The newest published notes, by their hash.
#[derive(Debug)]
pub(crate) struct Recent {
    root: PathBuf,
    file_bytes_max: u64,
    newer: HashMap<Digest, Place>,
    older: HashMap<Digest, Place>,
    /// Open once something was added in this run.
    file: Option<File>,
    /// Where the next note goes.
    end: u64,
    is_dirty: bool,
}

impl Recent {
    /// Reads what is at `root`; makes and changes nothing. What follows the last whole note was being written when the
    /// process or the system ended: the journal has it.
    pub(crate) fn open(root: &Path) -> io::Result<Self> {
        Self::with_file_bytes(root, FILE_BYTES_MAX)
    }

    pub(super) fn with_file_bytes(root: &Path, file_bytes_max: u64) -> io::Result<Self> {
        let (newer, end) = read(&root.join(NEWER))?;
        let (older, _) = read(&root.join(OLDER))?;
        Ok(Self { root: root.to_owned(), file_bytes_max, newer, older, file: None, end, is_dirty: false })
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.newer.is_empty() && self.older.is_empty()
    }

    /// The smallest size of their checkpoints.
    pub(crate) fn smallest_size(&self) -> Option<u64> {
        self.newer.values().chain(self.older.values()).map(|place| place.size).min()
    }

    /// Size of the checkpoint with this note, if it is here.
    pub(crate) fn size(&self, hash: &Digest) -> Option<u64> {
        self.newer.get(hash).or_else(|| self.older.get(hash)).map(|place| place.size)
    }

    /// The note with this hash, if it is here.
    pub(crate) fn note(&self, hash: &Digest) -> io::Result<Option<String>> {
        let newer = self.newer.get(hash).map(|place| (NEWER, place));
        let Some((name, place)) = newer.or_else(|| self.older.get(hash).map(|place| (OLDER, place))) else {
            return Ok(None);
        };
        let mut bytes = vec![0; usize::try_from(place.length).unwrap_or(0)];
        File::open(self.root.join(name))?.read_exact_at(&mut bytes, place.offset)?;
        Ok(String::from_utf8(bytes).ok().filter(|note| Digest::of(note.as_bytes()) == *hash))
    }

    /// Adds a note, unless it is here. Durable after [`Recent::sync`].
    pub(crate) fn push(&mut self, note: &str) -> io::Result<()> {
        let hash = Digest::of(note.as_bytes());
        if self.size(&hash).is_some() {
            return Ok(());
        }
        let size = parse_note(note.as_bytes()).map_err(io::Error::other)?.size;
        let mut record = Vec::new();
        push(&mut record, note);
        if self.end > 0 && self.end.saturating_add(record.len() as u64) > self.file_bytes_max {
            self.rotate()?;
        }
        let offset = self.end.saturating_add(LENGTH_BYTES);
        let end = self.end;
        self.file()?.write_all_at(&record, end)?;
        self.end = self.end.saturating_add(record.len() as u64);
        self.is_dirty = true;
        let length = u32::try_from(note.len()).map_err(io::Error::other)?;
        self.newer.insert(hash, Place { size, offset, length });
        Ok(())
    }

    /// Makes everything that was added durable.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.unsynced()?.map_or(Ok(()), |file| file.sync_data())
    }

    /// The file that must be synced, for a caller that does not hold others up meanwhile.
    pub(crate) fn unsynced(&mut self) -> io::Result<Option<File>> {
        let is_dirty = std::mem::take(&mut self.is_dirty);
        self.file.as_ref().filter(|_| is_dirty).map(File::try_clone).transpose()
    }

    fn file(&mut self) -> io::Result<&File> {
        let file = match self.file.take() {
            Some(file) => file,
            None => self.begin()?,
        };
        Ok(self.file.insert(file))
    }

    fn begin(&self) -> io::Result<File> {
        if !self.root.is_dir() {
            DirBuilder::new().mode(FOLDER_MODE).create(&self.root)?;
            sync_folder(self.root.parent())?;
        }
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(false).mode(FILE_MODE);
        let file = file.open(self.root.join(NEWER))?;
        file.set_len(self.end)?;
        sync_folder(Some(&self.root))?;
        Ok(file)
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.file()?.sync_data()?;
        fs::rename(self.root.join(NEWER), self.root.join(OLDER))?;
        sync_folder(Some(&self.root))?;
        self.older = std::mem::take(&mut self.newer);
        (self.file, self.end, self.is_dirty) = (None, 0, false);
        Ok(())
    }
}

fn sync_folder(folder: Option<&Path>) -> io::Result<()> {
    folder.map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

/// The whole notes of a file, and where they end.
fn read(path: &Path) -> io::Result<(HashMap<Digest, Place>, u64)> {
    let mut reader = match File::open(path) {
        Ok(file) => BufReader::new(file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((HashMap::new(), 0)),
        Err(error) => return Err(error),
    };
    let (mut places, mut end) = (HashMap::new(), 0_u64);
    while let Some(note) = next(&mut reader)? {
        let Ok(checkpoint) = parse_note(&note) else { break };
        let Ok(length) = u32::try_from(note.len()) else { break };
        let offset = end.saturating_add(LENGTH_BYTES);
        places.insert(Digest::of(&note), Place { size: checkpoint.size, offset, length });
        end = offset.saturating_add(u64::from(length));
    }
    Ok((places, end))
}

/// The bytes of the next note; none at the end, and where there is no whole one.
fn next(reader: &mut impl io::Read) -> io::Result<Option<Vec<u8>>> {
    let (mut length, mut note) = (Vec::new(), Vec::new());
    reader.by_ref().take(LENGTH_BYTES).read_to_end(&mut length)?;
    let Ok(length) = <[u8; 4]>::try_from(length) else { return Ok(None) };
    let length = u64::from(u32::from_be_bytes(length));
    if length > NOTE_BYTES_MAX as u64 {
        return Ok(None);
    }
    reader.take(length).read_to_end(&mut note)?;
    Ok(Some(note).filter(|note| note.len() as u64 == length))
}
