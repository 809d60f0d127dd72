//! Judging from the log: statements read back, and the state of a unit as of some moment.

use evidence::authority::Authority;
use evidence::envelope::Envelope;
use evidence::facts::Facts;
use evidence::ids::Name;
use evidence::judge::{Day, Erased, Sighting, UnitState, judge_with_erased};
use evidence::policy::Policy;
use evidence::roster::Device;
use evidence::statement::Attestation;
use evidence::time::Timestamp;
use proto::observation::Outcome;

use crate::evidence_index::Seen;
use crate::ledger::{Ledger, ReadError};

/// An attestation read back from the log.
#[derive(Debug, Clone)]
pub struct Read {
    /// Its leaf index.
    pub index: u64,
    /// Its receipt.
    pub received: Timestamp,
    /// What it says.
    pub attestation: Attestation,
}

/// Whether a statement is an attestation observed on the day.
pub fn is_of_day(seen: &Seen, day: &Day) -> bool {
    seen.observed.is_some_and(|observed| day.contains(observed))
}

/// Those of a device's statements that are attestations observed on a day, read back, ascending by index.
pub fn attestations(ledger: &Ledger, statements: &[Seen], day: &Day) -> Result<Vec<Read>, ReadError> {
    let mut read = Vec::new();
    for seen in statements.iter().filter(|seen| is_of_day(seen, day)) {
        let entry = ledger.entry(seen.index)?;
        let statement = Envelope::parse(&entry.payload).ok().and_then(|envelope| envelope.claimed().ok());
        if let Some(attestation) = statement.as_ref().and_then(|statement| statement.attestation()) {
            read.push(Read { index: seen.index, received: seen.received, attestation: attestation.clone() });
        }
    }
    Ok(read)
}

/// Those of a device's attestations that were erased, whenever they were observed.
pub fn erased(statements: &[Seen]) -> Vec<Erased> {
    let erased = statements.iter().filter(|seen| seen.attests && seen.erased.is_some());
    erased.map(|seen| Erased { index: seen.index, received: seen.received }).collect()
}

/// The state of one unit. `authority` gives the policies, `record` the device's history it is judged by.
pub fn state_of(
    authority: &Authority,
    record: Option<&Device>,
    read: &[Read],
    erased: &[Erased],
    day: &Day,
    control: &Name,
) -> UnitState {
    let sightings: Vec<Sighting<'_>> = read
        .iter()
        .map(|read| Sighting { index: read.index, received: read.received, attestation: &read.attestation })
        .collect();
    let service = record.map(Device::spans).unwrap_or_default();
    judge_with_erased(day, control.as_str(), &authority.policy_entries(), &service, &sightings, erased)
}

/// One line for people: the facts of the deciding statement that made the state what it is.
pub fn because(authority: &Authority, state: &UnitState, read: &[Read], control: &Name) -> String {
    let policy = state.policy_index.and_then(|index| {
        authority.policies().iter().find(|entry| entry.index == index).map(|entry| &entry.policy)
    });
    because_under(policy, state, read, control)
}

/// The same by a policy at hand.
pub fn because_under(policy: Option<&Policy>, state: &UnitState, read: &[Read], control: &Name) -> String {
    let decided = state.decided_by.and_then(|index| read.iter().find(|read| read.index == index));
    let rule = policy.and_then(|policy| policy.control(control.as_str()));
    let (Some(decided), Some(rule)) = (decided, rule) else { return reason_words(state.because) };
    match decided.attestation.observation(control).and_then(|observation| observation.outcome.as_ref()) {
        Some(Outcome::Observed(facts)) => {
            let facts = Facts::of(facts);
            let minute = decided.attestation.wall().min(decided.received).minutes();
            rule.condition.explain(&facts, minute).line(&facts, minute)
        }
        Some(Outcome::Unavailable(unavailable)) if !unavailable.question.is_empty() => {
            format!("{}: {}", reason_words(state.because), unavailable.question)
        }
        _ => reason_words(state.because),
    }
}

fn reason_words(because: &str) -> String {
    match because {
        "no-policy" => "no policy was in force",
        "class" => "the control does not apply to this class or group",
        "erased" => "what this device said then was erased; its log entries name the tombstone",
        "no-evidence" => "no statement of this device that day",
        "headless" => "no graphical session can exist: nothing to lock",
        "no-observation" => "the statement does not look at this control",
        "no-privilege" => "the agent was not allowed to look",
        "tool-missing" => "a tool it asks is not installed",
        "timeout" => "the answer took too long",
        "unparsed-output" => "the answer was not understood",
        "no-session" => "no session to ask in",
        "unsupported-platform" => "not supported on this platform yet",
        "container" => "inside a container the host cannot be seen",
        "stale" => "what the system knows is too old",
        "unsupported-desktop" => "this desktop is not supported yet",
        other => other,
    }
    .to_owned()
}
