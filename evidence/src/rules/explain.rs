//! Which facts decided a value: the leaves of the tree that have, through and, or and not, its value.

use std::collections::BTreeSet;

use super::{Condition, Truth};
use crate::facts::Facts;

/// Most deciding facts that are kept: more than a person reads, few enough to hold for every device.
pub const REASONS_MAX: usize = 64;
/// Most subjects that a line names before it counts.
const SUBJECTS_MAX: usize = 3;

/// An item on the way to a fact: which list, which item of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Name of the list.
    pub list: String,
    /// Position of the item, from 0.
    pub position: usize,
}

/// One thing that decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// The value of a fact, or that it is unknown.
    Fact {
        /// The items it lies in, outermost first.
        places: Vec<Place>,
        /// Its name.
        fact: String,
    },
    /// A list that is missing, empty or truncated.
    List {
        /// The items it lies in, outermost first.
        places: Vec<Place>,
        /// Its name.
        list: String,
        /// Rows were left out; else there are none.
        truncated: bool,
    },
}

/// The value of a condition and what decided it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The value.
    pub truth: Truth,
    /// What decided it, in the order of the tree and of the lists, at most [`REASONS_MAX`].
    pub causes: Vec<Cause>,
    /// More was left out.
    pub cut: bool,
}

impl Explanation {
    pub(super) fn of(condition: &Condition, facts: &Facts, minute: u64) -> Self {
        let mut explanation =
            Self { truth: condition.evaluate(facts, minute), causes: Vec::new(), cut: false };
        explanation.walk(condition, facts, minute, &mut Vec::new());
        explanation
    }

    fn add(&mut self, cause: impl FnOnce() -> Cause) {
        if self.causes.len() < REASONS_MAX {
            self.causes.push(cause());
        } else {
            self.cut = true;
        }
    }

    fn walk(&mut self, condition: &Condition, facts: &Facts, minute: u64, places: &mut Vec<Place>) {
        if self.cut {
            return;
        }
        match condition {
            Condition::All(of) | Condition::Any(of) => {
                let truth = condition.evaluate(facts, minute);
                for child in of.iter().filter(|child| child.evaluate(facts, minute) == truth) {
                    self.walk(child, facts, minute, places);
                }
            }
            Condition::Not(of) => self.walk(of, facts, minute, places),
            Condition::Every { list: name, is } | Condition::Some { list: name, is } => {
                let Some(list) = facts.list(name).filter(|list| !list.truncated && !list.items.is_empty())
                else {
                    let truncated = facts.list(name).is_some_and(|list| list.truncated);
                    self.add(|| Cause::List { places: places.clone(), list: name.clone(), truncated });
                    return;
                };
                let truth = condition.evaluate(facts, minute);
                for (position, item) in list.items.iter().enumerate() {
                    if is.evaluate(item, minute) == truth {
                        places.push(Place { list: name.clone(), position });
                        self.walk(is, item, minute, places);
                        places.pop();
                    }
                }
            }
            Condition::Compare { fact, .. }
            | Condition::In { fact, .. }
            | Condition::Exists { fact }
            | Condition::AgeAtMost { fact, .. }
            | Condition::VersionAtLeast { fact, .. } => {
                self.add(|| Cause::Fact { places: places.clone(), fact: fact.clone() });
            }
        }
    }

    /// What decided, in one line for people: at most three items or facts, the rest counted.
    pub fn line(&self, facts: &Facts, minute: u64) -> String {
        let mut seen = BTreeSet::new();
        let mut lines = Vec::new();
        for cause in &self.causes {
            let (places, name) = match cause {
                Cause::Fact { places, fact } => (places, fact),
                Cause::List { places, list, .. } => (places, list),
            };
            let subject = places
                .first()
                .map_or((name.as_str(), None), |place| (place.list.as_str(), Some(place.position)));
            if !seen.insert(subject) {
                continue;
            }
            let item = subject.1.and_then(|position| facts.list(subject.0)?.items.get(position));
            lines.push(match (item, cause) {
                (Some(item), _) => item.item_line(subject.0),
                (None, Cause::List { list, truncated: true, .. }) => {
                    format!("{list}: rows were left out, so nothing is known of all of them")
                }
                (None, Cause::List { list, .. }) => format!("{list}: none were seen"),
                (None, Cause::Fact { fact, .. }) => facts.fact_line(fact, minute),
            });
        }
        let rest = lines.len().saturating_sub(SUBJECTS_MAX);
        lines.truncate(SUBJECTS_MAX);
        if rest > 0 {
            let more = if self.cut { " or more" } else { "" };
            lines.push(format!("and {rest}{more} others"));
        }
        lines.join("; ")
    }
}
