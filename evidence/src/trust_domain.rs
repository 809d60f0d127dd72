//! The name an installation is known by: in the origin of its log and in every certificate.

use std::fmt;
use std::str::FromStr;

use crate::ids::IdError;

/// Longest trust domain in bytes: a SPIFFE trust domain has at most 255, and a DNS name at most 253.
pub const TRUST_DOMAIN_BYTES_MAX: usize = 253;

/// Longest label of a DNS name in bytes (RFC 1035 section 2.3.4).
const LABEL_BYTES_MAX: usize = 63;

/// A lower-case DNS name, fixed when the log is created: `evidence.example.com`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrustDomain(String);

impl TrustDomain {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_label(label: &str) -> bool {
    (1..=LABEL_BYTES_MAX).contains(&label.len())
        && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

impl FromStr for TrustDomain {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        if text.len() <= TRUST_DOMAIN_BYTES_MAX && text.split('.').all(is_label) {
            return Ok(Self(text.to_owned()));
        }
        Err(IdError::Form {
            what: "trust domain",
            expected: "a lower-case DNS name such as evidence.example.com, without a final dot",
        })
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests;
