use std::collections::BTreeMap;

use super::*;

fn put(root: &Path, name: &str, bytes: &str) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// A device that is about to exchange its instances.
fn about_to_move() -> (tempfile::TempDir, StateDirectory, StateDirectory) {
    let folder = tempfile::tempdir().unwrap();
    for name in ["identity.json", "anchor", "looked.json", "spool/00000000.seg", "keys/tls.key"] {
        put(folder.path(), name, "old");
    }
    put(folder.path(), "agent.toml", "settings");
    for name in ["identity.json", "spool/00000000.seg", "keys/tls.key"] {
        put(&folder.path().join("successor"), name, "new");
    }
    put(folder.path(), "successor/before", "before-i-1");
    let state = StateDirectory::new(folder.path());
    let next = StateDirectory::new(folder.path().join("successor"));
    (folder, state, next)
}

fn files(root: &Path) -> BTreeMap<String, String> {
    let (mut found, mut folders) = (BTreeMap::new(), vec![root.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(root).unwrap().display().to_string();
                found.insert(name, fs::read_to_string(path).unwrap());
            }
        }
    }
    found
}

/// Everything in its place.
fn moved() -> BTreeMap<String, String> {
    let new = ["identity.json", "spool/00000000.seg", "keys/tls.key"]
        .map(|name| (name.to_owned(), "new".to_owned()));
    let old = ["identity.json", "anchor", "looked.json", "spool/00000000.seg", "keys/tls.key"]
        .map(|name| (format!("before-i-1/{name}"), "old".to_owned()));
    new.into_iter().chain(old).chain([("agent.toml".to_owned(), "settings".to_owned())]).collect()
}

#[test]
fn instances_exchange_places_wherever_it_is_begun() {
    let steps: Vec<(&str, bool)> =
        OLD.iter().map(|name| (*name, true)).chain(NEW.iter().map(|name| (*name, false))).collect();
    for done in 0..=steps.len() {
        let (folder, state, next) = about_to_move();
        let old = folder.path().join("before-i-1");
        if done > 0 {
            fs::create_dir(&old).unwrap();
        }
        for (name, goes) in steps.iter().take(done) {
            let (from, to) =
                if *goes { (folder.path(), old.as_path()) } else { (next.path(), folder.path()) };
            move_once(from, to, name).unwrap();
        }
        assert!(is_half_done(&state), "after {done} moves");
        assert_eq!(exchange_places(&state, &next).unwrap(), old, "after {done} moves");
        assert_eq!(files(folder.path()), moved(), "after {done} moves");
        assert!(!is_half_done(&state));
    }
}

#[test]
fn the_folder_of_the_old_instance_lies_here() {
    for name in ["../before-i-1", "before-i-1/../../x", "/tmp/before-", "elsewhere"] {
        let (folder, state, next) = about_to_move();
        let before = files(folder.path());
        put(next.path(), "before", name);
        assert!(exchange_places(&state, &next).is_err(), "{name}");
        let mut expected = before;
        expected.insert("successor/before".to_owned(), name.to_owned());
        assert_eq!(files(folder.path()), expected, "{name}");
    }
}
