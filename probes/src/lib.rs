//! Placeholder until its stage.
