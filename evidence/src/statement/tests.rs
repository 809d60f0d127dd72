//! Every check of docs/FORMAT.md section 3 with something it refuses, and bytes that are almost canonical.

use proptest::prelude::*;

use super::*;
use crate::samples::{damaged, full_statement, many_volumes, statements};
use proto::facts::Control;
use proto::observation::Outcome;

fn wire() -> proto::Statement {
    proto::Statement::decode(full_statement().encode().as_slice()).unwrap()
}

/// The refused field of the full statement after a change, or none.
fn refused(change: impl FnOnce(&mut proto::Statement)) -> Option<&'static str> {
    let mut wire = wire();
    change(&mut wire);
    match Statement::parse(&wire.encode_to_vec()) {
        Ok(_) => None,
        Err(StatementError::Field { field, .. }) => Some(field),
        Err(other) => panic!("{other}"),
    }
}

fn attested(change: impl FnOnce(&mut proto::Attestation)) -> Option<&'static str> {
    refused(|wire| match &mut wire.body {
        Some(proto::statement::Body::Attestation(fields)) => change(fields),
        _ => panic!("the full statement is an attestation"),
    })
}

fn outcome(control: &str, change: impl FnOnce(&mut Outcome)) -> Option<&'static str> {
    attested(|fields| {
        let found = fields.observations.iter_mut().find(|o| o.control == control).unwrap();
        change(found.outcome.as_mut().unwrap());
    })
}

fn fact(control: &str, change: impl FnOnce(&mut Control)) -> Option<&'static str> {
    outcome(control, |outcome| match outcome {
        Outcome::Observed(facts) => change(facts.control.as_mut().unwrap()),
        _ => panic!("{control} is observed"),
    })
}

fn disk(change: impl FnOnce(&mut proto::DiskEncryption)) -> Option<&'static str> {
    fact("disk-encryption", |facts| match facts {
        Control::DiskEncryption(disk) => change(disk),
        _ => panic!(),
    })
}

fn gap(kind: i32, sequence: u64, first: u64, last: u64, count: u64) -> proto::Statement {
    proto::Statement {
        sequence,
        body: Some(proto::statement::Body::Gap(proto::Gap { kind, reason: 1, first, last, count })),
        ..wire()
    }
}

fn gap_refused(wire: &proto::Statement) -> Option<&'static str> {
    match Statement::parse(&wire.encode_to_vec()) {
        Ok(_) => None,
        Err(StatementError::Field { field, .. }) => Some(field),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn the_full_statement_is_sound_and_comes_back() {
    let statement = full_statement();
    assert_eq!(Statement::parse(&statement.encode()), Ok(statement.clone()));
    assert_eq!(refused(|_| ()), None);
    let attestation = statement.attestation().unwrap();
    assert_eq!(attestation.wall(), Timestamp(29_922_274 * MINUTE_MS));
    assert_eq!(attestation.observation(&"edr".parse().unwrap()).unwrap().probe_version, 3);
    assert_eq!(attestation.observation(&"absent".parse().unwrap()), None);
    assert_eq!(statement.kind(), Kind::ATTESTATION);
}

#[test]
fn the_head_is_checked() {
    assert_eq!(refused(|wire| wire.instance.truncate(15)), Some("instance"));
    assert_eq!(refused(|wire| wire.instance.push(0)), Some("instance"));
    assert_eq!(refused(|wire| wire.instance.clear()), Some("instance"));
    assert_eq!(refused(|wire| wire.previous.truncate(31)), Some("previous"));
    assert_eq!(refused(|wire| wire.previous.push(0)), Some("previous"));
    assert_eq!(refused(|wire| wire.sequence = 0), Some("previous"));
    assert_eq!(refused(|wire| wire.previous = vec![0; 32]), Some("previous"));
    assert_eq!(
        refused(|wire| {
            wire.sequence = 0;
            wire.previous = vec![0; 32];
        }),
        None
    );
    assert_eq!(refused(|wire| wire.body = None), Some("body"));
    assert_eq!(refused(|wire| wire.anchor = None), None);
    assert_eq!(refused(|wire| wire.anchor.as_mut().unwrap().size = 0), Some("anchor"));
    assert_eq!(refused(|wire| wire.anchor.as_mut().unwrap().origin.clear()), Some("anchor"));
    assert_eq!(refused(|wire| wire.anchor.as_mut().unwrap().origin = "a".repeat(257)), Some("anchor.origin"));
    assert_eq!(refused(|wire| wire.anchor.as_mut().unwrap().origin = "a".repeat(256)), None);
    assert_eq!(refused(|wire| wire.anchor.as_mut().unwrap().root.truncate(31)), Some("anchor.root"));
    assert_eq!(refused(|wire| wire.anchor.as_mut().unwrap().note = vec![7; 31]), Some("anchor.note"));
    assert_eq!(refused(|wire| wire.anchor.as_mut().unwrap().note = vec![7; 33]), Some("anchor.note"));
    assert_eq!(refused(|wire| wire.anchor.as_mut().unwrap().note = vec![7; 32]), None);
    assert_eq!(refused(|wire| wire.anchor = Some(proto::Anchor::default())), Some("anchor"));
}

#[test]
fn the_fields_of_an_attestation_are_checked() {
    for device in ["", "laptop-7", "D-aaaqeayeaudaocajbifqydiob4", "i-aaaqeayeaudaocajbifqydiob4"] {
        assert_eq!(attested(|fields| fields.device = device.into()), Some("device"), "{device}");
    }
    assert_eq!(attested(|fields| fields.boot.truncate(31)), Some("boot"));
    assert_eq!(attested(|fields| fields.agent_digest.clear()), Some("agent_digest"));
    assert_eq!(attested(|fields| fields.catalogue_digest.push(0)), Some("catalogue_digest"));
    assert_eq!(attested(|fields| fields.configuration_digest.clear()), Some("configuration_digest"));
    assert_eq!(attested(|fields| fields.answers_digest.truncate(31)), Some("answers_digest"));
    assert_eq!(attested(|fields| fields.agent_version = "v".repeat(257)), Some("agent_version"));
    assert_eq!(attested(|fields| fields.agent_version = "v".repeat(256)), None);
    // Bytes count, not characters.
    assert_eq!(attested(|fields| fields.agent_version = "é".repeat(129)), Some("agent_version"));
    for trigger in [0, 4, -1, i32::MAX] {
        assert_eq!(attested(|fields| fields.trigger = trigger), Some("trigger"), "{trigger}");
    }
    assert_eq!(attested(|fields| fields.asset = None), None);
    for class in [6, -1] {
        assert_eq!(attested(|fields| fields.asset.as_mut().unwrap().class = class), Some("asset.class"));
    }
    assert_eq!(
        attested(|fields| fields.asset.as_mut().unwrap().virtualisation = Some("x".repeat(257))),
        Some("asset.virtualisation")
    );
}

#[test]
fn observations_ascend_one_each() {
    assert_eq!(attested(|fields| fields.observations.clear()), None);
    assert_eq!(attested(|fields| fields.observations.swap(0, 1)), Some("observations"));
    assert_eq!(
        attested(|fields| fields.observations.insert(0, fields.observations[0].clone())),
        Some("observations")
    );
    let numbered = |count: usize| {
        attested(|fields| {
            let sample = fields.observations.iter().find(|o| o.control == "firewall").unwrap().clone();
            fields.observations = (0..count)
                .map(|n| proto::Observation { control: format!("control-{n:02}"), ..sample.clone() })
                .collect();
        })
    };
    assert_eq!(numbered(64), None);
    assert_eq!(numbered(65), Some("observations"));
    for control in ["", "A", "a_b", "-a", "ä"] {
        let refused = attested(|fields| {
            fields.observations.truncate(1);
            fields.observations[0].control = control.into();
        });
        assert_eq!(refused, Some("observation.control"), "{control:?}");
    }
    assert_eq!(attested(|fields| fields.observations[0].outcome = None), Some("observation.outcome"));
}

#[test]
fn facts_belong_to_their_control() {
    assert_eq!(attested(|fields| fields.observations[0].control = "aaa".into()), Some("facts"));
    assert_eq!(
        attested(|fields| {
            let edr = fields.observations[1].outcome.clone();
            fields.observations[0].outcome = edr;
        }),
        Some("facts")
    );
    assert_eq!(
        outcome("edr", |outcome| *outcome = Outcome::Observed(proto::Facts { control: None })),
        Some("facts")
    );
}

#[test]
fn could_not_look_and_need_not_look_say_why() {
    for reason in [0, 14, -1] {
        let refused = outcome("firewall", |outcome| {
            *outcome = Outcome::Unavailable(proto::Unavailable { reason, question: String::new() });
        });
        assert_eq!(refused, Some("unavailable.reason"), "{reason}");
    }
    let long = proto::Unavailable { reason: 1, question: "q".repeat(257) };
    assert_eq!(
        outcome("firewall", |outcome| *outcome = Outcome::Unavailable(long)),
        Some("unavailable.question")
    );
    let unproved = Outcome::NotApplicable(proto::NotApplicable { proof: None });
    assert_eq!(outcome("screen-saver", |outcome| *outcome = unproved), Some("not_applicable.proof"));
    let headless = proto::Headless { default_target: "t".repeat(257), ..proto::Headless::default() };
    let long = Outcome::NotApplicable(proto::NotApplicable {
        proof: Some(proto::not_applicable::Proof::Headless(headless)),
    });
    assert_eq!(outcome("screen-saver", |outcome| *outcome = long), Some("headless.default_target"));
}

#[test]
fn facts_are_bounded_and_their_numbers_known() {
    assert_eq!(disk(|disk| disk.volumes = many_volumes(0)), None);
    assert_eq!(disk(|disk| disk.volumes = many_volumes(1)), Some("volumes"));
    assert_eq!(disk(|disk| disk.volumes[0].purpose = 7), Some("volume.purpose"));
    assert_eq!(disk(|disk| disk.volumes[0].encryption = 5), Some("volume.encryption"));
    assert_eq!(disk(|disk| disk.volumes[0].encryption = -1), Some("volume.encryption"));
    assert_eq!(disk(|disk| disk.volumes[0].mount = "m".repeat(257)), Some("volume.mount"));
    assert_eq!(disk(|disk| disk.volumes[0].filesystem = "f".repeat(257)), Some("volume.filesystem"));
    assert_eq!(disk(|disk| disk.volumes[0].layers = vec![1; 256]), None);
    assert_eq!(disk(|disk| disk.volumes[0].layers = vec![1; 257]), Some("volume.layers"));
    assert_eq!(disk(|disk| disk.volumes[0].layers.push(16)), Some("volume.layers"));

    let patch = |change: fn(&mut proto::OsPatch)| {
        fact("os-patch", |facts| match facts {
            Control::OsPatch(patch) => change(patch),
            _ => panic!(),
        })
    };
    assert_eq!(patch(|patch| patch.os = "o".repeat(257)), Some("os"));
    assert_eq!(patch(|patch| patch.version = Some("v".repeat(257))), Some("version"));
    assert_eq!(patch(|patch| patch.kernel = "k".repeat(257)), Some("kernel"));

    let lock = |change: fn(&mut proto::ScreenLock)| {
        fact("screen-lock", |facts| match facts {
            Control::ScreenLock(lock) => change(lock),
            _ => panic!(),
        })
    };
    assert_eq!(lock(|lock| lock.users = vec![proto::LockSetting::default(); 256]), None);
    assert_eq!(lock(|lock| lock.users = vec![proto::LockSetting::default(); 257]), Some("users"));
    assert_eq!(lock(|lock| lock.users[0].desktop = "d".repeat(257)), Some("user.desktop"));
    assert_eq!(lock(|lock| lock.users[0].scope = 3), Some("user.scope"));

    let edr = |change: fn(&mut proto::Edr)| {
        fact("edr", |facts| match facts {
            Control::Edr(edr) => change(edr),
            _ => panic!(),
        })
    };
    assert_eq!(edr(|edr| edr.products = vec![proto::Product::default(); 257]), Some("products"));
    assert_eq!(edr(|edr| edr.products[0].product = "p".repeat(257)), Some("product.product"));
    assert_eq!(edr(|edr| edr.products[0].version = Some("v".repeat(257))), Some("product.version"));
    assert_eq!(edr(|edr| edr.products[0].kind = 5), Some("product.kind"));
}

#[test]
fn a_gap_says_what_and_how_much() {
    assert_eq!(gap_refused(&gap(1, 9, 100, 200, 3)), None);
    assert_eq!(gap_refused(&gap(1, 9, 100, 100, 1)), None);
    assert_eq!(gap_refused(&gap(1, 9, 201, 200, 3)), Some("gap.last"));
    assert_eq!(gap_refused(&gap(1, 9, 100, 200, 0)), Some("gap.count"));
    for kind in [0, 3, -1] {
        assert_eq!(gap_refused(&gap(kind, 9, 100, 200, 3)), Some("gap.kind"), "{kind}");
    }
    for reason in [0, 5, -1] {
        let mut wire = gap(1, 9, 100, 200, 3);
        if let Some(proto::statement::Body::Gap(gap)) = &mut wire.body {
            gap.reason = reason;
        }
        assert_eq!(gap_refused(&wire), Some("gap.reason"), "{reason}");
    }
    let parsed = Statement::parse(&gap(1, 9, 100, 200, 3).encode_to_vec()).unwrap();
    assert_eq!((parsed.kind(), parsed.attestation()), (Kind::GAP, None));
}

#[test]
fn destroyed_statements_are_counted_and_end_just_before() {
    assert_eq!(gap_refused(&gap(2, 9, 5, 8, 4)), None);
    assert_eq!(gap_refused(&gap(2, 9, 8, 8, 1)), None);
    for (sequence, first, last, count) in
        [(9, 5, 8, 3), (9, 5, 8, 5), (9, 5, 7, 3), (9, 5, 9, 5), (8, 5, 8, 4), (9, 9, 9, 1)]
    {
        assert_eq!(
            gap_refused(&gap(2, sequence, first, last, count)),
            Some("gap"),
            "{first}..={last} at {sequence}"
        );
    }
    // Lengths and ends that overflow.
    assert_eq!(gap_refused(&gap(2, SEQUENCE_MAX, 0, u64::MAX, u64::MAX)), Some("gap"));
    assert_eq!(gap_refused(&gap(2, SEQUENCE_MAX, 1, u64::MAX, u64::MAX)), Some("gap"));
    // The highest sequence that a set's JSON can name, and the one above it.
    assert_eq!(gap_refused(&gap(2, SEQUENCE_MAX, 1, SEQUENCE_MAX - 1, SEQUENCE_MAX - 1)), None);
    assert_eq!(gap_refused(&gap(2, SEQUENCE_MAX + 1, 1, SEQUENCE_MAX, SEQUENCE_MAX)), Some("sequence"));
    assert_eq!(gap_refused(&gap(1, u64::MAX, 1, 1, 1)), Some("sequence"));
}

#[test]
fn the_loss_of_the_first_statement_has_nothing_before_it() {
    assert_eq!(gap_refused(&gap(2, 3, 0, 2, 3)), Some("previous"));
    let mut wire = gap(2, 3, 0, 2, 3);
    wire.previous = vec![0; 32];
    assert_eq!(gap_refused(&wire), None);
    let mut wire = gap(2, 3, 1, 2, 2);
    wire.previous = vec![0; 32];
    assert_eq!(gap_refused(&wire), Some("previous"));
    let mut wire = gap(1, 3, 0, 2, 3);
    wire.previous = vec![0; 32];
    assert_eq!(gap_refused(&wire), Some("previous"));
}

// ---- bytes: the same value in another encoding

const LENGTH_DELIMITED: u8 = 2;

/// One field by hand: tag and length or varint.
fn field(number: u8, wire_type: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | wire_type];
    if wire_type == LENGTH_DELIMITED {
        let length = u32::try_from(body.len()).unwrap();
        if length > 0x7f {
            out.extend([length.to_le_bytes()[0] | 0x80, u8::try_from(length >> 7).unwrap()]);
        } else {
            out.push(u8::try_from(length).unwrap());
        }
    }
    out.extend_from_slice(body);
    out
}

/// A `not_made` gap by hand, with its parts exchangeable: instance, sequence, previous, anchor, gap.
fn parts() -> [Vec<u8>; 5] {
    let anchor = [field(1, 2, b"example.com/log/a"), field(2, 0, &[7]), field(3, 2, &[9; 32])].concat();
    let gap =
        [field(1, 0, &[1]), field(2, 0, &[2]), field(3, 0, &[10]), field(4, 0, &[20]), field(5, 0, &[5])];
    [
        field(1, 2, &[1; 16]),
        field(2, 0, &[5]),
        field(3, 2, &[2; 32]),
        field(4, 2, &anchor),
        field(6, 2, &gap.concat()),
    ]
}

#[test]
fn the_encoding_is_the_one_written_by_hand() {
    let statement = Statement::parse(&parts().concat()).unwrap();
    assert_eq!(statement.sequence, 5);
    assert_eq!(
        statement.body,
        Body::Gap(Gap::NotMade {
            first_minute: 10,
            last_minute: 20,
            count: 5,
            reason: proto::GapReason::DiskFull
        })
    );
    assert_eq!(statement.encode(), parts().concat());
}

#[test]
fn another_encoding_of_the_same_statement_is_refused() {
    let good = parts();
    let [instance, sequence, previous, anchor, gap] = &good;
    let gap_body = gap.get(2..).unwrap();
    let with_gap =
        |body: Vec<u8>| [instance, sequence, previous, anchor, &field(6, 2, &body)].map(Vec::clone).concat();
    let forms: Vec<(&str, Vec<u8>)> = vec![
        ("an unknown field", [good.concat(), field(15, 0, &[1])].concat()),
        ("an unknown field in front", [field(15, 2, b""), good.concat()].concat()),
        ("an unknown field of number 0", [good.concat(), field(0, 0, &[1])].concat()),
        ("an unknown group", [good.concat(), vec![15 << 3 | 3, 15 << 3 | 4]].concat()),
        ("an unknown fixed32", [good.concat(), field(15, 5, &[0; 4])].concat()),
        ("a field twice", [good.concat(), sequence.clone()].concat()),
        ("another value first", [field(2, 0, &[6]), good.concat()].concat()),
        ("another order", [previous, sequence, instance, anchor, gap].map(Vec::clone).concat()),
        ("an anchor in two parts", [good.concat(), field(4, 2, &field(2, 0, &[7]))].concat()),
        ("an empty second anchor", [good.concat(), field(4, 2, &[])].concat()),
        ("a second member of the oneof", [good.concat(), field(5, 2, &[])].concat()),
        ("the first member and then this one", {
            let both = [instance, sequence, previous, anchor, &field(5, 2, &[]), gap];
            both.map(Vec::clone).concat()
        }),
        (
            "a long varint",
            [instance, &field(2, 0, &[0x85, 0]), previous, anchor, gap].map(Vec::clone).concat(),
        ),
        ("a ten-byte varint", {
            let long = field(2, 0, &[0x85, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0]);
            [instance, &long, previous, anchor, gap].map(Vec::clone).concat()
        }),
        (
            "a long tag",
            [instance.clone(), vec![0x90, 0, 5], [previous, anchor, gap].map(Vec::clone).concat()].concat(),
        ),
        (
            "a long length",
            [&[vec![0x0a, 0x90, 0], vec![1; 16]].concat(), sequence, previous, anchor, gap]
                .map(Vec::clone)
                .concat(),
        ),
        (
            "a default written",
            with_gap(
                [
                    field(1, 0, &[1]),
                    field(2, 0, &[2]),
                    field(3, 0, &[0]),
                    field(4, 0, &[20]),
                    field(5, 0, &[5]),
                ]
                .concat(),
            ),
        ),
        ("an unknown field inside", with_gap([gap_body, &field(9, 0, &[1])].concat())),
        (
            "an enum in 64 bits",
            with_gap([&field(1, 0, &[0x81, 0x80, 0x80, 0x80, 0x10]), gap_body.get(2..).unwrap()].concat()),
        ),
        (
            "a gap in two parts",
            [with_gap(gap_body.get(..4).unwrap().to_vec()), field(6, 2, gap_body.get(4..).unwrap())].concat(),
        ),
    ];
    for (what, bytes) in forms {
        assert_ne!(bytes, good.concat(), "{what}");
        let refused = Statement::parse(&bytes);
        assert!(
            matches!(refused, Err(StatementError::NotCanonical | StatementError::Decode(_))),
            "{what}: {refused:?}"
        );
    }
    let unpacked_layers = {
        let mut wire = wire();
        let Some(proto::statement::Body::Attestation(fields)) = &mut wire.body else { panic!() };
        fields.observations.truncate(1);
        wire.encode_to_vec()
    };
    // layers 2 and 8, packed, and the same as two fields; both are 4 bytes, so that no length changes.
    let (packed, unpacked) = ([0x3a, 2, 2, 8], [0x38, 2, 0x38, 8]);
    let at = unpacked_layers.windows(4).position(|window| window == packed).unwrap();
    assert!(Statement::parse(&unpacked_layers).is_ok());
    let mut bad = unpacked_layers;
    bad[at..at + 4].copy_from_slice(&unpacked);
    assert_eq!(Statement::parse(&bad), Err(StatementError::NotCanonical));
}

#[test]
fn a_truth_is_0_or_1_and_a_text_is_utf8() {
    let good = full_statement().encode();
    // `volumes_truncated` is true, the last field of its message.
    let at = good.windows(2).position(|window| window == [0x10, 1]).unwrap();
    for number in 2..=0x7f {
        let mut bad = good.clone();
        bad[at + 1] = number;
        assert!(Statement::parse(&bad).is_err(), "{number}");
    }
    let at = good.windows(6).position(|window| window == b"debian").unwrap();
    let mut bad = good;
    bad[at] = 0xff;
    assert!(matches!(Statement::parse(&bad), Err(StatementError::Decode(_))));
}

proptest! {
    #[test]
    fn statements_come_back(statement in statements()) {
        let bytes = statement.encode();
        prop_assert_eq!(Statement::parse(&bytes), Ok(statement));
    }

    #[test]
    fn damage_is_refused_or_says_something_else(
        (good, bad) in statements().prop_flat_map(|s| (Just(s.encode()), damaged(s.encode()))),
    ) {
        if let Ok(statement) = Statement::parse(&bad) {
            prop_assert_eq!(&statement.encode(), &bad);
            prop_assert_eq!(Statement::parse(&good) == Ok(statement), good == bad);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
        prop_assert!(Statement::parse(&bytes).is_err());
    }
}
