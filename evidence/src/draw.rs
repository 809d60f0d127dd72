//! The draw: from a frozen population and a secret revealed later to the units an auditor looks at.
//! docs/FORMAT.md section 10.
//!
//! Both methods are Ronald Rivest's and are published with their own programs, so that anybody can draw
//! again without anything of ours. In scope: seed, order, and the bytes of `draw/<control>.json`.
//! Not in scope: who fixes what when (the acts and their order), and fetching a beacon.

mod population;
mod record;
mod sampler;

pub use crate::plan::Method;
pub use population::{Population, PopulationError, UNIT_BYTES_MAX};
pub use record::DrawRecord;
pub use sampler::{Draw, Drawn, consistent, rivest2011, rivest2011_rows, ticket};

use num_bigint::BigUint;

use crate::ids::Digest;

/// Separates the auditor's commitment from every other hash.
const NONCE_PREFIX: &[u8] = b"evidence-draw/auditor-nonce/v1\0";

/// Separates the seed from every other hash.
const SEED_PREFIX: &[u8] = b"evidence-draw/seed/v1\0";

/// Decimal digits of the largest 256-bit number.
const SEED_DIGITS: usize = 78;

/// What the auditor publishes before the population is frozen, so that his nonce can not be chosen after it.
pub fn commitment(nonce: &[u8; 32]) -> Digest {
    Digest::of_parts(&[NONCE_PREFIX, nonce])
}

/// One round of a public randomness beacon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beacon {
    /// SHA-256 that names the beacon's chain.
    pub chain_hash: Digest,
    /// Number of the round.
    pub round: u64,
    /// What the beacon published in that round.
    pub randomness: [u8; 32],
}

/// The seed of the draw over one population.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seed(Digest);

impl Seed {
    /// The seed that follows from the plan, the frozen population of `count` units, the auditor's nonce and,
    /// when the plan names one, a beacon.
    pub fn of(
        plan_hash: &Digest,
        population_sha256: &Digest,
        count: u64,
        nonce: &[u8; 32],
        beacon: Option<&Beacon>,
    ) -> Self {
        let mut bytes = SEED_PREFIX.to_vec();
        push_hash(&mut bytes, plan_hash.as_bytes());
        push_hash(&mut bytes, population_sha256.as_bytes());
        bytes.extend_from_slice(&count.to_be_bytes());
        push_hash(&mut bytes, nonce);
        match beacon {
            Some(beacon) => {
                push_hash(&mut bytes, beacon.chain_hash.as_bytes());
                bytes.extend_from_slice(&beacon.round.to_be_bytes());
                push_hash(&mut bytes, &beacon.randomness);
            }
            // LP("") ‖ u64be(0) ‖ LP("")
            None => bytes.extend_from_slice(&[0; 16]),
        }
        Self(Digest::of(&bytes))
    }

    /// The 32 bytes.
    pub fn digest(&self) -> Digest {
        self.0
    }

    /// The seed as the samplers take it: 78 decimal digits, with leading zeros.
    pub fn decimal(&self) -> String {
        format!("{:0>SEED_DIGITS$}", BigUint::from_bytes_be(self.0.as_bytes()).to_string())
    }
}

/// LP(32 bytes): their length as u32be, then they.
fn push_hash(bytes: &mut Vec<u8>, hash: &[u8; 32]) {
    bytes.extend_from_slice(&32_u32.to_be_bytes());
    bytes.extend_from_slice(hash);
}

#[cfg(test)]
mod tests;
