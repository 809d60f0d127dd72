//! `backup`: ships the log into a folder that only grows, and checks what it ships.
//!
//! # Order of a run
//!
//! 1. Where the log ends (`source`), and whether the folder holds a shipment of this log.
//! 2. Every entry is hashed again; bundles that are new or have changed are put into this run's folder. The root must be
//!    the earlier shipment's at its size, the newest signed checkpoint's at its size, and that of the whole.
//! 3. Configuration, certificates and notes, as far as they are new.
//! 4. The keys, if a folder is named for them: never into the shipment, and before what they open is named by it.
//! 5. Everything is synced, then the manifest replaced. *A crash before: the earlier shipment is whole.*
//! 6. What the manifest does not name is removed. *A crash before: the next run does it.*
//!
//! A bundle of leaves never changes. One of payloads does when payloads are erased in it: then each record that differs
//! must open to what its leaf commits to or say that it was erased, so that a rotten one never replaces a good one.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use evidence::leaf::Leaf;
use evidence::merkle::leaf_hash;
use evidence::note::{NoteError, VerifierKey};
use evidence::tiles::{Content, Edge, Tile};
use evidence::time::Timestamp;
use serde::Serialize;

use crate::data_keys::DataKeys;
use crate::datadir::{DataDir, DataDirError};
use crate::journal::JournalError;
use crate::log::BUNDLE_LEAVES;
use crate::payload_codec;
use crate::shipment::{
    Around, CHECKPOINT, CONFIGURATION, COSIGNED, Head, Manifest, PUBLISHED, ShipmentError, Shipped, Target,
    bundle_paths, files_below, is_partial,
};
use crate::store::rows;

mod keys;
mod source;
#[cfg(test)]
pub(crate) mod tests;

pub(crate) use keys::{DATA_KEYS, DATA_KEYS_FILE, KEYS};
use source::{Bundle, Signed, Source};

/// Why nothing was shipped. The shipment that was there is as it was.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The folder that is shipped to.
    #[error(transparent)]
    Shipment(#[from] ShipmentError),
    /// The data directory.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// One folder lies in another.
    #[error("{inner} is {outer} or lies inside it: give a folder elsewhere, best on another disk")]
    Inside {
        /// The folder given.
        inner: PathBuf,
        /// The one it lies in.
        outer: PathBuf,
    },
    /// A folder or file could not be read.
    #[error("could not read {path}")]
    Read {
        /// The folder or file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The keys could not be written.
    #[error("could not write the keys into {path}")]
    Keys {
        /// The folder or file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// There are keys already, and they are not older ones of this log.
    #[error("{path} {what}: give another folder for the keys of this log")]
    OtherKeys {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// Nothing was ever signed.
    #[error("the log has not signed a checkpoint yet: run `serve` once, then back up")]
    Unsigned,
    /// A checkpoint is not by this log's key.
    #[error("the newest checkpoint in {place} is not by this log's key: run fsck")]
    Checkpoint {
        /// Where it lies.
        place: &'static str,
        /// What is wrong with it.
        source: NoteError,
    },
    /// The journal ends before what was published.
    #[error(
        "the journal ends at {size} entries, and the log has published more: it is damaged, or an old copy. Run fsck"
    )]
    JournalBehind {
        /// Entries found.
        size: u64,
    },
    /// A bundle is nowhere.
    #[error(
        "entries {from} to {to} are neither in `tree` and `payload` nor in the journal: stop the server and run `rebuild`"
    )]
    Nowhere {
        /// The first of them.
        from: u64,
        /// The last of them.
        to: u64,
    },
    /// A file of the log is not what it must be.
    #[error("{path} of the data directory is damaged: {what}. Stop the server and run `rebuild`, then fsck")]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong.
        what: &'static str,
    },
    /// The entries are not those of the checkpoint.
    #[error(
        "the first entries of `tree` and journal do not lead to the signed checkpoint of {signed}: run fsck"
    )]
    Root {
        /// What was signed.
        signed: Head,
    },
    /// The shipment is of another log.
    #[error("{path} holds the backup of {origin} with the key {log_key}: this is another log")]
    OtherLog {
        /// The folder.
        path: PathBuf,
        /// Origin of the log in it.
        origin: String,
        /// Its key.
        log_key: String,
    },
    /// The shipment is newer, or of another history.
    #[error(
        "{path} holds a backup of {} (its checkpoint: {}), which is no beginning of this log of {} (its checkpoint: {}): \
         this is an older copy of the log, or another. Nothing was shipped; see \"An old copy was restored\" in OPERATING.md",
        .heads.earlier, .heads.earlier_checkpoint, .heads.here, .heads.checkpoint
    )]
    NoPrefix {
        /// The folder.
        path: PathBuf,
        /// What lies there and what is here.
        heads: Box<Heads>,
    },
}

/// Two logs that should be one, and what each has signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heads {
    /// What was shipped before.
    pub earlier: Head,
    /// The newest checkpoint that was.
    pub earlier_checkpoint: Head,
    /// What would be shipped.
    pub here: Head,
    /// The newest checkpoint here.
    pub checkpoint: Head,
}

impl BackupError {
    fn read(path: &Path, source: io::Error) -> Self {
        Self::Read { path: path.to_owned(), source }
    }
}

/// What a backup is told.
pub struct Options<'a> {
    /// The log's key.
    /// The key of today last.
    pub log_keys: &'a [VerifierKey],
    /// Length of the journal's segments, bytes.
    pub segment_bytes: u64,
    /// Files that the configuration names beside it: a witness policy, roots. Those outside the data directory are left.
    pub named: Vec<PathBuf>,
    /// Folder for the keys.
    pub keys_to: Option<&'a Path>,
    /// When this is.
    pub now: Timestamp,
    /// Told entries checked, and how many there are.
    pub progress: Option<&'a dyn Fn(u64, u64)>,
    /// Stands around every write.
    pub around: Option<&'a Around<'a>>,
}

/// What was shipped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Number of the run whose manifest is the newest.
    pub run: u64,
    /// Whether the server was running.
    pub beside_server: bool,
    /// Everything that lies there now.
    pub log: Head,
    /// The newest signed checkpoint in it.
    pub checkpoint: Head,
    /// What lay there before, if anything did.
    pub earlier: Option<Head>,
    /// Files this run brought.
    pub new_files: u64,
    /// Their length, bytes.
    pub new_bytes: u64,
    /// Files that lie there now.
    pub files: u64,
    /// Their length, bytes.
    pub bytes: u64,
    /// Whether payloads that were shipped were opened and compared with what was committed to.
    pub payloads_opened: bool,
    /// Where the keys were put; none: they are not in the backup.
    pub keys: Option<PathBuf>,
}

/// Ships what is new of the log in `dir` into the folder `to`.
pub fn backup(dir: &DataDir, to: &Path, options: &Options<'_>) -> Result<Report, BackupError> {
    refuse_inside(to, dir.path())?;
    if let Some(keys) = options.keys_to {
        refuse_inside(keys, dir.path())?;
        refuse_inside(keys, to)?;
        refuse_inside(to, keys)?;
    }
    let (target, earlier) = Target::open(to, options.around)?;
    let current = options.log_keys.last().ok_or(BackupError::Unsigned)?;
    let (vkey, origin) = (current.vkey(), current.name());
    let is_ours = |earlier: &&Manifest| options.log_keys.iter().any(|key| key.vkey() == earlier.log_key);
    if let Some(earlier) = earlier.as_ref().filter(|earlier| !is_ours(earlier)) {
        let (path, origin, log_key) = (to.to_owned(), earlier.origin.clone(), earlier.log_key.clone());
        return Err(BackupError::OtherLog { path, origin, log_key });
    }
    let source = Source::open(dir, options.segment_bytes, options.log_keys)?;
    let mut before = earlier.clone().unwrap_or_else(|| Manifest::new(origin, &vkey));
    before.log_key.clone_from(&vkey);
    // After the log's end was found: whatever is before it has its key by now.
    let data_keys = DataKeys::inspect(&dir.keys(), &dir.data_keys()).ok();
    let files = before.files.clone();
    let mut run = Run { to, options, source, target, before, files, data_keys, new_files: 0, new_bytes: 0 };
    run.log()?;
    run.others(dir)?;
    if let Some(folder) = options.keys_to {
        keys::copy(dir, folder, options.log_keys)?;
    }
    run.finish(dir, earlier.as_ref())
}

/// One run.
struct Run<'a> {
    to: &'a Path,
    options: &'a Options<'a>,
    source: Source,
    target: Target<'a>,
    /// The earlier shipment; an empty one if there is none.
    before: Manifest,
    files: BTreeMap<String, Shipped>,
    data_keys: Option<DataKeys>,
    new_files: u64,
    new_bytes: u64,
}

impl Run<'_> {
    /// Ships the bundles, and hashes every entry on the way.
    fn log(&mut self) -> Result<(), BackupError> {
        let size = self.source.size;
        if self.before.log.size > size {
            return Err(self.no_prefix());
        }
        let mut edge = Edge::new();
        self.check(&edge)?;
        for number in 0..size.div_ceil(BUNDLE_LEAVES) {
            let width = self.source.width(number);
            let bundle = self.source.bundle(number, width)?;
            let Some(tile) = Tile::new(Content::Entries, number, width) else { break };
            let Some([path, payload_path]) = bundle_paths(number, width) else { break };
            let form = |what| BackupError::Damaged { path: path.clone(), what };
            let leaves = tile.parse_entries(&bundle.leaves).map_err(|_| form("it is no bundle"))?;
            for leaf in &leaves {
                let Ok(()) = edge.push(leaf_hash(leaf), |_, _| Ok::<_, std::convert::Infallible>(()));
                self.check(&edge)?;
            }
            let old = self.before.files.get(&path);
            if old.is_some_and(|old| !old.is(&bundle.leaves)) {
                return Err(form("other leaves were shipped before"));
            }
            self.payloads(number, payload_path, &leaves, &bundle)?;
            self.ship(&path, &bundle.leaves)?;
            if let Some(progress) = self.options.progress {
                progress(edge.size(), size);
            }
        }
        // What was the last bundle may have grown.
        let (last, width) = evidence::tiles::row(size, 0);
        let now = bundle_paths(last, width);
        self.files.retain(|path, _| !is_partial(path) || now.as_ref().is_some_and(|now| now.contains(path)));
        Ok(())
    }

    /// Compares the root where something states it.
    fn check(&self, edge: &Edge) -> Result<(), BackupError> {
        let (size, signed) = (edge.size(), &self.source.signed.checkpoint);
        let (earlier, here) = (&self.before.log, (self.source.size, self.source.root));
        if ![earlier.size, signed.size, here.0].contains(&size) {
            return Ok(());
        }
        let root = edge.root();
        if earlier.size == size && earlier.root != root.hex() {
            return Err(self.no_prefix());
        }
        for (stated, stated_root) in [(signed.size, signed.root), here] {
            if stated == size && stated_root != root {
                return Err(BackupError::Root { signed: Head::new(stated, &stated_root) });
            }
        }
        Ok(())
    }

    fn no_prefix(&self) -> BackupError {
        let heads = Heads {
            earlier: self.before.log.clone(),
            earlier_checkpoint: self.before.checkpoint.clone(),
            here: Head::new(self.source.size, &self.source.root),
            checkpoint: head(&self.source.signed),
        };
        BackupError::NoPrefix { path: self.to.to_owned(), heads: Box::new(heads) }
    }

    /// Ships a payload bundle, unless it is there; one that is new or has changed is read first.
    fn payloads(
        &mut self,
        number: u64,
        path: String,
        leaves: &[&[u8]],
        bundle: &Bundle,
    ) -> Result<(), BackupError> {
        if self.before.files.get(&path).is_some_and(|old| old.is(&bundle.payloads)) {
            return self.ship(&path, &bundle.payloads);
        }
        let form = |what| BackupError::Damaged { path: path.clone(), what };
        let records = rows::parse_payloads(&bundle.payloads).filter(|records| records.len() == leaves.len());
        let records = records.ok_or_else(|| form("it is no bundle of payload records"))?;
        // One that cannot be read there any more is no reason to take these on trust.
        let changed = self.before.files.contains_key(&path);
        let old = if changed { self.before.bytes(self.to, &path).unwrap_or_default() } else { Vec::new() };
        let old = rows::parse_payloads(&old).unwrap_or_default();
        let first = number.saturating_mul(BUNDLE_LEAVES);
        for (place, ((index, leaf), (codec, stored))) in (first..).zip(leaves).zip(&records).enumerate() {
            let sound = match old.get(place) {
                Some(old) if *old == (*codec, *stored) => true,
                _ if changed => self.opens(index, leaf, *codec, stored),
                _ => payload_codec::fits(self.data_keys.as_ref(), index, leaf, *codec, stored),
            };
            if !sound {
                return Err(form("a record in it is not what its leaf commits to"));
            }
        }
        self.ship(&path, &bundle.payloads)
    }

    /// Whether a record is proved to be what its leaf commits to, or says that it was erased.
    fn opens(&self, index: u64, bytes: &[u8], codec: u8, stored: &[u8]) -> bool {
        Leaf::parse(bytes).is_ok_and(|leaf| {
            payload_codec::read(self.data_keys.as_ref(), index, &leaf, bytes, codec, stored).is_ok()
        })
    }

    /// Everything that is no bundle and no secret.
    fn others(&mut self, dir: &DataDir) -> Result<(), BackupError> {
        let root = dir.path();
        let mut paths = vec![CONFIGURATION.to_owned()];
        for folder in [dir.certs(), dir.witnesses(), dir.notes()] {
            let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let found = files_below(&folder).map_err(|source| BackupError::read(&folder, source))?;
            paths.extend(found.into_iter().map(|path| format!("{name}/{path}")));
        }
        for named in &self.options.named {
            let inside = root.join(named);
            let inside = inside.strip_prefix(root).ok().filter(|_| inside.is_file());
            paths.extend(inside.and_then(Path::to_str).map(str::to_owned));
        }
        for path in paths {
            let bytes = std::fs::read(root.join(&path));
            let bytes = bytes.map_err(|source| BackupError::read(&root.join(&path), source))?;
            self.ship(&path, &bytes)?;
        }
        let Source { signed, cosigned, published, .. } = &self.source;
        let notes =
            [(CHECKPOINT, Some(signed)), (COSIGNED, cosigned.as_ref()), (PUBLISHED, published.as_ref())];
        let notes = notes.map(|(path, signed)| (path, signed.map(|signed| signed.note.clone())));
        for (path, note) in notes {
            if let Some(note) = note {
                self.ship(path, &note)?;
            }
        }
        Ok(())
    }

    fn ship(&mut self, path: &str, bytes: &[u8]) -> Result<(), BackupError> {
        let lies_there =
            self.files.get(path).filter(|old| old.is(bytes) && self.target.lies_there(path, old));
        if lies_there.is_some() {
            return Ok(());
        }
        self.target.put(path, bytes)?;
        self.files.insert(path.to_owned(), Shipped::new(bytes, self.target.run()));
        self.new_files += 1;
        self.new_bytes = self.new_bytes.saturating_add(bytes.len() as u64);
        Ok(())
    }

    fn finish(self, dir: &DataDir, earlier: Option<&Manifest>) -> Result<Report, BackupError> {
        let mut manifest = self.before;
        manifest.files = self.files;
        manifest.log = Head::new(self.source.size, &self.source.root);
        manifest.checkpoint = head(&self.source.signed);
        if earlier == Some(&manifest) {
            self.target.tidy(&manifest)?;
        } else {
            (manifest.run, manifest.made_ms) = (self.target.run(), self.options.now.ms());
            self.target.finish(&manifest)?;
        }
        Ok(Report {
            run: manifest.run,
            beside_server: !dir.is_locked(),
            earlier: earlier.map(|earlier| earlier.log.clone()),
            new_files: self.new_files,
            new_bytes: self.new_bytes,
            files: manifest.files.len() as u64,
            bytes: manifest.total_bytes(),
            payloads_opened: self.data_keys.is_some(),
            keys: self.options.keys_to.map(Path::to_owned),
            log: manifest.log,
            checkpoint: manifest.checkpoint,
        })
    }
}

fn head(signed: &Signed) -> Head {
    Head::new(signed.checkpoint.size, &signed.checkpoint.root)
}

/// Refuses a folder, made or not, that is `outer` or lies in it, whatever path leads there.
pub(crate) fn refuse_inside(inner: &Path, outer: &Path) -> Result<(), BackupError> {
    let real = |path: &Path| -> io::Result<PathBuf> {
        let whole = std::path::absolute(path)?;
        let there = whole.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(Path::new("/"));
        let rest = whole.strip_prefix(there).unwrap_or(Path::new(""));
        Ok(there.canonicalize()?.join(rest))
    };
    let inner_real = real(inner).map_err(|source| BackupError::read(inner, source))?;
    let outer_real = real(outer).map_err(|source| BackupError::read(outer, source))?;
    if inner_real.starts_with(&outer_real) {
        return Err(BackupError::Inside { inner: inner.to_owned(), outer: outer.to_owned() });
    }
    Ok(())
}
