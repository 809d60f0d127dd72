//! Makes again what can be made again of a data directory: payload bundles from the journal or from the index, and with
//! `--index` the index from journal, public tree and payload bundles. Then checks everything as `fsck` does.
//!
//! A copy is only written over by bytes that were checked themselves: those of the journal, which has a checksum for each
//! record, or those of the index whose leaves lie under a checkpoint the log has signed; and in both cases records that
//! have a form and, where their data key is there, open to what their leaf commits to. Nothing is deleted but what this
//! run itself made.
//!
//! Works while no server runs: the caller holds the lock of the data directory.

use std::io;
use std::path::PathBuf;

use evidence::merkle::{leaf_hash, verify_inclusion};
use evidence::note::Checkpoint;
use serde::Serialize;

use crate::data_keys::DataKeys;
use crate::datadir::{DataDir, DataDirError};
use crate::epochs::{EpochTiles, Epochs, SledEpochs};
use crate::fsck;
use crate::journal::{EntryRecord, Journal, JournalError, Record};
use crate::ledger::{LedgerOptions, OpenError, level_index};
use crate::log::{BUNDLE_LEAVES, Inclusions};
use crate::payload_bundles::{self, PayloadBundles};
use crate::payload_codec;
use crate::store::StoreError;
use crate::store::rows::{self, CHUNK_LEAVES, Head};

#[cfg(test)]
mod tests;

/// Why nothing could be made again. What was written before is whole.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// The journal, which everything else is compared with.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The index could not be made; the one that was there is in its place again.
    #[error("the index was not made anew, and the one that was there is in its place again")]
    Index(#[source] OpenError),
    /// The new index lacks entries of the old one, or has others.
    #[error(
        "the index that was there knows {old} entries, and journal, `tree` and `payload` lead to {made}, or to another \
         log: it is in its place again. Restore the journal's newest segments from a copy"
    )]
    Differs {
        /// Entries of the index that was there.
        old: u64,
        /// Entries of the one that was made.
        made: u64,
    },
    /// A folder could not be moved.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// A payload bundle could not be written.
    #[error("could not write the payload bundles in {path}")]
    Bundles {
        /// Their folder.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

/// A payload bundle that stays missing or damaged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BundleLeft {
    /// Its number.
    pub number: u64,
    /// Its file in `payload/`.
    pub path: String,
    /// Why it could not be made again.
    pub why: &'static str,
}

/// An index that was made anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NewIndex {
    /// Where the one that was there lies now; none if there was none.
    pub aside: Option<PathBuf>,
    /// Entries of the log it was made from.
    pub entries: u64,
}

/// What was made again, and what `fsck` says afterwards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Payload bundles that were compared with journal or index.
    pub bundles: u64,
    /// Numbers of those that were written.
    pub written: Vec<u64>,
    /// Those that could not be.
    pub left: Vec<BundleLeft>,
    /// The new index, if one was asked for.
    pub index: Option<NewIndex>,
    /// The check of everything afterwards.
    pub check: fsck::Report,
}

/// Makes again what is missing or damaged. `anew`: the whole index too. `options.log_keys` must hold the log's key:
/// without it nothing is taken from the index.
pub fn rebuild(
    dir: &DataDir,
    ledger: &LedgerOptions,
    options: &fsck::Options<'_>,
    anew: bool,
) -> Result<Report, RebuildError> {
    let (journal, _) = Journal::open(&dir.journal(), ledger.segment_bytes, ledger.io.clone())?;
    let mut mender = Mender::new(dir, ledger.epoch_leaves, options);
    let first_whole = mender.compare_with_journal(&journal)?;
    mender.compare_with_index(first_whole)?;
    let (head, Mended { bundles, written, left }) = mender.finish()?;
    drop(journal);
    let index = if anew { Some(index_anew(dir, ledger, head)?) } else { None };
    let check = fsck::check(dir, options)?;
    Ok(Report { bundles, written, left, index, check })
}

/// Moves the index aside and makes another, or puts the old one back.
fn index_anew(dir: &DataDir, options: &LedgerOptions, old: Option<Head>) -> Result<NewIndex, RebuildError> {
    let aside = dir.move_indexes_aside()?;
    let made = level_index(dir, options).map_err(RebuildError::Index).and_then(|level| {
        let (made, Some(old)) = (level.size(), old) else { return Ok(level.size()) };
        let same = made >= old.size && level.root_at(old.size).is_ok_and(|root| root == old.root);
        if same { Ok(made) } else { Err(RebuildError::Differs { old: old.size, made }) }
    });
    match made {
        Ok(entries) => Ok(NewIndex { aside, entries }),
        Err(error) => {
            if let Some(aside) = aside {
                dir.put_indexes_back(&aside)?;
            }
            Err(error)
        }
    }
}

/// Numbers of the chunks of a bundle.
fn chunks(number: u64) -> std::ops::Range<u64> {
    let first = number.saturating_mul(BUNDLE_LEAVES / CHUNK_LEAVES);
    first..first.saturating_add(BUNDLE_LEAVES / CHUNK_LEAVES)
}

#[derive(Default)]
struct Mended {
    bundles: u64,
    written: Vec<u64>,
    left: Vec<BundleLeft>,
}

/// Compares the payload bundles with their other copies and writes those that differ.
struct Mender<'a> {
    dir: &'a DataDir,
    options: &'a fsck::Options<'a>,
    /// None: there are none, or they cannot be read, and then records are only parsed.
    keys: Option<DataKeys>,
    epochs: Option<Epochs>,
    head: Option<Head>,
    payloads: PayloadBundles,
    prepared: bool,
    mended: Mended,
}

impl<'a> Mender<'a> {
    fn new(dir: &'a DataDir, epoch_leaves: u64, options: &'a fsck::Options<'a>) -> Self {
        let sled = SledEpochs::new(&dir.indexes());
        // Opening one that is not there would make it.
        let opened = sled.path(0).exists().then(|| {
            let epochs = Epochs::open(Box::new(sled), epoch_leaves)?;
            let head = epochs.head()?;
            Ok::<_, StoreError>((epochs, head))
        });
        let (epochs, head) = match opened {
            Some(Ok((epochs, head))) => (Some(epochs), head),
            Some(Err(_)) | None => (None, None),
        };
        let keys = DataKeys::inspect(&dir.keys(), &dir.data_keys()).ok();
        let (payloads, mended) = (PayloadBundles::new(&dir.payloads()), Mended::default());
        Self { dir, options, keys, epochs, head, payloads, prepared: false, mended }
    }

    /// Compares the bundles whose entries all lie in the journal. Gives the number of the first of them.
    fn compare_with_journal(&mut self, journal: &Journal) -> Result<u64, RebuildError> {
        let reader = journal.reader();
        let mut first = None;
        let mut entries: Vec<EntryRecord> = Vec::new();
        reader.replay(reader.first()?, journal.end(), |_, record| {
            let Record::Entry(entry) = record else { return Ok::<_, RebuildError>(()) };
            let whole =
                entries.first().is_some_and(|first| first.index + entries.len() as u64 == entry.index);
            if entry.index.is_multiple_of(BUNDLE_LEAVES) {
                entries.clear();
            } else if !whole {
                return Ok(());
            }
            entries.push(entry);
            if entries.len() as u64 == BUNDLE_LEAVES {
                let number = entries.first().map_or(0, |first| first.index) / BUNDLE_LEAVES;
                first.get_or_insert(number);
                self.journal_bundle(number, &entries)?;
                entries.clear();
            }
            Ok(())
        })?;
        Ok(first.unwrap_or(u64::MAX))
    }

    fn journal_bundle(&mut self, number: u64, entries: &[EntryRecord]) -> Result<(), RebuildError> {
        let mut bytes = Vec::new();
        for entry in entries {
            rows::push_payload(&mut bytes, entry.codec, &entry.stored);
        }
        if self.lies_there(number, &bytes) {
            return Ok(());
        }
        let fits = |entry: &EntryRecord| self.fits(entry.index, &entry.leaf, entry.codec, &entry.stored);
        if entries.iter().all(fits) {
            self.write(number, &bytes)
        } else {
            self.leave(number, "the journal's own records are not what their leaves commit to");
            Ok(())
        }
    }

    /// Compares the bundles below `end` with the index, as far as it goes.
    fn compare_with_index(&mut self, end: u64) -> Result<(), RebuildError> {
        let Some(head) = self.head else { return Ok(()) };
        let signed = self.signed();
        for number in 0..end.min(head.size / BUNDLE_LEAVES) {
            let Ok(bytes) = self.indexed_bytes(number) else {
                // A good file of a damaged index is no fault of the file; the check says what there is.
                if !self.parses(number) {
                    self.leave(number, "neither the journal nor the index has its records");
                }
                continue;
            };
            if self.lies_there(number, &bytes) {
                continue;
            }
            match self.indexed_is_right(number, &bytes, signed.as_ref()) {
                Ok(()) => self.write(number, &bytes)?,
                // The index is the one that is damaged: the check says so.
                Err(_) if self.file_fits(number) => {}
                Err(why) => self.leave(number, why),
            }
        }
        Ok(())
    }

    /// The newest checkpoint in the index, if the log has signed it.
    fn signed(&self) -> Option<Checkpoint> {
        let row = self.epochs.as_ref()?.checkpoint().ok()??;
        if self.options.log_keys.is_empty() {
            return None;
        }
        fsck::read_checkpoint(self.options, row.note.as_bytes()).ok()
    }

    fn indexed_bytes(&self, number: u64) -> Result<Vec<u8>, StoreError> {
        let Some(epochs) = &self.epochs else { return Ok(Vec::new()) };
        let mut bytes = Vec::new();
        for chunk in chunks(number) {
            bytes.extend(epochs.payloads_of(chunk)?);
        }
        if number.is_multiple_of(BUNDLE_LEAVES) {
            epochs.close_sealed();
        }
        Ok(bytes)
    }

    /// Whether the index's copy of a bundle may be written over the file.
    fn indexed_is_right(
        &self,
        number: u64,
        bytes: &[u8],
        signed: Option<&Checkpoint>,
    ) -> Result<(), &'static str> {
        let (Some(epochs), Some(head)) = (&self.epochs, self.head) else { return Err("there is no index") };
        let records = payload_bundles::records(bytes).ok_or("the index's own records have no form")?;
        let first = number.saturating_mul(BUNDLE_LEAVES);
        let covers = |signed: &&Checkpoint| signed.size <= head.size && signed.size >= first + BUNDLE_LEAVES;
        let signed = signed.filter(covers).ok_or("no signed checkpoint in the index covers it")?;
        let tiles = EpochTiles { epochs, size: head.size };
        let mut proofs = Inclusions::new(&tiles, signed.size);
        let leaves = self.leaves(number).map_err(|_| "the index has not all of its leaves")?;
        for ((index, leaf), (codec, stored)) in (first..).zip(&leaves).zip(records) {
            let proof = proofs.proof(index).map_err(|_| "the index's tree is damaged")?;
            verify_inclusion(index, signed.size, &leaf_hash(leaf), &proof, &signed.root)
                .map_err(|_| "the index's leaves are not those of the signed checkpoint")?;
            if !self.fits(index, leaf, codec, stored) {
                return Err("the index's own records are not what their leaves commit to");
            }
        }
        Ok(())
    }

    fn leaves(&self, number: u64) -> Result<Vec<Vec<u8>>, StoreError> {
        let Some(epochs) = &self.epochs else { return Ok(Vec::new()) };
        let mut leaves = Vec::new();
        for chunk in chunks(number) {
            leaves.extend(epochs.leaves_of(chunk)?);
        }
        Ok(leaves)
    }

    /// Whether the file that lies there goes with the leaves of the index.
    fn file_fits(&self, number: u64) -> bool {
        let Some((bytes, leaves)) = self.payloads.bytes(number).ok().flatten().zip(self.leaves(number).ok())
        else {
            return false;
        };
        let Some(records) = payload_bundles::records(&bytes) else { return false };
        let first = number.saturating_mul(BUNDLE_LEAVES);
        let mut fitting = (first..).zip(&leaves).zip(&records);
        leaves.len() == records.len()
            && fitting.all(|((index, leaf), (codec, stored))| self.fits(index, leaf, *codec, stored))
    }

    fn fits(&self, index: u64, leaf: &[u8], codec: u8, stored: &[u8]) -> bool {
        payload_codec::fits(self.keys.as_ref(), index, leaf, codec, stored)
    }

    fn lies_there(&mut self, number: u64, bytes: &[u8]) -> bool {
        self.mended.bundles += 1;
        if let Some(progress) = self.options.progress {
            progress(number.saturating_add(1).saturating_mul(BUNDLE_LEAVES));
        }
        // One that cannot be read is no copy.
        self.payloads.bytes(number).is_ok_and(|found| found.as_deref() == Some(bytes))
    }

    fn parses(&self, number: u64) -> bool {
        let found = self.payloads.bytes(number).ok().flatten();
        found.is_some_and(|bytes| payload_bundles::records(&bytes).is_some())
    }

    fn leave(&mut self, number: u64, why: &'static str) {
        self.mended.left.push(BundleLeft { number, path: payload_bundles::path(number), why });
    }

    fn write(&mut self, number: u64, bytes: &[u8]) -> Result<(), RebuildError> {
        if !self.prepared {
            self.payloads.prepare().map_err(|source| self.failed(source))?;
            self.prepared = true;
        }
        self.payloads.put(number, bytes).map_err(|source| self.failed(source))?;
        self.mended.written.push(number);
        Ok(())
    }

    fn failed(&self, source: io::Error) -> RebuildError {
        RebuildError::Bundles { path: self.dir.payloads(), source }
    }

    fn finish(mut self) -> Result<(Option<Head>, Mended), RebuildError> {
        if self.prepared {
            self.payloads.sync().map_err(|source| self.failed(source))?;
        }
        self.mended.written.sort_unstable();
        self.mended.left.sort_unstable_by_key(|left| left.number);
        Ok((self.head, self.mended))
    }
}
