//! Posture: the state of every device in service, as of now or of a day that is over.

use evidence::ids::{DeviceId, Name};
use evidence::judge::Day;
use evidence::time::{DAY_MS, DayLabel, Timestamp};
use proto::{PostureReply, PostureRow};

use crate::evidence_index::statements;
use crate::judging::{attestations, because, erased, state_of};
use crate::ledger::ReadError;
use crate::state::State;

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
    // A copy: reading the statements back takes long, and the writer waits for whoever holds the book.
    let authority = state.book().authority.clone();
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
        let seen = statements(&state.ledger, record, day.start, u64::MAX, authority.erasures())?;
        let (read, gone) = (attestations(&state.ledger, &seen, &day)?, erased(&seen));
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
