//! As whom and how a process was started, out of /proc. Of its environment only the variables asked for are told, and
//! the home folder, which is often called like its user, is `~`.

use std::{fs::File, io};

use probes::{Answer, FILE_BYTES_MAX, Question, TableWriter};

use super::{as_user, bounded, failure};

/// How a process was started, as a table.
pub(super) fn read(question: &Question, pid: u32, names: &[&str]) -> Answer {
    let part = |name: &str| -> io::Result<Vec<u8>> {
        let file = File::open(format!("/proc/{pid}/{name}"))?;
        bounded(file, FILE_BYTES_MAX)?
            .filter(|bytes| bytes.len() <= FILE_BYTES_MAX)
            .ok_or_else(|| io::Error::from(io::ErrorKind::FileTooLarge))
    };
    let parts = || Ok((part("status")?, part("cmdline")?, part("environ")?, part("status")?));
    let (status, arguments, variables, again) = match parts() {
        Ok(parts) => parts,
        Err(error) => return failure(&error),
    };
    let Some(uid) = effective_uid(&status).filter(|uid| effective_uid(&again) == Some(*uid)) else {
        return Answer::Failed;
    };
    let home = as_user::account(uid).map(|account| account.home.to_string_lossy().into_owned());
    let mut table = TableWriter::new(question);
    table.row();
    table.number("uid", u64::from(uid));
    for argument in texts(&arguments) {
        table.text("argument", &without_home(&argument, home.as_deref()));
    }
    for variable in texts(&variables) {
        if let Some((name, value)) = variable.split_once('=')
            && names.contains(&name)
        {
            let parts: Vec<String> = value.split(':').map(|p| without_home(p, home.as_deref())).collect();
            table.text(name, &parts.join(":"));
        }
    }
    table.finish()
}

/// The second number of the line `Uid:`.
fn effective_uid(status: &[u8]) -> Option<u32> {
    let text = String::from_utf8_lossy(status);
    let numbers = text.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    numbers.split_whitespace().nth(1)?.parse().ok()
}

/// Texts that each end in a zero byte.
fn texts(bytes: &[u8]) -> Vec<String> {
    let mut parts: Vec<String> =
        bytes.split(|byte| *byte == 0).map(|part| String::from_utf8_lossy(part).into_owned()).collect();
    // Behind the last zero there is nothing.
    if parts.last().is_some_and(String::is_empty) {
        parts.pop();
    }
    parts
}

/// A path with `~` for the home folder it lies in.
fn without_home(path: &str, home: Option<&str>) -> String {
    match home.and_then(|home| path.strip_prefix(home.trim_end_matches('/'))) {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => format!("~{rest}"),
        _ => path.to_owned(),
    }
}

#[cfg(test)]
mod tests;
