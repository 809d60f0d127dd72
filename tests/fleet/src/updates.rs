//! What changes on a machine from look to look: package updates, versions of its security product and of the agent.
//!
//! Everything is a function of the device and the minute, so that a device needs no memory of it.

use evidence::ids::Digest;
use proto::facts::Control;
use proto::observation::Outcome;

use crate::{identity, seeded::fixed};

/// Minutes of a day.
pub(crate) const DAY: u64 = 1_440;
/// Minutes between security updates.
const RELEASE_INTERVAL: u64 = 7 * DAY;
/// Every so many releases bring a kernel.
const KERNEL_EVERY: u64 = 4;
/// Minutes between versions of a security product.
const PRODUCT_INTERVAL: u64 = 30 * DAY;
/// Minutes between versions of the agent.
const AGENT_INTERVAL: u64 = 60 * DAY;
/// Minute of the recordings: their times are this much older than a look at them (2026-11-30T15:00Z).
const RECORDED_MINUTE: u64 = 29_934_780;
/// Releases before the fleet began, so that nothing is counted from zero.
const RELEASES_BEFORE: u64 = 20;

/// How quickly one device follows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Updates {
    /// Seed of the fleet: updates come out for everybody.
    seed: u64,
    /// Minute of the release numbered [`RELEASES_BEFORE`].
    epoch: u64,
    /// Minutes from a release until it is installed.
    lag: u64,
    /// Minute of the day at which the package lists are refreshed.
    refreshed_at: u64,
    /// What its identifiers are made of.
    identity: u64,
}

impl Updates {
    /// Those of a device of a fleet that begins at minute `begin`.
    pub(crate) fn new(seed: u64, device: u64, begin: u64) -> Self {
        let number = |what| fixed([seed, device, what]);
        let lag = match number(1) % 100 {
            0..70 => number(2) % (2 * DAY),
            70..95 => 3 * DAY + number(2) % (7 * DAY),
            _ => 20 * DAY + number(2) % (25 * DAY),
        };
        Self { seed, epoch: begin, lag, refreshed_at: number(3) % DAY, identity: number(4) }
    }

    /// How many releases there are at a minute.
    fn released(&self, minute: u64) -> u64 {
        RELEASES_BEFORE + 1 + minute.saturating_sub(self.epoch) / RELEASE_INTERVAL
    }

    fn released_at(&self, release: u64) -> u64 {
        (self.epoch + release * RELEASE_INTERVAL).saturating_sub(RELEASES_BEFORE * RELEASE_INTERVAL)
    }

    /// How many of them are installed at a minute.
    fn installed(&self, minute: u64) -> u64 {
        let newest = self.released(minute);
        let late = self.lag.div_ceil(RELEASE_INTERVAL) + 1;
        let waiting = (newest.saturating_sub(late)..=newest)
            .find(|release| *release == newest || self.released_at(*release) + self.lag > minute);
        waiting.unwrap_or(newest)
    }

    /// Facts of packages at a minute, on a machine that runs since minute `booted`.
    pub(crate) fn patch(&self, facts: &mut proto::OsPatch, minute: u64, booted: u64) {
        let day = minute.saturating_sub(self.refreshed_at) / DAY;
        let refreshed = day * DAY + self.refreshed_at;
        let (known, installed) = (self.released(refreshed), self.installed(minute));
        let missing = installed..known.max(installed);
        let packages = |what: u64, most: u64| {
            let count = move |release| fixed([self.seed, release, what]) % most;
            missing.clone().map(count).map(|count| u32::try_from(count).unwrap_or_default())
        };
        facts.pending_security = Some(packages(11, 9).map(|count| count + 1).sum());
        facts.pending_other = Some(packages(12, 30).sum());
        facts.lists_minutes = Some(refreshed);
        let newest = installed.saturating_sub(1);
        facts.installed_minutes = Some(self.released_at(newest) + self.lag);
        let (kernel, running) = (installed / KERNEL_EVERY, self.installed(booted) / KERNEL_EVERY);
        facts.reboot_required = Some(kernel != running);
        if let Some(rest) = facts.kernel.strip_prefix("6.1.0-28") {
            facts.kernel = format!("6.1.0-{}{rest}", 23 + running);
        }
    }

    /// Version and digest of the agent at a minute.
    pub(crate) fn agent(&self, minute: u64) -> (String, Digest) {
        let number = self.version(minute, AGENT_INTERVAL);
        let version = format!("0.1.{number}");
        let digest = Digest::of(version.as_bytes());
        (version, digest)
    }

    fn version(&self, minute: u64, interval: u64) -> u64 {
        minute.saturating_sub(self.epoch).saturating_sub(self.lag) / interval
    }

    fn product(&self, product: &mut proto::Product, minute: u64) {
        let number = self.version(minute, PRODUCT_INTERVAL);
        if let Some(version) = &mut product.version
            && number > 0
        {
            let build = fixed([self.seed, number, 13]) % 900;
            *version = format!("{version}.{number}{build:03}");
        }
    }

    /// Lets all facts be of a minute. `is_patched` says whether packages are installed on this machine, `drifted` is the
    /// control whose facts are another recording's.
    pub(crate) fn apply(
        &self,
        observations: &mut [proto::Observation],
        minute: u64,
        booted: u64,
        is_patched: bool,
        drifted: Option<&str>,
    ) {
        for observation in observations {
            let Some(Outcome::Observed(facts)) = &mut observation.outcome else { continue };
            match &mut facts.control {
                Some(Control::OsPatch(facts)) if drifted == Some("os-patch") => age(facts, minute),
                Some(Control::OsPatch(facts)) if is_patched => self.patch(facts, minute, booted),
                Some(Control::Edr(facts)) => {
                    facts.products.iter_mut().for_each(|product| self.product(product, minute));
                }
                Some(Control::DeviceIdentity(facts)) => identity::apply(facts, self.identity),
                _ => {}
            }
        }
    }
}

/// Facts as old as they were when they were recorded.
fn age(facts: &mut proto::OsPatch, minute: u64) {
    for time in [&mut facts.lists_minutes, &mut facts.installed_minutes].into_iter().flatten() {
        *time = minute.saturating_sub(RECORDED_MINUTE.saturating_sub(*time));
    }
}

#[cfg(test)]
mod tests;
