//! Recorded machines: what the probes make of them, and that damage never makes them look better.

mod asset;
mod damage;
mod fleet;
mod gaps;
mod kept;
mod recordings;
mod table;
mod verdict;
