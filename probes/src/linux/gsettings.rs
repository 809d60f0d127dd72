//! The lock settings of GNOME Shell, Cinnamon and MATE, asked as the user on his own session bus.
//!
//! Without that bus `gsettings` prints defaults and says nothing, so the bus must first say that the program that
//! locks is on it.

use std::collections::BTreeMap;

use proto::{LockScope, LockSetting};

use crate::{
    answers::{Round, unanswered, unparsed},
    drive::Step,
    linux::{
        desktop::{User, must_be_on_bus, on_bus},
        mounts::decimal,
    },
    programs::Program,
};

/// Where a desktop keeps its lock settings.
#[derive(Debug)]
pub(crate) struct Source {
    /// The desktop, as facts name it.
    name: &'static str,
    /// Name on the session bus of the program that locks.
    locker: &'static str,
    /// Schema of `idle-delay`.
    session: &'static str,
    /// Schema of `lock-enabled` and `lock-delay`.
    screensaver: &'static str,
    /// Schema of `disable-lock-screen`.
    lockdown: &'static str,
    /// Seconds in one unit of its numbers.
    unit_seconds: u32,
    /// What `idle-activation-enabled` does.
    activation: Activation,
    /// Its users may name a locker of their own.
    own_locker: bool,
    /// Folder of its keys in dconf.
    folder: &'static str,
    /// Keys an administrator must have locked before the setting counts as enforced, each with its other names.
    enforced: &'static [&'static [&'static str]],
}

/// What `idle-activation-enabled` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Activation {
    /// Nothing.
    Ignored,
    /// Unset, nothing happens when the session is idle.
    Obeyed,
    /// Nobody says so: unset, it is not known when it locks.
    Unclear,
}

/// gsettings-desktop-schemas: seconds.
pub(crate) static GNOME: Source = Source {
    name: "gnome",
    locker: "org.gnome.Shell",
    session: "org.gnome.desktop.session",
    screensaver: "org.gnome.desktop.screensaver",
    lockdown: "org.gnome.desktop.lockdown",
    unit_seconds: 1,
    activation: Activation::Ignored,
    own_locker: false,
    folder: "/org/gnome/desktop/",
    enforced: &[
        &["/org/gnome/desktop/lockdown/disable-lock-screen"],
        &["/org/gnome/desktop/screensaver/lock-delay"],
        &["/org/gnome/desktop/screensaver/lock-enabled"],
        &["/org/gnome/desktop/session/idle-delay"],
    ],
};

/// cinnamon-desktop: seconds.
pub(crate) static CINNAMON: Source = Source {
    name: "cinnamon",
    locker: "org.cinnamon.ScreenSaver",
    session: "org.cinnamon.desktop.session",
    screensaver: "org.cinnamon.desktop.screensaver",
    lockdown: "org.cinnamon.desktop.lockdown",
    unit_seconds: 1,
    activation: Activation::Unclear,
    own_locker: true,
    folder: "/org/cinnamon/desktop/",
    enforced: &[
        &["/org/cinnamon/desktop/lockdown/disable-lock-screen"],
        &["/org/cinnamon/desktop/screensaver/custom-screensaver-command"],
        &["/org/cinnamon/desktop/screensaver/idle-activation-enabled"],
        &["/org/cinnamon/desktop/screensaver/lock-delay"],
        &["/org/cinnamon/desktop/screensaver/lock-enabled"],
        &["/org/cinnamon/desktop/session/idle-delay"],
    ],
};

/// mate-screensaver and mate-session-manager: minutes.
pub(crate) static MATE: Source = Source {
    name: "mate",
    locker: "org.mate.ScreenSaver",
    session: "org.mate.session",
    screensaver: "org.mate.screensaver",
    lockdown: "org.mate.lockdown",
    unit_seconds: 60,
    activation: Activation::Obeyed,
    own_locker: false,
    // Its screen saver's keys do not lie below /org/mate/ in every release.
    folder: "/org/",
    enforced: &[
        &["/org/mate/desktop/lockdown/disable-lock-screen"],
        &["/org/mate-screensaver/idle-activation-enabled", "/org/mate/screensaver/idle-activation-enabled"],
        &["/org/mate-screensaver/lock-delay", "/org/mate/screensaver/lock-delay"],
        &["/org/mate-screensaver/lock-enabled", "/org/mate/screensaver/lock-enabled"],
        &["/org/mate/desktop/session/idle-delay"],
    ],
};

/// What is asked, with the schema that an answer must be of.
fn lists(source: &Source) -> [(&'static str, Vec<String>); 3] {
    [source.session, source.screensaver, source.lockdown]
        .map(|schema| (schema, vec!["list-recursively".to_owned(), schema.to_owned()]))
}

fn list_locks(source: &Source) -> Vec<String> {
    vec!["list-locks".to_owned(), source.folder.to_owned()]
}

/// Everything that is asked as a user.
pub(crate) fn asked(source: &Source) -> Vec<(Program, Vec<String>)> {
    let settings = lists(source).map(|(_, args)| (Program::Gsettings, args));
    let mut all = vec![(Program::Gdbus, on_bus(source.locker)), (Program::Dconf, list_locks(source))];
    all.extend(settings);
    all
}

/// The setting of one user.
///
/// # Errors
/// The step to return instead.
pub(crate) fn setting(round: &mut Round<'_>, user: User, source: &Source) -> Result<LockSetting, Step> {
    let bus = user.run(Program::Gdbus, &on_bus(source.locker));
    let locker = round.ask(&bus);
    let lists = lists(source).map(|(schema, args)| {
        let question = user.run(Program::Gsettings, &args);
        (schema, round.ask(&question), question)
    });
    let locks = round.ask(&user.run(Program::Dconf, &list_locks(source)));
    if let Some(step) = round.pending() {
        return Err(step);
    }
    must_be_on_bus(bus, locker)?;
    let mut values = BTreeMap::new();
    for (schema, answer, question) in lists {
        let Some(text) = answer.whole_text() else { return Err(unanswered(question, answer)) };
        for line in text.lines() {
            let mut parts = line.splitn(3, ' ');
            match (parts.next(), parts.next(), parts.next()) {
                (Some(of), Some(key), Some(value)) if of == schema => {
                    values.insert((schema, key), value);
                }
                // Schemas below it are listed as well.
                (Some(of), Some(_), Some(_)) if is_below(schema, of) => {}
                _ => return Err(unparsed(question)),
            }
        }
    }
    let flag = |schema, key| match values.get(&(schema, key)) {
        Some(&"true") => Some(true),
        Some(&"false") => Some(false),
        _ => None,
    };
    let seconds = |schema, key| {
        let value = values.get(&(schema, key))?;
        decimal(value.strip_prefix("uint32 ").unwrap_or(value))?.checked_mul(source.unit_seconds)
    };
    let not_disabled = flag(source.lockdown, "disable-lock-screen").map(|disabled| !disabled);
    let enabled = flag(source.screensaver, "lock-enabled").zip(not_disabled).map(|(a, b)| a && b);
    let idle = seconds(source.session, "idle-delay");
    let active = flag(source.screensaver, "idle-activation-enabled");
    let own_locker =
        source.own_locker && values.get(&(source.screensaver, "custom-screensaver-command")) != Some(&"''");
    Ok(LockSetting {
        desktop: source.name.to_owned(),
        scope: LockScope::Session.into(),
        enabled: enabled.filter(|enabled| !enabled || !own_locker),
        idle_seconds: match (source.activation, active) {
            (Activation::Ignored, _) | (_, Some(true)) => idle,
            (Activation::Obeyed, Some(false)) => Some(0),
            (Activation::Unclear, Some(false)) | (_, None) => None,
        },
        delay_seconds: seconds(source.screensaver, "lock-delay"),
        enforced: locks.whole_text().map(|text| {
            let locked = |keys: &&[&str]| text.lines().any(|line| keys.contains(&line));
            source.enforced.iter().all(locked)
        }),
    })
}

/// Whether a schema is one of those below another.
fn is_below(schema: &str, other: &str) -> bool {
    other.strip_prefix(schema).is_some_and(|rest| rest.starts_with('.'))
}
