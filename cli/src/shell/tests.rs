use std::process::Command as Process;

use super::*;
use crate::command::tests::{answer, definition};

/// The names of a command's pages: its own, and those of what is below it.
fn pages(command: &Definition, path: &str, found: &mut Vec<String>) {
    let path = if path.is_empty() {
        command.get_name().to_owned()
    } else {
        format!("{path}-{}", command.get_name())
    };
    found.push(format!("{path}.1"));
    for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
        pages(below, &path, found);
    }
}

#[test]
fn every_command_has_a_page() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("made/by/it");
    answer(&["man", folder.to_str().unwrap()]).unwrap();
    // Again, over those of before.
    answer(&["man", folder.to_str().unwrap()]).unwrap();
    let mut written: Vec<String> =
        fs::read_dir(&folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    let mut expected = Vec::new();
    pages(&definition(), "", &mut expected);
    written.sort();
    expected.sort();
    assert_eq!(written, expected);
    let page = fs::read_to_string(folder.join("tallystick-posture.1")).unwrap();
    assert!(page.contains(".TH tallystick-posture 1") && page.contains("\\-\\-state"), "{page}");
    let file = folder.join("tallystick.1/below");
    let error = answer(&["man", file.to_str().unwrap()]).unwrap_err();
    assert!(error.contains("cannot make"), "{error}");
}

#[test]
fn bash_completes_a_command_and_its_options() {
    let (_, script) = answer(&["completions", "bash"]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("completions.bash");
    fs::write(&file, script).unwrap();
    let ask = |words: &str, number: u8| {
        let line = format!(
            ". \"$0\"; COMP_WORDS=({words}); COMP_CWORD={number}; _tallystick tallystick \"${{COMP_WORDS[COMP_CWORD]}}\" ''; echo \"${{COMPREPLY[@]}}\""
        );
        let ran = Process::new("bash").args(["--norc", "-c", &line]).arg(&file).output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8(ran.stdout).unwrap().split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(ask("tallystick his", 1), ["history"]);
    assert_eq!(ask("tallystick posture --st", 2), ["--state"]);
    for shell in ["zsh", "fish", "powershell", "elvish"] {
        let (_, script) = answer(&["completions", shell]).unwrap();
        assert!(script.contains("history"), "{shell}");
    }
    assert!(answer(&["completions", "cmd"]).is_err());
}
