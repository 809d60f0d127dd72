//! A device's statements are erased in a log with a finished audit: the log, its proofs and the audit go on, and both
//! verifiers say what was erased, under which rule and by which entry. Killed at each step, it is finished later.

#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "a test stops at what it cannot do")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use collector::audit::export;
use collector::node::Node;
use evidence::ids::Digest;
use evidence::time::{Clock, DAY_MS, Timestamp};
use evidence::verify::verify;
use serde_json::Value;
use tests::device::Device;
use tests::journal_file::Journal;
use tests::process::{Ran, run_command, wait_for};
use tests::world::{Settings, World, now};
use tests::{figures, programs};

/// Long enough for every quarter of the test to be over.
const LATER_MS: u64 = 200 * DAY_MS;
/// Before midnight (UTC) no run begins: the plan's day must not end under it.
const MIDNIGHT_MARGIN_MS: u64 = 60_000;
/// The steps of an erasure at which it is killed.
const POINTS: [&str; 3] = ["tombstone-covered", "data-keys-rewritten", "data-keys-renamed"];
/// Statements of each device.
const STATEMENTS: u64 = 3;

struct Later(Timestamp);

impl Clock for Later {
    fn now(&self) -> Timestamp {
        self.0
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// A policy, devices that spoke, and a draw of every unit.
async fn audited(world: &World, devices: &mut [Device]) -> (PathBuf, PathBuf) {
    let policy = format!("{}/../docs/policies/baseline.toml", env!("CARGO_MANIFEST_DIR"));
    world.cli(&world.analyst, &["policy", "put", &policy]).ok();
    let (plan, trust, nonce) = (world.file("plan.json"), world.file("trust.json"), world.file("nonce"));
    let (plan_text, trust_text, nonce) = (text(&plan), text(&trust), text(&nonce));
    let (auditor, day) = (text(&world.auditor.public), now().day().to_string());
    let line = [
        "audit",
        "plan",
        "--engagement",
        "new",
        "--auditor-key",
        &auditor,
        "--out",
        &plan_text,
        "--control",
        "edr",
        "--day",
        &day,
        "--partial-day",
        "--sample-size",
        "10",
        "--reserves",
        "0",
        "--risk",
        "5%",
        "--tolerable",
        "5%",
    ];
    world.cli(&world.analyst, &line).ok();
    let pin = ["trust", "pin", "--auditor-key", &auditor, "--made-by", "auditor", "--out", &trust_text];
    world.cli(&world.auditor, &pin).ok();
    world.cli(&world.auditor, &["audit", "nonce", "--out", &nonce]).ok();
    let commit =
        ["audit", "commit", "--plan", &plan_text, "--nonce", &nonce, "--trust", &trust_text, "--carry"];
    world.cli(&world.auditor, &commit).ok();
    for device in devices {
        let (mut submit, _) = device.greet().await;
        for _ in 0..STATEMENTS {
            submit.store(&device.sign_next()).await;
        }
    }
    world.cli(&world.analyst, &["audit", "freeze", "--plan", &plan_text]).ok();
    world.cli(&world.auditor, &["audit", "reveal", "--plan", &plan_text, "--nonce", &nonce, "--carry"]).ok();
    world.cli(&world.analyst, &["audit", "draw", "--plan", &plan_text]).ok();
    (plan, trust)
}

/// Erases what a device said, at a later time; killed at a point, if one is named.
fn erase(world: &World, device: &Device, later: Timestamp, point: Option<&str>) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_eraser"));
    command.arg(&world.data).arg(device.id.to_string()).arg(later.ms().to_string());
    command.envs(point.map(|point| ("TALLYSTICK_FAILPOINT", point)));
    run_command(command)
}

/// How many payloads of a journal can be opened, from its bytes.
fn readable(world: &World) -> usize {
    Journal::read(&world.data).entries.iter().filter(|entry| !entry.payload.is_empty()).count()
}

/// The record of a device's key in the file of keys: nonce and wrapped key.
fn wrapped(world: &World, device: &Device) -> Vec<u8> {
    let bytes = fs::read(world.data.join("data-keys/keys")).expect("the data keys");
    let found = bytes.chunks(128).find(|record| record[10..26] == *device.instance.as_bytes());
    found.expect("a record of the device")[29..89].to_vec()
}

fn holds(folder: &Path, wanted: &[u8]) -> bool {
    fs::read_dir(folder).expect("a folder").any(|entry| {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            return holds(&path, wanted);
        }
        path.is_file()
            && fs::read(&path).is_ok_and(|bytes| bytes.windows(wanted.len()).any(|window| window == wanted))
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn erased_statements_stay_proved_and_are_told_by_both_verifiers() {
    let left = DAY_MS - now().ms() % DAY_MS;
    if left < MIDNIGHT_MARGIN_MS {
        let tomorrow = now().ms() + left;
        wait_for("the next day", || (now().ms() > tomorrow).then_some(()));
    }
    let world = World::with(programs!(), &Settings { any_ports: true, ..Settings::default() });
    world.admit_people();
    let running = world.serve();
    let mut devices = Vec::new();
    for _ in 0..=POINTS.len() {
        devices.push(Device::enrol(&world, &world.token_for("server", "racks")).await);
    }
    let (plan, trust) = audited(&world, &mut devices).await;
    let before = world.file("set-before");
    let line = ["audit", "export", "--plan", &text(&plan), "--out", &text(&before)];
    world.cli(&world.auditor, &line).ok();

    // While the server runs, and while the quarter does: no, and why.
    let device = devices[0].id.to_string();
    let asked = world.collector(&["erase", "--device", &device, "--rule", "request"]);
    assert!(asked.err.contains("stop it first"), "{asked:?}");
    running.stop();
    let asked = world.collector(&["erase", "--device", &device, "--rule", "request"]);
    assert_eq!(asked.code, Some(1), "{asked:?}");
    assert!(
        asked.out.contains("the quarter is not over") && asked.out.contains("nothing to erase"),
        "{asked:?}"
    );
    let key = text(&world.admin.key);
    let hold = ["hold", "add", "lawsuit", "--device", &device, "--key", &key, "--reason", "case 12"];
    world.collector(&hold).ok();

    let later = Timestamp(now().ms() + LATER_MS);
    let whole = readable(&world);
    let held = erase(&world, &devices[0], later, None).json();
    assert_eq!((&held["kept"], &held["scopes"]), (&Value::from(1), &Value::from(0)), "{held}");
    let mut gone = Vec::new();
    for (device, point) in devices[1..].iter().zip(POINTS) {
        let secret = wrapped(&world, device);
        assert!(holds(&world.data, &secret));
        let killed = erase(&world, device, later, Some(point));
        assert_eq!(killed.code, None, "{killed:?}");
        // The next one finishes what was begun, and finds nothing left to do.
        let finished = erase(&world, device, later, None).json();
        assert_eq!(finished["tombstones"], Value::Array(Vec::new()), "{finished}");
        let begun = i32::from(point != "data-keys-renamed");
        assert_eq!(finished["finished"], begun, "{point}: {finished}");
        assert!(!holds(&world.data, &secret), "{point}: the key is still in some file");
        gone.push(secret);
    }
    // Each device had a detail and its statements; the hold and three tombstones were added.
    let erased = POINTS.len() * (1 + usize::try_from(STATEMENTS).expect("small"));
    assert_eq!(readable(&world), whole - erased + POINTS.len());
    let report = world.fsck();
    assert_eq!((&report["sound"], &report["erased"]), (&Value::Bool(true), &Value::from(erased)), "{report}");
    let holds_now: Value = world.collector(&["hold", "list", "--json"]).json();
    assert_eq!(holds_now[0]["hold"], "lawsuit");

    // The audit goes on over what is left.
    let plan_hash = Digest::of(&fs::read(&plan).expect("the plan"));
    let data = world.data.clone();
    let open = move || Node::open_at(&data, Arc::new(Later(later)), |_| {});
    let node = tokio::task::spawn_blocking(open).await.expect("opened").expect("a collector");
    let files = export(&node.state, plan_hash).await.expect("a set");
    tokio::task::spawn_blocking(move || node.close()).await.expect("closed");
    let after = world.file("set-after");
    for (path, bytes) in &files {
        let path = after.join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, bytes).expect("a file");
    }
    let mine = verify(&files, &Vec::new(), &fs::read(&trust).expect("the trust file"));
    assert!(mine.is_sound(), "{:?}", mine.checks);
    let told =
        mine.notices.iter().filter(|notice| notice.contains("erased under rule request, entry")).count();
    assert_eq!(told, POINTS.len(), "{:?}", mine.notices);
    let results: Value = serde_json::from_slice(&files["results/edr.json"]).expect("JSON");
    let rows = results["units"].as_array().expect("rows");
    let missing = rows.iter().filter(|row| row["state"] == "MISSING" && row["because"] == "erased").count();
    assert_eq!(missing, POINTS.len(), "{results}");
    for set in [&before, &after] {
        let mut second = Command::new("python3");
        second.arg("-B").arg(format!("{}/oracle/verify.py", env!("CARGO_MANIFEST_DIR")));
        let said = run_command({
            second.arg(set).arg("--trust").arg(&trust);
            second
        });
        assert_eq!(said.code, Some(0), "{said:?}");
        assert_eq!(said.out.contains("erased under rule request, entry"), set == &after, "{}", said.out);
    }
    figures::report("erasures killed at a step and finished by the next", format_args!("{}", gone.len()));
}

/// New data keys are written before what is sealed under them: a device enrols with the first tries killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_while_it_writes_a_data_key_loses_nothing() {
    let world = World::new(programs!());
    for point in ["data-keys-written", "data-keys-synced"] {
        let token = world.token();
        let mut running = world.spawn(&[("TALLYSTICK_FAILPOINT", point)]);
        world.wait_ready(&mut running);
        let tried = Device::try_enrol(&world, &token, tests::device::Keys::new()).await;
        assert!(tried.is_err(), "{point}");
        running.wait_killed();
        let running = world.serve();
        let mut device = Device::enrol(&world, &token).await;
        let (mut submit, _) = device.greet().await;
        submit.store(&device.sign_next()).await;
        drop(submit);
        running.stop();
        assert_eq!(world.fsck()["sound"], true, "{point}");
    }
}
