//! What one device may send, and what all of them may have under way: asked before a signature is checked.
//!
//! A limit is kept as the moment at which all that was taken is given back (the generic cell rate algorithm): one number
//! for each limit of a device, and nothing to refill. A device that has not sent for long is as one that never did, so that
//! its account is let go.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use evidence::ids::DeviceId;
use serde::{Deserialize, Serialize};

#[cfg(test)]
mod tests;

/// Statements of a device in a second. One says something a few hundred times a day; 50 a second empties the backlog of a
/// year of hours in three minutes, and is a thousandth of the signatures that two cores check.
const STATEMENTS_PER_SECOND: u32 = 50;
/// Statements at once after a rest: ten seconds of the rate, fifteen of the agent's windows.
const STATEMENTS_AT_ONCE: u32 = 500;
/// MiB of a device in a minute: a full spool of the default size (16 MiB) is taken in within four minutes.
const MIB_PER_MINUTE: u32 = 5;
/// MiB of a device in a day: four full spools. A usual day is below 1 MiB, and a journal of 10 GiB has room for 160 devices
/// that do their worst for a day.
const MIB_PER_DAY: u32 = 64;

/// Statements of a device that may wait for the writer, over all its streams: a sixteenth of the writer's queue.
const SHARE_MAX: u32 = 256;
/// Submit streams of a device at once: one in use and one being replaced, and the same again where a connection was lost and
/// the collector does not know yet. As many as it may have connections.
const STREAMS_MAX: u32 = 4;
/// Bytes of all devices that may wait for the writer: a full queue of statements of 16 KiB. Each is held up to four times on
/// its way, 256 MiB in all.
const BYTES_WAITING_MAX: u64 = 64 << 20;

/// What a device is asked to wait at least, so that some of what it may send at once has come back meanwhile.
const WAIT_MIN: Duration = Duration::from_secs(1);
/// What it is asked to wait at most: agents obey up to 15 minutes.
const WAIT_MAX: Duration = Duration::from_mins(15);
/// What it is asked to wait where others, or its own earlier statements, are in the way: the writer needs milliseconds.
const BUSY_WAIT: Duration = Duration::from_millis(500);
/// Between two log lines about devices that were told to wait.
const LINE_INTERVAL: Duration = Duration::from_mins(1);

const MIB: u64 = 1 << 20;
const MINUTE: Duration = Duration::from_mins(1);
const DAY: Duration = Duration::from_hours(24);

/// `[quota]` of collector.toml: what one device may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Quota {
    /// Statements in a second, over longer times.
    pub statements_per_second: u32,
    /// Statements at once after a rest.
    pub statements_at_once: u32,
    /// MiB in a minute, and at once after a rest.
    pub mib_per_minute: u32,
    /// MiB in a day, and at once after a rest.
    pub mib_per_day: u32,
}

impl Default for Quota {
    fn default() -> Self {
        Self {
            statements_per_second: STATEMENTS_PER_SECOND,
            statements_at_once: STATEMENTS_AT_ONCE,
            mib_per_minute: MIB_PER_MINUTE,
            mib_per_day: MIB_PER_DAY,
        }
    }
}

impl Quota {
    /// Whether nobody has set anything else.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The key that is zero, if one is: nothing could ever be sent.
    pub fn zero(&self) -> Option<&'static str> {
        [
            ("statements_per_second", self.statements_per_second),
            ("statements_at_once", self.statements_at_once),
            ("mib_per_minute", self.mib_per_minute),
            ("mib_per_day", self.mib_per_day),
        ]
        .into_iter()
        .find_map(|(key, value)| (value == 0).then_some(key))
    }
}

/// So many units in a time, and so many at once.
#[derive(Debug, Clone, Copy)]
struct Rate {
    units: u64,
    time: Duration,
    at_once: u64,
}

impl Rate {
    /// How long so many units take at this rate.
    fn worth(&self, units: u64) -> Duration {
        let nanos = self.time.as_nanos().saturating_mul(units.into()) / u128::from(self.units.max(1));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// When all is given back once `units` more are taken, or how long to wait until they may be.
    fn take(&self, given_back: Option<Instant>, units: u64, now: Instant) -> Result<Instant, Duration> {
        let owed = given_back.map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
        let owed = owed.saturating_add(self.worth(units));
        let over = owed.saturating_sub(self.worth(self.at_once));
        if over.is_zero() { Ok(now + owed) } else { Err(over) }
    }
}

/// Why a device must wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Too many statements in a short time.
    Statements,
    /// Too many bytes in a minute.
    MinuteBytes,
    /// Too many bytes in a day.
    DayBytes,
    /// As many of its statements wait for the writer as may.
    Share,
    /// As many bytes of all devices wait for the writer as may.
    Memory,
}

impl Cause {
    /// All of them, in the order of the counters.
    const ALL: [Self; 5] = [Self::Statements, Self::MinuteBytes, Self::DayBytes, Self::Share, Self::Memory];

    /// Its name in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Statements => "statements per second",
            Self::MinuteBytes => "bytes per minute",
            Self::DayBytes => "bytes per day",
            Self::Share => "its share of the writer's queue",
            Self::Memory => "bytes of all devices under way",
        }
    }
}

/// A statement is not taken now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Over {
    /// Why.
    pub cause: Cause,
    /// What the device is asked to wait.
    pub wait: Duration,
}

/// What one device has taken.
#[derive(Debug, Default)]
struct Account {
    /// When its statements, bytes of a minute and bytes of a day are given back.
    statements: Option<Instant>,
    minute: Option<Instant>,
    day: Option<Instant>,
    /// Its statements that wait for the writer.
    waiting: u32,
    /// Its open streams.
    streams: u32,
    /// Statements refused since the last line.
    refused: u64,
}

impl Account {
    /// As if it had never sent anything.
    fn is_blank(&self, now: Instant) -> bool {
        let back = [self.statements, self.minute, self.day].iter().flatten().all(|at| *at <= now);
        back && self.waiting == 0 && self.streams == 0 && self.refused == 0
    }
}

/// The accounts of all devices that have sent something lately.
#[derive(Debug)]
pub struct Quotas {
    statements: Rate,
    minute: Rate,
    day: Rate,
    accounts: Mutex<HashMap<DeviceId, Account>>,
    bytes_waiting: AtomicU64,
    refused: [AtomicU64; Cause::ALL.len()],
    told: Mutex<Told>,
}

/// What the log has been told.
#[derive(Debug, Default)]
struct Told {
    at: Option<Instant>,
    refused: [u64; Cause::ALL.len()],
}

impl Quotas {
    /// Accounts under `quota`.
    pub fn new(quota: &Quota) -> Arc<Self> {
        let bytes =
            |mib: u32, time| Rate { units: u64::from(mib) * MIB, time, at_once: u64::from(mib) * MIB };
        Arc::new(Self {
            statements: Rate {
                units: quota.statements_per_second.into(),
                time: Duration::from_secs(1),
                at_once: quota.statements_at_once.into(),
            },
            minute: bytes(quota.mib_per_minute, MINUTE),
            day: bytes(quota.mib_per_day, DAY),
            accounts: Mutex::default(),
            bytes_waiting: AtomicU64::new(0),
            refused: Default::default(),
            told: Mutex::default(),
        })
    }

    fn accounts(&self) -> MutexGuard<'_, HashMap<DeviceId, Account>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A stream of `device` begins; none if it has as many as it may.
    pub fn stream(self: &Arc<Self>, device: DeviceId) -> Option<StreamPlace> {
        let mut accounts = self.accounts();
        let account = accounts.entry(device).or_default();
        if account.streams >= STREAMS_MAX {
            return None;
        }
        account.streams += 1;
        Some(StreamPlace { quotas: Arc::clone(self), device })
    }

    /// Takes a message of `bytes` bytes, or says how long to wait. What is refused costs the device nothing.
    fn take(self: &Arc<Self>, device: DeviceId, bytes: usize, now: Instant) -> Result<Place, Over> {
        let bytes = bytes as u64;
        let taken = {
            let mut accounts = self.accounts();
            let account = accounts.entry(device).or_default();
            let taken = self.charge(account, bytes, now);
            if taken.is_err() {
                account.refused += 1;
            }
            taken
        };
        if let Err(over) = &taken
            && let Some(counter) = self.refused.get(over.cause as usize)
        {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        taken.map(|()| Place { quotas: Arc::clone(self), device, bytes })
    }

    fn charge(&self, account: &mut Account, bytes: u64, now: Instant) -> Result<(), Over> {
        if account.waiting >= SHARE_MAX {
            return Err(Over { cause: Cause::Share, wait: BUSY_WAIT });
        }
        let over = |cause| move |wait: Duration| Over { cause, wait: wait.clamp(WAIT_MIN, WAIT_MAX) };
        let day = self.day.take(account.day, bytes, now).map_err(over(Cause::DayBytes))?;
        let minute = self.minute.take(account.minute, bytes, now).map_err(over(Cause::MinuteBytes))?;
        let statements = self.statements.take(account.statements, 1, now).map_err(over(Cause::Statements))?;
        // Last: nothing after it may refuse, so that it need not be given back.
        let fits = |waiting: u64| waiting.checked_add(bytes).filter(|bytes| *bytes <= BYTES_WAITING_MAX);
        self.bytes_waiting
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits)
            .map_err(|_| Over { cause: Cause::Memory, wait: BUSY_WAIT })?;
        (account.day, account.minute, account.statements) = (Some(day), Some(minute), Some(statements));
        account.waiting += 1;
        Ok(())
    }

    /// Statements that were refused since the start, by cause.
    pub fn refused(&self) -> [(Cause, u64); Cause::ALL.len()] {
        let mut counts = Cause::ALL.map(|cause| (cause, 0));
        for ((_, count), counter) in counts.iter_mut().zip(&self.refused) {
            *count = counter.load(Ordering::Relaxed);
        }
        counts
    }

    /// Lets go of accounts that nothing is owed on, and tells the log who was told to wait, at most once a minute.
    pub fn look_after(&self, now: Instant) {
        let worst = {
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            let early = told.at.is_some_and(|at| now.saturating_duration_since(at) < LINE_INTERVAL);
            let counts = self.refused().map(|(_, count)| count);
            if early || counts == told.refused {
                None
            } else {
                let since = std::mem::replace(&mut told.refused, counts);
                told.at = Some(now);
                Some((counts, since))
            }
        };
        let mut accounts = self.accounts();
        if let Some((counts, since)) = worst {
            let devices = accounts.values().filter(|account| account.refused > 0).count();
            let most = accounts.iter().max_by_key(|(_, account)| account.refused);
            let (device, of_it) =
                most.map_or((String::new(), 0), |(id, account)| (id.to_string(), account.refused));
            for ((cause, count), before) in Cause::ALL.into_iter().zip(counts).zip(since) {
                let statements = count.saturating_sub(before);
                if statements > 0 {
                    tracing::warn!(
                        statements, cause = cause.as_str(), devices, most = %device, of_it,
                        "Devices were told to slow down; nothing of theirs is lost, they send it later."
                    );
                }
            }
            for account in accounts.values_mut() {
                account.refused = 0;
            }
        }
        accounts.retain(|_, account| !account.is_blank(now));
    }
}

/// A device's open stream; given back when dropped.
#[derive(Debug)]
pub struct StreamPlace {
    quotas: Arc<Quotas>,
    device: DeviceId,
}

impl StreamPlace {
    /// Takes a message of `bytes` bytes of this stream's device, or says how long it must wait.
    pub fn take(&self, bytes: usize, now: Instant) -> Result<Place, Over> {
        self.quotas.take(self.device, bytes, now)
    }
}

impl Drop for StreamPlace {
    fn drop(&mut self) {
        if let Some(account) = self.quotas.accounts().get_mut(&self.device) {
            account.streams = account.streams.saturating_sub(1);
        }
    }
}

/// A statement's place among those that wait for the writer; given back when dropped.
#[derive(Debug)]
pub struct Place {
    quotas: Arc<Quotas>,
    device: DeviceId,
    bytes: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.quotas.bytes_waiting.fetch_sub(self.bytes, Ordering::Relaxed);
        if let Some(account) = self.quotas.accounts().get_mut(&self.device) {
            account.waiting = account.waiting.saturating_sub(1);
        }
    }
}
