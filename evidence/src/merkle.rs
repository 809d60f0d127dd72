//! RFC 6962 hashing and the checking of proofs (RFC 9162 sections 2.1.3.2 and 2.1.4.2).
//!
//! Only checking: the collector builds trees with code of its own, and shares no more than the two hashes.

use crate::ids::Digest;

/// Longest proof accepted: a tree of 2^64 leaves has paths of 64 nodes.
pub const PROOF_HASHES_MAX: usize = 64;

/// Why a proof was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The index is not below the size.
    #[error("index {index} is not in a tree of {size}")]
    Index {
        /// Leaf index.
        index: u64,
        /// Tree size.
        size: u64,
    },
    /// The older size is larger than the newer.
    #[error("sizes {from} and {to} are not in order")]
    Order {
        /// Older size.
        from: u64,
        /// Newer size.
        to: u64,
    },
    /// Too few or too many hashes for these sizes.
    #[error("the proof has {0} hashes, which do not fit these sizes")]
    Length(usize),
    /// The computed root is another one.
    #[error("the proof leads to another root")]
    Root,
}

/// Hash of leaf bytes: SHA-256(0x00 ‖ leaf).
pub fn leaf_hash(leaf: &[u8]) -> Digest {
    Digest::of_parts(&[&[0], leaf])
}

/// Hash of an inner node: SHA-256(0x01 ‖ left ‖ right).
pub fn node_hash(left: &Digest, right: &Digest) -> Digest {
    Digest::of_parts(&[&[1], left.as_bytes(), right.as_bytes()])
}

/// Root of the empty tree: SHA-256 of nothing.
pub fn empty_root() -> Digest {
    Digest::of(b"")
}

/// The root that `proof` leads to for a leaf at `index` of a tree of `size` leaves.
pub fn root_from_inclusion(
    index: u64,
    size: u64,
    leaf: &Digest,
    proof: &[Digest],
) -> Result<Digest, ProofError> {
    if index >= size {
        return Err(ProofError::Index { index, size });
    }
    let (mut node, mut last, mut hash) = (index, size - 1, *leaf);
    for sibling in proof {
        if last == 0 {
            return Err(ProofError::Length(proof.len()));
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    if last == 0 { Ok(hash) } else { Err(ProofError::Length(proof.len())) }
}

/// Checks that `leaf` is at `index` of the tree (`size`, `root`).
pub fn verify_inclusion(
    index: u64,
    size: u64,
    leaf: &Digest,
    proof: &[Digest],
    root: &Digest,
) -> Result<(), ProofError> {
    if root_from_inclusion(index, size, leaf, proof)? == *root { Ok(()) } else { Err(ProofError::Root) }
}

/// Checks that the tree (`from`, `from_root`) is a prefix of the tree (`to`, `to_root`).
///
/// From size 0 to a larger one the proof is empty and holds for all roots (tlog-witness).
pub fn verify_consistency(
    from: u64,
    from_root: &Digest,
    to: u64,
    to_root: &Digest,
    proof: &[Digest],
) -> Result<(), ProofError> {
    let length = ProofError::Length(proof.len());
    if from > to {
        return Err(ProofError::Order { from, to });
    }
    if from == 0 || from == to {
        if !proof.is_empty() {
            return Err(length);
        }
        return if from < to || from_root == to_root { Ok(()) } else { Err(ProofError::Root) };
    }
    let (mut node, mut last) = (from - 1, to - 1);
    while node & 1 == 1 {
        node >>= 1;
        last >>= 1;
    }
    let mut hashes = proof.iter();
    // A complete old tree is its own first node.
    let first = if node == 0 { from_root } else { hashes.next().ok_or(length)? };
    let (mut old, mut new) = (*first, *first);
    for hash in hashes {
        if last == 0 {
            return Err(length);
        }
        if node & 1 == 1 || node == last {
            old = node_hash(hash, &old);
            new = node_hash(hash, &new);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            new = node_hash(&new, hash);
        }
        node >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(length);
    }
    if old == *from_root && new == *to_root { Ok(()) } else { Err(ProofError::Root) }
}

#[cfg(test)]
mod tests;
