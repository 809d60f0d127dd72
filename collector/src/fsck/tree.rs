//! The public tree against the journal: every file that its checkpoint covers, recomputed from the entries.

use std::collections::BTreeMap;

use evidence::ids::Digest;
use evidence::log_keys::LOG_KEYS_PATH;
use evidence::merkle::leaf_hash;
use evidence::note::Checkpoint;
use evidence::tiles::{self, CHECKPOINT_PATH, Content, Edge, TILE_WIDTH, Tile};

use crate::datadir::DataDir;
use crate::tree::{Folder, part};

/// Follows the entries and compares.
pub(super) struct TreeWalk {
    folder: Folder,
    /// What the tree's own checkpoint says; none if there is no tree yet, or it cannot be read.
    covered: Option<Checkpoint>,
    /// Partial tiles that lie there, by their place.
    partial: BTreeMap<Tile, Vec<Tile>>,
    edge: Edge,
    bundle: Vec<u8>,
    /// Files compared.
    pub(super) files: u64,
    /// What is wrong.
    pub(super) faults: Vec<String>,
}

impl TreeWalk {
    /// Lists what lies there. `read` opens a checkpoint's note. A tree that was never made is no fault.
    pub(super) fn new(dir: &DataDir, read: impl Fn(&[u8]) -> Result<Checkpoint, String>) -> Self {
        let folder = Folder::new(&dir.tree());
        let mut walk = Self {
            folder,
            covered: None,
            partial: BTreeMap::new(),
            edge: Edge::new(),
            bundle: Vec::new(),
            files: 0,
            faults: Vec::new(),
        };
        if !dir.tree().exists() {
            return walk;
        }
        match walk.folder.checkpoint() {
            Ok(Some(note)) => match read(&note) {
                Ok(checkpoint) => walk.covered = Some(checkpoint),
                Err(what) => walk.faults.push(format!("{CHECKPOINT_PATH}: {what}")),
            },
            Ok(None) => {}
            Err(error) => walk.faults.push(format!("{CHECKPOINT_PATH}: {error}")),
        }
        match walk.folder.paths() {
            Ok(paths) => paths.iter().for_each(|path| walk.listed(path)),
            Err(error) => walk.faults.push(format!("cannot be listed: {error}")),
        }
        walk
    }

    fn listed(&mut self, path: &str) {
        match Tile::parse(path) {
            Ok(tile) if tile.is_full() => {}
            Ok(tile) => self.partial.entry(tile.full()).or_default().push(tile),
            // What a start finds changed in the second one it writes anew.
            Err(_) if [CHECKPOINT_PATH, LOG_KEYS_PATH].contains(&path) => {}
            Err(_) => self.faults.push(format!("{path:?} does not belong into the tree")),
        }
    }

    /// Entries of the tree's checkpoint.
    pub(super) fn size(&self) -> u64 {
        self.covered.as_ref().map_or(0, |checkpoint| checkpoint.size)
    }

    /// The next entry's leaf.
    pub(super) fn leaf(&mut self, leaf: &[u8]) {
        if self.edge.size() >= self.size() {
            return;
        }
        let mut filled = Vec::new();
        let Ok(()) = self.edge.push(leaf_hash(leaf), |tile, hashes| {
            filled.push((tile, tiles::encode_hashes(hashes)));
            Ok::<_, std::convert::Infallible>(())
        });
        if tiles::push_entry(&mut self.bundle, leaf).is_err() {
            self.faults.push(format!("entry {} fits into no bundle", self.edge.size()));
        }
        let (number, width) = tiles::row(self.edge.size(), 0);
        let full = number.checked_sub(1).and_then(|last| Tile::new(Content::Entries, last, TILE_WIDTH));
        if let Some(tile) = full.filter(|_| width == 0) {
            filled.push((tile, std::mem::take(&mut self.bundle)));
        }
        for (tile, bytes) in filled {
            self.compare(&tile, &bytes);
        }
        if self.edge.size() == self.size() {
            let bundle = Tile::new(Content::Entries, number, width).map(|tile| (tile, self.bundle.clone()));
            let hashes = self.edge.partial().map(|(tile, hashes)| (tile, tiles::encode_hashes(hashes)));
            let partial: Vec<(Tile, Vec<u8>)> = bundle.into_iter().chain(hashes).collect();
            for (tile, bytes) in partial {
                self.compare(&tile, &bytes);
            }
        }
    }

    /// Once everything was read: the tree's checkpoint is one of this journal, of `size` entries.
    pub(super) fn end(&mut self, size: u64, root_of: impl Fn(u64) -> Option<Digest>) {
        let Some(checkpoint) = &self.covered else { return };
        let (tree, root) = (checkpoint.size, checkpoint.root);
        if tree > size {
            self.faults.push(format!("its checkpoint covers {tree} entries and the journal has {size}"));
        } else if tree > 0 && root_of(tree) != Some(root) {
            self.faults.push(format!("its checkpoint of {tree} entries is not in the journal"));
        }
    }

    fn compare(&mut self, tile: &Tile, bytes: &[u8]) {
        self.file(tile, bytes);
        for narrower in self.partial.remove(&tile.full()).unwrap_or_default() {
            if narrower.width() >= tile.width() {
                // The same file, or what an interrupted start left beyond the checkpoint: written again.
                continue;
            }
            match part(&narrower, bytes) {
                Some(expected) => self.file(&narrower, expected),
                None => self.faults.push(format!("{narrower} is wider than what there is")),
            }
        }
    }

    fn file(&mut self, tile: &Tile, expected: &[u8]) {
        self.files += 1;
        match self.folder.tile(tile) {
            Ok(Some(bytes)) if bytes == expected => {}
            Ok(Some(_)) => self.faults.push(format!("{tile} is not what the entries lead to")),
            Ok(None) => self.faults.push(format!("{tile} is missing")),
            Err(error) => self.faults.push(format!("{tile} could not be read: {error}")),
        }
    }
}
