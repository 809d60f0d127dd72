//! Payload bundles: compared with the entries, and read in place of a journal that begins later.

use std::collections::BTreeSet;
use std::sync::{Arc, mpsc};
use std::thread;

use evidence::tiles::{Content, TILE_WIDTH, Tile};

use super::{Decoded, HEADER, Part, Walk, decode_all};
use crate::data_keys::DataKeys;
use crate::datadir::DataDir;
use crate::journal::{
    EntryRecord, JournalReader, Parsed, Position, Record, SEGMENT_HEADER_BYTES, SegmentBytes, parse_record,
    segment_path,
};
use crate::ledger::parse_note;
use crate::log::BUNDLE_LEAVES;
use crate::payload_bundles::{self, PayloadBundles};
use crate::tree::Folder;

/// Bundles decoded at once: 8,192 entries, enough for every processor, about ten megabytes.
const BATCH_BUNDLES: u64 = 32;
/// Batches that may wait to be walked: bounds memory.
const BATCHES_WAITING: usize = 2;

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

    /// Walks the entries before the first segment of the journal, which lie in the bundles. `segments` are the journal's.
    pub(super) fn bundles(&mut self, dir: &DataDir, segments: &[u64]) {
        let first =
            Position { segment: segments.first().copied().unwrap_or(0), offset: SEGMENT_HEADER_BYTES };
        let journal_from = JournalReader::new(&dir.journal()).first_index(first);
        let journal_from = journal_from.ok().flatten().unwrap_or(u64::MAX);
        self.passing = checkpoint_sizes(dir, segments);
        let reader = BundleReader {
            tree: Folder::new(&dir.tree()),
            payloads: PayloadBundles::new(&dir.payloads()),
            keys: self.keys.clone(),
            journal_from,
        };
        let (batches, read) = mpsc::sync_channel(BATCHES_WAITING);
        let lost = thread::scope(|scope| {
            let reader = scope.spawn(move || reader.read(&batches));
            for Batch { entries, decoded } in read {
                for (entry, decoded) in entries.into_iter().zip(decoded.into_iter().flatten()) {
                    self.report.entries += 1;
                    self.entry(None, entry, decoded);
                }
            }
            reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        if let Some(number) = lost {
            return self.lost(number, journal_from);
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

/// Sizes of the checkpoints in these journal segments, as far as the segments can be read: what is damaged in them is
/// told when they are walked.
fn checkpoint_sizes(dir: &DataDir, segments: &[u64]) -> BTreeSet<u64> {
    let mut sizes = BTreeSet::new();
    for number in segments {
        let Ok(bytes) = std::fs::read(segment_path(&dir.journal(), *number)) else { continue };
        let segment = SegmentBytes::new(*number, bytes);
        let mut at = HEADER;
        while let Parsed::Record(record, length) = parse_record(segment.from(at)) {
            if let Record::Checkpoint { note } = &record {
                sizes.extend(parse_note(note).ok().map(|checkpoint| checkpoint.size));
            }
            at += length;
        }
    }
    sizes
}

/// Entries of some bundles, each judged alone.
struct Batch {
    entries: Vec<EntryRecord>,
    decoded: Vec<Option<Decoded>>,
}

/// Reads and decodes bundles while those before them are walked.
struct BundleReader {
    tree: Folder,
    payloads: PayloadBundles,
    keys: Option<Arc<DataKeys>>,
    journal_from: u64,
}

impl BundleReader {
    /// Sends all bundles before the journal, in order. The number of the first that is missing or has no form.
    fn read(&self, batches: &mpsc::SyncSender<Batch>) -> Option<u64> {
        let bundles = self.journal_from.div_ceil(BUNDLE_LEAVES);
        let mut number = 0;
        while number < bundles {
            let mut entries = Vec::new();
            let mut lost = None;
            for _ in 0..BATCH_BUNDLES.min(bundles - number) {
                let Some(bundle) = self.bundle(number) else {
                    lost = Some(number);
                    break;
                };
                entries.extend(bundle);
                number += 1;
            }
            let decoded = decode_all(self.keys.as_deref(), &entries.iter().map(Some).collect::<Vec<_>>());
            // Whoever walks them is gone only if he has panicked, and then nobody asks any more.
            if batches.send(Batch { entries, decoded }).is_err() || lost.is_some() {
                return lost;
            }
        }
        None
    }

    fn bundle(&self, number: u64) -> Option<Vec<EntryRecord>> {
        let tile = Tile::new(Content::Entries, number, TILE_WIDTH)?;
        let leaves = self.tree.tile(&tile).ok()??;
        let leaves = tile.parse_entries(&leaves).ok()?;
        let payloads = self.payloads.bytes(number).ok()??;
        let records = payload_bundles::records(&payloads)?;
        let indexes = number * BUNDLE_LEAVES..;
        let entries = indexes.zip(leaves).zip(records).map(|((index, leaf), (codec, stored))| EntryRecord {
            index,
            leaf: leaf.to_vec(),
            codec,
            stored: stored.to_vec(),
        });
        Some(entries.collect())
    }
}
