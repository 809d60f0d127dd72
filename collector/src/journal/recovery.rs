//! What counts in a segment after a crash.
//!
//! A group is written by one `pwrite` and acknowledged after one `fdatasync`; the next group is written after that.
//! So after a power cut only the *last* group can be incomplete, and what is missing of it reads as zeros: the end of
//! the write, or whole 512-byte sectors of it, since a disk may persist sectors in any order. Everything else that is
//! wrong, also in the last group, is damage to acknowledged bytes.

use super::reader::SegmentBytes;
use super::record::{RECORD_BODY_BYTES_MAX, RECORD_HEADER_BYTES, plausible_header};
use super::{JournalError, Parsed, Record, SEGMENT_HEADER_BYTES, SEGMENT_MAGIC, parse_record};

/// Unit in which a disk writes all or nothing, bytes.
const SECTOR_BYTES: usize = 512;

/// What follows the last seal of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    /// Zeros only.
    Clean,
    /// An unacknowledged group, bytes `from..to` of the segment.
    Torn {
        /// First byte after the last seal.
        from: u64,
        /// End of the last byte that is not zero.
        to: u64,
    },
}

/// What a segment holds.
pub(crate) struct Scan {
    /// Start of the last group that counts, byte offset; the end of the header if there is none.
    pub(crate) last_group: u64,
    /// End of the last seal that counts, byte offset.
    pub(crate) sealed_end: u64,
    /// What follows it.
    pub(crate) tail: Tail,
    /// The segment named by the `continued` record, if the segment is full.
    pub(crate) continued_to: Option<u64>,
}

impl Scan {
    /// True if no record counts here.
    pub(crate) fn is_empty(&self) -> bool {
        self.sealed_end == SEGMENT_HEADER_BYTES && self.tail == Tail::Clean
    }
}

/// Walks a whole segment. Errors are damage to bytes that were acknowledged.
pub(crate) fn scan(segment: &SegmentBytes) -> Result<Scan, JournalError> {
    check_header(segment)?;
    let header = usize::try_from(SEGMENT_HEADER_BYTES).unwrap_or(usize::MAX);
    let mut at = header;
    let (mut last_group, mut sealed_end) = (header, header);
    let mut continued_to = None;
    while continued_to.is_none() {
        let Parsed::Record(record, length) = parse_record(segment.from(at)) else { break };
        at += length;
        if record.is_seal() {
            (last_group, sealed_end) = (sealed_end, at);
        }
        if let Record::Continued { next } = record {
            continued_to = Some(next);
        }
    }
    let tail = judge_tail(segment.from(0), sealed_end).map_err(|(offset, what)| JournalError::Corrupt {
        segment: segment.number(),
        offset,
        what,
    })?;
    if continued_to.is_some() && tail != Tail::Clean {
        let what = "bytes follow the record that ends this segment";
        return Err(JournalError::Corrupt { segment: segment.number(), offset: sealed_end as u64, what });
    }
    Ok(Scan { last_group: last_group as u64, sealed_end: sealed_end as u64, tail, continued_to })
}

/// Refuses a segment that does not begin as segment `number` must.
pub(crate) fn check_header(segment: &SegmentBytes) -> Result<(), JournalError> {
    let number = segment.number();
    let mut expected = SEGMENT_MAGIC.to_vec();
    expected.extend_from_slice(&number.to_be_bytes());
    if segment.from(0).starts_with(&expected) {
        return Ok(());
    }
    let what = "the file does not begin as a segment of this number does";
    Err(JournalError::Corrupt { segment: number, offset: 0, what })
}

/// Decides whether what follows `sealed_end` in a segment's bytes is nothing, an unacknowledged group, or damage
/// (offset and reason).
pub fn judge_tail(bytes: &[u8], sealed_end: usize) -> Result<Tail, (u64, &'static str)> {
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    if end <= sealed_end {
        return Ok(Tail::Clean);
    }
    let torn = Tail::Torn { from: sealed_end as u64, to: end as u64 };
    let mut at = sealed_end;
    let bad = loop {
        match parse_record(bytes.get(at..).unwrap_or_default()) {
            Parsed::Record(_, length) => at += length,
            Parsed::End if at >= end => return Ok(torn),
            Parsed::End => break "zeros where a record must begin",
            Parsed::Bad(what) => break what,
        }
    };
    let written = bytes.get(..end).unwrap_or_default();
    let explained = match later_seal(written, at + 1) {
        // The seal is there and more follows: it was acknowledged.
        Some(seal_end) if seal_end < end => false,
        // The seal reached the disk before a sector of its group did, or it is damage.
        Some(_) => misses_sector(written, sealed_end) || misses_length(written, sealed_end),
        None => is_cut_short(written, at) || misses_sector(written, sealed_end),
    };
    if explained { Ok(torn) } else { Err((at as u64, bad)) }
}

/// End of the first intact seal at or after `from`.
fn later_seal(written: &[u8], from: usize) -> Option<usize> {
    (from..written.len()).find_map(|at| match parse_record(written.get(at..)?) {
        Parsed::Record(record, length) if record.is_seal() => Some(at + length),
        _ => None,
    })
}

/// True if a record began at `at` and its end was not written.
fn is_cut_short(written: &[u8], at: usize) -> bool {
    let rest = written.get(at..).unwrap_or_default();
    match rest.first_chunk::<RECORD_HEADER_BYTES>() {
        None => true,
        Some(header) => {
            plausible_header(header).is_some_and(|length| rest.len() < RECORD_HEADER_BYTES + length)
        }
    }
}

/// True if a sector of the group that begins at `start` was never written.
fn misses_sector(written: &[u8], start: usize) -> bool {
    let first_end = start.next_multiple_of(SECTOR_BYTES);
    let is_zero = |range: &[u8]| range.iter().all(|byte| *byte == 0);
    // A group begins with a length that is not zero, so four zero bytes are enough to say that it is missing.
    let first = written.get(start..first_end).is_some_and(|range| range.len() >= 4 && is_zero(range));
    let rest = written.get(first_end..).unwrap_or_default();
    first || rest.chunks_exact(SECTOR_BYTES).any(is_zero)
}

/// True if a group has at most three bytes in its first sector, they read as zeros, and with another length in their
/// place a whole record begins there: zeros too few to tell a missing sector by, yet enough to spoil the length.
fn misses_length(written: &[u8], start: usize) -> bool {
    let kept = start.next_multiple_of(SECTOR_BYTES).saturating_sub(start);
    let Some((length, rest)) = written.get(start..).and_then(|bytes| bytes.split_first_chunk::<4>()) else {
        return false;
    };
    let missing = length.get(..kept).is_some_and(|lost| lost.iter().all(|byte| *byte == 0));
    if kept == 0 || !missing {
        return false;
    }
    let known = u64::from(u32::from_be_bytes(*length));
    let step = 1_u64 << (8 * (4 - kept));
    let lengths = (1_u64..).map(|n| known.saturating_add(n.saturating_mul(step)));
    lengths.take_while(|length| *length <= RECORD_BODY_BYTES_MAX as u64).any(|length| {
        let [_, _, _, _, l0, l1, l2, l3] = length.to_be_bytes();
        let record = [&[l0, l1, l2, l3], rest].concat();
        matches!(parse_record(&record), Parsed::Record(..))
    })
}
