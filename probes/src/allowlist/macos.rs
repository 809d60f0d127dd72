//! What may be asked of macOS.

use crate::{
    macos::{asset, disk, managed, os_patch, power, screen_lock, sysctl},
    programs::Program,
    question::Question,
};

/// Every kind of question of a Mac, by control.
pub(super) fn questions(add: &mut dyn FnMut(&'static str, String)) {
    super::accounts::macos(add);
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
    for (control, domain) in
        [("os-patch", os_patch::RESTRICTIONS), ("screen-lock", screen_lock::SAVER_DOMAIN)]
    {
        add(control, format!("list {}", managed::FOLDER));
        add(control, format!("read {}/{domain}.plist", managed::FOLDER));
    }
}
