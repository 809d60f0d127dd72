//! The high-water mark: size and root of the newest checkpoint, kept outside the journal, so that an old copy of the data
//! directory does not pass for the log. Its bytes are `<size> <hex root>\n`.

use std::fs;
use std::io;
use std::path::Path;

use evidence::ids::Digest;
use evidence::json::decode_decimal;

use crate::datadir::replace_file;

/// A mark that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HighWater {
    /// Leaves of the newest checkpoint.
    pub size: u64,
    /// Its root.
    pub root: Digest,
}

/// Reads the mark; none if there is no file. A file of another form is an error.
pub fn read(path: &Path) -> io::Result<Option<HighWater>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let parse = || {
        let (size, root) = text.strip_suffix('\n')?.split_once(' ')?;
        Some(HighWater { size: decode_decimal(size)?, root: Digest::from_hex(root).ok()? })
    };
    let form = || io::Error::new(io::ErrorKind::InvalidData, "not of the form `<size> <hex root>`");
    Ok(Some(parse().ok_or_else(form)?))
}

/// Replaces the mark. Durable once it returns.
pub fn write(path: &Path, size: u64, root: &Digest) -> io::Result<()> {
    replace_file(path, format!("{size} {root}\n").as_bytes())
}
