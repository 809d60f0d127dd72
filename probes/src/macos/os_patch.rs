//! `os-patch` on macOS: what the last scan for updates found, and when it was, from the system's own list.
//!
//! `softwareupdate` is not run: it scans, may hang, and hides what device management defers.

use proto::{OsPatch, facts::Control};

use crate::{
    answers::{Answers, Round, unanswered, unparsed},
    drive::{Outcome, Step},
    macos::{
        managed,
        plists::{self, Dict, Value},
        sysctl,
    },
    question::Question,
};

/// Version and build of the system.
pub(crate) const VERSION: &str = "/System/Library/CoreServices/SystemVersion.plist";
/// What the last scans found.
pub(crate) const UPDATES: &str = "/Library/Preferences/com.apple.SoftwareUpdate.plist";
/// Restrictions by device management, which may hide new updates for up to 90 days.
pub(crate) const RESTRICTIONS: &str = "com.apple.applicationaccess";
/// Restrictions that hide updates of the running release.
const DEFERRALS: [&str; 3] =
    ["forceDelayedSoftwareUpdates", "forceDelayedAppSoftwareUpdates", "forceDelayedMinorSoftwareUpdates"];
const SECONDS_A_MINUTE: u64 = 60;

/// The step of the probe on macOS.
pub(crate) fn step(answers: &Answers) -> Step {
    let mut round = Round::new(answers);
    let version = round.read(VERSION);
    let updates = round.read(UPDATES);
    let kernel = sysctl::ask(&mut round);
    let restrictions = managed::ask(&mut round, RESTRICTIONS, None);
    if let Some(step) = round.pending() {
        return step;
    }
    let read = |path: &str| Question::Read(path.to_owned());
    let Some(system) = plists::dict(version) else { return unanswered(read(VERSION), version) };
    let Some(list) = plists::dict(updates) else { return unanswered(read(UPDATES), updates) };
    let Some(kernel_values) = sysctl::values(kernel) else { return unanswered(sysctl::question(), kernel) };
    let text = |name: &str| system.get(name).and_then(Value::text);
    let (Some("macOS"), Some(version), Some(build)) =
        (text("ProductName"), text("ProductVersion"), text("ProductBuildVersion"))
    else {
        return unparsed(read(VERSION));
    };
    let (release, running) = (kernel_values.get("kern.osrelease"), kernel_values.get("kern.osversion"));
    let (Some(release), Some(running)) = (release, running) else { return unparsed(sysctl::question()) };
    let restrictions = restrictions.dicts().filter(|dicts| dicts.iter().all(names_restrictions));
    let hides = restrictions.map(|dicts| {
        dicts.iter().any(|dict| {
            DEFERRALS.iter().any(|name| dict.get(*name).is_some_and(|value| value.flag() != Some(false)))
        })
    });
    let pending = pending(&list, version, [build, running]);
    Step::Done(Outcome::observed(Control::OsPatch(OsPatch {
        os: "macos".to_owned(),
        version: Some(version.to_owned()),
        kernel: format!("{release} ({running})"),
        // That nothing is offered means nothing while offers are held back.
        pending_security: pending.map(|p| p.0).filter(|count| *count > 0 || hides == Some(false)),
        pending_other: pending.map(|p| p.1),
        lists_minutes: match list.get("LastFullSuccessfulDate") {
            Some(Value::Seconds(seconds)) => Some(seconds / SECONDS_A_MINUTE),
            _ => None,
        },
        installed_minutes: None,
        reboot_required: None,
    })))
}

/// A list of restrictions has the names of some, which no other list has.
fn names_restrictions(dict: &Dict) -> bool {
    dict.keys().any(|name| ["allow", "enforced", "force"].iter().any(|begin| name.starts_with(begin)))
}

/// Updates of this release, each of which may close holes, and upgrades to a later one.
///
/// `None` when the list contradicts itself or was made for another build than runs.
fn pending(list: &Dict, version: &str, builds: [&str; 2]) -> Option<(u32, u32)> {
    let scanned = list.get("LastAttemptSystemVersion")?.text()?;
    if !builds.iter().any(|build| scanned.ends_with(&format!("({build})"))) {
        return None;
    }
    let major = major(version)?;
    let (mut of_release, mut upgrades) = (0_u32, 0_u32);
    let items = list.get("RecommendedUpdates")?.array()?;
    for item in items {
        let item = item.dict()?;
        let identifier = item.get("Identifier")?.text()?;
        // Other software has versions of its own, so only what is named as the system's can be an upgrade.
        let later = match item.get("Display Version")? {
            Value::Integer(number) => u32::try_from(*number).ok()? > major,
            Value::Text(text) => self::major(text).is_some_and(|m| m > major),
            _ => false,
        };
        let of_system = identifier.starts_with("MSU_UPDATE_");
        if of_system && (identifier.ends_with("_major") || later && !identifier.ends_with("_minor")) {
            upgrades = upgrades.checked_add(1)?;
        } else {
            of_release = of_release.checked_add(1)?;
        }
    }
    let counted = list.get("LastRecommendedUpdatesAvailable")?.number()?;
    (usize::try_from(counted).ok()? == items.len()).then_some((of_release, upgrades))
}

/// The number before the first point.
fn major(version: &str) -> Option<u32> {
    version.split('.').next()?.parse().ok()
}
