//! Files of a person: read with a limit, never overwritten by accident, secrets for their owner only.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;

use anyhow::{Context, bail};
use zeroize::Zeroizing;

/// Mode of a file with a secret: its owner reads and writes it, nobody else does anything.
#[cfg(unix)]
const SECRET_MODE: u32 = 0o600;
/// Mode bits that would let others at a secret.
#[cfg(unix)]
const OTHERS_MODE: u32 = 0o077;

/// The bytes of a file of at most `bytes_max` bytes; `what` names it in errors, as in `the plan`.
pub(crate) fn read(path: &Path, what: &str, bytes_max: usize) -> anyhow::Result<Vec<u8>> {
    let file = open(path, what)?;
    read_all(file, path, what, bytes_max)
}

/// As [`read`], for a secret: on Unix the file must be closed to group and others.
pub(crate) fn read_secret(path: &Path, what: &str, bytes_max: usize) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let file = open(path, what)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = file.metadata().with_context(|| format!("cannot look at {}", path.display()))?;
        if mode.permissions().mode() & OTHERS_MODE != 0 {
            bail!(
                "{what} {} can be read by others: run `chmod 600 {}`, and make a new one if others could get at it",
                path.display(),
                path.display()
            );
        }
    }
    read_all(file, path, what, bytes_max).map(Zeroizing::new)
}

fn open(path: &Path, what: &str) -> anyhow::Result<File> {
    File::open(path).with_context(|| format!("cannot open {what} {}", path.display()))
}

fn read_all(file: File, path: &Path, what: &str, bytes_max: usize) -> anyhow::Result<Vec<u8>> {
    // The capacity for the largest file, so that a secret is never copied by growing.
    let mut bytes = Vec::with_capacity(bytes_max.saturating_add(1).min(1 << 16));
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    file.take(limit)
        .read_to_end(&mut bytes)
        .with_context(|| format!("cannot read {what} {}", path.display()))?;
    if bytes.len() > bytes_max {
        bail!("{what} {} has more than {bytes_max} bytes: this is another file", path.display());
    }
    Ok(bytes)
}

/// Writes a new file that everybody may read; an existing one stays as it is.
pub(crate) fn create(path: &Path, what: &str, bytes: &[u8]) -> anyhow::Result<()> {
    create_with(path, what, bytes, OpenOptions::new().write(true).create_new(true))
}

/// Writes a new file for its owner only; an existing one stays as it is.
pub(crate) fn create_secret(path: &Path, what: &str, bytes: &[u8]) -> anyhow::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, SECRET_MODE);
    create_with(path, what, bytes, &options)
}

fn create_with(path: &Path, what: &str, bytes: &[u8], options: &OpenOptions) -> anyhow::Result<()> {
    let mut file = options.open(path).with_context(|| {
        format!("cannot create {what} {} (an existing file is never overwritten)", path.display())
    })?;
    if let Err(error) = file.write_all(bytes).and_then(|()| file.sync_all()) {
        drop(file);
        // Half a file is worse than none; the error that matters is the first.
        drop(fs::remove_file(path));
        return Err(error).with_context(|| format!("cannot write {what} {}", path.display()));
    }
    Ok(())
}

/// Replaces a file as a whole: whoever reads it sees the old bytes or the new ones.
pub(crate) fn replace(path: &Path, what: &str, bytes: &[u8]) -> anyhow::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let fresh = path.with_file_name(name);
    create(&fresh, what, bytes)?;
    fs::rename(&fresh, path).with_context(|| format!("cannot replace {what} {}", path.display()))
}

#[cfg(test)]
mod tests;
