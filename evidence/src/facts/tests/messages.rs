//! Messages of facts to test rules with: any of them, and ways to lose what they say.

use proptest::prelude::*;
use proptest::sample::Index;
use proto::facts::Control;

use crate::facts::{Facts, List};
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
    let effect = (flag(), flag(), flag(), 0..4, 0..11, prop::option::of(0_u64..3), flag());
    (text(), 0..5, flag(), prop::option::of(text()), flag(), flag(), flag(), effect).prop_map(
        |(product, kind, installed, version, running, trusted_path, unit_active, effect)| proto::Product {
            product,
            kind,
            installed,
            version,
            running,
            trusted_path,
            unit_active,
            attached: effect.0,
            effective: effect.1,
            passive: effect.2,
            health_source: effect.3,
            impairment: effect.4,
            definitions_minutes: effect.5,
            signed: effect.6,
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

fn filter() -> impl Strategy<Value = proto::FirewallFilter> {
    (0..7, flag(), 0..3, small()).prop_map(|(scope, enabled, incoming, open_interfaces)| {
        proto::FirewallFilter { scope, enabled, incoming, open_interfaces }
    })
}

fn identifier() -> impl Strategy<Value = proto::Identifier> {
    (0..8, text(), flag()).prop_map(|(kind, value, placeholder)| proto::Identifier {
        kind,
        value,
        placeholder,
    })
}

fn manager() -> impl Strategy<Value = proto::ManagerProduct> {
    (text(), flag()).prop_map(|(product, installed)| proto::ManagerProduct { product, installed })
}

fn administrators() -> impl Strategy<Value = proto::LocalAdministrators> {
    (small(), small(), small(), small(), small(), small(), flag()).prop_map(|fields| {
        proto::LocalAdministrators {
            administrators: fields.0,
            administrators_seen: fields.1,
            directory_groups: fields.2,
            other_root_accounts: fields.3,
            passwordless_rules: fields.4,
            limited_rules: fields.5,
            built_in_enabled: fields.6,
        }
    })
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
        "automatic-updates" => (text(), flag(), flag(), flag())
            .prop_map(|(mechanism, downloads, installs_security, scheduled)| {
                Control::AutomaticUpdates(proto::AutomaticUpdates {
                    mechanism,
                    downloads,
                    installs_security,
                    scheduled,
                })
            })
            .boxed(),
        "device-identity" => (prop::collection::vec(identifier(), 0..4), cut())
            .prop_map(|(identifiers, identifiers_truncated)| {
                Control::DeviceIdentity(proto::DeviceIdentity { identifiers, identifiers_truncated })
            })
            .boxed(),
        "local-administrators" => administrators().prop_map(Control::LocalAdministrators).boxed(),
        "mdm-enrolment" => (flag(), flag(), flag(), text(), flag())
            .prop_map(|(enrolled, user_approved, automated, service, directory_joined)| {
                Control::MdmEnrolment(proto::MdmEnrolment {
                    enrolled,
                    user_approved,
                    automated,
                    service,
                    directory_joined,
                })
            })
            .boxed(),
        "password-manager" => (flag(), prop::collection::vec(manager(), 0..4), cut())
            .prop_map(|(installed, managers, managers_truncated)| {
                Control::PasswordManager(proto::PasswordManager { installed, managers, managers_truncated })
            })
            .boxed(),
        "host-firewall" => (prop::collection::vec(filter(), 0..4), cut())
            .prop_map(|(filters, filters_truncated)| {
                Control::HostFirewall(proto::HostFirewall { filters, filters_truncated })
            })
            .boxed(),
        "remote-access" => (flag(), 0..5, flag(), flag(), flag(), flag())
            .prop_map(
                |(ssh_server, root_login, password_login, keyboard_interactive, remote_desktop, nla)| {
                    Control::RemoteAccess(proto::RemoteAccess {
                        ssh_server,
                        root_login,
                        password_login,
                        keyboard_interactive,
                        remote_desktop,
                        network_authentication: nla,
                    })
                },
            )
            .boxed(),
        "secure-boot" => (0..4, flag(), flag(), flag(), 0..4, small())
            .prop_map(|(firmware, enabled, setup_mode, shim_disabled, level, tpm_version)| {
                Control::SecureBoot(proto::SecureBoot {
                    firmware,
                    enabled,
                    setup_mode,
                    shim_disabled,
                    level,
                    tpm_version,
                })
            })
            .boxed(),
        "time-sync" => (text(), flag(), flag(), minute())
            .prop_map(|(service, enabled, synchronised, synchronised_minutes)| {
                Control::TimeSync(proto::TimeSync { service, enabled, synchronised, synchronised_minutes })
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
pub(crate) fn lose(facts: &mut proto::Facts, loss: Index) {
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
        Some(Control::AutomaticUpdates(updates)) => match loss.index(4) {
            0 => updates.mechanism.clear(),
            1 => updates.downloads = None,
            2 => updates.installs_security = None,
            _ => updates.scheduled = None,
        },
        Some(Control::HostFirewall(firewall)) => {
            if drop_row(&mut firewall.filters, &mut firewall.filters_truncated, loss) {
                return;
            }
            let row = loss.index(firewall.filters.len());
            let filter = &mut firewall.filters[row];
            match loss.index(4) {
                0 => filter.scope = 0,
                1 => filter.enabled = None,
                2 => filter.incoming = 0,
                _ => filter.open_interfaces = None,
            }
        }
        Some(Control::DeviceIdentity(identity)) => {
            if drop_row(&mut identity.identifiers, &mut identity.identifiers_truncated, loss) {
                return;
            }
            let row = loss.index(identity.identifiers.len());
            let identifier = &mut identity.identifiers[row];
            match loss.index(3) {
                0 => identifier.kind = 0,
                1 => identifier.value.clear(),
                _ => identifier.placeholder = None,
            }
        }
        Some(Control::LocalAdministrators(administrators)) => match loss.index(7) {
            0 => administrators.administrators = None,
            1 => administrators.administrators_seen = None,
            2 => administrators.directory_groups = None,
            3 => administrators.other_root_accounts = None,
            4 => administrators.passwordless_rules = None,
            5 => administrators.limited_rules = None,
            _ => administrators.built_in_enabled = None,
        },
        Some(Control::MdmEnrolment(mdm)) => match loss.index(5) {
            0 => mdm.enrolled = None,
            1 => mdm.user_approved = None,
            2 => mdm.automated = None,
            3 => mdm.service.clear(),
            _ => mdm.directory_joined = None,
        },
        Some(Control::PasswordManager(manager)) => {
            if loss.index(3) == 0 {
                manager.installed = None;
                return;
            }
            if drop_row(&mut manager.managers, &mut manager.managers_truncated, loss) {
                return;
            }
            let row = loss.index(manager.managers.len());
            match loss.index(2) {
                0 => manager.managers[row].product.clear(),
                _ => manager.managers[row].installed = None,
            }
        }
        Some(Control::RemoteAccess(remote)) => match loss.index(6) {
            0 => remote.ssh_server = None,
            1 => remote.root_login = 0,
            2 => remote.password_login = None,
            3 => remote.keyboard_interactive = None,
            4 => remote.remote_desktop = None,
            _ => remote.network_authentication = None,
        },
        Some(Control::SecureBoot(boot)) => match loss.index(6) {
            0 => boot.firmware = 0,
            1 => boot.enabled = None,
            2 => boot.setup_mode = None,
            3 => boot.shim_disabled = None,
            4 => boot.level = 0,
            _ => boot.tpm_version = None,
        },
        Some(Control::TimeSync(time)) => match loss.index(4) {
            0 => time.service.clear(),
            1 => time.enabled = None,
            2 => time.synchronised = None,
            _ => time.synchronised_minutes = None,
        },
        Some(Control::Edr(edr)) => {
            if drop_row(&mut edr.products, &mut edr.products_truncated, loss) {
                return;
            }
            let row = loss.index(edr.products.len());
            let product = &mut edr.products[row];
            match loss.index(14) {
                0 => product.product.clear(),
                1 => product.kind = 0,
                2 => product.installed = None,
                3 => product.version = None,
                4 => product.running = None,
                5 => product.trusted_path = None,
                6 => product.unit_active = None,
                7 => product.attached = None,
                8 => product.effective = None,
                9 => product.passive = None,
                10 => product.health_source = 0,
                11 => product.impairment = 0,
                12 => product.definitions_minutes = None,
                _ => product.signed = None,
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
fn drop_row<Row>(rows: &mut Vec<Row>, truncated: &mut bool, loss: Index) -> bool {
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
