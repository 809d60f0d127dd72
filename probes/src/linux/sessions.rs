//! Who is logged in at this machine's own screens, as `loginctl` says, checked against /run/systemd/sessions.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    answers::{Round, unanswered, unparsed},
    drive::Step,
    linux::mounts::decimal,
    programs::Program,
    question::Question,
};

pub(crate) const FOLDER: &str = "/run/systemd/sessions";
pub(crate) const LIST: [&str; 3] = ["list-sessions", "--no-legend", "--no-pager"];
/// Properties asked of a session, one line each; none names the user.
pub(crate) const PROPERTIES: [&str; 7] = ["Id", "User", "Type", "Class", "Remote", "Desktop", "State"];
/// More sessions than this are not looked at; a terminal server is not a laptop.
const SESSIONS_MAX: usize = 128;

/// A session at a screen of this machine.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Session {
    pub(crate) uid: u32,
    pub(crate) desktop: String,
}

/// The arguments that show one session.
pub(crate) fn show(id: &str) -> Vec<String> {
    let mut args = vec!["show-session".to_owned(), id.to_owned(), "--no-pager".to_owned()];
    args.extend(PROPERTIES.iter().map(|property| format!("--property={property}")));
    args
}

/// Local graphical sessions of users; login screens are not among them.
///
/// # Errors
/// The step to return instead.
pub(crate) fn read(round: &mut Round<'_>) -> Result<Vec<Session>, Step> {
    let list_question = Question::run(Program::Loginctl, &LIST);
    let list = round.ask(&list_question);
    let files = round.list(FOLDER);
    if let Some(step) = round.pending() {
        return Err(step);
    }
    let Some(text) = list.whole_text() else { return Err(unanswered(list_question, list)) };
    let Some(files) = files.names() else {
        return Err(unanswered(Question::List(FOLDER.to_owned()), files));
    };
    let ids: Option<BTreeSet<&str>> =
        text.lines().map(|line| line.split_whitespace().next().filter(|id| is_id(id))).collect();
    // A reference pipe beside each session's file ends in `.ref`.
    let known: BTreeSet<&str> =
        files.iter().map(String::as_str).filter(|f| f.strip_suffix(".ref").is_none()).collect();
    let Some(ids) = ids.filter(|ids| *ids == known && ids.len() <= SESSIONS_MAX) else {
        return Err(unparsed(list_question));
    };

    let shown: Vec<_> = ids
        .iter()
        .map(|id| {
            let question = Question::Run { program: Program::Loginctl, args: show(id) };
            (*id, round.ask(&question), question)
        })
        .collect();
    if let Some(step) = round.pending() {
        return Err(step);
    }
    let mut sessions = Vec::new();
    for (id, answer, question) in shown {
        let Some(text) = answer.whole_text() else { return Err(unanswered(question, answer)) };
        match parse(id, text) {
            Some(Shown::User(session)) => sessions.push(session),
            Some(Shown::Other) => {}
            None => return Err(unparsed(question)),
        }
    }
    sessions.sort();
    sessions.dedup();
    Ok(sessions)
}

fn is_id(id: &str) -> bool {
    !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// What a session is.
#[derive(Debug, PartialEq, Eq)]
enum Shown {
    /// A user at a local screen.
    User(Session),
    /// A login screen, a remote login, a console, a session that is ending.
    Other,
}

/// Reads the properties of a session; `None` when they are not understood.
fn parse(id: &str, text: &str) -> Option<Shown> {
    let values: BTreeMap<&str, &str> =
        text.lines().map(|line| line.split_once('=')).collect::<Option<_>>()?;
    if values.len() != PROPERTIES.len() || values.get("Id") != Some(&id) {
        return None;
    }
    let uid = decimal(values.get("User")?)?;
    let graphical = match *values.get("Type")? {
        "x11" | "wayland" | "mir" => true,
        "tty" | "unspecified" | "web" => false,
        _ => return None,
    };
    let local = match *values.get("Remote")? {
        "no" => true,
        "yes" => false,
        _ => return None,
    };
    let open = match *values.get("State")? {
        "active" | "online" | "opening" => true,
        "closing" => false,
        _ => return None,
    };
    let user = match *values.get("Class")? {
        class if class.starts_with("user") => true,
        "greeter" | "lock-screen" | "background" | "background-light" | "manager" | "manager-early"
        | "none" => false,
        _ => return None,
    };
    let desktop = (*values.get("Desktop")?).to_owned();
    let counts = graphical && local && open && user;
    Some(if counts { Shown::User(Session { uid, desktop }) } else { Shown::Other })
}
