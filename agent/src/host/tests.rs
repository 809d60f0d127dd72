use std::process::Command;

use super::*;

#[test]
fn what_is_not_on_the_list_is_denied() {
    let answer = LiveHost.answer(&Question::Read("/etc/hostname".to_owned())).unwrap();
    assert_eq!(answer, Answer::Denied);
}

#[test]
fn a_pipe_in_place_of_a_file_does_not_stop_the_agent() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    assert_eq!(read(pipe.to_str().unwrap()), Answer::Failed);
}

#[test]
fn a_file_over_the_limit_is_too_large_and_one_at_it_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, vec![b'x'; FILE_BYTES_MAX]).unwrap();
    assert_eq!(read(path.to_str().unwrap()), Answer::Bytes(vec![b'x'; FILE_BYTES_MAX]));
    fs::write(&path, vec![b'x'; FILE_BYTES_MAX + 1]).unwrap();
    assert_eq!(read(path.to_str().unwrap()), Answer::TooLarge);
}

#[test]
fn names_are_sorted_and_missing_things_are_absent() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["b", "a", "c"] {
        fs::write(folder.path().join(name), "").unwrap();
    }
    let path = folder.path().to_str().unwrap();
    assert_eq!(list(path), Answer::Names(vec!["a".into(), "b".into(), "c".into()]));
    for answer in [read(&format!("{path}/x")), list(&format!("{path}/x")), link(&format!("{path}/a/x"))] {
        assert_eq!(answer, Answer::Absent);
    }
    assert_eq!(list(&format!("{path}/a")), Answer::Absent);
    assert_eq!(metadata(&format!("{path}/x")), Answer::Absent);
}

#[test]
fn a_link_is_looked_at_itself() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("link");
    std::os::unix::fs::symlink("/usr", &path).unwrap();
    let path = path.to_str().unwrap();
    assert_eq!(link(path), Answer::Link("/usr".to_owned()));
    let Answer::Metadata(found) = metadata(path) else { panic!("no metadata") };
    assert_eq!((found.kind, found.path.as_str()), (FileKind::Link, path));
}

#[test]
fn the_process_list_holds_this_process_once_with_its_path() {
    let Answer::Processes(all) = processes() else { panic!("no processes") };
    let own: Vec<&Process> = all.iter().filter(|p| p.pid == std::process::id()).collect();
    let exe = std::env::current_exe().unwrap();
    assert_eq!(own.len(), 1);
    assert_eq!(own[0].exe.as_deref(), exe.to_str());
}
