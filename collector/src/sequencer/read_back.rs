//! Reading back what was written, before it is signed: a thread that follows the journal, so that the writer, whom every
//! device waits for, has only the last few milliseconds left to read when a checkpoint is due.
//!
//! The thread hands over a tree and a position; the writer reads on from there to the journal's end and compares the
//! root with the one it wrote. A part the thread cannot read it leaves to the writer, whose error ends the process.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use evidence::leaf::Leaf;
use evidence::merkle::leaf_hash;

use crate::journal::{JournalError, Position, Record};
use crate::ledger::Ledger;
use crate::log::{ChangedTiles, Tree};
use crate::payload_codec;

/// Time between two parts: at full load some hundred entries, at rest no wake-up at all.
pub(super) const READ_BACK_INTERVAL_DEFAULT: Duration = Duration::from_millis(20);

/// The tree of everything before a position of the journal, made of bytes that were read from the disk.
#[derive(Clone)]
pub(super) struct Checked {
    pub(super) tree: Tree,
    pub(super) from: Position,
}

impl Checked {
    /// Reads on to `to`, where a group ended: each record's checksum, each payload against its leaf.
    pub(super) fn read_to(&mut self, ledger: &Ledger, to: Position) -> Result<(), JournalError> {
        let mut changed = ChangedTiles::new();
        let Self { tree, from } = self;
        ledger.shared.journal.replay(*from, to, |at, record| {
            let Record::Entry(entry) = record else { return Ok(()) };
            let corrupt = |what| JournalError::Corrupt { segment: at.segment, offset: at.offset, what };
            let leaf = Leaf::parse(&entry.leaf).map_err(|_| corrupt("a leaf has an unknown form"))?;
            // What was erased since cannot be compared any more; its leaf still is, by the root.
            let keys = Some(&*ledger.shared.keys);
            let read = payload_codec::read_written(
                keys,
                entry.index,
                &leaf,
                &entry.leaf,
                entry.codec,
                &entry.stored,
            );
            if entry.index != tree.size() || read.is_err() {
                return Err(corrupt("an entry is not the one that was written"));
            }
            tree.push(leaf_hash(&entry.leaf), &mut changed);
            changed.clear();
            Ok(())
        })?;
        *from = to.max(*from);
        Ok(())
    }
}

struct State {
    done: Checked,
    /// Where the journal ended when the writer last said so.
    until: Position,
    /// The thread waits to be called.
    idle: bool,
    stop: bool,
}

/// The running thread.
pub(super) struct ReadBack {
    shared: Arc<(Mutex<State>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl ReadBack {
    /// Starts it after what was signed.
    pub(super) fn start(ledger: Ledger, after: Checked, interval: Duration) -> std::io::Result<Self> {
        let until = after.from;
        let state = State { done: after, until, idle: false, stop: false };
        let shared = Arc::new((Mutex::new(state), Condvar::new()));
        let theirs = Arc::clone(&shared);
        let thread = thread::Builder::new().name("read-back".to_owned());
        let thread = thread.spawn(move || follow(&ledger, &theirs, interval))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.shared.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Says where the journal ends now.
    pub(super) fn committed(&self, end: Position) {
        let call = self.with(|state| {
            state.until = end;
            state.idle
        });
        if call {
            self.shared.1.notify_one();
        }
    }

    /// How far it has come, if that is further than `tree`.
    pub(super) fn beyond(&self, tree: &Tree) -> Option<Checked> {
        self.with(|state| (state.done.tree.size() > tree.size()).then(|| state.done.clone()))
    }

    /// Goes on after what was signed now.
    pub(super) fn signed(&self, after: &Checked) {
        self.with(|state| state.done = after.clone());
    }
}

impl Drop for ReadBack {
    fn drop(&mut self) {
        self.with(|state| state.stop = true);
        self.shared.1.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic there was told already; the writer reads everything itself.
            drop(thread.join());
        }
    }
}

fn follow(ledger: &Ledger, (state, called): &(Mutex<State>, Condvar), interval: Duration) {
    let mut failed = None;
    loop {
        let mut now = state.lock().unwrap_or_else(PoisonError::into_inner);
        // What could not be read once is not tried again: that is the writer's to say.
        while !now.stop && (now.until <= now.done.from || failed == Some(now.done.from)) {
            now.idle = true;
            now = called.wait(now).unwrap_or_else(PoisonError::into_inner);
        }
        now.idle = false;
        let waiting = called.wait_timeout_while(now, interval, |state| !state.stop);
        let (now, _) = waiting.unwrap_or_else(PoisonError::into_inner);
        if now.stop {
            return;
        }
        let (mut part, until) = (now.done.clone(), now.until);
        drop(now);
        let began = part.from;
        failed = part.read_to(ledger, until).is_err().then_some(began);
        let mut now = state.lock().unwrap_or_else(PoisonError::into_inner);
        // The writer may have read and signed more in the meantime.
        if failed.is_none() && part.tree.size() > now.done.tree.size() {
            now.done = part;
        } else if failed.is_none() && part.tree.size() == now.done.tree.size() {
            now.done.from = now.done.from.max(part.from);
        }
    }
}
