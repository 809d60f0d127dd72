//! The Windows machine this agent runs on, as a host for the probes: the only place that touches it.
//!
//! Nothing is asked that `probes::questions` does not list. No program is run: registry and WMI tell numbers.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::Path,
};

use probes::{Answer, FILE_BYTES_MAX, Host, NAMES_MAX, NoAnswer, Platform, Process, Question};
use sysinfo::{ProcessRefreshKind, ProcessesToUpdate, System, UpdateKind};

use super::{management, registry};

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
            Question::Registry { key, names } => registry::values(question, key, names),
            Question::Keys { key, prefix } => registry::keys(question, key, prefix),
            Question::Wmi { namespace, class, names } => {
                management::objects(question, namespace, class, names)
            }
            Question::Processes => processes(),
            Question::Read(path) => read(path),
            Question::List(path) => list(path),
            Question::Link(path) => link(path),
            // The answer has owner and mode of a Unix; a zero in their place would say that root owns it.
            Question::Metadata(_) => Answer::Failed,
            // Its interface is COM without a crate that makes its calls safe: nothing here can ask it.
            Question::WindowsUpdate => Answer::Absent,
            // No program is on this system's list.
            _ => Answer::Absent,
        })
    }
}

/// What an error of the system means to a probe.
pub(super) fn failure(error: &io::Error) -> Answer {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Answer::Absent,
        io::ErrorKind::PermissionDenied => Answer::Denied,
        io::ErrorKind::TimedOut => Answer::TimedOut,
        _ => Answer::Failed,
    }
}

/// Content of a regular file.
fn read(path: &str) -> Answer {
    let content =
        File::open(path).and_then(|file| if file.metadata()?.is_file() { bounded(file) } else { Ok(None) });
    match content {
        Ok(Some(bytes)) if bytes.len() > FILE_BYTES_MAX => Answer::TooLarge,
        Ok(Some(bytes)) => Answer::Bytes(bytes),
        Ok(None) => Answer::Failed,
        Err(error) => failure(&error),
    }
}

/// At most one byte more than a file may have, by which the caller sees that there was more.
fn bounded(file: File) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(FILE_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
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

/// Every process. Of those that this user may not open, the path of the executable is not known.
fn processes() -> Answer {
    let Ok(mut system) = System::new() else { return Answer::Failed };
    let what = ProcessRefreshKind::nothing().with_exe(UpdateKind::OnlyIfNotSet);
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
