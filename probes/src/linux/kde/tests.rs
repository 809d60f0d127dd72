use super::*;

/// The lock after files, the weakest first.
fn lock(files: &[&str]) -> Option<LockSetting> {
    let mut settings = Settings::default();
    for file in files {
        settings.merge(&file.lines().collect::<Vec<_>>())?;
    }
    Some(settings.lock())
}

/// Enabled, idle, delay, enforced.
fn facts(files: &[&str]) -> (Option<bool>, Option<u32>, Option<u32>, Option<bool>) {
    let lock = lock(files).unwrap();
    (lock.enabled, lock.idle_seconds, lock.delay_seconds, lock.enforced)
}

#[test]
fn an_absent_key_is_its_default() {
    let defaults = (Some(true), Some(300), Some(5), Some(false));
    assert_eq!(facts(&[]), defaults);
    assert_eq!(facts(&["[Greeter][Wallpaper][org.kde.image][General]\nImage=/usr/share/x\n"]), defaults);
    assert_eq!(facts(&["[Other]\nTimeout=90\nAutolock=false\n"]), defaults);
}

#[test]
fn minutes_become_seconds_and_never_is_zero() {
    let idle = |value: &str| facts(&[&format!("[Daemon]\nTimeout={value}\n")]).1;
    assert_eq!(idle("10"), Some(600));
    assert_eq!(idle("2.5"), Some(180));
    assert_eq!(idle("0"), Some(0));
    assert_eq!(idle("-1"), Some(0));
    for unclear in ["", "0.5", "ten", "1e2", "5.", "99999999"] {
        assert_eq!(idle(unclear), None, "{unclear}");
    }
}

#[test]
fn each_switch_must_be_on() {
    for key in ["Autolock", "Lock", "RequirePassword"] {
        assert_eq!(facts(&[&format!("[Daemon]\n{key}=false\n")]).0, Some(false), "{key}");
        assert_eq!(facts(&[&format!("[Daemon]\n{key}=maybe\n")]).0, None, "{key}");
    }
    assert_eq!(facts(&["[Daemon]\nLock=perhaps\nAutolock=off\n"]).0, Some(false));
}

#[test]
fn the_users_file_is_over_the_systems_unless_that_is_fixed() {
    let user = "[Daemon]\nTimeout=60\nAutolock=false\n";
    assert_eq!(facts(&["[Daemon]\nTimeout=5\n", user]).1, Some(3600));
    assert_eq!(facts(&["[Daemon]\nTimeout[$i]=5\n", user]), (Some(false), Some(300), Some(5), Some(false)));
    let locked = (Some(true), Some(300), Some(5), Some(true));
    assert_eq!(facts(&["[Daemon][$i]\nTimeout=5\n", user]), locked);
    assert_eq!(facts(&["[$i]\n[Daemon]\n", user]), locked);
    let all = "[Daemon]\nAutolock[$i]=true\nLock[$i]=true\nLockGrace[$i]=5\nRequirePassword[$i]=true\nTimeout[$i]=5\n";
    assert_eq!(facts(&[all, user]), locked);
}

#[test]
fn what_is_computed_or_deleted_is_not_understood() {
    assert_eq!(lock(&["[Daemon]\nTimeout[$e]=$(cat /tmp/x)\n"]), None);
    assert_eq!(lock(&["[Daemon]\nAutolock[$d]\n"]), None);
    assert_eq!(lock(&["[Daemon]\nTimeout[de]=5\n"]), None);
    assert_eq!(lock(&["[Daemon\nTimeout=5\n"]), None);
}
