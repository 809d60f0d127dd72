//! Rows in sled 0.34.7: one tree, one batch per commit.
//!
//! sled's `flush()` writes but never fsyncs on Linux, so [`SledStore`] syncs sled's `db` file through a handle of its
//! own after each flush; values stay short, so that nothing goes to `blobs/`, which sled never syncs. sled may panic on
//! damaged files: every call is caught and becomes [`StoreError::Damaged`].

use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{Row, Store, StoreError, check_values};

/// Memory for the page cache of the epoch being written, bytes: sled's own default is 1 GiB.
pub const CACHE_BYTES_WRITTEN: u64 = 64 * 1024 * 1024;
/// Memory for the page cache of a sealed epoch, bytes: several are open at once.
pub const CACHE_BYTES_SEALED: u64 = 8 * 1024 * 1024;
/// What sled says when another process holds its file.
const LOCK_MESSAGE: &str = "could not acquire lock";
/// How long a held lock is waited for: sled's threads, and the kernel after a kill, let it go a moment after their
/// owner is gone. Whoever opens the store has the data directory's own lock, so nobody else will keep it.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);
/// Between two tries for the lock.
const LOCK_RETRY_EVERY: Duration = Duration::from_millis(20);

/// A sled database at a path.
pub struct SledStore {
    path: PathBuf,
    tree: ::sled::Db,
    file: File,
}

impl SledStore {
    /// Opens the store at `path`, making it if there is none: the caller knows whether there must be one.
    pub fn open(path: &Path, cache_bytes: u64) -> Result<Self, StoreError> {
        let tree = open_patiently(path, cache_bytes)?;
        let system = |source: io::Error| StoreError::System { what: format!("{}: {source}", path.display()) };
        let file = File::open(path.join("db")).map_err(system)?;
        let store = Self { path: path.to_owned(), tree, file };
        store.sync()?;
        for folder in [Some(path), path.parent()].into_iter().flatten() {
            File::open(folder).and_then(|folder| folder.sync_all()).map_err(system)?;
        }
        store.refuse_blobs()?;
        Ok(store)
    }

    /// sled would lose these in a power cut; the limit on values keeps them from being made.
    fn refuse_blobs(&self) -> Result<(), StoreError> {
        let blobs = self.path.join("blobs");
        let first = match std::fs::read_dir(&blobs) {
            Ok(mut found) => found.next(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(StoreError::System { what: format!("{}: {error}", blobs.display()) }),
        };
        match first {
            None => Ok(()),
            Some(_) => Err(StoreError::Damaged { what: format!("{} is not empty", blobs.display()) }),
        }
    }
}

impl Store for SledStore {
    fn value(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        // An IVec may share a larger buffer: what is kept is copied.
        guarded(&self.path, || Ok(self.tree.get(key)?.map(|value| value.to_vec())))
    }

    fn range(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Row>, StoreError> {
        if from >= to {
            return Ok(Vec::new());
        }
        guarded(&self.path, || {
            let rows = self.tree.range(from..to).take(limit);
            rows.map(|row| row.map(|(key, value)| (key.to_vec(), value.to_vec()))).collect()
        })
    }

    fn last(&self, from: &[u8], to: &[u8]) -> Result<Option<Row>, StoreError> {
        if from >= to {
            return Ok(None);
        }
        guarded(&self.path, || {
            let row = self.tree.range(from..to).next_back().transpose()?;
            Ok(row.map(|(key, value)| (key.to_vec(), value.to_vec())))
        })
    }

    fn apply(&self, rows: &[Row]) -> Result<(), StoreError> {
        check_values(rows)?;
        super::written::count(rows);
        let mut batch = ::sled::Batch::default();
        for (key, value) in rows {
            batch.insert(key.as_slice(), value.as_slice());
        }
        guarded(&self.path, || self.tree.apply_batch(batch))
    }

    fn sync(&self) -> Result<(), StoreError> {
        guarded(&self.path, || self.tree.flush())?;
        self.file.sync_data().map_err(|source| StoreError::System { what: source.to_string() })
    }
}

fn open_patiently(path: &Path, cache_bytes: u64) -> Result<::sled::Db, StoreError> {
    let config = ::sled::Config::new()
        .path(path)
        .cache_capacity(cache_bytes)
        .flush_every_ms(None)
        .use_compression(false);
    let begun = Instant::now();
    loop {
        match guarded(path, || config.open()) {
            Err(StoreError::Locked { .. }) if begun.elapsed() < LOCK_PATIENCE => {
                std::thread::sleep(LOCK_RETRY_EVERY);
            }
            opened => return opened,
        }
    }
}

/// Runs a call into sled; a panic or a report of damage becomes [`StoreError::Damaged`].
fn guarded<T>(path: &Path, call: impl FnOnce() -> ::sled::Result<T>) -> Result<T, StoreError> {
    let damaged = |what: String| StoreError::Damaged { what: format!("{}: {what}", path.display()) };
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(::sled::Error::Io(error))) => Err(match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => damaged(error.to_string()),
            _ if error.to_string().contains(LOCK_MESSAGE) => StoreError::Locked { path: path.to_owned() },
            _ => StoreError::System { what: format!("{}: {error}", path.display()) },
        }),
        Ok(Err(error)) => Err(damaged(error.to_string())),
        Err(_) => Err(damaged("sled panicked on it".to_owned())),
    }
}
