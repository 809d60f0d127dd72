//! `remote-access` on Windows: Remote Desktop and what it asks first, and whether a server for SSH runs.

use proto::{RemoteAccess, facts::Control};

use crate::{
    answers::{Answers, Round, unparsed},
    drive::{Outcome, Step},
    question::Question,
    windows::{self, services, settings::Setting},
};

const POLICY: &str = r"HKLM\SOFTWARE\Policies\Microsoft\Windows NT\Terminal Services";
const OWN: &str = r"HKLM\SYSTEM\CurrentControlSet\Control\Terminal Server";
const LISTENER: &str = r"HKLM\SYSTEM\CurrentControlSet\Control\Terminal Server\WinStations\RDP-Tcp";
const DENIED: &str = "fDenyTSConnections";
/// Network level authentication: who it is, before a screen is shown.
const FIRST: &str = "UserAuthentication";
/// OpenSSH's server, which is an optional part of Windows.
const SSH: &str = "sshd";

pub(crate) fn policy() -> Question {
    Question::Registry { key: POLICY.to_owned(), names: &[FIRST, DENIED] }
}

pub(crate) fn own() -> Question {
    Question::Registry { key: OWN.to_owned(), names: &[DENIED] }
}

pub(crate) fn listener() -> Question {
    Question::Registry { key: LISTENER.to_owned(), names: &[FIRST] }
}

/// The step of the probe on Windows.
pub(crate) fn step(answers: &Answers) -> Step {
    let mut round = Round::new(answers);
    let policy = windows::ask(&mut round, policy());
    let own = windows::ask(&mut round, own());
    let listener = windows::ask(&mut round, listener());
    let running = windows::ask(&mut round, services::RUNNING);
    if let Some(step) = round.pending() {
        return step;
    }
    let Some(forced) = policy.table() else { return policy.unusable() };
    let Some(set) = own.table() else { return own.unusable() };
    let in_force = |table, name| Setting::first_set([Setting::of(forced, name), Setting::of(table, name)]);
    let Some(denied) = in_force(set, DENIED).flag() else { return unparsed(self::own()) };
    Step::Done(Outcome::observed(Control::RemoteAccess(RemoteAccess {
        // Its configuration is a file that is not read, so what it lets in stays open.
        ssh_server: running.table().and_then(|list| services::runs(list, SSH)),
        remote_desktop: Some(!denied),
        network_authentication: listener.table().and_then(|table| in_force(table, FIRST).flag()),
        ..RemoteAccess::default()
    })))
}
