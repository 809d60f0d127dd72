//! The command line: init, serve, token, user, ca, erase, hold, fsck, rebuild, backup, restore, recover. Works with the server
//! up (through its socket) and down (through the data directory), with the same code.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use certs::{Passphrase, PersonKey, PersonPublicKey};
use clap::{Args, Parser, Subcommand};
use evidence::acts::{self, Act, ActId, Body};
use evidence::ids::{EngagementId, PersonId};
use evidence::json::{self, Value, object};
use evidence::time::{Clock as _, Timestamp};

use crate::admin_client::Admin;
use crate::clock::SystemClock;
use crate::config::Config;
use crate::datadir::check_socket_path;
use crate::init::{profile, write_profile};
use crate::secrets;
use crate::state::{Detail, random};

mod backing_up;
mod beginning;
mod checking;
mod erasing;
mod rebuilding;
mod recovering;
mod rolling_over;
mod rotating;
#[cfg(test)]
mod tests;
mod tokens;

/// Names the file of a key file's passphrase; without it the person at the terminal is asked.
const PASSPHRASE_VARIABLE: &str = "TALLYSTICK_PASSPHRASE_FILE";

/// Takes in what devices say, keeps it in an append-only log, judges and samples it.
///
/// Exit codes: 0 done; 1 the answer is no (fsck, rebuild or restore found damage, recover did not find everything); 2 wrong usage
/// or it could not be done.
#[derive(Debug, Parser)]
#[command(name = "tallystick-collector", version)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a data directory with keys, authorities and the log's first entry. Nothing else ever creates one.
    Init(Box<beginning::InitArguments>),
    /// Run the server until SIGTERM or SIGINT.
    Serve(Directory),
    /// Enrolment tokens.
    #[command(subcommand)]
    Token(tokens::TokenCommand),
    /// People: admins, analysts, auditors.
    #[command(subcommand)]
    User(UserCommand),
    /// Issuing authorities.
    #[command(subcommand)]
    Ca(rolling_over::CaCommand),
    /// Erase what devices said: the keys of whole quarters go, the log and its proofs stay. The server must be down.
    ///
    /// Exit code 1: something that was asked for stays, and the answer says why.
    Erase(erasing::EraseArguments),
    /// Holds, which keep statements from being erased. The server must be down.
    #[command(subcommand)]
    Hold(erasing::HoldCommand),
    /// Recompute everything from the stored bytes and say what does not fit. The server must be down.
    Fsck(FsckArguments),
    /// Make again what is missing or damaged of `payload/`, from journal or index, then check everything as `fsck` does. The
    /// server must be down.
    ///
    /// Exit code 0: everything is sound now; 1: it is not, and what is left is listed; 2: it could not be done.
    Rebuild(rebuilding::RebuildArguments),
    /// The log and its key.
    #[command(subcommand)]
    Log(rotating::LogCommand),
    Backup(backing_up::BackupArguments),
    Restore(backing_up::RestoreArguments),
    /// Bring a log that went back (an older copy was restored) level with a mirror of it, byte for byte, then check everything
    /// as `fsck` does. The server must be down.
    ///
    /// Exit code 0: it has everything, is sound, and the server will start; 1: it has not, and the answer says why; 2: it could
    /// not be done.
    Recover(recovering::RecoverArguments),
}

#[derive(Debug, Args)]
struct Directory {
    /// The data directory.
    #[arg(long, value_name = "DIR", env = "TALLYSTICK_DIR")]
    dir: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum UserCommand {
    /// Admit a person's key with a role and write their connection profile.
    Create(UserArguments),
    /// Write a fresh connection profile for a person already admitted: certificates of people live for 12 hours.
    Renew(RenewArguments),
}

#[derive(Debug, Args)]
struct RenewArguments {
    #[command(flatten)]
    directory: Directory,
    /// The person's public key file.
    #[arg(long = "public-key", value_name = "FILE")]
    public_key: PathBuf,
    /// The connection profile to write; an older one is replaced.
    #[arg(long, value_name = "FILE")]
    profile_out: PathBuf,
}

#[derive(Debug, Args)]
struct UserArguments {
    #[command(flatten)]
    directory: Directory,
    /// Key file of the admin who admits them.
    #[arg(long, value_name = "FILE", env = "TALLYSTICK_KEY")]
    key: PathBuf,
    /// The person's public key file.
    #[arg(long = "public-key", value_name = "FILE")]
    public_key: PathBuf,
    /// admin, analyst or auditor.
    #[arg(long)]
    role: acts::Role,
    /// The person's name. It lies in an erasable detail, never in the roster.
    #[arg(long)]
    name: String,
    /// Keep an auditor to this engagement; may be given up to 64 times. Without it they see every plan.
    #[arg(long = "engagement", value_name = "ID")]
    engagements: Vec<EngagementId>,
    /// Where the connection profile is written.
    #[arg(long, value_name = "FILE")]
    profile_out: PathBuf,
}

#[derive(Debug, Args)]
struct FsckArguments {
    #[command(flatten)]
    directory: Directory,
}

/// Runs the program; exit codes as [`Arguments`] documents.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    init_tracing();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return trouble(&anyhow::Error::new(error).context("cannot start")),
    };
    match runtime.block_on(run(arguments, &mut std::io::stdout())) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => trouble(&error),
    }
}

fn init_tracing() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("TALLYSTICK_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info,h2=warn,sled=warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}

fn trouble(error: &anyhow::Error) -> ExitCode {
    // Standard error may be closed; there is nobody left to tell.
    let _unheard = writeln!(std::io::stderr(), "tallystick-collector: {}", with_remedy(error));
    ExitCode::from(2)
}

/// The error and, where the disk is full, what to do: whatever found it full first.
fn with_remedy(error: &anyhow::Error) -> String {
    let text = format!("{error:#}");
    let no_room =
        |cause: &std::io::Error| matches!(cause.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded);
    let full = error.chain().filter_map(|cause| cause.downcast_ref()).any(no_room);
    if full && backing_up::is_of_these(error) {
        return format!("{text}; make room there, and run it again");
    }
    if full && !text.contains("`ballast`") {
        return format!(
            "{text}; delete the file `ballast` in the data directory, start again, then make room"
        );
    }
    text
}

/// Runs a command, writing its answer to `out`; whether the answer is yes.
pub async fn run(arguments: Arguments, out: &mut impl Write) -> anyhow::Result<bool> {
    match arguments.command {
        Command::Init(arguments) => beginning::run(*arguments, out).map(|()| true),
        Command::Serve(directory) => serve(&directory).await.map(|()| true),
        Command::Token(command) => tokens::run(command, out).await.map(|()| true),
        Command::User(UserCommand::Create(arguments)) => user(arguments, out).await.map(|()| true),
        Command::User(UserCommand::Renew(arguments)) => renew(arguments, out).await.map(|()| true),
        Command::Ca(command) => rolling_over::run(command, out).await,
        Command::Erase(arguments) => erasing::erase(arguments, out).await,
        Command::Hold(command) => erasing::hold(command, out).await.map(|()| true),
        Command::Fsck(arguments) => checking::run(&arguments, out),
        Command::Rebuild(arguments) => rebuilding::run(&arguments, out),
        Command::Log(command) => rotating::run(command, out).await.map(|()| true),
        Command::Backup(arguments) => backing_up::backup(&arguments, out).map(|()| true),
        Command::Restore(arguments) => backing_up::restore(&arguments, out),
        Command::Recover(arguments) => recovering::run(&arguments, out),
    }
}

fn answer(out: &mut impl Write, as_json: bool, value: &Value, text: &str) -> anyhow::Result<()> {
    if as_json { writeln!(out, "{}", value.encode()) } else { writeln!(out, "{text}") }
        .context("cannot write the answer")
}

fn public_key(path: &Path) -> anyhow::Result<PersonPublicKey> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    PersonPublicKey::parse(&bytes).with_context(|| format!("{} is not a public key file", path.display()))
}

fn person_key(path: &Path) -> anyhow::Result<PersonKey> {
    let bytes = secrets::read(path)?;
    let form = || format!("{} is not a key file of `tallystick key new`", path.display());
    if !PersonKey::is_protected(&bytes) {
        let key = PersonKey::parse(&bytes).with_context(form)?;
        tracing::warn!(
            "The key file has no passphrase: whoever copies it is that person. `tallystick key protect` adds one."
        );
        return Ok(key);
    }
    let passphrase = match std::env::var_os(PASSPHRASE_VARIABLE) {
        Some(file) => Passphrase::of_line(&secrets::read(Path::new(&file))?)?,
        None => Passphrase::ask(&format!("Passphrase of {}: ", path.display()))?,
    };
    PersonKey::unlock(&bytes, &passphrase).with_context(|| path.display().to_string())
}

async fn serve(directory: &Directory) -> anyhow::Result<()> {
    let dir = directory.dir.clone();
    // It may have been moved since `init`; better said now than when everything else is open.
    check_socket_path(&dir)?;
    let node = tokio::task::spawn_blocking(move || crate::node::Node::open(&dir, |_| {}))
        .await
        .context("opening was interrupted")??;
    if let Some(why) = &node.report.rebuilt {
        tracing::warn!(why, "The index was rebuilt from the journal.");
    }
    if node.config.accept_rollback_blindness {
        tracing::warn!("Rollback blindness is accepted: nothing need notice that an old copy was restored.");
    }
    let cancel = tokio_util::sync::CancellationToken::new();
    let stop = cancel.clone();
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        .context("cannot wait for signals")?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        stop.cancel();
    });
    crate::serve::serve(node, cancel).await
}

fn sign(body: Body, origin: &str, now: Timestamp, key: &PersonKey) -> anyhow::Result<Vec<u8>> {
    Ok(Act::sign(body, origin, ActId::from_bytes(random()?), now, &key.signing).encode())
}

async fn user(arguments: UserArguments, out: &mut impl Write) -> anyhow::Result<()> {
    if arguments.profile_out.exists() {
        bail!("{} exists already; nothing was done", arguments.profile_out.display());
    }
    let mut engagements = arguments.engagements;
    engagements.sort_unstable();
    engagements.dedup();
    if !engagements.is_empty() && arguments.role != acts::Role::Auditor {
        bail!("--engagement is for auditors: a {} sees every engagement", arguments.role);
    }
    let key = person_key(&arguments.key)?;
    let public = public_key(&arguments.public_key)?;
    let config = Config::read(&arguments.directory.dir.join("collector.toml"))?;
    let person = PersonId::from_bytes(random()?);
    let name = object([("name", json::text(&arguments.name))]).to_bytes();
    let detail = Detail { random: random()?, bytes: name };
    let now = SystemClock.now();
    let act = acts::Person {
        person,
        role: arguments.role,
        key: public.signing,
        tls_key: public.tls.id(),
        detail: detail.digest(),
        engagements,
    };
    let envelope = sign(Body::Person(act), &config.origin, now, &key)?;
    let admin = Admin::at(&arguments.directory.dir).await?;
    let reply = admin.create_user(envelope, detail, public.tls.spki_der().to_vec()).await?;
    let trust_domain = config.trust_domain.parse().context("trust_domain")?;
    let log_keys = admin_log_keys(&arguments.directory.dir)?;
    let profile = profile(&config, person, arguments.role, reply.chain, &trust_domain, log_keys)?;
    write_profile(&arguments.profile_out, &profile)?;
    let index = reply.entry.map_or(0, |entry| entry.index);
    let value = object([("index", json::count(index)), ("person", json::text(person.to_string()))]);
    let text = format!(
        "Admitted {person} as {} (entry {index}). Profile for them: {}",
        arguments.role,
        arguments.profile_out.display()
    );
    answer(out, arguments.directory.json, &value, &text)
}

async fn renew(arguments: RenewArguments, out: &mut impl Write) -> anyhow::Result<()> {
    let public = public_key(&arguments.public_key)?;
    let config = Config::read(&arguments.directory.dir.join("collector.toml"))?;
    let admin = Admin::at(&arguments.directory.dir).await?;
    let reply = admin.renew_user(public.tls.spki_der().to_vec()).await?;
    let person: PersonId = reply.person.parse().context("the server named no person")?;
    let role: acts::Role = reply.role.parse().context("the server named no role")?;
    let trust_domain = config.trust_domain.parse().context("trust_domain")?;
    let log_keys = admin_log_keys(&arguments.directory.dir)?;
    let profile = profile(&config, person, role, reply.chain, &trust_domain, log_keys)?;
    write_profile(&arguments.profile_out, &profile)?;
    let value = object([("person", json::text(person.to_string())), ("role", json::text(role.as_str()))]);
    let text = format!("Fresh profile for {person} ({role}): {}", arguments.profile_out.display());
    answer(out, arguments.directory.json, &value, &text)
}

/// The log's verifier keys, from its key file and what lies beside it; the one of today last.
fn admin_log_keys(dir: &Path) -> anyhow::Result<Vec<evidence::note::VerifierKey>> {
    let config = Config::read(&dir.join("collector.toml"))?;
    Ok(crate::log_key::known(dir, &config.origin)?)
}
