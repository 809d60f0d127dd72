//! What of a stored payload is readable without a key: its codec, whose entry it is, where a bundle of records lies.
//! docs/FORMAT.md sections 5 and 13.
//!
//! | codec | payload record |
//! |---|---|
//! | 0 plain | `salt(32) ‖ payload` |
//! | 1 sealed | `dictionary(1) ‖ rewrite(1) ‖ subject ‖ ciphertext ‖ tag(16)` |
//! | 255 erased | `u64be(index of the tombstone) ‖ subject` |
//!
//! The subject stays readable: it is what the chain of a device goes on from when its payloads are gone, and it names
//! the data key. The index of the log is rebuilt from leaves and subjects alone, without any key.

use crate::envelope::Envelope;
use crate::erasure::Scope;
use crate::ids::{Digest, InstanceId};
use crate::leaf::{CODEC_PLAIN, Kind, PAYLOAD_BYTES_MAX, SALT_BYTES, Stream};
use crate::statement::Statement;
use crate::tiles::{Content, TILE_WIDTH, Tile};
use crate::time::Timestamp;

#[cfg(test)]
mod tests;

/// Sealed under a data key.
pub const CODEC_SEALED: u8 = 1;
/// Erased; only its place and the tombstone are left.
pub const CODEC_ERASED: u8 = 255;
/// Compressed without a dictionary.
pub const DICTIONARY_NONE: u8 = 0;
/// Compressed with the dictionary trained on simulated fleets. Other numbers are reserved.
pub const DICTIONARY_FLEET: u8 = 1;
/// Bytes of the tag after a ciphertext.
const TAG_BYTES: usize = 16;
/// Subject of a statement: instance, sequence, anchor size, minute, hash.
const STATEMENT_BYTES: usize = 16 + 8 + 8 + 4 + 32;
/// Bytes of a zstd frame beside what it cannot compress: magic, header, one raw block; a test of the collector measures it.
const FRAME_BYTES_MAX: usize = 64;
/// Bytes of a payload record beside its payload at most.
pub const OVERHEAD_BYTES_MAX: usize = 2 + STATEMENT_BYTES + FRAME_BYTES_MAX + TAG_BYTES;
/// Bytes of a bundle of records at most: 256 of the longest, each with its length and codec.
pub const BUNDLE_BYTES_MAX: usize = 256 * (4 + 1 + PAYLOAD_BYTES_MAX + OVERHEAD_BYTES_MAX);
/// Latest minute a subject can say, some 8,000 years from now: an honest clock says no later one.
const MINUTE_MAX: u64 = u32::MAX as u64 - 1;

/// A record whose bytes have no form, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RecordError(pub &'static str);

/// What a stored record says about its entry in plain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// An entry of streams 1 to 4: nothing beside its leaf.
    Stream,
    /// An entry of stream 0 that is no statement.
    Device(InstanceId),
    /// A statement (kinds 0.1 and 0.2) and its place in the chain of its instance.
    Statement {
        /// Who spoke.
        instance: InstanceId,
        /// Its number.
        sequence: u64,
        /// Size of its anchor; 0 without one.
        anchor_size: u64,
        /// When it was observed, by the device's clock, in minutes; none for a gap. What 32 bits cannot say is cut to what they can.
        observed_minute: Option<u64>,
        /// SHA-256 of its envelope.
        hash: Digest,
    },
}

impl Subject {
    /// The subject of a statement in its envelope.
    pub fn of(statement: &Statement, envelope: &Envelope) -> Self {
        let anchor_size = statement.anchor.as_ref().map_or(0, |anchor| anchor.size);
        let observed = statement.attestation().map(|attestation| attestation.wall().minutes());
        Self::statement(statement.instance, statement.sequence, anchor_size, observed, envelope.hash())
    }

    /// The subject of a statement, from its parts.
    pub fn statement(
        instance: InstanceId,
        sequence: u64,
        anchor_size: u64,
        observed_minute: Option<u64>,
        hash: Digest,
    ) -> Self {
        let observed_minute = observed_minute.map(|minute| minute.min(MINUTE_MAX));
        Self::Statement { instance, sequence, anchor_size, observed_minute, hash }
    }

    /// The scope of an entry of `stream` with this subject; none if stream and subject do not fit.
    pub fn scope(&self, stream: Stream, received: Timestamp) -> Option<Scope> {
        match (self, stream) {
            (Self::Device(instance) | Self::Statement { instance, .. }, Stream::Device) => {
                Some(Scope::device(*instance, received))
            }
            (Self::Stream, Stream::Device) => None,
            (Self::Stream, stream) => Some(Scope::stream(stream, received)),
            _ => None,
        }
    }

    /// Adds its bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Stream => {}
            Self::Device(instance) => out.extend_from_slice(instance.as_bytes()),
            Self::Statement { instance, sequence, anchor_size, observed_minute, hash } => {
                out.extend_from_slice(instance.as_bytes());
                out.extend_from_slice(&sequence.to_be_bytes());
                out.extend_from_slice(&anchor_size.to_be_bytes());
                let minute = observed_minute.map_or(0, |minute| minute.saturating_add(1));
                out.extend_from_slice(&u32::try_from(minute).unwrap_or(u32::MAX).to_be_bytes());
                out.extend_from_slice(hash.as_bytes());
            }
        }
    }

    /// Reads the subject of an entry of `kind` off the front.
    fn take(kind: Kind, bytes: &[u8]) -> Option<(Self, &[u8])> {
        if kind.stream != Stream::Device {
            return Some((Self::Stream, bytes));
        }
        let (instance, bytes) = bytes.split_first_chunk::<16>()?;
        let instance = InstanceId::from_bytes(*instance);
        if kind != Kind::ATTESTATION && kind != Kind::GAP {
            return Some((Self::Device(instance), bytes));
        }
        let (sequence, bytes) = bytes.split_first_chunk::<8>()?;
        let (anchor_size, bytes) = bytes.split_first_chunk::<8>()?;
        let (minute, bytes) = bytes.split_first_chunk::<4>()?;
        let (hash, bytes) = bytes.split_first_chunk::<32>()?;
        let (sequence, anchor_size) = (u64::from_be_bytes(*sequence), u64::from_be_bytes(*anchor_size));
        let observed_minute = u64::from(u32::from_be_bytes(*minute)).checked_sub(1);
        let hash = Digest(*hash);
        Some((Self::Statement { instance, sequence, anchor_size, observed_minute, hash }, bytes))
    }
}

/// A payload record, read as far as that goes without a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored<'a> {
    /// Codec 0.
    Plain {
        /// Salt of the commitment.
        salt: [u8; SALT_BYTES],
        /// The payload.
        payload: &'a [u8],
    },
    /// Codec 1.
    Sealed(Sealed<'a>),
    /// Codec 255.
    Erased {
        /// Index of the tombstone.
        tombstone: u64,
        /// Whose entry it was.
        subject: Subject,
    },
}

/// A sealed payload record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sealed<'a> {
    /// Whose entry it is.
    pub subject: Subject,
    /// Number of the dictionary it is compressed with.
    pub dictionary: u8,
    /// How often the entry was sealed anew under the same key.
    pub rewrite: u8,
    /// What the tag binds beside the leaf.
    pub head: &'a [u8],
    /// Compressed, encrypted, with the tag after it.
    pub ciphertext: &'a [u8],
}

impl<'a> Stored<'a> {
    /// Reads the payload record of an entry of `kind`.
    pub fn parse(kind: Kind, codec: u8, stored: &'a [u8]) -> Result<Self, RecordError> {
        let short = RecordError("a payload record is cut short");
        match codec {
            CODEC_PLAIN => {
                let (salt, payload) = stored.split_first_chunk::<SALT_BYTES>().ok_or(short)?;
                Ok(Self::Plain { salt: *salt, payload })
            }
            CODEC_SEALED => {
                let (numbers, rest) = stored.split_first_chunk::<2>().ok_or(short)?;
                let [dictionary, rewrite] = *numbers;
                if dictionary > DICTIONARY_FLEET {
                    return Err(RecordError("a payload needs a dictionary this program does not have"));
                }
                let (subject, ciphertext) = Subject::take(kind, rest).ok_or(short)?;
                let (head, _) = stored.split_at_checked(stored.len() - ciphertext.len()).ok_or(short)?;
                if ciphertext.len() < TAG_BYTES {
                    return Err(short);
                }
                Ok(Self::Sealed(Sealed { subject, dictionary, rewrite, head, ciphertext }))
            }
            CODEC_ERASED => {
                let (tombstone, rest) = stored.split_first_chunk::<8>().ok_or(short)?;
                match Subject::take(kind, rest) {
                    Some((subject, [])) => {
                        Ok(Self::Erased { tombstone: u64::from_be_bytes(*tombstone), subject })
                    }
                    _ => Err(RecordError("the record of an erased payload has another length")),
                }
            }
            _ => Err(RecordError("a payload record has a codec this program does not know")),
        }
    }

    /// Whose entry it is. None of a plain record that does not say so: only a statement does, in its payload.
    pub fn subject(&self, kind: Kind) -> Option<Subject> {
        match self {
            Self::Sealed(Sealed { subject, .. }) | Self::Erased { subject, .. } => Some(*subject),
            Self::Plain { .. } if kind.stream != Stream::Device => Some(Subject::Stream),
            Self::Plain { payload, .. } if kind == Kind::ATTESTATION || kind == Kind::GAP => {
                let envelope = Envelope::parse(payload).ok()?;
                Some(Subject::of(&envelope.claimed().ok()?, &envelope))
            }
            Self::Plain { .. } => None,
        }
    }
}

/// The record of codec 255 that takes the place of a payload record whose key is gone.
pub fn erased_record(tombstone: u64, subject: &Subject) -> Vec<u8> {
    let mut stored = tombstone.to_be_bytes().to_vec();
    subject.encode(&mut stored);
    stored
}

/// Adds a record to the bytes of a bundle: u32be(length) ‖ codec(1) ‖ bytes.
pub fn push_record(out: &mut Vec<u8>, codec: u8, stored: &[u8]) {
    out.extend_from_slice(&u32::try_from(stored.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.push(codec);
    out.extend_from_slice(stored);
}

/// Reads the records of a bundle, as (codec, bytes); none if it ends within one.
pub fn parse_records(bytes: &[u8]) -> Option<Vec<(u8, &[u8])>> {
    let (mut records, mut rest) = (Vec::new(), bytes);
    while !rest.is_empty() {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let (codec, after) = after.split_first()?;
        let (stored, after) = after.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
        records.push((*codec, stored));
        rest = after;
    }
    Some(records)
}

/// Where bundle `number` lies in a folder of payload bundles: as an entry bundle in `tile/entries/`. One of fewer than 256
/// records, the newest of a mirror, has its width in its name.
pub fn bundle_path(number: u64, width: u16) -> String {
    let path = Tile::new(Content::Entries, number, width).map(|tile| tile.path());
    path.and_then(|path| path.strip_prefix("tile/entries/").map(str::to_owned)).unwrap_or_default()
}

/// Where full bundle `number` lies.
pub fn full_bundle_path(number: u64) -> String {
    bundle_path(number, TILE_WIDTH)
}
