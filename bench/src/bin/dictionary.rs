//! Trains the zstd dictionary of stored payloads on simulated statements, and says what it saves on others.
//!
//! collector/dictionaries/README.md says how the dictionaries of the releases were made.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use bench::numbers::count;
use clap::Parser;
use evidence::ids::Digest;
use fleet::log::Log;
use fleet::{Fleet, Order};

/// Seed of the statements it is tried on: other devices than those it is trained on.
const TRIED_SEED_OFFSET: u64 = 1_000_000;
/// Statements it is tried on.
const TRIED: usize = 10_000;
/// Level of compression of stored payloads.
const LEVEL: i32 = 3;

/// Trains a dictionary. The same release of zstd makes the same bytes of the same options.
#[derive(Debug, Parser)]
struct Arguments {
    /// File to be made; it must not exist, because a dictionary of a release never changes.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Seed of the fleet.
    #[arg(long, default_value_t = 20_270_101)]
    seed: u64,
    /// Devices of the fleet.
    #[arg(long, default_value_t = 2_000)]
    devices: usize,
    /// Statements.
    #[arg(long, default_value_t = 40_000)]
    statements: usize,
    /// Length of the dictionary, bytes.
    #[arg(long, default_value_t = 16 * 1024)]
    bytes: usize,
}

fn main() -> ExitCode {
    match train(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Standard error may be closed; there is nobody left to tell.
            let _unheard = writeln!(std::io::stderr(), "dictionary: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn train(arguments: &Arguments) -> anyhow::Result<()> {
    let Arguments { seed, devices, statements, bytes, .. } = *arguments;
    let samples = payloads(seed, devices, statements)?;
    let dictionary = zstd::dict::from_samples(&samples, bytes).context("zstd trains no dictionary of it")?;
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&arguments.out)
        .with_context(|| format!("cannot make {}", arguments.out.display()))?;
    file.write_all(&dictionary).and_then(|()| file.sync_all()).context("cannot write the dictionary")?;

    let tried = payloads(seed.wrapping_add(TRIED_SEED_OFFSET), devices, TRIED)?;
    let plain = compressed(&tried, &mut zstd::bulk::Compressor::new(LEVEL)?)?;
    let with = compressed(&tried, &mut zstd::bulk::Compressor::with_dictionary(LEVEL, &dictionary)?)?;
    let raw: usize = tried.iter().map(Vec::len).sum();
    let each = |bytes: usize| count(bytes) / count(tried.len());
    let mut out = std::io::stdout();
    writeln!(out, "SHA-256 {}, {} bytes", Digest::of(&dictionary).hex(), dictionary.len())?;
    writeln!(
        out,
        "{} other statements, bytes each: {:.1} as signed, {:.1} at level {LEVEL}, {:.1} with the dictionary",
        tried.len(),
        each(raw),
        each(plain),
        each(with)
    )?;
    Ok(())
}

/// Envelopes of a fleet whose every statement has an anchor of its own, as in life.
fn payloads(seed: u64, devices: usize, statements: usize) -> anyhow::Result<Vec<Vec<u8>>> {
    let mut fleet = Fleet::new(&Order::of(seed, devices))?;
    let mut log = Log::new("example.org/log/1/simulated", seed);
    let mut payloads = Vec::with_capacity(statements);
    while payloads.len() < statements {
        let made = fleet.next().context("a fleet speaks without end")?;
        log.push(made.statement.kind(), made.received, made.envelope.bytes());
        fleet.see(log.checkpoint().context("the log is not empty")?);
        payloads.push(made.envelope.bytes().to_vec());
    }
    Ok(payloads)
}

fn compressed(payloads: &[Vec<u8>], compressor: &mut zstd::bulk::Compressor<'_>) -> anyhow::Result<usize> {
    let mut bytes = 0;
    for payload in payloads {
        bytes += compressor.compress(payload)?.len();
    }
    Ok(bytes)
}
