//! Pending patches where zypper keeps the packages, against what it last fetched: `--no-refresh` forbids more.
//!
//! The exit code of `patch-check` says whether a security patch is needed, the XML list says which; a list that
//! lost entries contradicts the code. openSUSE Tumbleweed has no patches, so no claim is made for it.

use crate::{
    answers::{Round, unanswered, unparsed},
    drive::Step,
    linux::{
        os_patch::{Found, newest_minutes},
        rpm,
    },
    programs::Program,
    question::{Answer, Question},
};

pub(crate) const CHECK: [&str; 3] = ["--non-interactive", "--no-refresh", "patch-check"];
pub(crate) const LIST_SECURITY: [&str; 6] =
    ["--non-interactive", "--no-refresh", "--xmlout", "list-patches", "--category", "security"];
/// What zypper fetched, a folder for each repository.
pub(crate) const CACHE: &str = "/var/cache/zypp/raw";
pub(crate) const REPOMD: &str = "repodata/repomd.xml";
const SYSTEMS: [&str; 4] = ["opensuse-leap", "sled", "sles", "sles_sap"];
/// Exit codes of `patch-check`: no patch, some patches, security patches.
const NONE: u32 = 0;
const SOME: u32 = 100;
const SECURITY: u32 = 101;
/// In /run after a package that needs it; `zypper needs-rebooting` looks for nothing else.
const REBOOT_MARK: &str = "reboot-needed";
/// More repositories than this are not looked at.
const REPOSITORIES_MAX: usize = 256;

/// Whether this is one of the systems known to use zypper and patches.
pub(crate) fn is_used_by(id: &str) -> bool {
    SYSTEMS.contains(&id)
}

/// What is pending.
///
/// # Errors
/// The step to return instead.
pub(crate) fn found(round: &mut Round<'_>, run: &Answer) -> Result<Found, Step> {
    let check_question = Question::run(Program::Zypper, &CHECK);
    let list_question = Question::run(Program::Zypper, &LIST_SECURITY);
    let check = round.ask(&check_question);
    let list = round.ask(&list_question);
    let times_of_packages = rpm::ask(round);
    let cache = round.list(CACHE);
    if let Some(step) = round.pending() {
        return Err(step);
    }
    // A release's own repository never changes; those with updates do, and zypper refreshes them together.
    let files: Vec<String> = cache
        .names()
        .unwrap_or_default()
        .iter()
        .filter(|name| name.to_ascii_lowercase().contains("update") && !name.contains(' '))
        .take(REPOSITORIES_MAX)
        .map(|name| format!("{CACHE}/{name}/{REPOMD}"))
        .collect();
    let times: Vec<_> = files.iter().map(|path| (path.as_str(), round.metadata(path.clone()))).collect();
    if let Some(step) = round.pending() {
        return Err(step);
    }
    let needs_security = match check {
        Answer::Output { status: NONE | SOME, .. } => false,
        Answer::Output { status: SECURITY, .. } => true,
        other => return Err(unanswered(check_question, other)),
    };
    // `list-patches` has no codes of its own: they may tell of patches too.
    let stdout = match list {
        Answer::Output { status: NONE | SOME | SECURITY, stdout, .. } => stdout,
        other => return Err(unanswered(list_question, other)),
    };
    let Some(security) = std::str::from_utf8(stdout).ok().and_then(security_patches) else {
        return Err(unparsed(list_question));
    };
    // A check that printed nothing has not looked, and the list is not the check.
    let has_looked = matches!(check, Answer::Output { stdout, .. }
        if stdout.ends_with(b"\n") && stdout.contains(&b' ') && !stdout.starts_with(b"<"));
    if !has_looked || needs_security != (security > 0) {
        return Err(unparsed(check_question));
    }
    Ok(Found {
        // Without the metadata of a repository with updates, nothing is known of what is missing.
        pending_security: (!files.is_empty()).then_some(security),
        lists_minutes: newest_minutes(&times),
        installed_minutes: rpm::newest_minutes(times_of_packages),
        reboot_required: run
            .names()
            .filter(|names| !names.is_empty())
            .map(|names| names.iter().any(|name| name == REBOOT_MARK)),
        ..Found::default()
    })
}

/// The number of needed security patches in a list that is whole.
fn security_patches(xml: &str) -> Option<u32> {
    let body = xml.trim().strip_prefix("<?xml version='1.0'?>")?.trim();
    let body = body.strip_prefix("<stream>")?.strip_suffix("</stream>")?;
    let (_, updates) = body.split_once("<update-list>")?;
    let (updates, _) = updates.split_once("</update-list>")?;
    let mut patches: u32 = 0;
    let mut closed: u32 = 0;
    for line in updates.split('<').map(str::trim) {
        if let Some(attributes) = line.strip_prefix("update ") {
            let has = |attribute: &str| attributes.contains(attribute);
            if !has(r#"category="security""#) || !has(r#"kind="patch""#) || !has(r#"status="needed""#) {
                return None;
            }
            patches = patches.checked_add(1)?;
        } else if line.starts_with("/update>") {
            closed = closed.checked_add(1)?;
        }
    }
    (patches == closed).then_some(patches)
}

#[cfg(test)]
mod tests;
