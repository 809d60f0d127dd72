//! The lock settings of KDE Plasma, out of `kscreenlockerrc`: the user's over the system's, an absent key its default.
//!
//! Plasma's own session locks, so the session bus must say that its locker is there; the environment of that process
//! says where its files lie.

use std::collections::BTreeMap;

use proto::{LockScope, LockSetting, Reason};

use crate::{
    answers::{Round, unanswered, unparsed},
    drive::{Outcome, Step},
    linux::{
        desktop::{User, must_be_on_bus, on_bus},
        mounts::decimal,
        settings_files::{self, Asked, CONFIG_DIRS, CONFIG_HOME},
    },
    programs::Program,
    question::{Process, Question},
};

/// Plasma's locker on the session bus.
pub(crate) const LOCKER: &str = "org.kde.screensaver";
/// The programs it is a part of: under Wayland and under X11.
pub(crate) const HOSTS: [&str; 2] = ["ksmserver", "kwin_wayland"];
/// Variables that say where its files lie.
pub(crate) const VARIABLES: [&str; 2] = [CONFIG_HOME, CONFIG_DIRS];
/// The file of every folder of settings.
const FILE: &str = "kscreenlockerrc";
/// The user's own.
pub(crate) const OF_USER: &str = ".config/kscreenlockerrc";
/// Plasma keeps here what a global theme sets, and puts the folder before those of the system.
pub(crate) const OF_THEME: &str = ".config/kdedefaults/kscreenlockerrc";
const THEME_FOLDER: &str = "~/.config/kdedefaults";
/// Folders of the system's settings in which the file is looked for; other ones are not known.
pub(crate) const FOLDERS: [&str; 4] = [
    "/etc/xdg",
    "/etc/xdg/xdg-plasma",
    "/usr/share/kubuntu-default-settings/kf5-settings",
    "/usr/share/kubuntu-default-settings/kf6-settings",
];
/// The folder where no variable names any.
const DEFAULT_FOLDER: &str = "/etc/xdg";
const GROUP: &str = "Daemon";
/// The keys that decide (kscreenlocker's kscreenlockersettings.kcfg).
const KEYS: [&str; 5] = ["Autolock", "Lock", "LockGrace", "RequirePassword", "Timeout"];
const MINUTES_DEFAULT: u32 = 5;
const GRACE_SECONDS_DEFAULT: u32 = 5;

/// The file in a folder of the system.
pub(crate) fn file_in(folder: &str) -> String {
    format!("{folder}/{FILE}")
}

/// The setting of one user.
///
/// # Errors
/// The step to return instead.
pub(crate) fn setting(round: &mut Round<'_>, user: User, processes: &[Process]) -> Result<LockSetting, Step> {
    let bus = user.run(Program::Gdbus, &on_bus(LOCKER));
    let locker = round.ask(&bus);
    let hosts = settings_files::running(processes, &HOSTS)?;
    let starts: Vec<_> = hosts
        .into_iter()
        .map(|process| {
            let question = Question::Started { pid: process.pid, names: &VARIABLES };
            (round.ask(&question), question)
        })
        .collect();
    let own = settings_files::of_user(round, user.uid, OF_USER);
    if let Some(step) = round.pending() {
        return Err(step);
    }
    must_be_on_bus(bus, locker)?;
    let mut folders = None;
    for (answer, question) in starts {
        let Some(start) = settings_files::start(&question, answer) else {
            return Err(unanswered(question, answer));
        };
        if start.uid != u64::from(user.uid) {
            continue;
        }
        let found = start.config_dirs.filter(|dirs| !dirs.is_empty()).unwrap_or(DEFAULT_FOLDER);
        // Elsewhere nothing is looked for, and two that do not agree are not understood.
        if !start.at_home || folders.is_some_and(|folders| folders != found) {
            return Err(Step::Done(Outcome::Unavailable(Reason::UnsupportedDesktop, Some(question))));
        }
        folders = Some(found);
    }
    let Some(folders) = folders else {
        return Err(Step::Done(Outcome::Unavailable(Reason::NoSession, Some(Question::Processes))));
    };
    // The first folder is the strongest: the others come before it.
    let mut files: Vec<Asked<'_>> = Vec::new();
    for folder in folders.split(':').rev().map(|folder| folder.trim_end_matches('/')) {
        if folder == THEME_FOLDER {
            files.push(settings_files::of_user(round, user.uid, OF_THEME));
        } else if FOLDERS.contains(&folder) {
            files.push(settings_files::of_system(round, &file_in(folder)));
        } else {
            return Err(Step::Done(Outcome::unavailable(Reason::UnsupportedDesktop)));
        }
    }
    if let Some(step) = round.pending() {
        return Err(step);
    }
    files.push(own);
    let mut settings = Settings::default();
    for file in files {
        let question = file.question().clone();
        if let Some(lines) = file.lines()? {
            settings.merge(&lines).ok_or_else(|| unparsed(question))?;
        }
    }
    Ok(settings.lock())
}

/// What the files say so far, from the weakest to the strongest.
#[derive(Debug, Default)]
struct Settings {
    values: BTreeMap<String, String>,
    /// Keys that no stronger file can change.
    fixed: Vec<String>,
    /// The whole group is fixed.
    all_fixed: bool,
}

impl Settings {
    /// Lays a file over those before it; `None` when it is not understood.
    fn merge(&mut self, lines: &[&str]) -> Option<()> {
        if self.all_fixed {
            return Some(());
        }
        let mut fixed = Vec::new();
        let (mut file_fixed, mut group_fixed) = (false, false);
        let mut in_group = false;
        let mut any_group = false;
        for line in lines.iter().map(|line| line.trim()) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if line == "[$i]" && !any_group {
                file_fixed = true;
                continue;
            }
            if line.starts_with('[') {
                any_group = true;
                let group = line.strip_suffix("[$i]").unwrap_or(line);
                in_group = group.strip_prefix('[')?.strip_suffix(']')? == GROUP;
                group_fixed |= in_group && group != line;
                continue;
            }
            if !in_group {
                continue;
            }
            let (key, value) = line.split_once('=')?;
            let (key, value) = (key.trim_end(), value.trim_start());
            let plain = key.strip_suffix("[$i]").unwrap_or(key);
            let name = plain.split('[').next()?;
            if !KEYS.contains(&name) || self.fixed.iter().any(|fixed| fixed == name) {
                continue;
            }
            // Any other mark lets the value be computed, deleted or of one language.
            if name != plain {
                return None;
            }
            if plain != key {
                fixed.push(name.to_owned());
            }
            self.values.insert(name.to_owned(), value.to_owned());
        }
        self.all_fixed = file_fixed || group_fixed;
        self.fixed.extend(fixed);
        Some(())
    }

    fn lock(&self) -> LockSetting {
        let value = |key: &str| self.values.get(key).map(String::as_str);
        let flags = ["Autolock", "Lock", "RequirePassword"].map(|key| value(key).map_or(Some(true), flag));
        let enabled = if flags.contains(&Some(false)) {
            Some(false)
        } else {
            flags.iter().all(Option::is_some).then_some(true)
        };
        let idle = value("Timeout").map_or(MINUTES_DEFAULT.checked_mul(60), seconds_of_minutes);
        let delay = value("LockGrace").map_or(Some(GRACE_SECONDS_DEFAULT), decimal);
        let is_fixed = |key: &&str| self.fixed.iter().any(|fixed| fixed == key);
        LockSetting {
            desktop: "kde".to_owned(),
            scope: LockScope::Session.into(),
            enabled,
            idle_seconds: idle,
            delay_seconds: delay,
            enforced: Some(self.all_fixed || KEYS.iter().all(is_fixed)),
        }
    }
}

/// A switch as KConfig writes and reads it.
fn flag(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "on" | "yes" | "1" => Some(true),
        "false" | "off" | "no" | "0" => Some(false),
        _ => None,
    }
}

/// Seconds of a number of minutes, a part of one counted as a whole; what is not positive never comes.
fn seconds_of_minutes(text: &str) -> Option<u32> {
    if text.strip_prefix('-').is_some_and(|digits| decimal(digits).is_some()) {
        return Some(0);
    }
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let minutes = decimal(whole)?;
    if part.is_empty() || !part.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let more = part.bytes().any(|digit| digit != b'0');
    // Older releases cut the part off: less than a minute is then never.
    if minutes == 0 && more {
        return None;
    }
    minutes.checked_add(u32::from(more))?.checked_mul(60)
}

#[cfg(test)]
mod tests;
