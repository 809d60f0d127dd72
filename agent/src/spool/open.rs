//! Reading a spool's folder: the one way to start and the one way to recover.

use std::collections::{BTreeMap, BTreeSet};

use evidence::envelope::Envelope;
use evidence::ids::Digest;

use super::record::{Record, Scan};
use super::{
    CHAIN, CHAIN_MAGIC, Contents, History, Kept, Limits, Owner, SEGMENT_MAGIC, Segment, Spool, SpoolError,
    State,
};
use crate::disk::Disk;

/// How often a folder that changes is read before what was read counts.
const INSPECT_TRIES: u32 = 10;
/// Most sequences a folder may span. 16 MiB hold fewer than 80,000 of the smallest statements; more means that a
/// number is wrong.
const SPAN_MAX: u64 = 1_000_000;

fn disk_error(what: &'static str) -> impl Fn(std::io::Error) -> SpoolError {
    move |source| SpoolError::Disk { what, source }
}

/// Numbers of the segments in the folder, ascending.
fn segment_numbers(disk: &impl Disk) -> Result<Vec<u64>, SpoolError> {
    let mut numbers: Vec<u64> = disk
        .list()
        .map_err(disk_error("list its folder"))?
        .iter()
        .filter_map(|name| {
            let digits = name.strip_suffix(".seg")?;
            if digits.len() == 8 { digits.parse().ok() } else { None }
        })
        .collect();
    numbers.sort_unstable();
    Ok(numbers)
}

struct Read {
    state: State,
    /// Statements with a `proved` mark that still lie in a segment.
    proved: BTreeMap<u64, Record>,
    /// The newest segment, written again from what counts in it.
    newest: Vec<u8>,
}

impl<D: Disk> Spool<D> {
    /// Makes the spool of a new instance in an empty folder.
    pub fn create(mut disk: D, owner: Owner, limits: Limits) -> Result<Self, SpoolError> {
        if !segment_numbers(&disk)?.is_empty() {
            return Err(SpoolError::Exists);
        }
        disk.replace(CHAIN, CHAIN_MAGIC).map_err(disk_error("begin the chain"))?;
        let mut bytes = SEGMENT_MAGIC.to_vec();
        bytes.extend_from_slice(&Record::Base { next: 0, head: Digest::ZERO }.encode());
        let segment = Segment { number: 0, first: 0, bytes: bytes.len() as u64 };
        disk.replace(&segment.name(), &bytes).map_err(disk_error("begin a segment"))?;
        Self::open(disk, owner, limits)
    }

    /// Reads a folder, cuts the torn end of a crash, and makes durable whatever counts.
    pub fn open(disk: D, owner: Owner, limits: Limits) -> Result<Self, SpoolError> {
        let read = read(&disk, &owner)?;
        let mut spool = Self { disk, owner, limits, state: read.state, unknown: true, not_made_marks: 0 };
        spool.repair(&read.newest, read.proved)?;
        spool.unknown = false;
        spool.compact()?;
        Ok(spool)
    }

    /// Reads a folder and changes nothing: for `status` and `sent`, also while an agent runs.
    pub fn inspect(disk: &D, owner: &Owner) -> Result<Contents, SpoolError> {
        let mut tries = 0;
        loop {
            // An agent that removes segments writes the chain first: with the same chain before and after, none that
            // still matters went in between. One that is gone after it was listed is an error, and read again.
            let before = disk.read(CHAIN).ok();
            let read = read(disk, owner);
            tries += 1;
            if (read.is_ok() && disk.read(CHAIN).ok() == before) || tries >= INSPECT_TRIES {
                let state = read?.state;
                let bytes = state.segments.iter().map(|segment| segment.bytes).sum();
                let State { kept, lost, next, not_made, .. } = state;
                return Ok(Contents { kept, lost, next, not_made, bytes });
            }
        }
    }

    /// After a refusal of the disk: reads again what is there.
    pub(super) fn settle_disk(&mut self) -> Result<(), SpoolError> {
        if !self.unknown {
            return Ok(());
        }
        let mut read = read(&self.disk, &self.owner)?;
        // Only in memory, as the disk was full or read-only when they were counted.
        let counted = self.state.not_made;
        let stated = read.state.kept.get(&self.state.next).is_some_and(Kept::says_not_made);
        if !stated && counted.map_or(0, |n| n.count) > read.state.not_made.map_or(0, |n| n.count) {
            read.state.not_made = counted;
        }
        for (sequence, kept) in &mut read.state.kept {
            if let Some(old) = self.state.kept.get(sequence).filter(|old| old.hash == kept.hash) {
                kept.receipt = old.receipt.or(kept.receipt);
            }
        }
        self.state = read.state;
        self.repair(&read.newest, read.proved)?;
        self.unknown = false;
        Ok(())
    }

    /// Writes the newest segment and the chain anew: pages that a failed sync marked clean are then on the disk,
    /// and torn ends are gone.
    fn repair(&mut self, newest: &[u8], proved: BTreeMap<u64, Record>) -> Result<(), SpoolError> {
        let mut newest = newest.to_vec();
        if let Some(not_made) = self.state.not_made {
            newest.extend_from_slice(&Record::NotMade(not_made).encode());
        }
        let name = self.active().name();
        self.disk.replace(&name, &newest).map_err(disk_error("rewrite its newest segment"))?;
        if let Some(active) = self.state.segments.last_mut() {
            active.bytes = newest.len() as u64;
        }
        // A power cut can keep a `proved` mark and lose the line of the history that was written before it.
        let known = History::read(&self.disk).map_err(disk_error("read the history"))?;
        for (sequence, sent) in proved {
            if !known.contains_key(&sequence) {
                let added = self.state.history.add(&mut self.disk, &sent, self.limits.history_bytes_max);
                added.map_err(disk_error("complete the history"))?;
            }
        }
        self.state.history.sync(&mut self.disk).map_err(disk_error("make the history durable"))?;
        self.disk.replace(CHAIN, &self.state.chain_file()).map_err(disk_error("rewrite the chain"))
    }
}

/// The chain: its hashes, and the lowest sequence that mattered when it was last written anew.
#[derive(Default)]
struct Links {
    hashes: BTreeMap<u64, Digest>,
    lowest: Option<u64>,
}

fn read_links(disk: &impl Disk) -> Links {
    // An unreadable chain is no reason to stop: the segments say most of it again.
    let bytes = disk.read(CHAIN).unwrap_or_default();
    let mut links = Links::default();
    for record in Scan::of(bytes.strip_prefix(CHAIN_MAGIC).unwrap_or(&bytes)).records {
        match record {
            Record::Base { next, .. } => links.lowest = Some(next),
            Record::Link { sequence, hash } => {
                links.hashes.insert(sequence, hash);
            }
            _ => {}
        }
    }
    links
}

/// Folds all records in order, then accounts for every sequence.
fn read(disk: &impl Disk, owner: &Owner) -> Result<Read, SpoolError> {
    let numbers = segment_numbers(disk)?;
    let links = read_links(disk);
    if numbers.is_empty() && links.hashes.is_empty() {
        return Err(SpoolError::Missing);
    }
    let mut state = State {
        next: 0,
        head: Digest::ZERO,
        kept: BTreeMap::new(),
        lost: BTreeSet::new(),
        links: BTreeMap::new(),
        not_made: None,
        segments: Vec::new(),
        history: History::open(disk).map_err(disk_error("list the history"))?,
    };
    let mut fold = Fold { next: 0, heads: BTreeMap::new(), gone: BTreeSet::new(), proved: BTreeMap::new() };
    let mut newest = Vec::new();
    let mut firsts: Vec<Option<u64>> = Vec::new();
    for number in numbers {
        let mut segment = Segment { number, first: 0, bytes: 0 };
        let bytes = disk.read(&segment.name()).map_err(disk_error("read a segment"))?;
        segment.bytes = bytes.len() as u64;
        let scan = Scan::of(bytes.strip_prefix(SEGMENT_MAGIC).unwrap_or(&bytes));
        if scan.damaged {
            tracing::error!(segment = %segment.name(), "A segment of the spool is damaged.");
        }
        newest = SEGMENT_MAGIC.to_vec();
        let mut first = None;
        for record in scan.records {
            let encoded = record.encode();
            if let Some(sequence) = fold.apply(record, owner, &links.hashes, &mut state) {
                first = Some(first.map_or(sequence, |first: u64| first.min(sequence)));
            } else {
                continue;
            }
            newest.extend_from_slice(&encoded);
        }
        firsts.push(first);
        state.segments.push(segment);
    }
    fold.finish(links, firsts, &mut state)?;
    if state.segments.is_empty() {
        // All segments are gone, the chain is not: what it names is lost, and a new segment begins.
        state.segments.push(Segment { number: 0, first: state.lowest(), bytes: 0 });
        newest = SEGMENT_MAGIC.to_vec();
        newest.extend_from_slice(&Record::Base { next: state.lowest(), head: Digest::ZERO }.encode());
    }
    Ok(Read { state, proved: fold.proved, newest })
}

struct Fold {
    /// One above every sequence met.
    next: u64,
    /// Hashes by the sequence they belong to, from bases.
    heads: BTreeMap<u64, Digest>,
    /// Proved or settled.
    gone: BTreeSet<u64>,
    proved: BTreeMap<u64, Record>,
}

impl Fold {
    /// Applies one record. Returns the lowest sequence the segment holds if the record says so, `u64::MAX` if it
    /// says nothing about that, and `None` if the record does not count.
    fn apply(
        &mut self,
        record: Record,
        owner: &Owner,
        links: &BTreeMap<u64, Digest>,
        state: &mut State,
    ) -> Option<u64> {
        match record {
            Record::Base { next, head } => {
                self.next = self.next.max(next);
                if let Some(before) = next.checked_sub(1) {
                    self.heads.insert(before, head);
                }
                Some(next)
            }
            Record::Statement { sequence, envelope } => {
                let parsed = Envelope::parse(&envelope).ok()?;
                let statement = parsed.open(&owner.key).ok()?;
                let hash = parsed.hash();
                let linked = links.get(&sequence).is_none_or(|link| *link == hash);
                if statement.sequence != sequence || statement.instance != owner.instance || !linked {
                    tracing::error!(sequence, "A record of the spool holds another statement than it says.");
                    return None;
                }
                self.next = self.next.max(sequence.saturating_add(1));
                if let evidence::statement::Body::Gap(evidence::statement::Gap::Destroyed {
                    first,
                    last,
                    ..
                }) = statement.body
                {
                    self.gone.extend(first..=last.min(first.saturating_add(SPAN_MAX)));
                }
                state.take(&statement, envelope, hash);
                Some(sequence)
            }
            Record::Stored { sequence, receipt } => {
                if let Some(kept) = state.kept.get_mut(&sequence) {
                    kept.receipt = Some(receipt);
                }
                Some(u64::MAX)
            }
            Record::Proved { sequence } => {
                if let Some(Kept { envelope, receipt: Some(receipt), .. }) = state.kept.remove(&sequence) {
                    self.proved.insert(sequence, Record::Sent { sequence, receipt, envelope });
                }
                self.gone.insert(sequence);
                Some(u64::MAX)
            }
            Record::Settled { sequence } => {
                self.gone.insert(sequence);
                Some(u64::MAX)
            }
            Record::NotMade(not_made) => {
                state.not_made = Some(not_made);
                None
            }
            Record::Link { .. } | Record::Sent { .. } => None,
        }
    }

    fn finish(
        &mut self,
        links: Links,
        firsts: Vec<Option<u64>>,
        state: &mut State,
    ) -> Result<(), SpoolError> {
        let Links { hashes: links, lowest } = links;
        let linked = links.last_key_value().map_or(0, |(sequence, _)| sequence.saturating_add(1));
        let next = self.next.max(linked).max(lowest.unwrap_or(0));
        // The chain's own word comes first: a whole segment may be missing, which a later base cannot tell from one
        // that was done with.
        let oldest = firsts.first().copied().flatten().filter(|first| *first != u64::MAX);
        let low = lowest.or(oldest).unwrap_or(next);
        state.kept.retain(|sequence, _| *sequence >= low);
        if next.saturating_sub(low) > SPAN_MAX {
            return Err(SpoolError::Damaged("its numbers are too far apart"));
        }
        state.links.extend(links);
        state.lost = (low..next)
            .filter(|sequence| !state.kept.contains_key(sequence) && !self.gone.contains(sequence))
            .collect();
        state.next = next;
        state.head = match next.checked_sub(1) {
            None => Digest::ZERO,
            Some(newest) => state
                .kept
                .get(&newest)
                .map(|kept| kept.hash)
                .or_else(|| state.links.get(&newest).copied())
                .or_else(|| self.heads.get(&newest).copied())
                .ok_or(SpoolError::Damaged("the hash of the newest statement is unknown"))?,
        };
        if let Some(newest) = next.checked_sub(1) {
            state.links.insert(newest, state.head);
        }
        state.trim_links();
        let mut later = next;
        for (segment, first) in state.segments.iter_mut().zip(firsts).rev() {
            later = first.filter(|first| *first != u64::MAX).map_or(later, |first| first.min(later));
            segment.first = later;
        }
        Ok(())
    }
}
