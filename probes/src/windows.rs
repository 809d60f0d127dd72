//! The probes as Windows answers them: numbers of registry and WMI, never words of a language.

pub(crate) mod asset;
pub(crate) mod automatic_updates;
pub(crate) mod clock;
pub(crate) mod disk;
pub(crate) mod host_firewall;
pub(crate) mod os_patch;
pub(crate) mod remote_access;
pub(crate) mod screen_lock;
pub(crate) mod secure_boot;
pub(crate) mod services;
pub(crate) mod settings;
pub(crate) mod time_sync;

use proto::Reason;

use crate::{
    answers::{Round, unanswered},
    drive::{Outcome, Step},
    question::{Answer, Question},
    table::Table,
};

/// Asks for a table; nothing may be concluded from it while the round is pending.
pub(crate) fn ask<'a>(round: &mut Round<'a>, question: Question) -> Asked<'a> {
    let answer = round.ask(&question);
    let table = Table::of(&question, answer);
    Asked { question, answer, table }
}

/// A question for a table, with what came of it.
#[derive(Debug)]
pub(crate) struct Asked<'a> {
    question: Question,
    answer: &'a Answer,
    table: Option<Table<'a>>,
}

impl<'a> Asked<'a> {
    /// The table, when it came whole.
    pub(crate) fn table(&self) -> Option<&Table<'a>> {
        self.table.as_ref()
    }

    /// The conclusion that nothing can be made of this answer.
    pub(crate) fn unusable(self) -> Step {
        unanswered(self.question, self.answer)
    }
}

/// The conclusion from the first of several answers that cannot be used.
pub(crate) fn first_unusable<'a>(asked: impl IntoIterator<Item = Asked<'a>>) -> Step {
    let unusable = asked.into_iter().find(|asked| asked.table.is_none());
    unusable.map_or_else(|| Step::Done(Outcome::unavailable(Reason::UnparsedOutput)), Asked::unusable)
}
