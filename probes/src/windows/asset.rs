//! What a Windows machine seems to be, by the same rules as on Linux.
//!
//! A hypervisor runs below most new machines without making them virtual, so its mark alone claims nothing.

use proto::AssetClaim;

use crate::{
    answers::{Answers, Round},
    drive::{Look, Step},
    linux::asset::{CHASSIS_MAX, NO_HYPERVISOR, class, named_hypervisor},
    question::Question,
    table::{Table, Value},
    windows,
};

pub(crate) const SYSTEM: Question = Question::Wmi {
    namespace: r"root\CIMV2",
    class: "Win32_ComputerSystem",
    names: &["Manufacturer", "Model", "HypervisorPresent"],
};
pub(crate) const ENCLOSURE: Question =
    Question::Wmi { namespace: r"root\CIMV2", class: "Win32_SystemEnclosure", names: &["ChassisTypes"] };
pub(crate) const BATTERY: Question =
    Question::Wmi { namespace: r"root\CIMV2", class: "Win32_Battery", names: &["Chemistry"] };

/// The next step, given all answers so far.
pub(crate) fn step(answers: &Answers) -> Look {
    let mut round = Round::new(answers);
    let system = windows::ask(&mut round, SYSTEM);
    let enclosure = windows::ask(&mut round, ENCLOSURE);
    let battery = windows::ask(&mut round, BATTERY);
    if let Some(Step::Ask(questions)) = round.pending() {
        return Look::Ask(questions);
    }
    let virtualisation = system.table().and_then(|table| {
        let row = table.only()?;
        let names = [row.text("Manufacturer"), row.text("Model")];
        let told = names.iter().all(|name| name.is_some_and(|name| !name.trim().is_empty()));
        let none = told && row.number("HypervisorPresent") == Some(0);
        named_hypervisor(names).or(none.then_some(NO_HYPERVISOR))
    });
    let chassis_type = enclosure.table().and_then(chassis);
    let claim = AssetClaim {
        class: class(virtualisation, chassis_type).into(),
        chassis_type,
        // No row is what a machine without a battery answers, and also one that does not know the class.
        battery: battery.table().filter(|table| !table.rows.is_empty()).map(|_| true),
        graphical_target: None,
        virtualisation: virtualisation.map(|what| what.name().to_owned()),
    };
    Look::Done((claim != AssetClaim::default()).then_some(claim))
}

/// The code of the one enclosure; several, as of a docked laptop, say nothing.
fn chassis(table: &Table<'_>) -> Option<u32> {
    let mut codes = table.only()?.all("ChassisTypes");
    match (codes.next(), codes.next()) {
        (Some(Value::Number(code)), None) => {
            u32::try_from(code).ok().filter(|code| (1..=CHASSIS_MAX).contains(code))
        }
        _ => None,
    }
}
