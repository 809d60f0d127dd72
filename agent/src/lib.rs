//! The agent: observes, signs, spools and sends.
//!
//! The route of one attestation through this crate: ask (`observe`), attest, spool, upload. In scope: one device's
//! identity, its queue of signed statements, and the stream to its collector. Not in scope: judging anything.

pub mod anchor;
pub mod anew;
pub mod at_rest;
pub mod attest;
pub mod backoff;
pub mod binding;
pub mod budget;
pub mod cli;
pub mod clock;
pub mod config;
pub mod custody;
pub mod device;
pub mod disk;
pub mod doctor;
pub mod enrol;
pub mod enrol_file;
pub mod failpoints;
pub mod fleet;
pub mod hardening;
pub mod health;
#[cfg(unix)]
pub mod host;
pub mod identity;
pub mod judgement;
mod log_level;
mod log_lines;
pub mod look;
pub mod newcomer;
pub mod notice;
pub mod observe;
pub mod observe_cli;
pub mod recall;
pub mod record;
pub mod renewal;
pub mod run;
pub mod schedule;
pub mod sent;
pub mod session;
pub mod spool;
pub mod state;
pub mod status;
mod stop;
pub mod succession;
pub mod supervisor;
pub mod upload;
pub mod watch;
#[cfg(windows)]
pub mod windows;
mod wrap;
#[cfg(windows)]
pub use windows::host;

#[cfg(test)]
mod exchange_tests;
#[cfg(test)]
mod fake_collector;
#[cfg(test)]
mod fake_log;
#[cfg(test)]
mod laptop_tests;
#[cfg(test)]
mod memory_disk;

/// Prints an error with everything that caused it, on one line.
pub struct Causes<'a>(pub &'a dyn std::error::Error);

impl std::fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
