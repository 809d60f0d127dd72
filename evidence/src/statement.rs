//! What a device says: an attestation or a gap, with its place in the device's chain. docs/FORMAT.md section 3.

use prost::Message as _;

use crate::ids::{DeviceId, Digest, InstanceId, Name};
use crate::leaf::Kind;
use crate::note::Checkpoint;
use crate::time::{MINUTE_MS, Timestamp};

mod check;

/// Newest statement schema of this release: the collector names it, and an agent writes no newer one.
pub const SCHEMA_MAX: u32 = 4;
/// Highest sequence: above it a set's JSON could not name the statement exactly (docs/FORMAT.md section 1), and one
/// `destroyed` gap can claim any distance.
pub const SEQUENCE_MAX: u64 = (1 << 53) - 1;
/// Most observations of one attestation: the design knows about 15 controls.
pub const OBSERVATIONS_MAX: usize = 64;
/// Most rows of one list of facts; longer ones are cut and flagged truncated.
pub const FACT_ROWS_MAX: usize = 256;
/// Longest text of a fact, in bytes.
pub const FACT_TEXT_BYTES_MAX: usize = 256;

/// Why a statement was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// Not protobuf.
    #[error("the statement is not protobuf: {0}")]
    Decode(String),
    /// Protobuf, but another form of its value, or with unknown fields.
    #[error("the statement does not re-encode to itself: unknown fields or another encoding")]
    NotCanonical,
    /// A field is missing or out of its range.
    #[error("the statement's {field}: {problem}")]
    Field {
        /// Which field.
        field: &'static str,
        /// What is wrong.
        problem: &'static str,
    },
}

/// A statement whose form is sound.
#[derive(Debug, Clone, PartialEq)]
pub struct Statement {
    /// Who speaks.
    pub instance: InstanceId,
    /// Its number, from 0.
    pub sequence: u64,
    /// SHA-256 of the previous envelope; zeros where nothing comes before.
    pub previous: Digest,
    /// Newest checkpoint the agent has verified.
    pub anchor: Option<Anchor>,
    /// What it says.
    pub body: Body,
}

/// The newest checkpoint a device had verified when it signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    /// The log's name.
    pub origin: String,
    /// Leaves.
    pub size: u64,
    /// RFC 6962 root.
    pub root: Digest,
    /// SHA-256 of its note, if others than the log had signed it: no statement with this hash is older than their lines.
    pub note: Option<Digest>,
}

impl From<Checkpoint> for Anchor {
    fn from(Checkpoint { origin, size, root }: Checkpoint) -> Self {
        Self { origin, size, root, note: None }
    }
}

impl Anchor {
    /// The checkpoint, without its note.
    pub fn checkpoint(&self) -> Checkpoint {
        Checkpoint { origin: self.origin.clone(), size: self.size, root: self.root }
    }
}

/// The two things a device says.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// What it saw.
    Attestation(Box<Attestation>),
    /// What it could not say, or lost.
    Gap(Gap),
}

/// What a device saw.
#[derive(Debug, Clone, PartialEq)]
pub struct Attestation {
    /// The device.
    pub device: DeviceId,
    /// The rest of the message, field by field as in evidence.proto.
    pub fields: proto::Attestation,
}

impl Attestation {
    /// The device's wall clock, in whole minutes.
    pub fn wall(&self) -> Timestamp {
        Timestamp(self.fields.wall_minutes.saturating_mul(MINUTE_MS))
    }

    /// The observation of a control.
    pub fn observation(&self, control: &Name) -> Option<&proto::Observation> {
        self.fields.observations.iter().find(|observation| observation.control == control.as_str())
    }
}

/// Statements not made, or lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gap {
    /// From minute to minute, `count` statements were not made.
    NotMade {
        /// First minute.
        first_minute: u64,
        /// Last minute.
        last_minute: u64,
        /// How many.
        count: u64,
        /// Why.
        reason: proto::GapReason,
    },
    /// Sequences `first..=last` were made and lost.
    Destroyed {
        /// First lost sequence.
        first: u64,
        /// Last lost sequence.
        last: u64,
        /// Why.
        reason: proto::GapReason,
    },
}

impl Statement {
    /// The kind of its leaf.
    pub fn kind(&self) -> Kind {
        match self.body {
            Body::Attestation(_) => Kind::ATTESTATION,
            Body::Gap(_) => Kind::GAP,
        }
    }

    /// The attestation, if it is one.
    pub fn attestation(&self) -> Option<&Attestation> {
        match &self.body {
            Body::Attestation(attestation) => Some(attestation),
            Body::Gap(_) => None,
        }
    }

    /// The canonical protobuf bytes.
    pub fn encode(&self) -> Vec<u8> {
        let body = match &self.body {
            Body::Attestation(attestation) => {
                let mut fields = attestation.fields.clone();
                fields.device = attestation.device.to_string();
                proto::statement::Body::Attestation(fields)
            }
            Body::Gap(gap) => proto::statement::Body::Gap(gap.wire()),
        };
        proto::Statement {
            instance: self.instance.as_bytes().to_vec(),
            sequence: self.sequence,
            previous: self.previous.as_bytes().to_vec(),
            anchor: self.anchor.as_ref().map(|anchor| proto::Anchor {
                origin: anchor.origin.clone(),
                size: anchor.size,
                root: anchor.root.as_bytes().to_vec(),
                note: anchor.note.map_or_else(Vec::new, |note| note.as_bytes().to_vec()),
            }),
            body: Some(body),
        }
        .encode_to_vec()
    }

    /// Reads canonical protobuf and checks every field's form.
    pub fn parse(bytes: &[u8]) -> Result<Self, StatementError> {
        let wire =
            proto::Statement::decode(bytes).map_err(|error| StatementError::Decode(error.to_string()))?;
        if wire.encode_to_vec() != bytes {
            return Err(StatementError::NotCanonical);
        }
        check::statement(wire)
    }
}

impl Gap {
    fn wire(self) -> proto::Gap {
        match self {
            Self::NotMade { first_minute, last_minute, count, reason } => proto::Gap {
                kind: proto::GapKind::NotMade.into(),
                reason: reason.into(),
                first: first_minute,
                last: last_minute,
                count,
            },
            Self::Destroyed { first, last, reason } => proto::Gap {
                kind: proto::GapKind::Destroyed.into(),
                reason: reason.into(),
                first,
                last,
                count: last.saturating_sub(first).saturating_add(1),
            },
        }
    }
}

#[cfg(test)]
mod tests;
