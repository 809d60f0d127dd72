//! Reading by place: the statements of a device instance, the entries of a stream.

use evidence::ids::InstanceId;
use evidence::leaf::Stream;
use evidence::time::Timestamp;

use super::{Ledger, PAGE_ROWS_MAX, ReadError, damaged_row};
use crate::store::rows::{InstanceState, StreamHead};
use crate::store::runs::{RUN_STATEMENTS, RunStatement};

impl Ledger {
    /// What the log knows of a device instance; none if it never submitted.
    pub fn instance(&self, instance: &InstanceId) -> Result<Option<InstanceState>, ReadError> {
        let newest = self.tail().instance(instance);
        match newest {
            Some(state) => Ok(Some(state)),
            None => Ok(self.shared.epochs.instance(instance)?.map(|row| row.state)),
        }
    }

    /// Index of one statement of a device instance.
    pub fn statement(&self, instance: &InstanceId, sequence: u64) -> Result<Option<u64>, ReadError> {
        let first = self.tail().statements(instance, sequence).next();
        if let Some(newest) = first.filter(|newest| newest.sequence == sequence) {
            return Ok(Some(newest.index));
        }
        let of = |statements: &[RunStatement]| {
            statements.iter().find(|one| one.sequence == sequence).map(|one| one.index)
        };
        let row = self.shared.epochs.instance(instance)?;
        if let Some(index) = row.and_then(|row| of(row.run.statements())) {
            return Ok(Some(index));
        }
        let run = self.shared.epochs.run(instance, sequence)?;
        Ok(run.and_then(|run| of(run.statements())))
    }

    /// A sequence of a device instance such that whatever it submitted at or after `received` is not below it.
    pub fn sequence_received_at(&self, instance: &InstanceId, received: Timestamp) -> Result<u64, ReadError> {
        // What is in memory comes after all of it.
        let Some(row) = self.shared.epochs.instance(instance)? else { return Ok(0) };
        let open = row.run.statements().first();
        if let Some(first) = open.filter(|first| first.received < received) {
            return Ok(first.sequence);
        }
        let mut high = open.map_or(row.state.next_sequence, |first| first.sequence);
        // Backwards in steps that double: what was received lately lies in the newest epochs, and the others stay closed.
        let (mut low, mut step) = (0, RUN_STATEMENTS as u64);
        while high > 0 {
            let run = self.shared.epochs.run(instance, high.saturating_sub(step))?;
            let Some(first) = run.and_then(|run| run.statements().first().copied()) else { break };
            if first.received < received {
                low = first.sequence;
                break;
            }
            high = first.sequence.min(high.saturating_sub(1));
            step = step.saturating_mul(2);
        }
        while high.saturating_sub(low) > RUN_STATEMENTS as u64 {
            let middle = low + (high - low) / 2;
            let run = self.shared.epochs.run(instance, middle)?;
            let first = run.and_then(|run| run.statements().first().copied());
            match first {
                Some(first) if first.received < received && first.sequence > low => low = first.sequence,
                Some(first) if first.received < received => break,
                _ => high = middle,
            }
        }
        Ok(low)
    }

    /// Statements of a device instance from sequence `from` on, ascending, at least [`PAGE_ROWS_MAX`] if there are as
    /// many.
    pub fn statements(&self, instance: &InstanceId, from: u64) -> Result<Vec<RunStatement>, ReadError> {
        // The newest first: what is indexed in between is then found twice rather than not at all.
        let newest: Vec<RunStatement> = self.tail().statements(instance, from).collect();
        let row = self.shared.epochs.instance(instance)?;
        let open = row.as_ref().and_then(|row| row.run.statements().first());
        let mut found = if open.is_some_and(|first| first.sequence <= from) {
            Vec::new()
        } else {
            self.shared.epochs.runs(instance, from, PAGE_ROWS_MAX)?
        };
        if found.len() < PAGE_ROWS_MAX {
            found.extend(row.iter().flat_map(|row| row.run.statements()).copied());
            found.extend(newest);
        }
        found.retain(|one| one.sequence >= from);
        found.sort_unstable_by_key(|one| one.sequence);
        found.dedup_by_key(|one| one.sequence);
        let size = self.size();
        // A row may be visible a moment before its entry is committed for readers.
        found.retain(|one| one.index < size);
        Ok(found)
    }

    /// Index of an entry of streams 1 to 4 by its place in the stream.
    pub fn stream_entry(&self, stream: Stream, sequence: u64) -> Result<Option<u64>, ReadError> {
        let newest = self.tail().stream_entry(stream.number(), sequence);
        match newest {
            Some(index) => Ok(Some(index)),
            None => Ok(self.shared.epochs.stream_entry(stream, sequence)?),
        }
    }

    /// Entries of a stream from stream sequence `from` on, as (stream sequence, index), at most [`PAGE_ROWS_MAX`].
    pub fn stream(&self, stream: Stream, from: u64) -> Result<Vec<(u64, u64)>, ReadError> {
        let newest: Vec<(u64, u64)> = self.tail().stream(stream.number(), from).collect();
        let mut found = self.shared.epochs.stream(stream, from, PAGE_ROWS_MAX)?;
        let next = found.last().map_or(from, |(sequence, _)| sequence.saturating_add(1));
        if found.len() < PAGE_ROWS_MAX {
            found.extend(newest.into_iter().filter(|(sequence, _)| *sequence >= next));
            found.truncate(PAGE_ROWS_MAX);
        }
        let size = self.size();
        found.retain(|(_, index)| *index < size);
        Ok(found)
    }

    /// Heads of streams 1 to 4 over the first `size` entries.
    pub fn heads(&self, size: u64) -> Result<[StreamHead; 4], ReadError> {
        self.check_sizes(0, size)?;
        let mut heads = self.snapshot().streams;
        for (head, stream) in heads.iter_mut().zip(Stream::CHAINED) {
            let (mut low, mut high) = (0, head.entries);
            while low < high {
                let middle = low + (high - low) / 2;
                let index = self.stream_entry(stream, middle)?;
                let index = index.ok_or_else(|| damaged_row("the row of a stream's entry"))?;
                (low, high) = if index < size { (middle + 1, high) } else { (low, middle) };
            }
            *head = self.head_of(stream, low)?;
        }
        Ok(heads)
    }

    fn head_of(&self, stream: Stream, entries: u64) -> Result<StreamHead, ReadError> {
        let Some(last) = entries.checked_sub(1) else { return Ok(StreamHead::default()) };
        let index = self.stream_entry(stream, last)?;
        let index = index.ok_or_else(|| damaged_row("the row of a stream's entry"))?;
        Ok(StreamHead { entries, last_leaf_hash: self.leaf(index)?.hash() })
    }
}
