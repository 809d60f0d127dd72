//! `erase` and `hold`: while the server is down, in this process, through the same writer.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use evidence::acts::{Body, Hold};
use evidence::ids::{DeviceId, Name, PersonId};
use evidence::json::{self, Value, object};
use evidence::leaf::Kind;
use evidence::time::{Clock as _, DayLabel};

use super::{Directory, answer, person_key, sign};
use crate::clock::SystemClock;
use crate::config::Config;
use crate::datadir::DataDirError;
use crate::erase::{Plan, Request, plan, run};
use crate::node::{Node, NodeError};
use crate::state::{Detail, StateError, random};

#[derive(Debug, Args)]
pub(super) struct EraseArguments {
    #[command(flatten)]
    directory: Directory,
    /// Erase what this device said, in every quarter that may go.
    #[arg(long, value_name = "ID", required_unless_present = "before")]
    device: Option<DeviceId>,
    /// Erase the quarters that ended before this day.
    #[arg(long, value_name = "DAY")]
    before: Option<DayLabel>,
    /// The rule to erase by, if not the retention of collector.toml: such as `request` or `court-order`. Its age does
    /// not bind it; holds do.
    #[arg(long, value_name = "ID")]
    rule: Option<Name>,
    /// Who asked for it.
    #[arg(long, value_name = "PERSON", requires = "rule")]
    requested_by: Option<PersonId>,
    /// Say what would be erased and what would stay, and change nothing.
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum HoldCommand {
    /// Keep what devices said: nothing of it is erased while the hold lasts.
    Add(HoldAddArguments),
    /// Every hold there ever was.
    List(Directory),
    /// End a hold.
    Release(HoldReleaseArguments),
}

#[derive(Debug, Args)]
pub(super) struct HoldAddArguments {
    #[command(flatten)]
    signed: HoldSigned,
    /// A device to keep; may be repeated.
    #[arg(long = "device", value_name = "ID", required_unless_present = "all", conflicts_with = "all")]
    devices: Vec<DeviceId>,
    /// Keep every device, those of the future too.
    #[arg(long)]
    all: bool,
}

#[derive(Debug, Args)]
pub(super) struct HoldReleaseArguments {
    #[command(flatten)]
    signed: HoldSigned,
}

#[derive(Debug, Args)]
struct HoldSigned {
    #[command(flatten)]
    directory: Directory,
    /// Name of the hold.
    #[arg(value_name = "HOLD")]
    hold: Name,
    /// Key file of the admin who signs.
    #[arg(long, value_name = "FILE", env = "TALLYSTICK_KEY")]
    key: PathBuf,
    /// Why. It lies in a detail record, never in the act.
    #[arg(long)]
    reason: String,
}

/// The collector of a stopped server.
async fn open(dir: &Path) -> anyhow::Result<Node> {
    let path = dir.to_owned();
    let opened =
        tokio::task::spawn_blocking(move || Node::open(&path, |_| {})).await.context("interrupted")?;
    match opened {
        Err(NodeError::DataDir(DataDirError::Locked { .. })) => {
            bail!("the server is running: stop it first; devices keep what they have to say until it is back")
        }
        other => Ok(other?),
    }
}

async fn close(node: Node) -> anyhow::Result<()> {
    tokio::task::spawn_blocking(move || node.close()).await.context("the writer did not stop")
}

/// Whether everything that was asked for is gone, or may go.
pub(super) async fn erase(arguments: EraseArguments, out: &mut impl Write) -> anyhow::Result<bool> {
    let EraseArguments { directory, device, before, rule, requested_by, dry_run } = arguments;
    let node = open(&directory.dir).await?;
    let request = Request { device, before, rule, requested_by };
    let days = node.config.retention.device_statements_days;
    let outcome = async {
        // What an earlier erasure left undone goes first, so that it is not counted as ours.
        if !dry_run {
            node.state.finish_erasures().await?;
        }
        let plan = plan(&node.state, days, &request)?;
        let done =
            if dry_run || plan.scopes.is_empty() { None } else { Some(run(&node.state, &plan).await?) };
        Ok::<_, StateError>((plan, done))
    };
    let outcome = outcome.await;
    close(node).await?;
    let (plan, done) = match outcome {
        Err(StateError::NoCheckpoint(size, _)) => bail!(
            "the tombstone is in the log, and no checkpoint of {size} entries is published yet (witnesses are asked by \
             the server): start the server, which erases the keys then"
        ),
        other => other?,
    };
    let tombstones = done.map(|done| done.tombstones).unwrap_or_default();
    let whole = plan.kept.is_empty() && plan.plain == 0;
    answer(out, directory.json, &report(&plan, &tombstones, dry_run), &text(&plan, &tombstones, dry_run))?;
    Ok(whole)
}

fn report(plan: &Plan, tombstones: &[u64], dry_run: bool) -> Value {
    let row = |scope: &dyn std::fmt::Display, device: &DeviceId| {
        vec![("scope", json::text(scope.to_string())), ("device", json::text(device.to_string()))]
    };
    let members = |rows: Vec<(&str, Value)>| {
        Value::Object(rows.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
    };
    let erased = plan.scopes.iter().map(|(scope, device)| members(row(scope, device))).collect();
    let kept = plan.kept.iter().map(|kept| {
        let mut members_of = row(&kept.scope, &kept.device);
        members_of.push(("why", json::text(&kept.why)));
        members(members_of)
    });
    object([
        ("dry_run", json::count(dry_run.into())),
        ("rule", json::text(plan.rule.as_str())),
        ("erased", Value::Array(erased)),
        ("kept", Value::Array(kept.collect())),
        ("plain", json::count(plan.plain)),
        ("tombstones", Value::Array(tombstones.iter().map(|index| json::count(*index)).collect())),
    ])
}

fn text(plan: &Plan, tombstones: &[u64], dry_run: bool) -> String {
    let mut lines = Vec::new();
    for kept in &plan.kept {
        lines.push(format!("kept: {} ({}): {}", kept.scope, kept.device, kept.why));
    }
    for (scope, device) in &plan.scopes {
        let word = if dry_run { "would be erased" } else { "erased" };
        lines.push(format!("{word}: {scope} ({device})"));
    }
    if plan.plain > 0 {
        lines.push(format!(
            "{} statements were stored before there were data keys; this release cannot erase them",
            plan.plain
        ));
    }
    if !tombstones.is_empty() {
        let entries: Vec<String> = tombstones.iter().map(u64::to_string).collect();
        lines.push(format!("erased under rule {}, entry {}", plan.rule, entries.join(", ")));
    } else if plan.scopes.is_empty() {
        lines.push("nothing to erase".to_owned());
    }
    lines.join("\n")
}

pub(super) async fn hold(command: HoldCommand, out: &mut impl Write) -> anyhow::Result<()> {
    match command {
        HoldCommand::List(directory) => list(&directory, out).await,
        HoldCommand::Add(HoldAddArguments { signed, mut devices, .. }) => {
            devices.sort_unstable();
            devices.dedup();
            put(signed, true, devices, out).await
        }
        HoldCommand::Release(HoldReleaseArguments { signed }) => put(signed, false, Vec::new(), out).await,
    }
}

async fn put(
    signed: HoldSigned,
    holds: bool,
    devices: Vec<DeviceId>,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let HoldSigned { directory, hold, key, reason } = signed;
    let key = person_key(&key)?;
    let config = Config::read(&directory.dir.join("collector.toml"))?;
    let detail = Detail { random: random()?, bytes: reason.into_bytes() };
    let act = Hold { hold: hold.clone(), holds, devices, detail: detail.digest() };
    let envelope = sign(Body::Hold(act), &config.origin, SystemClock.now(), &key)?;
    let node = open(&directory.dir).await?;
    let stored = node.state.put_act(Kind::HOLD, envelope, Some(detail)).await;
    close(node).await?;
    let index = stored?.index;
    let word = if holds { "keeps what it names" } else { "is released" };
    let value = object([("hold", json::text(hold.as_str())), ("index", json::count(index))]);
    answer(out, directory.json, &value, &format!("Hold {hold} {word} (entry {index})."))
}

async fn list(directory: &Directory, out: &mut impl Write) -> anyhow::Result<()> {
    let node = open(&directory.dir).await?;
    let mut rows = Vec::new();
    let mut lines = Vec::new();
    for (hold, logged) in node.state.book().authority.erasures().holds() {
        let devices: Vec<String> = logged.devices.iter().map(DeviceId::to_string).collect();
        let scope = if devices.is_empty() { "every device".to_owned() } else { devices.join(" ") };
        let ended = logged.released.map_or(String::new(), |index| format!(", released by entry {index}"));
        lines.push(format!("{hold}: {scope} (entry {}{ended})", logged.index));
        rows.push(object([
            ("hold", json::text(hold.as_str())),
            ("index", json::count(logged.index)),
            ("devices", Value::Array(devices.iter().map(json::text).collect())),
            ("released", Value::Array(logged.released.into_iter().map(json::count).collect())),
        ]));
    }
    close(node).await?;
    let text = if lines.is_empty() { "no holds".to_owned() } else { lines.join("\n") };
    answer(out, directory.json, &Value::Array(rows), &text)
}
