//! A mirror as a memory of the log: `tallystick log mirror` keeps it on another file system, and each start compares the
//! log with the newest checkpoint in it. It is behind the log by what came since its last run, and notices no less.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;

use evidence::keys::SecretKey;
use evidence::merkle::empty_root;
use evidence::note::{Checkpoint, NOTE_BYTES_MAX, Note, VerifierKey};
use evidence::tiles::CHECKPOINT_PATH;

use super::RollbackError;
use crate::causes::chain;
use crate::datadir::replace_file;
use crate::ledger::Ledger;

/// Refuses a folder that remembers a log already.
pub fn refuse_other(folder: &Path) -> Result<(), RollbackError> {
    match folder.join(CHECKPOINT_PATH).symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        _ => Err(RollbackError::OtherMirror(folder.to_owned())),
    }
}

/// Begins the mirror of a log that has no entry yet, with a checkpoint of the empty tree that `log mirror` goes on from.
/// Only `init` does this.
pub fn begin(folder: &Path, origin: &str, log_key: &SecretKey) -> Result<(), RollbackError> {
    let failed = |what| move |source| RollbackError::Mirror { what, path: folder.to_owned(), source };
    fs::create_dir_all(folder).map_err(failed("cannot make"))?;
    let checkpoint = Checkpoint { origin: origin.to_owned(), size: 0, root: empty_root() };
    let note =
        checkpoint.sign(log_key).map_err(|error| failed("cannot sign for")(io::Error::other(error)))?;
    replace_file(&folder.join(CHECKPOINT_PATH), note.encode().as_bytes()).map_err(failed("cannot write to"))
}

/// Refuses a log whose newest checkpoint, of `newest_size` entries, lies behind that of the mirror, or beside it. One that
/// cannot be read shows nothing, and an empty one nothing of a log that has published: refused too, the latter if the
/// mirror is `alone`.
pub fn check(
    folder: &Path,
    ledger: &Ledger,
    newest_size: u64,
    log: &[VerifierKey],
    alone: bool,
) -> Result<(), RollbackError> {
    let path = folder.display();
    let old = |text: String| Err(RollbackError::OldCopy(text));
    let mirrored = match newest(folder, log) {
        Ok(mirrored) => mirrored,
        Err(why) => {
            return old(format!(
                "the mirror {path} cannot be compared with ({why}), so nothing shows whether this is the newest copy of \
                 the log; mount it or bring it back, or take `mirror` out of collector.toml if something else remembers \
                 the log"
            ));
        }
    };
    if mirrored.size > newest_size {
        return old(format!(
            "the mirror {path} has a checkpoint of {} entries, and the newest one here has {newest_size}: this is an old \
             copy of the log; restore the newer one, or make it again with `recover --from {path}`",
            mirrored.size
        ));
    }
    if alone && mirrored.size == 0 && newest_size > 0 {
        return old(format!(
            "the mirror {path} holds nothing yet of a log that has published {newest_size} entries, so nothing shows \
             whether this is its newest copy; if you know that it is, run `tallystick log mirror --dir {path}`, which \
             takes the folder `tree` of the data directory for --from"
        ));
    }
    match ledger.root_at(mirrored.size) {
        Ok(root) if root == mirrored.root => Ok(()),
        Ok(_) => old(format!(
            "the checkpoint of {} entries in the mirror {path} is not of this log: two logs have one origin",
            mirrored.size
        )),
        Err(error) => old(chain(&error)),
    }
}

/// The mirror's newest checkpoint, signed by the log's key and of its origin.
fn newest(folder: &Path, log: &[VerifierKey]) -> Result<Checkpoint, String> {
    let path = folder.join(CHECKPOINT_PATH);
    let mut bytes = Vec::new();
    let limit = NOTE_BYTES_MAX as u64 + 1;
    let read = File::open(&path).and_then(|file| file.take(limit).read_to_end(&mut bytes));
    read.map_err(|error| format!("{}: {error}", path.display()))?;
    let note = Note::parse(&bytes).map_err(|error| chain(&error))?;
    // Witnesses may have signed it too: whether they did is not asked here.
    let checkpoint = Checkpoint::open(&note, log).map_err(|error| chain(&error))?;
    if log.iter().any(|key| key.name() == checkpoint.origin) {
        Ok(checkpoint)
    } else {
        Err(format!("it is of the log {:?}", checkpoint.origin))
    }
}

#[cfg(test)]
mod tests;
