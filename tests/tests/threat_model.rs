//! docs/THREAT-MODEL.md names files and tests that exist, and the promise that no program here updates itself holds in the sources.

#![expect(clippy::expect_used, clippy::panic, reason = "a test stops at what it cannot read")]

use std::fs;
use std::path::{Path, PathBuf};

/// Files that start other programs: the agent asks the machine through them, or gives a folder its access list.
const STARTS: [&str; 4] = [
    "agent/src/at_rest.rs",
    "agent/src/host/program.rs",
    "agent/src/host/program/session.rs",
    "agent/src/windows/access.rs",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

fn text_of(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every file of the sources below a folder.
fn sources(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of the sources") {
        let entry = entry.expect("an entry");
        let (path, name) = (entry.path(), entry.file_name());
        let is_made = ["target", "corpus", "artifacts", ".git"].iter().any(|made| name == *made);
        if path.is_dir() && !is_made {
            sources(&path, files);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            files.push(path);
        }
    }
}

/// What stands between backticks, and the words outside of them that look like paths of this repository.
fn named(text: &str) -> (Vec<&str>, Vec<&str>) {
    let quoted: Vec<&str> = text.split('`').skip(1).step_by(2).collect();
    let is_path = |word: &&str| {
        ["tests/", "docs/", "certs/", "agent/", "collector/", "evidence/", "deploy/", "fuzz/"]
            .iter()
            .any(|folder| word.starts_with(folder))
    };
    let paths = text.split(|c: char| c.is_whitespace() || "`()|,:;".contains(c)).filter(is_path).collect();
    (quoted, paths)
}

#[test]
fn every_test_and_file_that_it_names_exists() {
    let text = text_of(&root().join("docs/THREAT-MODEL.md"));
    let (quoted, paths) = named(&text);
    for path in &paths {
        let path = path.trim_end_matches('.');
        assert!(root().join(path).exists(), "{path} is named in docs/THREAT-MODEL.md and is not there");
    }
    let mut files = Vec::new();
    sources(&root(), &mut files);
    let all: String = files.iter().map(|path| text_of(path)).collect();
    let is_test = |word: &&&str| {
        word.contains('_') && word.bytes().all(|b| b.is_ascii_lowercase() || b"_0123456789".contains(&b))
    };
    let tests: Vec<&&str> = quoted.iter().filter(is_test).collect();
    assert!(tests.len() > 30 && paths.len() > 30, "{} tests and {} paths", tests.len(), paths.len());
    for name in tests {
        assert!(
            all.contains(&format!("fn {name}(")),
            "the test {name} is named in docs/THREAT-MODEL.md and is not there"
        );
    }
}

#[test]
fn nothing_fetches_or_installs_a_program() {
    // Programs are started by the agent to look at the machine, from a printed list; what would update is not on it.
    let mut files = Vec::new();
    for part in ["agent/src", "collector/src", "cli/src", "verifier/src", "rpc/src", "probes/src"] {
        sources(&root().join(part), &mut files);
    }
    assert!(files.len() > 100, "{} files", files.len());
    let mut starts: Vec<String> = files
        .iter()
        .filter(|path| {
            !path.ends_with("tests.rs") && !path.components().any(|part| part.as_os_str() == "tests")
        })
        .filter(|path| text_of(path).contains("Command::new("))
        .map(|path| path.strip_prefix(root()).expect("below the root").display().to_string())
        .collect();
    starts.sort();
    assert_eq!(
        starts, STARTS,
        "another file starts programs: say in docs/THREAT-MODEL.md what it starts and why"
    );
    let tree = std::process::Command::new(env!("CARGO"))
        .args(["tree", "--workspace", "--locked", "--offline", "--prefix", "none", "--edges", "normal"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    let tree = String::from_utf8_lossy(&tree.stdout);
    assert!(tree.contains("rustls v"), "{tree}");
    for updater in ["self_update", "tough", "velopack", "self-replace", "reqwest", "ureq", "curl"] {
        assert!(
            !tree.lines().any(|line| line.starts_with(&format!("{updater} v"))),
            "{updater} is a dependency"
        );
    }
}
