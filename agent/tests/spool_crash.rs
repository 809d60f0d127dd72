//! A real process spools and is killed at random moments: every sequence it named as durable must be there, none
//! skipped, none twice. This program is its own child: without `harness`, `main` is the test.

#![expect(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "this program is a test")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use agent::disk::Folder;
use agent::spool::{History, Limits, Owner, Receipt, Spool};
use evidence::envelope::Envelope;
use evidence::ids::InstanceId;
use evidence::keys::SecretKey;
use evidence::statement::{Body, Gap, Statement};
use evidence::time::Timestamp;

/// Kills of one run of the test.
const KILLS: u32 = 40;
/// Small, so that segments end and vanish often; but a history that holds everything, as every statement is looked for.
const LIMITS: Limits = Limits {
    bytes_max: 1 << 20,
    reserve_bytes: 1 << 16,
    segment_bytes_max: 2000,
    history_bytes_max: 1 << 25,
    history_file_bytes_max: 5000,
};

fn key() -> SecretKey {
    SecretKey::from_seed(&[7; 32]).unwrap()
}

fn owner() -> Owner {
    Owner { instance: InstanceId::from_bytes([1; 16]), key: *key().public() }
}

fn open(path: &str) -> Spool<Folder> {
    Spool::open(Folder::new(path, 0o644), owner(), LIMITS).unwrap()
}

/// Spools for ever. Prints a sequence once it is durable; proves every third statement four behind.
fn child(path: &str) {
    let key = key();
    let mut spool = open(path);
    let mut out = std::io::stdout().lock();
    loop {
        let place = spool.place().unwrap();
        let minute = place.sequence;
        let gap = Gap::NotMade {
            first_minute: minute,
            last_minute: minute,
            count: 1,
            reason: proto::GapReason::SpoolFull,
        };
        let statement = Statement {
            instance: owner().instance,
            sequence: place.sequence,
            previous: place.previous,
            anchor: None,
            body: Body::Gap(gap),
        };
        let sequence = spool.put(&Envelope::sign(&statement, &key)).unwrap();
        writeln!(out, "{sequence}").unwrap();
        if let Some(old) = sequence.checked_sub(4) {
            spool.mark_stored(old, Receipt { index: old, received: Timestamp(old), salt: [3; 32] });
            if old % 3 != 0 || old + 40 < sequence {
                spool.mark_proved(old).unwrap();
            }
            if let Some(older) = old.checked_sub(40) {
                spool.mark_proved(older).unwrap();
            }
        }
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, word, path] = arguments.as_slice()
        && word == "child"
    {
        return child(path);
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap().to_owned();
    drop(Spool::create(Folder::new(&path, 0o644), owner(), LIMITS).unwrap());
    let mut durable = 0;
    let mut named = 0u64;
    for kill in 0..KILLS {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["child", &path])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap());
        // Some kills hit the opening, most the spooling.
        std::thread::sleep(Duration::from_millis(u64::from(kill * 37 % 250)));
        process.kill().unwrap();
        process.wait().unwrap();
        let mut line = String::new();
        while lines.read_line(&mut line).unwrap() > 0 {
            if line.ends_with('\n') {
                assert_eq!(line.trim().parse(), Ok(durable), "none skipped, none doubled");
                durable += 1;
                named += 1;
            }
            line.clear();
        }
        let mut spool = open(&path);
        assert!(spool.lost().is_empty(), "lost {:?}", spool.lost());
        let next = spool.place().unwrap().sequence;
        // The last one may have been durable before its line was written.
        assert!(next == durable || next == durable + 1, "{next} after {durable}");
        durable = next;
        let history = History::read(&Folder::new(&path, 0o644)).unwrap();
        let mut previous = None;
        for sequence in 0..next {
            let bytes = spool.kept().get(&sequence).map(|kept| kept.envelope.clone());
            let bytes = bytes.or_else(|| history.get(&sequence).map(|sent| sent.envelope.clone()));
            let bytes = bytes.unwrap_or_else(|| {
                panic!("{sequence} of {next} is gone after kill {kill}; history {:?}", history.keys())
            });
            let envelope = Envelope::parse(&bytes).unwrap();
            let statement = envelope.open(&owner().key).unwrap();
            assert_eq!(statement.sequence, sequence);
            assert!(
                previous.is_none_or(|previous| previous == statement.previous),
                "the chain at {sequence}"
            );
            previous = Some(envelope.hash());
        }
    }
    assert!(named > 20, "the child was killed before it did anything: {named} statements");
    println!("{KILLS} kills, {named} statements named durable, {durable} there, in one chain");
}
