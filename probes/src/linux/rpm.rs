//! When RPM last installed a package.

use crate::{
    answers::Round,
    programs::Program,
    question::{Answer, Question},
};

/// The time of each package's installation, a line each.
pub(crate) const INSTALL_TIMES: [&str; 2] = ["-qa", "--queryformat=%{INSTALLTIME}\\n"];

/// Asks for the times.
pub(crate) fn ask<'a>(round: &mut Round<'a>) -> &'a Answer {
    round.ask(&Question::run(Program::Rpm, &INSTALL_TIMES))
}

/// Minute in which the newest package was installed; `None` when a line is not a time.
pub(crate) fn newest_minutes(answer: &Answer) -> Option<u64> {
    let times: Option<Vec<u64>> = answer.whole_text()?.lines().map(|line| line.parse().ok()).collect();
    times?.into_iter().max().map(|seconds| seconds / 60)
}
