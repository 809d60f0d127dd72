//! The lock of sway and Hyprland, which have none of their own: the daemons that watch for idleness, as they run, with
//! what they were told to start.
//!
//! A daemon counts that runs as the user, from a file that root alone can write. Where none does, somebody else may
//! lock, or nobody: that is unknown, not off.

pub(crate) mod command;
pub(crate) mod hypridle;
pub(crate) mod hyprlang;
pub(crate) mod locker;
pub(crate) mod swayidle;

use proto::{LockScope, LockSetting, Reason};

use crate::{
    answers::{Round, unanswered},
    drive::{Outcome, Step},
    linux::{
        desktop::User,
        idle::{command::Command, locker::Lockers},
        settings_files::{self, CONFIG_HOME},
    },
    platform::Platform,
    products,
    question::{Answer, Process, Question},
};

/// The variable that says where their files lie.
pub(crate) const VARIABLES: [&str; 1] = [CONFIG_HOME];
/// The files a daemon is run from; anywhere else it is not known what runs.
pub(crate) const EXECUTABLES: [&str; 4] =
    ["/usr/bin/hypridle", "/usr/bin/swayidle", "/usr/local/bin/hypridle", "/usr/local/bin/swayidle"];
pub(crate) const HYPRIDLE: &str = "hypridle";
pub(crate) const SWAYIDLE: &str = "swayidle";
/// More daemons of a name than this are not looked at; each session has one.
const DAEMONS_MAX: usize = 32;

/// What happens after a time without anybody at the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Timer {
    /// Seconds; 0 is never.
    pub(crate) seconds: u32,
    /// What is started then.
    pub(crate) command: Command,
}

/// What a daemon was told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) timers: Vec<Timer>,
    /// What is started when the login manager asks for a lock.
    pub(crate) on_lock: Option<Command>,
    /// Something in it is not understood.
    pub(crate) unclear: bool,
}

/// The setting of one user.
///
/// # Errors
/// The step to return instead.
pub(crate) fn setting<'a>(
    round: &mut Round<'a>,
    user: User,
    desktop: &str,
    processes: &'a [Process],
) -> Result<LockSetting, Step> {
    let daemons = settings_files::running(processes, &[HYPRIDLE, SWAYIDLE])?;
    let too_many = daemons.len() > DAEMONS_MAX;
    let daemons: Vec<Daemon<'_>> =
        daemons.into_iter().take(DAEMONS_MAX).map(|process| Daemon::ask(round, process)).collect();
    let swayidle = swayidle::ask(round, user.uid);
    let hypridle = settings_files::of_user(round, user.uid, hypridle::FILE);
    let lockers = Lockers::ask(round, user.uid);
    if let Some(step) = round.pending() {
        return Err(step);
    }
    let mut told = Told { unclear: too_many, ..Told::default() };
    let (mut with_swayidle, mut with_hypridle) = (Vec::new(), false);
    for daemon in &daemons {
        match daemon.look(user.uid)? {
            Found::OfAnother => {}
            Found::Unknown => told.unclear = true,
            Found::Known(arguments) if daemon.is(HYPRIDLE) => {
                with_hypridle = true;
                told.unclear |= arguments.len() > 1;
            }
            Found::Known(arguments) => with_swayidle.push(arguments),
        }
    }
    let none = with_swayidle.is_empty() && !with_hypridle;
    if with_hypridle {
        hypridle::read(hypridle.lines()?, &mut told);
    }
    if !with_swayidle.is_empty() {
        swayidle::read(swayidle, &with_swayidle, &mut told)?;
    }
    let first = told
        .timers
        .iter()
        .filter(|timer| timer.seconds > 0 && timer.resolved(told.on_lock.as_ref()).is_lock())
        .min_by_key(|timer| timer.seconds);
    let unclear = none
        || told.unclear
        || told.timers.iter().any(|timer| *timer.resolved(told.on_lock.as_ref()) == Command::Unknown);
    let (enabled, idle_seconds, delay_seconds) = match first {
        Some(timer) => {
            let delay = timer.resolved(told.on_lock.as_ref()).delay(&lockers)?;
            (Some(true), Some(timer.seconds), delay)
        }
        None if unclear => (None, None, None),
        None => (Some(false), Some(0), None),
    };
    Ok(LockSetting {
        desktop: desktop.to_owned(),
        scope: LockScope::Session.into(),
        enabled,
        idle_seconds,
        delay_seconds,
        // Whatever an administrator sets, the user starts another daemon, or none.
        enforced: Some(false),
    })
}

impl Timer {
    /// What it comes to: a request to the login manager is what is started on that request.
    fn resolved<'a>(&'a self, on_lock: Option<&'a Command>) -> &'a Command {
        match (&self.command, on_lock) {
            (Command::Request, Some(command)) => command,
            (command, _) => command,
        }
    }
}

/// A process that shows the name of a daemon, and what was asked about it.
struct Daemon<'a> {
    exe: &'a str,
    link: &'a Answer,
    trusted: Option<bool>,
    start: &'a Answer,
    question: Question,
}

/// What a process turned out to be.
enum Found<'a> {
    /// Another user's.
    OfAnother,
    /// The user's, of which it is not known what it does.
    Unknown,
    /// The user's daemon, with its arguments.
    Known(Vec<&'a str>),
}

impl<'a> Daemon<'a> {
    fn ask(round: &mut Round<'a>, process: &'a Process) -> Self {
        let exe = process.exe.as_deref().unwrap_or_default();
        let question = Question::Started { pid: process.pid, names: &VARIABLES };
        Self {
            exe,
            // The kernel's own word: the process list drops the mark of a file that was replaced.
            link: round.link(format!("/proc/{}/exe", process.pid)),
            trusted: EXECUTABLES
                .contains(&exe)
                .then(|| products::trusted_path(round, Platform::Linux, exe, false))
                .flatten(),
            start: round.ask(&question),
            question,
        }
    }

    fn is(&self, name: &str) -> bool {
        self.exe.rsplit('/').next() == Some(name)
    }

    fn look(&self, uid: u32) -> Result<Found<'a>, Step> {
        let Some(start) = settings_files::start(&self.question, self.start) else {
            return Err(unanswered(self.question.clone(), self.start));
        };
        if start.uid != u64::from(uid) {
            return Ok(Found::OfAnother);
        }
        if !start.at_home {
            let question = Some(self.question.clone());
            return Err(Step::Done(Outcome::Unavailable(Reason::UnsupportedDesktop, question)));
        }
        let is_itself = matches!(self.link, Answer::Link(target) if target == self.exe);
        Ok(if is_itself && self.trusted == Some(true) {
            Found::Known(start.arguments)
        } else {
            Found::Unknown
        })
    }
}
