//! Every program a probe may ever have run, with the absolute paths it may lie at.
//!
//! There is no search in PATH: a program that lies elsewhere is not run.

use std::time::Duration;

/// A program of the allow-list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Program {
    /// `apt`: lists upgradable packages with their suites.
    Apt,
    /// `apt-get`, always with `-s`: simulates, never changes anything.
    AptGet,
    /// `dconf`: lists the keys an administrator has locked.
    Dconf,
    /// `dnf`, or `yum` where it is called so, always with `-C`: never fetches anything.
    Dnf,
    /// `dpkg-query`: the installed version of one package.
    DpkgQuery,
    /// `gdbus`: asks the session bus whether GNOME Shell is on it.
    Gdbus,
    /// `gsettings`: the settings of the user it runs as.
    Gsettings,
    /// `loginctl`: login sessions.
    Loginctl,
    /// `pacman -Qu`: lists upgrades against what was last fetched.
    Pacman,
    /// `rpm -q`: the installed version of one package.
    Rpm,
    /// `systemctl show`: properties of one unit.
    Systemctl,
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
    pub const ALL: [Self; 12] = [
        Self::Apt,
        Self::AptGet,
        Self::Dconf,
        Self::Dnf,
        Self::DpkgQuery,
        Self::Gdbus,
        Self::Gsettings,
        Self::Loginctl,
        Self::Pacman,
        Self::Rpm,
        Self::Systemctl,
        Self::Zypper,
    ];

    /// The name used in questions and recordings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Apt => "apt",
            Self::AptGet => "apt-get",
            Self::Dconf => "dconf",
            Self::Dnf => "dnf",
            Self::DpkgQuery => "dpkg-query",
            Self::Gdbus => "gdbus",
            Self::Gsettings => "gsettings",
            Self::Loginctl => "loginctl",
            Self::Pacman => "pacman",
            Self::Rpm => "rpm",
            Self::Systemctl => "systemctl",
            Self::Zypper => "zypper",
        }
    }

    /// Absolute paths to try, in order. The last is where NixOS keeps system programs.
    pub const fn paths(self) -> &'static [&'static str] {
        match self {
            Self::Apt => &["/usr/bin/apt"],
            Self::AptGet => &["/usr/bin/apt-get"],
            Self::Dconf => &["/usr/bin/dconf", "/run/current-system/sw/bin/dconf"],
            Self::Dnf => &["/usr/bin/dnf", "/usr/bin/yum"],
            Self::DpkgQuery => &["/usr/bin/dpkg-query"],
            Self::Gdbus => &["/usr/bin/gdbus", "/run/current-system/sw/bin/gdbus"],
            Self::Gsettings => &["/usr/bin/gsettings", "/run/current-system/sw/bin/gsettings"],
            Self::Loginctl => &["/usr/bin/loginctl", "/bin/loginctl", "/run/current-system/sw/bin/loginctl"],
            Self::Pacman => &["/usr/bin/pacman"],
            Self::Rpm => &["/usr/bin/rpm"],
            Self::Zypper => &["/usr/bin/zypper"],
            Self::Systemctl => {
                &["/usr/bin/systemctl", "/bin/systemctl", "/run/current-system/sw/bin/systemctl"]
            }
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
