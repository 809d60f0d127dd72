//! `backup` and `restore` with the real program: under load, killed, again, restored, started; and an older backup that
//! refuses to start.

#![expect(clippy::expect_used, reason = "a test stops at what it cannot do")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use collector::datadir::DataDir;
use collector::ledger::{Ledger, LedgerOptions};
use evidence::ids::Digest;
use tempfile::TempDir;
use tests::device::Device;
use tests::load::{Acknowledged, Load};
use tests::process::{Ran, Running, run};
use tests::programs;
use tests::world::{Settings, World, random};

/// Devices of the load.
const DEVICES: usize = 4;
/// Statements acknowledged between two backups: more than a bundle.
const BETWEEN: usize = 400;
/// Backups that are killed.
const KILLS: usize = 6;
/// Longest life of one, milliseconds.
const LIFE_MS_MAX: u64 = 60;

/// A world whose mark lies on another file system and whose journal lets go of its segments; the folder of the mark.
fn watched() -> (World, TempDir) {
    let elsewhere = tests::elsewhere::folder();
    let settings = Settings {
        high_water: Some(elsewhere.path().join("mark")),
        accept_rollback_blindness: false,
        segment_bytes: 96 << 10,
        ..Settings::default()
    };
    let world = World::with(programs!(), &settings);
    world.set("journal_segments_kept", 1);
    (world, elsewhere)
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn line(world: &World) -> [String; 5] {
    let [to, keys] = ["backup", "backup-keys"].map(|name| text(&world.file(name)));
    ["backup".to_owned(), "--to".to_owned(), to, "--keys-to".to_owned(), keys]
}

fn backup(world: &World) -> serde_json::Value {
    let line = line(world);
    let line: Vec<&str> = line.iter().map(String::as_str).chain(["--json"]).collect();
    world.collector(&line).json()
}

fn restore(world: &World) -> Ran {
    let [from, keys] = ["backup", "backup-keys"].map(|name| text(&world.file(name)));
    world.collector(&["restore", "--json", "--from", &from, "--keys-from", &keys])
}

/// Puts the data directory aside, as a disk that is lost would.
fn lose(world: &World, name: &str) -> PathBuf {
    let lost = world.file(name);
    fs::rename(&world.data, &lost).expect("the data directory goes");
    lost
}

/// How many of the acknowledged statements below `size` the data directory holds, of how many.
fn found(world: &World, acknowledged: &[Acknowledged], size: u64) -> (usize, usize) {
    let dir = Arc::new(DataDir::open(&world.data).expect("a data directory"));
    let (ledger, _) = Ledger::open(dir, &LedgerOptions::default()).expect("a ledger");
    let told: Vec<_> = acknowledged.iter().filter(|told| told.index < size).collect();
    let is_there = |told: &&&Acknowledged| {
        ledger
            .entry(told.index)
            .is_ok_and(|entry| entry.leaf == told.leaf && Digest::of(&entry.payload) == told.envelope)
    };
    (told.iter().filter(is_there).count(), told.len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_taken_under_load_is_restored_and_goes_on() {
    let (world, _elsewhere) = watched();
    let running = world.serve();
    let mut devices = Vec::new();
    for _ in 0..DEVICES {
        devices.push(Device::enrol(&world, &world.token()).await);
    }
    let load = Load::start(devices);
    load.up();
    load.reaches(BETWEEN).await;
    let first = backup(&world);
    assert_eq!((&first["beside_server"], &first["run"]), (&true.into(), &1.into()), "{first}");
    for _ in 0..KILLS {
        let mut command = world.collector_command(&[]);
        command.args(line(&world));
        let killed = Running::start(command, &world.file("backup.log"));
        tokio::time::sleep(Duration::from_millis(u64::from_le_bytes(random()) % LIFE_MS_MAX)).await;
        killed.kill();
    }
    load.reaches(2 * BETWEEN).await;
    let second = backup(&world);
    assert!(second["log"]["size"].as_u64() > first["log"]["size"].as_u64(), "{first}\n{second}");
    load.reaches(3 * BETWEEN).await;
    // What the disk is lost after; a device that was answered meanwhile comes again.
    running.kill();
    load.down();
    let lost = lose(&world, "lost");
    let report = restore(&world);
    let report: serde_json::Value = serde_json::from_str(&report.out).expect("a report");
    // The mark knows of more, and nothing else is wrong.
    let faults = report["check"]["faults"].as_array().expect("faults");
    assert!(faults.iter().all(|fault| fault["part"] == "high-water"), "{report}");
    let size = report["log"]["size"].as_u64().expect("a size");
    assert_eq!(report["log"], second["log"]);
    fs::rename(&world.data, world.file("older")).expect("the older copy goes");
    fs::rename(&lost, &world.data).expect("the disk comes back");

    let running = world.serve();
    load.up();
    let record = load.end().await;
    assert_eq!(record.wrong, Vec::<String>::new(), "answers that are not as promised");
    running.stop();
    let last = backup(&world);
    assert_eq!(last["beside_server"], false, "{last}");
    let again = backup(&world);
    assert_eq!((&again["new_files"], &again["run"]), (&0.into(), &last["run"]), "{again}");
    lose(&world, "lost");
    fs::rename(world.file("older"), &world.data).expect("the older copy");
    let (kept, told) = found(&world, &record.acknowledged, size);
    assert!(kept == told && told >= BETWEEN, "{kept} of {told} below {size}");
    lose(&world, "older");

    let report = restore(&world).json();
    assert_eq!((&report["check"]["sound"], &report["log"]), (&true.into(), &last["log"]), "{report}");
    let counts = found(&world, &record.acknowledged, u64::MAX);
    assert_eq!(counts, (record.acknowledged.len(), record.acknowledged.len()));
    println!("{} acknowledged statements, all of them restored; {told} of them at {size} entries", counts.0);
    let running = world.serve();
    let mut device = Device::enrol(&world, &world.token()).await;
    let (mut submit, _) = device.greet().await;
    let stored = submit.store(&device.sign_next()).await;
    assert!(Some(stored.index) >= last["log"]["size"].as_u64());
    running.stop();
    assert_eq!(world.fsck()["sound"], true);
    let on = backup(&world);
    assert_eq!(on["earlier"], last["log"], "{on}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_backup_refuses_to_start_and_a_backup_is_no_data_directory() {
    let (world, elsewhere) = watched();
    let running = world.serve();
    let mut device = Device::enrol(&world, &world.token()).await;
    let (mut submit, _) = device.greet().await;
    submit.store(&device.sign_next()).await;
    running.stop();
    backup(&world);
    let to = world.file("backup");
    let program = world.programs().collector;
    let said = run(program, ["serve", "--dir", &text(&to)]).fails(2);
    assert!(said.contains("is a backup and no data directory") && said.contains("restore --from"), "{said}");
    run(program, ["serve", "--dir", &text(&to.join("00000001"))]).fails(2);
    let inside = text(&world.data.join("backup"));
    let said = world.collector(&["backup", "--to", &inside]).fails(2);
    assert!(said.contains("lies inside it"), "{said}");
    let said = world.collector(&["backup", "--to", &text(&world.file("without-keys"))]).ok();
    assert!(said.contains("The keys are not in it") && said.contains("every payload is lost"), "{said}");

    let running = world.serve();
    let (mut submit, _) = device.greet().await;
    for _ in 0..3 {
        submit.store(&device.sign_next()).await;
    }
    assert!(world.admin.connect().await.checkpoint(0).await.0.size > 0);
    running.stop();
    let mark = fs::read_to_string(elsewhere.path().join("mark")).expect("the mark");
    lose(&world, "newest");
    let said = restore(&world);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.out.contains("\"part\":\"high-water\""), "{said:?}");
    let said = world.collector(&["serve"]).fails(2);
    assert!(said.contains("this is an old copy of the log"), "{said}");
    assert_eq!(fs::read_to_string(elsewhere.path().join("mark")).expect("the mark"), mark);

    // It cannot stand in for the newest backup either.
    let older = lose(&world, "older");
    fs::rename(world.file("newest"), &world.data).expect("the newest");
    let newest = backup(&world);
    lose(&world, "newest");
    fs::rename(older, &world.data).expect("the older");
    let line = line(&world);
    let said = world.collector(&line.each_ref().map(String::as_str)).fails(2);
    let root = newest["checkpoint"]["root"].as_str().expect("a root");
    assert!(said.contains("no beginning of this log") && said.contains(root), "{said}");

    // A damaged backup leaves nothing behind, and what restore makes is made once.
    let refused = restore(&world).fails(2);
    assert!(refused.contains("is not empty"), "{refused}");
    lose(&world, "older");
    let bundle = to.join("00000002/tree/tile/entries/000.p");
    let bundle =
        fs::read_dir(bundle).expect("the last bundle").next().expect("a file").expect("a file").path();
    let good = fs::read(&bundle).expect("its bytes");
    let mut bad = good.clone();
    bad[7] ^= 1;
    fs::write(&bundle, bad).expect("damage");
    let refused = restore(&world).fails(2);
    assert!(refused.contains(&text(&bundle)), "{refused}");
    assert!(!world.data.exists());
    fs::write(&bundle, good).expect("the bundle");
    restore(&world).ok();
    world.serve().stop();
}
