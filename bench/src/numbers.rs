//! Medians and percentiles of small samples.

/// The value at `quantile` (0 to 1) by nearest rank; 0 of an empty sample.
pub fn quantile(sample: &[f64], quantile: f64) -> f64 {
    let mut sorted = sample.to_vec();
    sorted.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a rank between 1 and the length of a sample, which is far below 2^52"
    )]
    let rank = (quantile * sorted.len() as f64).ceil().max(1.0) as usize;
    sorted.get(rank - 1).copied().unwrap_or_default()
}

/// The median: half way between the middle two of an even number.
pub fn median(sample: &[f64]) -> f64 {
    let mut sorted = sample.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |place: usize| sorted.get(place).copied().unwrap_or_default();
    f64::midpoint(at(sorted.len().saturating_sub(1) / 2), at(sorted.len() / 2))
}

/// Smallest, median and largest, for a table.
pub fn spread(sample: &[f64]) -> (f64, f64, f64) {
    (quantile(sample, 0.0), median(sample), quantile(sample, 1.0))
}

/// A count as a number to calculate with.
#[expect(clippy::cast_precision_loss, reason = "counts of a run are far below 2^52")]
pub fn count(count: usize) -> f64 {
    count as f64
}

/// A number of bytes, statements or milliseconds to calculate with.
#[expect(clippy::cast_precision_loss, reason = "what one run counts is far below 2^52")]
pub fn float(number: u64) -> f64 {
    number as f64
}

/// Milliseconds as days.
pub fn millis_in_days(millis: u64) -> f64 {
    float(millis) / 86_400_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::float_cmp, reason = "the values come out of the sample or are halves")]
    fn ranks_are_nearest() {
        let sample = [5.0, 1.0, 4.0, 2.0, 3.0];
        assert_eq!(spread(&sample), (1.0, 3.0, 5.0));
        assert_eq!(median(&[1.0, 2.0, 3.0, 10.0]), 2.5);
        assert_eq!(quantile(&sample, 0.99), 5.0);
        assert_eq!(quantile(&sample, 0.8), 4.0);
        assert_eq!((quantile(&[], 0.5), median(&[7.0])), (0.0, 7.0));
    }
}
