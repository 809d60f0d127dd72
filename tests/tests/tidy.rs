//! House rules that no compiler checks, over the text of every file of the source tree.

#![expect(clippy::expect_used, reason = "a test stops at what it cannot read")]

use std::fs;
use std::path::{Path, PathBuf};

/// Longest source file: what one reading holds.
const LINES_MAX: usize = 500;
/// Longest file of tests: tables of cases read faster than code.
const TEST_LINES_MAX: usize = 700;
/// Longer files, each with its reason.
const LONGER: [(&str, &str); 1] =
    [("agent/src/spool.rs", "one type, and the order of its writes told in front of it")];
/// Names that hold no sources of ours.
const SKIPPED: [&str; 6] = [".git", "target", "corpus", "artifacts", "node_modules", "__pycache__"];
/// The one file of a program that reads the system's clock; everything else is given a `Clock`.
const CLOCKS: [&str; 3] = ["agent/src/clock.rs", "cli/src/clock.rs", "collector/src/clock.rs"];

struct File {
    /// Relative to the workspace, with slashes.
    path: String,
    text: String,
}

impl File {
    fn ends_in(&self, extension: &str) -> bool {
        Path::new(&self.path).extension().is_some_and(|found| found == extension)
    }

    fn is_rust(&self) -> bool {
        self.ends_in("rs")
    }

    /// Code of a program or library: no tests, no build scripts.
    fn is_product(&self) -> bool {
        let apart = ["tests/", "bench/", "fuzz/"].iter().any(|folder| self.path.starts_with(folder));
        let test = self.path.contains("/tests/")
            || ["tests.rs", "samples.rs", "build.rs"]
                .iter()
                .any(|name| self.path.ends_with(&format!("/{name}")));
        self.is_rust() && !apart && !test
    }

    fn is_in(&self, folder: &str) -> bool {
        self.path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace").to_owned()
}

fn collect(folder: &Path, files: &mut Vec<File>) {
    for entry in fs::read_dir(folder).expect("a folder of the source tree is readable") {
        let entry = entry.expect("an entry of the source tree is readable");
        let name = entry.file_name().into_string().expect("names are UTF-8");
        let path = entry.path();
        let kind = entry.file_type().expect("an entry has a type");
        if SKIPPED.contains(&name.as_str()) {
            continue;
        }
        if kind.is_dir() {
            collect(&path, files);
        } else if kind.is_file() {
            // Binary files hold no rules to keep.
            if let Ok(text) = fs::read_to_string(&path) {
                let relative = path.strip_prefix(root()).expect("below the root");
                let path = relative.to_str().expect("UTF-8").replace('\\', "/");
                files.push(File { path, text });
            }
        }
    }
}

fn files() -> Vec<File> {
    let mut files = Vec::new();
    collect(&root(), &mut files);
    files.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(files.iter().filter(|file| file.is_product()).count() > 50, "the source tree was not found");
    files
}

/// Every line of `files` that holds one of `words`, as `path:line: text`.
fn mentions<'a>(files: impl IntoIterator<Item = &'a File>, words: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for file in files {
        for (number, line) in (1..).zip(file.text.lines()) {
            if words.iter().any(|word| line.contains(word)) {
                found.push(format!("{}:{number}: {}", file.path, line.trim()));
            }
        }
    }
    found
}

fn assert_none(found: &[String], rule: &str) {
    assert!(found.is_empty(), "{rule}\n{}", found.join("\n"));
}

#[test]
fn files_fit_one_reading() {
    let mut long = Vec::new();
    for file in files().iter().filter(|file| file.is_rust() || file.ends_in("py")) {
        let lines = file.text.lines().count();
        let most = if file.is_product() { LINES_MAX } else { TEST_LINES_MAX };
        let listed = LONGER.iter().any(|(path, _)| *path == file.path);
        if lines > most && !listed {
            long.push(format!("{}: {lines} lines", file.path));
        }
        assert!(lines > most || !listed, "{} is short again: take it off LONGER", file.path);
    }
    assert_none(&long, "too long: split the file, or list it in LONGER with its reason");
    for (path, reason) in LONGER {
        assert!(root().join(path).is_file() && !reason.is_empty(), "{path} is gone: take it off LONGER");
    }
}

#[test]
fn nothing_is_left_to_do() {
    // In two parts, so that this file does not find itself.
    let words = [
        concat!("todo", "!"),
        concat!("unimplemented", "!"),
        concat!("dbg", "!("),
        concat!("#[", "ignore"),
        concat!("FIX", "ME"),
        concat!("XX", "X"),
    ];
    let files = files();
    assert_none(&mentions(files.iter().filter(|file| file.is_rust()), &words), "unfinished code");
}

#[test]
fn the_platform_is_a_value_in_probes() {
    let words = ["target_os", "target_family", "cfg(windows", "cfg!(windows", "cfg(unix", "cfg!(unix"];
    let files = files();
    let probes = files.iter().filter(|file| file.is_in("probes") && file.path != "probes/src/platform.rs");
    assert_none(
        &mentions(probes.filter(|file| file.is_rust()), &words),
        "a parser behind a cfg is tested on one system only: match on Platform",
    );
}

#[test]
fn rules_and_probes_do_no_input_or_output() {
    // Grouped imports from `std` would hide the names looked for; the crates' clippy.toml look at the calls.
    let words =
        ["std::fs", "std::net", "std::process", "std::env", "std::{", "SystemTime::now", "Instant::now"];
    let files = files();
    let pure = files.iter().filter(|file| file.is_product());
    let pure = pure.filter(|file| file.is_in("evidence") || file.is_in("probes") || file.is_in("proto"));
    assert_none(&mentions(pure, &words), "callers read, write and tell the time");
}

#[test]
fn one_file_of_a_program_reads_the_clock() {
    let files = files();
    let others = files.iter().filter(|file| file.is_product() && !CLOCKS.contains(&file.path.as_str()));
    assert_none(
        &mentions(others, &["SystemTime::now"]),
        "pass a Clock, or read it in the program's clock.rs",
    );
}

#[test]
fn every_crate_takes_the_lints_of_the_workspace() {
    let files = files();
    let manifests: Vec<_> = files
        .iter()
        .filter(|file| file.path.ends_with("/Cargo.toml") && file.path.matches('/').count() == 1)
        .filter(|file| !file.is_in("fuzz"))
        .collect();
    assert!(manifests.len() >= 11, "{}", manifests.len());
    for manifest in manifests {
        // proto holds nothing but generated code.
        let taken = manifest.text.contains("[lints]\nworkspace = true");
        assert!(taken || manifest.is_in("proto"), "{} lacks the lints of the workspace", manifest.path);
    }
}

#[test]
fn no_text_names_the_machine_it_was_written_on() {
    let words = [concat!("/wo", "rk/"), concat!("/ro", "ot/."), concat!("/tmp/", "bash")];
    assert_none(&mentions(&files(), &words), "a path of one machine means nothing on another");
}

#[test]
fn lines_end_plainly() {
    let mut found = Vec::new();
    for file in files().iter().filter(|file| !file.is_rust()) {
        if file.text.contains('\r') || !file.text.ends_with('\n') || file.text.ends_with("\n\n") {
            found.push(file.path.clone());
        }
    }
    assert_none(&found, "a CR, or another end than one line end (rustfmt sees to the Rust files)");
}
