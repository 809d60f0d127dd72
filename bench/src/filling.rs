//! Fills a ledger by its real write path: the sequencer of the collector's library, with the statements of a fleet.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use collector::clock::SimulatedClock;
use collector::datadir::DataDir;
use collector::ledger::{Ledger, LedgerOptions};
use collector::sequencer::{
    Context, Device, DeviceAnswer, NewEntry, Outcome, Sequencer, SubmitError, WriterOptions, system_random,
};
use collector::store::written;
use collector::tree;
use evidence::envelope::Envelope;
use evidence::ids::Digest;
use evidence::keys::SecretKey;
use evidence::leaf::{Kind, Leaf, commitment};
use evidence::note::{Checkpoint, VerifierKey};
use fleet::log::Edge;
use fleet::{Fleet, Made, Order};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::process::{cpu_of, memory_of};
use crate::reference::Reference;

/// Origin of the log.
pub const ORIGIN: &str = "bench.test/log/1/simulated";
/// Statements submitted and not answered at most: two full groups, so that one is formed while one is synced.
const IN_FLIGHT_MAX: usize = 1024;
/// How long the public tree may take to show the last entry.
const TREE_MAX: Duration = Duration::from_mins(30);

/// What is filled, and how.
#[derive(Debug, Clone)]
pub struct Filling {
    /// The data directory to be made.
    pub data: std::path::PathBuf,
    /// File of the reference to be made.
    pub reference: std::path::PathBuf,
    /// Statements.
    pub entries: u64,
    /// The devices that make them.
    pub order: Order,
    /// Whether every signature is checked before its statement is submitted, as the collector does with what it receives.
    pub verify: bool,
}

/// What a filling took. Told by the process that did it, before it is killed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Filled {
    /// Entries, the genesis included.
    pub size: u64,
    /// Root over them, computed beside the ledger from what it answered.
    pub root: String,
    /// From the first statement submitted to the last one answered.
    pub seconds: f64,
    /// Of them, those in which this thread made statements, computed the tree beside, and wrote the reference.
    pub generator_seconds: f64,
    /// From the last answer to the last entry in the public tree.
    pub tree_seconds: f64,
    /// Processor time of the whole process, seconds.
    pub cpu_seconds: f64,
    /// Keys and values put into sled, bytes.
    pub put_bytes: u64,
    /// Envelopes, bytes.
    pub envelope_bytes: u64,
    /// The reference file, bytes.
    pub reference_bytes: u64,
    /// Most that was ever resident, KiB, the generator included.
    pub peak_rss_kib: u64,
    /// Days from the first statement to the last, as the fleet tells time.
    pub days: f64,
}

/// The log key.
pub fn log_key() -> anyhow::Result<SecretKey> {
    Ok(SecretKey::from_seed(&[5; 32])?)
}

/// The log key as a verifier has it.
pub fn verifier_key() -> anyhow::Result<VerifierKey> {
    Ok(VerifierKey::new(ORIGIN, *log_key()?.public())?)
}

/// How the ledger is opened.
pub fn options() -> LedgerOptions {
    LedgerOptions::default()
}

fn create(path: &Path, order: &Order) -> anyhow::Result<()> {
    let dir = DataDir::create(path, 0)?;
    let genesis = Box::new(|_: &Context| Ok(vec![NewEntry::new(Kind::GENESIS, b"genesis".to_vec())]));
    let mut random = system_random();
    Ok(Ledger::create(&dir, &options(), &dir.high_water(), order.begin, &mut random, genesis)?)
}

/// Fills a new ledger; `progress` is told the number of statements answered, `tell` what it took. Afterwards it goes on
/// submitting without end: the process is to be killed in the midst of that.
pub fn fill(
    filling: &Filling,
    progress: impl Fn(u64),
    tell: impl FnOnce(&Filled) -> anyhow::Result<()>,
) -> anyhow::Result<Infallible> {
    create(&filling.data, &filling.order)?;
    let dir = Arc::new(DataDir::open(&filling.data)?);
    let (high_water, root) = (dir.high_water(), dir.tree());
    let clock = Arc::new(SimulatedClock::new(filling.order.begin));
    let (ledger, unstarted) = Ledger::open(dir, &options())?;
    let mut writer = WriterOptions::new(ORIGIN, log_key()?, clock.clone(), high_water);
    writer.fatal = Box::new(|reason| {
        // Standard error may be closed; there is nobody left to tell.
        let _unheard = writeln!(std::io::stderr(), "ledger: the sequencer stopped: {reason}");
        std::process::abort()
    });
    let (sequencer, thread) = unstarted.start(writer)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let entered = runtime.enter();
    let _tree = tree::start(root.clone(), ledger.clone(), vec![verifier_key()?])?;
    drop(entered);
    let mut edge = Edge::default();
    edge.push(ledger.leaf(0)?.hash());
    let mut run = Run {
        sequencer,
        edge,
        anchors: VecDeque::with_capacity(IN_FLIGHT_MAX),
        in_flight: VecDeque::with_capacity(IN_FLIGHT_MAX),
        waited: Duration::ZERO,
        answered: 0,
    };
    let mut fleet = Fleet::new(&filling.order)?;
    let mut reference = Reference::create(&filling.reference)?;
    let (begun, mut envelope_bytes, mut last) = (Instant::now(), 0, filling.order.begin);
    for _ in 0..filling.entries {
        let made = run.next(&mut fleet, filling.verify)?;
        reference.push(made.envelope.bytes())?;
        envelope_bytes += made.envelope.bytes().len() as u64;
        clock.advance(made.received);
        last = made.received;
        run.submit(made)?;
        progress(run.answered);
    }
    while !run.in_flight.is_empty() {
        run.answer()?;
    }
    progress(run.answered);
    let seconds = begun.elapsed().as_secs_f64();
    let reference_bytes = reference.finish()?;
    let (size, expected) = (run.edge.size(), run.edge.root());
    let snapshot = ledger.snapshot();
    anyhow::ensure!(snapshot.size == size && snapshot.root == expected, "the ledger has another root");
    let stored = Instant::now();
    while shown(&root) < size {
        anyhow::ensure!(stored.elapsed() < TREE_MAX, "the public tree does not show entry {size}");
        std::thread::sleep(Duration::from_millis(50));
    }
    let filled = Filled {
        size,
        root: expected.hex(),
        seconds,
        generator_seconds: seconds - run.waited.as_secs_f64(),
        tree_seconds: stored.elapsed().as_secs_f64(),
        cpu_seconds: cpu_of("self")?.own,
        put_bytes: written::bytes(),
        envelope_bytes,
        reference_bytes,
        peak_rss_kib: memory_of("self")?.peak_rss_kib,
        days: crate::numbers::millis_in_days(last.ms() - filling.order.begin.ms()),
    };
    tell(&filled)?;
    loop {
        let made = run.next(&mut fleet, filling.verify)?;
        clock.advance(made.received);
        run.submit(made)?;
        anyhow::ensure!(!thread.is_finished(), "the sequencer has stopped");
    }
}

/// Size of the public tree's own checkpoint; 0 while there is none.
fn shown(tree: &Path) -> u64 {
    let note = std::fs::read_to_string(tree.join("checkpoint")).unwrap_or_default();
    note.lines().nth(1).and_then(|line| line.parse().ok()).unwrap_or_default()
}

struct Run {
    sequencer: Sequencer,
    edge: Edge,
    anchors: VecDeque<Checkpoint>,
    in_flight: VecDeque<(oneshot::Receiver<DeviceAnswer>, Kind, Envelope)>,
    waited: Duration,
    answered: u64,
}

impl Run {
    /// What the fleet says next, anchored to a tree of its own as in life, where a statement comes every few seconds.
    fn next(&mut self, fleet: &mut Fleet, verify: bool) -> anyhow::Result<Made> {
        if let Some(anchor) = self.anchors.pop_front() {
            fleet.see(anchor);
        }
        let made = fleet.next().context("a fleet speaks without end")?;
        if verify {
            let device = fleet.devices().get(made.device).context("a device")?;
            made.envelope.verify(device.key.public())?;
        }
        Ok(made)
    }

    fn submit(&mut self, made: Made) -> anyhow::Result<()> {
        let Made { statement, envelope, .. } = made;
        let (device, kind) = (Device::of(&statement, &envelope), statement.kind());
        while self.in_flight.len() >= IN_FLIGHT_MAX {
            self.answer()?;
        }
        let receiver = match self.sequencer.submit(device) {
            Ok(receiver) => receiver,
            Err(SubmitError::Busy) => bail!("the queue is full with {} in flight", self.in_flight.len()),
            Err(error) => return Err(error.into()),
        };
        self.in_flight.push_back((receiver, kind, envelope));
        Ok(())
    }

    /// Takes the oldest answer, waiting for it, and keeps the tree of what was answered.
    fn answer(&mut self) -> anyhow::Result<()> {
        let (receiver, kind, envelope) = self.in_flight.pop_front().context("nothing is in flight")?;
        let begun = Instant::now();
        let outcome = receiver.blocking_recv()??;
        self.waited += begun.elapsed();
        let Outcome::Stored(stored) = outcome else { bail!("not stored: {outcome:?}") };
        anyhow::ensure!(stored.index == self.edge.size(), "another index than the next");
        let commitment: Digest = commitment(&stored.salt, envelope.bytes());
        let leaf = Leaf { kind, received: stored.received, commitment, chain: None };
        self.edge.push(leaf.hash());
        let (size, root) = (self.edge.size(), self.edge.root());
        self.anchors.push_back(Checkpoint { origin: ORIGIN.to_owned(), size, root });
        self.answered += 1;
        Ok(())
    }
}
