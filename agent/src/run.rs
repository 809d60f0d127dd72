//! The loops of `run`, and the one pass of `once`.

use std::sync::Arc;
use std::time::Duration;

use evidence::ids::Digest;
use evidence::time::Clock;
use rpc::proxy::Proxies;
use tokio::sync::{Mutex, Notify};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::attest::{Moment, Observed};
use crate::budget::Budget;
use crate::clock::{Boot, Clocks, slept};
use crate::device::{Attested, Device, DeviceError};
use crate::fleet::Switches;
use crate::host::LiveHost;
use crate::log_level;
use crate::look::Seen;
use crate::schedule::Schedule;
use crate::supervisor::Supervisor;
use crate::upload::{Ended, Goal, UploadError, Uploader};
use crate::watch::{Watch, network};

/// Between two glances at the clocks and the network; an idle agent wakes no more often.
const TICK: Duration = Duration::from_mins(1);
/// How long a stop waits for the statement that is being made.
const STOP_WAIT_MAX: Duration = Duration::from_secs(20);
/// After a look that failed, the next one waits this long.
const FAILED_WAIT: Duration = Duration::from_mins(15);
/// Between two tries of a disk that refuses: as soon as it takes something again a look follows.
const DISK_WAIT: Duration = TICK;

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
    /// A fault of this program. Starting it again is the way on.
    #[error("the exchange with the collector ended by a fault of this program")]
    Fault,
}

/// Everything `run` and `once` need.
pub struct Agent {
    device: Arc<Mutex<Device>>,
    look: Look,
    /// Answers again what the look asked of files.
    host: Arc<dyn probes::Host + Send + Sync>,
    clock: Arc<dyn Clock>,
    spooled: Arc<Notify>,
    /// Told when the machine is in another network, or woke up.
    moved: Arc<Notify>,
    /// Told when another fleet configuration is obeyed.
    configured: Arc<Notify>,
    proxies: Arc<Proxies>,
    supervisor: Supervisor,
    switches: Switches,
    /// The fleet configuration's proxy is not taken: the machine's own configuration has one.
    own_way: bool,
    cancel: CancellationToken,
}

/// A disk that refused a statement.
#[derive(Debug, Clone, Copy)]
struct Refusal {
    /// When it is tried next.
    next: Instant,
    /// After a refusal in spite of a good try the next try waits this long: twice as long as before, up to [`FAILED_WAIT`].
    wait: Duration,
    /// As a gap says it.
    reason: proto::GapReason,
}

impl Refusal {
    fn after(before: Option<Self>, reason: proto::GapReason) -> Self {
        let wait = before.map_or(DISK_WAIT, |before| before.wait.saturating_mul(2).min(FAILED_WAIT));
        Self { next: Instant::now() + wait, wait, reason }
    }
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
        Self {
            device: Arc::new(Mutex::new(device)),
            look,
            host: Arc::new(LiveHost),
            clock,
            spooled: Arc::default(),
            moved: Arc::default(),
            configured: Arc::default(),
            proxies: Arc::default(),
            supervisor: Supervisor::default(),
            switches: Switches::default(),
            own_way: false,
            cancel,
        }
    }

    /// The same, by this way to the collector.
    pub fn through(self, proxies: Proxies) -> Self {
        Self { proxies: Arc::new(proxies), ..self }
    }

    /// The same, whatever proxy the fleet configuration names.
    pub fn by_its_own_way(self) -> Self {
        Self { own_way: true, ..self }
    }

    /// The same, switching controls of its look off by these.
    pub fn switched_by(self, switches: Switches) -> Self {
        Self { switches, ..self }
    }

    /// The same, telling a service manager how it goes.
    pub fn supervised_by(self, supervisor: Supervisor) -> Self {
        Self { supervisor, ..self }
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
            moved: Arc::clone(&self.moved),
            proxies: Arc::clone(&self.proxies),
            detour: Arc::default(),
            own_way: self.own_way,
            clock: Arc::clone(&self.clock),
            configured: Arc::clone(&self.configured),
            cancel: self.cancel.clone(),
        }
    }

    async fn observe(&self) -> Result<Seen, RunError> {
        {
            let device = self.device.lock().await;
            let disabled = device.fleet().map_or(&[][..], |fleet| &fleet.configuration.disabled);
            self.switches.set(disabled);
        }
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
    /// until cancelled. An error is a fault of this program.
    pub async fn run(&self, interval_minutes: u64) -> Result<(), RunError> {
        let uploader = self.uploader();
        let mut upload = tokio::spawn(async move { uploader.run().await });
        self.supervisor.ready();
        let early = tokio::select! {
            () = self.attest_by_schedule(interval_minutes) => None,
            ended = &mut upload => Some(ended),
        };
        self.supervisor.stopping();
        match early {
            // Without it statements would be made and never sent, and nobody would be told.
            Some(ended) if ended.is_err() || !self.cancel.is_cancelled() => return Err(RunError::Fault),
            Some(_) => {}
            None => match tokio::time::timeout(STOP_WAIT_MAX, upload).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(RunError::Fault),
                Err(_) => tracing::warn!("The exchange with the collector did not end in time."),
            },
        }
        Ok(())
    }

    async fn attest_by_schedule(&self, interval_minutes: u64) {
        let (mut fleet, mut schedule) = self.schedule(interval_minutes).await;
        // No wake-up more than once a minute, unless the service manager wants to hear from it sooner.
        let tick = self.supervisor.alive_every().map_or(TICK, |every| every.min(TICK));
        let mut watch = Watch::new(Arc::clone(&self.host));
        let start = Instant::now();
        let (mut looks, mut drifts) = (Budget::of_looks(start), Budget::of_drifts(start));
        // The start of the program is the boot, an update or a restart: look, and speak only if there is news.
        let mut wanted = true;
        // After a failure nothing is looked at until then; and nothing unscheduled while a change may not be said yet.
        let (mut failed_until, mut held_until) = (start, start);
        let mut refusal: Option<Refusal> = None;
        let mut clocks = Clocks::now(&*self.clock);
        let mut place = network::place();
        while !self.cancel.is_cancelled() {
            // Here and nowhere else: a look or a disk that hangs keeps this from being said.
            self.tell_supervisor(refusal.is_some()).await;
            let (newest, newest_schedule) = self.schedule(interval_minutes).await;
            if newest != fleet {
                // What is switched off or on is said at once, by a look that finds other facts.
                (fleet, schedule, wanted) = (newest, newest_schedule, true);
            }
            let (now, here) = (Instant::now(), network::place());
            let before = std::mem::replace(&mut clocks, Clocks::now(&*self.clock));
            if slept(&before, &clocks) || here != place {
                wanted = true;
                self.moved.notify_one();
            }
            place = here;
            let due = {
                let device = self.device.lock().await;
                schedule.due(self.clock.now(), device.last_tried(), false).is_some()
            };
            let look = match &mut refusal {
                None => now >= failed_until && (due || (wanted && now >= held_until && looks.take(now))),
                Some(refusal) => self.disk_takes(refusal, now, due).await,
            };
            if look {
                tokio::select! {
                    () = self.cancel.cancelled() => return,
                    done = self.look_and_attest(&schedule, &mut watch, &mut drifts) => match done {
                        Ok(said) => {
                            // What may not be said yet is looked at again when it may, and is said if it is still so.
                            wanted = !said;
                            held_until = if said { now } else { drifts.free_at(Instant::now()) };
                            refusal = None;
                        }
                        Err(error) => {
                            tracing::error!(error = %crate::Causes(&error), "No attestation was made.");
                            match error {
                                RunError::Device(error) if error.is_of_the_disk() => {
                                    refusal = Some(Refusal::after(refusal, error.gap_reason()));
                                    wanted = true;
                                }
                                _ => failed_until = Instant::now() + FAILED_WAIT,
                            }
                        }
                    }
                }
            }
            let now = Instant::now();
            let waits = if let Some(refusal) = &refusal {
                refusal.next
            } else if wanted {
                looks.free_at(now).max(held_until).max(failed_until)
            } else {
                now + tick
            };
            tokio::select! {
                () = self.cancel.cancelled() => return,
                () = sleep_until(waits.min(now + tick)) => {}
                () = self.configured.notified() => {}
                () = watch.changed(), if !wanted => {
                    tracing::info!("A file behind the facts changed: looking.");
                    wanted = true;
                }
            }
        }
    }

    /// The digest of the fleet configuration in force, and the schedule by its interval or else by `interval_minutes`.
    async fn schedule(&self, interval_minutes: u64) -> (Option<Digest>, Schedule) {
        let device = self.device.lock().await;
        let fleet = device.fleet();
        let minutes = fleet.map_or(interval_minutes, |fleet| fleet.configuration.interval_minutes);
        if let Some(fleet) = fleet {
            log_level::set(&fleet.configuration.log_level);
        }
        (fleet.map(|fleet| fleet.digest), Schedule::new(minutes, &device.identity.owner.instance))
    }

    /// Whether the disk that refused a statement takes something again. While it does not, what is due is counted, once in
    /// an interval as it would have been made.
    async fn disk_takes(&self, refusal: &mut Refusal, now: Instant, due: bool) -> bool {
        if now < refusal.next && !due {
            return false;
        }
        let mut device = self.device.lock().await;
        if now >= refusal.next {
            match device.state().try_disk() {
                Ok(()) => {
                    tracing::info!("The disk takes statements again: looking.");
                    return true;
                }
                Err(error) => tracing::debug!(%error, "The disk takes nothing."),
            }
            refusal.next = now + DISK_WAIT;
        }
        if due {
            device.miss(self.clock.now(), refusal.reason);
            let count = device.spool.not_made().map_or(0, |not_made| not_made.count);
            tracing::error!(count, "The disk takes nothing: an attestation was not made.");
        }
        false
    }

    async fn tell_supervisor(&self, refused: bool) {
        let status = {
            let device = self.device.lock().await;
            let waiting = device.spool.kept().values().filter(|kept| kept.receipt.is_none()).count();
            let disk = if refused { "; the disk takes nothing" } else { "" };
            format!("{} statements made, {waiting} waiting to be sent{disk}", device.spool.next_sequence())
        };
        self.supervisor.alive(&status);
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

#[cfg(test)]
#[cfg(unix)]
mod tests;
