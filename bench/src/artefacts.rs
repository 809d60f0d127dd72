//! What a ledger occupies on the disk, by the parts of its data directory.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use anyhow::Context as _;

/// Bytes of a block as stat(2) counts them.
const BLOCK_BYTES: u64 = 512;

/// Bytes on the disk of each part of the data directory `data`, blocks that are allocated and not written included. The
/// parts are what lies in the folder, whatever it is; only the public tree is told apart into hashes and entries.
pub fn sizes(data: &Path) -> anyhow::Result<BTreeMap<String, u64>> {
    let mut sizes = BTreeMap::new();
    for entry in fs::read_dir(data).with_context(|| format!("cannot read {}", data.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let bytes = bytes_of(&path)?;
        let entries = path.join("tile/entries");
        if name == "tree" && entries.is_dir() {
            let of_entries = bytes_of(&entries)?;
            sizes.insert("tree, entries".to_owned(), of_entries);
            sizes.insert("tree, hashes".to_owned(), bytes - of_entries);
        } else {
            sizes.insert(name, bytes);
        }
    }
    Ok(sizes)
}

/// Bytes on the disk of a file, or of everything in a folder.
pub fn bytes_of(path: &Path) -> anyhow::Result<u64> {
    let metadata =
        fs::symlink_metadata(path).with_context(|| format!("cannot look at {}", path.display()))?;
    let mut bytes = metadata.blocks() * BLOCK_BYTES;
    if metadata.is_dir() {
        for entry in fs::read_dir(path)? {
            bytes += bytes_of(&entry?.path())?;
        }
    }
    Ok(bytes)
}
