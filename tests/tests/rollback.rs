//! An old copy of the data directory is restored: with a high-water mark on another file system the collector
//! refuses it, without one it does not begin, unless its operator said in the genesis that nothing notices.

#![expect(clippy::expect_used, reason = "a test stops at what it cannot do")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tests::device::Device;
use tests::kept::statements;
use tests::process::run;
use tests::programs;
use tests::world::{Settings, World};

/// A world whose mark lies on another file system, and that folder.
fn watched() -> (World, TempDir) {
    let elsewhere = tests::elsewhere::folder();
    let settings = Settings {
        high_water: Some(elsewhere.path().join("mark")),
        accept_rollback_blindness: false,
        ..Settings::default()
    };
    (World::with(programs!(), &settings), elsewhere)
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn copy(from: &Path, to: &Path) {
    run("cp", ["-a", &text(from), &text(to)]).ok();
}

/// Name and bytes of each journal segment.
fn journal(data: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let found = fs::read_dir(data.join("journal")).expect("a journal");
    let paths = found.map(|entry| entry.expect("a segment").path());
    paths.map(|path| (path.clone(), fs::read(path).expect("a segment"))).collect()
}

/// Stores statements until one of them is proved: then a checkpoint was published.
async fn publish(world: &World, device: &mut Device, count: usize) {
    let (mut submit, _) = device.greet().await;
    for _ in 0..count {
        submit.store(&device.sign_next()).await;
    }
    let newest = world.admin.connect().await.checkpoint(0).await.0;
    assert!(newest.size > 0);
}

/// A log that was copied at one statement, and has published three. Gives the copy's path.
async fn copied_and_grown(world: &World) -> PathBuf {
    let running = world.serve();
    let mut device = Device::enrol(world, &world.token()).await;
    publish(world, &mut device, 1).await;
    running.stop();
    let backup = world.file("backup");
    copy(&world.data, &backup);
    let running = world.serve();
    publish(world, &mut device, 2).await;
    running.stop();
    backup
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_older_copy_is_refused_at_start() {
    let (world, _elsewhere) = watched();
    let backup = copied_and_grown(&world).await;
    let newest = world.file("newest");
    fs::rename(&world.data, &newest).expect("the newest is put aside");
    fs::rename(&backup, &world.data).expect("the copy is restored");
    let before = journal(&world.data);
    let key = text(&world.admin.key);
    for command in
        [&["serve"][..], &["token", "create", "--key", &key, "--class", "laptop", "--group", "office"]]
    {
        let said = world.collector(command).fails(2);
        assert!(said.contains("this is an old copy of the log"), "{said}");
        assert!(said.contains("\"An old copy was restored\""), "{said}");
        assert!(!said.contains("Collector is ready"), "{said}");
    }
    assert_eq!(journal(&world.data), before, "an old copy takes nothing in");
    assert_eq!(world.collector(&["fsck"]).code, Some(1), "fsck names it too");

    fs::rename(&world.data, &backup).expect("the copy goes");
    fs::rename(&newest, &world.data).expect("the newest comes back");
    world.serve().stop();
    assert_eq!(statements(&world).len(), 3);
    assert_eq!(world.fsck()["sound"], true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_mark_is_refused_until_it_is_back() {
    let (world, elsewhere) = watched();
    copied_and_grown(&world).await;
    let (mark, aside) = (elsewhere.path().join("mark"), elsewhere.path().join("aside"));
    fs::rename(&mark, &aside).expect("the mark");
    let said = world.collector(&["serve"]).fails(2);
    assert!(said.contains("mark") && said.contains("is missing"), "{said}");
    assert!(!mark.exists(), "no mark is made up");
    fs::rename(&aside, &mark).expect("the mark");
    world.serve().stop();
}

/// What acceptance means, and that the refusals above are the mark's doing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mark_that_is_copied_with_the_log_notices_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let settings =
        Settings { high_water: Some(data.join("high-water")), data: Some(data), ..Settings::default() };
    let world = World::with(programs!(), &settings);
    let backup = copied_and_grown(&world).await;
    fs::rename(&world.data, world.file("newest")).expect("the newest is put aside");
    fs::rename(&backup, &world.data).expect("the copy is restored");
    let running = world.serve();
    let said = running.said();
    running.stop();
    assert!(said.contains("Rollback blindness is accepted"), "{said}");
    assert_eq!(statements(&world).len(), 1, "two are lost, and nobody noticed");
}

#[test]
fn serve_refuses_a_configuration_by_which_nothing_would_notice() {
    let (world, elsewhere) = watched();
    let path = world.data.join("collector.toml");
    let good = fs::read_to_string(&path).expect("the configuration");
    let line = format!("high_water = \"{}\"\n", elsewhere.path().join("mark").display());
    assert!(good.contains(&line), "{good}");
    let inside = format!("high_water = \"{}\"\n", world.data.join("mark").display());
    let beside = format!("high_water = \"{}\"\n", world.file("mark").display());
    let unmounted = format!("high_water = \"{}\"\n", elsewhere.path().join("gone").join("mark").display());
    let accepted = good.replace("blindness = false", "blindness = true");
    assert_ne!(accepted, good);
    let before = journal(&world.data);
    for (bad, why) in [
        (good.replace(&line, ""), "nothing would notice that an old copy"),
        (good.replace(&line, &inside), "lies inside"),
        (good.replace(&line, &beside), "lies on the same file system as"),
        (good.replace(&line, "high_water = \"mark\"\n"), "must be an absolute path"),
        (good.replace(&line, &unmounted), "make or mount it"),
        (accepted.clone(), "the log's first entry says that it is not accepted"),
        (accepted.replace(&line, ""), "the log's first entry says that it is not accepted"),
    ] {
        fs::write(&path, &bad).expect("the configuration");
        let said = world.collector(&["serve"]).fails(2);
        assert!(said.contains(why), "{why} is not in: {said}");
    }
    assert_eq!(journal(&world.data), before);
    fs::write(&path, good).expect("the configuration");
    world.serve().stop();
}

#[test]
fn init_wants_a_mark_on_another_file_system_or_the_acceptance() {
    let (world, elsewhere) = watched();
    let data = world.file("another");
    let outputs = [world.file("another-root.key"), world.file("another.profile")];
    let mark = elsewhere.path().join("another-mark");
    let [dir, root, profile] = [&data, &outputs[0], &outputs[1]].map(|path| text(path));
    let admin = text(&world.admin.public);
    let init = |more: &[&str]| {
        let line = [
            ["init", "--dir", &dir, "--admin", &admin, "--trust-domain", "other.example.com"],
            ["--server-name", "127.0.0.1", "--port", "0", "--root-key-out", &root, "--ballast-bytes=4096"],
        ];
        let line: Vec<&str> = line.iter().flatten().copied().chain(["--profile-out", &profile]).collect();
        run(world.programs().collector, [&line[..], more].concat())
    };
    let (inside, beside) = (text(&data.join("mark")), text(&world.file("another-mark")));
    let of_another_log = text(&elsewhere.path().join("mark"));
    for (more, why) in [
        (&[][..], &["nothing would notice", "--high-water FILE", "--accept-rollback-blindness"][..]),
        (&["--high-water", &inside], &[&inside, "lies inside"]),
        (&["--high-water", &beside], &["lies on the same file system as"]),
        (&["--high-water", &of_another_log], &["exists already"]),
    ] {
        let said = init(more).fails(2);
        for part in why {
            assert!(said.contains(part), "{part} is not in: {said}");
        }
        assert!(!data.exists() && outputs.iter().all(|path| !path.exists()), "something was made: {said}");
    }
    init(&["--high-water", &text(&mark)]).ok();
    assert!(mark.exists());
}
