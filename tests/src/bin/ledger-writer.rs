//! Writes to a ledger until it is killed, telling on standard output what it was answered. For `ledger_crash.rs`.
//!
//! `ledger-writer DIR COUNT`: submits statements 0 to COUNT − 1 of one device, from 0, and stops in good order.

use std::io::{Write as _, stdout};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use collector::datadir::DataDir;
use collector::ledger::Ledger;
use collector::sequencer::{Device, Outcome, Sequencer};
use evidence::ids::Digest;
use tests::ledger;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let dir = arguments.next().context("which data directory?")?;
    let count: u64 = arguments.next().context("how many statements?")?.parse()?;
    let dir = Arc::new(DataDir::open(Path::new(&dir))?);
    let mut options = ledger::writer_options(&dir)?;
    options.checkpoint_interval = Duration::ZERO;
    let (ledger, unstarted) = Ledger::open(dir, &ledger::options())?;
    let (sequencer, thread) = unstarted.start(options)?;
    write(&ledger, &sequencer, count)?;
    thread.stop();
    tell_checkpoint(&ledger)
}

fn write(ledger: &Ledger, sequencer: &Sequencer, count: u64) -> anyhow::Result<()> {
    let mut previous = Digest::ZERO;
    for sequence in 0..count {
        let envelope = ledger::statement(sequence, previous)?;
        previous = envelope.hash();
        match sequencer.submit(Device::new(&envelope)?)?.blocking_recv()?? {
            Outcome::Stored(stored) => {
                let commitment = evidence::leaf::commitment(&stored.salt, envelope.bytes());
                let received = stored.received.ms();
                writeln!(stdout(), "stored {sequence} {} {received} {commitment}", stored.index)?;
            }
            other => bail!("statement {sequence}: {other:?}"),
        }
        tell_checkpoint(ledger)?;
    }
    Ok(())
}

fn tell_checkpoint(ledger: &Ledger) -> anyhow::Result<()> {
    if let Some(published) = ledger.checkpoint() {
        writeln!(stdout(), "checkpoint {} {}", published.checkpoint.size, published.checkpoint.root)?;
    }
    Ok(())
}
