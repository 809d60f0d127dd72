//! The writer's part with witnesses: nothing is signed before they were compared with, and nothing published before the
//! quorum has cosigned it.
//!
//! One checkpoint is out at a time. The next one is signed when it is published, and then covers everything that has come
//! in since; so without a quorum the journal gets no checkpoints that nobody will see.

use std::sync::Arc;
use std::time::{Duration, Instant};

use evidence::merkle::empty_root;
use evidence::note::{Checkpoint, Note};
use evidence::witness_policy::WitnessPolicy;

use super::checkpoints::SignError;
use super::{CLOCK_APART_MS_MAX, WriterOptions};
use crate::causes::chain;
use crate::failpoints;
use crate::index::Index;
use crate::journal::{Group, Journal, Position};
use crate::ledger::{Ledger, Published, Signing};
use crate::store::VALUE_BYTES_MAX;
use crate::store::rows::CheckpointRow;
use crate::witnesses::Desk;
use crate::witnesses::rounds::Progress;

/// Time between two cosignatures of a quiet log: without fresh ones nobody sees that it is still watched.
pub const RECOSIGN_INTERVAL_DEFAULT: Duration = Duration::from_mins(10);
/// How long the quorum may be missing before that is said.
const MISSING_SAID_AFTER: Duration = Duration::from_secs(15);
/// Time between two questions about the time while the clocks do not agree.
const CLOCK_ASK_INTERVAL: Duration = Duration::from_secs(10);
/// Time until a cosigned checkpoint that could not be stored is tried again.
const STORE_RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// Largest cosigned note that is published, bytes, where the quorum allows it: with size, root and position it is one
/// value of the store.
const COSIGNED_NOTE_BYTES_MAX: usize = VALUE_BYTES_MAX - 56;

/// What the writer is told about witnesses.
#[derive(Debug, Clone)]
pub struct WitnessOptions {
    /// Where checkpoints are laid down for them. Its policy has a quorum.
    pub desk: Arc<Desk>,
    /// Sign when no witness can be reached at start: something else remembers the log, or its operator accepted that
    /// nothing does.
    pub mark_suffices: bool,
    /// Time between two cosignatures of a quiet log.
    pub recosign_interval: Duration,
}

/// What goes on between the writer and the witnesses.
pub(super) struct Witnessed {
    options: WitnessOptions,
    policy: WitnessPolicy,
    /// The comparison at start is over.
    is_open: bool,
    /// What was published by an earlier run, until the comparison is over.
    before: Option<Published>,
    /// The checkpoint asked about last, with the log's line alone.
    asked: (Checkpoint, Note),
    asked_at: Instant,
    /// It was not published yet, so no further one is signed.
    is_unpublished: bool,
    /// The clocks do not agree.
    is_apart: bool,
    /// Since when the quorum is missing, and whether that was said.
    missing: Option<(Instant, bool)>,
    retry_at: Option<Instant>,
    /// When to look again without being called.
    wake: Option<Instant>,
}

impl Witnessed {
    /// Lays the newest checkpoint of the journal down; a log without one asks about the empty tree.
    pub(super) fn start(
        ledger: &Ledger,
        writer: &WriterOptions,
        options: &WitnessOptions,
        newest: Option<&Published>,
        cosigned: Option<&CheckpointRow>,
    ) -> Result<Self, String> {
        let policy = options.desk.rounds().policy().clone();
        let keys = writer.log_keys().map_err(|error| chain(&error))?;
        let (checkpoint, note) = match newest {
            Some(newest) => {
                let note = Note::parse(newest.note.as_bytes()).map_err(|error| chain(&error))?;
                (newest.checkpoint.clone(), note.with_lines_of(&keys, &[]))
            }
            None => {
                let empty = Checkpoint { origin: writer.origin.clone(), size: 0, root: empty_root() };
                let note = empty.sign(&writer.log_key).map_err(|error| chain(&error))?;
                (empty, note)
            }
        };
        let before = cosigned.and_then(|row| published_before(&policy, row));
        if let Some(Published { checkpoint, .. }) = &before {
            let root = ledger.root_at(checkpoint.size).map_err(|error| chain(&error))?;
            if root != checkpoint.root || checkpoint.origin != writer.origin {
                return Err("the newest cosigned checkpoint is not of this log".to_owned());
            }
        }
        options.desk.ask(checkpoint.clone(), note.clone());
        Ok(Self {
            options: options.clone(),
            policy,
            is_open: false,
            before,
            is_unpublished: checkpoint.size > 0,
            asked: (checkpoint, note),
            asked_at: Instant::now(),
            is_apart: false,
            missing: None,
            retry_at: None,
            wake: None,
        })
    }

    /// Whether the next checkpoint may be signed.
    pub(super) fn may_sign(&self) -> bool {
        self.is_open && !self.is_unpublished
    }

    /// When to look at the desk without being called.
    pub(super) fn wake(&self) -> Option<Instant> {
        self.wake
    }

    /// Lays a checkpoint down that is durable, and known to the high-water mark.
    pub(super) fn hand(&mut self, checkpoint: Checkpoint, note: Note) {
        self.options.desk.ask(checkpoint.clone(), note.clone());
        (self.asked, self.asked_at, self.is_unpublished) = ((checkpoint, note), Instant::now(), true);
    }

    /// How far the clock is from the time of the witnesses, milliseconds, if that is too far.
    pub(super) fn apart_ms(&mut self, writer: &WriterOptions) -> Option<u64> {
        let median = self.options.desk.rounds().median_ms(Instant::now());
        let apart = median.map(|median| writer.clock.now().ms().abs_diff(median));
        let apart = apart.filter(|apart| *apart > CLOCK_APART_MS_MAX);
        self.is_apart = apart.is_some();
        apart
    }

    /// Does what the answers so far call for.
    pub(super) fn look(
        &mut self,
        ledger: &Ledger,
        journal: &mut Journal,
        index: &Index,
    ) -> Result<(), Refusal> {
        let now = Instant::now();
        self.wake = None;
        let (contradiction, comparison, progress) = {
            let rounds = self.options.desk.rounds();
            (rounds.contradiction().map(str::to_owned), rounds.comparison(), rounds.progress(now))
        };
        if let Some(reason) = contradiction {
            return Err(Refusal::ForThisRun(reason));
        }
        if !self.is_open {
            if comparison.waiting > 0 {
                return Ok(());
            }
            if comparison.agreed == 0 && !self.options.mark_suffices {
                self.say_nobody_agreed(ledger);
                return Ok(());
            }
            self.is_open = true;
            tracing::info!(
                agreed = comparison.agreed,
                "The log was compared with its witnesses; checkpoints are signed."
            );
            ledger.set_signing(Signing::Active);
            if let Some(before) = self.before.take() {
                remember(ledger, &before.note)?;
                ledger.shared.checkpoints.send_replace(Some(Arc::new(before)));
            }
        }
        let is_paused = self.retry_at.is_some_and(|at| now < at);
        match progress {
            Progress::Cosigned(_) if is_paused => {}
            Progress::Cosigned(note) => self.take(note, ledger, journal, now)?,
            Progress::Stragglers(until) => self.wake_at(until),
            Progress::Missing => self.missing(ledger, index, now),
            Progress::Nothing => {}
        }
        if let Some(at) = self.retry_at {
            self.wake_at(at);
        }
        self.repeat(now);
        Ok(())
    }

    fn wake_at(&mut self, at: Instant) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }

    /// Stores and publishes what the quorum has cosigned.
    fn take(
        &mut self,
        note: Note,
        ledger: &Ledger,
        journal: &mut Journal,
        now: Instant,
    ) -> Result<(), Refusal> {
        // The empty tree was asked about only to be compared.
        if self.asked.0.size > 0 {
            match self.publish(&note, ledger, journal) {
                Ok(()) => {}
                Err(SignError::Later(reason)) => {
                    self.retry_at = Some(now + STORE_RETRY_INTERVAL);
                    return Err(Refusal::Sign(SignError::Later(reason)));
                }
                Err(fatal) => return Err(Refusal::Sign(fatal)),
            }
        }
        self.options.desk.rounds().close();
        (self.is_unpublished, self.retry_at) = (false, None);
        if !self.is_apart {
            ledger.set_signing(Signing::Active);
        }
        if let Some((since, true)) = self.missing.take() {
            let seconds = now.saturating_duration_since(since).as_secs();
            tracing::info!(missing_seconds = seconds, "The quorum of witnesses is there again.");
        }
        Ok(())
    }

    fn publish(&self, note: &Note, ledger: &Ledger, journal: &mut Journal) -> Result<(), SignError> {
        let later = |error: &dyn std::error::Error| SignError::Later(chain(error));
        let note = self.policy.fitted(note, COSIGNED_NOTE_BYTES_MAX).map_err(|error| later(&error))?;
        // Every line was verified when it came; what leaves is verified as a whole once more.
        let checkpoint = self.policy.open(&note).map_err(|error| later(&error))?;
        if checkpoint != self.asked.0 {
            return Err(SignError::Later("what was cosigned is not what was asked about".to_owned()));
        }
        let note = note.encode();
        append(journal, &note)?;
        failpoints::reach("cosigned-synced");
        remember(ledger, &note)?;
        ledger.shared.checkpoints.send_replace(Some(Arc::new(Published { checkpoint, note })));
        Ok(())
    }

    /// Says once that the quorum is missing, and how far what is published lies behind.
    fn missing(&mut self, ledger: &Ledger, index: &Index, now: Instant) {
        let (since, is_said) = *self.missing.get_or_insert((now, false));
        if is_said {
            // A further checkpoint was signed beside a repeated question: the quorum is missing for it too.
            if ledger.signing() == Signing::Active {
                self.set_missing(ledger);
            }
            return;
        }
        let say_at = since + MISSING_SAID_AFTER;
        if now < say_at {
            return self.wake_at(say_at);
        }
        self.missing = Some((since, true));
        let standing = self.options.desk.rounds().standing().sentence();
        let published = ledger.checkpoint().map_or(0, |newest| newest.checkpoint.size);
        tracing::error!(
            quorum = self.policy.quorum_name(),
            standing,
            unpublished_entries = index.size().saturating_sub(published),
            missing_seconds = now.saturating_duration_since(since).as_secs(),
            "The quorum of witnesses is missing: nothing new is published, intake goes on."
        );
        self.set_missing(ledger);
    }

    fn set_missing(&self, ledger: &Ledger) {
        let quorum = self.policy.quorum_name().to_owned();
        let standing = self.options.desk.rounds().standing().sentence();
        ledger.set_signing(Signing::QuorumMissing { quorum, standing });
    }

    fn say_nobody_agreed(&mut self, ledger: &Ledger) {
        if !self.missing.is_some_and(|(_, is_said)| is_said) {
            self.missing = Some((Instant::now(), true));
            tracing::error!(
                "No witness could be compared with, and nothing else remembers this log: nothing is signed until one \
                 answers, intake goes on."
            );
            ledger.set_signing(Signing::Held);
        }
    }

    /// Asks again about the same checkpoint: a quiet log is cosigned now and then, and clocks that do not agree are looked
    /// at again.
    fn repeat(&mut self, now: Instant) {
        let is_closed = self.options.desk.rounds().progress(now) == Progress::Nothing;
        let interval = if self.is_apart {
            CLOCK_ASK_INTERVAL
        } else if is_closed {
            self.options.recosign_interval
        } else {
            return;
        };
        let at = self.asked_at + interval;
        if now >= at {
            let (checkpoint, note) = self.asked.clone();
            self.options.desk.ask(checkpoint, note);
            self.asked_at = now;
            return self.wake_at(now + interval);
        }
        self.wake_at(at);
    }
}

/// Why looking at the desk did not end well.
pub(super) enum Refusal {
    /// A witness holds another log.
    ForThisRun(String),
    /// What was cosigned could not be stored.
    Sign(SignError),
}

impl From<SignError> for Refusal {
    fn from(error: SignError) -> Self {
        Self::Sign(error)
    }
}

/// What an earlier run published, if it meets today's policy: without lines of witnesses that are no longer in it.
fn published_before(policy: &WitnessPolicy, row: &CheckpointRow) -> Option<Published> {
    let published = meets(policy, &Note::parse(row.note.as_bytes()).ok()?)?;
    let Checkpoint { size, root, .. } = published.checkpoint;
    (size == row.size && root == row.root).then_some(published)
}

/// A checkpoint as it may be published, if it meets the policy: without lines of anybody else.
pub(crate) fn meets(policy: &WitnessPolicy, note: &Note) -> Option<Published> {
    let note = policy.fitted(note, COSIGNED_NOTE_BYTES_MAX).ok()?;
    let checkpoint = policy.open(&note).ok()?;
    Some(Published { checkpoint, note: note.encode() })
}

/// Adds a note to those that devices may name, before any of them can know it.
fn remember(ledger: &Ledger, note: &str) -> Result<(), SignError> {
    let added = ledger.recent_notes().push(note);
    added.map_err(|error| {
        SignError::Fatal(format!("the cosigned notes could not be written: {}", chain(&error)))
    })
}

/// Appends a checkpoint record and syncs it.
pub(super) fn append(journal: &mut Journal, note: &str) -> Result<Position, SignError> {
    let mut group = Group::new();
    group.push_checkpoint(note.as_bytes());
    match journal.append(&group) {
        Ok(positions) => Ok(positions.first().copied().unwrap_or_else(|| journal.end())),
        Err(error) if error.is_fatal() => Err(SignError::Fatal(chain(&error))),
        Err(error) => Err(SignError::Later(chain(&error))),
    }
}

#[cfg(test)]
mod tests;
