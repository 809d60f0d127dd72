//! Whether a running process bears its vendor's signature, as `codesign` verifies it.
//!
//! A process is named by its number: the kernel's own idea of its code is what is checked, and not a file that may have
//! been changed since. Exit codes and lines of codesign(1).

use crate::{
    answers::Round,
    catalogue::MacosProduct,
    programs::Program,
    question::{Answer, Question},
};

/// Exit code of code that is soundly signed, but not as required.
const OTHER_SIGNATURE: u32 = 3;
/// Exit code of a signature that is not there or not sound.
const FAILED: u32 = 1;

/// The vendor's team, or one of his teams, in Apple's language of requirements. `None` without a team.
fn requirement(product: &MacosProduct) -> Option<String> {
    let leaf = |team: &String| format!("certificate leaf[subject.OU] = \"{team}\"");
    let teams: Vec<String> = product.team.iter().chain(&product.other_teams).map(leaf).collect();
    (!teams.is_empty()).then(|| format!("anchor apple generic and ({})", teams.join(" or ")))
}

/// The question whether a process is the vendor's; `None` where the catalogue knows no team. The requirement is the
/// only argument of any question with blanks in it, and is a text of the catalogue.
pub(crate) fn question(product: &MacosProduct, process: &str) -> Option<Question> {
    let requirement = requirement(product)?;
    Some(Question::Run {
        program: Program::Codesign,
        args: vec![
            "--verify".to_owned(),
            "--verbose=2".to_owned(),
            format!("-R={requirement}"),
            format!("+{process}"),
        ],
    })
}

/// Asks whether a process is the vendor's.
pub(crate) fn ask(round: &mut Round<'_>, product: &MacosProduct, pid: u32) -> Option<bool> {
    let process = pid.to_string();
    let question = question(product, &process)?;
    verified(round.ask(&question), &process)
}

/// Sound and as required: yes. Sound and not as required, or no signature at all: no. Everything else: unknown.
fn verified(answer: &Answer, process: &str) -> Option<bool> {
    let Answer::Output { status, stdout, stderr } = answer else { return None };
    let text = std::str::from_utf8(stderr).ok().filter(|text| stdout.is_empty() && text.ends_with('\n'))?;
    let said = |what: &str| {
        text.lines().any(|line| {
            let line = line.strip_prefix('+').unwrap_or(line);
            line.strip_prefix(process).and_then(|rest| rest.strip_prefix(": ")) == Some(what)
        })
    };
    match *status {
        0 => said("explicit requirement satisfied").then_some(true),
        OTHER_SIGNATURE => text.contains("failed to satisfy specified code requirement(s)").then_some(false),
        FAILED => said("code object is not signed at all").then_some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
