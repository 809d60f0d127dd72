//! `audit`: the steps of a sample, from the plan to the set.
//!
//! Plan, commitment and reveal are signed here by people; freeze, draw and export are asked of the collector, whose
//! operations key signs them. Which step is due is the log's to say.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use evidence::acts::Act;
use evidence::ids::Digest;
use evidence::leaf::PAYLOAD_BYTES_MAX;
use evidence::plan::Plan;
use proto::{DrawReply, PlanRef, PlanRow, PlansRequest};
use serde_json::json;

use crate::act::{SignedAct, random, reply_json, write_reply};
use crate::client::answer;
use crate::command::Context;
use crate::files;
use crate::fleet::FileArgs;
use crate::pure::Pure;
use crate::table::{Column, Table, clean};

mod ceremony;
#[cfg(test)]
pub(crate) use ceremony::tests::write_samples;
mod export;
mod plan;

/// Characters of a ticket that people are shown; `--json` has all of them.
const TICKET_CHARS_SHOWN: usize = 16;
/// Characters of a plan hash in the first column of `audit list`; the line below has all of them.
const PLAN_CHARS_SHOWN: usize = 12;

/// Audits.
#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// `size`, `bound` and `draw`
    #[command(flatten)]
    Pure(Pure),
    /// Make the auditor's nonce: 32 random bytes, kept secret until the frame is frozen
    Nonce(NonceArgs),
    /// Sign a sampling plan and put it into the log
    Plan(Box<plan::PlanArgs>),
    /// Sign the commitment to the nonce, on the auditor's machine
    Commit(ceremony::CommitArgs),
    /// Carry an act file to the log; anybody may
    Carry(FileArgs),
    /// Freeze the frame of a plan whose auditor has committed
    Freeze(PlanFile),
    /// Sign the reveal of the nonce, once the frame is frozen
    Reveal(ceremony::RevealArgs),
    /// Receive the sampling set into a new folder
    Export(export::ExportArgs),
    /// List the plans and how far each has come
    List,
}

/// Arguments of `audit nonce`.
#[derive(Debug, Args)]
pub(crate) struct NonceArgs {
    /// New file for the nonce, readable by its owner only
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// A plan on this machine.
#[derive(Debug, Args)]
pub(crate) struct PlanFile {
    /// The plan, as `audit plan` wrote it
    #[arg(long, value_name = "FILE")]
    plan: PathBuf,
}

/// A plan with what it is called by.
#[derive(Debug, Clone, PartialEq, Eq)]
struct KnownPlan {
    plan: Plan,
    /// Log it is for.
    origin: String,
    hash: Digest,
}

impl KnownPlan {
    fn parse(bytes: &[u8]) -> anyhow::Result<Self> {
        let (plan, hash) = Plan::open(bytes)?;
        Ok(Self { plan, origin: Act::parse(bytes)?.common.origin, hash })
    }

    fn read(path: &Path) -> anyhow::Result<Self> {
        let bytes = files::read(path, "the plan", PAYLOAD_BYTES_MAX)?;
        Self::parse(&bytes).with_context(|| {
            format!("{} is not a plan (its bytes must be exactly as written)", path.display())
        })
    }

    fn reference(&self) -> PlanRef {
        PlanRef { plan_hash: self.hash.as_bytes().to_vec() }
    }
}

impl Audit {
    /// Takes the step.
    pub(crate) async fn run(&self, context: &mut Context<'_>) -> anyhow::Result<()> {
        match self {
            Self::Pure(pure) => match pure.plan() {
                Some(plan) => draw(context, plan).await,
                None => pure.run(context.out),
            },
            Self::Nonce(args) => args.run(context),
            Self::Plan(args) => args.run(context).await,
            Self::Commit(args) => args.run(context).await,
            Self::Carry(args) => carry(context, &args.file).await,
            Self::Freeze(args) => freeze(context, &args.plan).await,
            Self::Reveal(args) => args.run(context).await,
            Self::Export(args) => args.run(context).await,
            Self::List => list(context).await,
        }
    }
}

impl NonceArgs {
    fn run(&self, context: &mut Context<'_>) -> anyhow::Result<()> {
        let nonce = Digest(random()?);
        files::create_secret(&self.out, "the nonce", format!("{}\n", nonce.hex()).as_bytes())?;
        if context.options.json {
            writeln!(context.out, "{}", json!({"file": self.out}))?;
        } else {
            writeln!(
                context.out,
                "Nonce written to {}. Whoever knows it before the freeze can steer the draw: show it to nobody.",
                self.out.display()
            )?;
        }
        Ok(())
    }
}

async fn carry(context: &mut Context<'_>, path: &Path) -> anyhow::Result<()> {
    let signed = SignedAct::read(path)?;
    let mut caller = context.options.connect(context.clock.clone()).await?;
    let reply = signed.carry(&mut caller, None).await?;
    let what = format!("The {}", signed.kind.name().unwrap_or("act"));
    write_reply(context.out, context.options.json, &what, &reply)
}

async fn freeze(context: &mut Context<'_>, path: &Path) -> anyhow::Result<()> {
    let plan = KnownPlan::read(path)?;
    let mut caller = context.options.connect(context.clock.clone()).await?;
    let reply = answer(caller.people.freeze(plan.reference())).await?;
    write_reply(context.out, context.options.json, "The freeze", &reply)
}

async fn draw(context: &mut Context<'_>, path: &Path) -> anyhow::Result<()> {
    let plan = KnownPlan::read(path)?;
    let mut caller = context.options.connect(context.clock.clone()).await?;
    let reply = answer(caller.people.draw(plan.reference())).await?;
    write_draw(context, &reply)
}

fn write_draw(context: &mut Context<'_>, reply: &DrawReply) -> anyhow::Result<()> {
    let entry = reply.entry.clone().context("the collector answered without the draw's entry")?;
    if context.options.json {
        let controls: Vec<_> = reply
            .controls
            .iter()
            .map(|drawn| json!({"control": drawn.control, "units": drawn.units, "tickets": drawn.tickets}))
            .collect();
        writeln!(context.out, "{}", json!({"entry": reply_json(&entry), "controls": controls}))?;
        return Ok(());
    }
    write_reply(context.out, false, "The draw", &entry)?;
    for drawn in &reply.controls {
        writeln!(context.out, "\n{}: {} units", clean(&drawn.control), drawn.units.len())?;
        let mut table = Table::new([Column::firm("NO"), Column::firm("TICKET"), Column::wrapping("UNIT")]);
        for (position, (unit, ticket)) in drawn.units.iter().zip(&drawn.tickets).enumerate() {
            let shown = ticket.chars().take(TICKET_CHARS_SHOWN).collect();
            table.row([(position + 1).to_string(), shown, unit.clone()]);
        }
        table.write(context.out)?;
    }
    Ok(())
}

async fn list(context: &mut Context<'_>) -> anyhow::Result<()> {
    let mut caller = context.options.connect(context.clock.clone()).await?;
    let rows = answer(caller.people.plans(PlansRequest {})).await?.rows;
    if context.options.json {
        let plans: Vec<_> = rows.iter().map(plan_json).collect();
        writeln!(context.out, "{}", json!({"plans": plans}))?;
        return Ok(());
    }
    if rows.is_empty() {
        writeln!(context.out, "No plan is logged. `tallystick audit plan` makes one.")?;
        return Ok(());
    }
    Ok(plan_table(&rows).write(context.out)?)
}

fn plan_table(rows: &[PlanRow]) -> Table {
    let mut table = Table::new([
        Column::firm("PLAN"),
        Column::firm("ENGAGEMENT"),
        Column::firm("STAGE"),
        Column::wrapping("CONTROLS"),
        Column::wrapping("UNITS"),
    ]);
    for row in rows {
        let hash = data_encoding::HEXLOWER.encode(&row.plan_hash);
        let units: Vec<String> = row.population.iter().map(u64::to_string).collect();
        let cells = [
            hash.chars().take(PLAN_CHARS_SHOWN).collect(),
            row.engagement.clone(),
            row.stage.clone(),
            row.controls.join(" "),
            units.join(" "),
        ];
        table.row_with_note(cells, &format!("{hash}, entry {}", row.plan_index));
    }
    table
}

fn plan_json(row: &PlanRow) -> serde_json::Value {
    json!({
        "plan_hash": data_encoding::HEXLOWER.encode(&row.plan_hash),
        "engagement": row.engagement,
        "controls": row.controls,
        "stage": row.stage,
        "plan_index": row.plan_index,
        "population": row.population,
    })
}

#[cfg(test)]
mod tests;
