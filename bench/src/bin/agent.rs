//! What an agent costs the laptop it runs on: size, memory at rest, CPU time of one cycle.
//!
//! Everything is the release binaries: a collector in a process of its own, and the agent enrolled with it, observing
//! this machine. docs/BENCHMARKS.md says how to read the figures.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use bench::installation::{Installation, program};
use bench::machine::{self, Machine};
use bench::numbers::spread;
use bench::process::{Cpu, Memory, Process, cpu_of, run};
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

/// What the agent logs when the log's proof for a statement was verified: the end of a cycle.
const CYCLE_ENDED: &str = "is proved to be in the log";
/// The agent's shortest interval, minutes.
const INTERVAL_MINUTES: u64 = 5;
/// Longest wait for the end of a cycle: the interval, and room for a slow look and the proof.
const CYCLE_MAX: Duration = Duration::from_secs(60 * INTERVAL_MINUTES + 120);
/// After a cycle the agent counts as idle: its worker threads have gone by then.
const SETTLED: Duration = Duration::from_secs(20);

/// Measures a real agent that reports to a real collector on this machine. Takes about five minutes per cycle.
#[derive(Debug, Parser)]
struct Arguments {
    /// The agent's binary [default: tallystick-agent beside this program].
    #[arg(long, value_name = "FILE")]
    agent: Option<PathBuf>,
    /// The collector's binary [default: tallystick-collector beside this program].
    #[arg(long, value_name = "FILE")]
    collector: Option<PathBuf>,
    /// Scheduled cycles of `run` to wait for, five minutes each.
    #[arg(long, default_value_t = 2)]
    cycles: u32,
    /// Runs of `probe` and of `once`, each a process of its own.
    #[arg(long, default_value_t = 20)]
    runs: u32,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = measure(&arguments).and_then(|report| {
        let text =
            if arguments.json { serde_json::to_string_pretty(&report.json())? } else { report.table() };
        writeln!(std::io::stdout(), "{text}").context("cannot write the report")
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Standard error may be closed; there is nobody left to tell.
            let _unheard = writeln!(std::io::stderr(), "agent: {error:#}");
            ExitCode::from(2)
        }
    }
}

struct Report {
    machine: Machine,
    load: (String, String),
    /// Bytes of the binary.
    binary_bytes: u64,
    /// Of `run`, idle after its first report.
    idle: Memory,
    /// Milliseconds of CPU per scheduled cycle of `run`: its own, and of the programs it asked.
    cycles: Vec<(f64, f64)>,
    /// Milliseconds of CPU of a whole `probe` and a whole `once --until-proved`, with the programs they ask.
    probes: Vec<f64>,
    onces: Vec<f64>,
}

fn measure(arguments: &Arguments) -> anyhow::Result<Report> {
    let agent = program(arguments.agent.clone(), "tallystick-agent")?;
    let collector = program(arguments.collector.clone(), "tallystick-collector")?;
    let folder = tempfile::tempdir().context("no temporary directory")?;
    let load = machine::load();
    let bar = ProgressBar::new(u64::from(1 + arguments.cycles + 2 * arguments.runs))
        .with_style(ProgressStyle::with_template("{msg:32} [{bar:40}] {pos}/{len}, {elapsed}")?);
    bar.enable_steady_tick(Duration::from_secs(1));
    let installation = Installation::create(&collector, folder.path())?;
    let server = installation.serve()?;
    let state = folder.path().join("agent");
    enrol(&agent, &installation, folder.path(), &state)?;
    bar.set_message("first report of `run`");
    let log = folder.path().join("agent.log");
    let mut command = Command::new(&agent);
    command.args(["run", "--state"]).arg(&state);
    let mut running = Process::start(&mut command, &log)?;
    wait_for_cycles(&mut running, &log, 1)?;
    let idle = running.memory()?;
    bar.inc(1);
    let mut cycles = Vec::new();
    for number in 1..=arguments.cycles {
        bar.set_message(format!("scheduled cycle {number} of `run`"));
        let before = running.cpu()?;
        wait_for_cycles(&mut running, &log, 1 + number as usize)?;
        let after = running.cpu()?;
        cycles.push(((after.own - before.own) * 1e3, (after.children - before.children) * 1e3));
        bar.inc(1);
    }
    running.stop()?;
    let repeated = |what: &str, arguments_of: &[&str]| -> anyhow::Result<Vec<f64>> {
        bar.set_message(format!("`{what}`"));
        let mut took = Vec::new();
        for _ in 0..arguments.runs {
            let before = cpu_of("self")?;
            let mut command = Command::new(&agent);
            command.args(arguments_of).arg("--state").arg(&state);
            run(&mut command)?;
            let Cpu { children, .. } = cpu_of("self")?;
            took.push((children - before.children) * 1e3);
            bar.inc(1);
        }
        Ok(took)
    };
    let probes = repeated("probe", &["probe", "--json"])?;
    let onces = repeated("once", &["once", "--until-proved", "--json"])?;
    server.stop()?;
    bar.finish_and_clear();
    Ok(Report {
        machine: Machine::here(folder.path()),
        load: (load, machine::load()),
        binary_bytes: std::fs::metadata(&agent)?.len(),
        idle,
        cycles,
        probes,
        onces,
    })
}

fn enrol(agent: &Path, installation: &Installation, folder: &Path, state: &Path) -> anyhow::Result<()> {
    let token = folder.join("token");
    std::fs::write(&token, installation.token()?.text().as_bytes())?;
    let (enrol, agents) = (installation.enrol.to_string(), installation.agents.to_string());
    let mut command = Command::new(agent);
    command.args(["enroll", "--server", &enrol, "--agents", &agents, "--token-file"]).arg(&token);
    run(command.arg("--state").arg(state))?;
    std::fs::write(state.join("agent.toml"), format!("interval_minutes = {INTERVAL_MINUTES}\n"))?;
    Ok(())
}

/// Waits until the agent has logged `cycles` proofs, and is at rest again.
fn wait_for_cycles(agent: &mut Process, log: &Path, cycles: usize) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        let text = std::fs::read_to_string(log)?;
        if text.lines().filter(|line| line.contains(CYCLE_ENDED)).count() >= cycles {
            std::thread::sleep(SETTLED);
            return Ok(());
        }
        if !agent.is_running() || begun.elapsed() > CYCLE_MAX {
            bail!("the agent did not report in time:\n{text}");
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

impl Report {
    fn rows(&self) -> Vec<(&'static str, Vec<f64>)> {
        vec![
            ("a cycle of `run`, the agent itself", self.cycles.iter().map(|cycle| cycle.0).collect()),
            ("a cycle of `run`, programs it asks", self.cycles.iter().map(|cycle| cycle.1).collect()),
            ("a whole `probe`, programs included", self.probes.clone()),
            ("a whole `once`, programs included", self.onces.clone()),
        ]
    }

    fn table(&self) -> String {
        let Memory { rss_kib, pss_kib, private_dirty_kib, peak_rss_kib } = self.idle;
        let mut lines = vec![
            self.machine.to_string(),
            format!("load average before {}, after {}", self.load.0, self.load.1),
            format!("binary {} bytes", self.binary_bytes),
            format!(
                "idle `run`: RSS {rss_kib} KiB, Pss {pss_kib} KiB, private dirty {private_dirty_kib} KiB, most RSS ever \
                 {peak_rss_kib} KiB"
            ),
            format!("{:36} {:>4} {:>10} {:>10} {:>10}", "CPU, ms", "n", "median", "least", "most"),
        ];
        for (name, values) in self.rows() {
            let (least, middle, most) = spread(&values);
            lines.push(format!("{name:36} {:>4} {middle:>10.1} {least:>10.1} {most:>10.1}", values.len()));
        }
        lines.join("\n")
    }

    fn json(&self) -> Value {
        let Memory { rss_kib, pss_kib, private_dirty_kib, peak_rss_kib } = self.idle;
        let rows: Vec<Value> = self
            .rows()
            .into_iter()
            .map(|(name, values)| json!({ "name": name, "unit": "ms of CPU", "values": values }))
            .collect();
        json!({
            "machine": self.machine.json(), "load_before": self.load.0, "load_after": self.load.1,
            "binary_bytes": self.binary_bytes, "rss_kib": rss_kib, "pss_kib": pss_kib,
            "private_dirty_kib": private_dirty_kib, "peak_rss_kib": peak_rss_kib, "rows": rows,
        })
    }
}
