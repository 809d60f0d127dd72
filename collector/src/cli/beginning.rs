//! `init`: makes a log, one that follows another too.

use std::io::Write;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use evidence::json::{self, Value, object};
use evidence::note::{Checkpoint, VerifierKey};
use evidence::time::{DAY_MS, DayLabel, Timestamp};

use super::{Directory, answer, public_key};
use crate::config::{Config, Listen, Retention};
use crate::init::{Init, init};
use crate::quota::Quota;
use crate::succession::{SIMULATED_LABEL_END, read_predecessor};

#[derive(Debug, Args)]
pub(super) struct InitArguments {
    #[command(flatten)]
    directory: Directory,
    /// Public key file of the first admin (`tallystick key new` makes it).
    #[arg(long, value_name = "FILE")]
    admin: PathBuf,
    /// DNS name of this installation, fixed for ever.
    #[arg(long, value_name = "NAME")]
    trust_domain: String,
    /// Label of the log: its origin is TRUST_DOMAIN/log/LABEL.
    #[arg(long, default_value = "main")]
    label: String,
    /// DNS name or address that devices and people dial; may be repeated.
    #[arg(long = "server-name", value_name = "NAME", required = true)]
    server_names: Vec<String>,
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1", value_name = "ADDRESS")]
    listen: IpAddr,
    /// First of four ports: enrolment, agents, people, the public tree. 0 takes four free ones.
    #[arg(long, default_value_t = 7443, value_name = "PORT")]
    port: u16,
    /// Where the root authority's key is written, for you to take away and keep offline.
    #[arg(long, value_name = "FILE")]
    root_key_out: PathBuf,
    /// Where the admin's connection profile is written.
    #[arg(long, value_name = "FILE")]
    profile_out: PathBuf,
    /// File of the high-water mark, on another file system: it notices when an old copy is restored. This, --mirror,
    /// --witness-policy or --accept-rollback-blindness is required.
    #[arg(long, value_name = "FILE")]
    high_water: Option<PathBuf>,
    /// Folder of a mirror, on another file system, that `tallystick log mirror` will keep: each start compares itself with it.
    #[arg(long, value_name = "DIR")]
    mirror: Option<PathBuf>,
    /// File of the witness policy, which need not exist yet: witnesses notice a restored old copy too, and stand in for a
    /// mark. It needs the log's key, which is made now, and a quorum, before the server can start.
    #[arg(long, value_name = "FILE")]
    witness_policy: Option<PathBuf>,
    /// PEM file with the authorities of witnesses that are asked over https.
    #[arg(long, value_name = "FILE")]
    witness_roots: Option<PathBuf>,
    /// Run although nothing outside this file system remembers the log, for ever. Every sampling set prints it.
    #[arg(long)]
    accept_rollback_blindness: bool,
    /// Time in this log is simulated for ever and begins at this day (UTC): for demonstrations and tests. Its origin ends
    /// in /simulated, only a simulation can write to it, and verifiers refuse it unless the trust file accepts it.
    #[arg(long, value_name = "YYYY-MM-DD", num_args = 0..=1, default_missing_value = "2027-01-01")]
    simulated: Option<DayLabel>,
    /// The newest checkpoint that anybody holds of the log that this one follows, a signed note: the log's first entry names
    /// it. The successor has the same trust domain and another --label.
    #[arg(long, value_name = "FILE", requires = "predecessor_key")]
    predecessor: Option<PathBuf>,
    /// Verifier key of the log that this one follows.
    #[arg(long, value_name = "VKEY", requires = "predecessor")]
    predecessor_key: Option<String>,
    /// Folder with a public tree of the log that this one follows (a mirror, or `tree` of its data directory): without it only
    /// devices whose newest checkpoint is the one that is named can move.
    #[arg(long, value_name = "DIR", requires = "predecessor")]
    predecessor_tree: Option<PathBuf>,
    /// Length of a journal segment, bytes.
    #[arg(long, default_value_t = crate::journal::SEGMENT_BYTES_DEFAULT)]
    segment_bytes: u64,
    /// Space kept to be given back on a full disk, bytes.
    #[arg(long, default_value_t = crate::datadir::BALLAST_BYTES_DEFAULT)]
    ballast_bytes: u64,
    /// Free space below which nothing is taken in, bytes.
    #[arg(long, default_value_t = crate::sequencer::FREE_BYTES_MIN_DEFAULT)]
    free_bytes_min: u64,
}

/// Four free ports on this machine.
fn free_ports(address: IpAddr) -> anyhow::Result<[u16; 4]> {
    let bound = [0; 4].map(|_| TcpListener::bind(SocketAddr::new(address, 0)));
    let mut ports = [0; 4];
    for (port, listener) in ports.iter_mut().zip(&bound) {
        let listener =
            listener.as_ref().map_err(|error| anyhow::anyhow!("no free port on {address}: {error}"))?;
        *port = listener.local_addr().context("no free port")?.port();
    }
    Ok(ports)
}

/// Makes a data directory with the log's first entry.
pub(super) fn run(arguments: InitArguments, out: &mut impl Write) -> anyhow::Result<()> {
    let InitArguments {
        directory, admin, trust_domain, label, server_names, listen, port, simulated, ..
    } = arguments;
    let admin = public_key(&admin)?;
    let ports = match port {
        0 => free_ports(listen)?,
        first => [0, 1, 2, 3].map(|offset: u16| first.saturating_add(offset)),
    };
    let [enrol, agents, people, tiles] = ports.map(|port| SocketAddr::new(listen, port));
    let absolute = |path: Option<&Path>| path.map(std::path::absolute).transpose();
    let high_water = absolute(arguments.high_water.as_deref()).context("--high-water")?;
    let mirror = absolute(arguments.mirror.as_deref()).context("--mirror")?;
    let witness_policy = absolute(arguments.witness_policy.as_deref()).context("--witness-policy")?;
    let witness_roots = absolute(arguments.witness_roots.as_deref()).context("--witness-roots")?;
    let predecessor_tree = absolute(arguments.predecessor_tree.as_deref()).context("--predecessor-tree")?;
    let predecessor = match (&arguments.predecessor, &arguments.predecessor_key) {
        (Some(note), Some(vkey)) => {
            let key = VerifierKey::parse(vkey).context("--predecessor-key")?;
            Some(read_predecessor(note, &key)?)
        }
        _ => None,
    };
    let config = Config {
        origin: format!("{trust_domain}/log/{label}{}", simulated.map_or("", |_| SIMULATED_LABEL_END)),
        trust_domain,
        server_names,
        listen: Listen { enrol, agents, people, tiles: Some(tiles) },
        high_water,
        mirror,
        accept_rollback_blindness: arguments.accept_rollback_blindness,
        admit_known_hardware: false,
        witness_policy,
        witness_roots,
        predecessor_tree,
        witness_recosign_seconds: crate::config::witness_recosign_seconds_default(),
        segment_bytes: arguments.segment_bytes,
        journal_segments_kept: crate::config::journal_segments_kept_default(),
        checkpoint_interval_ms: 1_000,
        free_bytes_min: arguments.free_bytes_min,
        ballast_bytes: arguments.ballast_bytes,
        retention: Retention::default(),
        quota: Quota::default(),
    };
    let origin = config.origin.clone();
    let follows = predecessor.as_ref().map_or(String::new(), |old| {
        format!("\nIt follows {}, of which it names {} entries.", old.origin, old.size)
    });
    let named = predecessor.iter().map(checkpoint_value).collect();
    let root_key = arguments.root_key_out.clone();
    let made = init(Init {
        dir: directory.dir.clone(),
        config,
        admin,
        root_key_out: arguments.root_key_out,
        profile_out: arguments.profile_out,
        simulated: simulated.map(|day| Timestamp(day.days_since_1970().saturating_mul(DAY_MS))),
        predecessor,
    })?;
    let value = object([
        ("origin", json::text(&origin)),
        ("log_vkey", json::text(&made.log_vkey)),
        ("root_ca", json::hex(&made.root_ca)),
        ("admin", json::text(made.admin.to_string())),
        ("enrol", json::text(enrol.to_string())),
        ("agents", json::text(agents.to_string())),
        ("people", json::text(people.to_string())),
        ("tiles", json::text(tiles.to_string())),
        ("predecessor", Value::Array(named)),
    ]);
    let text = format!(
        "Log {origin} begins.{follows} Its key, to be compared by whoever relies on it:\n  {}\n\
         Take the root authority's key away and keep it offline: {}\n\
         Next: tallystick-collector serve --dir {}",
        made.log_vkey,
        root_key.display(),
        directory.dir.display()
    );
    answer(out, directory.json, &value, &text)
}

fn checkpoint_value(checkpoint: &Checkpoint) -> Value {
    object([
        ("origin", json::text(&checkpoint.origin)),
        ("size", json::count(checkpoint.size)),
        ("root", json::hex(&checkpoint.root)),
    ])
}
