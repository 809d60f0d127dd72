//! The schema against evidence.proto, lines for people, facts as JSON.

use proptest::prelude::*;
use proto::facts::Control;

use super::{CONTROLS, Facts, Kind, Schema, schema};
use crate::json::Value as Json;

pub(crate) mod messages;

use messages::any_facts;

fn names<E: TryFrom<i32>>(as_str_name: impl Fn(E) -> &'static str) -> Vec<String> {
    let all: Vec<&str> = (0..).map_while(|number| E::try_from(number).ok()).map(as_str_name).collect();
    let prefix = all[0].strip_suffix("UNSPECIFIED").unwrap();
    all[1..].iter().map(|name| name.strip_prefix(prefix).unwrap().to_lowercase()).collect()
}

#[test]
fn enum_names_are_those_of_the_proto() {
    use super::schema::{
        ASSET_CLASSES, BOOT_SECURITIES, COVERAGES, FILTER_DEFAULTS, FILTER_SCOPES, FIRMWARES, HEALTH_SOURCES,
        IDENTIFIER_KINDS, IMPAIRMENTS, LAYERS, LOCK_SCOPES, PRODUCT_KINDS, PURPOSES, ROOT_LOGINS,
    };
    assert_eq!(names(|e: proto::FilterScope| e.as_str_name()), FILTER_SCOPES);
    assert_eq!(names(|e: proto::FilterDefault| e.as_str_name()), FILTER_DEFAULTS);
    assert_eq!(names(|e: proto::Firmware| e.as_str_name()), FIRMWARES);
    assert_eq!(names(|e: proto::BootSecurity| e.as_str_name()), BOOT_SECURITIES);
    assert_eq!(names(|e: proto::IdentifierKind| e.as_str_name()), IDENTIFIER_KINDS);
    assert_eq!(names(|e: proto::RootLogin| e.as_str_name()), ROOT_LOGINS);
    assert_eq!(names(|e: proto::AssetClass| e.as_str_name()), ASSET_CLASSES);
    assert_eq!(names(|e: proto::VolumePurpose| e.as_str_name()), PURPOSES);
    assert_eq!(names(|e: proto::Coverage| e.as_str_name()), COVERAGES);
    assert_eq!(names(|e: proto::Layer| e.as_str_name()), LAYERS);
    assert_eq!(names(|e: proto::LockScope| e.as_str_name()), LOCK_SCOPES);
    assert_eq!(names(|e: proto::ProductKind| e.as_str_name()), PRODUCT_KINDS);
    assert_eq!(names(|e: proto::HealthSource| e.as_str_name()), HEALTH_SOURCES);
    assert_eq!(names(|e: proto::Impairment| e.as_str_name()), IMPAIRMENTS);
}

/// The fields of `message` in evidence.proto, in order.
fn fields_of(message: &str) -> Vec<String> {
    const PROTO: &str = include_str!("../../../proto/tallystick/v1/evidence.proto");
    let start = PROTO.split(&format!("message {message} {{\n")).nth(1).expect(message);
    let body = start.split("\n}").next().unwrap();
    body.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .filter_map(|line| line.split(" = ").next()?.split_whitespace().last().map(str::to_owned))
        .collect()
}

#[test]
fn schemas_have_the_fields_of_the_proto_and_no_flags() {
    fn check(schema: &Schema, message: &str) {
        let flags = schema.fields.iter().filter_map(|field| match field.kind {
            Kind::List { truncated, .. } => truncated,
            _ => None,
        });
        let mut expected: Vec<&str> = schema.fields.iter().map(|field| field.name).collect();
        expected.extend(flags);
        assert_eq!(expected, fields_of(message), "{message}");
    }
    for (control, message, list, item) in [
        ("device-identity", "DeviceIdentity", "identifiers", "Identifier"),
        ("disk-encryption", "DiskEncryption", "volumes", "Volume"),
        ("edr", "Edr", "products", "Product"),
        ("host-firewall", "HostFirewall", "filters", "FirewallFilter"),
        ("password-manager", "PasswordManager", "managers", "ManagerProduct"),
        ("screen-lock", "ScreenLock", "users", "LockSetting"),
    ] {
        check(schema(control).unwrap(), message);
        check(schema(control).unwrap().item(list).unwrap(), item);
    }
    for (control, message) in [
        ("automatic-updates", "AutomaticUpdates"),
        ("local-administrators", "LocalAdministrators"),
        ("mdm-enrolment", "MdmEnrolment"),
        ("os-patch", "OsPatch"),
        ("remote-access", "RemoteAccess"),
        ("secure-boot", "SecureBoot"),
        ("time-sync", "TimeSync"),
    ] {
        check(schema(control).unwrap(), message);
    }
}

#[test]
fn unknown_controls_have_no_schema() {
    assert!(CONTROLS.is_sorted() && CONTROLS.iter().all(|control| schema(control).is_some()));
    assert_eq!(schema("firewall"), None);
    assert_eq!(Facts::of(&proto::Facts { control: None }), Facts::default());
}

fn facts(control: &str, json: &str) -> Facts {
    Facts::from_json(schema(control).unwrap(), &Json::parse_any(json.as_bytes()).unwrap()).unwrap()
}

#[test]
fn a_plain_volume_reads_as_a_person_would_say_it() {
    let disk = facts(
        "disk-encryption",
        r#"{"volumes":[{"purpose":"root","mount":"/","filesystem":"ext4","encryption":"none","leaves":1,"leaves_encrypted":0},
            {"purpose":"data","mount":"/srv","filesystem":"btrfs","encryption":"partial","leaves":3,"leaves_encrypted":2},
            {"purpose":"swap","encryption":"full","leaves":1,"leaves_encrypted":1},
            {"purpose":"boot","mount":"/boot","filesystem":"ext4","encryption":"none","leaves":1,"leaves_encrypted":0},
            {}]}"#,
    );
    let lines: Vec<_> =
        disk.list("volumes").unwrap().items.iter().map(|item| item.item_line("volumes")).collect();
    assert_eq!(
        lines,
        [
            "/ on ext4: not encrypted (1 of 1 disk plain)",
            "/srv on btrfs: partly encrypted (1 of 3 disks plain)",
            "swap: encrypted",
            "/boot on ext4: not encrypted (1 of 1 disk plain), a boot volume",
            "a volume: encryption unknown",
        ]
    );
}

#[test]
fn products_sessions_and_patches_read_as_a_person_would_say_them() {
    let edr = facts(
        "edr",
        r#"{"products":[{"product":"falcon-sensor","kind":"edr","installed":"yes","running":"yes","trusted_path":"no"},
            {"product":"osquery","kind":"telemetry","installed":"no","running":"no"},
            {"product":"a","running":"yes","trusted_path":"yes","unit_active":"yes","attached":"yes","effective":"yes"},
            {"product":"b","running":"yes","trusted_path":"yes","unit_active":"yes","effective":"no","impairment":"not_registered"},
            {"product":"c","running":"yes","trusted_path":"yes","unit_active":"yes","health_source":"vendor"},
            {"product":"d","running":"yes","trusted_path":"yes","unit_active":"yes","health_source":"none"}]}"#,
    );
    let lines: Vec<_> =
        edr.list("products").unwrap().items.iter().map(|item| item.item_line("products")).collect();
    assert_eq!(
        lines,
        [
            "falcon-sensor (edr): running from its own path, path can be written by others, unit unknown",
            "osquery (telemetry): not installed",
            "a: running from its own path, path trusted, unit active, attached, effective",
            "b: running from its own path, path trusted, unit active, not effective (not registered)",
            "c: running from its own path, path trusted, unit active, effect unknown",
            "d: running from its own path, path trusted, unit active",
        ]
    );
    let lock = facts(
        "screen-lock",
        r#"{"users":[{"desktop":"gnome","scope":"session","enabled":"yes","idle_seconds":0,"delay_seconds":5},{}]}"#,
    );
    let lines: Vec<_> =
        lock.list("users").unwrap().items.iter().map(|item| item.item_line("users")).collect();
    assert_eq!(
        lines,
        [
            "gnome session: lock on, never blanks, password 5 s later",
            "a desktop: lock unknown, idle time unknown, password delay unknown",
        ]
    );
    let patch = facts(
        "os-patch",
        r#"{"pending_security":3,"lists_minutes":100,"installed_minutes":9999,"reboot_required":"yes"}"#,
    );
    let line = |name| patch.fact_line(name, 100 + 20 * 1440);
    assert_eq!(line("pending_security"), "3 security updates not installed");
    assert_eq!(line("lists_minutes"), "package lists refreshed 20 days before");
    assert_eq!(line("reboot_required"), "a restart is needed to finish an update");
    assert_eq!(line("version"), "version is unknown");
    assert!(patch.fact_line("installed_minutes", 0).ends_with("by the device's clock"));
}

#[test]
fn json_of_another_control_or_kind_is_refused_with_its_path() {
    for (control, json, path) in [
        ("os-patch", r#"{"volumes":[]}"#, "volumes"),
        ("os-patch", r#"{"pending_security":"0"}"#, "pending_security"),
        ("os-patch", r#"{"pending_security":-1}"#, "pending_security"),
        ("os-patch", r#"{"reboot_required":1}"#, "reboot_required"),
        ("os-patch", "[]", "facts"),
        ("disk-encryption", r#"{"volumes":[{"encryption":"FULL"}]}"#, "volumes[0].encryption"),
        ("disk-encryption", r#"{"volumes":[{"layers":["luks3"]}]}"#, "volumes[0].layers[0]"),
        ("disk-encryption", r#"{"volumes":[1]}"#, "volumes[0]"),
        ("disk-encryption", r#"{"volumes":[],"volumes_truncated":1}"#, "volumes_truncated"),
    ] {
        let json = Json::parse_any(json.as_bytes()).unwrap();
        assert_eq!(Facts::from_json(schema(control).unwrap(), &json).unwrap_err().path, path);
    }
}

proptest! {
    #[test]
    fn facts_survive_json((control, message) in prop::sample::select(CONTROLS.to_vec())
        .prop_flat_map(|control| (Just(control), any_facts(control)))) {
        let schema = schema(control).unwrap();
        let facts = Facts::of(&message);
        let json = Json::parse(&facts.to_json(schema).to_bytes()).unwrap();
        prop_assert_eq!(Facts::from_json(schema, &json), Ok(facts));
    }

    #[test]
    fn numbers_out_of_range_are_unknown(number in prop_oneof![any::<i32>(), -3..20]) {
        let volume = proto::Volume { purpose: number, encryption: number, layers: vec![number], ..Default::default() };
        let disk = proto::DiskEncryption { volumes: vec![volume], volumes_truncated: false };
        let facts = Facts::of(&proto::Facts { control: Some(Control::DiskEncryption(disk)) });
        let item = &facts.list("volumes").unwrap().items[0];
        prop_assert_eq!(item.value("purpose").is_some(), (1..=6).contains(&number));
        prop_assert_eq!(item.value("encryption").is_some(), (1..=4).contains(&number));
        prop_assert_eq!(item.list("layers").unwrap().items[0].value(".").is_some(), (1..=15).contains(&number));
    }
}
