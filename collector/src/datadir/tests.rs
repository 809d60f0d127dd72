use super::*;

const BALLAST_BYTES: u64 = 8192;

#[test]
fn it_is_made_once_and_only_for_its_owner() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("data");
    let dir = DataDir::create(&path, BALLAST_BYTES).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(fs::metadata(dir.keys()).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(fs::metadata(dir.ballast()).unwrap().len(), BALLAST_BYTES);
    drop(dir);
    assert!(matches!(DataDir::create(&path, 0), Err(DataDirError::NotEmpty { .. })));
    DataDir::open(&path).unwrap();
}

#[test]
fn it_is_opened_by_its_owner_alone() {
    let parent = tempfile::tempdir().unwrap();
    let owner = fs::metadata(parent.path()).unwrap().uid();
    refuse_foreign(parent.path(), owner).unwrap();
    let error = refuse_foreign(parent.path(), owner + 1).unwrap_err();
    assert!(error.to_string().contains(&format!("belongs to user {owner}")), "{error}");
}

#[test]
fn opening_makes_nothing() {
    let parent = tempfile::tempdir().unwrap();
    assert!(matches!(DataDir::open(parent.path()), Err(DataDirError::Absent { .. })));
    assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
}

#[test]
fn a_second_holder_is_refused_until_the_first_is_gone() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("data");
    let first = DataDir::create(&path, 0).unwrap();
    assert!(matches!(DataDir::open(&path), Err(DataDirError::Locked { .. })));
    drop(first);
    DataDir::open(&path).unwrap();
}

#[test]
fn folders_and_keys_that_others_can_read_are_refused() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("data");
    let key = DataDir::create(&path, 0).unwrap().keys().join("log.key");
    fs::write(&key, b"secret").unwrap();
    for (target, bad, good) in [(&path, 0o750, 0o700), (&key, 0o604, 0o600)] {
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        fs::set_permissions(target, fs::Permissions::from_mode(bad)).unwrap();
        let refused = DataDir::open(&path);
        assert!(matches!(refused, Err(DataDirError::Permissions { fix, .. }) if fix == good));
        fs::set_permissions(target, fs::Permissions::from_mode(good)).unwrap();
        DataDir::open(&path).unwrap();
    }
}

#[test]
fn ballast_is_given_back_and_restored() {
    let parent = tempfile::tempdir().unwrap();
    let dir = DataDir::create(&parent.path().join("data"), BALLAST_BYTES).unwrap();
    dir.release_ballast().unwrap();
    dir.release_ballast().unwrap();
    assert!(!dir.ballast().exists());
    let restore = |bytes_kept| dir.restore_ballast(BALLAST_BYTES, bytes_kept).unwrap();
    // More than any disk has must stay free.
    assert!(matches!(restore(1 << 60), Ballast::NoRoom { needed_bytes, .. } if needed_bytes > 1 << 60));
    assert!(!dir.ballast().exists());
    assert_eq!(restore(0), Ballast::Restored);
    let found = fs::metadata(dir.ballast()).unwrap();
    assert_eq!((found.len(), found.permissions().mode() & 0o777), (BALLAST_BYTES, 0o600));
    assert!(found.blocks() * 512 >= BALLAST_BYTES, "room that is really taken");
    assert_eq!(restore(1 << 60), Ballast::Whole);
    // A start that was cut short left a part of it.
    File::options().write(true).open(dir.ballast()).unwrap().set_len(BALLAST_BYTES / 2).unwrap();
    assert_eq!(restore(0), Ballast::Restored);
    assert_eq!(fs::metadata(dir.ballast()).unwrap().len(), BALLAST_BYTES);
    dir.release_ballast().unwrap();
    assert_eq!(dir.restore_ballast(0, 0).unwrap(), Ballast::Whole, "none is wanted");
    assert!(!dir.ballast().exists());
}

#[test]
fn a_replaced_file_is_whole_and_leaves_nothing_beside_it() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("high-water");
    for bytes in [b"first".as_slice(), b"second, longer", b"3"] {
        replace_file(&path, bytes).unwrap();
        assert_eq!(fs::read(&path).unwrap(), bytes);
    }
    assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 1);
}

#[test]
fn a_path_too_long_for_the_admin_socket_is_refused_before_anything_is_made() {
    let parent = tempfile::tempdir().unwrap();
    let room = SOCKET_PATH_BYTES_MAX - parent.path().as_os_str().len() - "//admin.sock".len();
    let [fits, longer] = [room, room + 1].map(|bytes| parent.path().join("d".repeat(bytes)));
    let refused = DataDir::create(&longer, 0);
    assert!(matches!(refused, Err(DataDirError::LongPath { bytes: 108, bytes_max: 107, .. })), "{refused:?}");
    assert!(!longer.exists());
    let dir = DataDir::create(&fits, 0).unwrap();
    // The limit is the system's own.
    std::os::unix::net::UnixListener::bind(dir.admin_socket()).unwrap();
    fs::create_dir(&longer).unwrap();
    std::os::unix::net::UnixListener::bind(admin_socket(&longer)).unwrap_err();
}
