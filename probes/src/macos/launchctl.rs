//! What launchd has loaded, and what somebody turned on or off. For "off" all of it must agree: the job is not loaded,
//! and neither launchd nor its file says that it was turned on.

use crate::{
    answers::Round,
    macos::plists::{self, Value},
    programs::Program,
    question::{Answer, Question},
};

/// Labels that were turned on or off by somebody, of the whole system.
pub(crate) const OVERRIDES: [&str; 2] = ["print-disabled", "system"];
/// The same where launchd keeps it, by label: true is off. A line lost from the words is not lost from it.
pub(crate) const KEPT: &str = "/private/var/db/com.apple.xpc.launchd/disabled.plist";
/// `launchctl` ends with this when no job has the label.
const NOT_FOUND: u32 = 113;
const HEADING: &str = "disabled services = {";

/// The question for the overrides.
pub(crate) fn overrides() -> Question {
    Question::run(Program::Launchctl, &OVERRIDES)
}

/// The question for one job.
pub(crate) fn job(label: &str) -> Question {
    Question::Run { program: Program::Launchctl, args: vec!["print".to_owned(), format!("system/{label}")] }
}

/// What was answered about one job.
pub(crate) struct Job<'a> {
    label: &'static str,
    loaded: &'a Answer,
    overrides: &'a Answer,
    kept: &'a Answer,
}

/// Asks for a job of the system.
pub(crate) fn ask<'a>(round: &mut Round<'a>, label: &'static str) -> Job<'a> {
    Job { label, loaded: round.ask(&job(label)), overrides: round.ask(&overrides()), kept: round.read(KEPT) }
}

impl Job<'_> {
    /// Whether launchd has the job; the number it ends with decides, and the label in its text says that it is this one.
    pub(crate) fn is_loaded(&self) -> Option<bool> {
        let Answer::Output { status, stdout, stderr } = self.loaded else { return None };
        let says =
            |bytes: &[u8], what: &str| std::str::from_utf8(bytes).is_ok_and(|text| text.contains(what));
        match *status {
            0 if says(stdout, &format!("system/{} = {{", self.label)) => Some(true),
            NOT_FOUND if says(stderr, &format!("\"{}\"", self.label)) => Some(false),
            _ => None,
        }
    }

    /// Whether the job is there, or was turned on and will be. A job that nobody turned on is off: that is how
    /// Apple delivers what lets others in.
    pub(crate) fn is_on(&self) -> Option<bool> {
        if self.is_loaded()? {
            return Some(true);
        }
        let switches = [switched_on(self.overrides, self.label)?, kept_on(self.kept, self.label)?];
        (!switches.contains(&Switch::On)).then_some(false)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Switch {
    On,
    Off,
    Untouched,
}

/// The line `"LABEL" => enabled`, or `false` in older systems, which negates "disabled". `None` for other words and
/// for a list that is not whole.
fn switched_on(answer: &Answer, label: &str) -> Option<Switch> {
    let text = answer.whole_text()?;
    let mut lines = text.lines().map(str::trim).skip_while(|line| *line != HEADING);
    lines.next()?;
    let mut found = Switch::Untouched;
    for line in lines {
        if line == "}" {
            return Some(found);
        }
        let (name, word) = line.split_once(" => ")?;
        if name == format!("\"{label}\"") {
            found = match (found, word) {
                (Switch::Untouched, "enabled" | "false") => Switch::On,
                (Switch::Untouched, "disabled" | "true") => Switch::Off,
                _ => return None,
            };
        }
    }
    None
}

/// The same out of launchd's file.
fn kept_on(answer: &Answer, label: &str) -> Option<Switch> {
    match plists::dict(answer)?.get(label) {
        None => Some(Switch::Untouched),
        Some(Value::Flag(true)) => Some(Switch::Off),
        Some(Value::Flag(false)) => Some(Switch::On),
        Some(_) => None,
    }
}
