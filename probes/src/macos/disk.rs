//! `disk-encryption` on macOS: whether each APFS volume's key is bound to a password, that is, FileVault.
//!
//! The chip of newer Macs encrypts every volume with a key it gives to whoever starts the machine: without FileVault
//! that is no encryption here. `diskutil` must say so in its list and `fdesetup` in its words; where they disagree, or
//! the words are new, nothing is known. What the system itself needs to start, and its swap, are left out: the
//! first holds no data, and the second is encrypted under a key that is forgotten, which nothing here shows.

use std::collections::BTreeSet;

use proto::{Coverage, DiskEncryption, Layer, Volume, VolumePurpose, facts::Control};

use crate::{
    answers::{Answers, Round, unanswered, unparsed},
    drive::{Outcome, Step},
    macos::plists::{self, Dict, Value},
    programs::Program,
    question::{Answer, Question},
};

/// Containers and volumes.
pub(crate) const CONTAINERS: [&str; 3] = ["apfs", "list", "-plist"];
/// Disks built into the machine, with their partitions.
pub(crate) const INTERNAL: [&str; 4] = ["list", "-plist", "internal", "physical"];
/// Disks that can be pulled out.
pub(crate) const EXTERNAL: [&str; 4] = ["list", "-plist", "external", "physical"];
/// The volume all data of the running system is on (since macOS 10.15).
pub(crate) const DATA: [&str; 3] = ["info", "-plist", DATA_MOUNT];
/// Where it is mounted.
const DATA_MOUNT: &str = "/System/Volumes/Data";
/// FileVault in words.
pub(crate) const STATUS: [&str; 1] = ["status"];
/// More volumes than this are cut off, and the facts say so.
const VOLUMES_MAX: usize = 256;
/// Volumes with only these roles hold no data of people.
const SYSTEM_ROLES: [&str; 8] =
    ["System", "Preboot", "Recovery", "VM", "Update", "Hardware", "xART", "Installer"];
/// Partitions that are no file system of people: APFS is looked at by its volumes.
const SYSTEM_PARTITIONS: [&str; 6] =
    ["EFI", "Apple_APFS", "Apple_APFS_ISC", "Apple_APFS_Recovery", "Apple_Boot", "Apple_KernelCoreDump"];

/// The step of the probe on macOS.
pub(crate) fn step(answers: &Answers) -> Step {
    let mut round = Round::new(answers);
    let [containers, internal, external, data] = [&CONTAINERS[..], &INTERNAL, &EXTERNAL, &DATA]
        .map(|args| (Question::run(Program::Diskutil, args), args))
        .map(|(question, _)| (round.ask(&question), question));
    let status = round.ask(&Question::run(Program::Fdesetup, &STATUS));
    if let Some(step) = round.pending() {
        return step;
    }
    for (answer, question) in [&containers, &internal, &external, &data] {
        if plists::dict(answer).is_none() {
            return unanswered(question.clone(), answer);
        }
    }
    let physical = [(&internal, false), (&external, true)].map(|((answer, question), removable)| {
        plists::dict(answer).and_then(|list| disks(&list, removable)).ok_or_else(|| question.clone())
    });
    let physical = match physical {
        [Ok(internal), Ok(external)] => [internal, external],
        [Err(question), _] | [_, Err(question)] => return unparsed(question),
    };
    // A disk is built in or can be pulled out: both would be one list given twice.
    let [built_in, pulled_out] = &physical;
    if !built_in.partitions.is_disjoint(&pulled_out.partitions) {
        return unparsed(external.1);
    }
    let root = plists::dict(data.0).and_then(|info| root(&info));
    let Some(root) = root else { return unparsed(data.1) };
    let volumes = plists::dict(containers.0).and_then(|list| volumes(&list, &physical, &root, words(status)));
    let Some(mut volumes) = volumes else { return unparsed(containers.1) };
    volumes.extend(physical.iter().flat_map(foreign));
    volumes.sort_by_key(|volume| volume.purpose != i32::from(VolumePurpose::Root));
    if volumes.first().is_none_or(|volume| volume.purpose() != VolumePurpose::Root) {
        return unparsed(containers.1);
    }
    let volumes_truncated = volumes.len() > VOLUMES_MAX;
    volumes.truncate(VOLUMES_MAX);
    Step::Done(Outcome::observed(Control::DiskEncryption(DiskEncryption { volumes, volumes_truncated })))
}

/// The disks of one kind, and what lies on them.
struct Disks {
    partitions: BTreeSet<String>,
    mounted: Vec<(String, String)>,
    removable: bool,
}

fn disks(list: &Dict, removable: bool) -> Option<Disks> {
    let mut disks = Disks { partitions: BTreeSet::new(), mounted: Vec::new(), removable };
    let named = list.get("AllDisks")?.array()?.len();
    let mut met = 0;
    for disk in list.get("AllDisksAndPartitions")?.array()? {
        let disk = disk.dict()?;
        let empty = Value::Array(Vec::new());
        let partitions = disk.get("Partitions").unwrap_or(&empty).array()?.iter().map(Value::dict);
        for part in std::iter::once(Some(disk)).chain(partitions) {
            let part = part?;
            met += 1;
            disks.partitions.insert(part.get("DeviceIdentifier")?.text()?.to_owned());
            // A disk without a partition table has no kind of its own.
            let content = part.get("Content").map_or(Some(""), Value::text)?;
            if let Some(mount) = part.get("MountPoint")
                && !SYSTEM_PARTITIONS.contains(&content)
            {
                disks.mounted.push((mount.text()?.to_owned(), content.to_owned()));
            }
        }
    }
    // Disks are named twice, so that one that is lost is missed.
    (met == named).then_some(disks)
}

/// The volume of all data, by the name of its device.
struct Root {
    device: String,
    filevault: bool,
    virtual_disk: bool,
}

fn root(info: &Dict) -> Option<Root> {
    if info.get("MountPoint")?.text()? != DATA_MOUNT || info.get("FilesystemType")?.text()? != "apfs" {
        return None;
    }
    Some(Root {
        device: info.get("DeviceIdentifier")?.text()?.to_owned(),
        filevault: info.get("FileVault")?.flag()?,
        virtual_disk: info.get("BusProtocol").and_then(Value::text) == Some("Virtio Interface")
            || info.get("BusProtocol").and_then(Value::text) == Some("PCI-Virtual"),
    })
}

/// What `fdesetup status` says of the volume the system starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Words {
    On,
    Off,
    Changing,
    New,
}

/// Only sentences known to the letter count; one more line of any kind is new.
fn words(answer: &Answer) -> Words {
    let Some(text) = answer.whole_text() else { return Words::New };
    let mut lines = text.lines().filter(|line| *line != "FileVault master keychain appears to be installed.");
    let (first, second, rest) = (lines.next(), lines.next(), lines.next());
    let begins = |begin: &str| second.is_some_and(|line| line.starts_with(begin));
    match (first, second, rest) {
        (Some("FileVault is On."), None, None) => Words::On,
        (Some("FileVault is On." | "FileVault is Off."), Some(_), None)
            if begins("Encryption in progress: ") || begins("Decryption in progress: ") =>
        {
            Words::Changing
        }
        (
            Some("FileVault is Off." | "FileVault is Off, but will be enabled after the next restart."),
            None,
            None,
        ) => Words::Off,
        (Some("FileVault is Off."), Some(_), None) if begins("Deferred enablement appears to be active") => {
            Words::Off
        }
        _ => Words::New,
    }
}

fn volumes(list: &Dict, physical: &[Disks; 2], root: &Root, words: Words) -> Option<Vec<Volume>> {
    let mut volumes = Vec::new();
    for container in list.get("Containers")?.array()? {
        let container = container.dict()?;
        let stores = container.get("PhysicalStores")?.array()?;
        let stores: Vec<&str> = stores
            .iter()
            .map(|store| store.dict()?.get("DeviceIdentifier")?.text())
            .collect::<Option<_>>()?;
        let disks = physical.iter().find(|d| stores.iter().any(|store| d.partitions.contains(*store)));
        for volume in container.get("Volumes")?.array()? {
            let volume = volume.dict()?;
            let is_root = volume.get("DeviceIdentifier")?.text()? == root.device;
            let roles = volume.get("Roles")?.array()?.iter().map(Value::text).collect::<Option<Vec<_>>>()?;
            let filevault = volume.get("FileVault")?.flag()?;
            let encrypted = volume.get("Encryption")?.flag()?;
            let changing = volume.get("CryptoMigrationOn")?.flag()?;
            let of_system = !roles.is_empty() && roles.iter().all(|role| SYSTEM_ROLES.contains(role));
            // What the system runs from lies on a disk, so one of the lists has lost it.
            if is_root && disks.is_none() {
                return None;
            }
            // Disk images lie in a file on a volume that is looked at, or on another machine.
            if !is_root && (of_system || disks.is_none()) {
                continue;
            }
            let of_volume = match (filevault && encrypted, changing) {
                (_, true) => Coverage::Partial,
                (true, false) => Coverage::Full,
                // Encrypted without FileVault: only by the chip. FileVault without encryption: nonsense.
                (false, false) if !filevault => Coverage::None,
                (false, false) => Coverage::Unspecified,
            };
            let encryption =
                if is_root { agreed(of_volume, words, filevault == root.filevault) } else { of_volume };
            let leaves = u32::try_from(stores.len()).ok()?;
            let mut layers = vec![Layer::Disk.into()];
            if encryption == Coverage::Full {
                layers.push(Layer::Other.into());
            }
            volumes.push(Volume {
                purpose: if is_root { VolumePurpose::Root } else { VolumePurpose::Data }.into(),
                mount: if is_root { DATA_MOUNT.to_owned() } else { String::new() },
                filesystem: "apfs".to_owned(),
                encryption: encryption.into(),
                leaves,
                leaves_encrypted: if encryption == Coverage::Full { leaves } else { 0 },
                layers,
                removable: disks.map(|d| d.removable),
                virtual_disk: root.virtual_disk.then_some(true),
            });
        }
    }
    Some(volumes)
}

/// What list and words together show of the volume of all data.
fn agreed(of_volume: Coverage, words: Words, lists_agree: bool) -> Coverage {
    match (of_volume, words) {
        (Coverage::Full, Words::On) if lists_agree => Coverage::Full,
        (Coverage::None, Words::Off) if lists_agree => Coverage::None,
        (Coverage::Partial, _) | (Coverage::Full, Words::Changing) => Coverage::Partial,
        _ => Coverage::Unspecified,
    }
}

/// Mounted partitions that are no APFS: how they may be encrypted is not shown.
fn foreign(disks: &Disks) -> impl Iterator<Item = Volume> + '_ {
    disks.mounted.iter().map(|(_, content)| Volume {
        purpose: VolumePurpose::Data.into(),
        mount: String::new(),
        filesystem: match content.as_str() {
            "Apple_HFS" => "hfs",
            "Windows_NTFS" | "Microsoft Basic Data" => "windows",
            _ => "other",
        }
        .to_owned(),
        encryption: match content.as_str() {
            // Encryption of HFS+ is a layer of its own (Core Storage), which has another kind of partition.
            "Apple_HFS" => Coverage::None,
            _ => Coverage::Unspecified,
        }
        .into(),
        leaves: 1,
        leaves_encrypted: 0,
        layers: vec![Layer::Partition.into()],
        removable: Some(disks.removable),
        virtual_disk: None,
    })
}
