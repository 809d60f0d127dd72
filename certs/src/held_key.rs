//! A P-256 key that signs and is not shown: a device's, whether it lies in a file or in a chip that never gives it out.

use std::fmt;
use std::sync::Arc;

use evidence::enrolment::TlsPublicKey;
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use rustls::sign::{CertifiedKey, Signer, SigningKey, SingleCertAndKey};
use rustls::{SignatureAlgorithm, SignatureScheme};

use crate::tls_key::TlsKey;

/// DER's tag of a sequence.
const SEQUENCE: u8 = 0x30;
/// DER's tag of a whole number.
const INTEGER: u8 = 0x02;
/// Bytes of r and of s.
const SCALAR_BYTES: usize = 32;

/// Why a held key did not sign.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the device's TLS key did not sign: {0}")]
pub struct HeldKeyError(pub String);

/// A secret P-256 key by what can be done with it. It never shows itself, nor prints anything secret.
pub trait HeldKey: fmt::Debug + Send + Sync {
    /// The public half.
    fn public(&self) -> &TlsPublicKey;
    /// ECDSA over SHA-256 of `message`, as r ‖ s (64 bytes). A chip may take some hundred milliseconds.
    fn sign(&self, message: &[u8]) -> Result<[u8; 64], HeldKeyError>;
}

impl HeldKey for TlsKey {
    fn public(&self) -> &TlsPublicKey {
        Self::public(self)
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], HeldKeyError> {
        Self::sign(self, message).map_err(|error| HeldKeyError(error.to_string()))
    }
}

/// A certificate chain whose key is held elsewhere: how a device proves who it is.
#[derive(Debug, Clone)]
pub struct HeldIdentity {
    /// Leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// The leaf's key.
    pub key: Arc<dyn HeldKey>,
}

impl HeldIdentity {
    /// What rustls presents and signs with; refused when the key is not the certificate's.
    pub(crate) fn certified(&self) -> Result<Arc<SingleCertAndKey>, rustls::Error> {
        let certified = CertifiedKey::new(self.chain.clone(), Arc::new(ForTls(Arc::clone(&self.key))));
        certified.keys_match()?;
        Ok(Arc::new(SingleCertAndKey::from(certified)))
    }
}

/// A held key as rustls asks it.
#[derive(Debug, Clone)]
struct ForTls(Arc<dyn HeldKey>);

impl SigningKey for ForTls {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered.contains(&SignatureScheme::ECDSA_NISTP256_SHA256).then(|| Box::new(self.clone()) as _)
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(SubjectPublicKeyInfoDer::from(self.0.public().spki_der().as_slice()))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ECDSA
    }
}

impl Signer for ForTls {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        let fixed = self.0.sign(message).map_err(|error| rustls::Error::General(error.to_string()))?;
        Ok(to_der(&fixed))
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ECDSA_NISTP256_SHA256
    }
}

/// r ‖ s as the sequence of two whole numbers that TLS carries (RFC 3279 section 2.2.3). Each is at most 33 bytes long, so every
/// length is one byte.
fn to_der(fixed: &[u8; 2 * SCALAR_BYTES]) -> Vec<u8> {
    let (r, s) = fixed.split_at(SCALAR_BYTES);
    let body = [whole_number(r), whole_number(s)].concat();
    [&[SEQUENCE, short(&body)], body.as_slice()].concat()
}

fn whole_number(big_endian: &[u8]) -> Vec<u8> {
    let begin = big_endian.iter().position(|byte| *byte != 0).unwrap_or(big_endian.len());
    let (_, digits) = big_endian.split_at(begin);
    // A first bit would be a minus, and zero has one digit.
    let zero: &[u8] = if digits.first().is_none_or(|first| first & 0x80 != 0) { &[0] } else { &[] };
    let value = [zero, digits].concat();
    [&[INTEGER, short(&value)], value.as_slice()].concat()
}

fn short(content: &[u8]) -> u8 {
    u8::try_from(content.len()).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};

    use super::{HeldKey, to_der};
    use crate::tls_key::TlsKey;

    #[test]
    fn a_signature_in_der_holds_elsewhere() {
        let key = TlsKey::generate().expect("a key");
        let point = key.public().spki_der().get(26..).expect("a point");
        // r and s begin with a set bit, or with a zero byte, in some of so many.
        for round in 0..600_u32 {
            let message = round.to_be_bytes();
            let fixed = HeldKey::sign(&key, &message).expect("a signature");
            let der = to_der(&fixed);
            let held = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).verify(&message, &der);
            assert!(held.is_ok(), "{fixed:02x?} {der:02x?}");
        }
    }

    #[test]
    fn numbers_are_as_short_as_der_wants_them() {
        let mut fixed = [0; 64];
        fixed[31] = 1;
        fixed[62] = 0x80;
        assert_eq!(to_der(&fixed), [0x30, 8, 2, 1, 1, 2, 3, 0, 0x80, 0]);
        assert_eq!(to_der(&[0xff; 64]).len(), 2 + 2 * (2 + 33));
    }
}
