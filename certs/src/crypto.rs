//! The one choice of the TLS provider.

use std::sync::Arc;

use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use rustls::crypto::CryptoProvider;

/// ring's algorithms, for every TLS configuration of the workspace.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Whether `signature` (DER) over `message` holds under the P-256 point `key` (65 bytes, uncompressed).
pub(crate) fn ecdsa_holds(key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, key).verify(message, signature).is_ok()
}
