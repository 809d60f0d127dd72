//! The probes as Linux answers them.

pub(crate) mod apt;
pub(crate) mod asset;
pub(crate) mod automatic_updates;
pub(crate) mod block;
pub(crate) mod container;
pub(crate) mod disk;
pub(crate) mod dnf;
pub(crate) mod edr;
pub(crate) mod gnome;
pub(crate) mod host_firewall;
pub(crate) mod mounts;
pub(crate) mod nftables;
pub(crate) mod os_patch;
pub(crate) mod os_release;
pub(crate) mod pacman;
pub(crate) mod reach;
pub(crate) mod remote_access;
pub(crate) mod screen_lock;
pub(crate) mod secure_boot;
pub(crate) mod sessions;
pub(crate) mod time_sync;
pub(crate) mod units;
pub(crate) mod zypper;
