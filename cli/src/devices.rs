//! `devices`: what is enrolled, what waits, what contradicts, and what a person decides about it.

use std::collections::BTreeMap;

use anyhow::bail;
use clap::{Args, Subcommand};
use data_encoding::HEXLOWER;
use evidence::acts::{Allows, Approval, Body, Pair};
use evidence::ids::{DeviceId, Digest};
use evidence::time::{DAY_MS, Timestamp};
use proto::{ConflictRow, ConflictsRequest, DeviceRow, DevicesRequest, PendingRequest, PendingRow};
use serde_json::json;

use crate::act::{Detail, write_reply};
use crate::client::answer;
use crate::command::{Context, Outcome};
use crate::fleet::{self, REASON_BYTES_MAX, device_json, minute, sign};
use crate::table::{Column, Table};

/// Life of an approval by default, days: a laptop that was shut over a weekend asks again within it.
const APPROVAL_DAYS_DEFAULT: u64 = 7;
/// Longest life of an approval, days.
const APPROVAL_DAYS_MAX: u64 = 30;

/// Arguments of `devices`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct DevicesArgs {
    /// Which agent each device runs, as its newest attestation says, and how many run which
    #[arg(long)]
    versions: bool,
    #[command(subcommand)]
    command: Option<DevicesCommand>,
}

/// Questions and decisions about devices.
#[derive(Debug, Subcommand)]
enum DevicesCommand {
    /// List enrolments that wait for a person; exit 1 if there are any
    Pending,
    /// Let one newcomer in: an admin's signed act that names its token and keys
    Approve(ApproveArgs),
    /// List keys and machines that contradict each other; exit 1 if a person has to decide
    Conflicts,
    /// Say that two devices of the list are one machine: the other one leaves service and its keys end
    Merge(PairArgs),
    /// Say that two devices are two machines
    Split(PairArgs),
}

/// Arguments of `devices approve`.
#[derive(Debug, Args)]
struct ApproveArgs {
    /// The request, as `devices pending` and the newcomer print it
    #[arg(value_name = "REQUEST", value_parser = Digest::from_hex)]
    request: Digest,
    /// Days in which it may be used
    #[arg(long, value_name = "N", default_value_t = APPROVAL_DAYS_DEFAULT,
          value_parser = clap::value_parser!(u64).range(1..=APPROVAL_DAYS_MAX))]
    days: u64,
}

/// Two devices.
#[derive(Debug, Args)]
struct PairArgs {
    /// Device id; of a merge the one that stays
    #[arg(value_name = "ID")]
    device: DeviceId,
    /// The other device's id
    #[arg(value_name = "OTHER")]
    other: DeviceId,
    /// Why; kept beside the log, where it can be erased
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

impl DevicesArgs {
    /// Lists, or decides.
    pub(crate) async fn run(&self, context: &mut Context<'_>) -> anyhow::Result<Outcome> {
        match &self.command {
            None if self.versions => versions(context).await.map(|()| Outcome::Done),
            None => fleet::devices(context).await.map(|()| Outcome::Done),
            Some(DevicesCommand::Pending) => pending(context).await,
            Some(DevicesCommand::Approve(args)) => approve(args, context).await.map(|()| Outcome::Done),
            Some(DevicesCommand::Conflicts) => conflicts(context).await,
            Some(DevicesCommand::Merge(args)) => args.decide(context, true).await.map(|()| Outcome::Done),
            Some(DevicesCommand::Split(args)) => args.decide(context, false).await.map(|()| Outcome::Done),
        }
    }
}

impl PairArgs {
    async fn decide(&self, context: &mut Context<'_>, is_one: bool) -> anyhow::Result<()> {
        let reason = self.reason.as_deref();
        if reason.is_some_and(|reason| reason.is_empty() || reason.len() > REASON_BYTES_MAX) {
            bail!("--reason takes 1 to {REASON_BYTES_MAX} bytes of text");
        }
        if self.device == self.other {
            bail!("name two devices: both ids are {}", self.device);
        }
        let mut caller = context.options.connect(context.clock.clone()).await?;
        let detail = reason.map(Detail::new).transpose()?;
        let pair =
            Pair { device: self.device, other: self.other, detail: detail.as_ref().map(Detail::digest) };
        let (body, what) =
            if is_one { (Body::Merge(pair), "The merge") } else { (Body::Split(pair), "The split") };
        let signed = sign(&caller, body, context)?;
        let reply = signed.carry(&mut caller, detail).await?;
        write_reply(context.out, context.options.json, what, &reply)
    }
}

async fn approve(args: &ApproveArgs, context: &mut Context<'_>) -> anyhow::Result<()> {
    let mut caller = context.options.connect(context.clock.clone()).await?;
    let life = args.days.saturating_mul(DAY_MS);
    let approval = Approval {
        allows: Allows::Enrolment,
        request: args.request,
        expires_at: Timestamp(context.clock.now().0.saturating_add(life)),
    };
    let signed = sign(&caller, Body::Approval(approval), context)?;
    let reply = signed.carry(&mut caller, None).await?;
    write_reply(context.out, context.options.json, "The approval", &reply)
}

async fn pending(context: &mut Context<'_>) -> anyhow::Result<Outcome> {
    let mut caller = context.options.connect(context.clock.clone()).await?;
    let rows = answer(caller.people.pending(PendingRequest {})).await?.rows;
    if context.options.json {
        let rows: Vec<_> = rows.iter().map(pending_json).collect();
        writeln!(context.out, "{}", json!({"pending": rows}))?;
    } else if rows.is_empty() {
        writeln!(context.out, "No enrolment waits.")?;
    } else {
        pending_table(&rows).write(context.out)?;
    }
    Ok(if rows.is_empty() { Outcome::Done } else { Outcome::No })
}

fn pending_table(rows: &[PendingRow]) -> Table {
    let mut table = Table::new([
        Column::wrapping("HOST NAME"),
        Column::wrapping("SERIAL"),
        Column::firm("ADDRESS"),
        Column::firm("WHY"),
        Column::firm("LAST ASKED"),
    ]);
    for row in rows {
        let cells = [
            row.host_name.clone(),
            row.serial.clone(),
            row.address.clone(),
            row.why.clone(),
            minute(Timestamp(row.last_ms)),
        ];
        let like = match row.like.as_slice() {
            [] => String::new(),
            like => format!(" It has the hardware of {}.", like.join(", ")),
        };
        let request = HEXLOWER.encode(&row.request);
        table.row_with_note(cells, &format!("{} {}: devices approve {request}{like}", row.class, row.group));
    }
    table
}

fn pending_json(row: &PendingRow) -> serde_json::Value {
    json!({
        "request": HEXLOWER.encode(&row.request),
        "why": row.why,
        "class": row.class,
        "group": row.group,
        "address": row.address,
        "host_name": row.host_name,
        "serial": row.serial,
        "first_ms": row.first_ms,
        "last_ms": row.last_ms,
        "like": row.like,
    })
}

async fn conflicts(context: &mut Context<'_>) -> anyhow::Result<Outcome> {
    let mut caller = context.options.connect(context.clock.clone()).await?;
    let rows = answer(caller.people.conflicts(ConflictsRequest {})).await?.rows;
    if context.options.json {
        let rows: Vec<_> = rows.iter().map(conflict_json).collect();
        writeln!(context.out, "{}", json!({"conflicts": rows}))?;
    } else if rows.is_empty() {
        writeln!(context.out, "No device contradicts itself or another one.")?;
    } else {
        let mut table = Table::new([Column::firm("DEVICE"), Column::firm("KIND"), Column::firm("STATE")]);
        for row in &rows {
            let state = if row.open { "undecided" } else { "decided" };
            let other =
                if row.other.is_empty() { String::new() } else { format!(" The other: {}.", row.other) };
            let entries: Vec<String> = row.entries.iter().map(ToString::to_string).collect();
            let entries = match entries.as_slice() {
                [] => String::new(),
                entries => format!(" Conflict records: entries {}.", entries.join(", ")),
            };
            let note = format!("{}.{other}{entries}", row.what);
            table.row_with_note([row.device.clone(), row.kind.clone(), state.to_owned()], &note);
        }
        table.write(context.out)?;
    }
    Ok(if rows.iter().any(|row| row.open) { Outcome::No } else { Outcome::Done })
}

fn conflict_json(row: &ConflictRow) -> serde_json::Value {
    json!({
        "kind": row.kind,
        "device": row.device,
        "other": row.other,
        "instance": HEXLOWER.encode(&row.instance),
        "sequence": row.sequence,
        "entries": row.entries,
        "what": row.what,
        "open": row.open,
    })
}

async fn versions(context: &mut Context<'_>) -> anyhow::Result<()> {
    let mut caller = context.options.connect(context.clock.clone()).await?;
    let rows = answer(caller.people.devices(DevicesRequest { versions: true })).await?.rows;
    let counts = counts(&rows);
    if context.options.json {
        let rows: Vec<_> = rows
            .iter()
            .map(|row| {
                let mut value = device_json(row);
                if let Some(members) = value.as_object_mut() {
                    members.insert("agent_version".into(), json!(row.agent_version));
                    members.insert("agent_digest".into(), json!(HEXLOWER.encode(&row.agent_digest)));
                    members.insert("configuration".into(), json!(row.configuration));
                }
                value
            })
            .collect();
        let counts: Vec<_> = counts
            .iter()
            .map(|((version, digest), count)| {
                json!({"agent_version": version, "agent_digest": digest, "devices": count})
            })
            .collect();
        writeln!(context.out, "{}", json!({"devices": rows, "counts": counts}))?;
        return Ok(());
    }
    let mut table = Table::new([
        Column::firm("DEVICE"),
        Column::wrapping("GROUP"),
        Column::firm("AGENT"),
        Column::firm("DIGEST"),
        Column::firm("CONFIG"),
    ]);
    for row in &rows {
        let configuration =
            if row.configuration == 0 { "-".to_owned() } else { row.configuration.to_string() };
        let cells =
            [row.device.clone(), row.group.clone(), known(&row.agent_version), short(row), configuration];
        table.row(cells);
    }
    table.write(context.out)?;
    let mut table = Table::new([Column::firm("AGENT"), Column::wrapping("DIGEST"), Column::firm("DEVICES")]);
    for ((version, digest), count) in &counts {
        table.row([known(version), digest.clone(), count.to_string()]);
    }
    writeln!(context.out)?;
    Ok(table.write(context.out)?)
}

/// How many devices in service run which agent.
fn counts(rows: &[DeviceRow]) -> BTreeMap<(String, String), usize> {
    let mut counts = BTreeMap::new();
    for row in rows.iter().filter(|row| row.state == "in-service") {
        let key = (row.agent_version.clone(), HEXLOWER.encode(&row.agent_digest));
        *counts.entry(key).or_default() += 1;
    }
    counts
}

fn known(version: &str) -> String {
    if version.is_empty() { "not known".to_owned() } else { version.to_owned() }
}

/// The first digits of a program's digest: enough to tell two apart in a table.
fn short(row: &DeviceRow) -> String {
    HEXLOWER.encode(&row.agent_digest).chars().take(12).collect()
}

#[cfg(test)]
mod tests {
    use proto::DeviceRow;

    use super::counts;

    #[test]
    fn versions_are_counted_over_devices_in_service() {
        let row = |version: &str, state: &str| DeviceRow {
            agent_version: version.into(),
            agent_digest: vec![1; 32],
            state: state.into(),
            ..DeviceRow::default()
        };
        let rows =
            [row("1", "in-service"), row("2", "in-service"), row("1", "in-service"), row("1", "retired")];
        let counted: Vec<usize> = counts(&rows).into_values().collect();
        assert_eq!(counted, [2, 1]);
    }
}
