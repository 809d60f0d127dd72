//! What enrolment keeps beside the log: wrong tokens by address, newcomers that wait for a person, and the hardware of
//! devices in service. Nothing here is evidence; losing it loses nobody a place in the log.

use std::path::PathBuf;

use self::attempts::Attempts;
use self::hardware::Hardware;
use self::pending::PendingList;

pub mod attempts;
pub mod hardware;
pub mod pending;

/// All of it, shared by the services.
#[derive(Debug)]
pub struct Enrolling {
    /// Wrong tokens.
    pub attempts: Attempts,
    /// Newcomers that wait.
    pub pending: PendingList,
    /// What devices told of their hardware.
    pub hardware: Hardware,
    /// Let a newcomer in although a device in service has its hardware.
    pub admit_known_hardware: bool,
    /// One enrolment at a time: of many uses of one token only one gets as far as a certificate.
    pub turn: tokio::sync::Mutex<()>,
}

impl Enrolling {
    /// With the list of waiting newcomers kept at `pending`.
    pub fn open(pending: PathBuf, admit_known_hardware: bool) -> Self {
        Self {
            attempts: Attempts::default(),
            pending: PendingList::open(pending),
            hardware: Hardware::default(),
            admit_known_hardware,
            turn: tokio::sync::Mutex::default(),
        }
    }
}
