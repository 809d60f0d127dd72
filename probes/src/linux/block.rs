//! The block devices of /sys, each with what lies below it.

use std::collections::{BTreeMap, BTreeSet};

use proto::Layer;

use crate::{
    answers::{Round, unanswered, unparsed},
    drive::Step,
    linux::mounts::{DeviceNumber, decimal},
    question::{Answer, Question},
};

/// Folder with one link per block device, named `major:minor`.
pub(crate) const FOLDER: &str = "/sys/dev/block";
/// More block devices than this are not walked: a large storage server has some 500.
const DEVICES_MAX: usize = 1024;

/// A block device by its kernel name, such as `sda1` or `dm-0`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Device {
    pub(crate) kind: DeviceKind,
}

/// What a block device is, and where its bytes go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DeviceKind {
    /// Part of the device with this name.
    Partition { parent: String },
    /// A device-mapper target: its layer, its own name, and the devices below.
    Mapped { layer: MappedLayer, name: Option<String>, below: Below },
    /// A RAID of these devices.
    Raid { below: Below },
    /// A file; `None` when it cannot be told which.
    Loop { backing_file: Option<String> },
    /// Compressed memory; not only memory when it may write to a disk.
    Zram { memory_only: bool },
    /// A disk; facts of [`proto::Volume`].
    Disk { removable: Option<bool>, virtual_disk: bool },
    /// Anything this probe cannot follow.
    Other,
}

/// The devices below, `None` when the two sides of the links in /sys do not agree.
pub(crate) type Below = Option<BTreeSet<String>>;

/// What a device-mapper target does, by the prefix of its uuid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MappedLayer {
    /// Encrypts everything that passes.
    Encrypting(Layer),
    /// Passes bytes on.
    Passing(Layer),
    /// Unknown: it might encrypt, or not.
    Unknown,
}

/// Prefixes of dm uuids; each is followed by the rest of the uuid, never the whole of it.
/// `CRYPT-VERITY` and `CRYPT-INTEGRITY` protect against change, not against reading.
const DM_UUIDS: [(&str, MappedLayer); 9] = [
    ("CRYPT-LUKS1-", MappedLayer::Encrypting(Layer::Luks1)),
    ("CRYPT-LUKS2-", MappedLayer::Encrypting(Layer::Luks2)),
    ("CRYPT-PLAIN-", MappedLayer::Encrypting(Layer::Plain)),
    ("CRYPT-TCRYPT-", MappedLayer::Encrypting(Layer::Tcrypt)),
    ("CRYPT-BITLK-", MappedLayer::Encrypting(Layer::Bitlk)),
    ("CRYPT-VERITY-", MappedLayer::Passing(Layer::Verity)),
    ("CRYPT-INTEGRITY-", MappedLayer::Passing(Layer::Integrity)),
    ("LVM-", MappedLayer::Passing(Layer::Lvm)),
    ("mpath-", MappedLayer::Passing(Layer::Multipath)),
];

impl MappedLayer {
    /// The layer of a dm uuid. cryptsetup ends its uuids with the name of the mapping: one that does not end
    /// so was cut, or belongs to another device.
    fn of(uuid: &str, name: &str) -> Self {
        if let Some((_, rest)) = uuid.split_once('-').filter(|(p, _)| is_kpartx(p)) {
            return if rest.is_empty() { Self::Unknown } else { Self::Passing(Layer::Partition) };
        }
        let found = DM_UUIDS.iter().find(|(prefix, _)| uuid.starts_with(prefix));
        match found {
            Some((prefix, layer)) if prefix.starts_with("CRYPT-") => {
                let ends_with_name =
                    !name.is_empty() && uuid.strip_suffix(name).is_some_and(|u| u.ends_with('-'));
                if ends_with_name { *layer } else { Self::Unknown }
            }
            Some((prefix, layer)) if uuid.len() > prefix.len() => *layer,
            _ => Self::Unknown,
        }
    }
}

fn is_kpartx(prefix: &str) -> bool {
    prefix.strip_prefix("part").is_some_and(|number| decimal(number).is_some())
}

/// Kernel names of disks: everything else that has nothing below it is not known to be one.
const DISK_NAMES: [&str; 7] = ["hd", "mmcblk", "nvme", "pmem", "sd", "vd", "xvd"];
/// Kernel names that only a hypervisor gives.
const VIRTUAL_NAMES: [&str; 2] = ["vd", "xvd"];
/// Vendors and models by which hypervisors announce their disks.
const VIRTUAL_MODELS: [&str; 9] =
    ["Amazon", "Google", "Msft", "ORCL-VBOX", "QEMU", "VBOX", "VMware", "Virtual", "nvme_card"];

/// All block devices by kernel name and by number.
#[derive(Debug, Clone, Default)]
pub(crate) struct Devices {
    by_name: BTreeMap<String, Device>,
    by_number: BTreeMap<DeviceNumber, String>,
}

impl Devices {
    /// The device with a kernel name.
    pub(crate) fn named(&self, name: &str) -> Option<&Device> {
        self.by_name.get(name)
    }

    /// Devices by name, without numbers.
    #[cfg(test)]
    pub(crate) fn of(kinds: impl IntoIterator<Item = (String, DeviceKind)>) -> Self {
        let by_name = kinds.into_iter().map(|(name, kind)| (name, Device { kind })).collect();
        Self { by_name, by_number: BTreeMap::new() }
    }

    /// Kernel name of a device.
    pub(crate) fn name_of(&self, number: DeviceNumber) -> Option<&str> {
        self.by_number.get(&number).map(String::as_str)
    }

    /// Kernel name behind a path of /dev: `/dev/sda2`, `/dev/dm-0`, or `/dev/mapper/NAME`.
    pub(crate) fn name_of_path(&self, path: &str) -> Option<&str> {
        let name = path.strip_prefix("/dev/")?;
        if let Some(mapping) = name.strip_prefix("mapper/") {
            let mut found = self.by_name.iter().filter(|(_, device)| {
                matches!(&device.kind, DeviceKind::Mapped { name: Some(n), .. } if n == mapping)
            });
            let first = found.next()?;
            return found.next().is_none().then_some(first.0.as_str());
        }
        // A slash inside a kernel name is written as an exclamation mark in /sys.
        self.by_name.get_key_value(&name.replace('/', "!")).map(|(name, _)| name.as_str())
    }

    /// Asks for every block device and reads them.
    ///
    /// # Errors
    /// The step to return instead: more questions, or that the devices cannot be told.
    pub(crate) fn read(round: &mut Round<'_>, listing: &Answer) -> Result<Self, Step> {
        let Some(names) = listing.names() else {
            return Err(unanswered(Question::List(FOLDER.to_owned()), listing));
        };
        if names.len() > DEVICES_MAX {
            return Err(unanswered(Question::List(FOLDER.to_owned()), &Answer::TooLarge));
        }
        let mut found = Vec::new();
        for text in names {
            let Some(number) = DeviceNumber::parse(text) else {
                return Err(unparsed(Question::List(FOLDER.to_owned())));
            };
            let path = format!("{FOLDER}/{text}");
            let link = round.link(path.clone());
            let event = round.read(format!("{path}/uevent"));
            let holders = round.list(format!("{path}/holders"));
            found.push((number, path, link, event, holders));
        }
        if let Some(step) = round.pending() {
            return Err(step);
        }

        let mut identified = Vec::new();
        let mut held: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (number, path, link, event, holders) in found {
            // A device that went away meanwhile, or is not readable, is left out: what needs it is unknown then.
            let Some(identity) = Identity::read(number, link, event) else { continue };
            for holder in holders.names().unwrap_or_default() {
                held.entry(holder.clone()).or_default().insert(identity.name.clone());
            }
            identified.push((path, number, identity));
        }
        let mut devices = Self::default();
        for (path, number, identity) in identified {
            let kind = kind(round, &path, &identity, &held);
            devices.by_number.insert(number, identity.name.clone());
            devices.by_name.insert(identity.name, Device { kind });
        }
        match round.pending() {
            Some(step) => Err(step),
            None => Ok(devices),
        }
    }
}

/// Who a device is: two answers that must agree.
struct Identity {
    name: String,
    /// The disk a partition belongs to.
    parent: Option<String>,
}

impl Identity {
    fn read(number: DeviceNumber, link: &Answer, event: &Answer) -> Option<Self> {
        let Answer::Link(target) = link else { return None };
        let event: BTreeMap<&str, &str> =
            event.whole_text()?.lines().filter_map(|l| l.split_once('=')).collect();
        let is = |key, value: u32| event.get(key).is_some_and(|text| decimal(text) == Some(value));
        if !is("MAJOR", number.major) || !is("MINOR", number.minor) {
            return None;
        }
        let mut components = target.rsplit('/');
        let name = components.next().filter(|n| !n.is_empty())?;
        let device_name = event.get("DEVNAME")?;
        if device_name.replace('/', "!") != name {
            return None;
        }
        let parent = match *event.get("DEVTYPE")? {
            "disk" => None,
            "partition" => Some(components.next().filter(|p| !p.is_empty() && *p != "block")?.to_owned()),
            _ => return None,
        };
        Some(Self { name: name.to_owned(), parent })
    }
}

fn kind(
    round: &mut Round<'_>,
    path: &str,
    identity: &Identity,
    held: &BTreeMap<String, BTreeSet<String>>,
) -> DeviceKind {
    let name = identity.name.as_str();
    if let Some(parent) = &identity.parent {
        return DeviceKind::Partition { parent: parent.clone() };
    }
    let numbered = |prefix: &str| name.strip_prefix(prefix).is_some_and(|rest| decimal(rest).is_some());
    if numbered("dm-") {
        let uuid = round.read(format!("{path}/dm/uuid")).line();
        let mapping = round.read(format!("{path}/dm/name")).line();
        let layer = match (uuid, mapping) {
            (Some(uuid), Some(mapping)) => MappedLayer::of(uuid, mapping),
            _ => MappedLayer::Unknown,
        };
        let below = below(round, path, held.get(name));
        return DeviceKind::Mapped { layer, name: mapping.map(str::to_owned), below };
    }
    if name.strip_prefix("md").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit() || c == '_'))
    {
        return DeviceKind::Raid { below: below(round, path, held.get(name)) };
    }
    if numbered("loop") {
        let file = round.read(format!("{path}/loop/backing_file")).line();
        let backing_file =
            file.filter(|f| f.starts_with('/') && !f.ends_with(" (deleted)")).map(str::to_owned);
        return DeviceKind::Loop { backing_file };
    }
    if numbered("zram") {
        let files = round.list(path);
        let disk = round.read(format!("{path}/backing_dev"));
        return DeviceKind::Zram { memory_only: zram_is_memory(files, disk) };
    }
    if DISK_NAMES.iter().any(|prefix| name.starts_with(prefix)) {
        let removable = match round.read(format!("{path}/removable")).line() {
            Some("0") => Some(false),
            Some("1") => Some(true),
            _ => None,
        };
        let announced = ["vendor", "model"].map(|file| round.read(format!("{path}/device/{file}")));
        let virtual_disk = VIRTUAL_NAMES.iter().any(|prefix| name.starts_with(prefix))
            || announced
                .iter()
                .filter_map(|a| a.line())
                .any(|text| VIRTUAL_MODELS.iter().any(|model| text.starts_with(model)));
        return DeviceKind::Disk { removable, virtual_disk };
    }
    DeviceKind::Other
}

/// The devices below, if the upper device's `slaves` and the lower devices' `holders` say the same.
fn below(round: &mut Round<'_>, path: &str, held: Option<&BTreeSet<String>>) -> Below {
    let below: BTreeSet<String> = round.list(format!("{path}/slaves")).names()?.iter().cloned().collect();
    (!below.is_empty() && held == Some(&below)).then_some(below)
}

/// zram stays in memory unless it was given a disk to write to. A kernel without that ability has no such
/// file; that it is missing is believed only from a listing that shows the files around it.
fn zram_is_memory(files: &Answer, disk: &Answer) -> bool {
    match disk.line() {
        Some(disk) => disk == "none",
        None => {
            let has = |name: &str| files.names().is_some_and(|all| all.iter().any(|f| f == name));
            matches!(disk, Answer::Absent) && has("uevent") && has("disksize") && !has("backing_dev")
        }
    }
}

#[cfg(test)]
mod tests;
