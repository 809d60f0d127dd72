//! The loops of `run`, and the one pass of `once`.

use std::sync::Arc;
use std::time::Duration;

use evidence::time::{Clock, Timestamp};
use tokio::sync::{Mutex, Notify};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::attest::{Moment, Observed};
use crate::clock::Boot;
use crate::device::{Attested, Device, DeviceError};
use crate::schedule::{SLEPT_MS_MIN, Schedule};
use crate::upload::{Ended, Goal, UploadError, Uploader};

/// Between two glances at the clock.
const TICK: Duration = Duration::from_secs(30);
/// How long a stop waits for the statement that is being made.
const STOP_WAIT_MAX: Duration = Duration::from_secs(20);
/// After a look that could not be signed or spooled, the next one waits this long.
const FAILED_WAIT: Duration = Duration::from_mins(15);

/// Looks at the machine once. Takes seconds; called where blocking is allowed.
pub type Look = Arc<dyn Fn() -> Result<Observed, String> + Send + Sync>;

/// Why an attestation was not made.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The device's own parts.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The look itself failed.
    #[error("cannot look at this machine: {0}")]
    Look(String),
    /// The system does not say when it was started.
    #[error("cannot read when this machine was started: {0}")]
    Boot(String),
    /// The exchange. The statement waits in the spool.
    #[error("the statement is kept here and goes with the next connection; this one failed")]
    Upload(#[from] UploadError),
}

/// Everything `run` and `once` need.
pub struct Agent {
    device: Arc<Mutex<Device>>,
    look: Look,
    clock: Arc<dyn Clock>,
    spooled: Arc<Notify>,
    cancel: CancellationToken,
}

/// How `once` ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Once {
    /// The sequence, when there was room to make the statement.
    pub sequence: Option<u64>,
    /// How the exchange ended; `None` when the time was up.
    pub ended: Option<Ended>,
}

impl Agent {
    /// An agent over an open device.
    pub fn new(device: Device, look: Look, clock: Arc<dyn Clock>, cancel: CancellationToken) -> Self {
        let spooled = Arc::new(Notify::new());
        Self { device: Arc::new(Mutex::new(device)), look, clock, spooled, cancel }
    }

    /// The device, for reading after `run` or `once`.
    pub fn device(&self) -> &Arc<Mutex<Device>> {
        &self.device
    }

    fn uploader(&self) -> Uploader {
        Uploader {
            device: Arc::clone(&self.device),
            spooled: Arc::clone(&self.spooled),
            clock: Arc::clone(&self.clock),
            cancel: self.cancel.clone(),
        }
    }

    async fn observe(&self) -> Result<Observed, RunError> {
        let look = Arc::clone(&self.look);
        spawn_blocking(move || look())
            .await
            .map_err(|error| RunError::Look(error.to_string()))?
            .map_err(RunError::Look)
    }

    async fn attest(&self, trigger: proto::Trigger, observed: Observed) -> Result<Attested, RunError> {
        let boot = Boot::current().map_err(|error| RunError::Boot(error.to_string()))?;
        let moment = Moment { now: self.clock.now(), boot, trigger };
        let attested = self.device.lock().await.attest(&moment, observed)?;
        match attested {
            Attested::Spooled(sequence) => {
                tracing::info!(
                    sequence,
                    trigger = trigger.as_str_name(),
                    "An attestation is signed and kept."
                );
                self.spooled.notify_one();
            }
            Attested::NotMade => tracing::warn!("The spool is full: an attestation was not made."),
        }
        Ok(attested)
    }

    /// Attests by the schedule and whenever a look finds other facts, and keeps the exchange with the collector up,
    /// until cancelled.
    pub async fn run(&self, interval_minutes: u64) {
        let uploader = self.uploader();
        let upload = tokio::spawn(async move { uploader.run().await });
        self.attest_by_schedule(interval_minutes).await;
        if tokio::time::timeout(STOP_WAIT_MAX, upload).await.is_err() {
            tracing::warn!("The exchange with the collector did not end in time.");
        }
    }

    async fn attest_by_schedule(&self, interval_minutes: u64) {
        let schedule = {
            let device = self.device.lock().await;
            Schedule::new(interval_minutes, &device.identity.owner.instance)
        };
        // The start of the program is the boot, an update or a restart: look, and speak only if there is news.
        let mut look_now = true;
        let mut failed_until: Option<Instant> = None;
        let (mut wall, mut steady) = (self.clock.now(), Instant::now());
        while !self.cancel.is_cancelled() {
            let (now, last) = (self.clock.now(), self.device.lock().await.last_attested());
            look_now |= slept(wall, now, steady.elapsed());
            (wall, steady) = (now, Instant::now());
            let rested = failed_until.is_none_or(|until| until <= Instant::now());
            if rested && (look_now || schedule.due(now, last, false).is_some()) {
                look_now = false;
                failed_until = None;
                tokio::select! {
                    () = self.cancel.cancelled() => return,
                    done = self.look_and_attest(&schedule) => if let Err(error) = done {
                        tracing::error!(error = %crate::Causes(&error), "No attestation was made.");
                        failed_until = Some(Instant::now() + FAILED_WAIT);
                    }
                }
            }
            tokio::select! {
                () = self.cancel.cancelled() => return,
                () = sleep(TICK) => {}
            }
        }
    }

    async fn look_and_attest(&self, schedule: &Schedule) -> Result<(), RunError> {
        let observed = self.observe().await?;
        let (last, changed) = {
            let device = self.device.lock().await;
            (device.last_attested(), device.differs(&observed))
        };
        if let Some(trigger) = schedule.due(self.clock.now(), last, changed) {
            self.attest(trigger, observed).await?;
        }
        Ok(())
    }

    /// Looks, signs and sends once. Returns when the statement is stored or proved as `proved` says, when the
    /// collector refused, or when `wait` is over; the statement is safe in the spool in any case.
    pub async fn once(&self, proved: bool, wait: Duration) -> Result<Once, RunError> {
        let observed = self.observe().await?;
        let attested = self.attest(proto::Trigger::Manual, observed).await?;
        let sequence = match attested {
            Attested::Spooled(sequence) => Some(sequence),
            Attested::NotMade => None,
        };
        let last = sequence.unwrap_or(u64::MAX);
        let goal = if proved { Goal::Proved(last) } else { Goal::Stored(last) };
        let uploader = self.uploader();
        // Cancelling lets the exchange keep what it learned; dropping it would not.
        let exchange = uploader.exchange(goal);
        tokio::pin!(exchange);
        let ended = tokio::select! {
            ended = &mut exchange => Some(ended?),
            () = sleep(wait) => {
                self.cancel.cancel();
                exchange.await?;
                None
            }
        };
        Ok(Once { sequence, ended })
    }
}

/// Whether the machine slept: the wall clock went on much more than the steady one.
fn slept(before: Timestamp, now: Timestamp, steady: Duration) -> bool {
    let wall = now.ms().saturating_sub(before.ms());
    wall.saturating_sub(u64::try_from(steady.as_millis()).unwrap_or(u64::MAX)) >= SLEPT_MS_MIN
}

#[cfg(test)]
mod tests {
    use super::slept;
    use evidence::time::Timestamp;
    use std::time::Duration;

    #[test]
    fn sleep_is_wall_time_without_steady_time() {
        let at = |minutes: u64| Timestamp(minutes * 60_000);
        assert!(!slept(at(10), at(11), Duration::from_mins(1)));
        assert!(slept(at(10), at(70), Duration::from_secs(30)));
        assert!(!slept(at(10), at(5), Duration::from_secs(30)), "set back");
        assert!(!slept(at(10), at(20), Duration::from_mins(10)), "a slow look");
    }
}
