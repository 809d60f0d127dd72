//! Reading what is sealed, by position or in order. Every record is checked each time it is read.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::record::{RECORD_BODY_BYTES_MAX, RECORD_HEADER_BYTES};
use super::{JournalError, Parsed, Position, Record, failed, parse_record, recovery, segment_path};

/// Segment files kept open for reading at most, so that a long journal does not use up the file table.
const OPEN_SEGMENTS_MAX: usize = 64;

/// The reading end of a journal: cheap to clone, used from any thread.
#[derive(Clone)]
pub struct JournalReader {
    shared: Arc<Shared>,
}

struct Shared {
    dir: PathBuf,
    open: Mutex<BTreeMap<u64, Arc<File>>>,
}

/// The bytes of one segment file, or of its middle.
pub struct SegmentBytes {
    number: u64,
    first: usize,
    bytes: Vec<u8>,
}

impl SegmentBytes {
    /// A segment's bytes, from wherever they were read.
    pub fn new(number: u64, bytes: Vec<u8>) -> Self {
        Self { number, first: 0, bytes }
    }

    /// The segment's number.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The bytes from `offset` of the file on; empty where nothing was read.
    pub fn from(&self, offset: usize) -> &[u8] {
        let at = offset.checked_sub(self.first);
        at.and_then(|at| self.bytes.get(at..)).unwrap_or_default()
    }
}

impl JournalReader {
    pub(crate) fn new(dir: &Path) -> Self {
        let open = Mutex::new(BTreeMap::new());
        Self { shared: Arc::new(Shared { dir: dir.to_owned(), open }) }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.shared.dir
    }

    /// Where the first segment there is begins.
    pub fn first(&self) -> Result<Position, JournalError> {
        let numbers = super::segment_numbers(&self.shared.dir)?;
        let segment = numbers.first().copied().unwrap_or(0);
        Ok(Position { segment, offset: super::SEGMENT_HEADER_BYTES })
    }

    /// Index of the first entry at or after `from`; none if there is none before the end or the first damage.
    pub fn first_index(&self, mut from: Position) -> Result<Option<u64>, JournalError> {
        let first = from.segment;
        // A segment may hold checkpoints only.
        for number in super::segment_numbers(&self.shared.dir)?.into_iter().filter(|number| *number >= first)
        {
            let segment = self.segment(number)?;
            let mut at = usize::try_from(from.offset).unwrap_or(usize::MAX);
            while let Parsed::Record(record, length) = parse_record(segment.from(at)) {
                if let Record::Entry(entry) = record {
                    return Ok(Some(entry.index));
                }
                at = at.saturating_add(length);
            }
            from = Position { segment: number.saturating_add(1), offset: super::SEGMENT_HEADER_BYTES };
        }
        Ok(None)
    }

    /// Removes the segments below `segment`, the oldest first: a crash between two leaves no hole. The caller knows that
    /// what they hold is elsewhere.
    pub(crate) fn drop_below(&self, segment: u64) -> Result<(), JournalError> {
        let mut dropped = false;
        for number in super::segment_numbers(&self.shared.dir)?.into_iter().filter(|number| *number < segment)
        {
            let path = segment_path(&self.shared.dir, number);
            self.shared.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
            std::fs::remove_file(&path).map_err(|source| failed("remove", &path, source))?;
            crate::failpoints::reach("segment-dropped");
            dropped = true;
        }
        if dropped {
            let dir = &self.shared.dir;
            File::open(dir)
                .and_then(|folder| folder.sync_all())
                .map_err(|source| failed("sync", dir, source))?;
        }
        Ok(())
    }

    /// Reads the record at a position. A record that is not intact is [`JournalError::Corrupt`].
    pub fn record(&self, at: Position) -> Result<Record, JournalError> {
        let path = segment_path(&self.shared.dir, at.segment);
        let file = self.file(at.segment)?;
        let corrupt = |what| JournalError::Corrupt { segment: at.segment, offset: at.offset, what };
        let mut bytes = vec![0_u8; RECORD_HEADER_BYTES];
        file.read_exact_at(&mut bytes, at.offset).map_err(|source| failed("read", &path, source))?;
        let length = bytes.first_chunk::<4>().map_or(0, |length| u32::from_be_bytes(*length) as usize);
        if length == 0 || length > RECORD_BODY_BYTES_MAX {
            return Err(corrupt("no record begins here"));
        }
        bytes.resize(RECORD_HEADER_BYTES + length, 0);
        file.read_exact_at(&mut bytes, at.offset).map_err(|source| failed("read", &path, source))?;
        match parse_record(&bytes) {
            Parsed::Record(record, _) => Ok(record),
            Parsed::End => Err(corrupt("no record begins here")),
            Parsed::Bad(what) => Err(corrupt(what)),
        }
    }

    /// Gives every record from `from` up to `to` (exclusive, where a group ended) to `visit`, in order, following
    /// `continued` records. Reads from disk, at most one segment at a time into memory.
    pub fn replay<E: From<JournalError>>(
        &self,
        from: Position,
        to: Position,
        mut visit: impl FnMut(Position, Record) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut at = from;
        while at < to {
            let segment = if at.segment == to.segment {
                self.part(at, to.offset)?
            } else {
                let segment = self.segment(at.segment)?;
                recovery::check_header(&segment)?;
                segment
            };
            at = replay_segment(&segment, at, to, &mut visit)?;
        }
        Ok(())
    }

    /// The bytes of a whole segment.
    pub fn segment(&self, number: u64) -> Result<SegmentBytes, JournalError> {
        let path = segment_path(&self.shared.dir, number);
        let bytes = std::fs::read(&path).map_err(|source| failed("read", &path, source))?;
        Ok(SegmentBytes::new(number, bytes))
    }

    /// The bytes of a segment from a position to an offset.
    fn part(&self, from: Position, to: u64) -> Result<SegmentBytes, JournalError> {
        let length = usize::try_from(to.saturating_sub(from.offset)).unwrap_or(usize::MAX);
        let mut bytes = vec![0_u8; length];
        let path = segment_path(&self.shared.dir, from.segment);
        let file = self.file(from.segment)?;
        file.read_exact_at(&mut bytes, from.offset).map_err(|source| failed("read", &path, source))?;
        let first = usize::try_from(from.offset).unwrap_or(usize::MAX);
        Ok(SegmentBytes { number: from.segment, first, bytes })
    }

    fn file(&self, number: u64) -> Result<Arc<File>, JournalError> {
        let mut open = self.shared.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = open.get(&number) {
            return Ok(Arc::clone(file));
        }
        let path = segment_path(&self.shared.dir, number);
        let file = Arc::new(File::open(&path).map_err(|source| failed("open", &path, source))?);
        if open.len() >= OPEN_SEGMENTS_MAX {
            // The newest segments are read most.
            open.pop_first();
        }
        open.insert(number, Arc::clone(&file));
        Ok(file)
    }
}

/// Replays one segment and gives the position where the next record lies.
fn replay_segment<E: From<JournalError>>(
    segment: &SegmentBytes,
    from: Position,
    to: Position,
    visit: &mut impl FnMut(Position, Record) -> Result<(), E>,
) -> Result<Position, E> {
    let mut at = from;
    while at < to {
        let offset = usize::try_from(at.offset).unwrap_or(usize::MAX);
        let what = match parse_record(segment.from(offset)) {
            Parsed::Record(Record::Continued { next }, _) if next == at.segment.saturating_add(1) => {
                return Ok(Position { segment: next, offset: super::SEGMENT_HEADER_BYTES });
            }
            Parsed::Record(Record::Continued { .. }, _) => "it names a segment that does not follow it",
            Parsed::Record(record, length) => {
                visit(at, record)?;
                at.offset = at.offset.saturating_add(length as u64);
                continue;
            }
            Parsed::End => "the segment ends before its `continued` record",
            Parsed::Bad(what) => what,
        };
        return Err(JournalError::Corrupt { segment: at.segment, offset: at.offset, what }.into());
    }
    Ok(at)
}
