//! `password-manager` on Windows: which products are registered as installed for everybody.
//!
//! Only keys of installations by MSI are listed, whose names are numbers, and keys the catalogue names: what else is
//! installed is none of the agent's business. What a person installed for himself is in his own part of the registry,
//! which is not looked into.

use proto::Reason;

use crate::{
    answers::{Answers, Round},
    drive::{Outcome, Step},
    password_managers::{self, Catalogue, WindowsManager},
    question::Question,
    table::Table,
    windows::{self, Asked},
};

/// Where installations are registered for everybody, by programs of 64 bits and of 32.
pub(crate) const HIVES: [&str; 2] = [
    r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Uninstall",
    r"HKLM\SOFTWARE\WOW6432Node\Microsoft\Windows\CurrentVersion\Uninstall",
];
/// How names of keys begin that an installation by MSI makes.
const MSI: &str = "{";
const DISPLAY: &str = "DisplayName";
/// Most installations looked at; a computer has some hundred.
const KEYS_MAX: usize = 4096;

/// The keys of installations by MSI.
pub(crate) fn listed(hive: &str) -> Question {
    Question::Keys { key: hive.to_owned(), prefix: MSI }
}

/// What an installation is called.
pub(crate) fn installation(hive: &str, name: &str) -> Question {
    Question::Registry { key: format!(r"{hive}\{name}"), names: &[DISPLAY] }
}

/// The step of the probe on Windows.
pub(crate) fn step(answers: &Answers) -> Step {
    let Some(catalogue) = Catalogue::bundled() else {
        return Step::Done(Outcome::unavailable(Reason::IoError));
    };
    let products: Vec<(&str, &WindowsManager)> = catalogue.on(|product| product.windows.as_ref()).collect();
    let mut round = Round::new(answers);
    let lists = HIVES.map(|hive| (hive, windows::ask(&mut round, listed(hive))));
    let mut named: Vec<Vec<Asked<'_>>> = Vec::new();
    for (_, windows) in &products {
        let keys = windows.keys.iter().flat_map(|key| HIVES.map(|hive| installation(hive, key)));
        named.push(keys.map(|question| windows::ask(&mut round, question)).collect());
    }
    if let Some(step) = round.pending() {
        return step;
    }
    let mut all_seen = true;
    let mut displays = Vec::new();
    for (hive, list) in &lists {
        match list.table().and_then(names).filter(|names| names.len() <= KEYS_MAX) {
            Some(names) => {
                let codes = names.into_iter().filter(|name| is_code(name));
                displays.extend(codes.map(|name| windows::ask(&mut round, installation(hive, name))));
            }
            None => all_seen = false,
        }
    }
    if let Some(step) = round.pending() {
        return step;
    }
    let seen = if all_seen { Some(false) } else { None };
    let mut found = Vec::new();
    for ((product, windows), keys) in products.iter().zip(&named) {
        let by_key = keys.iter().map(|asked| asked.table().map(|table| !table.rows.is_empty()));
        let by_name = displays.iter().map(|asked| {
            let display =
                |table: &Table<'_>| table.only().and_then(|row| row.text(DISPLAY)).map(str::to_owned);
            asked.table().map(|table| display(table).is_some_and(|name| windows.is_called(&name)))
        });
        found.push((*product, password_managers::any(by_key.chain(by_name).chain([seen]))));
    }
    // Nothing could be listed: that is no list with doubts.
    let [(_, first), (_, second)] = lists;
    if first.table().is_none() && second.table().is_none() {
        return first.unusable();
    }
    Step::Done(password_managers::observed(&found))
}

/// The names of keys; `None` when a row has none.
fn names<'a>(table: &Table<'a>) -> Option<Vec<&'a str>> {
    table.rows.iter().map(|row| row.text("Name")).collect()
}

/// A number in braces: nothing else is asked about.
fn is_code(name: &str) -> bool {
    name.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).is_some_and(crate::identity::is_uuid)
}
