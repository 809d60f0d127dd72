//! The folder a recovery reads: what `tallystick log mirror` makes, a public tree with or without `payload/`.

use std::io;
use std::path::{Path, PathBuf};

use evidence::ids::Digest;
use evidence::merkle::leaf_hash;
use evidence::note::{Checkpoint, Note, NoteError, VerifierKey};
use evidence::tiles::{self, Content, Edge, Tile};

use crate::log::BUNDLE_LEAVES;
use crate::payload_bundles::PayloadBundles;
use crate::store::rows;
use crate::tree::Folder;

/// The folder of payload bundles in a mirror, as in a data directory.
const PAYLOADS: &str = "payload";
/// The folder of tombstones in plain.
const TOMBSTONES: &str = "tombstones";

/// Why a mirror is of no use.
#[derive(Debug, thiserror::Error)]
pub enum MirrorError {
    /// There is no checkpoint.
    #[error("{path} holds no checkpoint: it is no folder that `tallystick log mirror` made")]
    Absent {
        /// The folder.
        path: PathBuf,
    },
    /// The checkpoint is not this log's.
    #[error("the checkpoint in {path} is not one of this log: {source}")]
    Checkpoint {
        /// The folder.
        path: PathBuf,
        /// What is wrong.
        source: NoteError,
    },
    /// A file could not be read.
    #[error("could not read the mirror in {path}")]
    Io {
        /// The folder.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A bundle of leaves is missing or damaged.
    #[error("{tile} of the mirror is missing or has no form: mirror again")]
    Bundle {
        /// The bundle.
        tile: Tile,
    },
    /// The leaves are not those of the checkpoint.
    #[error("the mirror's entries do not lead to the root that is signed for {size} of them: mirror again")]
    Root {
        /// Entries of the checkpoint.
        size: u64,
    },
    /// Somebody writes into it.
    #[error("the mirror changed while it was read: let nobody write to it, and run `recover` again")]
    Changed,
}

/// A mirror whose checkpoint was signed by the log.
pub(super) struct Mirror {
    root: PathBuf,
    tree: Folder,
    payloads: PayloadBundles,
    checkpoint: Checkpoint,
    note: Note,
}

impl Mirror {
    /// Opens the folder at `root` and checks its checkpoint.
    pub(super) fn open(root: &Path, log_keys: &[VerifierKey]) -> Result<Self, MirrorError> {
        let tree = Folder::new(root);
        let failed = |source| MirrorError::Io { path: root.to_owned(), source };
        let refused = |source| MirrorError::Checkpoint { path: root.to_owned(), source };
        let bytes = tree.checkpoint().map_err(failed)?;
        let bytes = bytes.ok_or_else(|| MirrorError::Absent { path: root.to_owned() })?;
        let note = Note::parse(&bytes).map_err(refused)?;
        let origin = log_keys.last().map(VerifierKey::name).unwrap_or_default();
        let checkpoint = Checkpoint::open_of(&note, log_keys, origin).map_err(refused)?;
        let payloads = PayloadBundles::new(&root.join(PAYLOADS));
        Ok(Self { root: root.to_owned(), tree, payloads, checkpoint, note })
    }

    /// Its checkpoint.
    pub(super) fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Its checkpoint's note, as it lies there.
    pub(super) fn note(&self) -> &Note {
        &self.note
    }

    /// Hashes every leaf, which must lead to the checkpoint's root, and gives the roots over the first `sizes` of them.
    pub(super) fn roots_at<const N: usize>(
        &self,
        sizes: [u64; N],
        progress: impl Fn(u64),
    ) -> Result<[Digest; N], MirrorError> {
        let mut edge = Edge::new();
        let mut roots = sizes.map(|_| edge.root());
        while edge.size() < self.checkpoint.size {
            for leaf in self.leaves(edge.size() / BUNDLE_LEAVES)? {
                let Ok(()) = edge.push(leaf_hash(&leaf), |_, _| Ok::<_, std::convert::Infallible>(()));
                for (size, root) in sizes.iter().zip(&mut roots) {
                    if *size == edge.size() {
                        *root = edge.root();
                    }
                }
            }
            progress(edge.size());
        }
        let Checkpoint { size, root, .. } = self.checkpoint;
        if edge.size() == size && edge.root() == root { Ok(roots) } else { Err(MirrorError::Root { size }) }
    }

    /// Leaves and payload records of bundle `number`.
    pub(super) fn bundle(&self, number: u64) -> Result<Bundle, MirrorError> {
        let leaves = self.leaves(number)?;
        let width = u16::try_from(leaves.len()).unwrap_or(u16::MAX);
        let mut bytes = self.payloads.bytes(number).map_err(|source| self.failed(source))?;
        if bytes.is_none() && u64::from(width) < BUNDLE_LEAVES {
            bytes = self.payloads.part_bytes(number, width).map_err(|source| self.failed(source))?;
        }
        let records = bytes.as_deref().and_then(rows::parse_payloads).unwrap_or_default();
        let records = records.into_iter().map(|(codec, stored)| (codec, stored.to_vec())).collect();
        Ok(Bundle { first: number * BUNDLE_LEAVES, leaves, records })
    }

    /// Salt and payload of the tombstone at `index`, which a mirror keeps in plain too; nothing of them is checked.
    pub(super) fn tombstone(&self, index: u64) -> Result<Option<Vec<u8>>, MirrorError> {
        self.tree.path_bytes(&format!("{TOMBSTONES}/{index}")).map_err(|source| self.failed(source))
    }

    fn leaves(&self, number: u64) -> Result<Vec<Vec<u8>>, MirrorError> {
        let (full, rest) = tiles::row(self.checkpoint.size, 0);
        let width = if number < full { tiles::TILE_WIDTH } else { rest };
        let Some(tile) = Tile::new(Content::Entries, number, width) else {
            return Err(MirrorError::Root { size: self.checkpoint.size });
        };
        let bytes = self.tree.tile_or_part_of_full(&tile).map_err(|source| self.failed(source))?;
        let bytes = bytes.ok_or(MirrorError::Bundle { tile })?;
        let leaves = tile.parse_entries(&bytes).map_err(|_| MirrorError::Bundle { tile })?;
        Ok(leaves.into_iter().map(<[u8]>::to_vec).collect())
    }

    fn failed(&self, source: io::Error) -> MirrorError {
        MirrorError::Io { path: self.root.clone(), source }
    }
}

/// A leaf, and its payload record where the mirror has one: (codec, bytes).
type MirroredEntry<'a> = (&'a [u8], Option<&'a (u8, Vec<u8>)>);

/// A bundle of the mirror, nothing of it checked.
pub(super) struct Bundle {
    first: u64,
    leaves: Vec<Vec<u8>>,
    /// As many as there are, from the first leaf on.
    records: Vec<(u8, Vec<u8>)>,
}

impl Bundle {
    /// The entries from index `from` on.
    pub(super) fn entries_from(&self, from: u64) -> impl Iterator<Item = MirroredEntry<'_>> {
        let skipped = usize::try_from(from.saturating_sub(self.first)).unwrap_or(usize::MAX);
        let records = self.records.iter().map(Some).chain(std::iter::repeat(None));
        self.leaves.iter().map(Vec::as_slice).zip(records).skip(skipped)
    }

    /// A hash of all of it.
    pub(super) fn digest(&self) -> Digest {
        let mut bytes = Vec::new();
        for (leaf, record) in self.entries_from(self.first) {
            let (codec, stored) =
                record.map_or((0, [].as_slice()), |(codec, stored)| (*codec, stored.as_slice()));
            rows::push_payload(&mut bytes, 0, leaf);
            rows::push_payload(&mut bytes, codec, stored);
        }
        Digest::of(&bytes)
    }
}
