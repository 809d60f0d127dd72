//! Whether a device's envelope may enter the log: pure, before anything is stored.
//!
//! Order and repetition are the sequencer's to judge; here are form, signature, identity and anchor.

use evidence::envelope::{Envelope, EnvelopeError};
use evidence::ids::DeviceId;
use evidence::roster::Roster;
use evidence::time::Timestamp;
use proto::RefusedReason;

/// An envelope that may enter the log.
#[derive(Debug, Clone)]
pub struct Admitted {
    /// The envelope.
    pub envelope: Envelope,
    /// Its sequence.
    pub sequence: u64,
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

/// Admits envelope bytes sent over a connection of device `peer`. `origin` is this log.
pub fn admit(
    bytes: &[u8],
    peer: &DeviceId,
    roster: &Roster,
    now: Timestamp,
    origin: &str,
    log_size: u64,
) -> Result<Admitted, Refusal> {
    let refuse = |sequence, reason, detail: String| Err(Refusal { sequence, reason, detail });
    let envelope = match Envelope::parse(bytes) {
        Ok(envelope) => envelope,
        Err(error @ EnvelopeError::TooLarge(_)) => {
            return refuse(0, RefusedReason::TooLarge, error.to_string());
        }
        Err(error) => return refuse(0, RefusedReason::Malformed, error.to_string()),
    };
    let claimed = match envelope.claimed() {
        Ok(statement) => statement,
        Err(error) => return refuse(0, RefusedReason::Malformed, error.to_string()),
    };
    let sequence = claimed.sequence;
    let Some(instance) = roster.instance(&claimed.instance) else {
        let detail = format!("instance {} is not enrolled here: enrol this device", claimed.instance);
        return refuse(sequence, RefusedReason::UnknownInstance, detail);
    };
    if instance.device != *peer {
        let detail = "the certificate of this connection belongs to another device than the statement";
        return refuse(sequence, RefusedReason::WrongDevice, detail.into());
    }
    let statement = match envelope.open(&instance.key) {
        Ok(statement) => statement,
        Err(error) => return refuse(sequence, RefusedReason::Signature, error.to_string()),
    };
    if statement.attestation().is_some_and(|attestation| attestation.device != instance.device) {
        let detail = "the statement names another device than its instance's";
        return refuse(sequence, RefusedReason::WrongDevice, detail.into());
    }
    if roster.device(peer).is_none_or(|device| device.at(now).is_none()) {
        let detail = "this device is not in service: it was retired";
        return refuse(sequence, RefusedReason::Retired, detail.into());
    }
    if let Some(anchor) = &statement.anchor
        && (anchor.origin != origin || anchor.size > log_size)
    {
        let detail =
            "the anchor is not a checkpoint of this log; if this collector was restored, run `recover`";
        return refuse(sequence, RefusedReason::Anchor, detail.into());
    }
    Ok(Admitted { envelope, sequence })
}
