//! RFC 6962's definitions written down naively as oracle, and the published vectors.

use data_encoding::HEXLOWER;
use proptest::prelude::*;

use super::*;

/// The eight leaves of the reference trees, hex (transparency-dev/merkle, testonly/constants.go).
const LEAVES: [&str; 8] =
    ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
/// Largest tree of the exhaustive tests: beyond 128, so that every shape up to seven levels occurs.
const SIZE_MAX: usize = 130;

/// RFC 6962 section 2.1: the largest power of two smaller than n.
fn split(n: usize) -> usize {
    let mut k = 1;
    while k * 2 < n {
        k *= 2;
    }
    k
}

/// MTH(D[n]).
fn root(leaves: &[Digest]) -> Digest {
    match leaves {
        [] => empty_root(),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len()));
            node_hash(&root(left), &root(right))
        }
    }
}

/// PATH(m, D[n]).
fn path(m: usize, leaves: &[Digest]) -> Vec<Digest> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let k = split(leaves.len());
    let (left, right) = leaves.split_at(k);
    let (mut proof, sibling) =
        if m < k { (path(m, left), root(right)) } else { (path(m - k, right), root(left)) };
    proof.push(sibling);
    proof
}

/// SUBPROOF(m, D[n], b); PROOF(m, D[n]) is with b true.
fn subproof(m: usize, leaves: &[Digest], b: bool) -> Vec<Digest> {
    if m == leaves.len() {
        return if b { Vec::new() } else { vec![root(leaves)] };
    }
    let k = split(leaves.len());
    let (left, right) = leaves.split_at(k);
    let (mut proof, sibling) = if m <= k {
        (subproof(m, left, b), root(right))
    } else {
        (subproof(m - k, right, false), root(left))
    };
    proof.push(sibling);
    proof
}

fn leaves(count: usize) -> Vec<Digest> {
    (0..count).map(|n| leaf_hash(&n.to_be_bytes())).collect()
}

fn flip(digest: &Digest, bit: usize) -> Digest {
    let mut bytes = digest.0;
    bytes[bit / 8 % 32] ^= 1 << (bit % 8);
    Digest(bytes)
}

#[test]
fn the_published_hashes_come_out() {
    assert_eq!(empty_root().hex(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_eq!(
        leaf_hash(b"L123456").hex(),
        "395aa064aa4c29f7010acfe3f25db9485bbd4b91897b6ad7ad547639252b4d56"
    );
    // The published node example hashes short strings, which no pair of digests can be.
    assert_eq!(
        Digest::of_parts(&[&[1], b"N123", b"N456"]).hex(),
        "aa217fe888e47007fa15edab33c2b492a722cb106c64667fc2b044444de66bbb"
    );
    let (left, right) = (leaf_hash(b"l"), leaf_hash(b"r"));
    assert_eq!(node_hash(&left, &right), Digest::of_parts(&[&[1], &left.0, &right.0]));
}

#[test]
fn the_published_roots_come_out_of_paths_alone() {
    let leaves: Vec<Digest> =
        LEAVES.iter().map(|hex| leaf_hash(&HEXLOWER.decode(hex.as_bytes()).unwrap())).collect();
    let published = [
        (1, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"),
        (3, "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"),
        (8, "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"),
    ];
    for (size, hex) in published {
        let tree = leaves.get(..size).unwrap();
        for (index, leaf) in tree.iter().enumerate() {
            let found = root_from_inclusion(index as u64, size as u64, leaf, &path(index, tree)).unwrap();
            assert_eq!(found.hex(), hex, "leaf {index} of {size}");
        }
    }
}

#[test]
fn every_leaf_of_every_tree_is_included_by_its_path_only() {
    let all = leaves(SIZE_MAX);
    for size in 1..=SIZE_MAX {
        let tree = &all[..size];
        let root = root(tree);
        for (index, leaf) in tree.iter().enumerate() {
            let proof = path(index, tree);
            let check = |index: usize, leaf: &Digest, proof: &[Digest], root: &Digest| {
                verify_inclusion(index as u64, size as u64, leaf, proof, root)
            };
            assert_eq!(check(index, leaf, &proof, &root), Ok(()), "{index} of {size}");
            let bit = index * 131 + size;
            assert_eq!(check(index, &flip(leaf, bit), &proof, &root), Err(ProofError::Root));
            assert_eq!(check(index, leaf, &proof, &flip(&root, bit)), Err(ProofError::Root));
            for position in 0..proof.len() {
                let mut bad = proof.clone();
                bad[position] = flip(&bad[position], bit);
                assert_eq!(check(index, leaf, &bad, &root), Err(ProofError::Root));
                let mut short = proof.clone();
                short.remove(position);
                assert!(check(index, leaf, &short, &root).is_err());
                let mut long = proof.clone();
                long.insert(position, root);
                assert!(check(index, leaf, &long, &root).is_err());
            }
            let long = [proof.as_slice(), &[root]].concat();
            assert_eq!(check(index, leaf, &long, &root), Err(ProofError::Length(long.len())));
        }
    }
}

#[test]
fn a_path_proves_no_other_place() {
    let all = leaves(40);
    for size in 1..=all.len() {
        let tree = &all[..size];
        let root = root(tree);
        let paths: Vec<_> = (0..size).map(|index| path(index, tree)).collect();
        for (index, leaf) in tree.iter().enumerate() {
            for (other, proof) in paths.iter().enumerate() {
                let held = verify_inclusion(index as u64, size as u64, leaf, proof, &root).is_ok();
                assert_eq!(held, *proof == paths[index], "path of {other} for {index} of {size}");
                let moved = verify_inclusion(other as u64, size as u64, leaf, &paths[index], &root).is_ok();
                assert_eq!(moved, other == index, "leaf {index} shown as {other} of {size}");
            }
        }
        let outside = verify_inclusion(size as u64, size as u64, &all[0], &[], &root);
        assert_eq!(outside, Err(ProofError::Index { index: size as u64, size: size as u64 }));
    }
}

#[test]
fn every_bit_of_every_hash_of_a_proof_counts() {
    let all = leaves(SIZE_MAX);
    for (index, from) in [(0, 1), (63, 64), (77, 77), (128, 96), (129, 129)] {
        let new = root(&all);
        let old = root(&all[..from]);
        let (inclusion, consistency) = (path(index, &all), subproof(from, &all, true));
        for bit in 0..256 {
            for position in 0..inclusion.len() {
                let mut bad = inclusion.clone();
                bad[position] = flip(&bad[position], bit);
                assert!(verify_inclusion(index as u64, 130, &all[index], &bad, &new).is_err());
            }
            for position in 0..consistency.len() {
                let mut bad = consistency.clone();
                bad[position] = flip(&bad[position], bit);
                assert!(verify_consistency(from as u64, &old, 130, &new, &bad).is_err());
            }
            assert!(verify_consistency(from as u64, &flip(&old, bit), 130, &new, &consistency).is_err());
            assert!(verify_consistency(from as u64, &old, 130, &flip(&new, bit), &consistency).is_err());
        }
    }
}

#[test]
fn every_prefix_of_every_tree_is_consistent_by_its_proof_only() {
    let all = leaves(SIZE_MAX);
    let roots: Vec<Digest> = (0..=SIZE_MAX).map(|size| root(&all[..size])).collect();
    for to in 1..=SIZE_MAX {
        for from in 1..=to {
            let proof = subproof(from, &all[..to], true);
            let check = |old: &Digest, new: &Digest, proof: &[Digest]| {
                verify_consistency(from as u64, old, to as u64, new, proof)
            };
            let (old, new) = (&roots[from], &roots[to]);
            assert_eq!(check(old, new, &proof), Ok(()), "{from} to {to}");
            let bit = from * 131 + to;
            assert_eq!(check(&flip(old, bit), new, &proof), Err(ProofError::Root));
            assert_eq!(check(old, &flip(new, bit), &proof), Err(ProofError::Root));
            for position in 0..proof.len() {
                let mut bad = proof.clone();
                bad[position] = flip(&bad[position], bit);
                assert_eq!(check(old, new, &bad), Err(ProofError::Root), "{from} to {to}");
                let mut short = proof.clone();
                short.remove(position);
                assert!(check(old, new, &short).is_err(), "{from} to {to}");
                let mut long = proof.clone();
                long.insert(position, *new);
                assert!(check(old, new, &long).is_err(), "{from} to {to}");
            }
            let long = [proof.as_slice(), &[*new]].concat();
            assert!(check(old, new, &long).is_err());
            if from != to {
                assert!(verify_consistency(to as u64, new, from as u64, old, &proof).is_err());
                assert!(check(new, old, &proof).is_err(), "swapped roots, {from} to {to}");
            }
        }
    }
}

#[test]
fn a_consistency_proof_proves_no_other_prefix() {
    let all = leaves(40);
    let roots: Vec<Digest> = (0..=all.len()).map(|size| root(&all[..size])).collect();
    for to in 1..=all.len() {
        let proofs: Vec<_> = (1..=to).map(|from| subproof(from, &all[..to], true)).collect();
        for from in 1..=to {
            for (other, proof) in (1..).zip(&proofs) {
                let held =
                    verify_consistency(from as u64, &roots[from], to as u64, &roots[to], proof).is_ok();
                assert_eq!(held, *proof == proofs[from - 1], "proof from {other} for {from} to {to}");
            }
        }
    }
}

#[test]
fn from_nothing_the_proof_is_empty() {
    let (one, two) = (leaf_hash(b"1"), leaf_hash(b"2"));
    assert_eq!(verify_consistency(0, &empty_root(), 1, &one, &[]), Ok(()));
    // docs/FORMAT.md section 6: it holds for every root.
    assert_eq!(verify_consistency(0, &two, 1, &one, &[]), Ok(()));
    assert_eq!(verify_consistency(0, &empty_root(), 1, &one, &[two]), Err(ProofError::Length(1)));
    assert_eq!(verify_consistency(0, &empty_root(), 0, &empty_root(), &[]), Ok(()));
    assert_eq!(verify_consistency(0, &empty_root(), 0, &one, &[]), Err(ProofError::Root));
    assert_eq!(verify_consistency(5, &one, 5, &two, &[]), Err(ProofError::Root));
    assert_eq!(verify_consistency(5, &one, 5, &one, &[one]), Err(ProofError::Length(1)));
    assert_eq!(verify_consistency(5, &one, 4, &one, &[]), Err(ProofError::Order { from: 5, to: 4 }));
}

proptest! {
    #[test]
    fn arbitrary_proofs_never_panic_and_never_hold(
        a: u64,
        b: u64,
        hashes in prop::collection::vec(any::<[u8; 32]>().prop_map(Digest), 0..70),
        roots: ([u8; 32], [u8; 32]),
    ) {
        let (old, new) = (Digest(roots.0), Digest(roots.1));
        prop_assert!(verify_inclusion(a, b, &old, &hashes, &new).is_err());
        if a != 0 {
            prop_assert!(verify_consistency(a, &old, b, &new, &hashes).is_err());
        }
    }

    /// Sizes no list can hold: a path built upwards by the definition of an index's bits must lead to its root.
    #[test]
    fn the_largest_trees_are_checked_like_small_ones(index in 0..u64::MAX, leaf: [u8; 32]) {
        // In a complete tree of 2^63 leaves the siblings are on the side the index's bits say.
        let index = index >> 1;
        let leaf = Digest(leaf);
        let siblings: Vec<Digest> = (0..63u8).map(|level| leaf_hash(&[level])).collect();
        let mut expected = leaf;
        for (level, sibling) in siblings.iter().enumerate() {
            expected = if index >> level & 1 == 1 { node_hash(sibling, &expected) } else { node_hash(&expected, sibling) };
        }
        prop_assert_eq!(verify_inclusion(index, 1 << 63, &leaf, &siblings, &expected), Ok(()));
    }
}
