//! `screen-lock`: when does the screen demand a password, for everybody who sits at this machine?

use proto::{Headless, Reason, ScreenLock, facts::Control, not_applicable::Proof};

use crate::{
    answers::{Answers, Round, unanswered},
    drive::{Outcome, Step},
    linux::{container, desktop, idle, kde, sessions},
    question::{Answer, Process, Question},
};

/// Exists exactly while systemd is the first process (sd_booted(3)).
pub(crate) const SYSTEMD_RUNS: &str = "/run/systemd/system";
pub(crate) const DEFAULT_TARGETS: [&str; 3] = [
    "/etc/systemd/system/default.target",
    "/usr/lib/systemd/system/default.target",
    "/lib/systemd/system/default.target",
];
/// Set by every display manager's package, with and without systemd.
pub(crate) const DISPLAY_MANAGERS: [&str; 2] =
    ["/etc/systemd/system/display-manager.service", "/etc/X11/default-display-manager"];
pub(crate) const SHARE: &str = "/usr/share";
/// Folders of session files below [`SHARE`].
pub(crate) const SESSION_FOLDERS: [&str; 2] = ["wayland-sessions", "xsessions"];
/// Programs that only run when something graphical runs, by the last part of their path.
const GRAPHICAL_PROGRAMS: [&str; 12] = [
    "Hyprland",
    "X",
    "Xorg",
    "Xwayland",
    "gnome-shell",
    "kwin_wayland",
    "kwin_x11",
    "labwc",
    "sway",
    "wayfire",
    "weston",
    "xfwm4",
];
/// Most rows of a list of facts (docs/FORMAT.md section 3).
const USERS_MAX: usize = 256;

/// The step of the probe on Linux.
pub(crate) fn step(answers: &Answers) -> Step {
    let mut round = Round::new(answers);
    let container = container::ask(&mut round);
    let systemd = round.metadata(SYSTEMD_RUNS);
    let targets = DEFAULT_TARGETS.map(|path| (path, round.link(path)));
    let managers = DISPLAY_MANAGERS.map(|path| (path, round.metadata(path)));
    let share = round.list(SHARE);
    let folders = SESSION_FOLDERS.map(|name| (name, round.list(format!("{SHARE}/{name}"))));
    let processes = round.ask(&Question::Processes);
    if let Some(step) = round.pending() {
        return step;
    }
    if let Some(step) = container.verdict() {
        return step;
    }

    let systemd_runs = match exists(SYSTEMD_RUNS, systemd) {
        Ok(runs) => runs,
        Err(step) => return step,
    };
    let sessions = if systemd_runs {
        match sessions::read(&mut round) {
            Ok(sessions) => sessions,
            Err(step) => return step,
        }
    } else {
        Vec::new()
    };
    let Answer::Processes(all) = processes else { return unanswered(Question::Processes, processes) };
    let graphical_process = all.iter().any(is_graphical);

    if sessions.is_empty() {
        let mut display_manager = false;
        for (path, answer) in managers {
            match exists(path, answer) {
                Ok(found) => display_manager |= found,
                Err(step) => return step,
            }
        }
        let desktop_installed = match desktop_installed(share, folders) {
            Ok(installed) => installed,
            Err(step) => return step,
        };
        if display_manager || desktop_installed || graphical_process {
            // Somebody may log in, with settings that are nobody's now.
            return Step::Done(Outcome::unavailable(Reason::NoSession));
        }
        let default_target = match default_target(systemd_runs, targets) {
            Ok(target) => target,
            Err(step) => return step,
        };
        return Step::Done(Outcome::NotApplicable(Proof::Headless(Headless {
            default_target,
            display_manager,
            graphical_sessions: 0,
            desktop_installed,
        })));
    }

    let mut users = Vec::new();
    let users_truncated = sessions.len() > USERS_MAX;
    let mut questions = Vec::new();
    for session in sessions.iter().take(USERS_MAX) {
        match desktop::setting(&mut round, session, all) {
            Ok(setting) => users.push(setting),
            Err(step @ Step::Done(_)) => return step,
            Err(Step::Ask(more)) => questions.extend(more),
        }
    }
    if !questions.is_empty() {
        return Step::Ask(questions);
    }
    Step::Done(Outcome::observed(Control::ScreenLock(ScreenLock { users, users_truncated })))
}

/// A process that only runs when something graphical runs.
pub fn is_graphical(process: &Process) -> bool {
    let file = process.exe.as_deref().and_then(|exe| exe.rsplit('/').next());
    file.is_some_and(|file| GRAPHICAL_PROGRAMS.contains(&file))
}

/// A process that may lock the screen: how it was started is asked.
pub fn may_lock(process: &Process) -> bool {
    let names = || kde::HOSTS.into_iter().chain([idle::HYPRIDLE, idle::SWAYIDLE]);
    match process.exe.as_deref() {
        Some(exe) => exe.rsplit('/').next().is_some_and(|file| names().any(|name| name == file)),
        None => names().any(|name| name == process.name),
    }
}

/// Whether something lies at a path.
pub(crate) fn exists(path: &str, answer: &Answer) -> Result<bool, Step> {
    match answer {
        Answer::Absent => Ok(false),
        Answer::Metadata(metadata) if metadata.path == path => Ok(true),
        other => Err(unanswered(Question::Metadata(path.to_owned()), other)),
    }
}

/// Session files of any desktop are installed. That a folder is missing is believed only when the listing of
/// the folder above it shows no such name.
fn desktop_installed(share: &Answer, folders: [(&str, &Answer); 2]) -> Result<bool, Step> {
    let Some(names) = share.names().filter(|names| !names.is_empty()) else {
        return Err(unanswered(Question::List(SHARE.to_owned()), share));
    };
    let mut installed = false;
    for (folder, answer) in folders {
        let listed = names.iter().any(|name| name == folder);
        match answer {
            Answer::Names(files) if listed => installed |= files.iter().any(|f| f.ends_with(".desktop")),
            Answer::Absent if !listed => {}
            other => return Err(unanswered(Question::List(format!("{SHARE}/{folder}")), other)),
        }
    }
    Ok(installed)
}

/// systemd's default target: the first link that exists; "none" where systemd does not run.
pub(crate) fn default_target(systemd_runs: bool, targets: [(&str, &Answer); 3]) -> Result<String, Step> {
    if !systemd_runs {
        return Ok("none".to_owned());
    }
    for (path, answer) in targets {
        match answer {
            Answer::Absent => {}
            Answer::Link(target) => return Ok(target.rsplit('/').next().unwrap_or(target).to_owned()),
            other => return Err(unanswered(Question::Link(path.to_owned()), other)),
        }
    }
    Ok(String::new())
}
