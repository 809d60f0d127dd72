//! A mirror with payloads, kept by real processes: by whom it may be kept, what it holds, what it notices, and that it erases
//! what the log erased. And a mirror as the memory of a log whose old copy was restored.

#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "a test stops at what it cannot do")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use evidence::ids::InstanceId;
use evidence::payload_record::{bundle_path, full_bundle_path, parse_records};
use evidence::time::DAY_MS;
use rpc::v1::people_client::PeopleClient;
use serde_json::Value;
use tests::device::Device;
use tests::load::Load;
use tests::process::{Ran, Running, run, run_command, wait_for};
use tests::programs;
use tests::world::{Person, Settings, World, now};

/// Statements of the load: two full bundles, and a partial one.
const STATEMENTS: usize = 600;
/// Devices that send them.
const DEVICES: usize = 3;
/// Long enough for every quarter of the test to be over.
const LATER_MS: u64 = 200 * DAY_MS;

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// The command line of `log mirror` into `dir`, over HTTPS.
fn line(world: &World, dir: &Path, more: &[&str]) -> Vec<String> {
    let vkey = world.admin.profile().log_keys[0].vkey();
    let (url, ca) = (format!("https://{}", world.tiles), text(&world.data.join("certs/root.pem")));
    let dir = text(dir);
    let line = ["log", "mirror", "--json", "--from", &url, "--dir", &dir, "--vkey", &vkey, "--ca", &ca];
    line.iter().chain(more).map(|word| (*word).to_owned()).collect()
}

fn mirror(world: &World, person: &Person, dir: &Path, more: &[&str]) -> Ran {
    let line = line(world, dir, more);
    world.cli(person, &line.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Waits until the public tree shows all entries.
fn shown(world: &World, entries: u64) {
    wait_for("the public tree", || {
        let note = fs::read_to_string(world.data.join("tree/checkpoint")).ok()?;
        (note.lines().nth(1)?.parse::<u64>().ok()? >= entries).then_some(())
    });
}

/// The records of a bundle of a mirror or data directory.
fn records(path: &Path) -> Vec<(u8, Vec<u8>)> {
    let bytes = fs::read(path).expect("a bundle");
    parse_records(&bytes)
        .expect("records")
        .into_iter()
        .map(|(codec, record)| (codec, record.to_vec()))
        .collect()
}

/// Every sealed record of a device in the full bundles of a data directory.
fn said_by(data: &Path, instance: &InstanceId, bundles: u64) -> Vec<Vec<u8>> {
    let all = (0..bundles).flat_map(|number| records(&data.join("payload").join(full_bundle_path(number))));
    let of = |record: &[u8]| record.get(2..18) == Some(instance.as_bytes().as_slice());
    all.filter(|(codec, record)| *codec == 1 && of(record)).map(|(_, record)| record).collect()
}

fn every_file(folder: &Path) -> Vec<PathBuf> {
    let found = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    found.flat_map(|path| if path.is_dir() { every_file(&path) } else { vec![path] }).collect()
}

fn holds(folder: &Path, wanted: &[u8]) -> bool {
    let bytes = every_file(folder).into_iter().map(|path| fs::read(path).expect("a file"));
    bytes.into_iter().any(|bytes| bytes.windows(wanted.len()).any(|window| window == wanted))
}

fn flip(path: &Path) {
    let mut bytes = fs::read(path).expect("a file");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).expect("a file");
}

/// Devices that have spoken, and the instance of each.
async fn spoken(world: &World) -> Vec<(String, InstanceId)> {
    let mut devices = Vec::new();
    for _ in 0..DEVICES {
        devices.push(Device::enrol(world, &world.token()).await);
    }
    let known = devices.iter().map(|device| (device.id.to_string(), device.instance)).collect();
    let load = Load::start(devices);
    load.up();
    load.reaches(STATEMENTS).await;
    load.end().await;
    known
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_auditor_keeps_it_and_what_is_erased_leaves_it() {
    let world = World::new(programs!());
    world.admit_people();
    let running = world.serve();
    let devices = spoken(&world).await;
    let agent = Device::enrol(&world, &world.token()).await;
    let size = world.admin.connect().await.checkpoint(0).await.0.size;
    shown(&world, size);
    let copy = world.file("copy");
    let payload = |number| format!("payload/{}", full_bundle_path(number));

    // Killed as soon as it has something, and gone on with.
    let mut command = Command::new(world.programs().cli);
    command.args(line(&world, &copy, &["--with-payloads"]));
    command.arg("--key").arg(&world.auditor.key).arg("--profile").arg(&world.auditor.profile);
    let first = Running::start(command, &world.file("mirror.log"));
    wait_for("a first bundle", || copy.join(payload(0)).exists().then_some(()));
    first.kill();
    let done = mirror(&world, &world.auditor, &copy, &["--with-payloads"]).json();
    let (full, width) = evidence::tiles::row(done["size"].as_u64().expect("a size"), 0);
    assert!(full >= 2 && width > 0, "{done}");
    let payloads = &done["payloads"];
    let total = payloads["bundles_fetched"].as_u64().zip(payloads["bundles_kept"].as_u64());
    assert!(total.is_some_and(|(fetched, kept)| fetched + kept == full + 1 && kept >= 1), "{done}");

    // All of it, as the collector has it.
    for number in 0..full {
        wait_for("the bundle of the data directory", || {
            world.data.join(payload(number)).exists().then_some(())
        });
        let own = fs::read(world.data.join(payload(number))).expect("a bundle");
        assert!(own == fs::read(copy.join(payload(number))).expect("a bundle"), "bundle {number}");
    }
    let partial = copy.join("payload").join(bundle_path(full, width));
    assert_eq!(records(&partial).len(), usize::from(width));
    let sealed = |(codec, _): &(u8, Vec<u8>)| *codec == 1;
    assert!(records(&partial).iter().all(sealed));

    // Nobody else, and never only half of it.
    let said = mirror(&world, &world.auditor, &copy, &[]).fails(2);
    assert!(said.contains("holds payloads: give --with-payloads"), "{said}");
    let said = mirror(&world, &world.analyst, &world.file("analyst"), &["--with-payloads"]).fails(2);
    assert!(said.contains("the role analyst may not do this; an admin or auditor may"), "{said}");
    assert!(!world.file("analyst").join("payload").exists());
    // TLS 1.3: a refused client may hear of it with its first call.
    if let Ok(connection) = agent.connect_to(world.people).await {
        let request = proto::PayloadsRequest { size, bundles: 1, ..proto::PayloadsRequest::default() };
        let answer = PeopleClient::new(connection.channel).payloads(request).await;
        assert!(answer.is_err(), "an agent may not");
    }
    mirror(&world, &world.admin, &world.file("admin"), &["--with-payloads"]).ok();

    // Damage of the copy, and of the collector's own file: both have another to take it from.
    let good = fs::read(copy.join(payload(0))).expect("a bundle");
    flip(&copy.join(payload(0)));
    flip(&world.data.join(payload(0)));
    let done = mirror(&world, &world.auditor, &copy, &["--with-payloads"]).json();
    assert_eq!(done["payloads"]["bundles_fetched"], 1, "{done}");
    assert!(good == fs::read(copy.join(payload(0))).expect("a bundle"));
    assert!(running.said().contains("A payload bundle is missing or damaged"));
    fs::write(world.data.join(payload(0)), &good).expect("a bundle");

    // One device is erased; a later clock is needed for it, and the server does not sign before that time comes again.
    let (device, instance) = &devices[0];
    let gone = said_by(&world.data, instance, full);
    assert!(gone.len() > 100 && gone.iter().take(3).all(|record| holds(&copy, record)));
    running.stop();
    let mut eraser = Command::new(env!("CARGO_BIN_EXE_eraser"));
    eraser.arg(&world.data).arg(device).arg((now().ms() + LATER_MS).to_string());
    let erased: Value = run_command(eraser).json();
    assert_eq!(erased["scopes"], 1, "{erased}");
    let running = world.serve();
    let entry = erased["tombstones"][0].as_u64().expect("a tombstone");
    shown(&world, entry + 1);
    let done = mirror(&world, &world.auditor, &copy, &["--with-payloads"]).json();
    assert_eq!(done["payloads"]["tombstones"], 1, "{done}");
    assert!(done["payloads"]["bundles_rewritten"].as_u64() >= Some(2), "{done}");
    assert!(done["payloads"]["records_erased"].as_u64() >= Some(gone.len() as u64), "{done}");
    let bytes: Vec<Vec<u8>> =
        every_file(&copy).into_iter().map(|path| fs::read(path).expect("a file")).collect();
    // The ciphertext behind what stays readable: 2 bytes, then 68 of a statement or 16 of a detail.
    for record in &gone {
        let secret = record.get(70..102).or_else(|| record.get(18..50)).expect("a ciphertext");
        assert!(!bytes.iter().any(|bytes| bytes.windows(32).any(|window| window == secret)));
    }
    // A second copy made now never gets it, though the collector's bundles still hold it, sealed under a key that is gone.
    let late = world.file("late");
    let second = mirror(&world, &world.admin, &late, &["--with-payloads"]).json();
    assert_eq!(second["payloads"]["records_erased"], done["payloads"]["records_erased"]);
    for number in 0..full {
        let both = [&copy, &late].map(|dir| fs::read(dir.join(payload(number))).expect("a bundle"));
        assert!(both[0] == both[1], "bundle {number}");
    }
    // And a copy of the copy, without any collector.
    running.stop();
    let (vkey, from, to) =
        (world.admin.profile().log_keys[0].vkey(), text(&copy), text(&world.file("third")));
    let line = ["log", "mirror", "--json", "--from", &from, "--dir", &to, "--vkey", &vkey, "--with-payloads"];
    let third = world.cli(&world.admin, &line).json();
    assert_eq!(third["payloads"]["bundles_fetched"], full + 1, "{third}");
    flip(&copy.join(format!("tombstones/{entry}")));
    fs::remove_dir_all(world.file("third")).expect("the third copy");
    let said = world.cli(&world.admin, &line).fails(2);
    assert!(said.contains(&format!("tombstone {entry} of the source")), "{said}");
}

/// Stores statements and waits for the checkpoint over them.
async fn publish(world: &World, device: &mut Device, count: usize) -> u64 {
    let (mut submit, _) = device.greet().await;
    let mut last = 0;
    for _ in 0..count {
        last = submit.store(&device.sign_next()).await.index;
    }
    wait_for("the public tree", || {
        let note = fs::read_to_string(world.data.join("tree/checkpoint")).ok()?;
        note.lines().nth(1)?.parse::<u64>().ok().filter(|size| *size > last)
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_copy_is_refused_by_a_mirror_that_has_more() {
    let elsewhere = tests::elsewhere::folder();
    let kept = elsewhere.path().join("mirror");
    let settings =
        Settings { mirror: Some(kept.clone()), accept_rollback_blindness: false, ..Settings::default() };
    let world = World::with(programs!(), &settings);
    let running = world.serve();
    let mut device = Device::enrol(&world, &world.token()).await;
    publish(&world, &mut device, 1).await;
    running.stop();
    // Nobody kept it: it shows nothing.
    let said = world.collector(&["serve"]).fails(2);
    assert!(said.contains("holds nothing yet of a log that has published"), "{said}");
    let (tree, dir, vkey) =
        (text(&world.data.join("tree")), text(&kept), world.admin.profile().log_keys[0].vkey());
    let from_disk = ["log", "mirror", "--from", &tree, "--dir", &dir, "--vkey", &vkey];
    world.cli(&world.admin, &from_disk).ok();
    let backup = world.file("backup");
    run("cp", ["-a", &text(&world.data), &text(&backup)]).ok();
    let running = world.serve();
    let size = publish(&world, &mut device, 2).await;
    let done = mirror(&world, &world.admin, &kept, &[]).json();
    assert!(done["size"].as_u64() >= Some(size), "{done}");
    running.stop();

    let newest = world.file("newest");
    fs::rename(&world.data, &newest).expect("the newest is put aside");
    fs::rename(&backup, &world.data).expect("the copy is restored");
    let journal = || {
        let paths = every_file(&world.data.join("journal"));
        paths.into_iter().map(|path| (path.clone(), fs::read(path).expect("a segment"))).collect::<Vec<_>>()
    };
    let before = journal();
    let key = text(&world.admin.key);
    for command in
        [&["serve"][..], &["token", "create", "--key", &key, "--class", "laptop", "--group", "office"]]
    {
        let said = world.collector(command).fails(2);
        assert!(said.contains("this is an old copy of the log"), "{said}");
        assert!(said.contains(&format!("recover --from {dir}")), "{said}");
    }
    assert_eq!(journal(), before, "an old copy takes nothing in");
    fs::rename(&world.data, &backup).expect("the copy goes");
    fs::rename(&newest, &world.data).expect("the newest comes back");
    world.serve().stop();

    let aside = elsewhere.path().join("aside");
    fs::rename(&kept, &aside).expect("the mirror");
    let said = world.collector(&["serve"]).fails(2);
    assert!(said.contains("nothing shows whether this is the newest copy of the log"), "{said}");
    assert!(!kept.exists(), "no mirror is made up");
    fs::rename(&aside, &kept).expect("the mirror");
    world.serve().stop();
    // No second log begins with it.
    let another = |name: &str| text(&world.file(name));
    let public = text(&world.admin.public);
    let line = [
        ["init", "--dir", &another("data-2"), "--admin", &public, "--trust-domain", "other.example.com"],
        [
            "--server-name",
            "127.0.0.1",
            "--port",
            "0",
            "--root-key-out",
            &another("r"),
            "--ballast-bytes=4096",
        ],
    ];
    let (profile, line) = (another("p"), line.concat());
    let said =
        run(world.programs().collector, [&line[..], &["--profile-out", &profile, "--mirror", &dir]].concat());
    assert!(said.fails(2).contains("holds a copy of a log already"));
    assert!(!world.file("data-2").exists());
}
