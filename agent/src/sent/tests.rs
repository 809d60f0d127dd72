use evidence::ids::{DeviceId, Digest, InstanceId};
use evidence::statement::{Anchor, Attestation, Body, Gap, Statement};
use evidence::time::Timestamp;

use super::{Line, Stage};
use crate::spool::Receipt;

fn statement(body: Body) -> Statement {
    Statement {
        instance: InstanceId::from_bytes([1; 16]),
        sequence: 7,
        previous: Digest::of(b"before"),
        anchor: Some(Anchor {
            origin: "example.org/log/1".into(),
            size: 9,
            root: Digest::of(b"root"),
            note: Some(Digest::of(b"note")),
        }),
        body,
    }
}

fn attestation() -> Statement {
    let patch = proto::OsPatch {
        os: "debian".into(),
        kernel: "6.1\u{1b}[2J".into(),
        reboot_required: Some(true),
        ..proto::OsPatch::default()
    };
    let facts = proto::Facts { control: Some(proto::facts::Control::OsPatch(patch)) };
    let fields = proto::Attestation {
        wall_minutes: 29_000_000,
        boot_minutes: 12,
        trigger: proto::Trigger::Drift.into(),
        agent_version: "0.1.0".into(),
        asset: Some(proto::AssetClaim {
            class: proto::AssetClass::Laptop.into(),
            chassis_type: Some(10),
            battery: Some(true),
            ..proto::AssetClaim::default()
        }),
        observations: vec![proto::Observation {
            control: "os-patch".into(),
            probe_version: 1,
            outcome: Some(proto::observation::Outcome::Observed(facts)),
            kept_minutes: Some(28_999_700),
        }],
        ..proto::Attestation::default()
    };
    statement(Body::Attestation(Box::new(Attestation { device: DeviceId::from_bytes([2; 16]), fields })))
}

#[test]
fn an_attestation_reads_as_what_it_says() {
    let receipt = Receipt { index: 41, received: Timestamp(1_740_000_000_000), salt: [0; 32] };
    let line = Line { statement: attestation(), stage: Stage::Stored, receipt: Some(receipt) };
    let expected = "\
statement 7 (stored, entry 41, 2025-02-19T21:20:00.000Z)
  seen at 2025-02-19T21:20Z because of drift, 12 minutes after boot, by agent 0.1.0
  asset: claimed
    battery = yes
    chassis_type = 10
    class = laptop
  os-patch: observed
    package manager asked at 2025-02-19T16:20Z, its files unchanged since
    kernel = 6.1[2J
    os = debian
    reboot_required = yes
";
    assert_eq!(line.words(), expected);
}

#[test]
fn machines_get_the_same_and_more() {
    let line = Line { statement: attestation(), stage: Stage::Waiting, receipt: None };
    let json: serde_json::Value = serde_json::from_str(&line.json().encode()).unwrap();
    assert_eq!(json["stage"], "waiting");
    assert_eq!(json["observed"], "1740000000000");
    assert_eq!(json["anchor"]["size"], 9);
    assert_eq!(json["anchor"]["note"], Digest::of(b"note").to_string());
    assert_eq!(json["observations"][0]["facts"]["os"], "debian");
    assert_eq!(json["asset"]["class"], "laptop");
    // What is unknown is left out, never "no".
    assert!(json["asset"].get("graphical_target").is_none());
    assert!(json.get("index").is_none());
}

#[test]
fn gaps_say_what_is_missing_and_why() {
    let lost = Gap::Destroyed { first: 3, last: 6, reason: proto::GapReason::DiskDamage };
    let line = Line { statement: statement(Body::Gap(lost)), stage: Stage::Waiting, receipt: None };
    assert_eq!(line.words(), "statement 7 (waiting)\n  statements 3 to 6 were lost: disk-damage\n");
    let not_made = Gap::NotMade {
        first_minute: 29_000_000,
        last_minute: 29_000_360,
        count: 2,
        reason: proto::GapReason::SpoolFull,
    };
    let line = Line { statement: statement(Body::Gap(not_made)), stage: Stage::Waiting, receipt: None };
    let expected = "statement 7 (waiting)\n  2 statements from 2025-02-19T21:20Z to 2025-02-20T03:20Z were not made: \
                    spool-full\n";
    assert_eq!(line.words(), expected);
    let json: serde_json::Value = serde_json::from_str(&line.json().encode()).unwrap();
    assert_eq!((json["gap"].as_str(), json["count"].as_u64()), (Some("not_made"), Some(2)));
}
