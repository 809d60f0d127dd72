//! The command line.

use std::io::{Read as _, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use evidence::ids::Digest;
use evidence::json::{self, Value};
use evidence::time::Clock as _;
use rpc::connect::Address;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::filter::{LevelFilter, Targets};
use zeroize::Zeroizing;

use crate::at_rest::AtRest;
use crate::clock::SystemClock;
use crate::config::{Config, ConfigError};
use crate::device::Device;
use crate::doctor::cli::DoctorArgs;
use crate::enrol::{EnrolError, Wanted, enrol, enrol_and_wait};
use crate::enrol_file::EnrolFile;
use crate::fleet::Switches;
use crate::host::LiveHost;
use crate::identity::Identity;
use crate::look::live_look;
use crate::observe_cli::{ProbeArgs, QuestionsArgs, RecordArgs, ReplayArgs};
use crate::run::{Agent, Look};
use crate::state::{StateDirectory, default_directory};
use crate::status::Status;
use crate::succession::{Moved, follow};
use crate::supervisor::Supervisor;
use crate::upload::Ended;

/// Done.
pub const DONE: u8 = 0;
/// The answer is no.
pub const NO: u8 = 1;
/// Wrong usage, or it could not be done.
pub const COULD_NOT_DO: u8 = 2;
/// Most bytes of a token file: a token has 110.
pub(crate) const TOKEN_BYTES_MAX: u64 = 4096;
/// The environment variable of a token.
const TOKEN_VARIABLE: &str = "TALLYSTICK_TOKEN";

/// Runs the program on the process's arguments.
pub fn main() -> ExitCode {
    let mut out = std::io::stdout().lock();
    let done = Cli::parse().run(&mut out).and_then(|code| Ok(out.flush().map(|()| code)?));
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            // Nothing can be reported when even standard error is closed.
            let _closed = writeln!(std::io::stderr(), "tallystick-agent: {error:#}");
            ExitCode::from(COULD_NOT_DO)
        }
    }
}

/// Observes this device and reports signed evidence.
#[derive(Debug, Parser)]
#[command(
    name = "tallystick-agent",
    version,
    after_help = "Exit codes: 0 done; 1 the answer is no (see each command); 2 wrong usage, or it could not be done."
)]
pub struct Cli {
    /// Where identity, keys and statements lie.
    #[arg(long, global = true, value_name = "DIR", default_value_os_t = default_directory())]
    state: PathBuf,
    /// The configuration file [default: agent.toml in the state directory, else a package's /etc/tallystick/agent.toml].
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(alias = "enrol")]
    Enroll(EnrolArgs),
    Run(RunArgs),
    Once(OnceArgs),
    Status(StatusArgs),
    Sent(SentArgs),
    Doctor(DoctorArgs),
    Probe(ProbeArgs),
    Questions(QuestionsArgs),
    Record(RecordArgs),
    Replay(ReplayArgs),
    #[cfg(windows)]
    Service(crate::windows::service::ServiceArgs),
}

/// Enrol this device with a one-time token (also spelled `enrol`). Run again after a failure: it goes on where it was.
///
/// The token is read from --token-file, from the environment variable TALLYSTICK_TOKEN, or from standard input; with --from,
/// from the file that is named there, which is removed once the device is enrolled.
/// Exit codes: 0 enrolled, or enrolled before with the same collector; 1 it waits for a person's approval; 2 not enrolled.
#[derive(Debug, Args)]
struct EnrolArgs {
    /// The collector's enrolment listener. Its certificate must be for this host.
    #[arg(long, value_name = "HOST:PORT", required_unless_present = "from")]
    server: Option<Address>,
    /// A file (TOML) with `server`, `agents` and `token_file`, for an installation without a person. A device that is enrolled
    /// and has no token waiting is left alone.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["server", "agents", "token_file", "successor"])]
    from: Option<PathBuf>,
    /// The collector's listener for agents [default: the same host, and the port after the one of --server].
    #[arg(long, value_name = "HOST:PORT")]
    agents: Option<Address>,
    /// Move to the log that follows the one this device is enrolled in. The state of the old instance is kept in the folder
    /// before-INSTANCE, with every statement that was not proved.
    #[arg(long)]
    successor: bool,
    /// A file that holds the token; - is standard input.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Try again, ever more seldom, while a person has to approve this device or the collector is away.
    #[arg(long, conflicts_with = "successor")]
    wait: bool,
    /// Print JSON for machines.
    #[arg(long)]
    json: bool,
}

/// Observe, sign and send by the schedule until SIGTERM or SIGINT. Exit codes: 0 stopped; 2 could not start, or a fault of
/// this program ended it.
#[derive(Debug, Args)]
struct RunArgs {
    /// Write the log as JSON lines.
    #[arg(long)]
    json: bool,
}

/// Observe, sign and send once, and wait until the collector has it.
///
/// Exit codes: 0 stored (with --until-proved: proved); 1 the statement is kept here, but was refused or not stored
/// (proved) in time; 2 it could not be made or sent.
#[derive(Debug, Args)]
struct OnceArgs {
    /// Wait until the log's inclusion proof was verified here.
    #[arg(long)]
    until_proved: bool,
    /// Longest wait in seconds.
    #[arg(long, alias = "wait-seconds", value_name = "N", default_value_t = 60)]
    timeout_seconds: u64,
    /// Print JSON for machines.
    #[arg(long)]
    json: bool,
}

/// Show who this device is, what waits, how the exchange goes, and how the collector last said that this machine stands:
/// each control's state, why, what to do and until when. Needs no root and no network.
///
/// Exit codes: 0 all is well; 1 something needs a person, a failing control too; 2 it could not be read.
#[derive(Debug, Args)]
struct StatusArgs {
    /// Print JSON for machines.
    #[arg(long)]
    json: bool,
}

/// Show every statement made about this machine, in words. Needs no root.
///
/// Statements that wait or are stored are shown all; those that are proved are kept for 400 days, the newest 32 MiB of
/// them. Exit codes: 0 shown; 2 they could not be read.
#[derive(Debug, Args)]
struct SentArgs {
    /// Print JSON for machines, one object a line.
    #[arg(long)]
    json: bool,
}

impl Cli {
    /// Runs the command and gives its exit code. An error is exit code 2; its chain says why.
    pub fn run(&self, out: &mut dyn Write) -> anyhow::Result<u8> {
        let state = StateDirectory::new(&self.state);
        match &self.command {
            Command::Enroll(args) => args.run(&state, &self.config(&state)?, out),
            Command::Run(args) => {
                log_to_stderr(args.json, LevelFilter::INFO);
                self.daemon(&state, crate::stop::signal)
            }
            Command::Once(args) => {
                log_to_stderr(false, LevelFilter::ERROR);
                self.once(&state, args, out)
            }
            Command::Status(args) => args.run(&state, out),
            Command::Sent(args) => args.run(&state, out),
            Command::Doctor(args) => {
                log_to_stderr(false, LevelFilter::OFF);
                args.run(&state, self.config(&state), self.config_path(&state), out)
            }
            Command::Probe(args) => args.run(out).map(|()| DONE),
            Command::Questions(args) => args.run(out).map(|()| DONE),
            Command::Record(args) => args.run(out).map(|()| DONE),
            Command::Replay(args) => args.run(out).map(|()| DONE),
            #[cfg(windows)]
            Command::Service(args) => args.run(self, &state, out),
        }
    }

    fn config_path(&self, state: &StateDirectory) -> PathBuf {
        self.config.clone().unwrap_or_else(|| crate::config::default_path(state))
    }

    fn config(&self, state: &StateDirectory) -> Result<Config, ConfigError> {
        Config::read(&self.config_path(state), self.config.is_some())
    }

    fn agent(
        &self,
        state: &StateDirectory,
        (look, switches): (Look, Switches),
        cancel: &CancellationToken,
    ) -> anyhow::Result<(Agent, Config)> {
        let config = self.config(state)?;
        let way = config.way(variable)?;
        let device = Device::open(state, config.limits)?;
        let agent = Agent::new(device, look, Arc::new(SystemClock), cancel.clone()).through(way);
        // What somebody wrote for this machine's network comes before what was chosen for all.
        let agent = if config.proxies.is_some() { agent.by_its_own_way() } else { agent };
        Ok((agent.switched_by(switches), config))
    }

    /// Runs until the future that `stop` makes in the runtime completes.
    pub(crate) fn daemon<S>(
        &self,
        state: &StateDirectory,
        stop: impl FnOnce() -> anyhow::Result<S>,
    ) -> anyhow::Result<u8>
    where
        S: Future<Output = ()> + Send + 'static,
    {
        let cancel = CancellationToken::new();
        let (agent, config) = self.agent(state, looking(state, AtRest), &cancel)?;
        let agent = agent.supervised_by(Supervisor::from_environment(variable));
        runtime()?.block_on(async {
            let stop = stop()?;
            tokio::spawn(async move {
                stop.await;
                tracing::info!("Stopping.");
                cancel.cancel();
            });
            tracing::info!(version = env!("CARGO_PKG_VERSION"), state = %state.path().display(), "Running.");
            agent.run(config.interval_minutes).await?;
            Ok(DONE)
        })
    }

    fn once(&self, state: &StateDirectory, args: &OnceArgs, out: &mut dyn Write) -> anyhow::Result<u8> {
        let (agent, _) = self.agent(state, looking(state, LiveHost), &CancellationToken::new())?;
        let wait = Duration::from_secs(args.timeout_seconds);
        let (once, receipt) = runtime()?.block_on(async {
            let once = agent.once(args.until_proved, wait).await?;
            let device = agent.device().lock().await;
            let receipt = once.sequence.and_then(|sequence| match device.spool.kept().get(&sequence) {
                Some(kept) => kept.receipt,
                None => device.spool.proved(sequence).ok()?.map(|sent| sent.receipt),
            });
            anyhow::Ok((once, receipt))
        })?;
        let word = match (once.sequence, once.ended) {
            (None, _) => "not made: the spool is full",
            (Some(_), Some(Ended::Reached)) if args.until_proved => "proved",
            (Some(_), Some(Ended::Reached)) => "stored",
            (Some(_), Some(Ended::Refused)) => "refused",
            (Some(_), _) if receipt.is_some() => "stored, not proved in time",
            (Some(_), _) => "kept, not stored in time",
        };
        let done = once.sequence.is_some() && once.ended == Some(Ended::Reached);
        let index = receipt.map(|receipt| json::count(receipt.index));
        let sequence = once.sequence.map(json::count);
        if args.json {
            let value = json::object([
                ("sequence", Value::Array(sequence.into_iter().collect())),
                ("result", json::text(word)),
                ("index", Value::Array(index.into_iter().collect())),
            ]);
            writeln!(out, "{}", value.encode())?;
        } else {
            let number = once.sequence.map_or_else(String::new, |sequence| format!("statement {sequence}: "));
            let index = receipt.map_or_else(String::new, |receipt| format!(" (entry {})", receipt.index));
            writeln!(out, "{number}{word}{index}")?;
        }
        Ok(if done { DONE } else { NO })
    }
}

/// What the service asks of the command line it was started with.
#[cfg(windows)]
impl Cli {
    /// The state directory.
    pub(crate) fn state(&self) -> &std::path::Path {
        &self.state
    }

    /// The options before the command, as whole paths: a service starts in a folder of the system.
    pub(crate) fn given(&self) -> Vec<std::ffi::OsString> {
        let whole =
            |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone()).into_os_string();
        let config = self.config.as_ref().map(|path| ["--config".into(), whole(path)]);
        ["--state".into(), whole(&self.state)].into_iter().chain(config.into_iter().flatten()).collect()
    }
}

/// Writes the log, as lines without colours, to what `writer` makes.
#[cfg(windows)]
pub(crate) fn log_to<W: Write + 'static>(writer: impl Fn() -> W + Send + Sync + 'static) {
    let builder =
        tracing_subscriber::fmt().with_max_level(LevelFilter::INFO).with_ansi(false).with_writer(writer);
    let _first_stays = builder.try_init();
}

impl EnrolArgs {
    fn run(&self, state: &StateDirectory, config: &Config, out: &mut dyn Write) -> anyhow::Result<u8> {
        let proxies = config.way(variable)?;
        let file = match &self.from {
            None => None,
            Some(path) => {
                let Some(file) = EnrolFile::waiting(path, state)? else { return Ok(DONE) };
                Some(file)
            }
        };
        let token = file.as_ref().map_or_else(|| self.token(), |file| Ok(file.token()?))?;
        let token = token.parse::<certs::Token>().context("the token cannot be used")?;
        let server = self.server.clone().or_else(|| file.as_ref().map(|file| file.server.clone()));
        let server = server.context("give --server HOST:PORT or --from FILE")?;
        let agents = match self.agents.as_ref().or(file.as_ref().and_then(|file| file.agents.as_ref())) {
            Some(agents) => agents.clone(),
            None => crate::enrol_file::next_port(&server)?,
        };
        let wanted = Wanted { server, agents, token, proxies };
        let host_name = sysinfo::System::host_name().unwrap_or_default();
        let newcomer = crate::newcomer::look(&host_name, &LiveHost);
        let clock = Arc::new(SystemClock);
        let told = |error: &EnrolError| {
            // Nobody may be there to read it; the device goes on asking all the same.
            let _unheard = writeln!(std::io::stderr(), "tallystick-agent: {error}");
        };
        let moved = runtime()?.block_on(async {
            if self.successor {
                return follow(state, &wanted, &newcomer, clock).await;
            }
            let identity = if self.wait {
                enrol_and_wait(state, &wanted, &newcomer, clock, told).await?
            } else {
                enrol(state, &wanted, &newcomer, clock).await?
            };
            Ok(Moved { identity, kept_in: None, unproved: 0 })
        });
        let moved = match moved {
            Err(EnrolError::Waiting { request, .. }) => return self.waits(&request, out),
            moved => moved?,
        };
        if let Some(file) = &file {
            file.remove_token()?;
        }
        let Moved { identity, kept_in, unproved } = moved;
        let kept_in = kept_in.map(|folder| folder.display().to_string());
        let stored = &identity.stored;
        if self.json {
            let value = json::object([
                ("device", json::text(&stored.device)),
                ("instance", json::text(&stored.instance)),
                ("trust_domain", json::text(&stored.trust_domain)),
                ("origin", json::text(&stored.origin)),
                ("enrolment_index", json::count(stored.enrolment_index)),
                ("agents_address", json::text(&stored.agents_address)),
                ("kept_in", Value::Array(kept_in.iter().map(json::text).collect())),
                ("unproved", json::count(unproved)),
            ]);
            writeln!(out, "{}", value.encode())?;
        } else {
            writeln!(
                out,
                "enrolled as {} with {} (entry {})",
                stored.device, stored.origin, stored.enrolment_index
            )?;
            write!(out, "{}", crate::notice::lines())?;
            if let Some(folder) = kept_in {
                writeln!(
                    out,
                    "the instance before lies in {folder}, with {unproved} statements that nobody has proved to be in its log: \
                     `tallystick-agent --state {folder} sent` shows them"
                )?;
            }
        }
        Ok(DONE)
    }

    fn waits(&self, request: &Digest, out: &mut dyn Write) -> anyhow::Result<u8> {
        if self.json {
            writeln!(out, "{}", json::object([("waiting", json::hex(request))]).encode())?;
        } else {
            writeln!(
                out,
                "not enrolled yet: a person must approve this device (`tallystick devices approve {request}`); \
                 run this again afterwards, or with --wait"
            )?;
        }
        Ok(NO)
    }

    /// The token's text: never from the command line, which every user of the machine can read.
    fn token(&self) -> anyhow::Result<Zeroizing<String>> {
        let mut text = Zeroizing::new(String::new());
        match &self.token_file {
            Some(path) if path.as_os_str() != "-" => {
                let file =
                    std::fs::File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
                file.take(TOKEN_BYTES_MAX)
                    .read_to_string(&mut text)
                    .with_context(|| format!("cannot read {}", path.display()))?;
            }
            None if std::env::var_os(TOKEN_VARIABLE).is_some() => {
                let value = std::env::var(TOKEN_VARIABLE);
                text = Zeroizing::new(value.with_context(|| format!("{TOKEN_VARIABLE} is not text"))?);
            }
            Some(_) | None => {
                std::io::stdin()
                    .take(TOKEN_BYTES_MAX)
                    .read_to_string(&mut text)
                    .context("cannot read the token from standard input")?;
            }
        }
        Ok(text)
    }
}

/// The look of this machine, and what switches controls of it off.
fn looking(
    state: &StateDirectory,
    host: impl probes::Host + Copy + Send + Sync + 'static,
) -> (Look, Switches) {
    let switches = Switches::default();
    (live_look(state, host, switches.clone()), switches)
}

/// A variable of this process's environment, where it is text.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

impl StatusArgs {
    fn run(&self, state: &StateDirectory, out: &mut dyn Write) -> anyhow::Result<u8> {
        let status = Status::read(state, Identity::read(state)?, SystemClock.now())?;
        if self.json {
            writeln!(out, "{}", status.json().encode())?;
        } else {
            write!(out, "{}", status.words())?;
        }
        Ok(if status.needs_attention() { NO } else { DONE })
    }
}

impl SentArgs {
    fn run(&self, state: &StateDirectory, out: &mut dyn Write) -> anyhow::Result<u8> {
        let mut out = std::io::BufWriter::new(out);
        crate::sent::for_each(state, &Identity::read(state)?, |line| -> anyhow::Result<()> {
            if self.json {
                writeln!(out, "{}", line.json().encode())?;
            } else {
                write!(out, "{}", line.words())?;
            }
            Ok(())
        })?;
        out.flush()?;
        Ok(DONE)
    }
}

pub(crate) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    // One thread: nothing here is quick enough to be worth a second, and each costs memory on every laptop. What takes
    // long, the look, has a thread of its own while it lasts.
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")
}

/// Targets with levels, not an `EnvFilter`: that brings a regular expression engine of half a megabyte.
fn log_to_stderr(as_json: bool, level: LevelFilter) {
    use tracing_subscriber::{fmt, layer::SubscriberExt as _, registry, util::SubscriberInitExt as _};
    let wanted = std::env::var("TALLYSTICK_LOG").ok().and_then(|text| text.parse().ok());
    let fixed = wanted.is_some();
    let targets = wanted.unwrap_or_else(|| Targets::new().with_default(level));
    let targets = crate::log_level::filter(targets, fixed);
    let lines = fmt::layer().with_writer(std::io::stderr);
    // A second initialisation, as in tests, keeps the first.
    let _first_stays = if as_json {
        registry().with(targets).with(lines.json()).try_init()
    } else {
        registry().with(targets).with(lines).try_init()
    };
}
