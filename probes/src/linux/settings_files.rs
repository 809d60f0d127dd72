//! Files of settings: those of a user, of the system, and how the process that obeys them finds them.
//!
//! That a file is missing means its defaults, which are often good: so it is believed only when something else than
//! the lost content says it.

use proto::Reason;

use crate::{
    answers::{Round, unanswered, unparsed},
    drive::{Outcome, Step},
    question::{Answer, FileKind, Process, Question},
    table::{Table, Value},
};

/// Name of each line in the answer to [`Question::ReadAs`].
pub(crate) const LINE: &str = "line";
/// Name of each argument in the answer to [`Question::Started`].
pub(crate) const ARGUMENT: &str = "argument";
/// Name of the user's number in the answer to [`Question::Started`].
pub(crate) const UID: &str = "uid";
/// The variable that moves the folder of a user's settings.
pub(crate) const CONFIG_HOME: &str = "XDG_CONFIG_HOME";
/// Where that folder is without the variable, from the home folder on.
const CONFIG_HOME_DEFAULT: &str = "~/.config";

/// A file that was asked for.
#[derive(Debug)]
pub(crate) struct Asked<'a> {
    question: Question,
    answer: &'a Answer,
    /// What else tells that it is missing; a user's file needs nothing else.
    metadata: Option<&'a Answer>,
}

/// Asks for a file below the user's home folder.
pub(crate) fn of_user<'a>(round: &mut Round<'a>, uid: u32, path: &'static str) -> Asked<'a> {
    let question = Question::ReadAs { uid, path };
    let answer = round.ask(&question);
    Asked { question, answer, metadata: None }
}

/// Asks for a file of the system.
pub(crate) fn of_system<'a>(round: &mut Round<'a>, path: &str) -> Asked<'a> {
    Asked {
        question: Question::Read(path.to_owned()),
        answer: round.read(path),
        metadata: Some(round.metadata(path)),
    }
}

impl<'a> Asked<'a> {
    /// The question for its content.
    pub(crate) fn question(&self) -> &Question {
        &self.question
    }

    /// Its lines; `None` when there is no such file.
    ///
    /// # Errors
    /// The step to return instead.
    pub(crate) fn lines(&self) -> Result<Option<Vec<&'a str>>, Step> {
        let Self { question, answer, metadata } = self;
        let (question, answer) = (question.clone(), *answer);
        let Some(metadata) = *metadata else {
            let Some(table) = Table::of(&question, answer) else { return Err(unanswered(question, answer)) };
            if table.rows.is_empty() {
                return Ok(None);
            }
            let lines = table.only().and_then(|row| texts(row.all(LINE)));
            return lines.map(Some).ok_or_else(|| unparsed(question));
        };
        match (answer, metadata) {
            (Answer::Absent, Answer::Absent) => Ok(None),
            (Answer::Bytes(bytes), Answer::Metadata(about))
                if question.path() == Some(about.path.as_str())
                    && about.kind == FileKind::File
                    && usize::try_from(about.size_bytes) == Ok(bytes.len()) =>
            {
                let text = std::str::from_utf8(bytes).map_err(|_| unparsed(question))?;
                Ok(Some(text.lines().collect()))
            }
            (Answer::Absent | Answer::Bytes(_), Answer::Absent | Answer::Metadata(_)) => {
                Err(unparsed(question))
            }
            (Answer::Absent | Answer::Bytes(_), other) => {
                let path = question.path().unwrap_or_default().to_owned();
                Err(unanswered(Question::Metadata(path), other))
            }
            (other, _) => Err(unanswered(question, other)),
        }
    }
}

/// Values that must all be texts.
fn texts<'a>(values: impl Iterator<Item = Value<'a>>) -> Option<Vec<&'a str>> {
    let text = |value| match value {
        Value::Text(text) => Some(text),
        Value::Number(_) => None,
    };
    values.map(text).collect()
}

/// How a process was started.
#[derive(Debug)]
pub(crate) struct Start<'a> {
    /// The user it runs as.
    pub(crate) uid: u64,
    /// Its arguments, the program's name among them.
    pub(crate) arguments: Vec<&'a str>,
    /// Folders of the system's settings, when the variable is asked for and set.
    pub(crate) config_dirs: Option<&'a str>,
    /// The user's own settings lie where they do without any variable.
    pub(crate) at_home: bool,
}

/// The variable that says where the system's settings lie.
pub(crate) const CONFIG_DIRS: &str = "XDG_CONFIG_DIRS";

/// Reads how a process was started; `None` when the answer is not whole.
pub(crate) fn start<'a>(question: &Question, answer: &'a Answer) -> Option<Start<'a>> {
    let table = Table::of(question, answer)?;
    let row = table.only()?;
    let home = row.all(CONFIG_HOME).next().is_none()
        || matches!(row.text(CONFIG_HOME), Some("" | CONFIG_HOME_DEFAULT));
    let dirs = row.all(CONFIG_DIRS).next().is_some();
    let config_dirs = row.text(CONFIG_DIRS);
    if dirs && config_dirs.is_none() {
        return None;
    }
    let arguments = texts(row.all(ARGUMENT))?;
    Some(Start { uid: row.number(UID)?, arguments, config_dirs, at_home: home })
}

/// Processes by the last part of their executable's path. One that shows such a name and hides its path is told by
/// an error.
///
/// # Errors
/// The step to return instead.
pub(crate) fn running<'p>(processes: &'p [Process], names: &[&str]) -> Result<Vec<&'p Process>, Step> {
    let mut found = Vec::new();
    for process in processes {
        match process.exe.as_deref() {
            Some(exe) if exe.rsplit('/').next().is_some_and(|file| names.contains(&file)) => {
                found.push(process);
            }
            None if names.contains(&process.name.as_str()) => {
                let outcome = Outcome::Unavailable(Reason::NoPrivilege, Some(Question::Processes));
                return Err(Step::Done(outcome));
            }
            _ => {}
        }
    }
    Ok(found)
}
