use evidence::ids::Digest;
use evidence::leaf::Kind;

use super::*;
use crate::ledger::tests::{Bench, In, ORIGIN, log_key};

fn log() -> VerifierKey {
    VerifierKey::new(ORIGIN, *log_key().public()).unwrap()
}

fn put(folder: &Path, origin: &str, size: u64, root: Digest, key: &SecretKey) {
    let note = Checkpoint { origin: origin.to_owned(), size, root }.sign(key).unwrap();
    fs::write(folder.join(CHECKPOINT_PATH), note.encode()).unwrap();
}

#[test]
fn a_mirror_that_is_behind_or_level_is_one_and_every_other_refuses() {
    let bench = Bench::new();
    let running = bench.open(In::Sled).unwrap();
    running.act(Kind::POLICY, b"one").unwrap();
    let older = running.published().checkpoint.clone();
    running.act(Kind::POLICY, b"two").unwrap();
    let newest = running.published().checkpoint.clone();
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("mirror");
    let ask = |alone| check(&folder, &running.ledger, newest.size, &[log()], alone);
    let why = |alone| ask(alone).unwrap_err().to_string();

    assert!(why(true).contains("nothing shows whether this is the newest copy"), "{}", why(true));
    refuse_other(&folder).unwrap();
    begin(&folder, ORIGIN, &log_key()).unwrap();
    refuse_other(&folder).unwrap_err();
    // Beside another memory it may be empty; alone it must have been kept.
    ask(false).unwrap();
    assert!(why(true).contains("holds nothing yet"), "{}", why(true));
    check(&folder, &running.ledger, 0, &[log()], true).unwrap();

    for level in [&older, &newest] {
        put(&folder, ORIGIN, level.size, level.root, &log_key());
        ask(true).unwrap();
        ask(false).unwrap();
    }
    put(&folder, ORIGIN, newest.size + 1, newest.root, &log_key());
    for alone in [true, false] {
        let said = why(alone);
        assert!(said.contains("this is an old copy of the log") && said.contains("recover --from"), "{said}");
    }
    put(&folder, ORIGIN, older.size, newest.root, &log_key());
    assert!(why(false).contains("two logs have one origin"), "{}", why(false));
    // Not by this log's key, of another origin, not a note, too long, not a file.
    let other = SecretKey::from_seed(&[77; 32]).unwrap();
    put(&folder, ORIGIN, older.size, older.root, &other);
    assert!(why(false).contains("cannot be compared with"), "{}", why(false));
    put(&folder, "example.org/log/other", older.size, older.root, &log_key());
    assert!(why(false).contains("cannot be compared with"), "{}", why(false));
    for bytes in [&b""[..], b"a text", &vec![b'a'; NOTE_BYTES_MAX + 1]] {
        fs::write(folder.join(CHECKPOINT_PATH), bytes).unwrap();
        assert!(why(false).contains("cannot be compared with"), "{}", why(false));
    }
    fs::remove_file(folder.join(CHECKPOINT_PATH)).unwrap();
    fs::create_dir(folder.join(CHECKPOINT_PATH)).unwrap();
    assert!(why(false).contains("cannot be compared with"), "{}", why(false));
    running.stop();
}
