use super::*;

#[test]
fn a_new_file_never_replaces_another() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plan.json");
    create(&path, "the plan", b"one").unwrap();
    let error = format!("{:#}", create(&path, "the plan", b"two").unwrap_err());
    assert!(error.contains("never overwritten"), "{error}");
    assert_eq!(read(&path, "the plan", 3).unwrap(), b"one");
}

#[test]
fn a_file_beyond_its_limit_is_refused_and_not_cut() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plan.json");
    create(&path, "the plan", b"four").unwrap();
    let error = read(&path, "the plan", 3).unwrap_err().to_string();
    assert!(error.contains("more than 3 bytes"), "{error}");
}

#[test]
fn a_replaced_file_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trust.json");
    create(&path, "the trust file", b"one").unwrap();
    replace(&path, "the trust file", b"two").unwrap();
    assert_eq!(read(&path, "the trust file", 9).unwrap(), b"two");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[cfg(unix)]
#[test]
fn a_secret_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nonce");
    create_secret(&path, "the nonce", b"secret").unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(read_secret(&path, "the nonce", 9).unwrap().as_slice(), b"secret");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let error = read_secret(&path, "the nonce", 9).unwrap_err().to_string();
    assert!(error.contains("chmod 600"), "{error}");
}
