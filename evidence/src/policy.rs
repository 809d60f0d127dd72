//! A policy: for each control who it applies to, the condition, the times, the words for people, the mapping.
//!
//! docs/FORMAT.md sections 8 (kind 2.1) and 9. Every version is an entry of the rules stream.

use std::fmt;
use std::str::FromStr;

use crate::facts;
use crate::ids::{Class, Name};
use crate::json::{JsonError, Members, Value, count, object, text};
use crate::rules::Condition;

/// A policy, sound in form and types.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Its id, the same in every version.
    pub id: Name,
    /// For people.
    pub title: String,
    /// Ascending by id, one each.
    pub controls: Vec<Control>,
}

/// What is asked of a device in one respect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    /// One of [`facts::CONTROLS`].
    pub id: Name,
    /// For people.
    pub title: String,
    /// Why it is asked.
    pub rationale: String,
    /// Classes it applies to; empty: all.
    pub classes: Vec<Class>,
    /// Groups it applies to; empty: all.
    pub groups: Vec<Name>,
    /// What must be true.
    pub condition: Condition,
    /// How long a deviation is tolerated as part of the control, in minutes.
    pub grace_minutes: u64,
    /// Within how many minutes a deviation is to be remedied.
    pub sla_minutes: u64,
    /// Most minutes between observation and receipt for an observation to count; at least 1.
    pub max_age_minutes: u64,
    /// How bad a deviation is.
    pub severity: Severity,
    /// What the employee can do, in plain words.
    pub remedy: String,
    /// Criteria of frameworks it supports.
    pub mapping: Vec<Criterion>,
}

/// How bad a deviation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth knowing.
    Low,
    /// To be remedied in the ordinary course.
    Medium,
    /// To be remedied soon.
    High,
    /// To be remedied now.
    Critical,
}

/// How much a control says about a criterion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Strength {
    /// It is what the criterion asks for.
    Direct,
    /// It is a part of what the criterion asks for.
    Partial,
    /// It helps.
    Supporting,
}

/// A criterion of a framework.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Criterion {
    /// For example `SOC 2 TSC 2017`.
    pub framework: String,
    /// For example `CC6.7`.
    pub reference: String,
    /// How much the control says about it.
    pub strength: Strength,
}

/// A word that is none of those allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be one of {0}")]
pub struct NotOneOf(&'static str);

macro_rules! words {
    ($name:ident, $all:literal, $($variant:ident => $word:literal),+) => {
        impl $name {
            /// The name used in every format.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl FromStr for $name {
            type Err = NotOneOf;

            fn from_str(text: &str) -> Result<Self, NotOneOf> {
                match text { $($word => Ok(Self::$variant),)+ _ => Err(NotOneOf($all)) }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words!(
    Severity, "low, medium, high, critical",
    Low => "low", Medium => "medium", High => "high", Critical => "critical"
);
words!(
    Strength, "direct, partial, supporting",
    Direct => "direct", Partial => "partial", Supporting => "supporting"
);

impl Policy {
    /// The control `id`, if this policy has it.
    pub fn control(&self, id: &str) -> Option<&Control> {
        self.controls.iter().find(|control| control.id.as_str() == id)
    }

    /// Takes `policy`, `title` and `controls` from the members of an act's payload and leaves the others.
    ///
    /// # Errors
    /// [`JsonError::Member`] with the path of what is wrong, for example `controls[2].condition.of[0].fact`.
    pub(crate) fn take(members: &mut Members) -> Result<Self, JsonError> {
        let id = members.parsed("policy")?;
        let title = members.text("title")?;
        let mut controls: Vec<Control> = Vec::new();
        for (position, mut members) in members.objects("controls")?.into_iter().enumerate() {
            let control = Control::take(&mut members, position)?;
            if controls.last().is_some_and(|before| before.id >= control.id) {
                return Err(members.problem("id", "must ascend from control to control, one each"));
            }
            members.finish()?;
            controls.push(control);
        }
        Ok(Self { id, title, controls })
    }

    /// Reads an object of exactly `policy`, `title` and `controls`.
    ///
    /// # Errors
    /// [`JsonError::Member`] with the path of what is wrong, for example `controls[2].condition.of[0].fact`.
    pub fn parse(value: Value) -> Result<Self, JsonError> {
        let mut members = Members::of(value, "")?;
        let policy = Self::take(&mut members)?;
        members.finish()?;
        Ok(policy)
    }

    /// The members it adds to an act's payload.
    pub(crate) fn members(&self) -> Vec<(&'static str, Value)> {
        vec![
            ("policy", text(self.id.as_str())),
            ("title", text(&self.title)),
            ("controls", Value::Array(self.controls.iter().map(Control::to_json).collect())),
        ]
    }

    /// The object [`Policy::parse`] reads.
    pub fn to_json(&self) -> Value {
        Value::Object(self.members().into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
    }
}

impl Control {
    fn take(members: &mut Members, position: usize) -> Result<Self, JsonError> {
        let id: Name = members.parsed("id")?;
        let schema = facts::schema(id.as_str()).ok_or_else(|| {
            members.problem("id", format!("must be a known control: {}", facts::CONTROLS.join(", ")))
        })?;
        let condition = members.value("condition")?;
        let condition = Condition::parse(condition, &format!("controls[{position}].condition"), schema)?;
        let max_age_minutes = members.count("max_age_minutes")?;
        if max_age_minutes == 0 {
            return Err(members.problem("max_age_minutes", "must be at least 1"));
        }
        let mapping =
            members.objects("mapping")?.into_iter().map(Criterion::take).collect::<Result<_, _>>()?;
        Ok(Self {
            id,
            title: members.text("title")?,
            rationale: members.text("rationale")?,
            classes: members.parsed_list("classes")?,
            groups: members.parsed_list("groups")?,
            condition,
            grace_minutes: members.count("grace_minutes")?,
            sla_minutes: members.count("sla_minutes")?,
            max_age_minutes,
            severity: members.parsed("severity")?,
            remedy: members.text("remedy")?,
            mapping,
        })
    }

    /// Whether it applies to a device of this class and group.
    pub fn applies_to(&self, class: Class, group: &Name) -> bool {
        (self.classes.is_empty() || self.classes.contains(&class))
            && (self.groups.is_empty() || self.groups.contains(group))
    }

    fn to_json(&self) -> Value {
        object([
            ("id", text(self.id.as_str())),
            ("title", text(&self.title)),
            ("rationale", text(&self.rationale)),
            ("classes", Value::Array(self.classes.iter().map(|class| text(class.as_str())).collect())),
            ("groups", Value::Array(self.groups.iter().map(|group| text(group.as_str())).collect())),
            ("condition", self.condition.to_json()),
            ("grace_minutes", count(self.grace_minutes)),
            ("sla_minutes", count(self.sla_minutes)),
            ("max_age_minutes", count(self.max_age_minutes)),
            ("severity", text(self.severity.as_str())),
            ("remedy", text(&self.remedy)),
            ("mapping", Value::Array(self.mapping.iter().map(Criterion::to_json).collect())),
        ])
    }
}

impl Criterion {
    fn take(mut members: Members) -> Result<Self, JsonError> {
        let criterion = Self {
            framework: members.text("framework")?,
            reference: members.text("ref")?,
            strength: members.parsed("strength")?,
        };
        members.finish()?;
        Ok(criterion)
    }

    fn to_json(&self) -> Value {
        object([
            ("framework", text(&self.framework)),
            ("ref", text(&self.reference)),
            ("strength", text(self.strength.as_str())),
        ])
    }
}

#[cfg(test)]
pub(crate) mod tests;
