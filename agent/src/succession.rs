//! Moving to the log that follows the one this device is enrolled in: a new instance with new keys, once the new log's first
//! entry is proved to name a checkpoint that extends everything this device has seen of the old one.
//!
//! What the old instance said and nobody proved is kept: its whole state goes into the folder `before-<instance>`, which is a
//! state directory of its own for `status` and `sent`.
//!
//! # Order of writes, and what a crash just after leaves
//!
//! 1. The enrolment, in `successor/`: asked for again with the same keys, or finished there.
//! 2. `successor/before` names the folder: from here on nothing is asked any more, and the next call goes on.
//! 3. The old files move into that folder, `identity.json` first: nobody signs with half of them.
//! 4. The new ones move out of `successor/`, `identity.json` last.
//! 5. `successor/` is removed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use certs::Pin;
use evidence::ids::Digest;
use evidence::newcomer::Newcomer;
use evidence::note::Checkpoint;
use evidence::succession::{Shown, SuccessionError, extends, predecessor};
use evidence::time::Clock;

use crate::anchor::AnchorFile;
use crate::device::LOOKED_FILE;
use crate::disk::{self, Folder};
use crate::enrol::{EnrolError, Wanted, exchange};
use crate::health::HEALTH_FILE;
use crate::identity::{ANCHOR_FILE, IDENTITY_FILE, Identity};
use crate::spool::{Limits, Spool};
use crate::state::{KEYS_FOLDER, OPEN_MODE, SPOOL_FOLDER, StateDirectory, StateError};

#[cfg(test)]
mod tests;

/// The folder of the new instance until it is in its place.
const NEXT: &str = "successor";
/// The file in it that names the folder of the old one.
const BEFORE: &str = "before";
/// What belongs to an instance, in the order in which it goes.
const OLD: [&str; 6] = [IDENTITY_FILE, ANCHOR_FILE, LOOKED_FILE, HEALTH_FILE, SPOOL_FOLDER, KEYS_FOLDER];
/// What a new instance has, in the order in which it comes.
const NEW: [&str; 3] = [KEYS_FOLDER, SPOOL_FOLDER, IDENTITY_FILE];

/// What became of a move.
#[derive(Debug)]
pub struct Moved {
    /// The new instance.
    pub identity: Identity,
    /// Where the old one lies; none if this device was enrolled with that collector already.
    pub kept_in: Option<PathBuf>,
    /// Its statements that nobody has proved to be in the old log.
    pub unproved: u64,
}

/// Whether a move was begun that only [`follow`] can finish.
pub fn is_half_done(state: &StateDirectory) -> bool {
    state.file(NEXT).join(BEFORE).exists()
}

/// Enrols with a log that follows this device's, and puts the new instance in the old one's place.
pub async fn follow(
    state: &StateDirectory,
    wanted: &Wanted,
    newcomer: &Newcomer,
    clock: Arc<dyn Clock>,
) -> Result<Moved, EnrolError> {
    let next = StateDirectory::new(state.file(NEXT));
    if !is_half_done(state) {
        let identity = Identity::read(state)?;
        let _lock = state.lock()?;
        // Each log has a root of its own: this token is of the log this device is in.
        if identity.root().and_then(Pin::of) == Some(wanted.token.pin) {
            return Ok(Moved { identity, kept_in: None, unproved: 0 });
        }
        let known = known(state, &identity)?;
        match Identity::read(&next) {
            Ok(_) => {}
            Err(StateError::NotEnrolled { .. }) => {
                next.create()?;
                exchange(&next, wanted, newcomer, clock, Some(&known)).await?;
            }
            Err(error) => return Err(error.into()),
        }
        let folder = format!("before-{}", identity.stored.instance);
        let path = next.file(BEFORE);
        disk::replace(&path, folder.as_bytes(), OPEN_MODE).map_err(|source| fail("write", &path, source))?;
    }
    let _lock = state.lock()?;
    let kept_in = exchange_places(state, &next)
        .map_err(|source| fail("move the instances in", state.path(), source))?;
    let old = StateDirectory::new(&kept_in);
    let unproved = match Identity::read(&old) {
        Ok(identity) => Spool::inspect(&Folder::new(old.spool(), OPEN_MODE), &identity.owner)?.kept.len(),
        Err(error) => return Err(error.into()),
    };
    Ok(Moved { identity: Identity::read(state)?, kept_in: Some(kept_in), unproved: unproved as u64 })
}

/// The newest checkpoint that this device has verified.
fn known(state: &StateDirectory, identity: &Identity) -> Result<Checkpoint, EnrolError> {
    let spool = Spool::open(Folder::new(state.spool(), OPEN_MODE), identity.owner, Limits::default())?;
    let mut file = AnchorFile::new(state.file(ANCHOR_FILE));
    let anchor = identity.anchor(&mut file, spool.newest_anchor(), || spool.newest_proved_anchor())?;
    let none = || StateError::Damaged {
        path: state.file(IDENTITY_FILE).display().to_string(),
        problem: "it holds no checkpoint".to_owned(),
    };
    Ok(anchor.checkpoint().cloned().ok_or_else(none)?)
}

/// Whether the log of `identity` follows the one of `known`, by what its collector shows.
pub(crate) fn check(
    identity: &Identity,
    known: &Checkpoint,
    first: Option<proto::FirstEntry>,
    proof: &[Vec<u8>],
) -> Result<(), EnrolError> {
    let origin = &identity.log.origin;
    let verify = || -> Result<(), SuccessionError> {
        let first = first.unwrap_or_default();
        let salt = first.salt.as_slice().try_into().map_err(|_| SuccessionError::Commitment)?;
        let shown = Shown { leaf: &first.leaf, salt, payload: &first.payload, tlog_proof: &first.tlog_proof };
        let (genesis, _) = shown.open(&identity.log.keys, origin)?;
        let named = predecessor(&genesis, origin)?;
        // One that is no hash makes a proof that does not hold.
        let hashes: Vec<Digest> =
            proof.iter().map(|hash| Digest::from_slice(hash).unwrap_or(Digest::ZERO)).collect();
        extends(known, named, &hashes)
    };
    verify().map_err(|source| EnrolError::NoSuccessor {
        origin: origin.clone(),
        before: known.origin.clone(),
        source: Box::new(source),
    })
}

/// Steps 3 to 5. Each name is moved once, so this may begin anywhere. Gives the folder of the old instance.
fn exchange_places(state: &StateDirectory, next: &StateDirectory) -> io::Result<PathBuf> {
    let folder = fs::read_to_string(next.file(BEFORE))?;
    let old = state.file(&folder);
    // The name is one this program wrote: no path that leads elsewhere.
    if Path::new(&folder).components().count() != 1 || !folder.starts_with("before-") {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{folder:?} is no name of a folder here"),
        ));
    }
    if next.file(IDENTITY_FILE).exists() {
        match fs::create_dir(&old) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        for name in OLD {
            move_once(state.path(), &old, name)?;
        }
        for name in NEW {
            move_once(next.path(), state.path(), name)?;
        }
    }
    fs::remove_dir_all(next.path())?;
    disk::sync_folder(state.path())?;
    Ok(old)
}

/// Moves a file or folder, unless it was moved before.
fn move_once(from: &Path, to: &Path, name: &str) -> io::Result<()> {
    let (source, target) = (from.join(name), to.join(name));
    if target.exists() || !source.exists() {
        return Ok(());
    }
    fs::rename(source, target)?;
    disk::sync_folder(to)?;
    disk::sync_folder(from)
}

fn fail(what: &'static str, path: &Path, source: io::Error) -> StateError {
    StateError::Io { what, path: path.display().to_string(), source }
}
