//! `device-identity` on Windows: SMBIOS through WMI, the installation's id, interfaces, name.

use proto::IdentifierKind;

use crate::{
    answers::{Answers, Round},
    drive::Step,
    identity,
    question::Question,
    table::{Row, Table},
    windows,
};

pub(crate) const PRODUCT: Question = Question::Wmi {
    namespace: r"root\CIMV2",
    class: "Win32_ComputerSystemProduct",
    names: &["UUID", "IdentifyingNumber", "Vendor"],
};
pub(crate) const FIRMWARE: Question = Question::Wmi {
    namespace: r"root\CIMV2",
    class: "Win32_BIOS",
    names: &["SMBIOSMajorVersion", "SMBIOSMinorVersion"],
};
pub(crate) const BOARD: Question =
    Question::Wmi { namespace: r"root\CIMV2", class: "Win32_BaseBoard", names: &["SerialNumber"] };
pub(crate) const ADAPTERS: Question = Question::Wmi {
    namespace: r"root\StandardCimv2",
    class: "MSFT_NetAdapter",
    names: &["HardwareInterface", "PermanentAddress"],
};
/// The first version of SMBIOS whose UUID everybody reads in one order of bytes.
const ONE_ORDER: (u64, u64) = (2, 6);

/// The installation's id, which cloned images share.
pub(crate) fn machine_guid() -> Question {
    Question::Registry { key: r"HKLM\SOFTWARE\Microsoft\Cryptography".to_owned(), names: &["MachineGuid"] }
}

/// The computer's name as it is in force.
pub(crate) fn computer_name() -> Question {
    Question::Registry {
        key: r"HKLM\SYSTEM\CurrentControlSet\Control\ComputerName\ActiveComputerName".to_owned(),
        names: &["ComputerName"],
    }
}

/// The step of the probe on Windows.
pub(crate) fn step(answers: &Answers) -> Step {
    let mut round = Round::new(answers);
    let product = windows::ask(&mut round, PRODUCT);
    let firmware = windows::ask(&mut round, FIRMWARE);
    let board = windows::ask(&mut round, BOARD);
    let adapters = windows::ask(&mut round, ADAPTERS);
    let guid = windows::ask(&mut round, machine_guid());
    let name = windows::ask(&mut round, computer_name());
    if let Some(step) = round.pending() {
        return step;
    }
    let text = |asked: &windows::Asked<'_>, name: &str| {
        asked.table().and_then(Table::only).and_then(|row| row.text(name)).map(str::to_owned)
    };
    let version = firmware
        .table()
        .and_then(Table::only)
        .and_then(|row| Some((row.number("SMBIOSMajorVersion")?, row.number("SMBIOSMinorVersion")?)));
    let mut identifiers = vec![
        identity::machine_id(text(&guid, "MachineGuid").as_deref()),
        identity::uuid(text(&product, "UUID").and_then(|uuid| in_one_order(&uuid, version)).as_deref()),
        identity::serial(IdentifierKind::SystemSerial, text(&product, "IdentifyingNumber").as_deref()),
        identity::serial(IdentifierKind::BoardSerial, text(&board, "SerialNumber").as_deref()),
        identity::name(IdentifierKind::Hostname, text(&name, "ComputerName").as_deref()),
        identity::name(IdentifierKind::Vendor, text(&product, "Vendor").as_deref()),
    ];
    let rows = adapters.table().map(|table| table.rows.as_slice()).unwrap_or_default();
    identifiers.extend(rows.iter().filter_map(address));
    identity::observed(identifiers).map_or_else(|| product.unusable(), Step::Done)
}

/// Windows turns the first three parts round whatever the version; Linux only where the version says so.
fn in_one_order(uuid: &str, version: Option<(u64, u64)>) -> Option<String> {
    if version? >= ONE_ORDER { Some(uuid.to_owned()) } else { identity::turned(uuid) }
}

fn address(adapter: &Row<'_>) -> Option<proto::Identifier> {
    (adapter.number("HardwareInterface") == Some(1)).then_some(())?;
    identity::mac_address(adapter.text("PermanentAddress")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_firmware_is_read_as_linux_reads_it() {
        let uuid = "33221100-5544-7766-8899-AABBCCDDEEFF";
        assert_eq!(in_one_order(uuid, Some((3, 4))).as_deref(), Some(uuid));
        assert_eq!(in_one_order(uuid, Some((2, 4))).as_deref(), Some("00112233-4455-6677-8899-AABBCCDDEEFF"));
        assert_eq!(in_one_order(uuid, None), None);
    }
}
