//! A new identity for a machine whose old one is of no use here: a copy of another machine's disk, a TPM that was cleared, keys
//! that are lost. Asked for by a person with a new token, never done by itself.
//!
//! The old state goes into the folder `before-<instance>`, as when a log is followed: a state directory of its own for `status`
//! and `sent`. The keys go first and the identity last: what a crash leaves has an identity without keys, which signs nothing,
//! and the next call goes on.

use std::fs;
use std::io;
use std::path::PathBuf;

use crate::device::LOOKED_FILE;
use crate::disk::Folder;
use crate::enrol::EnrolError;
use crate::health::HEALTH_FILE;
use crate::identity::{ANCHOR_FILE, IDENTITY_FILE, Identity};
use crate::spool::Spool;
use crate::state::{KEYS_FOLDER, OPEN_MODE, SPOOL_FOLDER, StateDirectory, StateError};
use crate::succession::{is_half_done, move_once};

/// What belongs to an instance, in the order in which it goes.
const OLD: [&str; 6] = [KEYS_FOLDER, SPOOL_FOLDER, ANCHOR_FILE, LOOKED_FILE, HEALTH_FILE, IDENTITY_FILE];

/// Puts the old instance aside, if there is one. Gives the folder it lies in, and how many of its statements nobody has proved.
pub fn set_aside(state: &StateDirectory) -> Result<Option<(PathBuf, u64)>, EnrolError> {
    if is_half_done(state) {
        return Err(EnrolError::Moving { path: state.path().display().to_string() });
    }
    let identity = match Identity::read(state) {
        Ok(identity) => identity,
        Err(StateError::NotEnrolled { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let _lock = state.lock()?;
    let folder = state.file(&format!("before-{}", identity.stored.instance));
    let moved = || -> io::Result<()> {
        match fs::create_dir(&folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        for name in OLD {
            move_once(state.path(), &folder, name)?;
        }
        Ok(())
    };
    moved().map_err(|source| StateError::Io {
        what: "put the old identity aside in",
        path: folder.display().to_string(),
        source,
    })?;
    let spool = Folder::new(StateDirectory::new(&folder).spool(), OPEN_MODE);
    let unproved = Spool::inspect(&spool, &identity.owner)?.kept.len() as u64;
    Ok(Some((folder, unproved)))
}
