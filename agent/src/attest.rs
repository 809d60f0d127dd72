//! From observations to a signed envelope: the device's word, without a verdict.

use std::io::Read as _;
use std::path::Path;

use evidence::envelope::Envelope;
use evidence::ids::{DeviceId, Digest, InstanceId};
use evidence::keys::SecretKey;
use evidence::statement::{Anchor, Attestation, Body, Gap, Statement};
use evidence::time::Timestamp;
use sha2::{Digest as _, Sha256};

use crate::clock::Boot;
use crate::spool::{NotMade, Place};

/// What was seen in one look at the machine.
#[derive(Debug, Clone, PartialEq)]
pub struct Observed {
    /// One per control, ascending by control.
    pub observations: Vec<proto::Observation>,
    /// What the machine seems to be.
    pub asset: Option<proto::AssetClaim>,
    /// SHA-256 over all raw answers in the order asked.
    pub answers_digest: Digest,
    /// SHA-256 of the catalogue of probes that asked.
    pub catalogue_digest: Digest,
}

impl Observed {
    /// A digest of the facts alone: equal when a second look saw the same. Raw answers change at every look (sizes,
    /// times) and do not count, nor does when a package manager said the same.
    pub fn facts_digest(&self) -> Digest {
        use prost::Message as _;
        let without_age =
            |seen: &proto::Observation| proto::Observation { kept_minutes: None, ..seen.clone() };
        let facts = proto::Attestation {
            observations: self.observations.iter().map(without_age).collect(),
            asset: self.asset.clone(),
            catalogue_digest: self.catalogue_digest.as_bytes().to_vec(),
            ..proto::Attestation::default()
        };
        Digest::of(&facts.encode_to_vec())
    }
}

/// When and where a statement is made.
#[derive(Debug, Clone)]
pub struct Moment {
    /// The device's clock.
    pub now: Timestamp,
    /// The running boot.
    pub boot: Boot,
    /// Why it is made.
    pub trigger: proto::Trigger,
}

/// Makes statements of one instance.
pub struct Attester {
    device: DeviceId,
    instance: InstanceId,
    key: SecretKey,
    agent_digest: Digest,
}

impl Attester {
    /// The maker of statements for an instance. `agent_digest` is SHA-256 of the running binary.
    pub fn new(device: DeviceId, instance: InstanceId, key: SecretKey, agent_digest: Digest) -> Self {
        Self { device, instance, key, agent_digest }
    }

    /// The key whose signatures these are.
    pub fn key(&self) -> &SecretKey {
        &self.key
    }

    /// Signs what was seen, at `place` of the chain, under the newest verified checkpoint. `configuration` is the digest of the
    /// fleet configuration in force, zeros without one.
    pub fn attestation(
        &self,
        place: Place,
        anchor: Option<Anchor>,
        moment: &Moment,
        observed: Observed,
        configuration: &Digest,
    ) -> Envelope {
        let fields = proto::Attestation {
            device: self.device.to_string(),
            boot: moment.boot.digest(&self.instance).as_bytes().to_vec(),
            boot_minutes: moment.boot.minutes,
            wall_minutes: moment.now.minutes(),
            trigger: moment.trigger.into(),
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            agent_digest: self.agent_digest.as_bytes().to_vec(),
            catalogue_digest: observed.catalogue_digest.as_bytes().to_vec(),
            configuration_digest: configuration.as_bytes().to_vec(),
            asset: observed.asset,
            answers_digest: observed.answers_digest.as_bytes().to_vec(),
            observations: observed.observations,
        };
        let body = Body::Attestation(Box::new(Attestation { device: self.device, fields }));
        self.sign(place, anchor, body)
    }

    /// Signs that statements were not made.
    pub fn not_made(&self, place: Place, anchor: Option<Anchor>, not_made: &NotMade) -> Envelope {
        let gap = Gap::NotMade {
            first_minute: not_made.first_minute,
            last_minute: not_made.last_minute,
            count: not_made.count,
            reason: not_made.reason,
        };
        self.sign(place, anchor, Body::Gap(gap))
    }

    /// Signs that statements were destroyed; `place` is the one of `Spool::destroyed_from`.
    pub fn destroyed(&self, place: Place, anchor: Option<Anchor>, gap: Gap) -> Envelope {
        self.sign(place, anchor, Body::Gap(gap))
    }

    fn sign(&self, place: Place, anchor: Option<Anchor>, body: Body) -> Envelope {
        let statement = Statement {
            instance: self.instance,
            sequence: place.sequence,
            previous: place.previous,
            anchor,
            body,
        };
        Envelope::sign(&statement, &self.key)
    }
}

/// SHA-256 of a file, read in pieces: the agent's own binary has many MiB.
pub fn file_digest(path: &Path) -> std::io::Result<Digest> {
    let mut file = std::fs::File::open(path)?;
    let mut hasher = Sha256::new();
    let mut piece = vec![0; 65_536];
    loop {
        let count = file.read(&mut piece)?;
        if count == 0 {
            return Ok(Digest(hasher.finalize().into()));
        }
        hasher.update(piece.get(..count).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests;
