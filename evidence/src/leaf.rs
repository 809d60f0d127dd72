//! Log entries: leaf bytes, kinds and commitments. docs/FORMAT.md section 5.

use crate::ids::Digest;
use crate::merkle;
use crate::time::Timestamp;

/// Largest payload of an entry, in bytes: a C2SP entry bundle carries lengths as u16, with room for salt and codec.
pub const PAYLOAD_BYTES_MAX: usize = 65_536;
/// Bytes of a leaf of stream 0.
pub const LEAF_BYTES_DEVICE: usize = 43;
/// Bytes of a leaf of streams 1 to 4.
pub const LEAF_BYTES_STREAM: usize = 83;
/// Bytes of a commitment's salt.
pub const SALT_BYTES: usize = 32;
/// The leaf version of this release.
pub const LEAF_VERSION: u8 = 1;
/// Payload codec 0: salt ‖ payload, nothing compressed or sealed.
pub const CODEC_PLAIN: u8 = 0;

/// One of the five streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stream {
    /// Device evidence.
    Device,
    /// Who and what belongs.
    Roster,
    /// What is required.
    Rules,
    /// The audit ceremony.
    Audit,
    /// Running the log.
    Operations,
}

impl Stream {
    /// The streams that are numbered and chained, 1 to 4.
    pub const CHAINED: [Self; 4] = [Self::Roster, Self::Rules, Self::Audit, Self::Operations];

    /// Its number.
    pub const fn number(self) -> u8 {
        match self {
            Self::Device => 0,
            Self::Roster => 1,
            Self::Rules => 2,
            Self::Audit => 3,
            Self::Operations => 4,
        }
    }

    /// The stream of a number.
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::Device,
            1 => Self::Roster,
            2 => Self::Rules,
            3 => Self::Audit,
            4 => Self::Operations,
            _ => return None,
        })
    }

    /// Its name in paths.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Roster => "roster",
            Self::Rules => "rules",
            Self::Audit => "audit",
            Self::Operations => "operations",
        }
    }
}

/// A kind of entry: a stream and a number within it, never renumbered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind {
    /// The stream.
    pub stream: Stream,
    /// The number within the stream.
    pub number: u8,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $stream:ident . $number:literal, $text:literal;)*) => {
        impl Kind {
            $($(#[$doc])* pub const $name: Self = Self { stream: Stream::$stream, number: $number };)*

            /// The kind's name, as acts use it.
            pub const fn name(self) -> Option<&'static str> {
                match (self.stream, self.number) {
                    $((Stream::$stream, $number) => Some($text),)*
                    _ => None,
                }
            }

            /// The kind of a stream and a number, if this release knows it.
            pub fn new(stream: u8, number: u8) -> Option<Self> {
                let stream = Stream::from_number(stream)?;
                let kind = Self { stream, number };
                kind.name().map(|_| kind)
            }
        }
    };
}

kinds! {
    /// A device's attestation.
    ATTESTATION = Device.1, "attestation";
    /// A device's gap statement.
    GAP = Device.2, "gap";
    /// Two statements of one key for one sequence.
    CONFLICT = Device.3, "conflict";
    /// Erasable detail about a device.
    DEVICE_DETAIL = Device.4, "device-detail";
    /// The first entry of a log.
    GENESIS = Roster.1, "genesis";
    /// A person's key and role.
    PERSON = Roster.2, "person";
    /// An enrolment token.
    TOKEN = Roster.3, "token";
    /// A device's enrolment.
    ENROLMENT = Roster.4, "enrolment";
    /// A new attestation key of a device.
    RE_KEY = Roster.5, "re-key";
    /// A device leaves service.
    RETIRE = Roster.6, "retire";
    /// A key is revoked.
    REVOKE = Roster.7, "revoke";
    /// A device's class changes.
    CLASS = Roster.8, "class";
    /// A device's group changes.
    GROUP = Roster.9, "group";
    /// Two devices are one.
    MERGE = Roster.10, "merge";
    /// One device is two.
    SPLIT = Roster.11, "split";
    /// A CA, log or operations key changes.
    KEY_CHANGE = Roster.12, "key-change";
    /// A person lets an enrolment or a recovery happen that waits.
    APPROVAL = Roster.13, "approval";
    /// A policy.
    POLICY = Rules.1, "policy";
    /// A mapping to frameworks.
    MAPPING = Rules.2, "mapping";
    /// A request for an exception.
    EXCEPTION_REQUEST = Rules.3, "exception-request";
    /// Its approval.
    EXCEPTION_APPROVAL = Rules.4, "exception-approval";
    /// Evidence that is no longer relied on.
    RECALL = Rules.5, "recall";
    /// A sampling plan.
    PLAN = Audit.1, "plan";
    /// The auditor's committed nonce.
    COMMITMENT = Audit.2, "commitment";
    /// The frozen frame.
    FREEZE = Audit.3, "freeze";
    /// The auditor's nonce.
    REVEAL = Audit.4, "reveal";
    /// The draw.
    DRAW = Audit.5, "draw";
    /// An auditor's finding.
    FINDING = Audit.6, "finding";
    /// An exported set.
    EXPORT = Audit.7, "export";
    /// An auditor's consent.
    CONSENT = Audit.8, "consent";
    /// A renewed certificate.
    RENEWAL = Operations.1, "renewal";
    /// Who read what, by person and day.
    ACCESS_SUMMARY = Operations.2, "access-summary";
    /// An imported inventory.
    IMPORT = Operations.3, "import";
    /// An erasure.
    TOMBSTONE = Operations.4, "tombstone";
    /// Fleet configuration.
    CONFIGURATION = Operations.5, "configuration";
    /// Time the collector was not running.
    OUTAGE = Operations.6, "outage";
    /// A legal hold.
    HOLD = Operations.7, "hold";
    /// Erasable detail.
    DETAIL = Operations.8, "detail";
}

impl Kind {
    /// Whether a person signs it; the operations key signs every other entry of streams 1 to 4.
    pub const fn is_persons_act(self) -> bool {
        match self.stream {
            Stream::Device => false,
            Stream::Roster => matches!(self.number, 2 | 3 | 6..=11 | 13),
            Stream::Rules => true,
            Stream::Audit => matches!(self.number, 1 | 2 | 4 | 6 | 8),
            Stream::Operations => matches!(self.number, 3 | 5 | 7),
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.stream.number(), self.number)?;
        self.name().map_or(Ok(()), |name| write!(f, " {name}"))
    }
}

/// An entry's place in its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chain {
    /// From 0, without gaps.
    pub sequence: u64,
    /// Leaf hash of the stream's previous entry; zeros at 0.
    pub previous: Digest,
}

/// A leaf of the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leaf {
    /// Stream and kind.
    pub kind: Kind,
    /// When the collector took it in.
    pub received: Timestamp,
    /// SHA-256(salt ‖ payload).
    pub commitment: Digest,
    /// Place in its stream; none in stream 0.
    pub chain: Option<Chain>,
}

/// Why leaf bytes were refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LeafError {
    /// Wrong length for its stream.
    #[error("a leaf of stream {stream} has {expected} bytes, found {found}")]
    Length {
        /// Stream number.
        stream: u8,
        /// Required bytes.
        expected: usize,
        /// Bytes met.
        found: usize,
    },
    /// Too short to be a leaf.
    #[error("{0} bytes are too few for a leaf")]
    Short(usize),
    /// Unknown version.
    #[error("leaf version {0}, this release knows {LEAF_VERSION}")]
    Version(u8),
    /// Unknown stream or kind.
    #[error("unknown kind {0}.{1}")]
    Kind(u8, u8),
}

impl Leaf {
    /// The bytes that are hashed.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(LEAF_BYTES_STREAM);
        out.extend_from_slice(&[LEAF_VERSION, self.kind.stream.number(), self.kind.number]);
        out.extend_from_slice(&self.received.0.to_be_bytes());
        out.extend_from_slice(self.commitment.as_bytes());
        if let Some(chain) = &self.chain {
            out.extend_from_slice(&chain.sequence.to_be_bytes());
            out.extend_from_slice(chain.previous.as_bytes());
        }
        out
    }

    /// Reads leaf bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, LeafError> {
        let short = LeafError::Short(bytes.len());
        let (head, rest) = bytes.split_first_chunk::<3>().ok_or(short)?;
        let [version, stream, number] = *head;
        if version != LEAF_VERSION {
            return Err(LeafError::Version(version));
        }
        let kind = Kind::new(stream, number).ok_or(LeafError::Kind(stream, number))?;
        let chained = kind.stream != Stream::Device;
        let expected = if chained { LEAF_BYTES_STREAM } else { LEAF_BYTES_DEVICE };
        if bytes.len() != expected {
            return Err(LeafError::Length { stream, expected, found: bytes.len() });
        }
        let (received, rest) = rest.split_first_chunk::<8>().ok_or(short)?;
        let (commitment, rest) = rest.split_first_chunk::<32>().ok_or(short)?;
        let chain = if chained {
            let (sequence, rest) = rest.split_first_chunk::<8>().ok_or(short)?;
            let (previous, _) = rest.split_first_chunk::<32>().ok_or(short)?;
            Some(Chain { sequence: u64::from_be_bytes(*sequence), previous: Digest(*previous) })
        } else {
            None
        };
        Ok(Self {
            kind,
            received: Timestamp(u64::from_be_bytes(*received)),
            commitment: Digest(*commitment),
            chain,
        })
    }

    /// RFC 6962 leaf hash.
    pub fn hash(&self) -> Digest {
        merkle::leaf_hash(&self.encode())
    }
}

/// SHA-256(salt ‖ payload).
pub fn commitment(salt: &[u8; SALT_BYTES], payload: &[u8]) -> Digest {
    Digest::of_parts(&[salt, payload])
}

#[cfg(test)]
mod tests;
