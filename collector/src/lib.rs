//! The collector: admits what devices and people send, orders it into one log, stores, judges and samples it.

pub mod failpoints;
pub mod journal;
