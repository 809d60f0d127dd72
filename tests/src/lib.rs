//! What tests of whole processes share.

pub mod ledger;
