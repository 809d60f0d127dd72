//! The machines of a fleet: what the real probes conclude from the recordings in `probes/recordings`.
//!
//! The probes run once per recording. What then changes from look to look on a real machine (times, versions, counts of
//! pending packages) is `updates.rs`; everything else is as recorded.

use evidence::ids::Digest;
use probes::{Recording, RecordingError};

/// When a machine is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hours {
    /// Day and night.
    Always,
    /// While somebody works with it.
    Work,
}

/// A kind of machine that a fleet is made of.
#[derive(Debug)]
pub struct Kind {
    /// The recording it answers like.
    pub recording: &'static str,
    /// Its class in a roster.
    pub class: &'static str,
    /// How many of a hundred devices are of this kind.
    pub share: u64,
    /// When it is on.
    pub hours: Hours,
    /// Whether packages are installed on it from time to time; otherwise its patches stay as recorded.
    pub is_patched: bool,
    drifts: &'static [Drift],
}

/// A change for the worse (or only for another): one control answers like another recording for a while.
#[derive(Debug)]
struct Drift {
    control: &'static str,
    recording: &'static str,
}

/// A control of a machine that answers otherwise than the machine's recording.
#[derive(Debug, Clone, Copy)]
pub struct Drifted {
    /// The control.
    pub control: &'static str,
    machine: usize,
}

const fn drift(control: &'static str, recording: &'static str) -> Drift {
    Drift { control, recording }
}

/// What happens to machines that people sit at.
const PERSONAL: [Drift; 18] = [
    drift("screen-lock", "lock-disabled"),
    drift("screen-lock", "lock-after-an-hour"),
    drift("screen-lock", "lock-idle-never"),
    drift("screen-lock", "lock-late-delay"),
    drift("screen-lock", "lock-two-users"),
    drift("screen-lock", "lock-login-screen"),
    drift("screen-lock", "lock-no-bus"),
    drift("edr", "edr-unit-failed"),
    drift("edr", "edr-started-by-hand"),
    drift("edr", "edr-no-processes"),
    drift("disk-encryption", "disk-second-plain"),
    drift("disk-encryption", "disk-plain-swap"),
    drift("disk-encryption", "disk-sysfs-denied"),
    drift("os-patch", "patch-security-held"),
    drift("os-patch", "patch-stale-lists"),
    drift("os-patch", "patch-times-out"),
    drift("os-patch", "patch-other-pending"),
    drift("os-patch", "patch-broken-packages"),
];
/// What happens to machines nobody sits at.
const UNATTENDED: [Drift; 4] = [
    drift("os-patch", "patch-security-held"),
    drift("os-patch", "patch-times-out"),
    drift("os-patch", "patch-stale-lists"),
    drift("os-patch", "patch-broken-packages"),
];

const fn personal(recording: &'static str, class: &'static str, share: u64) -> Kind {
    Kind { recording, class, share, hours: Hours::Work, is_patched: true, drifts: &PERSONAL }
}

const fn unattended(recording: &'static str, class: &'static str, share: u64) -> Kind {
    Kind { recording, class, share, hours: Hours::Always, is_patched: true, drifts: &UNATTENDED }
}

/// The kinds of machines of a fleet; their shares add up to 100.
pub const KINDS: [Kind; 15] = [
    personal("laptop", "laptop", 27),
    personal("ubuntu", "laptop", 17),
    personal("edr-sentinelone", "laptop", 5),
    personal("edr-defender", "laptop", 5),
    personal("disk-btrfs-encrypted", "laptop", 4),
    personal("disk-luks1-root-swapfile", "laptop", 2),
    personal("disk-zram-swap", "laptop", 3),
    personal("disk-home-only", "laptop", 1),
    personal("lock-budgie", "laptop", 2),
    personal("patch-unsupported", "laptop", 2),
    personal("asset-desktop", "desktop", 6),
    unattended("server", "server", 9),
    unattended("server-vm", "vm", 14),
    Kind { is_patched: false, drifts: &[], ..unattended("debian-12-vm", "vm", 2) },
    Kind { is_patched: false, drifts: &[], ..unattended("container-systemd", "container", 1) },
];

macro_rules! recordings {
    ($($name:literal)*) => {
        /// Every recording a fleet uses, by name.
        const RECORDINGS: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../../../probes/recordings/", $name, ".toml")))),*];
    };
}

recordings! {
    "asset-desktop" "container-systemd" "debian-12-vm" "disk-btrfs-encrypted" "disk-home-only"
    "disk-luks1-root-swapfile" "disk-plain-swap" "disk-second-plain" "disk-sysfs-denied" "disk-zram-swap" "edr-defender"
    "edr-no-processes" "edr-sentinelone" "edr-started-by-hand" "edr-unit-failed" "laptop" "lock-after-an-hour"
    "lock-budgie" "lock-disabled" "lock-idle-never" "lock-late-delay" "lock-login-screen" "lock-no-bus" "lock-two-users"
    "patch-broken-packages" "patch-other-pending" "patch-security-held" "patch-stale-lists"
    "patch-times-out" "patch-unsupported" "server" "server-vm" "ubuntu"
}

/// Why the recordings give no machines: they are part of the source tree, so only a change of them can cause it.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// A recording is named that is not included.
    #[error("there is no recording `{0}`")]
    Unknown(String),
    /// A recording cannot be read.
    #[error("recording `{name}`: {source}")]
    Recording {
        /// Its name.
        name: String,
        /// Why.
        source: RecordingError,
    },
    /// A recording lacks an answer.
    #[error("recording `{name}`: {source}")]
    NoAnswer {
        /// Its name.
        name: String,
        /// Which.
        source: probes::NoAnswer,
    },
}

/// What one recording says when it is looked at.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Name of the recording.
    pub name: &'static str,
    /// One observation per control, ascending.
    pub observations: Vec<proto::Observation>,
    /// What it claims to be.
    pub asset: Option<proto::AssetClaim>,
    /// SHA-256 over the raw answers of the recording.
    pub answers: Digest,
}

/// Every machine, looked at once.
#[derive(Debug)]
pub struct Machines(Vec<Machine>);

impl Machines {
    /// Runs the probes over every recording.
    pub fn look() -> Result<Self, MachineError> {
        Ok(Self(RECORDINGS.iter().map(|(name, _)| look(name)).collect::<Result<_, _>>()?))
    }

    /// The machine of a recording.
    pub fn named(&self, recording: &str) -> Option<&Machine> {
        self.0.iter().find(|machine| machine.name == recording)
    }

    /// The drift of a kind that `choice` picks; none for kinds that never drift.
    pub fn drift(&self, kind: &Kind, choice: u64) -> Option<Drifted> {
        let choice = choice.checked_rem(kind.drifts.len() as u64)?;
        let drift = kind.drifts.get(usize::try_from(choice).ok()?)?;
        let machine = self.0.iter().position(|machine| machine.name == drift.recording)?;
        Some(Drifted { control: drift.control, machine })
    }

    /// What a machine of this kind says, with one control drifted or none.
    pub fn observations(&self, kind: &Kind, drifted: Option<Drifted>) -> Vec<proto::Observation> {
        let mut observations =
            self.named(kind.recording).map(|machine| machine.observations.clone()).unwrap_or_default();
        if let Some(drifted) = drifted
            && let Some(other) = self.0.get(drifted.machine)
        {
            let of = |observation: &&proto::Observation| observation.control == drifted.control;
            let new = other.observations.iter().find(of).cloned();
            let old = observations.iter_mut().find(|observation| observation.control == drifted.control);
            if let (Some(old), Some(new)) = (old, new) {
                *old = new;
            }
        }
        observations
    }
}

fn recording(name: &str) -> Result<Recording, MachineError> {
    let (_, text) = RECORDINGS
        .iter()
        .find(|(known, _)| *known == name)
        .ok_or_else(|| MachineError::Unknown(name.to_owned()))?;
    let parsed =
        Recording::parse(text).map_err(|source| MachineError::Recording { name: name.to_owned(), source })?;
    match parsed.based_on.clone() {
        Some(base) => Ok(parsed.over(recording(&base)?)),
        None => Ok(parsed),
    }
}

fn look(name: &'static str) -> Result<Machine, MachineError> {
    let replay = recording(name)?
        .replay()
        .map_err(|source| MachineError::Recording { name: name.to_owned(), source })?;
    let no_answer = |source| MachineError::NoAnswer { name: name.to_owned(), source };
    let (observations, mut answers) = probes::observe(replay.platform(), &replay).map_err(no_answer)?;
    let asset = probes::asset(replay.platform(), &replay, &mut answers).map_err(no_answer)?;
    Ok(Machine { name, observations, asset, answers: Digest(answers.digest()) })
}

#[cfg(test)]
mod tests;
