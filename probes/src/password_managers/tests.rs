use super::*;

#[test]
fn the_catalogue_of_the_release_is_sound() {
    let catalogue: Catalogue = toml::from_str(TEXT).unwrap();
    assert!(catalogue.products.is_sorted_by(|a, b| a.id < b.id));
    assert_eq!(catalogue.updated.len(), "2026-11-30".len());
    for product in &catalogue.products {
        let id = &product.id;
        assert!(id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'), "{id}");
        assert!(!product.name.is_empty() && !product.sources.is_empty(), "{id}");
        assert!(product.linux.is_some() || product.macos.is_some() || product.windows.is_some(), "{id}");
        let is_name = |name: &String| !name.is_empty() && !name.contains(['/', '\\', '*', ':']);
        if let Some(linux) = &product.linux {
            assert!(linux.executables.iter().all(|p| p.starts_with('/') && !p.contains([' ', '*'])), "{id}");
            assert!(linux.flatpaks.iter().chain(&linux.snaps).all(is_name), "{id}");
            assert!(linux.executables.len() + linux.flatpaks.len() + linux.snaps.len() > 0, "{id}");
        }
        if let Some(macos) = &product.macos {
            assert!(macos.apps.iter().all(|app| is_name(app) && app.strip_suffix(".app").is_some()), "{id}");
            assert!(!macos.apps.is_empty() && macos.bundles.iter().all(|id| id.contains('.')), "{id}");
        }
        if let Some(windows) = &product.windows {
            assert!(
                windows.keys.iter().chain(&windows.names).all(is_name) && !windows.names.is_empty(),
                "{id}"
            );
        }
    }
}

#[test]
fn one_is_enough_and_one_doubt_is_a_doubt() {
    assert_eq!(any([Some(false), None, Some(true)]), Some(true));
    assert_eq!(any([Some(false), None]), None);
    assert_eq!(any([Some(false), Some(false)]), Some(false));
}

#[test]
fn a_name_with_a_version_is_the_products_own_and_a_longer_word_is_not() {
    let keepass = WindowsManager { keys: vec![], names: vec!["KeePass Password Safe".to_owned()] };
    assert!(keepass.is_called("KeePass Password Safe 2.57"));
    assert!(keepass.is_called("KeePass Password Safe"));
    assert!(!keepass.is_called("KeePass Password Safely"));
    assert!(!keepass.is_called("My KeePass Password Safe"));
}
