//! Who this device is: given by the collector at enrolment, kept for as long as the instance lives.

use std::path::Path;

use certs::{CertificateLife, Population};
use evidence::ids::{DeviceId, Digest, InstanceId};
use evidence::json::{decode_base64, encode_base64};
use evidence::keys::SecretKey;
use evidence::note::{Checkpoint, VerifierKey};
use evidence::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::anchor::{Anchor, AnchorFile, PinnedLog};
use crate::custody::{self, ATTESTATION_KEY_FILE, TLS_KEY_FILE};
use crate::renewal;
use crate::spool::Owner;
use crate::state::{StateDirectory, StateError};

/// The file of the identity.
pub const IDENTITY_FILE: &str = "identity.json";
/// The file of the anchor.
pub const ANCHOR_FILE: &str = "anchor";
/// What is said of a key that is not there.
const LOST: &str = "it is missing: run `tallystick-agent enroll --anew` with a new token";

/// The identity as it lies on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredIdentity {
    /// `d-…`.
    pub device: String,
    /// `i-…`.
    pub instance: String,
    /// The installation's trust domain.
    pub trust_domain: String,
    /// Origin of its log.
    pub origin: String,
    /// Keys of its log.
    pub log_vkeys: Vec<String>,
    /// C2SP tlog-policy text.
    pub witness_policy: String,
    /// Where the device enrolled, `host:port`.
    pub enrol_address: String,
    /// Where statements go, `host:port`.
    pub agents_address: String,
    /// Index of the enrolment in the log.
    pub enrolment_index: u64,
    /// Public half of the attestation key, hex.
    pub attestation_key: String,
    /// Base64 of the device's TLS certificate.
    pub certificate: String,
    /// Base64 of the issuing and the root certificate.
    pub chain: Vec<String>,
    /// The newest checkpoint at enrolment.
    pub checkpoint: String,
}

/// The identity, parsed.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The device.
    pub device: DeviceId,
    /// The instance and its key.
    pub owner: Owner,
    /// The log.
    pub log: PinnedLog,
    /// The certificates, leaf first, root last.
    pub chain: Vec<rustls::pki_types::CertificateDer<'static>>,
    /// As it lies on disk.
    pub stored: StoredIdentity,
}

fn damaged(path: &Path, problem: impl Into<String>) -> StateError {
    StateError::Damaged { path: path.display().to_string(), problem: problem.into() }
}

impl Identity {
    /// Reads the identity. Needs no secrets.
    pub fn read(state: &StateDirectory) -> Result<Self, StateError> {
        let path = state.file(IDENTITY_FILE);
        let stored: StoredIdentity = state
            .read_json(IDENTITY_FILE)?
            .ok_or_else(|| StateError::NotEnrolled { path: path.display().to_string() })?;
        Self::parse(stored).map_err(|problem| damaged(&path, problem))
    }

    /// Checks every field.
    pub fn parse(stored: StoredIdentity) -> Result<Self, String> {
        let device = stored.device.parse().map_err(|error| format!("device: {error}"))?;
        let instance: InstanceId = stored.instance.parse().map_err(|error| format!("instance: {error}"))?;
        let key =
            Digest::from_hex(&stored.attestation_key).map_err(|error| format!("attestation_key: {error}"))?;
        let key = evidence::keys::PublicKey::from_slice(key.as_bytes())
            .map_err(|error| format!("attestation_key: {error}"))?;
        let keys: Result<Vec<_>, _> = stored.log_vkeys.iter().map(|text| VerifierKey::parse(text)).collect();
        let keys = keys.map_err(|error| format!("log_vkeys: {error}"))?;
        if keys.is_empty() || keys.iter().any(|key| key.name() != stored.origin) {
            return Err("log_vkeys: at least one key, and each under the name of the origin".into());
        }
        if !stored.origin.strip_prefix(&stored.trust_domain).is_some_and(|rest| rest.starts_with("/log/")) {
            return Err("origin: does not belong to the trust domain".into());
        }
        let chain: Option<Vec<_>> = std::iter::once(&stored.certificate)
            .chain(&stored.chain)
            .map(|text| decode_base64(text).map(Into::into))
            .collect();
        let chain = chain.ok_or("certificate, chain: not base64")?;
        if chain.len() < 2 {
            return Err("chain: the root certificate is missing".into());
        }
        let log = PinnedLog { origin: stored.origin.clone(), keys };
        Ok(Self { device, owner: Owner { instance, key }, log, chain, stored })
    }

    /// The attestation key, which must be the one that was enrolled.
    pub fn attestation_key(&self, state: &StateDirectory) -> Result<SecretKey, StateError> {
        let path = state.keys().join(ATTESTATION_KEY_FILE);
        let key = custody::attestation_key(state)?.ok_or_else(|| damaged(&path, LOST))?;
        if *key.public() == self.owner.key {
            Ok(key)
        } else {
            Err(damaged(&path, "it is not the key that was enrolled"))
        }
    }

    /// How this device proves itself to the collector.
    pub fn tls(&self, state: &StateDirectory) -> Result<certs::HeldIdentity, StateError> {
        let path = state.keys().join(TLS_KEY_FILE);
        let kept = custody::tls_key(state)?;
        let other = |life: &CertificateLife| kept.as_ref().is_none_or(|key| key.public().id() != life.key);
        // Between the steps of a renewal the certificate's key is not in its place yet.
        let next = match self.life().filter(other) {
            Some(life) => renewal::next_key_of(state, &life)?,
            None => None,
        };
        let key = next.or(kept).ok_or_else(|| damaged(&path, LOST))?;
        // The peer knows the root; sending it would only be bytes.
        let sent = self.chain.len().saturating_sub(1);
        Ok(certs::HeldIdentity { chain: self.chain.iter().take(sent).cloned().collect(), key })
    }

    /// The life of this device's certificate; none when it cannot be read.
    pub fn life(&self) -> Option<CertificateLife> {
        CertificateLife::read(self.chain.first()?)
    }

    /// When this device's certificate ends; none when it cannot be read.
    pub fn certificate_ends(&self) -> Option<Timestamp> {
        let domain = self.stored.trust_domain.parse().ok()?;
        let certificate = certs::PeerCertificate::read(self.chain.first()?, &domain, Population::Agents);
        Some(certificate.ok()?.not_after)
    }

    /// The installation's root certificate.
    pub fn root(&self) -> Option<&rustls::pki_types::CertificateDer<'static>> {
        self.chain.last()
    }

    /// The newest checkpoint verified here. `kept` is the newest anchor of a kept statement: an anchor file that is
    /// damaged or older than that is not used. `proved` looks for one in the history, when there is no good file: the
    /// log admits no statement with an older anchor than the one before it.
    pub fn anchor(
        &self,
        file: &mut AnchorFile,
        kept: Option<Checkpoint>,
        proved: impl FnOnce() -> Option<Checkpoint>,
    ) -> Result<Anchor, StateError> {
        let mut best = match Anchor::from_note(self.log.clone(), &self.stored.checkpoint) {
            Ok(anchor) => anchor,
            Err(error) => return Err(damaged(Path::new(IDENTITY_FILE), format!("checkpoint: {error}"))),
        };
        let proved = match file.read(&self.log) {
            Ok(Some(Ok(anchor))) => {
                if anchor.size() >= best.size() {
                    best = anchor;
                }
                None
            }
            Ok(None) => proved(),
            Ok(Some(Err(error))) => {
                tracing::error!(%error, "The kept anchor is damaged and is not used.");
                proved()
            }
            Err(error) => {
                tracing::error!(%error, "The kept anchor cannot be read and is not used.");
                proved()
            }
        };
        let stated = [kept, proved].into_iter().flatten().filter(|stated| stated.origin == self.log.origin);
        match stated.max_by_key(|stated| stated.size) {
            Some(stated) if stated.size > best.size() => {
                tracing::error!(
                    size = stated.size,
                    "A statement names a newer anchor than the one that was kept."
                );
                Ok(Anchor::from_own_statement(self.log.clone(), stated))
            }
            _ => Ok(best),
        }
    }
}

/// Base64 as the identity keeps certificates.
pub fn base64_of(der: &[u8]) -> String {
    encode_base64(der)
}
