//! Cosigned notes that statements name: found again without sled, without the newest ones, after a kill in between.

use std::fs;

use evidence::envelope::Envelope;
use evidence::ids::Digest;
use evidence::statement::Anchor;

use super::*;
use crate::log::BUNDLE_LEAVES;

/// A statement that names a checkpoint and its note.
fn naming(number: u8, sequence: u64, previous: Digest, size: u64, note: Digest) -> Envelope {
    let mut statement = statement(number, sequence, previous, 1).claimed().unwrap();
    let (origin, root) = (ORIGIN.to_owned(), Digest::ZERO);
    statement.anchor = Some(Anchor { origin, size, root, note: Some(note) });
    Envelope::sign(&statement, &SecretKey::from_seed(&[number; 32]).unwrap())
}

impl Panel {
    fn published(&self) -> (u64, String) {
        let published = self.running().ledger.checkpoint().unwrap();
        (published.checkpoint.size, published.note.clone())
    }

    fn restart(&mut self) {
        self.stop();
        self.start_with(true, RECOSIGN_INTERVAL_DEFAULT, In::Sled);
        self.publish_all();
    }

    fn notes(&self) -> std::path::PathBuf {
        self.bench.path().join("notes")
    }

    /// Removes files, and what is in folders.
    fn lose(&self, paths: &[&str]) {
        for path in paths {
            let path = self.bench.path().join(path);
            if path.is_dir() {
                fs::remove_dir_all(&path).unwrap();
                fs::create_dir(&path).unwrap();
            } else {
                fs::remove_file(path).unwrap();
            }
        }
    }

    fn wait_file(&self, name: &str) {
        let path = self.notes().join(name);
        self.wait(name, |_| path.exists());
    }
}

#[test]
fn what_statements_name_is_kept_beside_sled() {
    let mut panel = Panel::new(2, "all");
    panel.start_with(true, RECOSIGN_INTERVAL_DEFAULT, In::Sled);
    panel.publish_all();
    let (size, note) = panel.published();
    let hash = Digest::of(note.as_bytes());
    let running = panel.running();
    assert_eq!(running.ledger.cosigned_size(&hash), Some(size));
    let right = naming(1, 0, Digest::ZERO, size, hash);
    let (wrong, unknown) =
        (naming(2, 0, Digest::ZERO, size + 1, hash), naming(3, 0, Digest::ZERO, size, Digest::ZERO));
    let [right, wrong, unknown] = [right, wrong, unknown].map(|one| panel.running().stored(&one).index);
    // Found while the bundle is not full, from the newest notes.
    assert_eq!(panel.running().ledger.cosigned_note(right, &hash).unwrap().as_ref(), Some(&note));
    panel.running().fill_at_once(4, 0, BUNDLE_LEAVES, Digest::ZERO);
    panel.wait_file("000");
    panel.publish_all();
    panel.stop();
    panel.fsck();
    let kept = fs::read(panel.notes().join("000")).unwrap();
    assert_eq!(crate::notes::parse(&kept).unwrap(), [&note], "once, and only for its own checkpoint");

    // Neither sled nor the newest notes are needed for it.
    for lost in [&["sled"][..], &["notes/recent"], &["sled", "notes/recent"]] {
        panel.lose(lost);
        panel.start_with(true, RECOSIGN_INTERVAL_DEFAULT, In::Sled);
        panel.publish_all();
        let ledger = &panel.running().ledger;
        assert_eq!(ledger.cosigned_note(right, &hash).unwrap().as_ref(), Some(&note), "{lost:?}");
        assert_eq!(ledger.cosigned_note(unknown, &Digest::ZERO).unwrap(), None);
        assert!(ledger.cosigned_note(wrong, &hash).unwrap().is_some(), "it lies in the same bundle");
        panel.stop();
        panel.fsck();
    }
}

#[test]
fn a_start_writes_the_notes_that_a_killed_run_did_not() {
    let mut panel = Panel::new(1, "all");
    panel.start_with(true, RECOSIGN_INTERVAL_DEFAULT, In::Sled);
    panel.publish_all();
    let (size, note) = panel.published();
    let hash = Digest::of(note.as_bytes());
    let index = panel.running().stored(&naming(1, 0, Digest::ZERO, size, hash)).index;
    panel.running().fill_at_once(2, 0, 2 * BUNDLE_LEAVES, Digest::ZERO);
    panel.wait_file("001");
    let files = ["000", "001"].map(|name| fs::read(panel.notes().join(name)).unwrap());
    assert_eq!((files[0].is_empty(), files[1].is_empty()), (false, true));
    panel.stop();
    // With sled ahead of the notes, and with sled gone too, whose steps are then made by the start.
    for lost in [&["notes/000"][..], &["notes/000", "notes/001"], &["notes", "sled"]] {
        panel.lose(lost);
        panel.start_with(true, RECOSIGN_INTERVAL_DEFAULT, In::Sled);
        panel.publish_all();
        panel.wait_file("001");
        assert_eq!(panel.running().ledger.cosigned_note(index, &hash).unwrap().as_ref(), Some(&note));
        for (name, bytes) in ["000", "001"].iter().zip(&files) {
            assert_eq!(&fs::read(panel.notes().join(name)).unwrap(), bytes, "{name} after {lost:?}");
        }
        panel.stop();
        panel.fsck();
    }
}

#[test]
fn fsck_says_what_is_no_checkpoint_of_this_log() {
    let mut panel = Panel::new(1, "all");
    panel.start_with(true, RECOSIGN_INTERVAL_DEFAULT, In::Sled);
    panel.publish_all();
    let (size, note) = panel.published();
    let index = panel.running().stored(&naming(1, 0, Digest::ZERO, size, Digest::of(note.as_bytes()))).index;
    panel.running().fill_at_once(2, 0, BUNDLE_LEAVES, Digest::ZERO);
    panel.wait_file("000");
    panel.publish_all();
    panel.restart();
    panel.stop();
    let path = panel.notes().join("000");
    let good = fs::read(&path).unwrap();
    for at in [0, 9, good.len() / 2] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(&path, bad).unwrap();
        let dir = crate::datadir::DataDir::open(&panel.bench.path()).unwrap();
        let key = VerifierKey::new(ORIGIN, *log_key().public()).unwrap();
        let options = fsck::Options { log_keys: &[key], origin: Some(ORIGIN), ..fsck::Options::default() };
        let faults = fsck::check(&dir, &options).unwrap().faults;
        assert_eq!(
            faults.iter().map(|fault| fault.part).collect::<Vec<_>>(),
            [fsck::Part::Notes],
            "{faults:?}"
        );
        drop(dir);
        // It is not given out, and nothing else is the worse for it: the newest notes still have the right one.
        panel.start_with(true, RECOSIGN_INTERVAL_DEFAULT, In::Sled);
        let found = panel.running().ledger.cosigned_note(index, &Digest::of(note.as_bytes())).unwrap();
        assert_eq!(found.as_ref(), Some(&note));
        panel.stop();
    }
}
