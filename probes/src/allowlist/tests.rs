use super::*;
use crate::windows;

/// Widening what the agent may ask shows in review: this list is the contract with the employee.
#[test]
fn everything_the_agent_may_ask() {
    let list: Vec<String> =
        questions(Platform::Linux).into_iter().map(|p| format!("{}: {}", p.control, p.pattern)).collect();
    insta::assert_snapshot!(list.join("\n"));
}

#[test]
fn everything_the_agent_may_ask_of_a_mac() {
    let list: Vec<String> =
        questions(Platform::Macos).into_iter().map(|p| format!("{}: {}", p.control, p.pattern)).collect();
    insta::assert_snapshot!(list.join("\n"));
}

#[test]
fn everything_the_agent_may_ask_on_windows() {
    let list: Vec<String> =
        questions(Platform::Windows).into_iter().map(|p| format!("{}: {}", p.control, p.pattern)).collect();
    insta::assert_snapshot!(list.join("\n"));
}

#[test]
fn every_program_lies_at_absolute_paths() {
    for program in Program::ALL {
        assert!(!program.paths().is_empty());
        assert!(program.paths().iter().all(|path| path.starts_with('/')), "{program:?}");
    }
}

#[test]
fn a_star_is_one_name() {
    assert!(fits("read /sys/dev/block/*/uevent", "read /sys/dev/block/8:0/uevent"));
    assert!(!fits("read /sys/dev/block/*/uevent", "read /sys/dev/block/8:0/x/uevent"));
    assert!(!fits("read /sys/dev/block/*/uevent", "read /sys/dev/block//uevent"));
    assert!(!fits("run-as * GNOME a b", "run-as 1 2 GNOME a b"));
    assert!(fits("metadata /opt/x*", "metadata /opt/x12"));
    assert!(!fits("metadata /opt/x*", "metadata /opt/x"));
}

#[test]
fn what_is_not_listed_is_not_permitted() {
    let read = |path: &str| Question::Read(path.to_owned());
    assert!(is_permitted(Platform::Linux, &read("/proc/swaps")));
    for path in
        ["/etc/shadow", "/proc/swaps/../self/environ", "/sys/dev/block/../uevent", "/sys/dev/block/./uevent"]
    {
        assert!(!is_permitted(Platform::Linux, &read(path)), "{path}");
    }
    assert!(!is_permitted(Platform::Macos, &read("/proc/swaps")));
    assert!(!is_permitted(Platform::Windows, &read("/proc/swaps")));
    let of_user = |name: &str| windows::screen_lock::of_user(name).into_iter();
    assert!(of_user("S-1-5-21-1-2-3-1001").all(|q| is_permitted(Platform::Windows, &q)));
    for name in [r"S-1-5-21-1\x", "..", ""] {
        assert!(of_user(name).all(|q| !is_permitted(Platform::Windows, &q)), "{name}");
    }
    assert!(!is_permitted(Platform::Linux, &Question::run(Program::AptGet, &["dist-upgrade"])));
}
