//! The bills of materials that `deploy/sbom` writes: by the schema and the reader of the CycloneDX project (cyclonedx-python-lib),
//! nothing missing that cargo links, every hash that of Cargo.lock.
//!
//! Takes cargo-cyclonedx and the Python package, which `./check` installs.

#![expect(clippy::expect_used, clippy::string_slice, reason = "a test stops at what it cannot read")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use tests::process::{run, run_command};
use tests::programs;

const PROGRAMS: [(&str, &str); 4] = [
    ("agent", "tallystick-agent"),
    ("collector", "tallystick-collector"),
    ("cli", "tallystick"),
    ("verifier", "tallystick-verify"),
];

/// `name version` of every crate that cargo puts into or builds a program with, here.
fn linked(package: &str) -> BTreeSet<String> {
    let line =
        ["tree", "-p", package, "--edges", "normal,build", "--prefix", "none", "--locked", "--offline"];
    let mut command = Command::new(env!("CARGO"));
    command.args(line).current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    let told = run_command(command).ok();
    let crates = told.lines().filter_map(|line| {
        let mut words = line.split(' ');
        Some(format!("{} {}", words.next()?, words.next()?.strip_prefix('v')?))
    });
    crates.filter(|one| !one.starts_with(&format!("{package} "))).collect()
}

#[test]
fn every_program_has_a_bill_of_materials_that_others_read() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folder = tempfile::tempdir().expect("a folder");
    let target = Path::new(programs!().agent).parent().and_then(Path::parent).expect("the target folder");
    let mut command = Command::new(root.join("deploy/sbom"));
    command.arg("--out").arg(folder.path()).env("TALLYSTICK_TOOLS", target.join("tools"));
    print!("{}", run_command(command).ok());
    let lock = fs::read_to_string(root.join("Cargo.lock")).expect("Cargo.lock");
    let reader = root.join("tests/oracle/read_sbom.py").display().to_string();
    for (package, program) in PROGRAMS {
        let path = folder.path().join(format!("{program}.cdx.json"));
        let file = path.display().to_string();
        let read = run("python3", ["-B", &reader, &file]).ok();
        let mut told = BTreeSet::new();
        for line in read.lines() {
            let [name, version, sum] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
            let locked = format!("name = \"{name}\"\nversion = \"{version}\"\n");
            let at = lock.find(&locked).unwrap_or_else(|| panic!("{line} is not in Cargo.lock"));
            let entry = lock[at..].split("\n\n").next().expect("an entry");
            let ours = !entry.contains("\nsource = ");
            assert!(ours == (sum == "-") && (ours || entry.contains(sum)), "{line} against\n{entry}");
            told.insert(format!("{name} {version}"));
        }
        let missing: Vec<String> = linked(package).into_iter().filter(|one| !told.contains(one)).collect();
        assert!(missing.is_empty(), "{program}: not in its list: {missing:?}");
        let text = fs::read_to_string(&path).expect("the list");
        let is_there = root.canonicalize().expect("the root").display().to_string();
        assert!(!text.contains(&is_there), "{program}: its list names the folder it was built in");
        let has = |name: &str| told.iter().any(|one| one.starts_with(&format!("{name} ")));
        assert!(
            has("ed25519-dalek") && has("rustls") == (package != "verifier") && !has("proptest"),
            "{program}"
        );
        if package == "verifier" {
            the_reader_refuses_damage(&folder.path().join("damaged.json"), &text, &reader);
        }
    }
}

/// The reader can say no: to a kind of component that there is not, to a hash that is none, to another document.
fn the_reader_refuses_damage(path: &Path, text: &str, reader: &str) {
    for (from, to) in [
        ("\"type\": \"library\"", "\"type\": \"book\""),
        ("\"alg\": \"SHA-256\"", "\"alg\": \"SHA-255\""),
        ("\"bomFormat\": \"CycloneDX\"", "\"bomFormat\": \"CycloneDY\""),
    ] {
        assert!(text.contains(from), "{from}");
        fs::write(path, text.replacen(from, to, 1)).expect("a file");
        run("python3", ["-B", reader, &path.display().to_string()]).fails(1);
    }
}
