//! The collector: admits, orders, stores, judges, samples.

pub mod http2;
pub mod listen;
