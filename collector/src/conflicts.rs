//! Keys that contradicted themselves: which conflict records the log has of which instance.
//!
//! The records are the proof and lie in the log. This is an index over them, in memory and in one small file, since nothing
//! in sled finds a leaf of kind 0.3. The file is written right after its entry is durable; what a crash kept from it is among
//! the newest leaves, which are looked at when it is opened.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use evidence::conflict::Conflict;
use evidence::ids::InstanceId;
use evidence::leaf::Kind;
use serde::{Deserialize, Serialize};

use crate::datadir::replace_file;
use crate::ledger::{Found, Ledger, ReadError};

use self::live::Live;

pub mod live;

/// Conflict records of one instance at most: eight show as much as eight thousand, and each may have 64 KiB.
pub const RECORDS_MAX: usize = 8;
/// Newest leaves that are looked at when the file is opened. Between an entry and the file lies one group of at most 512.
const LEAVES_SCANNED: u64 = 4_096;

/// One conflict record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The sequence that was signed twice.
    pub sequence: u64,
    /// SHA-256 of the second envelope, hex.
    pub second: String,
    /// Index of the record; none while it is being logged.
    pub index: Option<u64>,
}

type Records = BTreeMap<String, Vec<Record>>;

/// Which records there are.
#[derive(Debug, Default)]
pub struct Conflicts {
    path: Option<PathBuf>,
    records: Mutex<Records>,
    live: Live,
}

impl Conflicts {
    /// The index kept at `path`, brought level with the newest leaves of the log.
    pub fn open(path: PathBuf, ledger: &Ledger) -> Result<Self, ReadError> {
        let kept = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| error.to_string()),
            // A log made before there was such a list, or one that was restored.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err("there is none".to_owned()),
            Err(error) => Err(error.to_string()),
        };
        let is_kept = kept.is_ok();
        let size = ledger.size();
        let (records, scan) = match kept {
            Ok(records) => (records, LEAVES_SCANNED),
            Err(error) => {
                if size > LEAVES_SCANNED {
                    tracing::warn!(
                        error,
                        "The list of conflicts cannot be read: the whole log is looked through."
                    );
                }
                (Records::new(), u64::MAX)
            }
        };
        let mut records = records;
        // What was being logged when the list was written is among the newest leaves, or was not logged.
        for of in records.values_mut() {
            of.retain(|known: &Record| known.index.is_some());
        }
        let before: usize = records.values().map(Vec::len).sum();
        // Nothing is written before all is read: half a list would look like a whole one.
        let mut conflicts = Self { path: None, records: Mutex::new(records), live: Live::default() };
        for index in size.saturating_sub(scan)..size {
            if ledger.leaf(index)?.kind == Kind::CONFLICT
                && let Found::Entry(entry) = ledger.find(index)?
                && let Ok(conflict) = Conflict::parse(&entry.payload)
            {
                conflicts.reserve(&conflict);
                conflicts.logged(&conflict, index);
            }
        }
        conflicts.path = Some(path);
        if !is_kept || conflicts.count() > before {
            conflicts.write(&conflicts.records.lock().unwrap_or_else(PoisonError::into_inner));
        }
        Ok(conflicts)
    }

    /// Who speaks where now.
    pub fn live(&self) -> &Live {
        &self.live
    }

    /// Takes a place for a record. False if there is one of this second envelope, or enough of this instance.
    pub fn reserve(&self, conflict: &Conflict) -> bool {
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        let of = records.entry(conflict.instance.to_string()).or_default();
        let second = conflict.second.hex();
        let known = of.iter().any(|known| known.sequence == conflict.sequence && known.second == second);
        if known || of.len() >= RECORDS_MAX {
            return false;
        }
        of.push(Record { sequence: conflict.sequence, second, index: None });
        true
    }

    /// The record is durable at `index`.
    pub fn logged(&self, conflict: &Conflict, index: u64) {
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        let second = conflict.second.hex();
        let of = records.entry(conflict.instance.to_string()).or_default();
        for known in of.iter_mut().filter(|known| known.second == second) {
            known.index.get_or_insert(index);
        }
        self.write(&records);
    }

    fn write(&self, records: &Records) {
        let Some(path) = &self.path else { return };
        let kept = serde_json::to_vec(records).map_err(std::io::Error::from);
        if let Err(error) = kept.and_then(|bytes| replace_file(path, &bytes)) {
            // The entries stand; the next start finds them.
            tracing::error!(%error, "The list of conflicts could not be written.");
        }
    }

    /// The record could not be logged: it may be tried again.
    pub fn not_logged(&self, conflict: &Conflict) {
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        let second = conflict.second.hex();
        if let Some(of) = records.get_mut(&conflict.instance.to_string()) {
            of.retain(|known| known.index.is_some() || known.second != second);
        }
    }

    /// Index of the newest record of an instance.
    pub fn newest(&self, instance: &InstanceId) -> Option<u64> {
        let records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        if records.is_empty() {
            return None;
        }
        records.get(&instance.to_string())?.iter().filter_map(|known| known.index).max()
    }

    /// Every instance with its records.
    pub fn all(&self) -> Vec<(InstanceId, Vec<Record>)> {
        let records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        records.iter().filter_map(|(id, of)| Some((id.parse().ok()?, of.clone()))).collect()
    }

    /// How many records there are.
    pub fn count(&self) -> usize {
        let records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        records.values().map(Vec::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use evidence::conflict::Conflict;
    use evidence::ids::{Digest, InstanceId};

    use super::{Conflicts, RECORDS_MAX};

    fn conflict(sequence: u64, second: u8) -> Conflict {
        Conflict::new(InstanceId::from_bytes([1; 16]), sequence, 0, Digest::ZERO, vec![second])
    }

    #[test]
    fn each_second_envelope_once_and_only_so_many() {
        let conflicts = Conflicts::default();
        let instance = InstanceId::from_bytes([1; 16]);
        assert!(conflicts.reserve(&conflict(4, 1)));
        assert_eq!(conflicts.newest(&instance), None, "it is not logged yet");
        assert!(!conflicts.reserve(&conflict(4, 1)));
        conflicts.not_logged(&conflict(4, 1));
        assert!(conflicts.reserve(&conflict(4, 1)));
        conflicts.logged(&conflict(4, 1), 17);
        conflicts.not_logged(&conflict(4, 1));
        assert_eq!(conflicts.newest(&instance), Some(17));
        for second in 2..100 {
            if conflicts.reserve(&conflict(5, second)) {
                conflicts.logged(&conflict(5, second), 20 + u64::from(second));
            }
        }
        assert_eq!(conflicts.count(), RECORDS_MAX);
        assert_eq!(conflicts.newest(&InstanceId::from_bytes([2; 16])), None);
    }
}
