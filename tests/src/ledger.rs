//! One small ledger, as the writer that is killed and the test that kills it both know it.

use std::path::Path;
use std::sync::Arc;

use collector::datadir::DataDir;
use collector::ledger::{Ledger, LedgerOptions};
use collector::sequencer::{Context, NewEntry, WriterOptions, system_random};
use evidence::envelope::Envelope;
use evidence::ids::{Digest, InstanceId};
use evidence::keys::SecretKey;
use evidence::leaf::Kind;
use evidence::note::VerifierKey;
use evidence::statement::{Body, Gap, Statement};
use evidence::time::{Clock, Timestamp};

/// Origin of the log.
pub const ORIGIN: &str = "example.org/log/crash";
/// Short segments, bytes, so that every run rolls over several times.
const SEGMENT_BYTES: u64 = 8192;

/// A clock that stands still: nothing here depends on time.
struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp(1_700_000_000_000)
    }
}

/// How the ledger is opened.
pub fn options() -> LedgerOptions {
    LedgerOptions { segment_bytes: SEGMENT_BYTES, ..LedgerOptions::default() }
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

/// Makes the ledger with one genesis entry.
pub fn create(path: &Path) -> anyhow::Result<()> {
    let dir = DataDir::create(path, 0)?;
    let genesis =
        Box::new(|_: &Context| Ok(vec![NewEntry { kind: Kind::GENESIS, payload: b"genesis".to_vec() }]));
    let (now, mut random) = (Still.now(), system_random());
    Ok(Ledger::create(&dir, &options(), &dir.high_water(), now, &mut random, genesis)?)
}

/// Statement `sequence` of the one device: the same bytes in every process.
pub fn statement(sequence: u64, previous: Digest) -> anyhow::Result<Envelope> {
    let reason = proto::GapReason::SpoolFull;
    let body = Body::Gap(Gap::NotMade { first_minute: sequence, last_minute: sequence, count: 1, reason });
    let statement =
        Statement { instance: InstanceId::from_bytes([3; 16]), sequence, previous, anchor: None, body };
    Ok(Envelope::sign(&statement, &SecretKey::from_seed(&[4; 32])?))
}
