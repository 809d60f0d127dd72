//! `recover`: a log that went back gets the entries it lacks from a mirror of it, byte for byte, and the mirror's
//! checkpoint as its newest.
//!
//! Nothing of the mirror is believed: its checkpoint must be signed by this log's key, its leaves must lead to that
//! checkpoint's root, what this log has must be their beginning, and every payload record must be what its leaf commits
//! to, as far as a data key is there to open it. All of that is known before the first byte is written.
//!
//! # Order of writes
//!
//! 1. The note that must be reached, as the file `recovering`: until it is, no collector starts here.
//! 2. The entries, as sealed groups of the journal, each synced. *Crash: a beginning; the next `recover` goes on after it.*
//! 3. The note, and once more with the lines of witnesses where the policy has a quorum, synced.
//! 4. `recovering` is removed. *Crash before: the next start, or `recover`, removes it.*
//!
//! Works while no server runs: the caller holds the lock of the data directory. Whether the log is the newest now, the
//! start gate decides as ever.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use evidence::ids::Digest;
use evidence::leaf::{Leaf, Stream};
use evidence::note::{Checkpoint, VerifierKey};
use evidence::witness_policy::WitnessPolicy;

use crate::data_keys::{DataKeyError, DataKeys};
use crate::datadir::{DataDir, make_folder, replace_file};
use crate::failpoints;
use crate::index::{EntryError, Index};
use crate::journal::{Group, Journal, JournalError};
use crate::ledger::{Ledger, LedgerOptions, OpenError, ReadError, Unstarted, link_of, parse_note};
use crate::log::BUNDLE_LEAVES;
use crate::payload_codec::{self, Opened, ReadPayloadError, Stored};
use crate::sequencer::{
    COMMIT_BYTES, ENTRY_OVERHEAD_BYTES, GROUP_BYTES_MAX_DEFAULT, GROUP_ENTRIES_MAX_DEFAULT, meets,
};

mod erased;
mod mirror;
#[cfg(test)]
mod tests;

use erased::Tombstones;
use mirror::Mirror;
pub use mirror::MirrorError;

/// What recovering needs from outside.
pub struct Options<'a> {
    /// This log's key, under its origin.
    /// The one of today last.
    pub log_keys: Vec<VerifierKey>,
    /// The witness policy, if it has a quorum.
    pub policy: Option<&'a WitnessPolicy>,
    /// How the ledger is opened.
    pub ledger: LedgerOptions,
    /// Free space below which nothing is written, bytes: sled cannot be opened on a full disk.
    pub free_bytes_min: u64,
    /// Told how many entries were read, of the first and of the second reading.
    pub progress: &'a dyn Fn(&'static str, u64),
}

/// Why a recovery stopped without an answer. What was written before is a beginning that the next one continues.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The mirror.
    #[error(transparent)]
    Mirror(#[from] MirrorError),
    /// The log.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The log's own entries.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The data keys.
    #[error(transparent)]
    Keys(#[from] DataKeyError),
    /// An entry that no collector writes, under a checkpoint of this log.
    #[error("entry {index} of the mirror cannot follow the ones before it: {what}")]
    Entry {
        /// Its index.
        index: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// A file of the data directory.
    #[error("could not write {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// Too little room.
    #[error(
        "{free_bytes} bytes are free and {kept_bytes} are kept; make room and run `recover` again: it goes on where it was"
    )]
    NoRoom {
        /// Free space, bytes.
        free_bytes: u64,
        /// Space that must stay free, bytes.
        kept_bytes: u64,
    },
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// The mirror's checkpoint.
    pub checkpoint: Checkpoint,
    /// Entries of the log before.
    pub size_before: u64,
    /// The answer.
    pub ended: Ended,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// The log has everything the mirror has.
    Level(Counts),
    /// Two histories are signed, or the mirror's is not this log's: why, and where both notes are kept.
    Fork {
        /// What contradicts.
        why: String,
        /// The folder with both notes.
        evidence: PathBuf,
    },
    /// This copy took in entries after it had gone back. No checkpoint covers them, and they are not the mirror's.
    TakenIn {
        /// The first that may be of that kind.
        from: u64,
        /// Entries here.
        size: u64,
    },
    /// The mirror has not all payloads: entries without one, by stream.
    Missing(BTreeMap<Stream, u64>),
}

/// What was recovered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Entries.
    pub entries: u64,
    /// Of them, those whose payload is sealed under a data key that is not here: taken over as bytes, unchecked.
    pub without_key: u64,
    /// Of them, those whose payload was erased.
    pub erased: u64,
}

/// Recovers the log at `dir` from the mirror at `from`.
pub fn recover(dir: &Arc<DataDir>, from: &Path, options: &Options<'_>) -> Result<Recovered, RecoverError> {
    let mirror = Mirror::open(from, &options.log_keys)?;
    let (ledger, unstarted) = Ledger::open(Arc::clone(dir), &options.ledger)?;
    let size_before = ledger.size();
    let checkpoint = mirror.checkpoint().clone();
    let ended = Recovery { dir, mirror: &mirror, options }.run(&ledger, unstarted)?;
    Ok(Recovered { checkpoint, size_before, ended })
}

/// Whether a recovery has begun here that has not reached what it must; what a finished one left is removed. `newest` is
/// the size of the newest checkpoint.
pub fn check_finished(dir: &DataDir, ledger: &Ledger, newest: u64) -> Result<(), String> {
    match is_finished(dir, ledger, newest) {
        Ok(true) => Ok(()),
        Ok(false) => {
            Err("a recovery of this log has begun and is not finished, so it is an old copy still; run \
                          `recover` again, from the same mirror or a newer one"
                .to_owned())
        }
        Err(error) => Err(format!("{}: {error}", dir.recovering().display())),
    }
}

fn is_finished(dir: &DataDir, ledger: &Ledger, newest: u64) -> io::Result<bool> {
    let path = dir.recovering();
    let note = match fs::read(&path) {
        Ok(note) => note,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(error),
    };
    let Ok(reached) = parse_note(&note) else { return Ok(false) };
    let has = reached.size <= newest && ledger.root_at(reached.size).is_ok_and(|root| root == reached.root);
    if has {
        fs::remove_file(&path)?;
    }
    Ok(has)
}

struct Recovery<'a> {
    dir: &'a DataDir,
    mirror: &'a Mirror,
    options: &'a Options<'a>,
}

impl Recovery<'_> {
    fn run(&self, ledger: &Ledger, unstarted: Unstarted) -> Result<Ended, RecoverError> {
        let Unstarted { mut journal, index, checkpoint, cosigned, .. } = unstarted;
        let (newest, ours) = checkpoint.as_ref().map_or((0, None), |row| (row.size, Some(row.note.as_str())));
        let theirs = self.mirror.checkpoint();
        let common = ledger.size().min(theirs.size);
        let signed = newest.min(theirs.size);
        let roots =
            self.mirror.roots_at([signed, common], |entries| (self.options.progress)("hashed", entries))?;
        if roots != [ledger.root_at(signed)?, ledger.root_at(common)?] {
            let agrees = roots.first() == Some(&ledger.root_at(signed)?);
            let size = ledger.size();
            return if agrees { Ok(Ended::TakenIn { from: signed, size }) } else { self.fork(ours, signed) };
        }
        let checked = match self.check(ledger.data_keys(), index.clone())? {
            Ok(checked) => checked,
            Err(missing) => return Ok(Ended::Missing(missing)),
        };
        let covered = [newest, cosigned.as_ref().map_or(0, |row| row.size)];
        self.write(&mut journal, index, &checked, covered)?;
        Ok(Ended::Level(checked.counts))
    }

    /// Keeps both notes.
    fn fork(&self, ours: Option<&str>, signed: u64) -> Result<Ended, RecoverError> {
        let theirs = self.mirror.checkpoint();
        let root: String = theirs.root.hex().chars().take(16).collect();
        let evidence = self.dir.forks().join(format!("{}-{root}", theirs.size));
        let keep = || {
            make_folder(&self.dir.forks()).map_err(io::Error::other)?;
            make_folder(&evidence).map_err(io::Error::other)?;
            replace_file(&evidence.join("ours"), ours.unwrap_or_default().as_bytes())?;
            replace_file(&evidence.join("theirs"), self.mirror.note().encode().as_bytes())
        };
        keep().map_err(|source| failed(evidence.clone(), source))?;
        let why = format!(
            "the mirror's tree of {} entries does not begin with the {signed} entries that this log has signed",
            theirs.size
        );
        Ok(Ended::Fork { why, evidence })
    }

    /// Reads everything that is missing, as it will be written; or how many payloads the mirror lacks, by stream.
    fn check(
        &self,
        keys: &DataKeys,
        mut index: Index,
    ) -> Result<Result<Checked, BTreeMap<Stream, u64>>, RecoverError> {
        let theirs = self.mirror.checkpoint();
        let mut checked = Checked::default();
        let mut missing = BTreeMap::<Stream, u64>::new();
        let mut tombstones = Tombstones::default();
        while index.size() < theirs.size {
            let bundle = self.mirror.bundle(index.size() / BUNDLE_LEAVES)?;
            checked.bundles.push(bundle.digest());
            for (leaf_bytes, record) in bundle.entries_from(index.size()) {
                let at = index.size();
                let refused = |what| RecoverError::Entry { index: at, what };
                let leaf = Leaf::parse(leaf_bytes).map_err(|_| refused("its leaf has an unknown form"))?;
                checked.counts.entries += 1;
                let found = match record {
                    Some((codec, stored)) => {
                        self.judge(keys, &mut tombstones, (at, &leaf, leaf_bytes), (*codec, stored))?
                    }
                    None => Payload::Missing,
                };
                match found {
                    Payload::Checked => {}
                    Payload::Erased => checked.counts.erased += 1,
                    Payload::WithoutKey => checked.counts.without_key += 1,
                    Payload::Missing => *missing.entry(leaf.kind.stream).or_default() += 1,
                }
                let link = match record {
                    Some((codec, stored)) if found != Payload::Missing => {
                        link_of(&leaf, *codec, stored).map_err(refused)?
                    }
                    _ => None,
                };
                index.add(&leaf, leaf_bytes.to_vec(), link).map_err(|EntryError(what)| refused(what))?;
            }
            drop(index.take_changes());
            (self.options.progress)("compared", index.size());
        }
        if index.size() == theirs.size && index.root() != theirs.root {
            return Err(MirrorError::Changed.into());
        }
        Ok(if missing.is_empty() { Ok(checked) } else { Err(missing) })
    }

    fn judge(
        &self,
        keys: &DataKeys,
        tombstones: &mut Tombstones,
        (index, leaf, leaf_bytes): (u64, &Leaf, &[u8]),
        (codec, stored): (u8, &[u8]),
    ) -> Result<Payload, RecoverError> {
        if let Ok(Stored::Erased { tombstone, subject }) = Stored::parse(leaf.kind, codec, stored) {
            let erased = tombstones.cover(self.mirror, keys, tombstone, leaf, &subject)?;
            return Ok(if erased { Payload::Erased } else { Payload::Missing });
        }
        match payload_codec::read(Some(keys), index, leaf, leaf_bytes, codec, stored) {
            Ok(Opened::Payload { .. }) => Ok(Payload::Checked),
            Ok(Opened::Erased { .. }) => Ok(Payload::Erased),
            Err(ReadPayloadError::Key(DataKeyError::Unknown(_))) => Ok(Payload::WithoutKey),
            Err(ReadPayloadError::Key(error)) => Err(error.into()),
            Err(ReadPayloadError::Payload(_)) => Ok(Payload::Missing),
        }
    }

    /// Appends what was checked, then the mirror's note.
    fn write(
        &self,
        journal: &mut Journal,
        mut index: Index,
        checked: &Checked,
        [newest, cosigned]: [u64; 2],
    ) -> Result<(), RecoverError> {
        let theirs = self.mirror.checkpoint();
        let is_there = index.size() >= theirs.size;
        if is_there && newest >= theirs.size {
            return Ok(());
        }
        self.begin()?;
        let bytes_max = GROUP_BYTES_MAX_DEFAULT.min(journal.group_bytes_max());
        let (mut group, mut entries) = (Group::new(), 0_usize);
        let first = index.size() / BUNDLE_LEAVES;
        for (number, expected) in (first..).zip(&checked.bundles) {
            let bundle = self.mirror.bundle(number)?;
            if bundle.digest() != *expected {
                return Err(MirrorError::Changed.into());
            }
            for (leaf_bytes, record) in bundle.entries_from(index.size()) {
                let at = index.size();
                let refused = |what| RecoverError::Entry { index: at, what };
                let Some((codec, stored)) = record else { return Err(MirrorError::Changed.into()) };
                let bytes =
                    group.bytes().len() as u64 + ENTRY_OVERHEAD_BYTES + stored.len() as u64 + COMMIT_BYTES;
                if entries > 0 && (bytes > bytes_max || entries >= GROUP_ENTRIES_MAX_DEFAULT) {
                    self.seal(journal, &mut index, &mut group)?;
                    entries = 0;
                }
                let leaf = Leaf::parse(leaf_bytes).map_err(|_| refused("its leaf has an unknown form"))?;
                let link = link_of(&leaf, *codec, stored).map_err(refused)?;
                index.add(&leaf, leaf_bytes.to_vec(), link).map_err(|EntryError(what)| refused(what))?;
                group.push_stored(at, leaf_bytes, *codec, &[stored]);
                entries += 1;
            }
            (self.options.progress)("written", index.size());
        }
        if entries > 0 {
            self.seal(journal, &mut index, &mut group)?;
        }
        // The record of a checkpoint stands behind exactly the entries it covers.
        if index.size() == theirs.size {
            self.put_note(journal, [newest, cosigned])?;
            failpoints::reach("recover-checkpoint-synced");
        }
        Ok(())
    }

    /// Says what must be reached. A recovery that had further to go keeps its own word.
    fn begin(&self) -> Result<(), RecoverError> {
        let path = self.dir.recovering();
        let before = fs::read(&path).ok().and_then(|note| parse_note(&note).ok());
        if before.is_none_or(|before| before.size < self.mirror.checkpoint().size) {
            let note = self.mirror.note().with_lines_of(&self.options.log_keys, &[]);
            replace_file(&path, note.encode().as_bytes()).map_err(|source| failed(path, source))?;
        }
        failpoints::reach("recover-begun");
        Ok(())
    }

    /// Seals a group and makes it durable.
    fn seal(&self, journal: &mut Journal, index: &mut Index, group: &mut Group) -> Result<(), RecoverError> {
        let (free_bytes, kept_bytes) = (journal.free_bytes()?, self.options.free_bytes_min);
        if free_bytes < kept_bytes {
            return Err(RecoverError::NoRoom { free_bytes, kept_bytes });
        }
        let mut group = std::mem::take(group);
        group.push_commit(index.size(), index.root().as_bytes());
        journal.append(&group)?;
        drop(index.take_changes());
        failpoints::reach("recover-group-synced");
        Ok(())
    }

    /// The note with the log's line alone, and with those of the quorum, as the log itself keeps them.
    fn put_note(&self, journal: &mut Journal, [newest, cosigned]: [u64; 2]) -> Result<(), RecoverError> {
        let size = self.mirror.checkpoint().size;
        let signed = self.mirror.note().with_lines_of(&self.options.log_keys, &[]);
        let full = self.options.policy.and_then(|policy| meets(policy, self.mirror.note()));
        let notes = [
            (newest < size).then(|| signed.encode()),
            full.filter(|_| cosigned < size).map(|published| published.note),
        ];
        for note in notes.into_iter().flatten() {
            let mut group = Group::new();
            group.push_checkpoint(note.as_bytes());
            journal.append(&group)?;
        }
        Ok(())
    }
}

fn failed(path: PathBuf, source: io::Error) -> RecoverError {
    RecoverError::Io { path, source }
}

/// What was read and is to be written.
#[derive(Default)]
struct Checked {
    counts: Counts,
    /// Of each bundle with missing entries: it must be the same when it is read again.
    bundles: Vec<Digest>,
}

/// What the mirror has of a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Payload {
    /// What its leaf commits to.
    Checked,
    /// Erased, and not by the mirror's word alone.
    Erased,
    /// Sealed under a key that is not here.
    WithoutKey,
    /// Nothing, or not what its leaf commits to.
    Missing,
}
