//! The loops of `run`, and the one pass of `once`.

use std::sync::Arc;
use std::time::Duration;

use evidence::time::Clock;
use tokio::sync::{Mutex, Notify};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::attest::{Moment, Observed};
use crate::budget::Budget;
use crate::clock::{Boot, Clocks, slept};
use crate::device::{Attested, Device, DeviceError};
use crate::host::LiveHost;
use crate::look::Seen;
use crate::schedule::Schedule;
use crate::upload::{Ended, Goal, UploadError, Uploader};
use crate::watch::{Watch, network};

/// Between two glances at the clocks and the network; an idle agent wakes no more often.
const TICK: Duration = Duration::from_mins(1);
/// How long a stop waits for the statement that is being made.
const STOP_WAIT_MAX: Duration = Duration::from_secs(20);
/// After a look that could not be signed or spooled, the next one waits this long.
const FAILED_WAIT: Duration = Duration::from_mins(15);

/// Looks at the machine once. Takes seconds; called where blocking is allowed.
pub type Look = Arc<dyn Fn() -> Result<Seen, String> + Send + Sync>;

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
    /// Answers again what the look asked of files.
    host: Arc<dyn probes::Host + Send + Sync>,
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
        Self { device: Arc::new(Mutex::new(device)), look, host: Arc::new(LiveHost), clock, spooled, cancel }
    }

    /// The same, over another machine than the live one.
    #[cfg(test)]
    pub(crate) fn with_host(self, host: Arc<dyn probes::Host + Send + Sync>) -> Self {
        Self { host, ..self }
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

    async fn observe(&self) -> Result<Seen, RunError> {
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
        let mut watch = Watch::new(Arc::clone(&self.host));
        let start = Instant::now();
        let (mut looks, mut drifts) = (Budget::of_looks(start), Budget::of_drifts(start));
        // The start of the program is the boot, an update or a restart: look, and speak only if there is news.
        let mut wanted = true;
        // After a failure nothing is looked at until then; and nothing unscheduled while a change may not be said yet.
        let (mut failed_until, mut held_until) = (start, start);
        let mut clocks = Clocks::now(&*self.clock);
        let mut place = network::place();
        while !self.cancel.is_cancelled() {
            let (now, here) = (Instant::now(), network::place());
            let before = std::mem::replace(&mut clocks, Clocks::now(&*self.clock));
            wanted |= slept(&before, &clocks) || here != place;
            place = here;
            let last = self.device.lock().await.last_attested();
            let due = schedule.due(self.clock.now(), last, false).is_some();
            if now >= failed_until && (due || (wanted && now >= held_until && looks.take(now))) {
                tokio::select! {
                    () = self.cancel.cancelled() => return,
                    done = self.look_and_attest(&schedule, &mut watch, &mut drifts) => match done {
                        Ok(said) => {
                            // What may not be said yet is looked at again when it may, and is said if it is still so.
                            wanted = !said;
                            held_until = if said { now } else { drifts.free_at(Instant::now()) };
                        }
                        Err(error) => {
                            tracing::error!(error = %crate::Causes(&error), "No attestation was made.");
                            failed_until = Instant::now() + FAILED_WAIT;
                        }
                    }
                }
            }
            let now = Instant::now();
            let waits =
                if wanted { looks.free_at(now).max(held_until).max(failed_until) } else { now + TICK };
            tokio::select! {
                () = self.cancel.cancelled() => return,
                () = sleep_until(waits.min(now + TICK)) => {}
                () = watch.changed(), if !wanted => {
                    tracing::info!("A file behind the facts changed: looking.");
                    wanted = true;
                }
            }
        }
    }

    /// Looks, and attests what is due or new. Whether all is said: not when facts changed too often.
    async fn look_and_attest(
        &self,
        schedule: &Schedule,
        watch: &mut Watch,
        drifts: &mut Budget,
    ) -> Result<bool, RunError> {
        let Seen { observed, files } = self.observe().await?;
        watch.follow(files);
        let (last, changed) = {
            let device = self.device.lock().await;
            (device.last_attested(), device.differs(&observed))
        };
        match schedule.due(self.clock.now(), last, changed) {
            None => Ok(true),
            Some(proto::Trigger::Drift) if !drifts.take(Instant::now()) => {
                tracing::warn!("Facts change too often: this change is not said yet.");
                Ok(false)
            }
            Some(trigger) => self.attest(trigger, observed).await.map(|_| true),
        }
    }

    /// Looks, signs and sends once. Returns when the statement is stored or proved as `proved` says, when the
    /// collector refused, or when `wait` is over; the statement is safe in the spool in any case.
    pub async fn once(&self, proved: bool, wait: Duration) -> Result<Once, RunError> {
        let observed = self.observe().await?.observed;
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
