//! Bugs put in on purpose, each a patch in `tests/planted`: the long form applies one at a time to a copy of the tree,
//! and the test that its first lines name must then fail. A test that passes with its bug guards nothing.
//!
//! Every day only what costs no build is checked: that each patch still applies, and that its test is there.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test stops at what it cannot do, and prints what it counted"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tests::figures;

/// Fewer were there on the first day.
const PLANTED_MIN: usize = 17;
/// Folders that are not copied.
const SKIPPED: [&str; 4] = [".git", "target", "corpus", "artifacts"];
/// Cargo marks the folders it builds in.
const BUILD_MARK: &str = "CACHEDIR.TAG";

/// A bug, and the test that must find it.
#[derive(Debug)]
struct Planted {
    patch: PathBuf,
    what: String,
    package: String,
    test: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace")
}

fn planted() -> Vec<Planted> {
    let folder = root().join("tests/planted");
    let listed = fs::read_dir(&folder).expect("the planted bugs");
    let mut patches: Vec<PathBuf> = listed.map(|entry| entry.expect("an entry").path()).collect();
    patches.sort();
    let planted: Vec<Planted> = patches.into_iter().map(read).collect();
    assert!(planted.len() >= PLANTED_MIN, "only {} bugs are planted", planted.len());
    planted
}

fn read(patch: PathBuf) -> Planted {
    let text = fs::read_to_string(&patch).expect("a patch");
    let line = |name: &str| {
        let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        found.unwrap_or_else(|| panic!("{} has no line {name}", patch.display())).to_owned()
    };
    let (what, package, test) = (line("Planted"), line("Package"), line("Found-by"));
    Planted { patch, what, package, test }
}

fn apply(tree: &Path, planted: &Planted, options: &[&str]) -> Output {
    let mut command = Command::new("git");
    command.arg("apply").args(options).arg(&planted.patch).current_dir(tree);
    // A copy inside the working tree is a tree of its own: git would take paths for those of the outer one.
    command.env("GIT_CEILING_DIRECTORIES", tree.parent().expect("a folder"));
    command.output().expect("git can be started")
}

/// Text of the sources of a package.
fn sources(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&fs::read_to_string(&path).expect("a source"));
        }
    }
}

#[test]
fn every_planted_bug_is_found_by_the_test_it_names() {
    let planted = planted();
    for planted in &planted {
        let checked = apply(root(), planted, &["--check"]);
        let said = String::from_utf8_lossy(&checked.stderr);
        assert!(checked.status.success(), "{} no longer applies: {said}", planted.patch.display());
        let mut text = String::new();
        sources(&root().join(&planted.package).join("src"), &mut text);
        let name = planted.test.rsplit("::").next().expect("a name");
        assert!(
            text.contains(&format!("fn {name}(")),
            "{}: there is no test {name}",
            planted.patch.display()
        );
    }
    // Each costs a build.
    if figures::long() {
        plant(&planted);
    }
}

/// A copy of the tree as it is, beside what Cargo builds.
struct Tree {
    at: PathBuf,
    target: PathBuf,
}

impl Tree {
    fn new() -> Self {
        let program = Path::new(env!("CARGO_BIN_EXE_ledger-writer"));
        let folder = program.ancestors().nth(2).expect("the folder of builds").join("planted");
        // Not the folder that everything else is built in: Cargo takes two trees of one name for the same.
        let (at, target) = (folder.join("tree"), folder.join("target"));
        drop(fs::remove_dir_all(&at));
        copy(root(), &at);
        Self { at, target }
    }

    /// Runs tests of a package by their names: how many passed and failed. Fails if they were not built.
    fn run(&self, package: &str, tests: &[&str]) -> (usize, usize) {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command.args(["test", "-p", package, "--lib", "--locked", "--offline", "--", "--exact"]).args(tests);
        command.current_dir(&self.at).env("CARGO_TARGET_DIR", &self.target);
        let output = command.output().expect("cargo can be started");
        let out = String::from_utf8_lossy(&output.stdout);
        let result = out.lines().find_map(|line| line.strip_prefix("test result: "));
        let Some(result) = result else {
            panic!("{package} was not built:\n{}", String::from_utf8_lossy(&output.stderr));
        };
        let count = |word: &str| {
            let part = result.split([';', '.']).find_map(|part| part.trim().strip_suffix(word));
            part.and_then(|number| number.trim().parse().ok()).unwrap_or_else(|| panic!("{result}"))
        };
        (count("passed"), count("failed"))
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name");
        if SKIPPED.iter().any(|skipped| name == *skipped) || path.join(BUILD_MARK).exists() {
            continue;
        }
        let target = to.join(name);
        if path.is_dir() {
            copy(&path, &target);
        } else if path.is_file() {
            fs::copy(&path, &target).expect("a copy");
        }
    }
}

/// Plants each bug in a copy of the tree and runs the test that must find it.
fn plant(planted: &[Planted]) {
    let tree = Tree::new();
    let mut guards: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for Planted { package, test, .. } in planted {
        let tests = guards.entry(package).or_default();
        if !tests.contains(&test.as_str()) {
            tests.push(test);
        }
    }
    for (package, tests) in &guards {
        assert_eq!(tree.run(package, tests), (tests.len(), 0), "{package} without a planted bug");
    }
    let mut missed = Vec::new();
    for planted in planted {
        let applied = apply(&tree.at, planted, &[]);
        assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
        let found = tree.run(&planted.package, &[&planted.test]);
        println!("{}: {found:?} passed and failed in {}", planted.what, planted.test);
        if found != (0, 1) {
            missed.push(&planted.what);
        }
        let reverted = apply(&tree.at, planted, &["--reverse"]);
        assert!(reverted.status.success(), "{}", String::from_utf8_lossy(&reverted.stderr));
    }
    let (all, found) = (planted.len(), planted.len() - missed.len());
    figures::report("planted bugs found by the test named for each", format_args!("{found} of {all}"));
    assert!(missed.is_empty(), "planted bugs that nothing found: {missed:?}");
    drop(fs::remove_dir_all(&tree.at));
}
