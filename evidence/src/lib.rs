//! The rules of Tallystick: what is signed and hashed, and how it is judged, sampled and verified.
//!
//! In scope: types, canonical bytes, hashes, signatures, proofs, policies, judging, frames, draws,
//! statistics, and the verification of a sampling set. docs/FORMAT.md describes every byte.
//! Not in scope: files, sockets, clocks, randomness. Callers pass values in and get values back.

pub mod acts;
pub mod authority;
pub mod conflict;
pub mod draw;
pub mod dsse;
pub mod enrolment;
pub mod envelope;
pub mod erasure;
pub mod evaluation;
pub mod facts;
pub mod frame;
pub mod ids;
pub mod interval;
pub mod json;
pub mod judge;
pub mod keys;
pub mod leaf;
pub mod log_keys;
pub mod merkle;
pub mod newcomer;
pub mod note;
pub mod payload_record;
pub mod plan;
pub mod policy;
pub mod roster;
pub mod rules;
#[cfg(test)]
mod samples;
pub mod set;
pub mod statement;
pub mod stats;
pub mod succession;
pub mod tiles;
pub mod time;
pub mod trust;
pub mod trust_domain;
pub mod verify;
pub mod witness;
pub mod witness_policy;
