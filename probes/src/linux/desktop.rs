//! Which desktop a session is of, and how its lock is looked at.

use proto::{LockSetting, Reason};

use crate::{
    answers::{Round, unanswered},
    drive::{Outcome, Step},
    linux::{
        gsettings::{self, Source},
        idle, kde,
        sessions::Session,
        xfce,
    },
    programs::Program,
    question::{Answer, Process, Question},
};

/// How the lock of a desktop is looked at.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// Through the settings of the session bus.
    Settings(&'static Source),
    /// KDE's own files.
    Kde,
    /// xfconf, on the session bus.
    Xfce,
    /// A compositor without a lock of its own: by the daemons that watch for idleness.
    Daemons(&'static str),
}

/// A desktop: names its sessions go by, and its value of XDG_CURRENT_DESKTOP, which selects per-desktop defaults.
struct Desktop {
    sessions: &'static [&'static str],
    current: &'static str,
    way: Way,
}

static DESKTOPS: [Desktop; 9] = [
    Desktop {
        sessions: &["GNOME", "gnome", "gnome-wayland", "gnome-xorg"],
        current: "GNOME",
        way: Way::Settings(&gsettings::GNOME),
    },
    Desktop {
        sessions: &["gnome-classic"],
        current: "GNOME-Classic:GNOME",
        way: Way::Settings(&gsettings::GNOME),
    },
    Desktop {
        sessions: &["ubuntu", "ubuntu-wayland", "ubuntu-xorg"],
        current: "ubuntu:GNOME",
        way: Way::Settings(&gsettings::GNOME),
    },
    Desktop {
        sessions: &["X-Cinnamon", "cinnamon", "cinnamon-wayland", "cinnamon2d"],
        current: "X-Cinnamon",
        way: Way::Settings(&gsettings::CINNAMON),
    },
    Desktop { sessions: &["MATE", "mate"], current: "MATE", way: Way::Settings(&gsettings::MATE) },
    Desktop {
        sessions: &["KDE", "plasma", "plasmawayland", "plasmax11", "plasma-wayland", "plasma-x11"],
        current: "KDE",
        way: Way::Kde,
    },
    Desktop { sessions: &["XFCE", "xfce"], current: "XFCE", way: Way::Xfce },
    Desktop { sessions: &["sway"], current: "sway", way: Way::Daemons("sway") },
    Desktop {
        sessions: &["Hyprland", "hyprland", "hyprland-uwsm"],
        current: "Hyprland",
        way: Way::Daemons("hyprland"),
    },
];

/// The lock setting of one session.
///
/// # Errors
/// The step to return instead.
pub(crate) fn setting<'a>(
    round: &mut Round<'a>,
    session: &Session,
    processes: &'a [Process],
) -> Result<LockSetting, Step> {
    let known = |desktop: &&Desktop| desktop.sessions.contains(&session.desktop.as_str());
    let Some(desktop) = DESKTOPS.iter().find(known) else {
        return Err(Step::Done(Outcome::unavailable(Reason::UnsupportedDesktop)));
    };
    let user = User { uid: session.uid, desktop: desktop.current };
    match desktop.way {
        Way::Settings(source) => gsettings::setting(round, user, source),
        Way::Kde => kde::setting(round, user, processes),
        Way::Xfce => xfce::setting(round, user),
        Way::Daemons(name) => idle::setting(round, user, name, processes),
    }
}

/// Everything that may be asked as a user, with `*` for his number.
pub(crate) fn as_users() -> Vec<String> {
    let mut all = Vec::new();
    for desktop in &DESKTOPS {
        let asked: Vec<(Program, Vec<String>)> = match desktop.way {
            Way::Settings(source) => gsettings::asked(source),
            Way::Kde => vec![(Program::Gdbus, on_bus(kde::LOCKER))],
            Way::Xfce => xfce::asked(),
            Way::Daemons(_) => Vec::new(),
        };
        all.extend(asked.into_iter().map(|(program, args)| {
            format!("run-as * {} {} {}", desktop.current, program.name(), args.join(" "))
        }));
    }
    all
}

/// For whom something is asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct User {
    /// The user's number.
    pub(crate) uid: u32,
    /// Value of XDG_CURRENT_DESKTOP.
    pub(crate) desktop: &'static str,
}

impl User {
    /// The output of a program that runs as him.
    pub(crate) fn run(self, program: Program, args: &[String]) -> Question {
        Question::RunAs { uid: self.uid, desktop: self.desktop.to_owned(), program, args: args.to_vec() }
    }
}

/// The arguments that ask the session bus itself whether a program is connected to it under a name.
pub(crate) fn on_bus(name: &str) -> Vec<String> {
    [
        "call",
        "--session",
        "--dest",
        "org.freedesktop.DBus",
        "--object-path",
        "/org/freedesktop/DBus",
        "--method",
        "org.freedesktop.DBus.NameHasOwner",
        name,
    ]
    .map(str::to_owned)
    .to_vec()
}

/// Refuses a session whose bus does not answer, or on which the desktop's locker is not.
///
/// # Errors
/// The step to return instead.
pub(crate) fn must_be_on_bus(question: Question, answer: &Answer) -> Result<(), Step> {
    match answer.line() {
        Some("(true,)") => Ok(()),
        _ if matches!(answer, Answer::Output { .. }) => {
            Err(Step::Done(Outcome::Unavailable(Reason::NoSession, Some(question))))
        }
        _ => Err(unanswered(question, answer)),
    }
}
