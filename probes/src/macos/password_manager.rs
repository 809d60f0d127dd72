//! `password-manager` on macOS: which products lie in /Applications, by name and by the id they give themselves.
//!
//! Their signatures are not checked: that would read each application whole, and presence is all that is claimed.

use proto::Reason;

use crate::{
    answers::{Answers, Round},
    drive::{Outcome, Step},
    macos::plists::{self, Value},
    password_managers::{self, Catalogue, MacosManager},
    question::Answer,
};

/// Where applications for everybody lie.
pub(crate) const APPLICATIONS: &str = "/Applications";

/// The file in which an application says what it is.
pub(crate) fn description(app: &str) -> String {
    format!("{APPLICATIONS}/{app}/Contents/Info.plist")
}

/// The step of the probe on macOS.
pub(crate) fn step(answers: &Answers) -> Step {
    let Some(catalogue) = Catalogue::bundled() else {
        return Step::Done(Outcome::unavailable(Reason::IoError));
    };
    let mut round = Round::new(answers);
    let mut found = Vec::new();
    for (product, macos) in catalogue.on(|product| product.macos.as_ref()) {
        let apps: Vec<Option<bool>> =
            macos.apps.iter().map(|app| is_there(macos, round.read(description(app)))).collect();
        found.push((product, password_managers::any(apps)));
    }
    round.pending().unwrap_or_else(|| Step::Done(password_managers::observed(&found)))
}

/// An application of another id is another application.
fn is_there(macos: &MacosManager, description: &Answer) -> Option<bool> {
    if *description == Answer::Absent {
        return Some(false);
    }
    let description = plists::dict(description)?;
    let id = description.get("CFBundleIdentifier").and_then(Value::text)?;
    Some(macos.bundles.iter().any(|bundle| bundle.eq_ignore_ascii_case(id)))
}
