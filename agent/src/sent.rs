//! What was said about this machine, in words: the view of the person it belongs to. Nothing leaves the device that
//! is not shown here; what is proved is kept up to the bounds of the history.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use evidence::envelope::Envelope;
use evidence::json::{self, Value};
use evidence::statement::{Body, Gap, Statement};

use crate::disk::Folder;
use crate::identity::Identity;
use crate::judgement::minute;
use crate::observe_cli::{asset_json, observation_json};
use crate::spool::{History, Receipt, Spool, SpoolError};
use crate::state::{OPEN_MODE, StateDirectory};

/// How far a statement has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Signed and waiting to be sent.
    Waiting,
    /// The collector has it.
    Stored,
    /// Verified to be in the log.
    Proved,
}

impl Stage {
    /// The stage in one word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Stored => "stored",
            Self::Proved => "proved",
        }
    }
}

/// One statement with all that is known about it here.
#[derive(Debug, Clone)]
pub struct Line {
    /// What was said.
    pub statement: Statement,
    /// How far it has come.
    pub stage: Stage,
    /// Where the log has it.
    pub receipt: Option<Receipt>,
}

/// Gives `take` every statement that can still be shown, in the order of sequences, one at a time: a history is far
/// larger than what this program may hold. Reads only.
pub fn for_each<E: From<SpoolError>>(
    state: &StateDirectory,
    identity: &Identity,
    mut take: impl FnMut(&Line) -> Result<(), E>,
) -> Result<(), E> {
    let disk = |source| SpoolError::Disk { what: "read the history of what was sent", source };
    let folder = Folder::new(state.spool(), OPEN_MODE);
    // What waits comes first: what is proved meanwhile is then met twice rather than not at all.
    let mut contents = Spool::inspect(&folder, &identity.owner)?;
    let mut history = History::reader(&folder).map_err(disk)?;
    let sequences: BTreeSet<u64> = contents.kept.keys().copied().chain(history.sequences()).collect();
    let decode = |bytes: &[u8]| Envelope::parse(bytes).ok()?.open(&identity.owner.key).ok();
    for sequence in sequences {
        let (envelope, stage, receipt) = match contents.kept.remove(&sequence) {
            Some(kept) if kept.receipt.is_some() => (kept.envelope, Stage::Stored, kept.receipt),
            Some(kept) => (kept.envelope, Stage::Waiting, None),
            None => match history.get(sequence).map_err(disk)? {
                Some(sent) => (sent.envelope, Stage::Proved, Some(sent.receipt)),
                None => continue,
            },
        };
        if let Some(statement) = decode(&envelope) {
            take(&Line { statement, stage, receipt })?;
        }
    }
    Ok(())
}

fn trigger(number: i32) -> &'static str {
    match proto::Trigger::try_from(number) {
        Ok(proto::Trigger::Schedule) => "schedule",
        Ok(proto::Trigger::Drift) => "drift",
        Ok(proto::Trigger::Manual) => "manual",
        _ => "unknown",
    }
}

fn reason(reason: proto::GapReason) -> String {
    reason.as_str_name().trim_start_matches("GAP_REASON_").to_lowercase().replace('_', "-")
}

impl Line {
    /// For machines.
    pub fn json(&self) -> Value {
        let mut members: Vec<(String, Value)> = vec![
            ("sequence".into(), json::count(self.statement.sequence)),
            ("stage".into(), json::text(self.stage.as_str())),
        ];
        if let Some(receipt) = &self.receipt {
            members.push(("index".into(), json::count(receipt.index)));
            members.push(("received".into(), json::time(receipt.received)));
        }
        if let Some(anchor) = &self.statement.anchor {
            let root = json::hex(&anchor.root);
            let note = anchor.note.as_ref().map(|note| ("note", json::hex(note)));
            let shown =
                [("origin", json::text(&anchor.origin)), ("root", root), ("size", json::count(anchor.size))];
            let shown = shown.into_iter().chain(note).map(|(key, value)| (key.to_owned(), value));
            members.push(("anchor".into(), Value::Object(shown.collect())));
        }
        match &self.statement.body {
            Body::Attestation(attestation) => {
                let fields = &attestation.fields;
                members.push(("kind".into(), json::text("attestation")));
                members.push(("device".into(), json::text(attestation.device.to_string())));
                members.push(("observed".into(), json::time(attestation.wall())));
                members.push(("minutes_since_boot".into(), json::count(fields.boot_minutes)));
                members.push(("trigger".into(), json::text(trigger(fields.trigger))));
                members.push(("agent_version".into(), json::text(&fields.agent_version)));
                if let Some(asset) = &fields.asset {
                    members.push(("asset".into(), asset_json(Some(asset))));
                }
                let observations = fields.observations.iter().map(observation_json).collect();
                members.push(("observations".into(), Value::Array(observations)));
            }
            Body::Gap(gap) => {
                members.push(("kind".into(), json::text("gap")));
                let (what, first, last, count, why) = describe(gap);
                members.push(("gap".into(), json::text(what)));
                members.push(("first".into(), json::count(first)));
                members.push(("last".into(), json::count(last)));
                members.push(("count".into(), json::count(count)));
                members.push(("reason".into(), json::text(reason(why))));
            }
        }
        Value::Object(members.into_iter().collect())
    }

    /// For people.
    pub fn words(&self) -> String {
        let mut out = format!("statement {} ({}", self.statement.sequence, self.stage.as_str());
        if let Some(receipt) = &self.receipt {
            let _infallible = write!(out, ", entry {}, {}", receipt.index, receipt.received.rfc3339());
        }
        out.push_str(")\n");
        match &self.statement.body {
            Body::Attestation(attestation) => {
                let fields = &attestation.fields;
                let _infallible = writeln!(
                    out,
                    "  seen at {} because of {}, {} minutes after boot, by agent {}",
                    minute(fields.wall_minutes),
                    trigger(fields.trigger),
                    fields.boot_minutes,
                    fields.agent_version
                );
                if let Some(asset) = &fields.asset {
                    out.push_str("  asset: claimed\n");
                    leaves(&asset_json(Some(asset)), "", &mut out);
                }
                for observation in &fields.observations {
                    words(&observation_json(observation), &mut out);
                }
            }
            Body::Gap(Gap::NotMade { first_minute, last_minute, count, reason: why }) => {
                let (first, last) = (minute(*first_minute), minute(*last_minute));
                let why = reason(*why);
                let _infallible =
                    writeln!(out, "  {count} statements from {first} to {last} were not made: {why}");
            }
            Body::Gap(Gap::Destroyed { first, last, reason: why }) => {
                let why = reason(*why);
                let _infallible = writeln!(out, "  statements {first} to {last} were lost: {why}");
            }
        }
        out
    }
}

fn describe(gap: &Gap) -> (&'static str, u64, u64, u64, proto::GapReason) {
    match *gap {
        Gap::NotMade { first_minute, last_minute, count, reason } => {
            ("not_made", first_minute, last_minute, count, reason)
        }
        Gap::Destroyed { first, last, reason } => {
            ("destroyed", first, last, last.saturating_sub(first).saturating_add(1), reason)
        }
    }
}

/// An observation as one line for the control and one for each fact.
fn words(observation: &Value, out: &mut String) {
    let member = |name: &str| match observation {
        Value::Object(members) => members.get(name),
        _ => None,
    };
    let text = |name| match member(name) {
        Some(Value::String(text)) => text.as_str(),
        _ => "",
    };
    let _infallible = writeln!(out, "  {}: {}", text("control"), text("outcome").replace('_', " "));
    if let Some(Value::Integer(kept)) = member("kept_minutes") {
        let asked = minute(u64::try_from(*kept).unwrap_or_default());
        let _infallible = writeln!(out, "    package manager asked at {asked}, its files unchanged since");
    }
    for name in ["facts", "headless", "unavailable"] {
        if let Some(facts) = member(name) {
            leaves(facts, "", out);
        }
    }
}

fn leaves(value: &Value, path: &str, out: &mut String) {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match value {
        Value::Object(members) => members.iter().for_each(|(name, value)| leaves(value, &below(name), out)),
        Value::Array(items) => {
            (1..).zip(items).for_each(|(number, value)| leaves(value, &below(&format!("{number}")), out));
        }
        Value::String(text) => {
            let _infallible = writeln!(out, "    {path} = {}", crate::session::printable(text));
        }
        Value::Integer(number) => {
            let _infallible = writeln!(out, "    {path} = {number}");
        }
    }
}

#[cfg(test)]
mod tests;
