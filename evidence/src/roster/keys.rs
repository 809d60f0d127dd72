//! Keys on the roster over time: approvals, new keys, renewals, revocations, merged and split devices.

use super::{Change, Instance, Roster, RosterError};
use crate::acts::{
    Allows, Approval, Enrolment, KeyLevel, Pair, ReKey, Renewal, Revoke, RevokedOf, Role, recovery_digest,
};
use crate::ids::{DeviceId, Digest, InstanceId};
use crate::keys::PublicKey;
use crate::time::Timestamp;

/// Recoveries of one instance without a person: a laptop that slept through two certificates is found again, a copied key
/// is not fed for ever.
pub const AUTOMATIC_RECOVERIES_MAX: u64 = 2;

/// An approval of the roster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Approved {
    /// What it allows.
    pub allows: Allows,
    /// Not good from this time on.
    pub expires_at: Timestamp,
    /// Index of the entry it let in.
    pub used: Option<u64>,
}

impl Instance {
    pub(super) fn new(
        device: DeviceId,
        key: PublicKey,
        index: u64,
        certificate: Digest,
        key_level: KeyLevel,
    ) -> Self {
        Self { device, key, index, certificate, key_level, generation: 0, recoveries: 0, ended: None }
    }
}

impl Roster {
    /// The approval of a request, used or not.
    pub fn approval(&self, request: &Digest) -> Option<&Approved> {
        self.approvals.get(request)
    }

    /// Whether something is approved now and was not done yet.
    pub fn is_approved(&self, request: &Digest, allows: Allows, received: Timestamp) -> bool {
        self.approvals.get(request).is_some_and(|approved| {
            approved.allows == allows && approved.used.is_none() && received < approved.expires_at
        })
    }

    /// What a token asks beside being good: a listed serial number once, or a person.
    pub(super) fn check_entry(
        &self,
        act: &Enrolment,
        request: &Digest,
        received: Timestamp,
    ) -> Result<(), RosterError> {
        let Some(state) = self.tokens.get(&act.token_hash) else { return Err(RosterError::TokenUnknown) };
        let listed = !state.token.serials.is_empty();
        match &act.serial {
            Some(_) if !listed => return Err(RosterError::NoSerials),
            Some(serial) if state.serials.contains(serial) => return Err(RosterError::SerialUsed),
            _ => {}
        }
        let waits = state.token.approve || (listed && act.serial.is_none());
        if waits && !self.is_approved(request, Allows::Enrolment, received) {
            return Err(RosterError::NotApproved(*request));
        }
        Ok(())
    }

    pub(super) fn use_approval(&mut self, request: &Digest, index: u64) {
        if let Some(approved) = self.approvals.get_mut(request) {
            approved.used.get_or_insert(index);
        }
    }

    /// Takes an approval. One that expired unused, or a recovery's that was used, may be given again.
    pub fn approval_act(&mut self, received: Timestamp, act: &Approval) -> Result<(), RosterError> {
        if let Some(before) = self.approvals.get(&act.request) {
            let done = before.used.is_some() && before.allows == Allows::Recovery;
            if before.allows != act.allows
                || (!done && (before.used.is_some() || received < before.expires_at))
            {
                return Err(RosterError::ApprovedTwice(act.request));
            }
        }
        let approved = Approved { allows: act.allows, expires_at: act.expires_at, used: None };
        self.approvals.insert(act.request, approved);
        Ok(())
    }

    /// Takes a new key of a device; `tls_key` is the SHA-256 of the SPKI in its transcript.
    pub fn re_key_act(&mut self, index: u64, act: &ReKey, tls_key: Digest) -> Result<(), RosterError> {
        self.speaking(&act.device, &act.previous)?;
        if self.instances.contains_key(&act.instance) {
            return Err(RosterError::InstanceTwice(act.instance));
        }
        self.check_new_keys(&act.attestation_key, &tls_key)?;
        self.signing_keys.insert(act.attestation_key.id());
        self.tls_keys.insert(tls_key);
        if let Some(previous) = self.instances.get_mut(&act.previous) {
            previous.ended = Some(index);
        }
        let instance = Instance::new(act.device, act.attestation_key, index, act.certificate, act.key_level);
        self.instances.insert(act.instance, instance);
        if let Some(device) = self.devices.get_mut(&act.device) {
            device.instances.push(act.instance);
        }
        Ok(())
    }

    /// The key of an instance that its device speaks with now.
    pub fn speaking(&self, device: &DeviceId, instance: &InstanceId) -> Result<&Instance, RosterError> {
        self.instances
            .get(instance)
            .filter(|record| record.device == *device && record.ended.is_none())
            .ok_or(RosterError::Instance(*instance))
    }

    /// Takes a renewal; `tls_key` is the SHA-256 of the SPKI in its transcript.
    pub fn renewal_act(
        &mut self,
        index: u64,
        received: Timestamp,
        act: &Renewal,
        tls_key: Digest,
    ) -> Result<(), RosterError> {
        let instance = self.speaking(&act.device, &act.instance)?;
        if act.generation != instance.generation.saturating_add(1) {
            return Err(RosterError::Renewal("its number"));
        }
        if act.previous != instance.certificate {
            return Err(RosterError::Renewal("the certificate before"));
        }
        if self.tls_keys.contains(&tls_key) {
            return Err(RosterError::KeyTwice("this TLS key"));
        }
        let request = recovery_digest(&act.instance);
        let approved = self.is_approved(&request, Allows::Recovery, received);
        if act.recovery && instance.recoveries >= AUTOMATIC_RECOVERIES_MAX && !approved {
            return Err(RosterError::NotApproved(request));
        }
        self.tls_keys.insert(tls_key);
        if let Some(instance) = self.instances.get_mut(&act.instance) {
            instance.generation = act.generation;
            instance.certificate = act.certificate;
            if act.recovery {
                instance.recoveries = if approved { 1 } else { instance.recoveries.saturating_add(1) };
            }
        }
        if act.recovery {
            self.use_approval(&request, index);
        }
        Ok(())
    }

    /// Takes a revocation. A device stays in service: its days go on being asked for until it is retired.
    pub fn revoke_act(&mut self, index: u64, act: &Revoke) -> Result<(), RosterError> {
        match act.of {
            RevokedOf::Device(device) => {
                let record = self.devices.get_mut(&device).ok_or(RosterError::DeviceUnknown(device))?;
                if let Some(before) = record.revoked {
                    return Err(RosterError::RevokedTwice(before));
                }
                record.revoked = Some(index);
                self.end_instances(&device, index);
            }
            RevokedOf::Person(person) => {
                let found = self.persons.values().find(|admitted| admitted.person == person);
                let found = found.ok_or(RosterError::PersonUnknown(person))?;
                if let Some(before) = found.revoked {
                    return Err(RosterError::RevokedTwice(before));
                }
                let admins = self.persons().filter(|admitted| admitted.role == Role::Admin).count();
                if found.role == Role::Admin && admins == 1 {
                    return Err(RosterError::LastAdmin(person));
                }
                let keyid = found.key.id();
                if let Some(found) = self.persons.get_mut(&keyid) {
                    found.revoked = Some(index);
                }
            }
        }
        Ok(())
    }

    fn end_instances(&mut self, device: &DeviceId, index: u64) {
        let instances = self.devices.get(device).map(|record| record.instances.clone()).unwrap_or_default();
        for instance in instances {
            if let Some(record) = self.instances.get_mut(&instance) {
                record.ended.get_or_insert(index);
            }
        }
    }

    fn check_pair(&self, act: &Pair) -> Result<(), RosterError> {
        for device in [act.device, act.other] {
            if !self.devices.contains_key(&device) {
                return Err(RosterError::DeviceUnknown(device));
            }
        }
        Ok(())
    }

    /// Takes a merge: the other device leaves service with its receipt, and its keys with it.
    pub fn merge_act(&mut self, index: u64, received: Timestamp, act: &Pair) -> Result<(), RosterError> {
        self.check_pair(act)?;
        self.change(&act.other, received, index, Change::Retired)?;
        self.end_instances(&act.other, index);
        self.pairs.insert(pair_of(act), true);
        Ok(())
    }

    /// Takes a split: two devices that look like one are two.
    pub fn split_act(&mut self, act: &Pair) -> Result<(), RosterError> {
        self.check_pair(act)?;
        self.pairs.insert(pair_of(act), false);
        Ok(())
    }

    /// What a person said last of two devices: `Some(true)` one machine, `Some(false)` two.
    pub fn pair(&self, one: &DeviceId, other: &DeviceId) -> Option<bool> {
        self.pairs.get(&(*one.min(other), *one.max(other))).copied()
    }
}

fn pair_of(act: &Pair) -> (DeviceId, DeviceId) {
    (act.device.min(act.other), act.device.max(act.other))
}
