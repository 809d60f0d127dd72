//! Rows in memory: for simulations and tests, and for `fsck` to compare with.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{PoisonError, RwLock};

use super::{Row, Store, StoreError, check_values};

/// A store that lasts as long as the process.
#[derive(Debug, Default)]
pub struct MemoryStore {
    rows: RwLock<BTreeMap<Vec<u8>, Vec<u8>>>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Store for MemoryStore {
    fn value(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let rows = self.rows.read().unwrap_or_else(PoisonError::into_inner);
        Ok(rows.get(key).cloned())
    }

    fn range(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Row>, StoreError> {
        if from >= to {
            return Ok(Vec::new());
        }
        let rows = self.rows.read().unwrap_or_else(PoisonError::into_inner);
        let bounds: (Bound<&[u8]>, Bound<&[u8]>) = (Bound::Included(from), Bound::Excluded(to));
        let found = rows.range::<[u8], _>(bounds).take(limit);
        Ok(found.map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn last(&self, from: &[u8], to: &[u8]) -> Result<Option<Row>, StoreError> {
        if from >= to {
            return Ok(None);
        }
        let rows = self.rows.read().unwrap_or_else(PoisonError::into_inner);
        let bounds: (Bound<&[u8]>, Bound<&[u8]>) = (Bound::Included(from), Bound::Excluded(to));
        Ok(rows.range::<[u8], _>(bounds).next_back().map(|(key, value)| (key.clone(), value.clone())))
    }

    fn apply(&self, rows: &[Row]) -> Result<(), StoreError> {
        check_values(rows)?;
        let mut map = self.rows.write().unwrap_or_else(PoisonError::into_inner);
        map.extend(rows.iter().cloned());
        Ok(())
    }

    fn sync(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
