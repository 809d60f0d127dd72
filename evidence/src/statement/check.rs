//! The form of every field: lengths, ranges, orders and enum numbers. What passes here can be judged.

use super::{
    Anchor, Attestation, Body, FACT_ROWS_MAX, FACT_TEXT_BYTES_MAX, Gap, OBSERVATIONS_MAX, SEQUENCE_MAX,
    Statement, StatementError,
};
use crate::ids::{Digest, InstanceId, Name};
use proto::observation::Outcome;

fn wrong(field: &'static str, problem: &'static str) -> StatementError {
    StatementError::Field { field, problem }
}

fn digest(bytes: &[u8], field: &'static str) -> Result<Digest, StatementError> {
    Digest::from_slice(bytes).map_err(|_| wrong(field, "must be 32 bytes"))
}

pub(super) fn statement(wire: proto::Statement) -> Result<Statement, StatementError> {
    let instance =
        InstanceId::from_slice(&wire.instance).map_err(|_| wrong("instance", "must be 16 bytes"))?;
    if wire.sequence > SEQUENCE_MAX {
        return Err(wrong("sequence", "must be at most 2^53 - 1"));
    }
    let previous = digest(&wire.previous, "previous")?;
    let anchor = wire.anchor.map(anchor).transpose()?;
    let body = match wire.body.ok_or_else(|| wrong("body", "is missing"))? {
        proto::statement::Body::Attestation(fields) => Body::Attestation(Box::new(attestation(fields)?)),
        proto::statement::Body::Gap(fields) => Body::Gap(gap(fields, wire.sequence)?),
    };
    // When the very first statement was lost, the gap that says so has nothing before it either.
    let is_first = wire.sequence == 0 || matches!(body, Body::Gap(Gap::Destroyed { first: 0, .. }));
    if is_first != (previous == Digest::ZERO) {
        return Err(wrong("previous", "must be zeros where nothing comes before, and only there"));
    }
    Ok(Statement { instance, sequence: wire.sequence, previous, anchor, body })
}

fn anchor(wire: proto::Anchor) -> Result<Anchor, StatementError> {
    if wire.origin.is_empty() || wire.size == 0 {
        return Err(wrong("anchor", "must name an origin and a tree that is not empty"));
    }
    text(&wire.origin, "anchor.origin")?;
    let note = if wire.note.is_empty() { None } else { Some(digest(&wire.note, "anchor.note")?) };
    Ok(Anchor { root: digest(&wire.root, "anchor.root")?, origin: wire.origin, size: wire.size, note })
}

fn gap(wire: proto::Gap, sequence: u64) -> Result<Gap, StatementError> {
    let reason = proto::GapReason::try_from(wire.reason).map_err(|_| wrong("gap.reason", "is not known"))?;
    if reason == proto::GapReason::Unspecified {
        return Err(wrong("gap.reason", "is missing"));
    }
    if wire.last < wire.first {
        return Err(wrong("gap.last", "lies before gap.first"));
    }
    if wire.count == 0 {
        return Err(wrong("gap.count", "must be at least 1"));
    }
    match proto::GapKind::try_from(wire.kind) {
        Ok(proto::GapKind::NotMade) => {
            Ok(Gap::NotMade { first_minute: wire.first, last_minute: wire.last, count: wire.count, reason })
        }
        Ok(proto::GapKind::Destroyed) => {
            let count = (wire.last - wire.first).checked_add(1);
            if count != Some(wire.count) || wire.last.checked_add(1) != Some(sequence) {
                return Err(wrong("gap", "destroyed sequences must end just before this one and be counted"));
            }
            Ok(Gap::Destroyed { first: wire.first, last: wire.last, reason })
        }
        _ => Err(wrong("gap.kind", "is not known")),
    }
}

fn attestation(fields: proto::Attestation) -> Result<Attestation, StatementError> {
    let device = fields.device.parse().map_err(|_| wrong("device", "must be a device id"))?;
    digest(&fields.boot, "boot")?;
    digest(&fields.agent_digest, "agent_digest")?;
    digest(&fields.catalogue_digest, "catalogue_digest")?;
    digest(&fields.configuration_digest, "configuration_digest")?;
    digest(&fields.answers_digest, "answers_digest")?;
    text(&fields.agent_version, "agent_version")?;
    match proto::Trigger::try_from(fields.trigger) {
        Ok(proto::Trigger::Unspecified) | Err(_) => return Err(wrong("trigger", "is not known")),
        Ok(_) => {}
    }
    if let Some(asset) = &fields.asset {
        known::<proto::AssetClass>(asset.class, "asset.class")?;
        text(asset.virtualisation(), "asset.virtualisation")?;
    }
    if fields.observations.len() > OBSERVATIONS_MAX {
        return Err(wrong("observations", "are more than 64"));
    }
    let mut before: Option<&str> = None;
    for observation in &fields.observations {
        if before.is_some_and(|before| before >= observation.control.as_str()) {
            return Err(wrong("observations", "must ascend by control, one each"));
        }
        before = Some(&observation.control);
        self::observation(observation)?;
    }
    Ok(Attestation { device, fields })
}

fn known<E: TryFrom<i32>>(number: i32, field: &'static str) -> Result<(), StatementError> {
    E::try_from(number).map(|_| ()).map_err(|_| wrong(field, "has an unknown number"))
}

fn text(text: &str, field: &'static str) -> Result<(), StatementError> {
    if text.len() > FACT_TEXT_BYTES_MAX { Err(wrong(field, "is longer than 256 bytes")) } else { Ok(()) }
}

fn rows(count: usize, field: &'static str) -> Result<(), StatementError> {
    if count > FACT_ROWS_MAX { Err(wrong(field, "has more than 256 rows")) } else { Ok(()) }
}

fn observation(observation: &proto::Observation) -> Result<(), StatementError> {
    let control: Name =
        observation.control.parse().map_err(|_| wrong("observation.control", "must be a control id"))?;
    match observation.outcome.as_ref().ok_or_else(|| wrong("observation.outcome", "is missing"))? {
        Outcome::Observed(facts) => self::facts(facts, &control),
        Outcome::NotApplicable(proof) => match &proof.proof {
            Some(proto::not_applicable::Proof::Headless(headless)) => {
                text(&headless.default_target, "headless.default_target")
            }
            None => Err(wrong("not_applicable.proof", "is missing")),
        },
        Outcome::Unavailable(unavailable) => {
            text(&unavailable.question, "unavailable.question")?;
            match proto::Reason::try_from(unavailable.reason) {
                Ok(proto::Reason::Unspecified) | Err(_) => Err(wrong("unavailable.reason", "is not known")),
                Ok(_) => Ok(()),
            }
        }
    }
}

fn facts(facts: &proto::Facts, control: &Name) -> Result<(), StatementError> {
    use proto::facts::Control;
    let body = facts.control.as_ref().ok_or_else(|| wrong("facts", "are missing"))?;
    let name = match body {
        Control::AutomaticUpdates(updates) => {
            text(&updates.mechanism, "mechanism")?;
            "automatic-updates"
        }
        Control::DeviceIdentity(identity) => {
            rows(identity.identifiers.len(), "identifiers")?;
            for identifier in &identity.identifiers {
                known::<proto::IdentifierKind>(identifier.kind, "identifier.kind")?;
                text(&identifier.value, "identifier.value")?;
            }
            "device-identity"
        }
        Control::DiskEncryption(disk) => {
            rows(disk.volumes.len(), "volumes")?;
            for volume in &disk.volumes {
                known::<proto::VolumePurpose>(volume.purpose, "volume.purpose")?;
                known::<proto::Coverage>(volume.encryption, "volume.encryption")?;
                text(&volume.mount, "volume.mount")?;
                text(&volume.filesystem, "volume.filesystem")?;
                rows(volume.layers.len(), "volume.layers")?;
                for layer in &volume.layers {
                    known::<proto::Layer>(*layer, "volume.layers")?;
                }
            }
            "disk-encryption"
        }
        Control::HostFirewall(firewall) => {
            rows(firewall.filters.len(), "filters")?;
            for filter in &firewall.filters {
                known::<proto::FilterScope>(filter.scope, "filter.scope")?;
                known::<proto::FilterDefault>(filter.incoming, "filter.incoming")?;
            }
            "host-firewall"
        }
        Control::LocalAdministrators(_) => "local-administrators",
        Control::MdmEnrolment(mdm) => {
            text(&mdm.service, "service")?;
            "mdm-enrolment"
        }
        Control::OsPatch(patch) => {
            text(&patch.os, "os")?;
            text(patch.version(), "version")?;
            text(&patch.kernel, "kernel")?;
            "os-patch"
        }
        Control::PasswordManager(manager) => {
            rows(manager.managers.len(), "managers")?;
            for product in &manager.managers {
                text(&product.product, "manager.product")?;
            }
            "password-manager"
        }
        Control::RemoteAccess(remote) => {
            known::<proto::RootLogin>(remote.root_login, "root_login")?;
            "remote-access"
        }
        Control::ScreenLock(lock) => {
            rows(lock.users.len(), "users")?;
            for user in &lock.users {
                text(&user.desktop, "user.desktop")?;
                known::<proto::LockScope>(user.scope, "user.scope")?;
            }
            "screen-lock"
        }
        Control::SecureBoot(boot) => {
            known::<proto::Firmware>(boot.firmware, "firmware")?;
            known::<proto::BootSecurity>(boot.level, "level")?;
            "secure-boot"
        }
        Control::TimeSync(time) => {
            text(&time.service, "service")?;
            "time-sync"
        }
        Control::Edr(edr) => {
            rows(edr.products.len(), "products")?;
            for product in &edr.products {
                text(&product.product, "product.product")?;
                text(product.version(), "product.version")?;
                known::<proto::ProductKind>(product.kind, "product.kind")?;
                known::<proto::HealthSource>(product.health_source, "product.health_source")?;
                known::<proto::Impairment>(product.impairment, "product.impairment")?;
            }
            "edr"
        }
    };
    // A fact filed under another control could pass a condition it was never meant for.
    if name == control.as_str() { Ok(()) } else { Err(wrong("facts", "belong to another control")) }
}
