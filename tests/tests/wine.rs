//! The agent as a Windows program, under Wine: what it reads of registry and WMI, that every recording of a Windows machine
//! says the same there as here, and that it enrols with a real collector and sends. docs/WINDOWS.md tells what Wine cannot
//! show.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test stops at what it cannot do, and prints what it saw"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::Value;
use tests::process::{Ran, run};
use tests::wine::Wine;
use tests::world::{Settings, World, write_secret};
use tests::{figures, programs};

const POLICIES: &str = r"HKEY_LOCAL_MACHINE\Software\Microsoft\Windows\CurrentVersion\Policies\System";
const VERSION: &str = r"HKEY_LOCAL_MACHINE\Software\Microsoft\Windows NT\CurrentVersion";
const SERVICING: &str =
    r"HKEY_LOCAL_MACHINE\Software\Microsoft\Windows\CurrentVersion\Component Based Servicing";
/// The package that made the build which the test sets, with the number of its key.
const ROLLUP: &str = "Package_for_RollupFix~31bf3856ad364e35~amd64~~26100.7171.1.17";
/// The one user of a new Windows of Wine.
const DESKTOP: &str = r"HKEY_CURRENT_USER\Control Panel\Desktop";

/// One Windows for all of it: making one takes longer than any of the steps.
#[test]
fn the_agent_under_wine() {
    let begun = Instant::now();
    let wine = Wine::new(Path::new(env!("CARGO_TARGET_TMPDIR")));
    let (built, begun) = (begun.elapsed(), Instant::now());
    a_new_windows(&wine);
    screen_lock(&wine);
    os_patch(&wine);
    a_recording_made_there(&wine);
    recordings(&wine);
    with_a_collector(&wine);
    figures::report("agent for Windows: seconds to build it and make a Windows", built.as_secs());
    figures::report("agent for Windows: seconds of tests under Wine", begun.elapsed().as_secs());
}

#[track_caller]
fn look(wine: &Wine) -> Value {
    wine.agent(&["probe", "--json"]).json()
}

/// The observation of a control.
#[track_caller]
fn of<'a>(look: &'a Value, control: &str) -> &'a Value {
    let all = look["observations"].as_array().expect("observations");
    all.iter().find(|seen| seen["control"] == control).expect("the control was looked at")
}

#[track_caller]
fn unavailable(look: &Value, control: &str) -> (String, String) {
    let seen = of(look, control);
    assert_eq!(seen["outcome"], "unavailable", "{seen}");
    let text = |name: &str| seen["unavailable"][name].as_str().expect("text").to_owned();
    (text("reason"), text("question"))
}

/// Wine has neither BitLocker nor the names a Windows gives itself: nothing of it may be taken for an answer.
fn a_new_windows(wine: &Wine) {
    let seen = look(wine);
    println!("a new Windows of Wine: {seen}");
    let (reason, question) = unavailable(&seen, "disk-encryption");
    assert_eq!(reason, "tool-missing");
    assert!(question.contains("Win32_EncryptableVolume"), "{question}");
    let (reason, question) = unavailable(&seen, "os-patch");
    assert_eq!(reason, "unparsed-output", "there is no UBR");
    assert!(question.contains(r"Windows NT\CurrentVersion: CurrentBuild"), "{question}");
    assert_ne!(of(&seen, "edr")["outcome"], "not_applicable");
    assert!(seen["asset"].get("battery").is_none(), "no row is no answer: {}", seen["asset"]);
    // Somebody is logged on, and nothing says that his screen locks or that it does not.
    let user = &of(&seen, "screen-lock")["facts"]["users"][0];
    assert_ne!(user["enabled"], "yes", "{user}");
}

/// The one user of the screen lock.
#[track_caller]
fn lock(wine: &Wine, registry: &str) -> Value {
    wine.registry(registry);
    let seen = look(wine);
    let users = of(&seen, "screen-lock")["facts"]["users"].as_array().expect("users");
    assert_eq!(users.len(), 1, "{seen}");
    println!("{registry}\n  {}", users[0]);
    users[0].clone()
}

fn screen_lock(wine: &Wine) {
    let user = lock(wine, &limit("dword:00000384"));
    assert_eq!((&user["enabled"], &user["idle_seconds"], &user["enforced"]), is("yes", 900, "yes"));
    assert_eq!(user["delay_seconds"], 0);

    // The user's own screen saver comes first where it is sooner.
    let saver = |active: u8, secure: u8| {
        format!(
            "[{DESKTOP}]\n\"ScreenSaveActive\"=\"{active}\"\n\"ScreenSaverIsSecure\"=\"{secure}\"\n\
             \"ScreenSaveTimeOut\"=\"300\"\n\"SCRNSAVE.EXE\"=\"C:\\\\windows\\\\system32\\\\scrnsave.scr\""
        )
    };
    let user = lock(wine, &saver(1, 1));
    assert_eq!((&user["enabled"], &user["idle_seconds"], &user["enforced"]), is("yes", 300, "no"));
    assert_eq!(user["delay_seconds"], 5, "the default of the grace period");

    // Two hours are seen as two hours: whether that is too long is for a rule.
    let user = lock(wine, &format!("{}\n{}", limit("dword:00001c20"), saver(1, 0)));
    assert_eq!((&user["enabled"], &user["idle_seconds"], &user["enforced"]), is("yes", 7200, "yes"));

    // Without a limit a screen saver that asks for no password is not called a lock.
    let user = lock(wine, &limit("-"));
    assert_ne!(user["enabled"], "yes", "{user}");

    // A number kept as text is no number, and no sign that there is no limit either.
    wine.registry(&limit("\"900\""));
    let (reason, question) = unavailable(&look(wine), "screen-lock");
    assert_eq!(reason, "unparsed-output");
    assert!(question.ends_with("InactivityTimeoutSecs"), "{question}");

    // Bytes are of no kind that is read: the answer fails as a whole.
    wine.registry(&limit("hex:84,03,00,00"));
    assert_eq!(unavailable(&look(wine), "screen-lock").0, "io-error");
}

fn limit(value: &str) -> String {
    format!("[{POLICIES}]\n\"InactivityTimeoutSecs\"={value}")
}

/// What a lock is compared with.
fn is(enabled: &str, seconds: u64, enforced: &str) -> (&'static Value, &'static Value, &'static Value) {
    let value = |value: Value| &*Box::leak(Box::new(value));
    (value(enabled.into()), value(seconds.into()), value(enforced.into()))
}

fn os_patch(wine: &Wine) {
    let version = format!(
        "[{VERSION}]\n\"CurrentBuild\"=\"26100\"\n\"DisplayVersion\"=\"24H2\"\n\"EditionID\"=\"Enterprise\"\n\
         \"InstallationType\"=\"Client\"\n\"UBR\"=dword:00001c03"
    );
    let package = |state: &str| {
        format!(
            "[{SERVICING}\\Packages\\{ROLLUP}]\n\"CurrentState\"=dword:{state}\n\
             \"InstallTimeHigh\"=dword:01dd7a14\n\"InstallTimeLow\"=dword:6ac1e000"
        )
    };
    wine.registry(&format!("{version}\n\n{}\n\n[{SERVICING}\\RebootPending]", package("00000070")));
    let seen = look(wine);
    let facts = &of(&seen, "os-patch")["facts"];
    println!("a Windows 11 by its registry: {facts}");
    assert_eq!(facts["os"], "windows");
    assert_eq!(facts["kernel"], "10.0.26100.7171");
    assert_eq!(facts["version"], "24H2 Enterprise");
    assert_eq!(facts["reboot_required"], "yes");
    assert_eq!(facts["installed_minutes"], 29_921_760, "{facts}");
    // Windows Update was not asked, and nothing is said of it.
    for unknown in ["pending_security", "pending_other", "lists_minutes"] {
        assert!(facts.get(unknown).is_none(), "{facts}");
    }

    // Uninstalled, and restarted.
    wine.registry(&format!("{}\n\n[-{SERVICING}\\RebootPending]", package("00000000")));
    let seen = look(wine);
    let facts = &of(&seen, "os-patch")["facts"];
    assert!(facts.get("installed_minutes").is_none(), "{facts}");
    assert_ne!(facts["reboot_required"], "yes", "{facts}");
}

/// A recording of that Windows, replayed on this system: the same facts and the same digest of all answers.
fn a_recording_made_there(wine: &Wine) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("wine.toml");
    let made = wine.agent(&["record", "--json", "--out", &Wine::path(&file)]).json();
    let replayed = run(programs!().agent, ["replay", "--json", &file.display().to_string()]).json();
    let seen = |look: &Value| look["observations"].as_array().cloned().expect("observations");
    for (made, replayed) in seen(&made).iter().zip(&seen(&replayed)) {
        // A recording leaves out what names people or the machine.
        if ["device-identity", "local-administrators"].iter().any(|control| made["control"] == *control) {
            assert_eq!(replayed["outcome"], "unavailable", "{replayed}");
        } else {
            assert_eq!(made, replayed);
        }
    }
    assert_eq!(made["asset"], replayed["asset"]);
}

/// Every recording of a Windows machine, replayed by the Windows program and by this system's.
fn recordings(wine: &Wine) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../probes/recordings");
    let folder = folder.canonicalize().expect("the recordings");
    let of_windows = |path: &PathBuf| {
        fs::read_to_string(path).expect("a recording").lines().any(|line| line == "platform = \"windows\"")
    };
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .expect("the recordings")
        .map(|entry| entry.expect("a recording").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .filter(of_windows)
        .collect();
    files.sort();
    assert!(files.len() >= 36, "{} recordings", files.len());
    let program = wine.agent_path();
    let lines: Vec<String> =
        files.iter().map(|file| format!("\"{program}\" replay --json \"{}\"", Wine::path(file))).collect();
    let there = wine.batch(&lines).ok();
    let there: Vec<&str> = there.lines().map(str::trim_end).collect();
    assert_eq!(there.len(), files.len(), "{there:#?}");
    for (file, there) in files.iter().zip(there) {
        let here = run(programs!().agent, ["replay", "--json", &file.display().to_string()]).ok();
        assert_eq!(there, here.trim_end(), "{}", file.display());
    }
    println!("{} recordings replayed by the Windows program", files.len());
}

/// Enrols with a collector on this system, sends, and is judged by what the registry says.
fn with_a_collector(wine: &Wine) {
    let world = World::with(programs!(), &Settings { any_ports: true, ..Settings::default() });
    world.admit_people();
    let _running = world.serve();
    let policy = format!("{}/../docs/policies/baseline.toml", env!("CARGO_MANIFEST_DIR"));
    world.cli(&world.analyst, &["policy", "put", &policy]).ok();

    let state = Wine::path(&world.file("windows-state"));
    let agent = |arguments: &[&str]| wine.agent(&[&["--state", &state], arguments].concat());
    let token = world.file("windows.token");
    write_secret(&token, world.token().text().as_bytes());
    let (enrol, agents, token) = (world.enrol.to_string(), world.agents.to_string(), Wine::path(&token));
    let enroll =
        ["enroll", "--json", "--server", &enrol, "--agents", &agents, "--token-file", token.as_str()];
    let enrolled = agent(&enroll).json();
    println!("enroll: {enrolled}");
    let device = enrolled["device"].as_str().expect("a device").to_owned();
    // A second time changes nothing.
    assert_eq!(agent(&enroll).json()["instance"], enrolled["instance"]);

    wine.registry(&limit("dword:00000384"));
    let once = agent(&["once", "--until-proved", "--json"]).json();
    println!("once: {once}");
    assert_eq!(once["result"], "proved", "{once}");
    assert_eq!(state_of(&world, &device, "screen-lock"), "PASS");
    // Wine has no BitLocker: not looked at is not encrypted, and not plain either.
    assert_eq!(state_of(&world, &device, "disk-encryption"), "INDETERMINATE");

    wine.registry(&limit("dword:00001c20"));
    let once = agent(&["once", "--until-proved", "--json"]).json();
    assert_eq!(once["result"], "proved", "{once}");
    assert_eq!(state_of(&world, &device, "screen-lock"), "DEVIATION");

    let sent = agent(&["sent", "--json"]).ok();
    assert_eq!(sent.lines().count(), 2, "{sent}");
    let status = agent(&["status", "--json"]);
    let status: Value = serde_json::from_str(status.out.trim()).expect("JSON");
    println!("status: {status}");
    assert_eq!(status["device"], device.as_str());
    assert_eq!((&status["waiting"], &status["stored"]), (&0.into(), &0.into()), "{status}");
    service(wine, &world, &state, &device);
}

/// The state of a control of a device, as an analyst reads it.
#[track_caller]
fn state_of(world: &World, device: &str, control: &str) -> String {
    let Ran { out, .. } = world.cli(&world.analyst, &["posture", "--json"]);
    let posture: Value = serde_json::from_str(out.trim()).expect("JSON");
    let rows = posture["rows"].as_array().expect("rows");
    let row = rows.iter().find(|row| row["device"] == device && row["control"] == control);
    row.unwrap_or_else(|| panic!("no {control}: {posture}"))["state"].as_str().expect("a state").to_owned()
}

/// Added, started, seen running, stopped and removed by the service manager; it says what it did, and its lock is free.
fn service(wine: &Wine, world: &World, state: &str, device: &str) {
    let program = wine.agent_path();
    wine.agent(&["--state", state, "service", "install"]).ok();
    // One batch: without a program in front Wine ends services by itself.
    let said = wine.batch(&[
        "sc start tallystick-agent".to_owned(),
        "ping -n 6 127.0.0.1 >NUL".to_owned(),
        "sc query tallystick-agent".to_owned(),
        format!("\"{program}\" --state \"{state}\" status --json"),
        "sc stop tallystick-agent".to_owned(),
        "ping -n 4 127.0.0.1 >NUL".to_owned(),
        "sc query tallystick-agent".to_owned(),
        format!("\"{program}\" service uninstall"),
    ]);
    let log = fs::read_to_string(world.file("windows-state").join("service.log")).unwrap_or_default();
    println!("{}\n{log}", said.out);
    let at = |what: &str| said.out.find(what).unwrap_or_else(|| panic!("no {what}: {}\n{log}", said.out));
    assert!(at("RUNNING") < at("\"running\":1") && at("\"running\":1") < at("STOPPED"), "{}", said.out);
    assert!(said.out.contains("service tallystick-agent removed"), "{}", said.out);
    assert!(log.contains("Running.") && log.contains("Stopping."), "{log}");
    assert!(!log.contains("ERROR"), "{log}");
    let after = wine.agent(&["--state", state, "status", "--json"]);
    let after: Value = serde_json::from_str(after.out.trim()).expect("JSON");
    assert_eq!((&after["running"], &after["device"]), (&0.into(), &device.into()), "{after}");
}
