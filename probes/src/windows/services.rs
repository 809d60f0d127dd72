//! Windows' services: which run, and which may be started.

use crate::{question::Question, table::Table, windows::settings::Setting};

/// Every service with a number that says whether it runs; names of services are the same in every language.
pub(crate) const RUNNING: Question =
    Question::Wmi { namespace: r"root\CIMV2", class: "Win32_Service", names: &["Name", "Started"] };
/// Runs on every Windows and cannot be stopped: a list without it is no list.
const ALWAYS: &str = "RpcSs";
/// `Start` of a service that may not be started.
const DISABLED: u64 = 4;
/// `Start` of services that the system starts, or anybody who needs them.
const STARTABLE: [u64; 2] = [2, 3];

/// How a service is started.
pub(crate) fn start(name: &str) -> Question {
    Question::Registry { key: format!(r"HKLM\SYSTEM\CurrentControlSet\Services\{name}"), names: &["Start"] }
}

/// Whether a service runs; one that is not listed is not installed. `None` when the list is none.
pub(crate) fn runs(list: &Table<'_>, name: &str) -> Option<bool> {
    let running = |name: &str| {
        let mut rows =
            list.rows.iter().filter(|row| row.text("Name").is_some_and(|n| n.eq_ignore_ascii_case(name)));
        match (rows.next(), rows.next()) {
            (None, _) => Some(false),
            (Some(row), None) => match row.number("Started") {
                Some(0) => Some(false),
                Some(1) => Some(true),
                _ => None,
            },
            _ => None,
        }
    };
    if running(ALWAYS) != Some(true) || list.rows.iter().any(|row| row.text("Name").is_none()) {
        return None;
    }
    running(name)
}

/// Whether the answer to [`start`] lets a service be started. That it does not run now says nothing: Windows starts
/// many when they are needed.
pub(crate) fn may_start(table: &Table<'_>) -> Option<bool> {
    match Setting::of(table, "Start") {
        Setting::Is(DISABLED) => Some(false),
        Setting::Is(start) if STARTABLE.contains(&start) => Some(true),
        _ => None,
    }
}
