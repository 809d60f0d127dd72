use std::os::unix::fs::PermissionsExt as _;

use super::{StateDirectory, StateError};

fn directory() -> (tempfile::TempDir, StateDirectory) {
    let folder = tempfile::tempdir().unwrap();
    let state = StateDirectory::new(folder.path().join("state"));
    state.create().unwrap();
    (folder, state)
}

fn mode(path: &std::path::Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn secrets_are_private_and_never_written_over() {
    let (_folder, state) = directory();
    state.write_new_secret("a.key", b"secret").unwrap();
    let path = state.keys().join("a.key");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(std::fs::metadata(state.keys()).unwrap().permissions().mode() & 0o7777, 0o700);
    assert_eq!(state.read_secret("a.key").unwrap().unwrap().as_slice(), b"secret");
    assert!(state.write_new_secret("a.key", b"other").is_err());
    assert_eq!(state.read_secret("a.key").unwrap().unwrap().as_slice(), b"secret");
    assert!(state.read_secret("b.key").unwrap().is_none());
}

#[test]
fn readable_by_others_is_refused() {
    let (_folder, state) = directory();
    state.write_new_secret("a.key", b"secret").unwrap();
    let path = state.keys().join("a.key");
    for bits in [0o640, 0o604, 0o620, 0o660] {
        mode(&path, bits);
        assert!(matches!(state.read_secret("a.key"), Err(StateError::Mode { .. })), "{bits:o}");
    }
    mode(&path, 0o400);
    assert!(state.read_secret("a.key").is_ok());
    mode(&state.keys(), 0o750);
    assert!(matches!(state.read_secret("a.key"), Err(StateError::Mode { wanted: 0o700, .. })));
    assert!(matches!(state.write_new_secret("b.key", b"x"), Err(StateError::Mode { .. })));
}

#[test]
fn a_link_is_no_secret() {
    let (folder, state) = directory();
    let elsewhere = folder.path().join("elsewhere");
    std::fs::write(&elsewhere, b"x").unwrap();
    std::os::unix::fs::symlink(&elsewhere, state.keys().join("a.key")).unwrap();
    assert!(matches!(state.read_secret("a.key"), Err(StateError::Special { .. })));
    assert!(state.write_new_secret("a.key", b"y").is_err());
    assert_eq!(std::fs::read(&elsewhere).unwrap(), b"x");
}

#[test]
fn a_key_with_a_second_name_is_refused() {
    let (folder, state) = directory();
    state.write_new_secret("a.key", b"secret").unwrap();
    std::fs::hard_link(state.keys().join("a.key"), folder.path().join("copy")).unwrap();
    assert!(matches!(state.read_secret("a.key"), Err(StateError::Special { .. })));
}

#[test]
fn a_pipe_is_no_secret_and_is_not_waited_for() {
    let (_folder, state) = directory();
    let path = state.keys().join("a.key");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    assert!(matches!(state.read_secret("a.key"), Err(StateError::Special { .. })));
}

#[test]
fn a_secret_is_not_larger_than_secrets_are() {
    let (_folder, state) = directory();
    state.write_new_secret("a.key", &vec![0; 64 * 1024]).unwrap();
    state.read_secret("a.key").unwrap();
    state.write_new_secret("b.key", &vec![0; 64 * 1024 + 1]).unwrap();
    assert!(matches!(state.read_secret("b.key"), Err(StateError::Io { what: "read", .. })));
}

#[test]
fn a_folder_above_that_others_may_change_is_refused() {
    let (folder, state) = directory();
    state.write_new_secret("a.key", b"secret").unwrap();
    for (bits, refused) in
        [(0o777, true), (0o775, true), (0o757, true), (0o1777, false), (0o755, false), (0o700, false)]
    {
        for above in [folder.path(), state.path()] {
            mode(above, bits);
            let read = state.read_secret("a.key");
            let written = state.write_new_secret("b.key", b"x");
            mode(above, 0o755);
            state.remove_secret("b.key").unwrap();
            assert_eq!(matches!(read, Err(StateError::Parent { .. })), refused, "{bits:o} {read:?}");
            assert_eq!(matches!(written, Err(StateError::Parent { .. })), refused, "{bits:o} {written:?}");
            assert_eq!(read.is_ok(), !refused, "{bits:o} {read:?}");
        }
    }
}

#[test]
fn a_link_on_the_way_is_as_good_as_where_it_lies_and_leads() {
    let folder = tempfile::tempdir().unwrap();
    let (here, there) = (folder.path().join("here"), folder.path().join("there"));
    for folder in [&here, &there] {
        std::fs::create_dir(folder).unwrap();
    }
    std::os::unix::fs::symlink(&there, here.join("link")).unwrap();
    let state = StateDirectory::new(here.join("link").join("state"));
    state.create().unwrap();
    state.write_new_secret("a.key", b"secret").unwrap();
    for open in [&here, &there] {
        mode(open, 0o777);
        let read = state.read_secret("a.key");
        mode(open, 0o755);
        assert!(matches!(read, Err(StateError::Parent { .. })), "{} {read:?}", open.display());
    }
    state.read_secret("a.key").unwrap();
}

#[test]
fn another_users_key_is_refused() {
    let (folder, state) = directory();
    state.write_new_secret("a.key", b"secret").unwrap();
    // Only root may give a file away; as anybody else there is nobody to give it to.
    if rustix::process::geteuid().is_root() {
        let nobody = Some(65534);
        std::os::unix::fs::chown(state.keys().join("a.key"), nobody, None).unwrap();
        assert!(matches!(state.read_secret("a.key"), Err(StateError::Owner { owner: 65534, .. })));
        std::os::unix::fs::chown(state.keys().join("a.key"), Some(0), None).unwrap();
        std::os::unix::fs::chown(folder.path(), nobody, None).unwrap();
        assert!(matches!(state.read_secret("a.key"), Err(StateError::Parent { .. })));
    }
}

#[test]
fn one_agent_at_a_time() {
    let (_folder, state) = directory();
    assert!(!state.is_locked());
    let lock = state.lock().unwrap();
    assert!(state.is_locked());
    assert!(matches!(state.lock(), Err(StateError::Locked { .. })));
    drop(lock);
    state.lock().unwrap();
}
