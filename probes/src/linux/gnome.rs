//! The lock settings of GNOME Shell, asked as the user on his own session bus.
//!
//! Without that bus `gsettings` prints defaults and says nothing, so the bus must first say that GNOME Shell
//! is on it.

use std::collections::BTreeMap;

use proto::{LockScope, LockSetting};

use crate::{
    answers::{Round, unanswered, unparsed},
    drive::Step,
    linux::{mounts::decimal, sessions::Session},
    programs::Program,
    question::Question,
};

/// Names a GNOME session goes by, and the value its desktop has for per-desktop defaults.
const SESSIONS: [(&str, &str); 8] = [
    ("GNOME", "GNOME"),
    ("gnome", "GNOME"),
    ("gnome-classic", "GNOME-Classic:GNOME"),
    ("gnome-wayland", "GNOME"),
    ("gnome-xorg", "GNOME"),
    ("ubuntu", "ubuntu:GNOME"),
    ("ubuntu-wayland", "ubuntu:GNOME"),
    ("ubuntu-xorg", "ubuntu:GNOME"),
];
/// Asks the session bus itself whether GNOME Shell is connected to it.
pub(crate) const SHELL_ON_BUS: [&str; 9] = [
    "call",
    "--session",
    "--dest",
    "org.freedesktop.DBus",
    "--object-path",
    "/org/freedesktop/DBus",
    "--method",
    "org.freedesktop.DBus.NameHasOwner",
    "org.gnome.Shell",
];
/// Listed with their names beside the values, so that an answer says what it is about.
pub(crate) const SCHEMAS: [&str; 3] =
    ["org.gnome.desktop.session", "org.gnome.desktop.screensaver", "org.gnome.desktop.lockdown"];
pub(crate) const LIST_LOCKS: [&str; 2] = ["list-locks", "/org/gnome/desktop/"];
/// Keys an administrator must have locked before the setting counts as enforced.
const ENFORCED_KEYS: [&str; 4] = [
    "/org/gnome/desktop/lockdown/disable-lock-screen",
    "/org/gnome/desktop/screensaver/lock-delay",
    "/org/gnome/desktop/screensaver/lock-enabled",
    "/org/gnome/desktop/session/idle-delay",
];

/// Value of XDG_CURRENT_DESKTOP of a session's desktop; `None` when it is not GNOME Shell.
pub(crate) fn desktop_of(session: &Session) -> Option<&'static str> {
    SESSIONS.iter().find(|(name, _)| *name == session.desktop).map(|(_, desktop)| *desktop)
}

/// Every value `desktop_of` can give.
pub(crate) fn desktops() -> impl Iterator<Item = &'static str> {
    let mut desktops: Vec<&str> = SESSIONS.iter().map(|(_, desktop)| *desktop).collect();
    desktops.sort_unstable();
    desktops.dedup();
    desktops.into_iter()
}

/// The setting of one user.
///
/// # Errors
/// The step to return instead.
pub(crate) fn setting(round: &mut Round<'_>, uid: u32, desktop: &str) -> Result<LockSetting, Step> {
    let as_user = |program, args: &[&str]| Question::RunAs {
        uid,
        desktop: desktop.to_owned(),
        program,
        args: args.iter().map(|a| (*a).to_owned()).collect(),
    };
    let bus = as_user(Program::Gdbus, &SHELL_ON_BUS);
    let shell = round.ask(&bus);
    let lists = SCHEMAS.map(|schema| {
        let question = as_user(Program::Gsettings, &["list-recursively", schema]);
        (schema, round.ask(&question), question)
    });
    let locks = round.ask(&as_user(Program::Dconf, &LIST_LOCKS));
    if let Some(step) = round.pending() {
        return Err(step);
    }
    match shell.line() {
        Some("(true,)") => {}
        Some("(false,)") => return Err(no_session(bus)),
        _ if matches!(shell, crate::question::Answer::Output { .. }) => return Err(no_session(bus)),
        _ => return Err(unanswered(bus, shell)),
    }
    let mut values = BTreeMap::new();
    for (schema, answer, question) in lists {
        let Some(text) = answer.whole_text() else { return Err(unanswered(question, answer)) };
        for line in text.lines() {
            let mut parts = line.splitn(3, ' ');
            match (parts.next(), parts.next(), parts.next()) {
                (Some(of), Some(key), Some(value)) if of == schema => {
                    values.insert((schema, key), value);
                }
                _ => return Err(unparsed(question)),
            }
        }
    }
    let flag = |schema, key| match values.get(&(schema, key)) {
        Some(&"true") => Some(true),
        Some(&"false") => Some(false),
        _ => None,
    };
    let seconds = |schema, key| values.get(&(schema, key)).and_then(|v| decimal(v.strip_prefix("uint32 ")?));
    let [session, screensaver, lockdown] = SCHEMAS;
    let enabled = match (flag(screensaver, "lock-enabled"), flag(lockdown, "disable-lock-screen")) {
        (Some(enabled), Some(disabled)) => Some(enabled && !disabled),
        _ => None,
    };
    Ok(LockSetting {
        desktop: "gnome".to_owned(),
        scope: LockScope::Session.into(),
        enabled,
        idle_seconds: seconds(session, "idle-delay"),
        delay_seconds: seconds(screensaver, "lock-delay"),
        enforced: locks
            .whole_text()
            .map(|text| ENFORCED_KEYS.iter().all(|key| text.lines().any(|line| line == *key))),
    })
}

fn no_session(question: Question) -> Step {
    Step::Done(crate::drive::Outcome::Unavailable(proto::Reason::NoSession, Some(question)))
}
