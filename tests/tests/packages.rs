//! The packages, made by `deploy/package` of the programs under test, and what a machine goes through with them: installed with
//! nobody at the keyboard, enrolled with a real collector, upgraded, removed, purged.
//!
//! In a copy of this machine's root, so that it stays as it is. Without systemd: what the units run is read from the installed
//! units and run. Takes root, Debian, and the tools that `./check` installs (`deploy/package --tools`, rpm).

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test stops at what it cannot do"
)]

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Instant;

use tempfile::TempDir;
use tests::copied_root::CopiedRoot;
use tests::figures::report;
use tests::process::{Ran, Running, run, run_command, wait_for};
use tests::programs;
use tests::unit::values;
use tests::world::free_ports;

const STATE: &str = "/var/lib/tallystick-agent";
const DATA: &str = "/var/lib/tallystick-collector/data";
const SETTINGS: &str = "/etc/tallystick/agent.toml";
/// The most that a copy of the root may hold: four programs with their packages, and a log.
const COPY_MEGABYTES: u32 = 1024;

/// Both revisions of all packages, made once.
struct Packages {
    folder: TempDir,
}

impl Packages {
    fn made() -> &'static Self {
        static MADE: OnceLock<Packages> = OnceLock::new();
        MADE.get_or_init(|| {
            let begun = Instant::now();
            let folder = tempfile::tempdir().expect("a folder");
            let target =
                Path::new(programs!().agent).parent().and_then(Path::parent).expect("the target folder");
            for (program, profile, name) in [
                (programs!().agent, "release-agent", "tallystick-agent"),
                (programs!().collector, "release", "tallystick-collector"),
            ] {
                fs::create_dir(folder.path().join(profile)).expect("a folder");
                fs::copy(program, folder.path().join(profile).join(name)).expect("a program");
            }
            let out = folder.path().join("out");
            for revision in ["1", "2"] {
                let mut command =
                    Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/package"));
                command.args(["--no-build", "--fast", "--revision", revision, "--out"]).arg(&out);
                command.env("CARGO_TARGET_DIR", folder.path()).env("TALLYSTICK_TOOLS", target.join("tools"));
                run_command(command).ok();
            }
            report("packages: both of agent and collector made twice, s", begun.elapsed().as_secs());
            Self { folder }
        })
    }

    /// The one package whose name begins and ends so.
    fn file(&self, begin: &str, end: &str) -> PathBuf {
        let all = fs::read_dir(self.folder.path().join("out")).expect("the packages");
        let mut found = all.map(|entry| entry.expect("an entry").path()).filter(|path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            name.starts_with(begin) && name.ends_with(end)
        });
        let one = found.next().expect("a package");
        assert_eq!(found.next(), None, "{begin}…{end}");
        one
    }

    fn deb(&self, name: &str, revision: u32) -> PathBuf {
        self.file(&format!("{name}_"), &format!("-{revision}_amd64.deb"))
    }

    fn rpm(&self, name: &str, revision: u32) -> PathBuf {
        self.file(&format!("{name}-"), &format!("-{revision}.x86_64.rpm"))
    }
}

/// Puts a file into the copy, with a mode.
fn put(root: &CopiedRoot, at: &str, bytes: &[u8], mode: u32) {
    let path = root.path(at);
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    fs::write(&path, bytes).expect("a file");
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("a mode");
}

/// `apt-get install` of a package's file, as a script of a roll-out does it.
#[track_caller]
fn install(root: &CopiedRoot, package: &Path) {
    let name = format!("/root/{}", package.file_name().and_then(|name| name.to_str()).expect("a name"));
    put(root, &name, &fs::read(package).expect("the package"), 0o644);
    root.run("apt-get", ["install", "-y", "-q", &name]).ok();
    fs::remove_file(root.path(&name)).expect("the package's copy");
}

/// What an installed unit runs: program and arguments.
#[track_caller]
fn command_of(root: &CopiedRoot, unit: &str, directive: &str) -> Vec<String> {
    let path = format!("/usr/lib/systemd/system/{unit}.service");
    let text = fs::read_to_string(root.path(&path)).expect("the installed unit");
    let [line] = values(&text, directive)[..] else { panic!("{directive} stands once") };
    line.trim_start_matches('-').split(' ').map(str::to_owned).collect()
}

/// Runs what an installed unit runs, to its end.
#[track_caller]
fn run_unit(root: &CopiedRoot, unit: &str, directive: &str) -> Ran {
    let line = command_of(root, unit, directive);
    root.run(&line[0], &line[1..])
}

/// Starts what an installed unit runs, as the unit's user.
fn start_unit(root: &CopiedRoot, user: &str, unit: &str, log: &Path) -> Running {
    let line = command_of(root, unit, "ExecStart");
    Running::start(root.command(user, &line[0], &line[1..]), log)
}

/// A collector in the copy, installed, with a log of its own, serving.
struct Collector {
    port: u16,
    running: Running,
}

impl Collector {
    fn start(root: &CopiedRoot, log: &Path) -> Self {
        install(root, &Packages::made().deb("tallystick-collector", 1));
        let user = root.run("getent", ["passwd", "tallystick"]).ok();
        assert!(user.contains(":/var/lib/tallystick-collector:/usr/sbin/nologin"), "{user}");
        let home = fs::metadata(root.path("/var/lib/tallystick-collector")).expect("the collector's folder");
        assert_eq!((home.mode() & 0o7777, home.uid() == 0), (0o700, false));
        put(root, "/usr/local/bin/tallystick", &fs::read(programs!().cli).expect("a program"), 0o755);
        let admin = "/var/lib/tallystick-collector/admin.key";
        let own = |program: &str, line: &[&str]| run_command(root.command("tallystick", program, line));
        own("/usr/local/bin/tallystick", &["key", "new", "--no-passphrase", "--out", admin]).ok();
        let port = free_ports();
        let public = format!("{admin}.pub");
        let port_text = port.to_string();
        let line = ["init", "--dir", DATA, "--admin", &public, "--trust-domain", "evidence.example.com"];
        let more = ["--server-name", "127.0.0.1", "--listen", "127.0.0.1", "--port", &port_text];
        let files = ["--root-key-out", "/var/lib/tallystick-collector/root.key", "--profile-out"];
        let rest = ["/var/lib/tallystick-collector/admin.profile", "--accept-rollback-blindness"];
        let room =
            ["--segment-bytes", "8388608", "--ballast-bytes", "1048576", "--free-bytes-min", "1048576"];
        own("/usr/bin/tallystick-collector", &[&line[..], &more, &files, &rest, &room].concat()).ok();
        let mut running = start_unit(root, "tallystick", "tallystick-collector", log);
        wait_for("the collector to be ready", || {
            assert!(running.ended().is_none(), "{}", running.said());
            root.holds(&format!("{DATA}/admin.sock")).then_some(())
        });
        Self { port, running }
    }

    /// A token, for `enrol.toml`.
    fn token(root: &CopiedRoot) -> String {
        let key = "/var/lib/tallystick-collector/admin.key";
        let line = [
            "token", "create", "--json", "--dir", DATA, "--key", key, "--class", "laptop", "--group",
            "office",
        ];
        let made = run_command(root.command("tallystick", "/usr/bin/tallystick-collector", line)).json();
        made["token"].as_str().expect("a token").to_owned()
    }
}

/// Everything that must stay the same while the package comes and goes: identity and keys.
fn identity(root: &CopiedRoot) -> Vec<Vec<u8>> {
    ["identity.json", "keys/attestation.key", "keys/tls.key"]
        .iter()
        .map(|name| fs::read(root.path(&format!("{STATE}/{name}"))).expect("a file of the state"))
        .collect()
}

/// A statement goes to the collector and is proved there.
#[track_caller]
fn speaks(root: &CopiedRoot) {
    root.run("/usr/bin/tallystick-agent", ["once", "--until-proved"]).ok();
}

#[test]
fn a_deb_enrols_silently_and_goes_through_upgrade_removal_and_purge() {
    let packages = Packages::made();
    let begun = Instant::now();
    let root = CopiedRoot::new(COPY_MEGABYTES);
    let logs = tempfile::tempdir().expect("a folder");
    let collector = Collector::start(&root, &logs.path().join("collector"));

    // What a roll-out lays down before it installs; nobody answers a question after that.
    let settings = format!("server = \"127.0.0.1:{}\"\n", collector.port);
    put(&root, "/etc/tallystick/enrol.toml", settings.as_bytes(), 0o644);
    put(&root, "/etc/tallystick/token", Collector::token(&root).as_bytes(), 0o600);
    install(&root, &packages.deb("tallystick-agent", 1));
    assert!(
        root.holds("/etc/systemd/system/multi-user.target.wants/tallystick-agent.service"),
        "it is enabled"
    );
    assert!(!root.holds(STATE), "nothing but the service enrols");

    run_unit(&root, "tallystick-agent", "ExecStartPre").ok();
    assert!(!root.holds("/etc/tallystick/token"), "a token that was used is removed");
    let known = identity(&root);
    let log = logs.path().join("agent");
    let mut agent = start_unit(&root, "root", "tallystick-agent", &log);
    wait_for("the first statement of the service", || {
        assert!(agent.ended().is_none(), "{}", agent.said());
        agent.said().contains("An attestation is signed and kept").then_some(())
    });
    agent.stop();
    speaks(&root);

    // An upgrade keeps the state, and what a person changed below /etc.
    let changed = "interval_minutes = 60\n";
    fs::write(root.path(SETTINGS), changed).expect("the settings");
    install(&root, &packages.deb("tallystick-agent", 2));
    let version = root.run("dpkg-query", ["-W", "-f", "${Version}", "tallystick-agent"]).ok();
    assert!(version.ends_with("-2"), "{version}");
    run_unit(&root, "tallystick-agent", "ExecStartPre").ok();
    assert!(identity(&root) == known, "an upgrade changed identity or keys");
    assert_eq!(fs::read_to_string(root.path(SETTINGS)).expect("the settings"), changed);
    speaks(&root);

    // Removal takes the program and leaves the device; installed again it is the same one.
    root.run("apt-get", ["remove", "-y", "-q", "tallystick-agent"]).ok();
    assert!(
        !root.holds("/usr/bin/tallystick-agent")
            && !root.holds("/usr/lib/systemd/system/tallystick-agent.service")
    );
    assert!(identity(&root) == known && root.holds(SETTINGS), "removal took more than the program");
    install(&root, &packages.deb("tallystick-agent", 2));
    run_unit(&root, "tallystick-agent", "ExecStartPre").ok();
    assert!(identity(&root) == known, "it came back as another device");
    assert_eq!(fs::read_to_string(root.path(SETTINGS)).expect("the settings"), changed);
    speaks(&root);

    // Purging takes everything of the agent, and nothing of the collector's log.
    root.run("apt-get", ["purge", "-y", "-q", "tallystick-agent"]).ok();
    for gone in
        [STATE, "/etc/tallystick", "/etc/systemd/system/multi-user.target.wants/tallystick-agent.service"]
    {
        assert!(!root.holds(gone), "{gone} is left");
    }
    let server = run("pgrep", ["-f", &format!("^/usr/bin/tallystick-collector serve --dir {DATA}")]);
    assert_eq!(server.code, Some(0), "{}", collector.running.said());
    collector.running.stop();
    let fsck = root.command("tallystick", "/usr/bin/tallystick-collector", ["fsck", "--json", "--dir", DATA]);
    let sound = run_command(fsck).json();
    root.run("apt-get", ["purge", "-y", "-q", "tallystick-collector"]).ok();
    assert!(
        !root.holds("/usr/bin/tallystick-collector") && root.holds(&format!("{DATA}/journal")),
        "{sound}"
    );
    report("packages: a deb installed, enrolled, upgraded, removed and purged, s", begun.elapsed().as_secs());
}

#[test]
fn a_deb_without_a_seed_installs_and_waits() {
    let root = CopiedRoot::new(COPY_MEGABYTES);
    install(&root, &Packages::made().deb("tallystick-agent", 1));
    let unit = root.path("/usr/lib/systemd/system/tallystick-agent.service");
    let unit = fs::read_to_string(unit).expect("the installed unit");
    // systemd.unit(5): of conditions with a bar one must hold.
    assert_eq!(
        values(&unit, "ConditionPathExists"),
        [&format!("|{STATE}/identity.json"), "|/etc/tallystick/enrol.toml"],
    );
    let refused = run_unit(&root, "tallystick-agent", "ExecStartPre").fails(2);
    assert!(refused.contains("/etc/tallystick/enrol.toml"), "{refused}");
    // A token that others could have read is not used, and stays to be looked at.
    put(&root, "/etc/tallystick/enrol.toml", b"server = \"127.0.0.1:1\"\n", 0o644);
    put(&root, "/etc/tallystick/token", b"tst1.a.b", 0o644);
    let refused = run_unit(&root, "tallystick-agent", "ExecStartPre").fails(2);
    assert!(refused.contains("chmod 0600 /etc/tallystick/token"), "{refused}");
    assert!(root.holds("/etc/tallystick/token") && !root.holds(&format!("{STATE}/identity.json")));
    root.run("/usr/bin/tallystick-agent", ["probe", "--json"]).ok();
}

/// What rpm tells of a package that is not installed.
#[track_caller]
fn rpm_tells(package: &Path, query: &[&str]) -> String {
    let package = package.display().to_string();
    run("rpm", [&["-q"], query, &["-p", &package]].concat()).ok()
}

#[test]
fn an_rpm_holds_what_it_must_and_keeps_settings_and_state() {
    let packages = Packages::made();
    for name in ["tallystick-agent", "tallystick-collector"] {
        let package = packages.rpm(name, 1);
        let whole = run("rpm", ["-K", "--nosignature", &package.display().to_string()]).ok();
        assert!(whole.contains("digests OK"), "{whole}");
        let files = rpm_tells(&package, &["-l"]);
        for file in [
            format!("/usr/bin/{name}"),
            format!("/usr/lib/systemd/system/{name}.service"),
            format!("/usr/share/licenses/{name}/LICENSE"),
        ] {
            assert!(files.lines().any(|line| line == file), "{file} is not in:\n{files}");
        }
        let license = rpm_tells(&package, &["--queryformat", "%{LICENSE} %{ARCH}"]);
        assert_eq!(license, "Apache-2.0 x86_64");
        // Both packages hold one program, byte for byte.
        let copy = CopiedRoot::new(COPY_MEGABYTES);
        install(&copy, &packages.deb(name, 1));
        let program = copy.path(&format!("/usr/bin/{name}"));
        let sum = run("sha256sum", [program]).ok();
        let dump = rpm_tells(&package, &["--dump"]);
        let sum = sum.split(' ').next().expect("a sum");
        assert!(dump.contains(sum), "{sum} is not in:\n{dump}");
    }
    assert_eq!(rpm_tells(&packages.rpm("tallystick-agent", 1), &["--configfiles"]).trim(), SETTINGS);
    let scripts = rpm_tells(&packages.rpm("tallystick-collector", 1), &["--scripts"]);
    assert!(scripts.contains("useradd --system") && scripts.contains("systemctl disable --now"), "{scripts}");

    // Installed by rpm itself, in a copy. This is Debian: what packages need is not in rpm's own list.
    let root = CopiedRoot::new(COPY_MEGABYTES);
    let rpm = |line: &[&str]| root.run("rpm", line).ok();
    for (name, revision) in [("tallystick-agent", 1), ("tallystick-agent", 2), ("tallystick-collector", 1)] {
        let bytes = fs::read(packages.rpm(name, revision)).expect("the package");
        put(&root, &format!("/root/{name}-{revision}.rpm"), &bytes, 0o644);
    }
    rpm(&["-i", "--nodeps", "/root/tallystick-agent-1.rpm", "/root/tallystick-collector-1.rpm"]);
    root.run("getent", ["passwd", "tallystick"]).ok();
    root.run("/usr/bin/tallystick-agent", ["probe", "--json"]).ok();
    put(&root, &format!("{STATE}/identity.json"), b"kept", 0o644);
    fs::write(root.path(SETTINGS), "interval_minutes = 60\n").expect("the settings");
    rpm(&["-U", "--nodeps", "/root/tallystick-agent-2.rpm"]);
    assert_eq!(rpm(&["-q", "--queryformat", "%{RELEASE}", "tallystick-agent"]), "2");
    assert_eq!(fs::read(root.path(SETTINGS)).expect("the settings"), b"interval_minutes = 60\n");
    rpm(&["-e", "--nodeps", "tallystick-agent", "tallystick-collector"]);
    assert!(!root.holds("/usr/bin/tallystick-agent") && !root.holds("/usr/bin/tallystick-collector"));
    assert!(root.holds(&format!("{STATE}/identity.json")) && root.holds("/var/lib/tallystick-collector"));
    assert!(root.holds(&format!("{SETTINGS}.rpmsave")), "changed settings are kept beside");
}
