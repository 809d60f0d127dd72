//! The keys, into a folder of their own: replaced whole, so that an older copy does not outlive an erasure there.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use evidence::note::VerifierKey;
use zeroize::Zeroizing;

use super::BackupError;
use crate::datadir::{self, DataDir, replace_file};
use crate::secrets::signing_key;
use crate::shipment::is_scratch;

/// Folder of the data keys, in data directory and copy.
pub(crate) const DATA_KEYS: &str = "data-keys";
/// Folder of the other keys.
pub(crate) const KEYS: &str = "keys";
/// The file of data keys, the only one of its folder that is copied.
pub(crate) const DATA_KEYS_FILE: &str = "keys";

/// Copies the keys of a data directory into `folder`, readable by its owner alone.
pub(super) fn copy(dir: &DataDir, folder: &Path, log_keys: &[VerifierKey]) -> Result<(), BackupError> {
    let failed = |path: &Path, source| BackupError::Keys { path: path.to_owned(), source };
    for made in [folder.to_owned(), folder.join(KEYS), folder.join(DATA_KEYS)] {
        datadir::make_folder(&made)?;
    }
    let mut files: Vec<(PathBuf, PathBuf)> = Vec::new();
    let keys = dir.keys();
    for found in fs::read_dir(&keys).map_err(|source| BackupError::read(&keys, source))? {
        let from = found.map_err(|source| BackupError::read(&keys, source))?.path();
        let name = from.file_name().unwrap_or_default().to_owned();
        if !is_scratch(Path::new(&name)) {
            files.push((from, folder.join(KEYS).join(name)));
        }
    }
    files.push((dir.data_keys().join(DATA_KEYS_FILE), folder.join(DATA_KEYS).join(DATA_KEYS_FILE)));
    let mut copies = Vec::new();
    for (from, to) in files {
        let bytes = Zeroizing::new(fs::read(&from).map_err(|source| BackupError::read(&from, source))?);
        let old = match fs::read(&to) {
            Ok(old) => Some(Zeroizing::new(old)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(failed(&to, source)),
        };
        // A scope never leaves the file: one that is longer knows keys that this one does not.
        let is_data_keys = to.starts_with(folder.join(DATA_KEYS));
        if let Some(old) = &old {
            if is_data_keys && old.len() > bytes.len() {
                return Err(BackupError::OtherKeys {
                    path: to,
                    what: "holds more data keys than this log has",
                });
            }
            let is_for_ever = name_is(&to, "log.key") || name_is(&to, "wrap.key");
            // A key that the log had before makes room for the one it has now.
            let went_before = name_is(&to, "log.key")
                && signing_key(&to).is_ok_and(|old| log_keys.iter().any(|key| key.key() == old.public()));
            if is_for_ever && !went_before && *old != bytes {
                return Err(BackupError::OtherKeys { path: to, what: "is another key than this log's" });
            }
        }
        if old.as_ref() != Some(&bytes) {
            copies.push((bytes, to));
        }
    }
    // Nothing is written before everything was compared.
    for (bytes, to) in copies {
        write(&to, &bytes).map_err(|source| failed(&to, source))?;
    }
    Ok(())
}

fn name_is(path: &Path, name: &str) -> bool {
    path.file_name().is_some_and(|found| found == name)
}

/// Replaces a file, and overwrites the old one: what was erased since must not be found in its blocks.
fn write(to: &Path, bytes: &[u8]) -> io::Result<()> {
    let old = match OpenOptions::new().write(true).open(to) {
        Ok(old) => Some(old),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    replace_file(to, bytes)?;
    if let Some(mut old) = old {
        let length = usize::try_from(old.metadata()?.len()).unwrap_or(0);
        old.write_all(&vec![0; length])?;
        old.sync_all()?;
    }
    Ok(())
}
