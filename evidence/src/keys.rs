//! Ed25519 as evidence needs it: strict, the same answer in every library. docs/FORMAT.md section 2.

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use zeroize::Zeroizing;

use crate::ids::Digest;

/// Length of a signature in bytes.
pub const SIGNATURE_BYTES: usize = 64;

/// L, the order of the group, little-endian: RFC 8032 section 5.1.
const ORDER_LE: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// p = 2^255 − 19, little-endian.
const FIELD_LE: [u8; 32] = [
    0xed, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f,
];

/// Canonical encodings of small order without their sign bits: y = 0, 1, −1 and the two of order 8. The other
/// eight of the printed list differ by the sign bit or are not below p.
const SMALL_ORDER_LE: [[u8; 32]; 5] = [
    [0; 32],
    [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    [
        0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f,
    ],
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5,
        0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a,
        0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ],
];

/// Why a key or signature was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Wrong length.
    #[error("wrong length")]
    Length,
    /// The encoding is not canonical.
    #[error("the encoding is not canonical")]
    NotCanonical,
    /// A point of small order: such a key signs everything.
    #[error("the point has small order")]
    SmallOrder,
    /// Not a point of the curve.
    #[error("not a point of the curve")]
    NotAPoint,
    /// S is not below the group order.
    #[error("S is not below the group order")]
    LargeS,
    /// The signature does not hold.
    #[error("the signature does not hold for these bytes and this key")]
    Mismatch,
}

fn below_le(number: &[u8], bound: &[u8; 32]) -> bool {
    number.iter().rev().lt(bound.iter().rev())
}

fn check_point(encoding: &[u8]) -> Result<(), KeyError> {
    let mut y = <[u8; 32]>::try_from(encoding).map_err(|_| KeyError::Length)?;
    y[31] &= 0x7f;
    if !below_le(&y, &FIELD_LE) {
        return Err(KeyError::NotCanonical);
    }
    if SMALL_ORDER_LE.contains(&y) {
        return Err(KeyError::SmallOrder);
    }
    Ok(())
}

/// A public Ed25519 key that passed the strict checks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey {
    key: VerifyingKey,
    id: Digest,
}

impl std::fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PublicKey({})", data_encoding::HEXLOWER.encode(self.key.as_bytes()))
    }
}

impl PublicKey {
    /// The key in `bytes`, which must be 32 bytes, canonical, a curve point and not of small order.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, KeyError> {
        check_point(bytes)?;
        let array = <[u8; 32]>::try_from(bytes).map_err(|_| KeyError::Length)?;
        let key = VerifyingKey::from_bytes(&array).map_err(|_| KeyError::NotAPoint)?;
        if key.is_weak() {
            return Err(KeyError::SmallOrder);
        }
        Ok(Self { key, id: Digest::of(bytes) })
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.key.as_bytes()
    }

    /// SHA-256 of the 32 bytes.
    pub fn id(&self) -> Digest {
        self.id
    }

    /// The key bytes as a digest-shaped hex value, as formats write public keys.
    pub fn hex(&self) -> String {
        data_encoding::HEXLOWER.encode(self.key.as_bytes())
    }

    /// Checks `signature` over `message` by the strict rule.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), KeyError> {
        let bytes = <[u8; SIGNATURE_BYTES]>::try_from(signature).map_err(|_| KeyError::Length)?;
        let (r, s) = bytes.split_at(32);
        check_point(r)?;
        if !below_le(s, &ORDER_LE) {
            return Err(KeyError::LargeS);
        }
        self.key.verify_strict(message, &Signature::from_bytes(&bytes)).map_err(|_| KeyError::Mismatch)
    }
}

/// A secret Ed25519 key. Its memory is wiped when dropped; it never prints itself.
pub struct SecretKey {
    key: SigningKey,
    public: PublicKey,
}

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SecretKey(of {})", self.public.hex())
    }
}

impl SecretKey {
    /// The key of a 32-byte seed (RFC 8032 section 5.1.5).
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, KeyError> {
        let key = SigningKey::from_bytes(seed);
        let public = PublicKey::from_slice(key.verifying_key().as_bytes())?;
        Ok(Self { key, public })
    }

    /// The 32-byte seed, to be written to a protected file.
    pub fn seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.key.to_bytes())
    }

    /// The public half.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs `message`.
    pub fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_BYTES] {
        self.key.sign(message).to_bytes()
    }
}

#[cfg(test)]
mod tests;
