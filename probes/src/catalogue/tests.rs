use super::*;

fn linux(id: &str) -> &'static LinuxProduct {
    let products = &Catalogue::bundled().unwrap().products;
    products.iter().find(|p| p.id == id).unwrap().linux.as_ref().unwrap()
}

#[test]
fn the_bundled_catalogue_covers_three_platforms() {
    let catalogue = Catalogue::parse(TEXT).unwrap();
    assert!(catalogue.products.len() >= 35);
    let on = |has: fn(&CatalogueProduct) -> bool| catalogue.products.iter().filter(|p| has(p)).count();
    assert!(on(|p| p.linux.is_some()) >= 15);
    assert!(on(|p| p.macos.is_some()) >= 20);
    assert!(on(|p| p.windows.is_some()) >= 30);
}

#[test]
fn telemetry_is_not_detection() {
    let catalogue = Catalogue::bundled().unwrap();
    for id in [
        "elastic-agent",
        "osquery",
        "rapid7-insight",
        "tanium",
        "wazuh",
        "kolide-launcher",
        "qualys-cloud-agent",
    ] {
        let product = catalogue.products.iter().find(|p| p.id == id).unwrap();
        assert_eq!(product.kind(), ProductKind::Telemetry, "{id}");
    }
    assert!(catalogue.products.iter().filter(|p| p.kind() == ProductKind::Edr).count() >= 20);
}

#[test]
fn only_the_exact_path_and_a_build_number_belong_to_a_product() {
    let falcon = linux("crowdstrike-falcon");
    for path in ["/opt/CrowdStrike/falcon-sensor", "/opt/CrowdStrike/falcon-sensor-bpf16903"] {
        assert!(falcon.owns(path), "{path}");
    }
    for path in [
        "/tmp/falcon-sensor",
        "/opt/CrowdStrike/falcon-sensor-evil",
        "/opt/CrowdStrike/falcon-sensor/x",
        "/opt/CrowdStrike/falcon-sensor16903 (deleted)",
        "/opt/crowdstrike/falcon-sensor",
    ] {
        assert!(!falcon.owns(path), "{path}");
    }
    assert!(!linux("cortex-xdr").owns("/opt/traps/bin/pmd2"));
}

#[test]
fn below_a_vendors_folder_the_file_name_counts() {
    let cisco = linux("cisco-secure-endpoint");
    for path in ["/opt/cisco/amp/ampdaemon", "/opt/cisco/amp/bin/ampdaemon", "/opt/cisco/amp/a/b/c/ampdaemon"]
    {
        assert!(cisco.owns(path), "{path}");
    }
    for path in [
        "/opt/cisco/ampdaemon",
        "/opt/cisco/amp2/ampdaemon",
        "/opt/cisco/amp/bin/other",
        "/opt/cisco/amp/../ampdaemon",
        "/opt/cisco/amp//ampdaemon",
        "/opt/cisco/amp/a/b/c/d/ampdaemon",
        "/opt/cisco/amp/bin/ampdaemon (deleted)",
        "/opt/cisco/amp",
    ] {
        assert!(!cisco.owns(path), "{path}");
    }
}

#[test]
fn the_kernel_keeps_fifteen_characters_of_a_name() {
    assert!(linux("elastic-defend").shows("elastic-endpoin"));
    assert!(linux("crowdstrike-falcon").shows("falcon-sensor-b"));
    assert!(linux("sentinelone").shows("s1-agent"));
    assert!(!linux("cisco-secure-endpoint").shows("ampdaemo"));
}

#[test]
fn what_could_not_be_told_apart_found_or_believed_is_refused() {
    let head = "updated = \"2026-11-30\"\n";
    let product = |id: &str, rest: &str| {
        format!("[[product]]\nid = \"{id}\"\nname = \"x\"\nkind = \"edr\"\nsources = [\"s\"]\n{rest}\n")
    };
    let linux = "[product.linux]\nexecutables = [\"/opt/x\"]";
    let refused = |entries: &[String]| {
        Catalogue::parse(&format!("{head}{}", entries.concat())).unwrap_err().to_string()
    };
    assert!(Catalogue::parse(&format!("{head}{}", product("a", linux))).is_ok());
    assert!(refused(&[product("a", linux), product("a", linux)]).contains("each once"));
    assert!(refused(&[product("b", linux), product("a", linux)]).contains("ascending"));
    assert!(refused(&[product("A b", linux)]).contains("a-z"));
    assert!(refused(&[product("a", "")]).contains("at least one"));
    for (rest, why) in [
        ("[product.linux]\nunit = \"x.service\"", "a name alone"),
        ("[product.linux]\nfolders = [\"/opt/x\"]", "a name alone"),
        ("[product.linux]\nexecutables = [\"opt/x\"]", "absolute"),
        ("[product.linux]\nexecutables = [\"/opt/../x\"]", "absolute"),
        ("[product.linux]\nexecutables = [\"/opt/x\"]\nunit = \"x\"", ".service"),
        ("[product.linux]\nexecutables = [\"/opt/x\"]\ndeb = \"--root=/x\"", "package"),
        ("[product.macos]\nprocesses = [\"x\"]", "a name alone"),
        ("[product.macos]\npaths = [\"Library/x\"]", "absolute"),
        ("[product.macos]\npaths = [\"/x\"]\nteam = \"SHORT\"", "Team ID"),
        ("[product.windows]\nimages = [\"x.exe\"]", "a name alone"),
        ("[product.windows]\nservices = [\"x\"]\nimages = [\"x\"]", ".exe"),
        ("[product.windows]\npaths = ['Program Files']", "absolute"),
        ("[product.windows]\nservices = [\"x\"]\nsecurity_center = \"x\"", "GUID"),
        ("[product.macos]\npaths = [\"/x\"]\nhealth = \"dsa-query\"", "of this platform"),
        ("[product.macos]\npaths = [\"/x\"]\nexecutables = [\"x\"]", "absolute"),
    ] {
        let said = refused(&[product("a", rest)]);
        assert!(said.contains(why), "{rest}: {said}");
    }
    assert!(refused(&["x = 1\n".to_owned()]).contains("not a catalogue"));
}
