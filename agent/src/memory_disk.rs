//! A folder in memory for tests, which fails and forgets as disks do.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use crate::disk::Disk;

/// What happens at the next write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Everything happened, and an error is reported.
    Persisted,
    /// Nothing happened, and an error is reported.
    NotPersisted,
    /// Half of the bytes were written, and an error is reported.
    Torn,
}

#[derive(Debug, Default, Clone)]
struct MemoryFile {
    bytes: Vec<u8>,
    synced: usize,
}

#[derive(Debug, Default)]
pub(crate) struct Memory {
    files: BTreeMap<String, MemoryFile>,
    pub(crate) fault: Option<(usize, Fault)>,
    pub(crate) kind: Option<io::ErrorKind>,
}

/// A folder in memory that loses what was not synced, and fails when told.
#[derive(Debug, Default, Clone)]
pub(crate) struct MemoryDisk(pub(crate) Arc<Mutex<Memory>>);

impl MemoryDisk {
    pub(crate) fn fail(&self, after: usize, fault: Fault) {
        self.0.lock().unwrap().fault = Some((after, fault));
    }

    /// A power cut: of every file some of the bytes after the last sync are gone.
    pub(crate) fn cut(&self, permille: usize) {
        let mut memory = self.0.lock().unwrap();
        memory.fault = None;
        for file in memory.files.values_mut() {
            let unsynced = file.bytes.len() - file.synced;
            file.bytes.truncate(file.synced + unsynced * permille / 1000);
            file.synced = file.bytes.len();
        }
    }

    pub(crate) fn edit(&self, name: &str, edit: impl FnOnce(&mut Vec<u8>)) {
        edit(&mut self.0.lock().unwrap().files.get_mut(name).unwrap().bytes);
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.0.lock().unwrap().files.keys().cloned().collect()
    }

    fn due(memory: &mut Memory) -> Option<Fault> {
        let (after, fault) = memory.fault?;
        if after > 0 {
            memory.fault = Some((after - 1, fault));
            return None;
        }
        memory.fault = None;
        Some(fault)
    }

    fn error(memory: &Memory) -> io::Error {
        memory.kind.unwrap_or(io::ErrorKind::Other).into()
    }
}

impl Disk for MemoryDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.names())
    }

    fn size(&self, name: &str) -> io::Result<u64> {
        Ok(self.read(name)?.len() as u64)
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let memory = self.0.lock().unwrap();
        memory.files.get(name).map(|file| file.bytes.clone()).ok_or(io::ErrorKind::NotFound.into())
    }

    fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut memory = self.0.lock().unwrap();
        let fault = Self::due(&mut memory);
        let file = memory.files.get_mut(name).ok_or(io::ErrorKind::NotFound)?;
        match fault {
            None | Some(Fault::Persisted) => file.bytes.extend_from_slice(bytes),
            Some(Fault::Torn) => file.bytes.extend_from_slice(&bytes[..bytes.len() / 2]),
            Some(Fault::NotPersisted) => {}
        }
        fault.map_or(Ok(()), |_| Err(Self::error(&memory)))
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        let mut memory = self.0.lock().unwrap();
        let fault = Self::due(&mut memory);
        let file = memory.files.get_mut(name).ok_or(io::ErrorKind::NotFound)?;
        if matches!(fault, None | Some(Fault::Persisted)) {
            file.synced = file.bytes.len();
        }
        fault.map_or(Ok(()), |_| Err(Self::error(&memory)))
    }

    fn replace(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut memory = self.0.lock().unwrap();
        let fault = Self::due(&mut memory);
        if matches!(fault, None | Some(Fault::Persisted)) {
            let file = MemoryFile { bytes: bytes.to_vec(), synced: bytes.len() };
            memory.files.insert(name.to_owned(), file);
        }
        fault.map_or(Ok(()), |_| Err(Self::error(&memory)))
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        let mut memory = self.0.lock().unwrap();
        let fault = Self::due(&mut memory);
        if matches!(fault, None | Some(Fault::Persisted)) {
            memory.files.remove(name);
        }
        fault.map_or(Ok(()), |_| Err(Self::error(&memory)))
    }
}
