//! The connection profile of a person: where the collector listens for people, and what it is recognised by.
//! docs/FORMAT.md section 14.
//!
//! Written by the collector when a person is admitted. It holds no secret; whoever changes it can only send the
//! person to a server of other certificates, so it is handed over like a certificate.

use evidence::acts::Role;
use evidence::ids::PersonId;
use evidence::json::{self, JsonError, Members, Value};
use evidence::note::VerifierKey;
use evidence::time::Timestamp;
use evidence::trust_domain::TrustDomain;
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{ASN1Time, FromDer as _, X509Certificate};

use crate::tls::Identity;
use crate::tls_key::TlsKey;

/// Largest profile worth reading, in bytes: three certificates and a few keys have less than 4 KiB.
pub const PROFILE_BYTES_MAX: usize = 65_536;

const FORMAT: &str = "tallystick/profile/v1";

/// What a person needs beside the key file to talk to a collector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Host and port of the people listener, as in `collector.example.com:7444`.
    pub server: String,
    /// The installation.
    pub trust_domain: TrustDomain,
    /// Its log.
    pub origin: String,
    /// The person.
    pub person: PersonId,
    /// What the person may do.
    pub role: Role,
    /// The person's certificate.
    pub certificate: CertificateDer<'static>,
    /// The authority that issued it.
    pub issuing: CertificateDer<'static>,
    /// The root that the server's chain must end in.
    pub root: CertificateDer<'static>,
    /// Keys that sign the log's checkpoints; each is named after the origin.
    pub log_keys: Vec<VerifierKey>,
}

impl Profile {
    /// Reads a profile: canonical JSON, with or without one final newline.
    pub fn parse(bytes: &[u8]) -> Result<Self, JsonError> {
        if bytes.len() > PROFILE_BYTES_MAX {
            return Err(JsonError::Syntax(format!("a profile has at most {PROFILE_BYTES_MAX} bytes")));
        }
        let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let mut members = Members::of(Value::parse(bytes)?, "")?;
        if members.text("format")? != FORMAT {
            return Err(members.problem("format", format!("must be {FORMAT:?}")));
        }
        let chain = members.parsed_list::<String>("chain")?;
        let [certificate, issuing, root] = chain.as_slice() else {
            return Err(
                members.problem("chain", "must hold three certificates: person, issuing authority, root")
            );
        };
        let der = |text: &str| {
            json::decode_base64(text)
                .filter(|der| !der.is_empty())
                .map(CertificateDer::from)
                .ok_or_else(|| members.problem("chain", "must hold base64 of DER"))
        };
        let (certificate, issuing, root) = (der(certificate)?, der(issuing)?, der(root)?);
        let vkeys = members.parsed_list::<String>("log_vkeys")?;
        let profile = Self {
            server: members.text("server")?,
            trust_domain: members.parsed("trust_domain")?,
            origin: members.text("origin")?,
            person: members.parsed("person")?,
            role: members.parsed("role")?,
            certificate,
            issuing,
            root,
            log_keys: vkeys
                .iter()
                .map(|vkey| {
                    VerifierKey::parse(vkey).map_err(|error| members.problem("log_vkeys", error.to_string()))
                })
                .collect::<Result<Vec<_>, _>>()?,
        };
        if profile.log_keys.is_empty() || profile.log_keys.iter().any(|key| key.name() != profile.origin) {
            return Err(
                members.problem("log_vkeys", "must hold at least one key, all named after the origin")
            );
        }
        members.finish()?;
        Ok(profile)
    }

    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        let chain = [&self.certificate, &self.issuing, &self.root];
        let chain = chain.into_iter().map(|der| json::base64(der)).collect();
        let vkeys = self.log_keys.iter().map(|key| json::text(key.vkey())).collect();
        json::object([
            ("format", json::text(FORMAT)),
            ("server", json::text(&self.server)),
            ("trust_domain", json::text(self.trust_domain.as_str())),
            ("origin", json::text(&self.origin)),
            ("person", json::text(self.person.to_string())),
            ("role", json::text(self.role.as_str())),
            ("chain", Value::Array(chain)),
            ("log_vkeys", Value::Array(vkeys)),
        ])
        .to_bytes()
    }

    /// From when to when the person's certificate holds; none if it cannot be read.
    pub fn holds(&self) -> Option<(Timestamp, Timestamp)> {
        let (_, certificate) = X509Certificate::from_der(&self.certificate).ok()?;
        let time = |time: ASN1Time| {
            let seconds = u64::try_from(time.timestamp()).ok()?;
            Some(Timestamp(seconds.saturating_mul(1000)))
        };
        let validity = certificate.validity();
        Some((time(validity.not_before)?, time(validity.not_after)?))
    }

    /// How this person proves who they are, with the TLS key of their key file.
    pub fn identity(&self, key: TlsKey) -> Identity {
        Identity { chain: vec![self.certificate.clone(), self.issuing.clone()], key }
    }
}

#[cfg(test)]
mod tests;
