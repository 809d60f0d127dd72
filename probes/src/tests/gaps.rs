//! What the recordings must cover: a new family or a known false pass without its machine is a failing test.

use super::{
    fleet::{look, machines},
    verdict::{Fail, NotApplicable, Pass, Unknown, verdict},
};
use crate::Outcome;

/// A way a control is looked at: its control, and its recordings that pass, fail, could not be looked at,
/// and are malformed.
type Family = (&'static str, &'static str, [&'static str; 4]);

const FAMILIES: [Family; 17] = [
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
    (
        "automatic-updates",
        "softwareupdate",
        ["macos-laptop", "macos-updates-off", "macos-silent", "macos-updates-malformed"],
    ),
    (
        "automatic-updates",
        "Windows Update",
        [
            "windows-laptop",
            "windows-updates-policy-off",
            "windows-updates-denied",
            "windows-updates-malformed",
        ],
    ),
    (
        "host-firewall",
        "socketfilterfw",
        ["macos-laptop", "macos-firewall-off", "macos-silent", "macos-firewall-malformed"],
    ),
    (
        "host-firewall",
        "Windows' profiles",
        [
            "windows-laptop",
            "windows-firewall-public-off",
            "windows-firewall-denied",
            "windows-firewall-malformed",
        ],
    ),
    (
        "remote-access",
        "launchd",
        ["macos-laptop", "macos-remote-login", "macos-silent", "macos-remote-malformed"],
    ),
    (
        "remote-access",
        "Remote Desktop",
        ["windows-laptop", "windows-remote-no-nla", "windows-remote-denied", "windows-remote-malformed"],
    ),
    ("secure-boot", "mdmclient", ["macos-laptop", "macos-boot-off", "macos-silent", "macos-boot-malformed"]),
    (
        "secure-boot",
        "UEFI under Windows",
        ["windows-laptop", "windows-boot-off", "windows-boot-denied", "windows-boot-malformed"],
    ),
    ("time-sync", "systemsetup", ["macos-laptop", "macos-time-off", "macos-silent", "macos-time-malformed"]),
    (
        "time-sync",
        "W32Time",
        ["windows-laptop", "windows-time-nosync", "windows-time-denied", "windows-time-malformed"],
    ),
];

/// Conditions that other agents let pass, and the machines on which this one does not.
const FALSE_PASSES: [(&str, &str, &[&str]); 23] = [
    (
        "Probo: any encrypted device",
        "disk-encryption",
        &["disk-boot-decoy", "disk-loop-decoy", "disk-home-only"],
    ),
    ("Probo: lock-enabled although it never locks", "screen-lock", &["lock-idle-never"]),
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
    // peers.md 5: macOS and Windows.
    ("pareto-mac: a screen saver that never starts", "screen-lock", &["macos-lock-never-dark"]),
    (
        "Fleet: FileVault or its hardware, and nothing else",
        "disk-encryption",
        &["macos-disk-hardware-only", "macos-disk-second-plain", "macos-disk-decrypting"],
    ),
    (
        "Pareto, Stethoscope: values for encrypting and suspended",
        "disk-encryption",
        &["windows-disk-encrypting", "windows-disk-suspended"],
    ),
    ("Comp AI: fully encrypted, and suspended", "disk-encryption", &["windows-disk-suspended"]),
    ("osquery: a property of a volume that is old", "disk-encryption", &["windows-disk-stale-property"]),
    (
        "Comp AI: any error",
        "host-firewall",
        &["macos-silent", "windows-firewall-denied", "windows-firewall-malformed"],
    ),
    (
        "Probo: on by a word in some setting",
        "automatic-updates",
        &["macos-updates-forced-off", "windows-updates-notify", "windows-updates-local-choice"],
    ),
    ("Pareto: a pause read as a number", "automatic-updates", &["windows-updates-paused"]),
    ("osquery: the Security Center's word", "automatic-updates", &["windows-updates-service-disabled"]),
    (
        "Probo: words of a language",
        "host-firewall",
        &["macos-german", "macos-french", "macos-japanese", "macos-firewall-reworded"],
    ),
    ("plain WMI: the machine's own settings", "host-firewall", &["windows-firewall-policy-off"]),
    ("profiles that are on without their service", "host-firewall", &["windows-firewall-stopped"]),
    (
        "one of several ways in",
        "remote-access",
        &["macos-remote-management", "macos-remote-screen", "windows-remote-policy"],
    ),
    ("settings no file shows", "automatic-updates", &["macos-updates-declared"]),
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
                0 => verdict(machine.platform(), &outcome) == Pass,
                1 => verdict(machine.platform(), &outcome) == Fail,
                2 => matches!(outcome, Outcome::Unavailable(..)),
                _ => verdict(machine.platform(), &outcome) == Unknown,
            };
            if !is_as_told {
                gaps.push(format!(
                    "{control} {family}: {name} is {:?}",
                    verdict(machine.platform(), &outcome)
                ));
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
            assert!(
                !matches!(verdict(machine.platform(), &outcome), Pass | NotApplicable),
                "{condition}: {name} passes"
            );
        }
    }
}

/// "State = 2" is how some systems write "on": that everything is blocked is said elsewhere, in two wordings.
#[test]
fn a_number_does_not_say_that_everything_is_blocked() {
    for (name, blocks) in [("macos-firewall-state-2", false), ("macos-firewall-block-all", true)] {
        let (outcome, _) = look(name, "host-firewall", &machines()[name]);
        let Outcome::Observed(facts) = outcome else { panic!("{name}: {outcome:?}") };
        let proto::facts::Control::HostFirewall(facts) = *facts else { panic!("{name}") };
        let incoming: Vec<_> = facts.filters.iter().map(proto::FirewallFilter::incoming).collect();
        let wanted = if blocks { proto::FilterDefault::Block } else { proto::FilterDefault::Unspecified };
        assert_eq!(incoming, [wanted], "{name}");
    }
}
