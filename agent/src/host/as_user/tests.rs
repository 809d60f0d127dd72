use std::os::unix::fs::{PermissionsExt, chown, symlink};

use rustix::process::{getgid, getuid};

use super::*;

/// A number that nobody has.
const SOMEBODY: u32 = 61_234;
const QUESTION: Question = Question::ReadAs { uid: SOMEBODY, path: ".config/file" };

/// A home folder of somebody, which is somebody else than who runs the test only where that is root.
fn home() -> (tempfile::TempDir, Account) {
    let folder = tempfile::tempdir().unwrap();
    let (uid, gid) =
        if getuid().is_root() { (SOMEBODY, SOMEBODY) } else { (getuid().as_raw(), getgid().as_raw()) };
    if getuid().is_root() {
        chown(folder.path(), Some(uid), Some(gid)).unwrap();
    }
    let account = Account { uid, gid, home: folder.path().to_owned() };
    (folder, account)
}

fn read_within(account: &Account, path: &str) -> Result<Option<Vec<u8>>, Answer> {
    within(account, path, DEADLINE)
}

#[test]
fn a_file_is_read_and_a_missing_one_is_told() {
    let (folder, account) = home();
    fs::write(folder.path().join("file"), "a\nb").unwrap();
    assert_eq!(read_within(&account, "file"), Ok(Some(b"a\nb".to_vec())));
    assert_eq!(read_within(&account, "other/file"), Ok(None));
    fs::write(folder.path().join("large"), vec![b'x'; FILE_BYTES_MAX + 1]).unwrap();
    assert_eq!(read_within(&account, "large"), Err(Answer::TooLarge));
    assert_eq!(read_within(&account, "."), Err(Answer::Failed));
}

#[test]
fn a_link_leads_no_further_than_its_owner_may_go() {
    assert!(getuid().is_root(), "run as root: nobody else has rights to give up");
    let (folder, account) = home();
    let secret = tempfile::NamedTempFile::new().unwrap();
    fs::write(secret.path(), "root's own").unwrap();
    fs::set_permissions(secret.path(), fs::Permissions::from_mode(0o600)).unwrap();
    symlink(secret.path(), folder.path().join("link")).unwrap();
    assert_eq!(read_within(&account, "link"), Err(Answer::Denied));
    // What its owner may read himself, his desktop reads through the link too.
    fs::set_permissions(secret.path(), fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(read_within(&account, "link"), Ok(Some(b"root's own".to_vec())));
    // Root's rights are only given up by the thread that read.
    fs::set_permissions(secret.path(), fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(fs::read(secret.path()).unwrap(), b"root's own");
    assert!(geteuid().is_root());
}

#[test]
fn a_pipe_and_a_device_are_no_files() {
    let (folder, account) = home();
    let pipe = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    assert_eq!(read_within(&account, "pipe"), Err(Answer::Failed));
    symlink("/dev/zero", folder.path().join("zero")).unwrap();
    assert_eq!(read_within(&account, "zero"), Err(Answer::Failed));
}

#[test]
fn users_are_found_by_their_number() {
    let users = "root:x:0:0:root:/root:/bin/sh\nalex:x:1000:1001:Alex:/home/alex:/bin/sh\nno:x:1001:1:::\n";
    let alex = Account { uid: 1000, gid: 1001, home: "/home/alex".into() };
    assert_eq!(account_in(users, 1000), Some(alex));
    for missing in [1001, 1002, 100] {
        assert_eq!(account_in(users, missing), None, "{missing}");
    }
    assert_eq!(account_in("alex:x:1000:1001:Alex:/:/bin/sh\n", 1000), None, "a home that is everything");
}

#[test]
fn lines_are_framed() {
    let Answer::Bytes(bytes) = table(&QUESTION, b"[Daemon]\nTimeout=5\n") else { panic!("no table") };
    let expected = "read-as 61234 .config/file\nrow\nline=text [Daemon]\nline=text Timeout=5\nend 3\n";
    assert_eq!(String::from_utf8(bytes).unwrap(), expected);
    assert_eq!(table(&QUESTION, "\n".repeat(TABLE_LINES_MAX + 1).as_bytes()), Answer::TooLarge);
}
