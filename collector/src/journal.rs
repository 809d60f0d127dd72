//! The journal: a write-ahead log of append-only records in preallocated segments. It is the ledger's ground truth.
//!
//! docs/FORMAT.md section 13 describes its bytes. A *group* is one or more entries and the commit record that
//! seals them, or one checkpoint, which is its own seal. A group lies in one segment and is written by one
//! `pwrite` and one `fdatasync`. [`Journal::append`] returns only after that `fdatasync`: "durable" in this
//! program means exactly this.
//!
//! - Entries count only up to the last intact seal; what follows it was never acknowledged and is cut at open.
//! - Damage anywhere else is corruption: [`Journal::open`] refuses and names segment and offset.
//! - After a failed write or sync the state of the disk is unknown. The journal refuses every further append, and
//!   the caller ends the process: a retried `fsync` may report success for pages the kernel has dropped.
//!
//! Not in scope: what the entries mean. The journal knows numbers, bytes and checksums.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[cfg(test)]
pub(crate) mod faults;
mod io_calls;
mod reader;
mod record;
mod recovery;
#[cfg(test)]
mod tests;

pub use io_calls::{Io, SystemIo};
pub use reader::{JournalReader, SegmentBytes};
pub use record::{EntryRecord, Group, Parsed, Record, parse_record};
pub(crate) use recovery::check_header as check_segment_header;
pub use recovery::{Tail, judge_tail};

use crate::failpoints;

/// Length of a segment by default, bytes: large enough that a roll-over is rare, small enough to copy.
pub const SEGMENT_BYTES_DEFAULT: u64 = 64 * 1024 * 1024;
/// Shortest segment, bytes: tests use it to reach the roll-over quickly.
pub const SEGMENT_BYTES_MIN: u64 = 4096;
/// Longest segment, bytes: offsets are stored in 32 bits.
pub const SEGMENT_BYTES_MAX: u64 = 1 << 31;
/// Bytes before the first record: magic, version, segment number.
pub const SEGMENT_HEADER_BYTES: u64 = 16;
/// Room kept at a segment's end for its `continued` record, bytes.
pub const CONTINUED_BYTES: u64 = 17;
/// First bytes of every segment, with the version of the format.
const SEGMENT_MAGIC: [u8; 8] = *b"TSJ1\0\0\0\x01";
/// Largest segment number: file names have eight digits.
const SEGMENT_NUMBER_MAX: u64 = 99_999_999;

/// Where a record begins: segment number and byte offset in its file. Ordered as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Number of the segment, from 0.
    pub segment: u64,
    /// Byte offset within the segment file.
    pub offset: u64,
}

/// Why the journal could not be made, opened, read or extended.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// An operation on a file failed, and nothing was promised yet: safe to report and go on.
    #[error("could not {what} {path}")]
    Io {
        /// What was tried, as a verb phrase.
        what: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A write or sync failed half way: what is on the disk is unknown. The process must end.
    #[error(
        "could not {what} {path}: what reached the disk is unknown, the process must stop and recover at start"
    )]
    Unsure {
        /// What was tried, as a verb phrase.
        what: &'static str,
        /// The segment file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// An earlier append ended in [`JournalError::Unsure`].
    #[error("an earlier write failed; the journal takes no more until it is opened again")]
    Poisoned,
    /// There is no room for the next segment. Nothing was written.
    #[error("no room for another journal segment of {segment_bytes} bytes in {path}: free some space")]
    Full {
        /// The journal's folder.
        path: PathBuf,
        /// Size of the segment that found no room, bytes.
        segment_bytes: u64,
        /// The system's answer.
        source: io::Error,
    },
    /// Bytes that were acknowledged are damaged.
    #[error(
        "journal segment {segment} is damaged at byte {offset}: {what}. \
         Restore the segment from a copy; nothing was changed"
    )]
    Corrupt {
        /// Segment number.
        segment: u64,
        /// Byte offset in the segment.
        offset: u64,
        /// What is wrong there.
        what: &'static str,
    },
    /// A group does not fit in one segment, or a record is longer than the format allows.
    #[error("a journal group of {bytes} bytes is longer than the {bytes_max} bytes allowed")]
    TooLarge {
        /// Length asked for, bytes.
        bytes: u64,
        /// Length allowed, bytes.
        bytes_max: u64,
    },
    /// There is no journal in this folder.
    #[error("{path} holds no journal: `init` makes one, nothing else does")]
    Absent {
        /// The folder looked into.
        path: PathBuf,
    },
    /// `create` found something in the folder.
    #[error("{path} already holds files: a journal is never made over another")]
    Exists {
        /// The folder.
        path: PathBuf,
    },
}

impl JournalError {
    /// True if the process must end: the durable state is unknown until the next open.
    pub fn is_fatal(&self) -> bool {
        matches!(self, Self::Unsure { .. } | Self::Poisoned)
    }
}

/// What opening the journal found and repaired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recovery {
    /// Bytes of an unacknowledged group that no longer count.
    pub torn_bytes: u64,
    /// Where they were.
    pub torn_at: Option<Position>,
}

/// The writing end. There is one per data directory, and the sequencer owns it.
pub struct Journal {
    dir: PathBuf,
    segment_bytes: u64,
    io: Arc<dyn Io>,
    reader: JournalReader,
    active: Active,
    tail: Tail,
    poisoned: bool,
}

/// The segment that takes the next group.
struct Active {
    number: u64,
    file: File,
    path: PathBuf,
    end: u64,
    bytes: u64,
}

impl Journal {
    /// Makes the first segment in the existing, empty folder `dir`. Durable once it returns.
    pub fn create(dir: &Path, segment_bytes: u64, io: Arc<dyn Io>) -> Result<Self, JournalError> {
        Self::create_from(dir, 0, segment_bytes, io)
    }

    /// As [`Journal::create`], with a first segment of that number: the ones before it count as dropped.
    pub fn create_from(
        dir: &Path,
        number: u64,
        segment_bytes: u64,
        io: Arc<dyn Io>,
    ) -> Result<Self, JournalError> {
        let mut found = fs::read_dir(dir).map_err(|source| failed("read", dir, source))?;
        if found.next().is_some() {
            return Err(JournalError::Exists { path: dir.to_owned() });
        }
        let segment_bytes = segment_bytes.clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX);
        let active = make_segment(dir, number, segment_bytes, io.as_ref())?;
        let reader = JournalReader::new(dir);
        let dir = dir.to_owned();
        Ok(Self { dir, segment_bytes, io, reader, active, tail: Tail::Clean, poisoned: false })
    }

    /// Opens an existing journal and refuses anything that is wrong with the newest segment but an unacknowledged
    /// tail. That no longer counts, and the first append overwrites it; until then no byte is changed. What counts is
    /// durable once it returns. Older segments are checked where they are read: [`JournalReader::replay`], `fsck`.
    pub fn open(dir: &Path, segment_bytes: u64, io: Arc<dyn Io>) -> Result<(Self, Recovery), JournalError> {
        let segment_bytes = segment_bytes.clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX);
        let numbers = segment_numbers(dir)?;
        let reader = JournalReader::new(dir);
        let (number, scan) = newest_segment(&reader, &numbers)?;
        remove_leftovers(dir, number, &numbers, io.as_ref())?;
        settle(dir, number, &scan, io.as_ref())?;
        if let Some(before) =
            number.checked_sub(1).filter(|before| scan.is_empty() && numbers.contains(before))
        {
            // The last group of all is the record that names this segment.
            settle(dir, before, &recovery::scan(&reader.segment(before)?)?, io.as_ref())?;
        }

        let path = segment_path(dir, number);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .map_err(|source| failed("open", &path, source))?;
        let length = file.metadata().map_err(|source| failed("inspect", &path, source))?.len();
        if length < segment_bytes {
            io.allocate(&file, segment_bytes).map_err(|source| full(dir, segment_bytes, source))?;
        }
        let bytes = length.max(segment_bytes);
        let active = Active { number, file, path, end: scan.sealed_end, bytes };
        let recovery = match scan.tail {
            Tail::Clean => Recovery::default(),
            Tail::Torn { from, to } => Recovery {
                torn_bytes: to.saturating_sub(from),
                torn_at: Some(Position { segment: number, offset: from }),
            },
        };
        let dir = dir.to_owned();
        let journal = Self { dir, segment_bytes, io, reader, active, tail: scan.tail, poisoned: false };
        Ok((journal, recovery))
    }

    /// Appends one sealed group; durable once it returns. Gives the position of each record, in order.
    ///
    /// On [`JournalError::Full`] nothing was written. On [`JournalError::Unsure`] the process must end.
    pub fn append(&mut self, group: &Group) -> Result<Vec<Position>, JournalError> {
        if self.poisoned {
            return Err(JournalError::Poisoned);
        }
        let length = group.bytes().len() as u64;
        let bytes_max = self.group_bytes_max();
        if length > bytes_max || !group.is_sealed() {
            return Err(JournalError::TooLarge { bytes: length, bytes_max });
        }
        self.cut_tail()?;
        if self.active.end.saturating_add(length).saturating_add(CONTINUED_BYTES) > self.active.bytes {
            self.roll()?;
        }
        let start = self.active.end;
        self.write(group.bytes(), start)?;
        failpoints::reach("journal-written");
        self.sync()?;
        self.active.end = start.saturating_add(length);
        let segment = self.active.number;
        Ok(group.offsets().iter().map(|at| Position { segment, offset: start + u64::from(*at) }).collect())
    }

    /// Longest group that [`Journal::append`] takes, bytes.
    pub fn group_bytes_max(&self) -> u64 {
        self.segment_bytes.saturating_sub(SEGMENT_HEADER_BYTES + CONTINUED_BYTES)
    }

    /// Where the next group will begin, unless it opens another segment.
    pub fn end(&self) -> Position {
        Position { segment: self.active.number, offset: self.active.end }
    }

    /// A handle for reading what is sealed; cheap to clone and share.
    pub fn reader(&self) -> JournalReader {
        self.reader.clone()
    }

    /// Bytes free on the journal's file system for this user.
    pub fn free_bytes(&self) -> Result<u64, JournalError> {
        self.io.free_bytes(&self.dir).map_err(|source| failed("measure", &self.dir, source))
    }

    /// Makes the next segment, then says in the full one that it goes on there. A crash between the two leaves an
    /// empty segment that `open` removes.
    fn roll(&mut self) -> Result<(), JournalError> {
        let number = self.active.number.saturating_add(1);
        let next = make_segment(&self.dir, number, self.segment_bytes, self.io.as_ref());
        self.poisoned |= next.as_ref().is_err_and(JournalError::is_fatal);
        let next = next?;
        failpoints::reach("segment-created");
        let mut group = Group::new();
        group.push_continued(number);
        let start = self.active.end;
        self.write(group.bytes(), start)?;
        self.sync()?;
        failpoints::reach("segment-continued");
        self.active = next;
        Ok(())
    }

    fn write(&mut self, bytes: &[u8], start: u64) -> Result<(), JournalError> {
        let (first, second) = if failpoints::armed("journal-half-written") {
            bytes.split_at(bytes.len() / 2)
        } else {
            (bytes, [].as_slice())
        };
        let mut result = self.io.write_at(&self.active.file, first, start);
        failpoints::reach("journal-half-written");
        if result.is_ok() && !second.is_empty() {
            result = self.io.write_at(&self.active.file, second, start + first.len() as u64);
        }
        result.map_err(|source| self.poison("write", source))
    }

    fn sync(&mut self) -> Result<(), JournalError> {
        self.io.sync_data(&self.active.file).map_err(|source| self.poison("sync", source))
    }

    fn poison(&mut self, what: &'static str, source: io::Error) -> JournalError {
        self.poisoned = true;
        unsure(what, &self.active.path, source)
    }

    /// Overwrites a torn tail with zeros, so that a later crash cannot join its rests to new records.
    fn cut_tail(&mut self) -> Result<(), JournalError> {
        let Tail::Torn { from, to } = self.tail else { return Ok(()) };
        let zeros = vec![0_u8; usize::try_from(to.saturating_sub(from)).unwrap_or(usize::MAX)];
        self.write(&zeros, from)?;
        self.sync()?;
        self.tail = Tail::Clean;
        Ok(())
    }
}

/// The segment that takes the next group, with its scan. Only the last two can be meant: a segment is made when the
/// one before it is full, and that one says so after.
fn newest_segment(reader: &JournalReader, numbers: &[u64]) -> Result<(u64, recovery::Scan), JournalError> {
    let Some(last) = numbers.last().copied() else {
        return Err(JournalError::Absent { path: reader.dir().to_owned() });
    };
    let scan = recovery::scan(&reader.segment(last)?)?;
    if scan.continued_to.is_some() {
        let what = "it says that another segment follows, and that file is missing";
        return Err(JournalError::Corrupt { segment: last, offset: scan.sealed_end, what });
    }
    let Some(number) = last.checked_sub(1).filter(|before| numbers.contains(before)) else {
        // It is the first, or the ones before it were dropped.
        return Ok((last, scan));
    };
    let before = recovery::scan(&reader.segment(number)?)?;
    if before.continued_to == Some(last) {
        return Ok((last, scan));
    }
    if before.continued_to.is_none() && scan.is_empty() {
        return Ok((number, before));
    }
    let what = "a later segment holds records, but this one does not end by naming it";
    Err(JournalError::Corrupt { segment: number, offset: before.sealed_end, what })
}

/// Makes the last group of a segment durable: a process that was killed, or whose sync failed, may have left it in the
/// system's memory only, and whoever reads it from now on takes it for kept. It is written anew, because after a failed
/// sync the system takes such pages for clean. Only the last group can be meant: each is synced before the next.
fn settle(dir: &Path, number: u64, scan: &recovery::Scan, io: &dyn Io) -> Result<(), JournalError> {
    let path = segment_path(dir, number);
    let bytes = usize::try_from(scan.sealed_end.saturating_sub(scan.last_group)).unwrap_or(usize::MAX);
    if bytes == 0 {
        return Ok(());
    }
    let file = OpenOptions::new().read(true).write(true).open(&path);
    let file = file.map_err(|source| failed("open", &path, source))?;
    let mut group = vec![0_u8; bytes];
    file.read_exact_at(&mut group, scan.last_group).map_err(|source| failed("read", &path, source))?;
    io.write_at(&file, &group, scan.last_group).map_err(|source| failed("write", &path, source))?;
    io.sync_data(&file).map_err(|source| failed("sync", &path, source))
}

/// Removes what an interrupted roll-over left: half-made files, and the empty segment after `newest`.
fn remove_leftovers(dir: &Path, newest: u64, numbers: &[u64], io: &dyn Io) -> Result<(), JournalError> {
    let mut leftovers: Vec<PathBuf> =
        numbers.iter().filter(|number| **number > newest).map(|number| segment_path(dir, *number)).collect();
    for found in fs::read_dir(dir).map_err(|source| failed("read", dir, source))? {
        let path = found.map_err(|source| failed("read", dir, source))?.path();
        if path.extension().is_some_and(|extension| extension == "new") {
            leftovers.push(path);
        }
    }
    for path in &leftovers {
        fs::remove_file(path).map_err(|source| failed("remove", path, source))?;
    }
    if leftovers.is_empty() {
        return Ok(());
    }
    io.sync_directory(dir).map_err(|source| failed("sync", dir, source))
}

/// Makes a whole segment file under another name and gives it its own once it is durable.
fn make_segment(dir: &Path, number: u64, bytes: u64, io: &dyn Io) -> Result<Active, JournalError> {
    if number > SEGMENT_NUMBER_MAX {
        return Err(JournalError::TooLarge { bytes: number, bytes_max: SEGMENT_NUMBER_MAX });
    }
    let path = segment_path(dir, number);
    let temporary = path.with_extension("new");
    let made = fill_segment(&temporary, number, bytes, io);
    let file = match made {
        Ok(file) => file,
        Err(source) => {
            // Gives the space back; the leftover is also removed at the next open.
            drop(fs::remove_file(&temporary));
            return Err(full(dir, bytes, source));
        }
    };
    fs::rename(&temporary, &path).map_err(|source| failed("rename", &temporary, source))?;
    // An error here leaves open whether the name is durable, and a retry would not tell.
    io.sync_directory(dir).map_err(|source| unsure("sync", dir, source))?;
    Ok(Active { number, file, path, end: SEGMENT_HEADER_BYTES, bytes })
}

fn fill_segment(path: &Path, number: u64, bytes: u64, io: &dyn Io) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
    io.allocate(&file, bytes)?;
    let mut header = SEGMENT_MAGIC.to_vec();
    header.extend_from_slice(&number.to_be_bytes());
    io.write_at(&file, &header, 0)?;
    io.sync_data(&file)?;
    Ok(file)
}

/// Numbers of the segments in `dir`, ascending and without a hole. The first ones may have been dropped.
pub(crate) fn segment_numbers(dir: &Path) -> Result<Vec<u64>, JournalError> {
    let mut numbers = Vec::new();
    for found in fs::read_dir(dir).map_err(|source| failed("read", dir, source))? {
        let path = found.map_err(|source| failed("read", dir, source))?.path();
        if path.extension().is_some_and(|extension| extension == "seg") {
            let stem = path.file_stem().and_then(|stem| stem.to_str()).filter(|stem| stem.len() == 8);
            numbers.extend(stem.and_then(|stem| stem.parse::<u64>().ok()));
        }
    }
    numbers.sort_unstable();
    if numbers.is_empty() {
        return Err(JournalError::Absent { path: dir.to_owned() });
    }
    for (expected, number) in (numbers.first().copied().unwrap_or(0)..).zip(&numbers) {
        if expected != *number {
            let what = "this segment file is missing";
            return Err(JournalError::Corrupt { segment: expected, offset: 0, what });
        }
    }
    Ok(numbers)
}

pub(crate) fn segment_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:08}.seg"))
}

fn failed(what: &'static str, path: &Path, source: io::Error) -> JournalError {
    JournalError::Io { what, path: path.to_owned(), source }
}

fn unsure(what: &'static str, path: &Path, source: io::Error) -> JournalError {
    JournalError::Unsure { what, path: path.to_owned(), source }
}

fn full(dir: &Path, segment_bytes: u64, source: io::Error) -> JournalError {
    JournalError::Full { path: dir.to_owned(), segment_bytes, source }
}
