//! Every program a probe may ever have run, with the absolute paths it may lie at.
//!
//! There is no search in PATH: a program that lies elsewhere is not run.

use std::time::Duration;

/// A program of the allow-list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Program {
    /// `apt`: lists upgradable packages with their suites.
    Apt,
    /// `apt-config`: apt's settings, all files merged.
    AptConfig,
    /// `apt-get`, always with `-s`: simulates, never changes anything.
    AptGet,
    /// `dconf`: lists the keys an administrator has locked.
    Dconf,
    /// `defaults` of macOS, always with `export`: one domain of the user's preferences as a property list.
    Defaults,
    /// `diskutil` of macOS, with `list`, `apfs list` and `info`: disks and volumes as property lists.
    Diskutil,
    /// `dnf`, or `yum` where it is called so, always with `-C`: never fetches anything.
    Dnf,
    /// `dpkg-query`: the installed version of one package.
    DpkgQuery,
    /// `fdesetup` of macOS, with `status`: FileVault in words.
    Fdesetup,
    /// `gdbus`: asks the session bus whether GNOME Shell is on it.
    Gdbus,
    /// `gsettings`: the settings of the user it runs as.
    Gsettings,
    /// `id` of macOS, with `-un`: the user's name.
    Id,
    /// `ioreg` of macOS: one entry of the device tree as a property list.
    Ioreg,
    /// `launchctl` of macOS, with `print` and `print-disabled`: jobs of the system.
    Launchctl,
    /// `loginctl`: login sessions.
    Loginctl,
    /// `mdmclient` of macOS, with `QuerySecurityInfo`: what device management would be told.
    Mdmclient,
    /// `nft list ruleset`: the packet filter in force.
    Nft,
    /// `pacman -Qu`: lists upgrades against what was last fetched.
    Pacman,
    /// `pmset` of macOS, with `-g`: settings of power and display.
    Pmset,
    /// `profiles` of macOS, with `status -type enrollment`: whether the device is managed.
    Profiles,
    /// `rpm -q`: the installed version of one package.
    Rpm,
    /// `socketfilterfw` of macOS, with `--get…`: the application firewall in sentences.
    Socketfilterfw,
    /// `sshd -T`: checks and prints the effective configuration, and starts no server.
    Sshd,
    /// `sysadminctl` of macOS, with `-screenLock status`: when a password is asked for.
    Sysadminctl,
    /// `sysctl` of macOS: values of the kernel by name.
    Sysctl,
    /// `systemctl show`: properties of one unit.
    Systemctl,
    /// `systemsetup` of macOS, with `-getusingnetworktime`: one setting.
    Systemsetup,
    /// `timedatectl show`: whether the clock is synchronised.
    Timedatectl,
    /// `zypper`, always with `--no-refresh`: never fetches anything.
    Zypper,
}

/// Longest time a program may take unless it has a reason for more.
const DEFAULT_DEADLINE: Duration = Duration::from_secs(10);
/// Package managers may rebuild their package cache, which takes tens of seconds on a slow disk.
const PACKAGES_DEADLINE: Duration = Duration::from_secs(90);
/// Most bytes of output that are read, stdout and stderr each.
const DEFAULT_OUTPUT_BYTES: usize = 256 * 1024;
/// A simulated distribution upgrade prints two lines a package, some 100 bytes each, for up to 10,000 packages.
const PACKAGES_OUTPUT_BYTES: usize = 4 * 1024 * 1024;

impl Program {
    /// All programs, ascending by name.
    pub const ALL: [Self; 29] = [
        Self::Apt,
        Self::AptConfig,
        Self::AptGet,
        Self::Dconf,
        Self::Defaults,
        Self::Diskutil,
        Self::Dnf,
        Self::DpkgQuery,
        Self::Fdesetup,
        Self::Gdbus,
        Self::Gsettings,
        Self::Id,
        Self::Ioreg,
        Self::Launchctl,
        Self::Loginctl,
        Self::Mdmclient,
        Self::Nft,
        Self::Pacman,
        Self::Pmset,
        Self::Profiles,
        Self::Rpm,
        Self::Socketfilterfw,
        Self::Sshd,
        Self::Sysadminctl,
        Self::Sysctl,
        Self::Systemctl,
        Self::Systemsetup,
        Self::Timedatectl,
        Self::Zypper,
    ];

    /// The name used in questions and recordings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Apt => "apt",
            Self::AptConfig => "apt-config",
            Self::AptGet => "apt-get",
            Self::Dconf => "dconf",
            Self::Defaults => "defaults",
            Self::Diskutil => "diskutil",
            Self::Dnf => "dnf",
            Self::DpkgQuery => "dpkg-query",
            Self::Fdesetup => "fdesetup",
            Self::Gdbus => "gdbus",
            Self::Gsettings => "gsettings",
            Self::Id => "id",
            Self::Ioreg => "ioreg",
            Self::Launchctl => "launchctl",
            Self::Loginctl => "loginctl",
            Self::Mdmclient => "mdmclient",
            Self::Nft => "nft",
            Self::Pacman => "pacman",
            Self::Pmset => "pmset",
            Self::Profiles => "profiles",
            Self::Rpm => "rpm",
            Self::Socketfilterfw => "socketfilterfw",
            Self::Sshd => "sshd",
            Self::Sysadminctl => "sysadminctl",
            Self::Sysctl => "sysctl",
            Self::Systemctl => "systemctl",
            Self::Systemsetup => "systemsetup",
            Self::Timedatectl => "timedatectl",
            Self::Zypper => "zypper",
        }
    }

    /// Absolute paths to try, in order. The last is where NixOS keeps system programs.
    pub const fn paths(self) -> &'static [&'static str] {
        match self {
            Self::Apt => &["/usr/bin/apt"],
            Self::AptConfig => &["/usr/bin/apt-config"],
            Self::AptGet => &["/usr/bin/apt-get"],
            Self::Dconf => &["/usr/bin/dconf", "/run/current-system/sw/bin/dconf"],
            Self::Defaults => &["/usr/bin/defaults"],
            Self::Diskutil => &["/usr/sbin/diskutil"],
            Self::Dnf => &["/usr/bin/dnf", "/usr/bin/yum"],
            Self::DpkgQuery => &["/usr/bin/dpkg-query"],
            Self::Fdesetup => &["/usr/bin/fdesetup"],
            Self::Id => &["/usr/bin/id"],
            Self::Ioreg => &["/usr/sbin/ioreg"],
            Self::Launchctl => &["/bin/launchctl"],
            Self::Mdmclient => &["/usr/libexec/mdmclient"],
            Self::Pmset => &["/usr/bin/pmset"],
            Self::Profiles => &["/usr/bin/profiles"],
            Self::Socketfilterfw => &["/usr/libexec/ApplicationFirewall/socketfilterfw"],
            Self::Sysadminctl => &["/usr/sbin/sysadminctl"],
            Self::Sysctl => &["/usr/sbin/sysctl"],
            Self::Systemsetup => &["/usr/sbin/systemsetup"],
            Self::Gdbus => &["/usr/bin/gdbus", "/run/current-system/sw/bin/gdbus"],
            Self::Gsettings => &["/usr/bin/gsettings", "/run/current-system/sw/bin/gsettings"],
            Self::Loginctl => &["/usr/bin/loginctl", "/bin/loginctl", "/run/current-system/sw/bin/loginctl"],
            Self::Nft => &["/usr/sbin/nft", "/usr/bin/nft", "/run/current-system/sw/bin/nft"],
            Self::Pacman => &["/usr/bin/pacman"],
            Self::Rpm => &["/usr/bin/rpm"],
            Self::Sshd => &["/usr/sbin/sshd", "/usr/bin/sshd", "/run/current-system/sw/bin/sshd"],
            Self::Zypper => &["/usr/bin/zypper"],
            Self::Systemctl => {
                &["/usr/bin/systemctl", "/bin/systemctl", "/run/current-system/sw/bin/systemctl"]
            }
            Self::Timedatectl => &["/usr/bin/timedatectl", "/run/current-system/sw/bin/timedatectl"],
        }
    }

    /// How long it may run before it is killed with its process group.
    pub const fn deadline(self) -> Duration {
        match self {
            Self::Apt | Self::AptGet | Self::Dnf | Self::Pacman | Self::Zypper => PACKAGES_DEADLINE,
            _ => DEFAULT_DEADLINE,
        }
    }

    /// Most bytes read of stdout, and of stderr; more is answered with "too large".
    pub const fn output_bytes_max(self) -> usize {
        match self {
            Self::Apt | Self::AptGet | Self::Dnf | Self::Pacman | Self::Zypper => PACKAGES_OUTPUT_BYTES,
            _ => DEFAULT_OUTPUT_BYTES,
        }
    }
}
