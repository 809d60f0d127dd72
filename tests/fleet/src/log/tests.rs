use evidence::merkle::leaf_hash;

use super::*;

/// RFC 6962 section 2.1, word by word.
fn root(leaves: &[Digest]) -> Digest {
    match leaves {
        [] => empty_root(),
        [leaf] => *leaf,
        leaves => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            node_hash(&root(left), &root(right))
        }
    }
}

#[test]
fn the_edge_has_the_root_of_all_leaves() {
    let mut edge = Edge::default();
    let mut leaves = Vec::new();
    for number in 0_u64..600 {
        assert_eq!((edge.size(), edge.root()), (number, root(&leaves)), "{number} leaves");
        let leaf = leaf_hash(&number.to_be_bytes());
        edge.push(leaf);
        leaves.push(leaf);
    }
}
