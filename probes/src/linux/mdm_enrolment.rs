//! `mdm-enrolment` on Linux: not looked at.
//!
//! There is no one way to manage a Linux machine, and so none whose absence would prove that it is not managed.

use proto::Reason;

use crate::{
    answers::{Answers, Round},
    drive::{Outcome, Step},
    linux::container,
};

/// The step of the probe on Linux.
pub(crate) fn step(answers: &Answers) -> Step {
    let mut round = Round::new(answers);
    let container = container::ask(&mut round);
    if let Some(step) = round.pending() {
        return step;
    }
    container.verdict().unwrap_or_else(|| Step::Done(Outcome::unavailable(Reason::UnsupportedPlatform)))
}
