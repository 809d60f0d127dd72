//! What a log never changes its mind about: roots of its first entries, and complete tiles of its tree. Remembered, since
//! a thousand devices name the same anchors and ask for proofs through the same tiles within a second.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

use evidence::ids::Digest;

/// Tiles in each of the two generations: 16 × 32 bytes and about 100 beside them, so both take at most 20 MB. They cover
/// the newest half a million leaves, far more than wait for a proof.
const TILES_MAX: usize = 16_384;
/// Roots in each of the two generations, 100 bytes each: the checkpoints of more than an hour.
const ROOTS_MAX: usize = 4096;

/// Two generations of answers: when the young one is full it becomes the old one, and the old one goes.
#[derive(Debug)]
struct Generations<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    entries_max: usize,
}

impl<K: Eq + Hash + Copy, V: Clone> Generations<K, V> {
    fn new(entries_max: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), entries_max }
    }

    fn get(&mut self, key: &K) -> Option<V> {
        if let Some(value) = self.young.get(key) {
            return Some(value.clone());
        }
        let value = self.old.remove(key)?;
        self.put(*key, value.clone());
        Some(value)
    }

    fn put(&mut self, key: K, value: V) {
        if self.young.len() >= self.entries_max {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }
}

/// Remembered tiles and roots of one log.
#[derive(Debug)]
pub(crate) struct Memo {
    tiles: Mutex<Generations<(u8, u64), Vec<Digest>>>,
    roots: Mutex<Generations<u64, Digest>>,
}

impl Default for Memo {
    fn default() -> Self {
        Self {
            tiles: Mutex::new(Generations::new(TILES_MAX)),
            roots: Mutex::new(Generations::new(ROOTS_MAX)),
        }
    }
}

impl Memo {
    /// The nodes of a complete tile.
    pub(crate) fn tile(&self, level: u8, number: u64) -> Option<Vec<Digest>> {
        self.tiles.lock().unwrap_or_else(PoisonError::into_inner).get(&(level, number))
    }

    /// Remembers a tile, which must be complete.
    pub(crate) fn put_tile(&self, level: u8, number: u64, nodes: &[Digest]) {
        self.tiles.lock().unwrap_or_else(PoisonError::into_inner).put((level, number), nodes.to_vec());
    }

    /// The root over the first `size` entries.
    pub(crate) fn root(&self, size: u64) -> Option<Digest> {
        self.roots.lock().unwrap_or_else(PoisonError::into_inner).get(&size)
    }

    /// Remembers the root over the first `size` entries.
    pub(crate) fn put_root(&self, size: u64, root: Digest) {
        self.roots.lock().unwrap_or_else(PoisonError::into_inner).put(size, root);
    }
}

#[cfg(test)]
mod tests {
    use super::Generations;

    #[test]
    fn it_remembers_the_newest_and_what_is_asked_for_and_never_grows_beyond_two_generations() {
        let mut kept = Generations::new(10);
        for number in 0..1000_u64 {
            kept.put(number, number * number);
            assert_eq!(kept.get(&0), Some(0), "asked for all the time");
            assert!(kept.young.len() + kept.old.len() <= 20);
        }
        assert_eq!(kept.get(&999), Some(999 * 999));
        assert_eq!(kept.get(&500), None, "forgotten, not wrong");
    }
}
