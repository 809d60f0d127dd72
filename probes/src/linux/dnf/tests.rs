use super::*;

fn of(status: u32, stdout: &str) -> Option<usize> {
    let answer = Answer::Output { status, stdout: stdout.as_bytes().to_vec(), stderr: Vec::new() };
    list(&Question::run(Program::Dnf, &CHECK), &answer).ok().map(|packages| packages.len())
}

const TWO: &str =
    "\napr-util.x86_64                    1.5.2-6.el7_9.1          updates\nbash.x86_64 5.1-1 updates\n";

#[test]
fn the_list_and_its_exit_code_agree() {
    assert_eq!(of(100, TWO), Some(2));
    assert_eq!(of(0, ""), Some(0));
    assert_eq!(of(0, TWO), None);
    assert_eq!(of(100, ""), None);
    assert_eq!(of(100, "\n"), None);
    assert_eq!(of(1, ""), None);
    assert_eq!(of(256 + 9, TWO), None);
}

#[test]
fn long_lines_go_on_and_obsoletes_are_no_updates() {
    let long = "a-very-long-name-of-a-package.noarch\n                 1.0-1.fc41      updates\n";
    assert_eq!(of(100, long), Some(1));
    let obsoletes = format!("{TWO}Obsoleting Packages\nnew.noarch 2-1 updates\n    old.noarch 1-1 @System\n");
    assert_eq!(of(100, &obsoletes), Some(2));
}

#[test]
fn what_is_no_list_is_not_read_as_one() {
    for text in [
        "Last metadata expiration check: 0:06:32 ago on Fri 28 Jul 2023 04:45:20 AM MDT.\n",
        "apr-util.x86_64 1.5.2-6\n",
        "  apr-util.x86_64 1.5.2-6 updates\n",
        "apr-util.x86_64 1.5.2-6 updates extra\n",
        "apr-util.x86_64 1.5.2-6 upda",
        "Fehler: nichts da\n",
    ] {
        assert_eq!(of(100, text), None, "{text}");
    }
}

#[test]
fn a_repository_has_a_hash() {
    assert!(is_repository("updates-2f4c8d1a9b3e7f60"));
    for name in ["updates", "metadata_lock.pid", "-2f4c8d1a9b3e7f60", "a b-2f4c8d1a9b3e7f60", "updates-2f4c"]
    {
        assert!(!is_repository(name), "{name}");
    }
}
