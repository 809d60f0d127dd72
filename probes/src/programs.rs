//! Every program a probe may ever have run, with the absolute paths it may lie at.
//!
//! There is no search in PATH: a program that lies elsewhere is not run.

use std::time::Duration;

/// A program of the allow-list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Program {
    /// `ampcli` of Cisco Secure Endpoint, with `status`.
    Ampcli,
    /// `apt`: lists upgradable packages with their suites.
    Apt,
    /// `apt-config`: apt's settings, all files merged.
    AptConfig,
    /// `apt-get`, always with `-s`: simulates, never changes anything.
    AptGet,
    /// `bduitool` of Bitdefender, with `get ps`: the state of its parts.
    Bduitool,
    /// `codesign` of macOS, with `--verify`: whether a running process bears the signature of its vendor.
    Codesign,
    /// `cytool` of Cortex XDR, with `runtime query`: its processes.
    Cytool,
    /// `cvtsudoers`: the rules of sudo as JSON, includes read; changes nothing.
    Cvtsudoers,
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
    /// `dsa_query` of Trend Micro, with `-c GetAgentStatus`.
    DsaQuery,
    /// `elastic-agent` of Elastic, with `status`.
    ElasticAgent,
    /// `falconctl` of CrowdStrike, with `-g` on Linux and `stats` on macOS.
    Falconctl,
    /// `dscl` of macOS, always with `-plist` and a verb that reads: groups, users and search path of the directory.
    Dscl,
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
    /// `mdatp` of Microsoft Defender for Endpoint, with `health`.
    Mdatp,
    /// `mdmclient` of macOS, with `QuerySecurityInfo`: what device management would be told.
    Mdmclient,
    /// `nft list ruleset`: the packet filter in force.
    Nft,
    /// `pacman -Qu` lists upgrades against what was last fetched, `-Ss` finds pacman itself there.
    Pacman,
    /// `pmset` of macOS, with `-g`: settings of power and display.
    Pmset,
    /// `profiles` of macOS, with `status -type enrollment`: whether the device is managed.
    Profiles,
    /// `repcli` of Carbon Black Cloud, with `status`.
    Repcli,
    /// `rpm -q`: the installed version of one package, or when each was installed.
    Rpm,
    /// `rpm-ostree status`: the images that are there, and the one that runs.
    RpmOstree,
    /// `sentinelctl` of SentinelOne, with `control status` on Linux and `status` on macOS.
    Sentinelctl,
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
    /// `systemextensionsctl` of macOS, with `list`: system extensions and their states.
    Systemextensionsctl,
    /// `systemsetup` of macOS, with `-getusingnetworktime`: one setting.
    Systemsetup,
    /// `timedatectl show`: whether the clock is synchronised.
    Timedatectl,
    /// `zypper`, always with `--no-refresh`: never fetches anything.
    Zypper,
}

/// Longest time a program may take unless it has a reason for more.
const DEFAULT_DEADLINE: Duration = Duration::from_secs(10);
/// Package managers may rebuild their package cache, which takes tens of seconds on a slow disk, and several times that
/// on a busy machine, where `run` gives them the least priority.
const PACKAGES_DEADLINE: Duration = Duration::from_mins(5);
/// Most bytes of output that are read, stdout and stderr each.
const DEFAULT_OUTPUT_BYTES: usize = 256 * 1024;
/// A simulated distribution upgrade prints two lines a package, some 100 bytes each, for up to 10,000 packages.
const PACKAGES_OUTPUT_BYTES: usize = 4 * 1024 * 1024;

impl Program {
    /// All programs, ascending by name.
    pub const ALL: [Self; 43] = [
        Self::Ampcli,
        Self::Apt,
        Self::AptConfig,
        Self::AptGet,
        Self::Bduitool,
        Self::Codesign,
        Self::Cvtsudoers,
        Self::Cytool,
        Self::Dconf,
        Self::Defaults,
        Self::Diskutil,
        Self::Dnf,
        Self::DpkgQuery,
        Self::DsaQuery,
        Self::Dscl,
        Self::ElasticAgent,
        Self::Falconctl,
        Self::Fdesetup,
        Self::Gdbus,
        Self::Gsettings,
        Self::Id,
        Self::Ioreg,
        Self::Launchctl,
        Self::Loginctl,
        Self::Mdatp,
        Self::Mdmclient,
        Self::Nft,
        Self::Pacman,
        Self::Pmset,
        Self::Profiles,
        Self::Repcli,
        Self::Rpm,
        Self::RpmOstree,
        Self::Sentinelctl,
        Self::Socketfilterfw,
        Self::Sshd,
        Self::Sysadminctl,
        Self::Sysctl,
        Self::Systemctl,
        Self::Systemextensionsctl,
        Self::Systemsetup,
        Self::Timedatectl,
        Self::Zypper,
    ];

    /// The name used in questions and recordings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ampcli => "ampcli",
            Self::Apt => "apt",
            Self::AptConfig => "apt-config",
            Self::AptGet => "apt-get",
            Self::Bduitool => "bduitool",
            Self::Codesign => "codesign",
            Self::Cytool => "cytool",
            Self::Cvtsudoers => "cvtsudoers",
            Self::Dconf => "dconf",
            Self::Defaults => "defaults",
            Self::Diskutil => "diskutil",
            Self::Dnf => "dnf",
            Self::DpkgQuery => "dpkg-query",
            Self::DsaQuery => "dsa_query",
            Self::ElasticAgent => "elastic-agent",
            Self::Falconctl => "falconctl",
            Self::Dscl => "dscl",
            Self::Fdesetup => "fdesetup",
            Self::Gdbus => "gdbus",
            Self::Gsettings => "gsettings",
            Self::Id => "id",
            Self::Ioreg => "ioreg",
            Self::Launchctl => "launchctl",
            Self::Loginctl => "loginctl",
            Self::Mdatp => "mdatp",
            Self::Mdmclient => "mdmclient",
            Self::Nft => "nft",
            Self::Pacman => "pacman",
            Self::Pmset => "pmset",
            Self::Profiles => "profiles",
            Self::Repcli => "repcli",
            Self::Rpm => "rpm",
            Self::RpmOstree => "rpm-ostree",
            Self::Sentinelctl => "sentinelctl",
            Self::Socketfilterfw => "socketfilterfw",
            Self::Sshd => "sshd",
            Self::Sysadminctl => "sysadminctl",
            Self::Sysctl => "sysctl",
            Self::Systemctl => "systemctl",
            Self::Systemextensionsctl => "systemextensionsctl",
            Self::Systemsetup => "systemsetup",
            Self::Timedatectl => "timedatectl",
            Self::Zypper => "zypper",
        }
    }

    /// Absolute paths to try, in order. The last is where NixOS keeps system programs, and for programs of vendors the
    /// one of macOS.
    pub const fn paths(self) -> &'static [&'static str] {
        match self {
            Self::Ampcli => &["/opt/cisco/amp/bin/ampcli", "/opt/cisco/amp/ampcli"],
            Self::Bduitool => &["/opt/bitdefender-security-tools/bin/bduitool"],
            Self::Codesign => &["/usr/bin/codesign"],
            Self::Cytool => {
                &["/opt/traps/bin/cytool", "/Library/Application Support/PaloAltoNetworks/Traps/bin/cytool"]
            }
            Self::DsaQuery => &["/opt/ds_agent/dsa_query"],
            Self::ElasticAgent => {
                &["/opt/Elastic/Agent/elastic-agent", "/Library/Elastic/Agent/elastic-agent"]
            }
            Self::Falconctl => {
                &["/opt/CrowdStrike/falconctl", "/Applications/Falcon.app/Contents/Resources/falconctl"]
            }
            Self::Mdatp => &["/usr/bin/mdatp", "/usr/local/bin/mdatp"],
            Self::Repcli => &[
                "/opt/carbonblack/psc/bin/repcli",
                "/Applications/VMware Carbon Black Cloud/repcli.bundle/Contents/MacOS/repcli",
            ],
            Self::Sentinelctl => &[
                "/opt/sentinelone/bin/sentinelctl",
                "/Library/Sentinel/sentinel-agent.bundle/Contents/MacOS/sentinelctl",
            ],
            Self::Systemextensionsctl => &["/usr/bin/systemextensionsctl"],
            Self::Apt => &["/usr/bin/apt"],
            Self::AptConfig => &["/usr/bin/apt-config"],
            Self::AptGet => &["/usr/bin/apt-get"],
            Self::Cvtsudoers => {
                &["/usr/bin/cvtsudoers", "/usr/sbin/cvtsudoers", "/run/current-system/sw/bin/cvtsudoers"]
            }
            Self::Dconf => &["/usr/bin/dconf", "/run/current-system/sw/bin/dconf"],
            Self::Defaults => &["/usr/bin/defaults"],
            Self::Diskutil => &["/usr/sbin/diskutil"],
            Self::Dnf => &["/usr/bin/dnf", "/usr/bin/yum"],
            Self::DpkgQuery => &["/usr/bin/dpkg-query"],
            Self::Dscl => &["/usr/bin/dscl"],
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
            Self::RpmOstree => &["/usr/bin/rpm-ostree"],
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
