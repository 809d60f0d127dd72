//! What stands in for a TPM in a build without one.

use std::path::Path;

use certs::{HeldKey, HeldKeyError};
use evidence::enrolment::TlsPublicKey;
use zeroize::Zeroizing;

use super::{TpmAddress, TpmError, Wrapped};

/// A key that cannot be: nothing makes one.
#[derive(Debug)]
pub(super) enum Key {}

impl Key {
    pub(super) fn of(_address: &TpmAddress, _wrapped: Wrapped, _path: &Path) -> Result<Self, TpmError> {
        Err(TpmError::NotBuilt)
    }
}

impl HeldKey for Key {
    fn public(&self) -> &TlsPublicKey {
        match *self {}
    }

    fn sign(&self, _message: &[u8]) -> Result<[u8; 64], HeldKeyError> {
        match *self {}
    }
}

pub(super) fn make_key(_address: &TpmAddress) -> Result<Wrapped, TpmError> {
    Err(TpmError::NotBuilt)
}

pub(super) fn seal(_address: &TpmAddress, _seed: &[u8; 32]) -> Result<Wrapped, TpmError> {
    Err(TpmError::NotBuilt)
}

pub(super) fn unseal(
    _address: &TpmAddress,
    _wrapped: &Wrapped,
    _path: &Path,
) -> Result<Zeroizing<[u8; 32]>, TpmError> {
    Err(TpmError::NotBuilt)
}

pub(super) fn endorsement_certificate(_address: &TpmAddress) -> Result<Option<Vec<u8>>, TpmError> {
    Err(TpmError::NotBuilt)
}

pub(super) fn answer_challenge(
    _address: &TpmAddress,
    _wrapped: &Wrapped,
    _path: &Path,
    _credential: &[u8],
    _secret: &[u8],
) -> Result<Vec<u8>, TpmError> {
    Err(TpmError::NotBuilt)
}
