//! No Stored before the journal's `fdatasync`: the system calls of a running collector, as strace saw them.
//!
//! TLS hides what is written to the network, so the device sends one statement, waits for its Stored, and
//! sends the next. Then every write to its connection is an answer to what was read before, and between that
//! read and the write there must be, in this order: a write to the journal, and an `fdatasync` of it that
//! returned 0.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test stops at what it cannot do"
)]

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use proto::to_agent::Item as In;
use tests::device::Device;
use tests::process::{Running, wait_for};
use tests::world::World;
use tests::{figures, programs};

/// Statements that are sent one by one.
const STATEMENTS: usize = 60;
/// Fewer would prove little.
const CHECKED_MIN: usize = 50;
/// Time between checkpoints, milliseconds: none comes while the statements are sent.
const NO_CHECKPOINT_MS: u64 = 3_600_000;

/// What matters of a system call, in the order of the trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    /// Bytes of the device were read.
    Received,
    /// A write to the journal began.
    JournalWrite,
    /// A write to the journal returned.
    JournalWritten,
    /// An `fdatasync` of the journal began.
    JournalSync,
    /// It returned 0.
    JournalSynced,
    /// A write to the device's connection began.
    Answer,
}

/// Begin and end of a call. One line of `strace -f -ttt` holds both, or `<unfinished ...>` and a later one,
/// of the same thread, `<... call resumed>`.
#[derive(Debug)]
struct Call {
    begun: usize,
    /// When, as strace prints it: seconds and microseconds.
    at: f64,
    /// Line of its end, and its result.
    ended: Option<(usize, i64)>,
    name: String,
    /// What its first argument is, as `-yy` shows it.
    target: String,
}

/// The calls of a trace, in the order of their beginnings.
fn calls(trace: &str) -> Vec<Call> {
    let mut calls: Vec<Call> = Vec::new();
    let mut open: BTreeMap<&str, usize> = BTreeMap::new();
    for (number, line) in trace.lines().enumerate() {
        let mut words = line.split_whitespace();
        let (Some(thread), Some(time)) = (words.next(), words.next()) else { continue };
        let text = line.split_once(time).map_or("", |(_, text)| text.trim_start());
        let result = || {
            let (_, result) = text.rsplit_once(" = ")?;
            result.split_whitespace().next()?.parse().ok()
        };
        if text.starts_with("<... ") {
            if let Some(place) = open.remove(thread) {
                calls[place].ended = result().map(|result| (number, result));
            }
            continue;
        }
        let Some((name, arguments)) = text.split_once('(') else { continue };
        let ends = [">,", ">)", "> <"].iter().filter_map(|end| arguments.find(end)).min();
        let Some(end) = ends else { continue };
        let target = arguments.get(..end).expect("a whole character ends here").to_owned();
        let at = time.parse().unwrap_or_else(|_| panic!("no time: {line}"));
        let mut call = Call { begun: number, at, ended: None, name: name.to_owned(), target };
        if text.ends_with("<unfinished ...>") {
            open.insert(thread, calls.len());
        } else {
            call.ended = result().map(|result| (number, result));
        }
        calls.push(call);
    }
    calls
}

/// The events of one connection and the journal.
fn events<'a>(calls: impl Iterator<Item = &'a Call>, journal: &str, connection: &str) -> Vec<Event> {
    let mut events: Vec<(usize, u8, Event)> = Vec::new();
    for call in calls {
        let of_journal = call.target.contains(journal);
        let of_connection = call.target.contains(connection);
        let ended =
            |wanted: fn(i64) -> bool| call.ended.filter(|(_, result)| wanted(*result)).map(|(at, _)| at);
        let mut push = |at: Option<usize>, order, event| events.extend(at.map(|at| (at, order, event)));
        match call.name.as_str() {
            "read" | "recvfrom" | "readv" | "recvmsg" if of_connection => {
                push(ended(|bytes| bytes > 0), 1, Event::Received);
            }
            "write" | "sendto" | "writev" | "sendmsg" if of_connection => {
                push(Some(call.begun), 0, Event::Answer);
            }
            "write" | "pwrite64" | "writev" | "pwritev" if of_journal => {
                push(Some(call.begun), 0, Event::JournalWrite);
                push(ended(|bytes| bytes > 0), 1, Event::JournalWritten);
            }
            "fdatasync" | "fsync" if of_journal => {
                push(Some(call.begun), 0, Event::JournalSync);
                push(ended(|result| result == 0), 1, Event::JournalSynced);
            }
            _ => {}
        }
    }
    events.sort_by_key(|(at, order, _)| (*at, *order));
    events.into_iter().map(|(_, _, event)| event).collect()
}

/// Now, as strace prints it.
fn seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64()
}

/// How many answers came after a whole sync of what was read before them, and what came before those that did
/// not.
fn check(events: &[Event]) -> (usize, Vec<Vec<Event>>) {
    let (mut good, mut bad) = (0, Vec::new());
    let order = [Event::JournalWrite, Event::JournalWritten, Event::JournalSync, Event::JournalSynced];
    let mut since: Option<Vec<Event>> = None;
    for event in events {
        match event {
            Event::Received => since = Some(Vec::new()),
            Event::Answer => {
                // Writes before the first read of the traced time answer nothing in it.
                let Some(between) = since.as_mut() else { continue };
                // A message may be written in two parts: the second answers the same read.
                if between.first() == Some(&Event::Answer) {
                    continue;
                }
                let mut wanted = order.iter();
                let mut next = wanted.next();
                for seen in between.iter() {
                    if Some(seen) == next {
                        next = wanted.next();
                    }
                }
                if next.is_none() {
                    good += 1;
                } else {
                    bad.push(between.clone());
                }
                *between = vec![Event::Answer];
            }
            other => {
                if let Some(between) = since.as_mut() {
                    between.push(*other);
                }
            }
        }
    }
    (good, bad)
}

#[test]
fn the_check_notices_an_answer_that_comes_too_early() {
    use Event::{Answer, JournalSync, JournalSynced, JournalWrite, JournalWritten, Received};
    let right = [Received, JournalWrite, JournalWritten, JournalSync, JournalSynced, Answer];
    assert_eq!(check(&right), (1, vec![]));
    for early in 1..right.len() - 1 {
        let mut wrong = right.to_vec();
        wrong.remove(right.len() - 1);
        wrong.insert(early, Answer);
        assert_eq!(check(&wrong).0, 0, "{wrong:?}");
        assert_eq!(check(&wrong).1.len(), 1, "{wrong:?}");
    }
    // A sync that was begun before the write returned does not count, nor does one of an earlier statement.
    let overlapping = [Received, JournalWrite, JournalSync, JournalWritten, JournalSynced, Answer];
    assert_eq!(check(&overlapping).0, 0);
    let earlier = [JournalWrite, JournalWritten, JournalSync, JournalSynced, Received, Answer];
    assert_eq!(check(&earlier).0, 0);
    let trace = "7 1.5 read(9<TCP:[127.0.0.1:1->127.0.0.1:2]>,  <unfinished ...>\n\
                 8 1.6 pwrite64(5</d/journal/00000000.seg>, \"\"..., 10, 16) = 10\n\
                 7 1.7 <... read resumed>\"\"..., 9) = 9\n\
                 8 1.8 fdatasync(5</d/journal/00000000.seg>) = -1 EIO (Input/output error)\n\
                 7 1.9 writev(9<TCP:[127.0.0.1:1->127.0.0.1:2]>, [], 1) = 3\n";
    let seen = events(calls(trace).iter(), "/d/journal/", "[127.0.0.1:1->");
    assert_eq!(seen, [JournalWrite, JournalWritten, Received, JournalSync, Answer]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stored_is_written_after_the_journals_sync() {
    let world = World::new(programs!());
    let running = world.serve();
    let mut device = Device::enrol(&world, &world.token()).await;
    running.stop();
    world.set("checkpoint_interval_ms", NO_CHECKPOINT_MS);
    let trace = world.file("trace");
    let mut command = Command::new("strace");
    // -D: the collector is this process's child, and strace looks on.
    command.args(["-D", "-f", "-ttt", "-yy", "-s", "0", "-e", "signal=none"]);
    command.args([
        "-e",
        "trace=fdatasync,fsync,read,readv,recvfrom,recvmsg,write,writev,pwrite64,pwritev,sendto,sendmsg",
    ]);
    command.arg("-o").arg(&trace).arg("--").arg(world.programs().collector);
    command.arg("serve").arg("--dir").arg(&world.data);
    let mut running = Running::start(command, &world.log());
    world.wait_ready(&mut running);

    let id = format!("{} ", running.id());
    let (mut submit, _) = device.greet().await;
    // The first entry of a run brings a checkpoint, and with it proofs; after it there is none for an hour.
    let first = device.sign_next();
    submit.envelope(first.bytes()).await;
    let (mut stored, mut proved) = (false, false);
    while !(stored && proved) {
        match submit.next().await.expect("an answer") {
            In::Stored(_) => stored = true,
            In::Proved(_) => proved = true,
            In::Checkpoint(_) => {}
            other => panic!("{other:?}"),
        }
    }
    let begin = seconds();
    for _ in 0..STATEMENTS {
        let envelope = device.sign_next();
        submit.envelope(envelope.bytes()).await;
        match submit.next().await.expect("an answer") {
            In::Stored(stored) => assert_eq!(stored.sequence + 1, device.next_sequence),
            other => panic!("{other:?} instead of Stored"),
        }
    }
    let end = seconds();
    drop(submit);
    running.stop();
    assert_eq!(tests::kept::statements(&world).len(), STATEMENTS + 1);

    let text = wait_for("strace to have written everything", || {
        let text = fs::read_to_string(&trace).expect("the trace");
        let done = |line: &str| line.starts_with(&id) && line.contains("+++ exited with 0 +++");
        text.lines().any(done).then_some(text)
    });
    let calls = calls(&text);
    let journal = world.data.join("journal").display().to_string();
    let connection = format!("[{}->", world.agents);
    let within = calls.iter().filter(|call| (begin..=end).contains(&call.at));
    let events = events(within, &journal, &connection);
    let (good, bad) = check(&events);
    assert_eq!(bad, Vec::<Vec<Event>>::new(), "answers that came before the sync of what they answer");
    assert!(good >= CHECKED_MIN, "only {good} answers were checked");
    figures::report(
        "Stored written to the network after the journal's fdatasync returned",
        format_args!("{good} of {good}"),
    );
}
