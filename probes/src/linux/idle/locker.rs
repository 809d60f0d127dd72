//! The settings of lockers: for how long after the lock no password is asked for yet.

use crate::{
    answers::Round,
    drive::Step,
    linux::{
        idle::{command::Locker, hyprlang},
        mounts::decimal,
        settings_files::{self, Asked},
    },
};

/// Files of swaylock, the strongest first; the system's comes after them.
pub(crate) const SWAYLOCK: [&str; 2] = [".swaylock/config", ".config/swaylock/config"];
pub(crate) const SWAYLOCK_OF_SYSTEM: &str = "/etc/swaylock/config";
/// The file of hyprlock.
pub(crate) const HYPRLOCK: &str = ".config/hypr/hyprlock.conf";

/// What was asked of the lockers' settings.
#[derive(Debug)]
pub(crate) struct Lockers<'a> {
    swaylock: [Asked<'a>; 3],
    hyprlock: Asked<'a>,
}

impl<'a> Lockers<'a> {
    /// Asks for the settings of all lockers.
    pub(crate) fn ask(round: &mut Round<'a>, uid: u32) -> Self {
        let [first, second] = SWAYLOCK.map(|path| settings_files::of_user(round, uid, path));
        Self {
            swaylock: [first, second, settings_files::of_system(round, SWAYLOCK_OF_SYSTEM)],
            hyprlock: settings_files::of_user(round, uid, HYPRLOCK),
        }
    }

    /// Seconds of grace by a locker's settings; `None` when unknown.
    ///
    /// # Errors
    /// The step to return instead.
    pub(crate) fn grace_seconds(&self, locker: Locker) -> Result<Option<u32>, Step> {
        match locker {
            Locker::Strict => Ok(Some(0)),
            Locker::Hyprlock => {
                // Without its file it shows an error and no lock in some releases, and a lock in others.
                let Some(lines) = self.hyprlock.lines()? else { return Ok(None) };
                Ok(hyprlang::parse(&lines).and_then(|assignments| {
                    let grace = assignments.iter().rev().find(|assignment| {
                        matches!(
                            (assignment.path.as_str(), assignment.name),
                            ("general", "grace") | ("", "general:grace")
                        )
                    });
                    grace.map_or(Some(0), |assignment| decimal(&assignment.value))
                }))
            }
            Locker::Swaylock => {
                for file in &self.swaylock {
                    if let Some(lines) = file.lines()? {
                        let grace = |line: &&str| line.trim().strip_prefix("grace=").map(decimal);
                        return Ok(lines.iter().rev().find_map(grace).unwrap_or(Some(0)));
                    }
                }
                Ok(Some(0))
            }
        }
    }
}
