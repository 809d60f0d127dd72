//! Answers of package managers, given again while nothing changed of what they are made of (`probes::Inputs`).
//!
//! A package manager costs seconds of a processor; comparing its files costs a millisecond. An answer is kept only when
//! the program did its work, and when nothing it reads changed from before its run until after it. It is given again for
//! less than a day, and its minute goes with it into the facts. In doubt the program is asked: everything that fails here
//! costs a run and nothing else.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use evidence::time::Clock;
use probes::{Answer, Host, Inputs, NoAnswer, Question};

use crate::clock::Boot;
use file::{Entry, Kept};
use print::Print;

mod file;
pub mod print;

/// The file of kept answers in the state directory.
pub const ANSWERS_FILE: &str = "answers";
/// An answer of this age, minutes, is not given again: a day.
pub const AGE_MINUTES_MAX: u64 = 24 * 60;

/// A moment of one boot: the wall clock may be set, the other one may not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct When {
    /// Milliseconds since 1970 by the wall clock.
    pub wall_ms: u64,
    /// The running boot.
    pub boot: Boot,
}

impl When {
    /// Now; `None` where the system does not say when it was started.
    pub fn now(clock: &dyn Clock) -> Option<Self> {
        Some(Self { wall_ms: clock.now().ms(), boot: Boot::current().ok()? })
    }

    fn minutes(&self) -> u64 {
        self.wall_ms / 60_000
    }
}

/// What tells whether something changed: of the live machine, or made up in tests.
pub trait Prints {
    /// How everything looks that an answer is made of; `None` when that cannot be told.
    fn print(&self, inputs: &Inputs) -> Option<Print>;
    /// Whether the program's settings leave everything where `inputs` has it.
    fn stays(&self, inputs: &Inputs) -> bool;
}

/// A host that asks another one, and gives kept answers where it may. It is made for one look.
pub struct Recall<'a, H, P> {
    host: H,
    prints: P,
    now: Box<dyn Fn() -> Option<When> + 'a>,
    path: PathBuf,
    kept: RefCell<Kept>,
    given: RefCell<BTreeMap<Question, u64>>,
}

impl<'a, H: Host, P: Prints> Recall<'a, H, P> {
    /// Reads what was kept in the file at `path`. A file that is damaged, or that others may write, is as good as none.
    pub fn open(host: H, prints: P, path: &Path, now: impl Fn() -> Option<When> + 'a) -> Self {
        let kept = RefCell::new(Kept::read(path));
        Self { host, prints, now: Box::new(now), path: path.to_owned(), kept, given: RefCell::default() }
    }

    /// The kept answer, if nothing changed since.
    fn recalled(&self, question: &str, print: &Print, now: &When) -> Option<(Answer, u64)> {
        let kept = self.kept.borrow();
        let entry = kept.of(question)?;
        let wall = now.minutes().checked_sub(entry.minute)?;
        let awake_or_not =
            if now.boot.id == entry.boot.id { now.boot.minutes.checked_sub(entry.boot.minutes)? } else { 0 };
        let is_young = wall.max(awake_or_not) < AGE_MINUTES_MAX;
        (is_young && entry.print == print.digest).then(|| (entry.answer(), entry.minute))
    }

    /// Asks the program, and keeps what it says if that may be given again.
    fn asked(
        &self,
        question: &Question,
        inputs: &Inputs,
        before: &Print,
        now: When,
    ) -> Result<Answer, NoAnswer> {
        let answer = self.host.answer(question)?;
        let text = question.to_string();
        let is_whole = matches!(&answer, Answer::Output { status, .. } if inputs.complete.contains(status));
        let may_be_kept = is_whole
            && before.is_settled(now.wall_ms)
            && self.prints.stays(inputs)
            && self.prints.print(inputs).is_some_and(|after| after.digest == before.digest);
        let mut kept = self.kept.borrow_mut();
        kept.remove(&text);
        if may_be_kept && let Some(entry) = Entry::of(&answer, before.digest, now.minutes(), now.boot) {
            kept.insert(text, entry);
        }
        if let Err(error) = kept.write(&self.path) {
            tracing::debug!(%error, "What a package manager said was not kept.");
        }
        Ok(answer)
    }
}

impl<H: Host, P: Prints> Host for Recall<'_, H, P> {
    fn answer(&self, question: &Question) -> Result<Answer, NoAnswer> {
        let inputs = match question {
            Question::Run { program, .. } => program.inputs(),
            _ => None,
        };
        let Some(inputs) = inputs else { return self.host.answer(question) };
        let (Some(before), Some(now)) = (self.prints.print(inputs), (self.now)()) else {
            return self.host.answer(question);
        };
        if let Some((answer, minute)) = self.recalled(&question.to_string(), &before, &now) {
            self.given.borrow_mut().insert(question.clone(), minute);
            return Ok(answer);
        }
        self.asked(question, inputs, &before, now)
    }

    fn kept_since(&self, question: &Question) -> Option<u64> {
        self.given.borrow().get(question).copied()
    }
}

#[cfg(test)]
mod tests;
