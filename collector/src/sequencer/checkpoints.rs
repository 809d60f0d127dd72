//! Signing checkpoints: only over durable bytes that were read back, only as an extension of the last one.

use std::sync::Arc;
use std::time::Instant;

use evidence::ids::Digest;
use evidence::merkle::{empty_root, verify_consistency};
use evidence::note::{Checkpoint, Note};

use super::read_back::{Checked, ReadBack};
use super::witnessed::{Refusal, Witnessed, append};
use super::{CLOCK_STEP_BACK_MS_MAX, WriterOptions, high_water};
use crate::causes::chain;
use crate::failpoints;
use crate::index::Index;
use crate::journal::{Journal, Position, SEGMENT_HEADER_BYTES};
use crate::ledger::{Ledger, Published, Signing};
use crate::log::{self, Tree};
use crate::store::rows::CheckpointRow;

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
    /// None without a quorum of witnesses.
    witnessed: Option<Witnessed>,
}

/// The newest checkpoint signed, and what reading back goes on from.
struct Signed {
    root: Digest,
    checked: Checked,
    read_back: ReadBack,
}

impl Checkpointer {
    /// Compares the journal's newest checkpoint with the high-water mark, and publishes it if signing is allowed and no
    /// witness must be asked first. `cosigned` is the newest one that has lines of witnesses.
    pub(super) fn new(
        ledger: &Ledger,
        options: &WriterOptions,
        newest: Option<CheckpointRow>,
        cosigned: Option<&CheckpointRow>,
    ) -> Self {
        match Self::start(ledger, options, newest, cosigned) {
            Ok(this) => {
                let is_held = this.witnessed.is_some();
                ledger.set_signing(if is_held { Signing::Held } else { Signing::Active });
                this
            }
            Err(reason) => {
                tracing::error!(reason, "No checkpoints are signed in this run.");
                ledger.set_signing(Signing::Refused(reason));
                Self { signed: None, witnessed: None }
            }
        }
    }

    fn start(
        ledger: &Ledger,
        options: &WriterOptions,
        newest: Option<CheckpointRow>,
        cosigned: Option<&CheckpointRow>,
    ) -> Result<Self, String> {
        let (size, root) = newest.as_ref().map_or((0, empty_root()), |row| (row.size, row.root));
        check_high_water(ledger, options, size)?;
        let tree = Tree::load(&ledger.tiles(), size).map_err(|error| chain(&error))?;
        let from =
            newest.as_ref().map_or(Position { segment: 0, offset: SEGMENT_HEADER_BYTES }, |row| row.at);
        let newest = newest.map(|row| check_newest(&row, options)).transpose()?;
        if newest.is_some() {
            write_high_water(options, size, &root)?;
        }
        let witnessed = match &options.witnesses {
            Some(witnesses) => Some(Witnessed::start(ledger, options, witnesses, newest.as_ref(), cosigned)?),
            None => {
                if let Some(published) = newest {
                    ledger.shared.checkpoints.send_replace(Some(Arc::new(published)));
                }
                None
            }
        };
        let checked = Checked { tree, from };
        let read_back = ReadBack::start(ledger.clone(), checked.clone(), options.read_back_interval);
        let read_back = read_back.map_err(|error| chain(&error))?;
        Ok(Self { signed: Some(Signed { root, checked, read_back }), witnessed })
    }

    /// Does what the witnesses' answers call for: publishes what the quorum cosigned, or stops signing for this run.
    pub(super) fn look(
        &mut self,
        ledger: &Ledger,
        journal: &mut Journal,
        index: &Index,
    ) -> Result<(), SignError> {
        let Some(witnessed) = &mut self.witnessed else { return Ok(()) };
        match witnessed.look(ledger, journal, index) {
            Ok(()) => Ok(()),
            Err(Refusal::Sign(error)) => Err(error),
            Err(Refusal::ForThisRun(reason)) => {
                tracing::error!(reason, "No checkpoints are signed in this run.");
                ledger.set_signing(Signing::Refused(reason));
                (self.signed, self.witnessed) = (None, None);
                Ok(())
            }
        }
    }

    /// When to look again without being called.
    pub(super) fn wake(&self) -> Option<Instant> {
        self.witnessed.as_ref().and_then(Witnessed::wake)
    }

    /// Whether witnesses stand between a signature and publishing.
    pub(super) fn is_witnessed(&self) -> bool {
        self.witnessed.is_some()
    }

    /// Says where the journal ends, so that it can be read back before it is signed.
    pub(super) fn committed(&self, end: Position) {
        if let Some(signed) = &self.signed {
            signed.read_back.committed(end);
        }
    }

    /// True if there are leaves that no checkpoint covers and signing is not refused.
    pub(super) fn is_behind(&self, index: &Index) -> bool {
        self.witnessed.as_ref().is_none_or(Witnessed::may_sign)
            && self.signed.as_ref().is_some_and(|signed| signed.checked.tree.size() < index.size())
    }

    /// Signs, stores and publishes a checkpoint over everything committed, if there is something new.
    pub(super) fn sign(
        &mut self,
        ledger: &Ledger,
        journal: &mut Journal,
        index: &Index,
        options: &WriterOptions,
    ) -> Result<(), SignError> {
        if !self.is_behind(index) {
            return Ok(());
        }
        let Some(signed) = self.signed.as_mut() else { return Ok(()) };
        let behind_ms = index.received().ms().saturating_sub(options.clock.now().ms());
        if behind_ms > CLOCK_STEP_BACK_MS_MAX {
            ledger.set_signing(Signing::ClockSteppedBack { behind_ms });
            let what = "the clock lies behind the newest entry; set it right".to_owned();
            return Err(SignError::Later(what));
        }
        if let Some(apart_ms) = self.witnessed.as_mut().and_then(|witnessed| witnessed.apart_ms(options)) {
            ledger.set_signing(Signing::ClockApart { apart_ms });
            let what = "the clock is not the one of the witnesses; set whichever is wrong right".to_owned();
            return Err(SignError::Later(what));
        }
        ledger.set_signing(Signing::Active);
        let (size, root) = (index.size(), index.root());
        let tree = signed.read_back(ledger, journal.end())?;
        if tree.size() != size || tree.root() != root {
            let what = "the entries read back from the journal are not the ones that were written".to_owned();
            return Err(SignError::Fatal(what));
        }
        signed.check_extension(ledger, size, &root)?;

        let checkpoint = Checkpoint { origin: options.origin.clone(), size, root };
        let mut signed_note =
            checkpoint.sign(&options.log_key).map_err(|error| SignError::Later(chain(&error)))?;
        for beside in &options.beside {
            let signed = beside.sign(&mut signed_note, &checkpoint, options.clock.now());
            signed.map_err(|error| SignError::Later(chain(&error)))?;
        }
        let note = signed_note.encode();
        failpoints::reach("checkpoint-signed");
        let at = append(journal, &note)?;
        failpoints::reach("checkpoint-synced");
        (signed.root, signed.checked) = (root, Checked { tree, from: at });
        signed.read_back.signed(&signed.checked);

        write_high_water(options, size, &root).map_err(|reason| {
            // The mark is what shows a rollback: without it nothing more may leave.
            ledger.set_signing(Signing::Refused(reason.clone()));
            (self.signed, self.witnessed) = (None, None);
            SignError::Later(reason)
        })?;
        failpoints::reach("high-water-renamed");
        match &mut self.witnessed {
            Some(witnessed) => witnessed.hand(checkpoint, signed_note),
            None => {
                ledger.shared.checkpoints.send_replace(Some(Arc::new(Published { checkpoint, note })));
            }
        }
        Ok(())
    }
}

impl Signed {
    /// The tree of everything sealed, from the last checkpoint's and the bytes on disk.
    fn read_back(&self, ledger: &Ledger, to: Position) -> Result<Tree, SignError> {
        let mut checked = self.read_back.beyond(&self.checked.tree).unwrap_or_else(|| self.checked.clone());
        checked.read_to(ledger, to).map_err(|error| SignError::Fatal(chain(&error)))?;
        Ok(checked.tree)
    }

    /// Refuses a head that the verifier would not accept as an extension of the last one.
    fn check_extension(&self, ledger: &Ledger, size: u64, root: &Digest) -> Result<(), SignError> {
        let proof = log::consistency(&ledger.tiles(), self.checked.tree.size(), size);
        let proof = proof.map_err(|error| SignError::Fatal(chain(&error)))?;
        verify_consistency(self.checked.tree.size(), &self.root, size, root, &proof).map_err(|error| {
            SignError::Fatal(format!("the new tree does not extend the signed one: {error}"))
        })
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
        let is_witnessed = options.witnesses.as_ref().is_some_and(|witnesses| !witnesses.mark_suffices);
        return if options.accept_rollback_blindness || is_witnessed {
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
             old copy of the log; restore the newer one, or bring this one level with `recover --from MIRROR`",
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
    let keys = options.log_keys().map_err(|error| chain(&error))?;
    let note = Note::parse(row.note.as_bytes()).map_err(|error| chain(&error))?;
    let checkpoint = Checkpoint::open(&note, &keys).map_err(|error| {
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
