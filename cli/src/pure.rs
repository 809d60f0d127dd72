//! The audit commands that need no server and no key: `audit size`, `audit bound` and `audit draw`.
//!
//! They print numbers and never say whether a sample suffices: that is the auditor's to write.

use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use evidence::draw::{Draw, Method, Population};
use evidence::stats::{self, SAMPLE_SIZE_MAX, SampleSize};
use serde::Serialize;

use self::percent::Percent;

pub(crate) mod percent;

/// Largest population file that is read, in bytes: ten million lines of unit ids.
const POPULATION_BYTES_MAX: u64 = 1 << 30;

/// Characters of a ticket that people are shown; `--json` has all of them.
const TICKET_CHARS_SHOWN: usize = 20;

/// Audit commands that only compute.
#[derive(Debug, Subcommand)]
pub enum Pure {
    /// Compute how many units to test
    Size(SizeArgs),
    /// Compute the upper limit of the deviation rate that a tested sample leaves
    Bound(BoundArgs),
    /// Draw: in the log for a revealed plan (--plan), or here from a population file with a given seed
    Draw(DrawArgs),
}

impl Pure {
    /// The plan of a draw that is not computed here but asked of the collector.
    pub(crate) fn plan(&self) -> Option<&Path> {
        match self {
            Self::Draw(args) => args.plan.as_deref(),
            Self::Size(_) | Self::Bound(_) => None,
        }
    }

    /// Computes and writes the answer to `out`: sentences, or one line of JSON.
    pub fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        match self {
            Self::Size(args) => args.run(out),
            Self::Bound(args) => args.run(out),
            Self::Draw(args) => args.run(out),
        }
    }
}

/// Arguments of `audit size`.
#[derive(Debug, Args)]
pub struct SizeArgs {
    /// Risk of relying on a control that does not deserve it, for example 5%
    #[arg(long, value_name = "PERCENT")]
    risk: Percent,
    /// Deviation rate that is still tolerable, for example 5%
    #[arg(long, value_name = "PERCENT")]
    tolerable: Percent,
    /// Deviation rate that is expected
    #[arg(long, value_name = "PERCENT", default_value = "0%")]
    expected: Percent,
    /// Units in the population; without it the population counts as endless
    #[arg(long, value_name = "UNITS")]
    population: Option<NonZeroU64>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct SizeAnswer {
    n: u64,
    acceptance: u64,
    distribution: &'static str,
    risk_bp: u32,
    tolerable_bp: u32,
    expected_bp: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    population: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tolerable_units: Option<u64>,
}

impl SizeArgs {
    fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let (risk, tolerable, expected) = (self.risk, self.tolerable, self.expected);
        let (risk_bp, tolerable_bp, expected_bp) =
            (risk.basis_points(), tolerable.basis_points(), expected.basis_points());
        let population = self.population.map(NonZeroU64::get);
        let planned = match population {
            None => stats::plan_attribute(risk_bp, tolerable_bp, expected_bp, SAMPLE_SIZE_MAX),
            Some(units) => {
                stats::plan_hypergeometric(units, risk_bp, tolerable_bp, expected_bp, SAMPLE_SIZE_MAX)
            }
        };
        let SampleSize { n, acceptance } = planned?;
        let tolerable_units =
            population.map(|units| stats::tolerable_units(units, tolerable_bp)).transpose()?;
        let distribution = if population.is_some() { "hypergeometric" } else { "binomial" };
        if self.json {
            let answer = SizeAnswer {
                n,
                acceptance,
                distribution,
                risk_bp,
                tolerable_bp,
                expected_bp,
                population,
                tolerable_units,
            };
            return write_json(out, &answer);
        }
        let deviating = match (population, tolerable_units) {
            (Some(population), Some(units)) => format!("{units} of the {population} units"),
            _ => format!("{tolerable} of the units"),
        };
        writeln!(out, "Sample size {n}, acceptance number {acceptance}.")?;
        writeln!(
            out,
            "If {deviating} deviated, a sample of {n} would show {acceptance} or fewer deviations with a \
             probability of at most {risk} ({distribution}, {expected} expected)."
        )?;
        Ok(())
    }
}

/// Arguments of `audit bound`.
#[derive(Debug, Args)]
pub struct BoundArgs {
    /// Units tested
    #[arg(long, value_name = "UNITS")]
    n: u64,
    /// Deviations found among them
    #[arg(long, value_name = "UNITS")]
    deviations: u64,
    /// Risk that the rate lies above the limit, for example 5%
    #[arg(long, value_name = "PERCENT")]
    risk: Percent,
    /// Units in the population, to get a limit in units too
    #[arg(long, value_name = "UNITS")]
    population: Option<NonZeroU64>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct BoundAnswer {
    n: u64,
    deviations: u64,
    risk_bp: u32,
    /// Computed as text. Its at most 15 digits survive a double, so JSON shows the same ones.
    upper_limit_percent: f64,
    printed: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    population: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upper_limit_units: Option<u64>,
}

impl BoundArgs {
    fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let Self { n, deviations, risk, .. } = *self;
        let risk_bp = risk.basis_points();
        let limit = stats::upper_limit(n, deviations, risk_bp)?;
        let population = self.population.map(NonZeroU64::get);
        let upper_limit_units = population
            .map(|population| stats::upper_limit_finite(population, n, deviations, risk_bp))
            .transpose()?;
        let (printed, percent) = (limit.printed(), limit.percent());
        if self.json {
            let upper_limit_percent = percent.parse().context("the limit is not a number")?;
            let answer = BoundAnswer {
                n,
                deviations,
                risk_bp,
                upper_limit_percent,
                printed,
                population,
                upper_limit_units,
            };
            return write_json(out, &answer);
        }
        writeln!(
            out,
            "Upper limit {printed}% for {deviations} deviations in {n} units at {risk} risk (one-sided \
             Clopper-Pearson, rounded up from {percent}%)."
        )?;
        if let (Some(population), Some(units)) = (population, upper_limit_units) {
            writeln!(out, "Upper limit {units} of {population} units in all (hypergeometric, same risk).")?;
        }
        Ok(())
    }
}

/// Arguments of `audit draw`.
#[derive(Debug, Args)]
pub struct DrawArgs {
    /// Plan whose auditor has revealed the nonce: the collector draws and logs it
    #[arg(long, value_name = "FILE", conflicts_with_all = ["population", "seed", "n", "method"])]
    plan: Option<PathBuf>,
    /// Population file to draw from, without a collector: one unit a line, sorted by bytes, each once
    #[arg(long, value_name = "FILE", required_unless_present = "plan")]
    population: Option<PathBuf>,
    /// Seed of the sampler, used as it stands
    #[arg(long, value_name = "TEXT", required_unless_present = "plan")]
    seed: Option<String>,
    /// Units to draw
    #[arg(long, value_name = "UNITS", required_unless_present = "plan")]
    n: Option<NonZeroU64>,
    /// Order of the units: consistent (Rivest's consistent_sampler) or rivest2011 (row numbers)
    #[arg(long, default_value = "consistent", value_parser = str::parse::<Method>)]
    method: Method,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct DrawAnswer<'a> {
    method: &'static str,
    seed: &'a str,
    count: u64,
    population_sha256: String,
    selected: Vec<DrawnAnswer<'a>>,
}

#[derive(Serialize)]
struct DrawnAnswer<'a> {
    unit: &'a str,
    ticket: &'a str,
}

impl DrawArgs {
    fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let (Some(path), Some(seed), Some(n)) = (&self.population, &self.seed, self.n) else {
            bail!("give --population, --seed and --n to draw here, or --plan to draw in the log");
        };
        if seed.is_empty() {
            bail!("the seed is empty: give the text that all parties agreed on");
        }
        let population = read_population(path)?;
        let (n, count) = (n.get(), population.count());
        if n > count {
            bail!("cannot draw {n} units: {} holds {count}; ask for {count} or fewer", path.display());
        }
        let draw = Draw::of(self.method, seed, &population, n, 0);
        let population_sha256 = population.sha256().hex();
        let method = self.method.as_str();
        if self.json {
            let selected =
                draw.selected.iter().map(|d| DrawnAnswer { unit: &d.unit, ticket: &d.ticket }).collect();
            let answer = DrawAnswer { method, seed, count, population_sha256, selected };
            return write_json(out, &answer);
        }
        writeln!(out, "Drew {n} of {count} units by {method}; population SHA-256 {population_sha256}.")?;
        for (position, drawn) in draw.selected.iter().enumerate() {
            let shown: String = drawn.ticket.chars().take(TICKET_CHARS_SHOWN).collect();
            writeln!(out, "{:>4}  {shown}  {}", position + 1, drawn.unit)?;
        }
        Ok(())
    }
}

fn read_population(path: &Path) -> anyhow::Result<Population> {
    let file =
        File::open(path).with_context(|| format!("cannot open the population file {}", path.display()))?;
    let mut bytes = Vec::new();
    file.take(POPULATION_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .with_context(|| format!("cannot read the population file {}", path.display()))?;
    if bytes.len() as u64 > POPULATION_BYTES_MAX {
        bail!("{} is larger than {POPULATION_BYTES_MAX} bytes", path.display());
    }
    Population::parse(&bytes).with_context(|| format!("{} is not a population file", path.display()))
}

fn write_json(out: &mut dyn Write, answer: &impl Serialize) -> anyhow::Result<()> {
    serde_json::to_writer(&mut *out, answer)?;
    writeln!(out)?;
    Ok(())
}

#[cfg(test)]
mod tests;
