//! The schema against evidence.proto, lines for people, and messages to test rules with.

use proptest::prelude::*;
use proptest::sample::Index;
use proto::facts::Control;

use super::{CONTROLS, Facts, Kind, List, Schema, schema};
use crate::json::Value as Json;
use crate::rules::Cause;

/// Texts that facts and literals share, so that comparisons are sometimes equal.
pub(crate) const TEXTS: &[&str] = &["debian", "12", "12.4", "rolling", "gnome", "/", ""];

fn text() -> impl Strategy<Value = String> {
    prop::sample::select(TEXTS.to_vec()).prop_map(str::to_owned)
}

fn small() -> impl Strategy<Value = Option<u32>> {
    prop::option::weighted(0.8, 0_u32..3)
}

fn flag() -> impl Strategy<Value = Option<bool>> {
    prop::option::weighted(0.8, prop::bool::weighted(0.7))
}

fn minute() -> impl Strategy<Value = Option<u64>> {
    prop::option::weighted(0.8, 28_999_990_u64..29_000_003)
}

fn volume() -> impl Strategy<Value = proto::Volume> {
    (0..7, 0..5, text(), (0_u32..3, 0_u32..3), prop::collection::vec(0..16, 0..3), flag(), flag()).prop_map(
        |(purpose, encryption, mount, (leaves, leaves_encrypted), layers, removable, virtual_disk)| {
            proto::Volume {
                purpose,
                filesystem: mount.clone(),
                mount,
                encryption,
                leaves,
                leaves_encrypted,
                layers,
                removable,
                virtual_disk,
            }
        },
    )
}

fn product() -> impl Strategy<Value = proto::Product> {
    (text(), 0..5, flag(), prop::option::of(text()), flag(), flag(), flag()).prop_map(
        |(product, kind, installed, version, running, trusted_path, unit_active)| proto::Product {
            product,
            kind,
            installed,
            version,
            running,
            trusted_path,
            unit_active,
        },
    )
}

fn user() -> impl Strategy<Value = proto::LockSetting> {
    let seconds = prop::option::weighted(0.8, prop::sample::select(vec![0_u32, 1, 60, 840, 900, 901]));
    (text(), 0..3, flag(), seconds.clone(), seconds, flag()).prop_map(
        |(desktop, scope, enabled, idle_seconds, delay_seconds, enforced)| proto::LockSetting {
            desktop,
            scope,
            enabled,
            idle_seconds,
            delay_seconds,
            enforced,
        },
    )
}

fn cut() -> impl Strategy<Value = bool> {
    prop::bool::weighted(0.1)
}

/// Any message of a control's facts, small enough for its facts to meet the literals of a condition.
pub(crate) fn any_facts(control: &str) -> BoxedStrategy<proto::Facts> {
    let body = match control {
        "disk-encryption" => (prop::collection::vec(volume(), 0..4), cut())
            .prop_map(|(volumes, volumes_truncated)| {
                Control::DiskEncryption(proto::DiskEncryption { volumes, volumes_truncated })
            })
            .boxed(),
        "edr" => (prop::collection::vec(product(), 0..4), cut())
            .prop_map(|(products, products_truncated)| {
                Control::Edr(proto::Edr { products, products_truncated })
            })
            .boxed(),
        "screen-lock" => (prop::collection::vec(user(), 0..4), cut())
            .prop_map(|(users, users_truncated)| {
                Control::ScreenLock(proto::ScreenLock { users, users_truncated })
            })
            .boxed(),
        _ => (text(), prop::option::of(text()), small(), small(), minute(), minute(), flag())
            .prop_map(|(os, version, pending_security, pending_other, lists, installed, reboot_required)| {
                Control::OsPatch(proto::OsPatch {
                    kernel: os.clone(),
                    os,
                    version,
                    pending_security,
                    pending_other,
                    lists_minutes: lists,
                    installed_minutes: installed,
                    reboot_required,
                })
            })
            .boxed(),
    };
    body.prop_map(|control| proto::Facts { control: Some(control) }).boxed()
}

/// Takes one thing away, as the loss says: a fact, rows (which are flagged), or everything.
pub(crate) fn lose(facts: &mut proto::Facts, loss: &Index) {
    if loss.index(20) == 0 {
        facts.control = None;
        return;
    }
    match &mut facts.control {
        None => {}
        Some(Control::DiskEncryption(disk)) => {
            if drop_row(&mut disk.volumes, &mut disk.volumes_truncated, loss) {
                return;
            }
            let row = loss.index(disk.volumes.len());
            let volume = &mut disk.volumes[row];
            match loss.index(7) {
                0 => volume.purpose = 0,
                1 => volume.encryption = 0,
                2 => volume.mount.clear(),
                3 => volume.filesystem.clear(),
                4 => volume.removable = None,
                5 => volume.virtual_disk = None,
                _ => volume.layers.iter_mut().for_each(|layer| *layer = 0),
            }
        }
        Some(Control::Edr(edr)) => {
            if drop_row(&mut edr.products, &mut edr.products_truncated, loss) {
                return;
            }
            let row = loss.index(edr.products.len());
            let product = &mut edr.products[row];
            match loss.index(7) {
                0 => product.product.clear(),
                1 => product.kind = 0,
                2 => product.installed = None,
                3 => product.version = None,
                4 => product.running = None,
                5 => product.trusted_path = None,
                _ => product.unit_active = None,
            }
        }
        Some(Control::ScreenLock(lock)) => {
            if drop_row(&mut lock.users, &mut lock.users_truncated, loss) {
                return;
            }
            let row = loss.index(lock.users.len());
            let user = &mut lock.users[row];
            match loss.index(6) {
                0 => user.desktop.clear(),
                1 => user.scope = 0,
                2 => user.enabled = None,
                3 => user.idle_seconds = None,
                4 => user.delay_seconds = None,
                _ => user.enforced = None,
            }
        }
        Some(Control::OsPatch(patch)) => match loss.index(8) {
            0 => patch.os.clear(),
            1 => patch.version = None,
            2 => patch.kernel.clear(),
            3 => patch.pending_security = None,
            4 => patch.pending_other = None,
            5 => patch.lists_minutes = None,
            6 => patch.installed_minutes = None,
            _ => patch.reboot_required = None,
        },
    }
}

/// Drops a row of a list and flags it, in one of four losses and whenever nothing else can be lost.
fn drop_row<Row>(rows: &mut Vec<Row>, truncated: &mut bool, loss: &Index) -> bool {
    if rows.is_empty() || loss.index(4) == 0 {
        if !rows.is_empty() {
            rows.remove(loss.index(rows.len()));
        }
        *truncated = true;
        return true;
    }
    false
}

/// The facts that `causes` name; every other fact is unknown, every list stays as long as it is.
pub(crate) fn only<'a>(facts: &'a Facts, causes: &'a [Cause]) -> Facts {
    let named: Vec<(Vec<(&'a str, usize)>, &'a str)> = causes
        .iter()
        .filter_map(|cause| match cause {
            Cause::Fact { places, fact } => Some((
                places.iter().map(|place| (place.list.as_str(), place.position)).collect(),
                fact.as_str(),
            )),
            Cause::List { .. } => None,
        })
        .collect();
    masked(facts, &mut Vec::new(), &named)
}

fn masked<'a>(
    facts: &'a Facts,
    places: &mut Vec<(&'a str, usize)>,
    named: &[(Vec<(&'a str, usize)>, &'a str)],
) -> Facts {
    let mut kept = facts.clone();
    kept.values.retain(|name, _| named.iter().any(|(at, fact)| at == places && fact == name));
    for (name, list) in &facts.lists {
        let items = list.items.iter().enumerate().map(|(position, item)| {
            places.push((name, position));
            let item = masked(item, places, named);
            places.pop();
            item
        });
        kept.lists.insert(name, List { items: items.collect(), truncated: list.truncated });
    }
    kept
}

fn names<E: TryFrom<i32>>(as_str_name: impl Fn(E) -> &'static str) -> Vec<String> {
    let all: Vec<&str> = (0..).map_while(|number| E::try_from(number).ok()).map(as_str_name).collect();
    let prefix = all[0].strip_suffix("UNSPECIFIED").unwrap();
    all[1..].iter().map(|name| name.strip_prefix(prefix).unwrap().to_lowercase()).collect()
}

#[test]
fn enum_names_are_those_of_the_proto() {
    use super::schema::{COVERAGES, LAYERS, LOCK_SCOPES, PRODUCT_KINDS, PURPOSES};
    assert_eq!(names(|e: proto::VolumePurpose| e.as_str_name()), PURPOSES);
    assert_eq!(names(|e: proto::Coverage| e.as_str_name()), COVERAGES);
    assert_eq!(names(|e: proto::Layer| e.as_str_name()), LAYERS);
    assert_eq!(names(|e: proto::LockScope| e.as_str_name()), LOCK_SCOPES);
    assert_eq!(names(|e: proto::ProductKind| e.as_str_name()), PRODUCT_KINDS);
}

/// The fields of `message` in evidence.proto, in order.
fn fields_of(message: &str) -> Vec<String> {
    const PROTO: &str = include_str!("../../../proto/tallystick/v1/evidence.proto");
    let start = PROTO.split(&format!("message {message} {{\n")).nth(1).expect(message);
    let body = start.split("\n}").next().unwrap();
    body.lines()
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
        ("disk-encryption", "DiskEncryption", "volumes", "Volume"),
        ("edr", "Edr", "products", "Product"),
        ("screen-lock", "ScreenLock", "users", "LockSetting"),
    ] {
        check(schema(control).unwrap(), message);
        check(schema(control).unwrap().item(list).unwrap(), item);
    }
    check(schema("os-patch").unwrap(), "OsPatch");
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
            {"product":"osquery","kind":"telemetry","installed":"no","running":"no"}]}"#,
    );
    let lines: Vec<_> =
        edr.list("products").unwrap().items.iter().map(|item| item.item_line("products")).collect();
    assert_eq!(
        lines,
        [
            "falcon-sensor (edr): running from its own path, path can be written by others, unit unknown",
            "osquery (telemetry): not installed",
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
