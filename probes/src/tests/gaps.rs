//! What the recordings must cover: a new family or a known false pass without its machine is a failing test.

use super::{
    fleet::{look, machines},
    verdict::{Fail, NotApplicable, Pass, Unknown, verdict},
};
use crate::Outcome;

/// A way a control is looked at: its control, and its recordings that pass, fail, could not be looked at,
/// and are malformed.
type Family = (&'static str, &'static str, [&'static str; 4]);

const FAMILIES: [Family; 28] = [
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
const FALSE_PASSES: [(&str, &str, &[&str]); 43] = [
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
