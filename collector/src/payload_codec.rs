//! How a payload lies on disk: plain, sealed under the data key of its scope, or erased. docs/FORMAT.md section 5.
//!
//! What is readable without a key is [`evidence::payload_record`]'s; here it is sealed and opened.
//!
//! An entry is sealed under a key of its own, HMAC(data key, "seal" ‖ leaf): an index is given anew when a crash took
//! the group that had it, and one key and nonce must never seal two payloads.

use std::cell::RefCell;

use evidence::ids::{Digest, InstanceId};
use evidence::leaf::{Kind, PAYLOAD_BYTES_MAX, SALT_BYTES, Stream};
use evidence::payload_record::{DICTIONARY_FLEET, DICTIONARY_NONE, RecordError};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;
use zeroize::Zeroizing;
use zstd::bulk::{Compressor, Decompressor};

use crate::index::{DeviceLink, EntryError};

mod reading;
#[cfg(test)]
mod tests;

pub use evidence::payload_record::{
    CODEC_ERASED, CODEC_SEALED, OVERHEAD_BYTES_MAX, Sealed, Stored, Subject, erased_record,
};
pub use reading::{Opened, ReadPayloadError, fits, read};
pub(crate) use reading::{check_subject, read_written};

/// Of [`DICTIONARY_FLEET`]: trained on simulated devices: dictionaries/README.md. Its bytes never change; another one gets another number.
const DICTIONARY: &[u8] = include_bytes!("../dictionaries/1.zdict");
/// First writing of an entry; a later one of the same entry under the same key takes the next number.
pub const REWRITE_FIRST: u8 = 0;
/// Speed against size: zstd's own default, 3.
const COMPRESSION_LEVEL: i32 = 3;
/// Bytes of a data key.
pub const DATA_KEY_BYTES: usize = 32;

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

impl From<RecordError> for PayloadError {
    fn from(RecordError(what): RecordError) -> Self {
        Self::Form(what)
    }
}

/// The subject of a statement, from its place in its chain.
pub fn statement_subject(link: &DeviceLink) -> Subject {
    let DeviceLink { instance, sequence, anchor_size, observed_minute, hash, .. } = *link;
    Subject::statement(instance, sequence, anchor_size, observed_minute, hash)
}

/// The statement's place in its chain, without any key; none if the kind is not a statement's.
pub fn link_of(stored: &Stored<'_>, kind: Kind) -> Result<Option<DeviceLink>, EntryError> {
    match stored {
        Stored::Plain { payload, .. } => DeviceLink::of_payload(kind, payload),
        Stored::Sealed(Sealed { subject, .. }) | Stored::Erased { subject, .. } => Ok(match *subject {
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

/// The payload, sealed at `index` with this leaf. That it is what the leaf commits to is the caller's to check.
pub fn open(sealed: &Sealed<'_>, key: &DataKey, index: u64, leaf: &[u8]) -> Result<Vec<u8>, PayloadError> {
    let mut bytes = sealed.ciphertext.to_vec();
    let bound = bound_bytes(leaf, sealed.head);
    let frame = key
        .entry_key(leaf)?
        .open_in_place(nonce(index, sealed.rewrite), Aad::from(bound), &mut bytes)
        .map_err(|_| PayloadError::Tampered)?;
    let contexts = if sealed.dictionary == DICTIONARY_NONE { &PLAIN_DECOMPRESSOR } else { &DECOMPRESSOR };
    contexts.with_borrow_mut(|kept| {
        let decompressor = match kept {
            Some(decompressor) => decompressor,
            None => {
                let dictionary = if sealed.dictionary == DICTIONARY_NONE { &[] } else { DICTIONARY };
                let made = Decompressor::with_dictionary(dictionary);
                kept.insert(made.map_err(|_| PayloadError::Compressed)?)
            }
        };
        decompressor.decompress(frame, PAYLOAD_BYTES_MAX).map_err(|_| PayloadError::Compressed)
    })
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

/// The subject of an entry about to be stored; none for a kind of stream 0 whose instance is not known.
pub fn subject_of(kind: Kind, link: Option<&DeviceLink>, instance: Option<InstanceId>) -> Option<Subject> {
    match (kind.stream, link, instance) {
        (Stream::Device, Some(link), _) => Some(statement_subject(link)),
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
