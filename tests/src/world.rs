//! An installation in a temporary folder: keys of three people, a data directory, and a server when it is
//! wanted.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use certs::{PersonKey, Profile, Token};
use evidence::acts::{Act, ActId, Body};
use evidence::leaf::Kind;
use evidence::note::{Checkpoint, Note};
use evidence::time::{Clock, Timestamp};
use proto::{LatestCheckpointReply, LatestCheckpointRequest, PutActReply, PutActRequest};
use rpc::connect::{Connection, connect};
use rpc::v1::people_client::PeopleClient;
use tempfile::TempDir;
use tonic::Status;
use tonic::transport::Channel;

use crate::process::{Programs, Ran, Running, run, run_command, wait_for};

/// Trust domain of every world.
pub const TRUST_DOMAIN: &str = "evidence.example.com";
/// Origin of its log.
pub const ORIGIN: &str = "evidence.example.com/log/main";
/// Ports are taken from here, below those that the system gives to outgoing connections: a server that was
/// killed must find its ports free.
const PORTS: std::ops::Range<u16> = 12_000..31_000;
/// Between two looks at a server that starts.
const GLANCE: Duration = Duration::from_millis(10);

/// What a world is made with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Length of a journal segment, bytes.
    pub segment_bytes: u64,
    /// Free space below which nothing is taken in, bytes.
    pub free_bytes_min: u64,
    /// Space that is given back on a full disk, bytes.
    pub ballast_bytes: u64,
    /// Time between checkpoints, milliseconds.
    pub checkpoint_interval_ms: u64,
    /// Where the data directory lies, if not beside everything else.
    pub data: Option<PathBuf>,
    /// Where the high-water mark lies, if not beside everything else.
    pub high_water: Option<PathBuf>,
    /// Begin with a mirror at this folder, and without a mark on another file system.
    pub mirror: Option<PathBuf>,
    /// Say that nothing on another file system remembers the log: a temporary folder has one file system.
    pub accept_rollback_blindness: bool,
    /// Begin without a mark on another file system: a witness policy, `witnesses.policy` in the data directory, stands in.
    pub witnesses_alone: bool,
    /// Let `init` choose the ports.
    pub any_ports: bool,
    /// Leave devices the quotas of the product. The loads of tests send in seconds what a device says in years.
    pub quotas: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            segment_bytes: 8 << 20,
            free_bytes_min: 1 << 20,
            ballast_bytes: 1 << 20,
            checkpoint_interval_ms: 100,
            data: None,
            high_water: None,
            mirror: None,
            accept_rollback_blindness: true,
            witnesses_alone: false,
            any_ports: false,
            quotas: false,
        }
    }
}

/// A person: keys, and after admission a profile.
#[derive(Debug, Clone)]
pub struct Person {
    /// The key file.
    pub key: PathBuf,
    /// The public key file.
    pub public: PathBuf,
    /// The profile.
    pub profile: PathBuf,
}

impl Person {
    /// A new person whose files lie in `folder`.
    pub fn new(folder: &Path, name: &str) -> Self {
        let key = PersonKey::new(&random()).expect("keys");
        let person = Self {
            key: folder.join(format!("{name}.key")),
            public: folder.join(format!("{name}.key.pub")),
            profile: folder.join(format!("{name}.profile")),
        };
        write_secret(&person.key, &key.encode());
        fs::write(&person.public, key.public().encode()).expect("the public key can be written");
        person
    }

    /// The keys.
    pub fn keys(&self) -> PersonKey {
        PersonKey::parse(&fs::read(&self.key).expect("a key file")).expect("a key file")
    }

    /// The profile.
    pub fn profile(&self) -> Profile {
        Profile::parse(&fs::read(&self.profile).expect("a profile")).expect("a profile")
    }

    /// A connection as this person.
    pub async fn connect(&self) -> Caller {
        let (profile, keys) = (self.profile(), self.keys());
        let tls = certs::mutual_client(&profile.identity(keys.tls), &profile.root, clock()).expect("TLS");
        let address = profile.server.parse().expect("an address");
        let connection = connect(&address, tls).await.expect("a connection to the people listener");
        Caller {
            people: PeopleClient::new(connection.channel.clone()),
            connection,
            profile,
            signing: keys.signing,
        }
    }
}

/// A person with an open connection.
pub struct Caller {
    /// The calls.
    pub people: PeopleClient<Channel>,
    /// The connection.
    pub connection: Connection,
    /// As whom.
    pub profile: Profile,
    /// Signs acts.
    pub signing: evidence::keys::SecretKey,
}

impl Caller {
    /// The newest checkpoint, checked against the log's key, and the proof from `from_size`.
    pub async fn checkpoint(&mut self, from_size: u64) -> (Checkpoint, LatestCheckpointReply) {
        let reply = self.people.latest_checkpoint(LatestCheckpointRequest { from_size }).await;
        let reply = reply.expect("a checkpoint").into_inner();
        let note = Note::parse(reply.note.as_bytes()).expect("a note");
        let checkpoint =
            Checkpoint::open_of(&note, &self.profile.log_keys, ORIGIN).expect("signed by the log");
        (checkpoint, reply)
    }

    /// Signs `body` and carries it.
    pub async fn put(&mut self, body: Body) -> Result<PutActReply, Status> {
        let kind = body.kind();
        let envelope = Act::sign(body, ORIGIN, ActId::from_bytes(random()), now(), &self.signing).encode();
        self.put_as(kind, envelope).await
    }

    /// Carries an envelope as an entry of `kind`.
    pub async fn put_as(&mut self, kind: Kind, envelope: Vec<u8>) -> Result<PutActReply, Status> {
        let request = PutActRequest {
            kind_stream: kind.stream.number().into(),
            kind: kind.number.into(),
            envelope,
            detail: Vec::new(),
            detail_salt: Vec::new(),
        };
        Ok(self.people.put_act(request).await?.into_inner())
    }
}

/// The installation.
#[derive(Debug)]
pub struct World {
    folder: TempDir,
    programs: Programs,
    /// The data directory.
    pub data: PathBuf,
    /// The first admin.
    pub admin: Person,
    /// An analyst, once `admit_people` was called.
    pub analyst: Person,
    /// An auditor, likewise.
    pub auditor: Person,
    /// Where devices enrol.
    pub enrol: SocketAddr,
    /// Where enrolled devices submit.
    pub agents: SocketAddr,
    /// Where people ask.
    pub people: SocketAddr,
    /// Where anybody reads the public tree.
    pub tiles: SocketAddr,
}

impl World {
    /// A world with the usual settings, and nothing running.
    #[track_caller]
    pub fn new(programs: Programs) -> Self {
        Self::with(programs, &Settings::default())
    }

    /// A world with `settings`, and nothing running.
    #[track_caller]
    pub fn with(programs: Programs, settings: &Settings) -> Self {
        let folder = tempfile::Builder::new().prefix("tallystick-").tempdir().expect("a temporary folder");
        let [admin, analyst, auditor] =
            ["admin", "analyst", "auditor"].map(|name| Person::new(folder.path(), name));
        let data = settings.data.clone().unwrap_or_else(|| folder.path().join("data"));
        let made = run(programs.collector, Self::init_line(&folder, &data, &admin, settings)).json();
        let address =
            |name: &str| made[name].as_str().and_then(|text| text.parse().ok()).expect("an address");
        let world = Self {
            programs,
            data,
            admin,
            analyst,
            auditor,
            enrol: address("enrol"),
            agents: address("agents"),
            people: address("people"),
            tiles: address("tiles"),
            folder,
        };
        world.set("checkpoint_interval_ms", settings.checkpoint_interval_ms);
        // The agents of a test are all on one machine.
        world.set("admit_known_hardware", true);
        if !settings.quotas {
            world.set_quota(1_000_000, 1_000_000);
        }
        // The tests read the journal by themselves, from its beginning.
        world.set("journal_segments_kept", u64::from(u32::MAX));
        world
    }

    fn init_line(folder: &TempDir, data: &Path, admin: &Person, settings: &Settings) -> Vec<String> {
        let file = |name: &str| folder.path().join(name).display().to_string();
        let port = if settings.any_ports { 0 } else { free_ports() };
        let mark = settings.high_water.clone().unwrap_or_else(|| folder.path().join("high-water"));
        let memory = match &settings.mirror {
            Some(mirror) => ("--mirror", mirror.display().to_string()),
            None if settings.witnesses_alone => {
                ("--witness-policy", data.join("witnesses.policy").display().to_string())
            }
            None => ("--high-water", mark.display().to_string()),
        };
        let pairs = [
            ("--dir", data.display().to_string()),
            ("--admin", admin.public.display().to_string()),
            ("--trust-domain", TRUST_DOMAIN.to_owned()),
            ("--server-name", "127.0.0.1".to_owned()),
            ("--port", port.to_string()),
            ("--root-key-out", file("root.key")),
            ("--profile-out", admin.profile.display().to_string()),
            memory,
            ("--segment-bytes", settings.segment_bytes.to_string()),
            ("--ballast-bytes", settings.ballast_bytes.to_string()),
            ("--free-bytes-min", settings.free_bytes_min.to_string()),
        ];
        let pairs = pairs.into_iter().flat_map(|(name, value)| [name.to_owned(), value]);
        let mut line: Vec<String> =
            ["init".to_owned(), "--json".to_owned()].into_iter().chain(pairs).collect();
        if settings.accept_rollback_blindness {
            line.push("--accept-rollback-blindness".to_owned());
        }
        line
    }

    /// A path in the world's folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Sets a number or a flag in collector.toml; the server must be down.
    pub fn set(&self, key: &str, value: impl std::fmt::Display) {
        let path = self.data.join("collector.toml");
        let text = fs::read_to_string(&path).expect("the configuration");
        let prefix = format!("{key} =");
        assert!(text.lines().any(|line| line.starts_with(&prefix)), "no {key} in:\n{text}");
        let change = |line: &str| {
            if line.starts_with(&prefix) { format!("{key} = {value}\n") } else { format!("{line}\n") }
        };
        fs::write(&path, text.lines().map(change).collect::<String>()).expect("the configuration");
    }

    /// Sets what a device may send: statements per second, and at once; the server must be down.
    pub fn set_quota(&self, per_second: u32, at_once: u32) {
        let path = self.data.join("collector.toml");
        let text = fs::read_to_string(&path).expect("the configuration");
        let rest = text.split("\n[quota]").next().expect("a text");
        let quota = format!(
            "\n[quota]\nstatements_per_second = {per_second}\nstatements_at_once = {at_once}\n\
             mib_per_minute = 100000\nmib_per_day = 1000000\n"
        );
        fs::write(&path, [rest, &quota].concat()).expect("the configuration");
    }

    /// Runs a command of `tallystick-collector` at the data directory.
    #[track_caller]
    pub fn collector(&self, command: &[&str]) -> Ran {
        run_command(self.collector_command(command))
    }

    /// The same, not started yet.
    pub fn collector_command(&self, command: &[&str]) -> Command {
        let mut built = Command::new(self.programs.collector);
        built.args(command).arg("--dir").arg(&self.data);
        built
    }

    /// Runs `tallystick` as a person.
    #[track_caller]
    pub fn cli(&self, person: &Person, command: &[&str]) -> Ran {
        let mut built = Command::new(self.programs.cli);
        built.args(command).arg("--key").arg(&person.key).arg("--profile").arg(&person.profile);
        run_command(built)
    }

    /// Runs `tallystick-agent` with a state directory in the world's folder.
    #[track_caller]
    pub fn agent(&self, state: &str, command: &[&str]) -> Ran {
        let mut built = Command::new(self.programs.agent);
        built.arg("--state").arg(self.file(state)).args(command);
        run_command(built)
    }

    /// The same, not started yet.
    pub fn agent_command(&self, state: &str, command: &[&str]) -> Command {
        let mut built = Command::new(self.programs.agent);
        built.arg("--state").arg(self.file(state)).args(command);
        built
    }

    /// Enrols a real agent; gives its answer.
    #[track_caller]
    pub fn enrol_agent(&self, state: &str, token: &Token) -> serde_json::Value {
        self.try_enrol_agent(state, &token.text()).json()
    }

    /// Tries to enrol a real agent with a token's text.
    #[track_caller]
    pub fn try_enrol_agent(&self, state: &str, token: &str) -> Ran {
        let file = self.file(&format!("{state}.token"));
        write_secret(&file, token.as_bytes());
        let (enrol, agents) = (self.enrol.to_string(), self.agents.to_string());
        let file = file.display().to_string();
        let line = ["enroll", "--json", "--server", &enrol, "--agents", &agents, "--token-file", &file];
        self.agent(state, &line)
    }

    /// The programs.
    pub fn programs(&self) -> &Programs {
        &self.programs
    }

    /// A one-time token for a laptop, made with the server up or down.
    #[track_caller]
    pub fn token(&self) -> Token {
        self.token_for("laptop", "office")
    }

    /// A one-time token.
    #[track_caller]
    pub fn token_for(&self, class: &str, group: &str) -> Token {
        let key = self.admin.key.display().to_string();
        let made = self
            .collector(&["token", "create", "--json", "--key", &key, "--class", class, "--group", group])
            .json();
        made["token"].as_str().and_then(|text| text.parse().ok()).expect("a token")
    }

    /// Admits the analyst and the auditor.
    #[track_caller]
    pub fn admit_people(&self) {
        for (person, role) in [(&self.analyst, "analyst"), (&self.auditor, "auditor")] {
            self.admit(person, role);
        }
    }

    /// Admits a person with a role.
    #[track_caller]
    pub fn admit(&self, person: &Person, role: &str) {
        let path = |path: &Path| path.display().to_string();
        let (key, public, profile) = (path(&self.admin.key), path(&person.public), path(&person.profile));
        let line = ["user", "create", "--key", &key, "--public-key", &public, "--role", role];
        self.collector(&[&line[..], &["--name", role, "--profile-out", &profile]].concat()).ok();
    }

    /// Starts the server and waits until it answers.
    #[track_caller]
    pub fn serve(&self) -> Running {
        let mut running = self.spawn(&[]);
        self.wait_ready(&mut running);
        running
    }

    /// Starts the server without waiting, with additions to its environment.
    #[track_caller]
    pub fn spawn(&self, environment: &[(&str, &str)]) -> Running {
        let mut command = self.collector_command(&["serve"]);
        command.envs(environment.iter().copied());
        Running::start(command, &self.log())
    }

    /// The server's log.
    pub fn log(&self) -> PathBuf {
        self.file("serve.log")
    }

    /// Waits until a started server takes connections.
    #[track_caller]
    pub fn wait_ready(&self, running: &mut Running) {
        wait_for("the collector to be ready", || {
            let ended = running.ended();
            assert!(ended.is_none(), "the collector ended with {ended:?}:\n{}", running.said());
            self.is_ready().then_some(())
        });
    }

    /// Waits until a server takes connections or has ended; whether it is ready.
    pub fn wait_ready_or_ended(&self, running: &mut Running, until: Instant) -> bool {
        loop {
            if running.ended().is_some() || Instant::now() >= until {
                return false;
            }
            if self.is_ready() {
                return true;
            }
            std::thread::sleep(GLANCE);
        }
    }

    /// The socket is made last, so whoever answers there has all listeners.
    fn is_ready(&self) -> bool {
        UnixStream::connect(self.data.join("admin.sock")).is_ok()
            && [self.enrol, self.agents, self.people, self.tiles]
                .iter()
                .all(|address| TcpStream::connect_timeout(address, GLANCE * 100).is_ok())
    }

    /// `fsck`, which must find everything sound.
    #[track_caller]
    pub fn fsck(&self) -> serde_json::Value {
        self.collector(&["fsck", "--json"]).json()
    }
}

/// The system's clock as TLS configurations take it.
pub fn clock() -> certs::Clock {
    Arc::new(certs::SystemClock(Arc::new(collector::clock::SystemClock)))
}

/// Now.
pub fn now() -> Timestamp {
    collector::clock::SystemClock.now()
}

/// Fresh random bytes.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("randomness");
    bytes
}

/// Writes a file that only its owner can read.
pub fn write_secret(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).expect("the file can be written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("the file can be protected");
}

/// The first of four free ports in a row: enrolment, agents, people, tiles.
pub fn free_ports() -> u16 {
    wait_for("four free ports in a row", || {
        let span = PORTS.end - PORTS.start - 4;
        let first = PORTS.start + u16::from_le_bytes(random()) % span;
        let bound: Vec<_> = (first..first + 4)
            .map_while(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok())
            .collect();
        (bound.len() == 4).then_some(first)
    })
}
