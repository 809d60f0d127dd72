//! The book: a fold over the log, so that whoever replays the entries comes to the same one.

use std::collections::{BTreeMap, VecDeque};

use evidence::acts::{AccessSummary, Body};
use evidence::authority::{Authority, AuthorityError, is_gated};
use evidence::erasure::Scope;
use evidence::ids::DeviceId;
use evidence::leaf::Stream;
use evidence::time::DAY_MS;

use crate::ledger::{ErasedEntry, Found, Ledger, ReadError};
use crate::sequencer::Committed;

/// Days of access summaries kept at hand: a year under audit and a month. Older ones are in the log.
pub const ACCESS_DAYS_KEPT: u64 = 400;

/// What people did, as of the newest committed entry. The devices' statements are read from the ledger.
#[derive(Debug, Clone)]
pub struct Book {
    /// Who may do what.
    pub authority: Authority,
    /// The access summaries of the last [`ACCESS_DAYS_KEPT`] days, by entry.
    pub access: VecDeque<(u64, AccessSummary)>,
    /// Index of the newest entry by which a person decided what a device is: a merge or a split that names it.
    decided: BTreeMap<DeviceId, u64>,
}

impl Book {
    /// The book of an empty log.
    pub fn new(origin: &str) -> Self {
        Self { authority: Authority::new(origin), access: VecDeque::new(), decided: BTreeMap::new() }
    }

    /// Takes a committed entry.
    pub fn take(&mut self, entry: &Committed) -> Result<(), AuthorityError> {
        let Committed { index, leaf, payload, .. } = entry;
        if is_gated(leaf.kind) {
            let act = self.authority.admit(*index, leaf.received, leaf.kind, payload)?;
            match act.body {
                Body::AccessSummary(summary) => {
                    self.access.push_back((*index, summary));
                    let oldest = leaf.received.0.saturating_sub(ACCESS_DAYS_KEPT * DAY_MS);
                    while self.access.front().is_some_and(|(_, old)| old.day.start_utc().0 < oldest) {
                        self.access.pop_front();
                    }
                }
                Body::Merge(pair) | Body::Split(pair) => {
                    self.decided.insert(pair.device, *index);
                    self.decided.insert(pair.other, *index);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Index of the newest entry by which a person decided what a device is.
    pub fn decided(&self, device: &DeviceId) -> Option<u64> {
        self.decided.get(device).copied()
    }

    /// The book of everything the ledger holds. `progress` is told how many entries were read.
    pub fn replay(origin: &str, ledger: &Ledger, mut progress: impl FnMut(u64)) -> Result<Self, ReplayError> {
        let mut book = Self::new(origin);
        let mut indexes = Vec::new();
        for stream in Stream::CHAINED {
            let mut from = 0;
            loop {
                let page = ledger.stream(stream, from)?;
                let Some((last, _)) = page.last() else { break };
                from = last.saturating_add(1);
                indexes.extend(page.iter().map(|(_, index)| *index));
            }
        }
        indexes.sort_unstable();
        for (read, index) in (1_u64..).zip(indexes) {
            progress(read);
            if !is_gated(ledger.leaf(index)?.kind) {
                continue;
            }
            let entry = match ledger.find(index)? {
                Found::Entry(entry) => entry,
                Found::Erased(ErasedEntry { tombstone, .. }) => {
                    return Err(ReplayError::Erased { index, tombstone });
                }
            };
            let committed = Committed { index, leaf: entry.leaf, salt: entry.salt, payload: entry.payload };
            book.take(&committed).map_err(|error| ReplayError::Entry { index, error: Box::new(error) })?;
        }
        // Whoever can write the file of keys must not be able to say that the log had them erased.
        for (scope, tombstone) in ledger.data_keys().scopes() {
            if let Some(tombstone) = tombstone
                && book.authority.erasures().of(&scope) != Some(tombstone)
            {
                return Err(ReplayError::Unnamed(scope, tombstone));
            }
        }
        Ok(book)
    }
}

/// Why the book could not be rebuilt from the log.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// An entry that nothing may erase is gone.
    #[error(
        "entry {index} is erased by entry {tombstone}, and its stream is never erased: restore `data-keys/keys`"
    )]
    Erased {
        /// Its index.
        index: u64,
        /// Index of the tombstone.
        tombstone: u64,
    },
    /// A scope without its key and without a tombstone in the log.
    #[error("{0}: its key was erased by entry {1}, which is no tombstone for it. Restore `data-keys/keys`")]
    Unnamed(Scope, u64),
    /// An entry could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// An entry that should never have been admitted.
    #[error("entry {index} does not fit the log before it: {error}. Run `tallystick-collector fsck`")]
    Entry {
        /// Its index.
        index: u64,
        /// Why.
        error: Box<AuthorityError>,
    },
}
