//! `screen-lock` on macOS: when the display goes dark, and when it then asks each user for a password.
//!
//! Who has the screen is looked at first, then those who are logged in behind him. `askForPassword` of the user's own preferences has meant nothing
//! since macOS 10.13, so `sysadminctl` is asked, as each user; it prints to standard error.

use proto::{LockScope, LockSetting, Reason, ScreenLock, facts::Control};

use crate::{
    answers::{Answers, Round, unanswered, unparsed},
    drive::{Outcome, Step},
    macos::{
        managed,
        plists::{self, Value},
        power, sessions,
    },
    programs::Program,
    question::{Answer, Question},
};

/// Belongs to the user who has the screen, or to root when nobody has it.
pub(crate) const CONSOLE: &str = "/dev/console";
/// The desktop of macOS, in the place where others have names.
pub(crate) const DESKTOP: &str = "Aqua";
/// Whether and when a password is asked for.
pub(crate) const LOCK: [&str; 2] = ["-screenLock", "status"];
/// When the screen saver starts.
pub(crate) const SAVER: [&str; 4] = ["-currentHost", "export", SAVER_DOMAIN, "-"];
/// The user's name.
pub(crate) const NAME: [&str; 1] = ["-un"];
/// The screen saver's preferences.
pub(crate) const SAVER_DOMAIN: &str = "com.apple.screensaver";

/// Most users who are looked at (docs/FORMAT.md section 3: rows of a list).
const USERS_MAX: usize = 256;

/// The step of the probe on macOS.
pub(crate) fn step(answers: &Answers) -> Step {
    let mut round = Round::new(answers);
    let console = round.metadata(CONSOLE);
    let sessions = round.ask(&sessions::question());
    let pmset = Question::run(Program::Pmset, &power::CUSTOM);
    let dark = round.ask(&pmset);
    if let Some(step) = round.pending() {
        return step;
    }
    let front = match console {
        Answer::Metadata(metadata) if metadata.path == CONSOLE => metadata.uid,
        other => return unanswered(Question::Metadata(CONSOLE.to_owned()), other),
    };
    let Some(mut uids) = sessions::users(sessions) else { return unanswered(sessions::question(), sessions) };
    // The screen belongs to one of them, or to root where nobody has it.
    if front != 0 && !uids.contains(&front) {
        return unparsed(sessions::question());
    }
    // Without a session nobody's setting is in force, and a guess would be one.
    if uids.is_empty() {
        return Step::Done(Outcome::unavailable(Reason::NoSession));
    }
    uids.sort_by_key(|uid| *uid != front);
    let users_truncated = uids.len() > USERS_MAX;
    let people: Vec<User<'_>> =
        uids.into_iter().take(USERS_MAX).map(|uid| User::ask(&mut round, uid)).collect();
    if let Some(step) = round.pending() {
        return step;
    }
    let mut forced = Vec::new();
    for user in &people {
        let Some(name) = user.name.line().filter(|name| is_name(name)) else {
            return unanswered(user.question(Program::Id, &NAME), user.name);
        };
        forced.push(managed::ask(&mut round, SAVER_DOMAIN, Some(name)));
    }
    if let Some(step) = round.pending() {
        return step;
    }
    let Some(dark) = power::display_sleep(dark) else { return unanswered(pmset, dark) };
    let mut users = Vec::new();
    for (user, forced) in people.iter().zip(&forced) {
        match user.setting(forced, &dark) {
            Ok(setting) => users.push(setting),
            Err(step) => return step,
        }
    }
    Step::Done(Outcome::observed(Control::ScreenLock(ScreenLock { users, users_truncated })))
}

/// What was asked as one user.
struct User<'a> {
    uid: u32,
    lock: &'a Answer,
    saver: &'a Answer,
    name: &'a Answer,
}

impl<'a> User<'a> {
    fn ask(round: &mut Round<'a>, uid: u32) -> Self {
        let mut ask = |program: Program, args: &[&str]| round.ask(&as_user(uid, program, args));
        Self {
            uid,
            lock: ask(Program::Sysadminctl, &LOCK),
            saver: ask(Program::Defaults, &SAVER),
            name: ask(Program::Id, &NAME),
        }
    }

    fn question(&self, program: Program, args: &[&str]) -> Question {
        as_user(self.uid, program, args)
    }

    /// The user's setting, or the step that says what could not be read.
    fn setting(&self, forced: &managed::Managed<'_>, dark: &[u32]) -> Result<LockSetting, Step> {
        let Some((enabled, delay_seconds)) = password(self.lock) else {
            return Err(unanswered(self.question(Program::Sysadminctl, &LOCK), self.lock));
        };
        let saver = || self.question(Program::Defaults, &SAVER);
        let Some(own) = plists::dict(self.saver) else { return Err(unanswered(saver(), self.saver)) };
        // The folder is not named: it may be called as the user is.
        let Some(forced) = forced.dicts() else {
            return Err(Step::Done(Outcome::unavailable(Reason::UnparsedOutput)));
        };
        let mut starts = Vec::new();
        for value in forced.iter().filter_map(|dict| dict.get("idleTime")) {
            starts.push(value.number());
        }
        // What is forced wins over what the user chose; of several, the latest is believed.
        let starts = match (starts.is_empty(), own.get("idleTime")) {
            (false, _) => starts.into_iter().collect::<Option<Vec<u32>>>().map(worst),
            (true, Some(value)) => value.number().map(Some),
            (true, None) => Some(None),
        };
        let Some(starts) = starts else { return Err(unparsed(saver())) };
        let is_forced = |name: &str| forced.first().is_some_and(|dict| dict.contains_key(name));
        let forced_password =
            forced.iter().any(|dict| dict.get("askForPassword").and_then(Value::flag) == Some(true));
        Ok(LockSetting {
            desktop: DESKTOP.to_owned(),
            scope: LockScope::Session.into(),
            enabled: Some(enabled),
            idle_seconds: worst(dark.iter().map(|dark| earlier(*dark, starts)).collect()),
            delay_seconds,
            enforced: Some(forced_password && is_forced("askForPasswordDelay") && is_forced("idleTime")),
        })
    }
}

fn as_user(uid: u32, program: Program, args: &[&str]) -> Question {
    let args = args.iter().map(|arg| (*arg).to_owned()).collect();
    Question::RunAs { uid, desktop: DESKTOP.to_owned(), program, args }
}

/// A user's name that names no other place as part of a path.
fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    !name.is_empty() && name.len() <= 64 && name.chars().all(plain) && !name.starts_with('.')
}

/// The earlier of two moments of which 0 and none mean never; 0 when neither comes.
fn earlier(dark: u32, starts: Option<u32>) -> u32 {
    [dark, starts.unwrap_or(0)].into_iter().filter(|seconds| *seconds > 0).min().unwrap_or(0)
}

/// The latest of several moments, of which 0 is never.
fn worst(moments: Vec<u32>) -> Option<u32> {
    if moments.contains(&0) { Some(0) } else { moments.into_iter().max() }
}

/// Whether a password is asked for, and how many seconds after the display went dark.
fn password(answer: &Answer) -> Option<(bool, Option<u32>)> {
    let Answer::Output { status: 0, stdout, stderr } = answer else { return None };
    if !stdout.is_empty() {
        return None;
    }
    let line = std::str::from_utf8(stderr).ok()?.strip_suffix('\n')?;
    let (stamp, words) = line.split_once("] screenLock ")?;
    if line.contains('\n') || !stamp.contains(" sysadminctl[") {
        return None;
    }
    match words {
        "is off" => return Some((false, None)),
        "delay is immediate" => return Some((true, Some(0))),
        _ => {}
    }
    let number = words.strip_prefix("delay is ")?.strip_suffix(" seconds")?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if fraction.is_empty() || !fraction.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    match whole.strip_prefix('-') {
        // -1: no password is ever asked for.
        Some("1") => Some((false, None)),
        Some(_) => None,
        None if whole.bytes().all(|digit| digit.is_ascii_digit()) => {
            let seconds: u32 = whole.parse().ok()?;
            Some((true, Some(seconds.checked_add(u32::from(fraction.bytes().any(|digit| digit != b'0')))?)))
        }
        None => None,
    }
}
