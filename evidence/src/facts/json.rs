//! Facts as JSON: what `policy test` reads, what decoded views print and what the rule vectors hold.
//!
//! Members are the fields of the message; a fact that is unknown is left out; a list is an array beside its
//! truncated flag, `"volumes":[…],"volumes_truncated":"no"`, which may be left out when it is `no`.

use std::collections::BTreeMap;

use super::{Facts, ITEM, Kind, List, Schema, Value};
use crate::json::{Value as Json, text};

/// Why JSON is not the facts of a control.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct FactsError {
    /// Where, for example `volumes[2].encryption`.
    pub path: String,
    /// What is wrong and what would be right.
    pub problem: String,
}

impl Facts {
    /// Reads the facts of `schema` from their JSON form, refusing names and kinds it does not have.
    pub fn from_json(schema: &'static Schema, json: &Json) -> Result<Self, FactsError> {
        record(schema, json, "")
    }

    /// The JSON form. Integers saturate at 2^53 − 1; a truncated flag is written only when it is `yes`.
    pub fn to_json(&self, schema: &Schema) -> Json {
        if let Some(value) = self.values.get(ITEM) {
            return value.to_json();
        }
        let mut members = BTreeMap::new();
        for field in schema.fields {
            if let Some(value) = self.values.get(field.name) {
                members.insert(field.name.to_owned(), value.to_json());
            }
            let (Kind::List { truncated, item }, Some(list)) = (&field.kind, self.lists.get(field.name))
            else {
                continue;
            };
            // An item that is itself an unknown value has no members; it is written as the empty text it was.
            let items = list.items.iter().map(|facts| match (facts.value(ITEM), item.field(ITEM)) {
                (None, Some(_)) => text(""),
                _ => facts.to_json(item),
            });
            members.insert(field.name.to_owned(), Json::Array(items.collect()));
            if let (true, Some(flag)) = (list.truncated, truncated) {
                members.insert((*flag).to_owned(), text("yes"));
            }
        }
        Json::Object(members)
    }
}

impl Value {
    fn to_json(&self) -> Json {
        match self {
            Self::Text(words) => text(words),
            Self::Integer(number) => crate::json::count(*number),
        }
    }
}

fn wrong(path: &str, problem: impl Into<String>) -> FactsError {
    let path = if path.is_empty() { "facts" } else { path };
    FactsError { path: path.to_owned(), problem: problem.into() }
}

fn record(schema: &'static Schema, json: &Json, path: &str) -> Result<Facts, FactsError> {
    let mut facts = Facts::default();
    if let Some(field) = schema.field(ITEM) {
        insert(&mut facts, field.name, &field.kind, json, path)?;
        return Ok(facts);
    }
    let Json::Object(members) = json else {
        return Err(wrong(path, format!("must be an object with the facts of {}", schema.name)));
    };
    for (name, value) in members {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        match schema.field(name) {
            Some(field) => insert(&mut facts, field.name, &field.kind, value, &path)?,
            None if flag_of(schema, name).is_some() => {}
            None => {
                let problem = format!(
                    "is not a fact of {}: facts {}; lists {}",
                    schema.name,
                    schema.names(false),
                    schema.names(true)
                );
                return Err(wrong(&path, problem));
            }
        }
    }
    // Flags come last, so that a list is there whatever the order of members.
    for (name, value) in members {
        let Some(list) = flag_of(schema, name) else { continue };
        let truncated = match value {
            Json::String(word) if word == "yes" => true,
            Json::String(word) if word == "no" => false,
            _ => return Err(wrong(name, "must be \"yes\" or \"no\"")),
        };
        facts.lists.entry(list).or_default().truncated = truncated;
    }
    Ok(facts)
}

/// The list whose truncated flag is called `name`.
fn flag_of(schema: &Schema, name: &str) -> Option<&'static str> {
    schema.fields.iter().find_map(|field| match field.kind {
        Kind::List { truncated: Some(flag), .. } if flag == name => Some(field.name),
        _ => None,
    })
}

fn insert(
    facts: &mut Facts,
    name: &'static str,
    kind: &Kind,
    json: &Json,
    path: &str,
) -> Result<(), FactsError> {
    let value = match (kind, json) {
        (Kind::List { item, .. }, Json::Array(items)) => {
            let items: Result<_, _> = items
                .iter()
                .enumerate()
                .map(|(position, json)| record(item, json, &format!("{path}[{position}]")))
                .collect();
            facts.lists.insert(name, List { items: items?, truncated: false });
            return Ok(());
        }
        (Kind::Text | Kind::Choice(_) | Kind::Flag, Json::String(words)) if words.is_empty() => return Ok(()),
        (Kind::Text, Json::String(words)) => Value::Text(words.clone()),
        (Kind::Flag, Json::String(word)) if word == "yes" || word == "no" => Value::Text(word.clone()),
        (Kind::Choice(names), Json::String(word)) if names.contains(&word.as_str()) => {
            Value::Text(word.clone())
        }
        (Kind::Integer, Json::Integer(number)) => {
            let number = u64::try_from(*number).map_err(|_| wrong(path, "must not be negative"))?;
            Value::Integer(number)
        }
        _ => return Err(wrong(path, format!("must be {}", kind.describe()))),
    };
    facts.values.insert(name, value);
    Ok(())
}
