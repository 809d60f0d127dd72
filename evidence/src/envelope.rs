//! A device's signed envelope: its bytes are final from the moment they are signed.

use prost::Message as _;

use crate::dsse::{STATEMENT_TYPE, pae};
use crate::ids::Digest;
use crate::keys::{KeyError, PublicKey, SIGNATURE_BYTES, SecretKey};
use crate::leaf::PAYLOAD_BYTES_MAX;
use crate::statement::{Statement, StatementError};

/// Why an envelope was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Larger than a log entry may be.
    #[error("the envelope has {0} bytes, at most {PAYLOAD_BYTES_MAX} are admitted")]
    TooLarge(usize),
    /// Not protobuf, or not its canonical form.
    #[error("the envelope is not canonical protobuf: {0}")]
    Form(String),
    /// Signed by another key.
    #[error("signed by key {found}, expected {expected}")]
    OtherKey {
        /// Key id in the envelope.
        found: Digest,
        /// Key id of the device instance.
        expected: Digest,
    },
    /// The signature.
    #[error("the device's signature: {0}")]
    Signature(#[from] KeyError),
    /// The statement inside.
    #[error(transparent)]
    Statement(#[from] StatementError),
}

/// An envelope as received: claimed, nothing checked but its form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    bytes: Vec<u8>,
    payload: Vec<u8>,
    keyid: Digest,
    signature: Vec<u8>,
}

impl Envelope {
    /// Signs a statement. The bytes never change again.
    pub fn sign(statement: &Statement, key: &SecretKey) -> Self {
        let payload = statement.encode();
        let signature = key.sign(&pae(STATEMENT_TYPE, &payload)).to_vec();
        let keyid = key.public().id();
        let wire = proto::Envelope {
            payload: payload.clone(),
            keyid: keyid.as_bytes().to_vec(),
            sig: signature.clone(),
        };
        Self { bytes: wire.encode_to_vec(), payload, keyid, signature }
    }

    /// Reads envelope bytes, which must be canonical.
    pub fn parse(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        if bytes.len() > PAYLOAD_BYTES_MAX {
            return Err(EnvelopeError::TooLarge(bytes.len()));
        }
        let wire = proto::Envelope::decode(bytes).map_err(|error| EnvelopeError::Form(error.to_string()))?;
        if wire.encode_to_vec() != bytes {
            return Err(EnvelopeError::Form("it does not re-encode to itself".into()));
        }
        let keyid = Digest::from_slice(&wire.keyid)
            .map_err(|error| EnvelopeError::Form(format!("keyid: {error}")))?;
        if wire.sig.len() != SIGNATURE_BYTES {
            return Err(EnvelopeError::Form("sig: expected 64 bytes".into()));
        }
        Ok(Self { bytes: bytes.to_vec(), payload: wire.payload, keyid, signature: wire.sig })
    }

    /// The final bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// SHA-256 of the final bytes: what the next statement's `previous` names.
    pub fn hash(&self) -> Digest {
        Digest::of(&self.bytes)
    }

    /// Key id the envelope claims.
    pub fn keyid(&self) -> Digest {
        self.keyid
    }

    /// The statement inside, without checking the signature: to find out whose key to ask.
    pub fn claimed(&self) -> Result<Statement, StatementError> {
        Statement::parse(&self.payload)
    }

    /// Checks that `key` signed it: for a caller that has the statement from [`Envelope::claimed`] already.
    pub fn verify(&self, key: &PublicKey) -> Result<(), EnvelopeError> {
        if self.keyid != key.id() {
            return Err(EnvelopeError::OtherKey { found: self.keyid, expected: key.id() });
        }
        Ok(key.verify(&pae(STATEMENT_TYPE, &self.payload), &self.signature)?)
    }

    /// The statement, once `key` signed it.
    pub fn open(&self, key: &PublicKey) -> Result<Statement, EnvelopeError> {
        self.verify(key)?;
        Ok(Statement::parse(&self.payload)?)
    }
}

#[cfg(test)]
mod tests;
