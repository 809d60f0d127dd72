use std::fs;

use evidence::keys::SecretKey;
use evidence::note::Checkpoint;

use super::*;

const FILE_BYTES: u64 = 2_000;

fn open(root: &Path) -> Recent {
    Recent::with_file_bytes(root, FILE_BYTES).unwrap()
}

fn note(size: u64) -> String {
    let key = SecretKey::from_seed(&[9; 32]).unwrap();
    let checkpoint = Checkpoint { origin: "example.org/log/test".into(), size, root: Digest::of(b"root") };
    checkpoint.sign(&key).unwrap().encode()
}

fn hash(note: &str) -> Digest {
    Digest::of(note.as_bytes())
}

#[test]
fn the_newest_notes_are_there_and_the_oldest_go() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("notes");
    let mut recent = open(&root);
    assert!(recent.is_empty() && !root.exists(), "nothing is made before there is something");
    let notes: Vec<String> = (1..60).map(note).collect();
    for (size, note) in (1..).zip(&notes) {
        recent.push(note).unwrap();
        recent.push(note).unwrap();
        assert_eq!(recent.size(&hash(note)), Some(size));
    }
    for recent in [recent, open(&root)] {
        let there = notes.iter().map(|note| recent.note(&hash(note)).unwrap());
        let there: Vec<bool> = there.zip(&notes).map(|(found, note)| found.as_ref() == Some(note)).collect();
        let gone = there.iter().take_while(|there| !**there).count();
        assert!(gone > 0 && there.iter().skip(gone).all(|there| *there), "{there:?}");
        let bytes: usize = notes.iter().skip(gone).map(|note| note.len() + 4).sum();
        assert!(bytes as u64 > FILE_BYTES, "at least one whole file is kept: {bytes}");
        assert_eq!(recent.smallest_size(), Some(gone as u64 + 1));
    }
    let lengths = ["recent", "recent.old"].map(|name| fs::metadata(root.join(name)).unwrap().len());
    assert!(lengths.iter().all(|length| *length <= FILE_BYTES), "{lengths:?}");
}

#[test]
fn a_file_torn_at_any_byte_keeps_the_whole_notes_before_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut recent = open(folder.path());
    let notes: Vec<String> = (1..4).map(note).collect();
    for note in &notes {
        recent.push(note).unwrap();
    }
    let path = folder.path().join("recent");
    let whole = fs::read(&path).unwrap();
    let length = whole.len() / 3;
    for cut in 0..whole.len() {
        // What a system that ended may leave after what it wrote.
        for tail in [&[][..], &[0; 9], &[255; 9]] {
            fs::write(&path, [&whole[..cut], tail].concat()).unwrap();
            let mut recent = open(folder.path());
            for (number, note) in notes.iter().enumerate() {
                let is_whole = (number + 1) * length <= cut;
                assert_eq!(recent.note(&hash(note)).unwrap().is_some(), is_whole, "{cut}");
            }
            let next = note(9);
            recent.push(&next).unwrap();
            assert_eq!(open(folder.path()).note(&hash(&next)).unwrap(), Some(next));
        }
    }
}

#[test]
fn a_changed_note_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let mut recent = open(folder.path());
    let note = note(1);
    recent.push(&note).unwrap();
    let path = folder.path().join("recent");
    let mut bytes = fs::read(&path).unwrap();
    bytes[9] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert_eq!(recent.note(&hash(&note)).unwrap(), None);
    assert_eq!(open(folder.path()).note(&hash(&note)).unwrap(), None);
}

proptest::proptest! {
    #[test]
    fn a_bundle_is_read_back_and_nothing_cut_is(sizes in proptest::collection::vec(1_u64..9, 1..5), cut in 1_usize..40) {
        let notes: Vec<String> = sizes.into_iter().map(note).collect();
        let mut bytes = Vec::new();
        for note in &notes {
            push(&mut bytes, note);
        }
        proptest::prop_assert_eq!(parse(&bytes).unwrap(), notes);
        proptest::prop_assert_eq!(parse(&bytes[..bytes.len() - cut]), None);
    }
}
