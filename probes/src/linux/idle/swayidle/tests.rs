use super::*;

fn told_by(arguments: &[&str]) -> Told {
    let mut told = Told::default();
    match without_options(arguments) {
        Some(rest) => events(&rest.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>(), &mut told),
        None => told.unclear = true,
    }
    told
}

#[test]
fn arguments_are_events_in_any_order() {
    let told = told_by(&[
        "swayidle",
        "-w",
        "timeout",
        "300",
        "swaylock -f",
        "timeout",
        "600",
        "swaymsg 'output * power off'",
        "resume",
        "swaymsg 'output * power on'",
        "before-sleep",
        "swaylock -f",
        "lock",
        "swaylock",
        "idlehint",
        "60",
    ]);
    let seconds: Vec<(u32, bool)> = told.timers.iter().map(|t| (t.seconds, t.command.is_lock())).collect();
    assert_eq!(seconds, [(300, true), (600, false)]);
    assert!(told.on_lock.is_some_and(|command| command.is_lock()));
    assert!(!told.unclear);
}

#[test]
fn another_file_and_unknown_events_are_unclear() {
    for arguments in [
        &["swayidle", "-C", "/tmp/config"][..],
        &["swayidle", "-C/tmp/config"],
        &["swayidle", "--config"],
        &["swayidle", "tomorrow", "5", "swaylock"],
        &["swayidle", "timeout", "5"],
        &["swayidle", "timeout", "5m", "swaylock"],
        &["swayidle", "-S"],
        &[],
    ] {
        assert!(told_by(arguments).unclear, "{arguments:?}");
    }
}

#[test]
fn a_line_is_parted_as_the_shell_does() {
    assert_eq!(words("timeout 300 'swaylock -f'").unwrap(), ["timeout", "300", "swaylock -f"]);
    assert_eq!(words(r#"timeout 5 "a \"b\"" c\ d"#).unwrap(), ["timeout", "5", "a \"b\"", "c d"]);
    assert_eq!(words("lock ''").unwrap(), ["lock", ""]);
    for unclear in
        ["timeout $T swaylock", "lock `x`", "lock 'x", "lock \"$x\"", "lock ~/x", "lock x;", "lock x\\"]
    {
        assert_eq!(words(unclear), None, "{unclear}");
    }
}
