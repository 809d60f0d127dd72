//! How much was written to sled by this process: what its files are compared with, since sled gives little room back.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Row;

static BYTES: AtomicU64 = AtomicU64::new(0);

/// Counts rows that are written.
pub(super) fn count(rows: &[Row]) {
    let bytes: usize = rows.iter().map(|(key, value)| key.len() + value.len()).sum();
    BYTES.fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
}

/// Bytes of keys and values put so far, rows that replace others included.
pub fn bytes() -> u64 {
    BYTES.load(Ordering::Relaxed)
}
