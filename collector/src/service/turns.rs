//! Turns of calls that cost much: so many at once over all people, and so many of one person, who must not keep the others
//! waiting. Those that read the whole log or build a set in memory take a turn first.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tonic::Status;

/// Exports at once: each holds a whole set in memory until it is sent, some hundred bytes for each statement of its units.
const EXPORTS_MAX: usize = 2;
/// Exports of one person at once.
const EXPORTS_OF_ONE_MAX: usize = 1;
/// Queries over the whole fleet at once: each keeps a processor busy, and devices need one too.
const QUERIES_MAX: usize = 4;
/// Queries of one person at once.
const QUERIES_OF_ONE_MAX: usize = 2;
/// How long a person's call waits for another of the same person to end: one that was given up by its caller ends soon.
const OWN_WAIT_MAX: Duration = Duration::from_secs(10);
/// How long a call waits for its turn: less than the minute after which it would be ended without a word of why.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// The turns of one kind of call.
#[derive(Debug)]
pub struct Turns {
    what: &'static str,
    places: Arc<Semaphore>,
    at_once: usize,
    of_one: usize,
    wait: Duration,
    people: Mutex<HashMap<String, usize>>,
    /// Told whenever somebody's call has ended.
    ended: Notify,
}

/// A call's turn: it ends when this is dropped.
#[derive(Debug)]
pub struct Turn {
    _counted: Counted,
    _place: OwnedSemaphorePermit,
}

/// A person's call, counted until this is dropped.
#[derive(Debug)]
struct Counted {
    turns: Arc<Turns>,
    person: String,
}

impl Turns {
    fn new(what: &'static str, at_once: usize, of_one: usize, wait: Duration) -> Arc<Self> {
        let places = Arc::new(Semaphore::new(at_once));
        Arc::new(Self { what, places, at_once, of_one, wait, people: Mutex::default(), ended: Notify::new() })
    }

    /// The turns of exports.
    pub fn of_exports() -> Arc<Self> {
        Self::new("exports", EXPORTS_MAX, EXPORTS_OF_ONE_MAX, WAIT_MAX)
    }

    /// The turns of queries over the whole fleet, and of what else reads as much.
    pub fn of_queries() -> Arc<Self> {
        Self::new("queries", QUERIES_MAX, QUERIES_OF_ONE_MAX, WAIT_MAX)
    }

    /// Takes a turn for `person`, and waits for it if others have theirs now.
    pub async fn take(self: &Arc<Self>, person: &str) -> Result<Turn, Status> {
        let busy = |text: String| Status::resource_exhausted(text);
        let (what, of_one, at_once) = (self.what, self.of_one, self.at_once);
        // Counted while it waits: one person's calls must not be all that wait.
        let counted = timeout(self.wait.min(OWN_WAIT_MAX), self.entered(person)).await.map_err(|_| {
            busy(format!(
                "you have {of_one} {what} under way, which is all one person may at once: let them end first"
            ))
        })?;
        match timeout(self.wait, Arc::clone(&self.places).acquire_owned()).await {
            Ok(Ok(place)) => Ok(Turn { _counted: counted, _place: place }),
            Ok(Err(_)) => Err(Status::unavailable("the collector is stopping")),
            Err(_) => {
                tracing::warn!(person, what, at_once, "A call found no turn in time.");
                Err(busy(format!(
                    "{at_once} {what} are under way, which is all that may at once: try again in a minute"
                )))
            }
        }
    }

    /// Waits until the person has so few calls under way that there may be one more.
    async fn entered(self: &Arc<Self>, person: &str) -> Counted {
        loop {
            // Before the look: a call that ends between the two is not missed.
            let ended = self.ended.notified();
            if let Some(counted) = self.enter(person) {
                return counted;
            }
            ended.await;
        }
    }

    fn enter(self: &Arc<Self>, person: &str) -> Option<Counted> {
        let mut people = self.people.lock().unwrap_or_else(PoisonError::into_inner);
        let calls = people.entry(person.to_owned()).or_insert(0);
        if *calls >= self.of_one {
            return None;
        }
        *calls += 1;
        Some(Counted { turns: Arc::clone(self), person: person.to_owned() })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut people = self.turns.people.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(calls) = people.get_mut(&self.person) {
            *calls = calls.saturating_sub(1);
            if *calls == 0 {
                people.remove(&self.person);
            }
        }
        drop(people);
        self.turns.ended.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    #[tokio::test]
    async fn one_person_has_so_many_turns_and_all_together_so_many() {
        let turns = Turns::new("calls", 2, 1, Duration::from_millis(20));
        let first = turns.take("ann").await.expect("a turn");
        let again = turns.take("ann").await.expect_err("one at once");
        assert_eq!(again.code(), Code::ResourceExhausted);
        assert!(again.message().starts_with("you have 1 calls"), "{again}");
        let _second = turns.take("bob").await.expect("a turn");
        let third = turns.take("cy").await.expect_err("two at once");
        assert_eq!(third.code(), Code::ResourceExhausted);
        assert!(third.message().starts_with("2 calls"), "{third}");
        // A call that found no turn is not counted any more; one that waits gets the turn that ends.
        drop(first);
        let patient = Turns { wait: Duration::from_mins(1), people: Mutex::default(), ..copy(&turns) };
        let patient = Arc::new(patient);
        let held = [patient.take("ann").await.expect("a turn")];
        let (waiting, ()) = tokio::join!(patient.take("cy"), async {
            tokio::task::yield_now().await;
            drop(held);
        });
        drop(waiting.expect("the turn that ended"));
        assert!(patient.people.lock().expect("not poisoned").is_empty());
        drop(turns.take("cy").await.expect("a turn"));
    }

    fn copy(turns: &Turns) -> Turns {
        let Turns { what, places, at_once, of_one, wait, .. } = turns;
        Turns {
            what,
            places: Arc::clone(places),
            at_once: *at_once,
            of_one: *of_one,
            wait: *wait,
            people: Mutex::default(),
            ended: Notify::new(),
        }
    }
}
