//! Witnesses of a world: real ones as processes, and one that says whatever a test wants.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use certs::pem;
use certs::test_pki::TestPki;
use evidence::keys::SecretKey;
use evidence::note::WitnessKey;
use evidence::witness::AddCheckpoint;

use crate::process::{Running, run, wait_for};
use crate::world::{World, free_ports, now, write_secret};

/// A real witness: `tallystick witness`, on a port it keeps.
#[derive(Debug)]
pub struct Witness {
    cli: &'static str,
    label: String,
    folder: PathBuf,
    port: u16,
    tls: Option<[PathBuf; 2]>,
    vkey: String,
    log: PathBuf,
    running: Option<Running>,
}

impl Witness {
    /// Makes a witness that knows the world's log, and starts it.
    #[track_caller]
    pub fn new(world: &World, label: &str) -> Self {
        Self::make(world, label, None)
    }

    /// The same with a certificate of the installation's, whose root is written to `witness-roots.pem` in the data directory.
    #[track_caller]
    pub fn with_tls(world: &World, label: &str) -> Self {
        let pki = TestPki::new("witness.example.com", now());
        let identity = pki.server("127.0.0.1");
        // The root is what clients are given: it need not be sent.
        let chain = identity.chain.iter().take(2);
        let text: String = chain.map(|der| pem::encode(pem::CERTIFICATE, der)).collect();
        let files = [world.file(&format!("{label}.pem")), world.file(&format!("{label}.key"))];
        fs::write(&files[0], text).expect("the certificate");
        write_secret(&files[1], identity.key.to_pem().as_bytes());
        let root = pem::encode(pem::CERTIFICATE, pki.root());
        fs::write(world.data.join("witness-roots.pem"), root).expect("the root");
        Self::make(world, label, Some(files))
    }

    #[track_caller]
    fn make(world: &World, label: &str, tls: Option<[PathBuf; 2]>) -> Self {
        let (cli, folder) = (world.programs().cli, world.file(label));
        let dir = folder.display().to_string();
        let name = format!("{label}.example.com/witness");
        let made = run(cli, ["--json", "witness", "init", "--dir", &dir, "--name", &name]).json();
        let log = world.admin.profile().log_keys[0].vkey();
        run(cli, ["witness", "add-log", "--dir", &dir, &log]).ok();
        let mut witness = Self {
            cli,
            label: label.to_owned(),
            folder,
            port: free_ports(),
            tls,
            vkey: made["vkey"].as_str().expect("a key").to_owned(),
            log: world.file(&format!("{label}.log")),
            running: None,
        };
        witness.start();
        witness
    }

    /// Starts it, and waits until it answers.
    #[track_caller]
    pub fn start(&mut self) {
        let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), self.port);
        let mut command = Command::new(self.cli);
        command.args(["witness", "serve", "--listen", &address.to_string(), "--dir"]).arg(&self.folder);
        if let Some([certificate, key]) = &self.tls {
            command.arg("--tls-certificate").arg(certificate).arg("--tls-key").arg(key);
        }
        let mut running = Running::start(command, &self.log);
        wait_for("the witness to answer", || {
            let ended = running.ended();
            assert!(ended.is_none(), "the witness ended with {ended:?}:\n{}", running.said());
            TcpStream::connect(address).is_ok().then_some(())
        });
        self.running = Some(running);
    }

    /// Kills it.
    pub fn kill(&mut self) {
        self.running.take().expect("it runs").kill();
    }

    /// Its line in a policy.
    pub fn line(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("witness {} {} {scheme}://127.0.0.1:{}", self.label, self.vkey, self.port)
    }
}

/// The text of a policy of the world's log.
pub fn policy(world: &World, witnesses: &[String], quorum: &str) -> String {
    let log = world.admin.profile().log_keys[0].vkey();
    let names: Vec<&str> = witnesses.iter().map(|line| line.split(' ').nth(1).expect("a name")).collect();
    let group = format!("group q {quorum} {}", names.join(" "));
    format!("log {log}\n{}\n{group}\nquorum q\n", witnesses.join("\n"))
}

/// Names the policy in collector.toml; the server must be down. Gives the policy's file.
#[track_caller]
pub fn install(world: &World, text: &str) -> PathBuf {
    let policy = world.data.join("witnesses.policy");
    fs::write(&policy, text).expect("the policy");
    let path = world.data.join("collector.toml");
    let old = fs::read_to_string(&path).expect("the configuration");
    let kept =
        old.lines().filter(|line| !line.starts_with("witness_policy") && !line.starts_with("witness_roots"));
    let mut new = "witness_policy = \"witnesses.policy\"\n".to_owned();
    if text.contains(" https://") {
        new += "witness_roots = \"witness-roots.pem\"\n";
    }
    new.extend(kept.map(|line| format!("{line}\n")));
    fs::write(&path, new).expect("the configuration");
    policy
}

/// What a liar does with a request: a status with a body, these very bytes, or nothing at all.
#[derive(Debug, Clone)]
pub enum Says {
    /// An HTTP answer.
    Http(u16, Vec<u8>),
    /// Bytes.
    Raw(Vec<u8>),
    /// It never answers.
    Nothing,
}

type Manner = Box<dyn FnMut(&Liar, &str, &[u8]) -> Says + Send>;

/// A witness that answers as a test says, with a key of its own. Its thread ends with the process.
pub struct Liar {
    /// Its key.
    pub key: SecretKey,
    port: u16,
    manner: Mutex<Manner>,
    asked: Mutex<usize>,
}

impl Liar {
    /// Name it signs under.
    pub const NAME: &'static str = "liar.example.com/witness";

    /// Begins to answer honestly: it cosigns everything.
    pub fn start() -> Arc<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, free_ports())).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let key = SecretKey::from_seed(&[77; 32]).expect("a key");
        let manner: Mutex<Manner> = Mutex::new(Box::new(Self::cosigns));
        let liar = Arc::new(Self { key, port, manner, asked: Mutex::new(0) });
        let answering = Arc::clone(&liar);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let liar = Arc::clone(&answering);
                std::thread::spawn(move || liar.answer(stream));
            }
        });
        liar
    }

    /// How it answers from now on: it is given the request's first line and the body.
    pub fn says(&self, manner: impl FnMut(&Self, &str, &[u8]) -> Says + Send + 'static) {
        *self.manner.lock().expect("no answer failed") = Box::new(manner);
    }

    /// How often it was asked to cosign.
    pub fn asked(&self) -> usize {
        *self.asked.lock().expect("no answer failed")
    }

    /// Its line in a policy.
    pub fn line(&self) -> String {
        let vkey = WitnessKey::new(Self::NAME, *self.key.public()).expect("a name").vkey();
        format!("witness liar {vkey} http://127.0.0.1:{}", self.port)
    }

    /// A good answer, whatever it has seen before.
    pub fn cosigns(&self, _line: &str, body: &[u8]) -> Says {
        match AddCheckpoint::parse(body) {
            Ok(request) => {
                let line =
                    request.note.cosignature(Self::NAME, &self.key, now().ms() / 1000).expect("a line");
                Says::Http(200, line.into_bytes())
            }
            Err(error) => Says::Http(400, error.to_string().into_bytes()),
        }
    }

    fn answer(&self, mut stream: TcpStream) {
        let Some((line, body)) = request(&mut stream) else { return };
        if line.starts_with("POST") {
            *self.asked.lock().expect("no answer failed") += 1;
        }
        let says = (self.manner.lock().expect("no answer failed"))(self, &line, &body);
        let bytes = match says {
            Says::Http(status, body) => {
                let head = format!(
                    "HTTP/1.1 {status} x\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    body.len()
                );
                [head.into_bytes(), body].concat()
            }
            Says::Raw(bytes) => bytes,
            Says::Nothing => {
                // Longer than anybody waits.
                std::thread::sleep(Duration::from_mins(1));
                return;
            }
        };
        drop(stream.write_all(&bytes));
    }
}

/// First line and body of a request.
fn request(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let (mut bytes, mut byte) = (Vec::new(), [0]);
    while !bytes.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        bytes.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&bytes).into_owned();
    let length =
        head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).ok()?;
    Some((head.lines().next()?.to_owned(), body))
}
