//! Acts of the roster stream.

use super::Role;
use super::identity::KeyLevel;
use crate::ids::{self, DeviceId, Digest, EngagementId, InstanceId, Name, PersonId};
use crate::json::{self, JsonError, Members, Value, object};
use crate::keys::{PublicKey, SIGNATURE_BYTES};
use crate::note::{Checkpoint, VerifierKey};
use crate::time::Timestamp;

/// Engagements one auditor is kept to at most.
const ENGAGEMENTS_MAX: usize = 64;
/// Devices one token enrols at most: more than any roll-out of one group.
pub const USES_MAX: u64 = 100_000;
/// Detail records with serial numbers of one token at most: some 20,000 numbers.
pub const SERIAL_RECORDS_MAX: usize = 16;

/// Takes an Ed25519 key in hex that passes the strict checks.
pub(crate) fn take_key(members: &mut Members, name: &str) -> Result<PublicKey, JsonError> {
    let bytes = members.digest(name)?;
    PublicKey::from_slice(bytes.as_bytes()).map_err(|error| members.problem(name, error.to_string()))
}

/// Takes a signature's 64 bytes.
pub(crate) fn take_signature(members: &mut Members, name: &str) -> Result<Vec<u8>, JsonError> {
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
    /// The engagements an auditor is kept to, ascending; none: every one.
    pub engagements: Vec<EngagementId>,
}

impl Person {
    pub(super) fn take(members: &mut Members, version: u64) -> Result<Self, JsonError> {
        let mut person = Self {
            person: members.parsed("person")?,
            role: members.parsed("role")?,
            key: take_key(members, "key")?,
            tls_key: members.digest("tls_key")?,
            detail: members.digest("detail")?,
            engagements: Vec::new(),
        };
        if version >= 2 {
            person.engagements = members.parsed_list("engagements")?;
            let of_auditor =
                person.role == Role::Auditor && (1..=ENGAGEMENTS_MAX).contains(&person.engagements.len());
            if !of_auditor || !person.engagements.is_sorted_by(|a, b| a < b) {
                return Err(
                    members.problem("engagements", "must be 1 to 64 of an auditor, ascending, each once")
                );
            }
        }
        Ok(person)
    }

    /// The version its members need.
    pub(super) fn version(&self) -> u64 {
        if self.engagements.is_empty() { 1 } else { 2 }
    }

    pub(super) fn members(&self) -> Vec<(&'static str, Value)> {
        let mut members = vec![
            ("person", json::text(self.person.to_string())),
            ("role", json::text(self.role.as_str())),
            ("key", json::text(self.key.hex())),
            ("tls_key", json::hex(&self.tls_key)),
            ("detail", json::hex(&self.detail)),
        ];
        if self.version() >= 2 {
            let engagements = self.engagements.iter().map(|id| json::text(id.to_string())).collect();
            members.push(("engagements", Value::Array(engagements)));
        }
        members
    }
}

/// An enrolment token: good once, or as often as a roll-out needs.
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
    /// How many devices it enrols.
    pub uses: u64,
    /// Every enrolment by it waits for a person's approval.
    pub approve: bool,
    /// SHA-256(random ‖ detail) of the detail records before this entry that list serial numbers, in their order. A device
    /// whose serial number is listed enrols once; any other waits for approval. None: serial numbers do not matter.
    pub serials: Vec<Digest>,
}

impl Token {
    pub(super) fn take(members: &mut Members, version: u64) -> Result<Self, JsonError> {
        let token = Self {
            token_hash: members.digest("token_hash")?,
            class: members.parsed("class")?,
            group: members.parsed("group")?,
            expires_at: members.time("expires_at")?,
            uses: members.count("uses")?,
            approve: if version >= 2 { members.flag("approve")? } else { false },
            serials: if version >= 2 { members.digests("serials")? } else { Vec::new() },
        };
        if !(1..=USES_MAX).contains(&token.uses) || (version == 1 && token.uses != 1) {
            return Err(members.problem("uses", "must be 1, or up to 100,000 in version 2"));
        }
        if token.serials.len() > SERIAL_RECORDS_MAX {
            return Err(members.problem("serials", "must be at most 16 detail records"));
        }
        Ok(token)
    }

    /// The version its members need.
    pub(super) fn version(&self) -> u64 {
        if self.uses == 1 && !self.approve && self.serials.is_empty() { 1 } else { 2 }
    }

    pub(super) fn members(&self) -> Vec<(&'static str, Value)> {
        let mut members = vec![
            ("token_hash", json::hex(&self.token_hash)),
            ("class", json::text(self.class.as_str())),
            ("group", json::text(self.group.as_str())),
            ("expires_at", json::time(self.expires_at)),
            ("uses", json::count(self.uses)),
        ];
        if self.version() >= 2 {
            members.push(("approve", json::count(self.approve.into())));
            members.push(("serials", Value::Array(self.serials.iter().map(json::hex).collect())));
        }
        members
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
    /// SHA-256 of the certificate (DER). There is no `predecessor`: nothing is carried over from another log.
    pub certificate: Digest,
    /// How its keys are held, as the collector could establish.
    pub key_level: KeyLevel,
    /// [`super::serial_digest`] of the listed serial number that let it in.
    pub serial: Option<Digest>,
}

impl Enrolment {
    pub(super) fn take(members: &mut Members, version: u64) -> Result<Self, JsonError> {
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
            key_level: members.parsed("key_level")?,
            serial: if version >= 2 { Some(members.digest("serial")?) } else { None },
        })
    }

    /// The version its members need.
    pub(super) fn version(&self) -> u64 {
        if self.serial.is_none() { 1 } else { 2 }
    }

    pub(super) fn members(&self) -> Vec<(&'static str, Value)> {
        let mut members = vec![
            ("device", json::text(self.device.to_string())),
            ("instance", json::text(self.instance.to_string())),
            ("class", json::text(self.class.as_str())),
            ("group", json::text(self.group.as_str())),
            ("key_level", json::text(self.key_level.as_str())),
            ("attestation_key", json::text(self.attestation_key.hex())),
            ("token_hash", json::hex(&self.token_hash)),
            ("transcript", json::base64(&self.transcript)),
            ("sig_ed25519", json::base64(&self.sig_ed25519)),
            ("sig_p256", json::base64(&self.sig_p256)),
            ("certificate", json::hex(&self.certificate)),
            ("predecessor", optional(None)),
        ];
        if let Some(serial) = &self.serial {
            members.push(("serial", json::hex(serial)));
        }
        members
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
