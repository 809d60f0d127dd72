use super::*;

const SOON: Duration = Duration::from_secs(20);

fn command(program: &str, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args);
    command
}

fn stdout(answer: Answer) -> String {
    let Answer::Output { stdout, .. } = answer else { panic!("{answer:?}") };
    String::from_utf8(stdout).unwrap()
}

#[test]
fn the_environment_is_cleared_and_there_is_no_input() {
    let mut env = command("/usr/bin/env", &[]);
    env.env("KEPT", "1");
    let printed = stdout(complete(env, SOON, 1000));
    let mut lines: Vec<&str> = printed.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["KEPT=1", "LC_ALL=C"]);
    assert_eq!(stdout(complete(command("/bin/cat", &[]), SOON, 1000)), "");
}

#[test]
fn a_program_that_hangs_is_killed_with_everything_it_started() {
    let begun = Instant::now();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pid");
    let script = format!("sleep 600 & echo $! > {}; wait", file.display());
    let answer = complete(command("/bin/sh", &["-c", &script]), Duration::from_millis(700), 1000);
    assert_eq!(answer, Answer::TimedOut);
    assert!(begun.elapsed() < SOON);
    let pid: u32 = fs::read_to_string(&file).unwrap().trim().parse().unwrap();
    // Killed at once; it may stay as a zombie until the first process waits for it.
    let state = || fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let is_gone = || !state().contains(") S") && !state().contains(") R");
    let deadline = Instant::now() + SOON;
    while !is_gone() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(10));
    }
    assert!(is_gone(), "{}", state());
}

#[test]
fn output_over_the_cap_is_too_large_and_at_it_is_not() {
    let print = |bytes: usize| command("/usr/bin/head", &["-c", &bytes.to_string(), "/dev/zero"]);
    assert_eq!(stdout(complete(print(1000), SOON, 1000)).len(), 1000);
    assert_eq!(complete(print(1001), SOON, 1000), Answer::TooLarge);
    assert_eq!(complete(command("/usr/bin/yes", &[]), SOON, 1000), Answer::TooLarge);
}

#[test]
fn both_streams_and_the_status_are_given() {
    let answer = complete(command("/bin/sh", &["-c", "echo a; echo b >&2; exit 3"]), SOON, 1000);
    let expected = Answer::Output { status: 3, stdout: b"a\n".to_vec(), stderr: b"b\n".to_vec() };
    assert_eq!(answer, expected);
    let killed = complete(command("/bin/sh", &["-c", "kill -9 $$"]), SOON, 1000);
    assert_eq!(killed, Answer::Output { status: 256 + 9, stdout: vec![], stderr: vec![] });
}

#[test]
fn a_program_that_is_not_there_is_absent() {
    assert_eq!(complete(command("/nowhere/program", &[]), SOON, 1000), Answer::Absent);
}

#[test]
fn only_a_program_nobody_else_can_change_is_trusted() {
    assert!(trusted(Path::new("/usr/bin/env")).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("program");
    fs::copy("/usr/bin/env", &path).unwrap();
    // Below /tmp, which everybody may write.
    assert!(!trusted(&path).unwrap());
    assert!(!trusted(Path::new("/usr/bin")).unwrap());
    assert!(trusted(Path::new("/nowhere")).is_err());
}

#[test]
fn nobody_is_acted_for_without_a_runtime_folder_of_his_own() {
    let mut env = command("/usr/bin/env", &[]);
    let user = User { uid: 4_000_000_000, desktop: "GNOME" };
    assert_eq!(become_user(&mut env, user), Err(Answer::Failed));
}
