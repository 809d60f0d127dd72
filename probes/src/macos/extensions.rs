//! System extensions, as `systemextensionsctl list` tells their states.
//!
//! The columns moved between releases, so every part of a row must have its shape, and a row of another shape makes the
//! whole list unknown. The first line counts the rows, so that a row that was lost shows.

use crate::{
    answers::Round,
    programs::Program,
    question::{Answer, Question},
};

/// The arguments.
pub(crate) const LIST: [&str; 1] = ["list"];
/// The one state that counts.
const ENABLED: &str = "activated enabled";
/// The state of an older version that a newer one has replaced until the next restart.
const REPLACED: &str = "terminated waiting to uninstall on reboot";
/// Characters of an Apple Team ID.
const TEAM_BYTES: usize = 10;

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Extension<'a> {
    /// Both marks are there and the state is exactly the one that counts.
    pub(crate) is_active: bool,
    /// It waits to be removed, and says nothing about the version in its place.
    pub(crate) is_replaced: bool,
    /// Apple's Team ID.
    pub(crate) team: &'a str,
    /// Its id.
    pub(crate) bundle: &'a str,
    /// Its version, before the build.
    pub(crate) version: &'a str,
}

/// The question.
pub(crate) fn question() -> Question {
    Question::run(Program::Systemextensionsctl, &LIST)
}

/// Asks for the list.
pub(crate) fn ask<'a>(round: &mut Round<'a>) -> &'a Answer {
    round.ask(&question())
}

/// The rows; `None` unless the answer came whole and every row has its parts.
pub(crate) fn rows(answer: &Answer) -> Option<Vec<Extension<'_>>> {
    let mut lines = answer.whole_text()?.lines();
    let count = lines.next()?.strip_suffix(" extension(s)")?.parse::<usize>().ok()?;
    let mut rows = Vec::new();
    for line in lines.filter(|line| !line.is_empty()) {
        // Headings of categories, and of columns.
        if line.starts_with("--- ") || line.starts_with("enabled\t") {
            continue;
        }
        rows.push(row(line)?);
    }
    (rows.len() == count).then_some(rows)
}

fn row(line: &str) -> Option<Extension<'_>> {
    let (line, state) = line.strip_suffix(']')?.rsplit_once('[')?;
    let mut parts = line.split('\t');
    let (enabled, active) = (parts.next()?, parts.next()?);
    let marks = [enabled, active].iter().all(|mark| matches!(mark.trim(), "" | "*"));
    let team = parts.next()?;
    let is_team = team.len() == TEAM_BYTES
        && team.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
    let (bundle, version) = parts.next()?.split_once(" (")?;
    let (version, _) = version.strip_suffix(')')?.split_once('/')?;
    if !marks || !is_team || !bundle.contains('.') || bundle.contains(char::is_whitespace) {
        return None;
    }
    Some(Extension {
        is_active: enabled == "*" && active == "*" && state == ENABLED,
        is_replaced: state == REPLACED,
        team,
        bundle,
        version,
    })
}

#[cfg(test)]
mod tests;
