//! What notices that an old copy of the data directory was restored: a high-water mark or a mirror that does not go back
//! with it, or witnesses that remember more.
//!
//! Signatures and proofs of an old copy all hold; only something outside its file system knows that it once had more. So
//! a collector needs a mark or a mirror on another file system, or a quorum of witnesses, or its operator's word, in the genesis and
//! printed by every set, that nothing would notice.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::config::Config;

pub mod mirror;
#[cfg(test)]
mod tests;

/// Why a collector would not notice that an old copy of its data directory was restored, or did notice it.
#[derive(Debug, thiserror::Error)]
pub enum RollbackError {
    /// Neither a mark nor the acceptance.
    #[error(
        "nothing would notice that an old copy of {dir} was restored: the log would go back behind checkpoints that \
         others hold. Keep a high-water mark on another file system (`init --high-water FILE`, `high_water` in \
         collector.toml) or a mirror there (`init --mirror DIR`, `mirror`), or have the log cosigned by witnesses (`witness_policy`, with a quorum), or begin the log with `init --accept-rollback-blindness`, which every sampling set then prints"
    )]
    NoMark {
        /// The data directory.
        dir: PathBuf,
    },
    /// The mark or mirror goes back together with the data directory.
    #[error(
        "the {what} {path} lies {place} {dir}, and a restored copy would bring back an old one with the old \
         log. Put it on another file system, or begin the log with `init --accept-rollback-blindness`, which every \
         sampling set then prints"
    )]
    Together {
        /// "high-water mark" or "mirror".
        what: &'static str,
        /// Where it lies.
        path: PathBuf,
        /// "inside" or "on the same file system as".
        place: &'static str,
        /// The data directory.
        dir: PathBuf,
    },
    /// A relative path means another file whenever the collector is started from elsewhere.
    #[error("{key} must be an absolute path, and {path} is none")]
    Relative {
        /// Key of the configuration.
        key: &'static str,
        /// What it says.
        path: PathBuf,
    },
    /// The folder of the mark or mirror, or the data directory's place, cannot be looked at.
    #[error(
        "cannot look at {path}, to tell whether the {what} lies on another file system: make or mount it"
    )]
    Inspect {
        /// "high-water mark" or "mirror".
        what: &'static str,
        /// The folder.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A policy without a quorum remembers nothing.
    #[error(
        "the witness policy has no quorum, and there is no high-water mark on another file system: nothing would notice \
         that an old copy was restored. Name a quorum in the policy, or set high_water or mirror in collector.toml"
    )]
    NoQuorum,
    /// The configuration accepts what the log's first entry does not say.
    #[error(
        "accept_rollback_blindness is set in collector.toml, and the log's first entry says that it is not accepted: \
         sets would hide it. Set it to false and keep a high-water mark or a mirror on another file system"
    )]
    AcceptedLater,
    /// This copy of the log is not the newest, or nothing shows that it is.
    #[error("{0}. Nothing was taken in; see \"An old copy was restored\" in OPERATING.md")]
    OldCopy(String),
    /// The mirror cannot be made or written to.
    #[error("{what} the mirror {path}: {source}")]
    Mirror {
        /// "cannot make" or the like.
        what: &'static str,
        /// Its folder.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The folder of the mirror holds a log already.
    #[error("{0} holds a copy of a log already, perhaps of one that was just lost; nothing was made")]
    OtherMirror(PathBuf),
}

/// What remembers the log outside its data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// A high-water mark on another file system.
    Mark,
    /// A mirror on another file system alone: it notices what is older than its newest checkpoint.
    Mirror,
    /// Witnesses, and no mark: at each start one of them must have answered before anything is signed.
    Witnesses,
    /// Nothing need, as the genesis says.
    Accepted,
}

/// Refuses a configuration by which a restored old copy of `dir` would pass for the log. `dir` need not exist yet. That
/// a witness policy has a quorum is asked when it is read, and what the mirror holds once the log is open.
pub fn require_memory(dir: &Path, config: &Config) -> Result<Memory, RollbackError> {
    let (mark, mirror) = (config.high_water.as_deref(), config.mirror.as_deref());
    for (key, path) in [("high_water", mark), ("mirror", mirror)] {
        if let Some(path) = path.filter(|path| path.is_relative()) {
            return Err(RollbackError::Relative { key, path: path.to_owned() });
        }
    }
    if config.accept_rollback_blindness {
        return Ok(Memory::Accepted);
    }
    if let Some(mark) = mark {
        require_elsewhere(dir, "high-water mark", mark, folder_of(mark))?;
    }
    if let Some(mirror) = mirror {
        let folder = if mirror.exists() { mirror } else { folder_of(mirror) };
        require_elsewhere(dir, "mirror", mirror, folder)?;
    }
    // The mark first: it is never behind the log, as a mirror is.
    match (mark, config.witness_policy.is_some(), mirror) {
        (Some(_), ..) => Ok(Memory::Mark),
        (None, true, _) => Ok(Memory::Witnesses),
        (None, false, Some(_)) => Ok(Memory::Mirror),
        (None, false, None) => Err(RollbackError::NoMark { dir: dir.to_owned() }),
    }
}

/// Refuses what would go back together with `dir`. `path` lies in `folder`, which exists.
fn require_elsewhere(
    dir: &Path,
    what: &'static str,
    path: &Path,
    folder: &Path,
) -> Result<(), RollbackError> {
    let together =
        |place| RollbackError::Together { what, path: path.to_owned(), place, dir: dir.to_owned() };
    // By name: a data directory that is still to be made cannot be looked at.
    if !dir.exists() && std::path::absolute(dir).is_ok_and(|dir| path.starts_with(dir)) {
        return Err(together("inside"));
    }
    let (home, home_device) = place(what, if dir.exists() { dir } else { folder_of(dir) })?;
    let (folder, device) = place(what, folder)?;
    // A file system mounted inside the data directory is copied with it all the same.
    if dir.exists() && folder.starts_with(&home) {
        return Err(together("inside"));
    }
    if device == home_device {
        return Err(together("on the same file system as"));
    }
    Ok(())
}

/// The folder a file lies in.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A folder's real path and its device number.
fn place(what: &'static str, folder: &Path) -> Result<(PathBuf, u64), RollbackError> {
    let inspect = |source| RollbackError::Inspect { what, path: folder.to_owned(), source };
    let real = fs::canonicalize(folder).map_err(inspect)?;
    let device = fs::metadata(&real).map_err(inspect)?.dev();
    Ok((real, device))
}
