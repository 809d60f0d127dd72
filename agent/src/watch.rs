//! Changes of the files behind the facts, noticed within a second. An event is a hint and no evidence: it makes the agent
//! compare what the files say with what they said at the last look, and only a difference makes it look. What no event
//! tells, the schedule finds.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use notify::{EventKindMask, RecommendedWatcher, RecursiveMode, Watcher as _};
use probes::{Host, Question};
use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until};

use files::Files;

pub mod files;
pub mod network;

/// So long nothing may have happened before the files are compared: programs write several files, or one several times.
pub const QUIET: Duration = Duration::from_millis(250);
/// After so long they are compared although something still happens. With a look of up to 4 seconds a change of facts is
/// attested within 5.
pub const QUIET_WAIT_MAX: Duration = Duration::from_secs(1);
/// Between two comparisons: a file that is written all day must not cost a processor.
pub const COMPARE_EVERY: Duration = Duration::from_secs(2);
/// Most folders that are watched, of the 8,192 or more that Linux gives a user.
pub const FOLDERS_MAX: usize = 512;
/// Folders with events that are kept apart; when there are more, everything is compared.
const TOUCHED_MAX: usize = 256;

/// What events have told since it was last taken.
#[derive(Debug, Default)]
struct Touched {
    folders: BTreeSet<PathBuf>,
    /// The system lost events or could not say what they were about.
    all: bool,
    last: Option<Instant>,
    first: Option<Instant>,
}

impl Touched {
    fn take_event(&mut self, event: &notify::Result<notify::Event>, now: Instant) {
        match event {
            Ok(event) if event.need_rescan() || event.paths.is_empty() => self.all = true,
            Ok(event) => {
                // A folder tells of what is in it, and of itself.
                let about = event.paths.iter().flat_map(|path| [Some(path.as_path()), path.parent()]);
                self.folders.extend(about.flatten().map(Path::to_owned));
            }
            Err(_) => self.all = true,
        }
        if self.folders.len() > TOUCHED_MAX {
            self.folders.clear();
            self.all = true;
        }
        self.first.get_or_insert(now);
        self.last = Some(now);
    }

    /// When the files are to be compared.
    fn due(&self) -> Option<Instant> {
        Some((self.last? + QUIET).min(self.first? + QUIET_WAIT_MAX))
    }
}

#[derive(Debug, Default)]
struct Shared {
    touched: Mutex<Touched>,
    told: Notify,
}

impl Shared {
    fn touched(&self) -> std::sync::MutexGuard<'_, Touched> {
        self.touched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Watches the files of the last look.
pub struct Watch {
    host: Arc<dyn Host + Send + Sync>,
    shared: Arc<Shared>,
    /// None where the system gives no watcher.
    watcher: Option<RecommendedWatcher>,
    files: Arc<Files>,
    folders: BTreeMap<PathBuf, Vec<Question>>,
    compared: Option<Instant>,
    warned: bool,
}

impl Watch {
    /// A watch over nothing yet. `host` answers the questions again.
    pub fn new(host: Arc<dyn Host + Send + Sync>) -> Self {
        let shared = Arc::new(Shared::default());
        let teller = Arc::clone(&shared);
        // Reading is no change: without it no event comes for a program that starts or a file that is opened.
        let config =
            notify::Config::default().with_event_kinds(EventKindMask::CORE).with_follow_symlinks(false);
        let watcher = RecommendedWatcher::new(
            move |event: notify::Result<notify::Event>| {
                teller.touched().take_event(&event, Instant::now());
                teller.told.notify_one();
            },
            config,
        );
        let watcher = watcher
            .inspect_err(|error| tracing::warn!(%error, "Changes of files are found by the schedule alone."))
            .ok();
        Self {
            host,
            shared,
            watcher,
            files: Arc::default(),
            folders: BTreeMap::new(),
            compared: None,
            warned: false,
        }
    }

    /// Watches the files of a look from now on. What changed since that look is noticed too.
    pub fn follow(&mut self, files: Files) {
        self.files = Arc::new(files);
        self.plan();
    }

    /// Watches the folders that there are now; new ones make everything be compared once, since what happened in them
    /// before told nobody.
    fn plan(&mut self) {
        let Some(watcher) = &mut self.watcher else { return };
        let mut folders = self.files.folders();
        while folders.len() > FOLDERS_MAX {
            folders.pop_last();
        }
        for gone in self.folders.keys().filter(|folder| !folders.contains_key(*folder)) {
            // A folder that was removed is not watched any more, and says so.
            let _not_watched = watcher.unwatch(gone);
        }
        let mut new = false;
        folders.retain(|folder, _| {
            if self.folders.contains_key(folder) {
                return true;
            }
            match watcher.watch(folder, RecursiveMode::NonRecursive) {
                Ok(()) => new = true,
                Err(error) if !self.warned => {
                    self.warned = true;
                    tracing::warn!(folder = %folder.display(), %error, "A folder is not watched; the schedule looks there.");
                }
                Err(_) => {}
            }
            true
        });
        self.folders = folders;
        if new {
            self.shared.touched().take_event(&Ok(rescan()), Instant::now());
        }
    }

    /// Completes when one of the files says something else than at the last look. Dropping it loses nothing.
    pub async fn changed(&mut self) {
        loop {
            let due = self.shared.touched().due();
            let Some(due) = due else {
                self.shared.told.notified().await;
                continue;
            };
            let due = self.compared.map_or(due, |before| due.max(before + COMPARE_EVERY));
            if Instant::now() < due {
                sleep_until(due).await;
                continue;
            }
            if self.compare().await {
                return;
            }
        }
    }

    async fn compare(&mut self) -> bool {
        let touched = std::mem::take(&mut *self.shared.touched());
        let only = (!touched.all).then(|| {
            let in_folder = |folder: &PathBuf| self.folders.get(folder).into_iter().flatten().cloned();
            touched.folders.iter().flat_map(in_folder).collect::<BTreeSet<Question>>()
        });
        if only.as_ref().is_some_and(BTreeSet::is_empty) {
            return false;
        }
        let (host, files) = (Arc::clone(&self.host), Arc::clone(&self.files));
        let compared = spawn_blocking(move || files.changed(&*host, only.as_ref()));
        // Whoever drops this in between must find it undone.
        let mut undone = Undone(Some((Arc::clone(&self.shared), touched)));
        let changed = compared.await.unwrap_or(true);
        undone.0 = None;
        self.compared = Some(Instant::now());
        // A folder may have come or gone, and what lies in a new one is to be watched there.
        self.plan();
        changed
    }
}

/// Puts back what was taken and not finished.
struct Undone(Option<(Arc<Shared>, Touched)>);

impl Drop for Undone {
    fn drop(&mut self) {
        if let Some((shared, before)) = self.0.take() {
            let mut touched = shared.touched();
            touched.folders.extend(before.folders);
            touched.all |= before.all;
            touched.first = before.first.or(touched.first);
            touched.last = touched.last.or(before.last);
        }
    }
}

/// The event by which a system says that it lost some.
fn rescan() -> notify::Event {
    notify::Event::new(notify::EventKind::Other).set_flag(notify::event::Flag::Rescan)
}

#[cfg(test)]
mod tests;
