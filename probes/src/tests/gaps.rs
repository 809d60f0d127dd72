//! What the recordings must cover: a new family or a known false pass without its machine is a failing test.

use super::{
    fleet::{look, machines},
    verdict::{Fail, NotApplicable, Pass, Unknown, verdict},
};
use crate::Outcome;

/// A way a control is looked at on Linux: its control, and its recordings that pass, fail, could not be looked at,
/// and are malformed.
type Family = (&'static str, &'static str, [&'static str; 4]);

const FAMILIES: [Family; 13] = [
    (
        "disk-encryption",
        "block devices",
        ["laptop", "disk-plain-swap", "disk-sysfs-denied", "disk-malformed"],
    ),
    ("edr", "processes", ["edr-every-product", "edr-telemetry-only", "edr-no-processes", "edr-malformed"]),
    ("os-patch", "apt", ["laptop", "patch-security-pending", "patch-times-out", "patch-malformed"]),
    (
        "os-patch",
        "dnf",
        ["patch-dnf", "patch-dnf-security-pending", "patch-dnf-no-cache", "patch-dnf-malformed"],
    ),
    (
        "os-patch",
        "pacman",
        ["patch-pacman", "patch-pacman-stale", "patch-pacman-never-synced", "patch-pacman-malformed"],
    ),
    (
        "os-patch",
        "zypper",
        ["patch-zypper", "patch-zypper-security-pending", "patch-zypper-times-out", "patch-zypper-malformed"],
    ),
    ("screen-lock", "gnome", ["laptop", "lock-idle-never", "lock-no-bus", "lock-malformed"]),
    ("screen-lock", "kde", ["lock-kde", "lock-kde-never", "lock-kde-no-bus", "lock-kde-malformed"]),
    ("screen-lock", "xfce", ["lock-xfce", "lock-xfce-never", "lock-xfce-no-locker", "lock-xfce-malformed"]),
    (
        "screen-lock",
        "cinnamon",
        ["lock-cinnamon", "lock-cinnamon-never", "lock-cinnamon-no-bus", "lock-cinnamon-malformed"],
    ),
    ("screen-lock", "mate", ["lock-mate", "lock-mate-late", "lock-mate-no-locker", "lock-mate-malformed"]),
    ("screen-lock", "sway", ["lock-sway", "lock-sway-dark-only", "lock-sway-denied", "lock-sway-malformed"]),
    (
        "screen-lock",
        "hyprland",
        ["lock-hyprland", "lock-hyprland-dark-only", "lock-hyprland-denied", "lock-hyprland-malformed"],
    ),
];

/// Conditions that other agents let pass on Linux, and the machines on which this one does not.
const FALSE_PASSES: [(&str, &str, &[&str]); 12] = [
    (
        "Probo: any encrypted device",
        "disk-encryption",
        &["disk-boot-decoy", "disk-loop-decoy", "disk-home-only"],
    ),
    (
        "Probo: lock-enabled although it never locks",
        "screen-lock",
        &["lock-idle-never", "lock-cinnamon-never", "lock-kde-never", "lock-mate-never", "lock-xfce-never"],
    ),
    (
        "Probo, Pareto: no settings that can be read, so it locks",
        "screen-lock",
        &["lock-kde-denied", "lock-kde-no-bus", "lock-cinnamon-no-bus", "lock-budgie"],
    ),
    ("a number without its unit", "screen-lock", &["lock-kde-late", "lock-mate-late", "lock-xfce-late"]),
    (
        "Pareto: a timer without a locker, or settings of a daemon that does not run",
        "screen-lock",
        &["lock-sway-dark-only", "lock-sway-request", "lock-sway-no-daemon", "lock-hyprland-no-daemon"],
    ),
    ("Probo: osquery, Wazuh, Elastic Agent as protection", "edr", &["edr-telemetry-only"]),
    (
        "Probo: any version of the system",
        "os-patch",
        &["patch-security-pending", "patch-dnf-security-pending"],
    ),
    ("Pareto: only home encrypted", "disk-encryption", &["disk-home-only"]),
    ("Comp AI: Linux without LUKS, and any error", "disk-encryption", &["server-vm", "disk-sysfs-denied"]),
    ("Fleet: nothing but /", "disk-encryption", &["disk-second-plain", "disk-plain-swap"]),
    (
        "cnspec: the first leg only",
        "disk-encryption",
        &["disk-raid1-one-plain-leg", "disk-lvm-one-plain-pv", "disk-btrfs-one-plain"],
    ),
    (
        "EDRHunt, SharpEDRChecker: a part of a name, a folder",
        "edr",
        &["edr-renamed-process", "edr-name-of-another", "edr-leftover-folder", "edr-vendor-folder-left-over"],
    ),
];

#[test]
fn every_family_passes_fails_is_unavailable_and_is_damaged() {
    let mut gaps = Vec::new();
    for (control, family, recordings) in FAMILIES {
        for (index, name) in recordings.into_iter().enumerate() {
            let Some(machine) = machines().get(name) else {
                gaps.push(format!("{control} {family}: {name} is missing"));
                continue;
            };
            let (outcome, _) = look(name, control, machine);
            let is_as_told = match index {
                0 => verdict(&outcome) == Pass,
                1 => verdict(&outcome) == Fail,
                2 => matches!(outcome, Outcome::Unavailable(..)),
                _ => verdict(&outcome) == Unknown,
            };
            if !is_as_told {
                gaps.push(format!("{control} {family}: {name} is {:?}", verdict(&outcome)));
            }
        }
    }
    assert_eq!(gaps, Vec::<String>::new());
}

#[test]
fn no_known_false_pass_passes() {
    for (condition, control, recordings) in FALSE_PASSES {
        for name in recordings {
            let machine = machines().get(*name).unwrap_or_else(|| panic!("{condition}: no recording {name}"));
            let (outcome, _) = look(name, control, machine);
            assert!(!matches!(verdict(&outcome), Pass | NotApplicable), "{condition}: {name} passes");
        }
    }
}
