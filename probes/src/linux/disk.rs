//! `disk-encryption`: does every writable local volume and swap area reach storage only through encryption?

use std::collections::{BTreeMap, BTreeSet};

use proto::{DiskEncryption, Volume, VolumePurpose, facts::Control};

use crate::{
    answers::{Answers, Round, unanswered, unparsed},
    drive::{Outcome, Step},
    linux::{
        block::{self, Devices},
        container::{self, MOUNTINFO},
        mounts::{self, Backing, DeviceNumber, Mount, Swap, agrees_with, holding, is_within},
        reach::{Reach, Walk, Way},
    },
    question::{Answer, Question},
};

pub(crate) const MOUNTS: &str = "/proc/self/mounts";
pub(crate) const SWAPS: &str = "/proc/swaps";
pub(crate) const MEMINFO: &str = "/proc/meminfo";
pub(crate) const BTRFS_FOLDER: &str = "/sys/fs/btrfs";
/// Most rows of a list of facts (docs/FORMAT.md section 3).
const VOLUMES_MAX: usize = 256;
/// More btrfs file systems than this are not looked at.
const BTRFS_MAX: usize = 64;
/// Below these folders a mount point may name a person or his things: only the first part is reported.
const PRIVATE_FOLDERS: [&str; 4] = ["/home", "/mnt", "/media", "/run"];
/// What is reported as the mount point of a swap area.
const SWAP_MOUNT: &str = "[SWAP]";

/// The step of the probe on Linux.
pub(crate) fn step(answers: &Answers) -> Step {
    let mut round = Round::new(answers);
    let container = container::ask(&mut round);
    let mountinfo = round.read(MOUNTINFO);
    let proc_mounts = round.read(MOUNTS);
    let swaps = round.read(SWAPS);
    let meminfo = round.read(MEMINFO);
    let listing = round.list(block::FOLDER);
    if let Some(step) = round.pending() {
        return step;
    }
    if let Some(step) = container.verdict() {
        return step;
    }

    let mounts = match (mountinfo.whole_text(), proc_mounts.whole_text()) {
        (None, _) => return unanswered(Question::Read(MOUNTINFO.to_owned()), mountinfo),
        (_, None) => return unanswered(Question::Read(MOUNTS.to_owned()), proc_mounts),
        (Some(text), Some(check)) => match mounts::parse_mountinfo(text) {
            Some(mounts) if agrees_with(&mounts, check) => mounts,
            _ => return unparsed(Question::Read(MOUNTINFO.to_owned())),
        },
    };
    let swaps = match parse_swaps(swaps, meminfo) {
        Ok(swaps) => swaps,
        Err(step) => return step,
    };
    let devices = match Devices::read(&mut round, listing) {
        Ok(devices) => devices,
        Err(step) => return step,
    };
    let btrfs = if mounts.iter().any(|m| m.backing() == Backing::Btrfs) {
        match btrfs_members(&mut round, &mounts, &devices) {
            Ok(members) => members,
            Err(step) => return step,
        }
    } else {
        BTreeMap::new()
    };

    let mut walk = Walk::new(&devices, &mounts, &btrfs);
    let mut volumes = mounted_volumes(&mut walk, &mounts);
    volumes.extend(swaps.iter().map(|swap| swap_volume(&mut walk, &devices, swap)));
    let volumes_truncated = volumes.len() > VOLUMES_MAX;
    volumes.truncate(VOLUMES_MAX);
    Step::Done(Outcome::observed(Control::DiskEncryption(DiskEncryption { volumes, volumes_truncated })))
}

/// The swap areas; a kernel without swap has no list, which is believed when it also has no swap space.
fn parse_swaps(swaps: &Answer, meminfo: &Answer) -> Result<Vec<Swap>, Step> {
    let question = |path: &str| Question::Read(path.to_owned());
    let Some(meminfo_text) = meminfo.whole_text() else {
        return Err(unanswered(question(MEMINFO), meminfo));
    };
    let areas = match (swaps, swaps.whole_text()) {
        (_, Some(text)) => mounts::parse_swaps(text).ok_or_else(|| unparsed(question(SWAPS)))?,
        (Answer::Absent, None) => Vec::new(),
        (other, None) => return Err(unanswered(question(SWAPS), other)),
    };
    if mounts::swaps_add_up(&areas, meminfo_text) { Ok(areas) } else { Err(unparsed(question(SWAPS))) }
}

/// Kernel names of the members of every mounted btrfs, by the mount's source.
fn btrfs_members(
    round: &mut Round<'_>,
    mounts: &[Mount],
    devices: &Devices,
) -> Result<BTreeMap<String, BTreeSet<String>>, Step> {
    let listing = round.list(BTRFS_FOLDER);
    if let Some(step) = round.pending() {
        return Err(step);
    }
    let systems = listing.names().unwrap_or_default().iter().filter(|name| name.contains('-'));
    let mut found = Vec::new();
    for uuid in systems.take(BTRFS_MAX) {
        let members = round.list(format!("{BTRFS_FOLDER}/{uuid}/devices"));
        let numbers = round.list(format!("{BTRFS_FOLDER}/{uuid}/devinfo"));
        found.push((members, numbers));
    }
    if let Some(step) = round.pending() {
        return Err(step);
    }
    // A member that is missing, or that the listing lost, still has its number in devinfo (Linux 5.6).
    let complete: Vec<BTreeSet<String>> = found
        .into_iter()
        .filter_map(|(members, numbers)| {
            let (members, numbers) = (members.names()?, numbers.names()?);
            (!members.is_empty() && members.len() == numbers.len()).then(|| members.iter().cloned().collect())
        })
        .collect();
    let mut by_source = BTreeMap::new();
    for mount in mounts.iter().filter(|m| m.backing() == Backing::Btrfs) {
        let Some(name) = devices.name_of_path(&mount.source) else { continue };
        if let Some(members) = complete.iter().find(|members| members.contains(name)) {
            by_source.insert(mount.source.clone(), members.clone());
        }
    }
    Ok(by_source)
}

/// A file system with all the places it is mounted at.
struct FileSystem<'a> {
    mounts: Vec<&'a Mount>,
    purpose: VolumePurpose,
}

/// One row per file system, root first, then by purpose and mount point.
fn mounted_volumes(walk: &mut Walk<'_>, mounts: &[Mount]) -> Vec<Volume> {
    let visible_root = mounts.iter().rposition(|m| m.point == "/");
    let mut systems: BTreeMap<(DeviceNumber, &str), FileSystem<'_>> = BTreeMap::new();
    for (index, mount) in mounts.iter().enumerate() {
        let is_root = visible_root == Some(index);
        if !is_root && !is_volume(mounts, mount) {
            continue;
        }
        let purpose = if is_root { VolumePurpose::Root } else { purpose(mount) };
        let key = (mount.device, if mount.device.major == 0 { mount.source.as_str() } else { "" });
        let system = systems.entry(key).or_insert_with(|| FileSystem { mounts: Vec::new(), purpose });
        if rank(purpose) < rank(system.purpose) {
            system.purpose = purpose;
        }
        system.mounts.push(mount);
    }
    let mut rows: Vec<(u8, String, Volume)> = systems
        .into_values()
        .filter_map(|system| {
            let of_purpose = |m: &&&Mount| match system.purpose {
                VolumePurpose::Root => m.point == "/",
                other => purpose(m) == other,
            };
            let mount = system.mounts.iter().filter(of_purpose).min_by_key(|m| (m.point.len(), &m.point))?;
            let volume =
                volume(system.purpose, &reported_point(&mount.point), &mount.filesystem, &walk.mount(mount));
            Some((rank(system.purpose), mount.point.clone(), volume))
        })
        .collect();
    rows.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    rows.into_iter().map(|(_, _, volume)| volume).collect()
}

/// Stores something on this machine that can be changed, and is not just another view of a listed volume.
fn is_volume(mounts: &[Mount], mount: &Mount) -> bool {
    match mount.backing() {
        Backing::Kernel | Backing::Network | Backing::Memory => false,
        Backing::Block | Backing::Btrfs | Backing::Unknown => !mount.read_only(),
        // What a container's overlay stores lies in `upperdir`, in a volume that has its own row.
        Backing::Overlay => match mount.option("upperdir") {
            None => false,
            Some(folder) => !holding(mounts, folder).is_some_and(|m| {
                !matches!(m.backing(), Backing::Overlay | Backing::Kernel | Backing::Network)
            }),
        },
    }
}

/// What a mount is for, by its mount point. Only the exact places of the standard may be a boot volume: data
/// mounted below them is data.
fn purpose(mount: &Mount) -> VolumePurpose {
    match mount.point.as_str() {
        "/boot" => VolumePurpose::Boot,
        "/boot/efi" | "/efi" | "/boot/EFI" if mount.filesystem == "vfat" => VolumePurpose::Efi,
        point if is_within(point, "/home") => VolumePurpose::Home,
        _ => VolumePurpose::Data,
    }
}

/// A file system mounted at several places counts as the most telling of them, lowest first.
fn rank(purpose: VolumePurpose) -> u8 {
    match purpose {
        VolumePurpose::Root => 0,
        VolumePurpose::Home => 1,
        VolumePurpose::Data | VolumePurpose::Unspecified => 2,
        VolumePurpose::Swap => 3,
        VolumePurpose::Boot => 4,
        VolumePurpose::Efi => 5,
    }
}

/// The mount point as it may be told: below private folders only the folder.
fn reported_point(point: &str) -> String {
    PRIVATE_FOLDERS.into_iter().find(|folder| is_within(point, folder)).unwrap_or(point).to_owned()
}

fn swap_volume(walk: &mut Walk<'_>, devices: &Devices, swap: &Swap) -> Volume {
    let reach = if swap.is_file {
        walk.file(&swap.path)
    } else {
        match devices.name_of_path(&swap.path) {
            Some(name) => walk.device(name),
            None => Reach::unknown(&swap.path),
        }
    };
    volume(VolumePurpose::Swap, SWAP_MOUNT, "swap", &reach)
}

fn volume(purpose: VolumePurpose, mount: &str, filesystem: &str, reach: &Reach) -> Volume {
    let count = |wanted: fn(&&Way) -> bool| {
        u32::try_from(reach.leaves.values().filter(wanted).count()).unwrap_or(u32::MAX)
    };
    // A dead end is not a device that was reached.
    let leaves = count(|way| **way != Way::Unknown);
    Volume {
        purpose: purpose.into(),
        mount: mount.to_owned(),
        filesystem: filesystem.to_owned(),
        encryption: reach.coverage().into(),
        leaves,
        leaves_encrypted: count(|way| **way == Way::Encrypted),
        layers: reach.layers.iter().map(|layer| i32::from(*layer)).collect(),
        removable: reach.removable,
        virtual_disk: reach.virtual_disk,
    }
}
