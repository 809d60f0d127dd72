//! `restore`: makes a data directory of a shipment, and checks it as `fsck` does.
//!
//! Every file is compared with its hash, every entry hashed again, and the root must be that of the newest checkpoint,
//! under the log's key. Bundles go where they were, the entries that no full bundle covers into a journal, and the index
//! is made from both by the code that makes a lost one. Until all of it is durable the directory is marked unfinished,
//! which no command opens; when something fails, what was made is removed.
//!
//! Nothing here lets the copy sign: the start compares it with the high-water mark and the witnesses, as always.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use evidence::ids::Digest;
use evidence::merkle::leaf_hash;
use evidence::note::{Checkpoint, Note, NoteError, VerifierKey};
use evidence::tiles::{self, Content, Edge, Tile};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::backup::{self, BackupError, DATA_KEYS, DATA_KEYS_FILE, KEYS};
use crate::config::{Config, ConfigError};
use crate::datadir::{self, DataDir, DataDirError};
use crate::fsck;
use crate::journal::JournalError;
use crate::ledger::{LedgerOptions, OpenError, level_index};
use crate::log::BUNDLE_LEAVES;
use crate::log_key::{KNOWN_PATH, known_with};
use crate::payload_bundles::PayloadBundles;
use crate::secrets::{self, SecretError};
use crate::shipment::{
    CHECKPOINT, CONFIGURATION, COSIGNED, Head, Manifest, PUBLISHED, ShipmentError, bundle_paths, place,
};
use crate::store::rows;
use crate::tree::Folder;

mod journal;
#[cfg(test)]
pub(crate) mod tests;

use journal::{JournalMaker, Stop};

/// Why nothing was restored. What was made is removed again.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The shipment.
    #[error(transparent)]
    Shipment(#[from] ShipmentError),
    /// The keys the log had.
    #[error("the backup's list of log keys cannot be read: {0}")]
    LogKeys(String),
    /// The new data directory.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// One folder lies in another.
    #[error(transparent)]
    Inside(BackupError),
    /// The configuration that was shipped.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A key.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The keys are not this log's.
    #[error("the key in {path} is not the one of the log in the backup: give the keys of {origin}")]
    OtherKey {
        /// The file.
        path: PathBuf,
        /// Origin of the log.
        origin: String,
    },
    /// The log's key in the manifest, or a note.
    #[error("{what} of the backup is not right: take another copy of it")]
    Note {
        /// Which.
        what: &'static str,
        /// What is wrong with it.
        source: NoteError,
    },
    /// The entries are not those of a checkpoint.
    #[error("the entries of the backup do not lead to {what} of {head}: take another copy of it")]
    Root {
        /// What states it.
        what: &'static str,
        /// Size and root it states.
        head: Head,
    },
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The index.
    #[error("the index could not be made")]
    Index(#[from] OpenError),
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

/// What a restore is told.
#[derive(Default)]
pub struct Options<'a> {
    /// Folder of the keys, as `backup --keys-to` wrote it; none: the new directory has no keys.
    pub keys_from: Option<&'a Path>,
    /// Told entries made, and how many there are.
    pub progress: Option<&'a dyn Fn(u64, u64)>,
    /// Leaves of an epoch of the index; 0: the default.
    pub epoch_leaves: u64,
}

/// What was restored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Number of the run that shipped it.
    pub run: u64,
    /// When it did, milliseconds since 1970.
    pub made_ms: u64,
    /// Origin of the log.
    pub origin: String,
    /// Its key. Without keys it is what the backup says.
    pub log_key: String,
    /// Everything that was restored.
    pub log: Head,
    /// The newest signed checkpoint in it.
    pub checkpoint: Head,
    /// Files read and compared.
    pub files: u64,
    /// Their length, bytes.
    pub bytes: u64,
    /// Whether the keys were put in their places.
    pub keys: bool,
    /// The check of everything; none without keys, by which payloads are opened.
    pub check: Option<fsck::Report>,
}

/// Makes a data directory at `to`, which must not exist or be empty, of the shipment in `from`.
pub fn restore(from: &Path, to: &Path, options: &Options<'_>) -> Result<Report, RestoreError> {
    for (inner, outer) in [(to, from), (from, to)] {
        backup::refuse_inside(inner, outer).map_err(RestoreError::Inside)?;
    }
    let absent = || ShipmentError::Absent { path: from.to_owned() };
    let manifest = Manifest::read(from)?.ok_or_else(absent)?;
    let log_key = VerifierKey::parse(&manifest.log_key)
        .map_err(|source| RestoreError::Note { what: "the log's key", source })?;
    if let Some(keys) = options.keys_from {
        check_key(&keys.join(KEYS).join("log.key"), &log_key)?;
    }
    manifest.bytes(from, CONFIGURATION)?;
    let run = manifest.files.get(CONFIGURATION).map_or(0, |shipped| shipped.run);
    let config = Config::read(&place(from, run, CONFIGURATION))?;
    let existed = to.exists();
    // No ballast: the server makes it.
    let dir = DataDir::create(to, 0)?;
    let unfinished = Unfinished { path: to, existed, keep: false };
    dir.unfinished()?;
    let ledger = LedgerOptions { segment_bytes: config.segment_bytes, ..LedgerOptions::default() };
    let ledger = if options.epoch_leaves == 0 {
        ledger
    } else {
        LedgerOptions { epoch_leaves: options.epoch_leaves, ..ledger }
    };
    let log_keys = log_keys(from, &manifest, log_key)?;
    let maker = Maker { from, manifest: &manifest, dir: &dir, options, log_keys: &log_keys };
    maker.log(&ledger)?;
    maker.others()?;
    maker.keys()?;
    drop(level_index(&dir, &ledger)?);
    let check = match options.keys_from {
        Some(_) => Some(maker.check_all(&config)?),
        None => None,
    };
    dir.finished()?;
    unfinished.keep();
    Ok(Report {
        run: manifest.run,
        made_ms: manifest.made_ms,
        files: manifest.files.len() as u64,
        bytes: manifest.total_bytes(),
        keys: options.keys_from.is_some(),
        origin: manifest.origin,
        log_key: manifest.log_key,
        log: manifest.log,
        checkpoint: manifest.checkpoint,
        check,
    })
}

/// What was made so far: removed, unless it is kept.
struct Unfinished<'a> {
    path: &'a Path,
    /// Whether the folder was there before.
    existed: bool,
    keep: bool,
}

impl Unfinished<'_> {
    fn keep(mut self) {
        self.keep = true;
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        // What cannot be removed stays marked as unfinished: the mark goes last.
        let Ok(found) = fs::read_dir(self.path) else { return };
        let mut names: Vec<PathBuf> = found.flatten().map(|found| found.path()).collect();
        names.sort_by_key(|path| path.ends_with(datadir::UNFINISHED));
        for path in names {
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            if removed.is_err() {
                return;
            }
        }
        if !self.existed {
            drop(fs::remove_dir(self.path));
        }
    }
}

/// Refuses the keys of another log.
/// The key of the manifest, and those before it, as far as the backup has them: they signed what is older.
fn log_keys(
    from: &Path,
    manifest: &Manifest,
    current: VerifierKey,
) -> Result<Vec<VerifierKey>, RestoreError> {
    let Some(shipped) = manifest.files.get(KNOWN_PATH) else { return Ok(vec![current]) };
    manifest.bytes(from, KNOWN_PATH)?;
    let path = place(from, shipped.run, KNOWN_PATH);
    known_with(&path, current).map_err(|error| RestoreError::LogKeys(error.to_string()))
}

fn check_key(path: &Path, log_key: &VerifierKey) -> Result<(), RestoreError> {
    let key = secrets::signing_key(path)?;
    if key.public() == log_key.key() {
        return Ok(());
    }
    Err(RestoreError::OtherKey { path: path.to_owned(), origin: log_key.name().to_owned() })
}

/// A checkpoint, and what calls it so.
struct Signed {
    what: &'static str,
    checkpoint: Checkpoint,
    note: Vec<u8>,
}

/// Puts everything into the new directory.
struct Maker<'a> {
    from: &'a Path,
    manifest: &'a Manifest,
    dir: &'a DataDir,
    options: &'a Options<'a>,
    log_keys: &'a [VerifierKey],
}

impl Maker<'_> {
    /// Bundles, public tree and journal.
    fn log(&self, ledger: &LedgerOptions) -> Result<(), RestoreError> {
        let signed = self.note(CHECKPOINT, "the newest checkpoint")?;
        let missing = || ShipmentError::Damaged { path: self.from.join(CHECKPOINT), what: "it is missing" };
        let signed = signed.ok_or_else(missing)?;
        let cosigned = self.note(COSIGNED, "the newest cosigned checkpoint")?;
        let published = self.note(PUBLISHED, "the checkpoint of the public tree")?;
        let (size, covered) = (self.manifest.log.size, signed.checkpoint.size);
        if Head::new(covered, &signed.checkpoint.root) != self.manifest.checkpoint || covered > size {
            return Err(root_error("the newest checkpoint", &self.manifest.checkpoint));
        }
        // Everything after the newest checkpoint is read back from the journal before the next is signed.
        let from = (size.saturating_sub(1)).min(covered) / BUNDLE_LEAVES * BUNDLE_LEAVES;
        let known = [Some(&signed), cosigned.as_ref()];
        // What the tree shows is in every journal that reaches back to it.
        let is_known = |size| known.into_iter().flatten().any(|signed| signed.checkpoint.size == size);
        let shown = published.as_ref().filter(|shown| !is_known(shown.checkpoint.size));
        let stops = known.into_iter().chain([shown]).flatten();
        let stops = stops.map(|signed| Stop { size: signed.checkpoint.size, note: signed.note.clone() });
        let mut journal =
            JournalMaker::new(&self.dir.journal(), ledger.segment_bytes, (from, size), stops.collect())?;
        let (mut tree, mut payloads) =
            (Folder::new(&self.dir.tree()), PayloadBundles::new(&self.dir.payloads()));
        let tree_failed = |source| io_error("write", &self.dir.tree(), source);
        let payload_failed = |source| io_error("write", &self.dir.payloads(), source);
        tree.prepare().map_err(tree_failed)?;
        payloads.prepare().map_err(payload_failed)?;
        let mut edge = Edge::new();
        let stated = [Some(&signed), cosigned.as_ref(), published.as_ref()];
        for number in 0..size.div_ceil(BUNDLE_LEAVES) {
            let left = size - number * BUNDLE_LEAVES;
            let width = u16::try_from(left).unwrap_or(u16::MAX).min(tiles::TILE_WIDTH);
            let Some(tile) = Tile::new(Content::Entries, number, width) else { break };
            let Some([leaf_path, payload_path]) = bundle_paths(number, width) else { break };
            let leaves_bytes = self.manifest.bytes(self.from, &leaf_path)?;
            let payload_bytes = self.manifest.bytes(self.from, &payload_path)?;
            let damaged =
                |path: &str| ShipmentError::Damaged { path: self.from.join(path), what: "it is no bundle" };
            let leaves = tile.parse_entries(&leaves_bytes).map_err(|_| damaged(&leaf_path))?;
            let records =
                rows::parse_payloads(&payload_bytes).filter(|records| records.len() == leaves.len());
            let records = records.ok_or_else(|| damaged(&payload_path))?;
            if tile.is_full() {
                tree.put(&tile, &leaves_bytes).map_err(tree_failed)?;
                payloads.put(number, &payload_bytes).map_err(payload_failed)?;
            }
            for (leaf, (codec, stored)) in leaves.iter().zip(records) {
                let hash = leaf_hash(leaf);
                let pushed = edge.push(hash, |tile, hashes| tree.put(&tile, &tiles::encode_hashes(hashes)));
                pushed.map_err(tree_failed)?;
                self.check(&edge, stated)?;
                journal.entry(&edge, leaf, codec, stored)?;
                let shown = published.as_ref().filter(|shown| shown.checkpoint.size == edge.size());
                if shown.is_some() {
                    put_partials(&mut tree, &edge, &leaves_bytes).map_err(tree_failed)?;
                }
            }
            if let Some(progress) = self.options.progress {
                progress(edge.size(), size);
            }
        }
        payloads.sync().map_err(payload_failed)?;
        match &published {
            Some(shown) => tree.put_checkpoint(&shown.note),
            None => tree.sync(),
        }
        .map_err(tree_failed)
    }

    /// A note of the shipment, under the log's key.
    fn note(&self, path: &str, what: &'static str) -> Result<Option<Signed>, RestoreError> {
        if !self.manifest.files.contains_key(path) {
            return Ok(None);
        }
        let note = self.manifest.bytes(self.from, path)?;
        let checkpoint = Note::parse(&note)
            .and_then(|note| Checkpoint::open_of(&note, self.log_keys, &self.manifest.origin))
            .map_err(|source| RestoreError::Note { what, source })?;
        if checkpoint.size > self.manifest.log.size {
            return Err(root_error(what, &Head::new(checkpoint.size, &checkpoint.root)));
        }
        Ok(Some(Signed { what, checkpoint, note }))
    }

    /// Compares the root where something states it.
    fn check(&self, edge: &Edge, stated: [Option<&Signed>; 3]) -> Result<(), RestoreError> {
        let size = edge.size();
        let mut root: Option<Digest> = None;
        for signed in stated.into_iter().flatten().filter(|signed| signed.checkpoint.size == size) {
            if signed.checkpoint.root != *root.get_or_insert_with(|| edge.root()) {
                return Err(root_error(signed.what, &Head::new(size, &signed.checkpoint.root)));
            }
        }
        let log = &self.manifest.log;
        if size == log.size && root.unwrap_or_else(|| edge.root()).hex() != log.root {
            return Err(root_error("its own manifest", log));
        }
        Ok(())
    }

    /// What `fsck` says.
    fn check_all(&self, config: &Config) -> Result<fsck::Report, JournalError> {
        let size = self.manifest.log.size;
        let progress = |entries: u64| {
            if let Some(progress) = self.options.progress {
                progress(entries, size);
            }
        };
        let options = fsck::Options {
            log_keys: self.log_keys,
            origin: Some(&self.manifest.origin),
            // One inside the data directory is never shipped, and remembers nothing.
            high_water: config.high_water.as_deref().filter(|mark| !mark.starts_with(self.dir.path())),
            epoch_leaves: self.options.epoch_leaves,
            progress: Some(&progress),
        };
        fsck::check(self.dir, &options)
    }

    /// What is no part of the log, and no secret.
    fn others(&self) -> Result<(), RestoreError> {
        let root = self.dir.path();
        let failed = |source| io_error("write into", root, source);
        let mut folder = Folder::private(root);
        folder.prepare().map_err(failed)?;
        let ours =
            |path: &str| ["tree/", "payload/", "checkpoints/"].iter().any(|start| path.starts_with(start));
        for path in self.manifest.files.keys().filter(|path| !ours(path)) {
            let bytes = self.manifest.bytes(self.from, path)?;
            folder.put_path(path, &bytes).map_err(failed)?;
        }
        folder.sync().map_err(failed)?;
        fs::remove_dir_all(root.join(".new")).map_err(failed)
    }

    /// The keys, each readable by its owner alone.
    fn keys(&self) -> Result<(), RestoreError> {
        let Some(folder) = self.options.keys_from else { return Ok(()) };
        let from = folder.join(KEYS);
        let failed = |source| io_error("read", &from, source);
        for found in fs::read_dir(&from).map_err(failed)? {
            let path = found.map_err(failed)?.path();
            let name = path.file_name().unwrap_or_default();
            secrets::write_new(&self.dir.keys().join(name), &secrets::read(&path)?)?;
        }
        let (from, to) = (folder.join(DATA_KEYS).join(DATA_KEYS_FILE), self.dir.data_keys());
        let bytes = Zeroizing::new(fs::read(&from).map_err(|source| io_error("read", &from, source))?);
        datadir::make_folder(&to)?;
        Ok(secrets::write_new(&to.join(DATA_KEYS_FILE), &bytes)?)
    }
}

/// The tiles of the tree's edge, as it shows them under a checkpoint of this size.
fn put_partials(tree: &mut Folder, edge: &Edge, bundle: &[u8]) -> io::Result<()> {
    let (number, width) = tiles::row(edge.size(), 0);
    let leaves = Tile::new(Content::Entries, number, width).zip(tiles::first_entries(bundle, width));
    if let Some((tile, bytes)) = leaves {
        tree.put(&tile, bytes)?;
    }
    for (tile, hashes) in edge.partial() {
        tree.put(&tile, &tiles::encode_hashes(hashes))?;
    }
    Ok(())
}

fn root_error(what: &'static str, head: &Head) -> RestoreError {
    RestoreError::Root { what, head: head.clone() }
}

fn io_error(what: &'static str, path: &Path, source: io::Error) -> RestoreError {
    RestoreError::Io { what, path: path.to_owned(), source }
}
