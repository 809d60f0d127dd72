//! `hypridle`: what its file says. It ends at once without one.

use std::collections::BTreeMap;

use crate::linux::{
    idle::{Timer, Told, command::Command, hyprlang},
    mounts::decimal,
};

/// Its file below the home folder.
pub(crate) const FILE: &str = ".config/hypr/hypridle.conf";

/// Adds what the running daemon was told.
pub(crate) fn read(lines: Option<Vec<&str>>, told: &mut Told) {
    // It runs, so it has read a file: another one, when this one is missing.
    let Some(assignments) = lines.and_then(|lines| hyprlang::parse(&lines)) else {
        told.unclear = true;
        return;
    };
    let mut listeners: BTreeMap<usize, (Option<u32>, Option<Command>)> = BTreeMap::new();
    for assignment in &assignments {
        match (assignment.path.as_str(), assignment.name) {
            ("general", "lock_cmd") | ("", "general:lock_cmd") => {
                told.on_lock = Some(Command::parse(&assignment.value));
            }
            ("listener", "timeout") => {
                let seconds = decimal(&assignment.value);
                told.unclear |= seconds.is_none();
                listeners.entry(assignment.category).or_default().0 = seconds;
            }
            ("listener", "on-timeout") => {
                listeners.entry(assignment.category).or_default().1 = Some(Command::parse(&assignment.value));
            }
            _ => {}
        }
    }
    told.timers.extend(listeners.into_values().filter_map(|(seconds, command)| {
        Some(Timer { seconds: seconds?, command: command.unwrap_or(Command::Other) })
    }));
}

#[cfg(test)]
mod tests;
