//! The log in sled: leaves, payload records, tree tiles, device instances and stream heads as rows of one ordered map per
//! epoch.
//!
//! Every row is a pure function of the journal (see [`crate::row_maker`]), so a lost or damaged store is rebuilt and never
//! trusted over it. [`sled`] keeps the rows on disk and [`memory`] keeps them in memory; both pass the same tests.

use std::path::PathBuf;

pub mod memory;
pub mod rows;
pub mod runs;
pub mod sled;
#[cfg(test)]
mod tests;
pub mod written;

/// Longest value, bytes: sled moves nodes with larger ones to `blobs/` files that it never syncs.
pub const VALUE_BYTES_MAX: usize = 4096;

/// A key and its value.
pub type Row = (Vec<u8>, Vec<u8>);

/// Why the store could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has it open. It exists and is in use: nothing may be made or moved.
    #[error("the index {path} is in use by another process")]
    Locked {
        /// The store's folder.
        path: PathBuf,
    },
    /// Its files or rows are damaged, so it is of no use; the journal can rebuild it.
    #[error("the index is damaged: {what}")]
    Damaged {
        /// What was found.
        what: String,
    },
    /// The system refused, for instance because the disk is full. The store may be sound.
    #[error("the index could not be used: {what}")]
    System {
        /// The system's answer.
        what: String,
    },
    /// A value longer than [`VALUE_BYTES_MAX`].
    #[error("an index value of {0} bytes is too long")]
    ValueTooLong(usize),
}

/// An ordered map with atomic batches. Used by one writer and any number of readers.
pub trait Store: Send + Sync + 'static {
    /// The value of a key.
    fn value(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Rows with `from` ≤ key < `to`, ascending, at most `limit`.
    fn range(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Row>, StoreError>;

    /// The last row with `from` ≤ key < `to`.
    fn last(&self, from: &[u8], to: &[u8]) -> Result<Option<Row>, StoreError>;

    /// Writes all rows or none; readers see them at once. Not durable before [`Store::sync`].
    fn apply(&self, rows: &[Row]) -> Result<(), StoreError>;

    /// Makes everything applied so far durable.
    fn sync(&self) -> Result<(), StoreError>;
}

pub(crate) fn check_values(rows: &[Row]) -> Result<(), StoreError> {
    let too_long = rows.iter().map(|(_, value)| value.len()).find(|bytes| *bytes > VALUE_BYTES_MAX);
    too_long.map_or(Ok(()), |bytes| Err(StoreError::ValueTooLong(bytes)))
}
