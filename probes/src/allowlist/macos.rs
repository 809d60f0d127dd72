//! What may be asked of macOS.

use crate::{
    linux::remote_access::EFFECTIVE,
    macos::{
        asset, automatic_updates, disk, host_firewall, launchctl, managed, os_patch, power, remote_access,
        screen_lock, secure_boot, sessions, sysctl, time_sync,
    },
    programs::Program,
    question::Question,
};

/// Every kind of question of a Mac, by control.
pub(super) fn questions(add: &mut dyn FnMut(&'static str, String)) {
    let run = |program: Program, args: &[&str]| Question::run(program, args).to_string();
    for control in ["asset", "os-patch"] {
        add(control, sysctl::question().to_string());
    }
    add("asset", run(Program::Ioreg, &asset::PRODUCT));
    for args in [&disk::CONTAINERS[..], &disk::INTERNAL, &disk::EXTERNAL, &disk::DATA] {
        add("disk-encryption", run(Program::Diskutil, args));
    }
    add("disk-encryption", run(Program::Fdesetup, &disk::STATUS));
    for path in [os_patch::VERSION, os_patch::UPDATES] {
        add("os-patch", format!("read {path}"));
    }
    add("screen-lock", format!("metadata {}", screen_lock::CONSOLE));
    add("screen-lock", run(Program::Pmset, &power::CUSTOM));
    add("screen-lock", sessions::question().to_string());
    let as_user = [
        (Program::Sysadminctl, &screen_lock::LOCK[..]),
        (Program::Defaults, &screen_lock::SAVER),
        (Program::Id, &screen_lock::NAME),
    ];
    for (program, args) in as_user {
        let args = args.join(" ");
        add("screen-lock", format!("run-as * {} {} {args}", screen_lock::DESKTOP, program.name()));
    }
    add("screen-lock", format!("list {}/*", managed::FOLDER));
    add("screen-lock", format!("read {}/*/{}.plist", managed::FOLDER, screen_lock::SAVER_DOMAIN));
    let domains = [
        ("automatic-updates", automatic_updates::DOMAIN),
        ("host-firewall", host_firewall::DOMAIN),
        ("os-patch", os_patch::RESTRICTIONS),
        ("screen-lock", screen_lock::SAVER_DOMAIN),
        ("time-sync", time_sync::DOMAIN),
    ];
    for (control, domain) in domains {
        add(control, format!("list {}", managed::FOLDER));
        add(control, format!("read {}", managed::path(domain)));
    }
    for path in [os_patch::VERSION, os_patch::UPDATES] {
        add("automatic-updates", format!("read {path}"));
    }
    add("automatic-updates", run(Program::Profiles, &automatic_updates::ENROLMENT));
    add("host-firewall", run(Program::Socketfilterfw, &host_firewall::STATE));
    for control in ["remote-access", "time-sync"] {
        add(control, launchctl::overrides().to_string());
        add(control, format!("read {}", launchctl::KEPT));
    }
    for question in [remote_access::SSH, remote_access::SCREEN].map(launchctl::job) {
        add("remote-access", question.to_string());
    }
    add("remote-access", run(Program::Sshd, &EFFECTIVE));
    add("remote-access", format!("list {}", remote_access::MANAGEMENT));
    add("remote-access", format!("read {}/{}", remote_access::MANAGEMENT, remote_access::MARK));
    add("secure-boot", run(Program::Mdmclient, &secure_boot::SECURITY));
    add("time-sync", run(Program::Systemsetup, &time_sync::SWITCH));
    add("time-sync", launchctl::job(time_sync::JOB).to_string());
}
