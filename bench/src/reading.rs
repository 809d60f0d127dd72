//! Opens a ledger that was killed and reads from it: the time to open, memory, proofs, one device's statements, fsck.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use collector::datadir::DataDir;
use collector::fsck;
use collector::ledger::Ledger;
use evidence::envelope::Envelope;
use evidence::merkle::verify_inclusion;
use fleet::machine::Hours;
use fleet::seeded::Seeded;
use fleet::{Fleet, Order};
use serde::{Deserialize, Serialize};

use crate::filling::{ORIGIN, options, verifier_key};
use crate::numbers::quantile;
use crate::process::memory_of;

/// Statements of a device in a year, every six hours: the most that are read.
const YEAR_STATEMENTS: usize = 1_460;
/// Devices whose statements are read.
const DEVICES: usize = 20;

/// What reading took.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Read {
    /// From the call to an open ledger, seconds.
    pub open_seconds: f64,
    /// Entries found: what was submitted until the kill is in it.
    pub size: u64,
    /// Root over the first entries asked about, hex.
    pub root: String,
    /// Resident after the opening, KiB.
    pub rss_kib: u64,
    /// Inclusion proofs of random entries, milliseconds: p50 and p99.
    pub proof_ms: (f64, f64),
    /// One entry by its index, random ones, milliseconds: p50 and p99.
    pub entry_ms: (f64, f64),
    /// Statements of one device, at most a year's: how many on average.
    pub year_statements: f64,
    /// Milliseconds for the list of all of them, by sequence with index: median and worst of some devices.
    pub list_ms: (f64, f64),
    /// Milliseconds for the list and every statement read, checked and parsed: median and worst.
    pub year_ms: (f64, f64),
    /// Most that was resident in the end, KiB.
    pub peak_rss_kib: u64,
}

/// Opens the ledger at `data`, which nobody else has open, and reads. `samples` proofs are made and checked; the root is
/// told over the first `filled` entries.
pub fn read(data: &Path, order: &Order, samples: usize, filled: u64) -> anyhow::Result<Read> {
    let dir = Arc::new(DataDir::open(data)?);
    let begun = Instant::now();
    let (ledger, unstarted) = Ledger::open(dir, &options())?;
    let open_seconds = begun.elapsed().as_secs_f64();
    let rss_kib = memory_of("self")?.rss_kib;
    let snapshot = ledger.snapshot();
    let (size, root) = (snapshot.size, snapshot.root);
    let mut seeded = Seeded::new(order.seed);
    let indexes: Vec<u64> = (0..samples).map(|_| seeded.between(0, size - 1)).collect();
    let (mut proofs, mut entries) = (Vec::new(), Vec::new());
    for index in indexes {
        let begun = Instant::now();
        let proof = ledger.inclusion(index, size)?;
        proofs.push(begun.elapsed().as_secs_f64() * 1e3);
        let begun = Instant::now();
        let entry = ledger.entry(index)?;
        entries.push(begun.elapsed().as_secs_f64() * 1e3);
        verify_inclusion(index, size, &entry.leaf.hash(), &proof, &root)
            .with_context(|| format!("the proof of entry {index}"))?;
    }
    let (mut lists, mut times, mut found) = (Vec::new(), Vec::new(), 0);
    let fleet = Fleet::new(order)?;
    let devices = fleet.devices().iter().filter(|device| device.kind.hours == Hours::Always).take(DEVICES);
    for device in devices {
        let begun = Instant::now();
        let (mut listed, mut from) = (Vec::new(), 0);
        while listed.len() < YEAR_STATEMENTS {
            let page = ledger.statements(&device.instance, from)?;
            let Some(last) = page.last() else { break };
            from = last.sequence + 1;
            listed.extend(page);
        }
        listed.truncate(YEAR_STATEMENTS);
        lists.push(begun.elapsed().as_secs_f64() * 1e3);
        for one in &listed {
            let statement = Envelope::parse(&ledger.entry(one.index)?.payload)?.claimed()?;
            anyhow::ensure!(statement.instance == device.instance, "another device's statement");
        }
        times.push(begun.elapsed().as_secs_f64() * 1e3);
        found += listed.len();
    }
    let both = |sample: &[f64]| (quantile(sample, 0.5), quantile(sample, 0.99));
    let told = Read {
        open_seconds,
        size,
        root: ledger.root_at(filled)?.hex(),
        rss_kib,
        proof_ms: both(&proofs),
        entry_ms: both(&entries),
        year_statements: crate::numbers::count(found) / crate::numbers::count(times.len().max(1)),
        list_ms: (quantile(&lists, 0.5), quantile(&lists, 1.0)),
        year_ms: (quantile(&times, 0.5), quantile(&times, 1.0)),
        peak_rss_kib: memory_of("self")?.peak_rss_kib,
    };
    drop((ledger, unstarted));
    Ok(told)
}

/// What fsck took.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Checked {
    /// Wall time, seconds.
    pub seconds: f64,
    /// Most that was ever resident, KiB.
    pub peak_rss_kib: u64,
    /// Its report.
    pub report: serde_json::Value,
}

/// Checks every copy in the data directory, from the first byte.
pub fn check(data: &Path) -> anyhow::Result<Checked> {
    let keys = [verifier_key()?];
    let dir = DataDir::open(data)?;
    let high_water = dir.high_water();
    let begun = Instant::now();
    let options = fsck::Options {
        log_keys: &keys,
        origin: Some(ORIGIN),
        high_water: Some(&high_water),
        ..fsck::Options::default()
    };
    let report = fsck::check(&dir, &options)?;
    let seconds = begun.elapsed().as_secs_f64();
    Ok(Checked {
        seconds,
        peak_rss_kib: memory_of("self")?.peak_rss_kib,
        report: serde_json::to_value(report)?,
    })
}
