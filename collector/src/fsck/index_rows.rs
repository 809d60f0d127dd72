//! The rows an index must hold, and how a store differs from them.

use std::collections::BTreeMap;

use evidence::note::Checkpoint;

use crate::journal::Position;
use crate::store::rows::{self, CheckpointRow, Head};
use crate::store::{Row, Store, StoreError};

/// Rows read from the store at once.
const PAGE_ROWS: usize = 4096;
/// Differences described at most.
const DIFFERENCES_MAX: usize = 100;

/// Every row that the journal implies, by key. The values are kept as hashes of 32 bytes or less.
#[derive(Default)]
pub(super) struct Expected {
    rows: BTreeMap<Vec<u8>, Value>,
    head: Option<Head>,
}

/// A short value itself, or the SHA-256 of a longer one, so that memory stays in proportion.
#[derive(PartialEq, Eq)]
enum Value {
    Short(Vec<u8>),
    Hash([u8; 32]),
}

impl Value {
    fn of(value: &[u8]) -> Self {
        if value.len() <= 32 {
            Self::Short(value.to_vec())
        } else {
            Self::Hash(evidence::ids::Digest::of(value).0)
        }
    }
}

/// How a store differs.
pub(super) enum Compared {
    /// It was left before the end of the journal, so its rows are those of an earlier moment.
    Behind,
    /// Every row was read.
    Rows {
        /// Rows compared.
        rows: u64,
        /// Differences, for people.
        faults: Vec<String>,
    },
}

#[derive(Default)]
struct Found {
    rows: u64,
    faults: Vec<String>,
}

impl Expected {
    pub(super) fn take(&mut self, rows: Vec<Row>) {
        for (key, value) in rows {
            if key == rows::HEAD_KEY {
                self.head = Head::parse(&value);
            } else {
                self.rows.insert(key, Value::of(&value));
            }
        }
    }

    pub(super) fn checkpoint(&mut self, checkpoint: &Checkpoint, at: Position, note: &[u8]) {
        let note = String::from_utf8_lossy(note).into_owned();
        let row = CheckpointRow { size: checkpoint.size, root: checkpoint.root, at, note };
        if let Some((key, value)) = row.row() {
            self.rows.insert(key, Value::of(&value));
        }
    }

    /// Reads the whole store and lists what is missing, other or too much. `end` is where the journal goes on.
    pub(super) fn compare(mut self, store: &dyn Store, end: Position) -> Result<Compared, StoreError> {
        let mut found = Found::default();
        let head = store.value(rows::HEAD_KEY)?.and_then(|value| Head::parse(&value));
        // An empty store was being made when the process ended.
        let is_empty = head.is_none() && store.range(&[], &[0xFF], 1)?.is_empty();
        if is_empty || head.is_some_and(|head| head.next < end) {
            return Ok(Compared::Behind);
        }
        self.compare_head(head, &mut found);
        let mut from = Vec::new();
        loop {
            let page = store.range(&from, &[0xFF], PAGE_ROWS)?;
            let Some((last, _)) = page.last() else { break };
            from.clone_from(last);
            from.push(0);
            for (key, value) in &page {
                found.rows += 1;
                if key == rows::HEAD_KEY {
                    continue;
                }
                match self.rows.remove(key) {
                    Some(expected) if expected == Value::of(value) => {}
                    Some(_) => found.push(format!("row {} has another value", name(key))),
                    None => found.push(format!("row {} does not follow from the journal", name(key))),
                }
            }
        }
        for key in self.rows.keys() {
            found.push(format!("row {} is missing", name(key)));
        }
        let Found { rows, faults } = found;
        Ok(Compared::Rows { rows, faults })
    }

    fn compare_head(&self, head: Option<Head>, found: &mut Found) {
        let Some(head) = head else {
            return found.push("its head is missing or has no form".to_owned());
        };
        let same = self.head.is_some_and(|expected| {
            (expected.size, expected.root, expected.received) == (head.size, head.root, head.received)
        });
        if !same {
            found.push("its head states another size, root or time than the journal".to_owned());
        }
    }
}

impl Found {
    fn push(&mut self, what: String) {
        if self.faults.len() < DIFFERENCES_MAX {
            self.faults.push(what);
        }
    }
}

/// A key for people: its letter and the rest in hex.
fn name(key: &[u8]) -> String {
    let (letter, rest) = key.split_first().map_or((b'?', [].as_slice()), |(letter, rest)| (*letter, rest));
    format!("{}/{}", char::from(letter), data_encoding::HEXLOWER.encode(rest))
}
