//! The binomial distribution, compared exactly.

use num_bigint::BigUint;

use super::{Ratio, StatsError, checked_sample};

/// Whether P(X ≤ `deviations`) ≤ `risk`, X being the deviations in a sample of `sample` units of an
/// endless population in which the share `rate` deviates.
pub fn binomial_cdf_at_most(
    deviations: u64,
    sample: u64,
    rate: Ratio,
    risk: Ratio,
) -> Result<bool, StatsError> {
    let (n, k) = checked_sample(sample, deviations)?;
    Ok(cdf_at_most(k, n, rate, risk))
}

/// [`binomial_cdf_at_most`] for k ≤ n.
///
/// With rate a/b and c = b − a, P = Σ C(n,i) aⁱ cⁿ⁻ⁱ / bⁿ for i = 0..k. The common factor cⁿ⁻ᵏ is taken
/// out and the rest is summed by Horner's rule, so that every step multiplies by one machine word.
pub(super) fn cdf_at_most(k: u32, n: u32, rate: Ratio, risk: Ratio) -> bool {
    if k >= n {
        return risk.numerator() >= risk.denominator();
    }
    let a = rate.numerator();
    let c = rate.complement_numerator();
    let mut term = BigUint::from(1_u32); // C(n,i) aⁱ
    let mut sum = BigUint::from(1_u32); // Σ over j ≤ i of C(n,j) aʲ cⁱ⁻ʲ
    for i in 1..=k {
        term *= a;
        term *= n - i + 1;
        term /= i;
        sum *= c;
        sum += &term;
    }
    let share = sum * BigUint::from(c).pow(n - k) * risk.denominator();
    let allowed = BigUint::from(rate.denominator()).pow(n) * risk.numerator();
    share <= allowed
}
