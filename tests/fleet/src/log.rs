//! A log in memory that keeps only its right edge: gives a fleet checkpoints to anchor to, without a collector.

use evidence::ids::Digest;
use evidence::leaf::{Kind, Leaf, commitment};
use evidence::merkle::{empty_root, node_hash};
use evidence::note::Checkpoint;
use evidence::time::Timestamp;

use crate::seeded::bytes;

/// The right edge of a Merkle tree (RFC 6962): a perfect subtree for each bit of its size.
#[derive(Debug, Clone, Default)]
pub struct Edge {
    size: u64,
    subtrees: Vec<Digest>,
}

impl Edge {
    /// Leaves so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Appends a leaf.
    pub fn push(&mut self, leaf_hash: Digest) {
        let mut node = leaf_hash;
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.subtrees.pop() {
                node = node_hash(&left, &node);
            }
        }
        self.subtrees.push(node);
        self.size += 1;
    }

    /// Root over all leaves.
    pub fn root(&self) -> Digest {
        let fold = |right: Digest, left: &Digest| node_hash(left, &right);
        let last = self.subtrees.split_last();
        last.map_or_else(empty_root, |(last, before)| before.iter().rev().fold(*last, fold))
    }
}

/// A log of which nothing but the tree is kept. Its salts come from a seed.
#[derive(Debug, Clone)]
pub struct Log {
    origin: String,
    seed: u64,
    edge: Edge,
}

impl Log {
    /// An empty log.
    pub fn new(origin: &str, seed: u64) -> Self {
        Self { origin: origin.to_owned(), seed, edge: Edge::default() }
    }

    /// Appends an entry of stream 0.
    pub fn push(&mut self, kind: Kind, received: Timestamp, payload: &[u8]) {
        let salt = bytes("salt", self.seed, self.edge.size());
        let leaf = Leaf { kind, received, commitment: commitment(&salt, payload), chain: None };
        self.edge.push(leaf.hash());
    }

    /// Its newest checkpoint; none while it is empty.
    pub fn checkpoint(&self) -> Option<Checkpoint> {
        let size = self.edge.size();
        (size > 0).then(|| Checkpoint { origin: self.origin.clone(), size, root: self.edge.root() })
    }
}

#[cfg(test)]
mod tests;
