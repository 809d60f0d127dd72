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
fn one_agent_at_a_time() {
    let (_folder, state) = directory();
    assert!(!state.is_locked());
    let lock = state.lock().unwrap();
    assert!(state.is_locked());
    assert!(matches!(state.lock(), Err(StateError::Locked { .. })));
    drop(lock);
    state.lock().unwrap();
}
