//! Property lists, XML or binary, from bytes. Built from the crate's events, so that depth and size have limits.

use std::collections::BTreeMap;
use std::io::Cursor;

use plist::stream::{BinaryReader, Event, OwnedEvent, XmlReader};

use crate::question::Answer;

/// Deepest nesting that is read; the deepest list asked for has seven levels.
const DEPTH_MAX: usize = 32;
/// Most values of one list. A binary list may name one value many times, and grow without end.
const VALUES_MAX: usize = 100_000;
/// How a binary list begins.
const BINARY: &[u8] = b"bplist00";

/// One value of a property list.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    /// True or false.
    Flag(bool),
    /// A whole number.
    Integer(i64),
    /// Text.
    Text(String),
    /// Bytes.
    Data(Vec<u8>),
    /// A moment, in seconds since 1970 UTC.
    Seconds(u64),
    /// Values in order.
    Array(Vec<Value>),
    /// Values by name.
    Dict(Dict),
    /// What no probe asks for: a fraction, a reference, a moment before 1970.
    Other,
}

/// Values by name.
pub(crate) type Dict = BTreeMap<String, Value>;

impl Value {
    /// True or false; configuration profiles also write 1 and 0.
    pub(crate) fn flag(&self) -> Option<bool> {
        match self {
            Self::Flag(flag) => Some(*flag),
            Self::Integer(0) => Some(false),
            Self::Integer(1) => Some(true),
            _ => None,
        }
    }

    /// A number that is not negative and fits.
    pub(crate) fn number(&self) -> Option<u32> {
        match self {
            Self::Integer(number) => u32::try_from(*number).ok(),
            _ => None,
        }
    }

    /// Text.
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Values in order.
    pub(crate) fn array(&self) -> Option<&[Self]> {
        match self {
            Self::Array(items) => Some(items),
            _ => None,
        }
    }

    /// Values by name.
    pub(crate) fn dict(&self) -> Option<&Dict> {
        match self {
            Self::Dict(dict) => Some(dict),
            _ => None,
        }
    }
}

/// The list a file holds or a program printed; `None` unless it is whole, and of one of the two encodings.
pub(crate) fn of(answer: &Answer) -> Option<Value> {
    match answer {
        Answer::Bytes(bytes) | Answer::Output { status: 0, stdout: bytes, .. } => parse(bytes),
        _ => None,
    }
}

/// The list a file holds or a program printed, if it is one of named values.
pub(crate) fn dict(answer: &Answer) -> Option<Dict> {
    match of(answer)? {
        Value::Dict(dict) => Some(dict),
        _ => None,
    }
}

fn parse(bytes: &[u8]) -> Option<Value> {
    if bytes.starts_with(BINARY) {
        build(BinaryReader::new(Cursor::new(bytes)))
    } else {
        build(XmlReader::new(Cursor::new(bytes)))
    }
}

/// A collection that has begun and not ended.
enum Open {
    Array(Vec<Value>),
    Dict(Dict, Option<String>),
}

fn build<E>(events: impl Iterator<Item = Result<OwnedEvent, E>>) -> Option<Value> {
    let mut open: Vec<Open> = Vec::new();
    let mut root = None;
    for (count, event) in events.enumerate() {
        let event = event.ok()?;
        if count >= VALUES_MAX || root.is_some() {
            return None;
        }
        let value = match event {
            Event::StartArray(_) if open.len() < DEPTH_MAX => {
                open.push(Open::Array(Vec::new()));
                continue;
            }
            Event::StartDictionary(_) if open.len() < DEPTH_MAX => {
                open.push(Open::Dict(Dict::new(), None));
                continue;
            }
            Event::EndCollection => match open.pop()? {
                Open::Array(items) => Value::Array(items),
                Open::Dict(dict, None) => Value::Dict(dict),
                Open::Dict(_, Some(_)) => return None,
            },
            Event::Boolean(flag) => Value::Flag(flag),
            Event::Integer(number) => number.as_signed().map_or(Value::Other, Value::Integer),
            Event::String(text) => Value::Text(text.into_owned()),
            Event::Data(data) => Value::Data(data.into_owned()),
            Event::Date(date) => moment(date),
            Event::Real(_) | Event::Uid(_) => Value::Other,
            _ => return None,
        };
        match open.last_mut() {
            None => root = Some(value),
            Some(Open::Array(items)) => items.push(value),
            Some(Open::Dict(dict, key)) => match (key.take(), value) {
                (None, Value::Text(name)) if !dict.contains_key(&name) => *key = Some(name),
                (None, _) => return None,
                (Some(name), value) => {
                    dict.insert(name, value);
                }
            },
        }
    }
    root
}

/// A moment in whole seconds.
#[expect(
    clippy::disallowed_types,
    reason = "the crate gives nothing else that cannot panic; no clock is read"
)]
fn moment(date: plist::Date) -> Value {
    use std::time::SystemTime;
    SystemTime::from(date)
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(Value::Other, |since| Value::Seconds(since.as_secs()))
}

#[cfg(test)]
mod tests;
