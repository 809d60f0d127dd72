//! Attribute sampling: how many units to test, and what a tested sample supports.
//!
//! Every decision compares exact integers. Published tables depend on it: a binary fraction rounds
//! 3.5 % of 400 up to 15 expected deviations instead of 14 and so misses a table's cell.
//! In scope: sample sizes and upper limits, binomial and hypergeometric, for one population.
//! Not in scope: pooling over controls or strata, two-sided intervals, and any conclusion.

mod binomial;
mod hypergeometric;
mod limit;
mod size;

pub use binomial::binomial_cdf_at_most;
pub use hypergeometric::hypergeometric_cdf_at_most;
pub use limit::{UpperLimit, supports, upper_limit, upper_limit_finite};
pub use size::{SampleSize, plan_attribute, plan_hypergeometric, tolerable_units};

/// Largest sample that is planned or evaluated, in units: an exact decision at this size still takes
/// well under a second, and the largest cell of the published tables is 1,936.
pub const SAMPLE_SIZE_MAX: u64 = 10_000;

/// Largest population of the hypergeometric functions, in units: products of two counts fit 64 bits.
pub const POPULATION_MAX: u64 = 1_000_000_000;

/// The whole in basis points.
pub const WHOLE_BP: u32 = 10_000;

/// Why a number could not be computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StatsError {
    /// A ratio outside 0 to 1, or with a denominator of 0.
    #[error("{numerator}/{denominator} is not a ratio between 0 and 1")]
    NotARatio {
        /// As given.
        numerator: u64,
        /// As given.
        denominator: u64,
    },
    /// A risk or tolerable rate of 0 % or of 100 % and more decides nothing.
    #[error("the {what} must lie above 0% and below 100%, and is {basis_points} basis points")]
    RateOutOfRange {
        /// Which rate.
        what: &'static str,
        /// As given.
        basis_points: u32,
    },
    /// Nobody can show a rate to be tolerable by expecting that rate.
    #[error(
        "the expected rate ({expected_bp} basis points) must lie below the tolerable one ({tolerable_bp})"
    )]
    ExpectedNotBelowTolerable {
        /// As given.
        expected_bp: u32,
        /// As given.
        tolerable_bp: u32,
    },
    /// More deviations than tested units.
    #[error("{deviations} deviations in a sample of {sample}: there cannot be more deviations than units")]
    MoreDeviationsThanUnits {
        /// Units tested.
        sample: u64,
        /// Deviations among them.
        deviations: u64,
    },
    /// A sample above [`SAMPLE_SIZE_MAX`].
    #[error("a sample of {sample} units is larger than {SAMPLE_SIZE_MAX}, the largest that is computed")]
    SampleTooLarge {
        /// As given.
        sample: u64,
    },
    /// A sample that the population does not hold.
    #[error("a sample of {sample} units cannot come from a population of {population}")]
    SampleAbovePopulation {
        /// As given.
        sample: u64,
        /// As given.
        population: u64,
    },
    /// A population of 0, or above [`POPULATION_MAX`].
    #[error("a population must have 1 to {POPULATION_MAX} units, and has {population}")]
    PopulationOutOfRange {
        /// As given.
        population: u64,
    },
    /// No sample size meets the plan.
    #[error(
        "no sample of up to {tried_max} units meets this risk: expect a lower rate, tolerate a higher one, \
         or test every unit"
    )]
    NoSampleSize {
        /// The largest size that was tried.
        tried_max: u64,
    },
}

/// An exact ratio between 0 and 1, in lowest terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ratio {
    numerator: u64,
    denominator: u64,
}

impl Ratio {
    /// `numerator / denominator`; refused when above 1 or when the denominator is 0.
    pub fn new(numerator: u64, denominator: u64) -> Result<Self, StatsError> {
        if denominator == 0 || numerator > denominator {
            return Err(StatsError::NotARatio { numerator, denominator });
        }
        let divisor = greatest_common_divisor(numerator, denominator);
        Ok(Self { numerator: numerator / divisor, denominator: denominator / divisor })
    }

    /// The ratio of so many basis points (hundredths of a percent); refused above 10,000.
    pub fn from_basis_points(basis_points: u32) -> Result<Self, StatsError> {
        Self::new(u64::from(basis_points), u64::from(WHOLE_BP))
    }

    /// The part above the fraction bar.
    pub fn numerator(self) -> u64 {
        self.numerator
    }

    /// The part below the fraction bar, never 0.
    pub fn denominator(self) -> u64 {
        self.denominator
    }

    /// 1 minus the numerator's share, over the same denominator.
    fn complement_numerator(self) -> u64 {
        self.denominator - self.numerator
    }
}

/// Euclid's algorithm; the result is 0 only for (0, 0), which [`Ratio::new`] excludes.
fn greatest_common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// A risk or tolerable rate: above 0 and below 1.
fn inner_ratio(what: &'static str, basis_points: u32) -> Result<Ratio, StatsError> {
    if basis_points == 0 || basis_points >= WHOLE_BP {
        return Err(StatsError::RateOutOfRange { what, basis_points });
    }
    Ratio::from_basis_points(basis_points)
}

/// Checks that the sample is computable and holds its deviations; the exponents of the exact forms
/// are the returned (sample, deviations).
fn checked_sample(sample: u64, deviations: u64) -> Result<(u32, u32), StatsError> {
    if deviations > sample {
        return Err(StatsError::MoreDeviationsThanUnits { sample, deviations });
    }
    if sample > SAMPLE_SIZE_MAX {
        return Err(StatsError::SampleTooLarge { sample });
    }
    let narrow = |count: u64| u32::try_from(count).map_err(|_| StatsError::SampleTooLarge { sample });
    Ok((narrow(sample)?, narrow(deviations)?))
}

/// Checks that the population is computable and holds the sample.
fn checked_population(population: u64, sample: u64) -> Result<(), StatsError> {
    if population == 0 || population > POPULATION_MAX {
        return Err(StatsError::PopulationOutOfRange { population });
    }
    if sample > population {
        return Err(StatsError::SampleAbovePopulation { sample, population });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
