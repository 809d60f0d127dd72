//! DSSE v1: what is signed, and the one JSON form of an act's envelope. docs/FORMAT.md sections 2 and 4.

use crate::ids::Digest;
use crate::json::{self, JsonError, Members, Value};
use crate::keys::{KeyError, PublicKey, SecretKey};
use crate::leaf::PAYLOAD_BYTES_MAX;

/// Payload type of device statements; implied by a leaf's kind, so envelopes do not repeat it.
pub const STATEMENT_TYPE: &str = "application/vnd.tallystick.attestation.v1+protobuf";
/// Payload type of acts.
pub const ACT_TYPE: &str = "application/vnd.tallystick.act.v1+json";

/// The pre-authentication encoding of DSSE v1.
pub fn pae(payload_type: &str, body: &[u8]) -> Vec<u8> {
    let mut out = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), body.len()).into_bytes();
    out.extend_from_slice(body);
    out
}

/// Why an act's envelope was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DsseError {
    /// The envelope is not the one canonical form.
    #[error("the act's envelope: {0}")]
    Json(#[from] JsonError),
    /// Another payload type.
    #[error("payloadType is {0:?}, expected {ACT_TYPE:?}")]
    Type(String),
    /// Too large to be a log entry.
    #[error("the envelope has {0} bytes, at most {PAYLOAD_BYTES_MAX} fit a log entry")]
    TooLarge(usize),
    /// Not signed by the expected key.
    #[error("signed by key {found}, expected {expected}")]
    OtherKey {
        /// Key id in the envelope.
        found: Digest,
        /// Key id wanted.
        expected: Digest,
    },
    /// The signature does not hold.
    #[error("the act's signature: {0}")]
    Signature(#[from] KeyError),
}

/// An act's envelope: claimed until [`ActEnvelope::verify`] says otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActEnvelope {
    /// The signed JSON.
    pub payload: Vec<u8>,
    /// SHA-256 of the signing key.
    pub keyid: Digest,
    /// 64 bytes.
    pub signature: Vec<u8>,
}

impl ActEnvelope {
    /// Signs `payload`, which must already be canonical JSON.
    pub fn sign(payload: Vec<u8>, key: &SecretKey) -> Self {
        let signature = key.sign(&pae(ACT_TYPE, &payload)).to_vec();
        Self { payload, keyid: key.public().id(), signature }
    }

    /// Reads the one canonical form.
    pub fn parse(bytes: &[u8]) -> Result<Self, DsseError> {
        if bytes.len() > PAYLOAD_BYTES_MAX {
            return Err(DsseError::TooLarge(bytes.len()));
        }
        let mut members = Members::of(Value::parse(bytes)?, "")?;
        let payload_type = members.text("payloadType")?;
        if payload_type != ACT_TYPE {
            return Err(DsseError::Type(payload_type));
        }
        let payload = members.base64("payload")?;
        let mut signature = members
            .optional_object("signatures")?
            .ok_or_else(|| members.problem("signatures", "must have exactly one item"))?;
        members.finish()?;
        let keyid = signature.digest("keyid")?;
        let sig = signature.base64("sig")?;
        signature.finish()?;
        Ok(Self { payload, keyid, signature: sig })
    }

    /// The canonical bytes: what is stored, hashed and proved.
    pub fn encode(&self) -> Vec<u8> {
        json::object([
            ("payload", json::base64(&self.payload)),
            ("payloadType", json::text(ACT_TYPE)),
            (
                "signatures",
                Value::Array(vec![json::object([
                    ("keyid", json::hex(&self.keyid)),
                    ("sig", json::base64(&self.signature)),
                ])]),
            ),
        ])
        .to_bytes()
    }

    /// Checks the signature by `key`.
    pub fn verify(&self, key: &PublicKey) -> Result<(), DsseError> {
        if self.keyid != key.id() {
            return Err(DsseError::OtherKey { found: self.keyid, expected: key.id() });
        }
        Ok(key.verify(&pae(ACT_TYPE, &self.payload), &self.signature)?)
    }
}

#[cfg(test)]
mod tests;
