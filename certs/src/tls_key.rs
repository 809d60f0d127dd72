//! A secret P-256 key for TLS: of a device, a person, a server or an authority.

use evidence::enrolment::{TlsPublicKey, TranscriptError};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

use crate::pem;

/// Why a key could not be made, read or used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsKeyError {
    /// The operating system gave no random bytes.
    #[error("the operating system gave no random bytes")]
    Random,
    /// The text holds no key.
    #[error("no key found: expected one PEM block that begins with -----BEGIN PRIVATE KEY-----")]
    Pem,
    /// The key is of another kind.
    #[error("not a P-256 key in PKCS#8 with its public half ({0})")]
    Kind(String),
    /// The public half is refused.
    #[error(transparent)]
    Public(#[from] TranscriptError),
}

/// A secret P-256 key. Its memory is wiped when dropped; it never prints itself.
pub struct TlsKey {
    pkcs8: Zeroizing<Vec<u8>>,
    pair: EcdsaKeyPair,
    public: TlsPublicKey,
}

impl std::fmt::Debug for TlsKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TlsKey(of {:?})", self.public)
    }
}

impl TlsKey {
    /// A new key from the operating system's randomness (ring takes no other).
    pub fn generate() -> Result<Self, TlsKeyError> {
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
            .map_err(|_| TlsKeyError::Random)?;
        Self::from_pkcs8(Zeroizing::new(document.as_ref().to_vec()))
    }

    /// The key in a PEM text, as [`TlsKey::to_pem`] and `openssl genpkey` write it.
    pub fn from_pem(text: &str) -> Result<Self, TlsKeyError> {
        Self::from_pkcs8(pem::private_key(text).ok_or(TlsKeyError::Pem)?)
    }

    fn from_pkcs8(pkcs8: Zeroizing<Vec<u8>>) -> Result<Self, TlsKeyError> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8, &SystemRandom::new())
            .map_err(|rejected| TlsKeyError::Kind(rejected.to_string()))?;
        let public = TlsPublicKey::from_point(pair.public_key().as_ref())?;
        Ok(Self { pkcs8, pair, public })
    }

    /// The key as PEM of PKCS#8, to be written to a protected file.
    pub fn to_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(pem::encode(pem::PRIVATE_KEY, &self.pkcs8))
    }

    /// The public half.
    pub fn public(&self) -> &TlsPublicKey {
        &self.public
    }

    /// ECDSA over SHA-256 of `message`, as r ‖ s (64 bytes): the `sig_p256` of an enrolment.
    pub fn sign(&self, message: &[u8]) -> Result<[u8; 64], TlsKeyError> {
        let signature = self.pair.sign(&SystemRandom::new(), message).map_err(|_| TlsKeyError::Random)?;
        signature.as_ref().try_into().map_err(|_| TlsKeyError::Random)
    }

    pub(crate) fn pkcs8(&self) -> PrivatePkcs8KeyDer<'_> {
        PrivatePkcs8KeyDer::from(self.pkcs8.as_slice())
    }

    pub(crate) fn for_rustls(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(self.pkcs8().clone_key())
    }
}

#[cfg(test)]
mod tests;
