//! Canonical JSON: RFC 8785 restricted to objects, arrays, strings and integers. docs/FORMAT.md section 1.
//!
//! Reading is strict: text that does not re-encode to itself is refused, so that one value has one form.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::ids::Digest;
use crate::time::Timestamp;

mod read;

/// Largest integer, 2^53 − 1: what every JSON reader can hold exactly (RFC 8785 section 3.2.2.3).
pub const INTEGER_MAX: i64 = 9_007_199_254_740_991;
/// Deepest level of a value, the outermost being 1: conditions are at most 8 deep and need two levels each, with
/// room around them.
pub const DEPTH_MAX: usize = 64;

/// A JSON value of the restricted kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Members by key; written sorted by UTF-16 code units.
    Object(BTreeMap<String, Value>),
    /// Values in order.
    Array(Vec<Value>),
    /// Text.
    String(String),
    /// Integer within ±(2^53 − 1).
    Integer(i64),
}

/// Why canonical JSON was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Not JSON at all.
    #[error("not JSON: {0}")]
    Syntax(String),
    /// A float, boolean, null or an integer out of range.
    #[error("{0} is not allowed: only objects, arrays, strings and integers within ±(2^53 − 1)")]
    Kind(&'static str),
    /// JSON, but not the one canonical form of its value.
    #[error("not canonical (RFC 8785): differs from its canonical form at byte {0}")]
    NotCanonical(usize),
    /// Nested too deeply.
    #[error("nested deeper than {DEPTH_MAX}")]
    Depth,
    /// A member is missing, superfluous or of another type.
    #[error("{path}: {problem}")]
    Member {
        /// Where, for example `controls[2].id`.
        path: String,
        /// What was wrong.
        problem: String,
    },
}

impl Value {
    /// The value of canonical JSON text.
    pub fn parse(bytes: &[u8]) -> Result<Self, JsonError> {
        let value = Self::parse_any(bytes)?;
        let canonical = value.encode();
        if canonical.as_bytes() == bytes {
            return Ok(value);
        }
        let at = canonical.as_bytes().iter().zip(bytes).position(|(a, b)| a != b);
        Err(JsonError::NotCanonical(at.unwrap_or(canonical.len().min(bytes.len()))))
    }

    /// The value of any JSON text with the allowed kinds, canonical or not. For files written by people.
    pub fn parse_any(bytes: &[u8]) -> Result<Self, JsonError> {
        let raw: serde_json::Value =
            serde_json::from_slice(bytes).map_err(|error| JsonError::Syntax(error.to_string()))?;
        Self::from_serde(raw, 1)
    }

    fn from_serde(raw: serde_json::Value, depth: usize) -> Result<Self, JsonError> {
        if depth > DEPTH_MAX {
            return Err(JsonError::Depth);
        }
        Ok(match raw {
            serde_json::Value::Null => return Err(JsonError::Kind("null")),
            serde_json::Value::Bool(_) => return Err(JsonError::Kind("a boolean")),
            serde_json::Value::Number(number) => match number.as_i64() {
                Some(n) if n.unsigned_abs() <= INTEGER_MAX.unsigned_abs() => Self::Integer(n),
                _ => return Err(JsonError::Kind("this number")),
            },
            serde_json::Value::String(text) => Self::String(text),
            serde_json::Value::Array(items) => Self::Array(
                items.into_iter().map(|item| Self::from_serde(item, depth + 1)).collect::<Result<_, _>>()?,
            ),
            serde_json::Value::Object(members) => Self::Object(
                members
                    .into_iter()
                    .map(|(key, value)| Ok((key, Self::from_serde(value, depth + 1)?)))
                    .collect::<Result<_, JsonError>>()?,
            ),
        })
    }

    /// The canonical text.
    pub fn encode(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }

    /// The canonical text as bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.encode().into_bytes()
    }

    fn write(&self, out: &mut String) {
        match self {
            Self::Integer(number) => {
                let _infallible = write!(out, "{number}");
            }
            Self::String(text) => write_string(out, text),
            Self::Array(items) => {
                out.push('[');
                for (position, item) in items.iter().enumerate() {
                    if position > 0 {
                        out.push(',');
                    }
                    item.write(out);
                }
                out.push(']');
            }
            Self::Object(members) => {
                let mut sorted: Vec<_> = members.iter().collect();
                // BTreeMap sorts by UTF-8 bytes; RFC 8785 section 3.2.3 wants UTF-16 code units.
                sorted.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
                out.push('{');
                for (position, (key, value)) in sorted.into_iter().enumerate() {
                    if position > 0 {
                        out.push(',');
                    }
                    write_string(out, key);
                    out.push(':');
                    value.write(out);
                }
                out.push('}');
            }
        }
    }
}

fn write_string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            c if c < ' ' => {
                let _infallible = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// An object from members. Later duplicates replace earlier ones.
pub fn object<const N: usize>(members: [(&str, Value); N]) -> Value {
    Value::Object(members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

/// A string value.
pub fn text(text: impl Into<String>) -> Value {
    Value::String(text.into())
}

/// A digest as hex.
pub fn hex(digest: &Digest) -> Value {
    Value::String(digest.hex())
}

/// Bytes as standard padded base64.
pub fn base64(bytes: &[u8]) -> Value {
    Value::String(STANDARD.encode(bytes))
}

/// A time as a decimal string of milliseconds.
pub fn time(time: Timestamp) -> Value {
    Value::String(time.0.to_string())
}

/// A count or size. Saturates at 2^53 − 1, far above every limit here.
pub fn count(number: u64) -> Value {
    Value::Integer(i64::try_from(number).unwrap_or(INTEGER_MAX).min(INTEGER_MAX))
}

/// Strict standard base64 that re-encodes to itself.
pub fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let bytes = STANDARD.decode(text).ok()?;
    (STANDARD.encode(&bytes) == text).then_some(bytes)
}

/// Standard padded base64.
pub fn encode_base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// A decimal without sign or leading zeros.
pub fn decode_decimal(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

pub use read::Members;

#[cfg(test)]
mod tests;
