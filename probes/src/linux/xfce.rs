//! The lock settings of XFCE's screen saver, as xfconf on the user's session bus has them: his own over the system's.
//!
//! Asked on the bus and not read from its files, because only the bus has what is in force, and says that it locks.

use std::collections::BTreeMap;

use proto::{LockScope, LockSetting};

use crate::{
    answers::{Round, unanswered, unparsed},
    drive::Step,
    linux::{
        desktop::{User, must_be_on_bus, on_bus},
        mounts::decimal,
        settings_files,
    },
    programs::Program,
    question::Answer,
};

/// The screen saver on the session bus.
const LOCKER: &str = "org.xfce.ScreenSaver";
/// The method that gives every property.
pub(crate) const ALL_PROPERTIES: &str = "org.xfce.Xfconf.GetAllProperties";
/// Where xfconf keeps the user's settings, below his home folder.
pub(crate) const OF_USER: &str = ".config/xfce4/xfconf/xfce-perchannel-xml/xfce4-screensaver.xml";
/// The administrator's settings; where they are locked, the user cannot change them.
pub(crate) const OF_SYSTEM: &str = "/etc/xdg/xfce4/xfconf/xfce-perchannel-xml/xfce4-screensaver.xml";
/// What `gdbus` says, by the name of the error, where nothing was ever set and all are defaults.
const NO_CHANNEL: &[u8] = b"Error: GDBus.Error:org.xfce.Xfconf.Error.ChannelNotFound: ";
const MINUTES_DEFAULT: u32 = 5;
/// Longer times are cut, and shorter ones replaced by others in each release.
const MINUTES_MAX: u32 = 480;

/// Every property of the screen saver.
fn all_properties() -> Vec<String> {
    [
        "call",
        "--session",
        "--dest",
        "org.xfce.Xfconf",
        "--object-path",
        "/org/xfce/Xfconf",
        "--method",
        ALL_PROPERTIES,
        "xfce4-screensaver",
        "/",
    ]
    .map(str::to_owned)
    .to_vec()
}

/// Everything that is asked as a user.
pub(crate) fn asked() -> Vec<(Program, Vec<String>)> {
    vec![(Program::Gdbus, on_bus(LOCKER)), (Program::Gdbus, all_properties())]
}

/// The setting of one user.
///
/// # Errors
/// The step to return instead.
pub(crate) fn setting(round: &mut Round<'_>, user: User) -> Result<LockSetting, Step> {
    let bus = user.run(Program::Gdbus, &on_bus(LOCKER));
    let question = user.run(Program::Gdbus, &all_properties());
    let (locker, properties) = (round.ask(&bus), round.ask(&question));
    let of_system = settings_files::of_system(round, OF_SYSTEM);
    if let Some(step) = round.pending() {
        return Err(step);
    }
    must_be_on_bus(bus, locker)?;
    let values = match properties {
        Answer::Output { status: 1, stdout, stderr }
            if stdout.is_empty() && stderr.starts_with(NO_CHANNEL) =>
        {
            Some(BTreeMap::new())
        }
        Answer::Output { .. } => properties.line().and_then(dictionary),
        other => return Err(unanswered(question, other)),
    };
    let Some(values) = values else { return Err(unparsed(question)) };
    let flag = |key: &str| match values.get(key) {
        Some(&"true") | None => Some(true),
        Some(&"false") => Some(false),
        Some(_) => None,
    };
    let both = |a: Option<bool>, b: Option<bool>| match (a, b) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        _ => None,
    };
    let minutes = |key: &str, default| match values.get(key) {
        None => Some(default),
        Some(text) => decimal(text).filter(|minutes| *minutes <= MINUTES_MAX),
    };
    let active = both(flag("/saver/enabled"), flag("/saver/idle-activation/enabled"));
    let idle = minutes("/saver/idle-activation/delay", MINUTES_DEFAULT).filter(|minutes| *minutes > 0);
    Ok(LockSetting {
        desktop: "xfce".to_owned(),
        scope: LockScope::Session.into(),
        enabled: both(flag("/lock/enabled"), flag("/lock/saver-activation/enabled")),
        idle_seconds: match active {
            Some(true) => idle.and_then(|minutes| minutes.checked_mul(60)),
            Some(false) => Some(0),
            None => None,
        },
        delay_seconds: minutes("/lock/saver-activation/delay", 0).and_then(|m| m.checked_mul(60)),
        enforced: match of_system.lines() {
            Ok(lines) => lines.map_or(Some(false), |lines| locked(&lines)),
            Err(_) => None,
        },
    })
}

/// Whether the administrator has locked the whole channel.
fn locked(lines: &[&str]) -> Option<bool> {
    if lines.iter().any(|line| line.contains(" unlocked=")) {
        return Some(false);
    }
    let channel = lines.iter().find(|line| line.trim_start().starts_with("<channel "))?;
    Some(channel.contains(r#" name="xfce4-screensaver""#) && channel.contains(r#" locked="*""#))
}

/// Names and values of `({'NAME': <VALUE>, …},)`, as `gdbus` prints a dictionary; `None` when it is not whole.
fn dictionary(line: &str) -> Option<BTreeMap<&str, &str>> {
    let body = line.strip_prefix('(')?.strip_suffix(",)")?;
    let mut rest = body.strip_prefix("@a{sv} ").unwrap_or(body).strip_prefix('{')?.strip_suffix('}')?;
    let mut values = BTreeMap::new();
    while !rest.is_empty() {
        let (name, after) = rest.strip_prefix('\'')?.split_once("': <")?;
        let end = end_of_value(after)?;
        let (value, tail) = after.split_at_checked(end)?;
        if name.contains('\'') || values.insert(name, value).is_some() {
            return None;
        }
        let tail = tail.strip_prefix('>')?;
        rest = match tail.strip_prefix(", ") {
            Some(more) if !more.is_empty() => more,
            Some(_) => return None,
            None if tail.is_empty() => tail,
            None => return None,
        };
    }
    Some(values)
}

/// Where the `>` is that ends a value, outside of its texts and values in it.
fn end_of_value(text: &str) -> Option<usize> {
    let mut quote = None;
    let mut escaped = false;
    let mut depth: u32 = 0;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            _ if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, '<') => depth = depth.checked_add(1)?,
            (None, '>') if depth == 0 => return Some(at),
            (None, '>') => depth = depth.checked_sub(1)?,
            (None, _) => {}
        }
    }
    None
}

#[cfg(test)]
mod tests;
