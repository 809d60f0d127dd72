//! Small ledgers, as the writer that is killed and the tests that kill it both know them.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use collector::datadir::DataDir;
use collector::fsck;
use collector::ledger::{Ledger, LedgerOptions};
use collector::log::BUNDLE_LEAVES;
use collector::sequencer::{Context, NewEntry, WriterOptions, system_random};
use evidence::envelope::Envelope;
use evidence::ids::{Digest, InstanceId};
use evidence::keys::SecretKey;
use evidence::leaf::{Kind, PAYLOAD_BYTES_MAX};
use evidence::note::VerifierKey;
use evidence::statement::{Body, Gap, Statement};
use evidence::time::{Clock, Timestamp};

use crate::seeded::Seeded;

/// Origin of the log.
pub const ORIGIN: &str = "example.org/log/crash";
/// Short segments, bytes, so that every run rolls over several times.
pub const SEGMENT_BYTES: u64 = 8192;
/// Segments that hold the longest payload, bytes, and yet are met with their ends.
pub const SEGMENT_BYTES_LONG: u64 = 160 << 10;
/// Leaves of an epoch of the index: the least there can be.
pub const EPOCH_LEAVES: u64 = 256;
/// Kind of the acts.
pub const ACT: Kind = Kind::DETAIL;

/// A clock that stands still: nothing here depends on time.
struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp(1_700_000_000_000)
    }
}

/// How a ledger of segments of that length is opened.
pub fn options(segment_bytes: u64) -> LedgerOptions {
    LedgerOptions {
        segment_bytes,
        epoch_leaves: EPOCH_LEAVES,
        // The tests read the journal by themselves, from its beginning.
        journal_segments_kept: u64::MAX,
        ..LedgerOptions::default()
    }
}

/// Length of the segments of a ledger, as its first one has it.
pub fn segment_bytes(data: &Path) -> anyhow::Result<u64> {
    let first = std::fs::read_dir(data.join("journal"))?.next().context("a journal has a segment")??;
    Ok(first.metadata()?.len())
}

/// How its sequencer is started.
pub fn writer_options(dir: &DataDir) -> anyhow::Result<WriterOptions> {
    let mut options = WriterOptions::new(ORIGIN, log_key()?, Arc::new(Still), dir.high_water());
    options.free_bytes_min = 1;
    Ok(options)
}

/// The log key.
pub fn log_key() -> anyhow::Result<SecretKey> {
    Ok(SecretKey::from_seed(&[5; 32])?)
}

/// The log key as a verifier has it.
pub fn verifier_key() -> anyhow::Result<VerifierKey> {
    Ok(VerifierKey::new(ORIGIN, *log_key()?.public())?)
}

/// Makes a ledger with one genesis entry.
pub fn create(path: &Path, segment_bytes: u64) -> anyhow::Result<()> {
    let dir = DataDir::create(path, 0)?;
    let genesis = Box::new(|_: &Context| Ok(vec![NewEntry::new(Kind::GENESIS, b"genesis".to_vec())]));
    let (now, mut random) = (Still.now(), system_random());
    Ok(Ledger::create(&dir, &options(segment_bytes), &dir.high_water(), now, &mut random, genesis)?)
}

/// Checks a ledger from its first byte, as `fsck` does.
pub fn check(path: &Path) -> anyhow::Result<fsck::Report> {
    let keys = [verifier_key()?];
    let dir = DataDir::open(path)?;
    let high_water = dir.high_water();
    let options = fsck::Options {
        log_keys: &keys,
        origin: Some(ORIGIN),
        high_water: Some(&high_water),
        epoch_leaves: EPOCH_LEAVES,
        progress: None,
    };
    Ok(fsck::check(&dir, &options)?)
}

/// Whether the index holds every whole bundle, as it does after a stop in good order.
pub fn is_indexed(report: &fsck::Report) -> bool {
    report.index_size == report.size / BUNDLE_LEAVES * BUNDLE_LEAVES
}

/// The one device.
pub fn instance() -> InstanceId {
    InstanceId::from_bytes([3; 16])
}

/// Statement `sequence` of the one device: the same bytes in every process.
pub fn statement(sequence: u64, previous: Digest) -> anyhow::Result<Envelope> {
    let reason = proto::GapReason::SpoolFull;
    let body = Body::Gap(Gap::NotMade { first_minute: sequence, last_minute: sequence, count: 1, reason });
    let statement = Statement { instance: instance(), sequence, previous, anchor: None, body };
    Ok(Envelope::sign(&statement, &SecretKey::from_seed(&[4; 32])?))
}

/// Payload of entry `number` of the acts' stream: the same bytes in every process, from 1 byte to the longest.
pub fn act(number: u64) -> Vec<u8> {
    let mut seeded = Seeded::new(number);
    let bytes = match number % 16 {
        1 => 1,
        3 => PAYLOAD_BYTES_MAX,
        7 => PAYLOAD_BYTES_MAX - 1,
        // About a sector, and about a page, of the disk.
        5 | 9 => 300 + seeded.below(300),
        11 => 3900 + seeded.below(300),
        _ => 1 + seeded.below(3000),
    };
    std::iter::repeat_with(|| seeded.byte()).take(bytes).collect()
}
