//! Whether a device's TLS key lies in a TPM that its maker vouches for, found out without any C library.
//!
//! A TPM's maker signs a certificate of its endorsement key. A secret is encrypted so that only the TPM with that key opens it,
//! and only while an object of one exact name is loaded in it (TPM 2.0 part 1, section 24, "credential protection"). The name is
//! a hash of the whole public area, which says that the key was made in a TPM, only signs and can never leave it. Here that
//! area is not taken from the device: it is built from the TLS key, so a key with any other attribute has another name, and the
//! TPM does not open the secret.
//!
//! No attestation key stands in between: what such a key would certify is what the name says already.
//! Endorsement keys of P-256 by the TCG's default template (SHA-256, AES-128) are known; RSA ones are not.

use aes::Aes128;
use aes::cipher::{BlockCipherEncrypt as _, KeyInit as _};
use evidence::enrolment::TlsPublicKey;
use evidence::ids::Digest;
use evidence::time::Timestamp;
use ring::agreement::{ECDH_P256, EphemeralPrivateKey, UnparsedPublicKey, agree_ephemeral};
use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage, anchor_from_trusted_cert};
use x509_parser::prelude::{FromDer as _, X509Certificate};
use zeroize::Zeroizing;

use crate::pem;

/// Bytes of the secret in a challenge, and of SHA-256.
const SECRET_BYTES: usize = 32;
/// Bytes of an AES block, and of the key.
const BLOCK_BYTES: usize = 16;
/// tcg-kp-EKCertificate, 2.23.133.8.1, as DER's content: what an endorsement certificate may say it is for.
const FOR_ENDORSEMENT: &[u8] = &[0x67, 0x81, 0x05, 0x08, 0x01];
/// Largest certificate of an endorsement key, in bytes: those of makers have one to two thousand.
pub const ENDORSEMENT_CERTIFICATE_BYTES_MAX: usize = 8 * 1024;

/// A TPMT_PUBLIC up to the point: ECC, named by SHA-256; fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, noDA, sign; no
/// policy; no symmetric part; ECDSA with SHA-256; P-256; no derivation (TPM 2.0 part 2, section 12.2).
const PUBLIC_PREFIX: [u8; 20] = [
    0x00, 0x23, 0x00, 0x0b, 0x00, 0x04, 0x04, 0x72, 0x00, 0x00, 0x00, 0x10, 0x00, 0x18, 0x00, 0x0b, 0x00,
    0x03, 0x00, 0x10,
];
/// TPM_ALG_SHA256, first of a name.
const SHA256: [u8; 2] = [0x00, 0x0b];

/// Why an endorsement certificate proves nothing here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResidencyError {
    /// Cannot be read.
    #[error("the TPM's endorsement certificate cannot be read")]
    Unreadable,
    /// Of nobody who is trusted, ended, or for something else.
    #[error("the TPM's endorsement certificate does not lead to a maker in `tpm_roots` ({0})")]
    Maker(String),
    /// RSA, or another curve.
    #[error("the TPM's endorsement key is not a P-256 key, the one kind that is known")]
    Kind,
    /// A root that is none.
    #[error("a certificate of a TPM maker cannot be used: {0}")]
    Root(String),
    /// No randomness, or a point off the curve.
    #[error("the challenge could not be made")]
    Challenge,
}

/// The makers of TPMs that are trusted.
#[derive(Debug, Clone)]
pub struct TpmMakers {
    roots: Vec<CertificateDer<'static>>,
}

impl TpmMakers {
    /// The certificates in a PEM text: roots, or issuing authorities where a maker has several. Each is believed by itself.
    pub fn from_pem(text: &str) -> Result<Self, ResidencyError> {
        let roots = pem::certificates(text).map_err(|error| ResidencyError::Root(error.to_string()))?;
        let makers = Self { roots };
        makers.anchors().map(drop)?;
        Ok(makers)
    }

    fn anchors(&self) -> Result<Vec<TrustAnchor<'_>>, ResidencyError> {
        let anchors = self.roots.iter().map(anchor_from_trusted_cert).collect::<Result<Vec<_>, _>>();
        anchors.map_err(|error| ResidencyError::Root(error.to_string()))
    }

    /// The endorsement key in `certificate`, if one of these makers vouches for it at `now`.
    pub fn endorsement(&self, certificate: &[u8], now: Timestamp) -> Result<TlsPublicKey, ResidencyError> {
        if certificate.len() > ENDORSEMENT_CERTIFICATE_BYTES_MAX {
            return Err(ResidencyError::Unreadable);
        }
        let der = CertificateDer::from(certificate);
        let end = EndEntityCert::try_from(&der).map_err(|_| ResidencyError::Unreadable)?;
        let time = UnixTime::since_unix_epoch(std::time::Duration::from_millis(now.ms()));
        let usage = KeyUsage::required_if_present(FOR_ENDORSEMENT);
        let anchors = self.anchors()?;
        end.verify_for_usage(ALL_VERIFICATION_ALGS, &anchors, &[], time, usage, None, None)
            .map_err(|error| ResidencyError::Maker(error.to_string()))?;
        let (_, read) = X509Certificate::from_der(certificate).map_err(|_| ResidencyError::Unreadable)?;
        TlsPublicKey::from_spki_der(read.tbs_certificate.subject_pki.raw).map_err(|_| ResidencyError::Kind)
    }
}

/// The public area that a device's TLS key has in its TPM, and no other key.
pub fn public_area(key: &TlsPublicKey) -> Vec<u8> {
    let (x, y) = coordinates(key);
    [&PUBLIC_PREFIX[..], &sized(x), &sized(y)].concat()
}

/// What only one TPM can answer, and only with one key in it.
pub struct Challenge {
    /// TPM2B_ID_OBJECT without its length.
    pub credential: Vec<u8>,
    /// TPM2B_ENCRYPTED_SECRET without its length.
    pub secret: Vec<u8>,
    expected: Digest,
}

impl std::fmt::Debug for Challenge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Challenge")
    }
}

impl Challenge {
    /// A new challenge to the TPM with `endorsement`, that `key` is in it: TPM2_MakeCredential in software.
    pub fn new(endorsement: &TlsPublicKey, key: &TlsPublicKey) -> Result<Self, ResidencyError> {
        let failed = |_: ring::error::Unspecified| ResidencyError::Challenge;
        let random = SystemRandom::new();
        let mut secret = Zeroizing::new([0; SECRET_BYTES]);
        random.fill(secret.as_mut_slice()).map_err(failed)?;
        let ephemeral = EphemeralPrivateKey::generate(&ECDH_P256, &random).map_err(failed)?;
        let public = ephemeral.compute_public_key().map_err(failed)?;
        let public = TlsPublicKey::from_point(public.as_ref()).map_err(|_| ResidencyError::Challenge)?;
        let (x, y) = coordinates(&public);
        let (static_x, _) = coordinates(endorsement);
        let peer = UnparsedPublicKey::new(&ECDH_P256, point(endorsement));
        // KDFe (part 1, section 11.4.10.3): one round gives all bits.
        let seed = agree_ephemeral(ephemeral, &peer, |shared| {
            Digest::of_parts(&[&1_u32.to_be_bytes(), shared, b"IDENTITY\0", x, static_x])
        })
        .map_err(failed)?;
        Ok(Self {
            credential: protected(&seed, secret.as_slice(), &name(key)),
            secret: [sized(x), sized(y)].concat(),
            expected: Digest::of(secret.as_slice()),
        })
    }

    /// Whether `answer` is the secret.
    pub fn is_met_by(&self, answer: &[u8]) -> bool {
        // Of hashes, so that the time taken tells nothing of the secret.
        Digest::of(answer) == self.expected
    }
}

/// The secret, encrypted and bound to a name (part 1, section 24.4): HMAC, then the encrypted secret with its length.
fn protected(seed: &Digest, secret: &[u8], name: &[u8]) -> Vec<u8> {
    let encryption = derived(seed.as_bytes(), b"STORAGE", name, 128);
    let integrity = derived(seed.as_bytes(), b"INTEGRITY", &[], 256);
    let encrypted = cfb(&encryption, &sized(secret));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &integrity), &[&encrypted, name].concat());
    [sized(tag.as_ref()), encrypted].concat()
}

/// KDFa with SHA-256 (part 1, section 11.4.10.2), for at most 256 bits.
fn derived(key: &[u8], label: &[u8], context: &[u8], bits: u32) -> Zeroizing<Vec<u8>> {
    let parts: [&[u8]; 5] = [&1_u32.to_be_bytes(), label, &[0], context, &bits.to_be_bytes()];
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), &parts.concat());
    let bytes = tag.as_ref().iter().copied().take(bits as usize / 8);
    Zeroizing::new(bytes.collect())
}

/// AES-128 in CFB mode from an initial zero block.
fn cfb(key: &[u8], plain: &[u8]) -> Vec<u8> {
    let mut block = aes::Block::default();
    let mut wide = [0; BLOCK_BYTES];
    wide.iter_mut().zip(key).for_each(|(into, from)| *into = *from);
    let cipher = Aes128::new(&wide.into());
    let mut encrypted = Vec::with_capacity(plain.len());
    for chunk in plain.chunks(BLOCK_BYTES) {
        cipher.encrypt_block(&mut block);
        block.iter_mut().zip(chunk).for_each(|(into, from)| *into ^= *from);
        encrypted.extend(block.iter().take(chunk.len()));
    }
    encrypted
}

/// The name of the object with a key's public area.
fn name(key: &TlsPublicKey) -> Vec<u8> {
    [&SHA256[..], Digest::of(&public_area(key)).as_bytes()].concat()
}

/// A TPM2B: two bytes of length, and the bytes. All here are short.
fn sized(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes(), bytes].concat()
}

/// 04 ‖ x ‖ y.
fn point(key: &TlsPublicKey) -> &[u8] {
    key.spki_der().last_chunk::<65>().map_or(&[], |point| point.as_slice())
}

fn coordinates(key: &TlsPublicKey) -> (&[u8], &[u8]) {
    point(key).split_at_checked(1).and_then(|(_, both)| both.split_at_checked(32)).unwrap_or_default()
}

#[cfg(test)]
mod tests;
