//! The enrolment transcript: what a device signs with both of its keys. docs/FORMAT.md section 7.
//!
//! It is stored in the roster, so a verifier without a network can check years later that one device held both
//! keys, on one connection, for one token.

use p256::ecdsa::signature::Verifier as _;
use p256::ecdsa::{Signature, VerifyingKey};

use crate::ids::Digest;
use crate::keys::{KeyError, PublicKey, SIGNATURE_BYTES};
use crate::trust_domain::TrustDomain;

/// First bytes of every transcript, which no other signed text of this system begins with.
const HEADER: &[u8] = b"tallystick/enrol/v1\0";

/// DER of a P-256 SubjectPublicKeyInfo up to its point (RFC 5480 sections 2.1.1 and 2.2): sequence, id-ecPublicKey,
/// prime256v1, bit string.
const SPKI_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// Length of the one accepted SubjectPublicKeyInfo in bytes: the prefix and 04 ‖ x ‖ y.
pub const TLS_SPKI_BYTES: usize = SPKI_PREFIX.len() + 65;

/// First byte of an uncompressed point.
const UNCOMPRESSED: u8 = 4;

/// Label of the TLS exporter that binds a transcript to its connection (RFC 9266); the context is empty.
pub const EXPORTER_LABEL: &[u8] = b"EXPORTER-Channel-Binding";

/// Length of the TLS exporter's value in bytes.
pub const EXPORTER_BYTES: usize = 32;

/// Why a transcript or a key in it was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TranscriptError {
    /// The text does not begin as a transcript of this version does.
    #[error("not an enrolment transcript of version 1")]
    Header,
    /// A part is cut off, too long or of another length than it must have.
    #[error("the transcript's {part} has a wrong length")]
    Length {
        /// Name of the part.
        part: &'static str,
    },
    /// Bytes follow the last part.
    #[error("{bytes} bytes follow the end of the transcript")]
    Trailing {
        /// How many.
        bytes: usize,
    },
    /// The trust domain is not one.
    #[error("the transcript's trust domain is not a lower-case DNS name")]
    TrustDomain,
    /// The TLS key is not a P-256 key in the one accepted encoding.
    #[error("the TLS key is not an uncompressed P-256 key on the curve, as DER of 91 bytes")]
    TlsKey,
    /// The attestation key fails the strict rule.
    #[error("the attestation key is refused: {0}")]
    AttestationKey(KeyError),
    /// The attestation key's signature does not hold.
    #[error("the attestation key's signature is refused: {0}")]
    AttestationSignature(KeyError),
    /// The TLS key's signature does not hold.
    #[error("the TLS key's signature over the transcript does not hold")]
    TlsSignature,
}

/// A device's or person's public TLS key: P-256, on the curve, in the one accepted encoding.
#[derive(Clone, PartialEq, Eq)]
pub struct TlsPublicKey {
    spki: [u8; TLS_SPKI_BYTES],
    key: VerifyingKey,
}

impl std::fmt::Debug for TlsPublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TlsPublicKey(sha256 {})", self.id())
    }
}

impl TlsPublicKey {
    /// The key in `der`, a SubjectPublicKeyInfo of exactly [`TLS_SPKI_BYTES`] bytes. Compressed points, explicit
    /// curve parameters, other curves and points off the curve are refused.
    pub fn from_spki_der(der: &[u8]) -> Result<Self, TranscriptError> {
        let spki = <[u8; TLS_SPKI_BYTES]>::try_from(der).map_err(|_| TranscriptError::TlsKey)?;
        let point = spki.strip_prefix(&SPKI_PREFIX).ok_or(TranscriptError::TlsKey)?;
        let key = VerifyingKey::from_sec1_bytes(point).map_err(|_| TranscriptError::TlsKey)?;
        if point.first() == Some(&UNCOMPRESSED) {
            Ok(Self { spki, key })
        } else {
            Err(TranscriptError::TlsKey)
        }
    }

    /// The key of an uncompressed point: 04 ‖ x ‖ y, 65 bytes (SEC 1 section 2.3.3).
    pub fn from_point(point: &[u8]) -> Result<Self, TranscriptError> {
        Self::from_spki_der(&[&SPKI_PREFIX, point].concat())
    }

    /// The SubjectPublicKeyInfo as DER.
    pub fn spki_der(&self) -> &[u8; TLS_SPKI_BYTES] {
        &self.spki
    }

    /// SHA-256 of the SubjectPublicKeyInfo: the `tls_key` of acts.
    pub fn id(&self) -> Digest {
        Digest::of(&self.spki)
    }

    /// Checks an ECDSA signature over SHA-256 of `message`, given as r ‖ s, each 32 bytes, big-endian and in
    /// 1..n−1. Both s and n − s hold, as in every library.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), TranscriptError> {
        let signature = Signature::from_slice(signature).map_err(|_| TranscriptError::TlsSignature)?;
        self.key.verify(message, &signature).map_err(|_| TranscriptError::TlsSignature)
    }
}

/// What both keys of a device sign at enrolment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transcript {
    /// The installation the device enrols with.
    pub trust_domain: TrustDomain,
    /// Made by the device, the same at every retry.
    pub enrolment_id: [u8; 16],
    /// Made by the collector for this connection.
    pub nonce: [u8; 32],
    /// The connection's exporter: a transcript relayed over another connection does not hold.
    pub exporter: [u8; EXPORTER_BYTES],
    /// SHA-256 of the token's secret.
    pub token_hash: Digest,
    /// The key the certificate will be issued for.
    pub tls_key: TlsPublicKey,
    /// The key that will sign the device's statements.
    pub attestation_key: PublicKey,
    /// SHA-256(random ‖ detail) of the hardware facts.
    pub facts_commitment: Digest,
}

impl Transcript {
    /// The bytes that are signed and stored.
    pub fn encode(&self) -> Vec<u8> {
        let parts: [&[u8]; 8] = [
            self.trust_domain.as_str().as_bytes(),
            &self.enrolment_id,
            &self.nonce,
            &self.exporter,
            self.token_hash.as_bytes(),
            self.tls_key.spki_der(),
            self.attestation_key.as_bytes(),
            self.facts_commitment.as_bytes(),
        ];
        let mut bytes = HEADER.to_vec();
        for part in parts {
            // Every part is at most 253 bytes long by its type, so the length always fits.
            bytes.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
            bytes.extend_from_slice(part);
        }
        bytes
    }

    /// The transcript in `bytes`; only what [`Transcript::encode`] writes is accepted.
    pub fn parse(bytes: &[u8]) -> Result<Self, TranscriptError> {
        let mut rest = bytes.strip_prefix(HEADER).ok_or(TranscriptError::Header)?;
        let trust_domain = take(&mut rest, "trust domain")?;
        let trust_domain = std::str::from_utf8(trust_domain)
            .ok()
            .and_then(|text| text.parse().ok())
            .ok_or(TranscriptError::TrustDomain)?;
        let transcript = Self {
            trust_domain,
            enrolment_id: take_array(&mut rest, "enrolment id")?,
            nonce: take_array(&mut rest, "nonce")?,
            exporter: take_array(&mut rest, "exporter")?,
            token_hash: Digest(take_array(&mut rest, "token hash")?),
            tls_key: TlsPublicKey::from_spki_der(take(&mut rest, "TLS key")?)?,
            attestation_key: PublicKey::from_slice(take(&mut rest, "attestation key")?)
                .map_err(TranscriptError::AttestationKey)?,
            facts_commitment: Digest(take_array(&mut rest, "facts commitment")?),
        };
        if rest.is_empty() { Ok(transcript) } else { Err(TranscriptError::Trailing { bytes: rest.len() }) }
    }

    /// Parses `bytes` and checks both signatures over them: `ed25519` by the strict rule (64 bytes) and `p256`
    /// as r ‖ s (64 bytes). Whether nonce, exporter, token and keys are the expected ones is the caller's check.
    pub fn verify(bytes: &[u8], ed25519: &[u8], p256: &[u8]) -> Result<Self, TranscriptError> {
        let transcript = Self::parse(bytes)?;
        transcript.attestation_key.verify(bytes, ed25519).map_err(TranscriptError::AttestationSignature)?;
        transcript.tls_key.verify(bytes, p256)?;
        Ok(transcript)
    }
}

/// Length of each of the two signatures in bytes.
pub const TRANSCRIPT_SIGNATURE_BYTES: usize = SIGNATURE_BYTES;

/// Takes one length-prefixed part off the front of `rest`.
fn take<'a>(rest: &mut &'a [u8], part: &'static str) -> Result<&'a [u8], TranscriptError> {
    let error = TranscriptError::Length { part };
    let (length, tail) = rest.split_first_chunk::<4>().ok_or_else(|| error.clone())?;
    let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| error.clone())?;
    let (value, tail) = tail.split_at_checked(length).ok_or(error)?;
    *rest = tail;
    Ok(value)
}

fn take_array<const N: usize>(rest: &mut &[u8], part: &'static str) -> Result<[u8; N], TranscriptError> {
    take(rest, part)?.try_into().map_err(|_| TranscriptError::Length { part })
}

#[cfg(test)]
mod tests;
