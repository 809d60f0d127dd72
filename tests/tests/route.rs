//! The whole job with real processes, from `init` to both verifiers, and every single change of the set
//! refused by both.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test stops at what it cannot do"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use evidence::set::Files;
use evidence::verify::verify;
use serde_json::Value;
use tests::device::Device;
use tests::process::{Ran, run, run_command, wait_for};
use tests::world::{Person, Settings, World, now};
use tests::{figures, programs};

/// Controls of the plan: all that the baseline policy judges.
const CONTROLS: [&str; 4] = ["disk-encryption", "edr", "os-patch", "screen-lock"];
/// Devices besides this host: one submits, the others never do.
const OTHERS: usize = 3;
/// Before midnight (UTC) no run begins: the plan's day must not end under it.
const MIDNIGHT_MARGIN_MS: u64 = 60_000;
const DAY_MS: u64 = 86_400_000;
/// Files in which two exports at one checkpoint may differ.
const OF_THE_EXPORT: [&str; 3] = ["MANIFEST.note", "MANIFEST.tsr", "export.tlog-proof"];
/// Time between checkpoints while two exports are compared, milliseconds.
const ONE_CHECKPOINT_MS: u64 = 5_000;

/// Both verifiers over one trust file.
struct Verifiers {
    verify: &'static str,
    python: PathBuf,
    trust: PathBuf,
}

impl Verifiers {
    fn new(world: &World, trust: &Path) -> Self {
        let programs = world.programs();
        // `./check` makes this environment beside what it builds; without it the system's Python must do.
        let target = Path::new(programs.verify).parent().and_then(Path::parent).expect("a build directory");
        let made = target.join("tools/venv/bin/python");
        let python = if made.exists() { made } else { PathBuf::from("python3") };
        Self { verify: programs.verify, python, trust: trust.to_owned() }
    }

    fn oracle(name: &str) -> String {
        format!("{}/oracle/{name}", env!("CARGO_MANIFEST_DIR"))
    }

    fn line(&self, set: &Path) -> [String; 3] {
        [set.display().to_string(), "--trust".to_owned(), self.trust.display().to_string()]
    }

    fn first(&self, set: &Path) -> Ran {
        run(self.verify, self.line(set))
    }

    /// Both with a copy of the public tree: their exit codes and what they say of check 21.
    fn with_tree(&self, set: &Path, tree: &Path) -> [(Option<i32>, String); 2] {
        let line = [&self.line(set)[..], &["--tree".to_owned(), tree.display().to_string()]].concat();
        let mut second = std::process::Command::new(&self.python);
        second.arg(Self::oracle("verify.py")).args(&line);
        [run(self.verify, line), run_command(second)].map(|ran| {
            let said = ran.out.lines().find(|line| line.contains(" completeness")).unwrap_or_default();
            (ran.code, said.to_owned())
        })
    }

    fn second(&self, program: &str, set: &Path) -> Ran {
        let mut command = std::process::Command::new(&self.python);
        command.arg(Self::oracle(program)).args(self.line(set));
        run_command(command)
    }

    /// Both as processes, which must agree; whether the set is sound.
    #[track_caller]
    fn sound(&self, set: &Path) -> bool {
        let (first, second) = (self.first(set), self.second("verify.py", set));
        let both = format!("{}{}\n{}{}", first.out, first.err, second.out, second.err);
        assert_eq!(first.code, second.code, "{both}");
        match first.code {
            Some(0) => true,
            Some(1) => false,
            other => panic!("exit {other:?}\n{both}"),
        }
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn files(set: &Path) -> Files {
    let (files, irregular) = verifier::read_set(set).expect("a set");
    assert_eq!(irregular, Vec::<String>::new());
    files
}

/// One bit of a file flipped, in the middle; a byte more when there are none.
fn flipped(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let middle = bytes.len() / 2;
    match bytes.get_mut(middle) {
        Some(byte) => *byte ^= 1,
        None => bytes.push(b'\n'),
    }
    bytes
}

/// From the policy to the draw. Gives the plan's file.
async fn ceremony(world: &World, trust: &Path) -> PathBuf {
    let policy = format!("{}/../docs/policies/baseline.toml", env!("CARGO_MANIFEST_DIR"));
    world.cli(&world.analyst, &["policy", "put", &policy]).ok();
    let enrolled = world.enrol_agent("agent", &world.token());
    let this_host = enrolled["device"].as_str().expect("a device").to_owned();
    for other in 0..OTHERS {
        let mut device = Device::enrol(world, &world.token_for("server", "racks")).await;
        if other == 0 {
            let (mut submit, _) = device.greet().await;
            submit.store(&device.sign_next()).await;
        }
    }
    let day = now().day().to_string();
    let (plan, nonce) = (world.file("plan.json"), world.file("auditor.nonce"));
    let (plan_text, auditor) = (text(&plan), text(&world.auditor.public));
    let controls = CONTROLS.iter().flat_map(|control| ["--control", control]);
    let mut line =
        vec!["audit", "plan", "--engagement", "new", "--auditor-key", &auditor, "--out", &plan_text];
    line.extend(controls);
    line.extend(["--day", &day, "--partial-day", "--sample-size", "2", "--reserves", "1"]);
    line.extend(["--risk", "5%", "--tolerable", "5%", "--replace-not-applicable"]);
    world.cli(&world.analyst, &line).ok();
    let trust_text = text(trust);
    let pin = ["trust", "pin", "--auditor-key", &auditor, "--made-by", "auditor", "--out", &trust_text];
    world.cli(&world.auditor, &pin).ok();
    let nonce = text(&nonce);
    world.cli(&world.auditor, &["audit", "nonce", "--out", &nonce]).ok();
    let commit =
        ["audit", "commit", "--plan", &plan_text, "--nonce", &nonce, "--trust", &trust_text, "--carry"];
    world.cli(&world.auditor, &commit).ok();

    let once = world.agent("agent", &["once", "--until-proved", "--json"]).json();
    assert_eq!(once["result"], "proved", "{once}");
    let posture = world.cli(&world.analyst, &["posture", "--json"]);
    assert!(matches!(posture.code, Some(0 | 1)), "{posture:?}");
    let posture: Value = serde_json::from_str(posture.out.trim()).expect("JSON");
    let rows = posture["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), CONTROLS.len() * (OTHERS + 1), "{posture}");
    let mine = rows.iter().filter(|row| row["device"] == this_host.as_str());
    assert!(mine.clone().all(|row| row["state"] != "MISSING"), "{posture}");
    assert_eq!(mine.count(), CONTROLS.len());
    history_is_of_the_same_facts(world, &this_host, &posture);

    world.cli(&world.analyst, &["audit", "freeze", "--plan", &plan_text]).ok();
    world.cli(&world.auditor, &["audit", "reveal", "--plan", &plan_text, "--nonce", &nonce, "--carry"]).ok();
    world.cli(&world.analyst, &["audit", "draw", "--plan", &plan_text]).ok();
    plan
}

/// What `history` says of the day is what `posture` says of it, and the days before the enrolment are nobody's.
fn history_is_of_the_same_facts(world: &World, this_host: &str, posture: &Value) {
    let day = posture["day"].as_str().expect("a day");
    let shown = world.cli(&world.analyst, &["history", this_host, "--json", "--to", day]);
    assert!(matches!(shown.code, Some(0 | 1)), "{shown:?}");
    let shown: Value = serde_json::from_str(shown.out.trim()).expect("JSON");
    let days = shown["days"].as_array().expect("days");
    assert_eq!((days.len(), &days[29]["day"]), (30, &posture["day"]));
    assert!(days[..29].iter().all(|day| day["rows"].as_array().is_some_and(Vec::is_empty)), "{shown}");
    let of_host = |rows: &Value| -> Vec<Value> {
        let rows = rows.as_array().expect("rows").iter().filter(|row| row["device"] == this_host);
        rows.map(|row| serde_json::json!([row["control"], row["state"], row["index"]])).collect()
    };
    assert_eq!(of_host(&days[29]["rows"]), of_host(&posture["rows"]));
    // The filters narrow what is printed, and the exit code stays that of all.
    let all = world.cli(&world.analyst, &["posture", "--json"]);
    let some = world.cli(&world.analyst, &["posture", "--state", "missing", "--json"]);
    assert_eq!(some.code, all.code);
    let some: Value = serde_json::from_str(some.out.trim()).expect("JSON");
    let rows = some["rows"].as_array().expect("rows");
    assert!(!rows.is_empty() && rows.iter().all(|row| row["state"] == "MISSING"), "{some}");
    let none = world.cli(&world.analyst, &["posture", "--group", "nobody-is-in-it"]);
    assert_eq!(none.code, Some(1), "{none:?}");
    world.cli(&world.analyst, &["posture", "--state", "fine"]).fails(2);
    world.cli(&world.analyst, &["history", this_host, "--to", "9999-12-31"]).fails(2);
}

fn export(world: &World, plan: &Path, name: &str) -> PathBuf {
    export_by(world, &world.auditor, plan, name)
}

fn export_by(world: &World, person: &Person, plan: &Path, name: &str) -> PathBuf {
    let set = world.file(name);
    world.cli(person, &["audit", "export", "--plan", &text(plan), "--out", &text(&set)]).ok();
    set
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_init_to_both_verifiers() {
    let left = DAY_MS - now().ms() % DAY_MS;
    if left < MIDNIGHT_MARGIN_MS {
        let tomorrow = now().ms() + left;
        wait_for("the next day", || (now().ms() > tomorrow).then_some(()));
    }
    let world = World::with(programs!(), &Settings { any_ports: true, ..Settings::default() });
    world.admit_people();
    let running = world.serve();
    let trust = world.file("trust.json");
    let plan = ceremony(&world, &trust).await;
    let set = export(&world, &plan, "set");
    let verifiers = Verifiers::new(&world, &trust);
    assert!(verifiers.sound(&set), "{}", verifiers.first(&set).out);
    blindness_is_printed(&set, &verifiers);
    completeness(&world, &set, &verifiers);
    two_exports(&world, running, &plan, &set, &verifiers);
    every_change_is_refused(&set, &verifiers);
    changes_on_disk(&world, &set, &verifiers);
}

/// This log was begun without a high-water mark on another file system: the set says so, and so do both
/// verifiers.
fn blindness_is_printed(set: &Path, verifiers: &Verifiers) {
    let readme = fs::read_to_string(set.join("VERIFY.md")).expect("VERIFY.md");
    let said = [readme, verifiers.first(set).out, verifiers.second("verify.py", set).out];
    for said in said {
        assert!(said.contains("accepts rollback blindness"), "{said}");
    }
}

/// With a mirror of the public tree both verifiers prove that nothing of a stream was left out, and refuse a tree that
/// lacks a leaf or ends too early.
fn completeness(world: &World, set: &Path, verifiers: &Verifiers) {
    let (tree, url) = (world.file("mirror"), format!("https://{}", world.tiles));
    let (ca, trust) = (text(&world.data.join("certs/root.pem")), text(&verifiers.trust));
    let dir = text(&tree);
    let line = ["log", "mirror", "--json", "--from", &url, "--dir", &dir, "--trust", &trust, "--ca", &ca];
    let size = |bytes: &[u8]| {
        let note = String::from_utf8_lossy(bytes).into_owned();
        note.lines().nth(1).and_then(|size| size.parse::<u64>().ok()).expect("a checkpoint")
    };
    let needed = size(&fs::read(set.join("log/checkpoint")).expect("the set's checkpoint"));
    let mirrored = wait_for("the public tree to show the set's checkpoint", || {
        let answer = world.cli(&world.auditor, &line).json();
        answer["size"].as_u64().filter(|size| *size >= needed)
    });
    for (code, said) in verifiers.with_tree(set, &tree) {
        assert_eq!(code, Some(0), "{said}");
        assert!(said.starts_with("[ok]") && said.contains(&format!("all {mirrored} leaves")), "{said}");
    }
    let bundle = tree.join(format!("tile/entries/000.p/{mirrored}"));
    let good = fs::read(&bundle).expect("fewer than 256 entries");
    for bad in [flipped(&good), good[..good.len() - 85].to_vec()] {
        fs::write(&bundle, bad).expect("the bundle");
        for (code, said) in verifiers.with_tree(set, &tree) {
            assert!(code == Some(1) && said.starts_with("[FAILED]"), "{code:?} {said}");
        }
    }
    fs::write(&bundle, good).expect("the bundle");
    // A tree of another log under the same folder name is none of this log's.
    let note = fs::read_to_string(tree.join("checkpoint")).expect("the checkpoint");
    fs::write(tree.join("checkpoint"), note.replacen("/log/", "/log/x", 1)).expect("the checkpoint");
    for (code, said) in verifiers.with_tree(set, &tree) {
        assert!(code == Some(1) && said.starts_with("[FAILED]"), "{code:?} {said}");
    }
}

/// Two exports at one checkpoint are equal but for three files; one at a later checkpoint shows the same
/// sample.
fn two_exports(
    world: &World,
    running: tests::process::Running,
    plan: &Path,
    first: &Path,
    verifiers: &Verifiers,
) {
    running.stop();
    world.set("checkpoint_interval_ms", ONE_CHECKPOINT_MS);
    let _running = world.serve();
    // Its entry begins the time until the next checkpoint; both that follow lie within it. Two people ask: of one person's
    // exports the second waits for the first.
    let later = export(world, plan, "set-later");
    let (one, two) = std::thread::scope(|scope| {
        let one = scope.spawn(|| export(world, plan, "set-one"));
        let two = scope.spawn(|| export_by(world, &world.analyst, plan, "set-two"));
        (one.join().expect("an export"), two.join().expect("an export"))
    });
    for set in [&later, &one, &two] {
        assert!(verifiers.sound(set), "{}", verifiers.first(set).out);
    }
    let (first, later, one, two) = (files(first), files(&later), files(&one), files(&two));
    assert_eq!(one["log/checkpoint"], two["log/checkpoint"], "both exports lie within one checkpoint's time");
    assert_ne!(one["export.tlog-proof"], two["export.tlog-proof"], "each export is an entry of its own");
    assert_eq!(differing(&one, &two).retain_others(&OF_THE_EXPORT), Vec::<String>::new());
    // A later checkpoint: the sample and what is said about it are the same bytes.
    assert_ne!(first["log/checkpoint"], later["log/checkpoint"]);
    let same = ["plan.json", "population/", "draw/", "results/", "evaluation/", "streams/rules.jsonl"];
    for path in differing(&first, &later).0 {
        let statement = path.ends_with(".envelope") || path.ends_with("unit.json");
        assert!(!statement && !same.iter().any(|prefix| path.starts_with(prefix)), "{path} differs");
    }
}

struct Differing(Vec<String>);

impl Differing {
    fn retain_others(mut self, expected: &[&str]) -> Vec<String> {
        self.0.retain(|path| !expected.contains(&path.as_str()));
        self.0
    }
}

/// Paths that are not in both, or with other bytes.
fn differing(one: &Files, two: &Files) -> Differing {
    let paths: std::collections::BTreeSet<&String> = one.keys().chain(two.keys()).collect();
    Differing(paths.into_iter().filter(|path| one.get(*path) != two.get(*path)).cloned().collect())
}

/// One bit of each file flipped, each file removed, one added: refused by both, in memory.
fn every_change_is_refused(set: &Path, verifiers: &Verifiers) {
    let whole = files(set);
    let trust = fs::read(&verifiers.trust).expect("the trust file");
    let sound = |files: &Files| verify(files, &Vec::new(), &trust).is_sound();
    assert!(sound(&whole));
    let (mut flips, mut removals) = (BTreeMap::new(), BTreeMap::new());
    for (path, bytes) in &whole {
        let mut changed = whole.clone();
        changed.insert(path.clone(), flipped(bytes));
        flips.insert(path.clone(), sound(&changed));
        changed.remove(path);
        removals.insert(path.clone(), sound(&changed));
    }
    let mut more = whole.clone();
    more.insert("units/one-too-many.txt".to_owned(), b"text\n".to_vec());
    let first = serde_json::json!({
        "sound": true, "flipped": flips, "removed": removals, "added": sound(&more),
    });
    let second = verifiers.second("changes.py", set).json();
    for (name, answer) in [("first", &first), ("second", &second)] {
        assert_eq!(answer["sound"], true, "{name}");
        assert_eq!(answer["added"], false, "{name} verifier: a file too many");
        for change in ["flipped", "removed"] {
            let results = answer[change].as_object().expect("an object");
            assert_eq!(results.len(), whole.len(), "{name} verifier: {change}");
            let accepted: Vec<&String> = results
                .iter()
                .filter(|(_, sound)| **sound != Value::Bool(false))
                .map(|(path, _)| path)
                .collect();
            assert!(accepted.is_empty(), "{name} verifier: sound although {change}: {accepted:?}");
        }
    }
    let count = whole.len();
    figures::report(
        "changes of the exported set refused by both verifiers",
        format_args!("{count} with a bit flipped, {count} with a file removed, 1 with a file added: all"),
    );
}

/// A few of them on disk, with both verifiers as processes.
fn changes_on_disk(world: &World, set: &Path, verifiers: &Verifiers) {
    let whole = files(set);
    let write = |name: &str, files: &Files| {
        let folder = world.file(name);
        for (path, bytes) in files {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, bytes).expect("a file");
        }
        folder
    };
    assert!(verifiers.sound(&write("copy", &whole)), "a copy of the set is as good");
    let envelope = whole.keys().find(|path| path.ends_with(".envelope")).expect("an envelope").clone();
    for (number, path) in ["MANIFEST.json", "streams/audit.jsonl", &envelope].into_iter().enumerate() {
        let mut changed = whole.clone();
        changed.insert(path.to_owned(), flipped(&whole[path]));
        assert!(!verifiers.sound(&write(&format!("flipped-{number}"), &changed)), "{path} flipped");
        changed.remove(path);
        assert!(!verifiers.sound(&write(&format!("removed-{number}"), &changed)), "{path} removed");
    }
    let mut more = whole;
    more.insert("notes.txt".to_owned(), Vec::new());
    assert!(!verifiers.sound(&write("added", &more)), "a file added");
    let nowhere = world.file("nowhere");
    assert_eq!(verifiers.first(&nowhere).code, Some(2));
    assert_eq!(verifiers.second("verify.py", &nowhere).code, Some(2));
}
