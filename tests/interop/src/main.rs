//! `interop DIR`: reads a folder of C2SP tlog-tiles with Cloudflare's crate `tlog_tiles`, which shares nothing with us.
//!
//! Every entry is proved to lie under the checkpoint's root, and older trees to be prefixes of it. The checkpoint's signature is
//! not looked at here: `log mirror` and `tests/oracle/read_tree.py` do that. Exit code 0: it holds.

use std::error::Error as AnyError;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use tlog_tiles::{
    Checkpoint, Error, Tile, TileHashReader, TileReader, check_record, check_tree, prove_record, prove_tree,
    record_hash, tree_hash,
};

/// Entries of a full bundle.
const WIDTH: u64 = 256;

/// The folder as the crate reads one.
struct Folder<'a>(&'a Path);

impl Folder<'_> {
    /// The crate's paths name the height, as Go's checksum database does, and call entries data; those of C2SP do not.
    fn path(&self, tile: &Tile) -> PathBuf {
        self.0.join(tile.path().replacen("tile/8/", "tile/", 1).replacen("tile/data/", "tile/entries/", 1))
    }
}

impl TileReader for Folder<'_> {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[Tile]) -> Result<Vec<Vec<u8>>, Error> {
        tiles.iter().map(|tile| fs::read(self.path(tile)).map_err(|_| Error::InvalidTile)).collect()
    }

    fn save_tiles(&self, _: &[Tile], _: &[Vec<u8>]) {}
}

fn read(dir: &Path) -> Result<u64, Box<dyn AnyError>> {
    let note = fs::read_to_string(dir.join("checkpoint"))?;
    let (text, _) = note.split_once("\n\n").ok_or("the checkpoint is no note")?;
    let checkpoint = Checkpoint::from_bytes(format!("{text}\n").as_bytes()).map_err(|_| "no checkpoint")?;
    let (size, root) = (checkpoint.size(), *checkpoint.hash());
    let folder = Folder(dir);
    let reader = TileHashReader::new(size, root, &folder);
    // Every tile that the crate says a tree of this size has.
    for tile in Tile::new_tiles(8, 0, size) {
        let bytes = fs::read(folder.path(&tile)).map_err(|error| format!("{}: {error}", tile.path()))?;
        if bytes.len() != tile.width() as usize * 32 {
            return Err(format!("{} has {} bytes", tile.path(), bytes.len()).into());
        }
    }
    let mut index = 0;
    while index < size {
        let (number, width) = (index / WIDTH, WIDTH.min(size - index / WIDTH * WIDTH));
        let bundle = fs::read(folder.path(&Tile::new(8, 0, number, u32::try_from(width)?, true)))?;
        let mut rest = bundle.as_slice();
        for _ in 0..width {
            let (length, after) = rest.split_first_chunk::<2>().ok_or("a bundle ends too early")?;
            let length = usize::from(u16::from_be_bytes(*length));
            let (entry, after) = after.split_at_checked(length).ok_or("a bundle ends too early")?;
            let proof = prove_record(size, index, &reader)?;
            check_record(&proof, size, root, index, record_hash(entry))?;
            (rest, index) = (after, index + 1);
        }
        if !rest.is_empty() {
            return Err("a bundle holds too much".into());
        }
    }
    for older in [1, 2, 255, 256, 257, size / 2, size.saturating_sub(1)] {
        if (1..size).contains(&older) {
            let proof = prove_tree(size, older, &reader)?;
            check_tree(&proof, size, root, older, tree_hash(older, &reader)?)?;
        }
    }
    Ok(size)
}

fn main() -> ExitCode {
    let Some(dir) = std::env::args_os().nth(1) else {
        eprintln!("usage: interop DIR");
        return ExitCode::from(2);
    };
    match read(Path::new(&dir)) {
        Ok(size) => {
            println!("tlog_tiles reads {size} entries, each under the checkpoint");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("tlog_tiles refuses the tree: {error}");
            ExitCode::from(1)
        }
    }
}
