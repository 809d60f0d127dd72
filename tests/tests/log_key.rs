//! The log's key changes, with real programs: who enrolled, pinned or mirrored before goes on, and killed at each step the change
//! goes on or never began.

#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "a test stops at what it cannot do")]

use std::fs;
use std::path::Path;

use collector::failpoints::LOG_KEY_POINTS;
use evidence::note::{Checkpoint, Note, VerifierKey};
use evidence::set::CHECKPOINT;
use evidence::trust::Trust;
use serde_json::Value;
use tests::audit::{Audit, line_with, verified};
use tests::process::{Ran, run_command};
use tests::programs;
use tests::witness::{Witness, install, policy};
use tests::world::{ORIGIN, Settings, World};

fn world() -> World {
    World::with(programs!(), &Settings { any_ports: true, ..Settings::default() })
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn once(world: &World) {
    let said = world.agent("agent", &["once", "--until-proved", "--json"]).json();
    assert_eq!(said["result"], "proved", "{said}");
}

fn rotate(world: &World, more: &[&str]) -> Ran {
    world.collector(&[&["log", "rotate-key", "--json"], more].concat())
}

fn vkey(answer: &Value) -> VerifierKey {
    VerifierKey::parse(answer["log_vkey"].as_str().expect("a vkey")).expect("a vkey")
}

/// The key that signs now, by the file.
fn key_file(world: &World) -> VerifierKey {
    let key = collector::secrets::signing_key(&world.data.join("keys/log.key")).expect("a key file");
    VerifierKey::new(ORIGIN, *key.public()).expect("a key")
}

/// Which of these keys signed a note.
fn signers(note: &[u8], keys: &[&VerifierKey]) -> Vec<bool> {
    let note = Note::parse(note).expect("a note");
    keys.iter().map(|key| Checkpoint::open_of(&note, &[(*key).clone()], ORIGIN).is_ok()).collect()
}

fn held_by_agent(world: &World) -> usize {
    let identity = fs::read(world.file("agent").join("identity.json")).expect("the agent's identity");
    let identity: Value = serde_json::from_slice(&identity).expect("JSON");
    identity["log_vkeys"].as_array().expect("keys").len()
}

/// A policy without witnesses, for a trust file that pins the first key alone.
fn no_witnesses(world: &World) -> std::path::PathBuf {
    let path = world.file("none.policy");
    fs::write(&path, Trust::no_witnesses(&world.admin.profile().log_keys[0])).expect("a policy");
    path
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_auditors_and_sets_follow_the_key_from_the_one_they_pinned() {
    let world = world();
    world.admit_people();
    let running = world.serve();
    world.enrol_agent("agent", &world.token());
    once(&world);
    let trust = world.file("trust.json");
    let audit = Audit::begin(&world, &no_witnesses(&world), &trust);
    let first = key_file(&world);
    let (tree, copy) = (text(&world.data.join("tree")), text(&world.file("copy")));
    let mirror = ["log", "mirror", "--json", "--from", &tree, "--dir", &copy, "--trust", &text(&trust)];
    assert_eq!(world.cli(&world.auditor, &mirror).json()["state"], "level");
    let asked = rotate(&world, &[]);
    assert!(asked.err.contains("stop it first"), "{asked:?}");
    running.stop();

    let answer = rotate(&world, &[]).json();
    let second = vkey(&answer);
    assert_eq!((key_file(&world), answer["overlap_days"].as_u64()), (second.clone(), Some(30)));
    assert_ne!(first, second);
    assert_eq!(world.fsck()["sound"], true);
    let running = world.serve();
    assert_eq!(held_by_agent(&world), 1);
    once(&world);
    once(&world);
    assert_eq!(held_by_agent(&world), 2);
    audit.draw();
    let set = audit.export("set");
    let note = fs::read(set.join(CHECKPOINT)).expect("the set's checkpoint");
    assert_eq!(signers(&note, &[&first, &second]), [true, true], "both sign for a time");
    let pinned = Trust::parse(&fs::read(&trust).expect("the trust file")).expect("a trust file");
    assert_eq!(pinned.log_keys, std::slice::from_ref(&first), "the trust file is the old one");
    for ran in verified(&world, &set, &trust) {
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }

    // The old one alone is no checkpoint of this tree any more.
    let lines: Vec<String> = String::from_utf8_lossy(&note).lines().map(str::to_owned).collect();
    let old = Note::parse(&note).expect("a note").with_lines_of(std::slice::from_ref(&first), &[]);
    assert_eq!(lines.len(), 6, "{lines:?}");
    fs::write(set.join(CHECKPOINT), old.encode()).expect("written");
    for ran in verified(&world, &set, &trust) {
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(line_with(&ran, "took the place of").contains('3'), "{ran:?}");
    }

    // People with profiles of before: a checkpoint, a proof, a pin.
    world.cli(&world.auditor, &["log", "checkpoint"]).ok();
    world.cli(&world.auditor, &["log", "proof", "0"]).ok();
    let (auditor, later) = (text(&world.auditor.public), world.file("later.json"));
    fs::copy(&trust, &later).expect("a copy of the trust file");
    let pin = ["trust", "pin", "--auditor-key", &auditor, "--made-by", "auditor", "--out"];
    world.cli(&world.auditor, &[&pin[..], &[&text(&later)]].concat()).ok();

    // At once, and nothing of the old key stays.
    running.stop();
    let third = vkey(&rotate(&world, &["--overlap-days", "0"]).json());
    assert!(!world.data.join("keys/log.previous.key").exists());
    let running = world.serve();
    once(&world);
    assert_eq!(held_by_agent(&world), 3);
    world.enrol_agent("later", &world.token());
    let set = audit.export("again");
    let note = fs::read(set.join(CHECKPOINT)).expect("the set's checkpoint");
    assert_eq!(signers(&note, &[&first, &second, &third]), [false, false, true]);
    for ran in verified(&world, &set, &trust) {
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }
    running.stop();
    assert_eq!(world.fsck()["sound"], true);

    // A copy of the public tree goes on by the old trust file too, and again by what it kept.
    for _ in 0..2 {
        assert_eq!(world.cli(&world.auditor, &mirror).json()["state"], "level");
    }
    let shown = fs::read(world.file("copy").join("checkpoint")).expect("the copy's checkpoint");
    assert_eq!(signers(&shown, &[&first, &third]), [false, true]);

    // A backup begun under an earlier key goes on, and what is restored of it starts.
    let [to, keys] = ["backup", "backup-keys"].map(|name| text(&world.file(name)));
    world.collector(&["backup", "--to", &to, "--keys-to", &keys]).ok();
    vkey(&rotate(&world, &[]).json());
    world.collector(&["backup", "--to", &to, "--keys-to", &keys]).ok();
    fs::remove_dir_all(&world.data).expect("the data directory is lost");
    world.collector(&["restore", "--from", &to, "--keys-from", &keys]).ok();
    assert_eq!(world.fsck()["sound"], true);
    let running = world.serve();
    once(&world);
    running.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_each_step_the_key_changed_or_did_not() {
    let world = world();
    let running = world.serve();
    world.enrol_agent("agent", &world.token());
    once(&world);
    running.stop();
    let mut changes = 0;
    for point in LOG_KEY_POINTS.into_iter().chain(["group-formed", "journal-synced", "checkpoint-synced"]) {
        let before = key_file(&world);
        let mut command = world.collector_command(&["log", "rotate-key", "--json"]);
        command.env("TALLYSTICK_FAILPOINT", point);
        assert_eq!(run_command(command).code, None, "{point}");
        // The log may have gone on under the old key, or under the new one: in either case the server starts.
        world.serve().stop();
        let began = ["log-key-made", "group-formed"].contains(&point);
        assert_eq!(key_file(&world) == before, began, "{point}");
        if began {
            let next = fs::read(world.data.join("keys/log.next.key")).expect("the key that was made");
            let made: Value = serde_json::from_slice(&next).expect("JSON");
            vkey(&rotate(&world, &[]).json());
            let taken = fs::read(world.data.join("keys/log.key")).expect("the key file");
            let taken: Value = serde_json::from_slice(&taken).expect("JSON");
            assert_eq!(made["ed25519"], taken["ed25519"], "{point}: it goes on with what it began");
        }
        changes += 1;
        assert!(!world.data.join("keys/log.next.key").exists(), "{point}");
        assert_eq!(world.fsck()["sound"], true, "{point}");
        let running = world.serve();
        once(&world);
        running.stop();
        assert_eq!(held_by_agent(&world), 1 + changes, "{point}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_witness_that_knows_the_old_key_cosigns_until_it_is_told_the_new_one() {
    let world = world();
    let mut witness = Witness::new(&world, "first");
    let policy_file = install(&world, &policy(&world, &[witness.line()], "all"));
    world.admit_people();
    let running = world.serve();
    world.enrol_agent("agent", &world.token());
    once(&world);
    let trust = world.file("trust.json");
    let audit = Audit::begin(&world, &policy_file, &trust);
    running.stop();
    rotate(&world, &[]).json();
    let running = world.serve();
    once(&world);
    audit.draw();
    let set = audit.export("set");
    for ran in verified(&world, &set, &trust) {
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }
    running.stop();

    // Both sign: the witness gets its second key in that time, and goes on when the first is gone.
    let third = vkey(&rotate(&world, &["--overlap-days", "1"]).json());
    witness.kill();
    let dir = text(&world.file("first"));
    world.cli(&world.admin, &["witness", "add-log", "--dir", &dir, &third.vkey()]).ok();
    witness.start();
    fs::remove_file(world.data.join("keys/log.previous.key")).expect("the old key");
    let running = world.serve();
    once(&world);
    let set = audit.export("again");
    for ran in verified(&world, &set, &trust) {
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }
    running.stop();
    assert_eq!(world.fsck()["sound"], true);
}
