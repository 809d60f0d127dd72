//! Signing checkpoints: only over durable bytes that were read back, only as an extension of the last one.

use std::sync::{Arc, PoisonError};

use evidence::ids::Digest;
use evidence::leaf::{Leaf, commitment};
use evidence::merkle::{empty_root, leaf_hash, verify_consistency};
use evidence::note::{Checkpoint, Note, VerifierKey};

use super::writer::chain;
use super::{CLOCK_STEP_BACK_MS_MAX, WriterOptions, high_water};
use crate::failpoints;
use crate::index::{Index, StoredTiles};
use crate::journal::{Group, Journal, JournalError, Position, Record, SEGMENT_HEADER_BYTES};
use crate::ledger::{Ledger, Published, Signing, split_stored};
use crate::log::{self, ChangedTiles, Tree};
use crate::store::rows::{self, CheckpointRow};

/// Why no checkpoint was signed.
pub(super) enum SignError {
    /// Nothing is wrong with the log; it is tried again.
    Later(String),
    /// The log or the disk contradicts itself: the process must end.
    Fatal(String),
}

/// What the next checkpoint extends.
pub(super) struct Checkpointer {
    /// The tree of the last checkpoint; none while signing is refused.
    signed: Option<Signed>,
}

struct Signed {
    tree: Tree,
    root: Digest,
    /// Where reading back begins.
    from: Position,
}

impl Checkpointer {
    /// Compares the journal's newest checkpoint with the high-water mark, and publishes it if signing is allowed.
    pub(super) fn new(ledger: &Ledger, options: &WriterOptions, newest: Option<CheckpointRow>) -> Self {
        match Self::start(ledger, options, newest) {
            Ok(signed) => {
                set_signing(ledger, Signing::Active);
                Self { signed: Some(signed) }
            }
            Err(reason) => {
                tracing::error!(reason, "No checkpoints are signed in this run.");
                set_signing(ledger, Signing::Refused(reason));
                Self { signed: None }
            }
        }
    }

    fn start(
        ledger: &Ledger,
        options: &WriterOptions,
        newest: Option<CheckpointRow>,
    ) -> Result<Signed, String> {
        let (size, root) = newest.as_ref().map_or((0, empty_root()), |row| (row.size, row.root));
        check_high_water(ledger, options, size)?;
        let tiles = StoredTiles(ledger.shared.store.as_ref());
        let tree = Tree::load(&tiles, size).map_err(|error| chain(&error))?;
        let from =
            newest.as_ref().map_or(Position { segment: 0, offset: SEGMENT_HEADER_BYTES }, |row| row.at);
        if let Some(row) = newest {
            let published = check_newest(&row, options)?;
            write_high_water(options, size, &root)?;
            ledger.shared.checkpoints.send_replace(Some(Arc::new(published)));
        }
        Ok(Signed { tree, root, from })
    }

    /// True if there are leaves that no checkpoint covers and signing is not refused.
    pub(super) fn is_behind(&self, index: &Index) -> bool {
        self.signed.as_ref().is_some_and(|signed| signed.tree.size() < index.size())
    }

    /// Signs, stores and publishes a checkpoint over everything committed, if there is something new.
    pub(super) fn sign(
        &mut self,
        ledger: &Ledger,
        journal: &mut Journal,
        index: &Index,
        options: &WriterOptions,
    ) -> Result<(), SignError> {
        let Some(signed) = self.signed.as_mut().filter(|signed| signed.tree.size() < index.size()) else {
            return Ok(());
        };
        let behind_ms = index.received().ms().saturating_sub(options.clock.now().ms());
        if behind_ms > CLOCK_STEP_BACK_MS_MAX {
            set_signing(ledger, Signing::ClockSteppedBack { behind_ms });
            let what = "the clock lies behind the newest entry; set it right".to_owned();
            return Err(SignError::Later(what));
        }
        set_signing(ledger, Signing::Active);
        let (size, root) = (index.size(), index.root());
        let tree = signed.read_back(ledger, journal.end())?;
        if tree.size() != size || tree.root() != root {
            let what = "the entries read back from the journal are not the ones that were written".to_owned();
            return Err(SignError::Fatal(what));
        }
        signed.check_extension(ledger, size, &root)?;

        let checkpoint = Checkpoint { origin: options.origin.clone(), size, root };
        let note =
            checkpoint.sign(&options.log_key).map_err(|error| SignError::Later(chain(&error)))?.encode();
        failpoints::reach("checkpoint-signed");
        let at = append(journal, &note)?;
        failpoints::reach("checkpoint-synced");
        let row = CheckpointRow { size, root, at, note: note.clone() };
        let rows = [
            (rows::CHECKPOINT_KEY.to_vec(), row.encode()),
            (rows::HEAD_KEY.to_vec(), index.head(journal.end()).encode()),
        ];
        let store = &ledger.shared.store;
        store.apply(&rows).and_then(|()| store.sync()).map_err(|error| SignError::Fatal(chain(&error)))?;
        *signed = Signed { tree, root, from: at };

        write_high_water(options, size, &root).map_err(|reason| {
            // The mark is what shows a rollback: without it nothing more may leave.
            set_signing(ledger, Signing::Refused(reason.clone()));
            self.signed = None;
            SignError::Later(reason)
        })?;
        failpoints::reach("high-water-renamed");
        ledger.shared.checkpoints.send_replace(Some(Arc::new(Published { checkpoint, note })));
        Ok(())
    }
}

impl Signed {
    /// The tree of everything sealed, from the last checkpoint's and the bytes on disk.
    fn read_back(&self, ledger: &Ledger, to: Position) -> Result<Tree, SignError> {
        let mut tree = self.tree.clone();
        let mut changed = ChangedTiles::new();
        let replayed = ledger.shared.journal.replay(self.from, to, |at, record| {
            let Record::Entry(entry) = record else { return Ok(()) };
            let corrupt = |what| JournalError::Corrupt { segment: at.segment, offset: at.offset, what };
            let leaf = Leaf::parse(&entry.leaf).map_err(|_| corrupt("a leaf has an unknown form"))?;
            let (salt, payload) = split_stored(entry.codec, &entry.stored)
                .ok_or_else(|| corrupt("a payload record has an unknown form"))?;
            if entry.index != tree.size() || commitment(&salt, payload) != leaf.commitment {
                return Err(corrupt("an entry is not the one that was written"));
            }
            tree.push(leaf_hash(&entry.leaf), &mut changed);
            changed.clear();
            Ok(())
        });
        replayed.map_err(|error| SignError::Fatal(chain(&error)))?;
        Ok(tree)
    }

    /// Refuses a head that the verifier would not accept as an extension of the last one.
    fn check_extension(&self, ledger: &Ledger, size: u64, root: &Digest) -> Result<(), SignError> {
        let tiles = StoredTiles(ledger.shared.store.as_ref());
        let proof = log::consistency(&tiles, self.tree.size(), size);
        let proof = proof.map_err(|error| SignError::Fatal(chain(&error)))?;
        verify_consistency(self.tree.size(), &self.root, size, root, &proof).map_err(|error| {
            SignError::Fatal(format!("the new tree does not extend the signed one: {error}"))
        })
    }
}

fn append(journal: &mut Journal, note: &str) -> Result<Position, SignError> {
    let mut group = Group::new();
    group.push_checkpoint(note.as_bytes());
    match journal.append(&group) {
        Ok(positions) => Ok(positions.first().copied().unwrap_or_else(|| journal.end())),
        Err(error) if error.is_fatal() => Err(SignError::Fatal(chain(&error))),
        Err(error) => Err(SignError::Later(chain(&error))),
    }
}

/// Refuses a log that lies behind, or beside, what it has published.
pub(super) fn check_high_water(
    ledger: &Ledger,
    options: &WriterOptions,
    newest_size: u64,
) -> Result<(), String> {
    let path = options.high_water.display();
    let mark = high_water::read(&options.high_water).map_err(|error| format!("{path}: {error}"))?;
    let Some(mark) = mark else {
        return if options.accept_rollback_blindness {
            Ok(())
        } else {
            Err(format!(
                "the high-water mark {path} is missing, so nothing shows whether this is the newest copy of the log; \
                 bring the file back"
            ))
        };
    };
    if mark.size > newest_size {
        return Err(format!(
            "a checkpoint of {} entries was published ({path}), and the newest one here has {newest_size}: this is an \
             old copy of the log; restore the newer one",
            mark.size
        ));
    }
    match ledger.root_at(mark.size) {
        Ok(root) if root == mark.root => Ok(()),
        Ok(_) => Err(format!(
            "the published checkpoint of {} entries ({path}) is not of this log: two logs have one origin",
            mark.size
        )),
        Err(error) => Err(chain(&error)),
    }
}

/// The newest checkpoint, once it is one of this origin by this key.
fn check_newest(row: &CheckpointRow, options: &WriterOptions) -> Result<Published, String> {
    let key = VerifierKey::new(&options.origin, *options.log_key.public()).map_err(|error| chain(&error))?;
    let note = Note::parse(row.note.as_bytes()).map_err(|error| chain(&error))?;
    let checkpoint = Checkpoint::open(&note, &[key]).map_err(|error| {
        format!("the newest checkpoint in the journal is not by this log key and origin: {error}")
    })?;
    if checkpoint.origin != options.origin || checkpoint.size != row.size || checkpoint.root != row.root {
        return Err("the newest checkpoint in the journal is not of this origin".to_owned());
    }
    Ok(Published { checkpoint, note: row.note.clone() })
}

fn write_high_water(options: &WriterOptions, size: u64, root: &Digest) -> Result<(), String> {
    high_water::write(&options.high_water, size, root).map_err(|error| {
        let path = options.high_water.display();
        format!("the high-water mark {path} could not be written ({error}); make room or bring its disk back, and restart")
    })
}

fn set_signing(ledger: &Ledger, signing: Signing) {
    *ledger.shared.signing.write().unwrap_or_else(PoisonError::into_inner) = signing;
}
