//! Percentages as people write them, exact in basis points.

use std::fmt;
use std::str::FromStr;

/// Basis points in one percent.
const PERCENT_BP: u32 = 100;

/// A percentage from 0% to 100% with at most two decimals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Percent {
    basis_points: u32,
}

impl Percent {
    /// In hundredths of a percent, 0 to 10,000.
    pub(crate) fn basis_points(self) -> u32 {
        self.basis_points
    }
}

/// Text that is not a percentage. A bare `5` or `0.05` is refused too: it could mean either.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NotAPercentage;

impl fmt::Display for NotAPercentage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a percentage is written like 5%, 0.5% or 2.25%: 0% to 100%, at most two decimals")
    }
}

impl std::error::Error for NotAPercentage {}

impl FromStr for Percent {
    type Err = NotAPercentage;

    fn from_str(text: &str) -> Result<Self, NotAPercentage> {
        let number = text.strip_suffix('%').ok_or(NotAPercentage)?;
        let (whole, decimals) = match number.split_once('.') {
            Some((whole, decimals)) if !decimals.is_empty() => (whole, decimals),
            Some(_) => return Err(NotAPercentage),
            None => (number, ""),
        };
        // Digits are counted before they are parsed, because parse takes a sign too.
        if whole.is_empty() || whole.len() > 3 || decimals.len() > 2 {
            return Err(NotAPercentage);
        }
        if !whole.bytes().chain(decimals.bytes()).all(|byte| byte.is_ascii_digit()) {
            return Err(NotAPercentage);
        }
        let whole: u32 = whole.parse().map_err(|_| NotAPercentage)?;
        let hundredths: u32 = format!("{decimals:0<2}").parse().map_err(|_| NotAPercentage)?;
        let basis_points = whole * PERCENT_BP + hundredths;
        if basis_points > 100 * PERCENT_BP {
            return Err(NotAPercentage);
        }
        Ok(Self { basis_points })
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, hundredths) = (self.basis_points / PERCENT_BP, self.basis_points % PERCENT_BP);
        match (hundredths, hundredths % 10) {
            (0, _) => write!(f, "{whole}%"),
            (_, 0) => write!(f, "{whole}.{}%", hundredths / 10),
            _ => write!(f, "{whole}.{hundredths:02}%"),
        }
    }
}

#[cfg(test)]
mod tests;
