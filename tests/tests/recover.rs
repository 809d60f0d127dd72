//! An older copy of the data directory was restored, and the log comes back from a mirror: everything, byte for byte, also
//! when it is killed on the way; and what is no mirror of this log, or has no payloads, changes nothing.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test stops at what it cannot do"
)]

use std::fs;
use std::path::{Path, PathBuf};

use collector::failpoints::RECOVER_POINTS;
use evidence::envelope::Envelope;
use evidence::ids::Digest;
use evidence::merkle::verify_consistency;
use evidence::note::{Checkpoint, Note};
use evidence::time::DAY_MS;
use serde_json::Value;
use tempfile::TempDir;
use tests::device::{Device, Submit};
use tests::journal_file::Journal;
use tests::process::{Running, run, wait_for};
use tests::programs;
use tests::witness::{Witness, install, policy};
use tests::world::{ORIGIN, Settings, World, now};

/// Statements after the copy: a full bundle, a part of the next, and several groups of each.
const STATEMENTS: usize = 300;
/// Segments that hold some twenty statements: a recovery writes many groups.
const SEGMENT_BYTES: u64 = 16 << 10;
/// No checkpoint comes by itself after the first of a run, milliseconds.
const NEVER_MS: u64 = 3_600_000;

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn copy(from: &Path, to: &Path) {
    run("cp", ["-a", &text(from), &text(to)]).ok();
}

/// A log that went back: an older copy lies in the data directory.
struct WentBack {
    world: World,
    device: Device,
    /// The data directory that is lost.
    lost: PathBuf,
    /// A mirror with payloads.
    mirror: PathBuf,
    /// Entries of the mirror's checkpoint.
    mirrored: u64,
    /// Acknowledged after that checkpoint, and not proved: the device holds them.
    held: Vec<Envelope>,
    /// Checkpoints that somebody saw.
    seen: Vec<Checkpoint>,
    elsewhere: TempDir,
}

async fn store(device: &mut Device, submit: &mut Submit, count: usize) -> Vec<Envelope> {
    let mut stored = Vec::new();
    for _ in 0..count {
        let envelope = device.sign_next();
        submit.store(&envelope).await;
        stored.push(envelope);
    }
    stored
}

fn recover(world: &World, mirror: &Path) -> (Option<i32>, Value) {
    let ran = world.collector(&["recover", "--json", "--from", &text(mirror)]);
    let answer = serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    (ran.code, answer)
}

/// A mirror with payloads of a running collector; gives its entries.
fn mirror_of(world: &World, mirror: &Path) -> u64 {
    let vkey = world.admin.profile().log_keys[0].vkey();
    let (from, ca) = (format!("https://{}", world.tiles), text(&world.data.join("certs/root.pem")));
    let dir = text(mirror);
    let line = ["log", "mirror", "--json", "--with-payloads", "--from", &from, "--dir", &dir];
    let done = world.cli(&world.admin, &[&line[..], &["--vkey", &vkey, "--ca", &ca]].concat()).json();
    done["size"].as_u64().expect("a size")
}

/// A device that stores some statements, and the path of a copy of the data directory made then.
async fn copied(world: &World, statements: usize) -> (Device, PathBuf) {
    let running = world.serve();
    let mut device = Device::enrol(world, &world.token()).await;
    let (mut submit, _) = device.greet().await;
    store(&mut device, &mut submit, statements).await;
    running.stop();
    let older = world.file("older");
    copy(&world.data, &older);
    (device, older)
}

fn tree_size(data: &Path) -> u64 {
    let note = fs::read_to_string(data.join("tree/checkpoint")).unwrap_or_default();
    note.lines().nth(1).and_then(|line| line.parse().ok()).unwrap_or_default()
}

impl WentBack {
    async fn new() -> Self {
        Self::with(false).await
    }

    /// `newcomer`: another device enrols after the copy was made.
    async fn with(newcomer: bool) -> Self {
        let elsewhere = tests::elsewhere::folder();
        let world = World::with(
            programs!(),
            &Settings {
                high_water: Some(elsewhere.path().join("mark")),
                accept_rollback_blindness: false,
                segment_bytes: SEGMENT_BYTES,
                ..Settings::default()
            },
        );
        let mut seen = Vec::new();
        let (mut device, older) = copied(&world, 3).await;
        let running = world.serve();
        seen.push(world.admin.connect().await.checkpoint(0).await.0);
        let (mut submit, _) = device.greet().await;
        store(&mut device, &mut submit, STATEMENTS).await;
        if newcomer {
            let mut newcomer = Device::enrol(&world, &world.token()).await;
            let (mut submit, _) = newcomer.greet().await;
            store(&mut newcomer, &mut submit, 2).await;
        }
        seen.push(world.admin.connect().await.checkpoint(0).await.0);
        running.stop();
        // One checkpoint more, and then statements that none covers.
        world.set("checkpoint_interval_ms", NEVER_MS);
        let before = tree_size(&world.data);
        let running = world.serve();
        let (mut submit, _) = device.greet().await;
        store(&mut device, &mut submit, 1).await;
        let mirrored =
            wait_for("a last checkpoint", || Some(tree_size(&world.data)).filter(|size| *size > before));
        let mirror = world.file("mirror");
        assert_eq!(mirror_of(&world, &mirror), mirrored);
        let held = store(&mut device, &mut submit, 2).await;
        running.kill();
        let lost = world.file("lost");
        fs::rename(&world.data, &lost).expect("the newest is lost");
        fs::rename(&older, &world.data).expect("the older copy is restored");
        Self { world, device, lost, mirror, mirrored, held, seen, elsewhere }
    }

    fn recover(&self) -> (Option<i32>, Value) {
        recover(&self.world, &self.mirror)
    }

    /// What the log has is what was lost, up to the mirror's checkpoint.
    fn assert_same(&self) {
        let (lost, here) = (Journal::read(&self.lost), Journal::read(&self.world.data));
        let mirrored = usize::try_from(self.mirrored).expect("a size");
        assert_eq!(here.entries, lost.entries[..mirrored]);
        assert_eq!(here.notes.last(), lost.notes.last(), "the mirror's checkpoint is the newest");
    }

    /// Serves again: every checkpoint seen is a prefix, and what the device held comes back.
    async fn assert_goes_on(&self) -> Running {
        let running = self.world.serve();
        let mut caller = self.world.admin.connect().await;
        for seen in &self.seen {
            let (newest, reply) = caller.checkpoint(seen.size).await;
            let proof: Vec<Digest> =
                reply.consistency.iter().map(|hash| Digest::from_slice(hash).expect("32 bytes")).collect();
            verify_consistency(seen.size, &seen.root, newest.size, &newest.root, &proof).expect("a prefix");
        }
        let (mut submit, welcome) = self.device.greet().await;
        let first = self.held[0].claimed().expect("a statement").sequence;
        assert_eq!(welcome.next_sequence, first, "nothing that was under the checkpoint is asked for again");
        for envelope in &self.held {
            submit.store(envelope).await;
        }
        running
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_comes_back_from_a_mirror_with_payloads() {
    let old = WentBack::new().await;
    let refused = old.world.collector(&["serve"]).fails(2);
    assert!(refused.contains("this is an old copy of the log"), "{refused}");
    let (code, answer) = old.recover();
    assert_eq!(code, Some(0), "{answer}");
    assert_eq!((&answer["state"], &answer["starts"]), (&"level".into(), &true.into()), "{answer}");
    assert_eq!(answer["size"], old.mirrored);
    assert_eq!(answer["recovered"], old.mirrored - answer["size_before"].as_u64().expect("a size"));
    assert_eq!((&answer["without_key"], &answer["check"]["sound"]), (&0.into(), &true.into()), "{answer}");
    old.assert_same();
    assert!(!old.world.data.join("recovering").exists());
    // Once more changes nothing.
    let (code, again) = old.recover();
    assert_eq!((code, &again["recovered"]), (Some(0), &0.into()), "{again}");
    let said = old.world.collector(&["recover", "--from", &text(&old.mirror)]).ok();
    assert!(said.contains("all ") && said.contains("sound"), "{said}");

    old.world.set("checkpoint_interval_ms", 100);
    old.assert_goes_on().await.stop();
    assert_eq!(old.world.fsck()["sound"], true);
    let kept = Journal::read(&old.world.data);
    let payloads: Vec<&[u8]> = kept.entries.iter().map(|entry| entry.payload.as_slice()).collect();
    for held in &old.held {
        assert_eq!(payloads.iter().filter(|payload| **payload == held.bytes()).count(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_recovery_never_starts_and_is_continued() {
    let old = WentBack::new().await;
    // Without the mark nothing but the recovery itself knows that this is an old copy.
    let points =
        RECOVER_POINTS.iter().map(|point| ((*point).to_owned(), *point == "recover-checkpoint-synced"));
    let others =
        ["recover-group-synced:4", "journal-half-written:3", "journal-written:6", "segment-created:2"];
    let points = points.chain(others.map(|point| (point.to_owned(), false)));
    let fresh = old.world.file("fresh");
    copy(&old.world.data, &fresh);
    for (point, reached) in points {
        fs::remove_dir_all(&old.world.data).expect("the last one goes");
        copy(&fresh, &old.world.data);
        let mut command = old.world.collector_command(&["recover", "--from", &text(&old.mirror)]);
        command.env("TALLYSTICK_FAILPOINT", &point);
        Running::start(command, &old.world.file("recover.log")).wait_killed();
        assert!(old.world.data.join("recovering").exists(), "{point}");
        if !reached {
            let refused = old.world.collector(&["serve"]).fails(2);
            assert!(refused.contains("has begun and is not finished"), "{point}: {refused}");
            let (code, answer) = old.recover();
            assert_eq!((code, &answer["starts"]), (Some(0), &true.into()), "{point}: {answer}");
        }
        old.assert_same();
        old.world.serve().stop();
        assert!(!old.world.data.join("recovering").exists(), "{point}");
        assert_eq!(old.world.fsck()["sound"], true, "{point}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_mirror_of_this_log_or_has_no_payloads_changes_nothing() {
    let old = WentBack::new().await;
    let before = Journal::read(&old.world.data);
    let unchanged = |context: &str| {
        let now = Journal::read(&old.world.data);
        assert_eq!((&now.entries, &now.notes), (&before.entries, &before.notes), "{context}");
        assert!(!old.world.data.join("recovering").exists(), "{context}");
    };
    let (payloads, aside) = (old.mirror.join("payload"), old.mirror.join("aside"));
    fs::rename(&payloads, &aside).expect("the payloads go");
    let (code, answer) = old.recover();
    assert_eq!((code, &answer["state"]), (Some(1), &"payloads-missing".into()), "{answer}");
    let missing = old.mirrored - before.entries.len() as u64;
    assert_eq!(answer["missing"], serde_json::json!([{ "stream": "device", "entries": missing }]));
    let said = old.world.collector(&["recover", "--from", &text(&old.mirror)]);
    assert!(said.out.contains("--with-payloads") && said.out.contains("init --predecessor"), "{}", said.out);
    unchanged("no payloads");

    // A payload that is another one's, which only the data key shows.
    fs::rename(&aside, &payloads).expect("the payloads are back");
    let bundle = old.mirror.join("payload/000");
    let good = fs::read(&bundle).expect("a bundle");
    let mut damaged = good.clone();
    let at = damaged.len() - 40;
    damaged[at] ^= 1;
    fs::write(&bundle, damaged).expect("damage");
    let (code, answer) = old.recover();
    assert_eq!((code, &answer["missing"][0]["entries"]), (Some(1), &1.into()), "{answer}");
    unchanged("a damaged payload");
    fs::write(&bundle, good).expect("the bundle is whole again");

    // A leaf, which the tree shows.
    let leaves = old.mirror.join("tile/entries/000");
    let good = fs::read(&leaves).expect("a bundle");
    let mut damaged = good.clone();
    let at = damaged.len() - 1;
    damaged[at] ^= 1;
    fs::write(&leaves, damaged).expect("damage");
    let said = old.world.collector(&["recover", "--from", &text(&old.mirror)]).fails(2);
    assert!(said.contains("do not lead to the root"), "{said}");
    unchanged("a damaged leaf");
    fs::write(&leaves, good).expect("the bundle is whole again");

    let note = old.mirror.join("checkpoint");
    let good = fs::read(&note).expect("a note");
    let stranger = evidence::keys::SecretKey::from_seed(&[9; 32]).expect("a key");
    let checkpoint = old.seen.last().expect("a checkpoint");
    fs::write(&note, checkpoint.sign(&stranger).expect("a note").encode()).expect("a stranger's note");
    let said = old.world.collector(&["recover", "--from", &text(&old.mirror)]).fails(2);
    assert!(said.contains("is not one of this log"), "{said}");
    unchanged("a stranger's checkpoint");
    fs::write(&note, good).expect("the note is the log's again");
    assert_eq!(old.recover().0, Some(0));
    old.assert_same();
}

/// Makes the copy start all the same, as somebody does who writes another mark.
fn forget(old: &WentBack) {
    let newest = Journal::read(&old.world.data).notes.last().cloned().expect("a note");
    let note = Note::parse(newest.as_bytes()).expect("a note");
    let keys = old.world.admin.profile().log_keys;
    let Checkpoint { size, root, .. } = Checkpoint::open_of(&note, &keys, ORIGIN).expect("a checkpoint");
    fs::write(old.elsewhere.path().join("mark"), format!("{size} {root}\n")).expect("another mark");
    old.world.set("checkpoint_interval_ms", 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fork_is_refused_and_both_notes_are_kept() {
    let old = WentBack::new().await;
    forget(&old);
    let running = old.world.serve();
    Device::enrol(&old.world, &old.world.token()).await;
    running.stop();
    let forked = Journal::read(&old.world.data);
    let (code, answer) = old.recover();
    assert_eq!((code, &answer["state"]), (Some(1), &"fork".into()), "{answer}");
    let evidence = PathBuf::from(answer["evidence"].as_str().expect("a folder"));
    let ours = fs::read_to_string(evidence.join("ours")).expect("ours");
    assert_eq!(Some(&ours), forked.notes.last());
    let theirs = fs::read(old.mirror.join("checkpoint")).expect("a note");
    assert_eq!(fs::read(evidence.join("theirs")).expect("theirs"), theirs);
    assert_eq!(Journal::read(&old.world.data).entries, forked.entries);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_old_copy_took_in_and_never_signed_is_no_fork() {
    let old = WentBack::new().await;
    forget(&old);
    let mut running = old.world.spawn(&[("TALLYSTICK_FAILPOINT", "checkpoint-signed")]);
    old.world.wait_ready(&mut running);
    let key = text(&old.world.admin.key);
    let line = ["token", "create", "--key", &key, "--class", "laptop", "--group", "office"];
    // It may be answered or not: the server dies before it signs.
    drop(old.world.collector(&line));
    running.wait_killed();
    let (code, answer) = old.recover();
    assert_eq!((code, &answer["state"]), (Some(1), &"taken-in".into()), "{answer}");
    let said = old.world.collector(&["recover", "--from", &text(&old.mirror)]);
    assert!(said.out.contains("Restore the copy once more"), "{}", said.out);
    assert!(!old.world.data.join("forks").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn payloads_under_keys_that_are_lost_come_back_as_bytes() {
    let old = WentBack::with(true).await;
    let (code, answer) = old.recover();
    assert_eq!((code, &answer["check"]["sound"]), (Some(1), &false.into()), "{answer}");
    // Two statements of the newcomer, and its detail.
    assert_eq!((&answer["without_key"], &answer["starts"]), (&3.into(), &true.into()), "{answer}");
    // With the newest keys all is well.
    fs::copy(old.lost.join("data-keys/keys"), old.world.data.join("data-keys/keys")).expect("the keys");
    let (code, answer) = old.recover();
    assert_eq!((code, &answer["check"]["sound"]), (Some(0), &true.into()), "{answer}");
    old.assert_same();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_erased_since_stays_erased_and_only_a_tombstone_says_so() {
    let world = World::new(programs!());
    let (mut device, older) = copied(&world, 1).await;
    let running = world.serve();
    let (mut submit, _) = device.greet().await;
    store(&mut device, &mut submit, 3).await;
    running.stop();
    // A quarter later.
    let later = (now().ms() + 200 * DAY_MS).to_string();
    let eraser = [text(&world.data), device.id.to_string(), later];
    let tombstone =
        run(env!("CARGO_BIN_EXE_eraser"), eraser).json()["tombstones"][0].as_u64().expect("an index");
    let running = world.serve();
    wait_for("the public tree", || (tree_size(&world.data) > tombstone).then_some(()));
    let mirror = world.file("mirror");
    let size = mirror_of(&world, &mirror);
    running.stop();
    let lost = world.file("lost");
    fs::rename(&world.data, &lost).expect("the newest is lost");
    fs::rename(&older, &world.data).expect("the older copy is restored");

    // The copy has the device's key, and no word of an erasure but the mirror's.
    let plain = mirror.join(format!("tombstones/{tombstone}"));
    let whole = fs::read(&plain).expect("a tombstone");
    fs::remove_file(&plain).expect("the tombstone goes");
    let (code, answer) = recover(&world, &mirror);
    assert_eq!((code, &answer["missing"][0]["entries"]), (Some(1), &3.into()), "{answer}");
    let mut damaged = whole.clone();
    damaged[0] ^= 1;
    fs::write(&plain, damaged).expect("a tombstone with another salt");
    assert_eq!(recover(&world, &mirror).1["state"], "payloads-missing");
    fs::write(&plain, whole).expect("the tombstone is back");
    let (_, answer) = recover(&world, &mirror);
    // The key of the tombstone's own year is younger than the copy.
    assert_eq!((&answer["erased"], &answer["without_key"]), (&3.into(), &1.into()), "{answer}");
    fs::copy(lost.join("data-keys/keys"), world.data.join("data-keys/keys")).expect("the keys");
    let (code, answer) = recover(&world, &mirror);
    assert_eq!((code, &answer["check"]["sound"]), (Some(0), &true.into()), "{answer}");
    world.serve().stop();
    let report = world.fsck();
    assert_eq!((&report["sound"], &report["size"]), (&true.into(), &size.into()), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cosignatures_come_back_with_the_checkpoint() {
    let world = World::new(programs!());
    let witness = Witness::new(&world, "firm");
    install(&world, &policy(&world, &[witness.line()], "all"));
    let (mut device, older) = copied(&world, 1).await;
    let running = world.serve();
    let (mut submit, _) = device.greet().await;
    let stored = submit.store(&device.sign_next()).await;
    wait_for("a cosigned checkpoint", || (tree_size(&world.data) > stored.index).then_some(()));
    let mirror = world.file("mirror");
    let size = mirror_of(&world, &mirror);
    running.stop();
    // A line of a stranger is no line of the log's journal.
    let note = mirror.join("checkpoint");
    let cosigned = fs::read_to_string(&note).expect("a note");
    assert_eq!(Note::parse(cosigned.as_bytes()).expect("a note").signatures(), 2, "{cosigned}");
    fs::write(&note, format!("{cosigned}— stranger.example.com AAAAAAAA\n")).expect("a note");
    fs::rename(&world.data, world.file("lost")).expect("the newest is lost");
    fs::rename(&older, &world.data).expect("the older copy is restored");
    let (code, answer) = recover(&world, &mirror);
    assert_eq!((code, &answer["starts"]), (Some(0), &true.into()), "{answer}");
    let notes = Journal::read(&world.data).notes;
    let [.., signed, last] = notes.as_slice() else { panic!("{notes:?}") };
    assert_eq!(*last, cosigned);
    assert_eq!(Note::parse(signed.as_bytes()).expect("a note").signatures(), 1, "{signed}");
    let running = world.serve();
    assert_eq!(world.admin.connect().await.checkpoint(0).await.0.size, size);
    running.stop();
    assert_eq!(world.fsck()["sound"], true);
}
