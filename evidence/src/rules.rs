//! Conditions over facts: a closed tree, read strictly, typed against the facts, valued in three-valued
//! logic.
//!
//! docs/FORMAT.md section 9 (`rules/v1`). Every operator is monotone in what is known: taking facts away can
//! turn a value into unknown, and never turns false or unknown into true. Only a definite true is a pass.

use crate::facts::{Facts, Schema, Value as Fact};
use crate::json::{JsonError, Value};

mod explain;
mod read;
mod version;
mod write;

pub use explain::{Cause, Explanation, Place, REASONS_MAX};

/// Deepest condition; a single node has depth 1. Enough for every rule known, and it bounds every recursion.
pub const DEPTH_MAX: usize = 8;
/// Most nodes of one condition: with the rows of a statement this bounds the cost of judging it.
pub const NODES_MAX: usize = 256;

/// A value of Kleene's three-valued logic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Truth {
    /// Shown to hold.
    True,
    /// Shown not to hold.
    False,
    /// Neither is shown.
    Unknown,
}

impl Truth {
    /// True only when both are, false when one is.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::False, _) | (_, Self::False) => Self::False,
            (Self::True, Self::True) => Self::True,
            _ => Self::Unknown,
        }
    }

    /// True when one is, false only when both are.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::True, _) | (_, Self::True) => Self::True,
            (Self::False, Self::False) => Self::False,
            _ => Self::Unknown,
        }
    }

    /// The other one; unknown stays unknown.
    #[must_use]
    pub fn negated(self) -> Self {
        match self {
            Self::True => Self::False,
            Self::False => Self::True,
            Self::Unknown => Self::Unknown,
        }
    }

    /// `true`, `false` or `unknown`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "true",
            Self::False => "false",
            Self::Unknown => "unknown",
        }
    }
}

impl From<bool> for Truth {
    fn from(value: bool) -> Self {
        if value { Self::True } else { Self::False }
    }
}

/// What a fact is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Literal {
    /// A text, an enum's name, `yes` or `no`.
    Text(String),
    /// An integer within ±(2^53 − 1).
    Integer(i64),
}

/// The comparisons.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// Equal.
    Eq,
    /// Not equal.
    Ne,
    /// Less than; integers only, as the rest.
    Lt,
    /// At most.
    Le,
    /// Greater than.
    Gt,
    /// At least.
    Ge,
}

/// A node of a condition. [`Condition::parse`] is the only way in for foreign input; it checks names, types
/// and size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// Kleene and over at least one condition.
    All(Vec<Condition>),
    /// Kleene or over at least one condition.
    Any(Vec<Condition>),
    /// Kleene not.
    Not(Box<Condition>),
    /// A fact against a literal.
    Compare {
        /// How.
        comparison: Comparison,
        /// Name of the fact.
        fact: String,
        /// The literal.
        value: Literal,
    },
    /// The fact equals one of at least one literal.
    In {
        /// Name of the fact.
        fact: String,
        /// The literals.
        values: Vec<Literal>,
    },
    /// True when the fact is known, else unknown.
    Exists {
        /// Name of the fact.
        fact: String,
    },
    /// Kleene and over the items of a list; unknown when it is empty or truncated.
    Every {
        /// Name of the list.
        list: String,
        /// What is asked of an item.
        is: Box<Condition>,
    },
    /// Kleene or over the items of a list; unknown when it is empty or truncated.
    Some {
        /// Name of the list.
        list: String,
        /// What is asked of an item.
        is: Box<Condition>,
    },
    /// At most `minutes` lie between the fact, a minute since 1970, and the observation.
    AgeAtMost {
        /// Name of the fact.
        fact: String,
        /// Greatest age, in minutes.
        minutes: u64,
    },
    /// The fact is this version or a later one.
    VersionAtLeast {
        /// Name of the fact.
        fact: String,
        /// Dot-separated parts of 1 to 18 digits.
        value: String,
    },
}

impl Condition {
    /// Reads a condition over the facts of `schema`; `path` names it in errors, for example
    /// `controls[2].condition`.
    ///
    /// # Errors
    /// [`JsonError::Member`] with the path of the node that is malformed, mistyped or too much, and what
    /// would be right.
    pub fn parse(value: Value, path: &str, schema: &'static Schema) -> Result<Self, JsonError> {
        read::condition(value, path, schema)
    }

    /// The JSON form; parsing it gives the same condition.
    pub fn to_json(&self) -> Value {
        write::condition(self)
    }

    /// The value of the condition over `facts` that were observed in `minute` (since 1970).
    pub fn evaluate(&self, facts: &Facts, minute: u64) -> Truth {
        match self {
            Self::All(of) => every(of.iter().map(|condition| condition.evaluate(facts, minute))),
            Self::Any(of) => some(of.iter().map(|condition| condition.evaluate(facts, minute))),
            Self::Not(of) => of.evaluate(facts, minute).negated(),
            Self::Compare { comparison, fact, value } => {
                facts.value(fact).map_or(Truth::Unknown, |fact| compare(*comparison, fact, value))
            }
            Self::In { fact, values } => facts.value(fact).map_or(Truth::Unknown, |fact| {
                some(values.iter().map(|value| compare(Comparison::Eq, fact, value)))
            }),
            Self::Exists { fact } => match facts.value(fact) {
                Some(_) => Truth::True,
                None => Truth::Unknown,
            },
            Self::Every { list, is } => match facts.list(list) {
                Some(list) if !list.truncated && !list.items.is_empty() => {
                    every(list.items.iter().map(|item| is.evaluate(item, minute)))
                }
                _ => Truth::Unknown,
            },
            Self::Some { list, is } => match facts.list(list) {
                Some(list) if !list.truncated && !list.items.is_empty() => {
                    some(list.items.iter().map(|item| is.evaluate(item, minute)))
                }
                _ => Truth::Unknown,
            },
            Self::AgeAtMost { fact, minutes } => match facts.value(fact) {
                Some(Fact::Integer(then)) => {
                    minute.checked_sub(*then).map_or(Truth::Unknown, |age| Truth::from(age <= *minutes))
                }
                _ => Truth::Unknown,
            },
            Self::VersionAtLeast { fact, value } => match facts.value(fact) {
                Some(Fact::Text(found)) => {
                    version::at_least(found, value).map_or(Truth::Unknown, Truth::from)
                }
                _ => Truth::Unknown,
            },
        }
    }

    /// The value, and the facts that decided it.
    pub fn explain(&self, facts: &Facts, minute: u64) -> Explanation {
        Explanation::of(self, facts, minute)
    }
}

fn every(values: impl Iterator<Item = Truth>) -> Truth {
    values.fold(Truth::True, Truth::and)
}

fn some(values: impl Iterator<Item = Truth>) -> Truth {
    values.fold(Truth::False, Truth::or)
}

/// Texts compare by their bytes; across types nothing is known, which parsing has refused before.
fn compare(comparison: Comparison, fact: &Fact, value: &Literal) -> Truth {
    let order = match (fact, value) {
        (Fact::Integer(fact), Literal::Integer(value)) => i128::from(*fact).cmp(&i128::from(*value)),
        (Fact::Text(fact), Literal::Text(value)) if matches!(comparison, Comparison::Eq | Comparison::Ne) => {
            fact.cmp(value)
        }
        _ => return Truth::Unknown,
    };
    Truth::from(match comparison {
        Comparison::Eq => order.is_eq(),
        Comparison::Ne => order.is_ne(),
        Comparison::Lt => order.is_lt(),
        Comparison::Le => order.is_le(),
        Comparison::Gt => order.is_gt(),
        Comparison::Ge => order.is_ge(),
    })
}

#[cfg(test)]
mod tests;
