//! `automatic-updates` on Windows: what Windows Update was told to do, by whom, and whether it is paused.
//!
//! The Security Center's "automatic updates are on" is not asked: it stays true when the service is disabled.

use proto::{AutomaticUpdates, facts::Control};

use crate::{
    answers::{Answers, Round},
    drive::{Outcome, Step},
    logic::all_of,
    question::Question,
    table::Table,
    windows::{self, clock, os_patch, services, settings::Setting},
};

/// What Group Policy says.
const POLICY: &str = r"HKLM\SOFTWARE\Policies\Microsoft\Windows\WindowsUpdate";
/// What device management says.
const MANAGED: &str = r"HKLM\SOFTWARE\Microsoft\PolicyManager\current\device\Update";
/// What the user chose in Settings: only a pause.
const CHOSEN: &str = r"HKLM\SOFTWARE\Microsoft\WindowsUpdate\UX\Settings";
/// Looks for updates, and decides when to look.
const SERVICES: [&str; 2] = ["UsoSvc", "wuauserv"];

pub(crate) fn policy() -> [Question; 2] {
    [
        Question::Registry {
            key: POLICY.to_owned(),
            names: &["DisableWindowsUpdateAccess", "PauseQualityUpdatesStartTime"],
        },
        Question::Registry {
            key: format!(r"{POLICY}\AU"),
            names: &["AUOptions", "NoAutoUpdate", "UseWUServer"],
        },
    ]
}

pub(crate) fn managed() -> Question {
    Question::Registry { key: MANAGED.to_owned(), names: &["AllowAutoUpdate", "PauseQualityUpdates"] }
}

pub(crate) fn chosen() -> Question {
    Question::Registry { key: CHOSEN.to_owned(), names: &["PauseUpdatesExpiryTime"] }
}

pub(crate) fn starts() -> [Question; 2] {
    SERVICES.map(services::start)
}

/// The step of the probe on Windows.
pub(crate) fn step(answers: &Answers) -> Step {
    let mut round = Round::new(answers);
    let version = windows::ask(&mut round, os_patch::version());
    let [policy, automatic] = policy().map(|question| windows::ask(&mut round, question));
    let managed = windows::ask(&mut round, managed());
    let chosen = windows::ask(&mut round, chosen());
    let now = windows::ask(&mut round, clock::NOW);
    let starts = starts().map(|question| windows::ask(&mut round, question));
    if let Some(step) = round.pending() {
        return step;
    }
    let Some(kind) = version.table().and_then(Table::only).and_then(|row| row.text("InstallationType"))
    else {
        return version.unusable();
    };
    let Some(policy) = policy.table() else { return policy.unusable() };
    let Some(automatic) = automatic.table() else { return automatic.unusable() };
    let Some(managed) = managed.table() else { return managed.unusable() };
    let mode = mode(policy, automatic, managed, kind == "Client");
    let [orchestrator, agent] = starts.each_ref().map(|asked| asked.table().and_then(services::may_start));
    let runs_on = not_paused(policy, managed, chosen.table(), now.table());
    Step::Done(Outcome::observed(Control::AutomaticUpdates(AutomaticUpdates {
        mechanism: match Setting::of(automatic, "UseWUServer") {
            Setting::Is(1) => "wsus",
            _ => "windows-update",
        }
        .to_owned(),
        downloads: mode.downloads(),
        installs_security: mode.installs(),
        scheduled: all_of([orchestrator, agent, runs_on]),
    })))
}

/// What happens to an update by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Off,
    Tells,
    Downloads,
    Installs,
    Unknown,
}

impl Mode {
    /// One that only tells looks for updates, and downloads none: neither is claimed.
    fn downloads(self) -> Option<bool> {
        match self {
            Self::Off => Some(false),
            Self::Downloads | Self::Installs => Some(true),
            Self::Tells | Self::Unknown => None,
        }
    }

    fn installs(self) -> Option<bool> {
        match self {
            Self::Off | Self::Tells | Self::Downloads => Some(false),
            Self::Installs => Some(true),
            Self::Unknown => None,
        }
    }
}

/// Two administrators who say different things are not told apart. Where nobody says anything, a client installs by
/// itself and its user cannot stop it; a server waits for its administrator, in ways that are not looked at.
fn mode(policy: &Table<'_>, automatic: &Table<'_>, managed: &Table<'_>, is_client: bool) -> Mode {
    match Setting::of(policy, "DisableWindowsUpdateAccess") {
        Setting::Unset | Setting::Is(0) => {}
        Setting::Is(1) => return Mode::Off,
        _ => return Mode::Unknown,
    }
    match (by_policy(automatic), by_management(managed)) {
        (None, None) if is_client => Mode::Installs,
        (None, None) => Mode::Unknown,
        (Some(mode), None) | (None, Some(mode)) => mode,
        (Some(one), Some(other)) if one == other => one,
        _ => Mode::Unknown,
    }
}

/// The policy "Configure Automatic Updates"; `None` where it is not set.
fn by_policy(automatic: &Table<'_>) -> Option<Mode> {
    let options = Setting::of(automatic, "AUOptions");
    match (Setting::of(automatic, "NoAutoUpdate"), options) {
        (Setting::Unset, Setting::Unset) => None,
        (Setting::Is(1), _) => Some(Mode::Off),
        (Setting::Unset | Setting::Is(0), Setting::Is(1)) => Some(Mode::Off),
        (Setting::Unset | Setting::Is(0), Setting::Is(2)) => Some(Mode::Tells),
        (Setting::Unset | Setting::Is(0), Setting::Is(3 | 7)) => Some(Mode::Downloads),
        (Setting::Unset | Setting::Is(0), Setting::Is(4)) => Some(Mode::Installs),
        // 5 leaves it to an administrator of the machine, whose choice is not looked at.
        _ => Some(Mode::Unknown),
    }
}

/// `Update/AllowAutoUpdate` of device management; `None` where it is not set.
fn by_management(managed: &Table<'_>) -> Option<Mode> {
    match Setting::of(managed, "AllowAutoUpdate") {
        Setting::Unset => None,
        Setting::Is(0) => Some(Mode::Tells),
        Setting::Is(1..=4) => Some(Mode::Installs),
        Setting::Is(5) => Some(Mode::Off),
        _ => Some(Mode::Unknown),
    }
}

/// No pause is in force. An administrator's pause ends by itself at a day that is not looked at.
fn not_paused(
    policy: &Table<'_>,
    managed: &Table<'_>,
    chosen: Option<&Table<'_>>,
    now: Option<&Table<'_>>,
) -> Option<bool> {
    let by_policy = policy.rows.iter().any(|row| {
        row.all("PauseQualityUpdatesStartTime").next().is_some()
            && row.text("PauseQualityUpdatesStartTime").is_none_or(|text| !text.is_empty())
    });
    let by_management =
        !matches!(Setting::of(managed, "PauseQualityUpdates"), Setting::Unset | Setting::Is(0));
    let administrator = if by_policy || by_management { None } else { Some(true) };
    let user = chosen.and_then(|table| {
        let Some(row) = table.rows.first() else { return Some(true) };
        if row.all("PauseUpdatesExpiryTime").next().is_none() {
            return Some(true);
        }
        match row.text("PauseUpdatesExpiryTime")? {
            "" => Some(true),
            text => {
                let now = now?.only()?.text("LocalDateTime").and_then(clock::wmi_minutes)?;
                Some(clock::iso_minutes(text)? <= now)
            }
        }
    });
    all_of([administrator, user])
}
