//! The agent's own program on machines with really encrypted disks: guests in QEMU, whose facts are known because
//! tests/vm builds them. docs/VM.md lists the cases.
//!
//! Takes root (debootstrap), and the programs of [`TOOLS`]; `./check` installs them. The guests are emulated. Every day
//! two are booted, with `TALLYSTICK_LONG=1` all of them.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test stops at what it cannot do, and prints what it saw"
)]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use tests::{figures, programs};

/// Programs this test runs, each with the Debian package that brings it.
const TOOLS: [(&str, &str); 7] = [
    ("debootstrap", "debootstrap"),
    ("mke2fs", "e2fsprogs"),
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("strip", "binutils"),
    ("swtpm", "swtpm"),
    ("tar", "tar"),
    ("timeout", "coreutils"),
];
/// Where a system keeps programs, those for root too, which may not be in a user's PATH.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Longest life of a guest, seconds: an emulated one takes two minutes, on a busy machine some times that.
const GUEST_SECONDS_MAX: &str = "900";
/// Longest time to make the guest's Debian, seconds: it loads some 130 packages.
const ROOT_SECONDS_MAX: &str = "1800";
/// Memory of a guest, MiB.
const MEMORY: &str = "1024";
/// The guest's disks beside the root, by serial number, with their bytes. The small one is written as a whole.
const DISKS: [(&str, u64); 4] = [("one", 1 << 30), ("two", 1 << 30), ("small", 32 << 20), ("out", 64 << 20)];
/// The boot whose guest has a TPM.
const TPM_BOOT: &str = "systemd";
/// Longest wait for the emulated TPM's socket.
const TPM_START_MAX: Duration = Duration::from_secs(20);
/// Bytes of a console that are put into the message of a failure.
const CONSOLE_BYTES: usize = 4000;

/// One at a time: two emulated guests on two processors only take longer.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A look in a guest, and every volume it must tell, in this order: purpose, mount point, file system, encryption,
/// encrypted of all devices, layers.
type Case = (&'static str, &'static [&'static str]);

const PLAIN: &str = "root / ext4 none 0/1 disk";

const PLAIN_ROOT: [Case; 15] = [
    ("vm-plain-root", &[PLAIN]),
    ("vm-home-only", &[PLAIN, "home /home ext4 full 1/1 luks2 disk"]),
    ("vm-suspended", &[PLAIN, "data /srv ext4 full 1/1 luks2 disk"]),
    ("vm-luks1", &[PLAIN, "data /srv ext4 full 1/1 luks1 disk"]),
    ("vm-loop-decoy", &[PLAIN, "data /srv ext4 full 1/1 luks2 loop disk"]),
    ("vm-lvm-on-luks", &[PLAIN, "data /srv ext4 full 1/1 luks2 lvm disk"]),
    ("vm-lvm-one-plain-pv", &[PLAIN, "data /srv ext4 partial 1/2 luks2 lvm disk"]),
    ("vm-luks-on-lvm", &[PLAIN, "data /srv ext4 full 1/1 luks2 lvm disk"]),
    ("vm-raid1-one-plain-leg", &[PLAIN, "data /srv ext4 partial 1/2 luks2 raid disk"]),
    ("vm-btrfs-one-plain", &[PLAIN, "data /srv btrfs partial 1/2 luks2 disk"]),
    ("vm-btrfs-member-missing", &[PLAIN, "data /srv btrfs unknown 0/0 "]),
    ("vm-btrfs-encrypted", &[PLAIN, "data /srv btrfs full 2/2 luks2 disk"]),
    ("vm-integrity-only", &[PLAIN, "data /srv ext4 none 0/1 integrity disk"]),
    ("vm-luks2-integrity", &[PLAIN, "data /srv ext4 full 1/1 luks2 integrity disk"]),
    ("vm-zram-beside-plain", &[PLAIN, "swap [SWAP] swap memory 0/1 zram"]),
];

const SEALED: &str = "root / ext4 full 1/1 luks2 disk";

const LUKS2_ROOT: [Case; 8] = [
    ("vm-luks2-root", &[SEALED]),
    ("vm-plain-swap", &[SEALED, "swap [SWAP] swap none 0/1 disk"]),
    ("vm-random-key-swap", &[SEALED, "swap [SWAP] swap full 1/1 plain disk"]),
    ("vm-swap-file", &[SEALED, "swap [SWAP] swap full 1/1 luks2 disk"]),
    ("vm-zram-swap", &[SEALED, "swap [SWAP] swap memory 0/1 zram"]),
    ("vm-plain-boot", &[SEALED, "boot /boot ext4 none 0/1 disk"]),
    ("vm-second-plain", &[SEALED, "data /srv ext4 none 0/1 disk"]),
    ("vm-loop-on-luks", &[SEALED, "data /srv ext4 full 1/1 luks2 loop disk"]),
];

const LVM_ROOT: [Case; 1] = [(
    "vm-lvm-on-luks-root",
    &[
        "root / ext4 full 1/1 luks2 lvm disk",
        "boot /boot ext4 none 0/1 disk",
        "swap [SWAP] swap full 1/1 luks2 lvm disk",
    ],
)];

/// The data, and the hashes on a disk of their own.
const VERITY_ROOT: [Case; 1] = [("vm-verity-root", &["root / ext4 none 0/2 verity disk"])];

/// systemd is the first process, and there is a TPM.
const SYSTEMD: [Case; 2] =
    [("vm-systemd", &[SEALED]), ("vm-systemd-drifted", &[SEALED, "data /srv ext4 none 0/1 disk"])];

/// A look and the further controls it must tell: control, and its facts without times as `probe --json` prints them.
type Controls = (&'static str, &'static [(&'static str, &'static str)]);

const SYSTEMD_CONTROLS: [Controls; 2] = [
    (
        "vm-systemd",
        &[
            (
                "automatic-updates",
                r#"{"downloads":"yes","installs_security":"yes","mechanism":"unattended-upgrades","scheduled":"yes"}"#,
            ),
            (
                "host-firewall",
                r#"{"filters":[{"enabled":"yes","incoming":"block","open_interfaces":0,"scope":"ipv4"},{"enabled":"yes","incoming":"block","open_interfaces":0,"scope":"ipv6"}]}"#,
            ),
            (
                "remote-access",
                r#"{"keyboard_interactive":"no","password_login":"no","root_login":"no","ssh_server":"yes"}"#,
            ),
            ("secure-boot", r#"{"enabled":"no","firmware":"bios","tpm_version":2}"#),
            ("time-sync", r#"{"enabled":"yes","service":"systemd-timesyncd","synchronised":"no"}"#),
        ],
    ),
    (
        "vm-systemd-drifted",
        &[
            (
                "automatic-updates",
                r#"{"downloads":"no","installs_security":"no","mechanism":"unattended-upgrades","scheduled":"no"}"#,
            ),
            (
                "host-firewall",
                r#"{"filters":[{"enabled":"no","incoming":"allow","open_interfaces":0,"scope":"ipv4"},{"enabled":"no","incoming":"allow","open_interfaces":0,"scope":"ipv6"}]}"#,
            ),
            (
                "remote-access",
                r#"{"keyboard_interactive":"no","password_login":"yes","root_login":"yes","ssh_server":"yes"}"#,
            ),
            ("secure-boot", r#"{"enabled":"no","firmware":"bios","tpm_version":2}"#),
            ("time-sync", r#"{"enabled":"no","synchronised":"no"}"#),
        ],
    ),
];

#[test]
fn every_volume_of_a_machine_in_a_guest_is_told_as_it_was_built() {
    check("plain-root", &PLAIN_ROOT);
    check("luks2-root", &LUKS2_ROOT);
    if figures::long() {
        check("lvm-root", &LVM_ROOT);
        check("verity-root", &VERITY_ROOT);
        check_controls(&check("systemd", &SYSTEMD), &SYSTEMD_CONTROLS);
    }
}

/// Holds what the looks told of further controls against the cases.
#[track_caller]
fn check_controls(seen: &BTreeMap<String, Value>, cases: &[Controls]) {
    let mut wrong = Vec::new();
    for (name, expected) in cases {
        let observations = seen[*name]["observations"].as_array().expect("observations");
        for (control, facts) in *expected {
            let observation = observations.iter().find(|seen| seen["control"] == *control);
            let mut told = observation.map_or(Value::Null, |seen| seen["facts"].clone());
            if let Some(facts) = told.as_object_mut() {
                facts.retain(|name, _| !name.ends_with("_minutes"));
            }
            let told = told.to_string();
            println!("{name}: {control}: {told}");
            if told != *facts {
                wrong.push(format!("{name}: {control}: {told}, expected {facts}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Boots a guest and holds what the agent said in it against the cases. Gives every look.
#[track_caller]
fn check(boot: &str, cases: &[Case]) -> BTreeMap<String, Value> {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let root = root();
    let begun = Instant::now();
    let seen = boot_guest(&root, boot);
    figures::report(&format!("guest {boot}, seconds"), begun.elapsed().as_secs());
    let mut wrong = Vec::new();
    for (name, expected) in cases {
        let Some(look) = seen.get(*name) else {
            wrong.push(format!("{name}: the guest did not look"));
            continue;
        };
        let told = volumes(look);
        println!("{name}: {}", told.join("; "));
        if told != *expected {
            wrong.push(format!("{name}: {told:#?}, expected {expected:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(seen.len(), cases.len(), "looks without a case: {:?}", seen.keys());
    seen
}

/// The volumes of `probe --json`, a line each as in the cases.
fn volumes(look: &Value) -> Vec<String> {
    let disk = look["observations"]
        .as_array()
        .and_then(|all| all.iter().find(|seen| seen["control"] == "disk-encryption"))
        .expect("an observation of disks");
    let Some(volumes) = disk["facts"]["volumes"].as_array() else { return vec![disk.to_string()] };
    let text = |value: &Value| value.as_str().unwrap_or("unknown").to_owned();
    let line = |volume: &Value| {
        let layers: Vec<String> = volume["layers"].as_array().into_iter().flatten().map(text).collect();
        format!(
            "{} {} {} {} {}/{} {}",
            text(&volume["purpose"]),
            text(&volume["mount"]),
            text(&volume["filesystem"]),
            text(&volume["encryption"]),
            volume["leaves_encrypted"],
            volume["leaves"],
            layers.join(" ")
        )
    };
    volumes.iter().map(line).collect()
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vm")
}

fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env("PATH", PATH).stdin(Stdio::null());
    command
}

#[track_caller]
fn done(command: &mut Command) {
    let status = command.status().expect("the program runs");
    assert!(status.success(), "{command:?}: {status}");
}

/// The guest's Debian, made once for every text of `make-root`.
#[track_caller]
fn root() -> PathBuf {
    let found = |name: &str| PATH.split(':').any(|folder| Path::new(folder).join(name).exists());
    let missing: Vec<&str> =
        TOOLS.iter().filter(|(name, _)| !found(name)).map(|(_, package)| *package).collect();
    assert!(missing.is_empty(), "this test boots guests: apt-get install {}", missing.join(" "));

    let script = source().join("make-root");
    let text = fs::read(&script).expect("the script can be read");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("guest-{:08x}", crc32c::crc32c(&text)));
    if !folder.exists() {
        let log = folder.with_extension("log");
        let out = File::create(&log).expect("a log");
        let err = out.try_clone().expect("a log");
        let mut make = command("timeout");
        let status = make.arg(ROOT_SECONDS_MAX).arg(&script).arg(&folder).stdout(out).stderr(err).status();
        let status = status.expect("timeout runs");
        assert!(
            status.success(),
            "{}: {status}. It takes root, a Debian mirror and some minutes; see {}",
            script.display(),
            log.display()
        );
    }
    folder
}

/// Boots a guest and gives every look's `record --json`, by name. What came out of the guest, recordings too, stays in
/// `vm-BOOT` below Cargo's folder for tests.
#[track_caller]
fn boot_guest(root: &Path, boot: &str) -> BTreeMap<String, Value> {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    write_tools(&at("tools"), boot);
    done(command("tar").arg("-cf").arg(at("tools.img")).arg("-C").arg(at("tools")).arg("."));

    let mut qemu = command("timeout");
    // Never KVM: inside a virtual machine /dev/kvm may be there and stop the guest for good at some instruction.
    qemu.args([
        GUEST_SECONDS_MAX,
        "qemu-system-x86_64",
        "-M",
        "q35",
        "-accel",
        "tcg,thread=multi",
        "-cpu",
        "max",
    ])
    .args(["-smp", "2", "-m", MEMORY, "-display", "none", "-no-reboot", "-net", "none", "-kernel"])
    .arg(root.join("vmlinuz"))
    .arg("-initrd")
    .arg(root.join("initrd.img"))
    // The kernel's tests of its own ciphers take ten seconds when emulated.
    .args(["-append", "console=ttyS0 root=/dev/vda rw init=/guest-init quiet panic=-1 cryptomgr.notests"])
    .arg("-serial")
    .arg(format!("file:{}", at("kernel").display()))
    .arg("-serial")
    .arg(format!("file:{}", at("console").display()));
    drive(&mut qemu, &root.join("root.img"), "root", "snapshot=on");
    drive(&mut qemu, &at("tools.img"), "tools", "readonly=on");
    for (name, bytes) in DISKS {
        File::create(at(name)).and_then(|file| file.set_len(bytes)).expect("a disk");
        drive(&mut qemu, &at(name), name, "cache=unsafe");
    }
    let _tpm = (boot == TPM_BOOT).then(|| attach_tpm(&mut qemu, folder.path()));
    let status = qemu.status().expect("timeout runs");
    let said = format!("{}\n{}", tail(&at("kernel")), tail(&at("console")));
    assert!(
        status.success(),
        "the guest {boot} ended with {status}; it needs qemu-system-x86 with its emulator, TCG:\n{said}"
    );

    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("vm-{boot}"));
    if kept.exists() {
        fs::remove_dir_all(&kept).expect("what an earlier run kept can go");
    }
    fs::create_dir_all(&kept).expect("a folder");
    fs::copy(at("console"), kept.join("console")).expect("the console can be kept");
    done(command("tar").arg("-xf").arg(at("out")).arg("-C").arg(&kept));
    assert!(kept.join("done").exists(), "the guest {boot} did not come to its end:\n{said}");
    looks(&kept)
}

/// Starts an emulated TPM 2.0 and gives it to the guest.
#[track_caller]
fn attach_tpm(qemu: &mut Command, folder: &Path) -> Tpm {
    let state = folder.join("tpm");
    let socket = folder.join("tpm.socket");
    fs::create_dir(&state).expect("a folder");
    let child = command("swtpm")
        .args(["socket", "--tpm2", "--tpmstate"])
        .arg(format!("dir={}", state.display()))
        .arg("--ctrl")
        .arg(format!("type=unixio,path={}", socket.display()))
        .spawn()
        .expect("swtpm runs");
    let tpm = Tpm(child);
    let deadline = Instant::now() + TPM_START_MAX;
    while !socket.exists() {
        assert!(Instant::now() < deadline, "swtpm does not listen");
        std::thread::yield_now();
    }
    qemu.arg("-chardev").arg(format!("socket,id=tpm-socket,path={}", socket.display())).args([
        "-tpmdev",
        "emulator,id=tpm,chardev=tpm-socket",
        "-device",
        "tpm-tis,tpmdev=tpm",
    ]);
    tpm
}

/// An emulated TPM, ended with its test.
struct Tpm(std::process::Child);

impl Drop for Tpm {
    fn drop(&mut self) {
        // It ends by itself when the guest does.
        let _ended_already = self.0.kill();
        let _reaped_already = self.0.wait();
    }
}

fn looks(folder: &Path) -> BTreeMap<String, Value> {
    let entries = fs::read_dir(folder).expect("the folder can be read");
    entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| {
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            let text = fs::read_to_string(&path).expect("a look can be read");
            (name, serde_json::from_str(&text).expect("a look is JSON"))
        })
        .collect()
}

/// What the guest takes from the disk `tools`.
#[track_caller]
fn write_tools(folder: &Path, boot: &str) {
    fs::create_dir(folder).expect("a folder");
    for name in ["start", "lib", "boots"] {
        done(command("cp").arg("-r").arg(source().join(name)).arg(folder));
    }
    fs::write(folder.join("boot"), boot).expect("the name can be written");
    fs::write(folder.join("key"), "guards nothing").expect("the key can be written");
    done(command("strip").arg("-o").arg(folder.join("tallystick-agent")).arg(programs!().agent));
}

fn drive(qemu: &mut Command, file: &Path, serial: &str, option: &str) {
    qemu.arg("-drive")
        .arg(format!("file={},format=raw,if=none,id={serial},{option}", file.display()))
        .arg("-device")
        .arg(format!("virtio-blk-pci,drive={serial},serial={serial}"));
}

/// The end of a file, for a message.
fn tail(path: &Path) -> String {
    let bytes = fs::read(path).unwrap_or_default();
    let from = bytes.len().saturating_sub(CONSOLE_BYTES);
    String::from_utf8_lossy(bytes.get(from..).unwrap_or_default()).into_owned()
}
