//! Policies as people write them: TOML with the members of the policy act, read with line and column.
//!
//! The order of controls is free here; the ledger wants them ascending, so they are sorted by id.

use std::collections::BTreeMap;
use std::ops::Range;

use evidence::json::{DEPTH_MAX, INTEGER_MAX, JsonError, Value};
use evidence::policy::Policy;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Why a policy file was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyFileError {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong there, with the path of the member where there is one.
    pub problem: String,
}

impl std::fmt::Display for PolicyFileError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.problem)
    }
}

impl std::error::Error for PolicyFileError {}

/// The policy in a TOML file's text, checked as the collector will check it.
///
/// # Errors
/// The first thing that is not TOML, not of a kind that policies have, or not a sound policy, and where it
/// stands.
pub fn parse(text: &str) -> Result<Policy, PolicyFileError> {
    let table = DeTable::parse(text)
        .map_err(|error| at(text, error.span().map_or(0, |span| span.start), error.message().to_owned()))?;
    let mut reader = Reader { text, starts: BTreeMap::new() };
    let value = reader.table(table.get_ref(), "", 0)?;
    Policy::parse(value).map_err(|error| match error {
        JsonError::Member { path, problem } => at(text, reader.start_of(&path), format!("{path}: {problem}")),
        other => at(text, 0, other.to_string()),
    })
}

/// The error at a byte of the text.
fn at(text: &str, byte: usize, problem: String) -> PolicyFileError {
    let before = text.get(..byte).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    PolicyFileError { line, column, problem }
}

struct Reader<'a> {
    text: &'a str,
    /// The first byte of every member and item, by path.
    starts: BTreeMap<String, usize>,
}

impl Reader<'_> {
    /// Where `path` begins; a member that is not there is reported at what should hold it.
    fn start_of(&self, path: &str) -> usize {
        let mut path = path;
        loop {
            if let Some(start) = self.starts.get(path) {
                return *start;
            }
            match path.rfind(['.', '[']).and_then(|end| path.get(..end)) {
                Some(shorter) => path = shorter,
                None => return 0,
            }
        }
    }

    fn wrong(&self, span: &Range<usize>, path: &str, problem: &str) -> PolicyFileError {
        at(self.text, span.start, format!("{path}: {problem}"))
    }

    fn table(&mut self, table: &DeTable<'_>, path: &str, depth: usize) -> Result<Value, PolicyFileError> {
        let mut members = BTreeMap::new();
        for (key, value) in table {
            let name = key.get_ref();
            let path = if path.is_empty() { name.to_string() } else { format!("{path}.{name}") };
            self.starts.insert(path.clone(), key.span().start);
            members.insert(name.to_string(), self.value(value, &path, depth + 1)?);
        }
        Ok(Value::Object(members))
    }

    fn value(
        &mut self,
        value: &Spanned<DeValue<'_>>,
        path: &str,
        depth: usize,
    ) -> Result<Value, PolicyFileError> {
        let span = value.span();
        if depth > DEPTH_MAX {
            return Err(self.wrong(&span, path, "is nested too deeply"));
        }
        Ok(match value.get_ref() {
            DeValue::String(text) => Value::String(text.to_string()),
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) if number.unsigned_abs() <= INTEGER_MAX.unsigned_abs() => Value::Integer(number),
                _ => return Err(self.wrong(&span, path, "is an integer beyond ±(2^53 − 1)")),
            },
            DeValue::Array(items) => {
                let mut items: Vec<_> = items.iter().collect();
                if path == "controls" {
                    items.sort_by_key(|item| item.get_ref().get("id").and_then(|id| id.get_ref().as_str()));
                }
                let mut values = Vec::with_capacity(items.len());
                for (position, item) in items.into_iter().enumerate() {
                    let path = format!("{path}[{position}]");
                    self.starts.insert(path.clone(), item.span().start);
                    values.push(self.value(item, &path, depth + 1)?);
                }
                Value::Array(values)
            }
            DeValue::Table(table) => self.table(table, path, depth)?,
            DeValue::Boolean(_) => {
                return Err(self.wrong(&span, path, "is a boolean: write \"yes\" or \"no\" in quotes"));
            }
            DeValue::Float(_) => return Err(self.wrong(&span, path, "must be a whole number")),
            DeValue::Datetime(_) => return Err(self.wrong(&span, path, "is a date: policies have none")),
        })
    }
}

#[cfg(test)]
mod tests;
