use super::*;

#[test]
fn the_bundled_catalogue_is_well_formed() {
    let catalogue = Catalogue::bundled().unwrap();
    let ids: Vec<&str> = catalogue.products.iter().map(|p| p.id.as_str()).collect();
    assert_eq!(
        ids,
        [
            "carbon-black-cloud",
            "cortex-xdr",
            "crowdstrike-falcon",
            "microsoft-defender-endpoint",
            "sentinelone"
        ]
    );
    for product in &catalogue.products {
        let linux = &product.linux;
        assert_eq!(product.kind(), ProductKind::Edr);
        assert!(linux.executables.iter().all(|path| path.starts_with("/opt/")), "{}", product.id);
        assert!(linux.unit.ends_with(".service"), "{}", product.id);
        assert!(linux.names.iter().all(|name| name.len() <= 15), "{}", product.id);
    }
}

#[test]
fn only_the_exact_path_and_a_build_number_belong_to_a_product() {
    let catalogue = Catalogue::bundled().unwrap();
    let linux = |id: &str| &catalogue.products.iter().find(|p| p.id == id).unwrap().linux;
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
