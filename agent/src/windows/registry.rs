//! The registry, read as it is kept: nothing is expanded, converted or looked up anywhere else.

use std::io;

use probes::{Answer, Question, TableWriter};
use winreg::{
    RegKey, RegValue,
    enums::{
        HKEY_LOCAL_MACHINE, HKEY_USERS, KEY_READ, KEY_WOW64_64KEY, REG_DWORD, REG_EXPAND_SZ, REG_MULTI_SZ,
        REG_QWORD, REG_SZ,
    },
};

use super::host::failure;

/// Largest value that is read, in bytes: one of a screen saver or a version has some 20.
const VALUE_BYTES_MAX: usize = 64 * 1024;
/// Most keys below one that are gone through; the list of packages of an old machine has some 20,000.
const KEYS_MAX: usize = 262_144;

/// The values of a key that have one of the names, as a table of one row.
pub(super) fn values(question: &Question, key: &str, names: &[&str]) -> Answer {
    let key = match open(key) {
        Ok(key) => key,
        Err(error) => return absent_or(question, &error),
    };
    let mut table = TableWriter::new(question);
    table.row();
    for name in names {
        match key.get_raw_value(name) {
            Ok(value) => match write(&mut table, name, &value) {
                Ok(()) => {}
                Err(answer) => return answer,
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return failure(&error),
        }
    }
    table.finish()
}

/// The names of the keys right below a key that begin with `prefix`; the registry does not tell cases apart.
pub(super) fn keys(question: &Question, key: &str, prefix: &str) -> Answer {
    let key = match open(key) {
        Ok(key) => key,
        Err(error) => return absent_or(question, &error),
    };
    let mut names = Vec::new();
    for (count, name) in key.enum_keys().enumerate() {
        match name {
            Ok(_) if count >= KEYS_MAX => return Answer::TooLarge,
            Ok(name) => {
                if name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix)) {
                    names.push(name);
                }
            }
            Err(error) => return failure(&error),
        }
    }
    names.sort_unstable();
    let mut table = TableWriter::new(question);
    for name in names {
        table.row();
        table.text("Name", &name);
    }
    table.finish()
}

/// Opens a key from `HKLM` or `HKU` on, in the view of 64-bit programs whatever this one is: the other view of some keys
/// is a copy that nobody keeps right.
fn open(key: &str) -> io::Result<RegKey> {
    let (root, path) = key.split_once('\\').unwrap_or((key, ""));
    let root = match root {
        "HKLM" => HKEY_LOCAL_MACHINE,
        "HKU" => HKEY_USERS,
        _ => return Err(io::ErrorKind::InvalidInput.into()),
    };
    RegKey::predef(root).open_subkey_with_flags(path, KEY_READ | KEY_WOW64_64KEY)
}

/// A key that does not exist is an answer of its own; anything else is a failure.
fn absent_or(question: &Question, error: &io::Error) -> Answer {
    if error.kind() == io::ErrorKind::NotFound { TableWriter::absent(question) } else { failure(error) }
}

/// A value by its type. One of a type that no probe reads, or of a wrong length, makes the whole answer fail: left out, it
/// would look like one that is not there.
fn write(table: &mut TableWriter, name: &str, value: &RegValue) -> Result<(), Answer> {
    let bytes: &[u8] = &value.bytes;
    if bytes.len() > VALUE_BYTES_MAX {
        return Err(Answer::TooLarge);
    }
    match value.vtype {
        REG_DWORD => {
            let number = bytes.try_into().map(u32::from_le_bytes).map_err(|_| Answer::Failed)?;
            table.number(name, u64::from(number));
        }
        REG_QWORD => {
            table.number(name, bytes.try_into().map(u64::from_le_bytes).map_err(|_| Answer::Failed)?);
        }
        REG_SZ | REG_EXPAND_SZ => table.text(name, text(bytes)?.trim_end_matches('\0')),
        REG_MULTI_SZ => {
            // Each ends in a zero, and so does the list.
            for line in text(bytes)?.trim_end_matches('\0').split('\0').filter(|line| !line.is_empty()) {
                table.text(name, line);
            }
        }
        _ => return Err(Answer::Failed),
    }
    Ok(())
}

/// UTF-16 as the registry keeps it.
fn text(bytes: &[u8]) -> Result<String, Answer> {
    let (units, odd) = bytes.as_chunks::<2>();
    if !odd.is_empty() {
        return Err(Answer::Failed);
    }
    Ok(char::decode_utf16(units.iter().map(|unit| u16::from_le_bytes(*unit)))
        .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect())
}
