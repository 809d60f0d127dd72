//! `screen-lock` on Windows: the machine's limit on idle time, and the screen saver of everybody who is logged on.
//!
//! What is looked at either demands a password after a known time or says that it does not. That a device also asks
//! for one when it wakes is no lock after idle time, and only keeps "off" from being claimed.

use proto::{LockScope, LockSetting, Reason, ScreenLock, facts::Control};

use crate::{
    answers::{Answers, Round},
    drive::{Outcome, Step},
    question::Question,
    table::{Row, Table},
    windows::{self, Asked},
};

const MACHINE: &str = r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Policies\System";
const LIMIT: &str = "InactivityTimeoutSecs";
const WINLOGON: &str = r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion\Winlogon";
const GRACE: &str = "ScreenSaverGracePeriod";
/// Seconds Windows waits after the screen saver begins when nobody set [`GRACE`].
const GRACE_DEFAULT: u32 = 5;
const USERS: &str = "HKU";
/// Everybody who ever logged on has a profile.
const PROFILES: &str = r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion\ProfileList";
/// How the numbers of people begin: of a computer or domain, and of Entra.
const PEOPLE: [&str; 2] = ["S-1-5-21-", "S-1-12-1-"];
/// The second key of every user, with classes only.
const CLASSES: &str = "_Classes";
const POLICY: &str = r"Software\Policies\Microsoft\Windows\Control Panel\Desktop";
const CHOICE: &str = r"Control Panel\Desktop";
const ACTIVE: &str = "ScreenSaveActive";
const SECURE: &str = "ScreenSaverIsSecure";
const TIMEOUT: &str = "ScreenSaveTimeOut";
const SAVER: &str = "SCRNSAVE.EXE";
const WAKE: &str = "DelayLockInterval";
/// [`WAKE`] of a device that never asks for a password when it wakes.
const NEVER: u64 = 0xFFFF_FFFF;
const DESKTOP: &str = "windows";
/// Most rows of a list of facts (docs/FORMAT.md section 3).
const USERS_MAX: usize = 256;

pub(crate) fn machine() -> Question {
    Question::Registry { key: MACHINE.to_owned(), names: &[LIMIT] }
}

pub(crate) fn grace() -> Question {
    Question::Registry { key: WINLOGON.to_owned(), names: &[GRACE] }
}

pub(crate) fn people() -> [Question; 2] {
    PEOPLE.map(|prefix| Question::Keys { key: USERS.to_owned(), prefix })
}

/// Who has a profile. The settings of those whose registry is not loaded cannot be seen.
pub(crate) fn profiles() -> [Question; 2] {
    PEOPLE.map(|prefix| Question::Keys { key: PROFILES.to_owned(), prefix })
}

/// What an administrator set for a user, and what he chose himself.
pub(crate) fn of_user(name: &str) -> [Question; 2] {
    [POLICY, CHOICE].map(|below| Question::Registry {
        key: format!(r"{USERS}\{name}\{below}"),
        names: &[ACTIVE, TIMEOUT, SECURE, SAVER, WAKE],
    })
}

/// The step of the probe on Windows.
pub(crate) fn step(answers: &Answers) -> Step {
    let mut round = Round::new(answers);
    let machine = windows::ask(&mut round, machine());
    let grace = windows::ask(&mut round, grace());
    let people = people().map(|question| windows::ask(&mut round, question));
    let profiles = profiles().map(|question| windows::ask(&mut round, question));
    if let Some(step) = round.pending() {
        return step;
    }
    let Some(limit) = machine.table().and_then(limit) else { return machine.unusable() };
    let mut names = Vec::new();
    for asked in people {
        let Some(found) = asked.table().and_then(user_names) else { return asked.unusable() };
        names.extend(found);
    }
    let mut hidden = false;
    for asked in profiles {
        let Some(found) = asked.table().and_then(user_names) else { return asked.unusable() };
        hidden |= found.iter().any(|profile| !names.iter().any(|name| name.eq_ignore_ascii_case(profile)));
    }
    // The machine's limit holds for everybody; without one, nothing is known of whoever is not loaded.
    let users_truncated = names.len() > USERS_MAX || hidden && limit.is_none();
    let settings: Vec<[Asked<'_>; 2]> = names
        .into_iter()
        .take(USERS_MAX)
        .map(|name| of_user(name).map(|question| windows::ask(&mut round, question)))
        .collect();
    if let Some(step) = round.pending() {
        return step;
    }
    let grace = grace.table().and_then(grace_seconds);
    let mut users: Vec<LockSetting> = settings
        .iter()
        .map(|[policy, choice]| setting(policy.table(), choice.table(), grace, limit))
        .collect();
    if users.is_empty() {
        // Nobody is logged on: only what holds for everybody can be told.
        let Some(limit) = limit else { return Step::Done(Outcome::unavailable(Reason::NoSession)) };
        users.push(by_limit(LockScope::SystemDefault, limit));
    }
    Step::Done(Outcome::observed(Control::ScreenLock(ScreenLock { users, users_truncated })))
}

/// The machine's limit in seconds: `Some(None)` where there is none, `None` for what cannot be read.
#[expect(clippy::option_option, reason = "could not look, no limit, and a limit are three things")]
fn limit(table: &Table<'_>) -> Option<Option<u32>> {
    let Some(row) = table.rows.first() else { return Some(None) };
    if row.all(LIMIT).next().is_none() {
        return Some(None);
    }
    let seconds = u32::try_from(row.number(LIMIT)?).ok()?;
    Some((seconds != 0).then_some(seconds))
}

/// Names of people's keys; `None` when a row has no name.
fn user_names<'a>(table: &Table<'a>) -> Option<Vec<&'a str>> {
    let names: Vec<&str> = table.rows.iter().map(|row| row.text("Name")).collect::<Option<_>>()?;
    Some(names.into_iter().filter(|name| !name.ends_with(CLASSES)).collect())
}

/// Kept as a number or as text, by different versions.
fn grace_seconds(table: &Table<'_>) -> Option<u32> {
    let Some(row) = table.rows.first() else { return Some(GRACE_DEFAULT) };
    if row.all(GRACE).next().is_none() {
        return Some(GRACE_DEFAULT);
    }
    match (row.number(GRACE), row.text(GRACE)) {
        (Some(number), _) => u32::try_from(number).ok(),
        (None, Some(text)) => decimal(text),
        (None, None) => None,
    }
}

fn by_limit(scope: LockScope, limit: u32) -> LockSetting {
    LockSetting {
        desktop: DESKTOP.to_owned(),
        scope: scope.into(),
        enabled: Some(true),
        idle_seconds: Some(limit),
        delay_seconds: Some(0),
        enforced: Some(true),
    }
}

/// What demands a password first: the machine's limit, or the user's screen saver.
fn setting(
    policy: Option<&Table<'_>>,
    choice: Option<&Table<'_>>,
    grace: Option<u32>,
    limit: Option<u32>,
) -> LockSetting {
    let saver = match (policy, choice) {
        (Some(policy), Some(choice)) => screen_saver(policy.rows.first(), choice.rows.first(), grace),
        // The user's part of the registry cannot be read: nothing is known of him.
        _ => unknown(),
    };
    let total = |s: &LockSetting| s.idle_seconds?.checked_add(s.delay_seconds?);
    match limit {
        Some(limit)
            if saver.enabled != Some(true) || total(&saver).is_none_or(|seconds| seconds >= limit) =>
        {
            by_limit(LockScope::Session, limit)
        }
        _ => saver,
    }
}

fn unknown() -> LockSetting {
    LockSetting { desktop: DESKTOP.to_owned(), scope: LockScope::Session.into(), ..LockSetting::default() }
}

/// What a policy sets wins over the user's choice, value by value. All four values must say that it locks.
fn screen_saver(policy: Option<&Row<'_>>, choice: Option<&Row<'_>>, grace: Option<u32>) -> LockSetting {
    let is_set = |name: &str| policy.is_some_and(|row| row.all(name).next().is_some());
    let value = |name: &str| if is_set(name) { policy?.text(name) } else { choice?.text(name) };
    let is_absent = |name: &str| !is_set(name) && choice.is_none_or(|row| row.all(name).next().is_none());
    let no_program = is_absent(SAVER) || value(SAVER).is_some_and(|program| program.trim().is_empty());
    let wakes_without = choice.and_then(|row| row.number(WAKE)) == Some(NEVER);
    let locks =
        value(ACTIVE) == Some("1") && value(SECURE) == Some("1") && !no_program && value(SAVER).is_some();
    let is_off = value(ACTIVE) == Some("0")
        || no_program
        || value(SECURE) == Some("0")
        || is_absent(SECURE) && choice.is_some();
    let idle_seconds = value(TIMEOUT).and_then(decimal);
    LockSetting {
        enabled: match (locks, is_off && wakes_without) {
            (true, _) => Some(true),
            (false, true) => Some(false),
            (false, false) => None,
        },
        idle_seconds: if locks { idle_seconds } else { None },
        delay_seconds: if locks { grace } else { None },
        enforced: locks.then(|| [ACTIVE, SECURE, TIMEOUT, SAVER].into_iter().all(is_set)),
        ..unknown()
    }
}

fn decimal(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}
