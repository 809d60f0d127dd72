//! The client of the security team and of the auditor.

pub mod policy_file;
pub mod pure;
