//! Preferences an administrator forced through device management.
//!
//! A lost file would read as "nothing is forced", so each is looked for twice: in its folder and by its name.

use crate::{
    answers::Round,
    macos::plists::{self, Dict},
    question::Answer,
};

/// Where forced preferences lie: of all users, and in a folder of his name those of one user.
pub(crate) const FOLDER: &str = "/Library/Managed Preferences";

/// Where what is forced on all users lies, of one domain.
pub(crate) fn path(domain: &str) -> String {
    format!("{FOLDER}/{domain}.plist")
}

/// What was asked about one domain.
pub(crate) struct Managed<'a> {
    domain: &'static str,
    parts: Vec<(Option<&'a Answer>, &'a Answer, &'a Answer, String)>,
}

/// Asks for a domain's forced preferences, also for those of one user.
pub(crate) fn ask<'a>(round: &mut Round<'a>, domain: &'static str, user: Option<&str>) -> Managed<'a> {
    let root = round.list(FOLDER);
    let mut parts = vec![(None, root, round.read(path(domain)), String::new())];
    if let Some(user) = user {
        let folder = format!("{FOLDER}/{user}");
        let list = round.list(folder.as_str());
        parts.push((Some(root), list, round.read(format!("{folder}/{domain}.plist")), user.to_owned()));
    }
    Managed { domain, parts }
}

impl Managed<'_> {
    /// The forced values, those of all users first; `None` where that could not be seen.
    pub(crate) fn dicts(&self) -> Option<Vec<Dict>> {
        let file = format!("{}.plist", self.domain);
        let mut dicts = Vec::new();
        for (above, list, content, user) in &self.parts {
            match (list, content) {
                (Answer::Names(names), Answer::Absent) if !names.contains(&file) => {}
                // No folder: nothing is forced, if the folder above agrees.
                (Answer::Absent, Answer::Absent) => match above {
                    None | Some(Answer::Absent) => {}
                    Some(Answer::Names(names)) if !names.contains(user) => {}
                    Some(_) => return None,
                },
                (_, Answer::Bytes(_)) => dicts.push(plists::dict(content)?),
                _ => return None,
            }
        }
        Some(dicts)
    }
}
