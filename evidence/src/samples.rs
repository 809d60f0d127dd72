//! Statements for tests: one that uses every field, and arbitrary ones.

pub(crate) mod acts;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::ids::{DeviceId, Digest, InstanceId};
use crate::statement::{Anchor, Attestation, Body, FACT_ROWS_MAX, Gap, SEQUENCE_MAX, Statement};
use proto::facts::Control;
use proto::observation::Outcome;

fn observed(control: &str, facts: Control) -> proto::Observation {
    proto::Observation {
        control: control.to_owned(),
        probe_version: 3,
        outcome: Some(Outcome::Observed(proto::Facts { control: Some(facts) })),
        kept_minutes: Some(0),
    }
}

/// An attestation with every kind of field and outcome in it.
pub(crate) fn full_statement() -> Statement {
    let volume = proto::Volume {
        purpose: proto::VolumePurpose::Root.into(),
        mount: "/".into(),
        filesystem: "ext4".into(),
        encryption: proto::Coverage::Full.into(),
        leaves: 2,
        leaves_encrypted: 2,
        layers: vec![proto::Layer::Luks2.into(), proto::Layer::Lvm.into()],
        removable: Some(false),
        virtual_disk: None,
    };
    let product = proto::Product {
        product: "sample-edr".into(),
        kind: proto::ProductKind::Edr.into(),
        installed: Some(true),
        version: Some("7.1".into()),
        running: Some(true),
        trusted_path: Some(false),
        unit_active: None,
        attached: Some(true),
        effective: Some(false),
        passive: Some(true),
        health_source: proto::HealthSource::Vendor.into(),
        impairment: proto::Impairment::Passive.into(),
        definitions_minutes: Some(29_922_274),
        signed: Some(true),
    };
    let patch = proto::OsPatch {
        os: "debian".into(),
        version: Some("12".into()),
        kernel: "6.1.0-28-amd64".into(),
        pending_security: Some(0),
        pending_other: Some(300),
        lists_minutes: Some(29_922_274),
        installed_minutes: None,
        reboot_required: Some(true),
    };
    let lock = proto::LockSetting {
        desktop: "gnome".into(),
        scope: proto::LockScope::Session.into(),
        enabled: Some(true),
        idle_seconds: Some(300),
        delay_seconds: Some(0),
        enforced: Some(false),
    };
    let headless = proto::Headless {
        default_target: "multi-user.target".into(),
        display_manager: false,
        graphical_sessions: 0,
        desktop_installed: true,
    };
    let outcome = |control: &str, outcome| proto::Observation {
        control: control.to_owned(),
        probe_version: 0,
        outcome: Some(outcome),
        kept_minutes: None,
    };
    let observations = vec![
        observed(
            "disk-encryption",
            Control::DiskEncryption(proto::DiskEncryption { volumes: vec![volume], volumes_truncated: true }),
        ),
        observed("edr", Control::Edr(proto::Edr { products: vec![product], products_truncated: false })),
        outcome(
            "firewall",
            Outcome::Unavailable(proto::Unavailable {
                reason: proto::Reason::NoPrivilege.into(),
                question: "read /etc/nftables.conf".into(),
            }),
        ),
        observed("os-patch", Control::OsPatch(patch)),
        observed(
            "screen-lock",
            Control::ScreenLock(proto::ScreenLock { users: vec![lock], users_truncated: false }),
        ),
        outcome(
            "screen-saver",
            Outcome::NotApplicable(proto::NotApplicable {
                proof: Some(proto::not_applicable::Proof::Headless(headless)),
            }),
        ),
    ];
    let device = DeviceId::from_bytes([0x11; 16]);
    Statement {
        instance: InstanceId::from_bytes([0x22; 16]),
        sequence: 300,
        previous: Digest::of(b"previous"),
        anchor: Some(Anchor {
            origin: "example.com/log/one".into(),
            size: 1_000_000,
            root: Digest::of(b"root"),
            note: None,
        }),
        body: Body::Attestation(Box::new(Attestation {
            device,
            fields: proto::Attestation {
                device: device.to_string(),
                boot: vec![1; 32],
                boot_minutes: 12,
                wall_minutes: 29_922_274,
                trigger: proto::Trigger::Drift.into(),
                agent_version: "0.1.0".into(),
                agent_digest: vec![2; 32],
                catalogue_digest: vec![3; 32],
                configuration_digest: vec![0; 32],
                asset: Some(proto::AssetClaim {
                    class: proto::AssetClass::Laptop.into(),
                    chassis_type: Some(10),
                    battery: Some(true),
                    graphical_target: Some(false),
                    virtualisation: Some(String::new()),
                }),
                answers_digest: vec![4; 32],
                observations,
            },
        })),
    }
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z0-9./-]{0,12}", any::<String>().prop_filter("short", |text| text.len() <= 256)]
}

/// Small numbers, where defaults lie, and any.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0..300u64, any::<u64>()]
}

fn small() -> impl Strategy<Value = u32> {
    prop_oneof![0..300u32, any::<u32>()]
}

fn digest() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![Just(vec![0; 32]), vec(any::<u8>(), 32)]
}

fn facts(control: &'static str) -> BoxedStrategy<Control> {
    let flag = || option::of(any::<bool>());
    match control {
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
        "device-identity" => {
            let identifier = (0..8i32, text(), flag())
                .prop_map(|(kind, value, placeholder)| proto::Identifier { kind, value, placeholder });
            (vec(identifier, 0..4), any::<bool>())
                .prop_map(|(identifiers, identifiers_truncated)| {
                    Control::DeviceIdentity(proto::DeviceIdentity { identifiers, identifiers_truncated })
                })
                .boxed()
        }
        "local-administrators" => {
            let count = || option::of(small());
            (count(), count(), count(), count(), count(), count(), flag())
                .prop_map(|fields| {
                    Control::LocalAdministrators(proto::LocalAdministrators {
                        administrators: fields.0,
                        administrators_seen: fields.1,
                        directory_groups: fields.2,
                        other_root_accounts: fields.3,
                        passwordless_rules: fields.4,
                        limited_rules: fields.5,
                        built_in_enabled: fields.6,
                    })
                })
                .boxed()
        }
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
        "password-manager" => {
            let product = (text(), flag())
                .prop_map(|(product, installed)| proto::ManagerProduct { product, installed });
            (flag(), vec(product, 0..4), any::<bool>())
                .prop_map(|(installed, managers, managers_truncated)| {
                    Control::PasswordManager(proto::PasswordManager {
                        installed,
                        managers,
                        managers_truncated,
                    })
                })
                .boxed()
        }
        "host-firewall" => {
            let filter = (0..7i32, flag(), 0..3i32, option::of(small())).prop_map(
                |(scope, enabled, incoming, open_interfaces)| proto::FirewallFilter {
                    scope,
                    enabled,
                    incoming,
                    open_interfaces,
                },
            );
            (vec(filter, 0..4), any::<bool>())
                .prop_map(|(filters, filters_truncated)| {
                    Control::HostFirewall(proto::HostFirewall { filters, filters_truncated })
                })
                .boxed()
        }
        "remote-access" => (flag(), 0..5i32, flag(), flag(), flag(), flag())
            .prop_map(|fields| {
                Control::RemoteAccess(proto::RemoteAccess {
                    ssh_server: fields.0,
                    root_login: fields.1,
                    password_login: fields.2,
                    keyboard_interactive: fields.3,
                    remote_desktop: fields.4,
                    network_authentication: fields.5,
                })
            })
            .boxed(),
        "secure-boot" => (0..4i32, flag(), flag(), flag(), 0..4i32, option::of(small()))
            .prop_map(|fields| {
                Control::SecureBoot(proto::SecureBoot {
                    firmware: fields.0,
                    enabled: fields.1,
                    setup_mode: fields.2,
                    shim_disabled: fields.3,
                    level: fields.4,
                    tpm_version: fields.5,
                })
            })
            .boxed(),
        "time-sync" => (text(), flag(), flag(), option::of(number()))
            .prop_map(|(service, enabled, synchronised, synchronised_minutes)| {
                Control::TimeSync(proto::TimeSync { service, enabled, synchronised, synchronised_minutes })
            })
            .boxed(),
        "disk-encryption" => {
            let volume =
                ((0..7i32, text(), text(), 0..5i32), (small(), small(), vec(0..16i32, 0..5), flag(), flag()))
                    .prop_map(|((purpose, mount, filesystem, encryption), rest)| proto::Volume {
                        purpose,
                        mount,
                        filesystem,
                        encryption,
                        leaves: rest.0,
                        leaves_encrypted: rest.1,
                        layers: rest.2,
                        removable: rest.3,
                        virtual_disk: rest.4,
                    });
            (vec(volume, 0..4), any::<bool>())
                .prop_map(|(volumes, volumes_truncated)| {
                    Control::DiskEncryption(proto::DiskEncryption { volumes, volumes_truncated })
                })
                .boxed()
        }
        "edr" => {
            let effect = (flag(), flag(), flag(), 0..4i32, 0..11i32, option::of(number()), flag());
            let product = (text(), 0..5i32, flag(), option::of(text()), flag(), flag(), flag(), effect)
                .prop_map(
                    |(product, kind, installed, version, running, trusted_path, unit_active, effect)| {
                        proto::Product {
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
                        }
                    },
                );
            (vec(product, 0..4), any::<bool>())
                .prop_map(|(products, products_truncated)| {
                    Control::Edr(proto::Edr { products, products_truncated })
                })
                .boxed()
        }
        "os-patch" => (
            (text(), option::of(text()), text()),
            (option::of(small()), option::of(small()), option::of(number()), option::of(number()), flag()),
        )
            .prop_map(|((os, version, kernel), rest)| {
                Control::OsPatch(proto::OsPatch {
                    os,
                    version,
                    kernel,
                    pending_security: rest.0,
                    pending_other: rest.1,
                    lists_minutes: rest.2,
                    installed_minutes: rest.3,
                    reboot_required: rest.4,
                })
            })
            .boxed(),
        _ => {
            let lock = (text(), 0..3i32, flag(), option::of(small()), option::of(small()), flag()).prop_map(
                |(desktop, scope, enabled, idle_seconds, delay_seconds, enforced)| proto::LockSetting {
                    desktop,
                    scope,
                    enabled,
                    idle_seconds,
                    delay_seconds,
                    enforced,
                },
            );
            (vec(lock, 0..4), any::<bool>())
                .prop_map(|(users, users_truncated)| {
                    Control::ScreenLock(proto::ScreenLock { users, users_truncated })
                })
                .boxed()
        }
    }
}

fn observation() -> impl Strategy<Value = proto::Observation> {
    let observed = prop::sample::select(crate::facts::CONTROLS.to_vec()).prop_flat_map(|control| {
        facts(control).prop_map(move |facts| {
            (control.to_owned(), Outcome::Observed(proto::Facts { control: Some(facts) }))
        })
    });
    let headless =
        (text(), any::<bool>(), small(), any::<bool>()).prop_map(|(target, manager, sessions, desktop)| {
            Outcome::NotApplicable(proto::NotApplicable {
                proof: Some(proto::not_applicable::Proof::Headless(proto::Headless {
                    default_target: target,
                    display_manager: manager,
                    graphical_sessions: sessions,
                    desktop_installed: desktop,
                })),
            })
        });
    let unavailable = (1..13i32, text())
        .prop_map(|(reason, question)| Outcome::Unavailable(proto::Unavailable { reason, question }));
    let other = ("[a-z0-9][a-z0-9-]{0,62}", prop_oneof![headless, unavailable]);
    let kept = prop::option::of(number());
    (prop_oneof![observed, other], small(), kept).prop_map(
        |((control, outcome), probe_version, kept_minutes)| proto::Observation {
            control,
            probe_version,
            outcome: Some(outcome),
            kept_minutes,
        },
    )
}

fn attestation() -> impl Strategy<Value = Body> {
    let asset =
        (
            0..6i32,
            option::of(small()),
            option::of(any::<bool>()),
            option::of(any::<bool>()),
            option::of(text()),
        )
            .prop_map(|(class, chassis_type, battery, graphical_target, virtualisation)| {
                proto::AssetClaim { class, chassis_type, battery, graphical_target, virtualisation }
            });
    (
        (any::<[u8; 16]>(), digest(), number(), number(), 1..4i32, text()),
        (digest(), digest(), digest(), option::of(asset), digest(), vec(observation(), 0..5)),
    )
        .prop_map(|((device, boot, boot_minutes, wall_minutes, trigger, agent_version), rest)| {
            let device = DeviceId::from_bytes(device);
            let mut observations = rest.5;
            observations.sort_by(|a, b| a.control.cmp(&b.control));
            observations.dedup_by(|a, b| a.control == b.control);
            let fields = proto::Attestation {
                device: device.to_string(),
                boot,
                boot_minutes,
                wall_minutes,
                trigger,
                agent_version,
                agent_digest: rest.0,
                catalogue_digest: rest.1,
                configuration_digest: rest.2,
                asset: rest.3,
                answers_digest: rest.4,
                observations,
            };
            Body::Attestation(Box::new(Attestation { device, fields }))
        })
}

fn gap_reason() -> impl Strategy<Value = proto::GapReason> {
    (1..5i32).prop_map(|number| proto::GapReason::try_from(number).unwrap())
}

/// Any statement of sound form.
pub(crate) fn statements() -> impl Strategy<Value = Statement> {
    let not_made = (number(), number(), 1..u64::MAX, gap_reason()).prop_map(|(a, b, count, reason)| {
        Body::Gap(Gap::NotMade { first_minute: a.min(b), last_minute: a.max(b), count, reason })
    });
    let destroyed = (0..SEQUENCE_MAX, number(), gap_reason()).prop_map(|(last, back, reason)| {
        Body::Gap(Gap::Destroyed { first: last.saturating_sub(back), last, reason })
    });
    let anchor =
        ("[a-z.]{1,20}/log/[a-z]{1,9}", 1..u64::MAX, any::<[u8; 32]>(), option::of(any::<[u8; 32]>()))
            .prop_map(|(origin, size, root, note)| Anchor {
                origin,
                size,
                root: Digest(root),
                note: note.map(Digest),
            });
    (
        any::<[u8; 16]>(),
        number().prop_map(|number| number.min(SEQUENCE_MAX)),
        any::<[u8; 32]>(),
        option::of(anchor),
        prop_oneof![4 => attestation(), 1 => not_made, 1 => destroyed],
    )
        .prop_map(|(instance, sequence, previous, anchor, body)| {
            let sequence =
                if let Body::Gap(Gap::Destroyed { last, .. }) = body { last + 1 } else { sequence };
            let is_first = sequence == 0 || matches!(body, Body::Gap(Gap::Destroyed { first: 0, .. }));
            let previous = if is_first { Digest::ZERO } else { Digest(previous) };
            Statement { instance: InstanceId::from_bytes(instance), sequence, previous, anchor, body }
        })
}

/// `bytes` after one change of the kind that codecs get wrong: a flipped bit, a byte more or less, a cut, a part
/// twice, two parts exchanged. The change may be none.
pub(crate) fn damaged(bytes: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    (0..6u8, any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()).prop_map(
        move |(kind, a, b, byte)| {
            let mut out = bytes.clone();
            if out.is_empty() {
                return vec![byte];
            }
            let (a, b) = (a.index(out.len()), b.index(out.len()));
            let (low, high) = (a.min(b), a.max(b));
            match kind {
                0 => out[a] ^= 1 << (byte % 8),
                1 => out.insert(a, byte),
                2 => drop(out.remove(a)),
                3 => out.truncate(a),
                4 => drop(out.splice(low..low, bytes[low..high].to_vec())),
                _ => out.swap(a, b),
            }
            out
        },
    )
}

/// As many volumes as a list may have, and `extra` more.
pub(crate) fn many_volumes(extra: usize) -> Vec<proto::Volume> {
    vec![proto::Volume::default(); FACT_ROWS_MAX + extra]
}
