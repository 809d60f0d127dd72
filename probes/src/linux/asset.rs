//! What this machine seems to be: a claim with its evidence. The roster decides what a device is.
//!
//! A class is claimed only on evidence for it: a container by its marks, a virtual machine by its processors or its
//! firmware, and hardware by the code of its chassis where processors and firmware both say that nothing lies below
//! them. Virtual machines have any chassis code, so while that is not known, no hardware is claimed. What could not be
//! looked at is absent, and losing an answer can take a class away but never give one.

use proto::{AssetClaim, AssetClass, Reason};

use crate::{
    answers::{Answers, Round},
    drive::{Look, Outcome, Step},
    linux::{
        container,
        mounts::decimal,
        screen_lock::{DEFAULT_TARGETS, SYSTEMD_RUNS, default_target, exists},
    },
    question::Answer,
};

/// Code of the chassis in decimal (SMBIOS 3.7, section 7.4.1).
pub(crate) const CHASSIS: &str = "/sys/class/dmi/id/chassis_type";
/// Maker and product as the firmware names them.
pub(crate) const DMI: [&str; 2] = ["/sys/class/dmi/id/sys_vendor", "/sys/class/dmi/id/product_name"];
/// Processors with their features; those of a virtual machine have `hypervisor`.
pub(crate) const CPUINFO: &str = "/proc/cpuinfo";
/// Holds [`HYPERVISOR`] where there is one.
pub(crate) const HYPERVISOR_FOLDER: &str = "/sys/hypervisor";
/// `xen` in every domain of Xen: also in the one that rules the machine, whose processors look virtual too.
pub(crate) const HYPERVISOR: &str = "/sys/hypervisor/type";
/// Batteries and mains.
pub(crate) const SUPPLIES: &str = "/sys/class/power_supply";
/// More supplies than this are not looked at.
const SUPPLIES_MAX: usize = 64;
/// A SMBIOS chassis code has 7 bits.
pub(crate) const CHASSIS_MAX: u32 = 127;
/// Codes of what is carried: portable, laptop, notebook, sub-notebook, tablet, convertible, detachable.
const LAPTOPS: [u32; 7] = [8, 9, 10, 14, 30, 31, 32];
/// Codes of what stands on or under a desk: desktop, low profile, mini tower, tower, all in one, space-saving,
/// mini PC, stick PC.
const DESKTOPS: [u32; 8] = [3, 4, 6, 7, 13, 15, 35, 36];
/// Codes of what stands in a rack: main server, rack mount, blade, blade enclosure.
const SERVERS: [u32; 4] = [17, 23, 28, 29];
/// Hypervisors by how their firmware begins its maker or product, with the names of systemd-detect-virt(1).
const FIRMWARES: [(&str, &str); 16] = [
    ("Apple Virtualization", "apple"),
    ("BHYVE", "bhyve"),
    ("Bochs", "bochs"),
    ("Google Compute Engine", "google"),
    ("KVM", "kvm"),
    ("KubeVirt", "kvm"),
    ("OpenStack", "kvm"),
    ("Parallels", "parallels"),
    ("QEMU", "qemu"),
    ("RHEV", "kvm"),
    ("Standard PC (", "qemu"),
    ("VMware", "vmware"),
    ("VirtualBox", "oracle"),
    ("Virtual Machine", "microsoft"),
    ("Xen", "xen"),
    ("innotek GmbH", "oracle"),
];
const NONE: &str = "none";
const XEN: &str = "xen";
/// A virtual machine whose hypervisor does not give its name, and a container whose manager was not asked for it.
const OTHER: [&str; 2] = ["vm-other", "container-other"];

/// The next step, given all answers so far.
pub(crate) fn step(answers: &Answers) -> Look {
    let mut round = Round::new(answers);
    let container = container::ask(&mut round);
    let chassis = round.read(CHASSIS);
    let firmware = DMI.map(|path| round.read(path));
    let processors = round.read(CPUINFO);
    let hypervisor = (round.list(HYPERVISOR_FOLDER), round.read(HYPERVISOR));
    let supplies = round.list(SUPPLIES);
    let systemd = round.metadata(SYSTEMD_RUNS);
    let targets = DEFAULT_TARGETS.map(|path| (path, round.link(path)));
    let described: Option<Vec<(&Answer, &Answer)>> =
        supplies.names().filter(|names| names.len() <= SUPPLIES_MAX).map(|names| {
            let describe = |name: &String| {
                let path = format!("{SUPPLIES}/{name}");
                (round.read(format!("{path}/type")), round.read(format!("{path}/scope")))
            };
            names.iter().map(describe).collect()
        });
    if let Some(Step::Ask(questions)) = round.pending() {
        return Look::Ask(questions);
    }
    match container.verdict() {
        None => {}
        // What else was asked is the machine's below, and no evidence of what this container is.
        Some(Step::Done(Outcome::Unavailable(Reason::Container, None))) => {
            return Look::Done(Some(AssetClaim {
                class: AssetClass::Container.into(),
                virtualisation: Some(OTHER[1].to_owned()),
                ..AssetClaim::default()
            }));
        }
        Some(_) => return Look::Done(None),
    }
    let chassis_type = chassis.line().and_then(decimal).filter(|code| (1..=CHASSIS_MAX).contains(code));
    let virtualisation = virtualisation(firmware, processors, hypervisor);
    let claim = AssetClaim {
        class: class(virtualisation, chassis_type).into(),
        chassis_type,
        battery: described.as_deref().and_then(battery),
        graphical_target: graphical_target(systemd, targets),
        virtualisation: virtualisation.map(|what| what.name.to_owned()),
    };
    Look::Done((claim != AssetClaim::default()).then_some(claim))
}

/// What lies between this system and the hardware.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Virtualisation {
    name: &'static str,
    /// It makes this system a virtual machine; not so where Xen runs and this may be the domain that rules it.
    is_machine: bool,
}

impl Virtualisation {
    /// As systemd-detect-virt(1) names it.
    pub(crate) const fn name(self) -> &'static str {
        self.name
    }
}

/// Nothing lies below.
pub(crate) const NO_HYPERVISOR: Virtualisation = Virtualisation { name: NONE, is_machine: false };

/// The hypervisor that maker and product, as the firmware names them, belong to.
pub(crate) fn named_hypervisor(names: [Option<&str>; 2]) -> Option<Virtualisation> {
    FIRMWARES
        .into_iter()
        .find(|(begin, _)| names.into_iter().flatten().any(|name| name.starts_with(begin)))
        .map(|(_, name)| Virtualisation { name, is_machine: true })
}

/// The class that the evidence allows to claim.
pub(crate) fn class(virtualisation: Option<Virtualisation>, chassis_type: Option<u32>) -> AssetClass {
    match (virtualisation, chassis_type) {
        (Some(what), _) if what.is_machine => AssetClass::Vm,
        (Some(what), Some(code)) if what.name == NONE => {
            let classes = [
                (&LAPTOPS[..], AssetClass::Laptop),
                (&DESKTOPS[..], AssetClass::Desktop),
                (&SERVERS[..], AssetClass::Server),
            ];
            let found = classes.into_iter().find(|(codes, _)| codes.contains(&code));
            found.map_or(AssetClass::Unspecified, |(_, class)| class)
        }
        _ => AssetClass::Unspecified,
    }
}

/// Firmware that names a hypervisor is believed, and so is the mark of the processors; that there is none is
/// believed only when firmware, processors and kernel all could be asked and say nothing of one.
fn virtualisation(
    firmware: [&Answer; 2],
    processors: &Answer,
    hypervisor: (&Answer, &Answer),
) -> Option<Virtualisation> {
    let names = firmware.map(Answer::line);
    if let Some(named) = named_hypervisor(names) {
        return Some(named);
    }
    match hypervisor {
        (_, kind) if kind.line() == Some(XEN) => {
            return Some(Virtualisation { name: XEN, is_machine: false });
        }
        // That the kernel names none is believed only when the folder shows no such name either.
        (Answer::Absent, Answer::Absent) => {}
        (Answer::Names(names), Answer::Absent) if !names.iter().any(|name| name == "type") => {}
        _ => return None,
    }
    if marked_virtual(processors)? {
        return Some(Virtualisation { name: OTHER[0], is_machine: true });
    }
    let told = names.into_iter().all(|name| name.is_some_and(|name| !name.trim().is_empty()));
    told.then_some(NO_HYPERVISOR)
}

/// Whether the processors have the mark of a hypervisor; `None` unless each of them shows its features, as those
/// of x86 do: a list that lost some could have lost the mark.
fn marked_virtual(processors: &Answer) -> Option<bool> {
    let text = processors.whole_text()?.strip_suffix("\n\n")?;
    let marks: Option<Vec<bool>> = text
        .split("\n\n")
        .map(|processor| {
            let mut features = processor.lines().filter_map(|line| {
                let (key, value) = line.split_once(':')?;
                (key.trim_end() == "flags").then_some(value)
            });
            let marked = features.next()?.split_whitespace().any(|feature| feature == "hypervisor");
            (processor.starts_with("processor") && features.next().is_none()).then_some(marked)
        })
        .collect();
    Some(marks?.contains(&true))
}

/// Whether a battery feeds the machine: those of mice and the like say that their scope is a device.
fn battery(supplies: &[(&Answer, &Answer)]) -> Option<bool> {
    let mut unknown = false;
    for (kind, scope) in supplies {
        match (kind.line(), scope, scope.line()) {
            (Some("Battery"), Answer::Absent, _) | (Some("Battery"), _, Some("System" | "Unknown")) => {
                return Some(true);
            }
            (Some("Battery"), _, Some("Device")) => {}
            (Some(other), _, _) if !other.is_empty() && other != "Battery" => {}
            _ => unknown = true,
        }
    }
    (!unknown).then_some(false)
}

/// Whether systemd's default target is graphical; `None` without systemd and for a target of the owner's own.
fn graphical_target(systemd: &Answer, targets: [(&str, &Answer); 3]) -> Option<bool> {
    if !exists(SYSTEMD_RUNS, systemd).ok()? {
        return None;
    }
    match default_target(true, targets).ok()?.as_str() {
        "graphical.target" | "runlevel5.target" => Some(true),
        "multi-user.target" | "runlevel2.target" | "runlevel3.target" | "runlevel4.target"
        | "rescue.target" | "emergency.target" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
