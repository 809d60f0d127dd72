//! What a command of an idle daemon does, as far as it matters: whether it locks.
//!
//! Only the shape that everybody writes is understood. A script, a condition or a word of the shell is unknown, and
//! only programs that are known to do something else count as no lock.

use crate::{
    drive::Step,
    linux::{idle::locker::Lockers, mounts::decimal},
};

/// What a command does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    /// Locks.
    Lock {
        /// The program that locks.
        locker: Locker,
        /// Seconds its arguments give before it asks for a password; `None` where its settings decide.
        grace_seconds: Option<u32>,
        /// Its arguments name settings that are not looked for.
        own_settings: bool,
    },
    /// Asks the login manager to have the session locked.
    Request,
    /// Something else.
    Other,
    /// Nobody knows.
    Unknown,
}

/// Programs that lock a Wayland session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Locker {
    /// `swaylock`; a fork of the same name has a time of grace.
    Swaylock,
    /// `hyprlock`, with a time of grace.
    Hyprlock,
    /// One without a time of grace.
    Strict,
}

/// Programs that change the screen, tell something or set a light.
const OTHERS: [&str; 8] =
    ["brightnessctl", "dunstctl", "hyprctl", "light", "notify-send", "swaymsg", "true", "wlopm"];
/// Programs that only run the rest of the words.
const BEFORE: [&str; 3] = ["exec", "nohup", "setsid"];
/// Programs that tell whether a process runs.
const ASKERS: [&str; 2] = ["pgrep", "pidof"];
/// Arguments with which a locker only prints something.
const PRINTING: [&str; 5] = ["--help", "--version", "-V", "-h", "-v"];
/// Signs of the shell that make the rest unclear.
const UNCLEAR: [char; 10] = ['$', '`', '(', ')', '{', '}', '<', '>', '\n', '|'];

impl Command {
    /// True when it locks.
    pub(crate) fn is_lock(&self) -> bool {
        matches!(self, Self::Lock { .. })
    }

    /// Seconds between its start and the password; `None` when unknown.
    ///
    /// # Errors
    /// The step to return instead.
    pub(crate) fn delay(&self, lockers: &Lockers<'_>) -> Result<Option<u32>, Step> {
        match self {
            Self::Lock { locker: Locker::Strict, .. } => Ok(Some(0)),
            Self::Lock { grace_seconds: Some(seconds), .. } => Ok(Some(*seconds)),
            Self::Lock { own_settings: true, .. } => Ok(None),
            Self::Lock { locker, .. } => lockers.grace_seconds(*locker),
            Self::Request | Self::Other | Self::Unknown => Ok(None),
        }
    }

    /// Reads a command line of the shell.
    pub(crate) fn parse(line: &str) -> Self {
        // `A || B` is the one use of the bar that is understood.
        let line = line.replace("||", "\u{1}");
        let Some(parts) = parts(&line) else { return Self::Unknown };
        for part in parts {
            match one(&part) {
                Self::Other => {}
                decided => return decided,
            }
        }
        Self::Other
    }
}

/// One step: a program, or a question whether a locker runs already and else the locker.
fn one(part: &[Vec<String>]) -> Command {
    match part {
        [command] => program(command),
        [asker, command] => {
            let decided = program(command);
            let asked = asker.first().is_some_and(|word| ASKERS.contains(&file(word)));
            let about = asker.last().map(|word| file(word));
            let name = command.iter().find(|word| !BEFORE.contains(&word.as_str())).map(|word| file(word));
            if asked && asker.len() > 1 && about == name && decided.is_lock() {
                decided
            } else {
                Command::Unknown
            }
        }
        _ => Command::Unknown,
    }
}

/// A program with its arguments.
fn program(words: &[String]) -> Command {
    let mut words = words.iter().map(String::as_str).skip_while(|word| BEFORE.contains(word));
    let Some(name) = words.next() else { return Command::Other };
    let arguments: Vec<&str> = words.collect();
    let locker = match file(name) {
        "swaylock" => Locker::Swaylock,
        "hyprlock" => Locker::Hyprlock,
        "gtklock" | "waylock" => Locker::Strict,
        "loginctl" => {
            let is_request = matches!(arguments.as_slice(), ["lock-session" | "lock-sessions"]);
            return if is_request { Command::Request } else { Command::Unknown };
        }
        other if OTHERS.contains(&other) => return Command::Other,
        _ => return Command::Unknown,
    };
    lock(locker, &arguments)
}

/// A locker with its arguments.
fn lock(locker: Locker, arguments: &[&str]) -> Command {
    let mut grace_seconds = None;
    let mut own_settings = false;
    let mut arguments = arguments.iter().copied();
    while let Some(argument) = arguments.next() {
        if PRINTING.contains(&argument) {
            return Command::Unknown;
        }
        let value = match argument.strip_prefix("--grace") {
            Some("") => arguments.next(),
            Some(rest) => rest.strip_prefix('='),
            None => {
                own_settings |= argument.starts_with("-C")
                    || argument.starts_with("--config")
                    || (argument.starts_with("-c") && locker == Locker::Hyprlock);
                continue;
            }
        };
        // `--grace-no-mouse` and the like shorten nothing.
        match value.map(decimal) {
            Some(Some(seconds)) => grace_seconds = Some(seconds),
            Some(None) => return Command::Unknown,
            None if argument == "--grace" => return Command::Unknown,
            None => {}
        }
    }
    Command::Lock { locker, grace_seconds, own_settings }
}

/// The last part of a path.
fn file(word: &str) -> &str {
    word.rsplit('/').next().unwrap_or(word)
}

/// The commands between `;` and `&`, each with its alternatives; `None` when the line is not of that shape.
fn parts(line: &str) -> Option<Vec<Vec<Vec<String>>>> {
    let mut parts = vec![vec![Vec::new()]];
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut previous = ' ';
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            // Between double quotes the shell still replaces some.
            (Some('"'), '$' | '`' | '\\') => return None,
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, '\\') => return None,
            (None, c) if UNCLEAR.contains(&c) => return None,
            (None, '&') if previous == '&' => return None,
            (None, ';' | '&') => {
                end_word(&mut parts, &mut word);
                parts.push(vec![Vec::new()]);
            }
            (None, '\u{1}') => {
                end_word(&mut parts, &mut word);
                parts.last_mut()?.push(Vec::new());
            }
            (None, ' ' | '\t') => end_word(&mut parts, &mut word),
            (None, c) => word.get_or_insert_default().push(c),
        }
        previous = c;
    }
    end_word(&mut parts, &mut word);
    quote.is_none().then_some(parts)
}

/// Ends a word, and puts it behind the others of the last command.
fn end_word(parts: &mut [Vec<Vec<String>>], word: &mut Option<String>) {
    let words = parts.last_mut().and_then(|part| part.last_mut());
    if let (Some(words), Some(word)) = (words, word.take()) {
        words.push(word);
    }
}

#[cfg(test)]
mod tests;
