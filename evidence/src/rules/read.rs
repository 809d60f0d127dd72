//! Reading a condition: shape, size and types in one pass, with the path of whatever is wrong.

use super::{Comparison, Condition, DEPTH_MAX, Literal, NODES_MAX, version};
use crate::facts::{Field, Kind, Schema};
use crate::json::{JsonError, Members, Value};

const OPERATORS: &str =
    "all, any, not, eq, ne, lt, le, gt, ge, in, exists, every, some, age_at_most, version_at_least";

pub(super) fn condition(value: Value, path: &str, schema: &'static Schema) -> Result<Condition, JsonError> {
    Reader { nodes: 0 }.node(value, path, schema, 1)
}

struct Reader {
    nodes: usize,
}

impl Reader {
    fn node(
        &mut self,
        value: Value,
        path: &str,
        schema: &'static Schema,
        depth: usize,
    ) -> Result<Condition, JsonError> {
        self.nodes += 1;
        if depth > DEPTH_MAX {
            return Err(at(path, format!("a condition is at most {DEPTH_MAX} nodes deep")));
        }
        if self.nodes > NODES_MAX {
            return Err(at(path, format!("a condition has at most {NODES_MAX} nodes")));
        }
        let mut members = Members::of(value, path)?;
        let op = members.text("op")?;
        let node = match op.as_str() {
            "all" => Condition::All(self.children(&mut members, path, schema, depth)?),
            "any" => Condition::Any(self.children(&mut members, path, schema, depth)?),
            "not" => {
                let mut children = self.children(&mut members, path, schema, depth)?;
                match (children.pop(), children.is_empty()) {
                    (Some(child), true) => Condition::Not(Box::new(child)),
                    _ => return Err(members.problem("of", "must have exactly one condition under not")),
                }
            }
            "eq" => compare(Comparison::Eq, &mut members, schema)?,
            "ne" => compare(Comparison::Ne, &mut members, schema)?,
            "lt" => compare(Comparison::Lt, &mut members, schema)?,
            "le" => compare(Comparison::Le, &mut members, schema)?,
            "gt" => compare(Comparison::Gt, &mut members, schema)?,
            "ge" => compare(Comparison::Ge, &mut members, schema)?,
            "in" => within(&mut members, schema)?,
            "exists" => Condition::Exists { fact: fact(&mut members, schema)?.name.to_owned() },
            "every" => {
                let (list, is) = self.over(&mut members, path, schema, depth)?;
                Condition::Every { list, is }
            }
            "some" => {
                let (list, is) = self.over(&mut members, path, schema, depth)?;
                Condition::Some { list, is }
            }
            "age_at_most" => age_at_most(&mut members, schema)?,
            "version_at_least" => version_at_least(&mut members, schema)?,
            _ => return Err(members.problem("op", format!("{op:?} is no operator: {OPERATORS}"))),
        };
        members.finish()?;
        Ok(node)
    }

    fn children(
        &mut self,
        members: &mut Members,
        path: &str,
        schema: &'static Schema,
        depth: usize,
    ) -> Result<Vec<Condition>, JsonError> {
        let of = members.array("of")?;
        if of.is_empty() {
            return Err(members.problem("of", "must have at least one condition"));
        }
        of.into_iter()
            .enumerate()
            .map(|(position, value)| self.node(value, &format!("{path}.of[{position}]"), schema, depth + 1))
            .collect()
    }

    fn over(
        &mut self,
        members: &mut Members,
        path: &str,
        schema: &'static Schema,
        depth: usize,
    ) -> Result<(String, Box<Condition>), JsonError> {
        let list = members.text("list")?;
        let item = schema.item(&list).ok_or_else(|| {
            members.problem(
                "list",
                format!("{list:?} is no list of {}; its lists: {}", schema.name, schema.names(true)),
            )
        })?;
        let is = members.value("is")?;
        let is = self.node(is, &format!("{path}.is"), item, depth + 1)?;
        Ok((list, Box::new(is)))
    }
}

fn at(path: &str, problem: String) -> JsonError {
    JsonError::Member { path: path.to_owned(), problem }
}

fn fact(members: &mut Members, schema: &'static Schema) -> Result<&'static Field, JsonError> {
    let name = members.text("fact")?;
    match schema.field(&name) {
        Some(Field { kind: Kind::List { .. }, .. }) => {
            Err(members.problem("fact", format!("{name:?} is a list: ask for its items with every or some")))
        }
        Some(field) => Ok(field),
        None => Err(members.problem(
            "fact",
            format!("{name:?} is no fact of {}; its facts: {}", schema.name, schema.names(false)),
        )),
    }
}

/// A literal of the kind of `field`: anything else could never be equal, and would pass under `ne`.
fn literal(members: &Members, key: &str, field: &Field, value: Value) -> Result<Literal, JsonError> {
    let literal = match (&field.kind, value) {
        (Kind::Integer, Value::Integer(number)) => Literal::Integer(number),
        (Kind::Text, Value::String(text)) => Literal::Text(text),
        (Kind::Flag, Value::String(text)) if text == "yes" || text == "no" => Literal::Text(text),
        (Kind::Choice(names), Value::String(text)) if names.contains(&text.as_str()) => Literal::Text(text),
        (kind, _) => {
            let problem = format!("must be {}: {} is {}", kind.describe(), field.name, field.hint);
            return Err(members.problem(key, problem));
        }
    };
    Ok(literal)
}

fn compare(
    comparison: Comparison,
    members: &mut Members,
    schema: &'static Schema,
) -> Result<Condition, JsonError> {
    let field = fact(members, schema)?;
    if !matches!(comparison, Comparison::Eq | Comparison::Ne) && field.kind != Kind::Integer {
        let problem = format!(
            "{} compares integers, and {} is {}",
            comparison.as_str(),
            field.name,
            field.kind.describe()
        );
        return Err(members.problem("fact", problem));
    }
    let value = members.value("value")?;
    let value = literal(members, "value", field, value)?;
    Ok(Condition::Compare { comparison, fact: field.name.to_owned(), value })
}

fn within(members: &mut Members, schema: &'static Schema) -> Result<Condition, JsonError> {
    let field = fact(members, schema)?;
    let values = members.array("values")?;
    if values.is_empty() {
        return Err(members.problem("values", "must have at least one value"));
    }
    let values = values
        .into_iter()
        .enumerate()
        .map(|(position, value)| literal(members, &format!("values[{position}]"), field, value))
        .collect::<Result<_, _>>()?;
    Ok(Condition::In { fact: field.name.to_owned(), values })
}

fn age_at_most(members: &mut Members, schema: &'static Schema) -> Result<Condition, JsonError> {
    let field = fact(members, schema)?;
    if field.kind != Kind::Integer {
        let problem =
            format!("age_at_most needs a minute since 1970, and {} is {}", field.name, field.kind.describe());
        return Err(members.problem("fact", problem));
    }
    Ok(Condition::AgeAtMost { fact: field.name.to_owned(), minutes: members.count("minutes")? })
}

fn version_at_least(members: &mut Members, schema: &'static Schema) -> Result<Condition, JsonError> {
    let field = fact(members, schema)?;
    if field.kind != Kind::Text {
        let problem =
            format!("version_at_least needs a text, and {} is {}", field.name, field.kind.describe());
        return Err(members.problem("fact", problem));
    }
    let value = members.text("value")?;
    if !version::is_version(&value) {
        return Err(members.problem("value", "must be a version: parts of 1 to 18 digits with dots between"));
    }
    Ok(Condition::VersionAtLeast { fact: field.name.to_owned(), value })
}
