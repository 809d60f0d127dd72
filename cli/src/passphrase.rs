//! Where a key file's passphrase comes from: a file, standard input, or the person at the terminal. Never the command line,
//! which other users can read.

use std::io::Read as _;
use std::path::Path;

use anyhow::Context as _;
use certs::{PASSPHRASE_BYTES_MAX, Passphrase, PersonKey};
use zeroize::Zeroizing;

use crate::act::random;
use crate::client::Options;
use crate::files;

/// Names standard input.
const STANDARD_INPUT: &str = "-";

impl Options {
    /// The passphrase of an existing key file; `path` is shown to whoever is asked.
    pub(crate) fn passphrase(&self, path: &Path) -> anyhow::Result<Passphrase> {
        match &self.passphrase_file {
            Some(file) => read(file),
            None => Ok(Passphrase::ask(&format!("Passphrase of {}: ", path.display()))?),
        }
    }
}

/// The passphrase of a key file to be made: long enough, and where it is typed, typed twice.
pub(crate) fn new_passphrase(file: Option<&Path>, path: &Path) -> anyhow::Result<Passphrase> {
    match file {
        Some(file) => Ok(read(file)?.checked()?),
        None => Ok(Passphrase::ask_new(&format!("New passphrase for {}: ", path.display()))?),
    }
}

fn read(file: &Path) -> anyhow::Result<Passphrase> {
    // One byte more than fits, so that a longer one is refused and not cut.
    let mut bytes = Zeroizing::new(Vec::with_capacity(PASSPHRASE_BYTES_MAX + 4));
    if file == Path::new(STANDARD_INPUT) {
        let limit = u64::try_from(PASSPHRASE_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(3);
        std::io::stdin().lock().take(limit).read_to_end(&mut bytes).context("cannot read standard input")?;
    } else {
        bytes = files::read_secret(file, "the passphrase file", PASSPHRASE_BYTES_MAX + 2)?;
    }
    Passphrase::of_line(&bytes).with_context(|| file.display().to_string())
}

/// The bytes of a key file under a passphrase.
pub(crate) fn protect(key: &PersonKey, passphrase: &Passphrase) -> anyhow::Result<Vec<u8>> {
    Ok(key.protect(passphrase, &random()?)?)
}
