//! What is erased together: one data key seals the payloads of one scope, and goes as a whole. docs/FORMAT.md
//! sections 5 and 8.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::acts::{Hold, Tombstone};
use crate::ids::{DeviceId, IdError, InstanceId, Name};
use crate::leaf::Stream;
use crate::roster::Roster;
use crate::time::{DayLabel, Timestamp};

/// Length of [`Scope::encode`], bytes.
pub const SCOPE_BYTES: usize = 20;
/// Months of a quarter.
const QUARTER_MONTHS: u8 = 3;

/// A quarter of a calendar year in UTC, `2026-q4`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quarter {
    year: u16,
    number: u8,
}

impl Quarter {
    /// The quarter a moment lies in.
    pub fn of(moment: Timestamp) -> Self {
        let day = moment.day();
        Self { year: day.year(), number: (day.month().saturating_sub(1)) / QUARTER_MONTHS + 1 }
    }

    /// The quarter of a year, 1 to 4.
    pub fn new(year: u16, number: u8) -> Option<Self> {
        ((1970..=9999).contains(&year) && (1..=4).contains(&number)).then_some(Self { year, number })
    }

    /// The first moment after it; that of 9999's last quarter is the end of time.
    pub fn end(self) -> Timestamp {
        let (year, month) =
            if self.number >= 4 { (self.year + 1, 1) } else { (self.year, self.number * QUARTER_MONTHS + 1) };
        DayLabel::first_of(year, month).map_or(Timestamp(u64::MAX), DayLabel::start_utc)
    }
}

impl fmt::Display for Quarter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-q{}", self.year, self.number)
    }
}

impl FromStr for Quarter {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let quarter = text.split_once("-q").and_then(|(year, number)| {
            let digits = year.len() == 4 && number.len() == 1;
            digits.then(|| Self::new(year.parse().ok()?, number.parse().ok()?)).flatten()
        });
        // `+026` is a number to the standard library.
        quarter
            .filter(|quarter| quarter.to_string() == text)
            .ok_or(IdError::Form { what: "quarter", expected: "a quarter YYYY-qN from 1970-q1 to 9999-q4" })
    }
}

/// The entries whose payloads are sealed, and erased, under one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Entries of stream 0 about one device instance, received in one quarter.
    Device {
        /// The instance.
        instance: InstanceId,
        /// The quarter of `received_ms`.
        quarter: Quarter,
    },
    /// Entries of one of the streams 1 to 4, received in one year.
    Stream {
        /// The stream.
        stream: Stream,
        /// The year of `received_ms`, in UTC.
        year: u16,
    },
}

impl Scope {
    /// The scope of a statement or detail of a device.
    pub fn device(instance: InstanceId, received: Timestamp) -> Self {
        Self::Device { instance, quarter: Quarter::of(received) }
    }

    /// The scope of an entry of streams 1 to 4.
    pub fn stream(stream: Stream, received: Timestamp) -> Self {
        Self::Stream { stream, year: received.day().year() }
    }

    /// Whether an entry of this stream and time belongs to it. Of which instance it is, its leaf does not say.
    pub fn holds(&self, of: Stream, received: Timestamp) -> bool {
        match self {
            Self::Device { quarter, .. } => of == Stream::Device && *quarter == Quarter::of(received),
            Self::Stream { stream, year } => of == *stream && *year == received.day().year(),
        }
    }

    /// The first moment that no entry of it can have.
    pub fn end(&self) -> Timestamp {
        match self {
            Self::Device { quarter, .. } => quarter.end(),
            Self::Stream { year, .. } => year
                .checked_add(1)
                .and_then(|year| DayLabel::first_of(year, 1))
                .map_or(Timestamp(u64::MAX), DayLabel::start_utc),
        }
    }

    /// Whether an erasure may name it: streams 1 to 3 never, and stream 4 not as a whole, since the tombstones lie there.
    pub fn is_erasable(&self) -> bool {
        matches!(self, Self::Device { .. })
    }

    /// `stream(1) ‖ instance(16), zeros for a stream ‖ year(2, BE) ‖ quarter(1), 0 for a stream`.
    pub fn encode(&self) -> [u8; SCOPE_BYTES] {
        let (stream, instance, year, quarter) = match self {
            Self::Device { instance, quarter } => {
                (Stream::Device, *instance.as_bytes(), quarter.year, quarter.number)
            }
            Self::Stream { stream, year } => (*stream, [0; 16], *year, 0),
        };
        let mut out = [0; SCOPE_BYTES];
        let year = year.to_be_bytes();
        let parts = [stream.number()].into_iter().chain(instance).chain(year).chain([quarter]);
        for (byte, value) in out.iter_mut().zip(parts) {
            *byte = value;
        }
        out
    }

    /// Reads what [`Scope::encode`] wrote.
    pub fn parse(bytes: &[u8; SCOPE_BYTES]) -> Option<Self> {
        let (stream, rest) = bytes.split_first()?;
        let (instance, rest) = rest.split_first_chunk::<16>()?;
        let (year, rest) = rest.split_first_chunk::<2>()?;
        let (quarter, _) = rest.split_first()?;
        let year = u16::from_be_bytes(*year);
        let scope = match Stream::from_number(*stream)? {
            Stream::Device => Self::Device {
                instance: InstanceId::from_bytes(*instance),
                quarter: Quarter::new(year, *quarter)?,
            },
            stream => Self::Stream { stream, year: (1970..=9999).contains(&year).then_some(year)? },
        };
        (scope.encode() == *bytes).then_some(scope)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device { instance, quarter } => write!(f, "{instance} {quarter}"),
            Self::Stream { stream, year } => write!(f, "{} {year}", stream.name()),
        }
    }
}

/// Why a tombstone or a hold was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ErasureError {
    /// An instance that was never enrolled.
    #[error("instance {0} was never enrolled")]
    Instance(InstanceId),
    /// A device that was never enrolled.
    #[error("device {0} was never enrolled")]
    Device(DeviceId),
    /// Entries may still come to this scope.
    #[error("{0} is not over: nothing of it can be erased yet")]
    NotOver(Scope),
    /// Two tombstones for one scope.
    #[error("{scope} was erased by entry {tombstone}")]
    Again {
        /// The scope.
        scope: Scope,
        /// Index of the tombstone.
        tombstone: u64,
    },
    /// Entries that come after it.
    #[error("a tombstone at {index} cannot be about the entries below {up_to}")]
    UpTo {
        /// Its index.
        index: u64,
        /// What it says.
        up_to: u64,
    },
    /// Somebody has it held.
    #[error("hold {hold} (entry {index}) keeps the statements of {device}: an admin may release it")]
    Held {
        /// The hold.
        hold: Name,
        /// Index of its entry.
        index: u64,
        /// The device.
        device: DeviceId,
    },
    /// A hold's name is used once.
    #[error("there is or was a hold {0}: choose another name")]
    HoldAgain(Name),
    /// Nothing to release.
    #[error("no hold {0} is in force")]
    NoHold(Name),
}

/// A hold as logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedHold {
    /// Index of its entry.
    pub index: u64,
    /// The devices, ascending; none: every device.
    pub devices: Vec<DeviceId>,
    /// Index of the entry that released it.
    pub released: Option<u64>,
}

impl LoggedHold {
    /// Whether it keeps a device's statements now.
    pub fn keeps(&self, device: &DeviceId) -> bool {
        self.released.is_none() && (self.devices.is_empty() || self.devices.contains(device))
    }
}

/// Tombstones and holds as of some entry of stream 4.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Erasures {
    scopes: BTreeMap<Scope, u64>,
    holds: BTreeMap<Name, LoggedHold>,
}

impl Erasures {
    /// Scopes with the index of the tombstone that names each.
    pub fn scopes(&self) -> impl Iterator<Item = (&Scope, u64)> {
        self.scopes.iter().map(|(scope, tombstone)| (scope, *tombstone))
    }

    /// Index of the tombstone of a scope.
    pub fn of(&self, scope: &Scope) -> Option<u64> {
        self.scopes.get(scope).copied()
    }

    /// Every hold there ever was, by name.
    pub fn holds(&self) -> impl Iterator<Item = (&Name, &LoggedHold)> {
        self.holds.iter()
    }

    /// The hold that keeps a device's statements.
    pub fn held(&self, device: &DeviceId) -> Option<(&Name, &LoggedHold)> {
        self.holds.iter().find(|(_, hold)| hold.keeps(device))
    }

    /// Takes a tombstone. A refused one changes nothing.
    pub(crate) fn tombstone(
        &mut self,
        index: u64,
        received: Timestamp,
        act: &Tombstone,
        roster: &Roster,
    ) -> Result<(), ErasureError> {
        check_tombstone(index, received, act, roster)?;
        for scope in &act.scopes {
            if let Some(tombstone) = self.scopes.get(scope) {
                return Err(ErasureError::Again { scope: *scope, tombstone: *tombstone });
            }
            let Scope::Device { instance, .. } = scope else { continue };
            let device = roster.instance(instance).map(|record| record.device);
            if let Some((device, (hold, logged))) =
                device.and_then(|device| self.held(&device).map(|held| (device, held)))
            {
                return Err(ErasureError::Held { hold: hold.clone(), index: logged.index, device });
            }
        }
        self.scopes.extend(act.scopes.iter().map(|scope| (*scope, index)));
        Ok(())
    }

    /// Takes the beginning or the end of a hold. A refused one changes nothing.
    pub(crate) fn hold(&mut self, index: u64, act: &Hold, roster: &Roster) -> Result<(), ErasureError> {
        if let Some(device) = act.devices.iter().find(|device| roster.device(device).is_none()) {
            return Err(ErasureError::Device(*device));
        }
        if act.holds {
            if self.holds.contains_key(&act.hold) {
                return Err(ErasureError::HoldAgain(act.hold.clone()));
            }
            let hold = LoggedHold { index, devices: act.devices.clone(), released: None };
            self.holds.insert(act.hold.clone(), hold);
            return Ok(());
        }
        match self.holds.get_mut(&act.hold).filter(|hold| hold.released.is_none()) {
            Some(hold) => {
                hold.released = Some(index);
                Ok(())
            }
            None => Err(ErasureError::NoHold(act.hold.clone())),
        }
    }
}

/// What can be said of a tombstone by itself: a verifier of a set has streams 1 to 3 and not the others.
pub fn check_tombstone(
    index: u64,
    received: Timestamp,
    act: &Tombstone,
    roster: &Roster,
) -> Result<(), ErasureError> {
    if act.up_to > index {
        return Err(ErasureError::UpTo { index, up_to: act.up_to });
    }
    for scope in &act.scopes {
        if scope.end() > received {
            return Err(ErasureError::NotOver(*scope));
        }
        let Scope::Device { instance, .. } = scope else { return Err(ErasureError::NotOver(*scope)) };
        if roster.instance(instance).is_none() {
            return Err(ErasureError::Instance(*instance));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
