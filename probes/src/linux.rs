//! The probes as Linux answers them.

pub(crate) mod apt;
pub(crate) mod asset;
pub(crate) mod block;
pub(crate) mod container;
pub(crate) mod disk;
pub(crate) mod dnf;
pub(crate) mod edr;
pub(crate) mod gnome;
pub(crate) mod mounts;
pub(crate) mod os_patch;
pub(crate) mod os_release;
pub(crate) mod pacman;
pub(crate) mod reach;
pub(crate) mod screen_lock;
pub(crate) mod sessions;
pub(crate) mod zypper;
