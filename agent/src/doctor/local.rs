//! What is checked on this machine: directory, disk, identity, clock, spool.

use std::io;

use evidence::time::{DAY_MS, Timestamp};

use super::Check;
use crate::Causes;
use crate::custody::{self, TpmError};
use crate::disk::Folder;
use crate::health::Health;
use crate::identity::Identity;
use crate::spool::{History, Limits, Spool};
use crate::state::{OPEN_MODE, StateDirectory, StateError};

/// Less free space than that will soon be too little: the largest spool, its history and what is written anew.
const FREE_MIB_MIN: u64 = 64;
/// So many days before a certificate ends a person must act: the agent has tried to renew it for many days.
const CERTIFICATE_DAYS_MIN: u64 = 7;
/// A clock may be off by so much: the minute to which statements name the time, and the way of an answer.
pub(super) const CLOCK_OFF_MS_MAX: u64 = 2 * 60_000;

/// The directory: there, whose, its modes, its disk, its lock.
pub(super) fn state_directory(state: &StateDirectory) -> Vec<Check> {
    let path = state.path().display().to_string();
    let there = match std::fs::metadata(state.path()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let next = "enrol first: `tallystick-agent enroll`; or name the directory with --state";
            Check::failed("state", format!("{path} does not exist"), next)
        }
        Err(error) => Check::failed("state", format!("{path}: {error}"), "run this as root"),
        Ok(found) if !found.is_dir() => {
            Check::failed("state", format!("{path} is no directory"), "name the directory with --state")
        }
        Ok(found) => permissions(state, &found, &path),
    };
    if there.outcome == super::Outcome::Failed {
        let rest = ["disk", "agent"].map(|name| Check::not_tried(name, "there is no usable state directory"));
        return std::iter::once(there).chain(rest).collect();
    }
    vec![there, disk(state), agent(state)]
}

#[cfg(unix)]
fn permissions(state: &StateDirectory, found: &std::fs::Metadata, path: &str) -> Check {
    use std::os::unix::fs::MetadataExt as _;
    let mode = found.mode() & 0o7777;
    if mode & 0o022 != 0 {
        let next = format!("chmod 0755 {path}; enrol again if a stranger could have written there");
        return Check::failed("state", format!("{path} may be written by others (mode {mode:04o})"), next);
    }
    match std::fs::symlink_metadata(state.keys()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Check::failed("state", format!("{path}/keys: {error}"), "run this as root"),
        Ok(keys) if keys.mode() & 0o077 != 0 => {
            let detail = format!("{path}/keys may be read by others (mode {:04o})", keys.mode() & 0o7777);
            let next = format!("chmod 0700 {path}/keys; enrol again if a stranger could have read it");
            return Check::failed("state", detail, next);
        }
        Ok(keys) if keys.uid() != found.uid() => {
            let detail = format!("{path} belongs to user {}, its keys to user {}", found.uid(), keys.uid());
            return Check::failed("state", detail, format!("chown -R {} {path}", found.uid()));
        }
        Ok(_) => {}
    }
    Check::ok("state", format!("{path}, of user {}, mode {mode:04o}", found.uid()))
}

/// Whether a file is open to others than its user.
#[cfg(unix)]
pub(super) fn others_may_read(path: &std::path::Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(path).is_ok_and(|found| found.mode() & 0o077 != 0)
}

#[cfg(not(unix))]
pub(super) fn others_may_read(_path: &std::path::Path) -> bool {
    false
}

#[cfg(not(unix))]
fn permissions(_state: &StateDirectory, _found: &std::fs::Metadata, path: &str) -> Check {
    Check::ok("state", path)
}

/// Room, and whether it takes what the agent must be able to write.
fn disk(state: &StateDirectory) -> Check {
    #[cfg(unix)]
    let free_mib = {
        let found = rustix::fs::statvfs(state.path());
        found.ok().map(|found| found.f_bavail.saturating_mul(found.f_frsize) / (1024 * 1024))
    };
    #[cfg(not(unix))]
    let free_mib: Option<u64> = None;
    let room = free_mib.map_or_else(String::new, |mib| format!("{mib} MiB free"));
    let missed = "statements that are due meanwhile are counted, and a gap statement names them";
    match state.try_disk() {
        Ok(()) if free_mib.is_some_and(|mib| mib < FREE_MIB_MIN) => {
            Check::failed("disk", room, format!("free at least {FREE_MIB_MIN} MiB: on a full disk {missed}"))
        }
        Ok(()) => Check::ok("disk", format!("takes writes, {room}")),
        Err(error) => match error.kind() {
            io::ErrorKind::PermissionDenied => {
                Check::not_tried("disk", format!("only the agent's user may write there; {room}"))
            }
            io::ErrorKind::ReadOnlyFilesystem => {
                let next = format!("see `dmesg` for why, then remount it writable: until then {missed}");
                Check::failed("disk", "it is mounted read-only", next)
            }
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Check::failed(
                "disk",
                format!("it is full ({error}); {room}"),
                format!("free some space: until then {missed}"),
            ),
            _ => Check::failed("disk", error.to_string(), format!("see `dmesg`: until it works {missed}")),
        },
    }
}

/// Whether an agent runs. One that does not is no fault of the way.
fn agent(state: &StateDirectory) -> Check {
    if state.is_locked() {
        return Check::ok("agent", "running");
    }
    Check { next: "systemctl start tallystick-agent".into(), ..Check::ok("agent", "not running") }
}

/// Who this device is.
pub(super) fn identity(state: &StateDirectory) -> (Option<Identity>, Check) {
    let begun = state.keys().join("pending.json").exists();
    match Identity::read(state) {
        Err(StateError::NotEnrolled { .. }) if begun => {
            let next = "run the same `tallystick-agent enroll` again: it goes on where it was";
            (None, Check::failed("identity", "an enrolment was begun and is not finished", next))
        }
        Err(StateError::NotEnrolled { .. }) => {
            let next = "get a token from your administrator and run `tallystick-agent enroll`";
            (None, Check::failed("identity", "this device is not enrolled", next))
        }
        Err(error) => {
            let next =
                "restore identity.json from a copy, or enrol with a new token and another --state directory";
            (None, Check::failed("identity", Causes(&error).to_string(), next))
        }
        Ok(identity) => {
            let check = match identity.attestation_key(state).and_then(|_| identity.tls(state)) {
                Ok(_) => {
                    let stored = &identity.stored;
                    let holder = custody::holder(state).map_or("nobody", custody::Holder::words);
                    let origin = &stored.origin;
                    Check::ok("identity", format!("{} in {origin}; keys held by {holder}", stored.device))
                }
                Err(error) if denied(&error) => {
                    let device = &identity.stored.device;
                    Check::not_tried("identity", format!("{device}; its keys are for the agent's user alone"))
                }
                Err(error) => Check::failed("identity", Causes(&error).to_string(), next_step(&error)),
            };
            (Some(identity), check)
        }
    }
}

/// What to do about keys that cannot be used.
fn next_step(error: &StateError) -> &'static str {
    match error {
        StateError::Tpm(TpmError::Gone { .. } | TpmError::Refused { .. } | TpmError::Answer(_)) => {
            "switch the TPM on, or restart the machine; with `enroll --anew` and a new token the device becomes another one"
        }
        StateError::Tpm(TpmError::NotBuilt) => "install the build with TPM",
        StateError::Tpm(TpmError::NotNamed { .. }) => "name the TPM in agent.toml again",
        _ => "if the keys are lost, run `tallystick-agent enroll --anew` with a new token",
    }
}

/// Whether it is only that this user may not read the keys.
pub(super) fn denied(error: &StateError) -> bool {
    match error {
        StateError::Io { source, .. } => source.kind() == io::ErrorKind::PermissionDenied,
        StateError::Owner { .. } => true,
        _ => false,
    }
}

/// So many days before the authority of the certificate ends its operator must act.
const AUTHORITY_DAYS_MIN: u64 = 60;

/// When the authority of the device's certificate ends, if that is soon.
fn authority_ends(identity: &Identity, now: Timestamp) -> Option<Timestamp> {
    let ends = certs::CertificateLife::read(identity.chain.get(1)?)?.ends;
    (ends.ms() < now.ms().saturating_add(AUTHORITY_DAYS_MIN * DAY_MS)).then_some(ends)
}

/// Whether the device's certificate holds. `failed`: why the agent could not renew it.
pub(super) fn certificate(identity: &Identity, failed: Option<&str>, now: Timestamp) -> Check {
    let words = identity.chain.first().and_then(certs::CertificateWords::read);
    let Some(words) = words else {
        return Check::failed(
            "certificate",
            "it cannot be read",
            "enrol with a new token and another --state directory",
        );
    };
    let until = words.not_after.rfc3339();
    let failed = failed.map_or_else(String::new, |why| format!("; not renewed: {why}"));
    let comes_back = identity.life().is_some_and(|life| now < life.recovery_ends());
    if now < words.not_before {
        let early = span(words.not_before.ms().abs_diff(now.ms()));
        let detail =
            format!("it begins only in {early}, at {}: this clock is behind", words.not_before.rfc3339());
        Check::failed("certificate", detail, "set the clock")
    } else if now >= words.not_after {
        let late = span(now.ms().abs_diff(words.not_after.ms()));
        let next = if comes_back {
            "if the clock is right: the agent asks for a new one by itself as soon as it runs and reaches the collector"
        } else {
            "if the clock is right, enrol anew, with a new token and a new --state directory"
        };
        Check::failed("certificate", format!("it ended {late} ago, at {until}{failed}"), next)
    } else if words.not_after.ms() - now.ms() < CERTIFICATE_DAYS_MIN * DAY_MS {
        let left = span(words.not_after.ms().abs_diff(now.ms()));
        let next = "the agent renews it while it runs and reaches the collector: see the checks below";
        Check::failed("certificate", format!("it ends in {left}, at {until}{failed}"), next)
    } else if let Some(ends) = authority_ends(identity, now) {
        let detail = format!("good until {until}; its authority ends at {}", ends.rfc3339());
        Check::failed(
            "certificate",
            detail,
            "tell the collector's operator: `tallystick-collector ca rollover`",
        )
    } else {
        Check::ok("certificate", format!("good until {until}{failed}"))
    }
}

/// Whether the clock is behind what this device has been told before.
pub(super) fn clock(state: &StateDirectory, identity: Option<&Identity>, now: Timestamp) -> Check {
    let Some(identity) = identity else { return Check::ok("clock", now.rfc3339()) };
    let folder = Folder::new(state.spool(), OPEN_MODE);
    let kept = Spool::inspect(&folder, &identity.owner).map(|contents| contents.kept).unwrap_or_default();
    let kept = kept.values().filter_map(|kept| kept.receipt).map(|receipt| receipt.received);
    let proved = History::read(&folder).unwrap_or_default();
    let proved = proved.values().map(|sent| sent.receipt.received);
    match kept.chain(proved).max() {
        Some(received) if received.ms() > now.ms().saturating_add(CLOCK_OFF_MS_MAX) => {
            let behind = span(received.ms().abs_diff(now.ms()));
            let detail = format!(
                "it says {}, and is at least {behind} behind: the collector stored a statement at {}",
                now.rfc3339(),
                received.rfc3339()
            );
            Check::failed(
                "clock",
                detail,
                "set the clock, and see that it is kept (timedatectl set-ntp true)",
            )
        }
        _ => Check::ok("clock", now.rfc3339()),
    }
}

/// What waits, what was lost, and what was sent.
pub(super) fn spool(state: &StateDirectory, identity: &Identity) -> [Check; 2] {
    let folder = Folder::new(state.spool(), OPEN_MODE);
    let spool = match Spool::inspect(&folder, &identity.owner) {
        Err(error) => {
            let next =
                "enrol with a new token and another --state directory; keep this one, it shows what was said";
            Check::failed("spool", Causes(&error).to_string(), next)
        }
        Ok(contents) => {
            let waiting = contents.kept.values().filter(|kept| kept.receipt.is_none()).count();
            let not_made = contents.not_made.map_or(0, |not_made| not_made.count);
            let detail = format!(
                "{} made, {waiting} waiting, {} stored and not proved, {} lost, {not_made} not made",
                contents.next,
                contents.kept.len().saturating_sub(waiting),
                contents.lost.len()
            );
            let limit = Limits::default().bytes_max;
            if let Some(refused) = Health::read(state).refused {
                let detail = format!(
                    "{detail}; statement {} is refused: {} {}",
                    refused.sequence, refused.reason, refused.detail
                );
                Check::failed(
                    "spool",
                    detail,
                    "ask your administrator: a retired device must be enrolled anew",
                )
            } else if !contents.lost.is_empty() {
                let next = "the next exchange states what was lost; check the disk";
                Check::failed("spool", detail, next)
            } else if contents.bytes >= limit {
                let next = "until the collector is reached one statement a day is made";
                Check::failed("spool", format!("{detail}; it is full"), next)
            } else {
                Check::ok("spool", detail)
            }
        }
    };
    let history = match History::read(&folder) {
        Ok(sent) => {
            Check::ok("history", format!("{} statements that were sent and proved are kept", sent.len()))
        }
        Err(error) => Check::failed(
            "history",
            error.to_string(),
            "check the disk: nothing of the evidence is lost by it",
        ),
    };
    [spool, history]
}

/// A span of time as people say it.
pub(super) fn span(ms: u64) -> String {
    let (days, rest) = (ms / DAY_MS, ms % DAY_MS);
    let (hours, minutes, seconds) = (rest / 3_600_000, rest / 60_000 % 60, rest / 1000 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {seconds} s"),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} days {hours} h"),
    }
}
