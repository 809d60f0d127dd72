//! The durable queue of signed statements: a sequence is taken when its envelope is on disk, and given back only
//! when the collector *proved* that the statement is in the log.
//!
//! # Files of the folder
//!
//! - `<8 digits>.seg`: `"TSP1"` and records (`record.rs`), append-only, at most [`Limits::segment_bytes_max`] and
//!   one record each. The first record is the base: the next sequence and the newest hash at that moment.
//! - `chain`: the hash of every statement that is kept, and of the one before them. A second witness of what was
//!   made: it tells a statement that was lost from one that never was, and lets a gap statement name its place.
//! - `sent-<8 digits>.log`: the newest proved statements, for `sent`. At most two of half the bound each.
//!
//! # Order of writes, and what a crash just after leaves
//!
//! 1. statement appended to the segment, synced: sent after restart; the chain is completed from it at open;
//! 2. link appended to the chain, synced: the same;
//! 3. `put` returns: the sequence is taken for good.
//! 4. `stored` mark, not synced: when lost, the statement is sent again and the collector answers as before;
//! 5. `proved`: first the history, synced, then the mark, not synced: when lost, the proof is asked for again;
//! 6. the chain is shortened and names the lowest sequence that still matters, then the oldest segments without such
//!    a sequence are removed: whatever of them a crash leaves behind is ignored.
//!
//! # Damage
//!
//! What is no record at the end of the newest segment is the torn end of a crash and is cut. Every other sequence
//! that the bases, the chain and the statements know of and that is not there is *lost*: it stays listed until the
//! collector says that it has it, or a `destroyed` gap statement names it. After an error of the disk nothing is
//! appended until the folder was read again by [`Spool::open`], the one way to recover. Envelopes are held in
//! memory too: at most `bytes_max` and the reserve.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use evidence::envelope::{Envelope, EnvelopeError};
use evidence::ids::{Digest, InstanceId};
use evidence::keys::PublicKey;
use evidence::leaf::Kind;
use evidence::note::Checkpoint;
use evidence::statement::{Body, Gap, Statement};

use crate::disk::Disk;

mod history;
mod open;
mod record;

pub use history::{History, Sent};
pub use record::{NotMade, Receipt};
use record::{Record, Scan};

/// First bytes of a segment.
const SEGMENT_MAGIC: &[u8] = b"TSP1";
/// The file of hashes.
const CHAIN: &str = "chain";
/// So many counts of statements that were not made lie in a segment at most; then the last one alone is kept.
const NOT_MADE_MARKS_MAX: u32 = 64;
/// First bytes of the file of hashes.
const CHAIN_MAGIC: &[u8] = b"TSC1";

/// Bounds of a spool, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// All segments together: from here on only one attestation a day is made.
    pub bytes_max: u64,
    /// Room beyond `bytes_max` for that daily one: at 2 KiB each more than a year.
    pub reserve_bytes: u64,
    /// A segment is closed when it has this many.
    pub segment_bytes_max: u64,
    /// The history of proved statements.
    pub history_bytes_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes_max: 16 * 1024 * 1024,
            reserve_bytes: 1024 * 1024,
            segment_bytes_max: 256 * 1024,
            history_bytes_max: 8 * 1024 * 1024,
        }
    }
}

/// Whose statements a spool holds.
#[derive(Debug, Clone, Copy)]
pub struct Owner {
    /// The instance given at enrolment.
    pub instance: InstanceId,
    /// Its attestation key.
    pub key: PublicKey,
}

/// Why a spool could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// There is no spool in the folder.
    #[error("the spool is missing: this instance's chain cannot go on; enrol again with a new token")]
    Missing,
    /// There is one already.
    #[error("a spool exists already in this folder")]
    Exists,
    /// The disk refused; what was asked may or may not have happened.
    #[error("the spool could not {what}")]
    Disk {
        /// What it was doing.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The folder's content cannot be continued.
    #[error("the spool is damaged beyond repair ({0}): enrol again with a new token")]
    Damaged(&'static str),
    /// The statement is not the next one.
    #[error("statement {found} does not follow: expected sequence {expected} with the newest hash")]
    Order {
        /// Sequence expected.
        expected: u64,
        /// Sequence of the statement.
        found: u64,
    },
    /// The envelope is not one of this instance.
    #[error("the envelope is not one of this instance")]
    Envelope(#[from] EnvelopeError),
    /// There is no room, not even in the reserve.
    #[error("the spool is full")]
    Full,
}

impl SpoolError {
    /// The reason a `not_made` gap gives for a statement that met this error.
    pub fn gap_reason(&self) -> proto::GapReason {
        match self {
            Self::Disk { source, .. } => gap_reason_of(source),
            Self::Full => proto::GapReason::SpoolFull,
            _ => proto::GapReason::DiskDamage,
        }
    }
}

/// The reason a gap gives for what an error of the disk prevented.
pub fn gap_reason_of(error: &io::Error) -> proto::GapReason {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => proto::GapReason::DiskFull,
        io::ErrorKind::ReadOnlyFilesystem => proto::GapReason::ReadOnly,
        _ => proto::GapReason::DiskDamage,
    }
}

/// A statement that is kept.
#[derive(Debug, Clone)]
pub struct Kept {
    /// The final bytes.
    pub envelope: Vec<u8>,
    /// Kind of its leaf.
    pub kind: Kind,
    /// SHA-256 of the bytes.
    pub hash: Digest,
    /// What the collector said when it stored it.
    pub receipt: Option<Receipt>,
}

impl Kept {
    fn says_not_made(&self) -> bool {
        let statement = Envelope::parse(&self.envelope).ok().and_then(|envelope| envelope.claimed().ok());
        statement.is_some_and(|statement| matches!(statement.body, Body::Gap(Gap::NotMade { .. })))
    }
}

/// The place the next statement must take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Its sequence.
    pub sequence: u64,
    /// Its `previous`.
    pub previous: Digest,
}

/// How much room there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// Below the limit.
    Free,
    /// Only the reserve: one attestation a day.
    Reserve,
    /// None.
    Full,
}

#[derive(Debug, Clone)]
struct Segment {
    number: u64,
    /// Every statement below lies in an earlier segment or is proved.
    first: u64,
    bytes: u64,
}

impl Segment {
    fn name(&self) -> String {
        format!("{:08}.seg", self.number)
    }
}

/// What the folder says, held in memory.
#[derive(Debug, Clone)]
struct State {
    next: u64,
    head: Digest,
    kept: BTreeMap<u64, Kept>,
    lost: BTreeSet<u64>,
    links: BTreeMap<u64, Digest>,
    not_made: Option<NotMade>,
    /// In order; the last one is appended to. Never empty.
    segments: Vec<Segment>,
    history: History,
}

/// What a spool holds, for reading.
#[derive(Debug, Clone)]
pub struct Contents {
    /// The statements that are kept, by sequence.
    pub kept: BTreeMap<u64, Kept>,
    /// Sequences that were made and are not there.
    pub lost: BTreeSet<u64>,
    /// The sequence the next statement will take.
    pub next: u64,
    /// Statements not made since the last gap statement.
    pub not_made: Option<NotMade>,
    /// Bytes of all segments.
    pub bytes: u64,
}

/// The queue over a folder.
#[derive(Debug)]
pub struct Spool<D> {
    disk: D,
    owner: Owner,
    limits: Limits,
    state: State,
    /// The disk refused something: what lies there is unknown until it was read again.
    unknown: bool,
    /// Counts of statements that were not made, in the newest segment; only the last one counts.
    not_made_marks: u32,
}

impl<D: Disk> Spool<D> {
    /// The place for the next statement. Reads the folder again first if the disk had refused something.
    pub fn place(&mut self) -> Result<Place, SpoolError> {
        self.settle_disk()?;
        Ok(Place { sequence: self.state.next, previous: self.state.head })
    }

    /// Takes the next sequence for an envelope. Once this returns `Ok` the statement survives any crash; after an
    /// `Err` it may or may not be there, and [`Spool::place`] tells.
    pub fn put(&mut self, envelope: &Envelope) -> Result<u64, SpoolError> {
        self.settle_disk()?;
        let statement = envelope.open(&self.owner.key)?;
        let previous = self.state.head;
        self.keep(envelope, &statement, previous)
    }

    fn keep(
        &mut self,
        envelope: &Envelope,
        statement: &Statement,
        previous: Digest,
    ) -> Result<u64, SpoolError> {
        let follows = statement.sequence == self.state.next
            && statement.previous == previous
            && statement.instance == self.owner.instance;
        if !follows {
            return Err(SpoolError::Order { expected: self.state.next, found: statement.sequence });
        }
        // A `destroyed` gap drops what it names, and nothing is sent past a loss before it: it must find room.
        let frees = matches!(statement.body, Body::Gap(Gap::Destroyed { .. }));
        if self.room() == Room::Full && !frees {
            return Err(SpoolError::Full);
        }
        let sequence = statement.sequence;
        let hash = envelope.hash();
        if self.active().bytes >= self.limits.segment_bytes_max {
            self.rotate()?;
        }
        let record = Record::Statement { sequence, envelope: envelope.bytes().to_vec() }.encode();
        self.append_active(&record, true, "keep a statement")?;
        let link = Record::Link { sequence, hash }.encode();
        let linked = self.disk.append(CHAIN, &link).and_then(|()| self.disk.sync(CHAIN));
        self.watch(linked, "keep a statement's hash")?;
        self.state.take(statement, envelope.bytes().to_vec(), hash);
        Ok(sequence)
    }

    /// Notes that a statement was not made. Survives a crash if the disk takes it; counts in any case until then.
    pub fn note_not_made(&mut self, minute: u64, reason: proto::GapReason) {
        let mut not_made = self.state.not_made.unwrap_or(NotMade {
            first_minute: minute,
            last_minute: minute,
            count: 0,
            reason,
        });
        // A clock that was set back must not leave any of them outside.
        not_made.first_minute = not_made.first_minute.min(minute);
        not_made.last_minute = not_made.last_minute.max(minute);
        not_made.count = not_made.count.saturating_add(1);
        self.state.not_made = Some(not_made);
        self.append_mark(&Record::NotMade(not_made));
        self.not_made_marks = self.not_made_marks.saturating_add(1);
        // Else a year of counting would take the room of the statement that may be made each day.
        if self.not_made_marks >= NOT_MADE_MARKS_MAX
            && let Err(error) = self.drop_old_counts()
        {
            tracing::warn!(error = %crate::Causes(&error), "Old counts in the spool were not dropped.");
        }
    }

    /// Writes the newest segment anew with the last count alone.
    fn drop_old_counts(&mut self) -> Result<(), SpoolError> {
        if self.unknown {
            return Ok(());
        }
        self.not_made_marks = 0;
        let name = self.active().name();
        let read = self.disk.read(&name);
        let before = self.watch(read, "read its newest segment")?;
        let scan = Scan::of(before.strip_prefix(SEGMENT_MAGIC).unwrap_or(&before));
        if scan.damaged {
            // What is damaged is for the next opening to tell.
            return Ok(());
        }
        let counts = |record: &Record| matches!(record, Record::NotMade(_));
        let mut bytes = SEGMENT_MAGIC.to_vec();
        for record in scan.records.iter().filter(|record| !counts(record)) {
            bytes.extend_from_slice(&record.encode());
        }
        if let Some(not_made) = self.state.not_made {
            bytes.extend_from_slice(&Record::NotMade(not_made).encode());
        }
        let written = self.disk.replace(&name, &bytes);
        self.watch(written, "rewrite its newest segment")?;
        if let Some(active) = self.state.segments.last_mut() {
            active.bytes = bytes.len() as u64;
        }
        Ok(())
    }

    /// Statements not made since the last gap statement.
    pub fn not_made(&self) -> Option<NotMade> {
        self.state.not_made
    }

    /// Keeps what the collector said about a statement. The first answer is kept on disk; a later, other one only
    /// in memory, so that a peer cannot make files grow.
    pub fn mark_stored(&mut self, sequence: u64, receipt: Receipt) {
        let Some(kept) = self.state.kept.get_mut(&sequence) else { return };
        let first = kept.receipt.is_none();
        kept.receipt = Some(receipt);
        if first {
            self.append_mark(&Record::Stored { sequence, receipt });
        }
    }

    /// Gives a statement back once its inclusion was verified: moves it to the history and frees its room. The
    /// caller has verified the proof; a statement without a receipt cannot have one and stays.
    pub fn mark_proved(&mut self, sequence: u64) -> Result<(), SpoolError> {
        let Some(Kept { envelope, receipt: Some(receipt), .. }) = self.state.kept.get(&sequence) else {
            return Ok(());
        };
        let sent = Record::Sent { sequence, receipt: *receipt, envelope: envelope.clone() };
        self.state
            .history
            .add(&mut self.disk, &sent, self.limits.history_bytes_max)
            // A power cut may keep the mark and lose what was written before it.
            .and_then(|()| self.state.history.sync(&mut self.disk))
            .map_err(|source| SpoolError::Disk { what: "add to the history of what was sent", source })?;
        self.state.kept.remove(&sequence);
        self.append_mark(&Record::Proved { sequence });
        self.compact()
    }

    /// Strikes lost sequences below `next_expected` off the list: the collector has them.
    pub fn settle_lost_below(&mut self, next_expected: u64) -> Result<(), SpoolError> {
        let settled: Vec<u64> = self.state.lost.range(..next_expected).copied().collect();
        for sequence in settled {
            self.state.lost.remove(&sequence);
            self.append_mark(&Record::Settled { sequence });
        }
        self.compact()
    }

    /// The gap that must be stated when the collector expects `first`, which this device can no longer send:
    /// everything from there on is destroyed, as later statements chain to what was lost. The second value is the
    /// `previous` of the gap statement.
    pub fn destroyed_from(&self, first: u64) -> Result<(Gap, Digest), SpoolError> {
        let last = self
            .state
            .next
            .checked_sub(1)
            .filter(|last| *last >= first)
            .ok_or(SpoolError::Damaged("nothing is lost there"))?;
        let previous = match first.checked_sub(1) {
            None => {
                return Err(SpoolError::Damaged("the first statement is lost, and nothing can follow it"));
            }
            Some(before) => self.state.hash_of(before),
        };
        let previous =
            previous.ok_or(SpoolError::Damaged("the hash before the first lost statement is unknown"))?;
        Ok((Gap::Destroyed { first, last, reason: proto::GapReason::DiskDamage }, previous))
    }

    /// Takes the next sequence for a `destroyed` gap, whose `previous` is another than the newest hash. Everything
    /// the gap names is dropped.
    pub fn put_destroyed(&mut self, envelope: &Envelope) -> Result<u64, SpoolError> {
        self.settle_disk()?;
        let statement = envelope.open(&self.owner.key)?;
        let Body::Gap(Gap::Destroyed { first, .. }) = statement.body else {
            return Err(SpoolError::Order { expected: self.state.next, found: statement.sequence });
        };
        let (_, previous) = self.destroyed_from(first)?;
        self.keep(envelope, &statement, previous)
    }

    /// How much room there is.
    pub fn room(&self) -> Room {
        let bytes = self.bytes();
        if bytes < self.limits.bytes_max {
            Room::Free
        } else if bytes < self.limits.bytes_max.saturating_add(self.limits.reserve_bytes) {
            Room::Reserve
        } else {
            Room::Full
        }
    }

    /// Bytes of all segments.
    pub fn bytes(&self) -> u64 {
        self.state.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// The sequence the next statement will take.
    pub fn next_sequence(&self) -> u64 {
        self.state.next
    }

    /// The statements that are kept, by sequence.
    pub fn kept(&self) -> &BTreeMap<u64, Kept> {
        &self.state.kept
    }

    /// The newest proved statements.
    pub fn history(&self) -> io::Result<BTreeMap<u64, Sent>> {
        History::read(&self.disk)
    }

    /// Sequences that were made and are not there.
    pub fn lost(&self) -> &BTreeSet<u64> {
        &self.state.lost
    }

    /// The lowest sequence that is neither proved nor settled.
    pub fn lowest(&self) -> u64 {
        self.state.lowest()
    }

    /// The newest anchor of a kept statement: an anchor must never be older than that.
    pub fn newest_anchor(&self) -> Option<Checkpoint> {
        newest_anchor(self.state.kept.values().map(|kept| kept.envelope.as_slice()))
    }

    /// The newest anchor of a statement in the history; none where it cannot be read. Reads all of the history.
    pub fn newest_proved_anchor(&self) -> Option<Checkpoint> {
        let history = self.history().inspect_err(|error| {
            tracing::warn!(%error, "The history of what was sent cannot be read.");
        });
        newest_anchor(history.ok()?.values().map(|sent| sent.envelope.as_slice()))
    }

    fn active(&self) -> Segment {
        self.state.segments.last().cloned().unwrap_or(Segment { number: 0, first: 0, bytes: 0 })
    }

    fn watch<T>(&mut self, result: io::Result<T>, what: &'static str) -> Result<T, SpoolError> {
        result.map_err(|source| {
            self.unknown = true;
            SpoolError::Disk { what, source }
        })
    }

    fn append_active(&mut self, bytes: &[u8], durable: bool, what: &'static str) -> Result<(), SpoolError> {
        let name = self.active().name();
        let result = self.disk.append(&name, bytes);
        let result = if durable { result.and_then(|()| self.disk.sync(&name)) } else { result };
        self.watch(result, what)?;
        if let Some(active) = self.state.segments.last_mut() {
            active.bytes = active.bytes.saturating_add(bytes.len() as u64);
        }
        Ok(())
    }

    /// Appends a mark whose loss costs nothing but being told again.
    fn append_mark(&mut self, record: &Record) {
        // Behind a torn record a mark would not be believed, and the next open reads the folder anyway.
        if !self.unknown
            && let Err(error) = self.append_active(&record.encode(), false, "keep a mark")
        {
            tracing::warn!(error = %crate::Causes(&error), "A mark of the spool was not kept.");
        }
    }

    fn rotate(&mut self) -> Result<(), SpoolError> {
        let segment =
            Segment { number: self.active().number.saturating_add(1), first: self.state.next, bytes: 0 };
        let mut bytes = SEGMENT_MAGIC.to_vec();
        bytes.extend_from_slice(&Record::Base { next: self.state.next, head: self.state.head }.encode());
        if let Some(not_made) = self.state.not_made {
            bytes.extend_from_slice(&Record::NotMade(not_made).encode());
        }
        let result = self.disk.replace(&segment.name(), &bytes);
        self.watch(result, "begin a segment")?;
        self.state.segments.push(Segment { bytes: bytes.len() as u64, ..segment });
        Ok(())
    }

    /// Removes the oldest segments that hold nothing kept or lost, then shortens the chain.
    fn compact(&mut self) -> Result<(), SpoolError> {
        let lowest = self.state.lowest();
        let later = self.state.segments.iter().skip(1);
        let removable = later.take_while(|segment| segment.first <= lowest).count();
        if removable == 0 {
            return Ok(());
        }
        self.state.trim_links();
        let shortened = self.disk.replace(CHAIN, &self.state.chain_file());
        self.watch(shortened, "shorten the chain")?;
        for _ in 0..removable {
            let Some(oldest) = self.state.segments.first().map(Segment::name) else { break };
            let removed = self.disk.remove(&oldest);
            self.watch(removed, "remove a segment")?;
            self.state.segments.remove(0);
        }
        Ok(())
    }
}

fn newest_anchor<'a>(envelopes: impl Iterator<Item = &'a [u8]>) -> Option<Checkpoint> {
    envelopes
        .filter_map(|bytes| Envelope::parse(bytes).ok()?.claimed().ok()?.anchor)
        .map(|anchor| anchor.checkpoint())
        .max_by_key(|anchor| anchor.size)
}

impl State {
    fn lowest(&self) -> u64 {
        let kept = self.kept.keys().next().copied().unwrap_or(self.next);
        let lost = self.lost.first().copied().unwrap_or(self.next);
        kept.min(lost)
    }

    fn hash_of(&self, sequence: u64) -> Option<Digest> {
        if let Some(kept) = self.kept.get(&sequence) {
            return Some(kept.hash);
        }
        if sequence.checked_add(1) == Some(self.next) {
            return Some(self.head);
        }
        // The statement after it names it, but for a gap, which names an earlier one.
        let successor =
            self.kept.get(&sequence.checked_add(1)?).filter(|kept| kept.kind == Kind::ATTESTATION);
        self.links.get(&sequence).copied().or_else(|| {
            let statement = Envelope::parse(&successor?.envelope).ok()?.claimed().ok()?;
            Some(statement.previous)
        })
    }

    /// Everything a statement changes, on the normal path and when a folder is read.
    fn take(&mut self, statement: &Statement, envelope: Vec<u8>, hash: Digest) {
        match statement.body {
            Body::Gap(Gap::Destroyed { first, last, .. }) => {
                self.kept.retain(|sequence, _| !(first..=last).contains(sequence));
                self.lost.retain(|sequence| !(first..=last).contains(sequence));
            }
            Body::Gap(Gap::NotMade { .. }) => self.not_made = None,
            Body::Attestation(_) => {}
        }
        let kind = statement.kind();
        self.kept.insert(statement.sequence, Kept { envelope, kind, hash, receipt: None });
        self.links.insert(statement.sequence, hash);
        self.head = hash;
        self.next = statement.sequence.saturating_add(1);
    }

    /// Forgets hashes that no gap statement can need any more.
    fn trim_links(&mut self) {
        let keep_from = self.lowest().saturating_sub(1);
        self.links.retain(|sequence, _| *sequence >= keep_from);
    }

    fn chain_file(&self) -> Vec<u8> {
        let mut bytes = CHAIN_MAGIC.to_vec();
        let lowest = self.lowest();
        let head = lowest.checked_sub(1).and_then(|before| self.links.get(&before)).copied();
        bytes.extend_from_slice(&Record::Base { next: lowest, head: head.unwrap_or_default() }.encode());
        for (sequence, hash) in &self.links {
            bytes.extend_from_slice(&Record::Link { sequence: *sequence, hash: *hash }.encode());
        }
        bytes
    }
}

#[cfg(test)]
mod tests;
