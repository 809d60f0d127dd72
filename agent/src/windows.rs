//! What is of Windows alone: the host of the probes, who may read what the agent keeps, and the service.
//!
//! Everything here goes through crates with safe calls; what only an unsafe call can do is not done, and said where it is
//! missing (docs/WINDOWS.md).

pub mod access;
pub mod host;
mod management;
mod registry;
pub mod service;
