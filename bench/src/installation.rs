//! A real collector: the release binary, initialised and served as an operator does it.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::net::TcpStream;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use certs::{PersonKey, Token};
use rpc::connect::Address;
use serde_json::Value;

use crate::process::{Process, run};

/// How long the server may take to open its listeners.
const READY_MAX: Duration = Duration::from_secs(30);
/// What one device may send here: more than it can.
const QUOTA: &str = "\n[quota]\nstatements_per_second = 1000000\nstatements_at_once = 1000000\n\
                     mib_per_minute = 100000\nmib_per_day = 1000000\n";

/// A data directory with its admin, and the program that serves it.
pub struct Installation {
    program: PathBuf,
    folder: PathBuf,
    /// Where devices enrol.
    pub enrol: Address,
    /// Where enrolled devices submit.
    pub agents: Address,
}

impl Installation {
    /// Makes keys, authorities and a log below `folder`, which must exist and be empty of them.
    pub fn create(program: &Path, folder: &Path) -> anyhow::Result<Self> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).context("the system gives no random bytes")?;
        let key = PersonKey::new(&seed)?;
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(folder.join("admin.key"))?;
        file.write_all(&key.encode())?;
        fs::write(folder.join("admin.key.pub"), key.public().encode())?;
        let mut init = Command::new(program);
        init.args(["init", "--json", "--accept-rollback-blindness", "--port", "0", "--listen", "127.0.0.1"])
            .args(["--trust-domain", "bench.test", "--server-name", "127.0.0.1"])
            .arg("--dir")
            .arg(folder.join("collector"))
            .arg("--admin")
            .arg(folder.join("admin.key.pub"))
            .arg("--root-key-out")
            .arg(folder.join("root-ca.key"))
            .arg("--profile-out")
            .arg(folder.join("admin.profile"));
        let made: Value = serde_json::from_str(&run(&mut init)?).context("init --json")?;
        let address = |name: &str| {
            let text = made.get(name).and_then(Value::as_str);
            text.and_then(|text| text.parse().ok()).with_context(|| format!("init --json has no {name}"))
        };
        let (enrol, agents) = (address("enrol")?, address("agents")?);
        // The generators send in seconds what a device says in years.
        let mut settings = OpenOptions::new().append(true).open(folder.join("collector/collector.toml"))?;
        settings.write_all(QUOTA.as_bytes())?;
        Ok(Self { program: program.to_owned(), folder: folder.to_owned(), enrol, agents })
    }

    /// The data directory.
    pub fn data(&self) -> PathBuf {
        self.folder.join("collector")
    }

    /// Starts the server and waits until it listens.
    pub fn serve(&self) -> anyhow::Result<Process> {
        let mut command = Command::new(&self.program);
        command.arg("serve").arg("--dir").arg(self.data());
        let log = self.folder.join("collector.log");
        let mut process = Process::start(&mut command, &log)?;
        let begun = Instant::now();
        let listens = |address: &Address| TcpStream::connect(address.to_string()).is_ok();
        while !(listens(&self.enrol) && listens(&self.agents) && self.data().join("admin.sock").exists()) {
            if !process.is_running() || begun.elapsed() > READY_MAX {
                bail!("the collector does not listen: {}", fs::read_to_string(&log).unwrap_or_default());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(process)
    }

    /// A one-time token for a laptop, made by the admin through the server's socket.
    pub fn token(&self) -> anyhow::Result<Token> {
        let mut command = Command::new(&self.program);
        command.args(["token", "create", "--class", "laptop", "--group", "bench", "--dir"]).arg(self.data());
        command.arg("--key").arg(self.folder.join("admin.key"));
        Ok(run(&mut command)?.parse()?)
    }

    /// What `fsck --json` says of the data directory; the server must be down.
    pub fn fsck(&self) -> anyhow::Result<Value> {
        let mut command = Command::new(&self.program);
        command.args(["fsck", "--json", "--dir"]).arg(self.data());
        serde_json::from_str(&run(&mut command)?).context("fsck --json")
    }
}

/// A program of the workspace: `given`, or the one built beside this benchmark.
pub fn program(given: Option<PathBuf>, name: &str) -> anyhow::Result<PathBuf> {
    let path = match given {
        Some(path) => path,
        None => std::env::current_exe()?.with_file_name(name),
    };
    anyhow::ensure!(path.is_file(), "{} is missing: cargo build --release", path.display());
    Ok(path)
}
