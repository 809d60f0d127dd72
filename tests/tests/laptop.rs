//! The real agent, as a process, on a disk that is full and on one that is mounted read-only, under a service manager's socket:
//! it lives on, says so, goes on when it can, and a gap statement names what was not made.
//!
//! Takes root: it mounts a small file system.

#![expect(clippy::expect_used, reason = "a test stops at what it cannot do")]

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use evidence::statement::{Body, Gap, Statement};
use tests::figures;
use tests::flag::Flag;
use tests::kept;
use tests::process::{Running, run, wait_for};
use tests::programs;
use tests::world::World;

/// The disk is tried once a minute; the rest is a look on a busy machine.
const PATIENCE: Duration = Duration::from_mins(4);

#[track_caller]
fn wait<T>(what: &str, agent: &mut Running, mut condition: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(agent.ended().is_none(), "the agent ended while it waited for {what}:\n{}", agent.said());
        assert!(Instant::now() < until, "waited {PATIENCE:?} for {what}:\n{}", agent.said());
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn statements(world: &World) -> Vec<Statement> {
    kept::envelopes(world).iter().map(|envelope| envelope.claimed().expect("a statement")).collect()
}

/// A small file system, unmounted when dropped.
struct Disk(PathBuf);

impl Disk {
    fn mount(at: &Path) -> Self {
        fs::create_dir_all(at).expect("a folder");
        let line = ["-t", "tmpfs", "-o", "size=8m,mode=755", "tallystick-test", &at.display().to_string()];
        assert_eq!(run("mount", line).code, Some(0), "this test mounts a file system, which takes root");
        Self(at.to_owned())
    }

    fn remount(&self, how: &str) {
        run("mount", ["-o", &format!("remount,{how}"), &self.0.display().to_string()]).ok();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

/// What the service manager was told so far. A thread reads, as a manager does: the kernel keeps ten messages and no more.
struct Manager(Arc<Mutex<Vec<String>>>);

impl Manager {
    fn listen(at: &Path) -> Self {
        let socket = UnixDatagram::bind(at).expect("a socket");
        let told = Arc::<Mutex<Vec<String>>>::default();
        let kept = Arc::clone(&told);
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(length) = socket.recv(&mut bytes) {
                let text = String::from_utf8_lossy(bytes.get(..length).unwrap_or_default()).into_owned();
                kept.lock().expect("the list").push(text);
            }
        });
        Self(told)
    }

    fn told(&self) -> Vec<String> {
        self.0.lock().expect("the list").clone()
    }

    fn count(&self, what: &str) -> usize {
        self.told().iter().filter(|told| told.contains(what)).count()
    }
}

#[test]
fn a_full_and_a_read_only_disk_cost_a_gap_and_no_more() {
    let world = World::new(programs!());
    let _server = world.serve();
    let disk = Disk::mount(&world.file("disk"));
    world.enrol_agent("disk/agent", &world.token());
    let path = world.file("notify");
    let manager = Manager::listen(&path);
    let flag = Flag::default();
    let mut command = Command::new(programs!().agent);
    command.arg("--state").arg(world.file("disk/agent")).arg("run");
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "8000000");
    let mut agent = Running::start(command, &world.file("agent.log"));
    wait("the agent to be ready", &mut agent, || (manager.count("READY=1") == 1).then_some(()));
    wait("the first statement", &mut agent, || (statements(&world).len() == 1).then_some(()));
    wait("three turns of its loop", &mut agent, || (manager.count("WATCHDOG=1") >= 3).then_some(()));
    let status = |code: i32| {
        let ran = world.agent("disk/agent", &["status", "--json"]);
        assert_eq!(ran.code, Some(code), "{}\n{}", ran.out, ran.err);
    };
    status(0);

    let mut made = 1;
    for (what, reason) in [("full", proto::GapReason::DiskFull), ("read-only", proto::GapReason::ReadOnly)] {
        let filler = disk.0.join("filler");
        if what == "full" {
            drop(run("dd", ["if=/dev/zero", &format!("of={}", filler.display()), "bs=4k"]));
        } else {
            disk.remount("ro");
        }
        let refused = agent.said().matches("No attestation was made.").count();
        let said_before = manager.count("the disk takes nothing");
        flag.change();
        wait("the refusal to be logged", &mut agent, || {
            (agent_log(&world).matches("No attestation was made.").count() > refused).then_some(())
        });
        wait("the manager to be told", &mut agent, || {
            (manager.count("the disk takes nothing") > said_before).then_some(())
        });
        // It lives: its loop comes round, and whoever asks is answered.
        let turns = manager.count("WATCHDOG=1");
        wait("two more turns", &mut agent, || (manager.count("WATCHDOG=1") >= turns + 2).then_some(()));
        status(0);
        assert_eq!(statements(&world).len(), made, "nothing was made meanwhile");
        let begun = Instant::now();
        if what == "full" {
            fs::remove_file(&filler).expect("the filler");
        } else {
            disk.remount("rw");
        }
        // The gap, and the change itself.
        wait("the gap and the drift statement", &mut agent, || {
            (statements(&world).len() == made + 2).then_some(())
        });
        figures::report(
            &format!("agent on a {what} disk: from room to the statement in the collector, s"),
            begun.elapsed().as_secs(),
        );
        let all = statements(&world);
        let gap = all.get(made).map(|statement| statement.body.clone());
        assert!(
            matches!(&gap, Some(Body::Gap(Gap::NotMade { count: 1, reason: found, .. })) if *found == reason),
            "{what}: {gap:?}"
        );
        let drift = all
            .get(made + 1)
            .and_then(Statement::attestation)
            .map(|attestation| attestation.fields.trigger());
        assert_eq!(drift, Some(proto::Trigger::Drift), "{what}");
        made += 2;
    }
    let sequences: Vec<u64> = statements(&world).iter().map(|statement| statement.sequence).collect();
    assert_eq!(sequences, [0, 1, 2, 3, 4], "one chain");
    agent.stop();
    wait_for("the end to be told", || (manager.count("STOPPING=1") == 1).then_some(()));
}

fn agent_log(world: &World) -> String {
    String::from_utf8_lossy(&fs::read(world.file("agent.log")).unwrap_or_default()).into_owned()
}
