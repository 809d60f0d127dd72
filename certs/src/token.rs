//! Enrolment tokens: `tst1.<base32 of a 32-byte secret>.<base32 of the root key's SHA-256>`. docs/FORMAT.md section 7.
//!
//! The second part pins the first contact, so a device never trusts on first use.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE32_NOPAD;
use evidence::ids::Digest;
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer as _, X509Certificate};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// First part of every token text of this version.
const VERSION: &str = "tst1";

/// Characters of base32 for 32 bytes, without padding.
const PART_CHARACTERS: usize = 52;

/// Why a text is not a token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not this kind of text at all.
    #[error("a token begins with tst1. and was made by `tallystick-collector token create`")]
    Version,
    /// Too few or too many parts.
    #[error("a token has three parts divided by points: copy the whole line")]
    Parts,
    /// A part is damaged.
    #[error(
        "the {part} of the token must be 52 characters of lower-case base32 (a-z, 2-7): copy the whole line again"
    )]
    Damaged {
        /// `secret` or `pin`.
        part: &'static str,
    },
}

/// The 32 random bytes that whoever knows them may enrol with, once. Wiped when dropped; never printed.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct TokenSecret([u8; 32]);

impl TokenSecret {
    /// The secret of these random bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, sent to the collector inside TLS only.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// SHA-256 of the secret: all that the collector keeps.
    pub fn hash(&self) -> Digest {
        Digest::of(&self.0)
    }
}

impl fmt::Debug for TokenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSecret(not shown)")
    }
}

/// SHA-256 of a root certificate's SubjectPublicKeyInfo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pin(Digest);

impl Pin {
    /// The pin of a certificate; `None` when it cannot be read.
    pub fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (rest, parsed) = X509Certificate::from_der(certificate).ok()?;
        rest.is_empty().then(|| Self(Digest::of(parsed.tbs_certificate.subject_pki.raw)))
    }

    /// The digest.
    pub fn digest(&self) -> Digest {
        self.0
    }
}

/// A token as it is handed to whoever enrols a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// The secret half.
    pub secret: TokenSecret,
    /// Which root the collector must prove.
    pub pin: Pin,
}

impl Token {
    /// The token of 32 random bytes for the installation with root `pin`.
    pub fn new(random: [u8; 32], pin: Pin) -> Self {
        Self { secret: TokenSecret(random), pin }
    }

    /// The text, for a person to copy. It is a secret until it was used.
    pub fn text(&self) -> Zeroizing<String> {
        let secret = Zeroizing::new(encode(&self.secret.0));
        Zeroizing::new(format!("{VERSION}.{}.{}", secret.as_str(), encode(self.pin.0.as_bytes())))
    }
}

impl FromStr for Token {
    type Err = TokenError;

    /// Reads a token; white space around it is ignored, as copying adds it.
    fn from_str(text: &str) -> Result<Self, TokenError> {
        let rest = text.trim().strip_prefix(VERSION).and_then(|rest| rest.strip_prefix('.'));
        let (secret, pin) = rest.ok_or(TokenError::Version)?.split_once('.').ok_or(TokenError::Parts)?;
        if pin.contains('.') {
            return Err(TokenError::Parts);
        }
        let secret = decode(secret).ok_or(TokenError::Damaged { part: "secret" })?;
        let pin = decode(pin).ok_or(TokenError::Damaged { part: "pin" })?;
        Ok(Self { secret: TokenSecret(*secret), pin: Pin(Digest(*pin)) })
    }
}

fn encode(bytes: &[u8; 32]) -> String {
    let mut text = BASE32_NOPAD.encode(bytes);
    text.make_ascii_lowercase();
    text
}

fn decode(text: &str) -> Option<Zeroizing<[u8; 32]>> {
    // Upper case would be a second text of the same token.
    if text.len() != PART_CHARACTERS || text.bytes().any(|b| b.is_ascii_uppercase()) {
        return None;
    }
    let upper = Zeroizing::new(text.to_ascii_uppercase());
    let bytes = Zeroizing::new(BASE32_NOPAD.decode(upper.as_bytes()).ok()?);
    Some(Zeroizing::new(bytes.as_slice().try_into().ok()?))
}

#[cfg(test)]
mod tests;
