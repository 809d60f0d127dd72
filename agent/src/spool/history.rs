//! The newest proved statements, kept for the person whose machine it is: small files, of which the oldest go when they
//! are out of time or out of room. Nothing here holds more than one of them in memory.

use std::collections::BTreeMap;
use std::io;

use evidence::envelope::Envelope;
use evidence::time::{DAY_MS, Timestamp};

use super::Limits;
use super::record::{Receipt, Record, Scan};
use crate::disk::Disk;

/// First bytes of a history file.
const HISTORY_MAGIC: &[u8] = b"TSH1";
/// So many days a proved statement is kept at least, while there is room: an audited year and the month after it.
pub const HISTORY_DAYS: u64 = 400;
/// So many days lie between the first and the last statement of one file at most, and so many longer than
/// [`HISTORY_DAYS`] a statement is kept at most: a file goes as a whole.
pub const HISTORY_FILE_DAYS: u64 = 30;

/// A statement that was sent and proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// The envelope's bytes.
    pub envelope: Vec<u8>,
    /// Where it is in the log.
    pub receipt: Receipt,
}

#[derive(Debug, Clone, Copy)]
struct File {
    number: u64,
    bytes: u64,
}

/// Which history files there are.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// Ascending; the last one grows.
    files: Vec<File>,
    /// Receipt of the first statement of the last file. None: its end is not known to be whole, and it is read and
    /// written anew before anything is added.
    first: Option<Timestamp>,
    /// Number of the oldest file and receipt of its newest statement, once it was read.
    oldest: Option<(u64, Timestamp)>,
    unsynced: bool,
}

fn name(number: u64) -> String {
    format!("sent-{number:08}.log")
}

fn numbers(disk: &impl Disk) -> io::Result<Vec<u64>> {
    let mut numbers: Vec<u64> = disk
        .list()?
        .iter()
        .filter_map(|name| name.strip_prefix("sent-")?.strip_suffix(".log")?.parse().ok())
        .collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// The statements of one file, in its order; none if a running agent dropped it meanwhile.
fn statements(disk: &impl Disk, number: u64) -> io::Result<Vec<(u64, Sent)>> {
    let bytes = match disk.read(&name(number)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        bytes => bytes?,
    };
    let records = Scan::of(bytes.strip_prefix(HISTORY_MAGIC).unwrap_or_default()).records;
    let sent = records.into_iter().filter_map(|record| match record {
        Record::Sent { sequence, receipt, envelope } => Some((sequence, Sent { envelope, receipt })),
        _ => None,
    });
    Ok(sent.collect())
}

/// When a statement was made, for telling the age of others: by the collector's clock or by the device's, whichever is
/// earlier, so that one clock that runs ahead drops nothing.
fn moment(record: &Record) -> Timestamp {
    let Record::Sent { receipt, envelope, .. } = record else { return Timestamp::default() };
    let claimed = Envelope::parse(envelope).ok().and_then(|envelope| envelope.claimed().ok());
    let wall =
        claimed.and_then(|statement| statement.attestation().map(evidence::statement::Attestation::wall));
    wall.map_or(receipt.received, |wall| wall.min(receipt.received))
}

fn received(record: &Record) -> Option<Timestamp> {
    match record {
        Record::Sent { receipt, .. } => Some(receipt.received),
        _ => None,
    }
}

impl History {
    /// Finds the files. What a process wrote that died since may not be whole and not durable.
    pub(super) fn open(disk: &impl Disk) -> io::Result<Self> {
        let files = numbers(disk)?.into_iter();
        let files: io::Result<Vec<File>> =
            files.map(|number| Ok(File { number, bytes: disk.size(&name(number))? })).collect();
        let files = files?;
        Ok(Self { unsynced: !files.is_empty(), files, first: None, oldest: None })
    }

    pub(super) fn add(&mut self, disk: &mut impl Disk, record: &Record, limits: &Limits) -> io::Result<()> {
        let bytes = record.encode();
        if self.first.is_none() {
            self.mend(disk, limits)?;
        }
        let at = received(record).unwrap_or_default();
        let fits = self.files.last().zip(self.first).is_some_and(|(newest, first)| {
            newest.bytes.saturating_add(bytes.len() as u64) <= limits.history_file_bytes_max
                && at.ms().saturating_sub(first.ms()) <= HISTORY_FILE_DAYS * DAY_MS
        });
        if !fits {
            self.begin(disk, record)?;
        }
        self.drop_oldest(disk, moment(record), limits)?;
        let Some(newest) = self.files.last_mut() else { return Ok(()) };
        let added = disk.append(&name(newest.number), &bytes);
        self.unsynced = true;
        match added {
            Ok(()) => newest.bytes = newest.bytes.saturating_add(bytes.len() as u64),
            Err(_) => self.first = None,
        }
        added
    }

    /// Writes the newest file anew without its torn end, if it can grow at all.
    fn mend(&mut self, disk: &mut impl Disk, limits: &Limits) -> io::Result<()> {
        let Some(newest) = self.files.last_mut() else { return Ok(()) };
        if newest.bytes >= limits.history_file_bytes_max {
            return Ok(());
        }
        let bytes = disk.read(&name(newest.number))?;
        let records = Scan::of(bytes.strip_prefix(HISTORY_MAGIC).unwrap_or_default()).records;
        let mut content = HISTORY_MAGIC.to_vec();
        for record in &records {
            content.extend_from_slice(&record.encode());
        }
        disk.replace(&name(newest.number), &content)?;
        newest.bytes = content.len() as u64;
        self.first = records.iter().filter_map(received).min();
        Ok(())
    }

    /// Begins a file for `record`.
    fn begin(&mut self, disk: &mut impl Disk, record: &Record) -> io::Result<()> {
        // `sync` knows of the newest file only.
        self.sync(disk)?;
        let number = self.files.last().map_or(0, |newest| newest.number.saturating_add(1));
        disk.replace(&name(number), HISTORY_MAGIC)?;
        self.files.push(File { number, bytes: HISTORY_MAGIC.len() as u64 });
        self.first = received(record);
        Ok(())
    }

    /// Drops the oldest files that are out of room, or of which even the newest statement is older than
    /// [`HISTORY_DAYS`]. The newest file stays, and counts as full.
    fn drop_oldest(&mut self, disk: &mut impl Disk, now: Timestamp, limits: &Limits) -> io::Result<()> {
        while let [oldest, rest @ ..] = self.files.as_slice()
            && let [rest @ .., _] = rest
        {
            let number = oldest.number;
            let bytes = rest.iter().map(|file| file.bytes).fold(oldest.bytes, u64::saturating_add);
            let no_room = bytes.saturating_add(limits.history_file_bytes_max) > limits.history_bytes_max;
            let newest = match self.oldest {
                Some((known, newest)) if known == number => newest,
                _ => newest_of(disk, number),
            };
            self.oldest = Some((number, newest));
            if !no_room && newest.ms().saturating_add(HISTORY_DAYS * DAY_MS) >= now.ms() {
                break;
            }
            disk.remove(&name(number))?;
            self.files.remove(0);
        }
        Ok(())
    }

    /// Makes what was added durable: before a mark says so, and before the statements' own files go.
    pub(super) fn sync(&mut self, disk: &mut impl Disk) -> io::Result<()> {
        if self.unsynced
            && let Some(newest) = self.files.last()
        {
            disk.sync(&name(newest.number)).inspect_err(|_| self.first = None)?;
            self.unsynced = false;
        }
        Ok(())
    }

    /// Everything the history holds, by sequence, at once: tens of MiB. Reads only.
    pub fn read(disk: &impl Disk) -> io::Result<BTreeMap<u64, Sent>> {
        let mut all = BTreeMap::new();
        Self::each(disk, |sequence, sent| {
            all.insert(sequence, sent);
        })?;
        Ok(all)
    }

    /// Everything the history holds, oldest file first, one file at a time. A sequence may come twice. Reads only.
    pub fn each(disk: &impl Disk, mut take: impl FnMut(u64, Sent)) -> io::Result<()> {
        for number in numbers(disk)? {
            statements(disk, number)?.into_iter().for_each(|(sequence, sent)| take(sequence, sent));
        }
        Ok(())
    }

    /// One statement, looked for from the newest file back. Reads only.
    pub fn find(disk: &impl Disk, sequence: u64) -> io::Result<Option<Sent>> {
        for number in numbers(disk)?.into_iter().rev() {
            let found = statements(disk, number)?.into_iter().rev().find(|(found, _)| *found == sequence);
            if let Some((_, sent)) = found {
                return Ok(Some(sent));
            }
        }
        Ok(None)
    }

    /// Takes off the list what the history holds. From the newest file back, and no further than needed.
    pub(super) fn strike_off(disk: &impl Disk, list: &mut BTreeMap<u64, Record>) -> io::Result<()> {
        for number in numbers(disk)?.into_iter().rev() {
            if list.is_empty() {
                break;
            }
            for (sequence, _) in statements(disk, number)? {
                list.remove(&sequence);
            }
        }
        Ok(())
    }

    /// A reader by sequence. Reads every file once to know what lies where.
    pub fn reader<D: Disk>(disk: &D) -> io::Result<HistoryReader<'_, D>> {
        let mut places = BTreeMap::new();
        for number in numbers(disk)? {
            places.extend(statements(disk, number)?.into_iter().map(|(sequence, _)| (sequence, number)));
        }
        Ok(HistoryReader { disk, places, open: None })
    }
}

/// Receipt of a file's newest statement. What cannot be read now is never too old.
fn newest_of(disk: &impl Disk, number: u64) -> Timestamp {
    let Ok(statements) = statements(disk, number) else { return Timestamp(u64::MAX) };
    statements.iter().map(|(_, sent)| sent.receipt.received).max().unwrap_or_default()
}

/// The history by sequence, with one file in memory at a time.
#[derive(Debug)]
pub struct HistoryReader<'a, D> {
    disk: &'a D,
    /// The file of each statement.
    places: BTreeMap<u64, u64>,
    /// The file read last.
    open: Option<(u64, BTreeMap<u64, Sent>)>,
}

impl<D: Disk> HistoryReader<'_, D> {
    /// Every sequence there is, ascending.
    pub fn sequences(&self) -> impl Iterator<Item = u64> {
        self.places.keys().copied()
    }

    /// A statement; none if it is not there, or not any more. Fast in the order of sequences.
    pub fn get(&mut self, sequence: u64) -> io::Result<Option<Sent>> {
        let Some(&number) = self.places.get(&sequence) else { return Ok(None) };
        if self.open.as_ref().is_none_or(|(open, _)| *open != number) {
            // The one before goes first: two are never held.
            self.open = None;
            self.open = Some((number, statements(self.disk, number)?.into_iter().collect()));
        }
        Ok(self.open.as_mut().and_then(|(_, statements)| statements.remove(&sequence)))
    }
}

#[cfg(test)]
mod tests;
