//! Acts: the signed JSON of streams 1 to 4, member by member. docs/FORMAT.md sections 4 and 8.

use std::str::FromStr;

use crate::dsse::{ActEnvelope, DsseError};
use crate::ids::{DeviceId, Digest, IdError};
use crate::json::{self, JsonError, Members, Value};
use crate::keys::SecretKey;
use crate::leaf::Kind;
use crate::plan::Plan;
use crate::policy::Policy;
use crate::time::Timestamp;

mod audit;
mod identity;
mod operations;
mod roster;
mod running;

pub(crate) use roster::{checkpoint_of, checkpoint_value, take_key};

pub use audit::{
    Commitment, DrawAct, DrawnControl, Export, Freeze, FrozenPopulation, Head, Heads, Reveal, TreeHead,
};
pub use identity::{
    Allows, Approval, Group, KeyChange, KeyLevel, KeyOf, KeyStep, NewKey, Pair, ReKey, Revoke, RevokeReason,
    RevokedOf, log_key_text, re_key_digest, recovery_digest, request_digest, serial_digest,
};
pub use operations::{Hold, SCOPES_MAX, Tombstone};
pub use roster::{
    Class, Enrolment, Genesis, IssuingCas, Person, Retire, SERIAL_RECORDS_MAX, Token, USES_MAX,
};
pub use running::{
    AccessSummary, Configuration, INTERVAL_MINUTES_MAX, INTERVAL_MINUTES_MIN, LOG_LEVELS, Renewal,
    renewal_digest,
};

/// The newest version of an act: of person, token and enrolment, where they say what version 1 cannot.
const ACT_VERSION_MAX: u64 = 2;

/// What a person may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Admits persons and tokens, and all an analyst may.
    Admin,
    /// Policies, plans, classes, retirements; reads everything.
    Analyst,
    /// Reads what belongs to an audit. Acts as nobody else.
    Auditor,
}

impl Role {
    /// The lower-case name in formats and certificates.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Analyst => "analyst",
            Self::Auditor => "auditor",
        }
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        [Self::Admin, Self::Analyst, Self::Auditor]
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or(IdError::Form { what: "role", expected: "admin, analyst or auditor" })
    }
}

/// 16 random bytes in hex that no other act of the log carries.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ActId(String);

impl ActId {
    /// The id of 16 random bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(data_encoding::HEXLOWER.encode(&bytes))
    }

    /// 32 hex digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ActId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        match data_encoding::HEXLOWER.decode(text.as_bytes()) {
            Ok(bytes) if bytes.len() == 16 => Ok(Self(text.to_owned())),
            _ => Err(IdError::Form { what: "act id", expected: "32 lower-case hex digits" }),
        }
    }
}

/// Why an act was refused before anybody asked who may do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ActError {
    /// The envelope.
    #[error(transparent)]
    Envelope(#[from] DsseError),
    /// The payload's JSON.
    #[error("the act's payload: {0}")]
    Json(#[from] JsonError),
    /// An act this release does not know.
    #[error("act {0:?} is not part of this release")]
    Unknown(String),
    /// The act's name and the entry's kind differ.
    #[error("act {act:?} was filed as kind {kind}")]
    Kind {
        /// Name in the payload.
        act: String,
        /// Kind of the entry.
        kind: Kind,
    },
    /// The signer member differs from the envelope's key id.
    #[error("signer {signer} is not the envelope's keyid {keyid}")]
    Signer {
        /// Member of the payload.
        signer: Digest,
        /// Member of the envelope.
        keyid: Digest,
    },
}

/// What every act begins from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Common {
    /// Origin of the log it is for.
    pub origin: String,
    /// Never repeated.
    pub id: ActId,
    /// Time on the signer's machine: a claim.
    pub made_at: Timestamp,
    /// Key id of the signer.
    pub signer: Digest,
}

/// An act whose form is sound; who signed it is checked elsewhere.
#[derive(Debug, Clone, PartialEq)]
pub struct Act {
    /// The common members.
    pub common: Common,
    /// The rest.
    pub body: Body,
}

/// The acts of this release.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "acts are few and short-lived; boxing every use costs more")]
pub enum Body {
    /// 1.1
    Genesis(Genesis),
    /// 1.2
    Person(Person),
    /// 1.3
    Token(Token),
    /// 1.4
    Enrolment(Box<Enrolment>),
    /// 1.5
    ReKey(Box<ReKey>),
    /// 1.6
    Retire(Retire),
    /// 1.7
    Revoke(Revoke),
    /// 1.8
    Class(Class),
    /// 1.9
    Group(Group),
    /// 1.10
    Merge(Pair),
    /// 1.11
    Split(Pair),
    /// 1.12
    KeyChange(Box<KeyChange>),
    /// 1.13
    Approval(Approval),
    /// 2.1
    Policy(Policy),
    /// 3.1
    Plan(Box<Plan>),
    /// 3.2
    Commitment(Commitment),
    /// 3.3
    Freeze(Freeze),
    /// 3.4
    Reveal(Reveal),
    /// 3.5
    Draw(DrawAct),
    /// 3.7
    Export(Export),
    /// 4.1
    Renewal(Box<Renewal>),
    /// 4.2
    AccessSummary(AccessSummary),
    /// 4.4
    Tombstone(Tombstone),
    /// 4.5
    Configuration(Configuration),
    /// 4.7
    Hold(Hold),
}

impl Body {
    /// The entry's kind.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Genesis(_) => Kind::GENESIS,
            Self::Person(_) => Kind::PERSON,
            Self::Token(_) => Kind::TOKEN,
            Self::Enrolment(_) => Kind::ENROLMENT,
            Self::ReKey(_) => Kind::RE_KEY,
            Self::Retire(_) => Kind::RETIRE,
            Self::Revoke(_) => Kind::REVOKE,
            Self::Class(_) => Kind::CLASS,
            Self::Group(_) => Kind::GROUP,
            Self::Merge(_) => Kind::MERGE,
            Self::Split(_) => Kind::SPLIT,
            Self::KeyChange(_) => Kind::KEY_CHANGE,
            Self::Approval(_) => Kind::APPROVAL,
            Self::Policy(_) => Kind::POLICY,
            Self::Plan(_) => Kind::PLAN,
            Self::Commitment(_) => Kind::COMMITMENT,
            Self::Freeze(_) => Kind::FREEZE,
            Self::Reveal(_) => Kind::REVEAL,
            Self::Draw(_) => Kind::DRAW,
            Self::Export(_) => Kind::EXPORT,
            Self::Renewal(_) => Kind::RENEWAL,
            Self::AccessSummary(_) => Kind::ACCESS_SUMMARY,
            Self::Tombstone(_) => Kind::TOMBSTONE,
            Self::Configuration(_) => Kind::CONFIGURATION,
            Self::Hold(_) => Kind::HOLD,
        }
    }

    /// The device an act is about, if it is about one.
    pub fn device(&self) -> Option<DeviceId> {
        match self {
            Self::Enrolment(act) => Some(act.device),
            Self::ReKey(act) => Some(act.device),
            Self::Retire(act) => Some(act.device),
            Self::Revoke(Revoke { of: RevokedOf::Device(device), .. }) => Some(*device),
            Self::Class(act) => Some(act.device),
            Self::Group(act) => Some(act.device),
            Self::Merge(act) | Self::Split(act) => Some(act.device),
            Self::Renewal(act) => Some(act.device),
            _ => None,
        }
    }

    /// The version its members need: the lowest that can say them.
    fn version(&self) -> u64 {
        match self {
            Self::Person(act) => act.version(),
            Self::Token(act) => act.version(),
            Self::Enrolment(act) => act.version(),
            _ => 1,
        }
    }

    fn take(act: &str, version: u64, members: &mut Members) -> Result<Self, ActError> {
        Ok(match act {
            "genesis" => Self::Genesis(Genesis::take(members)?),
            "person" => Self::Person(Person::take(members, version)?),
            "token" => Self::Token(Token::take(members, version)?),
            "enrolment" => Self::Enrolment(Box::new(Enrolment::take(members, version)?)),
            "re-key" => Self::ReKey(Box::new(ReKey::take(members)?)),
            "retire" => Self::Retire(Retire::take(members)?),
            "revoke" => Self::Revoke(Revoke::take(members)?),
            "class" => Self::Class(Class::take(members)?),
            "group" => Self::Group(Group::take(members)?),
            "merge" => Self::Merge(Pair::take(members)?),
            "split" => Self::Split(Pair::take(members)?),
            "key-change" => Self::KeyChange(Box::new(KeyChange::take(members)?)),
            "approval" => Self::Approval(Approval::take(members)?),
            "policy" => Self::Policy(Policy::take(members)?),
            "plan" => Self::Plan(Box::new(Plan::take(members)?)),
            "commitment" => Self::Commitment(Commitment::take(members)?),
            "freeze" => Self::Freeze(Freeze::take(members)?),
            "reveal" => Self::Reveal(Reveal::take(members)?),
            "draw" => Self::Draw(DrawAct::take(members)?),
            "export" => Self::Export(Export::take(members)?),
            "renewal" => Self::Renewal(Box::new(Renewal::take(members)?)),
            "access-summary" => Self::AccessSummary(AccessSummary::take(members)?),
            "configuration" => Self::Configuration(Configuration::take(members)?),
            "tombstone" => Self::Tombstone(Tombstone::take(members)?),
            "hold" => Self::Hold(Hold::take(members)?),
            other => return Err(ActError::Unknown(other.to_owned())),
        })
    }

    fn members(&self) -> Vec<(&'static str, Value)> {
        match self {
            Self::Genesis(act) => act.members(),
            Self::Person(act) => act.members(),
            Self::Token(act) => act.members(),
            Self::Enrolment(act) => act.members(),
            Self::ReKey(act) => act.members(),
            Self::Retire(act) => act.members(),
            Self::Revoke(act) => act.members(),
            Self::Class(act) => act.members(),
            Self::Group(act) => act.members(),
            Self::Merge(act) | Self::Split(act) => act.members(),
            Self::KeyChange(act) => act.members(),
            Self::Approval(act) => act.members(),
            Self::Policy(act) => act.members(),
            Self::Plan(act) => act.members(),
            Self::Commitment(act) => act.members(),
            Self::Freeze(act) => act.members(),
            Self::Reveal(act) => act.members(),
            Self::Draw(act) => act.members(),
            Self::Export(act) => act.members(),
            Self::Renewal(act) => act.members(),
            Self::AccessSummary(act) => act.members(),
            Self::Tombstone(act) => act.members(),
            Self::Configuration(act) => act.members(),
            Self::Hold(act) => act.members(),
        }
    }
}

impl Act {
    /// Reads a payload.
    pub fn parse(payload: &[u8]) -> Result<Self, ActError> {
        let mut members = Members::of(Value::parse(payload)?, "")?;
        let act = members.text("act")?;
        let version = members.count("version")?;
        if version == 0 || version > ACT_VERSION_MAX {
            return Err(members
                .problem("version", format!("is {version}, this release knows 1 and 2"))
                .into());
        }
        let common = Common {
            origin: members.text("origin")?,
            id: members.parsed("id")?,
            made_at: members.time("made_at")?,
            signer: members.digest("signer")?,
        };
        let body = Body::take(&act, version, &mut members)?;
        if version != body.version() {
            let problem = format!("is {version}, what it says is version {}", body.version());
            return Err(members.problem("version", problem).into());
        }
        members.finish()?;
        Ok(Self { common, body })
    }

    /// The canonical payload.
    pub fn encode(&self) -> Vec<u8> {
        let mut members: Vec<(&str, Value)> = vec![
            ("act", json::text(self.body.kind().name().unwrap_or_default())),
            ("version", json::count(self.body.version())),
            ("origin", json::text(&self.common.origin)),
            ("id", json::text(self.common.id.as_str())),
            ("made_at", json::time(self.common.made_at)),
            ("signer", json::hex(&self.common.signer)),
        ];
        members.extend(self.body.members());
        Value::Object(members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()).to_bytes()
    }

    /// Builds and signs an act.
    pub fn sign(body: Body, origin: &str, id: ActId, made_at: Timestamp, key: &SecretKey) -> ActEnvelope {
        let common = Common { origin: origin.to_owned(), id, made_at, signer: key.public().id() };
        ActEnvelope::sign(Self { common, body }.encode(), key)
    }

    /// Reads an envelope and its payload; signer and keyid must agree. The signature is not checked here.
    pub fn open(envelope: &[u8]) -> Result<(ActEnvelope, Self), ActError> {
        let envelope = ActEnvelope::parse(envelope)?;
        let act = Self::parse(&envelope.payload)?;
        if act.common.signer != envelope.keyid {
            return Err(ActError::Signer { signer: act.common.signer, keyid: envelope.keyid });
        }
        Ok((envelope, act))
    }

    /// As [`Act::open`], for an entry of `kind`.
    pub fn open_as(envelope: &[u8], kind: Kind) -> Result<(ActEnvelope, Self), ActError> {
        let (envelope, act) = Self::open(envelope)?;
        if act.body.kind() == kind {
            Ok((envelope, act))
        } else {
            Err(ActError::Kind { act: act.body.kind().name().unwrap_or_default().to_owned(), kind })
        }
    }
}

#[cfg(test)]
mod tests;
