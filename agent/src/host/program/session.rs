//! A logged-in user's own session on macOS. Checked by the compiler alone: it was never run on a Mac.

use std::path::Path;
use std::process::Command;

use probes::Answer;
use rustix::process::geteuid;

use super::{User, trusted};

/// Moves a program into the session of a user; as root it stays root in it.
const LAUNCHCTL: &str = "/bin/launchctl";
/// Makes it that user.
const SUDO: &str = "/usr/bin/sudo";

/// Runs the command in the session of the user, by launchd, and as him, by sudo. Without the first the preferences that are
/// read would be those of another session, without the second those of root.
pub(super) fn become_user(command: &mut Command, user: User<'_>) -> Result<(), Answer> {
    let effective = geteuid().as_raw();
    if effective == user.uid {
        return Ok(());
    }
    let helpers = [LAUNCHCTL, SUDO].map(|helper| trusted(Path::new(helper)).unwrap_or(false));
    // Nobody's session is root's, and only root can enter another's.
    if effective != 0 || user.uid == 0 || helpers.contains(&false) {
        return Err(Answer::Denied);
    }
    let mut wrapped = Command::new(LAUNCHCTL);
    wrapped.args(["asuser", &user.uid.to_string(), SUDO, "-n", "-H", "-u", &format!("#{}", user.uid), "--"]);
    wrapped.arg(command.get_program()).args(command.get_args());
    *command = wrapped;
    Ok(())
}
