//! Placeholder until its stage.

pub mod pure;
