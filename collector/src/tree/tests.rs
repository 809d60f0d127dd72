use std::fs;
use std::path::Path;

use evidence::merkle::empty_root;
use proptest::prelude::*;

use super::*;
use crate::fsck::{self, Part};
use crate::ledger::tests::{Bench, In, ORIGIN, Running, log_key, statement};

fn key() -> VerifierKey {
    VerifierKey::new(ORIGIN, *log_key().public()).unwrap()
}

/// Appends statements of one device until the log has `size` entries.
fn grow_to(running: &Running, size: u64) {
    let mut previous = Digest::ZERO;
    let instance = crate::ledger::tests::instance(1);
    let mut sequence = 0;
    if let Some(state) = running.ledger.instance(&instance).unwrap() {
        (sequence, previous) = (state.next_sequence, state.last_hash);
    }
    // Nothing is under way here, so that the log's size stands still.
    let missing = size - running.ledger.size();
    let mut waiting = Vec::new();
    for left in (0..missing).rev() {
        let envelope = statement(1, sequence, previous, sequence);
        previous = envelope.hash();
        sequence += 1;
        let device = crate::sequencer::Device::new(&envelope).unwrap();
        waiting.push(running.sequencer.submit(device).unwrap());
        if waiting.len() == 100 || left == 0 {
            for answer in waiting.drain(..) {
                answer.blocking_recv().unwrap().unwrap();
            }
        }
    }
    assert_eq!(running.ledger.size(), size);
}

/// The published checkpoint of everything that was acknowledged.
fn published(running: &Running) -> Arc<Published> {
    let size = running.ledger.size();
    for _ in 0..2_000 {
        if let Some(newest) = running.ledger.checkpoint().filter(|newest| newest.checkpoint.size == size) {
            return newest;
        }
        thread::sleep(Duration::from_millis(5));
    }
    panic!("no checkpoint of {size} entries")
}

fn open(root: &Path, running: &Running) -> (PublicTree, Repairs) {
    PublicTree::open(Folder::new(root), running.ledger.clone(), &[key()]).unwrap()
}

/// What a stranger would check, with nothing but the folder and the key.
fn check_as_a_stranger(root: &Path) -> Checkpoint {
    let folder = Folder::new(root);
    let note = Note::parse(&folder.checkpoint().unwrap().unwrap()).unwrap();
    let checkpoint = Checkpoint::open_strict(&note, &[key()], ORIGIN).unwrap();
    let mut leaves = Vec::new();
    for tile in tiles::tiles(checkpoint.size) {
        let bytes = folder.tile(&tile).unwrap().unwrap_or_else(|| panic!("{tile} is missing"));
        if tile.content() == Content::Entries {
            leaves.extend(tile.parse_entries(&bytes).unwrap().into_iter().map(leaf_hash));
        } else {
            tile.parse_hashes(&bytes).unwrap();
        }
    }
    assert_eq!(leaves.len() as u64, checkpoint.size);
    let mut edge = Edge::new();
    for leaf in leaves {
        let compared = edge.push(leaf, |tile, hashes| {
            assert_eq!(folder.tile(&tile).unwrap().unwrap(), tiles::encode_hashes(hashes), "{tile}");
            Ok::<_, std::convert::Infallible>(())
        });
        compared.unwrap();
    }
    for (tile, hashes) in edge.partial() {
        assert_eq!(folder.tile(&tile).unwrap().unwrap(), tiles::encode_hashes(hashes), "{tile}");
    }
    assert_eq!(edge.root(), checkpoint.root);
    checkpoint
}

fn fsck_of(bench: &Bench) -> fsck::Report {
    let dir = crate::datadir::DataDir::open(&bench.path()).unwrap();
    fsck::check(
        &dir,
        &fsck::Options {
            log_keys: &[key()],
            origin: Some(ORIGIN),
            epoch_leaves: crate::ledger::tests::EPOCH_LEAVES,
            ..fsck::Options::default()
        },
    )
    .unwrap()
}

#[test]
fn the_tree_follows_the_log_and_a_restart_continues_it() {
    let bench = Bench::new();
    let root = bench.path().join("tree");
    let mut shown = Vec::new();
    for sizes in [&[1, 2, 255][..], &[256, 257, 300], &[512, 700]] {
        let running = bench.open(In::Sled).unwrap();
        let (mut tree, repairs) = open(&root, &running);
        assert_eq!(
            repairs,
            Repairs { size: shown.last().copied().unwrap_or(0), files: 0, checkpoint: false }
        );
        for size in sizes {
            grow_to(&running, *size);
            let newest = published(&running);
            tree.publish(&newest).unwrap();
            tree.publish(&newest).unwrap();
            assert_eq!(check_as_a_stranger(&root), newest.checkpoint);
            shown.push(*size);
        }
        running.thread.stop();
    }
    let folder = Folder::new(&root);
    // Every partial tile ever shown is still served: by itself, or cut from the full one.
    for size in &shown {
        for tile in tiles::tiles(*size) {
            let bytes = folder.tile_or_part_of_full(&tile).unwrap().unwrap_or_else(|| panic!("{tile}"));
            match tile.content() {
                Content::Entries => assert!(tile.parse_entries(&bytes).is_ok()),
                Content::Hashes(_) => assert!(tile.parse_hashes(&bytes).is_ok()),
            }
        }
    }
    assert_eq!(
        folder.tile(&Tile::parse("tile/0/000.p/2").unwrap()).unwrap(),
        None,
        "a full tile replaces it"
    );
    let report = fsck_of(&bench);
    assert!(report.sound, "{:?}", report.faults);
    assert_eq!(report.tree_size, 700);
    assert_eq!(report.tree_files, 8, "bundles and tiles, and one older partial tile");
}

#[test]
fn any_flipped_bit_is_found_and_made_good() {
    let bench = Bench::new();
    let root = bench.path().join("tree");
    let running = bench.open(In::Sled).unwrap();
    grow_to(&running, 600);
    let newest = published(&running);
    open(&root, &running).0.publish(&newest).unwrap();
    let folder = Folder::new(&root);
    let paths = folder.paths().unwrap();
    assert_eq!(paths.len(), 1 + 2 * 3 + 1, "{paths:?}");
    running.thread.stop();
    drop(running.ledger);
    drop(running.sequencer);
    for path in paths.iter().filter(|path| *path != "checkpoint") {
        let file = root.join(path);
        let good = fs::read(&file).unwrap();
        for place in [0, good.len() / 2, good.len() - 1] {
            let mut bad = good.clone();
            bad[place] ^= 1 << (place % 8);
            fs::write(&file, &bad).unwrap();
            let report = fsck_of(&bench);
            let parts: Vec<Part> = report.faults.iter().map(|fault| fault.part).collect();
            assert_eq!(parts, [Part::Tree], "{path} {place}: {:?}", report.faults);
            assert!(report.faults[0].what.starts_with(path.as_str()));
        }
        let running = bench.open(In::Sled).unwrap();
        assert_eq!(open(&root, &running).1, Repairs { size: 600, files: 1, checkpoint: false }, "{path}");
        assert_eq!(fs::read(&file).unwrap(), good);
        fs::remove_file(&file).unwrap();
        assert_eq!(open(&root, &running).1.files, 1, "{path}");
        assert_eq!(check_as_a_stranger(&root), newest.checkpoint);
        running.thread.stop();
        drop(running.ledger);
    }
    assert!(fsck_of(&bench).sound);
    fs::write(root.join("tile/0/stray"), b"x").unwrap();
    assert_eq!(fsck_of(&bench).faults.len(), 1);
}

#[test]
fn a_damaged_checkpoint_file_is_made_again_and_a_newer_or_other_log_is_left_alone() {
    let bench = Bench::new();
    let root = bench.path().join("tree");
    let running = bench.open(In::Sled).unwrap();
    grow_to(&running, 20);
    let newest = published(&running);
    open(&root, &running).0.publish(&newest).unwrap();
    fs::write(root.join("checkpoint"), b"nothing").unwrap();
    let (mut tree, repairs) = open(&root, &running);
    assert!(repairs.checkpoint);
    tree.publish(&newest).unwrap();
    assert_eq!(check_as_a_stranger(&root), newest.checkpoint);

    let of = |size, root| {
        let checkpoint = Checkpoint { origin: ORIGIN.to_owned(), size, root };
        checkpoint.sign(&log_key()).unwrap().encode()
    };
    for (note, ahead) in [(of(21, newest.checkpoint.root), true), (of(20, empty_root()), false)] {
        fs::write(root.join("checkpoint"), &note).unwrap();
        let refused = PublicTree::open(Folder::new(&root), running.ledger.clone(), &[key()]).unwrap_err();
        assert_eq!(matches!(refused, TreeError::Ahead { .. }), ahead);
        assert_eq!(matches!(refused, TreeError::Fork { .. }), !ahead);
        assert_eq!(fs::read_to_string(root.join("checkpoint")).unwrap(), note);
    }
    // A root that the leaves do not lead to is never shown.
    fs::write(root.join("checkpoint"), &newest.note).unwrap();
    let (mut tree, _) = open(&root, &running);
    grow_to(&running, 30);
    let wrong = Checkpoint { origin: ORIGIN.to_owned(), size: 30, root: empty_root() };
    let wrong = Published { note: wrong.sign(&log_key()).unwrap().encode(), checkpoint: wrong };
    assert!(matches!(tree.publish(&wrong), Err(TreeError::Leaves { size: 30 })));
    assert_eq!(check_as_a_stranger(&root), newest.checkpoint);
    tree.publish(&published(&running)).unwrap();
    assert_eq!(check_as_a_stranger(&root).size, 30);
}

#[test]
fn a_folder_that_cannot_be_written_is_tried_again_without_loss() {
    let bench = Bench::new();
    let root = bench.path().join("tree");
    let running = bench.open(In::Sled).unwrap();
    grow_to(&running, 10);
    let (mut tree, _) = open(&root, &running);
    // Where the tiles belong lies a file: no folder can be made.
    fs::write(root.join("tile"), b"in the way").unwrap();
    let newest = published(&running);
    assert!(matches!(tree.publish(&newest), Err(TreeError::Io { .. })));
    assert!(!root.join("checkpoint").exists());
    fs::remove_file(root.join("tile")).unwrap();
    tree.publish(&newest).unwrap();
    assert_eq!(check_as_a_stranger(&root), newest.checkpoint);
}

#[test]
fn the_thread_shows_the_last_checkpoint_before_it_stops() {
    let bench = Bench::new();
    let root = bench.path().join("tree");
    let running = bench.open(In::Sled).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _entered = runtime.enter();
    let thread = start(root.clone(), running.ledger.clone(), vec![key()]).unwrap();
    grow_to(&running, 400);
    running.thread.stop();
    thread.stop();
    assert_eq!(check_as_a_stranger(&root).size, 400);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5))]
    /// Any sequence of sizes and restarts ends in the same tree.
    #[test]
    fn any_way_there_leads_to_one_tree(steps in prop::collection::vec((1_u64..140, any::<bool>()), 1..6)) {
        let bench = Bench::new();
        let root = bench.path().join("tree");
        let running = bench.open(In::Memory).unwrap();
        let mut tree = open(&root, &running).0;
        let mut size = 1;
        for (more, reopen) in steps {
            size += more;
            grow_to(&running, size);
            if reopen {
                tree = open(&root, &running).0;
            }
            tree.publish(&published(&running)).unwrap();
        }
        prop_assert_eq!(check_as_a_stranger(&root).size, size);
        running.thread.stop();
    }
}
