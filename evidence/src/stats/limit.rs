//! What a tested sample supports.

use super::{Ratio, StatsError, binomial, checked_population, checked_sample, hypergeometric, inner_ratio};

/// Tenths of a percent in the whole.
const WHOLE_TENTHS: u64 = 1_000;

/// Decimals of [`UpperLimit::percent`]: with three digits before them they still fit a double exactly.
const PERCENT_DECIMALS: u32 = 12;

/// The one-sided upper limit of Clopper and Pearson for the rate of deviations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpperLimit {
    n: u32,
    k: u32,
    risk: Ratio,
    tenths: u64,
}

impl UpperLimit {
    /// The limit in tenths of a percent, rounded up, 0 to 1,000.
    pub fn tenths_of_percent(&self) -> u64 {
        self.tenths
    }

    /// The limit in percent, rounded up to one decimal, as the published tables print it: `10.2`.
    pub fn printed(&self) -> String {
        format!("{}.{}", self.tenths / 10, self.tenths % 10)
    }

    /// The limit in percent with 12 decimals, rounded up in the last, found by exact bisection.
    pub fn percent(&self) -> String {
        let mut limit = self.tenths;
        let mut whole = WHOLE_TENTHS;
        for _ in 1..PERCENT_DECIMALS {
            // The limit rounded up to one digit more lies in the last ten steps below this one.
            whole *= 10;
            limit = smallest(limit.saturating_sub(1) * 10, limit * 10, |i| self.excludes(i, whole));
        }
        let one_percent = whole / 100;
        let decimals = PERCENT_DECIMALS as usize;
        format!("{}.{:0decimals$}", limit / one_percent, limit % one_percent)
    }

    /// Whether a rate of `numerator / denominator` is too high to be likely; rates of 1 always are,
    /// as the limit never lies above 100 %.
    fn excludes(&self, numerator: u64, denominator: u64) -> bool {
        match Ratio::new(numerator, denominator) {
            Ok(rate) => numerator == denominator || binomial::cdf_at_most(self.k, self.n, rate, self.risk),
            Err(_) => true,
        }
    }
}

/// The upper limit for `deviations` in a sample of `sample` units at `risk_bp` basis points; 100 %
/// when every unit deviates or when there is none.
pub fn upper_limit(sample: u64, deviations: u64, risk_bp: u32) -> Result<UpperLimit, StatsError> {
    let (n, k) = checked_sample(sample, deviations)?;
    let risk = inner_ratio("risk", risk_bp)?;
    let unknown = UpperLimit { n, k, risk, tenths: WHOLE_TENTHS };
    let tenths = smallest(0, WHOLE_TENTHS, |i| unknown.excludes(i, WHOLE_TENTHS));
    Ok(UpperLimit { tenths, ..unknown })
}

/// The most deviating units that a population may hold in view of the sample: the largest D with
/// P(X ≤ `deviations` | D) > risk, X hypergeometric.
pub fn upper_limit_finite(
    population: u64,
    sample: u64,
    deviations: u64,
    risk_bp: u32,
) -> Result<u64, StatsError> {
    checked_sample(sample, deviations)?;
    checked_population(population, sample)?;
    let risk = inner_ratio("risk", risk_bp)?;
    let all = hypergeometric::falling_factorial(population, sample);
    // Beyond `highest` the sample would hold fewer conforming units than were seen.
    let highest = population - (sample - deviations);
    let first_excluded = smallest(deviations, highest + 1, |deviating| {
        let conforming = population.saturating_sub(deviating);
        deviating > highest
            || hypergeometric::cdf_at_most(deviations, deviating, conforming, sample, &all, risk)
    });
    // A population with exactly the seen deviations is never excluded: its P is 1.
    Ok(first_excluded.saturating_sub(1).max(deviations))
}

/// Whether the sample supports that the rate is at most `tolerable_bp`, at `risk_bp`:
/// P(X ≤ `deviations` | `sample`, tolerable) ≤ risk. An empty sample supports nothing.
pub fn supports(sample: u64, deviations: u64, tolerable_bp: u32, risk_bp: u32) -> Result<bool, StatsError> {
    let (n, k) = checked_sample(sample, deviations)?;
    let tolerable = inner_ratio("tolerable rate", tolerable_bp)?;
    let risk = inner_ratio("risk", risk_bp)?;
    Ok(binomial::cdf_at_most(k, n, tolerable, risk))
}

/// The smallest i in `low..=high` for which `holds`, which must stay true once it is and be true at `high`.
fn smallest(mut low: u64, mut high: u64, holds: impl Fn(u64) -> bool) -> u64 {
    while low < high {
        let middle = low.midpoint(high);
        if holds(middle) { high = middle } else { low = middle + 1 }
    }
    high
}
