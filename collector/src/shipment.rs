//! A shipment: the log in a folder that only grows, as `backup` writes it and `restore` reads it.
//!
//! `shipment.json` names every file that counts, with its length, its SHA-256 and the number of the run that brought it;
//! the file lies at `<number>/<path>`. It is replaced last, by one rename: a run that was interrupted leaves files that
//! nothing names, and the shipment before it whole. No folder in it has the form of a data directory, and `serve` refuses
//! one that holds a `shipment.json`. docs/FORMAT.md section 13 has the bytes.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Component, Path, PathBuf};

use evidence::ids::Digest;
use evidence::tiles::{Content, Tile};
use serde::{Deserialize, Serialize};

mod target;
#[cfg(test)]
mod tests;

pub use target::{Around, Target};

/// The file that names all others.
pub const MANIFEST: &str = "shipment.json";
/// Configuration, by its path in data directory and shipment.
pub(crate) const CONFIGURATION: &str = "collector.toml";
/// The newest checkpoint the log has signed.
pub(crate) const CHECKPOINT: &str = "checkpoints/signed";
/// The newest one with lines of witnesses, if there is one.
pub(crate) const COSIGNED: &str = "checkpoints/cosigned";
/// The one the public tree shows, if there is a tree.
pub(crate) const PUBLISHED: &str = "tree/checkpoint";
/// Folder of the payload bundles.
const PAYLOADS: &str = "payload";
/// Folder of the public tree, of which the entry bundles are shipped: the rest is computed from them.
const TREE: &str = "tree";
/// Names in a data directory that no file of a shipment may have: `restore` makes them, or they are secret.
const RESERVED: [&str; 9] = [
    "keys",
    "data-keys",
    "journal",
    "sled",
    "ballast",
    "high-water",
    "admin.sock",
    "restore.unfinished",
    MANIFEST,
];
const FORMAT: &str = "tallystick/shipment/v1";
/// Longest manifest, bytes: some four million files, a log of 500 million entries.
const MANIFEST_BYTES_MAX: u64 = 512 << 20;

/// Why a shipment could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ShipmentError {
    /// There is none.
    #[error("{path} holds no backup: there is no {MANIFEST} in it")]
    Absent {
        /// The folder.
        path: PathBuf,
    },
    /// Something else lies there.
    #[error(
        "{path} holds {name:?}, which is no part of a backup: give an empty folder, or one of an earlier backup"
    )]
    Foreign {
        /// The folder.
        path: PathBuf,
        /// What lies there.
        name: String,
    },
    /// Another `backup` or `restore` works there.
    #[error("{path} is in use by another backup: wait for it")]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// A file is not what was shipped.
    #[error("{path} is damaged: {what}. Take another copy of the backup")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: &'static str,
    },
    /// The system refused.
    #[error("could not {what} {path}")]
    Io {
        /// What was tried, as a verb phrase.
        what: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

/// Size and root of a tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// Entries.
    pub size: u64,
    /// Root over them, hex.
    pub root: String,
}

impl Head {
    /// Of a size and a root.
    pub fn new(size: u64, root: &Digest) -> Self {
        Self { size, root: root.hex() }
    }
}

/// For people: "the checkpoint of 12 entries, root 0123…".
impl std::fmt::Display for Head {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} entries, root {}", self.size, self.root)
    }
}

/// A file of a shipment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shipped {
    /// Its length, bytes.
    pub bytes: u64,
    /// Its SHA-256, hex.
    pub sha256: String,
    /// Number of the run that brought it.
    pub run: u64,
}

impl Shipped {
    /// Of these bytes, brought by that run.
    pub(crate) fn new(bytes: &[u8], run: u64) -> Self {
        Self { bytes: bytes.len() as u64, sha256: Digest::of(bytes).hex(), run }
    }

    /// Whether these are its bytes.
    pub(crate) fn is(&self, bytes: &[u8]) -> bool {
        self.bytes == bytes.len() as u64 && self.sha256 == Digest::of(bytes).hex()
    }
}

/// Everything that counts of a shipment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    format: String,
    /// Origin of the log.
    pub origin: String,
    /// Its verifier key.
    pub log_key: String,
    /// Number of the run that wrote this, from 1.
    pub run: u64,
    /// When it did, milliseconds since 1970.
    pub made_ms: u64,
    /// Everything that was shipped.
    pub log: Head,
    /// The newest signed checkpoint: of all of it, or, where the collector was stopped without one, of its beginning.
    pub checkpoint: Head,
    /// By path in the data directory.
    pub files: BTreeMap<String, Shipped>,
}

/// As it lies in `shipment.json`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed {
    shipment: Manifest,
    /// Of the bytes of `shipment`.
    sha256: String,
}

impl Manifest {
    /// The manifest of a log's first run, without a file.
    pub(crate) fn new(origin: &str, log_key: &str) -> Self {
        let nothing = Head::new(0, &evidence::merkle::empty_root());
        Self {
            format: FORMAT.to_owned(),
            origin: origin.to_owned(),
            log_key: log_key.to_owned(),
            run: 0,
            made_ms: 0,
            log: nothing.clone(),
            checkpoint: nothing,
            files: BTreeMap::new(),
        }
    }

    /// The manifest in a folder; none if there is no such file.
    pub fn read(folder: &Path) -> Result<Option<Self>, ShipmentError> {
        let path = folder.join(MANIFEST);
        let Some(bytes) = read_at_most(&path, MANIFEST_BYTES_MAX)? else { return Ok(None) };
        let damaged = |what| ShipmentError::Damaged { path: path.clone(), what };
        let sealed: Sealed =
            serde_json::from_slice(&bytes).map_err(|_| damaged("it is no manifest of a backup"))?;
        let manifest = sealed.shipment;
        // One form only: a byte that changes nothing would be a byte nobody checks.
        if manifest.encode().as_deref() != Some(bytes.as_slice()) {
            return Err(damaged("its checksum does not match its bytes"));
        }
        if manifest.format != FORMAT {
            return Err(damaged("it is of another version than this program knows"));
        }
        if let Some(file) = manifest.files.keys().find(|path| !is_placeable(path)) {
            return Err(ShipmentError::Damaged {
                path: path.join(file),
                what: "no backup holds a file of that name",
            });
        }
        Ok(Some(manifest))
    }

    /// Its bytes; none if it has a form that JSON cannot hold, which none has.
    pub(crate) fn encode(&self) -> Option<Vec<u8>> {
        let sha256 = Digest::of(&serde_json::to_vec(self).ok()?).hex();
        serde_json::to_vec(&Sealed { shipment: self.clone(), sha256 }).ok()
    }

    /// The bytes of a file, checked.
    pub fn bytes(&self, folder: &Path, path: &str) -> Result<Vec<u8>, ShipmentError> {
        let missing = |path: &Path| ShipmentError::Damaged { path: path.to_owned(), what: "it is missing" };
        let shipped = self.files.get(path).ok_or_else(|| missing(&folder.join(path)))?;
        let place = place(folder, shipped.run, path);
        let bytes = read_at_most(&place, shipped.bytes.saturating_add(1))?.ok_or_else(|| missing(&place))?;
        if shipped.is(&bytes) {
            Ok(bytes)
        } else {
            Err(ShipmentError::Damaged { path: place, what: "it does not have the bytes that were shipped" })
        }
    }

    /// Length of all files, bytes.
    pub fn total_bytes(&self) -> u64 {
        self.files.values().map(|shipped| shipped.bytes).sum()
    }
}

/// Paths of the leaves and of the payloads of bundle `number` with its first `width` entries; none for no entries.
pub(crate) fn bundle_paths(number: u64, width: u16) -> Option<[String; 2]> {
    let leaves = Tile::new(Content::Entries, number, width)?.path();
    let payloads = leaves.strip_prefix("tile/entries/")?;
    Some([format!("{TREE}/{leaves}"), format!("{PAYLOADS}/{payloads}")])
}

/// Whether a path is one of a bundle that is not full.
pub(crate) fn is_partial(path: &str) -> bool {
    path.contains(".p/") && [TREE, PAYLOADS].iter().any(|folder| path.split('/').next() == Some(folder))
}

/// Where a file lies.
pub(crate) fn place(folder: &Path, run: u64, path: &str) -> PathBuf {
    run_folder(folder, run).join(path)
}

/// The folder of a run.
fn run_folder(folder: &Path, run: u64) -> PathBuf {
    folder.join(format!("{run:08}"))
}

/// Whether a path of a manifest stays inside a data directory, and outside of what `restore` makes itself.
fn is_placeable(path: &str) -> bool {
    let mut parts = Path::new(path).components();
    let first = Path::new(path).components().next();
    let reserved = RESERVED.iter().any(|name| first == Some(Component::Normal(name.as_ref())));
    let normal = parts.all(|part| matches!(part, Component::Normal(name) if !is_scratch(Path::new(name))));
    !path.is_empty() && !reserved && normal && !path.contains('\\')
}

/// Whether a name is one under which files are being written.
pub(crate) fn is_scratch(name: &Path) -> bool {
    name.extension().is_some_and(|extension| extension == "new") || name == Path::new(".new")
}

/// The bytes of a file up to a length; none if there is none.
fn read_at_most(path: &Path, bytes_max: u64) -> Result<Option<Vec<u8>>, ShipmentError> {
    let failed = |source| ShipmentError::Io { what: "read", path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(source) => return Err(failed(source)),
    };
    let mut bytes = Vec::new();
    file.take(bytes_max).read_to_end(&mut bytes).map_err(failed)?;
    Ok(Some(bytes))
}

/// Every file below a folder, by its path in it with slashes, ascending; empty if there is no such folder. What is being
/// written is left out.
pub(crate) fn files_below(root: &Path) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    let mut folders = vec![(root.to_owned(), String::new())];
    while let Some((folder, prefix)) = folders.pop() {
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            if is_scratch(Path::new(&name)) {
                continue;
            }
            let path = format!("{prefix}{}", name.to_string_lossy());
            if entry.file_type()?.is_dir() {
                folders.push((entry.path(), format!("{path}/")));
            } else {
                found.push(path);
            }
        }
    }
    found.sort_unstable();
    Ok(found)
}
