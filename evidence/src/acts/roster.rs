//! Acts of the roster stream.

use super::Role;
use crate::ids::{self, DeviceId, Digest, InstanceId, Name, PersonId};
use crate::json::{self, JsonError, Members, Value, object};
use crate::keys::{PublicKey, SIGNATURE_BYTES};
use crate::note::{Checkpoint, VerifierKey};
use crate::time::Timestamp;

/// Takes an Ed25519 key in hex that passes the strict checks.
pub(crate) fn take_key(members: &mut Members, name: &str) -> Result<PublicKey, JsonError> {
    let bytes = members.digest(name)?;
    PublicKey::from_slice(bytes.as_bytes()).map_err(|error| members.problem(name, error.to_string()))
}

/// Takes a signature's 64 bytes.
fn take_signature(members: &mut Members, name: &str) -> Result<Vec<u8>, JsonError> {
    let bytes = members.base64(name)?;
    if bytes.len() == SIGNATURE_BYTES { Ok(bytes) } else { Err(members.problem(name, "must be 64 bytes")) }
}

/// An array of no or one value.
pub(crate) fn optional(value: Option<Value>) -> Value {
    Value::Array(value.into_iter().collect())
}

/// The SHA-256 digests of the three issuing certificates (DER).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuingCas {
    /// Issues to devices.
    pub agents: Digest,
    /// Issues to persons.
    pub people: Digest,
    /// Issues to the collector.
    pub servers: Digest,
}

/// The first entry of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Genesis {
    /// DNS name fixed at init.
    pub trust_domain: String,
    /// Time in this log is simulated.
    pub simulated: bool,
    /// The operator runs without any memory outside this machine.
    pub accept_rollback_blindness: bool,
    /// The log key.
    pub log_key: VerifierKey,
    /// The operations key.
    pub operations_key: PublicKey,
    /// SHA-256 of the root certificate.
    pub root_ca: Digest,
    /// The issuing certificates.
    pub issuing_cas: IssuingCas,
    /// The first admin.
    pub admin: PersonId,
    /// The admin's Ed25519 key.
    pub admin_key: PublicKey,
    /// SHA-256 of the admin's TLS public key (SPKI).
    pub admin_tls_key: Digest,
    /// Last checkpoint of the log this one follows.
    pub predecessor: Option<Checkpoint>,
}

impl Genesis {
    pub(super) fn take(members: &mut Members) -> Result<Self, JsonError> {
        let vkey = members.text("log_vkey")?;
        let log_key =
            VerifierKey::parse(&vkey).map_err(|error| members.problem("log_vkey", error.to_string()))?;
        let mut cas = members.object("issuing_cas")?;
        let issuing_cas = IssuingCas {
            agents: cas.digest("agents")?,
            people: cas.digest("people")?,
            servers: cas.digest("servers")?,
        };
        cas.finish()?;
        let mut admin = members.object("admin")?;
        let person = admin.parsed("person")?;
        let admin_key = take_key(&mut admin, "key")?;
        let admin_tls_key = admin.digest("tls_key")?;
        admin.finish()?;
        Ok(Self {
            trust_domain: members.text("trust_domain")?,
            simulated: members.flag("simulated")?,
            accept_rollback_blindness: members.flag("accept_rollback_blindness")?,
            log_key,
            operations_key: take_key(members, "operations_key")?,
            root_ca: members.digest("root_ca")?,
            issuing_cas,
            admin: person,
            admin_key,
            admin_tls_key,
            predecessor: take_checkpoint(members, "predecessor")?,
        })
    }

    pub(super) fn members(&self) -> Vec<(&'static str, Value)> {
        vec![
            ("trust_domain", json::text(&self.trust_domain)),
            ("simulated", json::count(self.simulated.into())),
            ("accept_rollback_blindness", json::count(self.accept_rollback_blindness.into())),
            ("log_vkey", json::text(self.log_key.vkey())),
            ("operations_key", json::text(self.operations_key.hex())),
            ("root_ca", json::hex(&self.root_ca)),
            (
                "issuing_cas",
                object([
                    ("agents", json::hex(&self.issuing_cas.agents)),
                    ("people", json::hex(&self.issuing_cas.people)),
                    ("servers", json::hex(&self.issuing_cas.servers)),
                ]),
            ),
            (
                "admin",
                object([
                    ("person", json::text(self.admin.to_string())),
                    ("key", json::text(self.admin_key.hex())),
                    ("tls_key", json::hex(&self.admin_tls_key)),
                ]),
            ),
            ("predecessor", optional(self.predecessor.as_ref().map(checkpoint_value))),
        ]
    }
}

/// {origin, size, root}
pub(crate) fn checkpoint_value(checkpoint: &Checkpoint) -> Value {
    object([
        ("origin", json::text(&checkpoint.origin)),
        ("size", json::count(checkpoint.size)),
        ("root", json::hex(&checkpoint.root)),
    ])
}

/// Reads {origin, size, root}.
pub(crate) fn checkpoint_of(mut members: Members) -> Result<Checkpoint, JsonError> {
    let checkpoint = Checkpoint {
        origin: members.text("origin")?,
        size: members.count("size")?,
        root: members.digest("root")?,
    };
    members.finish()?;
    Ok(checkpoint)
}

pub(super) fn take_checkpoint(members: &mut Members, name: &str) -> Result<Option<Checkpoint>, JsonError> {
    members.optional_object(name)?.map(checkpoint_of).transpose()
}

/// A person's key and role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Who: a random id; the name lies in the detail.
    pub person: PersonId,
    /// What they may do.
    pub role: Role,
    /// Their Ed25519 key.
    pub key: PublicKey,
    /// SHA-256 of their TLS public key (SPKI).
    pub tls_key: Digest,
    /// SHA-256(random ‖ detail) of the detail record.
    pub detail: Digest,
}

impl Person {
    pub(super) fn take(members: &mut Members) -> Result<Self, JsonError> {
        Ok(Self {
            person: members.parsed("person")?,
            role: members.parsed("role")?,
            key: take_key(members, "key")?,
            tls_key: members.digest("tls_key")?,
            detail: members.digest("detail")?,
        })
    }

    pub(super) fn members(&self) -> Vec<(&'static str, Value)> {
        vec![
            ("person", json::text(self.person.to_string())),
            ("role", json::text(self.role.as_str())),
            ("key", json::text(self.key.hex())),
            ("tls_key", json::hex(&self.tls_key)),
            ("detail", json::hex(&self.detail)),
        ]
    }
}

/// An enrolment token: good once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// SHA-256 of the secret.
    pub token_hash: Digest,
    /// Class of the device it enrols.
    pub class: ids::Class,
    /// Its group.
    pub group: Name,
    /// Not good from this time on.
    pub expires_at: Timestamp,
}

impl Token {
    pub(super) fn take(members: &mut Members) -> Result<Self, JsonError> {
        if members.count("uses")? != 1 {
            return Err(members.problem("uses", "must be 1"));
        }
        Ok(Self {
            token_hash: members.digest("token_hash")?,
            class: members.parsed("class")?,
            group: members.parsed("group")?,
            expires_at: members.time("expires_at")?,
        })
    }

    pub(super) fn members(&self) -> Vec<(&'static str, Value)> {
        vec![
            ("token_hash", json::hex(&self.token_hash)),
            ("class", json::text(self.class.as_str())),
            ("group", json::text(self.group.as_str())),
            ("expires_at", json::time(self.expires_at)),
            ("uses", json::count(1)),
        ]
    }
}

/// A device enters service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolment {
    /// The device.
    pub device: DeviceId,
    /// Its instance.
    pub instance: InstanceId,
    /// Class from the token.
    pub class: ids::Class,
    /// Group from the token.
    pub group: Name,
    /// The key that signs its statements.
    pub attestation_key: PublicKey,
    /// The token used.
    pub token_hash: Digest,
    /// The transcript both keys signed.
    pub transcript: Vec<u8>,
    /// 64 bytes.
    pub sig_ed25519: Vec<u8>,
    /// 64 bytes, r ‖ s.
    pub sig_p256: Vec<u8>,
    /// SHA-256 of the certificate (DER). There is no `predecessor`: re-enrolment is a later release.
    pub certificate: Digest,
}

impl Enrolment {
    pub(super) fn take(members: &mut Members) -> Result<Self, JsonError> {
        if members.text("key_level")? != "k0" {
            return Err(members.problem("key_level", "must be k0 in this release"));
        }
        if !members.array("predecessor")?.is_empty() {
            return Err(members.problem("predecessor", "must be empty in this release"));
        }
        Ok(Self {
            device: members.parsed("device")?,
            instance: members.parsed("instance")?,
            class: members.parsed("class")?,
            group: members.parsed("group")?,
            attestation_key: take_key(members, "attestation_key")?,
            token_hash: members.digest("token_hash")?,
            transcript: members.base64("transcript")?,
            sig_ed25519: take_signature(members, "sig_ed25519")?,
            sig_p256: take_signature(members, "sig_p256")?,
            certificate: members.digest("certificate")?,
        })
    }

    pub(super) fn members(&self) -> Vec<(&'static str, Value)> {
        vec![
            ("device", json::text(self.device.to_string())),
            ("instance", json::text(self.instance.to_string())),
            ("class", json::text(self.class.as_str())),
            ("group", json::text(self.group.as_str())),
            ("key_level", json::text("k0")),
            ("attestation_key", json::text(self.attestation_key.hex())),
            ("token_hash", json::hex(&self.token_hash)),
            ("transcript", json::base64(&self.transcript)),
            ("sig_ed25519", json::base64(&self.sig_ed25519)),
            ("sig_p256", json::base64(&self.sig_p256)),
            ("certificate", json::hex(&self.certificate)),
            ("predecessor", optional(None)),
        ]
    }
}

/// A device leaves service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retire {
    /// The device.
    pub device: DeviceId,
    /// Stated time; takes effect no earlier than the entry's receipt.
    pub effective_at: Timestamp,
    /// SHA-256(random ‖ detail) of the reason.
    pub detail: Option<Digest>,
}

impl Retire {
    pub(super) fn take(members: &mut Members) -> Result<Self, JsonError> {
        Ok(Self {
            device: members.parsed("device")?,
            effective_at: members.time("effective_at")?,
            detail: members.optional_digest("detail")?,
        })
    }

    pub(super) fn members(&self) -> Vec<(&'static str, Value)> {
        vec![
            ("device", json::text(self.device.to_string())),
            ("effective_at", json::time(self.effective_at)),
            ("detail", optional(self.detail.as_ref().map(json::hex))),
        ]
    }
}

/// A device's class changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Class {
    /// The device.
    pub device: DeviceId,
    /// Its new class.
    pub class: ids::Class,
    /// Stated time; takes effect no earlier than the entry's receipt.
    pub effective_at: Timestamp,
}

impl Class {
    pub(super) fn take(members: &mut Members) -> Result<Self, JsonError> {
        Ok(Self {
            device: members.parsed("device")?,
            class: members.parsed("class")?,
            effective_at: members.time("effective_at")?,
        })
    }

    pub(super) fn members(&self) -> Vec<(&'static str, Value)> {
        vec![
            ("device", json::text(self.device.to_string())),
            ("class", json::text(self.class.as_str())),
            ("effective_at", json::time(self.effective_at)),
        ]
    }
}
