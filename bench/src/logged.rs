//! Afterwards: whether every answer was true. Reads the log of the stopped collector entry by entry.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use collector::config::Config;
use collector::datadir::DataDir;
use collector::ledger::{Ledger, LedgerOptions};
use evidence::ids::Digest;
use evidence::leaf::Kind;

use crate::stream::Receipt;

/// What was found in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Logged {
    /// All entries.
    pub entries: u64,
    /// Attestations among them.
    pub attestations: usize,
}

/// Checks that the attestations of the log at `data` are exactly those of `receipts`: at the index, with the time, the
/// salt and the bytes that were answered. `progress` is told the number of entries and how many were read.
pub fn check(data: &Path, receipts: &[Receipt], progress: impl Fn(u64, u64)) -> anyhow::Result<Logged> {
    let answered: HashMap<u64, &Receipt> = receipts.iter().map(|receipt| (receipt.index, receipt)).collect();
    anyhow::ensure!(answered.len() == receipts.len(), "two statements were answered with one index");
    let dir = Arc::new(DataDir::open(data)?);
    let config = Config::read(&dir.configuration())?;
    let options = LedgerOptions { segment_bytes: config.segment_bytes, ..LedgerOptions::default() };
    let (ledger, _writer) = Ledger::open(dir, &options)?;
    let entries = ledger.size();
    let mut attestations = 0;
    for index in 0..entries {
        let entry = ledger.entry(index)?;
        if entry.leaf.kind == Kind::ATTESTATION {
            let receipt =
                answered.get(&index).with_context(|| format!("nobody was told of entry {index}"))?;
            let same = Digest::of(&entry.payload) == receipt.envelope
                && entry.salt == receipt.salt
                && entry.leaf.received == receipt.received
                && ledger.statement(&receipt.instance, receipt.sequence)? == Some(index);
            anyhow::ensure!(same, "entry {index} is not what was answered");
            attestations += 1;
        }
        progress(entries, index + 1);
    }
    anyhow::ensure!(
        attestations == receipts.len(),
        "{} statements were answered as stored, the log has {attestations}",
        receipts.len()
    );
    Ok(Logged { entries, attestations })
}
