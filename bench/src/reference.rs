//! What the same statements need at least: zstd blocks in one flat file, without order, index, proof or deletion.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use anyhow::Context as _;

/// Statements of a block.
const BLOCK_STATEMENTS: usize = 256;
/// Level of compression.
const LEVEL: i32 = 3;

/// A flat file of compressed blocks.
pub struct Reference {
    file: BufWriter<File>,
    compressor: zstd::bulk::Compressor<'static>,
    block: Vec<u8>,
    statements: usize,
    bytes: u64,
}

impl Reference {
    /// Makes the file.
    pub fn create(path: &Path) -> anyhow::Result<Self> {
        let file = File::create(path).with_context(|| format!("cannot make {}", path.display()))?;
        let compressor = zstd::bulk::Compressor::new(LEVEL)?;
        Ok(Self { file: BufWriter::new(file), compressor, block: Vec::new(), statements: 0, bytes: 0 })
    }

    /// Appends an envelope with its length.
    pub fn push(&mut self, envelope: &[u8]) -> anyhow::Result<()> {
        self.block.extend(u32::try_from(envelope.len())?.to_be_bytes());
        self.block.extend_from_slice(envelope);
        self.statements += 1;
        if self.statements.is_multiple_of(BLOCK_STATEMENTS) { self.end_block() } else { Ok(()) }
    }

    fn end_block(&mut self) -> anyhow::Result<()> {
        let compressed = self.compressor.compress(&self.block)?;
        self.file.write_all(&compressed)?;
        self.bytes += compressed.len() as u64;
        self.block.clear();
        Ok(())
    }

    /// Writes what is left, syncs the file, and gives its length in bytes.
    pub fn finish(mut self) -> anyhow::Result<u64> {
        self.end_block()?;
        self.file.flush()?;
        self.file.get_ref().sync_all()?;
        Ok(self.bytes)
    }
}
