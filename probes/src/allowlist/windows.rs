//! What may be asked of Windows: keys of the registry and classes of WMI, each with its names.

use crate::{question::Question, windows};

/// Every kind of question of a Windows machine, by control.
pub(super) fn questions(add: &mut dyn FnMut(&'static str, String)) {
    for question in [windows::asset::BATTERY, windows::asset::ENCLOSURE, windows::asset::SYSTEM] {
        add("asset", question.to_string());
    }
    for question in [windows::disk::ENCRYPTABLE, windows::disk::PARTITIONS, windows::disk::VOLUMES] {
        add("disk-encryption", question.to_string());
    }
    let patch = &mut |question: Question| add("os-patch", question.to_string());
    patch(windows::os_patch::version());
    patch(windows::os_patch::rollups());
    patch(windows::os_patch::package("*"));
    patch(Question::WindowsUpdate);
    windows::os_patch::restarts().into_iter().for_each(patch);
    let lock = &mut |question: Question| add("screen-lock", question.to_string());
    lock(windows::screen_lock::machine());
    lock(windows::screen_lock::grace());
    windows::screen_lock::people().into_iter().for_each(&mut *lock);
    windows::screen_lock::profiles().into_iter().for_each(&mut *lock);
    windows::screen_lock::of_user("*").into_iter().for_each(lock);
    further(add);
}

/// The controls that ask little each.
fn further(add: &mut dyn FnMut(&'static str, String)) {
    use windows::{automatic_updates, clock, host_firewall, remote_access, secure_boot, services, time_sync};
    let mut all = |control, questions: &[Question]| {
        for question in questions {
            add(control, question.to_string());
        }
    };
    all("automatic-updates", &automatic_updates::policy());
    all("automatic-updates", &automatic_updates::starts());
    all("automatic-updates", &[windows::os_patch::version(), clock::NOW]);
    all("automatic-updates", &[automatic_updates::managed(), automatic_updates::chosen()]);
    all("host-firewall", &host_firewall::local());
    all("host-firewall", &host_firewall::policy());
    all("host-firewall", &host_firewall::managed());
    all("remote-access", &[remote_access::policy(), remote_access::own(), remote_access::listener()]);
    all("secure-boot", &[secure_boot::firmware(), secure_boot::state(), secure_boot::TPM]);
    all("time-sync", &time_sync::kinds());
    all("time-sync", &time_sync::clients());
    all("time-sync", &[time_sync::good(), time_sync::start(), time_sync::DOMAIN]);
    for control in ["host-firewall", "remote-access", "time-sync"] {
        all(control, &[services::RUNNING]);
    }
}
