//! `devices`, `device` and `retire`: what is enrolled.

use std::path::PathBuf;

use anyhow::bail;
use clap::{Args, Subcommand};
use evidence::acts::{self, Allows, Approval, Body, Retire, recovery_digest};
use evidence::ids::{Class, DeviceId, InstanceId, Name};
use evidence::time::Timestamp;
use proto::{DeviceRow, DevicesRequest, PostureRequest};
use serde_json::json;

use crate::act::{Detail, SignedAct, write_reply};
use crate::client::{Caller, answer};
use crate::command::{Context, Outcome};
use crate::posture::{posture_json, write_posture};
use crate::table::{Column, Table, clean};

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

pub(crate) fn sign(caller: &Caller, body: Body, context: &Context<'_>) -> anyhow::Result<SignedAct> {
    SignedAct::sign(body, &caller.profile.origin, &caller.signing, context.clock.as_ref())
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

/// `YYYY-MM-DD hh:mmZ`: 17 columns.
pub(crate) fn minute(time: Timestamp) -> String {
    let mut text: String = time.rfc3339().chars().take(16).map(|c| if c == 'T' { ' ' } else { c }).collect();
    text.push('Z');
    text
}

#[cfg(test)]
mod tests;
