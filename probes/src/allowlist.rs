//! Everything the agent may ever ask of a machine. What is not listed here is not asked.

mod macos;
mod windows;

use std::sync::OnceLock;

use crate::{
    catalogue::{Catalogue, FOLDERS_BELOW_MAX},
    linux::{
        asset, automatic_updates, block, container, disk, dnf, edr, gnome, host_firewall, os_patch,
        os_release, pacman, remote_access, screen_lock, secure_boot, sessions, time_sync, units, zypper,
    },
    platform::Platform,
    programs::Program,
    question::Question,
};

/// One kind of question. In `pattern`, `*` stands for one or more characters other than `/`, `\` and blanks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Permitted {
    /// The control it is asked for; `asset` for what the machine seems to be.
    pub control: &'static str,
    /// The question as printed, with `*` where it varies.
    pub pattern: String,
}

impl Permitted {
    /// True when a question is of this kind.
    pub fn covers(&self, question: &Question) -> bool {
        fits(&self.pattern, &question.to_string())
    }
}

/// Every kind of question of a platform, ascending by control and pattern; empty where nothing is asked yet.
pub fn questions(platform: Platform) -> Vec<Permitted> {
    let mut list = Vec::new();
    let mut add = |control, pattern: String| list.push(Permitted { control, pattern });
    match platform {
        Platform::Linux => linux_questions(&mut add),
        Platform::Macos => macos::questions(&mut add),
        Platform::Windows => windows::questions(&mut add),
        Platform::Other => {}
    }
    list.sort();
    list.dedup();
    list
}

fn linux_questions(add: &mut dyn FnMut(&'static str, String)) {
    for control in std::iter::once("asset").chain(crate::PROBES.iter().map(|probe| probe.control)) {
        add(control, format!("link {}", container::PID_NAMESPACE));
        add(control, format!("list {}", container::RUN));
        add(control, format!("list {}", container::RUN_SYSTEMD));
        for path in [container::MOUNTINFO, container::FIRST_MOUNTINFO] {
            add(control, format!("read {path}"));
        }
        for mark in container::MARKS {
            add(control, format!("metadata {mark}"));
        }
    }
    asset(&mut |pattern| add("asset", pattern));
    further(add);
    disk_encryption(&mut |pattern| add("disk-encryption", pattern));
    edr(&mut |pattern| add("edr", pattern));
    os_patch(&mut |pattern| add("os-patch", pattern));
    screen_lock(&mut |pattern| add("screen-lock", pattern));
}

fn asset(add: &mut dyn FnMut(String)) {
    for path in [asset::CHASSIS, asset::CPUINFO, asset::HYPERVISOR].into_iter().chain(asset::DMI) {
        add(format!("read {path}"));
    }
    add(format!("list {}", asset::HYPERVISOR_FOLDER));
    add(format!("list {}", asset::SUPPLIES));
    add(format!("read {}/*/type", asset::SUPPLIES));
    add(format!("read {}/*/scope", asset::SUPPLIES));
    add(format!("metadata {}", screen_lock::SYSTEMD_RUNS));
    for path in screen_lock::DEFAULT_TARGETS {
        add(format!("link {path}"));
    }
}

/// The controls that ask little each.
fn further(add: &mut dyn FnMut(&'static str, String)) {
    let run = |program: Program, args: &[&str]| Question::run(program, args).to_string();
    for path in os_release::PATHS {
        add("automatic-updates", format!("read {path}"));
    }
    add("automatic-updates", run(Program::AptConfig, &automatic_updates::DUMP));
    add("automatic-updates", run(Program::AptConfig, &automatic_updates::SWITCHES));
    add("automatic-updates", format!("metadata {}", automatic_updates::PROGRAM));
    add("automatic-updates", units::question().to_string());
    add("host-firewall", run(Program::Nft, &host_firewall::RULESET));
    add("host-firewall", format!("read {}", host_firewall::OLD_IPV4));
    add("host-firewall", format!("read {}", host_firewall::OLD_IPV6));
    add("remote-access", run(Program::Sshd, &remote_access::EFFECTIVE));
    add("remote-access", units::question().to_string());
    add("remote-access", "processes".to_owned());
    for folder in [secure_boot::FIRMWARE, secure_boot::VARIABLES, secure_boot::TPMS] {
        add("secure-boot", format!("list {folder}"));
    }
    for name in [secure_boot::SECURE_BOOT, secure_boot::SETUP_MODE, secure_boot::SHIM] {
        add("secure-boot", format!("read {}/{name}", secure_boot::VARIABLES));
    }
    add("secure-boot", format!("read {}", secure_boot::TPM_VERSION));
    add("time-sync", run(Program::Timedatectl, &time_sync::SHOW));
    add("time-sync", "processes".to_owned());
    add("time-sync", format!("metadata {}", time_sync::TIMESYNC_STAMP));
}

fn disk_encryption(add: &mut dyn FnMut(String)) {
    for path in [disk::MOUNTS, disk::SWAPS, disk::MEMINFO] {
        add(format!("read {path}"));
    }
    let device = format!("{}/*", block::FOLDER);
    add(format!("list {}", block::FOLDER));
    add(format!("link {device}"));
    add(format!("list {device}"));
    add(format!("list {device}/holders"));
    add(format!("list {device}/slaves"));
    for file in ["backing_dev", "device/model", "device/vendor", "dm/name", "dm/uuid", "loop/backing_file"] {
        add(format!("read {device}/{file}"));
    }
    add(format!("read {device}/removable"));
    add(format!("read {device}/uevent"));
    add(format!("list {}", disk::BTRFS_FOLDER));
    add(format!("list {}/*/devices", disk::BTRFS_FOLDER));
    add(format!("list {}/*/devinfo", disk::BTRFS_FOLDER));
}

fn edr(add: &mut dyn FnMut(String)) {
    add("processes".to_owned());
    add("link /proc/*/exe".to_owned());
    add("read /proc/*/cgroup".to_owned());
    for (_, linux) in Catalogue::bundled().into_iter().flat_map(Catalogue::linux) {
        for executable in &linux.executables {
            add(format!("metadata {executable}"));
            if linux.build_suffix {
                add(format!("metadata {executable}*"));
            }
            folders_above(executable, add);
        }
        for folder in &linux.folders {
            let mut below = format!("metadata {folder}");
            add(below.clone());
            for _ in 0..=FOLDERS_BELOW_MAX {
                below.push_str("/*");
                add(below.clone());
            }
            folders_above(folder, add);
        }
        if let Some(unit) = &linux.unit {
            add(Question::run(Program::Systemctl, &edr::show_unit(unit)).to_string());
        }
        if let Some(package) = &linux.deb {
            add(Question::run(Program::DpkgQuery, &edr::show_package(package)).to_string());
        }
        if let Some(package) = &linux.rpm {
            add(Question::run(Program::Rpm, &edr::show_rpm(package)).to_string());
        }
    }
}

fn folders_above(path: &str, add: &mut dyn FnMut(String)) {
    let mut path = path;
    while let Some((folder, _)) = path.rsplit_once('/') {
        add(format!("metadata {}", if folder.is_empty() { "/" } else { folder }));
        path = folder;
    }
}

fn os_patch(add: &mut dyn FnMut(String)) {
    for path in os_release::PATHS.into_iter().chain([os_patch::KERNEL_RELEASE]) {
        add(format!("read {path}"));
    }
    add(Question::run(Program::AptGet, &os_patch::SIMULATE).to_string());
    add(Question::run(Program::Apt, &os_patch::LIST_UPGRADABLE).to_string());
    add(format!("list {}", os_patch::LISTS));
    add(format!("metadata {}/*", os_patch::LISTS));
    add(format!("metadata {}", os_patch::SUCCESS_STAMP));
    add(format!("metadata {}", os_patch::DPKG_STATUS));
    add(Question::run(Program::Dnf, &dnf::CHECK).to_string());
    add(Question::run(Program::Dnf, &dnf::CHECK_SECURITY).to_string());
    for cache in dnf::CACHES {
        add(format!("list {cache}"));
        add(format!("metadata {cache}/*/{}", dnf::REPOMD));
    }
    add(format!("metadata {}", dnf::LAST_MAKECACHE));
    add(Question::run(Program::Pacman, &pacman::LIST_UPGRADES).to_string());
    for path in pacman::DATABASES.into_iter().chain([pacman::INSTALLED]) {
        add(format!("metadata {path}"));
    }
    add(format!("metadata {}", os_patch::IMAGE_MARK_PATH));
    add(format!("list {}", os_patch::KERNEL_MODULES));
    add(Question::run(Program::Zypper, &zypper::CHECK).to_string());
    add(Question::run(Program::Zypper, &zypper::LIST_SECURITY).to_string());
    add(format!("list {}", zypper::CACHE));
    add(format!("metadata {}/*/{}", zypper::CACHE, zypper::REPOMD));
}

fn screen_lock(add: &mut dyn FnMut(String)) {
    add("processes".to_owned());
    add(format!("metadata {}", screen_lock::SYSTEMD_RUNS));
    for path in screen_lock::DEFAULT_TARGETS {
        add(format!("link {path}"));
    }
    for path in screen_lock::DISPLAY_MANAGERS {
        add(format!("metadata {path}"));
    }
    add(format!("list {}", screen_lock::SHARE));
    for folder in screen_lock::SESSION_FOLDERS {
        add(format!("list {}/{folder}", screen_lock::SHARE));
    }
    add(format!("list {}", sessions::FOLDER));
    add(Question::run(Program::Loginctl, &sessions::LIST).to_string());
    add(Question::Run { program: Program::Loginctl, args: sessions::show("*") }.to_string());
    for desktop in gnome::desktops() {
        let mut as_user = |program: Program, args: &[&str]| {
            add(format!("run-as * {desktop} {} {}", program.name(), args.join(" ")));
        };
        as_user(Program::Gdbus, &gnome::SHELL_ON_BUS);
        as_user(Program::Dconf, &gnome::LIST_LOCKS);
        for schema in gnome::SCHEMAS {
            as_user(Program::Gsettings, &["list-recursively", schema]);
        }
    }
}

/// True when a question is of a permitted kind. Hosts that touch a machine refuse every other.
pub fn is_permitted(platform: Platform, question: &Question) -> bool {
    let text = question.to_string();
    // A name out of a listing must not lead out of its folder.
    if text.split(['/', '\\', ' ']).any(|part| part == ".." || part == ".") {
        return false;
    }
    static LINUX: OnceLock<Vec<Permitted>> = OnceLock::new();
    static MACOS: OnceLock<Vec<Permitted>> = OnceLock::new();
    static WINDOWS: OnceLock<Vec<Permitted>> = OnceLock::new();
    let list = match platform {
        Platform::Linux => &LINUX,
        Platform::Macos => &MACOS,
        Platform::Windows => &WINDOWS,
        Platform::Other => return false,
    };
    list.get_or_init(|| questions(platform)).iter().any(|permitted| fits(&permitted.pattern, &text))
}

/// `*` stands for one or more characters other than `/`, `\` and blanks.
fn fits(pattern: &str, text: &str) -> bool {
    let Some((before, after)) = pattern.split_once('*') else { return pattern == text };
    let Some(rest) = text.strip_prefix(before) else { return false };
    let longest = rest.find(['/', '\\', ' ']).unwrap_or(rest.len());
    (1..=longest).any(|end| rest.get(end..).is_some_and(|tail| fits(after, tail)))
}

#[cfg(test)]
mod tests;
