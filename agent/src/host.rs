//! The machine this agent runs on, as a host for the probes: the only place that touches it.
//!
//! Nothing is asked that `probes::questions` does not list. Programs run from absolute paths, with a cleared
//! environment, no input, a deadline and a cap on their output, in a process group that is killed on expiry.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read},
    os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt},
    path::Path,
};

use probes::{
    Answer, FILE_BYTES_MAX, FileKind, Host, Metadata, NAMES_MAX, NoAnswer, Platform, Process, Question,
};
use rustix::fs::OFlags;
use sysinfo::{ProcessRefreshKind, ProcessesToUpdate, System, UpdateKind};

#[cfg(target_os = "linux")]
pub(crate) mod as_user;
mod program;
#[cfg(target_os = "linux")]
mod started;

/// Owner, permission and special bits of a mode; the rest is the kind.
const MODE_BITS: u32 = 0o7777;

/// The machine this program runs on.
#[derive(Debug, Default, Clone, Copy)]
pub struct LiveHost;

impl Host for LiveHost {
    /// Never an error: every failure of the machine is an answer. A question that is not permitted is denied.
    fn answer(&self, question: &Question) -> Result<Answer, NoAnswer> {
        if !probes::is_permitted(Platform::current(), question) {
            tracing::error!(%question, "a probe asked what is not on the list; not asked");
            return Ok(Answer::Denied);
        }
        Ok(match question {
            Question::Run { program, args } => program::run(*program, args, None),
            Question::RunAs { uid, desktop, program, args } => {
                program::run(*program, args, Some(program::User { uid: *uid, desktop }))
            }
            Question::Read(path) => read(path),
            Question::List(path) => list(path),
            Question::Link(path) => link(path),
            Question::Metadata(path) => metadata(path),
            #[cfg(target_os = "linux")]
            Question::ReadAs { uid, path } => as_user::read(question, *uid, path),
            Question::Processes => processes(),
            #[cfg(target_os = "linux")]
            Question::Started { pid, names } => started::read(question, *pid, names),
            // Asked of Linux alone.
            #[cfg(not(target_os = "linux"))]
            Question::ReadAs { .. } | Question::Started { .. } => Answer::Absent,
            // No other system has these, and none of them is on this system's list.
            Question::Registry { .. }
            | Question::Keys { .. }
            | Question::Wmi { .. }
            | Question::LocalGroup { .. }
            | Question::WindowsUpdate => Answer::Absent,
        })
    }
}

/// What an error of the system means to a probe.
fn failure(error: &io::Error) -> Answer {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Answer::Absent,
        io::ErrorKind::PermissionDenied => Answer::Denied,
        io::ErrorKind::TimedOut => Answer::TimedOut,
        _ => Answer::Failed,
    }
}

/// Content of a regular file. Opened without waiting, so that a pipe in its place cannot stop the agent.
fn read(path: &str) -> Answer {
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let opened = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path);
    let content = opened
        .and_then(|file| if file.metadata()?.is_file() { bounded(file, FILE_BYTES_MAX) } else { Ok(None) });
    match content {
        Ok(Some(bytes)) if bytes.len() > FILE_BYTES_MAX => Answer::TooLarge,
        Ok(Some(bytes)) => Answer::Bytes(bytes),
        Ok(None) => Answer::Failed,
        Err(error) => failure(&error),
    }
}

/// At most one byte more than `bytes_max`, by which the caller sees that there was more.
fn bounded(file: File, bytes_max: usize) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

fn list(path: &str) -> Answer {
    let names = fs::read_dir(path).and_then(|entries| {
        entries
            .take(NAMES_MAX.saturating_add(1))
            .map(|entry| entry.map(|e| e.file_name().to_string_lossy().into_owned()))
            .collect::<io::Result<Vec<String>>>()
    });
    match names {
        Ok(names) if names.len() > NAMES_MAX => Answer::TooLarge,
        Ok(mut names) => {
            names.sort_unstable();
            Answer::Names(names)
        }
        Err(error) => failure(&error),
    }
}

fn link(path: &str) -> Answer {
    match fs::read_link(path) {
        Ok(target) => Answer::Link(target.to_string_lossy().into_owned()),
        Err(error) => failure(&error),
    }
}

fn metadata(path: &str) -> Answer {
    match fs::symlink_metadata(path) {
        Ok(metadata) => Answer::Metadata(Metadata {
            path: path.to_owned(),
            kind: kind(metadata.file_type()),
            uid: metadata.uid(),
            gid: metadata.gid(),
            mode: metadata.mode() & MODE_BITS,
            size_bytes: metadata.size(),
            modified_seconds: metadata.mtime(),
        }),
        Err(error) => failure(&error),
    }
}

fn kind(file_type: fs::FileType) -> FileKind {
    if file_type.is_file() {
        FileKind::File
    } else if file_type.is_dir() {
        FileKind::Folder
    } else if file_type.is_symlink() {
        FileKind::Link
    } else {
        debug_assert!(
            file_type.is_socket()
                || file_type.is_fifo()
                || file_type.is_block_device()
                || file_type.is_char_device()
        );
        FileKind::Special
    }
}

/// Every process, without its threads. sysinfo keeps files of /proc open until `system` goes at the end.
fn processes() -> Answer {
    let Ok(mut system) = System::new() else { return Answer::Failed };
    let what = ProcessRefreshKind::nothing().with_exe(UpdateKind::OnlyIfNotSet).without_tasks();
    system.refresh_processes_specifics(ProcessesToUpdate::All, true, what);
    let mut processes: Vec<Process> = system
        .processes()
        .values()
        .map(|process| Process {
            pid: process.pid().as_u32(),
            parent: process.parent().map_or(0, sysinfo::Pid::as_u32),
            name: process.name().to_string_lossy().into_owned(),
            exe: process
                .exe()
                .map(Path::to_string_lossy)
                .filter(|path| !path.is_empty())
                .map(std::borrow::Cow::into_owned),
        })
        .collect();
    processes.sort_by_key(|process| process.pid);
    if processes.is_empty() { Answer::Failed } else { Answer::Processes(processes) }
}

#[cfg(test)]
mod tests;
