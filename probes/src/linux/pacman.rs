//! Pending updates where pacman keeps the packages, against the databases it last fetched.
//!
//! Arch does not say which update fixes a security problem: only "nothing is pending" means that none of those is.

use proto::Reason;

use crate::{
    answers::{Round, unanswered, unparsed},
    drive::{Outcome, Step},
    linux::os_patch::{Found, KERNEL_MODULES, modified_minutes},
    programs::Program,
    question::{Answer, FileKind, Question},
};

pub(crate) const LIST_UPGRADES: [&str; 1] = ["-Qu"];
/// Finds pacman itself among what is installed and what was fetched: it needs every database that the list of upgrades
/// needs, and is never empty.
pub(crate) const FIND_ITSELF: [&str; 2] = ["-Ss", "^pacman$"];
/// Databases of the repositories every such system has; both must be there and current.
pub(crate) const DATABASES: [&str; 2] = ["/var/lib/pacman/sync/core.db", "/var/lib/pacman/sync/extra.db"];
/// Changes whenever a package comes or goes.
pub(crate) const INSTALLED: &str = "/var/lib/pacman/local";
/// Systems that take their packages from Arch's own repositories.
const SYSTEMS: [&str; 2] = ["arch", "endeavouros"];

/// Whether this is one of the systems known to use pacman.
pub(crate) fn is_used_by(id: &str) -> bool {
    SYSTEMS.contains(&id)
}

/// What is pending.
///
/// # Errors
/// The step to return instead.
pub(crate) fn found(round: &mut Round<'_>, kernel: &str) -> Result<Found, Step> {
    let question = Question::run(Program::Pacman, &LIST_UPGRADES);
    let itself_question = Question::run(Program::Pacman, &FIND_ITSELF);
    let upgrades = round.ask(&question);
    let itself = round.ask(&itself_question);
    let databases = DATABASES.map(|path| modified_minutes(path, FileKind::File, round.metadata(path)));
    let installed = round.metadata(INSTALLED);
    let modules = round.list(KERNEL_MODULES);
    if let Some(step) = round.pending() {
        return Err(step);
    }
    let pending = match upgrades {
        Answer::Output { status, stdout, stderr } => count(*status, stdout, stderr),
        other => return Err(unanswered(question, other)),
    };
    let Some(pending) = pending else { return Err(unparsed(question)) };
    // "Nothing" is also what an error looks like whose words were lost.
    if pending == 0 && !finds_itself(itself) {
        return Err(unanswered(itself_question, itself));
    }
    let [Some(core), Some(extra)] = databases else {
        // Without a database nothing is known to be newer, which is not the same as "nothing is newer".
        return Err(Step::Done(Outcome::Unavailable(Reason::Stale, Some(question))));
    };
    Ok(Found {
        pending_security: (pending == 0).then_some(0),
        pending_other: Some(pending),
        lists_minutes: Some(core.min(extra)),
        installed_minutes: modified_minutes(INSTALLED, FileKind::Folder, installed),
        // An upgrade of the kernel removes the modules of the one that runs.
        reboot_required: modules
            .names()
            .filter(|names| !names.is_empty())
            .map(|names| !names.iter().any(|name| name == kernel)),
    })
}

/// `core/pacman VERSION [installed]`, where the version that was fetched is the installed one, then its description.
fn finds_itself(answer: &Answer) -> bool {
    let lines: Vec<&str> = answer.whole_text().unwrap_or_default().lines().collect();
    let [first, second] = lines.as_slice() else { return false };
    let words: Vec<&str> = first.split(' ').collect();
    matches!(words.as_slice(), ["core/pacman", _, "[installed]"]) && second.starts_with("    ")
}

/// Lines `NAME OLD -> NEW`, with ` [ignored]` after those that are held; exit code 1 and nothing at all for none.
fn count(status: u32, stdout: &[u8], stderr: &[u8]) -> Option<u32> {
    match status {
        1 if stdout.is_empty() && stderr.is_empty() => return Some(0),
        0 => {}
        _ => return None,
    }
    let text = std::str::from_utf8(stdout).ok().filter(|text| text.ends_with('\n'))?;
    let is_upgrade = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        matches!(words.as_slice(), [_, _, "->", _] | [_, _, "->", _, "[ignored]"])
            && words.iter().all(|word| !word.is_empty())
    };
    text.lines().all(is_upgrade).then(|| u32::try_from(text.lines().count()).ok()).flatten()
}

#[cfg(test)]
mod tests;
