//! What is erased together: one data key seals the payloads of one scope, and goes as a whole. docs/FORMAT.md
//! sections 5 and 8.

use std::fmt;
use std::str::FromStr;

use crate::ids::{IdError, InstanceId};
use crate::leaf::Stream;
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

    /// Whether an erasure may name it: streams 1 to 3 are never erased.
    pub fn is_erasable(&self) -> bool {
        matches!(self, Self::Device { .. } | Self::Stream { stream: Stream::Operations, .. })
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

#[cfg(test)]
mod tests;
