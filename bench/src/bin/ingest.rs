//! Durable, strictly verified attestations per second over mutual TLS, and how long an answer takes.
//!
//! The collector is the release binary in a process of its own; the load comes from this process on the same machine.
//! docs/BENCHMARKS.md says how to read the figures.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bench::attestations::Chain;
use bench::device::Device;
use bench::installation::{Installation, program};
use bench::limits::{Signed, sync_ms, verify_rate};
use bench::logged;
use bench::machine::{self, Machine};
use bench::numbers::{count, median, quantile, spread};
use bench::process::{Process, cpu_of};
use bench::stream::{Measured, Receipt, Stream};
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

/// Envelopes the collector keeps waiting for its writer; with more in flight it asks to slow down.
const IN_FLIGHT_MAX: usize = 4096;
/// Signatures taken in turn by the verification limit: more than fit a cache of results, few enough to be made at once.
const SIGNED: usize = 256;

/// Syncs timed before the answers of a round, and as many after them.
const SYNCS: usize = 200;

/// Measures ingest of a real collector on this machine, in rounds; every ratio is of figures of the same round.
#[derive(Debug, Parser)]
struct Arguments {
    /// The collector's binary [default: tallystick-collector beside this program].
    #[arg(long, value_name = "FILE")]
    collector: Option<PathBuf>,
    /// Where the collector writes, on the disk to be measured [default: a temporary directory, removed at the end].
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Rounds.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: u16,
    /// Devices, one connection each.
    #[arg(long, default_value_t = 16)]
    devices: usize,
    /// Envelopes in flight on each connection.
    #[arg(long, default_value_t = 128)]
    window: usize,
    /// Attestations of one device in one round.
    #[arg(long, default_value_t = 2_500)]
    attestations: usize,
    /// Answers timed in one round with window 1; ten times as many with window 64.
    #[arg(long, default_value_t = 300)]
    answers: usize,
    /// Attestations offered per second in the open loop, by all devices together.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    offered: u32,
    /// Attestations of one device in the open loop of one round.
    #[arg(long, default_value_t = 300)]
    offers: usize,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = tokio::runtime::Runtime::new().map_err(anyhow::Error::from).and_then(|runtime| {
        runtime.block_on(async {
            let report = measure(&arguments).await?;
            let text =
                if arguments.json { serde_json::to_string_pretty(&report.json())? } else { report.table() };
            writeln!(std::io::stdout(), "{text}").context("cannot write the report")
        })
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Standard error may be closed; there is nobody left to tell.
            let _unheard = writeln!(std::io::stderr(), "ingest: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// The figures of one round.
struct Round {
    /// Strict verifications per second of all cores, before and after the load.
    verify_rate: f64,
    /// Median sync, milliseconds.
    sync_ms: f64,
    /// The slowest of a hundred, milliseconds.
    sync_p99_ms: f64,
    /// Attestations per second, first handed over to last answered.
    rate: f64,
    /// Microseconds of CPU per attestation: the collector's and the load generator's.
    collector_us: f64,
    generator_us: f64,
    /// Seconds from the last answer to the last proof.
    proved_s: f64,
    /// Inclusion proofs received.
    proofs: usize,
    /// Milliseconds to an answer with window 1 and 64: p50, p99.
    window_1: (f64, f64),
    window_64: (f64, f64),
    /// The same with a rate that is offered whatever the answers.
    open: (f64, f64),
}

struct Report {
    machine: Machine,
    load: (String, String),
    envelope_bytes: usize,
    rounds: Vec<Round>,
    attestations: usize,
    devices: usize,
    window: usize,
    entries: u64,
    checkpoints: Value,
}

struct Bench<'a> {
    arguments: &'a Arguments,
    installation: Installation,
    server: Process,
    chains: Vec<Chain>,
    signed: Vec<Signed>,
    receipts: Vec<Receipt>,
    bar: ProgressBar,
}

async fn measure(arguments: &Arguments) -> anyhow::Result<Report> {
    anyhow::ensure!(arguments.devices >= 1 && arguments.window >= 1, "--devices and --window are at least 1");
    anyhow::ensure!(
        arguments.devices * arguments.window <= IN_FLIGHT_MAX,
        "--devices × --window is more than {IN_FLIGHT_MAX}: the collector would ask to slow down"
    );
    let temporary = tempfile::tempdir().context("no temporary directory")?;
    let folder = arguments.dir.as_deref().unwrap_or(temporary.path());
    std::fs::create_dir_all(folder).context("cannot make --dir")?;
    let binary = program(arguments.collector.clone(), "tallystick-collector")?;
    let load = machine::load();
    let per_round = arguments.devices * (arguments.attestations + arguments.offers) + 11 * arguments.answers;
    let total = (per_round * usize::from(arguments.rounds)) as u64;
    let bar = ProgressBar::new(total).with_style(ProgressStyle::with_template(
        "{msg:24} [{bar:40}] {pos}/{len} attestations, {elapsed} (about {eta} left)",
    )?);
    bar.set_message("enrolling");
    let installation = Installation::create(&binary, folder)?;
    let server = installation.serve()?;
    let mut chains = Vec::with_capacity(arguments.devices);
    // Each waits for a checkpoint of its own, so they enrol beside each other.
    let mut enrolling = Vec::with_capacity(arguments.devices);
    for _ in 0..arguments.devices {
        let (server, token) = (installation.enrol.clone(), installation.token()?);
        enrolling.push(tokio::spawn(async move { Device::enrol(&server, &token).await }));
    }
    for (seed, device) in (1..).zip(enrolling) {
        chains.push(Chain::new(device.await??, seed)?);
    }
    let mut bench = Bench {
        arguments,
        installation,
        server,
        chains,
        signed: Vec::new(),
        receipts: Vec::with_capacity(usize::try_from(total)?),
        bar,
    };
    let mut rounds = Vec::with_capacity(usize::from(arguments.rounds));
    for round in 1..=arguments.rounds {
        rounds.push(bench.round(round).await?);
    }
    let machine = Machine::here(folder);
    let load = (load, machine::load());
    bench.check(rounds, machine, load)
}

impl Bench<'_> {
    async fn round(&mut self, number: u16) -> anyhow::Result<Round> {
        let bar = self.bar.clone();
        let say = |what: &str| bar.set_message(format!("round {number}: {what}"));
        say("signing");
        let answers = self.arguments.answers;
        let envelopes: Vec<Vec<Vec<u8>>> = self.sign(self.arguments.attestations)?;
        if self.signed.is_empty() {
            let step = (self.chains.len() * self.arguments.attestations / SIGNED).max(1);
            let all = self.chains.iter().zip(&envelopes).flat_map(|(chain, made)| {
                made.iter().map(|envelope| Signed::of(envelope, *chain.device().key.public()))
            });
            self.signed = all.step_by(step).collect::<Result<_, _>>()?;
        }
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        say("limits");
        let verify_before = verify_rate(&self.signed, cores, Duration::from_millis(1500))?;
        say("streaming");
        let (collector_cpu, generator_cpu) = (self.server.cpu()?, cpu_of("self")?);
        let measured = self.load(envelopes).await?;
        let stored = measured.iter().map(|one| one.receipts.len()).sum::<usize>();
        let per_attestation = |seconds: f64| seconds * 1e6 / count(stored);
        let collector_us = per_attestation(self.server.cpu()?.own - collector_cpu.own);
        let generator_us = per_attestation(cpu_of("self")?.own - generator_cpu.own);
        let edge = |last: fn(&Measured) -> Instant| measured.iter().map(last).max();
        let begun = measured.iter().map(|one| one.begun).min().context("no stream")?;
        let last_stored = edge(|one| one.stored).context("no stream")?;
        let proved = edge(|one| one.proved).context("no stream")?;
        let proofs = measured.iter().map(|one| one.proofs).sum();
        say("limits");
        let verify_after = verify_rate(&self.signed, cores, Duration::from_millis(1500))?;
        self.receipts.extend(measured.into_iter().flat_map(|one| one.receipts));
        let mut syncs = sync_ms(&self.installation.data(), SYNCS)?;
        say("answers, window 1");
        let window_1 = self.answers(answers, 1).await?;
        say("answers, window 64");
        let window_64 = self.answers(answers * 10, 64).await?;
        say("open loop");
        let open = self.open_loop().await?;
        syncs.extend(sync_ms(&self.installation.data(), SYNCS)?);
        Ok(Round {
            verify_rate: f64::midpoint(verify_before, verify_after),
            sync_ms: median(&syncs),
            sync_p99_ms: quantile(&syncs, 0.99),
            rate: count(stored) / last_stored.duration_since(begun).as_secs_f64(),
            collector_us,
            generator_us,
            proved_s: proved.duration_since(last_stored).as_secs_f64(),
            proofs,
            window_1,
            window_64,
            open,
        })
    }

    /// All devices at once. Each stream is open before the first envelope is sent on any.
    async fn load(&self, envelopes: Vec<Vec<Vec<u8>>>) -> anyhow::Result<Vec<Measured>> {
        let (window, begin) = (self.arguments.window, Arc::new(tokio::sync::Barrier::new(envelopes.len())));
        let mut streams = Vec::with_capacity(envelopes.len());
        for (chain, envelopes) in self.chains.iter().zip(envelopes) {
            let first = chain.next_sequence() - envelopes.len() as u64;
            let stream = Stream::open(&self.installation.agents, chain.device(), first, window).await?;
            let (bar, begin) = (self.bar.clone(), Arc::clone(&begin));
            streams.push(async move {
                begin.wait().await;
                stream.submit(first, envelopes, window, |more| bar.inc(more)).await
            });
        }
        let running: Vec<_> = streams.into_iter().map(tokio::spawn).collect();
        let mut measured = Vec::with_capacity(running.len());
        for one in running {
            measured.push(one.await??);
        }
        Ok(measured)
    }

    /// The next `count` statements of each device.
    fn sign(&mut self, count: usize) -> anyhow::Result<Vec<Vec<Vec<u8>>>> {
        self.chains.iter_mut().map(|chain| chain.sign(count)).collect()
    }

    /// All devices in turn, each at its share of the offered rate, whatever is answered when: p50 and p99 of the
    /// milliseconds from sending to the answer.
    async fn open_loop(&mut self) -> anyhow::Result<(f64, f64)> {
        let Arguments { offered, offers, .. } = *self.arguments;
        let envelopes = self.sign(offers)?;
        let between = Duration::from_secs(1) / offered;
        let period = between * u32::try_from(self.chains.len())?;
        let mut streams = Vec::with_capacity(self.chains.len());
        for (chain, envelopes) in self.chains.iter().zip(envelopes) {
            let first = chain.next_sequence() - offers as u64;
            let stream = Stream::open(&self.installation.agents, chain.device(), first, offers).await?;
            streams.push((stream, first, envelopes));
        }
        // Far enough ahead that every task runs by then.
        let mut first_at = Instant::now() + Duration::from_millis(50);
        let mut running = Vec::with_capacity(streams.len());
        for (stream, first, envelopes) in streams {
            let (bar, at) = (self.bar.clone(), first_at);
            let offer = async move { stream.offer(first, envelopes, at, period, |more| bar.inc(more)).await };
            running.push(tokio::spawn(offer));
            first_at += between;
        }
        let mut ack_ms = Vec::new();
        for one in running {
            let measured = one.await??;
            ack_ms.extend(measured.ack_ms);
            self.receipts.extend(measured.receipts);
        }
        Ok((quantile(&ack_ms, 0.5), quantile(&ack_ms, 0.99)))
    }

    /// One device alone: p50 and p99 of the milliseconds to an answer.
    async fn answers(&mut self, count: usize, window: usize) -> anyhow::Result<(f64, f64)> {
        let chain = self.chains.first_mut().context("a device")?;
        let first = chain.next_sequence();
        let envelopes = chain.sign(count)?;
        let stream = Stream::open(&self.installation.agents, chain.device(), first, window).await?;
        let bar = self.bar.clone();
        // On a worker of the runtime like the load: the main thread would be woken by another.
        let measured =
            tokio::spawn(async move { stream.submit(first, envelopes, window, |more| bar.inc(more)).await })
                .await??;
        self.receipts.extend(measured.receipts);
        Ok((quantile(&measured.ack_ms, 0.5), quantile(&measured.ack_ms, 0.99)))
    }

    /// Stops the collector and checks that everything it answered as stored is in its log.
    fn check(self, rounds: Vec<Round>, machine: Machine, load: (String, String)) -> anyhow::Result<Report> {
        self.bar.set_message("stopping");
        self.server.stop()?;
        self.bar.set_message("fsck");
        let fsck = self.installation.fsck()?;
        anyhow::ensure!(fsck.get("sound") == Some(&json!(true)), "fsck: {fsck}");
        self.bar.set_message("comparing with the log");
        self.bar.set_position(0);
        let logged = logged::check(&self.installation.data(), &self.receipts, |entries, read| {
            self.bar.set_length(entries);
            self.bar.set_position(read);
        })?;
        anyhow::ensure!(fsck.get("entries") == Some(&json!(logged.entries)), "fsck read another log: {fsck}");
        self.bar.finish_and_clear();
        let sizes: Vec<f64> = self.signed.iter().map(|one| count(one.message.len())).collect();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a length below 64 KiB")]
        let signed_bytes = median(&sizes) as usize;
        Ok(Report {
            machine,
            load,
            envelope_bytes: signed_bytes,
            rounds,
            attestations: logged.attestations,
            devices: self.arguments.devices,
            window: self.arguments.window,
            entries: logged.entries,
            checkpoints: fsck.get("checkpoints").cloned().unwrap_or_default(),
        })
    }
}

/// A row of the report: what, its unit, and its value of each round.
type Row = (&'static str, &'static str, Vec<f64>);

impl Report {
    fn rows(&self) -> Vec<Row> {
        let of = |value: fn(&Round) -> f64| self.rounds.iter().map(value).collect::<Vec<_>>();
        vec![
            ("durable attestations", "1/s", of(|r| r.rate)),
            ("verify_strict, all cores", "1/s", of(|r| r.verify_rate)),
            ("ratio of the two", "", of(|r| r.rate / r.verify_rate)),
            ("collector CPU", "us each", of(|r| r.collector_us)),
            ("load generator CPU", "us each", of(|r| r.generator_us)),
            ("last answer to last proof", "s", of(|r| r.proved_s)),
            ("proofs received", "", of(|r| count(r.proofs))),
            ("one fdatasync, p50", "ms", of(|r| r.sync_ms)),
            ("one fdatasync, p99", "ms", of(|r| r.sync_p99_ms)),
            ("answer, window 1, p50", "ms", of(|r| r.window_1.0)),
            ("  in median syncs", "", of(|r| r.window_1.0 / r.sync_ms)),
            ("answer, window 1, p99", "ms", of(|r| r.window_1.1)),
            ("  in median syncs", "", of(|r| r.window_1.1 / r.sync_ms)),
            ("answer, window 64, p50", "ms", of(|r| r.window_64.0)),
            ("  in median syncs", "", of(|r| r.window_64.0 / r.sync_ms)),
            ("answer, window 64, p99", "ms", of(|r| r.window_64.1)),
            ("  in median syncs", "", of(|r| r.window_64.1 / r.sync_ms)),
            ("answer, open loop, p50", "ms", of(|r| r.open.0)),
            ("  in median syncs", "", of(|r| r.open.0 / r.sync_ms)),
            ("answer, open loop, p99", "ms", of(|r| r.open.1)),
            ("  in p99 syncs, goal <= 3", "", of(|r| r.open.1 / r.sync_p99_ms)),
        ]
    }

    fn table(&self) -> String {
        let mut lines = vec![
            self.machine.to_string(),
            format!("load average before {}, after {}", self.load.0, self.load.1),
            format!(
                "{} devices, window {}, {} bytes signed each; {} rounds",
                self.devices,
                self.window,
                self.envelope_bytes,
                self.rounds.len()
            ),
            format!("{:28} {:>8} {:>10} {:>10} {:>10}", "", "", "median", "least", "most"),
        ];
        for (name, unit, values) in self.rows() {
            let (least, middle, most) = spread(&values);
            lines.push(format!("{name:28} {unit:>8} {middle:>10.3} {least:>10.3} {most:>10.3}"));
        }
        lines.push(format!(
            "checked: fsck is sound, and each of {} answers is an attestation of the log ({} entries, {} checkpoints)",
            self.attestations, self.entries, self.checkpoints
        ));
        lines.join("\n")
    }

    fn json(&self) -> Value {
        let rows: Vec<Value> = self
            .rows()
            .into_iter()
            .map(|(name, unit, values)| {
                let (least, middle, most) = spread(&values);
                json!({ "name": name.trim(), "unit": unit, "median": middle, "least": least, "most": most,
                        "rounds": values })
            })
            .collect();
        json!({
            "machine": self.machine.json(), "load_before": self.load.0, "load_after": self.load.1,
            "devices": self.devices, "window": self.window, "signed_bytes": self.envelope_bytes, "rows": rows,
            "checked_attestations": self.attestations, "entries": self.entries, "checkpoints": self.checkpoints,
        })
    }
}
