//! Posture: the state of every device in service, as of now or of a day that is over.

use std::collections::BTreeMap;

use evidence::authority::Authority;
use evidence::ids::{DeviceId, Name};
use evidence::judge::Day;
use evidence::time::{DAY_MS, DayLabel, Timestamp};
use proto::{DeviceRow, PostureReply, PostureRow};

use crate::evidence_index::Seen;
use crate::judging::{attestations, because, erased, is_of_day, state_of};
use crate::ledger::ReadError;
use crate::state::State;

/// What a posture is made from, taken out of the book: reading the statements back takes long, and the writer waits for
/// whoever holds the book.
struct Asked {
    authority: Authority,
    /// Of the devices asked for, those of the day.
    statements: BTreeMap<DeviceId, Vec<Seen>>,
}

impl Asked {
    fn of(state: &State, day: &Day, device: Option<DeviceId>) -> Self {
        let book = state.book();
        let asked = book.authority.roster().devices().map(|(id, _)| *id);
        let asked = asked.filter(|id| device.is_none_or(|only| only == *id));
        let of_day = |id: &DeviceId| -> Vec<Seen> {
            book.evidence
                .of(id)
                .iter()
                .filter(|seen| is_of_day(seen, day) || seen.erased.is_some())
                .copied()
                .collect()
        };
        let statements = asked.map(|id| (id, of_day(&id))).collect();
        Self { authority: book.authority.clone(), statements }
    }
}

/// The state of every (device in service, control of the policy in force) on a UTC day, or those asked for. Without a
/// day: today, as of now.
pub fn posture(
    state: &State,
    label: Option<DayLabel>,
    device: Option<DeviceId>,
    control: Option<&Name>,
) -> Result<PostureReply, ReadError> {
    let now = state.clock.now();
    let label = label.unwrap_or_else(|| now.day());
    let start = label.start_utc();
    let end = Timestamp(start.0.saturating_add(DAY_MS));
    let day = if now < end {
        // A day that is not over is judged as one that ends with the next entry of the log.
        Day { start, end: Timestamp(now.0.saturating_add(1)), freeze_index: Some(state.ledger.size()) }
    } else {
        Day { start, end, freeze_index: None }
    };
    let Asked { authority, statements } = Asked::of(state, &day, device);
    let policy = day.policy(&authority.policy_entries());
    let mut reply = PostureReply {
        day: label.to_string(),
        policy: policy.map(|entry| entry.policy.id.to_string()).unwrap_or_default(),
        policy_index: policy.map_or(0, |entry| entry.index),
        rows: Vec::new(),
    };
    let Some(policy) = policy else { return Ok(reply) };
    for (id, record) in authority.roster().devices().filter(|(id, _)| device.is_none_or(|only| only == **id))
    {
        let Some(span) = record.spans_within(day.start, day.end).pop() else { continue };
        let seen = statements.get(id).map(Vec::as_slice).unwrap_or_default();
        let (read, gone) = (attestations(&state.ledger, seen, &day)?, erased(seen));
        for rule in policy.policy.controls.iter().filter(|rule| control.is_none_or(|only| *only == rule.id)) {
            let unit = state_of(&authority, Some(record), &read, &gone, &day, &rule.id);
            let decided = unit.decided_by.and_then(|index| read.iter().find(|read| read.index == index));
            reply.rows.push(PostureRow {
                device: id.to_string(),
                class: span.class.to_string(),
                group: span.group.to_string(),
                control: rule.id.to_string(),
                state: unit.state.as_str().to_owned(),
                because: because(&authority, &unit, &read, &rule.id),
                observed_minutes: decided
                    .map_or(0, |read| read.attestation.wall().min(read.received).minutes()),
                index: unit.decided_by.unwrap_or(0),
            });
        }
    }
    Ok(reply)
}

/// Every device ever enrolled.
pub fn devices(state: &State) -> Vec<DeviceRow> {
    let now = state.clock.now();
    let book = state.book();
    book.authority
        .roster()
        .devices()
        .map(|(id, record)| {
            let current = record.at(now);
            let in_service = current.is_some();
            let (class, group) = current.or_else(|| record.last_known()).map_or_else(
                || (String::new(), String::new()),
                |(class, group)| (class.to_string(), group.to_string()),
            );
            let seen = book.evidence.of(id);
            DeviceRow {
                device: id.to_string(),
                class,
                group,
                state: if in_service { "in-service" } else { "retired" }.to_owned(),
                enrolled_ms: record.enrolled.0,
                last_ms: seen.last().map_or(0, |seen| seen.received.0),
                statements: seen.len() as u64,
                key_level: "k0".to_owned(),
            }
        })
        .collect()
}
