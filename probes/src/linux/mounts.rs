//! Mounts and swap areas: `/proc/self/mountinfo`, checked against `/proc/self/mounts`; `/proc/swaps`, checked
//! against `/proc/meminfo`. The second file is asked so that a shortened first one is noticed.

/// Major and minor number of a block device; major 0 is an anonymous device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct DeviceNumber {
    pub(crate) major: u32,
    pub(crate) minor: u32,
}

impl DeviceNumber {
    /// Reads `major:minor`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once(':')?;
        Some(Self { major: decimal(major)?, minor: decimal(minor)? })
    }
}

/// A number without sign or surplus zero, as the kernel prints it.
pub(crate) fn decimal(text: &str) -> Option<u32> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    (plain && (text == "0" || !text.starts_with('0'))).then(|| text.parse().ok())?
}

/// One line of mountinfo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mount {
    pub(crate) device: DeviceNumber,
    pub(crate) point: String,
    pub(crate) filesystem: String,
    pub(crate) source: String,
    /// Options of the file system itself, not of this one mount of it.
    pub(crate) super_options: String,
}

impl Mount {
    /// The whole file system is read-only: a read-only bind mount of a writable one does not count.
    pub(crate) fn read_only(&self) -> bool {
        self.option("ro").is_some()
    }

    /// Value of an option of the file system, empty for one without a value.
    pub(crate) fn option(&self, name: &str) -> Option<&str> {
        self.super_options.split(',').find_map(|o| match o.split_once('=') {
            Some((key, value)) => (key == name).then_some(value),
            None => (o == name).then_some(""),
        })
    }

    /// What backs a file system of this type.
    pub(crate) fn backing(&self) -> Backing {
        if is_fuse(&self.filesystem) && self.source.starts_with("/dev/") {
            return Backing::Unknown;
        }
        backing(&self.filesystem, self.device.major != 0)
    }
}

/// What backs a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backing {
    /// The kernel itself; nothing is stored.
    Kernel,
    /// Another machine.
    Network,
    /// Memory.
    Memory,
    /// A folder of another file system of this machine.
    Overlay,
    /// The block device of the mount.
    Block,
    /// Several block devices that btrfs lists in /sys/fs/btrfs.
    Btrfs,
    /// Something this probe cannot follow to a disk: zfs, bcachefs, a new file system.
    Unknown,
}

/// File systems that store nothing.
const KERNEL: [&str; 28] = [
    "autofs",
    "binder",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "cpuset",
    "debugfs",
    "devpts",
    "efivarfs",
    "fusectl",
    "hugetlbfs",
    "mqueue",
    "nsfs",
    "none",
    "pipefs",
    "proc",
    "pstore",
    "resctrl",
    "rootfs",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "smackfs",
    "sockfs",
    "sysfs",
    "tracefs",
];
/// File systems of other machines.
const NETWORK: [&str; 11] =
    ["9p", "afs", "ceph", "cifs", "glusterfs", "lustre", "ncpfs", "nfs", "nfs4", "smb3", "virtiofs"];
/// File systems that live in memory.
const MEMORY: [&str; 3] = ["devtmpfs", "ramfs", "tmpfs"];

/// A file system made by a program: what it stores lies in other mounts, which are seen there.
fn is_fuse(filesystem: &str) -> bool {
    filesystem == "fuse" || filesystem.starts_with("fuse.")
}

fn backing(filesystem: &str, on_block_device: bool) -> Backing {
    if KERNEL.contains(&filesystem) || is_fuse(filesystem) {
        Backing::Kernel
    } else if NETWORK.contains(&filesystem) {
        Backing::Network
    } else if MEMORY.contains(&filesystem) {
        Backing::Memory
    } else if filesystem == "overlay" {
        Backing::Overlay
    } else if filesystem == "btrfs" {
        Backing::Btrfs
    } else if on_block_device {
        Backing::Block
    } else {
        Backing::Unknown
    }
}

/// Reads mountinfo; `None` when any line is not as proc(5) says or no line mounts `/`.
pub(crate) fn parse_mountinfo(text: &str) -> Option<Vec<Mount>> {
    let mounts: Option<Vec<Mount>> = text.lines().map(parse_mountinfo_line).collect();
    mounts.filter(|m| m.iter().any(|m| m.point == "/"))
}

/// Id of the mount that is seen at `/`; of several the last lies on top. Reads no more of a line than that needs.
pub(crate) fn root_id(text: &str) -> Option<u32> {
    let ids: Option<Vec<Option<u32>>> = text
        .lines()
        .map(|line| {
            let mut parts = line.split(' ');
            let id = decimal(parts.next()?)?;
            let point = parts.nth(3).filter(|point| point.starts_with('/'))?;
            Some((point == "/").then_some(id))
        })
        .collect();
    ids?.into_iter().flatten().next_back()
}

fn parse_mountinfo_line(line: &str) -> Option<Mount> {
    let (left, right) = line.split_once(" - ")?;
    let mut left = left.split(' ');
    let (id, parent, device) = (left.next()?, left.next()?, left.next()?);
    let (_root, point, _options) = (left.next()?, left.next()?, left.next()?);
    decimal(id)?;
    decimal(parent)?;
    let mut right = right.split(' ');
    let (filesystem, source, super_options) = (right.next()?, right.next()?, right.next()?);
    if right.next().is_some() || !point.starts_with('/') || filesystem.is_empty() || super_options.is_empty()
    {
        return None;
    }
    Some(Mount {
        device: DeviceNumber::parse(device)?,
        point: unescape(point)?,
        filesystem: filesystem.to_owned(),
        source: unescape(source)?,
        super_options: unescape(super_options)?,
    })
}

/// True when `/proc/self/mounts` shows the same stored file systems at the same places, in the same order.
///
/// Mounts that store nothing are left out: they come and go, and a container starting between the two reads
/// must not spoil an observation.
pub(crate) fn agrees_with(mounts: &[Mount], proc_mounts: &str) -> bool {
    let counts = |point: &str, filesystem: &str| {
        point == "/"
            || !matches!(backing(filesystem, true), Backing::Kernel | Backing::Network | Backing::Memory)
    };
    let ours: Vec<(String, String)> = mounts
        .iter()
        .filter(|m| counts(&m.point, &m.filesystem))
        .map(|m| (m.point.clone(), m.filesystem.clone()))
        .collect();
    let theirs: Option<Vec<(String, String)>> = proc_mounts
        .lines()
        .map(|line| {
            let parts: Vec<&str> = line.split(' ').collect();
            match parts.as_slice() {
                [_source, point, filesystem, _options, _dump, _pass] => {
                    Some((unescape(point)?, (*filesystem).to_owned()))
                }
                _ => None,
            }
        })
        .collect();
    theirs.is_some_and(|all| {
        all.into_iter().filter(|(point, filesystem)| counts(point, filesystem)).collect::<Vec<_>>() == ours
    })
}

/// The mount whose files `path` belongs to: the longest mount point above it, the last of equal ones.
pub(crate) fn holding<'a>(mounts: &'a [Mount], path: &str) -> Option<&'a Mount> {
    mounts.iter().filter(|m| is_within(path, &m.point)).max_by_key(|m| m.point.len())
}

/// `path` is `folder` or lies below it.
pub(crate) fn is_within(path: &str, folder: &str) -> bool {
    match path.strip_prefix(folder.trim_end_matches('/')) {
        Some(rest) => path.starts_with('/') && (rest.is_empty() || rest.starts_with('/')),
        None => false,
    }
}

/// One line of /proc/swaps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Swap {
    pub(crate) path: String,
    /// A swap file rather than a block device.
    pub(crate) is_file: bool,
    size_kib: u64,
}

/// Reads /proc/swaps; `None` when it is not as proc(5) says.
pub(crate) fn parse_swaps(text: &str) -> Option<Vec<Swap>> {
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next()?.split_whitespace().collect();
    if header != ["Filename", "Type", "Size", "Used", "Priority"] {
        return None;
    }
    lines
        .map(|line| {
            let parts: Vec<&str> = line.split_whitespace().collect();
            match parts.as_slice() {
                [path, kind @ ("file" | "partition"), size, _used, _priority] => Some(Swap {
                    path: unescape(path)?,
                    is_file: *kind == "file",
                    size_kib: size.parse().ok()?,
                }),
                _ => None,
            }
        })
        .collect()
}

/// True when the sizes add up to the `SwapTotal` of /proc/meminfo: no swap area is missing from the list.
pub(crate) fn swaps_add_up(swaps: &[Swap], meminfo: &str) -> bool {
    let total = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("SwapTotal:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    let sum = swaps.iter().try_fold(0u64, |sum, swap| sum.checked_add(swap.size_kib));
    total.is_some() && sum == total
}

/// Undoes the octal escapes of /proc (`\040` is a blank); `None` for a broken escape.
pub(crate) fn unescape(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let mut value = 0u32;
        for _ in 0..3 {
            let digit = bytes.next().filter(|b| (b'0'..=b'7').contains(b))?;
            value = value * 8 + u32::from(digit - b'0');
        }
        out.push(u8::try_from(value).ok()?);
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests;
