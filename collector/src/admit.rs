//! Whether a device's envelope may enter the log: pure, before anything is stored.
//!
//! Order and repetition are the sequencer's to judge; here are form, signature, identity and anchor.

use evidence::envelope::{Envelope, EnvelopeError};
use evidence::ids::{DeviceId, Digest, InstanceId};
use evidence::keys::PublicKey;
use evidence::roster::Roster;
use evidence::statement::Statement;
use evidence::time::Timestamp;
use proto::RefusedReason;

/// An envelope that may enter the log.
#[derive(Debug, Clone)]
pub struct Admitted {
    /// The envelope.
    pub envelope: Envelope,
    /// What it says.
    pub statement: Statement,
}

/// What the roster says of an instance: a copy, so that nothing is locked while its signature is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// The device it belongs to.
    pub device: DeviceId,
    /// The key it signs with.
    pub key: PublicKey,
    /// Whether its device is in service now.
    pub in_service: bool,
}

impl Standing {
    /// The standing of an instance at `now`; none if it is not enrolled.
    pub fn of(roster: &Roster, instance: &InstanceId, now: Timestamp) -> Option<Self> {
        let instance = roster.instance(instance)?;
        let in_service = roster.device(&instance.device).is_some_and(|device| device.at(now).is_some());
        Some(Self { device: instance.device, key: instance.key, in_service })
    }
}

/// Why an envelope was refused, with what the device is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Sequence the envelope claims; 0 when it cannot be read.
    pub sequence: u64,
    /// The reason code.
    pub reason: RefusedReason,
    /// A sentence: what is wrong and what to do.
    pub detail: String,
}

/// An envelope and what it claims, its form checked and nothing else: cheap, and no reason to believe any of it.
pub fn claim(bytes: &[u8]) -> Result<(Envelope, Statement), Refusal> {
    let refuse = |reason, detail| Refusal { sequence: 0, reason, detail };
    let envelope = Envelope::parse(bytes).map_err(|error| match error {
        EnvelopeError::TooLarge(_) => refuse(RefusedReason::TooLarge, error.to_string()),
        _ => refuse(RefusedReason::Malformed, error.to_string()),
    })?;
    let statement =
        envelope.claimed().map_err(|error| refuse(RefusedReason::Malformed, error.to_string()))?;
    Ok((envelope, statement))
}

/// Admits envelope bytes sent over a connection of device `peer`. `origin` is this log; `standing` looks an instance up,
/// `root_at` gives the root over this log's first entries, none for a size it has not reached, and `note_size` the size of the
/// checkpoint with a note, none for a note that is not known.
pub fn admit(
    bytes: &[u8],
    peer: &DeviceId,
    standing: impl FnOnce(&InstanceId) -> Option<Standing>,
    origin: &str,
    root_at: impl FnOnce(u64) -> Option<Digest>,
    note_size: impl FnOnce(&Digest) -> Option<u64>,
) -> Result<Admitted, Refusal> {
    let refuse = |sequence, reason, detail: String| Err(Refusal { sequence, reason, detail });
    let (envelope, statement) = claim(bytes)?;
    let sequence = statement.sequence;
    let Some(standing) = standing(&statement.instance) else {
        let detail = format!("instance {} is not enrolled here: enrol this device", statement.instance);
        return refuse(sequence, RefusedReason::UnknownInstance, detail);
    };
    if standing.device != *peer {
        let detail = "the certificate of this connection belongs to another device than the statement";
        return refuse(sequence, RefusedReason::WrongDevice, detail.into());
    }
    // From here on the statement is no longer a claim.
    if let Err(error) = envelope.verify(&standing.key) {
        return refuse(sequence, RefusedReason::Signature, error.to_string());
    }
    if statement.attestation().is_some_and(|attestation| attestation.device != standing.device) {
        let detail = "the statement names another device than its instance's";
        return refuse(sequence, RefusedReason::WrongDevice, detail.into());
    }
    if !standing.in_service {
        let detail = "this device is not in service: it was retired";
        return refuse(sequence, RefusedReason::Retired, detail.into());
    }
    if let Some(anchor) = &statement.anchor
        && (anchor.origin != origin || root_at(anchor.size) != Some(anchor.root))
    {
        let detail = "the anchor is not a checkpoint of this log: another log has this origin, or an old copy of \
                      it was restored";
        return refuse(sequence, RefusedReason::Anchor, detail.into());
    }
    let note = statement.anchor.as_ref().and_then(|anchor| Some((anchor.note?, anchor.size)));
    if note.is_some_and(|(note, size)| note_size(&note).is_some_and(|known| known != size)) {
        let detail = "the anchor names the note of another checkpoint: this device's disk was damaged or restored; \
                      retire it and enrol it anew";
        return refuse(sequence, RefusedReason::Anchor, detail.into());
    }
    Ok(Admitted { envelope, statement })
}
