//! How many units to test.

use num_bigint::BigUint;

use super::{Ratio, SAMPLE_SIZE_MAX, StatsError, WHOLE_BP, checked_population, inner_ratio};

/// A planned sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SampleSize {
    /// Units to test.
    pub n: u64,
    /// Most deviations in it with which the planned risk still holds.
    pub acceptance: u64,
}

/// The first n with P(X ≤ ⌈expected · n⌉ | n, tolerable) ≤ risk, X binomial; rates in basis points.
///
/// That is the convention of the AICPA Audit Guide's tables. Fails with
/// [`StatsError::NoSampleSize`] when no n up to `n_max` (itself at most [`SAMPLE_SIZE_MAX`]) does.
pub fn plan_attribute(
    risk_bp: u32,
    tolerable_bp: u32,
    expected_bp: u32,
    n_max: u64,
) -> Result<SampleSize, StatsError> {
    let (risk, rate) = checked_plan(risk_bp, tolerable_bp, expected_bp)?;
    first_size(Urn::Endless { rate }, risk, expected_bp, n_max)
}

/// As [`plan_attribute`] for a population of known size, X hypergeometric with
/// [`tolerable_units`] deviating units.
///
/// The size does not grow evenly with the population, because the tolerable units are whole:
/// 100 units need 37 and 130 need 36 at 10 % risk, 5 % tolerable and none expected.
pub fn plan_hypergeometric(
    population: u64,
    risk_bp: u32,
    tolerable_bp: u32,
    expected_bp: u32,
    n_max: u64,
) -> Result<SampleSize, StatsError> {
    let (risk, _) = checked_plan(risk_bp, tolerable_bp, expected_bp)?;
    let deviating = tolerable_units(population, tolerable_bp)?;
    let urn = Urn::Finite { conforming: population - deviating, deviating };
    first_size(urn, risk, expected_bp, n_max.min(population))
}

/// The fewest deviating units that are at or above the tolerable rate: ⌈tolerable · population⌉.
pub fn tolerable_units(population: u64, tolerable_bp: u32) -> Result<u64, StatsError> {
    checked_population(population, 0)?;
    inner_ratio("tolerable rate", tolerable_bp)?;
    Ok(expected_deviations(tolerable_bp, population))
}

/// The rates of a plan as ratios (risk, tolerable).
fn checked_plan(risk_bp: u32, tolerable_bp: u32, expected_bp: u32) -> Result<(Ratio, Ratio), StatsError> {
    let risk = inner_ratio("risk", risk_bp)?;
    let tolerable = inner_ratio("tolerable rate", tolerable_bp)?;
    if expected_bp >= tolerable_bp {
        return Err(StatsError::ExpectedNotBelowTolerable { expected_bp, tolerable_bp });
    }
    Ok((risk, tolerable))
}

/// ⌈rate · count⌉ for counts up to [`super::POPULATION_MAX`].
fn expected_deviations(rate_bp: u32, count: u64) -> u64 {
    (u64::from(rate_bp) * count).div_ceil(u64::from(WHOLE_BP))
}

/// What units are drawn from, one after the other.
#[derive(Clone, Copy)]
enum Urn {
    /// Each draw deviates with the same rate.
    Endless { rate: Ratio },
    /// Units leave the urn when drawn.
    Finite { conforming: u64, deviating: u64 },
}

impl Urn {
    /// Weights of drawing (a deviating, a conforming) unit after `k` and `n - k` of them were drawn.
    fn weights(self, n: u64, k: u64) -> (u64, u64) {
        match self {
            Self::Endless { rate } => (rate.numerator(), rate.complement_numerator()),
            Self::Finite { conforming, deviating } => {
                (deviating.saturating_sub(k), conforming.saturating_sub(n - k))
            }
        }
    }
}

/// The weight of all ways to draw n units in order, of those with at most k deviations among them,
/// and of those with exactly k. P(X ≤ k | n) is `at_most / all`.
struct Draws {
    n: u64,
    k: u64,
    all: BigUint,
    at_most: BigUint,
    exactly: BigUint,
}

impl Draws {
    /// Nothing drawn, in the one way there is.
    fn none() -> Self {
        let one = || BigUint::from(1_u32);
        Self { n: 0, k: 0, all: one(), at_most: one(), exactly: one() }
    }

    /// Draws one unit more and, when `k_next` is k + 1, allows one deviation more.
    ///
    /// Of the ways with at most k, those leave that had exactly k and draw a deviation. Exactly k of
    /// n + 1 are C(n+1,k) / C(n,k) = (n+1) / (n+1−k) times as many arrangements as of n, and exactly
    /// k + 1 are (n+1) / (k+1) times as many: all divisions are exact.
    fn step(&mut self, urn: Urn, k_next: u64) {
        let (deviating, conforming) = urn.weights(self.n, self.k);
        self.all *= deviating + conforming;
        self.at_most *= deviating + conforming;
        self.at_most -= &self.exactly * deviating;
        self.n += 1;
        if k_next > self.k {
            self.k += 1;
            self.exactly *= deviating * self.n;
            self.exactly /= self.k;
            self.at_most += &self.exactly;
        } else {
            self.exactly *= conforming * self.n;
            self.exactly /= self.n - self.k;
        }
    }
}

/// The first n in 1..=`n_max` with P(X ≤ ⌈expected · n⌉) ≤ risk. As `expected` lies below 100 %, the
/// deviations allowed grow by at most one a unit.
fn first_size(urn: Urn, risk: Ratio, expected_bp: u32, n_max: u64) -> Result<SampleSize, StatsError> {
    let n_max = n_max.min(SAMPLE_SIZE_MAX);
    let mut draws = Draws::none();
    while draws.n < n_max {
        draws.step(urn, expected_deviations(expected_bp, draws.n + 1));
        if &draws.at_most * risk.denominator() <= &draws.all * risk.numerator() {
            return Ok(SampleSize { n: draws.n, acceptance: draws.k });
        }
    }
    Err(StatsError::NoSampleSize { tried_max: n_max })
}
