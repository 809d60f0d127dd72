//! Time as values: milliseconds since 1970 in UTC, and calendar days. Nothing here reads a clock.

use std::fmt;
use std::str::FromStr;

use crate::ids::IdError;

/// Milliseconds in a day.
pub const DAY_MS: u64 = 86_400_000;
/// Milliseconds in a minute.
pub const MINUTE_MS: u64 = 60_000;
/// 9999-12-31 in days since 1970: the last day four digits can name.
const LAST_DAY: u64 = 2_932_896;

/// Milliseconds since 1970-01-01T00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Milliseconds since 1970.
    pub const fn ms(self) -> u64 {
        self.0
    }

    /// Whole minutes since 1970.
    pub const fn minutes(self) -> u64 {
        self.0 / MINUTE_MS
    }

    /// The UTC calendar day this lies in.
    pub fn day(self) -> DayLabel {
        DayLabel::from_days_since_1970(self.0 / DAY_MS)
    }

    /// `YYYY-MM-DDThh:mm:ss.mmmZ`, for people.
    pub fn rfc3339(self) -> String {
        let rest = self.0 % DAY_MS;
        let (h, m, s, ms) = (rest / 3_600_000, rest / MINUTE_MS % 60, rest / 1000 % 60, rest % 1000);
        format!("{}T{h:02}:{m:02}:{s:02}.{ms:03}Z", self.day())
    }
}

/// Where a program gets the time from. One implementation reads the system's clock, in each program.
pub trait Clock: Send + Sync {
    /// Now, by this clock. It may step; callers decide what that means.
    fn now(&self) -> Timestamp;
}

/// A calendar day `YYYY-MM-DD`, years 1970 to 9999.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DayLabel {
    year: u16,
    month: u8,
    day: u8,
}

impl DayLabel {
    /// The day `days` after 1970-01-01 (proleptic Gregorian calendar; H. Hinnant's civil_from_days). Every later
    /// day is 9999-12-31, so that a label always has the form it can be read back from.
    pub fn from_days_since_1970(days: u64) -> Self {
        let z = days.min(LAST_DAY) + 719_468;
        let era = z / 146_097;
        let doe = z % 146_097;
        let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
        let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
        let mp = (5 * doy + 2) / 153;
        let day = doy - (153 * mp + 2) / 5 + 1;
        let month = if mp < 10 { mp + 3 } else { mp - 9 };
        let year = yoe + era * 400 + u64::from(month <= 2);
        Self {
            year: u16::try_from(year).unwrap_or(u16::MAX),
            month: u8::try_from(month).unwrap_or(u8::MAX),
            day: u8::try_from(day).unwrap_or(u8::MAX),
        }
    }

    /// Days since 1970-01-01.
    pub fn days_since_1970(self) -> u64 {
        let year = u64::from(self.year) - u64::from(self.month <= 2);
        let era = year / 400;
        let yoe = year % 400;
        let month = u64::from(self.month);
        let mp = if month > 2 { month - 3 } else { month + 9 };
        let doy = (153 * mp + 2) / 5 + u64::from(self.day) - 1;
        let doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
        era * 146_097 + doe - 719_468
    }

    /// The year, 1970 to 9999.
    pub const fn year(self) -> u16 {
        self.year
    }

    /// The month, 1 to 12.
    pub const fn month(self) -> u8 {
        self.month
    }

    /// The first day of a month; none outside the calendar's years or months.
    pub fn first_of(year: u16, month: u8) -> Option<Self> {
        let known = (1970..=9999).contains(&year) && (1..=12).contains(&month);
        known.then_some(Self { year, month, day: 1 })
    }

    /// The first millisecond of this day in UTC.
    pub fn start_utc(self) -> Timestamp {
        Timestamp(self.days_since_1970() * DAY_MS)
    }
}

impl fmt::Display for DayLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

impl fmt::Debug for DayLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for DayLabel {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let form = IdError::Form { what: "day", expected: "a calendar day YYYY-MM-DD from 1970 to 9999" };
        let bytes = text.as_bytes();
        let shape = bytes.len() == 10
            && bytes
                .iter()
                .enumerate()
                .all(|(i, b)| if i == 4 || i == 7 { *b == b'-' } else { b.is_ascii_digit() });
        if !shape {
            return Err(form);
        }
        let number = |part: Option<&str>| part.and_then(|p| p.parse::<u16>().ok());
        let mut parts = text.split('-');
        let (Some(year), Some(month), Some(day)) =
            (number(parts.next()), number(parts.next()), number(parts.next()))
        else {
            return Err(form);
        };
        let (Ok(month), Ok(day)) = (u8::try_from(month), u8::try_from(day)) else {
            return Err(form);
        };
        if year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
            return Err(form);
        }
        let label = Self { year, month, day };
        // A day that does not exist (31 June) comes back as another one.
        if Self::from_days_since_1970(label.days_since_1970()) == label { Ok(label) } else { Err(form) }
    }
}

#[cfg(test)]
mod tests;
