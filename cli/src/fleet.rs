//! `devices`, `device`, `retire` and `posture`: what is enrolled and how it stands.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::bail;
use clap::{Args, Subcommand};
use evidence::acts::{self, Allows, Approval, Body, Retire, recovery_digest};
use evidence::ids::{Class, DeviceId, InstanceId, Name};
use evidence::judge::State;
use evidence::time::{DayLabel, MINUTE_MS, Timestamp};
use proto::{DeviceRow, DevicesRequest, PostureReply, PostureRequest, PostureRow};
use serde_json::json;

use crate::act::{Detail, SignedAct, write_reply};
use crate::client::{Caller, answer};
use crate::command::{Context, Outcome};
use crate::table::{Column, Table, clean, write_wrapped};

/// Longest reason of a retirement, in bytes: a paragraph, far below what a detail record holds.
pub(crate) const REASON_BYTES_MAX: usize = 2_000;

/// Life of an approval of a recovery by default, hours: the device asks every hour while it runs.
const RECOVERY_HOURS_DEFAULT: u64 = 72;
/// Longest, hours: whoever is away for longer is approved when he is back.
const RECOVERY_HOURS_MAX: u64 = 24 * 30;
/// Milliseconds of an hour.
const HOUR_MS: u64 = 3_600_000;

/// Arguments of `device`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, arg_required_else_help = true)]
pub(crate) struct DeviceArgs {
    /// Device id
    #[arg(value_name = "ID")]
    device: Option<DeviceId>,
    #[command(subcommand)]
    command: Option<DeviceCommand>,
}

/// Changes of one device.
#[derive(Debug, Subcommand)]
enum DeviceCommand {
    /// Say what kind of machine a device is, from now on
    SetClass {
        /// Device id
        #[arg(value_name = "ID")]
        device: DeviceId,
        /// laptop, desktop, server, vm or container
        #[arg(value_name = "CLASS")]
        class: Class,
    },
    /// Let a device come back once more by its attestation key, after its certificate ended for the third time
    AllowRecovery {
        /// The instance, as the collector's log and `tallystick-agent status` name it
        #[arg(value_name = "INSTANCE")]
        instance: InstanceId,
        /// Hours until it must have come
        #[arg(long, value_name = "N", default_value_t = RECOVERY_HOURS_DEFAULT, value_parser = clap::value_parser!(u64).range(1..=RECOVERY_HOURS_MAX))]
        hours: u64,
    },
    /// Say which group a device belongs to, from now on
    SetGroup {
        /// Device id
        #[arg(value_name = "ID")]
        device: DeviceId,
        /// The group's name
        #[arg(value_name = "GROUP")]
        group: Name,
    },
}

/// Arguments of `retire`.
#[derive(Debug, Args)]
pub(crate) struct RetireArgs {
    /// Device id
    #[arg(value_name = "ID")]
    device: DeviceId,
    /// Why; kept beside the log, where it can be erased
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

/// Arguments of `posture`.
#[derive(Debug, Args)]
pub(crate) struct PostureArgs {
    /// Only this device
    #[arg(long, value_name = "ID")]
    device: Option<DeviceId>,
    /// Only this control
    #[arg(long, value_name = "ID")]
    control: Option<Name>,
    /// A day of the calendar (UTC) instead of today
    #[arg(long, value_name = "YYYY-MM-DD")]
    day: Option<DayLabel>,
}

/// Arguments of commands that name one file.
#[derive(Debug, Args)]
pub(crate) struct FileArgs {
    /// File to read
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

/// Lists the devices.
pub(crate) async fn devices(context: &mut Context<'_>) -> anyhow::Result<()> {
    let mut caller = context.options.connect(context.clock.clone()).await?;
    let rows = answer(caller.people.devices(DevicesRequest { versions: false })).await?.rows;
    if context.options.json {
        writeln!(context.out, "{}", json!({"devices": rows.iter().map(device_json).collect::<Vec<_>>()}))?;
        return Ok(());
    }
    if rows.is_empty() {
        writeln!(context.out, "No device is enrolled. `tallystick-collector token create` begins it.")?;
        return Ok(());
    }
    Ok(device_table(&rows).write(context.out)?)
}

impl DeviceArgs {
    /// Shows or changes one device.
    pub(crate) async fn run(&self, context: &mut Context<'_>) -> anyhow::Result<Outcome> {
        match (&self.command, self.device) {
            (Some(DeviceCommand::SetClass { device, class }), _) => {
                let mut caller = context.options.connect(context.clock.clone()).await?;
                let act = acts::Class { device: *device, class: *class, effective_at: context.clock.now() };
                let signed = sign(&caller, Body::Class(act), context)?;
                let reply = signed.carry(&mut caller, None).await?;
                write_reply(context.out, context.options.json, "The new class", &reply)?;
                Ok(Outcome::Done)
            }
            (Some(DeviceCommand::AllowRecovery { instance, hours }), _) => {
                let mut caller = context.options.connect(context.clock.clone()).await?;
                let expires_at = Timestamp(context.clock.now().ms().saturating_add(hours * HOUR_MS));
                let request = recovery_digest(instance);
                let act = Approval { allows: Allows::Recovery, request, expires_at };
                let signed = sign(&caller, Body::Approval(act), context)?;
                let reply = signed.carry(&mut caller, None).await?;
                write_reply(context.out, context.options.json, "The approval", &reply)?;
                Ok(Outcome::Done)
            }
            (Some(DeviceCommand::SetGroup { device, group }), _) => {
                let mut caller = context.options.connect(context.clock.clone()).await?;
                let act =
                    acts::Group { device: *device, group: group.clone(), effective_at: context.clock.now() };
                let signed = sign(&caller, Body::Group(act), context)?;
                let reply = signed.carry(&mut caller, None).await?;
                write_reply(context.out, context.options.json, "The new group", &reply)?;
                Ok(Outcome::Done)
            }
            (None, Some(device)) => show(context, device).await,
            (None, None) => bail!("name a device: `tallystick device ID`"),
        }
    }
}

async fn show(context: &mut Context<'_>, device: DeviceId) -> anyhow::Result<Outcome> {
    let mut caller = context.options.connect(context.clock.clone()).await?;
    let id = device.to_string();
    let rows = answer(caller.people.devices(DevicesRequest { versions: false })).await?.rows;
    let Some(row) = rows.into_iter().find(|row| row.device == id) else {
        bail!("no device {id} is enrolled: `tallystick devices` lists them");
    };
    let request = PostureRequest { device: id.clone(), ..PostureRequest::default() };
    let mut posture = answer(caller.people.posture(request)).await?;
    posture.rows.retain(|row| row.device == id);
    if context.options.json {
        let answer = json!({"device": device_json(&row), "posture": posture_json(&posture)});
        writeln!(context.out, "{answer}")?;
        return Ok(Outcome::Done);
    }
    device_table(std::slice::from_ref(&row)).write(context.out)?;
    let enrolled = minute(Timestamp(row.enrolled_ms));
    let line = format!("Enrolled {enrolled}, key level {}, {} statements.", row.key_level, row.statements);
    writeln!(context.out, "{}\n", clean(&line))?;
    write_posture(context.out, &posture)?;
    Ok(Outcome::Done)
}

impl RetireArgs {
    /// Takes a device out of service, from now on.
    pub(crate) async fn run(&self, context: &mut Context<'_>) -> anyhow::Result<()> {
        if self.reason.is_empty() || self.reason.len() > REASON_BYTES_MAX {
            bail!("--reason takes 1 to {REASON_BYTES_MAX} bytes of text");
        }
        let mut caller = context.options.connect(context.clock.clone()).await?;
        let detail = Detail::new(&self.reason)?;
        let retire =
            Retire { device: self.device, effective_at: context.clock.now(), detail: Some(detail.digest()) };
        let signed = sign(&caller, Body::Retire(retire), context)?;
        let reply = signed.carry(&mut caller, Some(detail)).await?;
        write_reply(context.out, context.options.json, "The retirement", &reply)
    }
}

impl PostureArgs {
    /// Prints the state of every unit asked for. The answer is "no" unless each of them passed or is not concerned.
    pub(crate) async fn run(&self, context: &mut Context<'_>) -> anyhow::Result<Outcome> {
        let mut caller = context.options.connect(context.clock.clone()).await?;
        let text = |value: Option<String>| value.unwrap_or_default();
        let request = PostureRequest {
            device: text(self.device.map(|device| device.to_string())),
            control: text(self.control.as_ref().map(Name::to_string)),
            day: text(self.day.map(|day| day.to_string())),
        };
        let posture = answer(caller.people.posture(request)).await?;
        if let Some(day) = self.day
            && posture.day != day.to_string()
        {
            // An older collector would answer about today.
            bail!(
                "asked for {day}, the collector answered for {}: it cannot show another day",
                clean(&posture.day)
            );
        }
        if context.options.json {
            writeln!(context.out, "{}", posture_json(&posture))?;
        } else {
            write_posture(context.out, &posture)?;
        }
        Ok(outcome(&posture.rows))
    }
}

pub(crate) fn sign(caller: &Caller, body: Body, context: &Context<'_>) -> anyhow::Result<SignedAct> {
    SignedAct::sign(body, &caller.profile.origin, &caller.signing, context.clock.as_ref())
}

/// Done when there is something to judge and all of it passed or is not concerned; words this client does not know
/// count against.
fn outcome(rows: &[PostureRow]) -> Outcome {
    let good =
        |row: &PostureRow| matches!(row.state.parse::<State>(), Ok(State::Pass | State::NotApplicable));
    if !rows.is_empty() && rows.iter().all(good) { Outcome::Done } else { Outcome::No }
}

fn device_table(rows: &[DeviceRow]) -> Table {
    let mut table = Table::new([
        Column::firm("DEVICE"),
        Column::firm("CLASS"),
        Column::wrapping("GROUP"),
        Column::firm("STATE"),
        Column::firm("LAST HEARD"),
    ]);
    for row in rows {
        let last = if row.last_ms == 0 { "never".to_owned() } else { minute(Timestamp(row.last_ms)) };
        let state = if row.silent_ms > 0 { "silent".to_owned() } else { row.state.clone() };
        table.row([row.device.clone(), row.class.clone(), row.group.clone(), state, last]);
    }
    table
}

fn write_posture(out: &mut dyn std::io::Write, posture: &PostureReply) -> anyhow::Result<()> {
    let policy = if posture.policy.is_empty() {
        "no policy is in force (`tallystick policy put FILE.toml`)".to_owned()
    } else {
        format!("policy {} of entry {}", posture.policy, posture.policy_index)
    };
    write_wrapped(out, &clean(&format!("Day {} (UTC), {policy}.", posture.day)), 0)?;
    if posture.rows.is_empty() {
        writeln!(out, "Nothing to judge: no device in service and no control match.")?;
        return Ok(());
    }
    let mut table = Table::new([
        Column::firm("DEVICE"),
        Column::wrapping("CONTROL"),
        Column::firm("STATE"),
        Column::firm("OBSERVED"),
    ]);
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for row in &posture.rows {
        *counts.entry(&row.state).or_default() += 1;
        let observed = match row.observed_minutes {
            0 => "-".to_owned(),
            minutes => minute(Timestamp(minutes.saturating_mul(MINUTE_MS))),
        };
        let cells = [row.device.clone(), row.control.clone(), row.state.clone(), observed];
        table.row_with_note(cells, &row.because);
    }
    table.write(out)?;
    let counts: Vec<String> = counts.into_iter().map(|(state, count)| format!("{count} {state}")).collect();
    write_wrapped(out, &clean(&format!("Units: {}.", counts.join(", "))), 0)?;
    Ok(())
}

pub(crate) fn device_json(row: &DeviceRow) -> serde_json::Value {
    json!({
        "device": row.device,
        "class": row.class,
        "group": row.group,
        "state": row.state,
        "enrolled_ms": row.enrolled_ms,
        "last_ms": row.last_ms,
        "statements": row.statements,
        "key_level": row.key_level,
        "silent_ms": row.silent_ms,
    })
}

fn posture_json(posture: &PostureReply) -> serde_json::Value {
    let rows: Vec<_> = posture
        .rows
        .iter()
        .map(|row| {
            json!({
                "device": row.device,
                "class": row.class,
                "group": row.group,
                "control": row.control,
                "state": row.state,
                "because": row.because,
                "observed_minutes": row.observed_minutes,
                "index": row.index,
            })
        })
        .collect();
    json!({
        "day": posture.day,
        "policy": posture.policy,
        "policy_index": posture.policy_index,
        "rows": rows,
    })
}

/// `YYYY-MM-DD hh:mmZ`: 17 columns.
pub(crate) fn minute(time: Timestamp) -> String {
    let mut text: String = time.rfc3339().chars().take(16).map(|c| if c == 'T' { ' ' } else { c }).collect();
    text.push('Z');
    text
}

#[cfg(test)]
mod tests;
