//! Attestations of a simulated device's life, said by an enrolled one: chained and signed ahead of the measurement.

use anyhow::Context as _;
use evidence::envelope::Envelope;
use evidence::ids::Digest;
use evidence::statement::{Attestation, Body, Statement};
use evidence::time::Clock as _;
use fleet::{Fleet, Order};

use crate::device::Device;

/// The statements of one device, one after the other.
pub struct Chain {
    device: Device,
    fleet: Fleet,
    next_sequence: u64,
    previous: Digest,
}

impl Chain {
    /// The chain of a device that has said nothing yet; `seed` decides what it will say.
    pub fn new(device: Device, seed: u64) -> anyhow::Result<Self> {
        let fleet = Fleet::new(&Order::of(seed, 1))?;
        Ok(Self { device, fleet, next_sequence: 0, previous: Digest::ZERO })
    }

    /// Whose chain it is.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Sequence of the statement to be made next.
    pub fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    /// Makes and signs the next `count` statements.
    pub fn sign(&mut self, count: usize) -> anyhow::Result<Vec<Vec<u8>>> {
        (0..count).map(|_| self.sign_one()).collect()
    }

    fn sign_one(&mut self) -> anyhow::Result<Vec<u8>> {
        let statement = Statement {
            instance: self.device.instance,
            sequence: self.next_sequence,
            previous: self.previous,
            anchor: Some(self.device.anchor.clone().into()),
            body: Body::Attestation(Box::new(Attestation { device: self.device.id, fields: self.fields()? })),
        };
        let envelope = Envelope::sign(&statement, &self.device.key);
        self.previous = envelope.hash();
        self.next_sequence += 1;
        Ok(envelope.bytes().to_vec())
    }

    /// What the device of the fleet says next, said now.
    fn fields(&mut self) -> anyhow::Result<proto::Attestation> {
        let mut said = self.fleet.by_ref().filter_map(|made| match made.statement.body {
            Body::Attestation(attestation) => Some(attestation.fields),
            Body::Gap(_) => None,
        });
        let fields = said.next().context("a fleet speaks without end")?;
        Ok(proto::Attestation { wall_minutes: collector::clock::SystemClock.now().minutes(), ..fields })
    }
}
