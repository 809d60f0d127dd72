use super::*;

#[test]
fn a_path_stays_inside_and_outside_of_what_restore_makes() {
    for good in
        ["collector.toml", "certs/issued/0.der", "tree/tile/entries/x001/000", "payload/000.p/12", "a b"]
    {
        assert!(is_placeable(good), "{good}");
    }
    for bad in [
        "",
        "/etc/passwd",
        "../up",
        "certs/../../up",
        "keys/log.key",
        "keys",
        "data-keys/keys",
        "journal/00000000.seg",
        "high-water",
        "ballast",
        "sled/x",
        "admin.sock",
        "restore.unfinished",
        "shipment.json",
        "certs/a.new",
        ".new/0",
        "./keys/log.key",
        "certs/.new/0",
        "a\\b",
    ] {
        assert!(!is_placeable(bad), "{bad}");
    }
}

#[test]
fn a_manifest_has_one_form() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(Manifest::read(folder.path()).unwrap(), None);
    let mut manifest = Manifest::new("example.org/log/test", "key");
    manifest.files.insert("certs/root.pem".into(), Shipped::new(b"root", 1));
    let bytes = manifest.encode().unwrap();
    let path = folder.path().join(MANIFEST);
    fs::write(&path, &bytes).unwrap();
    assert_eq!(Manifest::read(folder.path()).unwrap(), Some(manifest.clone()));
    for place in 0..bytes.len() {
        for bit in 0..8 {
            let mut bad = bytes.clone();
            bad[place] ^= 1 << bit;
            fs::write(&path, bad).unwrap();
            Manifest::read(folder.path()).unwrap_err();
        }
    }
    fs::write(&path, [&bytes[..], b"\n"].concat()).unwrap();
    Manifest::read(folder.path()).unwrap_err();
    manifest.files.insert("keys/log.key".into(), Shipped::new(b"key", 1));
    fs::write(&path, manifest.encode().unwrap()).unwrap();
    let refused = Manifest::read(folder.path()).unwrap_err();
    assert!(refused.to_string().contains("no backup holds a file of that name"), "{refused}");
}
