//! Where the writer lays a checkpoint down for the witnesses, and their answers are collected.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use evidence::note::{Checkpoint, Note};
use evidence::witness_policy::WitnessPolicy;
use tokio::sync::watch;

use super::rounds::{Answer, Question, Rounds, Taken};

/// Shared by the writer and the tasks that ask. Nothing is ever waited for under its lock.
#[derive(Debug)]
pub struct Desk {
    rounds: Mutex<Rounds>,
    questions: watch::Sender<Option<Arc<Question>>>,
}

impl Desk {
    /// An empty desk.
    pub fn new(policy: WitnessPolicy) -> Self {
        Self { rounds: Mutex::new(Rounds::new(policy)), questions: watch::Sender::new(None) }
    }

    /// Lays a checkpoint down, with the note that holds the log's line alone.
    pub fn ask(&self, checkpoint: Checkpoint, note: Note) {
        let question = self.rounds().ask(checkpoint, note);
        self.questions.send_replace(Some(question));
    }

    /// The newest question; holds it.
    pub fn questions(&self) -> watch::Receiver<Option<Arc<Question>>> {
        self.questions.subscribe()
    }

    /// Takes the answer of the witness at `place` of the policy.
    pub fn take(&self, place: usize, asked: &Question, answer: Answer) -> Taken {
        self.rounds().take(place, asked, answer, Instant::now())
    }

    /// What was said so far. Hold it briefly.
    pub fn rounds(&self) -> MutexGuard<'_, Rounds> {
        self.rounds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
