//! `time-sync` on Windows: where the clock is told to come from, and when it last was right.
//!
//! `w32tm` speaks the machine's language, so it is not run. That its service does not run now is no failure: Windows
//! starts it when it is needed.

use proto::{TimeSync, facts::Control};

use crate::{
    answers::{Answers, Round},
    drive::{Outcome, Step},
    logic::all_of,
    question::Question,
    table::Table,
    windows::{self, clock, services, settings::Setting},
};

const SERVICE: &str = "W32Time";
const OWN: &str = r"HKLM\SYSTEM\CurrentControlSet\Services\W32Time";
const POLICY: &str = r"HKLM\SOFTWARE\Policies\Microsoft\W32Time";
const CLIENT: &str = r"TimeProviders\NtpClient";
/// Written by the service at every synchronisation: a FILETIME. Not documented by Microsoft, so it proves no failure.
const GOOD: &str = "LastKnownGoodTime";
/// A machine in a domain takes its time from there.
pub(crate) const DOMAIN: Question =
    Question::Wmi { namespace: r"root\CIMV2", class: "Win32_ComputerSystem", names: &["PartOfDomain"] };

/// The kind of source: what an administrator forces, then what the machine was set to.
pub(crate) fn kinds() -> [Question; 2] {
    [POLICY, OWN].map(|root| Question::Registry { key: format!(r"{root}\Parameters"), names: &["Type"] })
}

/// Whether the client for NTP is on, likewise.
pub(crate) fn clients() -> [Question; 2] {
    [POLICY, OWN].map(|root| Question::Registry { key: format!(r"{root}\{CLIENT}"), names: &["Enabled"] })
}

pub(crate) fn good() -> Question {
    Question::Registry { key: format!(r"{OWN}\Config"), names: &[GOOD] }
}

pub(crate) fn start() -> Question {
    services::start(SERVICE)
}

/// The step of the probe on Windows.
pub(crate) fn step(answers: &Answers) -> Step {
    let mut round = Round::new(answers);
    let [forced, own] = kinds().map(|question| windows::ask(&mut round, question));
    let clients = clients().map(|question| windows::ask(&mut round, question));
    let start = windows::ask(&mut round, start());
    let domain = windows::ask(&mut round, DOMAIN);
    let good = windows::ask(&mut round, good());
    let running = windows::ask(&mut round, services::RUNNING);
    if let Some(step) = round.pending() {
        return step;
    }
    let Some(kind_forced) = forced.table() else { return forced.unusable() };
    let Some(kind_own) = own.table() else { return own.unusable() };
    let has_kind = kind_forced.rows.iter().any(|row| row.all("Type").next().is_some());
    let kind = if has_kind { kind_forced } else { kind_own }.only().and_then(|row| row.text("Type"));
    let in_domain = domain.table().and_then(Table::only).and_then(|row| row.number("PartOfDomain"));
    let has_source = match (kind, in_domain) {
        (Some("NTP" | "AllSync"), _) | (Some("NT5DS"), Some(1)) => Some(true),
        (Some("NoSync"), _) => Some(false),
        // Time from a domain it is not in, and whatever may come.
        _ => None,
    };
    let client = match clients.each_ref().map(windows::Asked::table) {
        [Some(forced), Some(own)] => {
            Setting::first_set([Setting::of(forced, "Enabled"), Setting::of(own, "Enabled")]).flag()
        }
        _ => None,
    };
    let enabled = all_of([has_source, client, start.table().and_then(services::may_start)]);
    let units = good.table().and_then(Table::only).and_then(|row| row.number(GOOD));
    Step::Done(Outcome::observed(Control::TimeSync(TimeSync {
        service: match running.table().and_then(|list| services::runs(list, SERVICE)) {
            Some(true) => "w32time",
            _ => "",
        }
        .to_owned(),
        enabled,
        synchronised: None,
        synchronised_minutes: units.and_then(clock::filetime_minutes),
    })))
}
