//! Log lines about statements that could not be stored now: a full disk refuses thousands of them for one reason.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::sequencer::SubmitError;

#[cfg(test)]
mod tests;

/// Time between two lines of one cause at least.
pub const LINE_INTERVAL: Duration = Duration::from_mins(1);

/// Counts refused statements, and says how many there were: at once for the first, then once per [`LINE_INTERVAL`].
#[derive(Debug, Default)]
pub struct Unstored {
    /// For want of room on the disk.
    full: Mutex<Line>,
    /// For any other reason, so that a busy moment does not hide that the disk is full.
    other: Mutex<Line>,
}

impl Unstored {
    /// Counts a statement that was refused because of `error`, and logs if a line is due.
    pub fn count(&self, error: &SubmitError, now: Instant) {
        let line = if matches!(error, SubmitError::Full { .. }) { &self.full } else { &self.other };
        let due = {
            let mut line = line.lock().unwrap_or_else(PoisonError::into_inner);
            line.count(error);
            line.due(now)
        };
        say(due);
    }

    /// Logs what was counted and not said yet, if a line is due. Called now and then, so that a burst's end is told too.
    pub fn tell(&self, now: Instant) {
        for line in [&self.full, &self.other] {
            say(line.lock().unwrap_or_else(PoisonError::into_inner).due(now));
        }
    }
}

fn say(due: Option<Due>) {
    if let Some(Due { statements, reason }) = due {
        tracing::warn!(statements, error = %reason, "Statements could not be stored now; the agents keep them.");
    }
}

/// The lines of one cause.
#[derive(Debug, Default)]
struct Line {
    said: Option<Instant>,
    /// Refused since the last line.
    statements: u64,
    /// Why the newest of them was.
    reason: String,
}

/// What a line says.
#[derive(Debug, PartialEq, Eq)]
struct Due {
    statements: u64,
    reason: String,
}

impl Line {
    fn count(&mut self, error: &SubmitError) {
        self.statements += 1;
        self.reason = error.to_string();
    }

    fn due(&mut self, now: Instant) -> Option<Due> {
        let early = self.said.is_some_and(|said| now.saturating_duration_since(said) < LINE_INTERVAL);
        if early || self.statements == 0 {
            return None;
        }
        self.said = Some(now);
        Some(Due {
            statements: std::mem::take(&mut self.statements),
            reason: std::mem::take(&mut self.reason),
        })
    }
}
