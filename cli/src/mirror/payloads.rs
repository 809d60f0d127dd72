//! The payloads of a mirror: sealed as the collector has them, checked as far as that goes without a key, and erased where
//! the log erased. With the tree they restore the log; they open nothing.
//!
//! In the folder: `payload/<N>` as in a data directory, the newest bundle as `payload/<N>.p/<records>` until it is full;
//! `tombstones/<index>`, salt ‖ payload of each; `payload.sums`, by which damage is noticed.

use std::fmt;

use anyhow::{Context as _, bail};
use evidence::leaf::{Kind, Leaf, PAYLOAD_BYTES_MAX, SALT_BYTES};
use evidence::note::Checkpoint;
use evidence::payload_record::{BUNDLE_BYTES_MAX, bundle_path, full_bundle_path};
use evidence::tiles::{Content, TILE_WIDTH, Tile};
use indicatif::ProgressBar;
use serde_json::json;

use super::copy::Copy;

mod records;
mod source;
mod sums;
#[cfg(test)]
mod tests;

use records::{Erased, Examined, examine};
use source::{BUNDLES_MAX, Fetched, TOMBSTONES_MAX};
use sums::Sums;

pub(crate) use source::PayloadSource;

/// The folder of bundles.
pub(crate) const FOLDER: &str = "payload";
/// The folder of tombstones.
const TOMBSTONES: &str = "tombstones";
/// Longest record of a tombstone, bytes.
const TOMBSTONE_BYTES_MAX: usize = SALT_BYTES + PAYLOAD_BYTES_MAX;
/// Bundles written before their sums are.
const UNSUMMED_MAX: u64 = 256;

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct PayloadsDone {
    fetched: u64,
    kept: u64,
    rewritten: u64,
    tombstones: u64,
    records_erased: u64,
}

impl PayloadsDone {
    /// For machines.
    pub(crate) fn json(self) -> serde_json::Value {
        json!({
            "bundles_fetched": self.fetched,
            "bundles_kept": self.kept,
            "bundles_rewritten": self.rewritten,
            "tombstones": self.tombstones,
            "records_erased": self.records_erased,
        })
    }
}

impl fmt::Display for PayloadsDone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { fetched, kept, rewritten, tombstones, records_erased } = self;
        write!(
            f,
            "Payloads, sealed: {fetched} bundles fetched, {kept} kept, {rewritten} rewritten; {records_erased} records are \
             erased under {tombstones} tombstones."
        )
    }
}

/// Brings the payloads level with a checkpoint whose entries the copy holds.
pub(crate) async fn level(
    copy: &mut Copy,
    from: &PayloadSource<'_>,
    checkpoint: &Checkpoint,
    bar: &ProgressBar,
) -> anyhow::Result<PayloadsDone> {
    let mut run = Run {
        sums: Sums::read(copy)?,
        copy,
        size: checkpoint.size,
        unsummed: 0,
        erased: Erased::new(&checkpoint.origin),
        done: PayloadsDone::default(),
    };
    run.tombstones(from, checkpoint).await?;
    bar.reset();
    bar.set_length(checkpoint.size);
    // First what is here: that much is erased whatever becomes of the rest.
    let mut wanted = Vec::new();
    for number in 0..checkpoint.size.div_ceil(TILE_WIDTH.into()) {
        if !run.own(number)? {
            wanted.push(number);
        }
        bar.inc((checkpoint.size - number * u64::from(TILE_WIDTH)).min(TILE_WIDTH.into()));
    }
    bar.reset();
    bar.set_length(wanted.len() as u64 * u64::from(TILE_WIDTH));
    for (first, count) in runs_of(&wanted) {
        let mut fetching = from.open(checkpoint, first, count, &[]).await?;
        for number in first..first + u64::from(count) {
            match fetching.next().await? {
                Some(Fetched::Bundle { number: met, bytes }) if met == number => {
                    run.fetched(number, &bytes)?;
                }
                _ => bail!("the source has no payloads of bundle {number}, or gave others"),
            }
            bar.inc(TILE_WIDTH.into());
        }
    }
    run.finish()
}

/// Numbers that follow each other, at most [`BUNDLES_MAX`] at once, as (first, count).
fn runs_of(wanted: &[u64]) -> Vec<(u64, u32)> {
    let mut runs: Vec<(u64, u32)> = Vec::new();
    for number in wanted {
        match runs.last_mut() {
            Some((first, count)) if *first + u64::from(*count) == *number && *count < BUNDLES_MAX => {
                *count += 1;
            }
            _ => runs.push((*number, 1)),
        }
    }
    runs
}

/// One run over the payloads.
struct Run<'a> {
    copy: &'a mut Copy,
    size: u64,
    sums: Sums,
    unsummed: u64,
    erased: Erased,
    done: PayloadsDone,
}

impl Run<'_> {
    /// Entries in a bundle below the size.
    fn tile(&self, number: u64) -> anyhow::Result<Tile> {
        let left = self.size.saturating_sub(number.saturating_mul(TILE_WIDTH.into()));
        let width = u16::try_from(left.min(TILE_WIDTH.into())).unwrap_or(TILE_WIDTH);
        Tile::new(Content::Entries, number, width).context("the log is too large")
    }

    /// The leaves of a bundle, which this run has checked or fetched.
    fn entries(&self, tile: &Tile) -> anyhow::Result<Vec<u8>> {
        self.copy
            .tile(tile)?
            .with_context(|| format!("{tile} of the copy is gone: another program works on it"))
    }

    fn path(tile: &Tile) -> String {
        format!("{FOLDER}/{}", bundle_path(tile.number(), tile.width()))
    }

    /// Learns what is erased: every tombstone of the log, from the copy or, once, from the source.
    async fn tombstones(&mut self, from: &PayloadSource<'_>, checkpoint: &Checkpoint) -> anyhow::Result<()> {
        let mut missing: Vec<(u64, Leaf)> = Vec::new();
        for number in 0..self.size.div_ceil(TILE_WIDTH.into()) {
            let tile = self.tile(number)?;
            let bytes = self.entries(&tile)?;
            for (index, bytes) in (number * u64::from(TILE_WIDTH)..).zip(tile.parse_entries(&bytes)?) {
                let leaf = Leaf::parse(bytes).with_context(|| {
                    format!("entry {index} has a leaf of a form this program does not know")
                })?;
                if leaf.kind != Kind::TOMBSTONE {
                    continue;
                }
                self.done.tombstones += 1;
                let own =
                    self.copy.file(&format!("{TOMBSTONES}/{index}"), TOMBSTONE_BYTES_MAX).ok().flatten();
                if own.is_none_or(|record| self.erased.take(index, &leaf, &record).is_err()) {
                    missing.push((index, leaf));
                }
            }
        }
        for missing in missing.chunks(TOMBSTONES_MAX) {
            let indexes: Vec<u64> = missing.iter().map(|(index, _)| *index).collect();
            let mut fetching = from.open(checkpoint, 0, 0, &indexes).await?;
            for (index, leaf) in missing {
                match fetching.next().await? {
                    Some(Fetched::Tombstone { index: met, record }) if met == *index => {
                        self.erased
                            .take(*index, leaf, &record)
                            .with_context(|| format!("tombstone {index} of the source"))?;
                        self.copy.put_private(&format!("{TOMBSTONES}/{index}"), &record)?;
                    }
                    _ => bail!("the source does not show tombstone {index}: what it erased is not known"),
                }
            }
        }
        Ok(())
    }

    /// Whether the copy has bundle `number`, as it was written and with nothing in it that is erased.
    fn own(&mut self, number: u64) -> anyhow::Result<bool> {
        let tile = self.tile(number)?;
        let path = Self::path(&tile);
        // One that cannot be read is one that is not there.
        let Some(bytes) = self.copy.file(&path, BUNDLE_BYTES_MAX).ok().flatten() else { return Ok(false) };
        if self.sums.contradict(&path, &bytes) {
            return Ok(false);
        }
        match self.examine(&tile, &bytes) {
            Ok(Examined { rewritten: None, erased }) => {
                self.sums.put(&path, &bytes);
                self.done.kept += 1;
                self.done.records_erased += erased;
            }
            Ok(Examined { rewritten: Some(bytes), erased }) => {
                self.put(&tile, &bytes)?;
                self.done.rewritten += 1;
                self.done.records_erased += erased;
            }
            Err(_) => return Ok(false),
        }
        self.remove_older(&tile)?;
        Ok(true)
    }

    /// Takes a bundle from the source.
    fn fetched(&mut self, number: u64, bytes: &[u8]) -> anyhow::Result<()> {
        let tile = self.tile(number)?;
        let Examined { rewritten, erased } = self
            .examine(&tile, bytes)
            .with_context(|| format!("payload bundle {number} of the source does not belong to this log"))?;
        self.put(&tile, rewritten.as_deref().unwrap_or(bytes))?;
        self.done.fetched += 1;
        self.done.records_erased += erased;
        self.remove_older(&tile)
    }

    fn examine(&self, tile: &Tile, bytes: &[u8]) -> anyhow::Result<Examined> {
        let entries = self.entries(tile)?;
        examine(tile.number() * u64::from(TILE_WIDTH), &tile.parse_entries(&entries)?, bytes, &self.erased)
    }

    fn put(&mut self, tile: &Tile, bytes: &[u8]) -> anyhow::Result<()> {
        let path = Self::path(tile);
        self.copy.put_private(&path, bytes)?;
        self.sums.put(&path, bytes);
        self.unsummed += 1;
        if self.unsummed >= UNSUMMED_MAX {
            self.sums.write(self.copy)?;
            self.unsummed = 0;
        }
        Ok(())
    }

    /// Removes narrower bundles of the same place.
    fn remove_older(&mut self, tile: &Tile) -> anyhow::Result<()> {
        let folder = format!("{FOLDER}/{}.p", full_bundle_path(tile.number()));
        let keep = if tile.is_full() { String::new() } else { tile.width().to_string() };
        self.sums.forget_all_but(&folder, &keep);
        self.copy.remove_all_but(&folder, &keep)
    }

    fn finish(mut self) -> anyhow::Result<PayloadsDone> {
        self.sums.write(self.copy)?;
        Ok(self.done)
    }
}
