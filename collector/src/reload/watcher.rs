//! Files of authorities that another process changed: a restore, or an operator by hand. An event is a hint; only other
//! bytes count.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use evidence::ids::Digest;
use notify::{EventKindMask, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::state::State;

/// So long nothing may have happened before the files are compared: whoever writes one often writes several.
const QUIET: Duration = Duration::from_millis(250);
/// Largest file of the folder that is compared, in bytes: a certificate has less than one thousand.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// How files of certificates end. Revocation lists lie beside them, and this program writes those at every reload.
const ENDING: &str = "pem";

/// What lies in a folder, in the order of names: its certificates, and not those of folders in it.
fn content(folder: &Path) -> std::io::Result<Digest> {
    let mut files = Vec::new();
    for found in std::fs::read_dir(folder)? {
        let found = found?;
        let kind = found.metadata()?;
        let path = found.path();
        let certificate = path.extension().is_some_and(|ending| ending == ENDING);
        if certificate && kind.is_file() && kind.len() <= FILE_BYTES_MAX {
            files.push(path);
        }
    }
    files.sort_unstable();
    let mut parts = Vec::new();
    for path in files {
        parts.extend_from_slice(Digest::of(path.as_os_str().as_encoded_bytes()).as_bytes());
        parts.extend_from_slice(Digest::of(&std::fs::read(&path)?).as_bytes());
    }
    Ok(Digest::of(&parts))
}

/// Asks for a reload whenever what lies in `folder` has changed, until cancelled. Where the system gives no watcher,
/// the hourly refresh finds it.
pub(crate) async fn follow(folder: PathBuf, state: Arc<State>, cancel: CancellationToken) {
    let told = Arc::new(Notify::new());
    let teller = Arc::clone(&told);
    let config = notify::Config::default().with_event_kinds(EventKindMask::CORE).with_follow_symlinks(false);
    let made = RecommendedWatcher::new(move |_event| teller.notify_one(), config);
    let made = made.and_then(|mut watcher| {
        watcher.watch(&folder, RecursiveMode::NonRecursive)?;
        Ok(watcher)
    });
    let watcher = match made {
        Ok(watcher) => watcher,
        Err(error) => {
            tracing::warn!(%error, "Changed files of authorities are found once an hour only.");
            return;
        }
    };
    let mut known = content(&folder).ok();
    loop {
        tokio::select! {
            () = cancel.cancelled() => break,
            () = told.notified() => {}
        }
        // Whatever comes meanwhile only prolongs the wait.
        while tokio::time::timeout(QUIET, told.notified()).await.is_ok() && !cancel.is_cancelled() {}
        let looked = folder.clone();
        match tokio::task::spawn_blocking(move || content(&looked)).await {
            Ok(Ok(found)) if known != Some(found) => {
                known = Some(found);
                tracing::info!("Files of authorities have changed: taking them in.");
                state.reload.now();
            }
            Ok(Ok(_)) | Err(_) => {}
            Ok(Err(error)) => tracing::warn!(%error, "The folder of certificates cannot be read."),
        }
    }
    drop(watcher);
}

#[cfg(test)]
mod tests {
    use super::content;

    #[test]
    fn only_other_bytes_or_names_are_a_change() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("issued")).unwrap();
        std::fs::write(folder.path().join("a.pem"), "a").unwrap();
        let first = content(folder.path()).unwrap();
        std::fs::write(folder.path().join("a.pem"), "a").unwrap();
        std::fs::write(folder.path().join("issued").join("1.der"), "1").unwrap();
        std::fs::write(folder.path().join("crl-agents.der"), "list").unwrap();
        assert_eq!(content(folder.path()).unwrap(), first);
        std::fs::write(folder.path().join("a.pem"), "b").unwrap();
        let second = content(folder.path()).unwrap();
        assert_ne!(second, first);
        std::fs::rename(folder.path().join("a.pem"), folder.path().join("b.pem")).unwrap();
        assert_ne!(content(folder.path()).unwrap(), second);
    }
}
