//! The few system calls the journal depends on, behind a trait so that tests can make the Nth of them fail.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::FallocateFlags;

/// How much is written at once where the file system cannot reserve space, bytes.
const ZERO_BLOCK_BYTES: usize = 64 * 1024;

/// The system calls of the journal. Each returns only when it is done; errors are final for the process.
pub trait Io: Send + Sync + 'static {
    /// Writes all of `bytes` at `offset`. Not durable.
    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes the file's data, and its length if that changed, durable.
    fn sync_data(&self, file: &File) -> io::Result<()>;
    /// Makes the names in a folder durable.
    fn sync_directory(&self, dir: &Path) -> io::Result<()>;
    /// Gives the file `bytes` bytes that later writes need not ask for; new ones read as zero.
    fn allocate(&self, file: &File, bytes: u64) -> io::Result<()>;
    /// Bytes that this user may still write on the folder's file system.
    fn free_bytes(&self, dir: &Path) -> io::Result<u64>;
}

/// The operating system's own calls.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemIo;

impl Io for SystemIo {
    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        file.write_all_at(bytes, offset)
    }

    fn sync_data(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    fn sync_directory(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn allocate(&self, file: &File, bytes: u64) -> io::Result<()> {
        match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, bytes) {
            Ok(()) => {}
            // Some file systems reserve by writing only.
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => fill_with_zeros(file, bytes)?,
            Err(error) => return Err(error.into()),
        }
        file.sync_all()
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        let found = rustix::fs::statvfs(dir)?;
        Ok(found.f_bavail.saturating_mul(found.f_frsize))
    }
}

fn fill_with_zeros(file: &File, bytes: u64) -> io::Result<()> {
    let zeros = vec![0_u8; ZERO_BLOCK_BYTES];
    let mut at = file.metadata()?.len();
    while at < bytes {
        let rest = usize::try_from(bytes - at).unwrap_or(ZERO_BLOCK_BYTES).min(ZERO_BLOCK_BYTES);
        let block = zeros.get(..rest).unwrap_or(&zeros);
        file.write_all_at(block, at)?;
        at += block.len() as u64;
    }
    Ok(())
}
