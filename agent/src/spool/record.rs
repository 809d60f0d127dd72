//! Records of spool and history files: u32be(length of body) ‖ u32be(CRC32C of type ‖ body) ‖ type(1) ‖ body.

use evidence::ids::Digest;
use evidence::leaf::{PAYLOAD_BYTES_MAX, SALT_BYTES};
use evidence::time::Timestamp;

/// Length, checksum and type in front of every body, in bytes.
pub(crate) const HEAD_BYTES: usize = 9;
/// Largest body: an envelope with what is known about its leaf.
const BODY_BYTES_MAX: usize = PAYLOAD_BYTES_MAX + 128;

/// Where the collector put a statement, as it said: with the envelope's bytes this gives the leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// Index in the log.
    pub index: u64,
    /// When the collector took it in.
    pub received: Timestamp,
    /// Salt of the commitment.
    pub salt: [u8; SALT_BYTES],
}

/// Statements that were not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotMade {
    /// Minute of the first.
    pub first_minute: u64,
    /// Minute of the last.
    pub last_minute: u64,
    /// How many.
    pub count: u64,
    /// Why the first was not made.
    pub reason: proto::GapReason,
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Record {
    /// First of a segment: every statement below `next` lies in an earlier segment or is done with. First of the
    /// chain: every statement below `next` is done with.
    Base { next: u64, head: Digest },
    /// An envelope.
    Statement { sequence: u64, envelope: Vec<u8> },
    /// The collector has it.
    Stored { sequence: u64, receipt: Receipt },
    /// Its inclusion was verified here.
    Proved { sequence: u64 },
    /// Lost here, but the collector has it.
    Settled { sequence: u64 },
    /// All statements not made since the last gap statement.
    NotMade(NotMade),
    /// The hash of a statement, kept in a file of its own.
    Link { sequence: u64, hash: Digest },
    /// A proved statement, in the history.
    Sent { sequence: u64, receipt: Receipt, envelope: Vec<u8> },
}

impl Record {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut typed = Vec::new();
        match self {
            Self::Base { next, head } => {
                typed.push(1);
                typed.extend_from_slice(&next.to_be_bytes());
                typed.extend_from_slice(head.as_bytes());
            }
            Self::Statement { sequence, envelope } => {
                typed.push(2);
                typed.extend_from_slice(&sequence.to_be_bytes());
                typed.extend_from_slice(envelope);
            }
            Self::Stored { sequence, receipt } => {
                typed.push(3);
                typed.extend_from_slice(&sequence.to_be_bytes());
                receipt.encode_to(&mut typed);
            }
            Self::Proved { sequence } => {
                typed.push(4);
                typed.extend_from_slice(&sequence.to_be_bytes());
            }
            Self::Settled { sequence } => {
                typed.push(5);
                typed.extend_from_slice(&sequence.to_be_bytes());
            }
            Self::NotMade(not_made) => {
                typed.push(6);
                typed.extend_from_slice(&not_made.first_minute.to_be_bytes());
                typed.extend_from_slice(&not_made.last_minute.to_be_bytes());
                typed.extend_from_slice(&not_made.count.to_be_bytes());
                typed.extend_from_slice(&i32::from(not_made.reason).to_be_bytes());
            }
            Self::Link { sequence, hash } => {
                typed.push(7);
                typed.extend_from_slice(&sequence.to_be_bytes());
                typed.extend_from_slice(hash.as_bytes());
            }
            Self::Sent { sequence, receipt, envelope } => {
                typed.push(8);
                typed.extend_from_slice(&sequence.to_be_bytes());
                receipt.encode_to(&mut typed);
                typed.extend_from_slice(envelope);
            }
        }
        let length = u32::try_from(typed.len().saturating_sub(1)).unwrap_or(u32::MAX);
        let mut out = Vec::with_capacity(typed.len() + 8);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&crc32c::crc32c(&typed).to_be_bytes());
        out.extend_from_slice(&typed);
        out
    }

    /// The record at the beginning of `bytes` and how many bytes it takes; `None` when there is no intact one.
    pub(crate) fn parse(bytes: &[u8]) -> Option<(Self, usize)> {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let (checksum, rest) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        if length > BODY_BYTES_MAX {
            return None;
        }
        let typed = rest.get(..length.checked_add(1)?)?;
        if crc32c::crc32c(typed) != u32::from_be_bytes(*checksum) {
            return None;
        }
        Some((Self::parse_body(typed)?, HEAD_BYTES + length))
    }

    fn parse_body(typed: &[u8]) -> Option<Self> {
        let (&kind, mut body) = typed.split_first()?;
        let rest = &mut body;
        let record = match kind {
            1 => Self::Base { next: number(rest)?, head: Digest(*array(rest)?) },
            2 => Self::Statement { sequence: number(rest)?, envelope: std::mem::take(rest).to_vec() },
            3 => Self::Stored { sequence: number(rest)?, receipt: Receipt::parse(rest)? },
            4 => Self::Proved { sequence: number(rest)? },
            5 => Self::Settled { sequence: number(rest)? },
            6 => Self::NotMade(NotMade {
                first_minute: number(rest)?,
                last_minute: number(rest)?,
                count: number(rest)?,
                reason: proto::GapReason::try_from(i32::from_be_bytes(*array(rest)?)).ok()?,
            }),
            7 => Self::Link { sequence: number(rest)?, hash: Digest(*array(rest)?) },
            8 => Self::Sent {
                sequence: number(rest)?,
                receipt: Receipt::parse(rest)?,
                envelope: std::mem::take(rest).to_vec(),
            },
            _ => return None,
        };
        body.is_empty().then_some(record)
    }
}

impl Receipt {
    fn encode_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.index.to_be_bytes());
        out.extend_from_slice(&self.received.0.to_be_bytes());
        out.extend_from_slice(&self.salt);
    }

    fn parse(rest: &mut &[u8]) -> Option<Self> {
        Some(Self { index: number(rest)?, received: Timestamp(number(rest)?), salt: *array(rest)? })
    }
}

fn array<'a, const N: usize>(rest: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (value, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(value)
}

fn number(rest: &mut &[u8]) -> Option<u64> {
    array(rest).map(|bytes| u64::from_be_bytes(*bytes))
}

/// The records of a file's bytes after its header.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// What counts, in order.
    pub(crate) records: Vec<Record>,
    /// Bytes that are no record lie between records: damage, not the torn end of a crash.
    pub(crate) damaged: bool,
    /// Bytes that are no record lie at the end.
    pub(crate) torn: bool,
}

impl Scan {
    /// Reads all records. After damage only statements count: their content is checked against the chain, while a
    /// mark such as `proved` that is not believed costs no more than being told again.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let mut scan = Self::default();
        let mut rest = bytes;
        while !rest.is_empty() {
            if let Some((record, taken)) = Record::parse(rest) {
                if scan.torn {
                    scan.damaged = true;
                    scan.torn = false;
                }
                let believed = !scan.damaged
                    || matches!(record, Record::Statement { .. } | Record::Link { .. } | Record::Sent { .. });
                if believed {
                    scan.records.push(record);
                }
                rest = rest.get(taken..).unwrap_or_default();
            } else {
                scan.torn = true;
                rest = rest.get(1..).unwrap_or_default();
            }
        }
        scan
    }
}
