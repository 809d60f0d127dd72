//! What devices are known by: the forms of each identifier, and what makers leave where a value should be.
//!
//! Nothing is known by one value: firmware has placeholders, images are cloned, docks bring addresses. A vector leaves
//! the machine, and whoever merges devices sees which values are none.

use evidence::ids::Digest;
use proto::{DeviceIdentity, Identifier, IdentifierKind, facts::Control};

use crate::drive::Outcome;

/// Begins what is hashed to a [`IdentifierKind::MachineId`]: machine-id(5) asks that the id itself stay on the machine,
/// and with a prefix of our own nobody else's digest is the same.
const MACHINE_ID_PREFIX: &[u8] = b"tallystick/machine-id/v1\0";
/// Digits of that digest which are kept, 128 bits: two of a million machines meet with a chance of 2^-88.
const MACHINE_ID_DIGITS: usize = 32;
/// Longest value that is sent, in bytes; serial numbers and host names stay below it.
const VALUE_BYTES_MAX: usize = 64;
/// Most rows of a list of facts (docs/FORMAT.md section 3).
const IDENTIFIERS_MAX: usize = 256;
/// Lengths of the parts of a UUID, in hexadecimal digits.
const UUID_PARTS: [usize; 5] = [8, 4, 4, 4, 12];
/// UUIDs that many machines have, beside those of one repeated digit or byte.
const UUID_PLACEHOLDERS: [&str; 3] = [
    "03000200-0400-0500-0006-000700080009",
    "03020100-0504-0706-0809-0a0b0c0d0e0f",
    "10000000-0000-8000-0040-000000000000",
];
/// What makers write instead of a serial number, in lower case.
const SERIAL_PLACEHOLDERS: [&str; 17] = [
    "to be filled by o.e.m.",
    "to be filled by o.e.m",
    "default string",
    "system serial number",
    "base board serial number",
    "chassis serial number",
    "serial number",
    "not specified",
    "not available",
    "not applicable",
    "n/a",
    "none",
    "unknown",
    "invalid",
    "0123456789",
    "123456789",
    "1234567890",
];

fn identifier(kind: IdentifierKind, value: String, placeholder: Option<bool>) -> Identifier {
    Identifier { kind: kind.into(), value, placeholder }
}

/// The row of what could not be looked at.
pub(crate) fn unknown(kind: IdentifierKind) -> Identifier {
    identifier(kind, String::new(), None)
}

fn value(kind: IdentifierKind, value: String) -> Identifier {
    identifier(kind, value, Some(false))
}

fn placeholder(kind: IdentifierKind) -> Identifier {
    identifier(kind, String::new(), Some(true))
}

/// The UUID of the hardware; what is none is unknown.
pub(crate) fn uuid(text: Option<&str>) -> Identifier {
    const KIND: IdentifierKind = IdentifierKind::HardwareUuid;
    let Some(text) = text.map(|text| text.trim().to_ascii_lowercase()).filter(|text| is_uuid(text)) else {
        return unknown(KIND);
    };
    if UUID_PLACEHOLDERS.contains(&text.as_str()) || repeats(&text, 1) || repeats(&text, 2) {
        return placeholder(KIND);
    }
    value(KIND, text)
}

/// Whether a text has the form of a UUID, with dashes.
pub(crate) fn is_uuid(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    parts.len() == UUID_PARTS.len()
        && parts
            .iter()
            .zip(UUID_PARTS)
            .all(|(part, length)| part.len() == length && part.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// The same piece of `length` characters over and over, dashes and blanks apart.
fn repeats(text: &str, length: usize) -> bool {
    let bytes: Vec<u8> = text.bytes().filter(|b| *b != b'-' && *b != b' ').collect();
    let mut pieces = bytes.chunks(length);
    let first = pieces.next();
    pieces.all(|piece| Some(piece) == first)
}

/// The first three parts with their bytes turned round, as older firmware is read by one system and not by another.
pub(crate) fn turned(text: &str) -> Option<String> {
    let text = text.trim();
    if !is_uuid(text) {
        return None;
    }
    let mut parts = text.split('-').map(str::to_owned).collect::<Vec<_>>();
    for part in parts.iter_mut().take(3) {
        let bytes: Vec<&str> = (0..part.len()).step_by(2).filter_map(|at| part.get(at..at + 2)).collect();
        *part = bytes.into_iter().rev().collect();
    }
    Some(parts.join("-"))
}

/// A serial number in clear: an inventory has it in clear too, and is matched by it.
pub(crate) fn serial(kind: IdentifierKind, text: Option<&str>) -> Identifier {
    let Some(text) = text.map(str::trim) else { return unknown(kind) };
    let lower = text.to_ascii_lowercase();
    // One character alone, such as a dot, repeats too, and so does nothing.
    if SERIAL_PLACEHOLDERS.contains(&lower.as_str()) || repeats(&lower, 1) {
        return placeholder(kind);
    }
    if !is_plain(text) {
        return unknown(kind);
    }
    value(kind, text.to_owned())
}

/// The host's name or its maker; nothing where there is none.
pub(crate) fn name(kind: IdentifierKind, text: Option<&str>) -> Identifier {
    match text.map(str::trim).filter(|text| !text.is_empty() && is_plain(text)) {
        Some(text) if SERIAL_PLACEHOLDERS.contains(&text.to_ascii_lowercase().as_str()) => placeholder(kind),
        Some(text) => value(kind, text.to_owned()),
        None => unknown(kind),
    }
}

fn is_plain(text: &str) -> bool {
    text.len() <= VALUE_BYTES_MAX && !text.contains(char::is_control)
}

/// The digest of the installation's id: 32 hexadecimal digits, with or without dashes.
pub(crate) fn machine_id(text: Option<&str>) -> Identifier {
    const KIND: IdentifierKind = IdentifierKind::MachineId;
    let id = text.map(|text| text.trim().replace('-', "").to_ascii_lowercase());
    let Some(id) = id.filter(|id| id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit())) else {
        return unknown(KIND);
    };
    if repeats(&id, 1) {
        return placeholder(KIND);
    }
    let digest = Digest::of_parts(&[MACHINE_ID_PREFIX, id.as_bytes()]);
    value(KIND, digest.hex().chars().take(MACHINE_ID_DIGITS).collect())
}

/// The address of a network interface, given by its maker; `None` for one that was made up, which another day is another.
pub(crate) fn mac_address(text: &str) -> Option<Identifier> {
    let digits: String = text.chars().filter(|c| *c != ':' && *c != '-').collect();
    if digits.len() != 12 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let digits = digits.to_ascii_lowercase();
    let first = u8::from_str_radix(digits.get(..2)?, 16).ok()?;
    // Bit 0: a group's; bit 1: made up by an administrator or a system.
    if first & 0b11 != 0 || repeats(&digits, 1) {
        return None;
    }
    let bytes: Vec<&str> = (0..digits.len()).step_by(2).filter_map(|at| digits.get(at..at + 2)).collect();
    Some(value(IdentifierKind::MacAddress, bytes.join(":")))
}

/// The facts; `None` where not one identifier was seen.
pub(crate) fn observed(mut identifiers: Vec<Identifier>) -> Option<Outcome> {
    identifiers.sort_by(|a, b| (a.kind, &a.value).cmp(&(b.kind, &b.value)));
    identifiers.dedup();
    identifiers.iter().any(|identifier| identifier.placeholder.is_some()).then_some(())?;
    let identifiers_truncated = identifiers.len() > IDENTIFIERS_MAX;
    identifiers.truncate(IDENTIFIERS_MAX);
    Some(Outcome::observed(Control::DeviceIdentity(DeviceIdentity { identifiers, identifiers_truncated })))
}

#[cfg(test)]
mod tests;
