//! What may be asked for administrators, identity, management and password managers.

use crate::{
    linux::{self, accounts, sudoers},
    macos,
    password_managers::Catalogue,
    programs::Program,
    question::Question,
    windows,
};

/// Of Linux.
pub(super) fn linux(add: &mut dyn FnMut(&'static str, String)) {
    use linux::{device_identity as identity, local_administrators, password_manager};
    let administrators = &mut |pattern: String| add("local-administrators", pattern);
    for path in [accounts::PASSWD, accounts::GROUP, accounts::SOURCES] {
        administrators(format!("read {path}"));
        administrators(format!("metadata {path}"));
    }
    administrators(format!("metadata {}", accounts::SOURCES_AUTHSELECT));
    for folder in [accounts::ETC, accounts::USERDB] {
        administrators(format!("list {folder}"));
    }
    administrators(format!("metadata {}/{}", accounts::USERDB, accounts::HOMED));
    for name in local_administrators::OTHER_WAYS.into_iter().chain([local_administrators::SUDOERS]) {
        administrators(format!("metadata {}/{name}", accounts::ETC));
    }
    for spelling in sudoers::SPELLINGS {
        administrators(local_administrators::rules(spelling).to_string());
    }
    for path in [
        identity::UUID,
        identity::SERIAL,
        identity::BOARD_SERIAL,
        identity::VENDOR,
        identity::MACHINE_ID,
        identity::HOSTNAME,
    ] {
        add("device-identity", format!("read {path}"));
    }
    let interfaces = identity::INTERFACES;
    add("device-identity", format!("list {interfaces}"));
    add("device-identity", format!("metadata {interfaces}/*/device"));
    for file in ["addr_assign_type", "address"] {
        add("device-identity", format!("read {interfaces}/*/{file}"));
    }
    for (_, manager) in Catalogue::bundled().into_iter().flat_map(|all| all.on(|p| p.linux.as_ref())) {
        for path in password_manager::paths(manager) {
            add("password-manager", format!("metadata {path}"));
        }
    }
}

/// Of macOS.
pub(super) fn macos(add: &mut dyn FnMut(&'static str, String)) {
    use macos::{device_identity, local_administrators, mdm_enrolment, password_manager};
    let run = |program: Program, args: &[&str]| Question::run(program, args).to_string();
    add("device-identity", run(Program::Ioreg, &device_identity::PLATFORM));
    add("local-administrators", run(Program::Dscl, &local_administrators::ADMIN));
    add("local-administrators", run(Program::Dscl, &local_administrators::USERS));
    add("local-administrators", run(Program::Dscl, &local_administrators::SEARCH));
    add("mdm-enrolment", run(Program::Profiles, &mdm_enrolment::STATUS));
    for (_, manager) in Catalogue::bundled().into_iter().flat_map(|all| all.on(|p| p.macos.as_ref())) {
        for app in &manager.apps {
            add("password-manager", format!("read {}", password_manager::description(app)));
        }
    }
}

/// Of Windows.
pub(super) fn windows(add: &mut dyn FnMut(&'static str, String)) {
    use windows::{
        device_identity as identity, local_administrators, mdm_enrolment as mdm,
        password_manager as passwords,
    };
    let hardware = [identity::PRODUCT, identity::FIRMWARE, identity::BOARD, identity::ADAPTERS];
    for question in hardware.into_iter().chain([identity::machine_guid(), identity::computer_name()]) {
        add("device-identity", question.to_string());
    }
    for question in [local_administrators::product(), local_administrators::ADMINISTRATORS] {
        add("local-administrators", question.to_string());
    }
    for question in [mdm::enrolments(), mdm::joins(), mdm::enrolment("*")] {
        add("mdm-enrolment", question.to_string());
    }
    for hive in passwords::HIVES {
        add("password-manager", passwords::listed(hive).to_string());
        add("password-manager", passwords::installation(hive, "{*}").to_string());
        for (_, manager) in Catalogue::bundled().into_iter().flat_map(|all| all.on(|p| p.windows.as_ref())) {
            for key in &manager.keys {
                add("password-manager", passwords::installation(hive, key).to_string());
            }
        }
    }
}
