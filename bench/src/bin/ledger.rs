//! What a ledger of N attestations costs: time to fill, bytes on the disk, time to open after a kill, memory, reads.
//!
//! The statements are those of a simulated fleet, and they go through the collector's own sequencer, journal, index and
//! public tree. Filling, reading and checking are processes of their own. docs/BENCHMARKS.md says how to read the figures.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use bench::artefacts;
use bench::filling::{Filled, Filling, fill};
use bench::limits::{flat_file_rate, sync_ms};
use bench::machine::{self, Machine};
use bench::numbers::{float, median, quantile};
use bench::reading::{Checked, Read, check, read};
use clap::Parser;
use fleet::Order;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Statements of each device by default at least. Fewer devices would repeat themselves in every block of the reference,
/// as no fleet does.
const STATEMENTS_PER_DEVICE: u64 = 100;
/// Devices at most by default.
const DEVICES_MAX: u64 = 10_000;
/// Syncs timed before and after the filling.
const SYNCS: usize = 300;
/// Groups written to the flat file, and records of each: those of the sequencer.
const FLAT_GROUPS: usize = 200;
const FLAT_GROUP: usize = 512;
/// From the figures of a process to its end.
const KILLED_AFTER: Duration = Duration::from_millis(150);
/// Devices and statements a year of the extrapolation.
const ENDPOINTS: u64 = 10_000;
const YEAR_6_HOURS: u64 = ENDPOINTS * 4 * 365;
const YEAR_HOURLY: u64 = ENDPOINTS * 24 * 365;

/// Fills a ledger with simulated attestations, kills the process that did it, opens, reads and checks what it left.
#[derive(Debug, Clone, Parser)]
struct Arguments {
    /// Attestations; several numbers, with commas between them, are measured one after the other.
    #[arg(long, value_delimiter = ',', default_value = "100000")]
    entries: Vec<u64>,
    /// Devices that make them [default: one for each hundred, at most 10,000].
    #[arg(long)]
    devices: Option<usize>,
    /// Hours between scheduled statements of a device.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u64).range(1..=1000))]
    hours: u64,
    /// Seed of the fleet.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Check every signature strictly before it is submitted, as the collector does with what it receives; without it
    /// the statements count as verified.
    #[arg(long)]
    verify: bool,
    /// Inclusion proofs and entries read.
    #[arg(long, default_value_t = 5_000)]
    samples: usize,
    /// Where the ledger is made, on the disk to be measured [default: a temporary directory, removed at the end].
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// What a process started by this program does.
    #[arg(long, hide = true, value_parser = ["fill", "read", "check"])]
    part: Option<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.part.as_deref() {
        Some(part) => child(&arguments, part),
        None => whole(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Standard error may be closed; there is nobody left to tell.
            let _unheard = writeln!(std::io::stderr(), "ledger: {error:#}");
            ExitCode::from(2)
        }
    }
}

impl Arguments {
    fn one_size(&self) -> anyhow::Result<u64> {
        self.entries.first().copied().filter(|entries| *entries > 0).context("--entries is at least 1")
    }

    fn order(&self) -> anyhow::Result<Order> {
        let by_default = (self.one_size()? / STATEMENTS_PER_DEVICE).clamp(20, DEVICES_MAX);
        let devices = self.devices.map_or_else(|| usize::try_from(by_default), Ok)?;
        Ok(Order { interval_minutes: self.hours * 60, ..Order::of(self.seed, devices) })
    }
}

/// One part in this process: its figures on standard output, as one line.
fn child(arguments: &Arguments, part: &str) -> anyhow::Result<()> {
    let dir = arguments.dir.as_deref().context("--part needs --dir")?;
    let (data, order) = (dir.join("data"), arguments.order()?);
    match part {
        "fill" => {
            let entries = arguments.one_size()?;
            let bar = ProgressBar::new(entries).with_style(ProgressStyle::with_template(
                "filling [{bar:40}] {pos}/{len} attestations, {per_sec}, {elapsed} (about {eta} left)",
            )?);
            let reference = dir.join("reference.zst");
            let filling = Filling { data, reference, entries, order, verify: arguments.verify };
            let progress = |answered| bar.set_position(answered);
            match fill(&filling, progress, |filled| {
                bar.finish_and_clear();
                tell(filled)
            })? {}
        }
        // The genesis lies before the attestations.
        "read" => tell(&read(&data, &order, arguments.samples, arguments.one_size()? + 1)?),
        _ => tell(&check(&data)?),
    }
}

fn tell(figures: &impl Serialize) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{}", serde_json::to_string(figures)?)?;
    Ok(out.flush()?)
}

/// Starts this program for one part, reads its figures, and kills it.
fn part<T: DeserializeOwned>(
    arguments: &Arguments,
    entries: u64,
    dir: &Path,
    part: &str,
) -> anyhow::Result<T> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args([
        "--part",
        part,
        "--entries",
        &entries.to_string(),
        "--hours",
        &arguments.hours.to_string(),
    ]);
    command.args(["--seed", &arguments.seed.to_string(), "--samples", &arguments.samples.to_string()]);
    if let Some(devices) = arguments.devices {
        command.args(["--devices", &devices.to_string()]);
    }
    if arguments.verify {
        command.arg("--verify");
    }
    let mut child = command.arg("--dir").arg(dir).stdout(Stdio::piped()).spawn()?;
    let out = child.stdout.take().context("no standard output")?;
    let mut line = String::new();
    BufReader::new(out).read_line(&mut line)?;
    // The one that fills goes on writing, and is cut in the midst of it.
    std::thread::sleep(KILLED_AFTER);
    // SIGKILL: what is told is told, and the rest is what the next start must recover from.
    child.kill()?;
    let status = child.wait()?;
    serde_json::from_str(&line).with_context(|| format!("--part {part} ended with {status}"))
}

/// All figures of one size.
struct Figures {
    entries: u64,
    devices: usize,
    verify: bool,
    filled: Filled,
    reads: [Read; 2],
    checked: Checked,
    artefacts: BTreeMap<String, u64>,
    sync_ms: (f64, f64),
    flat_rate: f64,
}

fn whole(arguments: &Arguments) -> anyhow::Result<()> {
    let mut reports = Vec::new();
    let mut out = std::io::stdout();
    let temporary = tempfile::tempdir().context("no temporary directory")?;
    let folder = arguments.dir.as_deref().unwrap_or(temporary.path());
    std::fs::create_dir_all(folder).context("cannot make --dir")?;
    for entries in &arguments.entries {
        let load = machine::load();
        let figures = measure(arguments, *entries, folder)?;
        let here = Machine::here(folder);
        if arguments.json {
            let load = [load, machine::load()];
            reports.push(json!({ "machine": here.json(), "load": load, "figures": figures.json() }));
        } else {
            writeln!(out, "{here}; load average before {load}, after {}", machine::load())?;
            writeln!(out, "{}", figures.table())?;
        }
    }
    if arguments.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&reports)?)?;
    }
    Ok(())
}

fn measure(arguments: &Arguments, entries: u64, folder: &Path) -> anyhow::Result<Figures> {
    let made = tempfile::tempdir_in(folder).context("cannot make a folder in --dir")?;
    let (dir, data) = (made.path(), made.path().join("data"));
    let one = Arguments { entries: vec![entries], ..arguments.clone() };
    let mut syncs = sync_ms(dir, SYNCS)?;
    let filled: Filled = part(arguments, entries, dir, "fill")?;
    // A child that fails tells nothing; a child that answers told all it had.
    let first: Read = part(arguments, entries, dir, "read")?;
    let again: Read = part(arguments, entries, dir, "read")?;
    let artefacts = artefacts::sizes(&data)?;
    let checked: Checked = part(arguments, entries, dir, "check")?;
    syncs.extend(sync_ms(dir, SYNCS)?);
    anyhow::ensure!(checked.report.get("sound") == Some(&json!(true)), "fsck: {}", checked.report);
    for found in [&first, &again] {
        anyhow::ensure!(found.size >= filled.size && found.root == filled.root, "another log was opened");
    }
    let each = usize::try_from(filled.envelope_bytes / entries)?;
    let flat_rate = flat_file_rate(dir, &vec![0x5a; each], FLAT_GROUPS, FLAT_GROUP)?;
    Ok(Figures {
        entries,
        devices: one.order()?.devices,
        verify: arguments.verify,
        filled,
        reads: [first, again],
        checked,
        artefacts,
        sync_ms: (median(&syncs), quantile(&syncs, 0.99)),
        flat_rate,
    })
}

/// A row: what, its value, its unit, and the goal it must not be above.
type Row = (String, f64, &'static str, Option<f64>);

impl Figures {
    fn each(&self, bytes: u64) -> f64 {
        float(bytes) / float(self.entries)
    }

    fn rate(&self) -> f64 {
        float(self.entries) / self.filled.seconds
    }

    /// Bytes of what lies on the disk, by the entries that are there: more than were told when it was killed.
    fn kept(&self, bytes: u64) -> f64 {
        let [found, _] = &self.reads;
        float(bytes) / float(found.size)
    }

    /// Everything in the data directory, bytes.
    fn total(&self) -> u64 {
        self.artefacts.values().sum()
    }

    fn rows(&self) -> Vec<Row> {
        let (filled, [first, again]) = (&self.filled, &self.reads);
        let mib = |kib: u64| float(kib) / 1024.0;
        let row = |what: &str, value: f64, unit, goal| (what.to_owned(), value, unit, goal);
        let mut rows = vec![
            row("filled", self.rate(), "1/s", None),
            row("  flat file, same groups, fdatasync", self.flat_rate, "1/s", None),
            row("  ratio of the two", self.rate() / self.flat_rate, "", None),
            row("  of the time, making statements", filled.generator_seconds / filled.seconds, "", None),
            row(
                "  processor time, all threads",
                filled.cpu_seconds * 1e6 / float(self.entries),
                "us each",
                None,
            ),
            row("  last answer to public tree", filled.tree_seconds, "s", None),
            row("one preallocated fdatasync, p50", self.sync_ms.0, "ms", None),
            row("one preallocated fdatasync, p99", self.sync_ms.1, "ms", None),
            row("envelope as signed", self.each(filled.envelope_bytes), "B each", None),
        ];
        for (name, bytes) in &self.artefacts {
            rows.push((format!("  {name}"), self.kept(*bytes), "B each", None));
        }
        let sled = self.artefacts.get("sled").copied().unwrap_or_default();
        let reference = filled.reference_bytes;
        rows.extend([
            row("everything in the data directory", self.kept(self.total()), "B each", None),
            row("reference: zstd blocks, flat file", self.each(reference), "B each", None),
            row("everything / reference", self.kept(self.total()) / self.each(reference), "", Some(3.0)),
            row(
                "sled on disk / put into it",
                self.kept(sled) / self.each(filled.put_bytes.max(1)),
                "",
                Some(1.5),
            ),
            row("opened after SIGKILL, entries more", float(first.size - filled.size), "", None),
            row("open after SIGKILL", first.open_seconds, "s", Some(5.0)),
            row("open once more", again.open_seconds, "s", None),
            row("resident after opening", mib(first.rss_kib), "MiB", Some(512.0)),
            row("most resident while filling", mib(filled.peak_rss_kib), "MiB", Some(512.0)),
            row("inclusion proof, p50", again.proof_ms.0, "ms", None),
            row("inclusion proof, p99", again.proof_ms.1, "ms", Some(2.0)),
            row("one entry, p50", again.entry_ms.0, "ms", None),
            row("one entry, p99", again.entry_ms.1, "ms", None),
            row("statements of one device, a year at most", again.year_statements, "", None),
            row("  their list, median device", again.list_ms.0, "ms", None),
            row("  their list, worst device", again.list_ms.1, "ms", None),
            row("  all of them read, median device", again.year_ms.0, "ms", Some(20.0)),
            row("  all of them read, worst device", again.year_ms.1, "ms", None),
            row("fsck over everything", self.checked.seconds, "s", Some(60.0)),
            row("  most resident", mib(self.checked.peak_rss_kib), "MiB", None),
        ]);
        rows
    }

    fn table(&self) -> String {
        let verified = if self.verify { "verified strictly" } else { "taken as verified" };
        let mut lines = vec![format!(
            "{} attestations of {} devices, {verified}, {:.0} days",
            self.entries, self.devices, self.filled.days
        )];
        for (what, value, unit, goal) in self.rows() {
            let judged = goal.map_or_else(String::new, |goal| {
                let word = if value <= goal { "met" } else { "MISSED" };
                format!("  goal <= {goal}: {word}")
            });
            lines.push(format!("{what:42} {value:>12.3} {unit:8}{judged}"));
        }
        for (cadence, year) in [("6 hours", YEAR_6_HOURS), ("hour", YEAR_HOURLY)] {
            lines.push(format!(
                "a year of {ENDPOINTS} endpoints every {cadence}: {:.1} million, {:.1} GB, filled in {:.1} hours",
                float(year) / 1e6,
                self.kept(self.total()) * float(year) / 1e9,
                float(year) / self.rate() / 3600.0
            ));
        }
        lines.join("\n")
    }

    fn json(&self) -> Value {
        let rows = self.rows();
        let rows: Vec<Value> = rows
            .iter()
            .map(|(what, value, unit, goal)| json!({ "what": what.trim(), "value": value, "unit": unit, "goal": goal }))
            .collect();
        json!({
            "entries": self.entries, "devices": self.devices, "verified": self.verify, "rows": rows,
            "artefacts": self.artefacts, "filled": self.filled, "reads": self.reads, "checked": self.checked,
        })
    }
}
