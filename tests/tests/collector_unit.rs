//! The collector's systemd unit is tight, and takes nothing from the collector that it needs: a real server that enrols a device,
//! takes in, proves and signs makes no call that the unit's filters refuse, and writes where the unit lets it.
//!
//! Takes `strace` and `systemd-analyze`.

use std::fs;
use std::path::Path;
use std::process::Command;

use tests::process::{Running, run, wait_for};
use tests::programs;
use tests::unit::{Filters, unit, values, words};
use tests::world::World;

/// Most exposure that `systemd-analyze security` may give the unit, in tenths: what is left is the network itself.
const EXPOSURE_MAX: &str = "15";

fn collector_unit() -> String {
    unit("tallystick-collector.service")
}

#[test]
fn the_unit_is_tight() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/systemd/tallystick-collector.service");
    let path = path.display().to_string();
    let line = |most: &str| {
        let threshold = format!("--threshold={most}");
        run("systemd-analyze", ["security", "--no-pager", "--offline=true", &threshold, &path])
    };
    let told = line(EXPOSURE_MAX).ok();
    println!("{}", told.lines().last().unwrap_or_default());
    // The comparison can fail.
    assert_eq!(line("1").code, Some(1), "{}", line("1").out);
    let unit = collector_unit();
    assert_eq!(words(&unit, "User"), ["tallystick"]);
    assert_eq!(values(&unit, "CapabilityBoundingSet"), [""]);
}

#[test]
fn nothing_that_a_server_does_is_refused_by_the_units_filters() {
    let unit = collector_unit();
    let filters = Filters::of(&unit);
    let world = World::new(programs!());
    let log = world.file("calls");
    let mut traced = Command::new("strace");
    traced.args(["-f", "-qq", "-y", "-o"]).arg(&log).args([
        "--",
        world.programs().collector,
        "serve",
        "--dir",
    ]);
    traced.arg(&world.data);
    let mut running = Running::start(traced, &world.log());
    world.wait_ready(&mut running);
    world.enrol_agent("laptop", &world.token());
    world.agent("laptop", &["once", "--until-proved"]).ok();
    // strace hands SIGTERM to nobody: its one child is the server.
    let server = run("pgrep", ["-P", &running.id().to_string()]).ok();
    run("kill", ["-TERM", server.trim()]).ok();
    wait_for("the server to stop", || running.ended());
    let text = String::from_utf8_lossy(&fs::read(&log).expect("the calls")).into_owned();
    let held = filters.hold(&text);
    let used = &held.used;
    assert!(
        used.contains_key("fdatasync") && used.contains_key("accept4"),
        "strace shows what it must: {used:?}"
    );
    println!("{} calls of {} kinds, all allowed by the unit", used.values().sum::<u64>(), used.len());
    assert!(held.refused.is_empty(), "the unit would refuse:\n{}", held.refused.join("\n"));

    // ProtectSystem=strict: nothing outside of what StateDirectory and ReadWritePaths give.
    assert_eq!(
        (words(&unit, "ProtectSystem"), words(&unit, "PrivateDevices")),
        (vec!["strict".into()], vec!["yes".into()])
    );
    // The data directory is below StateDirectory, the high-water mark below ReadWritePaths.
    let own = [world.data.display().to_string(), world.file("high-water").display().to_string()];
    let is_own = |line: &str| own.iter().any(|path| line.contains(path));
    let written: Vec<&str> = text
        .lines()
        .filter(|line| line.contains(" openat(") || line.contains(" mkdir(") || line.contains(" rename("))
        .filter(|line| !line.contains(" openat(") || line.contains("O_WRONLY") || line.contains("O_RDWR"))
        .collect();
    let (inside, outside): (Vec<&str>, Vec<&str>) = written.iter().partition(|line| is_own(line));
    assert!(inside.len() > 3, "strace shows what it must: {inside:#?}");
    assert!(outside.is_empty(), "the unit would refuse:\n{outside:#?}");
}
