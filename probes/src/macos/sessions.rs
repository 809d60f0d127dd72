//! Who is logged in at the screen: the user who has it, and those behind him (fast user switching).

use crate::{
    macos::plists::{self, Value},
    programs::Program,
    question::{Answer, Question},
};

/// The root of the device tree, which lists the sessions.
pub(crate) const ROOT: [&str; 4] = ["-n", "Root", "-d1", "-a"];
const SESSIONS: &str = "IOConsoleUsers";
const USER: &str = "kCGSSessionUserIDKey";
const LOGGED_IN: &str = "kCGSessionLoginDoneKey";

/// The question.
pub(crate) fn question() -> Question {
    Question::run(Program::Ioreg, &ROOT)
}

/// Numbers of the users who are logged in, ascending; `None` when the list cannot be read whole.
///
/// A session whose login is not done is the login window; so is one of root.
pub(crate) fn users(answer: &Answer) -> Option<Vec<u32>> {
    let root = plists::dict(answer)?;
    let mut users = Vec::new();
    for session in root.get(SESSIONS)?.array()? {
        let session = session.dict()?;
        let uid = session.get(USER)?.number()?;
        let is_in = match session.get(LOGGED_IN) {
            None => false,
            Some(value) => Value::flag(value)?,
        };
        if is_in && uid != 0 {
            users.push(uid);
        }
    }
    users.sort_unstable();
    users.dedup();
    Some(users)
}
