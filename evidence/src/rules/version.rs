//! Versions that are numbers with dots between them; anything else is no version here.

/// Most digits of one part: 18 always fit 64 bits.
const PART_DIGITS_MAX: usize = 18;

/// The parts of `text`, or `None` if it is not 1 to 18 digits with single dots between.
fn parts(text: &str) -> Option<Vec<u64>> {
    text.split('.')
        .map(|part| {
            let digits = !part.is_empty() && part.len() <= PART_DIGITS_MAX;
            (digits && part.bytes().all(|b| b.is_ascii_digit())).then(|| part.parse().ok()).flatten()
        })
        .collect()
}

/// Whether `text` is a version.
pub(super) fn is_version(text: &str) -> bool {
    parts(text).is_some()
}

/// Whether `found` ≥ `least`, missing parts being 0; `None` when either is no version.
pub(super) fn at_least(found: &str, least: &str) -> Option<bool> {
    let (mut found, mut least) = (parts(found)?, parts(least)?);
    let length = found.len().max(least.len());
    found.resize(length, 0);
    least.resize(length, 0);
    Some(found >= least)
}
