//! From a block device down to every physical device below it, and whether encryption lies on the way.

use std::collections::{BTreeMap, BTreeSet};

use proto::{Coverage, Layer};

use crate::linux::{
    block::{DeviceKind, Devices, MappedLayer},
    mounts::{Backing, Mount, holding},
};

/// Longest chain of devices: disk, partition, RAID, LUKS, LVM and a loop of them twice over stay below it.
const DEPTH_MAX: usize = 32;

/// How the bytes of a volume reach one physical device, from best to worst; of several ways the worst counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Way {
    /// They stay in memory.
    Memory,
    /// Only through an encrypting layer.
    Encrypted,
    /// It cannot be told.
    Unknown,
    /// Readable.
    Plain,
}

/// Everything below a device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Reach {
    /// Physical devices by kernel name; a dead end counts as one, of unknown way.
    pub(crate) leaves: BTreeMap<String, Way>,
    /// Layers met.
    pub(crate) layers: BTreeSet<Layer>,
    /// Some way, if only one of several to a disk, leads through an encrypting layer.
    pub(crate) some_encrypted: bool,
    /// Some disk is removable; `None` when no disk says.
    pub(crate) removable: Option<bool>,
    /// Some disk is a hypervisor's; `None` without a disk.
    pub(crate) virtual_disk: Option<bool>,
}

impl Reach {
    /// A dead end.
    pub(crate) fn unknown(name: &str) -> Self {
        Self { leaves: [(name.to_owned(), Way::Unknown)].into(), ..Self::default() }
    }

    /// Memory.
    pub(crate) fn memory(name: &str) -> Self {
        Self { leaves: [(name.to_owned(), Way::Memory)].into(), ..Self::default() }
    }

    /// Adds what lies below another device.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (leaf, way) in &other.leaves {
            let ours = self.leaves.entry(leaf.clone()).or_insert(*way);
            *ours = (*ours).max(*way);
        }
        self.layers.extend(&other.layers);
        self.some_encrypted |= other.some_encrypted;
        self.removable = either(self.removable, other.removable);
        self.virtual_disk = either(self.virtual_disk, other.virtual_disk);
    }

    fn below(mut self, layer: Layer, way: impl Fn(Way) -> Way) -> Self {
        self.layers.insert(layer);
        self.leaves.values_mut().for_each(|w| *w = way(*w));
        self
    }

    /// What to report; one dead end makes the whole unknown.
    pub(crate) fn coverage(&self) -> Coverage {
        let ways: BTreeSet<Way> = self.leaves.values().copied().collect();
        if ways.is_empty() || ways.contains(&Way::Unknown) {
            Coverage::Unspecified
        } else if !ways.contains(&Way::Plain) {
            if ways.contains(&Way::Encrypted) { Coverage::Full } else { Coverage::Memory }
        } else if self.some_encrypted || ways.contains(&Way::Memory) {
            Coverage::Partial
        } else {
            Coverage::None
        }
    }
}

fn either(a: Option<bool>, b: Option<bool>) -> Option<bool> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a || b),
        (one, other) => one.or(other),
    }
}

/// Walks the devices; every device is walked once, however many lie above it.
#[derive(Debug)]
pub(crate) struct Walk<'a> {
    devices: &'a Devices,
    mounts: &'a [Mount],
    /// Kernel names of the members of each mounted btrfs, by the mount's source; absent when unknown.
    btrfs: &'a BTreeMap<String, BTreeSet<String>>,
    known: BTreeMap<String, Reach>,
    /// Devices on the way down, against circles.
    above: BTreeSet<String>,
}

impl<'a> Walk<'a> {
    /// A walk over the devices of one machine.
    pub(crate) fn new(
        devices: &'a Devices,
        mounts: &'a [Mount],
        btrfs: &'a BTreeMap<String, BTreeSet<String>>,
    ) -> Self {
        Self { devices, mounts, btrfs, known: BTreeMap::new(), above: BTreeSet::new() }
    }

    /// Everything below a file system.
    pub(crate) fn mount(&mut self, mount: &Mount) -> Reach {
        match mount.backing() {
            Backing::Memory => Reach::memory("memory"),
            Backing::Block => match self.devices.name_of(mount.device) {
                Some(name) => self.device(name),
                None => Reach::unknown(&mount.source),
            },
            Backing::Btrfs => match self.btrfs.get(&mount.source) {
                Some(members) => self.all(members),
                None => Reach::unknown(&mount.source),
            },
            Backing::Kernel | Backing::Network | Backing::Overlay | Backing::Unknown => {
                Reach::unknown(&mount.filesystem)
            }
        }
    }

    /// Everything below the file system that holds a file.
    pub(crate) fn file(&mut self, path: &str) -> Reach {
        match holding(self.mounts, path) {
            Some(mount) => self.mount(&mount.clone()),
            None => Reach::unknown(path),
        }
    }

    /// Everything below a block device.
    pub(crate) fn device(&mut self, name: &str) -> Reach {
        if let Some(reach) = self.known.get(name) {
            return reach.clone();
        }
        if self.above.len() >= DEPTH_MAX || !self.above.insert(name.to_owned()) {
            return Reach::unknown(name);
        }
        let reach = self.descend(name);
        self.above.remove(name);
        self.known.insert(name.to_owned(), reach.clone());
        reach
    }

    fn all(&mut self, names: &BTreeSet<String>) -> Reach {
        let mut reach = Reach::default();
        for name in names {
            reach.merge(&self.device(name));
        }
        reach
    }

    fn descend(&mut self, name: &str) -> Reach {
        let Some(device) = self.devices.named(name) else { return Reach::unknown(name) };
        match &device.kind {
            DeviceKind::Partition { parent } => self.device(parent).below(Layer::Partition, |way| way),
            DeviceKind::Raid { below: Some(below) } => self.all(below).below(Layer::Raid, |way| way),
            DeviceKind::Mapped { layer, below: Some(below), .. } => {
                let reach = self.all(below);
                match layer {
                    MappedLayer::Encrypting(layer) => {
                        Reach { some_encrypted: true, ..reach.below(*layer, |way| way.min(Way::Encrypted)) }
                    }
                    MappedLayer::Passing(layer) => reach.below(*layer, |way| way),
                    MappedLayer::Unknown => {
                        let doubt = |way| if way == Way::Plain { Way::Unknown } else { way };
                        reach.below(Layer::Other, doubt)
                    }
                }
            }
            DeviceKind::Loop { backing_file: Some(file) } => self.file(file).below(Layer::Loop, |way| way),
            DeviceKind::Zram { memory_only: true } => Reach::memory(name).below(Layer::Zram, |way| way),
            DeviceKind::Disk { removable, virtual_disk } => Reach {
                leaves: [(name.to_owned(), Way::Plain)].into(),
                layers: [Layer::Disk].into(),
                some_encrypted: false,
                removable: *removable,
                virtual_disk: Some(*virtual_disk),
            },
            DeviceKind::Raid { below: None }
            | DeviceKind::Mapped { below: None, .. }
            | DeviceKind::Loop { backing_file: None }
            | DeviceKind::Zram { memory_only: false }
            | DeviceKind::Other => Reach::unknown(name).below(Layer::Other, |way| way),
        }
    }
}

#[cfg(test)]
mod tests;
