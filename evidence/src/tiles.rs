//! The public tree as C2SP tlog-tiles lays it out: where a tile lies, which tiles a size has, what is in one.
//!
//! Only arithmetic and bytes; nothing here reads or writes a file. A path becomes a [`Tile`] or is refused, and only a
//! [`Tile`] becomes a path again, so that no text of a stranger ever reaches a file system.

use crate::ids::Digest;
use crate::leaf::PAYLOAD_BYTES_MAX;
use crate::merkle::{empty_root, node_hash};

#[cfg(test)]
mod tests;

/// Hashes of a full tile, and entries of a full bundle.
pub const TILE_WIDTH: u16 = 256;
/// Tree levels per tile: 2^8 = 256.
const TILE_HEIGHT: u32 = 8;
/// Highest tile level of a log of less than 2^64 entries; the format's own limit is 63.
pub const LEVEL_MAX: u8 = 7;
/// Bytes of a full tile of hashes.
pub const TILE_BYTES_MAX: usize = 256 * 32;
/// Longest entry: its length has two bytes.
pub const ENTRY_BYTES_MAX: usize = PAYLOAD_BYTES_MAX - 1;
/// Longest path of a tile, bytes: seven elements of a number, the level, and the width.
pub const PATH_BYTES_MAX: usize = 64;
/// Where the newest checkpoint lies.
pub const CHECKPOINT_PATH: &str = "checkpoint";

/// What a tile holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Content {
    /// Hashes of one tile level, 0 to [`LEVEL_MAX`]; those of level 0 are leaf hashes.
    Hashes(u8),
    /// The entries themselves.
    Entries,
}

impl Content {
    /// The level of its row; entries lie in one with the leaf hashes.
    pub fn level(self) -> u8 {
        match self {
            Self::Hashes(level) => level,
            Self::Entries => 0,
        }
    }
}

/// One tile or entry bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tile {
    content: Content,
    number: u64,
    width: u16,
}

/// Why a path or the bytes of a tile were refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TileError {
    /// No path of a tile, or not in its one form.
    #[error("{0:?} is not the path of a tile or entry bundle")]
    Path(String),
    /// Other bytes than so many hashes.
    #[error("{bytes} bytes are not {width} hashes of 32 bytes")]
    Hashes {
        /// Length met, bytes.
        bytes: usize,
        /// Hashes expected.
        width: u16,
    },
    /// The bundle ends inside an entry, or holds another number of them.
    #[error("the entry bundle holds {met} whole entries and then {rest} bytes, not {width} entries")]
    Bundle {
        /// Whole entries met, up to `width`.
        met: usize,
        /// Bytes after them.
        rest: usize,
        /// Entries expected.
        width: u16,
    },
    /// An entry that has no place in a bundle.
    #[error("an entry of {0} bytes is longer than the 65,535 that fit into a bundle")]
    Entry(usize),
}

impl Tile {
    /// The tile, if there can be one: a level up to [`LEVEL_MAX`], a width of 1 to 256, a number whose entries have
    /// indexes below 2^64.
    pub fn new(content: Content, number: u64, width: u16) -> Option<Self> {
        let level = content.level();
        let height = TILE_HEIGHT * (u32::from(level) + 1);
        let number_max = u64::MAX.checked_shr(height).unwrap_or(0);
        let fits = level <= LEVEL_MAX && (1..=TILE_WIDTH).contains(&width) && number <= number_max;
        fits.then_some(Self { content, number, width })
    }

    /// What it holds.
    pub fn content(&self) -> Content {
        self.content
    }

    /// The level of its row.
    pub fn level(&self) -> u8 {
        self.content.level()
    }

    /// Its place in its row, from 0.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Hashes or entries in it, 1 to 256.
    pub fn width(&self) -> u16 {
        self.width
    }

    /// Whether it can never change.
    pub fn is_full(&self) -> bool {
        self.width == TILE_WIDTH
    }

    /// The full tile of the same place.
    pub fn full(self) -> Self {
        Self { width: TILE_WIDTH, ..self }
    }

    /// Its path below the prefix of the log, without a slash in front: `tile/<L>/<N>[.p/<W>]`.
    pub fn path(&self) -> String {
        let row = match self.content {
            Content::Hashes(level) => level.to_string(),
            Content::Entries => "entries".to_owned(),
        };
        let number = number_path(self.number);
        if self.is_full() {
            format!("tile/{row}/{number}")
        } else {
            format!("tile/{row}/{number}.p/{}", self.width)
        }
    }

    /// The tile of a path, which must be in its one form.
    pub fn parse(path: &str) -> Result<Self, TileError> {
        let refused = || TileError::Path(path.chars().take(PATH_BYTES_MAX).collect());
        let tile = (path.len() <= PATH_BYTES_MAX).then(|| parse_path(path)).flatten().ok_or_else(refused)?;
        // What is written differently from how we write it is another path.
        if tile.path() == path { Ok(tile) } else { Err(refused()) }
    }

    /// The hashes in a tile's bytes.
    pub fn parse_hashes(&self, bytes: &[u8]) -> Result<Vec<Digest>, TileError> {
        let (hashes, rest) = bytes.as_chunks::<32>();
        if !rest.is_empty() || hashes.len() != usize::from(self.width) {
            return Err(TileError::Hashes { bytes: bytes.len(), width: self.width });
        }
        Ok(hashes.iter().copied().map(Digest).collect())
    }

    /// The entries in a bundle's bytes.
    pub fn parse_entries<'a>(&self, bytes: &'a [u8]) -> Result<Vec<&'a [u8]>, TileError> {
        let mut entries = Vec::with_capacity(usize::from(self.width));
        let mut rest = bytes;
        while entries.len() < usize::from(self.width) {
            let Some((entry, after)) = split_entry(rest) else { break };
            entries.push(entry);
            rest = after;
        }
        if entries.len() != usize::from(self.width) || !rest.is_empty() {
            return Err(TileError::Bundle { met: entries.len(), rest: rest.len(), width: self.width });
        }
        Ok(entries)
    }
}

impl std::fmt::Display for Tile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.path())
    }
}

/// `x001/x234/067`: three digits an element, all but the last with an `x` in front.
fn number_path(number: u64) -> String {
    let mut path = format!("{:03}", number % 1000);
    let mut rest = number / 1000;
    while rest > 0 {
        path.insert_str(0, &format!("x{:03}/", rest % 1000));
        rest /= 1000;
    }
    path
}

fn parse_path(path: &str) -> Option<Tile> {
    let (row, rest) = path.strip_prefix("tile/")?.split_once('/')?;
    let content =
        if row == "entries" { Content::Entries } else { Content::Hashes(u8::try_from(digits(row)?).ok()?) };
    let (number, width) = match rest.split_once(".p/") {
        Some((number, width)) => (number, u16::try_from(digits(width)?).ok()?),
        None => (rest, TILE_WIDTH),
    };
    let mut value = 0_u64;
    for element in number.split('/') {
        let element = element.strip_prefix('x').unwrap_or(element);
        value = value.checked_mul(1000)?.checked_add(digits(element)?)?;
    }
    Tile::new(content, value, width)
}

/// At most three decimal digits; signs and spaces, which the standard library may take, are none.
fn digits(text: &str) -> Option<u64> {
    let fits = (1..=3).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if fits { text.parse().ok() } else { None }
}

/// Full tiles of a level in a tree of `size` entries, and the width of the partial one after them (0: there is none).
pub fn row(size: u64, level: u8) -> (u64, u16) {
    let nodes = size.checked_shr(TILE_HEIGHT * u32::from(level)).unwrap_or(0);
    let width = u64::from(TILE_WIDTH);
    (nodes / width, u16::try_from(nodes % width).unwrap_or(0))
}

/// Every tile and bundle of the tree of `to` entries that the tree of `from` does not have, row by row.
pub fn tiles_since(from: u64, to: u64) -> impl Iterator<Item = Tile> {
    let rows = std::iter::once((Content::Entries, 0))
        .chain((0..=LEVEL_MAX).map(|level| (Content::Hashes(level), level)));
    rows.flat_map(move |(content, level)| {
        let ((from_full, from_width), (to_full, to_width)) = (row(from, level), row(to, level));
        let is_old = from_full == to_full && from_width == to_width;
        let partial = (to_width > 0 && !is_old).then_some((to_full, to_width));
        (from_full..to_full)
            .map(|number| (number, TILE_WIDTH))
            .chain(partial)
            .filter_map(move |(number, width)| Tile::new(content, number, width))
    })
}

/// Every tile and bundle of the tree of `size` entries, row by row.
pub fn tiles(size: u64) -> impl Iterator<Item = Tile> {
    tiles_since(0, size)
}

/// Adds an entry to the bytes of a bundle.
pub fn push_entry(bundle: &mut Vec<u8>, entry: &[u8]) -> Result<(), TileError> {
    let length = u16::try_from(entry.len()).map_err(|_| TileError::Entry(entry.len()))?;
    bundle.extend_from_slice(&length.to_be_bytes());
    bundle.extend_from_slice(entry);
    Ok(())
}

/// The bytes of a bundle's first `count` entries; none if it holds fewer.
pub fn first_entries(bundle: &[u8], count: u16) -> Option<&[u8]> {
    let mut rest = bundle;
    for _ in 0..count {
        rest = split_entry(rest)?.1;
    }
    bundle.get(..bundle.len() - rest.len())
}

fn split_entry(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

/// Bytes of a tile of these hashes.
pub fn encode_hashes(hashes: &[Digest]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| hash.0).collect()
}

/// A tree that grows leaf by leaf and gives its tiles: what a reader needs to recompute the public tree, and what a
/// writer needs to make it. It keeps the right edge only.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Edge {
    size: u64,
    /// Per tile level, the hashes after its last full tile.
    rows: Vec<Vec<Digest>>,
}

impl Edge {
    /// The empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// The tree of `size` leaves, from the hashes of its partial tiles, level by level from 0. None if a row has
    /// another width than this size gives it.
    pub fn from_rows(size: u64, rows: Vec<Vec<Digest>>) -> Option<Self> {
        let levels = u8::try_from(rows.len()).ok().filter(|levels| *levels <= LEVEL_MAX + 1)?;
        let fit =
            rows.iter().zip(0..levels).all(|(hashes, level)| hashes.len() == usize::from(row(size, level).1));
        let is_all = (levels..=LEVEL_MAX).all(|level| row(size, level) == (0, 0));
        (fit && is_all).then_some(Self { size, rows })
    }

    /// Leaves so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The hashes of a level's partial tile; empty if there is none.
    pub fn row(&self, level: u8) -> &[Digest] {
        self.rows.get(usize::from(level)).map_or(&[], Vec::as_slice)
    }

    /// Adds a leaf hash; `filled` is given each tile this fills, with its 256 hashes.
    pub fn push<E>(
        &mut self,
        leaf_hash: Digest,
        mut filled: impl FnMut(Tile, &[Digest]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut hash = leaf_hash;
        for level in 0..=LEVEL_MAX {
            let place = usize::from(level);
            if self.rows.len() <= place {
                self.rows.push(Vec::new());
            }
            let Some(hashes) = self.rows.get_mut(place) else { break };
            hashes.push(hash);
            if hashes.len() < usize::from(TILE_WIDTH) {
                break;
            }
            let number = row(self.size, level).0;
            if let Some(tile) = Tile::new(Content::Hashes(level), number, TILE_WIDTH) {
                filled(tile, hashes)?;
            }
            hash = fold(hashes);
            hashes.clear();
        }
        self.size = self.size.saturating_add(1);
        Ok(())
    }

    /// The partial tiles of hashes of this size.
    pub fn partial(&self) -> impl Iterator<Item = (Tile, &[Digest])> {
        self.rows.iter().zip(0..=LEVEL_MAX).filter_map(|(hashes, level)| {
            let (number, width) = row(self.size, level);
            Tile::new(Content::Hashes(level), number, width).map(|tile| (tile, hashes.as_slice()))
        })
    }

    /// RFC 6962 root.
    pub fn root(&self) -> Digest {
        let mut right: Option<Digest> = None;
        for hashes in &self.rows {
            // What lies right of the complete nodes of a row is one incomplete node of it.
            let nodes: Vec<Digest> = hashes.iter().copied().chain(right).collect();
            if !nodes.is_empty() {
                right = Some(fold(&nodes));
            }
        }
        right.unwrap_or_else(empty_root)
    }
}

/// RFC 6962 root over nodes of one height, the last of which may be incomplete: halves level by level, an odd last one
/// moves up as it is.
pub fn fold(nodes: &[Digest]) -> Digest {
    let mut row: Vec<Digest> = nodes.to_vec();
    while row.len() > 1 {
        row = row
            .chunks(2)
            .map(|pair| match pair {
                [left, right] => node_hash(left, right),
                [odd] => *odd,
                _ => empty_root(),
            })
            .collect();
    }
    row.first().copied().unwrap_or_else(empty_root)
}
