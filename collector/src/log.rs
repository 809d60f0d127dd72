//! The Merkle tree: appending leaf hashes, roots, inclusion and consistency proofs (RFC 6962 section 2.1).
//!
//! Nodes are kept in *tiles*: a tile of level L holds up to 16 neighbouring nodes of height 4 × L, so that a proof reads
//! one tile per four levels and a commit rewrites one short row per level it touches. Only complete nodes are kept.
//! Checking proofs is `evidence::merkle`, code of its own.

use std::collections::{BTreeMap, HashMap};

use evidence::ids::Digest;
use evidence::merkle::{empty_root, node_hash};

#[cfg(test)]
mod tests;

/// Leaves of one entry bundle of the public tree.
pub const BUNDLE_LEAVES: u64 = 256;
/// Tree levels per tile.
const TILE_HEIGHT: u32 = 4;
/// Nodes per tile.
pub const TILE_NODES: u64 = 1 << TILE_HEIGHT;
/// Tile levels of a tree of 2^64 leaves.
const TILE_LEVELS_MAX: u8 = 16;

/// Where tiles are read from.
pub trait Tiles {
    /// Why a tile could not be read.
    type Error;

    /// The nodes of tile `number` of `level`, as many as exist now.
    fn tile(&self, level: u8, number: u64) -> Result<Vec<Digest>, Self::Error>;
}

/// Why a root or proof could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ProofError<E> {
    /// The sizes or the index are not of this tree.
    #[error("index or sizes are out of order: {index_or_from} of {size}")]
    Order {
        /// Leaf index, or the older size.
        index_or_from: u64,
        /// The newer size.
        size: u64,
    },
    /// A tile lacks nodes that a tree of this size has.
    #[error("tile {level}/{number} of the tree lacks nodes")]
    Missing {
        /// Tile level.
        level: u8,
        /// Tile number.
        number: u64,
    },
    /// A tile could not be read.
    #[error("a tile of the tree could not be read")]
    Tile(#[source] E),
}

/// Tiles that changed, with all their nodes.
pub type ChangedTiles = BTreeMap<(u8, u64), Vec<Digest>>;

/// The right edge of a tree: enough to append and to know the root.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tree {
    size: u64,
    /// Per tile level, the nodes of its last, incomplete tile.
    edge: Vec<Vec<Digest>>,
}

impl Tree {
    /// The empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// The edge of the tree of the first `size` leaves.
    pub fn load<T: Tiles>(tiles: &T, size: u64) -> Result<Self, ProofError<T::Error>> {
        let mut edge = Vec::new();
        for level in 0..TILE_LEVELS_MAX {
            let nodes = size >> (TILE_HEIGHT * u32::from(level));
            if nodes == 0 {
                break;
            }
            edge.push(first_nodes(tiles, level, nodes / TILE_NODES, nodes % TILE_NODES)?);
        }
        Ok(Self { size, edge })
    }

    /// Leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Appends a leaf hash and notes in `changed` every tile it changes.
    pub fn push(&mut self, leaf_hash: Digest, changed: &mut ChangedTiles) {
        let mut node = leaf_hash;
        for level in 0..TILE_LEVELS_MAX {
            let place = usize::from(level);
            if self.edge.len() <= place {
                self.edge.push(Vec::new());
            }
            let Some(tile) = self.edge.get_mut(place) else { break };
            tile.push(node);
            let number = (self.size >> (TILE_HEIGHT * u32::from(level))) / TILE_NODES;
            changed.insert((level, number), tile.clone());
            if (tile.len() as u64) < TILE_NODES {
                break;
            }
            node = fold(tile);
            tile.clear();
        }
        self.size = self.size.saturating_add(1);
    }

    /// RFC 6962 root.
    pub fn root(&self) -> Digest {
        // What lies right of the complete nodes of a level is one incomplete node of it.
        let mut right: Option<Digest> = None;
        for tile in &self.edge {
            let nodes: Vec<Digest> = tile.iter().copied().chain(right).collect();
            if !nodes.is_empty() {
                right = Some(fold(&nodes));
            }
        }
        right.unwrap_or_else(empty_root)
    }
}

/// Root of the first `size` leaves.
pub fn root_at<T: Tiles>(tiles: &T, size: u64) -> Result<Digest, ProofError<T::Error>> {
    if size == 0 { Ok(empty_root()) } else { subtree(tiles, 0, size) }
}

/// Root over the [`BUNDLE_LEAVES`] leaves from `low` on, a multiple of it.
pub fn bundle_root<T: Tiles>(tiles: &T, low: u64) -> Result<Digest, ProofError<T::Error>> {
    complete(tiles, low, BUNDLE_LEAVES.ilog2())
}

/// Inclusion proof of the leaf at `index` in the tree of `size` leaves, from leaf to root.
pub fn inclusion<T: Tiles>(tiles: &T, index: u64, size: u64) -> Result<Vec<Digest>, ProofError<T::Error>> {
    Inclusions::new(tiles, size).proof(index)
}

/// Inclusion proofs in one tree. Leaves near each other share most of their proofs, so what was computed is kept: at
/// most one hash per level for each proof asked for.
pub struct Inclusions<'a, T> {
    tiles: &'a T,
    size: u64,
    /// (low, high) → root over the leaves low..high.
    subtrees: HashMap<(u64, u64), Digest>,
}

impl<'a, T: Tiles> Inclusions<'a, T> {
    /// Proofs in the tree of `size` leaves.
    pub fn new(tiles: &'a T, size: u64) -> Self {
        Self { tiles, size, subtrees: HashMap::new() }
    }

    /// The proof of the leaf at `index`, from leaf to root.
    pub fn proof(&mut self, index: u64) -> Result<Vec<Digest>, ProofError<T::Error>> {
        if index >= self.size {
            return Err(ProofError::Order { index_or_from: index, size: self.size });
        }
        let (mut low, mut high) = (0, self.size);
        let mut proof = Vec::new();
        while high - low > 1 {
            let middle = low + split(high - low);
            if index < middle {
                proof.push(self.subtree(middle, high)?);
                high = middle;
            } else {
                proof.push(self.subtree(low, middle)?);
                low = middle;
            }
        }
        proof.reverse();
        Ok(proof)
    }

    fn subtree(&mut self, low: u64, high: u64) -> Result<Digest, ProofError<T::Error>> {
        if let Some(known) = self.subtrees.get(&(low, high)) {
            return Ok(*known);
        }
        let root = subtree(self.tiles, low, high)?;
        self.subtrees.insert((low, high), root);
        Ok(root)
    }
}

/// Proof that the tree of `from` leaves is a prefix of the tree of `to`. From 0 it is empty.
pub fn consistency<T: Tiles>(tiles: &T, from: u64, to: u64) -> Result<Vec<Digest>, ProofError<T::Error>> {
    if from > to {
        return Err(ProofError::Order { index_or_from: from, size: to });
    }
    let mut proof = Vec::new();
    if from == 0 || from == to {
        return Ok(proof);
    }
    let (mut low, mut high) = (0, to);
    while from != high {
        let middle = low + split(high - low);
        if from <= middle {
            proof.push(subtree(tiles, middle, high)?);
            high = middle;
        } else {
            proof.push(subtree(tiles, low, middle)?);
            low = middle;
        }
    }
    // The old tree's last complete part: known to the verifier only if it is the whole old tree.
    if low != 0 {
        proof.push(subtree(tiles, low, high)?);
    }
    proof.reverse();
    Ok(proof)
}

/// Largest power of two below `size`, which is at least 2.
fn split(size: u64) -> u64 {
    1 << (size - 1).ilog2()
}

/// Root of a list of nodes of one height, the last of which may be incomplete.
fn fold(nodes: &[Digest]) -> Digest {
    match nodes {
        [] => empty_root(),
        [node] => *node,
        _ => {
            let middle = usize::try_from(split(nodes.len() as u64)).unwrap_or(usize::MAX);
            let (left, right) = nodes.split_at_checked(middle).unwrap_or((nodes, &[]));
            node_hash(&fold(left), &fold(right))
        }
    }
}

/// Root over the leaves `low..high`, a range that RFC 6962's recursion reaches.
fn subtree<T: Tiles>(tiles: &T, low: u64, high: u64) -> Result<Digest, ProofError<T::Error>> {
    let size = high - low;
    if size.is_power_of_two() {
        return complete(tiles, low, size.ilog2());
    }
    let middle = low + split(size);
    Ok(node_hash(&subtree(tiles, low, middle)?, &subtree(tiles, middle, high)?))
}

/// The complete node over 2^height leaves from `low` on.
fn complete<T: Tiles>(tiles: &T, low: u64, height: u32) -> Result<Digest, ProofError<T::Error>> {
    let level = u8::try_from(height / TILE_HEIGHT).unwrap_or(u8::MAX);
    let first = low >> (TILE_HEIGHT * u32::from(level));
    let (number, offset) = (first / TILE_NODES, first % TILE_NODES);
    let count = 1_u64 << (height % TILE_HEIGHT);
    let nodes = first_nodes(tiles, level, number, offset + count)?;
    let skipped = usize::try_from(offset).unwrap_or(usize::MAX);
    Ok(fold(nodes.get(skipped..).unwrap_or_default()))
}

/// The first `count` nodes of a tile.
fn first_nodes<T: Tiles>(
    tiles: &T,
    level: u8,
    number: u64,
    count: u64,
) -> Result<Vec<Digest>, ProofError<T::Error>> {
    if count == 0 {
        return Ok(Vec::new());
    }
    let mut nodes = tiles.tile(level, number).map_err(ProofError::Tile)?;
    if (nodes.len() as u64) < count {
        return Err(ProofError::Missing { level, number });
    }
    nodes.truncate(usize::try_from(count).unwrap_or(usize::MAX));
    Ok(nodes)
}
