//! Writes to a ledger until it is stopped, telling on standard output what it was answered. For the tests that stop it.
//!
//! - `ledger-writer write DIR COUNT`: submits statements 0 to COUNT − 1 of one device, from 0, and stops in good order.
//! - `ledger-writer drop DIR COUNT`: the same with a public tree beside it, so that the journal lets go of segments.
//! - `ledger-writer mix DIR SEED [no-sync]`: groups of statements and acts of all sizes, without end. With `no-sync` the
//!   journal's syncs do nothing: what a test finds that can lose something. With `tree` the public tree follows.
//! - `ledger-writer tree DIR`: opens the public tree beside the ledger, tells what it had to make again, and brings it level.
//! - `ledger-writer look DIR`: opens, stops in good order.
//! - `ledger-writer fsck DIR`: the report of fsck, as JSON; exit code 1 if it is not sound.

use std::fs::File;
use std::io::{self, Write as _, stdout};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use collector::datadir::DataDir;
use collector::journal::{Io, SystemIo};
use collector::ledger::{Ledger, Signing};
use collector::sequencer::{Context, Device, NewEntry, Outcome, Sequencer, SequencerThread};
use collector::tree::{Folder, PublicTree};
use evidence::envelope::Envelope;
use evidence::ids::Digest;
use evidence::leaf::{Leaf, Stream, commitment};
use tests::ledger;
use tests::seeded::Seeded;

/// Time between checkpoints of a mixture: some groups lie before one, some after.
const CHECKPOINT_INTERVAL: Duration = Duration::from_millis(4);
/// Statements of one group at most.
const TOGETHER_MAX: usize = 24;
/// Statements between two checkpoints of the public tree.
const TREE_EVERY: u64 = 32;
/// Statements that are submitted once more after a restart.
const AGAIN: u64 = 20;

fn main() -> anyhow::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["write", dir, count] => {
            let open = open(dir, Arc::new(SystemIo), Duration::ZERO)?;
            write(&open, count.parse()?)?;
            open.stop()?;
        }
        ["drop", dir, count] => {
            let open = open_keeping(dir, Arc::new(SystemIo), Duration::ZERO, 1)?;
            let mut tree = open_tree(dir, &open)?;
            write_with(&open, count.parse()?, |sequence| {
                if sequence % TREE_EVERY == 0 { follow(&mut tree, &open.ledger) } else { Ok(()) }
            })?;
            open.stop()?;
        }
        ["mix", dir, seed] => mix(&open(dir, Arc::new(SystemIo), CHECKPOINT_INTERVAL)?, seed.parse()?, None)?,
        ["mix", dir, seed, "no-sync"] => {
            mix(&open(dir, Arc::new(NoSync), CHECKPOINT_INTERVAL)?, seed.parse()?, None)?;
        }
        ["mix", dir, seed, "tree"] => {
            let open = open(dir, Arc::new(SystemIo), CHECKPOINT_INTERVAL)?;
            let tree = open_tree(dir, &open)?;
            mix(&open, seed.parse()?, Some(tree))?;
        }
        ["tree", dir] => {
            let open = open(dir, Arc::new(SystemIo), Duration::ZERO)?;
            follow(&mut open_tree(dir, &open)?, &open.ledger)?;
            open.stop()?;
        }
        ["look", dir] => open(dir, Arc::new(SystemIo), Duration::ZERO)?.stop()?,
        ["fsck", dir] => {
            let report = ledger::check(Path::new(dir))?;
            writeln!(stdout(), "{}", serde_json::to_string(&report)?)?;
            return Ok(ExitCode::from(u8::from(!report.sound)));
        }
        other => bail!("not a command: {other:?}"),
    }
    Ok(ExitCode::SUCCESS)
}

/// System calls that promise what they do not do.
struct NoSync;

impl Io for NoSync {
    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        SystemIo.write_at(file, bytes, offset)
    }

    fn sync_data(&self, _file: &File) -> io::Result<()> {
        Ok(())
    }

    fn sync_directory(&self, dir: &Path) -> io::Result<()> {
        SystemIo.sync_directory(dir)
    }

    fn allocate(&self, file: &File, bytes: u64) -> io::Result<()> {
        SystemIo.allocate(file, bytes)
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        SystemIo.free_bytes(dir)
    }
}

/// An open ledger and its sequencer.
struct Open {
    ledger: Ledger,
    sequencer: Sequencer,
    thread: SequencerThread,
}

/// Opens as the collector does, and tells what that found.
fn open(dir: &str, io: Arc<dyn Io>, checkpoint_interval: Duration) -> anyhow::Result<Open> {
    open_keeping(dir, io, checkpoint_interval, u64::MAX)
}

/// The same, keeping that many segments of the journal which nothing needs.
fn open_keeping(
    dir: &str,
    io: Arc<dyn Io>,
    checkpoint_interval: Duration,
    segments: u64,
) -> anyhow::Result<Open> {
    let path = Path::new(dir);
    let dir = Arc::new(DataDir::open(path)?);
    let mut options = ledger::options(ledger::segment_bytes(path)?);
    options.io = io;
    options.journal_segments_kept = segments;
    let mut writer_options = ledger::writer_options(&dir)?;
    writer_options.checkpoint_interval = checkpoint_interval;
    let (ledger, unstarted) = Ledger::open(dir, &options)?;
    let report = unstarted.report.clone();
    let (sequencer, thread) = unstarted.start(writer_options)?;
    let told = serde_json::json!({
        "size": ledger.size(),
        "torn_bytes": report.recovery.torn_bytes,
        "rebuilt": report.rebuilt,
        "indexed_entries": report.indexed_entries,
        "signing": ledger.signing() == Signing::Active,
    });
    writeln!(stdout(), "opened {told}")?;
    tell_checkpoint(&ledger)?;
    Ok(Open { ledger, sequencer, thread })
}

impl Open {
    /// Stops in good order.
    fn stop(self) -> anyhow::Result<()> {
        self.thread.stop();
        tell_checkpoint(&self.ledger)
    }
}

fn write(open: &Open, count: u64) -> anyhow::Result<()> {
    write_with(open, count, |_| Ok(()))
}

fn write_with(
    open: &Open,
    count: u64,
    mut after: impl FnMut(u64) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut previous = Digest::ZERO;
    for sequence in 0..count {
        let envelope = ledger::statement(sequence, previous)?;
        previous = envelope.hash();
        let answer = open.sequencer.submit(Device::new(&envelope)?)?;
        tell_stored(sequence, &envelope, answer.blocking_recv()??)?;
        tell_checkpoint(&open.ledger)?;
        after(sequence)?;
    }
    Ok(())
}

/// The tree beside the ledger, and what it had to make again.
fn open_tree(dir: &str, open: &Open) -> anyhow::Result<PublicTree> {
    let folder = Folder::new(&Path::new(dir).join("tree"));
    let (tree, repairs) = PublicTree::open(folder, open.ledger.clone(), &[ledger::verifier_key()?])?;
    let told = serde_json::json!({
        "size": repairs.size, "files": repairs.files, "checkpoint": repairs.checkpoint,
    });
    writeln!(stdout(), "tree-opened {told}")?;
    Ok(tree)
}

/// Shows the newest checkpoint, and tells that it is shown.
fn follow(tree: &mut PublicTree, ledger: &Ledger) -> anyhow::Result<()> {
    if let Some(published) = ledger.checkpoint() {
        tree.publish(&published)?;
        writeln!(stdout(), "tree {}", tree.size())?;
    }
    Ok(())
}

/// Never ends in good order.
fn mix(open: &Open, seed: u64, mut tree: Option<PublicTree>) -> anyhow::Result<()> {
    let mut seeded = Seeded::new(seed);
    let state = open.ledger.instance(&ledger::instance())?;
    let mut next = state.map_or(0, |state| state.next_sequence).saturating_sub(AGAIN);
    let mut previous = match next.checked_sub(1) {
        None => Digest::ZERO,
        Some(last) => {
            let index = open.ledger.statement(&ledger::instance(), last)?.context("the statement before")?;
            Envelope::parse(&open.ledger.entry(index)?.payload)?.hash()
        }
    };
    loop {
        let mut statements = Vec::new();
        for _ in 0..=seeded.below(TOGETHER_MAX) {
            let envelope = ledger::statement(next, previous)?;
            previous = envelope.hash();
            statements.push((next, open.sequencer.submit(Device::new(&envelope)?)?, envelope));
            next += 1;
        }
        let mut acts = Vec::new();
        for _ in 0..seeded.below(3) {
            acts.push(open.sequencer.act(Box::new(|context: &Context| {
                let place = Stream::CHAINED.iter().position(|stream| *stream == ledger::ACT.stream);
                let head = place.and_then(|place| context.streams.get(place)).ok_or("no such stream")?;
                Ok(vec![NewEntry::new(ledger::ACT, ledger::act(head.entries))])
            }))?);
        }
        for (sequence, answer, envelope) in statements {
            tell_stored(sequence, &envelope, answer.blocking_recv()??)?;
        }
        for answer in acts {
            for appended in answer.blocking_recv()?? {
                let Leaf { received, commitment, chain, .. } = appended.leaf;
                let number = chain.context("an act has a place in its stream")?.sequence;
                writeln!(stdout(), "act {number} {} {} {commitment}", appended.index, received.ms())?;
            }
        }
        tell_checkpoint(&open.ledger)?;
        if let Some(tree) = &mut tree {
            follow(tree, &open.ledger)?;
        }
    }
}

fn tell_stored(sequence: u64, envelope: &Envelope, outcome: Outcome) -> anyhow::Result<()> {
    let Outcome::Stored(stored) = outcome else { bail!("statement {sequence}: {outcome:?}") };
    let commitment = commitment(&stored.salt, envelope.bytes());
    writeln!(stdout(), "stored {sequence} {} {} {commitment}", stored.index, stored.received.ms())?;
    Ok(())
}

fn tell_checkpoint(ledger: &Ledger) -> anyhow::Result<()> {
    if let Some(published) = ledger.checkpoint() {
        writeln!(stdout(), "checkpoint {} {}", published.checkpoint.size, published.checkpoint.root)?;
    }
    Ok(())
}
