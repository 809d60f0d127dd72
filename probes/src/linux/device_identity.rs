//! `device-identity` on Linux: firmware, installation, interfaces, name.

use proto::IdentifierKind;

use crate::{
    answers::{Answers, Round, unanswered},
    drive::{Outcome, Step},
    identity,
    linux::{container, mounts::decimal},
    question::{Answer, Question},
};

/// Only root may read it. The kernel prints it in the order SMBIOS 2.6 gives, older firmware's as it lies there.
pub(crate) const UUID: &str = "/sys/class/dmi/id/product_uuid";
/// Only root may read it.
pub(crate) const SERIAL: &str = "/sys/class/dmi/id/product_serial";
/// Only root may read it.
pub(crate) const BOARD_SERIAL: &str = "/sys/class/dmi/id/board_serial";
/// Who made the machine, or whose cloud it is: `Amazon EC2`, `Google`, `Microsoft Corporation`.
pub(crate) const VENDOR: &str = "/sys/class/dmi/id/sys_vendor";
/// The installation's id, see machine-id(5).
pub(crate) const MACHINE_ID: &str = "/etc/machine-id";
/// The name the kernel has.
pub(crate) const HOSTNAME: &str = "/proc/sys/kernel/hostname";
/// Network interfaces.
pub(crate) const INTERFACES: &str = "/sys/class/net";
/// Most interfaces looked at: a container host has thousands, none of which is hardware.
const INTERFACES_MAX: usize = 64;
/// Of `addr_assign_type`: the address is the one the hardware came with.
const PERMANENT: u32 = 0;

/// The step of the probe on Linux.
pub(crate) fn step(answers: &Answers) -> Step {
    let mut round = Round::new(answers);
    let container = container::ask(&mut round);
    let [uuid, serial, board, vendor, id, host] =
        [UUID, SERIAL, BOARD_SERIAL, VENDOR, MACHINE_ID, HOSTNAME].map(|path| round.read(path));
    let interfaces = round.list(INTERFACES);
    let names = interfaces.names().unwrap_or_default();
    let found: Vec<[&Answer; 3]> = names
        .iter()
        .take(INTERFACES_MAX)
        .map(|name| {
            // Only hardware is a device of some bus.
            let device = round.metadata(format!("{INTERFACES}/{name}/device"));
            let how = round.read(format!("{INTERFACES}/{name}/addr_assign_type"));
            [device, how, round.read(format!("{INTERFACES}/{name}/address"))]
        })
        .collect();
    if let Some(step) = round.pending() {
        return step;
    }
    if let Some(step) = container.verdict() {
        return step;
    }
    let mut identifiers = vec![
        identity::machine_id(id.line()),
        identity::uuid(uuid.line()),
        identity::serial(IdentifierKind::SystemSerial, serial.line()),
        identity::serial(IdentifierKind::BoardSerial, board.line()),
        identity::name(IdentifierKind::Hostname, host.line()),
        identity::name(IdentifierKind::Vendor, vendor.line()),
    ];
    identifiers.extend(found.into_iter().filter_map(|[device, how, address]| {
        let is_hardware = matches!(device, Answer::Metadata(_));
        let is_permanent = how.line().and_then(decimal) == Some(PERMANENT);
        identity::mac_address(address.line().filter(|_| is_hardware && is_permanent)?)
    }));
    match identity::observed(identifiers) {
        Some(outcome) => Step::Done(outcome),
        None if uuid.line().is_some() => Step::Done(Outcome::Unavailable(
            proto::Reason::UnparsedOutput,
            Some(Question::Read(UUID.to_owned())),
        )),
        None => unanswered(Question::Read(UUID.to_owned()), uuid),
    }
}
