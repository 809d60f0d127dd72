//! `secure-boot`: whether the firmware lets start only what is signed, and whether there is a TPM.

use proto::{Firmware, SecureBoot, facts::Control};

use crate::{
    answers::{Answers, Round, unanswered, unparsed},
    drive::{Outcome, Step},
    linux::container,
    question::{Answer, Question},
};

/// What the firmware left to the kernel; `efi` is among it where UEFI started the machine.
pub(crate) const FIRMWARE: &str = "/sys/firmware";
/// UEFI's variables.
pub(crate) const VARIABLES: &str = "/sys/firmware/efi/efivars";
/// The switch. The whole name with its vendor is used: others may add variables of the same name.
pub(crate) const SECURE_BOOT: &str = "SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";
/// 1 while no owner's key is enrolled: then nothing is enforced, whatever the switch says.
pub(crate) const SETUP_MODE: &str = "SetupMode-8be4df61-93ca-11d2-aa0d-00e098032b8c";
/// shim's own: 1 where somebody told it not to check the kernel (`mokutil --disable-validation`).
pub(crate) const SHIM: &str = "MokSBStateRT-605dab50-e046-4300-abb6-3dd810dd8b23";
/// TPMs the kernel has a driver for.
pub(crate) const TPMS: &str = "/sys/class/tpm";
/// Major version of the first TPM.
pub(crate) const TPM_VERSION: &str = "/sys/class/tpm/tpm0/tpm_version_major";
/// A variable's file begins with this many bytes of attributes.
const ATTRIBUTES_BYTES: usize = 4;

/// The step of the probe on Linux.
pub(crate) fn step(answers: &Answers) -> Step {
    let mut round = Round::new(answers);
    let container = container::ask(&mut round);
    let firmware = round.list(FIRMWARE);
    let tpms = round.list(TPMS);
    if let Some(step) = round.pending() {
        return step;
    }
    if let Some(step) = container.verdict() {
        return step;
    }
    let Some(folders) = firmware.names() else {
        return unanswered(Question::List(FIRMWARE.to_owned()), firmware);
    };
    // Every machine's firmware leaves something there: an empty folder shows nothing.
    if folders.is_empty() {
        return unparsed(Question::List(FIRMWARE.to_owned()));
    }
    let tpm_version = tpm_version(&mut round, tpms);
    if !folders.iter().any(|name| name == "efi") {
        if let Some(step) = round.pending() {
            return step;
        }
        return Step::Done(Outcome::observed(Control::SecureBoot(SecureBoot {
            firmware: Firmware::Bios.into(),
            enabled: Some(false),
            tpm_version,
            ..SecureBoot::default()
        })));
    }
    let names = round.list(VARIABLES);
    let switch = round.read(format!("{VARIABLES}/{SECURE_BOOT}"));
    let setup = round.read(format!("{VARIABLES}/{SETUP_MODE}"));
    let shim = round.read(format!("{VARIABLES}/{SHIM}"));
    if let Some(step) = round.pending() {
        return step;
    }
    let Some(enabled) = flag(switch) else {
        return unanswered(Question::Read(format!("{VARIABLES}/{SECURE_BOOT}")), switch);
    };
    Step::Done(Outcome::observed(Control::SecureBoot(SecureBoot {
        firmware: Firmware::Uefi.into(),
        enabled: Some(enabled),
        setup_mode: flag(setup),
        shim_disabled: shim_disabled(names, shim),
        tpm_version,
        ..SecureBoot::default()
    })))
}

/// The value of a variable that is 0 or 1.
fn flag(answer: &Answer) -> Option<bool> {
    let Answer::Bytes(bytes) = answer else { return None };
    match bytes.get(ATTRIBUTES_BYTES..)? {
        [0] => Some(false),
        [1] => Some(true),
        _ => None,
    }
}

/// shim makes its variable only when it was told something; that it is missing is believed when the list of
/// variables agrees.
fn shim_disabled(names: &Answer, shim: &Answer) -> Option<bool> {
    match shim {
        Answer::Absent => {
            let names = names.names()?;
            let shows = |name: &str| names.iter().any(|n| n == name);
            (shows(SECURE_BOOT) && !shows(SHIM)).then_some(false)
        }
        // No shim writes 0 there.
        other => flag(other).filter(|disabled| *disabled),
    }
}

/// 0 where the kernel knows of no TPM; unknown where it was built without the subsystem.
fn tpm_version(round: &mut Round<'_>, tpms: &Answer) -> Option<u32> {
    let names = tpms.names()?;
    if names.is_empty() {
        return Some(0);
    }
    if !names.iter().any(|name| name == "tpm0") {
        return None;
    }
    let version = round.read(TPM_VERSION).line()?;
    version.parse().ok().filter(|version| *version > 0)
}
