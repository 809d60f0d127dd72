//! The collector: admits, orders, stores, judges, samples.

pub mod failpoints;
pub mod http2;
pub mod journal;
pub mod listen;
pub mod log;
pub mod store;
