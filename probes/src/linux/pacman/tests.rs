use super::*;

#[test]
fn upgrades_are_counted_and_none_is_exit_code_one() {
    assert_eq!(count(1, b"", b""), Some(0));
    assert_eq!(count(0, b"bzip2 1.0.8-4 -> 1.0.8-5\n", b""), Some(1));
    assert_eq!(count(0, b"bzip2 1.0.8-4 -> 1.0.8-5\nlinux 6.1-1 -> 6.2-1 [ignored]\n", b""), Some(2));
}

#[test]
fn an_error_is_not_the_absence_of_upgrades() {
    assert_eq!(count(1, b"", b"error: failed to initialize alpm library\n"), None);
    assert_eq!(count(0, b"", b""), None);
    assert_eq!(count(1, b"bzip2 1.0.8-4 -> 1.0.8-5\n", b""), None);
    assert_eq!(count(0, b"bzip2 1.0.8-4 -> 1.0.8-5", b""), None);
    assert_eq!(count(0, b"bzip2 1.0.8-4\n", b""), None);
    assert_eq!(count(0, b"\xff\xfe\n", b""), None);
    assert_eq!(count(256 + 9, b"", b""), None);
}
