use super::*;

fn lock(locker: Locker) -> Command {
    Command::Lock { locker, grace_seconds: None, own_settings: false }
}

#[test]
fn what_everybody_writes_locks() {
    for line in [
        "swaylock",
        "swaylock -f -c 000000",
        "/usr/bin/swaylock -f --image '~/a picture.png'",
        "exec swaylock",
        "pidof swaylock || swaylock -f",
        "pgrep -x swaylock || swaylock",
        "swaymsg 'output * power off'; swaylock -f",
        "notify-send locked & swaylock",
    ] {
        assert_eq!(Command::parse(line), lock(Locker::Swaylock), "{line}");
    }
    assert_eq!(Command::parse("pidof hyprlock || hyprlock"), lock(Locker::Hyprlock));
    assert_eq!(Command::parse("gtklock -d"), lock(Locker::Strict));
    assert_eq!(Command::parse("loginctl lock-session"), Command::Request);
}

#[test]
fn what_does_something_else_does_not() {
    for line in [
        "swaymsg \"output * dpms off\"",
        "hyprctl dispatch dpms off",
        "notify-send 'swaylock in a minute'",
        "brightnessctl -s set 10",
        "",
    ] {
        assert_eq!(Command::parse(line), Command::Other, "{line}");
    }
}

#[test]
fn what_is_not_understood_is_unknown() {
    for line in [
        "~/bin/lock.sh",
        "echo swaylock",
        "test -e /tmp/x && swaylock",
        "pidof bash || swaylock",
        "pidof || swaylock",
        "false || false || swaylock",
        "exit; swaylock",
        "swaylock --version",
        "swaylock -h",
        "sh -c swaylock",
        "$LOCKER",
        "swaylock $(options)",
        "killall swaylock",
        "systemctl suspend",
        "loginctl lock-session 1; reboot",
        "loginctl terminate-session self",
        "swaylock 'unended",
        "swaylock | true",
        "swaylock --grace soon",
        "swaylock --grace",
    ] {
        let command = Command::parse(line);
        assert!(!command.is_lock(), "{line}");
        assert!(matches!(command, Command::Unknown | Command::Request), "{line}: {command:?}");
    }
}

#[test]
fn a_time_of_grace_is_counted() {
    let grace = |line: &str| match Command::parse(line) {
        Command::Lock { grace_seconds, .. } => grace_seconds,
        other => panic!("{line}: {other:?}"),
    };
    assert_eq!(grace("swaylock --grace 5"), Some(5));
    assert_eq!(grace("hyprlock --grace=3600"), Some(3600));
    assert_eq!(grace("swaylock --grace-no-mouse --grace-no-touch"), None);
}

#[test]
fn settings_of_another_place_are_told() {
    for line in ["swaylock -C /tmp/x", "swaylock --config=/tmp/x", "hyprlock -c /tmp/x"] {
        assert!(matches!(Command::parse(line), Command::Lock { own_settings: true, .. }), "{line}");
    }
    // For swaylock it is a colour.
    assert_eq!(Command::parse("swaylock -c 000000"), lock(Locker::Swaylock));
}
