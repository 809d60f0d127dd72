//! The probes as macOS answers them. Written from documents: none of it has run on a Mac.

pub(crate) mod asset;
pub(crate) mod device_identity;
pub(crate) mod disk;
pub(crate) mod local_administrators;
pub(crate) mod managed;
pub(crate) mod mdm_enrolment;
pub(crate) mod os_patch;
pub(crate) mod password_manager;
pub(crate) mod plists;
pub(crate) mod power;
pub(crate) mod screen_lock;
pub(crate) mod sysctl;
