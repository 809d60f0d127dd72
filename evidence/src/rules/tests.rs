//! Rules against the vectors shared by every verifier, Kleene's tables, refusals, and monotonicity.

mod kleene;
mod monotone;
mod reading;
mod vectors;
