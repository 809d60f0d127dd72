//! Taking an object apart: every member is asked for once, by type, and none may be left over.

use std::collections::BTreeMap;
use std::str::FromStr;

use super::{INTEGER_MAX, JsonError, Value, decode_base64, decode_decimal};
use crate::ids::Digest;
use crate::time::Timestamp;

/// The members of one object that have not been taken yet.
#[derive(Debug)]
pub struct Members {
    path: String,
    members: BTreeMap<String, Value>,
}

impl Members {
    /// The members of `value`, which must be an object; `path` names it in errors.
    pub fn of(value: Value, path: &str) -> Result<Self, JsonError> {
        match value {
            Value::Object(members) => Ok(Self { path: path.to_owned(), members }),
            _ => Err(JsonError::Member { path: path.to_owned(), problem: "must be an object".into() }),
        }
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// An error about the member `key`.
    pub fn problem(&self, key: &str, problem: impl Into<String>) -> JsonError {
        JsonError::Member { path: self.path_of(key), problem: problem.into() }
    }

    /// Whether `key` is present and not yet taken.
    pub fn has(&self, key: &str) -> bool {
        self.members.contains_key(key)
    }

    /// Takes any value.
    pub fn value(&mut self, key: &str) -> Result<Value, JsonError> {
        self.members.remove(key).ok_or_else(|| self.problem(key, "is missing"))
    }

    /// Takes a string.
    pub fn text(&mut self, key: &str) -> Result<String, JsonError> {
        match self.value(key)? {
            Value::String(text) => Ok(text),
            _ => Err(self.problem(key, "must be a string")),
        }
    }

    /// Takes an integer that is not negative.
    pub fn count(&mut self, key: &str) -> Result<u64, JsonError> {
        match self.value(key)? {
            Value::Integer(number) => {
                u64::try_from(number).map_err(|_| self.problem(key, "must not be negative"))
            }
            _ => Err(self.problem(key, "must be an integer")),
        }
    }

    /// Takes 0 or 1.
    pub fn flag(&mut self, key: &str) -> Result<bool, JsonError> {
        match self.count(key)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.problem(key, "must be 0 or 1")),
        }
    }

    /// Takes an array.
    pub fn array(&mut self, key: &str) -> Result<Vec<Value>, JsonError> {
        match self.value(key)? {
            Value::Array(items) => Ok(items),
            _ => Err(self.problem(key, "must be an array")),
        }
    }

    /// Takes an array of objects, each as its own members.
    pub fn objects(&mut self, key: &str) -> Result<Vec<Members>, JsonError> {
        let path = self.path_of(key);
        self.array(key)?
            .into_iter()
            .enumerate()
            .map(|(position, item)| Members::of(item, &format!("{path}[{position}]")))
            .collect()
    }

    /// Takes an array of no or one object.
    pub fn optional_object(&mut self, key: &str) -> Result<Option<Members>, JsonError> {
        let mut items = self.objects(key)?;
        let first = items.pop();
        if items.is_empty() { Ok(first) } else { Err(self.problem(key, "must have no or one item")) }
    }

    /// Takes an object as its own members.
    pub fn object(&mut self, key: &str) -> Result<Members, JsonError> {
        let path = self.path_of(key);
        let value = self.value(key)?;
        Members::of(value, &path)
    }

    /// Takes a string in its parsed form.
    pub fn parsed<T>(&mut self, key: &str) -> Result<T, JsonError>
    where
        T: FromStr,
        T::Err: std::fmt::Display,
    {
        let text = self.text(key)?;
        text.parse().map_err(|error: T::Err| self.problem(key, format!("{error}, found {text:?}")))
    }

    /// Takes an array of strings in their parsed form.
    pub fn parsed_list<T>(&mut self, key: &str) -> Result<Vec<T>, JsonError>
    where
        T: FromStr,
        T::Err: std::fmt::Display,
    {
        let items = self.array(key)?;
        items
            .into_iter()
            .map(|item| match item {
                Value::String(text) => text
                    .parse()
                    .map_err(|error: T::Err| self.problem(key, format!("{error}, found {text:?}"))),
                _ => Err(self.problem(key, "must hold strings only")),
            })
            .collect()
    }

    /// Takes 64 hex digits.
    pub fn digest(&mut self, key: &str) -> Result<Digest, JsonError> {
        let text = self.text(key)?;
        Digest::from_hex(&text).map_err(|_| self.problem(key, "must be 64 lower-case hex digits"))
    }

    /// Takes an array of no or one digest.
    pub fn optional_digest(&mut self, key: &str) -> Result<Option<Digest>, JsonError> {
        let items = self.parsed_list::<HexDigest>(key)?;
        match items.as_slice() {
            [] => Ok(None),
            [HexDigest(digest)] => Ok(Some(*digest)),
            _ => Err(self.problem(key, "must have no or one item")),
        }
    }

    /// Takes an array of digests.
    pub fn digests(&mut self, key: &str) -> Result<Vec<Digest>, JsonError> {
        Ok(self.parsed_list::<HexDigest>(key)?.into_iter().map(|HexDigest(digest)| digest).collect())
    }

    /// Takes strict base64.
    pub fn base64(&mut self, key: &str) -> Result<Vec<u8>, JsonError> {
        let text = self.text(key)?;
        decode_base64(&text).ok_or_else(|| self.problem(key, "must be standard padded base64"))
    }

    /// Takes a time: a decimal string of Unix milliseconds, at most 2^53 − 1.
    pub fn time(&mut self, key: &str) -> Result<Timestamp, JsonError> {
        let text = self.text(key)?;
        decode_decimal(&text).filter(|ms| *ms <= INTEGER_MAX.unsigned_abs()).map(Timestamp).ok_or_else(|| {
            self.problem(key, "must be a decimal string of Unix milliseconds, at most 2^53 − 1")
        })
    }

    /// Refuses whatever was not taken.
    pub fn finish(self) -> Result<(), JsonError> {
        match self.members.keys().next() {
            None => Ok(()),
            Some(key) => Err(self.problem(key, "is not known here")),
        }
    }
}

struct HexDigest(Digest);

impl FromStr for HexDigest {
    type Err = crate::ids::IdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Digest::from_hex(text).map(Self)
    }
}
