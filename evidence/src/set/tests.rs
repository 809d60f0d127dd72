//! The files of a set: paths that may be listed, and each file back from its bytes.

use proptest::prelude::*;

use super::*;
use crate::ids::{DeviceId, InstanceId, UnitId};
use crate::leaf::{Chain, Kind};
use crate::samples::acts::{ORIGIN, START, device, name};
use crate::samples::damaged;
use crate::time::{DAY_MS, DayLabel, Timestamp};

fn leaf(kind: Kind) -> Leaf {
    let chain = Chain { sequence: 3, previous: Digest::of(b"before") };
    Leaf {
        kind,
        received: Timestamp(START),
        commitment: Digest::of(b"commitment"),
        chain: (kind.stream != Stream::Device).then_some(chain),
    }
}

fn files() -> Files {
    let files = [
        (PLAN, "plan"),
        (VERIFY_MD, "read me"),
        (CHECKPOINT, "note"),
        ("log/consistency/7", ""),
        ("streams/roster.jsonl", "{}\n"),
        ("units/edr/0001/unit.json", "{}"),
        ("units/edr/0001/12.envelope", "e"),
    ];
    files.into_iter().map(|(path, text)| (path.to_owned(), text.as_bytes().to_vec())).collect()
}

fn manifest() -> Manifest {
    let head = TreeHead { size: 40, root: Digest::of(b"root") };
    Manifest::over(ORIGIN, head, Digest::of(b"plan"), &files())
}

fn unit(device: DeviceId) -> UnitId {
    UnitId { device, day: DayLabel::from_days_since_1970(START / DAY_MS), control: name("edr") }
}

fn view() -> UnitView {
    let statement = |index, counts| StatementRef {
        index,
        sequence: index - 9,
        instance: InstanceId::from_bytes([1; 16]),
        counts,
    };
    UnitView {
        unit: unit(device(1)),
        ticket: "0.25".into(),
        role: UnitRole::Reserve,
        state: "PASS".into(),
        because: "condition".into(),
        decided_by: Some(12),
        policy_index: None,
        statements: vec![statement(9, false), statement(12, true)],
        erased: vec![ErasedRef {
            index: 8,
            sequence: 0,
            instance: InstanceId::from_bytes([1; 16]),
            counts: false,
            tombstone: 30,
        }],
    }
}

fn results() -> Results {
    let units = [
        (unit(device(0xff)), "DEVIATION", "condition"),
        (unit(device(1)), "PASS", "condition"),
        (UnitId { day: DayLabel::from_days_since_1970(1), ..unit(device(1)) }, "MISSING", "no-evidence"),
    ];
    Results::tally(&name("edr"), &units)
}

/// The member for which a parser refuses `bytes` after one replacement.
fn refused<T: std::fmt::Debug>(
    parse: impl Fn(&[u8]) -> Result<T, JsonError>,
    bytes: &[u8],
    from: &str,
    to: &str,
) -> String {
    let sound = String::from_utf8(bytes.to_vec()).unwrap();
    assert!(sound.contains(from), "{from} is not in {sound}");
    match parse(sound.replacen(from, to, 1).as_bytes()) {
        Err(JsonError::Member { path, .. }) => path,
        other => panic!("{to}: {other:?}"),
    }
}

#[test]
fn paths_of_a_set_are_of_these_forms_only() {
    let long = "a".repeat(63);
    for path in [
        "plan.json",
        "VERIFY.md",
        "log/checkpoint",
        "log/consistency/0",
        "log/consistency/18446744073709551615",
        "streams/roster.jsonl",
        "streams/rules.tlog-proof",
        "streams/audit.jsonl",
        "population/edr.txt",
        "draw/os-patch.json",
        "results/a.json",
        "evaluation/0.json",
        &format!("draw/{long}.json"),
        "units/edr/0001/unit.json",
        "units/edr/10000/0.envelope",
        "units/edr/9999/12.tlog-proof",
        "units/edr/0001/12.json",
    ] {
        assert!(is_listed_path(path), "{path}");
    }
    for path in [
        "",
        "/",
        ".",
        "..",
        "../plan.json",
        "/plan.json",
        "./plan.json",
        "plan.json/",
        "PLAN.json",
        "plan.json\0",
        "MANIFEST.json",
        "MANIFEST.note",
        "MANIFEST.tsr",
        "export.tlog-proof",
        "trust.json",
        "log/../plan.json",
        "log//checkpoint",
        "log/checkpoint/x",
        "log/consistency/",
        "log/consistency/01",
        "log/consistency/+1",
        "log/consistency/-1",
        "log/consistency/18446744073709551616",
        "streams/device.jsonl",
        "streams/operations.jsonl",
        "streams/roster.json",
        "population/../edr.txt",
        "population/..txt",
        "population/.txt",
        "population/EDR.txt",
        "population/-edr.txt",
        "population/edr.txt/x",
        "population\\edr.txt",
        "draw/edr.txt",
        &format!("draw/{long}a.json"),
        "units/edr/1/unit.json",
        "units/edr/001/unit.json",
        "units/edr/00001/unit.json",
        "units/edr/000a/unit.json",
        "units/edr/0001",
        "units/edr/0001/",
        "units/edr/0001/unit.json.json",
        "units/edr/0001/012.envelope",
        "units/edr/0001/12.exe",
        "units/edr/0001/../unit.json",
        "units/../0001/unit.json",
        "units/edr/0001/12.envelope/x",
    ] {
        assert!(!is_listed_path(path), "{path}");
    }
}

#[test]
fn the_paths_this_crate_makes_are_of_those_forms() {
    let control = name("edr");
    for path in [
        population_path(&control),
        draw_path(&control),
        results_path(&control),
        evaluation_path(&control),
        consistency_path(0),
        format!("{}/unit.json", unit_folder(&control, 1)),
        format!("{}/unit.json", unit_folder(&control, 12_345)),
    ] {
        assert!(is_listed_path(&path), "{path}");
    }
    for stream in SET_STREAMS {
        assert!(is_listed_path(&stream_path(stream)) && is_listed_path(&stream_proof_path(stream)));
    }
}

#[test]
fn a_manifest_comes_back_and_names_every_file() {
    let bytes = manifest().encode();
    assert_eq!(Manifest::parse(&bytes), Ok(manifest()));
    assert_eq!(manifest().files.len(), files().len());
    let plan = manifest().files.into_iter().find(|file| file.path == PLAN).unwrap();
    assert_eq!((plan.bytes, plan.sha256), (4, Digest::of(b"plan")));
    for (from, to, member) in [
        ("set/v1", "set/v2", "format"),
        (r#""path":"plan.json""#, r#""path":"plan.jsom""#, "files[3].path"),
        (r#""path":"VERIFY.md""#, r#""path":"../VERIFY.md""#, "files[0].path"),
        (r#""path":"VERIFY.md""#, r#""path":"plan.json""#, "files"),
        (r#""bytes":4"#, r#""bytes":-4"#, "files[1].bytes"),
        (r#""size":40"#, r#""size":"40""#, "checkpoint.size"),
        (r#","origin":"#, r#","note":1,"origin":"#, "note"),
    ] {
        assert_eq!(refused(Manifest::parse, &bytes, from, to), member, "{to}");
    }
}

#[test]
fn a_stream_entry_comes_back() {
    let entry =
        StreamEntry { index: 9, leaf: leaf(Kind::PLAN), payload: b"act".to_vec(), salt: [7; SALT_BYTES] };
    let line = entry.line().trim_end().as_bytes().to_vec();
    assert_eq!(StreamEntry::parse(&line), Ok(entry));
    for (from, to, member) in [
        (r#""index":9"#, r#""index":-9"#, "index"),
        (r#""leaf":""#, r#""leaf":"AAAA"#, "leaf"),
        (r#""salt":""#, r#""salt":"AAAA"#, "salt"),
        (r#""payload":"YWN0""#, r#""payload":"YWN""#, "payload"),
        (r#","payload""#, r#","note":1,"payload""#, "note"),
    ] {
        assert_eq!(refused(StreamEntry::parse, &line, from, to), member, "{to}");
    }
}

#[test]
fn a_unit_comes_back_with_its_statements_in_order() {
    let bytes = view().encode();
    assert_eq!(UnitView::parse(&bytes), Ok(view()));
    let plain =
        UnitView { decided_by: None, policy_index: Some(0), statements: vec![], erased: vec![], ..view() };
    assert_eq!(UnitView::parse(&plain.encode()), Ok(plain));
    for (from, to, member) in [
        (r#""index":9"#, r#""index":12"#, "statements"),
        (r#""index":9"#, r#""index":13"#, "statements"),
        (r#""counts":0"#, r#""counts":2"#, "erased[0].counts"),
        (r#""instance":"i-"#, r#""instance":"d-"#, "erased[0].instance"),
        (r#""tombstone":30"#, r#""tombstone":-1"#, "erased[0].tombstone"),
        (r#""role":"reserve""#, r#""role":"spare""#, "role"),
        (r#""decided_by":[12]"#, r#""decided_by":[12,13]"#, "decided_by"),
        (r#""decided_by":[12]"#, r#""decided_by":[-12]"#, "decided_by"),
        (r#""decided_by":[12]"#, r#""decided_by":["12"]"#, "decided_by"),
        (r#""unit":"d-"#, r#""unit":"e-"#, "unit"),
        (r#","unit""#, r#","tint":1,"unit""#, "tint"),
    ] {
        assert_eq!(refused(UnitView::parse, &bytes, from, to), member, "{to}");
    }
    let whole = UnitView { erased: vec![], ..view() }.encode();
    for (from, to, member) in [
        (r#""counts":0"#, r#""counts":2"#, "statements[0].counts"),
        (r#""instance":"i-"#, r#""instance":"d-"#, "statements[0].instance"),
    ] {
        assert_eq!(refused(UnitView::parse, &whole, from, to), member, "{to}");
    }
    let twice = UnitView { erased: vec![view().erased[0]; 2], ..view() }.encode();
    assert!(UnitView::parse(&twice).unwrap_err().to_string().contains("erased"));
}

#[test]
fn results_tally_by_device_in_the_order_of_text_and_list_what_is_not_a_pass() {
    let results = results();
    assert_eq!(
        results.counts,
        [("DEVIATION", 1), ("MISSING", 1), ("PASS", 1)].map(|(s, n)| (s.to_owned(), n)).into()
    );
    let devices: Vec<_> = results.devices.iter().map(|row| row.device).collect();
    assert_eq!(devices, [device(0xff), device(1)], "a digit comes before a letter");
    assert_eq!(results.devices[1].counts.values().sum::<u64>(), 2);
    let listed: Vec<_> = results.units.iter().map(|row| row.state.as_str()).collect();
    assert_eq!(listed, ["DEVIATION", "MISSING"]);
    let bytes = results.encode();
    assert_eq!(Results::parse(&bytes), Ok(results));
    for (from, to, member) in [
        (r#""DEVIATION":1"#, r#""DEVIATION":0"#, "counts"),
        (r#""control":"edr""#, r#""control":"EDR""#, "control"),
        (r#""device":"d-7777777777777777777777777"#, r#""device":"d-bbbbbbbbbbbbbbbbbbbbbbbbb"#, "devices"),
        (r#","units""#, r#","note":1,"units""#, "note"),
    ] {
        assert_eq!(refused(Results::parse, &bytes, from, to), member, "{to}");
    }
    let mut swapped = self::results();
    swapped.devices.reverse();
    assert!(Results::parse(&swapped.encode()).is_err());
    let mut swapped = self::results();
    swapped.units.reverse();
    assert!(Results::parse(&swapped.encode()).is_err());
}

#[test]
fn extras_come_back_to_their_last_byte() {
    for (kind, length) in [(Kind::ATTESTATION, 43), (Kind::EXPORT, 83)] {
        let extra = leaf_extra(&leaf(kind), &[5; SALT_BYTES]);
        assert_eq!((extra.len(), usize::from(extra[0])), (1 + length + 32, length));
        assert_eq!(parse_leaf_extra(&extra), Some((leaf(kind), [5; SALT_BYTES], &[][..])));
        for cut in 0..extra.len() {
            assert_eq!(parse_leaf_extra(&extra[..cut]), None, "{cut}");
        }
    }
    let largest = vec![7; 65_536];
    for (payload, hashes) in [(&b""[..], 0), (b"act", 1), (&largest, 64)] {
        let consistency = vec![Digest::of(b"hash"); hashes];
        let extra = export_extra(&leaf(Kind::EXPORT), &[5; SALT_BYTES], payload, &consistency);
        let read = parse_export_extra(&extra).unwrap();
        assert_eq!((read.leaf, read.salt), (leaf(Kind::EXPORT), [5; SALT_BYTES]));
        assert_eq!((read.payload.as_slice(), read.consistency), (payload, consistency));
        assert_eq!(parse_export_extra(&extra[..extra.len() - 1]), None);
        assert_eq!(parse_export_extra(&[&extra[..], b"\0"].concat()), None);
    }
    let mut uneven = leaf_extra(&leaf(Kind::EXPORT), &[5; SALT_BYTES]);
    uneven.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 1, 9]);
    assert_eq!(parse_export_extra(&uneven), None, "a hash has 32 bytes");
}

#[test]
fn the_note_over_a_set_is_these_four_lines() {
    let text = note_text(ORIGIN, b"m", b"p");
    let expected = format!("tallystick-set/v1\n{ORIGIN}\n{}\n{}\n", Digest::of(b"m"), Digest::of(b"p"));
    assert_eq!((text, note_name(ORIGIN)), (expected, format!("{ORIGIN}/operations")));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn damaged_files_are_refused_or_are_other_files(
        manifest in damaged(manifest().encode()),
        view in damaged(view().encode()),
        results in damaged(results().encode()),
        entry in damaged(
            StreamEntry { index: 9, leaf: leaf(Kind::PLAN), payload: vec![1], salt: [7; SALT_BYTES] }
                .line()
                .trim_end()
                .into()
        ),
        extra in damaged(export_extra(&leaf(Kind::EXPORT), &[5; SALT_BYTES], b"act", &[Digest::ZERO])),
    ) {
        if let Ok(read) = Manifest::parse(&manifest) {
            prop_assert_eq!(read.encode(), manifest);
        }
        if let Ok(read) = UnitView::parse(&view) {
            prop_assert_eq!(read.encode(), view);
        }
        if let Ok(read) = Results::parse(&results) {
            prop_assert_eq!(read.encode(), results);
        }
        if let Ok(read) = StreamEntry::parse(&entry) {
            prop_assert_eq!(read.line().into_bytes(), [&entry[..], b"\n"].concat());
        }
        if let Some(read) = parse_export_extra(&extra) {
            let again = export_extra(&read.leaf, &read.salt, &read.payload, &read.consistency);
            prop_assert_eq!(again, extra);
        }
    }

    #[test]
    fn noise_is_no_file(noise in prop::collection::vec(any::<u8>(), 0..200), path in "[a-z0-9./-]{0,40}") {
        prop_assert!(Manifest::parse(&noise).is_err() && UnitView::parse(&noise).is_err());
        prop_assert!(Results::parse(&noise).is_err() && StreamEntry::parse(&noise).is_err());
        let _no_panic = (parse_leaf_extra(&noise), parse_export_extra(&noise));
        let parts: Vec<&str> = path.split('/').collect();
        if is_listed_path(&path) {
            prop_assert!(!parts.contains(&"..") && !parts.contains(&".") && !parts.contains(&""));
        }
    }
}
