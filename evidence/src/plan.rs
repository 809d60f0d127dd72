//! The sampling plan: fixed and logged before anybody can know the draw. docs/FORMAT.md section 10.

use std::str::FromStr;

use crate::acts::{Act, ActError, Body};
use crate::draw::{DrawRecord, Population, Seed};
use crate::ids::{Class, Digest, EngagementId, IdError, Name};
use crate::json::{self, JsonError, Members, Value, object};
use crate::keys::PublicKey;
use crate::time::{DayLabel, Timestamp};

/// Most days of a plan: above the twelve months of the longest Type II window.
pub const PLAN_DAYS_MAX: usize = 400;
/// Most controls of a plan.
pub const PLAN_CONTROLS_MAX: usize = 64;
/// Most sampled units or reserves per control: above every published table.
pub const PLAN_SAMPLE_MAX: u64 = 10_000;
/// Basis points in one.
const BASIS_POINTS: u64 = 10_000;

/// How units are ordered by the seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Rivest's consistent_sampler.
    Consistent,
    /// Rivest's sampler of 2011 over row numbers.
    Rivest2011,
}

impl Method {
    /// The name in formats.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Consistent => "consistent",
            Self::Rivest2011 => "rivest2011",
        }
    }
}

impl FromStr for Method {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        [Self::Consistent, Self::Rivest2011]
            .into_iter()
            .find(|method| method.as_str() == text)
            .ok_or(IdError::Form { what: "method", expected: "consistent or rivest2011" })
    }
}

/// Which devices the plan is about. An empty list means all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scope {
    /// Classes.
    pub classes: Vec<Class>,
    /// Groups.
    pub groups: Vec<Name>,
}

impl Scope {
    /// Whether a class and group are in scope.
    pub fn holds(&self, class: Class, group: &Name) -> bool {
        (self.classes.is_empty() || self.classes.contains(&class))
            && (self.groups.is_empty() || self.groups.contains(group))
    }
}

/// A day with its first instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlanDay {
    /// Its name in unit ids.
    pub label: DayLabel,
    /// Its first instant.
    pub start: Timestamp,
}

/// A day as a half-open interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DaySpan {
    /// Its name.
    pub label: DayLabel,
    /// First instant in it.
    pub start: Timestamp,
    /// First instant after it.
    pub end: Timestamp,
}

/// A sampling plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The engagement.
    pub engagement: EngagementId,
    /// The auditor whose commitment, reveal and findings count.
    pub auditor_key: PublicKey,
    /// Ascending, unique.
    pub controls: Vec<Name>,
    /// Ascending.
    pub days: Vec<PlanDay>,
    /// End of the last day.
    pub end: Timestamp,
    /// The frame's rule.
    pub scope: Scope,
    /// The draw's order.
    pub method: Method,
    /// Units per control.
    pub sample_size: u64,
    /// Further units, drawn in advance.
    pub reserves: u64,
    /// Deviations up to which the sample supports reliance.
    pub acceptance: u64,
    /// Risk of overreliance, basis points.
    pub risk_bp: u64,
    /// Tolerable rate, basis points.
    pub tolerable_bp: u64,
    /// Expected rate, basis points.
    pub expected_bp: u64,
    /// The last day ends at the freeze.
    pub partial_day: bool,
    /// A drawn unit that is not applicable gives way to the next reserve.
    pub replace_not_applicable: bool,
    /// The plan this one replaces.
    pub supersedes: Option<Digest>,
}

impl Plan {
    pub(crate) fn take(members: &mut Members) -> Result<Self, JsonError> {
        if members.text("unit")? != "device-day" {
            return Err(members.problem("unit", "must be device-day in this release"));
        }
        if members.text("beacon")? != "none" {
            return Err(members.problem("beacon", "must be none in this release"));
        }
        if !members.array("strata")?.is_empty() {
            return Err(members.problem("strata", "must be empty in this release"));
        }
        let mut scope = members.object("scope")?;
        let scope_rule =
            Scope { classes: scope.parsed_list("classes")?, groups: scope.parsed_list("groups")? };
        scope.finish()?;
        let days = members
            .objects("days")?
            .into_iter()
            .map(|mut day| {
                let plan_day = PlanDay { label: day.parsed("label")?, start: day.time("start")? };
                day.finish()?;
                Ok(plan_day)
            })
            .collect::<Result<Vec<_>, JsonError>>()?;
        let plan = Self {
            engagement: members.parsed("engagement")?,
            auditor_key: crate::acts::take_key(members, "auditor_key")?,
            controls: members.parsed_list("controls")?,
            days,
            end: members.time("end")?,
            scope: scope_rule,
            method: members.parsed("method")?,
            sample_size: members.count("sample_size")?,
            reserves: members.count("reserves")?,
            acceptance: members.count("acceptance")?,
            risk_bp: members.count("risk_bp")?,
            tolerable_bp: members.count("tolerable_bp")?,
            expected_bp: members.count("expected_bp")?,
            partial_day: members.flag("partial_day")?,
            replace_not_applicable: members.flag("replace_not_applicable")?,
            supersedes: members.optional_digest("supersedes")?,
        };
        plan.check(members)?;
        Ok(plan)
    }

    fn check(&self, members: &Members) -> Result<(), JsonError> {
        let bad = |key: &str, problem: &str| Err(members.problem(key, problem));
        if self.controls.is_empty() || self.controls.len() > PLAN_CONTROLS_MAX {
            return bad("controls", "must name 1 to 64 controls");
        }
        if !self.controls.is_sorted_by(|a, b| a < b) {
            return bad("controls", "must ascend, each once");
        }
        if self.days.is_empty() || self.days.len() > PLAN_DAYS_MAX {
            return bad("days", "must list 1 to 400 days");
        }
        if !self.days.is_sorted_by(|a, b| a.label < b.label && a.start < b.start) {
            return bad("days", "must ascend by label and start, each once");
        }
        if self.days.last().is_none_or(|day| day.start >= self.end) {
            return bad("end", "must lie after the last day's start");
        }
        if self.sample_size == 0 || self.sample_size > PLAN_SAMPLE_MAX || self.reserves > PLAN_SAMPLE_MAX {
            return bad("sample_size", "must be 1 to 10000, and reserves at most 10000");
        }
        if self.risk_bp == 0 || self.risk_bp >= BASIS_POINTS {
            return bad("risk_bp", "must be 1 to 9999 basis points");
        }
        if self.tolerable_bp == 0 || self.tolerable_bp >= BASIS_POINTS || self.expected_bp >= BASIS_POINTS {
            return bad("tolerable_bp", "and expected_bp must be 1 (0) to 9999 basis points");
        }
        if self.acceptance > self.sample_size {
            return bad("acceptance", "must not exceed sample_size");
        }
        Ok(())
    }

    pub(crate) fn members(&self) -> Vec<(&'static str, Value)> {
        let names =
            |names: &[Name]| Value::Array(names.iter().map(|name| json::text(name.as_str())).collect());
        let days = self
            .days
            .iter()
            .map(|day| {
                object([("label", json::text(day.label.to_string())), ("start", json::time(day.start))])
            })
            .collect();
        let classes = self.scope.classes.iter().map(|class| json::text(class.as_str())).collect();
        vec![
            ("engagement", json::text(self.engagement.to_string())),
            ("auditor_key", json::text(self.auditor_key.hex())),
            ("unit", json::text("device-day")),
            ("controls", names(&self.controls)),
            ("days", Value::Array(days)),
            ("end", json::time(self.end)),
            ("scope", object([("classes", Value::Array(classes)), ("groups", names(&self.scope.groups))])),
            ("method", json::text(self.method.as_str())),
            ("sample_size", json::count(self.sample_size)),
            ("reserves", json::count(self.reserves)),
            ("acceptance", json::count(self.acceptance)),
            ("risk_bp", json::count(self.risk_bp)),
            ("tolerable_bp", json::count(self.tolerable_bp)),
            ("expected_bp", json::count(self.expected_bp)),
            ("partial_day", json::count(self.partial_day.into())),
            ("replace_not_applicable", json::count(self.replace_not_applicable.into())),
            ("beacon", json::text("none")),
            ("strata", Value::Array(Vec::new())),
            ("supersedes", Value::Array(self.supersedes.iter().map(json::hex).collect())),
        ]
    }

    /// The plan in `payload` (plan.json) and its hash.
    pub fn open(payload: &[u8]) -> Result<(Self, Digest), ActError> {
        match Act::parse(payload)?.body {
            Body::Plan(plan) => Ok((*plan, Digest::of(payload))),
            other => Err(ActError::Unknown(other.kind().name().unwrap_or_default().to_owned())),
        }
    }

    /// One control's draw, from public values alone. `plan_hash` is this plan's.
    pub fn draw(
        &self,
        plan_hash: &Digest,
        control: &Name,
        population: &Population,
        nonce: &Digest,
    ) -> DrawRecord {
        let seed = Seed::of(plan_hash, &population.sha256(), population.count(), nonce.as_bytes(), None);
        DrawRecord::of(control.clone(), self.method, population, seed, self.sample_size, self.reserves)
    }

    /// The days as half-open intervals; `freeze` is the received_ms of the freeze leaf.
    pub fn spans(&self, freeze: Timestamp) -> Vec<DaySpan> {
        let last_end = if self.partial_day { freeze.min(self.end) } else { self.end };
        let ends = self.days.iter().skip(1).map(|day| day.start).chain(std::iter::once(last_end));
        self.days
            .iter()
            .zip(ends)
            .map(|(day, end)| DaySpan { label: day.label, start: day.start, end })
            .collect()
    }
}

#[cfg(test)]
mod tests;
