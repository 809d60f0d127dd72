//! What the kernel says of itself and of the machine, in one call.

use std::collections::BTreeMap;

use crate::{
    answers::Round,
    programs::Program,
    question::{Answer, Question},
};

/// The kernel's release, the system's build, the model, and 1 where a hypervisor lies below.
pub(crate) const NAMES: [&str; 4] = ["kern.osrelease", "kern.osversion", "hw.model", "kern.hv_vmm_present"];

/// The question.
pub(crate) fn question() -> Question {
    Question::run(Program::Sysctl, &NAMES)
}

/// Asks for all of [`NAMES`].
pub(crate) fn ask<'a>(round: &mut Round<'a>) -> &'a Answer {
    round.ask(&question())
}

/// The values by name; `None` unless each of [`NAMES`] has one, and nothing else was printed.
pub(crate) fn values(answer: &Answer) -> Option<BTreeMap<&str, &str>> {
    let lines = answer.whole_text()?.lines();
    let values: BTreeMap<&str, &str> =
        lines.clone().map(|line| line.split_once(": ")).collect::<Option<_>>()?;
    let whole = lines.count() == NAMES.len()
        && NAMES.iter().all(|name| values.get(name).is_some_and(|v| !v.is_empty()));
    whole.then_some(values)
}
