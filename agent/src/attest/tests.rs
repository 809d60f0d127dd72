use evidence::ids::{DeviceId, Digest, InstanceId};
use evidence::keys::SecretKey;
use evidence::statement::{Anchor, Body, Gap};
use evidence::time::Timestamp;

use super::{Attester, Moment, Observed, file_digest};
use crate::clock::Boot;
use crate::spool::{NotMade, Place};

fn attester() -> Attester {
    let key = SecretKey::from_seed(&[7; 32]).unwrap();
    Attester::new(DeviceId::from_bytes([2; 16]), InstanceId::from_bytes([1; 16]), key, Digest::of(b"agent"))
}

fn observed(reason: proto::Reason) -> Observed {
    let outcome = proto::observation::Outcome::Unavailable(proto::Unavailable {
        reason: reason.into(),
        question: String::new(),
    });
    Observed {
        observations: vec![proto::Observation {
            control: "disk-encryption".into(),
            probe_version: 1,
            outcome: Some(outcome),
            kept_minutes: None,
        }],
        asset: None,
        answers_digest: Digest::of(b"answers"),
        catalogue_digest: Digest::of(b"catalogue"),
    }
}

const PLACE: Place = Place { sequence: 0, previous: Digest::ZERO };

#[test]
fn an_attestation_is_well_formed_and_says_when_in_whole_minutes() {
    let boot = Boot { id: "0b6b6d5e-6f3c-4f0e-8d0b-2f1c36a1c001".into(), minutes: 3 };
    let moment = Moment { now: Timestamp(125_999), boot, trigger: proto::Trigger::Manual };
    let anchor =
        Anchor { origin: "example.org/log/1".into(), size: 9, root: Digest::of(b"root"), note: None };
    let attester = attester();
    let envelope = attester.attestation(
        PLACE,
        Some(anchor.clone()),
        &moment,
        observed(proto::Reason::Timeout),
        &Digest::of(b"configuration"),
    );
    let statement = envelope.open(attester.key().public()).unwrap();
    assert_eq!(statement.anchor, Some(anchor));
    let fields = &statement.attestation().unwrap().fields;
    assert_eq!((fields.wall_minutes, fields.boot_minutes), (2, 3));
    assert_eq!(fields.agent_digest, Digest::of(b"agent").as_bytes());
    // SHA-256("tallystick/boot/v1\0" || sixteen 0x01 || the id), by coreutils' sha256sum.
    let expected = "ee2f2d446cf816ea0893e773795d8279afb2f61c7b2ee7e5a69bd535d9c1b3fd";
    assert_eq!(Digest::from_slice(&fields.boot).unwrap().hex(), expected);
}

#[test]
fn gaps_take_their_numbers_from_the_spool() {
    let not_made = NotMade { first_minute: 5, last_minute: 9, count: 2, reason: proto::GapReason::DiskFull };
    let statement = attester().not_made(PLACE, None, &not_made).claimed().unwrap();
    let expected =
        Gap::NotMade { first_minute: 5, last_minute: 9, count: 2, reason: proto::GapReason::DiskFull };
    assert_eq!(statement.body, Body::Gap(expected));
    let place = Place { sequence: 4, previous: Digest::of(b"before") };
    let gap = Gap::Destroyed { first: 1, last: 3, reason: proto::GapReason::DiskDamage };
    let statement = attester().destroyed(place, None, gap).claimed().unwrap();
    assert_eq!((statement.sequence, statement.body), (4, Body::Gap(gap)));
}

#[test]
fn the_facts_digest_follows_facts_and_not_raw_answers() {
    let first = observed(proto::Reason::Timeout);
    let mut second = first.clone();
    second.answers_digest = Digest::of(b"other answers");
    assert_eq!(first.facts_digest(), second.facts_digest());
    // When a package manager said the same is no news.
    second.observations[0].kept_minutes = Some(7);
    assert_eq!(first.facts_digest(), second.facts_digest());
    assert_ne!(first.facts_digest(), observed(proto::Reason::NoPrivilege).facts_digest());
}

#[test]
fn a_file_is_digested_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("binary");
    let bytes = vec![3; 200_001];
    std::fs::write(&path, &bytes).unwrap();
    assert_eq!(file_digest(&path).unwrap(), Digest::of(&bytes));
}
