//! A witness over its folder and over HTTP: every status, what is stored before it is said, and two at one time.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::sync::Arc;

use evidence::ids::Digest;
use evidence::keys::SecretKey;
use evidence::merkle::{leaf_hash, node_hash};
use evidence::note::{Checkpoint, Note, VerifierKey};
use evidence::witness::{AddCheckpoint, Refused, monitoring_path};

use super::server::{Witness, accept};
use super::store::{AddError, Store};
use crate::clock::SystemClock;

const ORIGIN: &str = "log.example/log/main";
const NAME: &str = "witness.example/w1";

fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32]).unwrap()
}

fn log_key() -> VerifierKey {
    VerifierKey::new(ORIGIN, *key(1).public()).unwrap()
}

/// Trees of up to two leaves: the consistency proof from 1 to 2 is the second leaf.
fn leaves(fork: &str) -> [Digest; 2] {
    [leaf_hash(b"first"), leaf_hash(fork.as_bytes())]
}

fn request(fork: &str, old_size: u64, size: u64) -> AddCheckpoint {
    let [first, second] = leaves(fork);
    let root = if size == 1 { first } else { node_hash(&first, &second) };
    let proof = if old_size == 1 && size == 2 { vec![second] } else { Vec::new() };
    let head = Checkpoint { origin: ORIGIN.into(), size, root };
    AddCheckpoint { old_size, proof, note: head.sign(&key(1)).unwrap() }
}

fn body(fork: &str, old_size: u64, size: u64) -> Vec<u8> {
    request(fork, old_size, size).encode().into_bytes()
}

fn witness(dir: &Path) -> Store {
    let mut store = Store::create(&dir.join("w"), NAME, key(2)).unwrap();
    store.add_log(log_key()).unwrap();
    store
}

fn refused(answer: Result<String, AddError>) -> Refused {
    match answer {
        Err(AddError::Refused(refused)) => refused,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_line_is_given_for_growth_and_remembered_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = witness(dir.path());
    let own = store.witness_key().unwrap();
    let line = store.add_checkpoint(&body("a", 0, 1), 100).unwrap();
    let mut note = request("a", 0, 1).note;
    assert_eq!(note.adopt(&own, line.as_bytes()).unwrap(), 100);
    // Standing still is vouched for again, and time never goes back.
    let line = store.add_checkpoint(&body("a", 1, 1), 50).unwrap();
    assert_eq!(note.adopt(&own, line.as_bytes()).unwrap(), 100);
    drop(store);

    let mut store = Store::open(&dir.path().join("w")).unwrap();
    assert_eq!(store.witness_key().unwrap(), own);
    assert_eq!(
        store.logs().map(|(origin, head)| (origin.to_owned(), head.size)).collect::<Vec<_>>(),
        [(ORIGIN.to_owned(), 1)]
    );
    assert_eq!(refused(store.add_checkpoint(&body("a", 0, 2), 200)), Refused::OldSize { size: 1 });
    store.add_checkpoint(&body("a", 1, 2), 200).unwrap();
    assert_eq!(refused(store.add_checkpoint(&body("b", 2, 2), 300)).status(), 422);
    assert_eq!(refused(store.add_checkpoint(&body("a", 1, 1), 300)).status(), 409);
    let held = store.note(&Digest::of(ORIGIN.as_bytes())).unwrap();
    let held = Note::parse(held.as_bytes()).unwrap();
    assert_eq!(Checkpoint::open_known(&held, &[log_key()], &[own], ORIGIN).unwrap().size, 2);
}

#[test]
fn foreign_lines_are_not_kept() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = witness(dir.path());
    // A line under the witness's own name that it never made, and one of a stranger.
    let mut request = request("a", 0, 1);
    let forged = Note::sign("other\n", "x.example", &key(7)).unwrap().encode();
    let stranger = request.note.cosignature("x.example", &key(7), 9).unwrap();
    let (_, forged) = forged.split_once("\n\n").unwrap();
    request.note = Note::parse(format!("{}{forged}{stranger}", request.note.encode()).as_bytes()).unwrap();
    store.add_checkpoint(request.encode().as_bytes(), 100).unwrap();
    let held = store.note(&Digest::of(ORIGIN.as_bytes())).unwrap();
    assert_eq!(Note::parse(held.as_bytes()).unwrap().signatures(), 2);
    drop(store);
    Store::open(&dir.path().join("w")).unwrap();
}

#[test]
fn logs_and_keys_are_known_only_when_told() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::create(&dir.path().join("w"), NAME, key(2)).unwrap();
    assert_eq!(refused(store.add_checkpoint(&body("a", 0, 1), 1)).status(), 404);
    store.add_log(log_key()).unwrap();
    assert!(store.add_log(log_key()).is_err());
    let own = VerifierKey::new("own.example", *key(2).public()).unwrap();
    assert!(store.add_log(own).is_err());
    assert_eq!(refused(store.add_checkpoint(b"old 0\n", 1)).status(), 400);
    let head = Checkpoint { origin: ORIGIN.into(), size: 1, root: leaves("a")[0] };
    let forged = AddCheckpoint { note: head.sign(&key(9)).unwrap(), ..request("a", 0, 1) };
    assert_eq!(refused(store.add_checkpoint(forged.encode().as_bytes(), 1)).status(), 403);
    // A second key of the log, beside the first.
    store.add_log(VerifierKey::new(ORIGIN, *key(9).public()).unwrap()).unwrap();
    store.add_checkpoint(forged.encode().as_bytes(), 1).unwrap();
}

#[test]
fn one_process_at_a_time_and_no_folder_twice() {
    let dir = tempfile::tempdir().unwrap();
    let store = witness(dir.path());
    let path = dir.path().join("w");
    let problem = |result: anyhow::Result<Store>| result.err().map(|error| format!("{error:#}")).unwrap();
    assert!(problem(Store::open(&path)).contains("in use by another process"));
    drop(store);
    assert!(problem(Store::create(&path, NAME, key(3))).contains("is not empty"));
    assert!(problem(Store::open(dir.path())).contains("is no witness"));
    assert!(Store::create(&dir.path().join("x"), "a b", key(3)).is_err());
}

#[test]
fn damaged_memory_stops_the_witness() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = witness(dir.path());
    store.add_checkpoint(&body("a", 0, 2), 100).unwrap();
    drop(store);
    let path = dir.path().join("w");
    let file = path.join("logs").join(format!("{}.json", Digest::of(ORIGIN.as_bytes())));
    let good = fs::read(&file).unwrap();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(&file, &bad).unwrap();
        assert!(Store::open(&path).is_err(), "byte {at}");
    }
    fs::write(&file, &good[..good.len() / 2]).unwrap();
    assert!(Store::open(&path).is_err());
    fs::write(&file, &good).unwrap();
    // What a crash between writing and renaming leaves is no memory.
    fs::write(file.with_extension("new"), b"half").unwrap();
    Store::open(&path).unwrap();
}

#[test]
fn after_a_failed_write_nothing_is_signed() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = witness(dir.path());
    store.add_checkpoint(&body("a", 0, 1), 100).unwrap();
    // A folder in the place of the new file: writing fails for root as well.
    let file = dir.path().join("w/logs").join(format!("{}.new", Digest::of(ORIGIN.as_bytes())));
    fs::create_dir(&file).unwrap();
    assert!(matches!(store.add_checkpoint(&body("a", 1, 2), 200), Err(AddError::Broken(_))));
    fs::remove_dir(&file).unwrap();
    assert!(matches!(store.add_checkpoint(&body("a", 1, 2), 200), Err(AddError::Broken(_))));
    assert_eq!(store.logs().next().map(|(_, head)| head.size), Some(1));
    drop(store);
    let mut store = Store::open(&dir.path().join("w")).unwrap();
    store.add_checkpoint(&body("a", 1, 2), 200).unwrap();
}

/// Status line, headers and body of an answer.
fn ask(address: std::net::SocketAddr, request: Vec<u8>) -> (u16, String, String) {
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.write_all(&request).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap();
    (status, head.to_lowercase(), body.to_owned())
}

fn post(path: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: w\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: w\r\nConnection: close\r\n\r\n").into_bytes()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_http_every_answer_has_its_status() {
    let dir = tempfile::tempdir().unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let witness = Witness::new(witness(dir.path()), Arc::new(SystemClock));
    tokio::spawn(async move { accept(&listener, None, &witness).await });
    tokio::task::spawn_blocking(move || {
        let add = |body: &[u8]| ask(address, post("/add-checkpoint", body));
        assert_eq!(ask(address, get(&monitoring_path(ORIGIN))).0, 404);
        let (status, head, line) = add(&body("a", 0, 1));
        assert_eq!(status, 200, "{line}");
        assert!(head.contains("content-type: text/plain"), "{head}");
        let mut note = request("a", 0, 1).note;
        let own = evidence::note::WitnessKey::new(NAME, *key(2).public()).unwrap();
        note.adopt(&own, line.as_bytes()).unwrap();
        let (status, head, size) = add(&body("a", 0, 2));
        assert_eq!((status, size.as_str()), (409, "1\n"));
        assert!(head.contains("content-type: text/x.tlog.size"), "{head}");
        assert_eq!(add(&body("a", 2, 1)).0, 400);
        assert_eq!(add(b"hello").0, 400);
        assert_eq!(add(&vec![b'x'; evidence::witness::REQUEST_BYTES_MAX + 1]).0, 400);
        assert_eq!(add(&body("a", 1, 2)).0, 200);
        assert_eq!(add(&body("b", 2, 2)).0, 422);
        let strange = Checkpoint { origin: "x.example/log/x".into(), size: 1, root: leaves("a")[0] };
        let strange = AddCheckpoint { note: strange.sign(&key(1)).unwrap(), ..request("a", 0, 1) };
        assert_eq!(add(strange.encode().as_bytes()).0, 404);
        let (status, _, held) = ask(address, get(&monitoring_path(ORIGIN)));
        assert_eq!((status, Note::parse(held.as_bytes()).unwrap().signatures()), (200, 2));
        assert_eq!(ask(address, get("/add-checkpoint")).0, 405);
        assert_eq!(ask(address, get("/")).0, 404);
        assert_eq!(ask(address, post("/other", b"")).0, 404);
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_forks_at_one_time_one_is_cosigned() {
    let dir = tempfile::tempdir().unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let witness = Witness::new(witness(dir.path()), Arc::new(SystemClock));
    tokio::spawn(async move { accept(&listener, None, &witness).await });
    let asked: Vec<_> = (0..16)
        .map(|n| {
            let body = body(if n % 2 == 0 { "a" } else { "b" }, 0, 2);
            tokio::task::spawn_blocking(move || ask(address, post("/add-checkpoint", &body)).0)
        })
        .collect();
    let mut statuses = Vec::new();
    for asked in asked {
        statuses.push(asked.await.unwrap());
    }
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 409).count(), 15, "{statuses:?}");
}
