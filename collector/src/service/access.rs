//! Who read what: the first look at a device by name is an entry before the answer is given; everything else that shows
//! evidence is counted, and each person's day becomes one entry when it is over, or at a stop.
//!
//! The counts lie in a small file that is written once a minute: a crash loses what was counted since, never a look.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use evidence::acts::{AccessSummary, Body};
use evidence::ids::{DeviceId, PersonId};
use evidence::time::DayLabel;
use proto::{AccessCall, AccessRow};
use tokio_util::sync::CancellationToken;

use crate::datadir::replace_file;
use crate::roles::{self, Listener};
use crate::state::{Book, State, StateError};

/// How often counts are written to their file, and how often it is seen whether a day is over.
const KEEP_INTERVAL: Duration = Duration::from_mins(1);
/// Largest file of counts worth reading, bytes: a hundred people with ten calls have 64 KiB.
const COUNTS_BYTES_MAX: u64 = 1 << 20;
/// Why a look is not logged twice.
const KNOWN: &str = "this look is in the log already";
/// Rows of an answer at most: what fits into one message with room to spare.
const ROWS_MAX: usize = 10_000;

type Counts = BTreeMap<(DayLabel, PersonId), BTreeMap<String, u64>>;

/// Counts reads, and writes the entries about them.
pub struct AccessBook {
    state: Arc<State>,
    file: PathBuf,
    counts: Mutex<Counts>,
}

impl AccessBook {
    /// With what an earlier run counted and did not log. A file that cannot be read is said, and begun anew.
    pub fn open(state: Arc<State>, dir: &Path) -> Self {
        let file = dir.join("access-counts.json");
        let counts = match read(&file) {
            Ok(counts) => counts,
            Err(why) => {
                tracing::error!(why, "The counts of who read what are lost; counting begins anew.");
                Counts::new()
            }
        };
        Self { state, file, counts: Mutex::new(counts) }
    }

    /// Counts a call of a person, if it is one that shows evidence.
    pub fn count(&self, person: PersonId, call: &str) {
        let path = format!("/tallystick.v1.People/{call}");
        if roles::find(Listener::People, &path).is_some_and(|row| row.counted) {
            let day = self.state.clock.now().day();
            let mut counts = self.counts();
            let count = counts.entry((day, person)).or_default().entry(call.to_owned()).or_default();
            *count = count.saturating_add(1);
        }
    }

    /// A person asks for a device by name. Unless they did so today already, the log has it when this returns.
    pub async fn look(&self, person: PersonId, device: DeviceId) -> Result<(), StateError> {
        let known = move |book: &Book, day: DayLabel| {
            // The newest first: a look of today is near the end.
            book.access.iter().rev().any(|(_, summary)| {
                summary.day == day && summary.person == person && summary.device == Some(device)
            })
        };
        let today = self.state.clock.now().day();
        if known(&self.state.book(), today) || self.state.book().authority.roster().device(&device).is_none()
        {
            return Ok(());
        }
        let calls = vec![("Posture".to_owned(), 1)];
        let stored = self
            .state
            .operate(move |moment| {
                let day = moment.received.day();
                if known(moment.book, day) {
                    return Err(KNOWN.to_owned());
                }
                Ok(Body::AccessSummary(AccessSummary { person, day, device: Some(device), calls }))
            })
            .await;
        match stored {
            // Another call of the same moment wrote it.
            Err(StateError::Refused(why)) if why.contains(KNOWN) => Ok(()),
            other => other.map(drop),
        }
    }

    /// Keeps the counts and logs each day that is over, until cancelled.
    pub async fn run(&self, cancel: CancellationToken) {
        let mut interval = tokio::time::interval(KEEP_INTERVAL);
        let mut kept = Counts::new();
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                _ = interval.tick() => {}
            }
            let today = self.state.clock.now().day();
            self.log(|day| day < today).await;
            let now = self.counts().clone();
            if now != kept {
                self.keep(&now);
                kept = now;
            }
        }
    }

    /// At a stop: whatever was counted becomes entries now. A person's day may so have several.
    pub async fn close(&self) {
        self.log(|_| true).await;
    }

    async fn log(&self, due: impl Fn(DayLabel) -> bool) {
        let days: Vec<_> = self
            .counts()
            .iter()
            .filter(|((day, _), _)| due(*day))
            .map(|(key, counts)| (*key, counts.clone()))
            .collect();
        let any = !days.is_empty();
        for ((day, person), counts) in days {
            let calls: Vec<(String, u64)> = counts.clone().into_iter().collect();
            let summary = AccessSummary { person, day, device: None, calls };
            // A crash between entry and file would have the same day logged twice.
            let again = self.state.book().access.iter().any(|(_, known)| *known == summary);
            if !again {
                let body = summary.clone();
                if let Err(error) = self.state.operate(move |_| Ok(Body::AccessSummary(body))).await {
                    tracing::error!(%person, %day, error = %error, "An access summary was not logged; it is tried again.");
                    continue;
                }
            }
            self.subtract((day, person), &counts);
        }
        if any {
            self.keep(&self.counts().clone());
        }
    }

    /// What is logged is counted no more; calls that came meanwhile stay.
    fn subtract(&self, key: (DayLabel, PersonId), logged: &BTreeMap<String, u64>) {
        let mut counts = self.counts();
        if let Some(day) = counts.get_mut(&key) {
            for (call, count) in logged {
                if let Some(left) = day.get_mut(call) {
                    *left = left.saturating_sub(*count);
                }
            }
            day.retain(|_, count| *count > 0);
            if day.is_empty() {
                counts.remove(&key);
            }
        }
    }

    fn keep(&self, counts: &Counts) {
        let rows: Vec<(String, String, &BTreeMap<String, u64>)> = counts
            .iter()
            .map(|((day, person), calls)| (day.to_string(), person.to_string(), calls))
            .collect();
        let written = serde_json::to_vec(&rows)
            .map_err(std::io::Error::other)
            .and_then(|bytes| replace_file(&self.file, &bytes));
        if let Err(error) = written {
            tracing::error!(error = %error, "The counts of who read what were not kept; a crash would lose them.");
        }
    }

    /// Who read what on days of a span, as the log has it, and what is counted and not logged yet.
    pub fn rows(&self, from: Option<DayLabel>, to: Option<DayLabel>) -> Vec<AccessRow> {
        let within = |day: DayLabel| from.is_none_or(|from| day >= from) && to.is_none_or(|to| day <= to);
        let calls = |calls: &mut dyn Iterator<Item = (&String, &u64)>| {
            calls.map(|(call, count)| AccessCall { call: call.clone(), count: *count }).collect()
        };
        let mut rows: Vec<AccessRow> = {
            let book = self.state.book();
            let found = book.access.iter().filter(|(_, summary)| within(summary.day));
            let row = |(index, summary): &(u64, AccessSummary)| AccessRow {
                index: *index,
                logged: true,
                person: summary.person.to_string(),
                day: summary.day.to_string(),
                device: summary.device.map(|device| device.to_string()).unwrap_or_default(),
                calls: calls(&mut summary.calls.iter().map(|(call, count)| (call, count))),
            };
            found.map(row).collect()
        };
        // The newest ones, if there are too many: an older day is asked for by name.
        rows.drain(..rows.len().saturating_sub(ROWS_MAX));
        let counts = self.counts();
        let open = counts.iter().filter(|((day, _), _)| within(*day));
        rows.extend(open.map(|((day, person), counted)| AccessRow {
            index: 0,
            logged: false,
            person: person.to_string(),
            day: day.to_string(),
            device: String::new(),
            calls: calls(&mut counted.iter()),
        }));
        rows
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(file: &Path) -> Result<Counts, String> {
    let bytes = match std::fs::metadata(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Counts::new()),
        Err(error) => return Err(error.to_string()),
        Ok(found) if found.len() > COUNTS_BYTES_MAX => return Err("the file is too long".to_owned()),
        Ok(_) => std::fs::read(file).map_err(|error| error.to_string())?,
    };
    let rows: Vec<(String, String, BTreeMap<String, u64>)> =
        serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
    rows.into_iter()
        .map(|(day, person, calls)| {
            let day = day.parse().map_err(|_| format!("{day:?} is no day"))?;
            let person = person.parse().map_err(|_| format!("{person:?} is no person"))?;
            Ok(((day, person), calls))
        })
        .collect()
}
