use std::convert::Infallible;

use evidence::merkle::{leaf_hash, verify_consistency, verify_inclusion};
use proptest::prelude::*;

use super::*;

/// Tiles in a map.
#[derive(Default)]
struct Map(ChangedTiles);

impl Tiles for Map {
    type Error = Infallible;

    fn tile(&self, level: u8, number: u64) -> Result<Vec<Digest>, Infallible> {
        Ok(self.0.get(&(level, number)).cloned().unwrap_or_default())
    }
}

/// RFC 6962 section 2.1, word for word, over all leaves.
fn naive_root(leaves: &[Digest]) -> Digest {
    match leaves {
        [] => Digest::of(b""),
        [leaf] => *leaf,
        _ => {
            let mut k = 1;
            while k * 2 < leaves.len() {
                k *= 2;
            }
            node_hash(&naive_root(&leaves[..k]), &naive_root(&leaves[k..]))
        }
    }
}

/// PATH(m, D[n]) of RFC 6962 section 2.1.1.
fn naive_path(index: usize, leaves: &[Digest]) -> Vec<Digest> {
    if leaves.len() <= 1 {
        return Vec::new();
    }
    let mut k = 1;
    while k * 2 < leaves.len() {
        k *= 2;
    }
    let (mut path, other) = if index < k {
        (naive_path(index, &leaves[..k]), naive_root(&leaves[k..]))
    } else {
        (naive_path(index - k, &leaves[k..]), naive_root(&leaves[..k]))
    };
    path.push(other);
    path
}

/// SUBPROOF(m, D[n], b) of RFC 6962 section 2.1.2.
fn naive_subproof(old: usize, leaves: &[Digest], known: bool) -> Vec<Digest> {
    if old == leaves.len() {
        return if known { Vec::new() } else { vec![naive_root(leaves)] };
    }
    let mut k = 1;
    while k * 2 < leaves.len() {
        k *= 2;
    }
    let (mut proof, other) = if old <= k {
        (naive_subproof(old, &leaves[..k], known), naive_root(&leaves[k..]))
    } else {
        (naive_subproof(old - k, &leaves[k..], false), naive_root(&leaves[..k]))
    };
    proof.push(other);
    proof
}

fn grown(count: u64) -> (Tree, Map, Vec<Digest>) {
    let (mut tree, mut map, mut leaves) = (Tree::new(), Map::default(), Vec::new());
    for number in 0..count {
        let leaf = leaf_hash(&number.to_be_bytes());
        let mut changed = ChangedTiles::new();
        tree.push(leaf, &mut changed);
        map.0.extend(changed);
        leaves.push(leaf);
    }
    (tree, map, leaves)
}

#[test]
fn rfc_6962_roots_of_the_published_leaves() {
    // Leaves and roots of transparency-dev/merkle, testonly/constants.go; recomputed with SHA-256 alone.
    let leaves: [&[u8]; 8] = [
        b"",
        b"\x00",
        b"\x10",
        b"\x20\x21",
        b"\x30\x31",
        b"\x40\x41\x42\x43",
        b"\x50\x51\x52\x53\x54\x55\x56\x57",
        b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
    ];
    let mut tree = Tree::new();
    assert_eq!(tree.root().hex(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    for leaf in leaves {
        tree.push(leaf_hash(leaf), &mut ChangedTiles::new());
    }
    assert_eq!(tree.root().hex(), "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328");
}

#[test]
fn every_root_and_every_edge_up_to_600_equals_the_definition() {
    let (_, map, leaves) = grown(600);
    let mut tree = Tree::new();
    for size in 0..=600_u64 {
        let expected = naive_root(&leaves[..usize::try_from(size).unwrap()]);
        assert_eq!(tree.root(), expected, "size {size}");
        assert_eq!(root_at(&map, size).unwrap(), expected, "size {size}");
        assert_eq!(Tree::load(&map, size).unwrap().root(), expected, "size {size}");
        if let Some(leaf) = leaves.get(usize::try_from(size).unwrap()) {
            tree.push(*leaf, &mut ChangedTiles::new());
        }
    }
}

#[test]
fn every_proof_up_to_70_equals_the_definition() {
    let (_, map, leaves) = grown(70);
    for size in 1..=70_u64 {
        let part = &leaves[..usize::try_from(size).unwrap()];
        let mut shared = Inclusions::new(&map, size);
        for other in 0..size {
            let place = usize::try_from(other).unwrap();
            assert_eq!(inclusion(&map, other, size).unwrap(), naive_path(place, part));
            assert_eq!(shared.proof(other).unwrap(), naive_path(place, part), "after others");
            let expected = if other == 0 { Vec::new() } else { naive_subproof(place, part, true) };
            assert_eq!(consistency(&map, other, size).unwrap(), expected, "{other} to {size}");
        }
        assert!(consistency(&map, size, size).unwrap().is_empty());
    }
}

#[test]
fn what_is_not_in_the_tree_is_refused() {
    let (_, map, _) = grown(20);
    assert!(matches!(inclusion(&map, 20, 20), Err(ProofError::Order { .. })));
    assert!(matches!(consistency(&map, 21, 20), Err(ProofError::Order { .. })));
    assert!(matches!(root_at(&map, 21), Err(ProofError::Missing { .. })));
    assert!(matches!(Tree::load(&map, 40), Err(ProofError::Missing { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn proofs_hold_for_the_verifier(size in 1_u64..5000, a in any::<u64>(), b in any::<u64>()) {
        let (tree, map, leaves) = grown(size);
        let root = tree.root();
        let index = a % size;
        let proof = inclusion(&map, index, size).unwrap();
        let leaf = leaves[usize::try_from(index).unwrap()];
        prop_assert_eq!(verify_inclusion(index, size, &leaf, &proof, &root), Ok(()));
        let from = b % (size + 1);
        let proof = consistency(&map, from, size).unwrap();
        let old = root_at(&map, from).unwrap();
        prop_assert_eq!(verify_consistency(from, &old, size, &root, &proof), Ok(()));
        prop_assert_eq!(Tree::load(&map, size).unwrap(), tree);
    }
}
