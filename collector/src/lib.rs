//! The collector: admits what devices and people send, orders it into one log, stores, judges and samples it.
//!
//! In scope: listeners, admission, the one writer, the ledger, posture, the audit's ceremony and export. Not in scope: the
//! rules themselves (`evidence`), certificates (`certs`), what devices look at (`probes`).

mod admin_client;
pub mod admit;
pub mod audit;
pub mod backup;
mod causes;
pub mod cli;
pub mod clock;
pub mod config;
pub mod conflicts;
pub mod data_keys;
pub mod datadir;
pub mod denylist;
pub mod enrolling;
pub mod epochs;
pub mod erase;
pub mod evidence_index;
pub mod failpoints;
pub mod fleet;
pub mod for_tests;
pub mod fsck;
pub mod gate;
mod housekeeping;
pub mod http2;
pub mod identity;
pub mod index;
pub mod indexer;
pub mod init;
pub mod journal;
pub mod judging;
pub mod ledger;
pub mod listen;
pub mod log;
pub mod log_key;
pub mod node;
mod notes;
pub mod payload_bundles;
pub mod payload_codec;
pub mod posture;
pub mod quota;
pub mod rebuild;
pub mod recover;
pub mod reload;
pub mod restore;
pub mod revocation;
pub mod roles;
pub mod rollback;
pub mod rollover;
pub mod row_maker;
pub mod secrets;
pub mod sequencer;
pub mod serve;
pub mod service;
pub mod shipment;
mod silence;
pub mod state;
pub mod store;
pub mod succession;
mod tail;
pub mod tree;
mod turned_away;
pub mod verdicts;
pub mod witnesses;

pub use cli::main;
