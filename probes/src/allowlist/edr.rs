//! What may be asked about security products: all of it follows from the catalogue.

use crate::{
    catalogue::{Catalogue, FOLDERS_BELOW_MAX},
    health::HealthCommand,
    linux,
    macos::{
        edr::{BUNDLE, EXTENSIONS, INSIDE, print_service},
        extensions, signature,
    },
    platform::Platform,
    programs::Program,
    question::Question,
    windows,
};

/// Every kind of question about products of Linux.
pub(super) fn linux(add: &mut dyn FnMut(String)) {
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
            add(Question::run(Program::Systemctl, &linux::edr::show_unit(unit)).to_string());
        }
        if let Some(package) = &linux.deb {
            add(Question::run(Program::DpkgQuery, &linux::edr::show_package(package)).to_string());
        }
        if let Some(package) = &linux.rpm {
            add(Question::run(Program::Rpm, &linux::edr::show_rpm(package)).to_string());
        }
        health(linux.health, Platform::Linux, add);
    }
}

/// Every kind of question about products of macOS.
pub(super) fn macos(add: &mut dyn FnMut(String)) {
    add("processes".to_owned());
    add(extensions::question().to_string());
    for (_, macos) in Catalogue::bundled().into_iter().flat_map(Catalogue::macos) {
        for path in &macos.paths {
            add(format!("metadata {path}"));
        }
        for executable in &macos.executables {
            add(format!("metadata {executable}"));
            folders_above(executable, add);
        }
        let begins = macos.extension_prefixes.iter().map(|begin| format!("{begin}*"));
        for id in macos.extensions.iter().cloned().chain(begins) {
            let executable = format!("{EXTENSIONS}/*/{id}{BUNDLE}{INSIDE}*");
            add(format!("metadata {executable}"));
            folders_above(&executable, add);
        }
        // What asks about a process that cannot be found, or not be told to be the product's, is never asked.
        let is_found = [&macos.extensions, &macos.extension_prefixes, &macos.executables, &macos.processes]
            .iter()
            .any(|list| !list.is_empty());
        if let Some(question) = signature::question(macos, "*").filter(|_| is_found) {
            add(question.to_string());
        }
        for label in macos.labels.iter().filter(|_| is_found) {
            let args = print_service(label).to_vec();
            add(Question::Run { program: Program::Launchctl, args }.to_string());
        }
        health(macos.health.filter(|_| macos.team.is_some()), Platform::Macos, add);
    }
}

/// Every kind of question about products of Windows.
pub(super) fn windows(add: &mut dyn FnMut(String)) {
    add("processes".to_owned());
    for question in [
        windows::edr::SERVICES,
        windows::edr::DRIVERS,
        windows::defender::STATUS,
        windows::defender::SECURITY_CENTER,
        windows::defender::onboarding(),
    ] {
        add(question.to_string());
    }
    for (_, product) in Catalogue::bundled().into_iter().flat_map(Catalogue::windows) {
        for service in &product.services {
            add(windows::edr::service(service).to_string());
            if product.service_version_suffix {
                add(windows::edr::service(&format!("{service}*")).to_string());
            }
        }
    }
}

/// A vendor's program, who may change it, and what it is asked.
fn health(command: Option<HealthCommand>, platform: Platform, add: &mut dyn FnMut(String)) {
    let Some(command) = command else { return };
    if let Some((_, path)) = command.program(platform) {
        add(format!("metadata {path}"));
        folders_above(path, add);
    }
    if let Some(question) = command.question(platform) {
        add(question.to_string());
    }
}

pub(super) fn folders_above(path: &str, add: &mut dyn FnMut(String)) {
    let mut path = path;
    while let Some((folder, _)) = path.rsplit_once('/') {
        add(format!("metadata {}", if folder.is_empty() { "/" } else { folder }));
        path = folder;
    }
}
