//! Erasing: which keys go, which must stay and why, and the steps that make it so. docs/ERASURE.md.
//!
//! 1. The tombstones are appended, signed by the operations key: from then on nothing of their scopes is read.
//! 2. A checkpoint covers them and is published.
//! 3. The file of data keys is written anew without the keys, and the old one overwritten.
//!
//! A crash after 1 leaves the keys; the next start of the server, or the next `erase`, goes on with 2.

use evidence::acts::{Body, SCOPES_MAX, Tombstone};
use evidence::erasure::Scope;
use evidence::ids::{DeviceId, Name, PersonId};
use evidence::time::{DAY_MS, DayLabel, Timestamp};

use crate::evidence_index::statements;
use crate::state::{State, StateError};

/// Days that statements are kept at least under the configuration's rule: a window of a year, and the time to report.
pub const RETENTION_DAYS_MIN: u64 = 400;
/// Days that statements are kept by default: two years.
pub const RETENTION_DAYS_DEFAULT: u64 = 730;
/// Name of the configuration's rule in tombstones.
const RETENTION: &str = "retention";

/// What is to be erased.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Of this device alone.
    pub device: Option<DeviceId>,
    /// Quarters that ended before this day begins.
    pub before: Option<DayLabel>,
    /// A rule of its own, that the age of the configuration does not bind.
    pub rule: Option<Name>,
    /// Who asked for it.
    pub requested_by: Option<PersonId>,
}

/// A scope that stays, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The scope.
    pub scope: Scope,
    /// The device.
    pub device: DeviceId,
    /// A sentence.
    pub why: String,
}

/// What an erasure would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The rule in the tombstone.
    pub rule: Name,
    /// Its age, days; 0 for a rule that is not about age.
    pub days: u64,
    /// Who asked.
    pub requested_by: Option<PersonId>,
    /// What goes, with its device; ascending by scope.
    pub scopes: Vec<(Scope, DeviceId)>,
    /// What was asked for and stays.
    pub kept: Vec<Kept>,
    /// Statements asked for that were stored before there were data keys: they cannot be erased.
    pub plain: u64,
}

/// What an erasure did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// Index of each tombstone.
    pub tombstones: Vec<u64>,
    /// Scopes whose keys are gone now; also those of an earlier erasure that was interrupted.
    pub scopes: usize,
}

/// What would be erased now, at the time of the next entry.
pub fn plan(state: &State, retention_days: u64, request: &Request) -> Result<Plan, StateError> {
    let refused = |text: String| Err(StateError::Refused(text));
    if request.device.is_none() && request.before.is_none() {
        return refused("name a device or a day".to_owned());
    }
    if request.requested_by.is_some() && request.rule.is_none() {
        return refused("a person asks under a rule of its own: name it with --rule".to_owned());
    }
    let retention: Name = RETENTION.parse().map_err(|_| StateError::Invalid(RETENTION.to_owned()))?;
    if request.rule.as_ref() == Some(&retention) {
        return refused(format!("{RETENTION} is the rule of the configuration: choose another name"));
    }
    let now = state.clock.now().max(state.ledger.snapshot().received);
    let book = state.book();
    let roster = book.authority.roster();
    if let Some(device) = request.device.filter(|device| roster.device(device).is_none()) {
        return refused(format!("device {device} was never enrolled"));
    }
    if let Some(person) = request.requested_by
        && !roster.persons().any(|admitted| admitted.person == person)
    {
        return refused(format!("person {person} is not on the roster"));
    }
    let asked = |scope: &Scope, device: &DeviceId| {
        let ends = |day: DayLabel| scope.end() <= day.start_utc();
        request.device.is_none_or(|only| only == *device) && request.before.is_none_or(ends)
    };
    let days = if request.rule.is_some() { 0 } else { retention_days };
    let (mut scopes, mut kept) = (Vec::new(), Vec::new());
    let known = state.ledger.data_keys().scopes();
    for (scope, erased) in &known {
        let Scope::Device { instance, .. } = scope else { continue };
        let Some(device) = roster.instance(instance).map(|record| record.device) else { continue };
        let named = erased.is_some() || book.authority.erasures().of(scope).is_some();
        if named || !asked(scope, &device) {
            continue;
        }
        match why_kept(scope, &device, days, now, &book.authority) {
            Some(why) => kept.push(Kept { scope: *scope, device, why }),
            None => scopes.push((*scope, device)),
        }
    }
    let sealed: std::collections::BTreeSet<&Scope> = known.iter().map(|(scope, _)| scope).collect();
    let mut plain = 0;
    for (device, record) in roster.devices() {
        let seen = statements(&state.ledger, record, Timestamp(0), u64::MAX, book.authority.erasures());
        for seen in seen? {
            let scope = Scope::device(seen.instance, seen.received);
            plain += u64::from(asked(&scope, device) && !sealed.contains(&scope));
        }
    }
    let rule = request.rule.clone().unwrap_or(retention);
    Ok(Plan { rule, days, requested_by: request.requested_by, scopes, kept, plain })
}

fn why_kept(
    scope: &Scope,
    device: &DeviceId,
    days: u64,
    now: Timestamp,
    authority: &evidence::authority::Authority,
) -> Option<String> {
    if scope.end() > now {
        return Some("the quarter is not over".to_owned());
    }
    if let Some((hold, logged)) = authority.erasures().held(device) {
        return Some(format!("hold {hold} (entry {}) keeps this device's statements", logged.index));
    }
    let due = Timestamp(scope.end().ms().saturating_add(days.saturating_mul(DAY_MS)));
    (due > now).then(|| {
        format!(
            "the retention of {days} days keeps it until {}; a rule of its own (--rule) does not wait",
            due.day()
        )
    })
}

/// Carries out a plan. The gate asks again, entry by entry: a hold that came in between stops it.
pub async fn run(state: &State, plan: &Plan) -> Result<Done, StateError> {
    let mut tombstones = Vec::new();
    for chunk in plan.scopes.chunks(SCOPES_MAX) {
        let (rule, days, requested_by) = (plan.rule.clone(), plan.days, plan.requested_by);
        let scopes: Vec<Scope> = chunk.iter().map(|(scope, _)| *scope).collect();
        let build = move |moment: &crate::state::Moment<'_>| {
            Ok(Body::Tombstone(Tombstone { rule, days, requested_by, scopes, up_to: moment.next_index }))
        };
        tombstones.push(state.operate(build).await?.index);
    }
    let scopes = state.finish_erasures().await?;
    Ok(Done { tombstones, scopes })
}
