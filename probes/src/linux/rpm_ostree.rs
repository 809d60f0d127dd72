//! Systems whose files come as one image, where rpm-ostree changes it.
//!
//! It tells which images are there and which one runs. Nothing tells when it last looked for a newer one: that it knows
//! of none says nothing, so what is pending stays unknown.

use serde_json::Value;

use crate::{
    answers::{Round, unanswered, unparsed},
    drive::Step,
    linux::os_patch::Found,
    programs::Program,
    question::Question,
};

pub(crate) const STATUS: [&str; 2] = ["status", "--json"];

/// What is known of a newer image.
///
/// # Errors
/// The step to return instead.
pub(crate) fn found(round: &mut Round<'_>) -> Result<Found, Step> {
    let question = Question::run(Program::RpmOstree, &STATUS);
    let status = round.ask(&question);
    if let Some(step) = round.pending() {
        return Err(step);
    }
    let Some(text) = status.whole_text() else { return Err(unanswered(question, status)) };
    let Some(runs_first) = runs_first(text) else { return Err(unparsed(question)) };
    Ok(Found { reboot_required: Some(!runs_first), ..Found::default() })
}

/// Whether the image that runs is the first in the list, which is the one of the next start.
fn runs_first(text: &str) -> Option<bool> {
    let status: Value = serde_json::from_str(text).ok()?;
    let deployments = status.get("deployments")?.as_array()?;
    let booted: Vec<bool> =
        deployments.iter().map(|deployment| deployment.get("booted")?.as_bool()).collect::<Option<_>>()?;
    let one = booted.iter().filter(|booted| **booted).count() == 1;
    booted.first().copied().filter(|_| one)
}

#[cfg(test)]
mod tests;
