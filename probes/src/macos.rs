//! The probes as macOS answers them. Written from documents: none of it has run on a Mac.

pub(crate) mod asset;
pub(crate) mod automatic_updates;
pub(crate) mod disk;
pub(crate) mod host_firewall;
pub(crate) mod launchctl;
pub(crate) mod managed;
pub(crate) mod os_patch;
pub(crate) mod plists;
pub(crate) mod power;
pub(crate) mod remote_access;
pub(crate) mod screen_lock;
pub(crate) mod secure_boot;
pub(crate) mod sessions;
pub(crate) mod sysctl;
pub(crate) mod time_sync;
