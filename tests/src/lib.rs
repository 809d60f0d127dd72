//! What the tests of whole processes share: a world of real programs on loopback, devices that can misbehave,
//! a load that remembers every answer, and a reader of what was kept.
//!
//! Nothing here trusts the programs under test: what was stored is read from the journal's bytes as
//! docs/FORMAT.md section 13 describes them, and roots are computed here.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test stops at what it cannot do, and prints what it counted"
)]

pub use fleet::seeded;

pub mod audit;
pub mod copied_root;
pub mod device;
pub mod doctor;
pub mod elsewhere;
pub mod figures;
pub mod flag;
pub mod folder;
pub mod journal_file;
pub mod kept;
pub mod ledger;
pub mod load;
pub mod loop_disk;
pub mod process;
pub mod raw_h2;
pub mod renewal;
pub mod sealed;
pub mod told;
pub mod tpm;
pub mod unit;
pub mod watched;
pub mod wine;
pub mod witness;
pub mod world;
