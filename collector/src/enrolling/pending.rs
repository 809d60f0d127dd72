//! Newcomers that wait for a person. Nothing of them is in the log: a list in memory and in one small file.
//!
//! Whoever is on it has shown a good token and both keys. An approval names the request, which is a hash of token and keys,
//! so the list only tells people what to look at: losing it approves nobody, and the device asks again.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use evidence::ids::Digest;
use evidence::time::{DAY_MS, Timestamp};
use serde::{Deserialize, Serialize};

use crate::datadir::replace_file;

/// Newcomers on the list at most: beyond it the one that was silent longest goes. 1,000 lines are more than a person reads.
pub const PENDING_MAX: usize = 1_000;
/// A newcomer that did not ask again for so long is forgotten, milliseconds: a device that waits asks every hour.
pub const PENDING_MS_MAX: u64 = 14 * DAY_MS;
/// What is written again only after so long, milliseconds: a device that asks again changes one time, and each write syncs.
const REWRITE_MS: u64 = 60_000;
/// Longest text kept of what a newcomer says, in characters.
const TEXT_CHARACTERS_MAX: usize = 256;

/// Why a newcomer waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// Its token lets nobody in by itself.
    Approval,
    /// Its serial number is not on the token's list, or was used.
    Serial,
    /// A device in service has its hardware.
    KnownHardware,
}

impl Why {
    /// The word for people and machines.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Approval => "approval",
            Self::Serial => "serial",
            Self::KnownHardware => "known-hardware",
        }
    }
}

/// A newcomer that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Waiting {
    /// Why.
    pub why: Why,
    /// Class its token gives.
    pub class: String,
    /// Group its token gives.
    pub group: String,
    /// Where it spoke from.
    pub address: String,
    /// What it calls itself.
    pub host_name: String,
    /// Its serial number, as it says; empty: none.
    pub serial: String,
    /// When it asked first.
    pub first_ms: u64,
    /// When it asked last.
    pub last_ms: u64,
    /// Devices in service that tell the same hardware.
    pub like: Vec<String>,
}

/// The list.
#[derive(Debug)]
pub struct PendingList {
    path: PathBuf,
    waiting: Mutex<BTreeMap<String, Waiting>>,
}

impl PendingList {
    /// The list kept at `path`. One that cannot be read is begun anew: devices ask again.
    pub fn open(path: PathBuf) -> Self {
        let waiting = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|error| {
                tracing::warn!(%error, "The list of enrolments that wait cannot be read; it begins anew.");
                BTreeMap::new()
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => {
                tracing::warn!(%error, "The list of enrolments that wait cannot be read; it begins anew.");
                BTreeMap::new()
            }
        };
        Self { path, waiting: Mutex::new(waiting) }
    }

    /// Everybody who waits at `now`, by request.
    pub fn rows(&self, now: Timestamp) -> Vec<(Digest, Waiting)> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|_, row| now.0.saturating_sub(row.last_ms) < PENDING_MS_MAX);
        waiting
            .iter()
            .filter_map(|(request, row)| Some((Digest::from_hex(request).ok()?, row.clone())))
            .collect()
    }

    /// Puts a newcomer on the list, or notes that it asked again. Whether it is new there.
    pub fn put(&self, request: &Digest, mut row: Waiting) -> std::io::Result<bool> {
        for text in [&mut row.host_name, &mut row.serial] {
            *text = text.chars().filter(|c| !c.is_control()).take(TEXT_CHARACTERS_MAX).collect();
        }
        let now = row.last_ms;
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|_, row| now.saturating_sub(row.last_ms) < PENDING_MS_MAX);
        let key = request.hex();
        let before = waiting.get(&key);
        let written = before.is_some_and(|before| {
            now.saturating_sub(before.last_ms) < REWRITE_MS
                && before.why == row.why
                && before.like == row.like
        });
        row.first_ms = before.map_or(row.first_ms, |before| before.first_ms);
        let is_new = before.is_none();
        if written {
            return Ok(false);
        }
        if is_new && waiting.len() >= PENDING_MAX {
            let oldest = waiting.iter().min_by_key(|(_, row)| row.last_ms).map(|(key, _)| key.clone());
            if let Some(oldest) = oldest {
                waiting.remove(&oldest);
            }
        }
        waiting.insert(key, row);
        self.write(&waiting).map(|()| is_new)
    }

    /// Takes a newcomer off: it is enrolled.
    pub fn remove(&self, request: &Digest) -> std::io::Result<()> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.remove(&request.hex()).is_some() { self.write(&waiting) } else { Ok(()) }
    }

    fn write(&self, waiting: &BTreeMap<String, Waiting>) -> std::io::Result<()> {
        replace_file(&self.path, &serde_json::to_vec(waiting)?)
    }
}

#[cfg(test)]
mod tests {
    use evidence::ids::Digest;
    use evidence::time::Timestamp;

    use super::{PENDING_MAX, PENDING_MS_MAX, PendingList, Waiting, Why};

    fn row(at: u64) -> Waiting {
        Waiting {
            why: Why::Serial,
            class: "laptop".into(),
            group: "staff".into(),
            address: "192.0.2.1".into(),
            host_name: "host\u{1b}[31m".into(),
            serial: String::new(),
            first_ms: at,
            last_ms: at,
            like: Vec::new(),
        }
    }

    fn request(number: usize) -> Digest {
        Digest::of(&number.to_be_bytes())
    }

    #[test]
    fn the_list_outlives_the_process_is_bounded_and_forgets() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pending.json");
        let list = PendingList::open(path.clone());
        assert!(list.put(&request(0), row(10)).unwrap());
        assert!(!list.put(&request(0), row(100_000)).unwrap());
        let kept = PendingList::open(path.clone()).rows(Timestamp(100_000));
        assert_eq!(kept.len(), 1);
        assert_eq!((kept[0].1.first_ms, kept[0].1.last_ms), (10, 100_000));
        assert_eq!(kept[0].1.host_name, "host[31m", "no control characters reach a terminal");
        for number in 1..=PENDING_MAX {
            list.put(&request(number), row(100_000 + number as u64)).unwrap();
        }
        let rows = list.rows(Timestamp(200_000));
        assert_eq!(rows.len(), PENDING_MAX);
        assert!(rows.iter().all(|(kept, _)| *kept != request(0)), "who was silent longest goes first");
        list.remove(&request(5)).unwrap();
        assert_eq!(PendingList::open(path.clone()).rows(Timestamp(200_000)).len(), PENDING_MAX - 1);
        assert!(list.rows(Timestamp(200_000 + PENDING_MS_MAX)).is_empty());
        std::fs::write(&path, b"no list").unwrap();
        assert!(PendingList::open(path).rows(Timestamp(0)).is_empty());
    }
}
