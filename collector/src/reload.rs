//! Making the TLS configurations anew at once: after a revocation, a change of authorities, or a change of their files by
//! another process. Whoever causes the change asks; the server's loop answers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;

pub mod watcher;

/// Longest wait for the listeners to have taken a change: making configurations costs milliseconds.
const TAKEN_WAIT_MAX: Duration = Duration::from_secs(10);

/// How often it was asked for, and up to where it was done.
#[derive(Debug)]
pub struct Reload {
    asked: watch::Sender<u64>,
    done: watch::Sender<u64>,
    /// Whether a server answers. Beside a stopped one there are no listeners that could take anything.
    served: AtomicBool,
}

impl Default for Reload {
    fn default() -> Self {
        Self { asked: watch::channel(0).0, done: watch::channel(0).0, served: AtomicBool::new(false) }
    }
}

impl Reload {
    /// Asks, and does not wait. Gives the number of the request.
    pub fn now(&self) -> u64 {
        let mut number = 0;
        self.asked.send_modify(|asked| {
            *asked = asked.saturating_add(1);
            number = *asked;
        });
        number
    }

    /// Asks, and waits until new connections are made under what holds now. False when the listeners did not take it:
    /// they keep what they had, and the log says why. True at once where nothing listens.
    pub async fn and_wait(&self) -> bool {
        self.and_wait_for(TAKEN_WAIT_MAX).await
    }

    async fn and_wait_for(&self, longest: Duration) -> bool {
        let mut done = self.done.subscribe();
        let number = self.now();
        if !self.served.load(Ordering::Acquire) {
            return true;
        }
        let taken = done.wait_for(|done| *done >= number);
        matches!(tokio::time::timeout(longest, taken).await, Ok(Ok(_)))
    }

    /// Told whenever the listeners have taken something new.
    pub fn taken(&self) -> watch::Receiver<u64> {
        self.done.subscribe()
    }

    /// The server's end: it answers from now on.
    pub(crate) fn serve(&self) -> watch::Receiver<u64> {
        self.served.store(true, Ordering::Release);
        self.asked.subscribe()
    }

    /// The listeners have taken everything up to this request.
    pub(crate) fn done(&self, number: u64) {
        self.done.send_replace(number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_waits_is_told_when_the_listeners_have_taken_it_and_never_without_listeners() {
        let reload = std::sync::Arc::new(Reload::default());
        assert!(reload.and_wait().await, "nothing listens");
        let mut asked = reload.serve();
        let waiting = tokio::spawn({
            let reload = std::sync::Arc::clone(&reload);
            async move { reload.and_wait().await }
        });
        let number = *asked.wait_for(|asked| *asked == 2).await.unwrap();
        assert!(!waiting.is_finished());
        reload.done(number);
        assert!(waiting.await.unwrap());
    }

    #[tokio::test]
    async fn who_waits_for_a_change_that_was_not_taken_is_told_so() {
        let reload = Reload::default();
        let _asked = reload.serve();
        reload.done(0);
        assert!(!reload.and_wait_for(Duration::from_millis(50)).await);
    }
}
