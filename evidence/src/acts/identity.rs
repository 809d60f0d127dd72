//! Acts of the roster stream about keys: approval, new keys, revocation, merging and splitting, authorities.

use std::str::FromStr;

use super::roster::{optional, take_key, take_signature};
use crate::enrolment::TlsPublicKey;
use crate::ids::{DeviceId, Digest, IdError, InstanceId, Name, PersonId};
use crate::json::{self, JsonError, Members, Value};
use crate::keys::PublicKey;
use crate::note::VerifierKey;
use crate::time::Timestamp;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident, $what:literal, $expected:literal: $($(#[$vdoc:meta])* $variant:ident = $text:literal),+ $(,)?) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$vdoc])* $variant,)+
        }

        impl $name {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The lower-case word in formats.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::ALL
                    .iter()
                    .copied()
                    .find(|value| value.as_str() == text)
                    .ok_or(IdError::Form { what: $what, expected: $expected })
            }
        }
    };
}

words! {
    /// How a device's keys are held, as the collector established it at enrolment, never as the device claims.
    KeyLevel, "key level", "k0, k1, k2 or k3":
    /// In files.
    K0 = "k0",
    /// Sealed to the machine.
    K1 = "k1",
    /// In hardware.
    K2 = "k2",
    /// In hardware that its maker vouches for.
    K3 = "k3",
}

words! {
    /// What a person allows.
    Allows, "approval", "enrolment or recovery":
    /// One enrolment that waits.
    Enrolment = "enrolment",
    /// One more recovery of an instance.
    Recovery = "recovery",
}

words! {
    /// Why a key is revoked.
    RevokeReason, "reason", "lost, stolen, compromised, cloned, left or other":
    /// The machine is lost.
    Lost = "lost",
    /// The machine was stolen.
    Stolen = "stolen",
    /// The key is known to others.
    Compromised = "compromised",
    /// The key is on two machines.
    Cloned = "cloned",
    /// The person left.
    Left = "left",
    /// Another reason, in the detail.
    Other = "other",
}

words! {
    /// Which key changes.
    KeyOf, "key", "agents, people, servers or log":
    /// The authority that issues to devices.
    Agents = "agents",
    /// The authority that issues to persons.
    People = "people",
    /// The authority that issues to the collector.
    Servers = "servers",
    /// The log's own key.
    Log = "log",
}

words! {
    /// A step of a change of keys.
    KeyStep, "step", "prepare, activate, retire, rollback or rotate":
    /// The new authority is trusted beside the old one.
    Prepare = "prepare",
    /// The new authority issues; the old one is still trusted.
    Activate = "activate",
    /// The old authority is trusted no more.
    Retire = "retire",
    /// The step before is undone.
    Rollback = "rollback",
    /// The log signs with another key from here on.
    Rotate = "rotate",
}

/// First bytes of a request's digest.
const REQUEST_LABEL: &[u8] = b"tallystick/request/v1\0";
/// First bytes of a recovery's digest.
const RECOVERY_LABEL: &[u8] = b"tallystick/recovery/v1\0";
/// First bytes of what stands for a token in the transcript of a new key.
const RE_KEY_LABEL: &[u8] = b"tallystick/re-key/v1\0";
/// First bytes of what both log keys sign when one follows the other.
const LOG_KEY_LABEL: &[u8] = b"tallystick/log-key/v1\0";
/// First bytes of a serial number's digest.
const SERIAL_LABEL: &[u8] = b"tallystick/serial/v1\0";

fn labelled(label: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = label.to_vec();
    for part in parts {
        // Every part is an id, a digest, a serial number or a vkey: far shorter than 2^32.
        bytes.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend_from_slice(part);
    }
    bytes
}

/// What an approval of an enrolment names: this token and these two keys, and no other.
pub fn request_digest(token_hash: &Digest, tls_key: &TlsPublicKey, attestation_key: &PublicKey) -> Digest {
    let parts = [token_hash.as_bytes().as_slice(), tls_key.id().as_bytes(), attestation_key.as_bytes()]
        .map(<[u8]>::to_vec);
    let [token, tls, attestation] = &parts;
    Digest::of(&labelled(REQUEST_LABEL, &[token, tls, attestation]))
}

/// What an approval of a recovery names.
pub fn recovery_digest(instance: &InstanceId) -> Digest {
    Digest::of(&labelled(RECOVERY_LABEL, &[instance.as_bytes()]))
}

/// What stands for the token in the transcript of a new key of this instance's device.
pub fn re_key_digest(previous: &InstanceId) -> Digest {
    Digest::of(&labelled(RE_KEY_LABEL, &[previous.as_bytes()]))
}

/// A serial number under a token: without the token's secret nobody finds it by trying numbers.
pub fn serial_digest(token_secret: &[u8], serial: &str) -> Digest {
    Digest::of(&labelled(SERIAL_LABEL, &[token_secret, serial.as_bytes()]))
}

/// What the old and the new log key sign when the new one takes over.
pub fn log_key_text(origin: &str, new: &VerifierKey) -> Vec<u8> {
    labelled(LOG_KEY_LABEL, &[origin.as_bytes(), new.vkey().as_bytes()])
}

/// Takes an array of no or one value of a kind.
fn take_optional<T>(members: &mut Members, name: &str) -> Result<Option<T>, JsonError>
where
    T: FromStr,
    T::Err: std::fmt::Display,
{
    let mut found = members.parsed_list::<T>(name)?;
    let first = found.pop();
    if found.is_empty() { Ok(first) } else { Err(members.problem(name, "must have no or one item")) }
}

/// A person lets one thing happen that would not without.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    /// What.
    pub allows: Allows,
    /// [`request_digest`] or [`recovery_digest`].
    pub request: Digest,
    /// Not good from this time on.
    pub expires_at: Timestamp,
}

impl Approval {
    pub(super) fn take(members: &mut Members) -> Result<Self, JsonError> {
        Ok(Self {
            allows: members.parsed("allows")?,
            request: members.digest("request")?,
            expires_at: members.time("expires_at")?,
        })
    }

    pub(super) fn members(&self) -> Vec<(&'static str, Value)> {
        vec![
            ("allows", json::text(self.allows.as_str())),
            ("request", json::hex(&self.request)),
            ("expires_at", json::time(self.expires_at)),
        ]
    }
}

/// A device gets a new attestation key, by the proof of its old one. What the old one signs is admitted no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReKey {
    /// The device.
    pub device: DeviceId,
    /// Its new instance.
    pub instance: InstanceId,
    /// The instance whose key signs for the new one.
    pub previous: InstanceId,
    /// How the new keys are held.
    pub key_level: KeyLevel,
    /// The new key.
    pub attestation_key: PublicKey,
    /// As at an enrolment; its token is [`re_key_digest`].
    pub transcript: Vec<u8>,
    /// By the new attestation key, 64 bytes.
    pub sig_ed25519: Vec<u8>,
    /// By the new TLS key, 64 bytes, r ‖ s.
    pub sig_p256: Vec<u8>,
    /// By the old attestation key, 64 bytes.
    pub sig_previous: Vec<u8>,
    /// SHA-256 of the certificate (DER).
    pub certificate: Digest,
}

impl ReKey {
    pub(super) fn take(members: &mut Members) -> Result<Self, JsonError> {
        Ok(Self {
            device: members.parsed("device")?,
            instance: members.parsed("instance")?,
            previous: members.parsed("previous")?,
            key_level: members.parsed("key_level")?,
            attestation_key: take_key(members, "attestation_key")?,
            transcript: members.base64("transcript")?,
            sig_ed25519: take_signature(members, "sig_ed25519")?,
            sig_p256: take_signature(members, "sig_p256")?,
            sig_previous: take_signature(members, "sig_previous")?,
            certificate: members.digest("certificate")?,
        })
    }

    pub(super) fn members(&self) -> Vec<(&'static str, Value)> {
        vec![
            ("device", json::text(self.device.to_string())),
            ("instance", json::text(self.instance.to_string())),
            ("previous", json::text(self.previous.to_string())),
            ("key_level", json::text(self.key_level.as_str())),
            ("attestation_key", json::text(self.attestation_key.hex())),
            ("transcript", json::base64(&self.transcript)),
            ("sig_ed25519", json::base64(&self.sig_ed25519)),
            ("sig_p256", json::base64(&self.sig_p256)),
            ("sig_previous", json::base64(&self.sig_previous)),
            ("certificate", json::hex(&self.certificate)),
        ]
    }
}

/// Whose keys are revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RevokedOf {
    /// A device: its certificates and its attestation keys.
    Device(DeviceId),
    /// A person: certificate and signing key.
    Person(PersonId),
}

/// Keys are good no more from this entry on. What they signed before stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revoke {
    /// Whose.
    pub of: RevokedOf,
    /// Why.
    pub reason: RevokeReason,
    /// SHA-256(random ‖ detail) of more words.
    pub detail: Option<Digest>,
}

impl Revoke {
    pub(super) fn take(members: &mut Members) -> Result<Self, JsonError> {
        let device = take_optional::<DeviceId>(members, "device")?;
        let person = take_optional::<PersonId>(members, "person")?;
        let of = match (device, person) {
            (Some(device), None) => RevokedOf::Device(device),
            (None, Some(person)) => RevokedOf::Person(person),
            _ => return Err(members.problem("person", "there must be one device or one person")),
        };
        Ok(Self { of, reason: members.parsed("reason")?, detail: members.optional_digest("detail")? })
    }

    pub(super) fn members(&self) -> Vec<(&'static str, Value)> {
        let (device, person) = match self.of {
            RevokedOf::Device(device) => (Some(json::text(device.to_string())), None),
            RevokedOf::Person(person) => (None, Some(json::text(person.to_string()))),
        };
        vec![
            ("device", optional(device)),
            ("person", optional(person)),
            ("reason", json::text(self.reason.as_str())),
            ("detail", optional(self.detail.as_ref().map(json::hex))),
        ]
    }
}

/// A device's group changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The device.
    pub device: DeviceId,
    /// Its new group.
    pub group: Name,
    /// Stated time; takes effect no earlier than the entry's receipt.
    pub effective_at: Timestamp,
}

impl Group {
    pub(super) fn take(members: &mut Members) -> Result<Self, JsonError> {
        Ok(Self {
            device: members.parsed("device")?,
            group: members.parsed("group")?,
            effective_at: members.time("effective_at")?,
        })
    }

    pub(super) fn members(&self) -> Vec<(&'static str, Value)> {
        vec![
            ("device", json::text(self.device.to_string())),
            ("group", json::text(self.group.as_str())),
            ("effective_at", json::time(self.effective_at)),
        ]
    }
}

/// What a person says of two devices of the roster: that they are one machine, or two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The one that stays.
    pub device: DeviceId,
    /// The other: after a merge it is out of service.
    pub other: DeviceId,
    /// SHA-256(random ‖ detail) of the reason.
    pub detail: Option<Digest>,
}

impl Pair {
    pub(super) fn take(members: &mut Members) -> Result<Self, JsonError> {
        let pair = Self {
            device: members.parsed("device")?,
            other: members.parsed("other")?,
            detail: members.optional_digest("detail")?,
        };
        if pair.device == pair.other {
            return Err(members.problem("other", "must be another device"));
        }
        Ok(pair)
    }

    pub(super) fn members(&self) -> Vec<(&'static str, Value)> {
        vec![
            ("device", json::text(self.device.to_string())),
            ("other", json::text(self.other.to_string())),
            ("detail", optional(self.detail.as_ref().map(json::hex))),
        ]
    }
}

/// What changes: an issuing authority by its certificate, or the log's key.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "one act at a time is read")]
pub enum NewKey {
    /// SHA-256 of the certificate (DER) the step is about.
    Certificate(Digest),
    /// The log's next key.
    Log {
        /// The key.
        key: VerifierKey,
        /// The old key's signature over [`log_key_text`], 64 bytes.
        endorsement: Vec<u8>,
        /// The new key's signature over the same.
        possession: Vec<u8>,
    },
}

/// A step of a change of authorities or of the log's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyChange {
    /// Which.
    pub of: KeyOf,
    /// The step.
    pub step: KeyStep,
    /// The key or certificate.
    pub key: NewKey,
}

impl KeyChange {
    pub(super) fn take(members: &mut Members) -> Result<Self, JsonError> {
        let of: KeyOf = members.parsed("of")?;
        let step: KeyStep = members.parsed("step")?;
        if (of == KeyOf::Log) != (step == KeyStep::Rotate) {
            return Err(members.problem("step", "must be rotate for the log's key, and for no other"));
        }
        let certificate = members.optional_digest("certificate")?;
        let mut log = members.optional_object("log")?;
        let key = match (certificate, &mut log, of) {
            (Some(certificate), None, KeyOf::Agents | KeyOf::People | KeyOf::Servers) => {
                NewKey::Certificate(certificate)
            }
            (None, Some(log), KeyOf::Log) => {
                let vkey = log.text("vkey")?;
                NewKey::Log {
                    key: VerifierKey::parse(&vkey).map_err(|error| log.problem("vkey", error.to_string()))?,
                    endorsement: take_signature(log, "endorsement")?,
                    possession: take_signature(log, "possession")?,
                }
            }
            _ => return Err(members.problem("log", "a certificate is of an authority, a key of the log")),
        };
        if let Some(log) = log {
            log.finish()?;
        }
        Ok(Self { of, step, key })
    }

    pub(super) fn members(&self) -> Vec<(&'static str, Value)> {
        let (certificate, log) = match &self.key {
            NewKey::Certificate(certificate) => (Some(json::hex(certificate)), None),
            NewKey::Log { key, endorsement, possession } => (
                None,
                Some(json::object([
                    ("vkey", json::text(key.vkey())),
                    ("endorsement", json::base64(endorsement)),
                    ("possession", json::base64(possession)),
                ])),
            ),
        };
        vec![
            ("of", json::text(self.of.as_str())),
            ("step", json::text(self.step.as_str())),
            ("certificate", optional(certificate)),
            ("log", optional(log)),
        ]
    }
}
