//! Clocks that are a year wrong, on a device and on the collector: nobody is let in wrongly, nothing is lost, and what was
//! said goes on where it was once the clock is right. The programs are the real ones, under libfaketime.

#![expect(clippy::expect_used, reason = "a test stops at what it cannot do")]

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use tests::figures::report;
use tests::kept::statements;
use tests::process::{Ran, Running, run_command};
use tests::programs;
use tests::world::World;

/// The library that lies about the wall clock, for programs with threads.
fn library() -> PathBuf {
    let folders = fs::read_dir("/usr/lib").expect("/usr/lib").map(|entry| entry.expect("an entry").path());
    let found = folders.map(|folder| folder.join("faketime/libfaketimeMT.so.1")).find(|file| file.exists());
    found.expect("libfaketime is installed (Debian package libfaketime)")
}

/// A program whose wall clock is off by `days`; its timers run as ever.
fn off_by(days: i32, program: &str) -> Command {
    let mut command = Command::new(program);
    command.env("LD_PRELOAD", library()).env("FAKETIME", format!("{days:+}d"));
    // Both spellings: the library has had one and the other.
    command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("DONT_FAKE_MONOTONIC", "1");
    command
}

/// Runs the agent with a clock that is off.
fn agent(world: &World, days: i32, arguments: &[&str]) -> Ran {
    let mut command = off_by(days, world.programs().agent);
    command.arg("--state").arg(world.file("agent")).args(arguments);
    run_command(command)
}

#[test]
fn a_device_whose_clock_is_a_year_off_is_told_so_and_loses_nothing() {
    for days in [365, -365] {
        let world = World::new(programs!());
        let running = world.serve();
        world.enrol_agent("agent", &world.token());
        let once = agent(&world, days, &["once", "--timeout-seconds", "20"]);
        assert_ne!(once.code, Some(0), "{days}: {once:?}");
        let said = format!("{}{}", once.out, once.err).to_lowercase();
        assert!(
            said.contains("expired") || said.contains("not valid yet") || said.contains("clock"),
            "{days}: {said}"
        );
        // The clock is put right: what was said meanwhile arrives, before what is said now.
        let once = world.agent("agent", &["once", "--json", "--until-proved"]).json();
        assert_eq!(
            (&once["sequence"], &once["result"]),
            (&serde_json::json!([1]), &"proved".into()),
            "{days}: {once}"
        );
        running.stop();
        assert_eq!(statements(&world).len(), 2, "{days}");
        assert_eq!(world.fsck()["sound"], true);
        report("statements lost by a device whose clock was off by days", format_args!("0 ({days:+})"));
    }
}

#[test]
fn a_collector_whose_clock_is_a_year_off_serves_nobody_and_loses_nothing() {
    for days in [365, -365] {
        let world = World::new(programs!());
        let running = world.serve();
        world.enrol_agent("agent", &world.token());
        world.agent("agent", &["once", "--until-proved"]).ok();
        running.stop();
        let mut command = off_by(days, world.programs().collector);
        command.args(["serve", "--dir"]).arg(&world.data);
        let mut running = Running::start(command, &world.log());
        world.wait_ready(&mut running);
        // Its certificate is of another year: the device does not speak to it.
        let once = world.agent("agent", &["once", "--timeout-seconds", "20"]);
        assert_ne!(once.code, Some(0), "{days}: {once:?}");
        running.stop();
        let running = world.serve();
        let once = world.agent("agent", &["once", "--json", "--until-proved"]).json();
        assert_eq!(
            (&once["sequence"], &once["result"]),
            (&serde_json::json!([2]), &"proved".into()),
            "{days}: {once}"
        );
        running.stop();
        assert_eq!(statements(&world).len(), 3, "{days}");
        assert_eq!(world.fsck()["sound"], true);
        report("statements lost by a collector whose clock was off by days", format_args!("0 ({days:+})"));
    }
}
