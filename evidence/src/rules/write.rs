//! Conditions as JSON.

use super::{Comparison, Condition, Literal};
use crate::json::{Value, count, object, text};

impl Comparison {
    /// The name of the operator.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Eq => "eq",
            Self::Ne => "ne",
            Self::Lt => "lt",
            Self::Le => "le",
            Self::Gt => "gt",
            Self::Ge => "ge",
        }
    }
}

fn literal(value: &Literal) -> Value {
    match value {
        Literal::Text(words) => text(words),
        Literal::Integer(number) => Value::Integer(*number),
    }
}

fn of(op: &str, conditions: &[Condition]) -> Value {
    object([("op", text(op)), ("of", Value::Array(conditions.iter().map(condition).collect()))])
}

fn over(op: &str, list: &str, is: &Condition) -> Value {
    object([("op", text(op)), ("list", text(list)), ("is", condition(is))])
}

pub(super) fn condition(node: &Condition) -> Value {
    match node {
        Condition::All(conditions) => of("all", conditions),
        Condition::Any(conditions) => of("any", conditions),
        Condition::Not(inner) => of("not", std::slice::from_ref(inner)),
        Condition::Compare { comparison, fact, value } => {
            object([("op", text(comparison.as_str())), ("fact", text(fact)), ("value", literal(value))])
        }
        Condition::In { fact, values } => object([
            ("op", text("in")),
            ("fact", text(fact)),
            ("values", Value::Array(values.iter().map(literal).collect())),
        ]),
        Condition::Exists { fact } => object([("op", text("exists")), ("fact", text(fact))]),
        Condition::Every { list, is } => over("every", list, is),
        Condition::Some { list, is } => over("some", list, is),
        Condition::AgeAtMost { fact, minutes } => {
            object([("op", text("age_at_most")), ("fact", text(fact)), ("minutes", count(*minutes))])
        }
        Condition::VersionAtLeast { fact, value } => {
            object([("op", text("version_at_least")), ("fact", text(fact)), ("value", text(value))])
        }
    }
}
