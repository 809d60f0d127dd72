//! Reads a file of a logged-in user with his rights, and no more.
//!
//! The agent is root, and whatever lies in a home folder is its owner's to choose: a link to another's secret, a pipe
//! that nobody writes, a network that never answers. So the file is opened by a thread that has given
//! up every right of root and has the user's instead, for as long as it lives: a link leads where the user himself may
//! go, as it does for his desktop, and nowhere else. Only the effective numbers change. The real ones stay root's, so
//! that the user cannot send the thread a signal, which would end the agent. For the same reason a FUSE file system of
//! his own refuses the thread as it refuses root: that is an answer, "denied".

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use probes::{Answer, FILE_BYTES_MAX, Question, TABLE_LINES_MAX, TableWriter};
use rustix::{
    fs::OFlags,
    process::{Gid, Uid, geteuid},
    thread::{capabilities, set_thread_groups, set_thread_res_gid, set_thread_res_uid},
};

use super::{bounded, failure};

/// Where the system's own users are listed.
const USERS: &str = "/etc/passwd";
/// How long a file may take; local ones take a millisecond, a network's a second.
const DEADLINE: Duration = Duration::from_secs(5);
/// Reads that never ended: a folder that does not answer must not take a thread at every look.
const STUCK_MAX: usize = 4;

/// Threads that read now, or hang.
static READING: AtomicUsize = AtomicUsize::new(0);

/// A user of the system's own list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    uid: u32,
    gid: u32,
    /// His home folder.
    pub(crate) home: PathBuf,
}

/// The user with a number; `None` when he is in no list of this machine, but perhaps in a directory.
pub(crate) fn account(uid: u32) -> Option<Account> {
    let users = File::open(USERS).and_then(|file| bounded(file, FILE_BYTES_MAX)).ok()??;
    account_in(&String::from_utf8_lossy(&users), uid)
}

/// The first line `NAME:PASSWORD:UID:GID:GECOS:HOME:SHELL` of a user.
fn account_in(users: &str, uid: u32) -> Option<Account> {
    users.lines().find_map(|line| {
        let mut parts = line.split(':').skip(2);
        let (of, gid) = (parts.next()?.parse::<u32>().ok()?, parts.next()?.parse().ok()?);
        let home = PathBuf::from(parts.nth(1)?);
        (of == uid && home.is_absolute() && home.parent().is_some()).then_some(Account { uid, gid, home })
    })
}

/// The lines of a file below a user's home folder, as a table.
pub(super) fn read(question: &Question, uid: u32, path: &str) -> Answer {
    let Some(account) = account(uid) else { return Answer::Failed };
    match within(&account, path, DEADLINE) {
        Ok(Some(bytes)) => table(question, &bytes),
        Ok(None) => TableWriter::absent(question),
        Err(answer) => answer,
    }
}

fn table(question: &Question, bytes: &[u8]) -> Answer {
    let mut table = TableWriter::new(question);
    table.row();
    let text = String::from_utf8_lossy(bytes);
    for line in text.lines().take(TABLE_LINES_MAX.saturating_add(1)) {
        table.text("line", line);
    }
    table.finish()
}

/// The content of a file, by a thread with the user's rights; `None` when there is none.
fn within(account: &Account, path: &str, deadline: Duration) -> Result<Option<Vec<u8>>, Answer> {
    let reading = Reading::begin().ok_or(Answer::TimedOut)?;
    let (sender, receiver) = mpsc::channel();
    let (account, path) = (account.clone(), account.home.join(path));
    thread::spawn(move || {
        let content = become_user(&account).and_then(|()| content(&path));
        drop(reading);
        if sender.send(content).is_err() {
            tracing::debug!("a user's file came after the deadline");
        }
    });
    receiver.recv_timeout(deadline).unwrap_or(Err(Answer::TimedOut))
}

/// One of the few reads that may go on at a time.
struct Reading;

impl Reading {
    fn begin() -> Option<Self> {
        let one_more = |now: usize| (now < STUCK_MAX).then(|| now.saturating_add(1));
        READING.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok().map(|_| Self)
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        READING.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Gives this thread, which must end afterwards, the user's rights in the place of root's.
fn become_user(account: &Account) -> Result<(), Answer> {
    let effective = geteuid();
    if effective.as_raw() == account.uid {
        return Ok(());
    }
    if !effective.is_root() {
        return Err(Answer::Denied);
    }
    let changed = set_thread_groups(&[])
        .and_then(|()| set_thread_res_gid(None::<Gid>, Gid::from_raw(account.gid), None::<Gid>))
        .and_then(|()| set_thread_res_uid(None::<Uid>, Uid::from_raw(account.uid), None::<Uid>));
    // The kernel takes the capabilities with root's number, unless somebody told it not to.
    match (changed, capabilities(None)) {
        (Ok(()), Ok(sets)) if sets.effective.is_empty() => Ok(()),
        _ => Err(Answer::Denied),
    }
}

/// The whole of a regular file. Opened without waiting, so that a pipe in its place cannot stop it.
fn content(path: &Path) -> Result<Option<Vec<u8>>, Answer> {
    let read = || {
        // What is no file is not even opened: to open some devices does something.
        if !fs::metadata(path)?.is_file() {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        Ok((metadata.len(), bounded(file, FILE_BYTES_MAX)?.unwrap_or_default()))
    };
    match read() {
        Ok((_, bytes)) if bytes.len() > FILE_BYTES_MAX => Err(Answer::TooLarge),
        // Somebody writes it just now: a part of it is not what it says.
        Ok((size, bytes)) if u64::try_from(bytes.len()) != Ok(size) => Err(Answer::Failed),
        Ok((_, bytes)) => Ok(Some(bytes)),
        Err(error) => match failure(&error) {
            Answer::Absent => Ok(None),
            other => Err(other),
        },
    }
}

#[cfg(test)]
mod tests;
