use certs::PersonPublicKey;

use super::*;

#[test]
fn a_pair_of_files_is_one_person() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("alice.key");
    let key = PersonKey::new(&[1; 32]).unwrap();
    let public_file = write_pair(&path, &key, None).unwrap();
    assert_eq!(public_file, folder.path().join("alice.key.pub"));
    let secret = files::read_secret(&path, "the key file", 8192).unwrap();
    let public = files::read(&public_file, "the public key file", 8192).unwrap();
    assert_eq!(PersonKey::parse(&secret).unwrap().public(), PersonPublicKey::parse(&public).unwrap());
}

#[test]
fn no_key_is_ever_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("alice.key");
    write_pair(&path, &PersonKey::new(&[1; 32]).unwrap(), None).unwrap();
    let before = std::fs::read(&path).unwrap();
    write_pair(&path, &PersonKey::new(&[2; 32]).unwrap(), None).unwrap_err();
    std::fs::remove_file(folder.path().join("alice.key.pub")).unwrap();
    write_pair(&path, &PersonKey::new(&[2; 32]).unwrap(), None).unwrap_err();
    assert_eq!(std::fs::read(&path).unwrap(), before);
}
