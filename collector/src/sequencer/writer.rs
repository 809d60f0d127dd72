//! The sequencer's thread: takes jobs, commits groups, keeps the time of checkpoints.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use super::checkpoints::{Checkpointer, SignError};
use super::pool::Pool;
use super::{Job, SubmitError, WriterOptions};
use crate::causes::chain;
use crate::failpoints;
use crate::index::Index;
use crate::indexer::IndexerThread;
use crate::journal::{Journal, JournalError};
use crate::ledger::{Ledger, Snapshot, Unstarted};

pub(super) struct Writer {
    ledger: Ledger,
    journal: Journal,
    index: Index,
    options: WriterOptions,
    checkpointer: Checkpointer,
    indexer: IndexerThread,
    /// A job that must begin the next group.
    held: Option<Job>,
    next_checkpoint: Instant,
    /// Why the last checkpoint was put off, so that the same reason is logged once.
    put_off: Option<String>,
}

/// Why the thread ends.
enum End {
    /// Everybody is gone, or asked it to.
    Stopped,
    /// The durable state is unknown.
    Fatal(String),
}

impl Writer {
    pub(super) fn new(unstarted: Unstarted, options: WriterOptions) -> std::io::Result<Self> {
        let indexer = unstarted.start_indexer()?;
        let Unstarted { ledger, journal, index, checkpoint, cosigned, .. } = unstarted;
        let checkpointer = Checkpointer::new(&ledger, &options, checkpoint, cosigned.as_ref());
        let (held, put_off) = (None, None);
        let next_checkpoint = Instant::now();
        Ok(Self { ledger, journal, index, options, checkpointer, indexer, held, next_checkpoint, put_off })
    }

    pub(super) fn run(&mut self, jobs: &Receiver<Job>) {
        loop {
            match self.round(jobs) {
                Ok(()) => {}
                Err(End::Stopped) => {
                    self.indexer.stop();
                    if let Some(reason) = self.indexer.failure() {
                        (self.options.fatal)(&reason);
                    }
                    return;
                }
                Err(End::Fatal(reason)) => {
                    self.indexer.stop();
                    (self.options.fatal)(&reason);
                    return;
                }
            }
        }
    }

    /// One group, or one checkpoint, or a wait.
    fn round(&mut self, jobs: &Receiver<Job>) -> Result<(), End> {
        if let Some(reason) = self.indexer.failure() {
            return Err(End::Fatal(reason));
        }
        let looked = self.checkpointer.look(&self.ledger, &mut self.journal, &self.index);
        self.moved();
        self.put_off(looked)?;
        if self.checkpointer.is_behind(&self.index) && Instant::now() >= self.next_checkpoint {
            self.checkpoint()?;
        }
        let job = match self.held.take() {
            Some(job) => job,
            None => match self.wait(jobs) {
                Ok(job) => job,
                Err(RecvTimeoutError::Timeout) => return Ok(()),
                Err(RecvTimeoutError::Disconnected) => Job::Stop,
            },
        };
        match job {
            Job::Look => return Ok(()),
            // Witnesses would have to be waited for; the next start signs what is left.
            Job::Stop if self.checkpointer.is_witnessed() => return Err(End::Stopped),
            Job::Stop => {
                self.checkpoint()?;
                return Err(End::Stopped);
            }
            Job::Device(..) | Job::Act(..) => {}
        }
        let pool = self.form(job, jobs);
        self.commit(pool)
    }

    fn wait(&self, jobs: &Receiver<Job>) -> Result<Job, RecvTimeoutError> {
        let signing = self.checkpointer.is_behind(&self.index).then_some(self.next_checkpoint);
        match signing.into_iter().chain(self.checkpointer.wake()).min() {
            Some(at) => jobs.recv_timeout(at.saturating_duration_since(Instant::now())),
            None => jobs.recv().map_err(|_| RecvTimeoutError::Disconnected),
        }
    }

    /// Takes the first job and as many of the waiting ones as one group holds. An act begins a group, so that its
    /// builder and whoever follows the log have seen everything before it.
    fn form(&mut self, first: Job, jobs: &Receiver<Job>) -> Pool {
        let received = self.options.clock.now().max(self.index.received());
        let bytes_max = self.options.group_bytes_max.min(self.journal.group_bytes_max());
        let keys = Arc::clone(&self.ledger.shared.keys);
        let mut pool = Pool::new(self.index.clone(), received, bytes_max, Some(keys));
        let mut job = Some(first);
        let mut taken = 0_usize;
        while let Some(next) = job.take() {
            match next {
                Job::Device(device, answer) if taken == 0 || pool.has_room(device.payload.len()) => {
                    pool.device(device, &self.ledger, &mut self.options, answer);
                }
                Job::Act(build, answer) if taken == 0 => {
                    pool.act(build, &mut self.options.random, answer);
                    if pool.ends_keys() {
                        break;
                    }
                }
                other => {
                    self.held = Some(other);
                    break;
                }
            }
            taken += 1;
            if taken < self.options.group_entries_max {
                job = jobs.try_recv().ok();
            }
        }
        pool
    }

    /// Steps 1 to 6 of the order of commitments.
    fn commit(&mut self, mut pool: Pool) -> Result<(), End> {
        if pool.entries.is_empty() {
            pool.answer();
            return Ok(());
        }
        if let Err(what) = self.room() {
            pool.refuse(|| SubmitError::Full { what: what.clone() });
            return Ok(());
        }
        pool.seal();
        failpoints::reach("group-formed");
        // A key that a crash takes would take the payloads with it.
        self.ledger.shared.keys.store().map_err(|error| End::Fatal(chain(&error)))?;
        let positions = match self.journal.append(&pool.group) {
            Ok(positions) => positions,
            Err(error) if error.is_fatal() => return Err(End::Fatal(chain(&error))),
            Err(error) => {
                pool.refuse(|| match &error {
                    JournalError::Full { .. } => SubmitError::Full { what: error.to_string() },
                    other => SubmitError::Unavailable(other.to_string()),
                });
                return Ok(());
            }
        };
        failpoints::reach("journal-synced");
        let changes = pool.index.take_changes();
        self.index = pool.index.clone();
        let mut tail = self.ledger.shared.tail.write().unwrap_or_else(PoisonError::into_inner);
        tail.push(changes, &positions, self.journal.end());
        drop(tail);
        self.show();
        for entry in &pool.entries {
            (self.options.observer)(entry);
        }
        pool.answer();
        failpoints::reach("group-answered");
        self.checkpointer.committed(self.journal.end());
        self.indexer.committed();
        Ok(())
    }

    /// Lets readers see what is committed.
    fn show(&self) {
        let snapshot = Snapshot {
            size: self.index.size(),
            root: self.index.root(),
            received: self.index.received(),
            streams: self.index.streams(),
        };
        *self.ledger.shared.snapshot.write().unwrap_or_else(PoisonError::into_inner) = snapshot;
    }

    /// Tells the indexer where the journal ends after records that are no entries.
    fn moved(&self) {
        let mut tail = self.ledger.shared.tail.write().unwrap_or_else(PoisonError::into_inner);
        tail.set_end(self.journal.end());
    }

    /// Refuses while the disk is nearly full: sled would otherwise become unopenable.
    fn room(&self) -> Result<(), String> {
        match self.journal.free_bytes() {
            Ok(free) if free >= self.options.free_bytes_min => Ok(()),
            Ok(free) => Err(format!("{free} bytes are free, {} are kept", self.options.free_bytes_min)),
            Err(error) => Err(chain(&error)),
        }
    }

    /// Steps 7 to 9 of the order of commitments.
    fn checkpoint(&mut self) -> Result<(), End> {
        self.next_checkpoint = Instant::now() + self.options.checkpoint_interval;
        let signed = self.checkpointer.sign(&self.ledger, &mut self.journal, &self.index, &self.options);
        self.moved();
        if signed.is_ok() {
            self.put_off = None;
        }
        self.put_off(signed)
    }

    /// Says once why something is tried again.
    fn put_off(&mut self, tried: Result<(), SignError>) -> Result<(), End> {
        match tried {
            Ok(()) => Ok(()),
            Err(SignError::Later(what)) => {
                if self.put_off.as_ref() != Some(&what) {
                    tracing::error!(reason = what, "Checkpoint put off; it is tried again.");
                }
                self.put_off = Some(what);
                Ok(())
            }
            Err(SignError::Fatal(reason)) => Err(End::Fatal(reason)),
        }
    }
}
