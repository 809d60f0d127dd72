//! The public tree: C2SP tlog-tiles as plain files, made from the ledger behind its checkpoints.
//!
//! Every leaf is hashed again by `evidence::tiles`, code apart from the writer's own tree, and a checkpoint becomes
//! visible only when that leads to its root and all tiles below it are durable: checkpoint ≤ tree ≤ journal. The tree
//! is derived: what is missing or damaged in it is made again from the ledger, and ingest never waits for it.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use std::{fmt, io, thread};

use evidence::ids::Digest;
use evidence::merkle::leaf_hash;
use evidence::note::{Checkpoint, Note, VerifierKey};
use evidence::tiles::{self, Content, Edge, TILE_WIDTH, Tile, TileError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::causes::chain;
use crate::failpoints;
use crate::ledger::{Ledger, Published, ReadError};

mod folder;
#[cfg(test)]
mod tests;
pub mod web;

pub use folder::{Folder, part};

/// Pause after a failure, such as a full disk, before the next try.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// Why the public tree was not brought level.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// A file of it could not be read or written; it is tried again.
    #[error("the public tree at {path} could not be read or written")]
    Io {
        /// The tree's folder.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The ledger could not be read.
    #[error("the public tree could not be continued from the ledger")]
    Read(#[from] ReadError),
    /// A leaf that no bundle can hold.
    #[error(transparent)]
    Tile(#[from] TileError),
    /// The tree's checkpoint is newer than the log: the log lost entries that were published.
    #[error(
        "the public tree holds a signed checkpoint of {tree} entries and the log has {log}: the log is an old copy. \
         Nothing was changed; restore the newer log"
    )]
    Ahead {
        /// Entries of the tree's checkpoint.
        tree: u64,
        /// Entries of the log.
        log: u64,
    },
    /// Two histories under one key.
    #[error(
        "the public tree holds a signed checkpoint of {size} entries whose root is not the log's: two logs have one \
         origin. Nothing was changed; keep both as evidence"
    )]
    Fork {
        /// Entries of the tree's checkpoint.
        size: u64,
    },
    /// The leaves of the index are not those of the signed root.
    #[error("the leaves read from the index do not lead to the signed root of {size} entries; run fsck")]
    Leaves {
        /// Entries of the checkpoint.
        size: u64,
    },
}

impl TreeError {
    /// Whether trying again may help.
    fn may_pass(&self) -> bool {
        matches!(self, Self::Io { .. } | Self::Read(_))
    }
}

/// What opening a tree found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Repairs {
    /// Entries its checkpoint covered.
    pub size: u64,
    /// Files made again, because they were missing or held other bytes.
    pub files: u64,
    /// The checkpoint file is there, and is no checkpoint of this log.
    pub checkpoint: bool,
}

/// The public tree, level with one checkpoint.
pub struct PublicTree {
    folder: Folder,
    ledger: Ledger,
    edge: Edge,
    /// Bytes of the entries after the last full bundle.
    bundle: Vec<u8>,
    /// The note in the checkpoint file.
    note: Vec<u8>,
}

impl PublicTree {
    /// Opens the tree in `folder`, makes it if there is none, and makes every file again that is not what the ledger
    /// says. Reads the whole tree once.
    pub fn open(
        folder: Folder,
        ledger: Ledger,
        log_keys: &[VerifierKey],
    ) -> Result<(Self, Repairs), TreeError> {
        let mut tree = Self { folder, ledger, edge: Edge::new(), bundle: Vec::new(), note: Vec::new() };
        tree.folder.prepare().map_err(|source| tree.failed(source))?;
        let mut repairs = Repairs::default();
        let found = tree.folder.checkpoint().map_err(|source| tree.failed(source))?;
        let Some(note) = found else { return Ok((tree, repairs)) };
        let parsed = Note::parse(&note).and_then(|note| Checkpoint::open(&note, log_keys));
        let is_ours = |checkpoint: &Checkpoint| log_keys.iter().any(|key| key.name() == checkpoint.origin);
        let Some(checkpoint) = parsed.ok().filter(is_ours) else {
            repairs.checkpoint = true;
            return Ok((tree, repairs));
        };
        let log = tree.ledger.size();
        if checkpoint.size > log {
            return Err(TreeError::Ahead { tree: checkpoint.size, log });
        }
        if tree.ledger.root_at(checkpoint.size)? != checkpoint.root {
            return Err(TreeError::Fork { size: checkpoint.size });
        }
        repairs.size = checkpoint.size;
        tree.check(checkpoint.size, &mut repairs)?;
        if tree.edge.root() != checkpoint.root {
            return Err(TreeError::Leaves { size: checkpoint.size });
        }
        tree.folder.sync().map_err(|source| tree.failed(source))?;
        tree.ledger.tree_is_durable(checkpoint.size);
        tree.note = note;
        Ok((tree, repairs))
    }

    /// Entries the tree covers.
    pub fn size(&self) -> u64 {
        self.edge.size()
    }

    /// Brings the tree level with a published checkpoint, and shows it. After a failure it is as before.
    pub fn publish(&mut self, published: &Published) -> Result<(), TreeError> {
        let Checkpoint { size, root, .. } = published.checkpoint;
        let from = self.edge.size();
        if size < from || (size == from && self.note == published.note.as_bytes()) {
            return Ok(());
        }
        let (edge, bundle) = (self.edge.clone(), self.bundle.clone());
        let shown = self.grow(size, &root).and_then(|filled| {
            failpoints::reach("tree-tiles-put");
            self.folder.sync().map_err(|source| self.failed(source))?;
            failpoints::reach("tree-tiles-synced");
            self.folder.put_checkpoint(published.note.as_bytes()).map_err(|source| self.failed(source))?;
            failpoints::reach("tree-checkpoint-synced");
            Ok(filled)
        });
        match shown {
            Ok(filled) => {
                published.note.as_bytes().clone_into(&mut self.note);
                self.ledger.tree_is_durable(size);
                for tile in filled {
                    // Left behind they only take room; the next start removes them.
                    drop(self.folder.remove_partials(&tile));
                }
                Ok(())
            }
            Err(error) => {
                (self.edge, self.bundle) = (edge, bundle);
                // What was half written is written again from its beginning.
                drop(self.folder.prepare());
                Err(error)
            }
        }
    }

    /// Adds the leaves up to `size`, puts the tiles they change, and gives those that they fill.
    fn grow(&mut self, size: u64, root: &Digest) -> Result<Vec<Tile>, TreeError> {
        let from = self.edge.size();
        let mut filled = Vec::new();
        while self.edge.size() < size {
            let (number, _) = tiles::row(self.edge.size(), 0);
            let end = number.saturating_add(1).saturating_mul(TILE_WIDTH.into());
            for leaf in self.ledger.leaves(self.edge.size(), end.min(size))? {
                tiles::push_entry(&mut self.bundle, &leaf)?;
                let folder = &mut self.folder;
                let pushed = self.edge.push(leaf_hash(&leaf), |tile, hashes| {
                    filled.push(tile);
                    folder.put(&tile, &tiles::encode_hashes(hashes))
                });
                pushed.map_err(|source| self.failed(source))?;
            }
            if self.edge.size() == end
                && let Some(tile) = Tile::new(Content::Entries, number, TILE_WIDTH)
            {
                filled.push(tile);
                self.folder.put(&tile, &self.bundle).map_err(|source| self.failed(source))?;
                self.bundle.clear();
            }
        }
        if self.edge.root() != *root {
            return Err(TreeError::Leaves { size });
        }
        for (tile, bytes) in self.partials() {
            // A row that did not grow has this tile already.
            if tiles::row(from, tile.level()) != (tile.number(), tile.width()) {
                self.folder.put(&tile, &bytes).map_err(|source| self.failed(source))?;
            }
        }
        Ok(filled)
    }

    /// The partial tiles of this size, with their bytes.
    fn partials(&self) -> Vec<(Tile, Vec<u8>)> {
        let (number, width) = tiles::row(self.edge.size(), 0);
        let bundle = Tile::new(Content::Entries, number, width).map(|tile| (tile, self.bundle.clone()));
        let hashes = self.edge.partial().map(|(tile, hashes)| (tile, tiles::encode_hashes(hashes)));
        bundle.into_iter().chain(hashes).collect()
    }

    /// Reads the tree of `size` entries, and makes again what is not right.
    fn check(&mut self, size: u64, repairs: &mut Repairs) -> Result<(), TreeError> {
        let (full, width) = tiles::row(size, 0);
        for number in 0..full {
            let Some(tile) = Tile::new(Content::Entries, number, TILE_WIDTH) else { break };
            let hashes = self.sound_bundle(&tile, repairs)?;
            drop(self.folder.remove_partials(&tile));
            self.check_tiles(&hashes, repairs)?;
        }
        let first = full * u64::from(TILE_WIDTH);
        let leaves = self.ledger.leaves(first, first + u64::from(width))?;
        for leaf in &leaves {
            tiles::push_entry(&mut self.bundle, leaf)?;
        }
        self.check_tiles(&leaves.iter().map(|leaf| leaf_hash(leaf)).collect::<Vec<_>>(), repairs)?;
        for (tile, bytes) in self.partials() {
            self.put_unless_equal(&tile, &bytes, repairs)?;
        }
        Ok(())
    }

    /// The leaf hashes of a full bundle, made again unless they lead to the ledger's node over them.
    fn sound_bundle(&mut self, tile: &Tile, repairs: &mut Repairs) -> Result<Vec<Digest>, TreeError> {
        let node = self.ledger.bundle_root(tile.number())?;
        let found = self.folder.tile(tile).map_err(|source| self.failed(source))?;
        let hashes = |bytes: &[u8]| -> Option<Vec<Digest>> {
            Some(tile.parse_entries(bytes).ok()?.into_iter().map(leaf_hash).collect())
        };
        if let Some(hashes) = found.as_deref().and_then(hashes).filter(|hashes| tiles::fold(hashes) == node) {
            return Ok(hashes);
        }
        let first = tile.number() * u64::from(TILE_WIDTH);
        let leaves = self.ledger.leaves(first, first + u64::from(TILE_WIDTH))?;
        let mut bytes = Vec::new();
        for leaf in &leaves {
            tiles::push_entry(&mut bytes, leaf)?;
        }
        repairs.files += 1;
        self.folder.put(tile, &bytes).map_err(|source| self.failed(source))?;
        Ok(leaves.iter().map(|leaf| leaf_hash(leaf)).collect())
    }

    fn check_tiles(&mut self, leaf_hashes: &[Digest], repairs: &mut Repairs) -> Result<(), TreeError> {
        let mut filled = Vec::new();
        for hash in leaf_hashes {
            let Ok(()) = self.edge.push(*hash, |tile, hashes| {
                filled.push((tile, tiles::encode_hashes(hashes)));
                Ok::<_, std::convert::Infallible>(())
            });
        }
        for (tile, bytes) in filled {
            self.put_unless_equal(&tile, &bytes, repairs)?;
            drop(self.folder.remove_partials(&tile));
        }
        Ok(())
    }

    fn put_unless_equal(
        &mut self,
        tile: &Tile,
        bytes: &[u8],
        repairs: &mut Repairs,
    ) -> Result<(), TreeError> {
        if self.folder.tile(tile).map_err(|source| self.failed(source))?.as_deref() == Some(bytes) {
            return Ok(());
        }
        repairs.files += 1;
        self.folder.put(tile, bytes).map_err(|source| self.failed(source))
    }

    fn failed(&self, source: io::Error) -> TreeError {
        TreeError::Io { path: self.folder.root().to_owned(), source }
    }
}

impl fmt::Debug for PublicTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublicTree").field("folder", &self.folder).field("size", &self.size()).finish()
    }
}

/// The thread that follows the checkpoints.
pub struct TreeThread {
    stop: CancellationToken,
    thread: JoinHandle<()>,
}

impl TreeThread {
    /// Brings the tree level with the newest checkpoint once more, and waits for the end.
    pub fn stop(self) {
        self.stop.cancel();
        drop(self.thread.join());
    }
}

/// Begins to follow the checkpoints of `ledger` in the tree at `root`. Must be called inside a tokio runtime.
pub fn start(root: PathBuf, ledger: Ledger, log_keys: Vec<VerifierKey>) -> io::Result<TreeThread> {
    let stop = CancellationToken::new();
    let (cancelled, runtime) = (stop.clone(), tokio::runtime::Handle::current());
    let thread = thread::Builder::new().name("public-tree".to_owned()).spawn(move || {
        // True if the time passed, false at a stop.
        let wait = |interval| {
            runtime.block_on(async { tokio::time::timeout(interval, cancelled.cancelled()).await.is_err() })
        };
        let Some(mut tree) = open_patiently(&root, &ledger, &log_keys, wait) else { return };
        let mut checkpoints = ledger.checkpoints();
        loop {
            let last = cancelled.is_cancelled();
            let newest = checkpoints.borrow_and_update().clone();
            match newest.map_or(Ok(()), |newest| tree.publish(&newest)) {
                Ok(()) if last => return,
                Ok(()) => wait_for_next(&runtime, &mut checkpoints, &cancelled),
                Err(error) => {
                    tracing::error!(error = %chain(&error), "The public tree stays behind the log.");
                    if last || !error.may_pass() {
                        return;
                    }
                    wait(RETRY_INTERVAL);
                }
            }
        }
    })?;
    Ok(TreeThread { stop, thread })
}

/// Returns when there may be a newer checkpoint, and at a stop.
fn wait_for_next(
    runtime: &tokio::runtime::Handle,
    checkpoints: &mut watch::Receiver<Option<Arc<Published>>>,
    stop: &CancellationToken,
) {
    runtime.block_on(async {
        tokio::select! {
            _ = checkpoints.changed() => {}
            () = stop.cancelled() => {}
        }
    });
}

fn open_patiently(
    root: &std::path::Path,
    ledger: &Ledger,
    log_keys: &[VerifierKey],
    wait: impl Fn(Duration) -> bool,
) -> Option<PublicTree> {
    loop {
        match PublicTree::open(Folder::new(root), ledger.clone(), log_keys) {
            Ok((tree, repairs)) => {
                let Repairs { size, files, checkpoint } = repairs;
                if files > 0 || checkpoint {
                    tracing::warn!(size, files, checkpoint, "The public tree was damaged and is made again.");
                }
                return Some(tree);
            }
            Err(error) => {
                tracing::error!(error = %chain(&error), "The public tree stays as it is.");
                if !(error.may_pass() && wait(RETRY_INTERVAL)) {
                    return None;
                }
            }
        }
    }
}
