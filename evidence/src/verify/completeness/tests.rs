//! What leaves alone can show: gaps, forks, time that goes back, heads and roots that are not theirs. Whole sets with a tree
//! are verified in the `tests` package.

use proptest::prelude::*;

use super::*;
use crate::leaf::{Chain, Kind};

/// A log of these kinds, as its leaves should be.
fn log(kinds: &[Kind]) -> Vec<Leaf> {
    let mut heads = Heads::default();
    let mut leaves = Vec::new();
    for (n, kind) in kinds.iter().enumerate() {
        let head = heads.of(kind.stream);
        let chain = Chain { sequence: head.entries, previous: head.last_leaf_hash };
        let leaf = Leaf {
            kind: *kind,
            received: Timestamp(1_000 + n as u64),
            commitment: Digest::of(&n.to_be_bytes()),
            chain: (kind.stream != Stream::Device).then_some(chain),
        };
        heads.set(kind.stream, Head { entries: head.entries + 1, last_leaf_hash: leaf.hash() });
        leaves.push(leaf);
    }
    leaves
}

fn read(leaves: &[Leaf], claims: Vec<Claim>, roots: BTreeMap<u64, Digest>) -> Result<Leaves, String> {
    let mut all = Leaves { claims, roots, ..Leaves::default() };
    for leaf in leaves {
        all.compare()?;
        all.take(&leaf.encode())?;
    }
    all.compare()?;
    Ok(all)
}

fn plainly(leaves: &[Leaf]) -> Result<Leaves, String> {
    read(leaves, Vec::new(), BTreeMap::new())
}

const KINDS: [Kind; 8] = [
    Kind::GENESIS,
    Kind::ATTESTATION,
    Kind::PERSON,
    Kind::POLICY,
    Kind::ATTESTATION,
    Kind::PLAN,
    Kind::TOKEN,
    Kind::COMMITMENT,
];

#[test]
fn a_stream_may_neither_skip_nor_fork() {
    let good = log(&KINDS);
    let all = plainly(&good).unwrap();
    assert_eq!(all.heads.of(Stream::Roster).entries, 3);
    assert_eq!(all.entries[&Stream::Audit].iter().map(|(index, _)| *index).collect::<Vec<_>>(), [5, 7]);
    // Leaving an entry out, and putting one in twice.
    for (index, kind) in KINDS.iter().enumerate().filter(|(_, kind)| kind.stream != Stream::Device) {
        let follows = KINDS.iter().skip(index + 1).any(|later| later.stream == kind.stream);
        let mut less = good.clone();
        less.remove(index);
        assert_eq!(plainly(&less).is_err(), follows, "{index} left out");
        let mut twice = good.clone();
        twice.insert(index, good[index]);
        assert!(plainly(&twice).is_err(), "{index} twice");
    }
    // The last of a stream left out shows in the heads.
    let claim = |heads| vec![Claim { below: 7, who: "export", heads }];
    assert!(read(&good, vec![Claim { below: 8, who: "export", heads: all.heads }], BTreeMap::new()).is_ok());
    assert!(read(&good[..7], claim(all.heads), BTreeMap::new()).is_err());
    assert!(read(&good[..7], claim(plainly(&good[..7]).unwrap().heads), BTreeMap::new()).is_ok());
    // An entry that follows another one than the newest: a fork.
    let mut forked = good.clone();
    if let Some(chain) = &mut forked[6].chain {
        chain.previous = good[0].hash();
    }
    assert!(plainly(&forked).err().unwrap().contains("forks"));
}

#[test]
fn time_and_roots_are_those_of_the_leaves() {
    let good = log(&KINDS);
    let root = |count: usize| plainly(&good[..count]).unwrap().edge.root();
    let roots = BTreeMap::from([(0, root(0)), (3, root(3)), (8, root(8))]);
    let all = read(&good, Vec::new(), roots).unwrap();
    assert!(all.roots.is_empty());
    assert!(read(&good, Vec::new(), BTreeMap::from([(3, root(4))])).is_err());
    // What the log never reaches stays, and the check says so.
    assert_eq!(read(&good, Vec::new(), BTreeMap::from([(9, root(8))])).unwrap().roots.len(), 1);
    let mut back = good;
    back[4].received = Timestamp(1_002);
    assert!(plainly(&back).err().unwrap().contains("received_ms"));
}

proptest! {
    /// Any change of any bit of any leaf moves the root, and so does leaving one out.
    #[test]
    fn no_leaf_can_be_changed_under_a_root(
        kinds in prop::collection::vec(prop::sample::select(KINDS.to_vec()), 1..40),
        place in any::<prop::sample::Index>(),
        bit in 0_usize..43 * 8,
    ) {
        let leaves = log(&kinds);
        let whole = plainly(&leaves).unwrap();
        let place = place.index(leaves.len());
        let mut all = Leaves::default();
        let mut refused = false;
        for (index, leaf) in leaves.iter().enumerate() {
            let mut bytes = leaf.encode();
            if index == place {
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
            refused |= all.take(&bytes).is_err();
        }
        prop_assert!(refused || all.edge.root() != whole.edge.root());
    }
}
