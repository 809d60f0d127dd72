//! `automatic-updates` on macOS: the system's own preferences, and what an administrator forces.
//!
//! From macOS 14 on device management may declare these settings, and neither file shows that: where a device is managed,
//! or may be, only what a profile forces is believed.

use proto::{AutomaticUpdates, facts::Control};

use crate::{
    answers::{Answers, Round, unanswered, unparsed},
    drive::{Outcome, Step},
    logic::all_of,
    macos::{
        managed, os_patch,
        plists::{self, Dict, Value},
    },
    programs::Program,
    question::{Answer, Question},
};

/// The domain of both.
pub(crate) const DOMAIN: &str = "com.apple.SoftwareUpdate";
/// Whether the device is managed.
pub(crate) const ENROLMENT: [&str; 3] = ["status", "-type", "enrollment"];
const NOT_MANAGED: &str = "MDM enrollment: No";
/// The first release whose settings device management can declare.
const DECLARED_SINCE: u32 = 14;
const CHECK: &str = "AutomaticCheckEnabled";
const DOWNLOAD: &str = "AutomaticDownload";
/// Releases of the system, which carry most fixes; what is fixed between them; and lists of malware.
const INSTALL: [&str; 3] = ["AutomaticallyInstallMacOSUpdates", "CriticalUpdateInstall", "ConfigDataInstall"];
/// Other names of the domain that profiles set; a list without any known name is another list.
const OTHERS: [&str; 4] = [
    "AutomaticallyInstallAppUpdates",
    "AllowPreReleaseInstallation",
    "CatalogURL",
    "restrict-software-update-require-admin-to-install",
];
/// Only the system's own file has it.
const OF_SYSTEM: &str = "LastAttemptSystemVersion";

/// The step of the probe on macOS.
pub(crate) fn step(answers: &Answers) -> Step {
    let mut round = Round::new(answers);
    let own = round.read(os_patch::UPDATES);
    let version = round.read(os_patch::VERSION);
    let forced = managed::ask(&mut round, DOMAIN, None);
    let enrolment = round.ask(&Question::run(Program::Profiles, &ENROLMENT));
    if let Some(step) = round.pending() {
        return step;
    }
    let question = Question::Read(os_patch::UPDATES.to_owned());
    let Some(list) = plists::dict(own) else { return unanswered(question, own) };
    if !list.contains_key(OF_SYSTEM) {
        return unparsed(question);
    }
    let Some(forced) = forced.dicts().filter(|dicts| dicts.iter().all(is_of_domain)) else {
        return unparsed(Question::Read(managed::path(DOMAIN)));
    };
    let hidden = may_be_declared(version, enrolment);
    let value = |name: &str| match forced.iter().find_map(|dict| dict.get(name)) {
        Some(value) => value.flag(),
        None if hidden => None,
        // What nobody set is on.
        None => list.get(name).map_or(Some(true), Value::flag),
    };
    let downloads = all_of([value(CHECK), value(DOWNLOAD)]);
    let [system, critical, lists] = INSTALL.map(value);
    Step::Done(Outcome::observed(Control::AutomaticUpdates(AutomaticUpdates {
        mechanism: "softwareupdate".to_owned(),
        downloads,
        installs_security: all_of([downloads, system, critical, lists]),
        // The system starts it, and nothing shows that it did.
        scheduled: None,
    })))
}

fn is_of_domain(dict: &Dict) -> bool {
    let named = [CHECK, DOWNLOAD].iter().chain(&INSTALL).chain(&OTHERS).any(|name| dict.contains_key(*name));
    named && !dict.contains_key(OF_SYSTEM)
}

/// Device management could declare the settings: unless the system is too old, or says that it is not managed.
fn may_be_declared(version: &Answer, enrolment: &Answer) -> bool {
    let version = plists::dict(version);
    let major = version
        .as_ref()
        .and_then(|dict| dict.get("ProductVersion")?.text()?.split('.').next()?.parse::<u32>().ok());
    let is_old = major.is_some_and(|major| major < DECLARED_SINCE);
    let is_free = enrolment
        .whole_text()
        .is_some_and(|text| text.lines().filter(|line| line.starts_with("MDM")).eq([NOT_MANAGED]));
    !is_old && !is_free
}
