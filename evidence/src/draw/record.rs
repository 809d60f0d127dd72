//! The record of one draw, as the set and the draw entry's hash hold it.

use crate::ids::{Digest, Name};
use crate::json::{self, Value};

use super::{Draw, Drawn, Method, Population, Seed};

/// The content of `draw/<control>.json`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrawRecord {
    /// What the population is about.
    pub control: Name,
    /// How it was ordered.
    pub method: Method,
    /// Units in the population.
    pub count: u64,
    /// SHA-256 of the population file.
    pub population_sha256: Digest,
    /// The seed, whose decimal form the sampler took.
    pub seed: Seed,
    /// The outcome.
    pub draw: Draw,
}

impl DrawRecord {
    /// Draws from the population as a plan says.
    pub fn of(
        control: Name,
        method: Method,
        population: &Population,
        seed: Seed,
        sample_size: u64,
        reserves: u64,
    ) -> Self {
        let draw = Draw::of(method, &seed.decimal(), population, sample_size, reserves);
        let (count, population_sha256) = (population.count(), population.sha256());
        Self { control, method, count, population_sha256, seed, draw }
    }

    /// The bytes of the file: canonical JSON without a final line feed.
    pub fn bytes(&self) -> Vec<u8> {
        json::object([
            ("control", json::text(self.control.as_str())),
            ("count", json::count(self.count)),
            ("first_not_taken", list(self.draw.first_not_taken.as_slice())),
            ("method", json::text(self.method.as_str())),
            ("population_sha256", json::hex(&self.population_sha256)),
            ("reserves", list(&self.draw.reserves)),
            ("seed", json::hex(&self.seed.digest())),
            ("seed_dec", json::text(self.seed.decimal())),
            ("selected", list(&self.draw.selected)),
        ])
        .to_bytes()
    }

    /// SHA-256 of the file, which the draw entry names.
    pub fn sha256(&self) -> Digest {
        Digest::of(&self.bytes())
    }
}

fn list(drawn: &[Drawn]) -> Value {
    let member = |drawn: &Drawn| {
        json::object([("ticket", json::text(&drawn.ticket)), ("unit", json::text(&drawn.unit))])
    };
    Value::Array(drawn.iter().map(member).collect())
}
