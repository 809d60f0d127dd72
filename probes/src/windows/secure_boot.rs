//! `secure-boot` on Windows: the firmware's switch as Windows was started with it, and the TPM's version.

use proto::{Firmware, SecureBoot, facts::Control};

use crate::{
    answers::{Answers, Round, unparsed},
    drive::{Outcome, Step},
    question::Question,
    table::Table,
    windows::{self, settings::Setting},
};

const CONTROL: &str = r"HKLM\SYSTEM\CurrentControlSet\Control";
const STATE: &str = r"HKLM\SYSTEM\CurrentControlSet\Control\SecureBoot\State";
pub(crate) const TPM: Question = Question::Wmi {
    namespace: r"root\CIMV2\Security\MicrosoftTpm",
    class: "Win32_Tpm",
    names: &["IsEnabled_InitialValue", "SpecVersion"],
};

/// 1 where an old BIOS started Windows, 2 where UEFI did.
pub(crate) fn firmware() -> Question {
    Question::Registry { key: CONTROL.to_owned(), names: &["PEFirmwareType"] }
}

pub(crate) fn state() -> Question {
    Question::Registry { key: STATE.to_owned(), names: &["UEFISecureBootEnabled"] }
}

/// The step of the probe on Windows.
pub(crate) fn step(answers: &Answers) -> Step {
    let mut round = Round::new(answers);
    let firmware = windows::ask(&mut round, firmware());
    let switch = windows::ask(&mut round, state());
    let tpm = windows::ask(&mut round, TPM);
    if let Some(step) = round.pending() {
        return step;
    }
    let Some(state) = switch.table() else { return switch.unusable() };
    let Some(kind) = firmware.table() else { return firmware.unusable() };
    let firmware = match Setting::of(kind, "PEFirmwareType") {
        Setting::Is(1) => Firmware::Bios,
        Setting::Is(2) => Firmware::Uefi,
        _ => Firmware::Unspecified,
    };
    let enabled = match (firmware, Setting::of(state, "UEFISecureBootEnabled")) {
        (Firmware::Bios, Setting::Unset | Setting::Is(0)) => false,
        (Firmware::Uefi | Firmware::Unspecified, Setting::Is(0)) => false,
        (Firmware::Uefi | Firmware::Unspecified, Setting::Is(1)) => true,
        // Without the value, or with a BIOS that has the switch on: neither can be.
        _ => return unparsed(self::state()),
    };
    Step::Done(Outcome::observed(Control::SecureBoot(SecureBoot {
        firmware: firmware.into(),
        enabled: Some(enabled),
        tpm_version: tpm.table().and_then(tpm_version),
        ..SecureBoot::default()
    })))
}

/// The class has no object where there is no TPM. One that is turned off has a version too, which is not claimed.
fn tpm_version(table: &Table<'_>) -> Option<u32> {
    if table.rows.is_empty() {
        return Some(0);
    }
    let row = table.only()?;
    if row.number("IsEnabled_InitialValue")? != 1 {
        return None;
    }
    // `2.0, 0, 1.59`: of the specification, its revision and errata.
    let (major, _) = row.text("SpecVersion")?.split_once('.')?;
    major.bytes().all(|byte| byte.is_ascii_digit()).then(|| major.parse().ok())?.filter(|major| *major > 0)
}
