//! The collector: admits, orders, stores, judges, samples.

pub mod datadir;
pub mod failpoints;
pub mod fsck;
pub mod http2;
pub mod index;
pub mod journal;
pub mod ledger;
pub mod listen;
pub mod log;
pub mod sequencer;
pub mod store;
