//! Runs one program of the allow-list to its end, or to its deadline.

use std::{
    fs,
    io::{self, Read},
    os::unix::{
        fs::MetadataExt,
        process::{CommandExt, ExitStatusExt},
    },
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use probes::{Answer, Program};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

#[cfg(target_os = "macos")]
mod session;
#[cfg(target_os = "macos")]
use session::become_user;

/// How often a program that has closed its output is looked at until it ends.
const EXIT_POLL: Duration = Duration::from_millis(2);
/// Write permission of the group and of others.
const WRITABLE_BY_OTHERS: u32 = 0o022;
/// An exit status that is a signal is reported as this plus its number.
const SIGNAL_BASE: u32 = 256;

/// For whom a program runs when not for the agent itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct User<'a> {
    /// The user's number.
    pub(super) uid: u32,
    /// Value of XDG_CURRENT_DESKTOP.
    #[cfg_attr(target_os = "macos", expect(dead_code, reason = "macOS has one desktop"))]
    pub(super) desktop: &'a str,
}

/// Runs a program with a cleared environment and without input.
pub(super) fn run(program: Program, args: &[String], user: Option<User<'_>>) -> Answer {
    let mut refused = Answer::Absent;
    for path in program.paths() {
        match trusted(Path::new(path)) {
            Ok(true) => {
                let mut command = Command::new(path);
                command.args(args);
                return match user.map_or(Ok(()), |user| become_user(&mut command, user)) {
                    Ok(()) => complete(command, program.deadline(), program.output_bytes_max()),
                    Err(answer) => answer,
                };
            }
            Ok(false) => refused = Answer::Denied,
            Err(_) => {}
        }
    }
    refused
}

/// The program, behind any links, and every folder above it belong to root, and nobody else may write there.
fn trusted(path: &Path) -> io::Result<bool> {
    let real = fs::canonicalize(path)?;
    if !fs::metadata(&real)?.is_file() {
        return Ok(false);
    }
    for part in real.ancestors() {
        let metadata = fs::metadata(part)?;
        if metadata.uid() != 0 || metadata.mode() & WRITABLE_BY_OTHERS != 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Sets user, group and session bus. The group is the one of the user's runtime folder, which logind makes.
#[cfg(not(target_os = "macos"))]
fn become_user(command: &mut Command, user: User<'_>) -> Result<(), Answer> {
    let runtime = format!("/run/user/{}", user.uid);
    let folder = fs::symlink_metadata(&runtime).map_err(|_| Answer::Failed)?;
    if !folder.is_dir() || folder.uid() != user.uid {
        return Err(Answer::Denied);
    }
    let effective = rustix::process::geteuid().as_raw();
    if effective == 0 {
        // Setting the user as root also drops every other group.
        command.uid(user.uid).gid(folder.gid());
    } else if effective != user.uid {
        return Err(Answer::Denied);
    }
    command
        .env_clear()
        .env("DBUS_SESSION_BUS_ADDRESS", format!("unix:path={runtime}/bus"))
        .env("XDG_CURRENT_DESKTOP", user.desktop)
        .env("XDG_RUNTIME_DIR", runtime);
    Ok(())
}

/// Runs a command until it ends, prints too much, or its time is over; then nothing of its group is left.
///
/// The caller must not have set any variable that the program does not need; locale and folder are set here.
fn complete(mut command: Command, deadline: Duration, output_bytes_max: usize) -> Answer {
    let keep: Vec<_> = command
        .get_envs()
        .filter_map(|(key, value)| value.map(|value| (key.to_owned(), value.to_owned())))
        .collect();
    command
        .env_clear()
        .envs(keep)
        .env("LC_ALL", "C")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    let started = Instant::now();
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return super::failure(&error),
    };
    let answer = collect(&mut child, started, deadline, output_bytes_max);
    // The child has not been waited for, so its group number is still its own.
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw)
        && let Err(error) = kill_process_group(group, Signal::KILL)
    {
        tracing::debug!(%error, "nothing left of the process group");
    }
    match (answer, child.wait()) {
        (Ok(Collected { stdout, stderr }), Ok(status)) => {
            Answer::Output { status: number(status), stdout, stderr }
        }
        (Ok(_), Err(_)) => Answer::Failed,
        (Err(answer), _) => answer,
    }
}

struct Collected {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

/// Both outputs of a child that has ended by itself and is still to be waited for.
fn collect(
    child: &mut Child,
    started: Instant,
    deadline: Duration,
    bytes_max: usize,
) -> Result<Collected, Answer> {
    let (sender, receiver) = mpsc::channel();
    let stdout = child.stdout.take().ok_or(Answer::Failed)?;
    let stderr = child.stderr.take().ok_or(Answer::Failed)?;
    let error_sender = sender.clone();
    thread::spawn(move || deliver(&sender, false, stdout, bytes_max));
    thread::spawn(move || deliver(&error_sender, true, stderr, bytes_max));
    let mut collected = Collected { stdout: Vec::new(), stderr: Vec::new() };
    for _ in 0..2 {
        let left = deadline.checked_sub(started.elapsed()).ok_or(Answer::TimedOut)?;
        let (is_error, bytes) = match receiver.recv_timeout(left) {
            Ok((is_error, Ok(bytes))) => (is_error, bytes),
            Ok((_, Err(_))) | Err(mpsc::RecvTimeoutError::Disconnected) => return Err(Answer::Failed),
            Err(mpsc::RecvTimeoutError::Timeout) => return Err(Answer::TimedOut),
        };
        if bytes.len() > bytes_max {
            return Err(Answer::TooLarge);
        }
        *(if is_error { &mut collected.stderr } else { &mut collected.stdout }) = bytes;
    }
    while !has_ended(child)? {
        if started.elapsed() >= deadline {
            return Err(Answer::TimedOut);
        }
        thread::sleep(EXIT_POLL);
    }
    Ok(collected)
}

/// Sends what a stream gave, at most one byte over the cap. Nobody may be listening any more: that is fine.
fn deliver(
    sender: &mpsc::Sender<(bool, io::Result<Vec<u8>>)>,
    is_error: bool,
    stream: impl Read,
    bytes_max: usize,
) {
    let mut bytes = Vec::new();
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    let result = stream.take(limit).read_to_end(&mut bytes).map(|_| bytes);
    if sender.send((is_error, result)).is_err() {
        tracing::debug!("output came after the deadline");
    }
}

/// Whether the child has ended, leaving it to be waited for.
fn has_ended(child: &Child) -> Result<bool, Answer> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(Answer::Failed)?;
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    waitid(WaitId::Pid(pid), options).map(|status| status.is_some()).map_err(|_| Answer::Failed)
}

fn number(status: ExitStatus) -> u32 {
    let raw = match (status.code(), status.signal()) {
        (Some(code), _) => u32::try_from(code).ok(),
        (None, Some(signal)) => u32::try_from(signal).ok().and_then(|s| s.checked_add(SIGNAL_BASE)),
        (None, None) => None,
    };
    raw.unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
