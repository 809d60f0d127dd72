//! A full disk: nothing that was acknowledged is lost, the agent keeps everything, and ingest goes on once
//! there is room.
//!
//! The data directory lies on a small file system of its own. Where this user may not mount one, the
//! collector's own limit on free space stands in for the first half, and the second, a disk with no byte
//! left, is printed as not run.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test stops at what it cannot do, and prints what it counted"
)]

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use proto::to_agent::Item as In;
use serde_json::Value;
use tests::device::Device;
use tests::kept::statements;
use tests::load::Load;
use tests::process::{PATIENCE, run, wait_for};
use tests::world::{Settings, World};
use tests::{figures, kept, programs};

/// Size of the file system.
const DISK_BYTES: u64 = 64 << 20;
/// Free space below which nothing is taken in, bytes.
const FREE_BYTES_MIN: u64 = 12 << 20;
/// Ballast, bytes.
const BALLAST_BYTES: u64 = 8 << 20;
/// More than any disk has.
const NEVER_ENOUGH: u64 = 1 << 60;
/// Statements before the disk is full.
const BEFORE: usize = 200;

/// A small file system, unmounted when dropped.
struct Disk {
    at: PathBuf,
}

impl Disk {
    /// Mounts one; why not, if this user may not.
    fn mount(at: &Path) -> Result<Self, String> {
        fs::create_dir_all(at).expect("a folder");
        let at_text = at.display().to_string();
        let size = format!("size={DISK_BYTES},mode=700");
        let mounted = run("mount", ["-t", "tmpfs", "-o", &size, "tallystick-test", &at_text]);
        if mounted.code == Some(0) { Ok(Self { at: at.to_owned() }) } else { Err(mounted.err) }
    }

    fn filler(&self) -> PathBuf {
        self.at.join("filler")
    }

    /// Writes until only so many bytes are free.
    fn fill(&self, leave: u64) {
        let mut file = fs::File::options().create(true).append(true).open(self.filler()).expect("a file");
        let block = vec![1_u8; 64 << 10];
        while free(&self.at) > leave {
            let bytes = usize::try_from(free(&self.at) - leave).unwrap_or(block.len()).min(block.len());
            if file.write_all(block.get(..bytes).unwrap_or(&block)).is_err() {
                return;
            }
        }
    }

    fn empty(&self) {
        fs::remove_file(self.filler()).expect("the filler");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a server that is being killed may still hold files there.
        drop(Command::new("umount").arg("-l").arg(&self.at).status());
    }
}

fn free(path: &Path) -> u64 {
    let found = rustix::fs::statvfs(path).expect("the file system");
    found.f_bavail * found.f_frsize
}

fn status(world: &World) -> Value {
    let status = world.agent("agent", &["status", "--json"]);
    assert!(matches!(status.code, Some(0 | 1)), "{status:?}");
    serde_json::from_str(status.out.trim()).expect("JSON")
}

/// A device that submits while there is no room: told to wait and to send again from there, as often as it
/// tries.
async fn no_room(world: &World, device: &mut Device) {
    let (mut submit, welcome) = device.greet().await;
    let waiting = evidence::envelope::Envelope::sign(&device.next(), &device.key);
    for _ in 0..3 {
        submit.envelope(waiting.bytes()).await;
        match (submit.answer().await.expect("an answer"), submit.answer().await.expect("an answer")) {
            (In::SlowDown(slow), In::Expect(expect)) => {
                assert!(slow.ms >= 1_000, "{slow:?}");
                assert_eq!(expect.sequence, welcome.next_sequence);
            }
            other => panic!("{other:?}"),
        }
    }
    let once = world.agent("agent", &["once", "--json", "--timeout-seconds", "2"]);
    assert_eq!(once.code, Some(1), "{once:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_the_disk_is_full() {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = Disk::mount(&folder.path().join("disk"));
    let mut settings = Settings {
        segment_bytes: 1 << 20,
        free_bytes_min: FREE_BYTES_MIN,
        ballast_bytes: BALLAST_BYTES,
        ..Settings::default()
    };
    if let Ok(disk) = &disk {
        settings.data = Some(disk.at.join("data"));
    }
    let world = World::with(programs!(), &settings);
    let mut running = world.serve();
    let mut device = Device::enrol(&world, &world.token()).await;
    let spare = Device::enrol(&world, &world.token()).await;
    world.enrol_agent("agent", &world.token());
    let load = Load::start(vec![Device::enrol(&world, &world.token()).await]);
    load.up();
    load.reaches(BEFORE).await;
    load.down();
    let mut record = load.end().await;
    let (mut submit, _) = device.greet().await;
    submit.store(&device.sign_next()).await;
    let before = record.acknowledged.len() + 1;

    match &disk {
        Ok(disk) => {
            // Somebody in need of room deletes the ballast of a running server. At no moment of this is there
            // enough to make it anew.
            disk.fill(FREE_BYTES_MIN - (1 << 20));
            fs::remove_file(world.data.join("ballast")).expect("the ballast");
            disk.fill(FREE_BYTES_MIN - (1 << 20));
        }
        Err(why) => {
            println!("no file system of its own ({}); the limit on free space stands in", why.trim());
            running.stop();
            world.set("free_bytes_min", NEVER_ENOUGH);
            running = world.serve();
        }
    }
    no_room(&world, &mut device).await;
    no_room(&world, &mut device).await;
    // Six of the device's and the agent's own were refused: one line tells it, or a second after a minute.
    let lines = running.said().matches("could not be stored now").count();
    assert!((1..=2).contains(&lines), "{lines} lines:\n{}", running.said());
    let kept_by_agent = status(&world);
    assert_eq!(kept_by_agent["waiting"], 2, "{kept_by_agent}");
    // Reading goes on.
    let (checkpoint, _) = world.admin.connect().await.checkpoint(0).await;
    assert!(checkpoint.size >= before as u64);
    assert_eq!(statements(&world).len(), before, "nothing was taken in");

    if let Ok(disk) = &disk {
        assert!(!world.data.join("ballast").exists(), "the ballast took the room that was made");
        disk.empty();
        whole_ballast(&world);
    } else {
        running.stop();
        world.set("free_bytes_min", settings.free_bytes_min);
        running = world.serve();
    }
    let once = world.agent("agent", &["once", "--json", "--until-proved"]).json();
    assert_eq!(once["result"], "proved", "{once}");
    let (mut submit, _) = device.greet().await;
    submit.store(&device.sign_next()).await;
    assert_eq!(status(&world)["waiting"], 0);
    let after = statements(&world).len();
    assert_eq!(after, before + 3 + 1, "the agent's two that waited and its third, and the device's");
    figures::report(
        "statements on a full disk",
        format_args!(
            "{before} acknowledged before and found after, 3 tried and kept by their devices, then stored"
        ),
    );

    if let Ok(disk) = &disk {
        drop(submit);
        record.checkpoints.insert(checkpoint.size, checkpoint);
        running.stop();
        world.set("free_bytes_min", 0);
        // Once the journal meets the end of the disk first, once the index.
        for (leave, device) in [(2 << 20, device), (0, spare)] {
            no_byte_left(&world, disk, leave, device, &mut record).await;
        }
    } else {
        println!("a disk with no byte left: not run");
        running.stop();
    }
    assert_eq!(world.fsck()["sound"], true);
    kept::count(&world, &record).assert_kept();
}

/// Waits until the server has made the ballast anew.
fn whole_ballast(world: &World) {
    let path = world.data.join("ballast");
    wait_for("the ballast", || {
        fs::metadata(&path).is_ok_and(|found| found.len() == BALLAST_BYTES).then_some(())
    });
}

/// Without the limit the disk fills to its last byte under load: the collector may refuse or end, and after
/// there is room again everything acknowledged is there.
async fn no_byte_left(
    world: &World,
    disk: &Disk,
    leave: u64,
    device: Device,
    record: &mut tests::load::Record,
) {
    let mut running = world.serve();
    let load = Load::start(vec![device]);
    disk.fill(leave);
    load.up();
    // Until there is no byte left: either it has ended, or it takes nothing more in.
    let mut last = (load.acknowledged(), 0);
    let ended = wait_for("the disk to be full", || {
        let ended = running.ended();
        let now = load.acknowledged();
        last = if now == last.0 { (now, last.1 + 1) } else { (now, 0) };
        (ended.is_some() || last.1 > 300).then_some(ended)
    });
    load.down();
    println!("with no byte left: {} more acknowledged, the collector's end: {ended:?}", load.acknowledged());
    if ended.is_none() {
        running.kill();
    }
    // A start on the full disk says what to do; doing it is enough.
    let mut again = world.spawn(&[]);
    if !world.wait_ready_or_ended(&mut again, Instant::now() + PATIENCE) {
        assert_eq!(again.ended().and_then(|status| status.code()), Some(2), "{}", again.said());
        let said = again.said();
        let last = said.lines().last().unwrap_or_default();
        assert!(
            last.contains("delete the file `ballast`") && last.matches("No space left").count() == 1,
            "{last}"
        );
        println!("started on the full disk: {last}");
        fs::remove_file(world.data.join("ballast")).expect("the ballast");
        again = world.serve();
    }
    again.stop();
    disk.empty();
    let running = world.serve();
    whole_ballast(world);
    load.up();
    load.reaches(load.acknowledged() + 50).await;
    let full = load.end().await;
    assert_eq!(full.wrong, Vec::<String>::new());
    running.stop();
    record.acknowledged.extend(full.acknowledged);
    record.checkpoints.extend(full.checkpoints);
}
