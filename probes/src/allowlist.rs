//! Everything the agent may ever ask of a machine. What is not listed here is not asked.

mod accounts;
mod edr;
mod macos;
mod windows;

use std::sync::OnceLock;

use crate::{
    linux::{
        asset, automatic_updates, block, container, desktop, disk, dnf, host_firewall, idle, kde, os_patch,
        os_release, pacman, remote_access, rpm, rpm_ostree, screen_lock, secure_boot, sessions, time_sync,
        units, xfce, zypper,
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
    accounts::linux(add);
    further(add);
    disk_encryption(&mut |pattern| add("disk-encryption", pattern));
    edr::linux(&mut |pattern| add("edr", pattern));
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
    add(Question::run(Program::Dnf, &dnf::NEEDS_RESTARTING).to_string());
    add(Question::run(Program::Rpm, &rpm::INSTALL_TIMES).to_string());
    add(Question::run(Program::RpmOstree, &rpm_ostree::STATUS).to_string());
    add(Question::run(Program::Pacman, &pacman::LIST_UPGRADES).to_string());
    add(Question::run(Program::Pacman, &pacman::FIND_ITSELF).to_string());
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
    desktop::as_users().into_iter().for_each(&mut *add);
    settings_files(add);
}

/// Files of settings, and how the processes that obey them were started.
fn settings_files(add: &mut dyn FnMut(String)) {
    let of_user = [kde::OF_USER, kde::OF_THEME, idle::hypridle::FILE, idle::locker::HYPRLOCK]
        .into_iter()
        .chain(idle::swayidle::OF_USER)
        .chain(idle::locker::SWAYLOCK);
    for path in of_user {
        add(format!("read-as * {path}"));
    }
    let of_system = [xfce::OF_SYSTEM, idle::swayidle::OF_SYSTEM, idle::locker::SWAYLOCK_OF_SYSTEM]
        .map(str::to_owned)
        .into_iter()
        .chain(kde::FOLDERS.map(kde::file_in));
    for path in of_system {
        add(format!("read {path}"));
        add(format!("metadata {path}"));
    }
    add(format!("started *: {}", kde::VARIABLES.join(", ")));
    add(format!("started *: {}", idle::VARIABLES.join(", ")));
    add("link /proc/*/exe".to_owned());
    for executable in idle::EXECUTABLES {
        add(format!("metadata {executable}"));
        edr::folders_above(executable, add);
    }
}

/// True when a question is of a permitted kind. Hosts that touch a machine refuse every other.
pub fn is_permitted(platform: Platform, question: &Question) -> bool {
    let text = question.to_string();
    // A name out of a listing must not lead out of its folder.
    if text.split(['/', '\\', ' ']).any(|part| part == ".." || part == ".") {
        return false;
    }
    kept_list(platform).iter().any(|permitted| fits(&permitted.pattern, &text))
}

/// True when a question is on the list for this control.
pub(crate) fn is_asked_for(platform: Platform, control: &str, question: &Question) -> bool {
    kept_list(platform).iter().any(|permitted| permitted.control == control && permitted.covers(question))
}

/// [`questions`], made once.
fn kept_list(platform: Platform) -> &'static [Permitted] {
    static LINUX: OnceLock<Vec<Permitted>> = OnceLock::new();
    static MACOS: OnceLock<Vec<Permitted>> = OnceLock::new();
    static WINDOWS: OnceLock<Vec<Permitted>> = OnceLock::new();
    let list = match platform {
        Platform::Linux => &LINUX,
        Platform::Macos => &MACOS,
        Platform::Windows => &WINDOWS,
        Platform::Other => return &[],
    };
    list.get_or_init(|| questions(platform))
}

/// Controls whose answers name people or the machine itself.
const NAMING: [&str; 2] = ["device-identity", "local-administrators"];

/// True when the answer names people or the machine and no other control asks for it: a recording leaves it out.
pub fn names_somebody(platform: Platform, question: &Question) -> bool {
    let text = question.to_string();
    let mut controls =
        kept_list(platform).iter().filter(|permitted| fits(&permitted.pattern, &text)).peekable();
    controls.peek().is_some() && controls.all(|permitted| NAMING.contains(&permitted.control))
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
