//! `tallystick witness` as a process: started, killed, started again, and never two on one folder.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at what it cannot read")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use evidence::ids::Digest;
use evidence::keys::SecretKey;
use evidence::merkle::{leaf_hash, node_hash};
use evidence::note::{Checkpoint, VerifierKey, WitnessKey};
use evidence::witness::AddCheckpoint;
use serde_json::Value;

const ORIGIN: &str = "log.example/log/main";

fn log_key() -> SecretKey {
    SecretKey::from_seed(&[1; 32]).unwrap()
}

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tallystick")).args(arguments).output().unwrap()
}

fn error(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A running witness; killed when dropped.
struct Served {
    child: Child,
    address: String,
}

impl Served {
    fn start(dir: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tallystick"))
            .args(["--json", "witness", "serve", "--dir", dir, "--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line).unwrap();
        Self { child, address: said["listening"].as_str().unwrap().to_owned() }
    }

    fn add(&self, request: &AddCheckpoint) -> (u16, String) {
        let body = request.encode();
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let head = "POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nConnection: close\r\nContent-Length:";
        stream.write_all(format!("{head} {}\r\n\r\n{body}", body.len()).as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // SIGKILL: what was answered must have been on the disk.
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// A request about trees of one or two leaves.
fn request(second: &str, old_size: u64, size: u64) -> AddCheckpoint {
    let (first, second) = (leaf_hash(b"first"), leaf_hash(second.as_bytes()));
    let root: Digest = if size == 1 { first } else { node_hash(&first, &second) };
    let proof = if old_size == 1 && size == 2 { vec![second] } else { Vec::new() };
    let head = Checkpoint { origin: ORIGIN.into(), size, root };
    AddCheckpoint { old_size, proof, note: head.sign(&log_key()).unwrap() }
}

fn made(folder: &Path) -> (String, WitnessKey) {
    let dir = folder.join("w").to_str().unwrap().to_owned();
    let init = run(&["--json", "witness", "init", "--dir", &dir, "--name", "witness.example/w1"]);
    let said: Value = serde_json::from_slice(&init.stdout).unwrap();
    let vkey = VerifierKey::new(ORIGIN, *log_key().public()).unwrap().vkey();
    assert!(run(&["witness", "add-log", "--dir", &dir, &vkey]).status.success());
    (dir, WitnessKey::parse(said["vkey"].as_str().unwrap()).unwrap())
}

#[test]
fn what_was_answered_outlives_a_kill_and_a_fork_finds_it() {
    let folder = tempfile::tempdir().unwrap();
    let (dir, key) = made(folder.path());
    let served = Served::start(&dir);
    let (status, line) = served.add(&request("a", 0, 1));
    assert_eq!(status, 200, "{line}");
    request("a", 0, 1).note.adopt(&key, line.as_bytes()).unwrap();
    assert_eq!(served.add(&request("a", 1, 2)).0, 200);
    drop(served);

    let served = Served::start(&dir);
    assert_eq!(served.add(&request("b", 1, 2)), (409, "2\n".into()));
    assert_eq!(served.add(&request("b", 2, 2)).0, 422);
    assert_eq!(served.add(&request("a", 2, 2)).0, 200);
    drop(served);
    let shown = run(&["--json", "witness", "show", "--dir", &dir]);
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!((&shown["logs"][0]["origin"], &shown["logs"][0]["size"]), (&ORIGIN.into(), &2.into()));
}

/// A certificate block whose bytes nobody looks at before the key.
fn any_certificate() -> String {
    "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n".to_owned()
}

#[test]
fn there_is_one_witness_on_a_folder_and_it_is_not_open_to_the_network() {
    let folder = tempfile::tempdir().unwrap();
    let (dir, _) = made(folder.path());
    let open = run(&["witness", "serve", "--dir", &dir, "--listen", "0.0.0.0:0"]);
    assert!(error(&open).contains("open to the network"), "{open:?}");
    // TLS needs both its files, whole ones, and a key that is closed to others. tests/tests/witnesses.rs uses good ones.
    let [certificate, key] = ["chain.pem", "key.pem"].map(|name| folder.path().join(name));
    std::fs::write(&certificate, "no certificate\n").unwrap();
    std::fs::write(&key, "no key\n").unwrap();
    let [certificate_text, key_text] = [&certificate, &key].map(|path| path.to_str().unwrap());
    let tls = |files: &[&str]| {
        error(&run(&[&["witness", "serve", "--dir", &dir, "--listen", "0.0.0.0:0"], files].concat()))
    };
    assert!(tls(&["--tls-certificate", certificate_text]).contains("--tls-key"));
    let both = ["--tls-certificate", certificate_text, "--tls-key", key_text];
    let said = tls(&both);
    assert!(said.contains("chain.pem") && said.contains("no certificate found"), "{said}");
    let made = any_certificate();
    std::fs::write(&certificate, made).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(tls(&both).contains("chmod 600"));
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let said = tls(&both);
    assert!(said.contains("key.pem") && said.contains("no private key found"), "{said}");
    let _served = Served::start(&dir);
    for second in [&["witness", "serve", "--listen", "127.0.0.1:0"][..], &["witness", "show"]] {
        let output = run(&[second, &["--dir", &dir]].concat());
        assert!(error(&output).contains("in use by another process"), "{output:?}");
    }
}
