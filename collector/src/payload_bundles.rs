//! Payload bundles: `payload/<N>` holds the payload records of entries 256 × N and the 255 after it, as the journal has
//! them. With the public tree they are the log without sled, and what a mirror with payloads copies.
//!
//! A bundle is written when it is full; the payloads after the last one lie in the journal. Never public.

use std::io;
use std::path::Path;

pub use evidence::payload_record::{bundle_path as part_path, full_bundle_path as path};

use crate::log::BUNDLE_LEAVES;
use crate::store::rows;
use crate::tree::Folder;

/// The folder of payload bundles.
#[derive(Debug)]
pub struct PayloadBundles {
    folder: Folder,
}

impl PayloadBundles {
    /// The bundles at `root`, whether or not there are any.
    pub fn new(root: &Path) -> Self {
        Self { folder: Folder::private(root) }
    }

    /// Makes the folder, and removes what an interrupted run left half written.
    pub fn prepare(&mut self) -> io::Result<()> {
        self.folder.prepare()
    }

    /// Puts a bundle in its place. Durable after [`PayloadBundles::sync`].
    pub fn put(&mut self, number: u64, bytes: &[u8]) -> io::Result<()> {
        self.folder.put_path(&path(number), bytes)
    }

    /// Makes everything that was put durable.
    pub fn sync(&mut self) -> io::Result<()> {
        self.folder.sync()
    }

    /// The bytes of a bundle; none if there is no such file.
    pub fn bytes(&self, number: u64) -> io::Result<Option<Vec<u8>>> {
        self.folder.path_bytes(&path(number))
    }

    /// The bytes of a copy's last, unfinished bundle with `width` records; none if there is no such file. The data
    /// directory has none: there they lie in the journal.
    pub fn part_bytes(&self, number: u64, width: u16) -> io::Result<Option<Vec<u8>>> {
        self.folder.path_bytes(&part_path(number, width))
    }

    /// Every file below the folder, by its path in it.
    pub fn paths(&self) -> io::Result<Vec<String>> {
        self.folder.paths()
    }
}

/// The records of a full bundle, as (codec, bytes); none if it has another form.
pub fn records(bytes: &[u8]) -> Option<Vec<(u8, &[u8])>> {
    rows::parse_payloads(bytes).filter(|records| records.len() as u64 == BUNDLE_LEAVES)
}
