//! `remote-access` on macOS: remote login (SSH), screen sharing and remote management.

use proto::{RemoteAccess, RootLogin, facts::Control};

use crate::{
    answers::{Answers, Round, unanswered, unparsed},
    drive::{Outcome, Step},
    linux::remote_access::{EFFECTIVE, flag, root_login},
    macos::launchctl,
    programs::Program,
    question::{Answer, Question},
};

/// The server for SSH, which a connection starts.
pub(crate) const SSH: &str = "com.openssh.sshd";
/// Screen sharing, by VNC.
pub(crate) const SCREEN: &str = "com.apple.screensharing";
/// Where remote management keeps its mark.
pub(crate) const MANAGEMENT: &str = "/Library/Application Support/Apple/Remote Desktop";
/// There while remote management is on.
pub(crate) const MARK: &str = "RemoteManagement.launchd";

/// The step of the probe on macOS.
pub(crate) fn step(answers: &Answers) -> Step {
    let mut round = Round::new(answers);
    let ssh = launchctl::ask(&mut round, SSH);
    let screen = launchctl::ask(&mut round, SCREEN);
    let overrides = round.ask(&launchctl::overrides());
    let effective = round.ask(&Question::run(Program::Sshd, &EFFECTIVE));
    let folder = round.list(MANAGEMENT);
    let mark = round.read(format!("{MANAGEMENT}/{MARK}"));
    if let Some(step) = round.pending() {
        return step;
    }
    if overrides.whole_text().is_none() {
        return unanswered(launchctl::overrides(), overrides);
    }
    // One of both lets somebody see the screen; that nothing does takes both.
    let remote_desktop = match (screen.is_on(), is_managed(folder, mark)) {
        (Some(true), _) | (_, Some(true)) => true,
        (Some(false), Some(false)) => false,
        (None, _) => return unparsed(launchctl::job(SCREEN)),
        (_, None) => return unparsed(Question::List(MANAGEMENT.to_owned())),
    };
    let configuration = effective.whole_text();
    Step::Done(Outcome::observed(Control::RemoteAccess(RemoteAccess {
        ssh_server: ssh.is_on(),
        root_login: configuration.and_then(root_login).unwrap_or(RootLogin::Unspecified).into(),
        password_login: configuration.and_then(|text| flag(text, "passwordauthentication")),
        keyboard_interactive: configuration.and_then(|text| flag(text, "kbdinteractiveauthentication")),
        remote_desktop: Some(remote_desktop),
        network_authentication: None,
    })))
}

/// Folder and file must agree, so that a lost answer is no "off".
fn is_managed(folder: &Answer, mark: &Answer) -> Option<bool> {
    let listed = match folder {
        Answer::Names(names) => names.iter().any(|name| name == MARK),
        Answer::Absent => false,
        _ => return None,
    };
    match (listed, mark) {
        (true, Answer::Bytes(_)) => Some(true),
        (false, Answer::Absent) => Some(false),
        _ => None,
    }
}
