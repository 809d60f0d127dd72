//! PEM texts (RFC 7468) of certificates, revocation lists and keys.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

/// Label of a certificate.
pub const CERTIFICATE: &str = "CERTIFICATE";
/// Label of a revocation list.
pub const REVOCATION_LIST: &str = "X509 CRL";
/// Label of a PKCS#8 key.
pub const PRIVATE_KEY: &str = "PRIVATE KEY";

/// Characters of base64 in one line (RFC 7468 section 2).
const LINE_CHARACTERS: usize = 64;

/// Why a PEM text was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no {expected} found in the PEM text, or a block in it is damaged ({detail})")]
pub struct PemError {
    /// What was looked for.
    pub expected: &'static str,
    /// What the reader said.
    pub detail: String,
}

/// `der` as one PEM block under `label`.
pub fn encode(label: &str, der: &[u8]) -> String {
    let text = Zeroizing::new(STANDARD.encode(der));
    let mut out = String::with_capacity(text.len() + text.len() / LINE_CHARACTERS + 80);
    out.push_str("-----BEGIN ");
    out.push_str(label);
    out.push_str("-----\n");
    for (index, character) in text.chars().enumerate() {
        if index > 0 && index % LINE_CHARACTERS == 0 {
            out.push('\n');
        }
        out.push(character);
    }
    out.push_str("\n-----END ");
    out.push_str(label);
    out.push_str("-----\n");
    out
}

/// Every certificate of `text` in its order, at least one.
pub fn certificates(text: &str) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let error = |detail: String| PemError { expected: "certificate", detail };
    let found = CertificateDer::pem_slice_iter(text.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| error(e.to_string()))?;
    if found.is_empty() { Err(error("none".to_owned())) } else { Ok(found) }
}

/// The first certificate of `text`.
pub fn certificate(text: &str) -> Result<CertificateDer<'static>, PemError> {
    CertificateDer::from_pem_slice(text.as_bytes())
        .map_err(|e| PemError { expected: "certificate", detail: e.to_string() })
}

/// The first revocation list of `text`.
pub fn revocation_list(text: &str) -> Result<CertificateRevocationListDer<'static>, PemError> {
    CertificateRevocationListDer::from_pem_slice(text.as_bytes())
        .map_err(|e| PemError { expected: "revocation list", detail: e.to_string() })
}

/// The first secret key of `text`, of whatever kind and form (PKCS#8, SEC 1, PKCS#1).
pub fn any_private_key(text: &str) -> Result<PrivateKeyDer<'static>, PemError> {
    PrivateKeyDer::from_pem_slice(text.as_bytes())
        .map_err(|e| PemError { expected: "private key", detail: e.to_string() })
}

/// The first PKCS#8 key of `text`.
pub(crate) fn private_key(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let key = PrivatePkcs8KeyDer::from_pem_slice(text.as_bytes()).ok()?;
    Some(Zeroizing::new(key.secret_pkcs8_der().to_vec()))
}

#[cfg(test)]
mod tests;
