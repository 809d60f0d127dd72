//! `/etc/os-release` as os-release(5) says.

use std::collections::BTreeMap;

use crate::{answers::Round, question::Answer};

/// The places it may lie at; the first that exists counts.
pub(crate) const PATHS: [&str; 2] = ["/etc/os-release", "/usr/lib/os-release"];

/// What identifies the system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OsRelease {
    pub(crate) id: String,
    pub(crate) version: Option<String>,
    pub(crate) codename: Option<String>,
}

/// Asks for both places.
pub(crate) fn ask<'a>(round: &mut Round<'a>) -> [&'a Answer; 2] {
    PATHS.map(|path| round.read(path))
}

/// Reads the first that exists; `None` when it is missing, damaged or names no system.
pub(crate) fn parse([etc, usr]: [&Answer; 2]) -> Option<OsRelease> {
    let answer = if *etc == Answer::Absent { usr } else { etc };
    let mut values = BTreeMap::new();
    for line in answer.whole_text()?.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')) {
        let (key, value) = line.split_once('=')?;
        values.insert(key, unquote(value)?);
    }
    let take = |key: &str| values.get(key).filter(|v| !v.is_empty()).cloned();
    Some(OsRelease { id: take("ID")?, version: take("VERSION_ID"), codename: take("VERSION_CODENAME") })
}

/// The value without its shell quotes; only backslash escapes are known, as the man page allows.
fn unquote(value: &str) -> Option<String> {
    let inner = match value.chars().next() {
        Some(quote @ ('"' | '\'')) => value.strip_prefix(quote)?.strip_suffix(quote)?,
        _ => value,
    };
    let mut out = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        out.push(if c == '\\' { chars.next()? } else { c });
    }
    Some(out)
}

#[cfg(test)]
mod tests;
