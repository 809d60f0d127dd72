//! Where a device's TLS key lies, as far as it was found out here: in a TPM whose maker is trusted, or unknown.
//!
//! What a device says about itself is printed beside, and never written into the log as a fact.

use std::path::{Path, PathBuf};

use certs::residency::{Challenge, ResidencyError, TpmMakers};
use evidence::enrolment::TlsPublicKey;
use evidence::time::Timestamp;

/// Largest file of makers' certificates, in bytes: a hundred of them.
const ROOTS_BYTES_MAX: u64 = 512 * 1024;

/// Why the makers of TPMs could not be read.
#[derive(Debug, thiserror::Error)]
pub enum MakersError {
    /// The system refused.
    #[error("cannot read {path}, the `tpm_roots` of collector.toml")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Not certificates.
    #[error("{path}, the `tpm_roots` of collector.toml, is no PEM file of certificates")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: ResidencyError,
    },
}

/// Reads the file of makers' certificates.
pub fn makers(path: &Path) -> Result<TpmMakers, MakersError> {
    use std::io::Read as _;
    let read = |source| MakersError::Read { path: path.to_owned(), source };
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(read)?;
    file.take(ROOTS_BYTES_MAX).read_to_string(&mut text).map_err(read)?;
    TpmMakers::from_pem(&text).map_err(|source| MakersError::Content { path: path.to_owned(), source })
}

/// The challenge to the TPM of an endorsement certificate, if a trusted maker vouches for it. Without makers nobody is
/// challenged, and a certificate that leads nowhere is as good as none.
pub(super) fn challenge(
    makers: Option<&TpmMakers>,
    certificate: &[u8],
    tls_key: &TlsPublicKey,
    now: Timestamp,
) -> Result<Option<Challenge>, ResidencyError> {
    let Some(makers) = makers.filter(|_| !certificate.is_empty()) else { return Ok(None) };
    match makers.endorsement(certificate, now) {
        Ok(endorsement) => Challenge::new(&endorsement, tls_key).map(Some),
        Err(error) => {
            tracing::warn!(reason = %error, "A device's TPM is of no trusted maker: its keys count as unprotected.");
            Ok(None)
        }
    }
}

/// The key level a device claims, for the log line alone; `none` where it says nothing that is known.
pub(super) fn claimed(said: &str) -> &'static str {
    ["k0", "k1", "k2", "k3"].into_iter().find(|level| said == *level).unwrap_or("none")
}

#[cfg(test)]
mod tests {
    use super::claimed;

    #[test]
    fn a_claim_is_one_of_four_words_or_none() {
        assert_eq!(claimed("k2"), "k2");
        for other in ["", "K2", "k9", "k2 ", "k2\u{1b}[31m"] {
            assert_eq!(claimed(other), "none");
        }
    }
}
