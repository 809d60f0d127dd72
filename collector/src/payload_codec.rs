//! How a payload lies on disk: plain, sealed under the data key of its scope, or erased. docs/FORMAT.md section 5.
//!
//! | codec | payload record |
//! |---|---|
//! | 0 plain | `salt(32) ‖ payload` |
//! | 1 sealed | `dictionary(1) ‖ rewrite(1) ‖ subject ‖ ciphertext ‖ tag(16)` |
//! | 255 erased | `u64be(index of the tombstone) ‖ subject` |
//!
//! The subject stays readable: it is what the chain of a device goes on from when its payloads are gone, and it names
//! the data key. The index of the log is rebuilt from leaves and subjects alone, without any key.
//!
//! An entry is sealed under a key of its own, HMAC(data key, "seal" ‖ leaf): an index is given anew when a crash took
//! the group that had it, and one key and nonce must never seal two payloads.

use std::cell::RefCell;

use evidence::erasure::Scope;
use evidence::ids::{Digest, InstanceId};
use evidence::leaf::{CODEC_PLAIN, Kind, PAYLOAD_BYTES_MAX, SALT_BYTES, Stream};
use evidence::time::Timestamp;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;
use zeroize::Zeroizing;
use zstd::bulk::{Compressor, Decompressor};

use crate::index::{DeviceLink, EntryError};

mod reading;
#[cfg(test)]
mod tests;

pub use reading::{Opened, ReadPayloadError, read};
pub(crate) use reading::{check_subject, read_written};

/// Sealed under a data key.
pub const CODEC_SEALED: u8 = 1;
/// Erased; only its place and the tombstone are left.
pub const CODEC_ERASED: u8 = 255;
/// Compressed without a dictionary.
const DICTIONARY_NONE: u8 = 0;
/// Compressed with [`DICTIONARY`]. Other numbers are reserved.
const DICTIONARY_FLEET: u8 = 1;
/// Trained on simulated devices: dictionaries/README.md. Its bytes never change; another one gets another number.
const DICTIONARY: &[u8] = include_bytes!("../dictionaries/1.zdict");
/// First writing of an entry; a later one of the same entry under the same key takes the next number.
pub const REWRITE_FIRST: u8 = 0;
/// Speed against size: zstd's own default, 3.
const COMPRESSION_LEVEL: i32 = 3;
/// Bytes of a data key.
pub const DATA_KEY_BYTES: usize = 32;
/// Bytes of the tag after a ciphertext.
const TAG_BYTES: usize = 16;
/// Subject of a statement: instance, sequence, anchor size, minute, hash.
const STATEMENT_BYTES: usize = 16 + 8 + 8 + 4 + 32;
/// Latest minute a subject can say, some 8,000 years from now: an honest clock says no later one.
const MINUTE_MAX: u64 = u32::MAX as u64 - 1;
/// Bytes of a zstd frame beside what it cannot compress: magic, header, one raw block; a test measures it.
const FRAME_BYTES_MAX: usize = 64;
/// Bytes of a payload record beside its payload at most.
pub const OVERHEAD_BYTES_MAX: usize = 2 + STATEMENT_BYTES + FRAME_BYTES_MAX + TAG_BYTES;

/// The key of one scope. Wiped when dropped.
#[derive(Clone)]
pub struct DataKey(Zeroizing<[u8; DATA_KEY_BYTES]>);

impl DataKey {
    /// The key of these bytes.
    pub fn new(bytes: Zeroizing<[u8; DATA_KEY_BYTES]>) -> Self {
        Self(bytes)
    }

    /// Its bytes, for wrapping.
    pub(crate) fn bytes(&self) -> &[u8; DATA_KEY_BYTES] {
        &self.0
    }

    /// Salt of the commitment of the entry at `index`: HMAC-SHA256(data key, "salt" ‖ u64be(index)).
    pub fn salt(&self, index: u64) -> [u8; SALT_BYTES] {
        *self.derive(&[b"salt", &index.to_be_bytes()])
    }

    fn derive(&self, parts: &[&[u8]]) -> Zeroizing<[u8; 32]> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.0.as_slice());
        let mut context = hmac::Context::with_key(&key);
        for part in parts {
            context.update(part);
        }
        let mut out = Zeroizing::new([0; 32]);
        for (byte, value) in out.iter_mut().zip(context.sign().as_ref()) {
            *byte = *value;
        }
        out
    }

    fn entry_key(&self, leaf: &[u8]) -> Result<LessSafeKey, PayloadError> {
        let bytes = self.derive(&[b"seal", leaf]);
        let key = UnboundKey::new(&CHACHA20_POLY1305, bytes.as_slice());
        key.map(LessSafeKey::new).map_err(|_| PayloadError::Form("its key has another length"))
    }
}

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
    /// The subject of a statement.
    pub fn statement(link: &DeviceLink) -> Self {
        let DeviceLink { instance, sequence, anchor_size, observed_minute, hash, .. } = *link;
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

    fn encode(&self, out: &mut Vec<u8>) {
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
    dictionary: u8,
    rewrite: u8,
    /// What the tag binds beside the leaf.
    head: &'a [u8],
    ciphertext: &'a [u8],
}

/// Why a payload record is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// Its bytes have no form.
    #[error("{0}")]
    Form(&'static str),
    /// It is not what was sealed, or not under this key or leaf.
    #[error("the sealed payload does not open: it, its leaf or its data key was changed")]
    Tampered,
    /// Sealed, and what it holds is no payload.
    #[error("the sealed payload does not decompress to at most {PAYLOAD_BYTES_MAX} bytes")]
    Compressed,
    /// It cannot be sealed.
    #[error("a payload of {0} bytes cannot be sealed")]
    Seal(usize),
}

impl<'a> Stored<'a> {
    /// Reads the payload record of an entry of `kind`.
    pub fn parse(kind: Kind, codec: u8, stored: &'a [u8]) -> Result<Self, PayloadError> {
        let short = PayloadError::Form("a payload record is cut short");
        match codec {
            CODEC_PLAIN => {
                let (salt, payload) = stored.split_first_chunk::<SALT_BYTES>().ok_or(short)?;
                Ok(Self::Plain { salt: *salt, payload })
            }
            CODEC_SEALED => {
                let (numbers, rest) = stored.split_first_chunk::<2>().ok_or(short)?;
                let [dictionary, rewrite] = *numbers;
                if dictionary > DICTIONARY_FLEET {
                    return Err(PayloadError::Form(
                        "a payload needs a dictionary this program does not have",
                    ));
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
                    _ => Err(PayloadError::Form("the record of an erased payload has another length")),
                }
            }
            _ => Err(PayloadError::Form("a payload record has a codec this program does not know")),
        }
    }

    /// The statement's place in its chain, without any key; none if the kind is not a statement's.
    pub fn link(&self, kind: Kind) -> Result<Option<DeviceLink>, EntryError> {
        match self {
            Self::Plain { payload, .. } => DeviceLink::of_payload(kind, payload),
            Self::Sealed(Sealed { subject, .. }) | Self::Erased { subject, .. } => Ok(match *subject {
                // What only admission asks for is gone: it was asked.
                Subject::Statement { instance, sequence, anchor_size, observed_minute, hash } => {
                    Some(DeviceLink {
                        instance,
                        sequence,
                        first: sequence,
                        previous: Digest::ZERO,
                        hash,
                        anchor_size,
                        observed_minute,
                    })
                }
                Subject::Stream | Subject::Device(_) => None,
            }),
        }
    }
}

impl Sealed<'_> {
    /// The payload, sealed at `index` with this leaf. That it is what the leaf commits to is the caller's to check.
    pub fn open(&self, key: &DataKey, index: u64, leaf: &[u8]) -> Result<Vec<u8>, PayloadError> {
        let mut bytes = self.ciphertext.to_vec();
        let bound = bound_bytes(leaf, self.head);
        let frame = key
            .entry_key(leaf)?
            .open_in_place(nonce(index, self.rewrite), Aad::from(bound), &mut bytes)
            .map_err(|_| PayloadError::Tampered)?;
        let contexts = if self.dictionary == DICTIONARY_NONE { &PLAIN_DECOMPRESSOR } else { &DECOMPRESSOR };
        contexts.with_borrow_mut(|kept| {
            let decompressor = match kept {
                Some(decompressor) => decompressor,
                None => {
                    let dictionary = if self.dictionary == DICTIONARY_NONE { &[] } else { DICTIONARY };
                    let made = Decompressor::with_dictionary(dictionary);
                    kept.insert(made.map_err(|_| PayloadError::Compressed)?)
                }
            };
            decompressor.decompress(frame, PAYLOAD_BYTES_MAX).map_err(|_| PayloadError::Compressed)
        })
    }
}

thread_local! {
    // A context holds up to a megabyte of tables: one a thread, not one a payload.
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
    static PLAIN_DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// The record of codec 1: `payload` compressed and sealed for the entry at `index` with this leaf.
pub fn seal(
    key: &DataKey,
    index: u64,
    leaf: &[u8],
    subject: &Subject,
    rewrite: u8,
    payload: &[u8],
) -> Result<Vec<u8>, PayloadError> {
    let impossible = PayloadError::Seal(payload.len());
    if payload.len() > PAYLOAD_BYTES_MAX {
        return Err(impossible);
    }
    let mut stored = vec![DICTIONARY_FLEET, rewrite];
    subject.encode(&mut stored);
    let bound = bound_bytes(leaf, &stored);
    let mut frame = COMPRESSOR.with_borrow_mut(|kept| {
        let compressor = match kept {
            Some(compressor) => compressor,
            None => {
                let made = Compressor::with_dictionary(COMPRESSION_LEVEL, DICTIONARY);
                kept.insert(made.map_err(|_| impossible)?)
            }
        };
        compressor.compress(payload).map_err(|_| impossible)
    })?;
    key.entry_key(leaf)?
        .seal_in_place_append_tag(nonce(index, rewrite), Aad::from(bound), &mut frame)
        .map_err(|_| impossible)?;
    stored.append(&mut frame);
    Ok(stored)
}

/// The record of codec 255 that takes the place of a payload record whose key is gone.
pub fn erased_record(tombstone: u64, subject: &Subject) -> Vec<u8> {
    let mut stored = tombstone.to_be_bytes().to_vec();
    subject.encode(&mut stored);
    stored
}

/// The subject of an entry about to be stored; none for a kind of stream 0 whose instance is not known.
pub fn subject_of(kind: Kind, link: Option<&DeviceLink>, instance: Option<InstanceId>) -> Option<Subject> {
    match (kind.stream, link, instance) {
        (Stream::Device, Some(link), _) => Some(Subject::statement(link)),
        (Stream::Device, None, instance) => instance.map(Subject::Device),
        _ => Some(Subject::Stream),
    }
}

fn bound_bytes(leaf: &[u8], head: &[u8]) -> Vec<u8> {
    [leaf, head].concat()
}

/// u64be(index) ‖ u32be(rewrite).
fn nonce(index: u64, rewrite: u8) -> Nonce {
    let mut bytes = [0; NONCE_LEN];
    let parts = index.to_be_bytes().into_iter().chain(u32::from(rewrite).to_be_bytes());
    for (byte, value) in bytes.iter_mut().zip(parts) {
        *byte = value;
    }
    Nonce::assume_unique_for_key(bytes)
}
