//! What a running server does now and then for itself: the ballast, and counts that no log line has told yet.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::datadir::{Ballast, DataDir, DataDirError};
use crate::service::unstored::Unstored;

/// Time between two rounds: a few system calls each.
const ROUND_INTERVAL: Duration = Duration::from_secs(10);

/// Looks after the data directory, and after what is still to be told.
pub(crate) struct Keeper {
    /// Where the ballast lies.
    pub(crate) dir: Arc<DataDir>,
    /// How large it is, bytes.
    pub(crate) ballast_bytes: u64,
    /// Free space that it must leave, bytes.
    pub(crate) free_bytes_min: u64,
    /// Counts to tell.
    pub(crate) unstored: Arc<Unstored>,
    /// What was last said of the ballast, so that each news is told once.
    pub(crate) said: Option<News>,
}

/// What there is to say of the ballast.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum News {
    NoRoom,
    Failed(String),
}

impl Keeper {
    /// The first round is at once, the last before `cancel`.
    pub(crate) async fn run(mut self, cancel: CancellationToken) {
        let mut rounds = tokio::time::interval(ROUND_INTERVAL);
        while cancel.run_until_cancelled(rounds.tick()).await.is_some() {
            // Where a file system cannot reserve space, the ballast is written out: not on a thread that others share.
            let round = tokio::task::spawn_blocking(move || {
                self.round();
                self
            });
            match round.await {
                Ok(keeper) => self = keeper,
                Err(error) => {
                    tracing::error!(error = %error, "Housekeeping has ended.");
                    return;
                }
            }
        }
    }

    fn round(&mut self) {
        self.unstored.tell(Instant::now());
        let found = self.dir.restore_ballast(self.ballast_bytes, self.free_bytes_min);
        self.tell(found);
    }

    fn tell(&mut self, found: Result<Ballast, DataDirError>) {
        let news = match &found {
            Ok(Ballast::Whole | Ballast::Restored) => None,
            Ok(Ballast::NoRoom { .. }) => Some(News::NoRoom),
            Err(error) => Some(News::Failed(error.to_string())),
        };
        let told = std::mem::replace(&mut self.said, news.clone()) == news;
        match found {
            Ok(Ballast::Restored) => tracing::info!("The ballast was restored."),
            Ok(Ballast::NoRoom { free_bytes, needed_bytes }) if !told => {
                tracing::warn!(
                    free_bytes,
                    needed_bytes,
                    "The ballast is missing; it is restored when there is room."
                );
            }
            Err(error) if !told => {
                tracing::warn!(error = %error, "The ballast could not be restored; it is tried again.");
            }
            _ => {}
        }
    }
}
