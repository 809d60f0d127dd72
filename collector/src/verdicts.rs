//! What a device is told about itself: the state of each control by its newest statement, why, what to do and until when.
//!
//! A day is judged by its worst statement (`posture`); this is judged by the newest one, because the person at the machine
//! wants to know whether what was done about it helped. The rules are the same: `evidence::judge`.

use std::collections::BTreeMap;

use evidence::authority::LoggedPolicy;
use evidence::ids::{DeviceId, InstanceId, Name};
use evidence::judge::{Day, PolicyEntry, Sighting, State as Judged, judge_with_erased};
use evidence::policy::{Control, Policy};
use evidence::roster::ServiceSpan;
use evidence::time::Timestamp;
use proto::{Posture, Verdict};

use crate::evidence_index::Seen;
use crate::judging::{Read, attestations, because_under, erased};
use crate::ledger::ReadError;
use crate::state::State;

/// Longest remedy that is sent, in characters: what an agent shows.
const REMEDY_CHARS_MAX: usize = 1024;
/// Longest reason that is sent, in characters: what an agent shows.
const REASON_CHARS_MAX: usize = 256;
/// Statements among which the newest attestation is looked for: those behind it are gaps.
const NEWEST_OF: u64 = 8;
/// Statements that are read to find when a deviation began, at most: four months of a device that makes four a day. Of a
/// deviation that is older, the oldest of them counts.
const LOOK_BACK: u64 = 512;

/// A device at the moment of judging.
struct Subject {
    span: ServiceSpan,
    policy: LoggedPolicy,
}

/// How the device stands by the newest statement of `instance`. None when it is not in service or there is no policy.
pub fn posture(state: &State, device: DeviceId, instance: &InstanceId) -> Result<Option<Posture>, ReadError> {
    let now = state.clock.now();
    let next = state.ledger.instance(instance)?.map_or(0, |known| known.next_sequence);
    let newest = newest(state, instance, next)?;
    let Some(subject) = subject(state, device, now) else { return Ok(None) };
    let newest: Vec<Seen> = newest.into_iter().collect();
    let read = attestations(&state.ledger, &newest, &ALWAYS)?;
    let (sightings, erased) = (read.iter().map(sighting).collect::<Vec<_>>(), erased(&newest));
    // The day of this one statement.
    let start = sightings
        .first()
        .map_or_else(|| newest.first().map_or(now, |seen| seen.received), Sighting::observed);
    let end = Timestamp(now.max(start).ms().saturating_add(1));
    let day = Day { start, end, freeze_index: Some(u64::MAX) };
    let Subject { span, policy } = &subject;
    let entry = PolicyEntry { index: policy.index, received: policy.received, policy: &policy.policy };
    let mut units = Vec::new();
    for rule in &policy.policy.controls {
        let service = std::slice::from_ref(span);
        units.push((rule, judge_with_erased(&day, rule.id.as_str(), &[entry], service, &sightings, &erased)));
    }
    let deviating =
        units.iter().filter(|(rule, unit)| unit.state == Judged::Deviation && limit(rule).is_some());
    let began = began(state, instance, next, &subject, deviating.map(|(rule, _)| &rule.id))?;
    let verdict = |(rule, unit): &(&Control, evidence::judge::UnitState)| {
        let reason = match unit.because {
            "no-evidence" if newest.is_empty() => "this machine has made no statement yet".to_owned(),
            "no-evidence" => "its newest statement came too late to count".to_owned(),
            _ => because_under(Some(&policy.policy), unit, &read, &rule.id),
        };
        let due = began.get(&rule.id).zip(limit(rule));
        Verdict {
            control: rule.id.to_string(),
            state: unit.state.as_str().to_owned(),
            reason: cut(&reason, REASON_CHARS_MAX),
            remedy: if matches!(unit.state, Judged::Pass | Judged::NotApplicable) {
                String::new()
            } else {
                cut(&rule.remedy, REMEDY_CHARS_MAX)
            },
            due_minutes: due.map(|(began, limit)| began.minutes().saturating_add(limit)),
        }
    };
    Ok(Some(Posture {
        verdicts: units.iter().map(verdict).collect(),
        judged_minutes: now.minutes(),
        policy: policy.policy.id.to_string(),
        sequence: newest.first().map(|seen| seen.sequence),
    }))
}

/// All of time: whatever was read is judged.
const ALWAYS: Day = Day { start: Timestamp(0), end: Timestamp(u64::MAX), freeze_index: None };

fn sighting(read: &Read) -> Sighting<'_> {
    Sighting { index: read.index, received: read.received, attestation: &read.attestation }
}

fn cut(text: &str, chars: usize) -> String {
    text.chars().take(chars).collect()
}

/// Minutes within which a deviation is to be remedied: the control's own time for it, else its grace, else none.
fn limit(rule: &Control) -> Option<u64> {
    [rule.sla_minutes, rule.grace_minutes].into_iter().find(|minutes| *minutes > 0)
}

/// Class and group in force and the newest policy. The book is held no longer than it takes to copy them.
fn subject(state: &State, device: DeviceId, now: Timestamp) -> Option<Subject> {
    let book = state.book();
    let spans = book.authority.roster().device(&device)?.spans();
    let span = spans.into_iter().find(|span| span.start <= now && now < span.end)?;
    let policy = book.authority.policies().last()?.clone();
    Some(Subject { span, policy })
}

/// Statements of an instance from `from` on, ascending.
fn seen(state: &State, instance: &InstanceId, from: u64) -> Result<Vec<Seen>, ReadError> {
    let found = state.ledger.statements(instance, from)?;
    let book = state.book();
    Ok(found.iter().map(|statement| Seen::of(*instance, statement, book.authority.erasures())).collect())
}

/// The newest attestation, erased or not.
fn newest(state: &State, instance: &InstanceId, next: u64) -> Result<Option<Seen>, ReadError> {
    let mut found = seen(state, instance, next.saturating_sub(NEWEST_OF))?;
    found.retain(|seen| seen.attests);
    Ok(found.pop())
}

/// When each of `controls`, which deviate now, began to.
fn began<'a>(
    state: &State,
    instance: &InstanceId,
    next: u64,
    subject: &Subject,
    controls: impl Iterator<Item = &'a Name>,
) -> Result<BTreeMap<Name, Timestamp>, ReadError> {
    let mut beginnings = Beginnings::of(controls, subject.policy.received, subject.span.start);
    if beginnings.are_found() {
        return Ok(beginnings.end());
    }
    let look_back = seen(state, instance, next.saturating_sub(LOOK_BACK))?;
    let policies = policies_since(state, look_back.first().map_or(0, |seen| seen.index));
    for seen in look_back.iter().rev().filter(|seen| seen.attests) {
        // What was erased, nobody knows any more: the statements before it tell nothing about one run.
        let read = attestations(&state.ledger, std::slice::from_ref(seen), &ALWAYS)?;
        let Some(read) = read.first() else { break };
        let policy = policies.iter().rev().find(|entry| entry.index < seen.index);
        beginnings.take(&sighting(read), policy.map(|entry| &entry.policy));
        if beginnings.are_found() {
            break;
        }
    }
    Ok(beginnings.end())
}

/// Looks, from the newest statement back, for the beginning of deviations: each statement is judged by the policy it was
/// made under. One that could not tell ends nothing; one that shows the control met does.
struct Beginnings {
    /// The earliest deviation met so far of those whose beginning is still looked for.
    open: BTreeMap<Name, Option<Timestamp>>,
    found: BTreeMap<Name, Timestamp>,
    /// When the policy in force came: what deviates under no earlier one deviates since then.
    policy: Timestamp,
    /// When the device came into its class and group.
    span: Timestamp,
}

impl Beginnings {
    fn of<'a>(controls: impl Iterator<Item = &'a Name>, policy: Timestamp, span: Timestamp) -> Self {
        let open = controls.map(|id| (id.clone(), None)).collect();
        Self { open, found: BTreeMap::new(), policy, span }
    }

    fn are_found(&self) -> bool {
        self.open.is_empty()
    }

    fn take(&mut self, sighting: &Sighting<'_>, policy: Option<&Policy>) {
        let (found, policy_came, span) = (&mut self.found, self.policy, self.span);
        self.open.retain(|id, since| {
            let rule = policy.and_then(|policy| policy.control(id.as_str()));
            match rule.map(|rule| sighting.judge(rule).0) {
                Some(Judged::Deviation) => *since = Some(sighting.observed()),
                Some(Judged::Pass | Judged::NotApplicable) | None => {
                    found.insert(id.clone(), since.unwrap_or(policy_came).max(span));
                    return false;
                }
                Some(_) => {}
            }
            true
        });
    }

    /// What is not found is as old as what was read.
    fn end(mut self) -> BTreeMap<Name, Timestamp> {
        let rest = self.open.into_iter();
        self.found.extend(rest.map(|(id, since)| (id, since.unwrap_or(self.policy).max(self.span))));
        self.found
    }
}

/// The policies from the one in force at entry `index` on, oldest first.
fn policies_since(state: &State, index: u64) -> Vec<LoggedPolicy> {
    let book = state.book();
    let policies = book.authority.policies();
    let before = policies.iter().take_while(|entry| entry.index < index).count();
    policies.iter().skip(before.saturating_sub(1)).cloned().collect()
}

#[cfg(test)]
mod tests;
