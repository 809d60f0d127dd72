//! The physical limits the figures are held against: signatures per second of all cores, and one sync of the disk.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use evidence::dsse::{STATEMENT_TYPE, pae};
use evidence::keys::PublicKey;

use crate::numbers::count;

/// Bytes of one overwrite: a page, the least a disk writes.
const PAGE_BYTES: usize = 4096;
/// Pages overwritten in turn, so that no two syncs hit the same one.
const PAGES: usize = 256;

/// A signature to check again and again.
pub struct Signed {
    /// Whose.
    pub key: PublicKey,
    /// The signed bytes.
    pub message: Vec<u8>,
    /// 64 bytes.
    pub signature: Vec<u8>,
}

impl Signed {
    /// The signature of an envelope.
    pub fn of(envelope: &[u8], key: PublicKey) -> anyhow::Result<Self> {
        use prost::Message as _;
        let wire = proto::Envelope::decode(envelope).context("an envelope of this program")?;
        Ok(Self { key, message: pae(STATEMENT_TYPE, &wire.payload), signature: wire.sig })
    }
}

/// Strict verifications per second of `threads` threads over `duration`, each over all of `signed` in turn.
pub fn verify_rate(signed: &[Signed], threads: usize, duration: Duration) -> anyhow::Result<f64> {
    let (stop, done, failed) =
        (AtomicBool::new(false), AtomicU64::new(0), AtomicBool::new(signed.is_empty()));
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut verified = 0;
                for one in signed.iter().cycle() {
                    if one.key.verify(&one.message, &one.signature).is_err() {
                        failed.store(true, Ordering::Relaxed);
                    }
                    verified += 1;
                    if stop.load(Ordering::Relaxed) || failed.load(Ordering::Relaxed) {
                        break;
                    }
                }
                done.fetch_add(verified, Ordering::Relaxed);
            });
        }
        std::thread::sleep(duration);
        stop.store(true, Ordering::Relaxed);
    });
    anyhow::ensure!(!failed.load(Ordering::Relaxed), "a signature of this program does not hold");
    let done = usize::try_from(done.load(Ordering::Relaxed)).unwrap_or(usize::MAX);
    Ok(count(done) / begun.elapsed().as_secs_f64())
}

/// Milliseconds of each of `times` syncs: overwrite 4 KiB of a preallocated file in `directory`, then `fdatasync`.
pub fn sync_ms(directory: &Path, times: usize) -> anyhow::Result<Vec<f64>> {
    // A thread of its own: one that has just used a core for long is woken late by a scheduler that is fair.
    std::thread::scope(|scope| {
        let measuring = scope.spawn(|| overwrites(directory, times));
        measuring.join().map_err(|_| anyhow::anyhow!("the syncs were interrupted"))?
    })
}

fn overwrites(directory: &Path, times: usize) -> anyhow::Result<Vec<f64>> {
    let path = directory.join("sync.probe");
    let file = OpenOptions::new().create(true).truncate(true).write(true).open(&path)?;
    file.write_all_at(&vec![0x55; PAGE_BYTES * PAGES], 0)?;
    file.sync_all()?;
    let page = [0xaa; PAGE_BYTES];
    let mut took = Vec::with_capacity(times);
    for turn in 0..times {
        let begun = Instant::now();
        file.write_all_at(&page, ((turn % PAGES) * PAGE_BYTES) as u64)?;
        file.sync_data()?;
        took.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    std::fs::remove_file(&path)?;
    Ok(took)
}

/// Records per second written to one flat file in groups of `group`, each group synced: what no ordered, indexed and
/// proved log can be faster than on this disk.
pub fn flat_file_rate(directory: &Path, record: &[u8], groups: usize, group: usize) -> anyhow::Result<f64> {
    let path = directory.join("flat.probe");
    let file = OpenOptions::new().create(true).truncate(true).write(true).open(&path)?;
    let bytes = record.repeat(group);
    let begun = Instant::now();
    for turn in 0..groups {
        file.write_all_at(&bytes, (turn * bytes.len()) as u64)?;
        file.sync_data()?;
    }
    let rate = count(groups * group) / begun.elapsed().as_secs_f64();
    std::fs::remove_file(&path)?;
    Ok(rate)
}
