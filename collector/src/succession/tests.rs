use std::fs;

use evidence::keys::SecretKey;
use evidence::merkle::{leaf_hash, verify_consistency};
use evidence::tiles::{Edge, encode_hashes};
use tempfile::TempDir;

use super::*;

const OLD: &str = "example.org/log/main";
/// More than one tile of level 1, and parts of every level.
const SIZE: u64 = 66_000;

fn key() -> SecretKey {
    SecretKey::from_seed(&[4; 32]).unwrap()
}

fn vkey() -> VerifierKey {
    VerifierKey::new(OLD, *key().public()).unwrap()
}

/// The hash tiles and checkpoint of a tree of [`SIZE`] leaves, and its root at some sizes.
fn tree(sizes: &[u64]) -> (TempDir, Vec<Checkpoint>) {
    let folder = tempfile::tempdir().unwrap();
    let put = |tile: Tile, hashes: &[Digest]| {
        let path = folder.path().join(tile.path());
        fs::create_dir_all(path.parent().unwrap())?;
        fs::write(path, encode_hashes(hashes))
    };
    let (mut edge, mut named) = (Edge::new(), Vec::new());
    for n in 0..SIZE {
        edge.push(leaf_hash(&n.to_be_bytes()), put).unwrap();
        if sizes.contains(&edge.size()) {
            named.push(Checkpoint { origin: OLD.to_owned(), size: edge.size(), root: edge.root() });
        }
    }
    for (tile, hashes) in edge.partial() {
        put(tile, hashes).unwrap();
    }
    let whole = Checkpoint { origin: OLD.to_owned(), size: SIZE, root: edge.root() };
    fs::write(folder.path().join("checkpoint"), whole.sign(&key()).unwrap().encode()).unwrap();
    named.push(whole);
    (folder, named)
}

#[test]
fn a_public_tree_proves_that_one_checkpoint_extends_another() {
    let (folder, named) = tree(&[1, 2, 15, 16, 17, 255, 256, 257, 4_096, 5_000, 65_535, 65_536, 65_537]);
    let mut proofs = 0;
    for to in &named {
        let tree = PredecessorTree::open(folder.path(), to).unwrap();
        for from in named.iter().filter(|from| from.size <= to.size) {
            let proof = tree.consistency(from.size).unwrap();
            verify_consistency(from.size, &from.root, to.size, &to.root, &proof).unwrap();
            proofs += 1;
        }
        assert_eq!(tree.consistency(to.size + 1).unwrap(), []);
    }
    assert_eq!(proofs, 14 * 15 / 2);
}

#[test]
fn a_folder_that_is_no_tree_of_it_is_refused() {
    let (folder, named) = tree(&[300]);
    let open = |named: &Checkpoint| PredecessorTree::open(folder.path(), named).unwrap_err().to_string();
    let (part, whole) = (&named[0], &named[1]);
    assert!(open(&Checkpoint { root: Digest::ZERO, ..part.clone() }).contains("another one"));
    assert!(open(&Checkpoint { size: SIZE + 1, ..whole.clone() }).contains("it holds 66000 entries"));
    assert!(
        open(&Checkpoint { origin: "example.org/log/x".to_owned(), ..whole.clone() }).contains("log/main")
    );
    fs::remove_file(folder.path().join("tile/0/001")).unwrap();
    assert!(open(part).contains("tile/0/001 is missing"), "{}", open(part));
    fs::remove_file(folder.path().join("checkpoint")).unwrap();
    assert!(open(part).contains("no checkpoint"));
}

#[test]
fn only_a_signed_checkpoint_of_the_same_domain_and_another_label_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("note");
    let old = Checkpoint { origin: OLD.to_owned(), size: 3, root: Digest::of(b"3") };
    fs::write(&path, old.sign(&key()).unwrap().encode()).unwrap();
    assert_eq!(read_predecessor(&path, &vkey()).unwrap(), old);
    let stranger = SecretKey::from_seed(&[5; 32]).unwrap();
    let other = VerifierKey::new(OLD, *stranger.public()).unwrap();
    assert!(matches!(read_predecessor(&path, &other), Err(SuccessionError::Note { .. })));
    let gone = read_predecessor(&folder.path().join("gone"), &vkey());
    assert!(matches!(gone, Err(SuccessionError::Read { .. })));

    let follow = |origin: &str, old: &Checkpoint| may_follow(origin, "example.org", old);
    assert!(follow("example.org/log/two", &old).is_ok());
    assert!(matches!(follow(OLD, &old), Err(SuccessionError::Itself(_))));
    for stranger in ["example.com/log/main", "example.org.evil.com/log/main"] {
        let stranger = Checkpoint { origin: stranger.to_owned(), ..old.clone() };
        assert!(matches!(follow("example.org/log/two", &stranger), Err(SuccessionError::Stranger { .. })));
    }
    assert!(matches!(follow("example.org/log/two/simulated", &old), Err(SuccessionError::Simulated { .. })));
    let empty = Checkpoint { size: 0, ..old };
    assert!(matches!(follow("example.org/log/two", &empty), Err(SuccessionError::Empty)));
}
