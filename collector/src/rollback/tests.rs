use std::os::unix::fs::symlink;

use super::*;
use crate::config::Listen;

fn config(high_water: Option<PathBuf>, accept_rollback_blindness: bool) -> Config {
    let address = "127.0.0.1:0".parse().unwrap();
    Config {
        origin: "evidence.example.com/log/main".into(),
        trust_domain: "evidence.example.com".into(),
        server_names: vec!["127.0.0.1".into()],
        listen: Listen { enrol: address, agents: address, people: address, tiles: None },
        high_water,
        mirror: None,
        admit_known_hardware: false,
        accept_rollback_blindness,
        witness_policy: None,
        witness_roots: None,
        predecessor_tree: None,
        witness_recosign_seconds: 600,
        segment_bytes: 1 << 20,
        journal_segments_kept: crate::config::journal_segments_kept_default(),
        checkpoint_interval_ms: 1_000,
        free_bytes_min: 0,
        ballast_bytes: 0,
        retention: crate::config::Retention::default(),
        quota: crate::quota::Quota::default(),
    }
}

#[test]
fn a_mark_is_wanted_unless_blindness_is_accepted() {
    let parent = tempfile::tempdir().unwrap();
    for dir in [parent.path().to_owned(), parent.path().join("not made yet")] {
        let refused = require_memory(&dir, &config(None, false));
        assert!(matches!(refused, Err(RollbackError::NoMark { .. })), "{refused:?}");
        require_memory(&dir, &config(None, true)).unwrap();
    }
}

#[test]
fn a_mark_on_the_same_file_system_is_none() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("data");
    let mark = parent.path().join("mark");
    for made in [false, true] {
        if made {
            fs::create_dir(&dir).unwrap();
        }
        let refused = require_memory(&dir, &config(Some(mark.clone()), false));
        let same = "on the same file system as";
        assert!(
            matches!(refused, Err(RollbackError::Together { place, .. }) if place == same),
            "{refused:?}"
        );
        require_memory(&dir, &config(Some(mark.clone()), true)).unwrap();
    }
}

#[test]
fn a_mark_in_the_data_directory_is_none_whatever_path_leads_there() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("data");
    let refused = require_memory(&dir, &config(Some(dir.join("mark")), false));
    assert!(matches!(refused, Err(RollbackError::Together { place: "inside", .. })), "{refused:?}");
    fs::create_dir(&dir).unwrap();
    let link = parent.path().join("elsewhere");
    symlink(&dir, &link).unwrap();
    for mark in [dir.join("mark"), link.join("mark"), parent.path().join("./data/../data/mark")] {
        let refused = require_memory(&dir, &config(Some(mark), false));
        assert!(matches!(refused, Err(RollbackError::Together { place: "inside", .. })), "{refused:?}");
    }
}

#[test]
fn a_mark_elsewhere_is_one() {
    // procfs is mounted wherever these tests run, and is never the file system of a temporary folder.
    let parent = tempfile::tempdir().unwrap();
    require_memory(parent.path(), &config(Some("/proc/mark".into()), false)).unwrap();
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let parent = tempfile::tempdir().unwrap();
    let mark = parent.path().join("not mounted").join("mark");
    let refused = require_memory(&parent.path().join("data"), &config(Some(mark.clone()), false));
    let Err(RollbackError::Inspect { path, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!(Some(path.as_path()), mark.parent());
}

#[test]
fn a_relative_mark_is_refused_also_when_blindness_is_accepted() {
    let parent = tempfile::tempdir().unwrap();
    for accepted in [false, true] {
        let refused = require_memory(parent.path(), &config(Some("mark".into()), accepted));
        assert!(matches!(refused, Err(RollbackError::Relative { key: "high_water", .. })), "{refused:?}");
        let mirrored = Config { mirror: Some("mirror".into()), ..config(None, accepted) };
        let refused = require_memory(parent.path(), &mirrored);
        assert!(matches!(refused, Err(RollbackError::Relative { key: "mirror", .. })), "{refused:?}");
    }
}

#[test]
fn a_mirror_stands_where_a_mark_would_have_to_and_comes_after_mark_and_witnesses() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("data");
    fs::create_dir(&dir).unwrap();
    let config = |mirror: &Path, mark: Option<&str>| Config {
        mirror: Some(mirror.to_owned()),
        ..config(mark.map(PathBuf::from), false)
    };
    // procfs is another file system; whether anything can be read there is asked later.
    let elsewhere = Path::new("/proc/mirror");
    assert_eq!(require_memory(&dir, &config(elsewhere, None)).unwrap(), Memory::Mirror);
    assert_eq!(require_memory(&dir, &config(elsewhere, Some("/proc/mark"))).unwrap(), Memory::Mark);
    let watched = Config { witness_policy: Some("policy".into()), ..config(elsewhere, None) };
    assert_eq!(require_memory(&dir, &watched).unwrap(), Memory::Witnesses);
    // A mirror that goes back with the log is refused beside a good mark too: it would only seem to be one.
    for mark in [None, Some("/proc/mark")] {
        for (mirror, expected) in [
            (dir.join("mirror"), "inside"),
            (parent.path().join("mirror"), "on the same file system as"),
            (parent.path().to_owned(), "on the same file system as"),
        ] {
            let refused = require_memory(&dir, &config(&mirror, mark));
            assert!(
                matches!(refused, Err(RollbackError::Together { what: "mirror", place, .. }) if place == expected),
                "{refused:?}"
            );
        }
    }
    let unmounted = parent.path().join("not mounted").join("mirror");
    let refused = require_memory(&dir, &config(&unmounted, None));
    assert!(matches!(refused, Err(RollbackError::Inspect { what: "mirror", .. })), "{refused:?}");
}
