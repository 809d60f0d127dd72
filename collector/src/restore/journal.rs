//! The journal of a restored log: the entries that no full bundle covers and those after the newest checkpoint, in groups
//! of its own, and the checkpoints after the entries they cover.

use std::path::Path;
use std::sync::Arc;

use evidence::tiles::Edge;

use crate::journal::{Group, Journal, JournalError, SystemIo};

/// Length of a group about, bytes: one write and one sync.
const GROUP_BYTES: u64 = 1 << 20;
/// Bytes of an entry's record beside leaf and payload record, and of the commit after it.
const RECORD_BYTES: u64 = 128;

/// A checkpoint's note and the size it covers.
pub(super) struct Stop {
    pub(super) size: u64,
    pub(super) note: Vec<u8>,
}

/// Makes a journal.
pub(super) struct JournalMaker {
    journal: Journal,
    group: Group,
    /// First entry of the journal, and entries of the log.
    from: u64,
    size: u64,
    /// In the order they are written; the log's own before the cosigned one of its size.
    stops: Vec<Stop>,
    /// Longest group, bytes.
    group_bytes: u64,
}

impl JournalMaker {
    /// A journal of the entries `range`, in an empty folder.
    pub(super) fn new(
        folder: &Path,
        segment_bytes: u64,
        (from, size): (u64, u64),
        mut stops: Vec<Stop>,
    ) -> Result<Self, JournalError> {
        // With a first segment of number 0 a journal holds everything.
        let journal = Journal::create_from(folder, u64::from(from > 0), segment_bytes, Arc::new(SystemIo))?;
        stops.sort_by_key(|stop| stop.size);
        let group_bytes = journal.group_bytes_max().min(GROUP_BYTES);
        let mut maker = Self { journal, group: Group::new(), from, size, stops, group_bytes };
        // What the first entries are behind of.
        maker.checkpoints(from)?;
        Ok(maker)
    }

    /// The next entry, which is the last one of `edge`; those before the journal's first are left out.
    pub(super) fn entry(
        &mut self,
        edge: &Edge,
        leaf: &[u8],
        codec: u8,
        stored: &[u8],
    ) -> Result<(), JournalError> {
        let size = edge.size();
        let Some(index) = size.checked_sub(1).filter(|index| *index >= self.from) else { return Ok(()) };
        self.group.push_stored(index, leaf, codec, &[stored]);
        let is_stop = self.stops.first().is_some_and(|stop| stop.size == size);
        // Another entry as long as the longest may not fit after this one.
        let next = RECORD_BYTES + evidence::leaf::PAYLOAD_BYTES_MAX as u64 + 255;
        let is_full = self.group.bytes().len() as u64 + next > self.group_bytes;
        if is_stop || is_full || size == self.size {
            self.group.push_commit(size, &edge.root().0);
            self.journal.append(&std::mem::take(&mut self.group))?;
            self.checkpoints(size)?;
        }
        Ok(())
    }

    /// Writes the checkpoints of at most `size` entries that were not written.
    fn checkpoints(&mut self, size: u64) -> Result<(), JournalError> {
        let due = self.stops.iter().take_while(|stop| stop.size <= size).count();
        for stop in self.stops.drain(..due) {
            let mut group = Group::new();
            group.push_checkpoint(&stop.note);
            self.journal.append(&group)?;
        }
        Ok(())
    }
}
