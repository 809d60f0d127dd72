//! What notices that an old copy of the data directory was restored: a high-water mark that does not go back with it, or
//! witnesses that remember more.
//!
//! Signatures and proofs of an old copy all hold; only something outside its file system knows that it once had more. So
//! a collector needs a mark on another file system, or a quorum of witnesses, or its operator's word, in the genesis and
//! printed by every set, that nothing would notice.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::config::Config;

#[cfg(test)]
mod tests;

/// Why a collector would not notice that an old copy of its data directory was restored, or did notice it.
#[derive(Debug, thiserror::Error)]
pub enum RollbackError {
    /// Neither a mark nor the acceptance.
    #[error(
        "nothing would notice that an old copy of {dir} was restored: the log would go back behind checkpoints that \
         others hold. Keep a high-water mark on another file system (`init --high-water FILE`, `high_water` in \
         collector.toml), or have the log cosigned by witnesses (`witness_policy`, with a quorum), or begin the log with `init --accept-rollback-blindness`, which every sampling set then prints"
    )]
    NoMark {
        /// The data directory.
        dir: PathBuf,
    },
    /// The mark goes back together with the data directory.
    #[error(
        "the high-water mark {mark} lies {place} {dir}, and a restored copy would bring back an old mark with the old \
         log. Put it on another file system, or begin the log with `init --accept-rollback-blindness`, which every \
         sampling set then prints"
    )]
    Together {
        /// File of the mark.
        mark: PathBuf,
        /// "inside" or "on the same file system as".
        place: &'static str,
        /// The data directory.
        dir: PathBuf,
    },
    /// A relative path means another file whenever the collector is started from elsewhere.
    #[error("high_water must be an absolute path, and {mark} is none")]
    Relative {
        /// File of the mark.
        mark: PathBuf,
    },
    /// The folder of the mark, or the data directory's place, cannot be looked at.
    #[error(
        "cannot look at {path}, to tell whether the high-water mark lies on another file system: make or mount it"
    )]
    Inspect {
        /// The folder.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A policy without a quorum remembers nothing.
    #[error(
        "the witness policy has no quorum, and there is no high-water mark on another file system: nothing would notice \
         that an old copy was restored. Name a quorum in the policy, or set high_water in collector.toml"
    )]
    NoQuorum,
    /// The configuration accepts what the log's first entry does not say.
    #[error(
        "accept_rollback_blindness is set in collector.toml, and the log's first entry says that it is not accepted: \
         sets would hide it. Set it to false and keep a high-water mark on another file system"
    )]
    AcceptedLater,
    /// This copy of the log is not the newest, or nothing shows that it is.
    #[error("{0}. Nothing was taken in; see \"An old copy was restored\" in OPERATING.md")]
    OldCopy(String),
}

/// What remembers the log outside its data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// A high-water mark on another file system.
    Mark,
    /// Witnesses alone: at each start one of them must have answered before anything is signed.
    Witnesses,
    /// Nothing need, as the genesis says.
    Accepted,
}

/// Refuses a configuration by which a restored old copy of `dir` would pass for the log. `dir` need not exist yet. That
/// a witness policy has a quorum is asked when it is read.
pub fn require_memory(dir: &Path, config: &Config) -> Result<Memory, RollbackError> {
    if let Some(mark) = config.high_water.as_ref().filter(|mark| mark.is_relative()) {
        return Err(RollbackError::Relative { mark: mark.clone() });
    }
    if config.accept_rollback_blindness {
        return Ok(Memory::Accepted);
    }
    let Some(mark) = &config.high_water else {
        if config.witness_policy.is_some() {
            return Ok(Memory::Witnesses);
        }
        return Err(RollbackError::NoMark { dir: dir.to_owned() });
    };
    let together = |place| RollbackError::Together { mark: mark.clone(), place, dir: dir.to_owned() };
    // By name: a data directory that is still to be made cannot be looked at.
    if !dir.exists() && std::path::absolute(dir).is_ok_and(|dir| mark.starts_with(dir)) {
        return Err(together("inside"));
    }
    let (home, home_device) = place(if dir.exists() { dir } else { folder_of(dir) })?;
    let (folder, device) = place(folder_of(mark))?;
    // A file system mounted inside the data directory is copied with it all the same.
    if dir.exists() && folder.starts_with(&home) {
        return Err(together("inside"));
    }
    if device == home_device {
        return Err(together("on the same file system as"));
    }
    Ok(Memory::Mark)
}

/// The folder a file lies in.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A folder's real path and its device number.
fn place(folder: &Path) -> Result<(PathBuf, u64), RollbackError> {
    let inspect = |source| RollbackError::Inspect { path: folder.to_owned(), source };
    let real = fs::canonicalize(folder).map_err(inspect)?;
    let device = fs::metadata(&real).map_err(inspect)?.dev();
    Ok((real, device))
}
