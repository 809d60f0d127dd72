use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use evidence::keys::SecretKey;
use tempfile::TempDir;

use super::*;

const ORIGIN: &str = "example.org/log/mirror";

fn log_key() -> SecretKey {
    SecretKey::from_seed(&[7; 32]).unwrap()
}

fn believed() -> Believed {
    let key = VerifierKey::new(ORIGIN, *log_key().public()).unwrap();
    Believed { origin: ORIGIN.to_owned(), log_keys: LogKeys::pinned(&[key]), pinned: Vec::new() }
}

/// Leaf `n` of the history `tag`; histories are alike before `fork_at`.
fn leaf(n: u64, tag: u8, fork_at: u64) -> Vec<u8> {
    let mut leaf = n.to_be_bytes().to_vec();
    leaf.push(if n < fork_at { 0 } else { tag });
    leaf.resize(43 + usize::try_from(n % 41).unwrap(), 9);
    leaf
}

/// Writes the public tree of `size` leaves.
fn publish(root: &Path, size: u64, tag: u8, fork_at: u64) -> Digest {
    let mut out = Copy::open(root).unwrap();
    let (mut edge, mut bundle) = (Edge::new(), Vec::new());
    for n in 0..size {
        let bytes = leaf(n, tag, fork_at);
        tiles::push_entry(&mut bundle, &bytes).unwrap();
        edge.push(leaf_hash(&bytes), |tile, hashes| out.put(&tile, &tiles::encode_hashes(hashes)).map(drop))
            .unwrap();
        let (number, width) = tiles::row(n + 1, 0);
        if width == 0 {
            out.put(&Tile::new(Content::Entries, number - 1, 256).unwrap(), &bundle).unwrap();
            bundle.clear();
        }
    }
    let (number, width) = tiles::row(size, 0);
    if let Some(tile) = Tile::new(Content::Entries, number, width) {
        out.put(&tile, &bundle).unwrap();
    }
    for (tile, hashes) in edge.partial() {
        out.put(&tile, &tiles::encode_hashes(hashes)).unwrap();
    }
    let root = edge.root();
    let checkpoint = Checkpoint { origin: ORIGIN.to_owned(), size, root };
    out.put_checkpoint(checkpoint.sign(&log_key()).unwrap().encode().as_bytes()).unwrap();
    root
}

fn run(from: &Path, to: &Path, believed: &Believed) -> anyhow::Result<(u64, Ended)> {
    let source = Source::Folder(from.to_owned());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(mirror(
        &source,
        &mut Copy::open(to).unwrap(),
        &mut believed.clone(),
        None,
        &ProgressBar::hidden(),
    ))
}

fn level(from: &Path, to: &Path) -> Done {
    match run(from, to, &believed()).unwrap().1 {
        Ended::Level(_, done) => done,
        Ended::Behind(_) => panic!("behind"),
        Ended::Fork(_, why, _) => panic!("{why}"),
    }
}

fn files(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let (mut found, mut folders) = (BTreeMap::new(), vec![root.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(root).unwrap().display().to_string();
                found.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    found
}

fn dirs() -> (TempDir, std::path::PathBuf, std::path::PathBuf) {
    let parent = tempfile::tempdir().unwrap();
    let (from, to) = (parent.path().join("from"), parent.path().join("to"));
    (parent, from, to)
}

#[test]
fn a_copy_holds_what_the_source_holds_and_goes_on_where_it_stopped() {
    let (_parent, from, to) = dirs();
    let mut held = 0;
    for size in [1, 255, 256, 257, 600, 601, 66_000] {
        publish(&from, size, 0, u64::MAX);
        let done = level(&from, &to);
        assert_eq!(done.bundles_kept, held / 256, "{size}");
        assert_eq!(done.bundles_fetched, size.div_ceil(256) - held / 256, "{size}");
        held = size;
        let source = files(&from);
        for (path, bytes) in files(&to) {
            assert_eq!(source.get(&path), Some(&bytes), "{path}");
        }
        for tile in tiles::tiles(size) {
            assert!(to.join(tile.path()).is_file(), "{tile}");
        }
    }
    assert_eq!(level(&from, &to).files_written, 0);
}

#[test]
fn a_damaged_source_changes_nothing() {
    let (_parent, from, to) = dirs();
    publish(&from, 300, 0, u64::MAX);
    level(&from, &to);
    publish(&from, 66_000, 0, u64::MAX);
    let before = fs::read(to.join("checkpoint")).unwrap();
    let needed = [
        "tile/entries/002",
        "tile/entries/256",
        "tile/entries/257.p/208",
        "tile/0/257.p/208",
        "tile/1/000",
        "tile/1/001.p/1",
        "tile/2/000.p/1",
    ];
    for path in needed {
        let file = from.join(path);
        let good = fs::read(&file).unwrap();
        let mut flipped = good.clone();
        flipped[good.len() / 2] ^= 4;
        let mut long = good.clone();
        long.push(0);
        for bad in [flipped, long, good[..good.len() - 1].to_vec(), Vec::new()] {
            fs::write(&file, bad).unwrap();
            assert!(run(&from, &to, &believed()).is_err(), "{path}");
            assert_eq!(fs::read(to.join("checkpoint")).unwrap(), before);
        }
        fs::remove_file(&file).unwrap();
        assert!(run(&from, &to, &believed()).is_err(), "{path}");
        fs::write(&file, good).unwrap();
    }
    level(&from, &to);
}

#[test]
fn damage_of_the_copy_is_made_good() {
    let (_parent, from, to) = dirs();
    publish(&from, 700, 0, u64::MAX);
    level(&from, &to);
    let good = files(&to);
    for (path, bytes) in &good {
        if path == "checkpoint" {
            continue;
        }
        let mut bad = bytes.clone();
        bad[bytes.len() / 2] ^= 1;
        fs::write(to.join(path), bad).unwrap();
        assert!(level(&from, &to).files_written >= 1, "{path}");
        assert_eq!(files(&to), good, "{path}");
    }
    // A folder of something else is not overwritten.
    fs::write(to.join("checkpoint"), b"something else").unwrap();
    assert!(run(&from, &to, &believed()).is_err());
}

#[test]
fn a_fork_is_refused_and_both_checkpoints_are_kept() {
    // Same size, larger, smaller; the histories part inside what the copy holds.
    for (theirs, fork_at) in [(600, 10), (900, 599), (66_000, 0), (400, 399)] {
        let (_parent, from, to) = dirs();
        publish(&from, 600, 0, u64::MAX);
        level(&from, &to);
        let before = files(&to);
        let (_other, other, _) = dirs();
        publish(&other, theirs, 1, fork_at);
        let (size, ended) = run(&other, &to, &believed()).unwrap();
        let Ended::Fork(_, why, folder) = ended else { panic!("{theirs} was taken") };
        assert_eq!(size, 600);
        assert!(!why.is_empty());
        assert_eq!(fs::read(folder.join("ours")).unwrap(), before["checkpoint"]);
        assert_eq!(fs::read(folder.join("theirs")).unwrap(), fs::read(other.join("checkpoint")).unwrap());
        let mut after = files(&to);
        after.retain(|path, _| !path.starts_with("forks/"));
        assert_eq!(after, before);
    }
}

#[test]
fn an_older_state_is_no_fork() {
    let (_parent, from, to) = dirs();
    publish(&from, 900, 0, u64::MAX);
    level(&from, &to);
    let before = files(&to);
    for older in [1, 256, 600] {
        let (_other, other, _) = dirs();
        publish(&other, older, 0, u64::MAX);
        assert!(matches!(run(&other, &to, &believed()).unwrap().1, Ended::Behind(_)));
        assert_eq!(files(&to), before);
    }
}

#[test]
fn pins_and_keys_must_hold() {
    let (_parent, from, to) = dirs();
    let (_other, other, _) = dirs();
    publish(&from, 700, 0, u64::MAX);
    let root = publish(&other, 300, 1, 299);
    let mut pinned = believed();
    pinned.pinned = vec![(300, root)];
    assert!(matches!(run(&from, &to, &pinned).unwrap().1, Ended::Fork(..)));
    assert!(!to.join("checkpoint").exists());
    // A pin that the source has not reached says nothing yet.
    pinned.pinned = vec![(701, root)];
    assert!(matches!(run(&from, &to, &pinned).unwrap().1, Ended::Level(..)));
    let mut stranger = believed();
    let key = SecretKey::from_seed(&[8; 32]).unwrap();
    stranger.log_keys = LogKeys::pinned(&[VerifierKey::new(ORIGIN, *key.public()).unwrap()]);
    let empty = to.join("empty");
    assert!(run(&from, &empty, &stranger).is_err());
    assert!(!empty.join("checkpoint").exists());
}

#[test]
fn one_run_works_on_a_folder_and_clears_what_a_killed_one_left() {
    let (_parent, from, to) = dirs();
    publish(&from, 10, 0, u64::MAX);
    let held = Copy::open(&to).unwrap();
    assert!(Copy::open(&to).unwrap_err().to_string().contains("another run works on"));
    drop(held);
    fs::write(to.join(".new"), b"half a payload that was erased since").unwrap();
    level(&from, &to);
    assert!(!to.join(".new").exists());
}
