//! What the recordings must cover: a new family or a known false pass without its machine is a failing test.

use super::{
    fleet::{look, machines},
    verdict::{Fail, NotApplicable, Pass, Unknown, verdict},
};
use crate::Outcome;

/// A way a control is looked at: its control, and its recordings that pass, fail, could not be looked at,
/// and are malformed.
type Family = (&'static str, &'static str, [&'static str; 4]);

const FAMILIES: [Family; 12] = [
    (
        "disk-encryption",
        "block devices",
        ["laptop", "disk-plain-swap", "disk-sysfs-denied", "disk-malformed"],
    ),
    ("edr", "processes", ["edr-every-product", "edr-telemetry-only", "edr-no-processes", "edr-malformed"]),
    ("edr", "falconctl", ["laptop", "edr-reduced", "edr-no-processes", "edr-health-reworded"]),
    ("edr", "mdatp", ["edr-defender", "edr-defender-passive", "edr-no-processes", "edr-defender-malformed"]),
    (
        "edr",
        "macOS extensions",
        ["macos-laptop", "macos-edr-waiting-for-user", "macos-edr-no-processes", "macos-edr-malformed"],
    ),
    (
        "edr",
        "Windows services",
        [
            "windows-laptop",
            "windows-edr-driver-stopped",
            "windows-edr-services-denied",
            "windows-edr-malformed",
        ],
    ),
    (
        "edr",
        "Windows Defender",
        [
            "windows-edr-defender",
            "windows-edr-defender-passive",
            "windows-edr-services-denied",
            "windows-edr-defender-new-mode",
        ],
    ),
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
];

/// Conditions that other agents let pass, and the machines on which this one does not.
const FALSE_PASSES: [(&str, &str, &[&str]); 21] = [
    (
        "Probo: any encrypted device",
        "disk-encryption",
        &["disk-boot-decoy", "disk-loop-decoy", "disk-home-only"],
    ),
    ("Probo: lock-enabled although it never locks", "screen-lock", &["lock-idle-never"]),
    (
        "Probo: osquery, Wazuh, Elastic Agent as protection",
        "edr",
        &["edr-telemetry-only", "macos-edr-telemetry-only", "windows-edr-telemetry-only"],
    ),
    ("kolide falconctl: rfm-state is not set", "edr", &["edr-reduced-not-told"]),
    ("a sensor in reduced functionality", "edr", &["edr-reduced", "macos-edr-reduced"]),
    (
        "mdatp: healthy is true, and it is passive",
        "edr",
        &["edr-defender-passive", "macos-edr-defender-passive"],
    ),
    (
        "Pareto: antivirus by a registry key or a folder of Program Files",
        "edr",
        &["windows-edr-residue", "macos-edr-leftover-folder"],
    ),
    ("Pareto: an unreadable state is assumed active", "edr", &["windows-edr-defender-new-mode"]),
    (
        "Pareto, DC: the Security Center says on",
        "edr",
        &["windows-edr-security-center-still-on", "windows-edr-antivirus-only"],
    ),
    (
        "an extension that waits for a person, is off, or is listed and does not run",
        "edr",
        &["macos-edr-waiting-for-user", "macos-edr-extension-off", "macos-edr-extension-does-not-run"],
    ),
    ("an extension matched by a part of its row", "edr", &["macos-edr-extension-of-another-team"]),
    (
        "Windows: a passive antivirus",
        "edr",
        &["windows-edr-defender-passive", "windows-edr-defender-side-by-side"],
    ),
    (
        "a vendor's program that anybody may have put there",
        "edr",
        &["edr-health-command-of-a-user", "macos-edr-health-command-of-a-user"],
    ),
    ("a sensor that reports to nobody", "edr", &["edr-no-tenant", "windows-edr-not-onboarded"]),
    ("a sensor without its driver", "edr", &["windows-edr-driver-stopped"]),
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
        &[
            "edr-renamed-process",
            "edr-name-of-another",
            "edr-leftover-folder",
            "edr-vendor-folder-left-over",
            "macos-edr-renamed-process",
            "macos-edr-signed-by-another",
            "windows-edr-renamed-process",
            "windows-edr-service-of-another-program",
        ],
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
