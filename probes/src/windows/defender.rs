//! What Windows says of Microsoft Defender: its mode, its parts, and whether the device was onboarded.

use proto::Impairment;

use crate::{
    answers::Round,
    health::{Health, minutes_of_cim},
    question::Question,
    table::{Row, Table},
    windows,
};

pub(crate) const STATUS: Question = Question::Wmi {
    namespace: r"root\Microsoft\Windows\Defender",
    class: "MSFT_MpComputerStatus",
    names: &[
        "AMRunningMode",
        "AMServiceEnabled",
        "AntivirusEnabled",
        "RealTimeProtectionEnabled",
        "AntivirusSignatureLastUpdated",
    ],
};
/// Clients have it; servers do not.
pub(crate) const SECURITY_CENTER: Question = Question::Wmi {
    namespace: r"root\SecurityCenter2",
    class: "AntiVirusProduct",
    names: &["displayName", "instanceGuid", "productState"],
};
const ONBOARDING_KEY: &str = r"HKLM\SOFTWARE\Microsoft\Windows Advanced Threat Protection\Status";
const ONBOARDED: &str = "OnboardingState";
/// Digit of `productState` that says whether the product is on: 0 off, 1 on, 2 snoozed, 3 expired.
const STATE_SHIFT: u32 = 12;
const STATE_ON: u64 = 1;

/// Whether the device reports to Microsoft Defender for Endpoint.
pub(crate) fn onboarding() -> Question {
    Question::Registry { key: ONBOARDING_KEY.to_owned(), names: &[ONBOARDED] }
}

/// How the antivirus runs. A text that is not one of these is none of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Normal,
    /// Another product is in charge, and this one stops what was seen after the fact.
    EdrBlock,
    /// Another product is in charge.
    Passive,
    Off,
}

fn mode(row: &Row<'_>) -> Option<Mode> {
    match row.text("AMRunningMode")? {
        "Normal" => Some(Mode::Normal),
        "EDR Block Mode" => Some(Mode::EdrBlock),
        "Passive" | "Passive Mode" | "SxS Passive Mode" => Some(Mode::Passive),
        "Not running" => Some(Mode::Off),
        _ => None,
    }
}

fn yes(row: &Row<'_>, name: &str) -> Option<bool> {
    match row.number(name)? {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

/// Microsoft Defender Antivirus.
pub(crate) fn antivirus(round: &mut Round<'_>, id: Option<&str>) -> Health {
    let status = windows::ask(round, STATUS);
    let center = windows::ask(round, SECURITY_CENTER);
    let Some(row) = status.table().and_then(Table::only) else { return Health::default() };
    let mode = mode(row);
    let mut signs = vec![
        (mode.map(|mode| mode != Mode::Off), Impairment::Disabled),
        (mode.map(|mode| mode == Mode::Normal), Impairment::Passive),
        (yes(row, "AMServiceEnabled"), Impairment::Disabled),
        (yes(row, "AntivirusEnabled"), Impairment::Disabled),
        (yes(row, "RealTimeProtectionEnabled"), Impairment::Disabled),
    ];
    if center.table().zip(id).is_some_and(|(table, id)| is_off(table, id)) {
        signs.push((Some(false), Impairment::Disabled));
    }
    Health { passive: passive(mode), definitions_minutes: definitions(row), ..Health::of(&signs) }
}

/// Microsoft Defender for Endpoint: its sensor watches in every mode, and stops something in two of them.
pub(crate) fn endpoint(round: &mut Round<'_>) -> Health {
    let status = windows::ask(round, STATUS);
    let onboarding = windows::ask(round, onboarding());
    let onboarded = onboarding.table().and_then(|table| match table.rows.as_slice() {
        // No key: the sensor never wrote that it reports to anybody.
        [] => Some(false),
        [row] => yes(row, ONBOARDED),
        _ => None,
    });
    let row = status.table().and_then(Table::only);
    let mode = row.and_then(mode);
    let stops = match mode {
        Some(Mode::Normal) => row.and_then(|row| yes(row, "RealTimeProtectionEnabled")),
        Some(Mode::EdrBlock) => Some(true),
        Some(Mode::Passive | Mode::Off) => Some(false),
        None => None,
    };
    let why = if mode == Some(Mode::Passive) { Impairment::Passive } else { Impairment::Disabled };
    Health {
        passive: passive(mode),
        definitions_minutes: row.and_then(definitions),
        ..Health::of(&[(onboarded, Impairment::NotRegistered), (stops, why)])
    }
}

fn passive(mode: Option<Mode>) -> Option<bool> {
    mode.map(|mode| matches!(mode, Mode::EdrBlock | Mode::Passive))
}

fn definitions(row: &Row<'_>) -> Option<u64> {
    row.text("AntivirusSignatureLastUpdated").and_then(minutes_of_cim)
}

/// The Security Center has the product, and as something else than on. That it says "on" means nothing.
fn is_off(table: &Table<'_>, id: &str) -> bool {
    table.rows.iter().any(|row| {
        row.text("instanceGuid").is_some_and(|found| found.eq_ignore_ascii_case(id))
            && row.number("productState").is_some_and(|state| (state >> STATE_SHIFT) & 0xF != STATE_ON)
    })
}
