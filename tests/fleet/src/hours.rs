//! When a device is on, and which spells befall it. Minutes since 1970, UTC.

use crate::machine::Hours;
use crate::seeded::{Seeded, fixed};
use crate::updates::DAY;

/// Days looked ahead for the next working day: longer than every absence.
const AHEAD_DAYS: u64 = 60;
/// Days of an absence, and of the stretch of days that has one in its midst.
const ABSENCE_DAYS: u64 = 10;
const STRETCH_DAYS: u64 = 150;

/// When one device is on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Calendar {
    hours: Hours,
    seed: u64,
    /// Minutes its day begins before that of UTC; 12 hours are added so that none is negative.
    ahead: u64,
}

impl Calendar {
    /// The calendar of a device.
    pub(crate) fn new(hours: Hours, seed: u64, device: u64) -> Self {
        let ahead = fixed([seed, device, 21]) % 18 * 60;
        Self { hours, seed: fixed([seed, device, 22]), ahead }
    }

    /// The first minute from `minute` on in which the device is on.
    pub(crate) fn on_from(&self, minute: u64) -> u64 {
        if self.hours == Hours::Always {
            return minute;
        }
        let today = (minute + self.ahead) / DAY;
        let day = (today..today + AHEAD_DAYS).find_map(|day| {
            let (on, off) = self.working_hours(day)?;
            (minute < off).then_some(on.max(minute))
        });
        day.unwrap_or(minute)
    }

    /// From when to when it is on at a day of its own; none on days off.
    fn working_hours(&self, day: u64) -> Option<(u64, u64)> {
        let number = |what| fixed([self.seed, day, what]);
        // 1970-01-01 was a Thursday.
        let is_weekend = matches!((day + 3) % 7, 5 | 6);
        let in_stretch = (day + self.seed % STRETCH_DAYS) % STRETCH_DAYS;
        let is_off = if is_weekend { number(31) % 10 != 0 } else { number(31) % 40 == 0 };
        if is_off || in_stretch < ABSENCE_DAYS {
            return None;
        }
        let midnight = (day * DAY).checked_sub(self.ahead)?;
        let begins = 7 * 60 + number(32) % 180;
        let ends = 16 * 60 + number(33) % 240;
        Some((midnight + begins, midnight + ends))
    }
}

/// Something that lasts from a minute to another, and comes again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spells {
    /// First minute of the present or next one.
    pub(crate) from: u64,
    /// The minute after its last.
    pub(crate) to: u64,
    /// Minutes between two, on average.
    every: u64,
    /// Longest, minutes.
    most: u64,
}

impl Spells {
    /// Spells of at most `most` minutes, one in about `every` minutes, from minute `after` on.
    pub(crate) fn new(seeded: &mut Seeded, after: u64, every: u64, most: u64) -> Self {
        let mut spells = Self { from: 0, to: after, every, most };
        spells.draw(seeded);
        // The first lies anywhere, so that devices do not begin in step.
        let earlier = seeded.between(0, spells.from - after);
        spells.from -= earlier;
        spells.to -= earlier;
        spells
    }

    fn draw(&mut self, seeded: &mut Seeded) {
        self.from = self.to + seeded.between(self.every / 4, self.every * 7 / 4);
        self.to = self.from + seeded.between(self.most / 20 + 1, self.most);
    }

    /// Whether `minute` lies in one; forgets those that are over.
    pub(crate) fn holds(&mut self, minute: u64, seeded: &mut Seeded) -> bool {
        while self.to <= minute {
            self.draw(seeded);
        }
        self.from <= minute
    }
}

#[cfg(test)]
mod tests;
