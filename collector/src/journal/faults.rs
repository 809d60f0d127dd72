//! System calls that fail on demand, for tests: each fault comes as a pair, "failed but persisted" and "failed and
//! not persisted", because a failed call says nothing about the disk.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Io, SystemIo};

/// Which call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Write,
    Sync,
    Allocate,
    /// Sync of a folder; not persisted, its newest name is gone.
    Names,
}

/// What a failed write leaves on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Persisted {
    All,
    Half,
    Nothing,
}

/// Fails the call number `nth` (from 1) of its kind, once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fault {
    pub(crate) call: Call,
    pub(crate) nth: u64,
    pub(crate) persisted: Persisted,
}

#[derive(Default)]
pub(crate) struct FaultyIo {
    fault: Mutex<Option<Fault>>,
    writes: AtomicU64,
    syncs: AtomicU64,
    allocations: AtomicU64,
    names: AtomicU64,
    free_bytes: Mutex<Option<u64>>,
    unsynced: Mutex<Option<(u64, u64)>>,
}

impl FaultyIo {
    pub(crate) fn arm(&self, fault: Fault) {
        for counter in [&self.writes, &self.syncs, &self.allocations, &self.names] {
            counter.store(0, Ordering::SeqCst);
        }
        *self.fault.lock().unwrap() = Some(fault);
    }

    pub(crate) fn pretend_free_bytes(&self, free_bytes: Option<u64>) {
        *self.free_bytes.lock().unwrap() = free_bytes;
    }

    fn hit(&self, call: Call, counter: &AtomicU64) -> Option<Persisted> {
        let nth = counter.fetch_add(1, Ordering::SeqCst) + 1;
        let fault = (*self.fault.lock().unwrap())?;
        (fault.call == call && fault.nth == nth).then_some(fault.persisted)
    }
}

fn eio() -> io::Error {
    io::Error::from_raw_os_error(5)
}

impl Io for FaultyIo {
    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        *self.unsynced.lock().unwrap() = Some((offset, bytes.len() as u64));
        match self.hit(Call::Write, &self.writes) {
            None => SystemIo.write_at(file, bytes, offset),
            Some(Persisted::All) => SystemIo.write_at(file, bytes, offset).and(Err(eio())),
            Some(Persisted::Half) => {
                SystemIo.write_at(file, &bytes[..bytes.len() / 2], offset).and(Err(eio()))
            }
            Some(Persisted::Nothing) => Err(eio()),
        }
    }

    fn sync_data(&self, file: &File) -> io::Result<()> {
        match self.hit(Call::Sync, &self.syncs) {
            None => SystemIo.sync_data(file),
            Some(Persisted::All) => SystemIo.sync_data(file).and(Err(eio())),
            Some(persisted) => {
                // What was not synced is lost with the power, all or a part of it.
                let (offset, bytes) = self.unsynced.lock().unwrap().take().unwrap_or_default();
                let kept = if persisted == Persisted::Half { bytes / 2 } else { 0 };
                let lost = vec![0_u8; usize::try_from(bytes - kept).unwrap()];
                SystemIo.write_at(file, &lost, offset + kept).and(Err(eio()))
            }
        }
    }

    fn sync_directory(&self, dir: &Path) -> io::Result<()> {
        match self.hit(Call::Names, &self.names) {
            None => SystemIo.sync_directory(dir),
            Some(Persisted::All) => SystemIo.sync_directory(dir).and(Err(eio())),
            Some(_) => {
                let newest = super::segment_numbers(dir).unwrap().pop().unwrap();
                std::fs::remove_file(super::segment_path(dir, newest)).and(Err(eio()))
            }
        }
    }

    fn allocate(&self, file: &File, bytes: u64) -> io::Result<()> {
        match self.hit(Call::Allocate, &self.allocations) {
            None => SystemIo.allocate(file, bytes),
            Some(_) => Err(io::Error::from_raw_os_error(28)),
        }
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        match *self.free_bytes.lock().unwrap() {
            Some(free_bytes) => Ok(free_bytes),
            None => SystemIo.free_bytes(dir),
        }
    }
}
