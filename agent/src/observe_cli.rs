//! The commands that only look: `probe`, `questions`, `record` and `replay`. None needs an identity or a server.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use anyhow::Context;
use clap::Args;
use evidence::{
    facts,
    json::{self, Value},
    time::Timestamp,
};
use probes::{Input, Platform, Program, Recording};
use proto::{AssetClaim, Observation, Reason, not_applicable::Proof, observation::Outcome};

use crate::{
    disk,
    host::LiveHost,
    observe::{Look, observe},
    record::Recorder,
};

/// Largest recording that is read, in bytes: a large storage server's has some 2 MiB.
const RECORDING_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Widest line for people.
const COLUMNS_MAX: usize = 80;
/// Permissions of a written recording.
const RECORDING_MODE: u32 = 0o600;
/// Longest chain of recordings that are based on each other.
const BASES_MAX: usize = 4;

/// Look at this machine and print the facts. Nothing is signed, kept or sent.
#[derive(Debug, Args)]
pub struct ProbeArgs {
    /// Print JSON for machines.
    #[arg(long)]
    pub json: bool,
}

/// Print every program, file and folder the agent may ever ask for.
#[derive(Debug, Args)]
pub struct QuestionsArgs {
    /// The system to tell about: linux, macos or windows; without it, this one.
    #[arg(long, value_name = "NAME", value_parser = platform)]
    pub platform: Option<Platform>,
    /// Print JSON for machines.
    #[arg(long)]
    pub json: bool,
}

/// Look at this machine and write every answer to a file that `replay` reads.
#[derive(Debug, Args)]
pub struct RecordArgs {
    /// The file to write (TOML); it must not exist.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// How a person would name this system.
    #[arg(long, value_name = "TEXT", default_value = "unnamed")]
    pub release: String,
    /// Print JSON for machines.
    #[arg(long)]
    pub json: bool,
}

/// Run the probes over a recorded machine and print the facts.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// A recording (TOML), as `record` writes it.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Print JSON for machines.
    #[arg(long)]
    pub json: bool,
}

impl ProbeArgs {
    /// Looks at this machine. A fact that cannot be had is an outcome, not an error.
    ///
    /// # Errors
    /// Only when `out` cannot be written.
    pub fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let look = observe(Platform::current(), &LiveHost)?;
        print_look(out, &look, self.json)
    }
}

/// A platform by its name on the command line.
fn platform(name: &str) -> Result<Platform, String> {
    Platform::from_name(name).ok_or_else(|| "use linux, macos or windows".to_owned())
}

impl QuestionsArgs {
    /// Prints the list.
    ///
    /// # Errors
    /// Only when `out` cannot be written.
    pub fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let platform = self.platform.unwrap_or(Platform::current());
        print_questions(out, platform, self.json).context("cannot write the list")
    }
}

impl RecordArgs {
    /// Looks at this machine and writes the recording.
    ///
    /// # Errors
    /// When the file exists or cannot be written.
    pub fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let recorder = Recorder::new(LiveHost);
        let look = observe(Platform::current(), &recorder)?;
        let recording = recorder.into_recording(
            Platform::current(),
            self.release.clone(),
            "this machine, by `tallystick-agent record`".to_owned(),
        );
        let text = recording.to_text()?;
        // A recording tells about a machine: for its owner alone until he has read it.
        let mut file = disk::create_new(&self.out, RECORDING_MODE)
            .with_context(|| format!("cannot create {}: choose a new file", self.out.display()))?;
        file.write_all(text.as_bytes()).with_context(|| format!("cannot write {}", self.out.display()))?;
        print_look(out, &look, self.json)
    }
}

impl ReplayArgs {
    /// Runs the probes over the recording.
    ///
    /// # Errors
    /// When the file is not a recording, or lacks an answer.
    pub fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let name = || format!("{} is not a recording that can be replayed", self.file.display());
        let replay = read_recording(&self.file)?.replay().with_context(name)?;
        let look = observe(replay.platform(), &replay).with_context(name)?;
        print_look(out, &look, self.json)
    }
}

/// A recording, laid over the ones beside it that it is based on.
fn read_recording(path: &Path) -> anyhow::Result<Recording> {
    let parse = |path: &Path| {
        Recording::parse(&read_text(path)?).with_context(|| format!("{} is not a recording", path.display()))
    };
    let mut recording = parse(path)?;
    for _ in 0..BASES_MAX {
        let Some(base) = recording.based_on.clone() else { break };
        // A recording names a file beside it, not one of anywhere.
        anyhow::ensure!(!base.contains(['/', '\\']), "{}: based_on must be a file name", path.display());
        recording = recording.over(parse(&path.with_file_name(format!("{base}.toml")))?);
    }
    Ok(recording)
}

fn read_text(path: &Path) -> anyhow::Result<String> {
    let size = fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?.len();
    anyhow::ensure!(
        size <= RECORDING_BYTES_MAX,
        "{} has {size} bytes; a recording has at most {RECORDING_BYTES_MAX}",
        path.display()
    );
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

fn print_look(out: &mut dyn Write, look: &Look, as_json: bool) -> anyhow::Result<()> {
    let printed = if as_json {
        writeln!(out, "{}", look_json(look).encode())
    } else {
        print_asset(out, look.asset.as_ref())
            .and_then(|()| look.observations.iter().try_for_each(|seen| print_observation(out, seen)))
    };
    printed.context("cannot write the facts")
}

/// What `--json` prints: facts exactly as a policy's conditions name them.
fn look_json(look: &Look) -> Value {
    let digest: String = data_encoding::HEXLOWER.encode(&look.answers_digest);
    json::object([
        ("answers_digest", json::text(digest)),
        ("asset", asset_json(look.asset.as_ref())),
        ("observations", Value::Array(look.observations.iter().map(observation_json).collect())),
    ])
}

/// What the machine seems to be, for machines: what is unknown is left out.
pub fn asset_json(claim: Option<&AssetClaim>) -> Value {
    claim.map(facts::Facts::of_asset).unwrap_or_default().to_json(&facts::ASSET)
}

/// One observation for machines: `control`, `probe_version`, `outcome` and what belongs to it.
pub fn observation_json(observation: &Observation) -> Value {
    let (outcome, name, detail) = match &observation.outcome {
        Some(Outcome::Observed(observed)) => {
            let tree = facts::Facts::of(observed);
            let schema = facts::control_of(observed).and_then(facts::schema);
            let detail = schema.map_or_else(|| json::object([]), |schema| tree.to_json(schema));
            ("observed", "facts", detail)
        }
        Some(Outcome::NotApplicable(proof)) => {
            let detail = match &proof.proof {
                Some(Proof::Headless(headless)) => json::object([
                    ("default_target", json::text(&headless.default_target)),
                    ("desktop_installed", yes_no(headless.desktop_installed)),
                    ("display_manager", yes_no(headless.display_manager)),
                    ("graphical_sessions", json::count(u64::from(headless.graphical_sessions))),
                ]),
                None => json::object([]),
            };
            ("not_applicable", "headless", detail)
        }
        Some(Outcome::Unavailable(unavailable)) => {
            let detail = json::object([
                ("question", json::text(&unavailable.question)),
                ("reason", json::text(reason_name(unavailable.reason))),
            ]);
            ("unavailable", "unavailable", detail)
        }
        None => ("unavailable", "unavailable", json::object([])),
    };
    let mut value = json::object([
        ("control", json::text(&observation.control)),
        ("outcome", json::text(outcome)),
        ("probe_version", json::count(u64::from(observation.probe_version))),
        (name, detail),
    ]);
    if let (Value::Object(members), Some(minute)) = (&mut value, observation.kept_minutes) {
        members.insert("kept_minutes".to_owned(), json::count(minute));
    }
    value
}

fn yes_no(value: bool) -> Value {
    json::text(if value { "yes" } else { "no" })
}

/// The reason as verdicts name it: lower case with hyphens.
fn reason_name(reason: i32) -> String {
    let name = Reason::try_from(reason).unwrap_or(Reason::Unspecified).as_str_name();
    name.strip_prefix("REASON_").unwrap_or(name).to_ascii_lowercase().replace('_', "-")
}

fn print_observation(out: &mut dyn Write, observation: &Observation) -> io::Result<()> {
    writeln!(out, "{}", observation.control)?;
    match &observation.outcome {
        Some(Outcome::Observed(observed)) => print_facts(out, observed),
        Some(Outcome::NotApplicable(_)) => {
            writeln!(out, "  not applicable: no graphical session can exist here")
        }
        Some(Outcome::Unavailable(unavailable)) => {
            writeln!(out, "  could not look: {}", reason_name(unavailable.reason))?;
            if unavailable.question.is_empty() {
                return Ok(());
            }
            print_wrapped(out, &format!("asked: {}", unavailable.question))
        }
        None => writeln!(out, "  nothing observed"),
    }
}

fn print_facts(out: &mut dyn Write, observed: &proto::Facts) -> io::Result<()> {
    let tree = facts::Facts::of(observed);
    let Some(schema) = facts::control_of(observed).and_then(facts::schema) else { return Ok(()) };
    for field in schema.fields {
        if let Some(list) = tree.list(field.name) {
            for item in &list.items {
                print_wrapped(out, &item.item_line(field.name))?;
            }
            if list.truncated {
                writeln!(out, "  … and more, left out")?;
            }
        } else {
            print_fact(out, &tree, field.name)?;
        }
    }
    Ok(())
}

fn print_fact(out: &mut dyn Write, tree: &facts::Facts, name: &str) -> io::Result<()> {
    match tree.value(name) {
        Some(facts::Value::Text(text)) => writeln!(out, "  {name:<18} {text}"),
        Some(facts::Value::Integer(minute)) if name.ends_with("_minutes") => {
            writeln!(out, "  {name:<18} {}", utc(*minute))
        }
        Some(facts::Value::Integer(number)) => writeln!(out, "  {name:<18} {number}"),
        None => writeln!(out, "  {name:<18} unknown"),
    }
}

fn print_asset(out: &mut dyn Write, claim: Option<&AssetClaim>) -> io::Result<()> {
    let tree = claim.map(facts::Facts::of_asset).unwrap_or_default();
    writeln!(out, "asset")?;
    facts::ASSET.fields.iter().try_for_each(|field| print_fact(out, &tree, field.name))
}

/// Prints a line indented by two, its continuations by six; only a word that is wider than a line goes over.
fn print_wrapped(out: &mut dyn Write, text: &str) -> io::Result<()> {
    let mut column = 0;
    for word in text.split(' ') {
        let width = word.chars().count();
        if column > 0 && column + 1 + width > COLUMNS_MAX {
            write!(out, "\n      {word}")?;
            column = 6 + width;
        } else {
            write!(out, "{}{word}", if column == 0 { "  " } else { " " })?;
            column += width + if column == 0 { 2 } else { 1 };
        }
    }
    writeln!(out)
}

/// A minute since 1970 as people read it.
fn utc(minute: u64) -> String {
    Timestamp(minute.saturating_mul(60_000)).rfc3339()
}

fn print_questions(out: &mut dyn Write, platform: Platform, as_json: bool) -> io::Result<()> {
    let list = probes::questions(platform);
    let is_run = |program: &&Program| {
        let names =
            |pattern: &str| pattern.starts_with("run") && pattern.split(' ').any(|w| w == program.name());
        list.iter().any(|permitted| names(&permitted.pattern))
    };
    if as_json {
        let questions = list.iter().map(|permitted| {
            json::object([
                ("control", json::text(permitted.control)),
                ("question", json::text(&permitted.pattern)),
            ])
        });
        let programs = Program::ALL.iter().filter(is_run).map(|program| {
            json::object([
                ("inputs", Value::Array(inputs(*program).map(json::text).collect())),
                ("paths", Value::Array(program.paths().iter().map(|path| json::text(*path)).collect())),
                ("program", json::text(program.name())),
                ("seconds_max", json::count(program.deadline().as_secs())),
            ])
        });
        let value = json::object([
            ("programs", Value::Array(programs.collect())),
            ("questions", Value::Array(questions.collect())),
        ]);
        return writeln!(out, "{}", value.encode());
    }
    writeln!(out, "Everything the agent may ask of a {} machine. `*` is one name.", platform.name())?;
    let mut control = "";
    for permitted in &list {
        if permitted.control != control {
            control = permitted.control;
            writeln!(out, "\n{control}")?;
        }
        print_wrapped(out, &permitted.pattern)?;
    }
    writeln!(out, "\nprograms, each run only from here")?;
    Program::ALL.iter().filter(is_run).try_for_each(|program| {
        print_wrapped(out, &format!("{:<11} {}", program.name(), program.paths().join(", ")))
    })?;
    let mut kept = Program::ALL.iter().filter(is_run).filter(|program| program.inputs().is_some()).peekable();
    if kept.peek().is_some() {
        writeln!(out, "\nnot run again for a day, while these look the same from outside")?;
    }
    kept.try_for_each(|program| {
        let places: Vec<String> = inputs(*program).collect();
        print_wrapped(out, &format!("{:<11} {}", program.name(), places.join(", ")))
    })
}

/// The places a program's answer is made of; `/*` stands for what lies below.
fn inputs(program: Program) -> impl Iterator<Item = String> {
    let places = program.inputs().map_or(&[][..], |inputs| inputs.places);
    places.iter().map(|place| match place {
        Input::Folder { path, .. } => format!("{path}/*"),
        Input::File(path) | Input::Content(path) => (*path).to_owned(),
    })
}

#[cfg(test)]
mod tests;
