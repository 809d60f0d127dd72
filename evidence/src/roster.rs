//! The roster: which devices, persons and tokens there are, folded from stream 1. docs/FORMAT.md sections 8 and 10.

use std::collections::{BTreeMap, BTreeSet};

use crate::acts::{self, Enrolment, Genesis, KeyLevel, Role, Token};
use crate::ids::{Class, DeviceId, Digest, EngagementId, InstanceId, Name, PersonId};
use crate::keys::PublicKey;
use crate::time::{DayLabel, Timestamp};

mod authorities;
mod keys;

pub use authorities::{Authorities, Trusted};
pub use keys::{AUTOMATIC_RECOVERIES_MAX, Approved};

/// A person's admitted key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    /// Who.
    pub person: PersonId,
    /// What they may do.
    pub role: Role,
    /// Their key.
    pub key: PublicKey,
    /// SHA-256 of their TLS key.
    pub tls_key: Digest,
    /// The engagements an auditor is kept to; none: every one.
    pub engagements: Vec<EngagementId>,
    /// Index of the entry that revoked them.
    pub revoked: Option<u64>,
}

/// A device's key and the device it speaks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// The device.
    pub device: DeviceId,
    /// The key of its statements.
    pub key: PublicKey,
    /// Index of the enrolment.
    pub index: u64,
    /// SHA-256 of the certificate (DER) issued then, or at the newest renewal.
    pub certificate: Digest,
    /// How its keys are held, as the collector established.
    pub key_level: KeyLevel,
    /// Renewals so far.
    pub generation: u64,
    /// Recoveries since the enrolment or since a person approved one.
    pub recoveries: u64,
    /// Index of the entry from which on nothing it signs is admitted: it was revoked, replaced or merged.
    pub ended: Option<u64>,
}

/// An admitted token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenState {
    /// The token.
    pub token: Token,
    /// Index of its entry: the detail records it names stand right before it.
    pub index: u64,
    /// The devices it enrolled, in their order.
    pub used_by: Vec<DeviceId>,
    /// Digests of the listed serial numbers that were used.
    serials: BTreeSet<Digest>,
}

impl TokenState {
    /// Whether a listed serial number, by its digest under this token, enrolled a device already.
    pub fn serial_used(&self, serial: &Digest) -> bool {
        self.serials.contains(serial)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Change {
    Enrolled(Class, Name),
    Class(Class),
    Group(Name),
    Retired,
}

/// A device's history on the roster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its instances, oldest first.
    pub instances: Vec<InstanceId>,
    /// Receipt of its enrolment.
    pub enrolled: Timestamp,
    /// Index of the entry that revoked its keys.
    pub revoked: Option<u64>,
    /// (when it takes effect, index, what), in the order of the stream.
    changes: Vec<(Timestamp, u64, Change)>,
}

/// A device in service with a class and a group, on `[start, end)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceSpan {
    /// From.
    pub start: Timestamp,
    /// Until, exclusive; `u64::MAX` while nothing ends it.
    pub end: Timestamp,
    /// Class then.
    pub class: Class,
    /// Group then.
    pub group: Name,
}

impl Device {
    /// The states in service, in order of time, none of them empty.
    pub fn spans(&self) -> Vec<ServiceSpan> {
        let mut changes: Vec<_> = self.changes.iter().collect();
        changes.sort_by_key(|(at, index, _)| (*at, *index));
        let ends = changes.iter().skip(1).map(|(at, _, _)| *at).chain(std::iter::once(Timestamp(u64::MAX)));
        let ends: Vec<Timestamp> = ends.collect();
        let mut state: Option<(Class, Name)> = None;
        let mut retired = false;
        let mut spans: Vec<ServiceSpan> = Vec::new();
        for ((start, _, change), end) in changes.into_iter().zip(ends) {
            match change {
                Change::Enrolled(class, group) => state = Some((*class, group.clone())),
                Change::Class(class) => {
                    if let Some((current, _)) = &mut state {
                        *current = *class;
                    }
                }
                Change::Group(group) => {
                    if let Some((_, current)) = &mut state {
                        current.clone_from(group);
                    }
                }
                Change::Retired => retired = true,
            }
            if let (Some((class, group)), false) = (&state, retired)
                && *start < end
            {
                spans.push(ServiceSpan { start: *start, end, class: *class, group: group.clone() });
            }
        }
        spans
    }

    /// Class and group at an instant in service.
    pub fn at(&self, time: Timestamp) -> Option<(Class, Name)> {
        self.spans()
            .into_iter()
            .find(|span| span.start <= time && time < span.end)
            .map(|span| (span.class, span.group))
    }

    /// Class and group it had last, in service or not.
    pub fn last_known(&self) -> Option<(Class, Name)> {
        self.spans().pop().map(|span| (span.class, span.group))
    }

    /// The states in service that share a moment with `[start, end)`.
    pub fn spans_within(&self, start: Timestamp, end: Timestamp) -> Vec<ServiceSpan> {
        let mut spans = self.spans();
        spans.retain(|span| span.start < end && start < span.end && start < end);
        spans
    }
}

/// Why a roster act does not fit the roster.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RosterError {
    /// A second genesis.
    #[error("the log has a genesis already")]
    SecondGenesis,
    /// A person id met before.
    #[error("person {0} is on the roster already")]
    PersonTwice(PersonId),
    /// A key met before.
    #[error("{0} was admitted before: a key is admitted once, ever")]
    KeyTwice(&'static str),
    /// A token met before.
    #[error("this token was admitted before")]
    TokenTwice,
    /// A token nobody admitted.
    #[error("no such token: it was not issued by an admin of this log")]
    TokenUnknown,
    /// A token that enrolled a device already.
    #[error("the token was used before, for device {0}")]
    TokenUsed(DeviceId),
    /// A token that enrolled as many devices as it may.
    #[error("the token has enrolled {0} devices, as many as it may: ask for a new one")]
    TokenSpent(u64),
    /// A serial number that enrolled a device already.
    #[error("this token has enrolled a device with this serial number before")]
    SerialUsed,
    /// A serial number where the token lists none.
    #[error("the token lists no serial numbers")]
    NoSerials,
    /// An enrolment or a recovery that waits for a person.
    #[error("a person must approve this first: {0}")]
    NotApproved(Digest),
    /// An approval met before.
    #[error("{0} was approved before")]
    ApprovedTwice(Digest),
    /// An expired token.
    #[error("the token expired at {}", .0.rfc3339())]
    TokenExpired(Timestamp),
    /// Class or group differ from the token's.
    #[error("class and group must be the token's")]
    TokenScope,
    /// A device id met before.
    #[error("device {0} is on the roster already")]
    DeviceTwice(DeviceId),
    /// An instance id met before.
    #[error("instance {0} is on the roster already")]
    InstanceTwice(InstanceId),
    /// A device nobody enrolled.
    #[error("device {0} was never enrolled")]
    DeviceUnknown(DeviceId),
    /// A person nobody admitted.
    #[error("person {0} is not on the roster")]
    PersonUnknown(PersonId),
    /// The only admin who is left.
    #[error("person {0} is the only admin: admit another one first, or nobody could admit anybody")]
    LastAdmin(PersonId),
    /// Revoked before.
    #[error("the keys are revoked already, by entry {0}")]
    RevokedTwice(u64),
    /// An instance that does not speak any more, or is another device's.
    #[error("instance {0} is not one that device speaks with now")]
    Instance(InstanceId),
    /// A renewal that does not follow the one before.
    #[error("this is not the renewal that comes next: {0} does not fit")]
    Renewal(&'static str),
    /// A step of a change of authorities that is not due.
    #[error("{0}")]
    KeyChange(&'static str),
}

/// The roster at some entry of its stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roster {
    genesis: Option<Genesis>,
    persons: BTreeMap<Digest, Admitted>,
    devices: BTreeMap<DeviceId, Device>,
    instances: BTreeMap<InstanceId, Instance>,
    tokens: BTreeMap<Digest, TokenState>,
    approvals: BTreeMap<Digest, Approved>,
    /// What was said of two devices, the smaller id first: whether they are one machine.
    pairs: BTreeMap<(DeviceId, DeviceId), bool>,
    authorities: Authorities,
    signing_keys: BTreeSet<Digest>,
    tls_keys: BTreeSet<Digest>,
}

impl Roster {
    /// The genesis, once there is one.
    pub fn genesis(&self) -> Option<&Genesis> {
        self.genesis.as_ref()
    }

    /// The person whose key id this is, unless revoked.
    pub fn person(&self, keyid: &Digest) -> Option<&Admitted> {
        self.persons.get(keyid).filter(|person| person.revoked.is_none())
    }

    /// Every person who is not revoked, by key id.
    pub fn persons(&self) -> impl Iterator<Item = &Admitted> {
        self.persons.values().filter(|person| person.revoked.is_none())
    }

    /// Everybody who was ever admitted, by key id.
    pub fn all_persons(&self) -> impl Iterator<Item = &Admitted> {
        self.persons.values()
    }

    /// A device.
    pub fn device(&self, device: &DeviceId) -> Option<&Device> {
        self.devices.get(device)
    }

    /// Every device, by id.
    pub fn devices(&self) -> impl Iterator<Item = (&DeviceId, &Device)> {
        self.devices.iter()
    }

    /// An instance.
    pub fn instance(&self, instance: &InstanceId) -> Option<&Instance> {
        self.instances.get(instance)
    }

    /// Every instance.
    pub fn instances(&self) -> impl Iterator<Item = (&InstanceId, &Instance)> {
        self.instances.iter()
    }

    /// A token by the SHA-256 of its secret.
    pub fn token(&self, token_hash: &Digest) -> Option<&TokenState> {
        self.tokens.get(token_hash)
    }

    /// Every token by the SHA-256 of its secret.
    pub fn tokens(&self) -> impl Iterator<Item = (&Digest, &TokenState)> {
        self.tokens.iter()
    }

    /// Refuses before anything changes: a refused act leaves the roster as it was.
    fn check_new_keys(&self, key: &PublicKey, tls_key: &Digest) -> Result<(), RosterError> {
        if self.signing_keys.contains(&key.id()) {
            return Err(RosterError::KeyTwice("this signing key"));
        }
        if self.tls_keys.contains(tls_key) {
            return Err(RosterError::KeyTwice("this TLS key"));
        }
        Ok(())
    }

    /// Takes the genesis.
    pub fn genesis_act(&mut self, act: &Genesis) -> Result<(), RosterError> {
        if self.genesis.is_some() {
            return Err(RosterError::SecondGenesis);
        }
        let keys: BTreeSet<Digest> =
            [act.log_key.key().id(), act.operations_key.id(), act.admin_key.id()].into_iter().collect();
        if keys.len() != 3 {
            return Err(RosterError::KeyTwice("log, operations or admin key"));
        }
        self.admit(act.admin, Role::Admin, act.admin_key, act.admin_tls_key, Vec::new())?;
        self.signing_keys.extend(keys);
        self.authorities = Authorities::begun(act);
        self.genesis = Some(act.clone());
        Ok(())
    }

    fn admit(
        &mut self,
        person: PersonId,
        role: Role,
        key: PublicKey,
        tls_key: Digest,
        engagements: Vec<EngagementId>,
    ) -> Result<(), RosterError> {
        if self.persons.values().any(|admitted| admitted.person == person) {
            return Err(RosterError::PersonTwice(person));
        }
        self.check_new_keys(&key, &tls_key)?;
        self.signing_keys.insert(key.id());
        self.tls_keys.insert(tls_key);
        self.persons.insert(key.id(), Admitted { person, role, key, tls_key, engagements, revoked: None });
        Ok(())
    }

    /// Takes a person act.
    pub fn person_act(&mut self, act: &acts::Person) -> Result<(), RosterError> {
        self.admit(act.person, act.role, act.key, act.tls_key, act.engagements.clone())
    }

    /// Takes a token act.
    pub fn token_act(&mut self, index: u64, act: &Token) -> Result<(), RosterError> {
        if self.tokens.contains_key(&act.token_hash) {
            return Err(RosterError::TokenTwice);
        }
        let state = TokenState { token: act.clone(), index, used_by: Vec::new(), serials: BTreeSet::new() };
        self.tokens.insert(act.token_hash, state);
        Ok(())
    }

    /// Whether a token may enrol a device at `received`.
    pub fn check_token(&self, token_hash: &Digest, received: Timestamp) -> Result<&Token, RosterError> {
        let state = self.tokens.get(token_hash).ok_or(RosterError::TokenUnknown)?;
        if state.used_by.len() as u64 >= state.token.uses {
            return Err(match state.used_by.as_slice() {
                [device] => RosterError::TokenUsed(*device),
                _ => RosterError::TokenSpent(state.token.uses),
            });
        }
        if received >= state.token.expires_at {
            return Err(RosterError::TokenExpired(state.token.expires_at));
        }
        Ok(&state.token)
    }

    /// Takes an enrolment; `tls_key` is the SHA-256 of the SPKI in its transcript, `request` what an approval would name.
    pub fn enrolment_act(
        &mut self,
        index: u64,
        received: Timestamp,
        act: &Enrolment,
        tls_key: Digest,
        request: &Digest,
    ) -> Result<(), RosterError> {
        let token = self.check_token(&act.token_hash, received)?;
        if token.class != act.class || token.group != act.group {
            return Err(RosterError::TokenScope);
        }
        self.check_entry(act, request, received)?;
        if self.devices.contains_key(&act.device) {
            return Err(RosterError::DeviceTwice(act.device));
        }
        if self.instances.contains_key(&act.instance) {
            return Err(RosterError::InstanceTwice(act.instance));
        }
        self.check_new_keys(&act.attestation_key, &tls_key)?;
        self.signing_keys.insert(act.attestation_key.id());
        self.tls_keys.insert(tls_key);
        if let Some(state) = self.tokens.get_mut(&act.token_hash) {
            state.used_by.push(act.device);
            state.serials.extend(act.serial);
        }
        self.use_approval(request, index);
        let instance = Instance::new(act.device, act.attestation_key, index, act.certificate, act.key_level);
        self.instances.insert(act.instance, instance);
        self.devices.insert(
            act.device,
            Device {
                instances: vec![act.instance],
                enrolled: received,
                revoked: None,
                changes: vec![(received, index, Change::Enrolled(act.class, act.group.clone()))],
            },
        );
        Ok(())
    }

    fn change(
        &mut self,
        device: &DeviceId,
        at: Timestamp,
        index: u64,
        change: Change,
    ) -> Result<(), RosterError> {
        let record = self.devices.get_mut(device).ok_or(RosterError::DeviceUnknown(*device))?;
        record.changes.push((at, index, change));
        Ok(())
    }

    /// Takes a retirement. Nothing is retroactive: it takes effect no earlier than its receipt.
    pub fn retire_act(
        &mut self,
        index: u64,
        received: Timestamp,
        act: &acts::Retire,
    ) -> Result<(), RosterError> {
        self.change(&act.device, act.effective_at.max(received), index, Change::Retired)
    }

    /// Takes a change of class. Nothing is retroactive.
    pub fn class_act(
        &mut self,
        index: u64,
        received: Timestamp,
        act: &acts::Class,
    ) -> Result<(), RosterError> {
        self.change(&act.device, act.effective_at.max(received), index, Change::Class(act.class))
    }

    /// Takes a change of group. Nothing is retroactive.
    pub fn group_act(
        &mut self,
        index: u64,
        received: Timestamp,
        act: &acts::Group,
    ) -> Result<(), RosterError> {
        self.change(&act.device, act.effective_at.max(received), index, Change::Group(act.group.clone()))
    }

    /// Whether a device is in service on some moment of a UTC day.
    pub fn in_service_on(&self, device: &DeviceId, day: DayLabel) -> bool {
        let start = day.start_utc();
        let end = Timestamp(start.0.saturating_add(crate::time::DAY_MS));
        self.device(device).is_some_and(|record| !record.spans_within(start, end).is_empty())
    }
}

#[cfg(test)]
mod tests;
