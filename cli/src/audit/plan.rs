//! `audit plan`: the sampling plan, from flags to an entry of the log.

use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context as _, bail};
use clap::Args;
use evidence::acts::Body;
use evidence::ids::{Class, Digest, EngagementId, Name};
use evidence::keys::PublicKey;
use evidence::plan::{Method, PLAN_DAYS_MAX, Plan, PlanDay, Scope};
use evidence::time::{DAY_MS, DayLabel, Timestamp};
use serde_json::json;

use super::KnownPlan;
use crate::act::{SignedAct, random, reply_json, write_reply};
use crate::client::Refusal;
use crate::command::Context;
use crate::files;
use crate::pure::percent::Percent;
use crate::trust::read_public_key;

/// `new`, or the engagement of earlier plans.
#[derive(Debug, Clone, Copy)]
enum Engagement {
    New,
    Known(EngagementId),
}

impl FromStr for Engagement {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "new" => Ok(Self::New),
            id => id
                .parse()
                .map(Self::Known)
                .map_err(|error| format!("`new`, or the id of an engagement ({error})")),
        }
    }
}

/// Arguments of `audit plan`.
#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    /// Engagement this plan belongs to: `new`, or its id
    #[arg(long, value_name = "new|ID")]
    engagement: Engagement,
    /// Public key file of the auditor who commits and reveals
    #[arg(long, value_name = "FILE.pub")]
    auditor_key: PathBuf,
    /// Control to test; give it once for each
    #[arg(long = "control", value_name = "ID", required = true)]
    controls: Vec<Name>,
    /// Day to test (UTC); give it once for each, without gaps
    #[arg(
        long = "day",
        value_name = "YYYY-MM-DD",
        required_unless_present = "from",
        conflicts_with = "from"
    )]
    days: Vec<DayLabel>,
    /// First day to test (UTC)
    #[arg(long, value_name = "YYYY-MM-DD", requires = "to")]
    from: Option<DayLabel>,
    /// Last day to test (UTC), itself included
    #[arg(long, value_name = "YYYY-MM-DD", requires = "from")]
    to: Option<DayLabel>,
    /// Only devices of this class; give it once for each. None: all
    #[arg(long = "class", value_name = "CLASS")]
    classes: Vec<Class>,
    /// Only devices of this group; give it once for each. None: all
    #[arg(long = "group", value_name = "ID")]
    groups: Vec<Name>,
    /// Units to test for each control (`tallystick audit size` computes it)
    #[arg(long, value_name = "UNITS")]
    sample_size: u64,
    /// Units drawn in advance to replace others, for each control
    #[arg(long, value_name = "UNITS", default_value_t = 0)]
    reserves: u64,
    /// Deviations up to which the sample supports relying on the control
    #[arg(long, value_name = "UNITS", default_value_t = 0)]
    acceptance: u64,
    /// Risk of relying on a control that does not deserve it, for example 5%
    #[arg(long, value_name = "PERCENT")]
    risk: Percent,
    /// Deviation rate that is still tolerable, for example 5%
    #[arg(long, value_name = "PERCENT")]
    tolerable: Percent,
    /// Deviation rate that is expected
    #[arg(long, value_name = "PERCENT", default_value = "0%")]
    expected: Percent,
    /// Let the last day end at the freeze: for trying out, printed in every set
    #[arg(long)]
    partial_day: bool,
    /// Let the next reserve stand in for a drawn unit that is not applicable
    #[arg(long)]
    replace_not_applicable: bool,
    /// Order of the units: consistent (Rivest's consistent_sampler) or rivest2011 (row numbers)
    #[arg(long, default_value = "consistent", value_parser = str::parse::<Method>)]
    method: Method,
    /// Hash of the plan that this one replaces, in hex
    #[arg(long, value_name = "HASH", value_parser = Digest::from_hex)]
    supersedes: Option<Digest>,
    /// New file for the plan: the exact bytes that its hash is of
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

impl PlanArgs {
    pub(crate) async fn run(&self, context: &mut Context<'_>) -> anyhow::Result<()> {
        let auditor_key = read_public_key(&self.auditor_key)?.signing;
        let engagement = match self.engagement {
            Engagement::New => EngagementId::from_bytes(random()?),
            Engagement::Known(id) => id,
        };
        let plan = self.plan(auditor_key, engagement)?;
        let (end, partial_day) = (plan.end, plan.partial_day);
        let mut caller = context.options.connect(context.clock.clone()).await?;
        let signed = SignedAct::sign(
            Body::Plan(Box::new(plan)),
            &caller.profile.origin,
            &caller.signing,
            context.clock.as_ref(),
        )?;
        let hash = KnownPlan::parse(&signed.payload)?.hash;
        // The file first: a plan in the log whose bytes nobody kept could not be audited.
        files::create(&self.out, "the plan", &signed.payload)?;
        let reply = match signed.carry(&mut caller, None).await {
            Ok(reply) => reply,
            Err(error) if error.downcast_ref::<Refusal>().is_some_and(Refusal::is_certain) => {
                std::fs::remove_file(&self.out).with_context(|| {
                    format!("cannot remove {}, which is not in the log", self.out.display())
                })?;
                return Err(error);
            }
            Err(error) => {
                return Err(error.context(format!(
                    "keep {} until `tallystick audit list` shows whether plan {hash} is in the log",
                    self.out.display()
                )));
            }
        };
        if context.options.json {
            let answer = json!({
                "plan_hash": hash.hex(),
                "engagement": engagement.to_string(),
                "file": self.out,
                "entry": reply_json(&reply),
            });
            writeln!(context.out, "{answer}")?;
            return Ok(());
        }
        write_reply(context.out, false, "The plan", &reply)?;
        writeln!(context.out, "Plan {hash} of engagement {engagement}, in {}.", self.out.display())?;
        if !partial_day && reply.received_ms < end.ms() {
            writeln!(context.out, "It can be frozen from {} on, when its last day is over.", end.rfc3339())?;
        }
        Ok(())
    }

    /// The plan these flags ask for. Its other limits are checked when it is read back.
    fn plan(&self, auditor_key: PublicKey, engagement: EngagementId) -> anyhow::Result<Plan> {
        let (days, end) = plan_days(&self.day_labels()?)?;
        Ok(Plan {
            engagement,
            auditor_key,
            controls: ascending(&self.controls, "--control")?,
            days,
            end,
            scope: Scope {
                classes: ascending(&self.classes, "--class")?,
                groups: ascending(&self.groups, "--group")?,
            },
            method: self.method,
            sample_size: self.sample_size,
            reserves: self.reserves,
            acceptance: self.acceptance,
            risk_bp: self.risk.basis_points().into(),
            tolerable_bp: self.tolerable.basis_points().into(),
            expected_bp: self.expected.basis_points().into(),
            partial_day: self.partial_day,
            replace_not_applicable: self.replace_not_applicable,
            supersedes: self.supersedes,
        })
    }

    fn day_labels(&self) -> anyhow::Result<Vec<DayLabel>> {
        let (Some(from), Some(to)) = (self.from, self.to) else {
            return Ok(self.days.clone());
        };
        if from > to {
            bail!("--from {from} lies after --to {to}");
        }
        let labels = from.days_since_1970()..=to.days_since_1970();
        Ok(labels.take(PLAN_DAYS_MAX + 1).map(DayLabel::from_days_since_1970).collect())
    }
}

/// `values` in ascending order; one given twice is a mistake that is not passed over.
fn ascending<T: Clone + Ord + std::fmt::Display>(values: &[T], flag: &str) -> anyhow::Result<Vec<T>> {
    let mut sorted = values.to_vec();
    sorted.sort();
    match sorted.windows(2).find(|pair| matches!(pair, [a, b] if a == b)) {
        Some(twice) => bail!("{flag} {} is given twice", twice.first().map(T::to_string).unwrap_or_default()),
        None => Ok(sorted),
    }
}

/// The days with their starts, and the end of the last. A day of a plan lasts until the next one begins, so a gap would
/// silently lengthen the day before it.
fn plan_days(labels: &[DayLabel]) -> anyhow::Result<(Vec<PlanDay>, Timestamp)> {
    let labels = ascending(labels, "--day")?;
    if labels.len() > PLAN_DAYS_MAX {
        bail!("a plan has at most {PLAN_DAYS_MAX} days");
    }
    for pair in labels.windows(2) {
        if let [a, b] = pair
            && a.days_since_1970() + 1 != b.days_since_1970()
        {
            bail!("days are missing between {a} and {b}: make one plan for each run of days");
        }
    }
    let last = labels.last().context("a plan has at least one day: give --day, or --from and --to")?;
    let end = Timestamp(last.start_utc().ms() + DAY_MS);
    Ok((labels.iter().map(|label| PlanDay { label: *label, start: label.start_utc() }).collect(), end))
}

#[cfg(test)]
mod tests;
