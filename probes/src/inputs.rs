//! What an answer about packages is made of: while nothing of it changed, a host may give its last answer again.
//!
//! In doubt a place is on the list. One that changes for another reason costs a run of the program; one that is missing
//! could hide a change until the answer is a day old.

use crate::programs::Program;

/// A place that a program reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// A file or a link, by what the system says of it: number, size, times, owner, mode.
    File(&'static str),
    /// Everything in a folder, by name and as [`Input::File`]. Folders below it are opened up to `levels` deep.
    Folder {
        /// The folder; it may be a link.
        path: &'static str,
        /// 1 for what lies right in it.
        levels: u32,
        /// Names right in it that say nothing about packages.
        except: &'static [&'static str],
    },
    /// The content of a file that the kernel makes up, whose times say nothing.
    Content(&'static str),
}

impl Input {
    /// Where it is.
    pub const fn path(&self) -> &'static str {
        match self {
            Self::File(path) | Self::Folder { path, .. } | Self::Content(path) => path,
        }
    }
}

/// What the answers of one package manager depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inputs {
    /// Every place it reads that can change what it says.
    pub places: &'static [Input],
    /// Exit codes with which it did what it was asked for.
    pub complete: &'static [u32],
    /// Its settings, files and folders of files: they could name places that are not listed.
    pub settings: &'static [&'static str],
    /// Words of settings, in lower case, that name other places.
    elsewhere: &'static [&'static str],
    /// Beginnings of settings, in lower case, that hold such a word and are harmless.
    harmless: &'static [&'static str],
}

impl Inputs {
    /// Whether a file of settings leaves everything where it is listed. Comments do not count, but for apt's
    /// directives, which look like some.
    pub fn stays(&self, text: &str) -> bool {
        let is_comment = |line: &str| {
            line.starts_with("//")
                || (line.starts_with('#') && !line.starts_with("#include") && !line.starts_with("#clear"))
        };
        text.to_ascii_lowercase().lines().map(str::trim).filter(|line| !is_comment(line)).all(|line| {
            let rest = self.harmless.iter().find_map(|harmless| line.strip_prefix(harmless)).unwrap_or(line);
            rest.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '#' | '-' | '_' | '.')))
                .all(|word| !self.elsewhere.contains(&word))
        })
    }
}

impl Program {
    /// What its answers are made of; `None` for a program that is run whenever it is asked.
    pub const fn inputs(self) -> Option<&'static Inputs> {
        match self {
            Self::Apt | Self::AptGet => Some(&APT),
            Self::AptConfig => Some(&APT_SETTINGS),
            Self::Dnf => Some(&DNF),
            Self::Pacman => Some(&PACMAN),
            Self::Zypper => Some(&ZYPPER),
            _ => None,
        }
    }
}

const fn folder(path: &'static str, levels: u32) -> Input {
    Input::Folder { path, levels, except: &[] }
}

/// What `strace` of apt 2.6 shows it open, and what its manual pages name besides. Holds and selections are in dpkg's
/// status, pins in /etc/apt/preferences; the machine's number decides on phased updates, the kernel on what may be removed.
static APT: Inputs = Inputs {
    places: &[
        Input::File("/usr/bin/apt"),
        Input::File("/usr/bin/apt-get"),
        Input::File("/usr/bin/dpkg"),
        folder("/usr/lib/apt", 2),
        folder("/usr/share/dpkg", 1),
        folder("/etc/apt", 3),
        folder("/etc/dpkg", 2),
        Input::File("/etc/machine-id"),
        // The lock and what is being fetched change at every refresh, also at one that finds nothing new.
        Input::Folder { path: "/var/lib/apt/lists", levels: 2, except: &["lock", "partial"] },
        Input::File("/var/lib/apt/extended_states"),
        Input::File("/var/lib/apt/cdroms.list"),
        Input::File("/var/lib/dpkg/status"),
        Input::File("/var/lib/dpkg/arch"),
        folder("/var/lib/dpkg/updates", 1),
        Input::Content("/proc/sys/kernel/osrelease"),
    ],
    complete: &[0],
    settings: &APT_FILES,
    elsewhere: &APT_ELSEWHERE,
    harmless: &APT_HARMLESS,
};

const APT_FILES: [&str; 2] = ["/etc/apt/apt.conf", "/etc/apt/apt.conf.d"];
const APT_ELSEWHERE: [&str; 3] = ["dir", "rootdir", "#include"];
/// The binary caches are made of the places above, and apt compares them itself.
const APT_HARMLESS: [&str; 2] = ["dir::cache::pkgcache ", "dir::cache::srcpkgcache "];

/// Settings depend on no package.
static APT_SETTINGS: Inputs = Inputs {
    places: &[
        Input::File("/usr/bin/apt-config"),
        Input::File("/usr/bin/dpkg"),
        folder("/usr/share/dpkg", 1),
        folder("/etc/apt", 3),
        folder("/etc/dpkg", 2),
        Input::File("/var/lib/dpkg/arch"),
    ],
    complete: &[0],
    settings: &APT_FILES,
    elsewhere: &APT_ELSEWHERE,
    harmless: &APT_HARMLESS,
};

/// RPM's database, where old and new systems keep it.
const RPM: [Input; 3] =
    [folder("/var/lib/rpm", 1), folder("/usr/lib/sysimage/rpm", 1), folder("/etc/rpm", 1)];

/// dnf.conf(5), dnf5.conf(5): settings, variables, modules, locks, and what was fetched.
static DNF: Inputs = Inputs {
    places: &[
        Input::File("/usr/bin/dnf"),
        Input::File("/usr/bin/yum"),
        RPM[0],
        RPM[1],
        RPM[2],
        folder("/etc/dnf", 3),
        folder("/etc/yum", 3),
        Input::File("/etc/yum.conf"),
        folder("/etc/yum.repos.d", 1),
        folder("/etc/distro.repos.d", 1),
        folder("/usr/share/dnf5", 4),
        folder("/var/lib/dnf", 3),
        folder("/var/cache/dnf", 3),
        folder("/var/cache/libdnf5", 3),
        Input::Content("/proc/sys/kernel/osrelease"),
        // Whether a restart is needed is another question after one.
        Input::Content("/proc/sys/kernel/random/boot_id"),
    ],
    complete: &[0, 100],
    settings: &[
        "/etc/dnf",
        "/etc/yum",
        "/etc/yum.conf",
        "/etc/yum.repos.d",
        "/etc/distro.repos.d",
        "/etc/rpm",
    ],
    elsewhere: &[
        "_dbpath",
        "cachedir",
        "include",
        "installroot",
        "persistdir",
        "pluginconfpath",
        "reposdir",
        "system_cachedir",
        "system_state_dir",
        "varsdir",
    ],
    harmless: &[],
};

/// pacman.conf(5). A package that comes or goes is a folder in `local`.
static PACMAN: Inputs = Inputs {
    places: &[
        Input::File("/usr/bin/pacman"),
        Input::File("/etc/pacman.conf"),
        folder("/etc/pacman.d", 2),
        folder("/var/lib/pacman/local", 1),
        folder("/var/lib/pacman/sync", 1),
    ],
    complete: &[0, 1],
    settings: &["/etc/pacman.conf", "/etc/pacman.d"],
    elsewhere: &["dbpath", "include", "rootdir", "sysroot"],
    harmless: &["include = /etc/pacman.d/", "include=/etc/pacman.d/"],
};

/// zypper(8) and the comments of zypp.conf: repositories, services, locks, and what was fetched.
static ZYPPER: Inputs = Inputs {
    places: &[
        Input::File("/usr/bin/zypper"),
        RPM[0],
        RPM[1],
        RPM[2],
        folder("/etc/zypp", 3),
        folder("/etc/products.d", 1),
        folder("/var/lib/zypp", 2),
        folder("/var/cache/zypp", 4),
        Input::Content("/proc/sys/kernel/osrelease"),
    ],
    complete: &[0, 100, 101],
    settings: &["/etc/zypp", "/etc/rpm"],
    elsewhere: &[
        "_dbpath",
        "cachedir",
        "configdir",
        "credentials.global.dir",
        "metadatadir",
        "reposdir",
        "servicesdir",
        "solvfilesdir",
        "locksfile.path",
    ],
    harmless: &[],
};

#[cfg(test)]
mod tests;
