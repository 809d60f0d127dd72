//! `swayidle`: what its arguments and its file say, in the words of swayidle(1).

use crate::{
    answers::Round,
    drive::Step,
    linux::{
        idle::{Timer, Told, command::Command},
        mounts::decimal,
        settings_files::{self, Asked},
    },
};

/// Its files below the home folder; the first one that is there is read, and the system's after them.
pub(crate) const OF_USER: [&str; 2] = [".config/swayidle/config", ".swayidle/config"];
pub(crate) const OF_SYSTEM: &str = "/etc/swayidle/config";

/// The files that were asked for, the strongest first.
pub(crate) fn ask<'a>(round: &mut Round<'a>, uid: u32) -> [Asked<'a>; 3] {
    let [first, second] = OF_USER.map(|path| settings_files::of_user(round, uid, path));
    [first, second, settings_files::of_system(round, OF_SYSTEM)]
}

/// Adds what the running daemons were told.
///
/// # Errors
/// The step to return instead.
pub(crate) fn read(files: [Asked<'_>; 3], daemons: &[Vec<&str>], told: &mut Told) -> Result<(), Step> {
    for arguments in daemons {
        let Some(words) = without_options(arguments) else {
            told.unclear = true;
            continue;
        };
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        events(&words, told);
    }
    for file in files {
        let Some(lines) = file.lines()? else { continue };
        for line in lines.iter().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            match words(line) {
                Some(words) => events(&words, told),
                None => told.unclear = true,
            }
        }
        break;
    }
    Ok(())
}

/// The arguments behind the options; `None` when one names another file or is not known.
fn without_options<'a>(arguments: &'a [&'a str]) -> Option<&'a [&'a str]> {
    let mut rest = arguments.get(1..)?;
    while let [first, after @ ..] = rest {
        match *first {
            "-w" | "-d" | "-dw" | "-wd" => rest = after,
            "-S" => rest = after.get(1..)?,
            option if option.starts_with('-') => return None,
            _ => break,
        }
    }
    Some(rest)
}

/// Reads events one after the other.
fn events(words: &[String], told: &mut Told) {
    let mut rest = words;
    while let [event, after @ ..] = rest {
        rest = match (event.as_str(), after) {
            ("timeout", [seconds, command, after @ ..]) => {
                match decimal(seconds) {
                    Some(seconds) => told.timers.push(Timer { seconds, command: Command::parse(command) }),
                    None => told.unclear = true,
                }
                match after {
                    [resume, _, after @ ..] if resume == "resume" => after,
                    after => after,
                }
            }
            ("lock", [command, after @ ..]) => {
                told.on_lock = Some(Command::parse(command));
                after
            }
            ("after-resume" | "before-sleep" | "idlehint" | "unlock", [_, after @ ..]) => after,
            _ => {
                told.unclear = true;
                return;
            }
        };
    }
}

/// The words of a line, as the shell parts them; `None` when it would put something else in their place.
fn words(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some('"') | None, '\\') => word.get_or_insert_default().push(chars.next()?),
            (Some('"') | None, '$' | '`') => return None,
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, ' ' | '\t') => words.extend(word.take()),
            (None, '|' | '&' | ';' | '<' | '>' | '(' | ')' | '{' | '}' | '*' | '?' | '~') => return None,
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

#[cfg(test)]
mod tests;
