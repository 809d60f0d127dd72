//! The two samplers, both by Ronald Rivest: a seed puts units in an order that nobody could foresee.

use std::collections::{BinaryHeap, HashSet};
use std::num::NonZeroU64;

use data_encoding::HEXLOWER;
use num_bigint::BigUint;
use sha2::{Digest as _, Sha256};

use super::{Method, Population};

/// Fewest digits of a ticket after its point; consistent_sampler pads to as many.
const TICKET_DIGITS_MIN: usize = 64;

/// A unit with the number that put it where it is in the order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Drawn {
    /// `consistent`: a decimal fraction, compared as text. `rivest2011`: the decimal number of the pick.
    pub ticket: String,
    /// The unit.
    pub unit: String,
}

/// The outcome of a draw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draw {
    /// The sample, in order.
    pub selected: Vec<Drawn>,
    /// Who replaces, in order.
    pub reserves: Vec<Drawn>,
    /// The unit after those, which shows where the draw was cut; none when all units are taken.
    pub first_not_taken: Option<Drawn>,
}

impl Draw {
    /// Draws `sample_size` units and `reserves` more, or as many as there are.
    ///
    /// `seed` is text and is used as it stands; a plan's draw takes [`super::Seed::decimal`].
    pub fn of(method: Method, seed: &str, population: &Population, sample_size: u64, reserves: u64) -> Self {
        let capped = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        let taken = capped(sample_size).saturating_add(capped(reserves));
        let wanted = taken.saturating_add(1);
        let mut order = match method {
            Method::Consistent => consistent(seed, population.units(), wanted),
            Method::Rivest2011 => {
                let rows: Vec<&str> = population.units().collect();
                rivest2011(seed, &rows, wanted)
            }
        };
        let first_not_taken = if order.len() > taken { order.pop() } else { None };
        let reserves = order.split_off(capped(sample_size).min(order.len()));
        Self { selected: order, reserves, first_not_taken }
    }
}

/// The first `take` units, or all, in the order of consistent_sampler 1.0.10 with text ids and without
/// replacement.
///
/// Units must be unique. A unit's ticket depends on the seed and on the unit alone, so the order of
/// `units` does not matter, and leaving a unit out moves no other before or behind another.
pub fn consistent<'a>(seed: &str, units: impl IntoIterator<Item = &'a str>, take: usize) -> Vec<Drawn> {
    let hashed = HashedSeed::of(seed);
    // A bounded heap, whose top is the last of the first `take` so far: memory follows the sample.
    let mut first = BinaryHeap::new();
    for unit in units {
        let candidate = (hashed.ticket(unit), unit);
        if first.len() < take {
            first.push(candidate);
        } else if let Some(mut last) = first.peek_mut()
            && candidate < *last
        {
            *last = candidate;
        }
    }
    let sorted = first.into_sorted_vec();
    sorted.into_iter().map(|(ticket, unit)| Drawn { ticket, unit: unit.to_owned() }).collect()
}

/// The ticket that consistent_sampler gives `unit` under `seed` (its `first_fraction`).
pub fn ticket(seed: &str, unit: &str) -> String {
    HashedSeed::of(seed).ticket(unit)
}

/// SHA-256 that has taken in the hex hash of the seed, which is all that tickets use of it.
struct HashedSeed(Sha256);

impl HashedSeed {
    fn of(seed: &str) -> Self {
        Self(Sha256::new_with_prefix(HEXLOWER.encode(&Sha256::digest(seed))))
    }

    /// The digits of the hash read backwards: its leading digits are not evenly spread, its last ones are.
    fn ticket(&self, unit: &str) -> String {
        let hash = self.0.clone().chain_update(unit).finalize();
        let mut digits = BigUint::from_bytes_be(&hash).to_radix_le(10);
        digits.resize(digits.len().max(TICKET_DIGITS_MIN), 0);
        let fraction = digits.into_iter().map(|digit| char::from(b'0' + digit));
        ['0', '.'].into_iter().chain(fraction).collect()
    }
}

/// The first `take` units, or all, in the order of Rivest's sampler of 2011 without replacement.
///
/// Here the order of `units` matters: it picks rows by their number.
pub fn rivest2011(seed: &str, units: &[&str], take: usize) -> Vec<Drawn> {
    let take = take.min(units.len());
    let Some(count) = u64::try_from(units.len()).ok().and_then(NonZeroU64::new) else {
        return Vec::new();
    };
    let mut picked = HashSet::new();
    let fresh = rivest2011_rows(seed, count).filter(|(_, row)| picked.insert(*row));
    let drawn = fresh.filter_map(|(pick, row)| {
        let position = usize::try_from(row).ok()?.checked_sub(1)?;
        Some(Drawn { ticket: pick.to_string(), unit: (*units.get(position)?).to_owned() })
    });
    drawn.take(take).collect()
}

/// The endless picks of Rivest's sampler of 2011 with replacement: (number of the pick, row), both from 1.
pub fn rivest2011_rows(seed: &str, count: NonZeroU64) -> impl Iterator<Item = (u64, u64)> {
    let prefix = Sha256::new_with_prefix(seed).chain_update(",");
    (1..).map(move |pick: u64| {
        let hash = prefix.clone().chain_update(pick.to_string()).finalize();
        let remainder = BigUint::from_bytes_be(&hash) % count.get();
        (pick, 1 + remainder.iter_u64_digits().next().unwrap_or(0))
    })
}
