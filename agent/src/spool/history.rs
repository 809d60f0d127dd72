//! The newest proved statements, kept for the person whose machine it is: two files, the older one dropped when
//! the newer one is full.

use std::collections::BTreeMap;
use std::io;

use super::record::{Receipt, Record, Scan};
use crate::disk::Disk;

/// First bytes of a history file.
const HISTORY_MAGIC: &[u8] = b"TSH1";
/// Files kept: the one that grows and the one before.
const HISTORY_FILES: usize = 2;

/// A statement that was sent and proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// The envelope's bytes.
    pub envelope: Vec<u8>,
    /// Where it is in the log.
    pub receipt: Receipt,
}

/// Which history files there are.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// Ascending; the last one grows.
    files: Vec<u64>,
    bytes: u64,
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

impl History {
    /// Finds the files. The next addition begins a new one, as the end of the newest may be torn.
    /// What a process wrote that died since may not be durable either.
    pub(super) fn open(disk: &impl Disk) -> io::Result<Self> {
        let files = numbers(disk)?;
        Ok(Self { unsynced: !files.is_empty(), files, bytes: u64::MAX })
    }

    pub(super) fn add(&mut self, disk: &mut impl Disk, record: &Record, bytes_max: u64) -> io::Result<()> {
        let bytes = record.encode();
        let full = self.bytes.saturating_add(bytes.len() as u64) > bytes_max / HISTORY_FILES as u64;
        if full || self.files.is_empty() {
            self.begin(disk, bytes_max)?;
        }
        let newest = self.files.last().copied().unwrap_or_default();
        let added = disk.append(&name(newest), &bytes);
        self.unsynced = true;
        if added.is_err() {
            // The end may be torn: nothing more goes into this file.
            self.bytes = u64::MAX;
        } else {
            self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        }
        added
    }

    /// Begins a file: with what the newest one holds if that leaves room, so that restarts do not shorten history.
    fn begin(&mut self, disk: &mut impl Disk, bytes_max: u64) -> io::Result<()> {
        // `sync` knows of the newest file only.
        self.sync(disk)?;
        let mut content = HISTORY_MAGIC.to_vec();
        let newest = self.files.last().copied();
        let mut merged = None;
        if let Some(newest) = newest.filter(|_| self.bytes == u64::MAX) {
            let bytes = disk.read(&name(newest))?;
            let records = Scan::of(bytes.strip_prefix(HISTORY_MAGIC).unwrap_or_default()).records;
            let old: Vec<u8> = records.iter().flat_map(Record::encode).collect();
            if (old.len() as u64) < bytes_max / HISTORY_FILES as u64 / 2 {
                content.extend_from_slice(&old);
                merged = Some(newest);
            }
        }
        let number = newest.map_or(0, |newest| newest.saturating_add(1));
        disk.replace(&name(number), &content)?;
        self.files.push(number);
        self.bytes = content.len() as u64;
        if let Some(merged) = merged {
            disk.remove(&name(merged))?;
            self.files.retain(|file| *file != merged);
        }
        while self.files.len() > HISTORY_FILES {
            disk.remove(&name(self.files.remove(0)))?;
        }
        Ok(())
    }

    /// Makes what was added durable: before a mark says so, and before the statements' own files go.
    pub(super) fn sync(&mut self, disk: &mut impl Disk) -> io::Result<()> {
        if self.unsynced
            && let Some(newest) = self.files.last()
        {
            disk.sync(&name(*newest))?;
            self.unsynced = false;
        }
        Ok(())
    }

    /// Everything the history holds, by sequence. Reads only.
    pub fn read(disk: &impl Disk) -> io::Result<BTreeMap<u64, Sent>> {
        let mut all = BTreeMap::new();
        for number in numbers(disk)? {
            let bytes = disk.read(&name(number))?;
            for record in Scan::of(bytes.strip_prefix(HISTORY_MAGIC).unwrap_or_default()).records {
                if let Record::Sent { sequence, receipt, envelope } = record {
                    all.insert(sequence, Sent { envelope, receipt });
                }
            }
        }
        Ok(all)
    }
}
