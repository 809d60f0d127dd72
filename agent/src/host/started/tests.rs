use super::*;

#[test]
fn a_process_is_told_with_only_the_variables_asked_for() {
    let mut child = std::process::Command::new("/bin/sleep")
        .arg("600")
        .env_clear()
        .env("XDG_CONFIG_HOME", "/elsewhere")
        .env("SECRET", "of its user")
        .spawn()
        .unwrap();
    let question = Question::Started { pid: child.id(), names: &["XDG_CONFIG_DIRS", "XDG_CONFIG_HOME"] };
    // Until the program is there, the process is still a copy of this one.
    let text = loop {
        let Answer::Bytes(bytes) = read(&question, child.id(), &["XDG_CONFIG_DIRS", "XDG_CONFIG_HOME"])
        else {
            continue;
        };
        let text = String::from_utf8(bytes).unwrap();
        if text.contains("/bin/sleep") {
            break text;
        }
    };
    child.kill().unwrap();
    child.wait().unwrap();
    let uid = rustix::process::geteuid().as_raw();
    let expected = format!(
        "{question}\nrow\nuid=number {uid}\nargument=text /bin/sleep\nargument=text 600\n\
         XDG_CONFIG_HOME=text /elsewhere\nend 5\n"
    );
    assert_eq!(text, expected);
    assert_eq!(read(&question, child.id(), &[]), Answer::Absent);
}

#[test]
fn the_home_folder_is_not_named() {
    let home = Some("/home/alex");
    assert_eq!(without_home("/home/alex/.config", home), "~/.config");
    assert_eq!(without_home("/home/alex", home), "~");
    assert_eq!(without_home("/home/alexandra/.config", home), "/home/alexandra/.config");
    assert_eq!(without_home("/etc/xdg", home), "/etc/xdg");
    assert_eq!(without_home("/etc/xdg", None), "/etc/xdg");
}

#[test]
fn an_empty_argument_is_one() {
    assert_eq!(texts(b"a\0\0b\0"), ["a", "", "b"]);
    assert_eq!(texts(b""), Vec::<String>::new());
}
