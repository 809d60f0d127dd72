//! Attestations as a healthy laptop makes them, chained and signed ahead of the measurement.

use evidence::envelope::Envelope;
use evidence::ids::Digest;
use evidence::statement::{Attestation, Body, Statement};
use evidence::time::Clock as _;
use proto::facts::Control;
use proto::observation::Outcome;

use crate::device::Device;

/// The statements of one device, one after the other.
pub struct Chain {
    device: Device,
    next_sequence: u64,
    previous: Digest,
}

impl Chain {
    /// The chain of a device that has said nothing yet.
    pub fn new(device: Device) -> Self {
        Self { device, next_sequence: 0, previous: Digest::ZERO }
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
    pub fn sign(&mut self, count: usize) -> Vec<Vec<u8>> {
        (0..count).map(|_| self.sign_one()).collect()
    }

    fn sign_one(&mut self) -> Vec<u8> {
        let fields = laptop(self.next_sequence);
        let statement = Statement {
            instance: self.device.instance,
            sequence: self.next_sequence,
            previous: self.previous,
            anchor: Some(self.device.anchor.clone().into()),
            body: Body::Attestation(Box::new(Attestation { device: self.device.id, fields })),
        };
        let envelope = Envelope::sign(&statement, &self.device.key);
        self.previous = envelope.hash();
        self.next_sequence += 1;
        envelope.bytes().to_vec()
    }
}

/// What the recorded laptop of `probes/recordings/laptop.toml` says of itself.
fn laptop(sequence: u64) -> proto::Attestation {
    let now = collector::clock::SystemClock.now().minutes();
    let digest = |name: &str| Digest::of(name.as_bytes()).as_bytes().to_vec();
    proto::Attestation {
        boot: digest("boot"),
        boot_minutes: 4_000 + sequence,
        wall_minutes: now,
        trigger: proto::Trigger::Schedule.into(),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        agent_digest: digest("agent"),
        catalogue_digest: digest("catalogue"),
        configuration_digest: Digest::ZERO.as_bytes().to_vec(),
        asset: Some(proto::AssetClaim {
            class: proto::AssetClass::Laptop.into(),
            chassis_type: Some(10),
            battery: Some(true),
            graphical_target: Some(true),
            virtualisation: Some("none".to_owned()),
        }),
        answers_digest: Digest::of(&sequence.to_be_bytes()).as_bytes().to_vec(),
        observations: vec![
            observed("disk-encryption", disks()),
            observed("edr", edr()),
            observed("os-patch", patches(now)),
            observed("screen-lock", lock()),
        ],
        ..proto::Attestation::default()
    }
}

fn observed(control: &str, facts: Control) -> proto::Observation {
    let outcome = Some(Outcome::Observed(proto::Facts { control: Some(facts) }));
    proto::Observation { control: control.to_owned(), probe_version: 1, outcome }
}

fn disks() -> Control {
    use proto::{Coverage, Layer, VolumePurpose};
    let volume = |purpose: VolumePurpose, mount: &str, filesystem: &str, encryption: Coverage| {
        let encrypted = encryption == Coverage::Full;
        let layers: &[Layer] = if encrypted {
            &[Layer::Luks2, Layer::Lvm, Layer::Partition, Layer::Disk]
        } else {
            &[Layer::Partition, Layer::Disk]
        };
        proto::Volume {
            purpose: purpose.into(),
            mount: mount.to_owned(),
            filesystem: filesystem.to_owned(),
            encryption: encryption.into(),
            leaves: 1,
            leaves_encrypted: encrypted.into(),
            layers: layers.iter().map(|layer| i32::from(*layer)).collect(),
            removable: Some(false),
            virtual_disk: Some(false),
        }
    };
    Control::DiskEncryption(proto::DiskEncryption {
        volumes: vec![
            volume(VolumePurpose::Root, "/", "ext4", Coverage::Full),
            volume(VolumePurpose::Boot, "/boot", "ext4", Coverage::None),
            volume(VolumePurpose::Efi, "/boot/efi", "vfat", Coverage::None),
            volume(VolumePurpose::Swap, "[SWAP]", "swap", Coverage::Full),
        ],
        volumes_truncated: false,
    })
}

fn edr() -> Control {
    let product = |product: &str, version: Option<&str>| proto::Product {
        product: product.to_owned(),
        kind: proto::ProductKind::Edr.into(),
        installed: Some(version.is_some()),
        version: version.map(str::to_owned),
        running: Some(version.is_some()),
        trusted_path: version.map(|_| true),
        unit_active: Some(version.is_some()),
    };
    Control::Edr(proto::Edr {
        products: vec![
            product("carbon-black-cloud", None),
            product("cortex-xdr", None),
            product("crowdstrike-falcon", Some("7.16.0-16903")),
            product("microsoft-defender-endpoint", None),
            product("sentinelone", None),
        ],
        products_truncated: false,
    })
}

fn patches(now_minutes: u64) -> Control {
    Control::OsPatch(proto::OsPatch {
        os: "debian".to_owned(),
        version: Some("12".to_owned()),
        kernel: "6.1.0-28-amd64".to_owned(),
        pending_security: Some(0),
        pending_other: Some(0),
        lists_minutes: Some(now_minutes.saturating_sub(180)),
        installed_minutes: Some(now_minutes.saturating_sub(1_500)),
        reboot_required: Some(false),
    })
}

fn lock() -> Control {
    let setting = proto::LockSetting {
        desktop: "gnome".to_owned(),
        scope: proto::LockScope::Session.into(),
        enabled: Some(true),
        idle_seconds: Some(300),
        delay_seconds: Some(0),
        enforced: Some(false),
    };
    Control::ScreenLock(proto::ScreenLock { users: vec![setting], users_truncated: false })
}
