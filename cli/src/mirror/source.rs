//! Where a public tree is read from, and what of it is proved to lie under a signed checkpoint.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use evidence::ids::Digest;
use evidence::leaf::LEAF_BYTES_STREAM;
use evidence::log_keys::{LOG_KEYS_BYTES_MAX, LOG_KEYS_PATH};
use evidence::note::{Checkpoint, NOTE_BYTES_MAX};
use evidence::tiles::{self, CHECKPOINT_PATH, Content, Edge, LEVEL_MAX, TILE_BYTES_MAX, TILE_WIDTH, Tile};
use rpc::connect::{Address, connect};
use rpc::fetch::fetch;
use tonic::transport::Channel;

use crate::files;

/// Longest entry bundle of this log, bytes: 256 of the longer leaves with their lengths.
pub(crate) const BUNDLE_BYTES_MAX: usize = 256 * (2 + LEAF_BYTES_STREAM);
/// Port of an https address that names none.
const HTTPS_PORT: &str = ":443";
/// Full tiles kept in memory; one of level 1 serves 65,536 entries in a row.
const KEPT_TILES_MAX: usize = 64;

/// A public tree somewhere.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// Behind a web server; the prefix has no slash at its end.
    Web { channel: Channel, prefix: String },
    /// A folder.
    Folder(PathBuf),
}

impl Source {
    /// Opens `from`, an https address or a folder.
    pub(crate) async fn open(from: &str, tls: Option<Arc<certs::ClientConfig>>) -> anyhow::Result<Self> {
        let Some(rest) = from.strip_prefix("https://") else {
            if from.contains("://") {
                bail!("{from} is neither an https:// address nor a folder");
            }
            return Ok(Self::Folder(PathBuf::from(from)));
        };
        let tls = tls.context(
            "an https:// source needs --ca FILE, the certificate of the collector's root authority",
        )?;
        let (host, prefix) = rest.split_once('/').map_or((rest, ""), |(host, path)| (host, path));
        let prefix = prefix.trim_end_matches('/');
        let prefix = if prefix.is_empty() { String::new() } else { format!("/{prefix}") };
        let has_port =
            host.rsplit_once(':').is_some_and(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
        let host = if has_port { host.to_owned() } else { format!("{host}{HTTPS_PORT}") };
        let address: Address = host.parse().with_context(|| format!("{from} is not an address"))?;
        let connection = connect(&address, tls).await.with_context(|| format!("{from} cannot be reached"))?;
        Ok(Self::Web { channel: connection.channel, prefix })
    }

    /// The changes of the log's key; none if there is none.
    pub(crate) async fn log_keys(&self) -> anyhow::Result<Option<Vec<u8>>> {
        self.file(LOG_KEYS_PATH, LOG_KEYS_BYTES_MAX).await
    }

    /// The checkpoint's note; none if there is none.
    pub(crate) async fn checkpoint(&self) -> anyhow::Result<Option<Vec<u8>>> {
        self.file(CHECKPOINT_PATH, NOTE_BYTES_MAX).await
    }

    /// The bytes of a tile; a partial one that is not kept any more is cut from the full one, as tlog-tiles asks of
    /// readers.
    pub(crate) async fn tile(&self, tile: &Tile) -> anyhow::Result<Option<Vec<u8>>> {
        let bytes_max = if tile.content() == Content::Entries { BUNDLE_BYTES_MAX } else { TILE_BYTES_MAX };
        if let Some(bytes) = self.file(&tile.path(), bytes_max).await? {
            return Ok(Some(bytes));
        }
        if tile.is_full() {
            return Ok(None);
        }
        let full = self.file(&tile.full().path(), bytes_max).await?;
        Ok(full.and_then(|bytes| match tile.content() {
            Content::Entries => tiles::first_entries(&bytes, tile.width()).map(<[u8]>::to_vec),
            Content::Hashes(_) => bytes.get(..usize::from(tile.width()) * 32).map(<[u8]>::to_vec),
        }))
    }

    async fn file(&self, path: &str, bytes_max: usize) -> anyhow::Result<Option<Vec<u8>>> {
        match self {
            Self::Web { channel, prefix } => {
                Ok(fetch(channel.clone(), &format!("{prefix}/{path}"), bytes_max).await?)
            }
            Self::Folder(root) => read_if_there(&root.join(path), bytes_max),
        }
    }
}

/// A file's bytes; none if there is none.
pub(crate) fn read_if_there(path: &Path, bytes_max: usize) -> anyhow::Result<Option<Vec<u8>>> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if !found.is_file() => bail!("{} is not a regular file", path.display()),
        Ok(_) => files::read(path, "the file", bytes_max).map(Some),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// A tree whose hashes are all proved to lie under one checkpoint before they are used.
pub(crate) struct Proved {
    source: Source,
    edge: Edge,
    kept: BTreeMap<(u8, u64), Vec<Digest>>,
}

impl Proved {
    /// Reads the right edge and compares its root with the checkpoint's.
    pub(crate) async fn open(source: Source, checkpoint: &Checkpoint) -> anyhow::Result<Self> {
        let mut rows = Vec::new();
        for level in 0..=LEVEL_MAX {
            let (number, width) = tiles::row(checkpoint.size, level);
            rows.push(match Tile::new(Content::Hashes(level), number, width) {
                Some(tile) => read_hashes(&source, &tile).await?,
                None => Vec::new(),
            });
        }
        let edge = Edge::from_rows(checkpoint.size, rows).context("the tiles do not fit the tree's size")?;
        if edge.root() != checkpoint.root {
            bail!(
                "the tiles do not lead to the signed root of {} entries: the source is damaged",
                checkpoint.size
            );
        }
        Ok(Self { source, edge, kept: BTreeMap::new() })
    }

    /// The hashes of one tile of this tree, full or at its edge.
    pub(crate) async fn hashes(&mut self, level: u8, number: u64) -> anyhow::Result<Vec<Digest>> {
        // Upwards to what is known, then down again, each tile under the hash above it.
        let mut way = Vec::new();
        let (mut at, mut hashes) = ((level, number), None);
        while hashes.is_none() {
            let (level, number) = at;
            let (full, _) = tiles::row(self.edge.size(), level);
            if number > full {
                bail!("there is no tile {level}/{number} in a tree of {} entries", self.edge.size());
            }
            hashes = if number == full {
                Some(self.edge.row(level).to_vec())
            } else if let Some(kept) = self.kept.get(&at) {
                Some(kept.clone())
            } else {
                way.push(at);
                at = (level + 1, number / u64::from(TILE_WIDTH));
                None
            };
        }
        let mut hashes = hashes.unwrap_or_default();
        while let Some((level, number)) = way.pop() {
            let tile = Tile::new(Content::Hashes(level), number, TILE_WIDTH).context("no such tile")?;
            let below = read_hashes(&self.source, &tile).await?;
            let place = usize::try_from(number % u64::from(TILE_WIDTH)).unwrap_or(usize::MAX);
            if hashes.get(place) != Some(&tiles::fold(&below)) {
                bail!("{tile} does not lie under the signed root: the source is damaged");
            }
            if self.kept.len() >= KEPT_TILES_MAX {
                self.kept.pop_first();
            }
            self.kept.insert((level, number), below.clone());
            hashes = below;
        }
        Ok(hashes)
    }

    /// Root over the first `size` entries.
    pub(crate) async fn root_at(&mut self, size: u64) -> anyhow::Result<Digest> {
        let mut rows = Vec::new();
        for level in 0..=LEVEL_MAX {
            let (number, width) = tiles::row(size, level);
            let mut hashes = if width == 0 { Vec::new() } else { self.hashes(level, number).await? };
            hashes.truncate(width.into());
            rows.push(hashes);
        }
        Ok(Edge::from_rows(size, rows).context("the tree is smaller than that")?.root())
    }

    /// What 256 leaves of full bundle `number` must lead to.
    pub(crate) async fn bundle_root(&mut self, number: u64) -> anyhow::Result<Digest> {
        let width = u64::from(TILE_WIDTH);
        let hashes = self.hashes(1, number / width).await?;
        let place = usize::try_from(number % width).unwrap_or(usize::MAX);
        hashes.get(place).copied().context("the tree is smaller than that")
    }
}

async fn read_hashes(source: &Source, tile: &Tile) -> anyhow::Result<Vec<Digest>> {
    let bytes = source.tile(tile).await?.with_context(|| format!("the source has no {tile}"))?;
    tile.parse_hashes(&bytes).with_context(|| format!("{tile} of the source"))
}
