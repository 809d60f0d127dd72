//! The client of the security team and of the auditor: signs acts on a person's machine, asks the collector, receives
//! sampling sets.
//!
//! In scope: the command line, files of people, one connection to the people listener. Not in scope: rules (crate
//! `evidence`), certificates (crate `certs`), verifying sets (`tallystick-verify`, which has no network code).

pub mod command;
pub mod policy_file;
pub mod pure;

mod access;
mod act;
mod audit;
mod client;
mod clock;
mod configuration;
mod devices;
mod files;
mod fleet;
mod history;
mod key;
mod log;
mod mirror;
mod passphrase;
mod posture;
mod revoke;
mod rulebook;
mod shell;
mod succession;
mod table;
mod trust;
mod witness;

pub use witness::rewritten_log as rewritten_witness_log;
