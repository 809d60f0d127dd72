//! When a device is told how it stands: when it connects, after a statement, and when the policy changed. Judging reads the
//! log, so it is done beside the streams: one judgement at a time over all devices, and seldom for each.

use std::sync::Arc;
use std::time::Duration;

use evidence::ids::{DeviceId, InstanceId};
use proto::Posture;
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep_until};

use crate::state::State;
use crate::verdicts;

/// Between two judgements for one stream: a device that sends a backlog is judged by little of it.
const INTERVAL_MIN: Duration = Duration::from_secs(10);
/// After a connection nothing is judged for so long, unless a statement comes: most connect to bring one.
pub(super) const AFTER_HELLO: Duration = Duration::from_secs(3);
/// Over so many milliseconds the devices are spread that are judged because the policy changed.
const SPREAD_MS: u64 = 10_000;

/// Told one at a time over all devices: what is published is never late for it.
pub(super) fn turns() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(1))
}

/// What one stream still has to tell.
pub(super) struct Telling {
    state: Arc<State>,
    turns: Arc<Semaphore>,
    device: DeviceId,
    /// Known from the greeting on.
    instance: Option<InstanceId>,
    /// Index of the newest policy; nothing is told without one.
    policy: Option<u64>,
    due: Option<Instant>,
    last: Option<Instant>,
    /// The judgement under way. It ends with the stream.
    judging: JoinSet<Option<Posture>>,
}

impl Telling {
    pub(super) fn new(state: Arc<State>, turns: Arc<Semaphore>, device: DeviceId) -> Self {
        let judging = JoinSet::new();
        Self { state, turns, device, instance: None, policy: None, due: None, last: None, judging }
    }

    /// The device has greeted.
    pub(super) fn begin(&mut self, instance: InstanceId) {
        self.instance = Some(instance);
        self.policy = self.newest_policy();
        self.ask(AFTER_HELLO);
    }

    fn newest_policy(&self) -> Option<u64> {
        self.state.book().authority.policies().last().map(|entry| entry.index)
    }

    /// Judges in `wait`, or when a judgement is allowed again, or when one is due already.
    pub(super) fn ask(&mut self, wait: Duration) {
        if self.policy.is_none() {
            return;
        }
        let wanted = Instant::now() + wait;
        let allowed = self.last.map_or(wanted, |last| last + INTERVAL_MIN);
        let at = wanted.max(allowed);
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    /// Looks whether the policy is another than the one that was told of. A glance: asked at every checkpoint.
    pub(super) fn look_for_policy(&mut self) {
        let newest = self.newest_policy();
        if newest != self.policy {
            self.policy = newest;
            // A place of the device's own: its id is random.
            let place =
                self.device.as_bytes().iter().fold(0, |sum, byte| (sum * 256 + u64::from(*byte)) % SPREAD_MS);
            self.ask(Duration::from_millis(place));
        }
    }

    /// The next thing to tell; waits for ever where nothing is due. Whoever stops waiting loses nothing.
    pub(super) async fn next(&mut self) -> Option<Posture> {
        if self.judging.is_empty() {
            let (Some(due), Some(instance)) = (self.due, self.instance) else {
                return std::future::pending().await;
            };
            sleep_until(due).await;
            (self.due, self.last) = (None, Some(Instant::now()));
            let (state, turns, device) = (Arc::clone(&self.state), Arc::clone(&self.turns), self.device);
            self.judging.spawn(judge(state, turns, device, instance));
        }
        match self.judging.join_next().await? {
            Ok(posture) => posture,
            Err(error) => {
                tracing::error!(device = %self.device, %error, "A device was not told how it stands.");
                None
            }
        }
    }
}

async fn judge(
    state: Arc<State>,
    turns: Arc<Semaphore>,
    device: DeviceId,
    instance: InstanceId,
) -> Option<Posture> {
    let turn = turns.acquire_owned().await.ok()?;
    let judged = spawn_blocking(move || {
        let judged = verdicts::posture(&state, device, &instance);
        drop(turn);
        judged
    });
    match judged.await {
        Ok(Ok(posture)) => posture,
        Ok(Err(error)) => {
            tracing::error!(%device, %error, "The log could not be read to tell a device how it stands; run fsck.");
            None
        }
        Err(error) => {
            tracing::error!(%device, %error, "A device was not told how it stands.");
            None
        }
    }
}
