//! `audit commit` and `audit reveal`: the auditor's two acts, made on the auditor's machine.
//!
//! Neither needs a connection: the act is a file that anyone may carry. The nonce leaves this machine in the reveal
//! only, and that is worth nothing before the frame is frozen.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use evidence::acts::{Body, Commitment, Reveal};
use evidence::draw;
use evidence::ids::Digest;
use evidence::keys::SecretKey;
use evidence::time::Clock;
use evidence::trust::Trust;
use proto::{PlanRow, PlansRequest};
use serde_json::json;
use zeroize::Zeroizing;

use super::KnownPlan;
use crate::act::{SignedAct, reply_json, write_reply};
use crate::client::answer;
use crate::command::Context;
use crate::files;
use crate::trust;

/// Bytes of a nonce file: 64 hex digits and a line end, with room for a foreign line end.
const NONCE_BYTES_MAX: usize = 66;
/// The stage of a plan at which a nonce may be shown.
const FROZEN: &str = "frozen";

/// Where a signed act goes: a file, the log, or both.
#[derive(Debug, Args)]
pub(crate) struct Destination {
    /// New act file, made without a connection; anyone may carry it in (`tallystick audit carry`)
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// With --out, also carry it to the log now. Without --out that is what happens
    #[arg(long)]
    carry: bool,
}

/// Arguments of `audit commit`.
#[derive(Debug, Args)]
pub(crate) struct CommitArgs {
    /// The plan, as `audit plan` wrote it
    #[arg(long, value_name = "FILE")]
    plan: PathBuf,
    /// Nonce file of `audit nonce`
    #[arg(long, value_name = "FILE")]
    nonce: PathBuf,
    /// Trust file; its newest pinned checkpoint goes into the commitment
    #[arg(long, value_name = "FILE")]
    trust: PathBuf,
    #[command(flatten)]
    destination: Destination,
}

/// Arguments of `audit reveal`.
#[derive(Debug, Args)]
pub(crate) struct RevealArgs {
    /// The plan, as `audit plan` wrote it
    #[arg(long, value_name = "FILE")]
    plan: PathBuf,
    /// Nonce file of `audit nonce`
    #[arg(long, value_name = "FILE")]
    nonce: PathBuf,
    #[command(flatten)]
    destination: Destination,
}

impl CommitArgs {
    pub(crate) async fn run(&self, context: &mut Context<'_>) -> anyhow::Result<()> {
        let plan = KnownPlan::read(&self.plan)?;
        let nonce = read_nonce(&self.nonce)?;
        let trust = trust::read(&self.trust)?;
        let key = context.options.read_key()?.signing;
        let signed = commitment(&plan, &nonce, &trust, &key, context.clock.as_ref())?;
        self.destination.deliver(context, &signed, "commitment").await
    }
}

impl RevealArgs {
    pub(crate) async fn run(&self, context: &mut Context<'_>) -> anyhow::Result<()> {
        let plan = KnownPlan::read(&self.plan)?;
        let nonce = read_nonce(&self.nonce)?;
        let key = context.options.read_key()?.signing;
        let signed = reveal(&plan, &nonce, &key, context.clock.as_ref())?;
        if self.destination.carries() {
            // A log that is not frozen refuses the reveal, but whoever runs it has then read the nonce.
            let mut caller = context.options.connect(context.clock.clone()).await?;
            is_frozen(&plan.hash, &answer(caller.people.plans(PlansRequest {})).await?.rows)?;
        }
        self.destination.deliver(context, &signed, "reveal").await?;
        if !self.destination.carries() && !context.options.json {
            writeln!(
                context.out,
                "It holds the nonce: hand it over only once `tallystick audit list` shows the plan as {FROZEN}."
            )?;
        }
        Ok(())
    }
}

impl Destination {
    /// Whether the act is carried now: an act that is not kept as a file has nowhere else to go.
    const fn carries(&self) -> bool {
        self.carry || self.out.is_none()
    }

    async fn deliver(&self, context: &mut Context<'_>, signed: &SignedAct, what: &str) -> anyhow::Result<()> {
        if let Some(path) = &self.out {
            signed.write(path)?;
            if !context.options.json {
                writeln!(context.out, "The {what} is written to {}.", path.display())?;
            }
        }
        let entry = if self.carries() {
            let mut caller = context.options.connect(context.clock.clone()).await?;
            Some(signed.carry(&mut caller, None).await?)
        } else {
            None
        };
        if context.options.json {
            let answer = json!({"file": self.out, "entry": entry.as_ref().map(reply_json)});
            writeln!(context.out, "{answer}")?;
        } else if let Some(reply) = entry {
            write_reply(context.out, false, &format!("The {what}"), &reply)?;
        }
        Ok(())
    }
}

fn read_nonce(path: &Path) -> anyhow::Result<Zeroizing<[u8; 32]>> {
    let bytes = files::read_secret(path, "the nonce", NONCE_BYTES_MAX)?;
    nonce(&bytes).with_context(|| format!("{} is not a nonce file: 64 hex digits", path.display()))
}

fn nonce(bytes: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
    let text = std::str::from_utf8(bytes).ok()?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    Digest::from_hex(text).ok().map(|digest| Zeroizing::new(digest.0))
}

/// Refuses a key that the plan does not name: the log would, too, after the nonce has left this machine.
fn check_auditor(plan: &KnownPlan, key: &SecretKey) -> anyhow::Result<()> {
    if plan.plan.auditor_key != *key.public() {
        bail!(
            "the plan's auditor key is {}, the key file's is {}: give --key of the auditor",
            plan.plan.auditor_key.hex(),
            key.public().hex()
        );
    }
    Ok(())
}

/// The auditor's commitment to `nonce`, with the newest checkpoint the auditor has pinned.
fn commitment(
    plan: &KnownPlan,
    nonce: &[u8; 32],
    trust: &Trust,
    key: &SecretKey,
    clock: &dyn Clock,
) -> anyhow::Result<SignedAct> {
    check_auditor(plan, key)?;
    if trust.origin != plan.origin {
        bail!("the plan is for the log {:?}, the trust file for {:?}", plan.origin, trust.origin);
    }
    if trust.auditor_key != plan.plan.auditor_key {
        bail!(
            "the trust file names another auditor key than the plan: no set of this plan would verify with it"
        );
    }
    let pinned = trust.checkpoints.iter().filter(|pinned| pinned.origin == trust.origin);
    let checkpoint = pinned
        .max_by_key(|pinned| pinned.size)
        .context("the trust file pins no checkpoint of this log: run `tallystick trust pin` first")?;
    let commitment = Commitment {
        plan_hash: plan.hash,
        commitment: draw::commitment(nonce),
        checkpoint: checkpoint.clone(),
    };
    SignedAct::sign(Body::Commitment(commitment), &plan.origin, key, clock)
}

/// The auditor's reveal of `nonce`.
fn reveal(
    plan: &KnownPlan,
    nonce: &[u8; 32],
    key: &SecretKey,
    clock: &dyn Clock,
) -> anyhow::Result<SignedAct> {
    check_auditor(plan, key)?;
    let reveal = Reveal { plan_hash: plan.hash, nonce: Digest(*nonce) };
    SignedAct::sign(Body::Reveal(reveal), &plan.origin, key, clock)
}

fn is_frozen(plan_hash: &Digest, rows: &[PlanRow]) -> anyhow::Result<()> {
    let row = rows.iter().find(|row| row.plan_hash == plan_hash.as_bytes());
    let row = row.with_context(|| format!("the log has no plan {plan_hash}: nothing was revealed"))?;
    if row.stage != FROZEN {
        bail!(
            "the plan is {}, not {FROZEN}: whoever reads the nonce now could steer the draw, so nothing was revealed",
            crate::table::clean(&row.stage)
        );
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests;
