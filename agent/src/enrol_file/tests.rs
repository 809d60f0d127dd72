use std::fs;
use std::path::Path;

use super::{EnrolFile, EnrolFileError};
use crate::identity::IDENTITY_FILE;
use crate::state::StateDirectory;

fn parsed(text: &str) -> Result<EnrolFile, String> {
    EnrolFile::parse(text.as_bytes(), Path::new("/etc/tallystick/enrol.toml"))
        .map_err(|error| error.to_string())
}

#[test]
fn the_token_lies_beside_the_file_unless_it_says_otherwise() {
    let file = parsed("server = \"collector.example.com:7443\"").unwrap();
    assert_eq!(file.server.to_string(), "collector.example.com:7443");
    assert_eq!((file.agents, file.token_file.as_path()), (None, Path::new("/etc/tallystick/token")));
    let file = parsed("server = \"a:1\"\nagents = \"b:2\"\ntoken_file = \"/run/token\"").unwrap();
    assert_eq!(file.agents.unwrap().to_string(), "b:2");
    assert_eq!(file.token_file, Path::new("/run/token"));
}

#[test]
fn mistakes_name_file_and_key() {
    for (text, named) in [
        ("", "server"),
        ("server = 3", "server"),
        ("server = \"collector\"", "server = \"collector\""),
        ("server = \"a:1\"\nagents = \"\"", "agents = \"\""),
        ("server = \"a:1\"\ntoken = \"tst1.…\"", "token"),
        ("server =", "line 1"),
    ] {
        let error = parsed(text).unwrap_err();
        assert!(error.starts_with("/etc/tallystick/enrol.toml: "), "{error}");
        assert!(error.contains(named), "{error}");
    }
    let error = EnrolFile::parse(b"\xff", Path::new("enrol.toml")).unwrap_err().to_string();
    assert_eq!(error, "enrol.toml: is not UTF-8");
}

#[test]
fn an_enrolled_device_asks_for_nothing_until_a_token_waits() {
    let folder = tempfile::tempdir().unwrap();
    let state = StateDirectory::new(folder.path());
    let path = folder.path().join("enrol.toml");
    let missing = EnrolFile::waiting(&path, &state).unwrap_err();
    assert!(matches!(missing, EnrolFileError::Read { .. }), "{missing}");
    fs::write(folder.path().join(IDENTITY_FILE), "{}").unwrap();
    assert_eq!(EnrolFile::waiting(&path, &state).unwrap(), None);
    fs::write(&path, "server = \"a:1\"").unwrap();
    assert_eq!(EnrolFile::waiting(&path, &state).unwrap(), None);
    fs::write(folder.path().join("token"), "text").unwrap();
    let waiting = EnrolFile::waiting(&path, &state).unwrap().unwrap();
    waiting.remove_token().unwrap();
    waiting.remove_token().unwrap();
    assert_eq!(EnrolFile::waiting(&path, &state).unwrap(), None);
    fs::remove_file(folder.path().join(IDENTITY_FILE)).unwrap();
    assert!(EnrolFile::waiting(&path, &state).unwrap().is_some(), "the token will be missed, and said");
}

#[cfg(unix)]
#[test]
fn a_token_that_others_can_read_is_not_used() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    let file = EnrolFile { server: "a:1".parse().unwrap(), agents: None, token_file: path.clone() };
    assert!(file.token().is_err(), "there is none");
    fs::write(&path, "text\n").unwrap();
    let mode = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    mode(0o640);
    let open = file.token().unwrap_err().to_string();
    assert!(open.contains("chmod 0600"), "{open}");
    mode(0o600);
    assert_eq!(file.token().unwrap().as_str(), "text\n");
    fs::rename(&path, folder.path().join("other")).unwrap();
    std::os::unix::fs::symlink("other", &path).unwrap();
    let link = file.token().unwrap_err().to_string();
    assert!(link.contains("not a regular file"), "{link}");
}
