//! Payload bundles: compared with the entries, and read in place of a journal that begins later.

use evidence::tiles::{Content, TILE_WIDTH, Tile};

use super::{Part, Walk, decode_all};
use crate::datadir::DataDir;
use crate::journal::{EntryRecord, JournalReader, Position, SEGMENT_HEADER_BYTES};
use crate::log::BUNDLE_LEAVES;
use crate::payload_bundles;
use crate::tree::Folder;

impl Walk<'_> {
    /// Compares the rows and bundles made since the last call with those that are stored.
    pub(super) fn step(&mut self) {
        let step = self.maker.take_step(self.end);
        for bundle in &step.bundles {
            self.report.payload_bundles += 1;
            let what = match self.payloads.bytes(bundle.number) {
                Ok(Some(bytes)) if bytes == bundle.bytes => continue,
                Ok(Some(_)) => format!("payload bundle {} holds other bytes", bundle.number),
                // It is written before the rows of its entries count.
                Ok(None) if (bundle.number + 1) * BUNDLE_LEAVES > self.index.size() => {
                    self.report.payload_bundles -= 1;
                    continue;
                }
                Ok(None) => format!("payload bundle {} is missing", bundle.number),
                Err(error) => format!("payload bundle {} could not be read: {error}", bundle.number),
            };
            self.fault_of(Part::Payloads, None, None, what);
        }
        self.index.step(step, &self.maker);
    }

    /// Walks the entries before the first segment of the journal, which lie in the bundles.
    pub(super) fn bundles(&mut self, dir: &DataDir, first_segment: u64) {
        let first = Position { segment: first_segment, offset: SEGMENT_HEADER_BYTES };
        let journal_from = JournalReader::new(&dir.journal()).first_index(first);
        let journal_from = journal_from.ok().flatten().unwrap_or(u64::MAX);
        let tree = Folder::new(&dir.tree());
        while self.maker.index().size() < journal_from {
            let number = self.maker.index().size() / BUNDLE_LEAVES;
            let read = Tile::new(Content::Entries, number, TILE_WIDTH).and_then(|tile| {
                let leaves = tree.tile(&tile).ok()??;
                let leaves = tile.parse_entries(&leaves).ok()?.into_iter().map(<[u8]>::to_vec).collect();
                Some((leaves, self.payloads.bytes(number).ok()??))
            });
            let Some((leaves, payloads)): Option<(Vec<Vec<u8>>, Vec<u8>)> = read else {
                return self.lost(number, journal_from);
            };
            let Some(records) = payload_bundles::records(&payloads) else {
                return self.lost(number, journal_from);
            };
            let entries: Vec<EntryRecord> = (self.maker.index().size()..)
                .zip(leaves.into_iter().zip(records))
                .map(|(index, (leaf, (codec, stored)))| EntryRecord {
                    index,
                    leaf,
                    codec,
                    stored: stored.to_vec(),
                })
                .collect();
            let decoded = decode_all(self.keys.as_ref(), &entries.iter().map(Some).collect::<Vec<_>>());
            for (entry, decoded) in entries.into_iter().zip(decoded.into_iter().flatten()) {
                self.report.entries += 1;
                self.entry(None, entry, decoded);
            }
        }
        self.bundled = self.maker.index().size();
        (self.sealed_size, self.sealed_root) = (self.bundled, self.maker.index().root());
    }

    fn lost(&mut self, number: u64, journal_from: u64) {
        self.whole = false;
        let what = format!(
            "bundle {number} of `tree` or `payload` is missing or has no form, and the journal begins at entry {journal_from}"
        );
        self.fault(Part::Payloads, None, what);
    }
}
