//! The files behind the facts, taken from the questions that were asked, and what each of them said.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use evidence::ids::Digest;
use probes::{Answers, Host, Question};

/// Most files that are watched: ten times what the probes ask of a full machine.
pub const FILES_MAX: usize = 2048;
/// Where the kernel makes up the content and tells nobody when it changes.
const SILENT: [&str; 2] = ["/proc", "/sys"];

/// Questions about files, each with the digest of its answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files {
    said: BTreeMap<Question, Digest>,
}

impl Files {
    /// Those of a look.
    pub fn of(answers: &Answers) -> Self {
        let files = answers.iter().filter(|(question, _)| {
            let path = place(question);
            path.is_some_and(|path| {
                path.is_absolute() && !SILENT.iter().any(|silent| path.starts_with(silent))
            })
        });
        let said =
            files.take(FILES_MAX).map(|(question, answer)| (question.clone(), Digest::of(&answer.raw())));
        Self { said: said.collect() }
    }

    /// The folders in which a change of these files shows: the one each lies in, or where that does not exist, the nearest
    /// one above it that does. A folder whose names were asked for shows it itself.
    pub fn folders(&self) -> BTreeMap<PathBuf, Vec<Question>> {
        let mut folders: BTreeMap<PathBuf, Vec<Question>> = BTreeMap::new();
        for question in self.said.keys() {
            let Some(path) = place(question) else { continue };
            let above = match question {
                Question::List(_) => path.ancestors().find(|folder| folder.is_dir()),
                _ => path.ancestors().skip(1).find(|folder| folder.is_dir()),
            };
            if let Some(folder) = above {
                folders.entry(folder.to_owned()).or_default().push(question.clone());
            }
        }
        folders
    }

    /// Whether one of them is answered otherwise now; of `only`, or of all. What has no answer at all counts as changed: a
    /// look will tell.
    pub fn changed(&self, host: &dyn Host, only: Option<&BTreeSet<Question>>) -> bool {
        self.said.iter().filter(|(question, _)| only.is_none_or(|only| only.contains(question))).any(
            |(question, said)| {
                host.answer(question).ok().is_none_or(|answer| Digest::of(&answer.raw()) != *said)
            },
        )
    }
}

#[cfg(target_os = "linux")]
fn home(uid: u32) -> Option<PathBuf> {
    Some(crate::host::as_user::account(uid)?.home)
}

/// Nothing is asked of a user's files there.
#[cfg(not(target_os = "linux"))]
fn home(_: u32) -> Option<PathBuf> {
    None
}

/// Where a change of the answer shows. What a user's programs keep in a file is asked of them again when that changes.
fn place(question: &Question) -> Option<PathBuf> {
    match (question.path(), question.path_of_user()) {
        (Some(path), _) => Some(PathBuf::from(path)),
        (None, Some((uid, path))) => Some(home(uid)?.join(path)),
        (None, None) => None,
    }
}
