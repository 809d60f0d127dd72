//! `mdm-enrolment` on Windows: what device management keeps in the registry.
//!
//! Every Windows has some thirty keys there, and some of them name a provider; one counts as an enrolment when it also
//! has the address it enrolled at. A person's name, which is kept there too, is not asked for.

use proto::{MdmEnrolment, facts::Control};

use crate::{
    answers::{Answers, Round},
    drive::{Outcome, Step},
    question::Question,
    table::{Row, Table},
    windows,
};

const ENROLMENTS: &str = r"HKLM\SOFTWARE\Microsoft\Enrollments";
const JOINS: &str = r"HKLM\SYSTEM\CurrentControlSet\Control\CloudDomainJoin\JoinInfo";
const STATE: &str = "EnrollmentState";
const PROVIDER: &str = "ProviderID";
const ADDRESS: &str = "DiscoveryServiceFullURL";
/// [`STATE`] of an enrolment that is finished and not undone.
const ENROLLED: u64 = 1;
/// Providers of Windows itself, which no server is behind.
const OWN: [&str; 8] = [
    "Cloud Authority",
    "Deploy Authority",
    "Local Authority",
    "Local_Management",
    "MS Work Account",
    "SC Authority",
    "WMI_Bridge_SCCM_Server",
    "WMI_Bridge_Server",
];
/// Most keys looked at; a computer has some thirty.
const KEYS_MAX: usize = 256;
/// Longest provider that is sent, in bytes.
const PROVIDER_BYTES_MAX: usize = 64;

/// The keys of enrolments.
pub(crate) fn enrolments() -> Question {
    Question::Keys { key: ENROLMENTS.to_owned(), prefix: "" }
}

/// The keys of joins to a directory in the cloud.
pub(crate) fn joins() -> Question {
    Question::Keys { key: JOINS.to_owned(), prefix: "" }
}

/// What is kept about one enrolment.
pub(crate) fn enrolment(name: &str) -> Question {
    Question::Registry { key: format!(r"{ENROLMENTS}\{name}"), names: &[STATE, PROVIDER, ADDRESS] }
}

/// The step of the probe on Windows.
pub(crate) fn step(answers: &Answers) -> Step {
    let mut round = Round::new(answers);
    let keys = windows::ask(&mut round, enrolments());
    let joins = windows::ask(&mut round, joins());
    if let Some(step) = round.pending() {
        return step;
    }
    let Some(names) = keys.table().and_then(names).filter(|names| names.len() <= KEYS_MAX) else {
        return keys.unusable();
    };
    // Enrolments are called by a GUID; what else lies there is bookkeeping.
    let found: Vec<windows::Asked<'_>> = names
        .into_iter()
        .filter(|name| crate::identity::is_uuid(name.trim_matches(['{', '}'])))
        .map(|name| windows::ask(&mut round, enrolment(name)))
        .collect();
    if let Some(step) = round.pending() {
        return step;
    }
    let mut service = None;
    let mut unread = None;
    for asked in found {
        match asked.table() {
            None => unread = Some(asked),
            Some(table) => service = service.or(table.rows.first().and_then(provider)),
        }
    }
    match (service, unread) {
        (None, Some(asked)) => asked.unusable(),
        (service, _) => Step::Done(Outcome::observed(Control::MdmEnrolment(MdmEnrolment {
            enrolled: Some(service.is_some()),
            service: service.unwrap_or_default().to_owned(),
            directory_joined: joins.table().map(|table| !table.rows.is_empty()),
            ..MdmEnrolment::default()
        }))),
    }
}

/// The names of keys; `None` when a row has none.
fn names<'a>(table: &Table<'a>) -> Option<Vec<&'a str>> {
    table.rows.iter().map(|row| row.text("Name")).collect()
}

/// The provider of an enrolment that is one.
fn provider<'a>(row: &Row<'a>) -> Option<&'a str> {
    let provider = row.text(PROVIDER).map(str::trim).filter(|provider| !provider.is_empty())?;
    let is_enrolled = row.all(STATE).next().is_none() || row.number(STATE) == Some(ENROLLED);
    let has_address = row.text(ADDRESS).is_some_and(|address| !address.trim().is_empty());
    let is_own = OWN.contains(&provider) || provider.len() > PROVIDER_BYTES_MAX;
    (is_enrolled && has_address && !is_own).then_some(provider)
}
