use std::fs;
use std::path::Path;

use evidence::keys::SecretKey;
use evidence::merkle::empty_root;
use evidence::tiles::{self, Content, Edge, Tile};

use super::mirror::Mirror;
use super::*;
use crate::payload_bundles;
use crate::store::rows;

const ORIGIN: &str = "example.org/log/recover";
/// A full bundle and a part of the next.
const SIZE: u64 = 300;

fn key() -> (SecretKey, VerifierKey) {
    let key = SecretKey::from_seed(&[3; 32]).unwrap();
    let verifier = VerifierKey::new(ORIGIN, *key.public()).unwrap();
    (key, verifier)
}

fn leaf(n: u64) -> Vec<u8> {
    [n.to_be_bytes().as_slice(), &[7; 35]].concat()
}

fn put(root: &Path, path: &str, bytes: &[u8]) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Leaves, a checkpoint, and payload records for the first `records` of them. Gives the roots by size.
fn mirror(root: &Path, records: u64) -> Vec<Digest> {
    let (mut edge, mut roots, mut bundle, mut payloads) =
        (Edge::new(), vec![empty_root()], Vec::new(), Vec::new());
    for n in 0..SIZE {
        tiles::push_entry(&mut bundle, &leaf(n)).unwrap();
        if n < records {
            rows::push_payload(&mut payloads, 0, &n.to_be_bytes());
        }
        edge.push(evidence::merkle::leaf_hash(&leaf(n)), |_, _| Ok::<_, io::Error>(())).unwrap();
        roots.push(edge.root());
        let (full, width) = tiles::row(n + 1, 0);
        if width == 0 || n + 1 == SIZE {
            let (number, width) = if width == 0 { (full - 1, 256) } else { (full, width) };
            put(
                root,
                &Tile::new(Content::Entries, number, width).unwrap().path(),
                &std::mem::take(&mut bundle),
            );
            let path = format!("payload/{}", payload_bundles::part_path(number, width));
            put(root, &path, &std::mem::take(&mut payloads));
        }
    }
    let checkpoint = Checkpoint { origin: ORIGIN.to_owned(), size: SIZE, root: edge.root() };
    put(root, "checkpoint", checkpoint.sign(&key().0).unwrap().encode().as_bytes());
    roots
}

#[test]
fn the_roots_of_every_prefix_are_those_of_its_leaves() {
    let folder = tempfile::tempdir().unwrap();
    let roots = mirror(folder.path(), SIZE);
    let mirror = Mirror::open(folder.path(), &[key().1]).unwrap();
    for size in [0_u64, 1, 2, 255, 256, 257, 299, 300] {
        let place = usize::try_from(size).unwrap();
        assert_eq!(mirror.roots_at([size, SIZE], |_| {}).unwrap(), [roots[place], roots[300]], "{size}");
    }
}

#[test]
fn a_record_that_is_not_there_is_none_and_changes_the_digest() {
    let folder = tempfile::tempdir().unwrap();
    mirror(folder.path(), SIZE);
    let whole = Mirror::open(folder.path(), &[key().1]).unwrap().bundle(1).unwrap();
    let entries: Vec<_> = whole.entries_from(298).collect();
    let expected = [298_u64, 299].map(|n| (leaf(n), Some((0, n.to_be_bytes().to_vec()))));
    assert!(entries.into_iter().map(|(leaf, record)| (leaf.to_vec(), record.cloned())).eq(expected));

    mirror(folder.path(), 299);
    let short = Mirror::open(folder.path(), &[key().1]).unwrap().bundle(1).unwrap();
    let records: Vec<bool> = short.entries_from(297).map(|(_, record)| record.is_some()).collect();
    assert_eq!(records, [true, true, false]);
    assert_ne!(short.digest(), whole.digest());
}

#[test]
fn a_bundle_that_is_cut_or_gone_is_named() {
    let folder = tempfile::tempdir().unwrap();
    mirror(folder.path(), SIZE);
    let path = folder.path().join("tile/entries/001.p/44");
    let bytes = fs::read(&path).unwrap();
    let opened = || Mirror::open(folder.path(), &[key().1]).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    assert!(matches!(opened().roots_at([0], |_| {}), Err(MirrorError::Bundle { .. })));
    fs::remove_file(&path).unwrap();
    assert!(matches!(opened().bundle(1), Err(MirrorError::Bundle { .. })));
    // One that has been filled since.
    let full = folder.path().join("tile/entries/001");
    let mut wider = bytes.clone();
    for n in 300..512 {
        tiles::push_entry(&mut wider, &leaf(n)).unwrap();
    }
    fs::write(full, wider).unwrap();
    assert_eq!(opened().bundle(1).unwrap().entries_from(0).count(), 44);
}
