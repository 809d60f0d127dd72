//! The hypergeometric distribution: drawing without replacement from a population of known size.

use num_bigint::BigUint;

use super::{Ratio, StatsError, checked_population, checked_sample};

/// Whether P(X ≤ `deviations`) ≤ `risk`, X being the deviations in a sample of `sample` units drawn
/// without replacement from `population` units of which `deviating` deviate.
pub fn hypergeometric_cdf_at_most(
    deviations: u64,
    population: u64,
    deviating: u64,
    sample: u64,
    risk: Ratio,
) -> Result<bool, StatsError> {
    checked_sample(sample, deviations)?;
    checked_population(population, sample)?;
    if deviating > population {
        return Err(StatsError::MoreDeviationsThanUnits { sample: population, deviations: deviating });
    }
    let all = falling_factorial(population, sample);
    Ok(cdf_at_most(deviations, deviating, population - deviating, sample, &all, risk))
}

/// [`hypergeometric_cdf_at_most`] for k ≤ n, M conforming units and `all`, the falling factorial of
/// the population to n.
///
/// With x⁽ⁱ⁾ = x (x−1) … (x−i+1), P = Σ C(n,i) D⁽ⁱ⁾ M⁽ⁿ⁻ⁱ⁾ / N⁽ⁿ⁾ for i = 0..k. M⁽ⁿ⁻ᵏ⁾ is taken out and the
/// rest summed by Horner's rule. A factor is 0 where the sample would need more conforming units than
/// there are, which drops exactly the impossible terms.
pub(super) fn cdf_at_most(
    k: u64,
    deviating: u64,
    conforming: u64,
    n: u64,
    all: &BigUint,
    risk: Ratio,
) -> bool {
    let mut term = BigUint::from(1_u32); // C(n,i) D⁽ⁱ⁾
    let mut sum = BigUint::from(1_u32); // Σ over j ≤ i of C(n,j) D⁽ʲ⁾ (M−n+j+1) … (M−n+i)
    for i in 1..=k {
        term *= (deviating + 1).saturating_sub(i) * (n + 1 - i);
        term /= i;
        sum *= (conforming + i).saturating_sub(n);
        sum += &term;
    }
    sum * falling_factorial(conforming, n - k) * risk.denominator() <= all * risk.numerator()
}

/// x (x−1) … with `count` factors; 0 when there are more factors than x. Halving keeps the factors of
/// each product of like length, for which long multiplication is fastest.
pub(super) fn falling_factorial(x: u64, count: u64) -> BigUint {
    match count {
        0 => BigUint::from(1_u32),
        1 => BigUint::from(x),
        _ => {
            let half = count / 2;
            falling_factorial(x, half) * falling_factorial(x.saturating_sub(half), count - half)
        }
    }
}
